//! Checksums of rows that need no order: how they add up, and which part differs.
//!
//! A row's hash decides its bucket. A bucket holds the number of its rows and the sum of
//! their hashes: a sum, so that two equal changes do not cancel as in an XOR, and a row
//! that is there twice counts twice.

use std::collections::BTreeMap;

/// Rows of one side with hashes that end in the same bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Bucket {
    pub(crate) rows: u64,
    /// Of 64-bit hashes: 2⁶³ of them fit.
    pub(crate) sum: i128,
}

impl Bucket {
    fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

/// All rows of one side of a table. Empty buckets have no entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Buckets(BTreeMap<i32, Bucket>);

impl Buckets {
    /// Adds what a part of the table has in one bucket.
    pub(crate) fn add(&mut self, number: i32, bucket: Bucket) {
        self.0.entry(number).or_default().add(bucket);
    }

    pub(crate) fn total(&self) -> Bucket {
        let mut total = Bucket::default();
        self.0.values().for_each(|bucket| total.add(*bucket));
        total
    }

    /// The buckets that are not the same on both sides, with the larger number of rows.
    pub(crate) fn differing(&self, other: &Self) -> Vec<(i32, u64)> {
        let numbers: std::collections::BTreeSet<_> = self.0.keys().chain(other.0.keys()).collect();
        let differing = numbers.into_iter().filter_map(|number| {
            let get = |side: &Self| side.0.get(number).copied().unwrap_or_default();
            let (mine, theirs) = (get(self), get(other));
            (mine != theirs).then(|| (*number, mine.rows.max(theirs.rows)))
        });
        differing.collect()
    }
}

/// How many buckets a table of so many rows is given: a power of two.
pub(crate) fn number_of_buckets(rows: u64) -> u32 {
    const ROWS_A_BUCKET: u64 = 4096;
    const MOST: u64 = 4096;
    let wanted = (rows / ROWS_A_BUCKET).clamp(1, MOST);
    u32::try_from(wanted.next_power_of_two()).unwrap_or(1)
}

/// Blocks of a table that are read in one go: from the first on, up to the second and
/// without it. The first part has no beginning and the last no end, so that between them
/// no row is left out, whatever the table's size was thought to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) from: Option<u64>,
    pub(crate) to: Option<u64>,
}

/// Divides a table into parts of so many blocks.
pub(crate) fn parts(blocks: u64, blocks_a_part: u64) -> Vec<Part> {
    let step = blocks_a_part.max(1);
    let cuts: Vec<_> = (1..blocks.div_ceil(step)).map(|n| n * step).collect();
    let begins = std::iter::once(None).chain(cuts.iter().copied().map(Some));
    let ends = cuts.iter().copied().map(Some).chain([None]);
    let part = |(from, to)| Part { from, to };
    begins.zip(ends).map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(hashes: &[i64]) -> Buckets {
        let mut buckets = Buckets::default();
        for hash in hashes {
            let sum = i128::from(*hash);
            buckets.add(i32::try_from(hash & 3).unwrap(), Bucket { rows: 1, sum });
        }
        buckets
    }

    fn equal(one: &[i64], other: &[i64]) -> bool {
        let (one, other) = (buckets(one), buckets(other));
        assert_eq!(one.differing(&other).is_empty(), one == other);
        one == other
    }

    #[test]
    fn order_does_not_count_and_everything_else_does() {
        assert!(equal(&[1, 2, 3, 4], &[4, 2, 1, 3]));
        assert!(equal(&[], &[]));
        assert!(!equal(&[1, 2, 3], &[1, 2]), "a missing row");
        assert!(!equal(&[1, 2], &[1, 2, 3]), "an extra row");
        assert!(!equal(&[1, 2, 3], &[1, 2, 7]), "a changed row");
    }

    #[test]
    fn what_cancels_in_an_xor_does_not_cancel_here() {
        assert!(!equal(&[5, 5, 1], &[9, 9, 1]), "two rows that change alike");
        assert!(!equal(&[5, 5], &[]), "two rows that are gone");
        assert!(!equal(&[5], &[5, 5, 5]), "a row that is there thrice");
    }

    #[test]
    fn rows_whose_hashes_cancel_are_still_counted() {
        assert!(!equal(&[8, -8], &[]), "hashes of sum zero");
        assert!(!equal(&[0], &[]), "a hash of zero");
        assert!(!equal(&[i64::MIN, i64::MAX, 1], &[]), "at the ends");
    }

    #[test]
    fn two_errors_in_different_buckets_do_not_cancel_in_the_total() {
        let (one, other) = (buckets(&[4, 5]), buckets(&[1, 8]));
        assert_eq!(one.total(), other.total());
        assert_eq!(one.differing(&other), [(0, 1), (1, 1)]);
        let (one, other) = (buckets(&[4, 6]), buckets(&[5, 5]));
        assert_eq!(one.total(), other.total());
        assert_eq!(one.differing(&other), [(0, 1), (1, 2), (2, 1)]);
    }

    #[test]
    fn parts_leave_no_block_out_and_read_none_twice() {
        for (blocks, step) in [
            (0, 1),
            (1, 1),
            (1, 9),
            (9, 3),
            (10, 3),
            (11, 3),
            (12, 3),
            (7, 0),
        ] {
            let parts = parts(blocks, step);
            let holders = |block: u64| {
                let inside = |part: &&Part| {
                    part.from.is_none_or(|from| from <= block)
                        && part.to.is_none_or(|to| block < to)
                };
                parts.iter().filter(inside).count()
            };
            // Far beyond the size that was given: the tail is open.
            assert!(
                (0..blocks + 1000).all(|block| holders(block) == 1),
                "{parts:?}"
            );
            assert_eq!((parts[0].from, parts[parts.len() - 1].to), (None, None));
        }
    }

    #[test]
    fn the_number_of_buckets_is_a_power_of_two_within_bounds() {
        for (rows, number) in [
            (0, 1),
            (4096, 1),
            (10_000, 2),
            (20_000, 4),
            (u64::MAX, 4096),
        ] {
            assert_eq!(number_of_buckets(rows), number, "{rows}");
        }
    }
}
