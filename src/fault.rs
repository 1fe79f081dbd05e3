//! Who is to blame, and what the client is told.
