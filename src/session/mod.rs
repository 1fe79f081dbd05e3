//! An admitted client until it leaves: wait for a connection, connect, log in,
//! carry, close.

mod close;
mod closing;
mod commit;
mod direct;
mod flow;
mod handle;
mod limits;
mod login;
mod new_session;
mod open;
mod pooled;
mod registry;
mod relay;
mod service;
mod session_end;
mod wait_log;
mod warnings;

use std::sync::Arc;

use crate::fault::ClientFacing as _;
use crate::startup::Admitted;

pub(crate) use closing::SessionClose;
pub(crate) use handle::{Handle, StopOrder, log_session};
pub(crate) use pooled::DatabaseRegistry;
pub(crate) use registry::Registry;
pub(crate) use service::{Route, Service};
pub(crate) use session_end::SessionEnd;
pub(crate) use wait_log::watch as watch_waits;
pub(crate) use warnings::Warnings;

use direct::Direct;
use new_session::{NewSession, OpenFailure};
use open::LoggedIn;
use registry::ClientRejected;

/// Serves one client from admission up to the farewells, which are the caller's
/// to see to once the ending is noted: an upstream that hangs may take long.
pub(crate) async fn run(
    client: Box<Admitted>,
    service: &Service,
) -> (Arc<Handle>, SessionEnd, SessionClose) {
    // Boxed, and gone once the session carries: an idle session keeps nothing of it.
    let (handle, begun) = Box::pin(begin(client, service)).await;
    let (end, close) = match begun {
        Ok(Started::Direct(session)) => session.run().await,
        Ok(Started::Pooled(session)) => session.run().await,
        Err(ended) => *ended,
    };
    (handle, end, close)
}

/// A session that carries.
enum Started<'a> {
    Direct(Box<Direct<'a>>),
    Pooled(Box<pooled::PooledSession<'a>>),
}

/// Up to the first byte that is carried, or to the reason why there will be none.
async fn begin(
    mut client: Box<Admitted>,
    service: &Service,
) -> (
    Arc<Handle>,
    Result<Started<'_>, Box<(SessionEnd, SessionClose)>>,
) {
    let (user, database) = (client.startup.user(), client.startup.database());
    let entered = service.registry.enter(user, database, client.peer);
    let mut entry = match entered {
        Ok(entry) => entry,
        Err(no_room) => {
            let outsider = service.registry.outsider(user, database, client.peer);
            let close = SessionClose::of(client.stream.into_parts().0, Some(no_room.fault()));
            return (
                outsider,
                Err(Box::new((SessionEnd::NoRoom(no_room), close))),
            );
        }
    };
    let handle = Arc::clone(entry.handle());
    let opened = {
        let new_session = NewSession {
            client: &mut client,
            entry: &mut entry,
            service,
            route: service.route.load_full(),
        };
        tokio::select! {
            opened = new_session.open() => opened,
            _ = handle.ordered() => Err(OpenFailure::Fault(ClientRejected::Draining.fault())),
        }
    };
    let begun = match opened {
        Ok(LoggedIn::Direct { upstream, closing }) => {
            let client = client.stream.into_parts();
            let session = Direct::new(client, upstream, (closing, entry), service);
            Ok(Started::Direct(Box::new(session)))
        }
        Ok(LoggedIn::Pooled(welcomed)) => {
            let ahead = client.stream.into_parts();
            let session = pooled::PooledSession::new(ahead, entry, *welcomed, service);
            Ok(Started::Pooled(Box::new(session)))
        }
        Err(unopened) => {
            drop(entry);
            Err(Box::new(unopened.end(client.stream.into_parts().0)))
        }
    };
    (handle, begun)
}
