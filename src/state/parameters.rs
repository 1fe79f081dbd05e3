//! The settings that the server reports (ParameterStatus), as last reported.

use std::sync::Arc;

use crate::wire::backend::{self, MAX_REPORTED};

/// Names and values in the order of their first report. Clones share until one
/// of them changes: a thousand idle clients hold one copy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Parameters {
    reported: Arc<Vec<Report>>,
}

/// The server reports more than a server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooMany;

/// Name and value.
type Report = (Box<[u8]>, Box<[u8]>);

impl Parameters {
    /// The value of `name`, spelled as the server spells it.
    pub(crate) fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter()
            .find_map(|(known, value)| (known == name).then_some(value))
    }

    /// Notes a report; says whether it changed anything.
    ///
    /// # Errors
    /// It would be one too many, and is not noted.
    pub(crate) fn set(&mut self, name: &[u8], value: &[u8]) -> Result<bool, TooMany> {
        let known = self.get(name);
        if known == Some(value) {
            return Ok(false);
        }
        let (most, most_bytes) = MAX_REPORTED;
        // Added up each time: there are few, and every client keeps one of these.
        let all: usize = self.iter().map(|(n, v)| n.len() + v.len()).sum();
        let bytes = match known {
            Some(old) => all - old.len() + value.len(),
            None => all + name.len() + value.len(),
        };
        if bytes > most_bytes || known.is_none() && self.reported.len() >= most {
            return Err(TooMany);
        }
        let reported = Arc::make_mut(&mut self.reported);
        match reported.iter_mut().find(|(known, _)| **known == *name) {
            Some((_, old)) => *old = value.into(),
            None => reported.push((name.into(), value.into())),
        }
        Ok(true)
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
    fn a_server_cannot_report_without_end() {
        let (most, most_bytes) = MAX_REPORTED;
        let mut parameters = Parameters::default();
        for n in 0..most {
            assert_eq!(parameters.set(&n.to_be_bytes(), b""), Ok(true));
        }
        assert_eq!(parameters.set(b"one more", b""), Err(TooMany));
        assert_eq!(parameters.iter().count(), most);
        let value = vec![b'x'; most_bytes - most * size_of::<usize>()];
        assert_eq!(parameters.set(&0_usize.to_be_bytes(), &value), Ok(true));
        assert_eq!(parameters.set(&1_usize.to_be_bytes(), b"x"), Err(TooMany));
        assert_eq!(
            parameters.set(&0_usize.to_be_bytes(), b""),
            Ok(true),
            "less"
        );
        assert_eq!(parameters.set(&1_usize.to_be_bytes(), b"x"), Ok(true));
    }

    #[test]
    fn differences_are_what_changed_and_what_is_new() {
        let mut old = Parameters::default();
        assert_eq!(old.set(b"TimeZone", b"UTC"), Ok(true));
        assert_eq!(old.set(b"DateStyle", b"ISO, MDY"), Ok(true));
        assert_eq!(old.set(b"TimeZone", b"UTC"), Ok(false));
        let mut new = old.clone();
        assert!(new.is_shared_with(&old));
        let mut alike = Parameters::default();
        alike.set(b"TimeZone", b"UTC").unwrap();
        alike.set(b"DateStyle", b"ISO, MDY").unwrap();
        assert!(!alike.is_shared_with(&old));
        alike.unify(&old);
        assert!(alike.is_shared_with(&old));
        new.set(b"TimeZone", b"GMT").unwrap();
        new.unify(&old);
        assert!(!new.is_shared_with(&old));
        new.set(b"search_path", b"a").unwrap();
        assert_eq!(old.get(b"TimeZone"), Some(&b"UTC"[..]), "a clone is apart");
        let told: Vec<_> = old.differences(&new).collect();
        assert_eq!(
            told,
            [(&b"TimeZone"[..], &b"GMT"[..]), (b"search_path", b"a")]
        );
    }
}
