//! From buckets that differ to rows that do: two streams of rows in the same order, and
//! what either has alone. Memory is bounded; the numbers are exact all the same.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// Rows that are remembered of each side, to find out which of them belong together.
const REMEMBERED: usize = 10_000;

/// A row's hash and key.
pub(crate) type Row = (i64, String);

/// What two streams have, each alone.
#[derive(Debug, Default)]
pub(crate) struct Apart {
    pub(crate) from: Alone,
    pub(crate) to: Alone,
}

/// Rows of one side that the other has not.
#[derive(Debug, Default)]
pub(crate) struct Alone {
    pub(crate) number: u64,
    pub(crate) rows: Vec<Row>,
}

impl Alone {
    fn add(&mut self, row: &Row) {
        self.number += 1;
        if self.rows.len() < REMEMBERED {
            self.rows.push(row.clone());
        }
    }

    /// Whether all are remembered.
    pub(crate) const fn is_whole(&self) -> bool {
        self.number == self.rows.len() as u64
    }
}

/// Which of two streams to go on in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Advance {
    From,
    To,
    Both,
    End,
}

impl Apart {
    /// Takes note of the first rows of both streams; tells which are done with. Rows that
    /// are there several times are paired one by one.
    pub(crate) fn see(&mut self, from: Option<&Row>, to: Option<&Row>) -> Advance {
        let order = match (from, to) {
            (None, None) => return Advance::End,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(from), Some(to)) => from.cmp(to),
        };
        match (order, from, to) {
            (Ordering::Less, Some(row), _) => {
                self.from.add(row);
                Advance::From
            }
            (Ordering::Greater, _, Some(row)) => {
                self.to.add(row);
                Advance::To
            }
            _ => Advance::Both,
        }
    }
}

/// Rows that differ, by their keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Classified {
    pub(crate) missing: BTreeSet<String>,
    pub(crate) extra: BTreeSet<String>,
    /// The hashes on both sides.
    pub(crate) changed: BTreeMap<String, (i64, i64)>,
}

/// Pairs the remembered rows by key.
pub(crate) fn classify(apart: &Apart) -> Classified {
    let by_key = |rows: &[Row]| -> BTreeMap<String, i64> {
        rows.iter()
            .map(|(hash, key)| (key.clone(), *hash))
            .collect()
    };
    let (from, to) = (by_key(&apart.from.rows), by_key(&apart.to.rows));
    let mut classified = Classified::default();
    for (key, hash) in &from {
        match to.get(key) {
            Some(other) => {
                classified.changed.insert(key.clone(), (*hash, *other));
            }
            None => {
                classified.missing.insert(key.clone());
            }
        }
    }
    let extra = to.into_keys().filter(|key| !from.contains_key(key));
    classified.extra = extra.collect();
    classified
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apart(mut from: Vec<(i64, &str)>, mut to: Vec<(i64, &str)>) -> Apart {
        from.sort_unstable();
        to.sort_unstable();
        let rows = |list: Vec<(i64, &str)>| -> Vec<Row> {
            list.into_iter()
                .map(|(hash, key)| (hash, key.to_owned()))
                .collect()
        };
        let (from, to) = (rows(from), rows(to));
        let (mut a, mut b) = (from.iter().peekable(), to.iter().peekable());
        let mut apart = Apart::default();
        loop {
            match apart.see(a.peek().copied(), b.peek().copied()) {
                Advance::From => drop(a.next()),
                Advance::To => drop(b.next()),
                Advance::Both => drop((a.next(), b.next())),
                Advance::End => return apart,
            }
        }
    }

    #[test]
    fn what_either_side_has_alone_is_found_to_the_very_end() {
        let found = apart(vec![(1, "a"), (2, "b")], vec![(2, "b"), (3, "c"), (9, "z")]);
        assert_eq!(found.from.rows, [(1, "a".to_owned())]);
        assert_eq!(found.to.number, 2, "beyond the other side's last");
        let found = apart(vec![(7, "a")], vec![]);
        assert_eq!((found.from.number, found.to.number), (1, 0));
    }

    #[test]
    fn a_row_that_is_there_more_often_is_found() {
        let found = apart(vec![(1, ""), (1, ""), (1, "")], vec![(1, "")]);
        assert_eq!((found.from.number, found.to.number), (2, 0));
    }

    #[test]
    fn a_changed_row_is_no_missing_one() {
        let found = apart(vec![(1, "a"), (5, "b")], vec![(4, "a"), (6, "c")]);
        let classified = classify(&found);
        assert_eq!(
            classified.changed,
            BTreeMap::from([("a".to_owned(), (1, 4))])
        );
        assert_eq!(classified.missing, BTreeSet::from(["b".to_owned()]));
        assert_eq!(classified.extra, BTreeSet::from(["c".to_owned()]));
    }

    #[test]
    fn the_number_is_exact_beyond_what_is_remembered() {
        let many: Vec<_> = (0..25_000).map(|hash| (hash, "")).collect();
        let found = apart(many, vec![]);
        assert_eq!(
            (found.from.number, found.from.rows.len()),
            (25_000, REMEMBERED)
        );
        assert!(!found.from.is_whole() && found.to.is_whole());
    }
}
