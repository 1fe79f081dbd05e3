//! Finds the rows that differ in a table whose sums do.

use std::collections::{BTreeMap, BTreeSet};

use super::buckets::Buckets;
use super::drill::{Advance, Apart, Classified, Row, classify};
use super::error::VerifyError;
use super::rows::{Sides, in_snapshot};
use super::side::{Side, reason, rows, value};
use super::table::Table;
use super::tables::Pair;
use crate::toolkit::connect::Session;

/// Rows that are sorted and fetched at most, of each side. Where more differ, some buckets
/// show which.
const MOST_ROWS: u64 = 2_000_000;
const FETCH: &str = "fetch 2000 from suspects";

/// What is known of the rows that differ.
#[derive(Debug, Default, Clone)]
pub(crate) struct Difference {
    pub(crate) missing: u64,
    pub(crate) extra: u64,
    /// Rows of the same key on both sides.
    pub(crate) changed: u64,
    /// Keys of some, by what is wrong with them.
    pub(crate) samples: Vec<(&'static str, String)>,
    pub(crate) columns: BTreeSet<String>,
    /// Whether other rows differ too, which were not looked for.
    pub(crate) is_partial: bool,
    /// Whether it is known which rows of the two sides are of the same key.
    is_paired: bool,
}

/// A cursor over the suspects of one side.
struct Suspects<'a> {
    session: &'a Session,
    fetched: std::collections::VecDeque<Row>,
    is_at_end: bool,
}

impl<'a> Suspects<'a> {
    async fn open(side: &Side, session: &'a Session, sql: &str) -> Result<Self, String> {
        let open = async {
            side.begin(session).await?;
            session
                .batch_execute(&format!("declare suspects no scroll cursor for {sql}"))
                .await
        };
        open.await.map_err(|error| reason(&error))?;
        Ok(Self {
            session,
            fetched: std::collections::VecDeque::new(),
            is_at_end: false,
        })
    }

    async fn first(&mut self) -> Result<Option<&Row>, String> {
        if self.fetched.is_empty() && !self.is_at_end {
            let fetched = rows(self.session, FETCH)
                .await
                .map_err(|error| reason(&error))?;
            self.is_at_end = fetched.is_empty();
            for row in &fetched {
                let hash = value(row, "hash").and_then(|hash| hash.parse().ok());
                let key = value(row, "key").unwrap_or_default().to_owned();
                self.fetched
                    .push_back((hash.ok_or("a hash cannot be read")?, key));
            }
        }
        Ok(self.fetched.front())
    }

    fn advance(&mut self) {
        self.fetched.pop_front();
    }
}

/// Reads the suspicious buckets of both sides and compares them row by row.
pub(crate) async fn find(
    sides: &Sides,
    pair: &Pair,
    sums: [&Buckets; 2],
    samples: usize,
) -> Result<Difference, String> {
    let differing = sums[0].differing(sums[1]);
    let mut rows = 0;
    let chosen = differing.iter().take_while(|(_, number)| {
        let is_first = rows == 0;
        rows += number;
        is_first || rows <= MOST_ROWS
    });
    let chosen: Vec<_> = chosen.map(|(bucket, _)| *bucket).collect();
    let told = |error: VerifyError| error.to_string();
    let from = sides[0].session().await.map_err(told)?;
    let to = sides[1].session().await.map_err(told)?;
    let apart = compare_rows(sides, [&from, &to], pair, &chosen).await?;
    let classified = classify(&apart);
    let mut difference = difference(&apart, &classified, samples, !pair.from.key.is_empty());
    difference.is_partial = chosen.len() < differing.len();
    if !pair.from.key.is_empty() && !classified.changed.is_empty() {
        difference.columns = columns(sides, [&from, &to], pair, &classified).await?;
    }
    Ok(difference)
}

async fn compare_rows(
    sides: &Sides,
    [from, to]: [&Session; 2],
    pair: &Pair,
    buckets: &[i32],
) -> Result<Apart, String> {
    let (old_sql, new_sql) = (
        pair.from.rows_of(buckets, pair.hashing),
        pair.to.rows_of(buckets, pair.hashing),
    );
    let (old, new) = tokio::join!(
        Suspects::open(&sides[0], from, &old_sql),
        Suspects::open(&sides[1], to, &new_sql)
    );
    let (mut old, mut new) = (old?, new?);
    let mut apart = Apart::default();
    loop {
        let (one, other) = tokio::join!(old.first(), new.first());
        match apart.see(one?, other?) {
            Advance::From => old.advance(),
            Advance::To => new.advance(),
            Advance::Both => {
                old.advance();
                new.advance();
            }
            Advance::End => break,
        }
    }
    for session in [from, to] {
        let ended = session.batch_execute("rollback").await;
        ended.map_err(|error| reason(&error))?;
    }
    Ok(apart)
}

