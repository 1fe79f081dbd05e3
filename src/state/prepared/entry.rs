//! A prepared statement as its client knows it, and the name that it is looked up by.

use std::sync::Arc;

use super::{Described, Environment};

/// Names that are longer are the same to the server if they begin the same
/// (NAMEDATALEN less its zero).
const MAX_NAME: usize = 63;

/// A statement as the client prepared it.
#[derive(Debug)]
pub(super) struct PreparedEntry<T> {
    /// What stands behind the name in its Parse. `None` if it was not kept.
    pub(super) text: Option<Arc<[u8]>>,
    /// The length of the query at its beginning.
    pub(super) query: usize,
    /// At the client's own Parse.
    pub(super) env: Environment,
    pub(super) note: T,
    pub(super) cost: usize,
    /// What the client was told of it.
    pub(super) described: Option<Box<Described>>,
    /// It returns something else now: it cannot be used any more.
    pub(super) refused: bool,
}

/// What the server looks up for a name.
pub(super) fn key(name: &[u8]) -> &[u8] {
    name.get(..MAX_NAME).unwrap_or(name)
}
