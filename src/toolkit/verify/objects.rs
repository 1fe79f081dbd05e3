//! Objects of a schema as rows of text, and how two sets of them compare.

use std::collections::{BTreeMap, BTreeSet};

use super::normalise::{Versions, agree};
use super::verdict::{Finding, State};

/// The attributes of one object by name; a NULL has no entry.
pub(crate) type Attributes = BTreeMap<String, String>;

/// All objects of one kind, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Objects(BTreeMap<String, Attributes>);

/// How two sets of objects compare: how many agree, and what is to say of the others.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Comparison {
    pub(crate) matches: usize,
    pub(crate) findings: Vec<Finding>,
}

impl Objects {
    /// Adds one. Two of one name, which a query should not give, stay two.
    pub(crate) fn add(&mut self, name: String, attributes: Attributes) {
        let mut free = name.clone();
        let mut number = 2;
        while self.0.contains_key(&free) {
            free = format!("{name} ({number})");
            number += 1;
        }
        self.0.insert(free, attributes);
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Attributes> {
        self.0.get(name)
    }
}

/// Compares every object of either side with the one of its name on the other.
pub(crate) fn compare(kind: &str, from: &Objects, to: &Objects, versions: Versions) -> Comparison {
    let mut comparison = Comparison::default();
    let names: BTreeSet<_> = from.names().chain(to.names()).collect();
    for name in names {
        let detail = match (from.get(name), to.get(name)) {
            (Some(_), None) => "missing on the new side".to_owned(),
            (None, Some(_)) => "only on the new side".to_owned(),
            (Some(old), Some(new)) => match differences(old, new, versions) {
                differing if differing.is_empty() => {
                    comparison.matches += 1;
                    continue;
                }
                differing => differing.join("; "),
            },
            (None, None) => continue,
        };
        let finding = Finding::new(kind, name.as_str(), State::Mismatch, detail);
        comparison.findings.push(finding);
    }
    comparison
}

fn differences(old: &Attributes, new: &Attributes, versions: Versions) -> Vec<String> {
    let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let differing = keys.into_iter().filter_map(|key| {
        let (old, new) = (old.get(key), new.get(key));
        let equal = match (old, new) {
            (Some(old), Some(new)) => agree(key, old, new, versions),
            (old, new) => old == new,
        };
        let shown = |value: Option<&String>| match value {
            Some(value) => format!("\"{value}\""),
            None => "nothing".to_owned(),
        };
        (!equal).then(|| format!("{key}: {} became {}", shown(old), shown(new)))
    });
    differing.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAME: Versions = Versions { from: 15, to: 15 };

    fn objects(list: &[(&str, &[(&str, &str)])]) -> Objects {
        let mut objects = Objects::default();
        for (name, attributes) in list {
            let attributes = attributes.iter();
            let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
            objects.add((*name).to_owned(), attributes.map(pair).collect());
        }
        objects
    }

    fn details(from: &Objects, to: &Objects) -> Vec<String> {
        let findings = compare("thing", from, to, SAME).findings;
        findings.into_iter().map(|found| found.detail).collect()
    }

    #[test]
    fn what_is_on_one_side_alone_is_found_on_either() {
        let (one, none) = (objects(&[("a", &[])]), Objects::default());
        assert_eq!(details(&one, &none), ["missing on the new side"]);
        assert_eq!(details(&none, &one), ["only on the new side"]);
    }

    #[test]
    fn a_changed_a_lost_and_a_new_attribute_are_found() {
        let old = objects(&[("a", &[("x", "1"), ("lost", "1")])]);
        let new = objects(&[("a", &[("x", "2"), ("new", "")])]);
        assert_eq!(
            details(&old, &new),
            ["lost: \"1\" became nothing; new: nothing became \"\"; x: \"1\" became \"2\""]
        );
    }

    #[test]
    fn what_agrees_is_counted() {
        let some = objects(&[("a", &[("x", "1")]), ("b", &[])]);
        let comparison = compare("thing", &some, &some, SAME);
        assert_eq!((comparison.matches, comparison.findings), (2, vec![]));
    }

    #[test]
    fn the_second_of_a_name_does_not_hide_the_first() {
        let twice = objects(&[("a", &[("x", "1")]), ("a", &[("x", "2")])]);
        let once = objects(&[("a", &[("x", "2")])]);
        assert_eq!(compare("thing", &twice, &once, SAME).findings.len(), 2);
    }
}
