//! The rows of a census to a catalog.
//!
//! Invariant: a census that was not read to its end, in every row, is no census.

use super::snapshot::{Catalog, Taint};

/// More names than this are not kept: nothing is proven then.
const MAX_NAMES: usize = 50_000;

/// Reads DataRow messages.
#[derive(Debug, Default)]
pub(crate) struct CatalogReader {
    catalog: Catalog,
    rows: usize,
    /// The number of rows before the last one, by that one.
    announced: Option<usize>,
    failed: bool,
}

impl CatalogReader {
    /// The body of a DataRow.
    pub(crate) fn row(&mut self, body: &[u8]) {
        if !self.failed {
            self.failed = self.read(body).is_none();
        }
        if self.failed {
            // It may be large, and is not needed any more.
            self.catalog = Catalog::default();
        }
    }

    /// `None`: the census could not be read, and proves nothing.
    pub(crate) fn finish(self) -> Option<Catalog> {
        let complete = !self.failed && self.announced == Some(self.rows);
        complete.then_some(self.catalog)
    }

    fn read(&mut self, body: &[u8]) -> Option<()> {
        let [kind, level, name] = columns(body)?;
        if kind == b"end" {
            let count = std::str::from_utf8(name).ok()?.parse().ok()?;
            return self.announced.replace(count).is_none().then_some(());
        }
        self.rows += 1;
        let taint = match kind {
            b"unproven" => Taint::Unproven,
            b"sequence" => Taint::Sequence,
            b"hidden" => Taint::Hidden,
            b"library" => Taint::Library,
            b"function" => Taint::None,
            b"custom" => {
                self.catalog.add_custom(name);
                return (self.rows <= MAX_NAMES).then_some(());
            }
            _ => return None,
        };
        let level = match level {
            b"0" => 0,
            b"1" => 1,
            b"2" => 2,
            _ => return None,
        };
        self.catalog.add(taint, level, name);
        (self.rows <= MAX_NAMES).then_some(())
    }
}

/// The three columns of a row, none of them NULL.
fn columns(body: &[u8]) -> Option<[&[u8]; 3]> {
    let (count, mut rest) = body.split_first_chunk::<2>()?;
    let mut column = || {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
        let (value, after) = after.split_at_checked(length)?;
        rest = after;
        Some(value)
    };
    let columns = [column()?, column()?, column()?];
    (*count == [0, 3] && rest.is_empty()).then_some(columns)
}
