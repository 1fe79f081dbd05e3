//! Who is to blame, and what the client is told about it.
//!
//! Each room has its own closed error type; where such an error meets a client it
//! becomes a [`Fault`]: severity, SQLSTATE, a text that is safe to show, a hint
//! that says what to do, and a label under which it is counted.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;

use crate::wire::backend::{self, ErrorFields};
use crate::wire::sqlstate::SqlState;

/// An error as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) sqlstate: SqlState,
    /// Without the `pgsluice: ` that every message starts with.
    pub(crate) message: Cow<'static, str>,
    pub(crate) detail: Option<Cow<'static, str>>,
    pub(crate) hint: Option<Cow<'static, str>>,
    /// Label of the metric that counts it, and `reason` in the log.
    pub(crate) label: &'static str,
}

impl Fault {
    pub(crate) fn new(
        sqlstate: SqlState,
        label: &'static str,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            sqlstate,
            message: message.into(),
            detail: None,
            hint: None,
            label,
        }
    }

    pub(crate) fn detail(mut self, text: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(text.into());
        self
    }

    pub(crate) fn hint(mut self, text: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(text.into());
        self
    }

    /// The ErrorResponse that ends a session.
    pub(crate) fn fatal(&self) -> Bytes {
        self.response("FATAL")
    }

    /// The ErrorResponse that ends a statement.
    pub(crate) fn error(&self) -> Bytes {
        self.response("ERROR")
    }

    fn response(&self, severity: &'static str) -> Bytes {
        backend::error_response(&ErrorFields {
            severity,
            sqlstate: self.sqlstate,
            message: &format!("pgsluice: {}", self.message),
            detail: self.detail.as_deref(),
            hint: self.hint.as_deref(),
        })
    }
}

/// A measured time as people read it: `87ms`, `1.2s`, `120s`.
pub(crate) fn rounded(time: Duration) -> Duration {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let step = match millis {
        0..1_000 => 1,
        1_000..10_000 => 100,
        _ => 1_000,
    };
    Duration::from_millis(millis / step * step)
}

/// An error of some room that a client can be told about.
pub(crate) trait ClientFacing {
    fn fault(&self) -> Fault;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measured_time_is_read_at_a_glance() {
        for (nanos, text) in [
            (250_000, "0ns"),
            (87_654_321, "87ms"),
            (1_234_567_891, "1.2s"),
            (120_001_234_567, "120s"),
        ] {
            assert_eq!(format!("{:?}", rounded(Duration::from_nanos(nanos))), text);
        }
    }
}
