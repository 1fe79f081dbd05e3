//! The settings that the server reports (ParameterStatus), as last reported.

use std::sync::Arc;

use crate::wire::backend;

/// Names and values in the order of their first report. Clones share until one
/// of them changes: a thousand idle clients hold one copy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parameters {
    reported: Arc<Vec<Report>>,
}

/// Name and value.
type Report = (Box<[u8]>, Box<[u8]>);

impl Parameters {
    /// The value of `name`, spelled as the server spells it.
    pub(crate) fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter()
            .find_map(|(known, value)| (known == name).then_some(value))
    }

    /// Notes a report; says whether it changed anything.
    pub(crate) fn set(&mut self, name: &[u8], value: &[u8]) -> bool {
        if self.get(name) == Some(value) {
            return false;
        }
        let reported = Arc::make_mut(&mut self.reported);
        match reported.iter_mut().find(|(known, _)| **known == *name) {
            Some((_, old)) => *old = value.into(),
            None => reported.push((name.into(), value.into())),
        }
        true
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.reported
            .iter()
            .map(|(name, value)| (&**name, &**value))
    }

    /// A ParameterStatus each.
    pub(crate) fn statuses(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, value) in self.iter() {
            backend::put_parameter_status(&mut out, name, value);
        }
        out
    }

    /// Whether both are known to be the same without a look at the values.
    pub(crate) fn is_shared_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.reported, &other.reported)
    }

    /// Shares the copy of `other` if it says the same.
    pub(crate) fn unify(&mut self, other: &Self) {
        if self.reported == other.reported {
            self.reported = Arc::clone(&other.reported);
        }
    }

    /// What somebody who knows `self` has to be told to know `new`.
    pub(crate) fn differences<'n>(
        &self,
        new: &'n Self,
    ) -> impl Iterator<Item = (&'n [u8], &'n [u8])> {
        new.iter()
            .filter(|(name, value)| self.get(name) != Some(*value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_what_changed_and_what_is_new() {
        let mut old = Parameters::default();
        assert!(old.set(b"TimeZone", b"UTC"));
        assert!(old.set(b"DateStyle", b"ISO, MDY"));
        assert!(!old.set(b"TimeZone", b"UTC"));
        let mut new = old.clone();
        assert!(new.is_shared_with(&old));
        let mut alike = Parameters::default();
        alike.set(b"TimeZone", b"UTC");
        alike.set(b"DateStyle", b"ISO, MDY");
        assert!(!alike.is_shared_with(&old));
        alike.unify(&old);
        assert!(alike.is_shared_with(&old));
        new.set(b"TimeZone", b"GMT");
        new.unify(&old);
        assert!(!new.is_shared_with(&old));
        new.set(b"search_path", b"a");
        assert_eq!(old.get(b"TimeZone"), Some(&b"UTC"[..]), "a clone is apart");
        let told: Vec<_> = old.differences(&new).collect();
        assert_eq!(
            told,
            [(&b"TimeZone"[..], &b"GMT"[..]), (b"search_path", b"a")]
        );
    }
}
