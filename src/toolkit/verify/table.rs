//! The queries over one table's rows, as text. What they compute is the same on every
//! version of the server, whatever the order of columns and rows.

use std::collections::BTreeMap;

use super::buckets::Part;

/// What has rows: a table, a partition, a materialized view, or the large objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) name: String,
    /// What stands behind FROM.
    pub(crate) source: String,
    pub(crate) condition: Option<String>,
    /// Each column's name and type, in the order of the names.
    pub(crate) columns: Vec<(String, String)>,
    /// Expressions that differ from a column's plain name.
    pub(crate) expressions: BTreeMap<String, String>,
    /// Columns that tell a row from every other one; empty if none are known to.
    pub(crate) key: Vec<String>,
    pub(crate) blocks: u64,
    pub(crate) bytes: u64,
    pub(crate) rows: u64,
}

/// How a row becomes a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hashing {
    pub(crate) buckets: u32,
    /// The servers keep texts in different encodings: what is hashed is UTF-8.
    pub(crate) recode: bool,
}

impl Table {
    /// A column as it is hashed. NULL stays NULL in all of them.
    fn column(&self, name: &str, kind: &str) -> String {
        match (self.expressions.get(name), kind) {
            (Some(expression), _) => expression.clone(),
            // Its hexadecimal text would be twice as long, and may exceed what a text can be.
            (None, "bytea") => format!("sha256({name})"),
            // Version 16 prints bytes above 127 otherwise.
            (None, "\"char\"") => format!("({name})::integer"),
            (None, _) => name.to_owned(),
        }
    }

    /// The row as a number of 64 bits.
    ///
    /// Columns of the commonest types are hashed one by one, each with a seed of its own,
    /// which is twice as fast as their text. What is left becomes one text, in which Postgres
    /// quotes the values so that no two rows have the same, and NULL is nothing where an
    /// empty text is two quotes. The last hash ties them together: an exchange of values
    /// between rows would nearly cancel in a sum of what is only joined by XOR.
    fn hash(&self, hashing: Hashing) -> String {
        let (mut alone, mut together) = (Vec::new(), Vec::new());
        for (at, (name, kind)) in self.columns.iter().enumerate() {
            let seed = at + 1;
            let plain = !self.expressions.contains_key(name) && !hashing.recode;
            match of_its_own(name, kind, seed).filter(|_| plain && alone.len() < MOST_ALONE) {
                Some(hash) => alone.push(format!("coalesce({hash}, {})", null(seed))),
                None => together.push(self.column(name, kind)),
            }
        }
        let text = text_of(&format!("row({})::text", together.join(", ")), hashing);
        let rest = format!("hashtextextended({text}, 0)");
        if alone.is_empty() {
            return rest;
        }
        if !together.is_empty() {
            alone.push(rest);
        }
        format!(
            "hashtextextended(({})::text collate \"C\", 0)",
            alone.join(" # ")
        )
    }

    fn key_text(&self) -> String {
        match self.key.is_empty() {
            true => "''".to_owned(),
            false => format!("row({})::text", self.key.join(", ")),
        }
    }

    fn filter(&self, part: Part) -> String {
        let mut filters: Vec<_> = self
            .condition
            .iter()
            .map(|text| format!("({text})"))
            .collect();
        filters.extend(part.from.map(|block| format!("ctid >= '({block},0)'")));
        filters.extend(part.to.map(|block| format!("ctid < '({block},0)'")));
        match filters.is_empty() {
            true => String::new(),
            false => format!(" where {}", filters.join(" and ")),
        }
    }

    /// Number and sum of each bucket of a part: `bucket, rows, sum`.
    pub(crate) fn sums(&self, part: Part, hashing: Hashing) -> String {
        // Without OFFSET the row would be hashed once for each mention of `h`.
        format!(
            "select (h & {mask})::int as bucket, count(*) as rows, sum(h) as sum from \
             (select {hash} as h from {source}{filter} offset 0) q group by 1",
            mask = hashing.buckets - 1,
            hash = self.hash(hashing),
            source = self.source,
            filter = self.filter(part),
        )
    }

    /// Hash and key of each row of some buckets, in the order of both.
    pub(crate) fn rows_of(&self, buckets: &[i32], hashing: Hashing) -> String {
        let numbers: Vec<_> = buckets.iter().map(i32::to_string).collect();
        format!(
            "select h as hash, k as key from (select {hash} as h, {key} as k \
             from {source}{filter} offset 0) q where (h & {mask})::int = any ('{{{numbers}}}') \
             order by h, k collate \"C\"",
            hash = self.hash(hashing),
            key = self.key_text(),
            source = self.source,
            filter = self.filter(Part {
                from: None,
                to: None
            }),
            mask = hashing.buckets - 1,
            numbers = numbers.join(","),
        )
    }

