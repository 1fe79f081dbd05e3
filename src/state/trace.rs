//! What the statements of a transaction may have left behind.
