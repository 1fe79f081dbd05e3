//! A string that never shows itself: passwords, keys, tokens.
//!
//! `Debug` and `Display` print a mask, the memory is wiped on drop, and the
//! only way to the text is [`Secret::expose`], which can be searched for.

use std::fmt;

use zeroize::Zeroizing;

/// Text that must not reach a log, a metric, an error or the screen.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(Zeroizing<String>);

impl Secret {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself. Every caller is a place to review.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}
