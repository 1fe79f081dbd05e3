//! Why two databases were not compared at all.

use crate::toolkit::connect::ConnectError;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VerifyError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("upstream \"{upstream}\", {what}: {reason}")]
    Sql {
        upstream: String,
        what: &'static str,
        reason: String,
    },
    #[error("{problem}")]
    Preflight { problem: String, cure: &'static str },
    #[error("no upstream is named \"{name}\"")]
    NoUpstream { name: String, known: Vec<String> },
    /// A filter that lets nothing through.
    #[error("no table is like --schema or --table")]
    NothingChosen,
}

impl VerifyError {
    pub(super) fn sql(upstream: &str, what: &'static str, reason: String) -> Self {
        Self::Sql {
            upstream: upstream.to_owned(),
            what,
            reason,
        }
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Connect(error) => error.hint().map(Into::into),
            Self::Sql { .. } => None,
            Self::Preflight { cure, .. } => Some((*cure).to_owned()),
            Self::NoUpstream { known, .. } => Some(format!(
                "name a section [upstreams.NAME]; there are: {}",
                known.join(", ")
            )),
            Self::NothingChosen => {
                Some("write them as SCHEMA and SCHEMA.TABLE; * stands for any text".to_owned())
            }
        }
    }
}
