//! Undoing what a client left on a connection.
