//! The custom settings that code of a database may make: no view of a server lists
//! those that exist in a session, so that it has to be asked for each by its name.
//!
//! Invariant: a name that was known once stays: the code may be gone, its setting
//! is not.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

/// More names than this are not asked for.
const MAX_NAMES: usize = 300;

#[derive(Debug, Default)]
pub(crate) struct CustomSettings {
    known: Mutex<Vec<Box<[u8]>>>,
    too_many: AtomicBool,
}

impl CustomSettings {
    pub(crate) fn add<'a>(&self, names: impl IntoIterator<Item = &'a [u8]>) {
        let mut names = names.into_iter().peekable();
        if names.peek().is_none() {
            return;
        }
        let mut known = self.known.lock();
        for name in names {
            if known.iter().any(|one| one.eq_ignore_ascii_case(name)) {
                continue;
            }
            if known.len() >= MAX_NAMES {
                self.too_many.store(true, Ordering::Release);
                return;
            }
            known.push(name.into());
        }
    }

    /// There are others.
    pub(crate) fn are_too_many(&self) -> bool {
        self.too_many.load(Ordering::Acquire)
    }

    /// Together with `own`, each once, as it is spelled first.
    pub(crate) fn with<'a>(&self, own: impl Iterator<Item = &'a [u8]>) -> Vec<Box<[u8]>> {
        let mut all: Vec<Box<[u8]>> = own.map(Into::into).collect();
        let count = all.len();
        for name in &*self.known.lock() {
            let mut own = all.iter().take(count);
            if !own.any(|one| one.eq_ignore_ascii_case(name)) {
                all.push(name.clone());
            }
        }
        all
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.known.lock().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_asked_for_once_as_the_client_spells_them() {
        let names = CustomSettings::default();
        names.add([&b"app.last"[..], b"App.Last", b"b.c"]);
        let own = [&b"App.LAST"[..], b"x.y"];
        let all = names.with(own.into_iter());
        let all: Vec<_> = all.iter().map(|name| &**name).collect();
        assert_eq!(all, [&b"App.LAST"[..], b"x.y", b"b.c"]);
    }

    #[test]
    fn names_beyond_reason_are_not_kept() {
        let names = CustomSettings::default();
        let many: Vec<_> = (0..=MAX_NAMES).map(|at| format!("a.b{at}")).collect();
        names.add(many.iter().map(String::as_bytes));
        assert!(names.are_too_many());
        assert_eq!(names.with(std::iter::empty()).len(), MAX_NAMES);
    }
}