fn difference(apart: &Apart, classified: &Classified, samples: usize, has_key: bool) -> Difference {
    let mut difference = Difference {
        missing: apart.from.number,
        extra: apart.to.number,
        ..Difference::default()
    };
    if !has_key {
        return difference;
    }
    // Which of them belong together is known only if all are remembered.
    difference.is_paired = apart.from.is_whole() && apart.to.is_whole();
    if !difference.is_paired {
        let keys = classified.changed.keys().chain(&classified.missing);
        let keys = keys.chain(&classified.extra).take(samples);
        difference.samples = keys.map(|key| ("differs", key.clone())).collect();
        return difference;
    }
    difference.changed = classified.changed.len() as u64;
    difference.missing -= difference.changed;
    difference.extra -= difference.changed;
    let changed = classified.changed.keys().map(|key| ("differs", key));
    let missing = classified.missing.iter().map(|key| ("missing", key));
    let extra = classified.extra.iter().map(|key| ("extra", key));
    let each = samples.div_ceil(3).max(1);
    let some = changed
        .take(each)
        .chain(missing.take(each))
        .chain(extra.take(each));
    difference.samples = some.map(|(what, key)| (what, key.clone())).collect();
    difference
}

/// Which columns of some changed rows differ.
async fn columns(
    sides: &Sides,
    sessions: [&Session; 2],
    pair: &Pair,
    classified: &Classified,
) -> Result<BTreeSet<String>, String> {
    let hashes = |side: usize| -> Vec<i64> {
        let of = |(from, to): &(i64, i64)| if side == 0 { *from } else { *to };
        classified.changed.values().map(of).take(100).collect()
    };
    let (old_hashes, new_hashes) = (hashes(0), hashes(1));
    let (old, new) = tokio::join!(
        columns_of(&sides[0], sessions[0], &pair.from, (pair, &old_hashes)),
        columns_of(&sides[1], sessions[1], &pair.to, (pair, &new_hashes))
    );
    let (old, new) = (old?, new?);
    let mut differing = BTreeSet::new();
    for (key, values) in &old {
        let Some(others) = new.get(key) else { continue };
        let (values, others) = (values.split(','), others.split(','));
        for ((name, _), (one, other)) in pair.from.columns.iter().zip(values.zip(others)) {
            if one != other {
                differing.insert(name.clone());
            }
        }
    }
    Ok(differing)
}

async fn columns_of(
    side: &Side,
    session: &Session,
    table: &Table,
    (pair, hashes): (&Pair, &[i64]),
) -> Result<BTreeMap<String, String>, String> {
    let sql = table.columns_of(hashes, pair.hashing);
    let read = in_snapshot(side, session, &sql).await?;
    let text = |row: &_, name| value(row, name).unwrap_or_default().to_owned();
    Ok(read
        .iter()
        .map(|row| (text(row, "key"), text(row, "columns")))
        .collect())
}

impl Difference {
    /// In words, with the keys of some.
    pub(crate) fn describe(&self) -> String {
        let mut numbers = Vec::new();
        let (missing, extra) = match self.is_paired {
            true => ("missing on the new side", "only on the new side"),
            false => ("only on the old side", "only on the new side"),
        };
        for (number, what) in [
            (self.missing, missing),
            (self.extra, extra),
            (self.changed, "different"),
        ] {
            if number > 0 {
                numbers.push(format!("{number} {what}"));
            }
        }
        let mut text = format!("rows: {}", numbers.join(", "));
        if self.is_partial {
            text += ", at least";
        }
        if !self.columns.is_empty() {
            let columns: Vec<_> = self.columns.iter().map(String::as_str).collect();
            text += &format!("; columns: {}", columns.join(", "));
        }
        if !self.samples.is_empty() {
            let keys = self
                .samples
                .iter()
                .map(|(what, key)| format!("{key} {what}"));
            text += &format!("; keys: {}", keys.collect::<Vec<_>>().join(", "));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toolkit::verify::drill::Alone;

    fn alone(number: u64, rows: &[(i64, &str)]) -> Alone {
        let rows = rows.iter().map(|(hash, key)| (*hash, (*key).to_owned()));
        Alone {
            number,
            rows: rows.collect(),
        }
    }

    fn described(from: Alone, to: Alone, has_key: bool) -> String {
        let apart = Apart { from, to };
        difference(&apart, &classify(&apart), 3, has_key).describe()
    }

    #[test]
    fn changed_missing_and_extra_rows_are_told_apart() {
        let (from, to) = (
            alone(2, &[(1, "a"), (2, "b")]),
            alone(2, &[(3, "a"), (4, "c")]),
        );
        assert_eq!(
            described(from, to, true),
            "rows: 1 missing on the new side, 1 only on the new side, 1 different; \
             keys: a differs, b missing, c extra"
        );
    }

    #[test]
    fn a_row_is_not_called_missing_when_its_other_half_may_only_be_forgotten() {
        let (from, to) = (alone(9, &[(1, "a")]), alone(9, &[(4, "c")]));
        assert_eq!(
            described(from, to, true),
            "rows: 9 only on the old side, 9 only on the new side; keys: a differs, c differs"
        );
    }

    #[test]
    fn rows_without_a_key_are_counted() {
        let (from, to) = (alone(2, &[(1, ""), (1, "")]), alone(1, &[(5, "")]));
        let text = "rows: 2 only on the old side, 1 only on the new side";
        assert_eq!(described(from, to, false), text);
    }
}
