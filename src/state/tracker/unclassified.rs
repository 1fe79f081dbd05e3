//! Texts that ran before there was anything to judge them by: they are judged once
//! the catalog has been asked.
//!
//! Only for what asking the server's session does not tell.

use crate::sql::{Dialect, Statement, statements};

/// Texts that are kept, and their bytes.
const MOST: (usize, usize) = (64, 32 << 10);

#[derive(Debug)]
pub(crate) struct Unclassified {
    texts: Vec<(Box<[u8]>, Dialect)>,
    /// There were others.
    overflown: bool,
    /// The epoch of the catalog's last answer before the first of them.
    since: u32,
}

impl Unclassified {
    pub(super) const fn since(epoch: u32) -> Self {
        Self {
            texts: Vec::new(),
            overflown: false,
            since: epoch,
        }
    }

    /// `None`: a text that is not known.
    pub(super) fn add(&mut self, text: Option<&[u8]>, dialect: Dialect) {
        if self.overflown || self.knows(text, dialect) {
            return;
        }
        let bytes: usize = self.texts.iter().map(|(known, _)| known.len()).sum();
        let (most, most_bytes) = MOST;
        match text {
            Some(text) if self.texts.len() < most && bytes + text.len() <= most_bytes => {
                self.texts.push((text.into(), dialect));
            }
            _ => {
                self.texts.clear();
                self.overflown = true;
            }
        }
    }

    fn knows(&self, text: Option<&[u8]>, dialect: Dialect) -> bool {
        let mut known = self.texts.iter().rev();
        known.any(|(known, by)| Some(&**known) == text && *by == dialect)
    }

    pub(crate) const fn began(&self) -> u32 {
        self.since
    }

    /// Whether `is_so` of any statement; true as well if not all are known.
    pub(crate) fn any(&self, is_so: impl Fn(&Statement<'_>) -> bool) -> bool {
        let mut texts = self.texts.iter();
        self.overflown
            || texts.any(|(text, dialect)| statements(text, *dialect).any(|one| is_so(&one)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::Backslash;

    #[test]
    fn texts_are_judged_each_once_and_all_if_they_are_too_many() {
        let dialect = Dialect::new(Backslash::Plain, b"UTF8");
        let mut unclassified = Unclassified::since(7);
        for text in [&b"select 1; select f()"[..], b"select 2", b"select 2"] {
            unclassified.add(Some(text), dialect);
        }
        assert_eq!((unclassified.texts.len(), unclassified.began()), (2, 7));
        assert!(unclassified.any(|one| one.text.ends_with(b"f()")));
        assert!(!unclassified.any(|one| one.text.ends_with(b"g()")));
        for number in 0..MOST.0 {
            unclassified.add(Some(format!("select {number}.").as_bytes()), dialect);
        }
        assert!(unclassified.texts.is_empty() && unclassified.any(|_| false));
        let mut unclassified = Unclassified::since(7);
        unclassified.add(Some(&vec![b' '; MOST.1 + 1]), dialect);
        assert!(unclassified.any(|_| false));
        let mut unclassified = Unclassified::since(7);
        unclassified.add(None, dialect);
        assert!(unclassified.any(|_| false));
    }
}
