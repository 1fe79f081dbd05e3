//! Asking the server what a session still holds.
