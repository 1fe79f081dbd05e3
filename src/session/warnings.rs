//! Log lines that are rare, however many clients there are: of one kind one is written now
//! and then. Those that were not written are counted in the next one.

use std::time::Duration;

use foldhash::HashMap;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Between lines of one kind.
pub(super) const PAUSE: Duration = Duration::from_secs(10);
/// Kinds that are remembered: some have names in them that clients choose.
const MAX_KINDS: usize = 256;

/// Which lines were written lately.
#[derive(Debug, Default)]
pub(crate) struct Warnings {
    lately: Mutex<HashMap<String, Line>>,
}

#[derive(Debug)]
struct Line {
    at: Instant,
    unsaid: u32,
}

impl Warnings {
    /// Whether a line of this kind may be written now, and how many were not since the
    /// last one.
    pub(crate) fn may_say(&self, kind: &str) -> Option<u32> {
        let now = Instant::now();
        let mut lately = self.lately.lock();
        if let Some(line) = lately.get_mut(kind) {
            if now.duration_since(line.at) < PAUSE {
                line.unsaid = line.unsaid.saturating_add(1);
                return None;
            }
            line.at = now;
            return Some(std::mem::take(&mut line.unsaid));
        }
        if lately.len() >= MAX_KINDS {
            lately.retain(|_, line| now.duration_since(line.at) < PAUSE);
        }
        if lately.len() >= MAX_KINDS {
            return None;
        }
        let line = Line { at: now, unsaid: 0 };
        lately.insert(kind.to_owned(), line);
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn lines_of_one_kind_are_rare_and_those_unsaid_are_counted() {
        let warnings = Warnings::default();
        assert_eq!(warnings.may_say("a"), Some(0));
        assert_eq!(warnings.may_say("b"), Some(0));
        assert_eq!([warnings.may_say("a"), warnings.may_say("a")], [None, None]);
        advance(PAUSE).await;
        assert_eq!(warnings.may_say("a"), Some(2));
        assert_eq!(warnings.may_say("a"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn kinds_are_bounded_and_old_ones_give_way() {
        let warnings = Warnings::default();
        for kind in 0..2 * MAX_KINDS {
            let said = warnings.may_say(&kind.to_string());
            assert_eq!(said.is_some(), kind < MAX_KINDS);
        }
        advance(PAUSE).await;
        assert_eq!(warnings.may_say("new"), Some(0));
        assert_eq!(warnings.lately.lock().len(), 1);
    }
}
