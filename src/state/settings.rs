//! The settings that a client has changed, and how to change them again elsewhere.