    /// A hash of each column, in the order of `columns`, of the rows with these hashes.
    pub(crate) fn columns_of(&self, hashes: &[i64], hashing: Hashing) -> String {
        let one = |(name, kind): &(String, String)| {
            let text = text_of(&format!("({})::text", self.column(name, kind)), hashing);
            format!("coalesce(hashtextextended({text}, 0)::text, '-')")
        };
        let columns: Vec<_> = self.columns.iter().map(one).collect();
        let hashes: Vec<_> = hashes.iter().map(i64::to_string).collect();
        format!(
            "select {key} as key, concat_ws(',', variadic array[{columns}]::text[]) as columns \
             from {source}{filter}{and} {hash} = any ('{{{hashes}}}')",
            key = self.key_text(),
            columns = columns.join(", "),
            source = self.source,
            filter = self.filter(Part {
                from: None,
                to: None
            }),
            and = if self.condition.is_some() {
                " and"
            } else {
                " where"
            },
            hash = self.hash(hashing),
            hashes = hashes.join(","),
        )
    }

    /// Why its rows cannot be compared with those of `other`, if they cannot.
    pub(crate) fn incomparable(&self, other: &Self) -> Option<String> {
        let differing: Vec<_> = self
            .columns
            .iter()
            .filter(|column| !other.columns.contains(column))
            .chain(
                other
                    .columns
                    .iter()
                    .filter(|column| !self.columns.contains(column)),
            )
            .map(|(name, _)| name.as_str())
            .collect();
        (!differing.is_empty())
            .then(|| format!("its columns are not the same: {}", differing.join(", ")))
    }
}

/// Columns of one row that are hashed one by one; expressions must not nest without end.
const MOST_ALONE: usize = 60;

/// The hash of a column whose type has one that tells every two values apart as their texts
/// do. Those of bigint and of times fold their halves, those of numbers forget the scale or
/// the sign of zero, and names of types that are not here may be anybody's.
fn of_its_own(name: &str, kind: &str, seed: usize) -> Option<String> {
    let function = match kind {
        "integer" => "hashint4extended",
        "smallint" => "hashint2extended",
        "uuid" => "uuid_hash_extended",
        "bigint" => {
            return Some(format!(
                "hashtextextended({name}::text collate \"C\", {seed})"
            ));
        }
        _ if kind == "text" || kind.starts_with("character varying") && !kind.ends_with(']') => {
            return Some(format!("hashtextextended({name} collate \"C\", {seed})"));
        }
        // Always as long as its type says: the blanks at its end, which this leaves out, say nothing.
        _ if kind.starts_with("character(") && kind.ends_with(')') => {
            return Some(format!("hashbpcharextended({name} collate \"C\", {seed})"));
        }
        _ => return None,
    };
    Some(format!("{function}({name}, {seed})"))
}

/// What stands for NULL: as good as a hash, and another for each column.
fn null(seed: usize) -> i64 {
    let seed = i64::try_from(seed).unwrap_or(i64::MAX);
    seed.wrapping_mul(0x1e37_79b9_7f4a_7c15)
        .wrapping_add(0x5851_f42d_4c95_7f2d)
}

