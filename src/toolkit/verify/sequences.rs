//! Where sequences stand. What they are is compared with the other objects.

use std::collections::{BTreeMap, BTreeSet};

use super::side::{Side, reason, value};
use super::tables::Filters;
use super::verdict::{Finding, State};

const SEQUENCES: &str = "select c.oid::regclass::text as name, has_sequence_privilege(c.oid, 'select') as readable \
    from pg_class c where c.relkind = 'S' and c.oid >= 16384 and c.relpersistence <> 't'";

/// Sequences that are read with one statement.
const BATCH: usize = 100;

/// Last value and whether it was called; `None` is what must not be read.
type Positions = BTreeMap<String, Option<String>>;

/// Compares the positions of all sequences: how many agree, and what is to say of others.
pub(crate) async fn compare_positions(
    from: &Side,
    to: &Side,
    filters: &Filters,
) -> (usize, Vec<Finding>) {
    let (old, new) = tokio::join!(positions(from), positions(to));
    match (old, new) {
        (Ok(old), Ok(new)) => compare(&old, &new, filters),
        (old, new) => {
            let reasons = [old.err(), new.err()].into_iter().flatten();
            let finding =
                |reason| Finding::new("sequence position", "all of them", State::Unchecked, reason);
            (0, reasons.map(finding).collect())
        }
    }
}

async fn positions(side: &Side) -> Result<Positions, String> {
    let told = |error| {
        format!(
            "the sequences of {} cannot be read: {}",
            side.about.upstream,
            reason(&error)
        )
    };
    let listed = side.read(SEQUENCES).await.map_err(told)?;
    let mut positions = Positions::new();
    let mut readable = Vec::new();
    for row in &listed {
        let name = value(row, "name").unwrap_or_default().to_owned();
        if value(row, "readable") == Some("t") {
            readable.push(name.clone());
        }
        positions.insert(name, None);
    }
    for names in readable.chunks(BATCH) {
        let one = |name: &String| {
            let label = name.replace('\'', "''");
            format!(
                "select '{label}' as name, last_value || case when is_called then ' used' else ' next' end as position from {name}"
            )
        };
        let sql: Vec<_> = names.iter().map(one).collect();
        for row in &side.read(&sql.join(" union all ")).await.map_err(told)? {
            let position = value(row, "position").map(str::to_owned);
            positions.insert(value(row, "name").unwrap_or_default().to_owned(), position);
        }
    }
    Ok(positions)
}

fn compare(old: &Positions, new: &Positions, filters: &Filters) -> (usize, Vec<Finding>) {
    let (mut matches, mut findings) = (0, Vec::new());
    let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    for name in names {
        let (state, detail) = match (old.get(name), new.get(name)) {
            _ if !filters.let_through(name) => {
                (State::Skipped, "left out by --schema or --table".to_owned())
            }
            (Some(Some(old)), Some(Some(new))) if old == new => {
                matches += 1;
                continue;
            }
            (Some(Some(old)), Some(Some(new))) => (State::Mismatch, format!("{old} became {new}")),
            (Some(_), Some(_)) => (
                State::Unchecked,
                "no right to read it: grant SELECT on the sequence".to_owned(),
            ),
            (Some(_), None) => (State::Mismatch, "missing on the new side".to_owned()),
            (None, _) => (State::Mismatch, "only on the new side".to_owned()),
        };
        findings.push(Finding::new(
            "sequence position",
            name.as_str(),
            state,
            detail,
        ));
    }
    (matches, findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(position: Option<&str>) -> Positions {
        Positions::from([("s.q".to_owned(), position.map(str::to_owned))])
    }

    fn state(old: &Positions, new: &Positions) -> Option<State> {
        let (matches, findings) = compare(old, new, &Filters::default());
        assert_eq!(matches == 1, findings.is_empty());
        findings.first().map(|finding| finding.state)
    }

    #[test]
    fn only_the_same_position_that_was_read_on_both_sides_is_equal() {
        let (used, next) = (one(Some("7 used")), one(Some("7 next")));
        assert_eq!(state(&used, &used), None);
        assert_eq!(state(&used, &next), Some(State::Mismatch));
        assert_eq!(state(&used, &one(None)), Some(State::Unchecked));
        assert_eq!(state(&one(None), &one(None)), Some(State::Unchecked));
        assert_eq!(state(&used, &Positions::new()), Some(State::Mismatch));
        assert_eq!(state(&Positions::new(), &used), Some(State::Mismatch));
    }
}
