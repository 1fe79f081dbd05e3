//! What a client was told of a prepared statement, which the server holds it to.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::wire::frontend::split_cstr;

/// More parameters than these bytes have room for are not kept.
const MAX_TYPES: usize = 4096;
/// Behind the name of a column: table, number, type, length, modifier, format.
const COLUMN: usize = 18;

/// The reply to a Describe of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Described {
    /// The body of ParameterDescription, which is also how a Parse ends; `None` if it
    /// was not kept.
    pub(super) types: Option<Box<[u8]>>,
    /// Digest of what the server compares of a row; `None` if it could not be read.
    row: Option<u64>,
}

impl Described {
    /// `types` and `row` are the bodies of ParameterDescription and RowDescription,
    /// where they are here as a whole; NoData has none.
    pub(crate) fn new(types: Option<&[u8]>, row: Option<&[u8]>) -> Self {
        let types = types.filter(|types| types.len() <= MAX_TYPES);
        Self {
            types: types.map(Into::into),
            row: row.and_then(shape),
        }
    }

    pub(super) fn takes_the_same(&self, other: &Self) -> bool {
        self.types == other.types || self.types.is_none() || other.types.is_none()
    }

    pub(super) fn returns_the_same(&self, other: &Self) -> bool {
        self.row == other.row || self.row.is_none() || other.row.is_none()
    }
}

/// Names, types and modifiers: not the table, which may be another one of that name.
fn shape(body: &[u8]) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    let mut rest = body.get(2..).unwrap_or_default();
    while !rest.is_empty() {
        let (name, behind) = split_cstr(rest)?;
        let (column, next) = behind.split_at_checked(COLUMN)?;
        name.hash(&mut hasher);
        column.get(6..10)?.hash(&mut hasher);
        column.get(12..16)?.hash(&mut hasher);
        rest = next;
    }
    Some(hasher.finish())
}
