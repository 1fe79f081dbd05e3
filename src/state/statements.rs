//! Prepared statements: which the client knows, which the connection holds.
