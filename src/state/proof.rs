//! What the catalog proves of a statement: that it can leave nothing behind.