fn text_of(text: &str, hashing: Hashing) -> String {
    match hashing.recode {
        true => format!("encode(convert_to({text}, 'UTF8'), 'hex') collate \"C\""),
        false => format!("({text}) collate \"C\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Hashing = Hashing {
        buckets: 8,
        recode: false,
    };

    fn table(columns: &[(&str, &str)]) -> Table {
        let column = |(name, kind): &(&str, &str)| ((*name).to_owned(), (*kind).to_owned());
        Table {
            name: "s.t".to_owned(),
            source: "only s.t".to_owned(),
            condition: None,
            columns: columns.iter().map(column).collect(),
            expressions: BTreeMap::new(),
            key: vec!["a".to_owned()],
            blocks: 1,
            bytes: 8192,
            rows: 1,
        }
    }

    #[test]
    fn every_column_is_in_the_hash_and_none_is_trimmed_folded_or_rounded() {
        let sql = table(&[
            ("a", "integer"),
            ("\"B c\"", "text"),
            ("d", "double precision"),
            ("e", "numeric"),
        ])
        .sums(
            Part {
                from: None,
                to: None,
            },
            PLAIN,
        );
        for part in [
            "hashint4extended(a, 1)",
            "hashtextextended(\"B c\" collate \"C\", 2)",
            "row(d, e)::text",
        ] {
            assert!(sql.contains(part), "{part}: {sql}");
        }
        for word in [
            "trim", "upper", "lower", "round", "concat", "xor", "limit", "where", "''",
        ] {
            assert!(!sql.contains(word), "{word}: {sql}");
        }
    }

    #[test]
    fn a_type_whose_own_hash_takes_two_values_for_one_is_hashed_as_text() {
        let hash = |kind| table(&[("a", kind)]).hash(PLAIN);
        for kind in [
            "numeric",
            "double precision",
            "real",
            "timestamp with time zone",
            "date",
            "interval",
            "jsonb",
            "character",
            "bpchar",
            "text[]",
            "character varying(3)[]",
            "character(3)[]",
            "s.citext",
            "s.text",
            "inet",
        ] {
            assert_eq!(
                hash(kind),
                "hashtextextended((row(a)::text) collate \"C\", 0)",
                "{kind}"
            );
        }
        assert!(
            !hash("bigint").contains("hashint8extended"),
            "2^32 + 1 would be 0"
        );
        assert!(hash("bigint").contains("a::text"));
    }

    #[test]
    fn null_is_no_value_and_another_one_in_each_column() {
        let hash = table(&[("a", "text"), ("b", "text")]).hash(PLAIN);
        let (first, second) = (null(1).to_string(), null(2).to_string());
        assert!(
            hash.contains(&format!("1), {first})")) && hash.contains(&second),
            "{hash}"
        );
        assert_ne!(first, second);
    }

    #[test]
    fn columns_are_tied_together_before_they_are_added_up() {
        let sql = table(&[("a", "integer"), ("b", "integer")]).sums(
            Part {
                from: None,
                to: None,
            },
            PLAIN,
        );
        assert!(sql.contains("select hashtextextended((coalesce("), "{sql}");
    }

    #[test]
    fn texts_of_another_encoding_are_recoded_whole() {
        let recoding = Hashing {
            recode: true,
            ..PLAIN
        };
        let hash = table(&[("a", "text"), ("b", "integer")]).hash(recoding);
        assert!(
            hash.starts_with("hashtextextended(encode(convert_to(row(a, b)::text, 'UTF8')"),
            "{hash}"
        );
    }

    #[test]
    fn very_many_columns_do_not_nest_without_end() {
        let many: Vec<_> = (0..1600).map(|_| ("a", "integer")).collect();
        assert_eq!(table(&many).hash(PLAIN).matches(" # ").count(), MOST_ALONE);
    }

    #[test]
    fn a_part_is_half_open_and_the_ends_are_open() {
        let table = table(&[("a", "integer")]);
        let sums = |from, to| table.sums(Part { from, to }, PLAIN);
        let first = sums(None, Some(9));
        assert!(
            first.contains("where ctid < '(9,0)'") && !first.contains(">="),
            "{first}"
        );
        let middle = sums(Some(9), Some(18));
        assert!(
            middle.contains("where ctid >= '(9,0)' and ctid < '(18,0)'"),
            "{middle}"
        );
        let last = sums(Some(18), None);
        assert!(
            last.contains("where ctid >= '(18,0)'") && !last.contains('<'),
            "{last}"
        );
    }

    #[test]
    fn drilling_down_reads_the_whole_table() {
        let sql = table(&[("a", "integer")]).rows_of(&[1, 5], PLAIN);
        assert!(sql.contains("from only s.t offset 0"), "{sql}");
        assert!(sql.contains("(h & 7)::int = any ('{1,5}')"), "{sql}");
    }

    #[test]
    fn a_condition_holds_in_every_query() {
        let mut table = table(&[("a", "integer")]);
        table.condition = Some("a > 1".to_owned());
        let part = Part {
            from: Some(1),
            to: None,
        };
        assert!(
            table
                .sums(part, PLAIN)
                .contains("where (a > 1) and ctid >= '(1,0)'")
        );
        assert!(table.rows_of(&[0], PLAIN).contains("where (a > 1) offset"));
        assert!(
            table
                .columns_of(&[7], PLAIN)
                .contains("where (a > 1) and hashtext")
        );
    }

    #[test]
    fn other_types_or_columns_are_not_compared_as_if_they_were_the_same() {
        let old = table(&[("a", "integer"), ("b", "json")]);
        assert_eq!(old.incomparable(&old), None);
        for other in [
            table(&[("a", "integer"), ("b", "jsonb")]),
            table(&[("a", "integer")]),
            table(&[("a", "integer"), ("b", "json"), ("c", "text")]),
        ] {
            assert!(old.incomparable(&other).is_some(), "{other:?}");
        }
    }
}
