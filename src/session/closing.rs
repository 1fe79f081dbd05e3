//! The farewells of a session that has ended, on both legs.

use bytes::Bytes;

use super::close;
use crate::fault::Fault;
use crate::pool::Closing;
use crate::startup::refuse;
use crate::tls::MaybeTls;

/// What is left to do on both legs of a session that has ended.
#[derive(Debug)]
#[must_use = "dropped, it breaks both connections off"]
pub(crate) struct SessionClose {
    pub(super) client: MaybeTls,
    pub(super) fault: Option<Fault>,
    /// What the upstream said, in place of `told`.
    pub(super) response: Option<Bytes>,
    pub(super) upstream: Option<(Closing, MaybeTls)>,
}

impl SessionClose {
    pub(super) const fn of(client: MaybeTls, fault: Option<Fault>) -> Self {
        Self {
            client,
            fault,
            response: None,
            upstream: None,
        }
    }

    /// Returns when both sides have let go. Boxed is what a client of a pool that leaves
    /// by itself needs none of.
    pub(crate) async fn finish(self) {
        match self {
            Self {
                client,
                fault: None,
                response: None,
                upstream: None,
            } => close::client(client).await,
            more => Box::pin(more.finish_all()).await,
        }
    }

    async fn finish_all(self) {
        let to_client = async {
            match (&self.response, &self.fault) {
                (Some(response), _) => refuse(self.client, response).await,
                (None, Some(fault)) => refuse(self.client, &fault.fatal()).await,
                (None, None) => close::client(self.client).await,
            }
        };
        let to_upstream = async {
            if let Some((closing, stream)) = self.upstream {
                closing.close(stream).await;
            }
        };
        tokio::join!(to_client, to_upstream);
    }
}
