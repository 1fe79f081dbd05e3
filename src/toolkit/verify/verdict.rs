//! What was found of each thing that is compared, and what that comes to. Nothing counts
//! as equal that was not looked at.

/// What is known of one thing on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    Match,
    Mismatch,
    /// It could not be compared, or only in part.
    Unchecked,
    /// It was not to be compared: a filter, or nothing that this database holds.
    Skipped,
}

impl State {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Match => "match",
            Self::Mismatch => "mismatch",
            Self::Unchecked => "unchecked",
            Self::Skipped => "skipped",
        }
    }
}

/// One thing whose state is not plainly `match`, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) state: State,
    pub(crate) detail: String,
}

impl Finding {
    pub(crate) fn new(
        kind: &str,
        name: impl Into<String>,
        state: State,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            kind: kind.to_owned(),
            name: name.into(),
            state,
            detail: detail.into(),
        }
    }
}

/// How many things are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) matches: usize,
    pub(crate) mismatches: usize,
    pub(crate) unchecked: usize,
    pub(crate) skipped: usize,
}

impl Tally {
    pub(crate) const fn add(&mut self, state: State, number: usize) {
        match state {
            State::Match => self.matches += number,
            State::Mismatch => self.mismatches += number,
            State::Unchecked => self.unchecked += number,
            State::Skipped => self.skipped += number,
        }
    }

    /// Whether everything was compared and is equal. Nothing at all is not everything.
    pub(crate) const fn is_equal(&self) -> bool {
        self.matches > 0 && self.mismatches == 0 && self.unchecked == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_compared_and_agrees_is_equal() {
        let tally = |matches, mismatches, unchecked, skipped| Tally {
            matches,
            mismatches,
            unchecked,
            skipped,
        };
        for (tally, equal) in [
            (tally(0, 0, 0, 0), false),
            (tally(0, 0, 0, 9), false),
            (tally(9, 0, 0, 0), true),
            (tally(9, 0, 0, 9), true),
            (tally(9, 1, 0, 0), false),
            (tally(9, 0, 1, 0), false),
        ] {
            assert_eq!(tally.is_equal(), equal, "{tally:?}");
        }
    }
}
