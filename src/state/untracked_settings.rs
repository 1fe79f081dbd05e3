//! Settings that are nobody's state: they are neither tracked nor replayed, whoever
//! sets them.

/// Every transaction sets these anew, though the server calls them the session's.
const OF_TRANSACTION: &[&[u8]] = &[
    b"transaction_deferrable",
    b"transaction_isolation",
    b"transaction_read_only",
];

/// Whether the setting of this name, in lower case, is left alone.
pub(super) fn is_untracked(name: &[u8]) -> bool {
    OF_TRANSACTION.contains(&name)
}
