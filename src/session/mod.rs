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
mod pooled;
mod registry;
mod relay;
mod session_end;
mod waits;

use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use crate::config::values::{Database, Pooling, Priority, SaslPlus};
use crate::fault::{ClientFacing, Fault};
use crate::metrics::Metrics;
use crate::name::Name;
use crate::net::framed::Framed;
use crate::pool::{CapPlace, Closing, ConnectionLimiter, Key, Pools};
use crate::startup::{Admitted, Identity};
use crate::tls::MaybeTls;
use crate::upstream::{LoginPolicy, Upstream};
use crate::wire::backend::error_field;
use crate::wire::frame::HEADER;

pub(crate) use closing::SessionClose;
pub(crate) use handle::{Handle, StopOrder, log_session};
pub(crate) use pooled::DatabaseRegistry;
pub(crate) use registry::{Entry, Registry};
pub(crate) use session_end::{SessionEnd, UpstreamLeg};
pub(crate) use waits::{Warnings, watch as watch_waits};

use direct::Direct;
use handle::Activity;
use login::{CapturedLogin, LoginFailure, LoginPlan, log_client_in};
use pooled::{Welcomed, Wish};
use registry::{CancelSlot, ClientRejected};

/// A waiting client may send this much before it is served.
const MAX_AHEAD: usize = 16 * 1024;

/// Where sessions go, as one value that can be exchanged.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) limiter: ConnectionLimiter,
    pub(crate) pools: Pools,
    pub(crate) databases: DatabaseRegistry,
}

/// What every session of a proxy shares.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) route: ArcSwap<Route>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) databases: BTreeMap<String, Database>,
    pub(crate) pooling: Arc<Pooling>,
    pub(crate) query_wait_timeout: Duration,
    pub(crate) sasl_plus: SaslPlus,
    pub(crate) metrics: Metrics,
    pub(crate) warnings: Warnings,
}

/// Serves one client from admission up to the farewells, which are the caller's
/// to see to once the ending is noted: an upstream that hangs may take long.
pub(crate) async fn run(
    client: Box<Admitted>,
    service: &Service,
) -> (Arc<Handle>, SessionEnd, SessionClose) {
    // Boxed, and gone once the session carries: an idle session keeps nothing of it.
    let (handle, begun) = Box::pin(begin(client, service)).await;
    let (ending, parting) = match begun {
        Ok(Started::Direct(session)) => session.run().await,
        Ok(Started::Pooled(session)) => session.run().await,
        Err(ended) => *ended,
    };
    (handle, ending, parting)
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
            let parting = SessionClose::of(client.stream.into_parts().0, Some(no_room.fault()));
            return (
                outsider,
                Err(Box::new((SessionEnd::NoRoom(no_room), parting))),
            );
        }
    };
    let handle = Arc::clone(entry.handle());
    let opened = {
        let opening = open(&mut client, &mut entry, service);
        tokio::select! {
            opened = opening => opened,
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

impl OpenFailure {
    /// How that ends for the client on `stream`.
    fn end(self, stream: MaybeTls) -> (SessionEnd, SessionClose) {
        match self {
            Self::Left => (SessionEnd::LeftWhileWaiting, SessionClose::of(stream, None)),
            Self::Fault(fault) => {
                let parting = SessionClose::of(stream, Some(fault.clone()));
                (SessionEnd::NotServed(fault), parting)
            }
            Self::Refused { response, text } => {
                let mut parting = SessionClose::of(stream, None);
                let ending = SessionEnd::LoginFailed {
                    label: "upstream_refused",
                    text,
                    cure: error_field(response.get(HEADER..).unwrap_or_default(), b'H'),
                };
                parting.words = Some(response);
                (ending, parting)
            }
            Self::Login {
                failure,
                upstream,
                closing,
            } => {
                let mut parting = SessionClose::of(stream, failure.told());
                parting.upstream = Some((closing, upstream));
                let ending = SessionEnd::LoginFailed {
                    label: failure.label(),
                    text: failure.to_string(),
                    cure: failure.cure(),
                };
                (ending, parting)
            }
        }
    }
}

/// A stream, and what was read ahead of its place.
type Ahead = (MaybeTls, BytesMut);

/// Why no session came about.
enum OpenFailure {
    Left,
    Fault(Fault),
    /// In the upstream's own words.
    Refused {
        response: Bytes,
        text: String,
    },
    Login {
        failure: LoginFailure,
        upstream: MaybeTls,
        closing: Closing,
    },
}

/// A client that is logged in.
enum LoggedIn {
    /// With a connection of its own.
    Direct {
        upstream: Ahead,
        closing: Closing,
    },
    Pooled(Box<Welcomed>),
}

/// Boxed is what a client needs none of that finds the pool warm.
async fn open(
    client: &mut Admitted,
    entry: &mut Entry,
    service: &Service,
) -> Result<LoggedIn, OpenFailure> {
    let route = service.route.load_full();
    let handle = Arc::clone(entry.handle());
    let (presented, asked) = (&handle.user, &handle.database);
    let dbname = service.database(client, asked, &route.upstream);
    let key = Key {
        user: match &client.identity {
            Identity::Relayed => presented.clone(),
            Identity::Held(user) => presented.or(&user.upstream_user),
        },
        database: dbname.clone().unwrap_or_else(|| asked.clone()),
    };
    let plan = match client.startup.is_replication() {
        true => None,
        false => {
            let pooling = &service.pooling;
            pooling.plan(asked, &key.database, presented, &key.user)
        }
    };
    let priority = plan
        .as_deref()
        .map_or_else(|| service.pooling.priority(presented), |plan| plan.priority);
    let Some(plan) = plan else {
        let logging_in = log_in(
            (client, entry, service),
            &route,
            (key, priority),
            (dbname.as_ref(), None),
        );
        let (upstream, closing) = Box::pin(logging_in).await?;
        return Ok(LoggedIn::Direct { upstream, closing });
    };
    handle.set_pooled();
    entry.set_limits(plan.timeouts);
    let wish = Wish { key, plan };
    if let Identity::Held(user) = &client.identity {
        let user = Arc::clone(user);
        let welcomed = pooled::welcome(client, &user, (entry, service), (route, wish)).await?;
        return Ok(LoggedIn::Pooled(Box::new(welcomed)));
    }
    let cancel_slot = CancelSlot::new(entry.handle().id, Arc::clone(&route.upstream));
    let mut taken = CapturedLogin::new(Arc::new(cancel_slot));
    let logging_in = log_in(
        (client, entry, service),
        &route,
        (wish.key.clone(), priority),
        (dbname.as_ref(), Some(&mut taken)),
    );
    let (upstream, closing) = Box::pin(logging_in).await?;
    let welcomed = pooled::adopt(
        &client.startup,
        entry,
        (route, wish),
        (upstream, closing, taken),
    );
    Ok(LoggedIn::Pooled(Box::new(welcomed)))
}

/// Logs a client in over a connection of its own.
async fn log_in(
    (client, entry, service): (&mut Admitted, &mut Entry, &Service),
    route: &Route,
    (key, priority): (Key, Priority),
    (dbname, taken): (Option<&Name>, Option<&mut CapturedLogin>),
) -> Result<(Ahead, Closing), OpenFailure> {
    // Waiting for others is not the client's slowness: its time stands still.
    let patience = client
        .login_deadline
        .saturating_duration_since(Instant::now());
    let for_whom = (&**entry.handle(), service);
    let place = wait_for_place(client, for_whom, route, (key, priority)).await?;
    entry.handle().set_activity(Activity::LoggingIn);
    let connecting = pin!(route.upstream.connect());
    let stream = while_client_stays(&mut client.stream, connecting)
        .await?
        .map_err(|error| OpenFailure::Fault(error.fault()))?;
    client.login_deadline = Instant::now() + patience;

    let mut closing = Closing::new(place, Arc::clone(&route.upstream));
    let tls = stream.tls_version();
    let mut upstream = Framed::new(stream);
    let plan = LoginPlan {
        upstream: &route.upstream,
        dbname,
        sasl_plus: service.sasl_plus,
        probation: closing.probation(),
        taken,
    };
    match log_client_in(client, &mut upstream, entry, plan).await {
        Ok(()) => {
            closing.proven();
            let upstream_name = &route.upstream.config().name;
            log_session!(
                info,
                entry.handle(),
                upstream = upstream_name,
                tls,
                "session started",
            );
            Ok((upstream.into_parts(), closing))
        }
        Err(failure) => Err(OpenFailure::Login {
            failure,
            upstream: upstream.into_parts().0,
            closing,
        }),
    }
}

impl Service {
    /// Why a client that comes now is not to be asked who it is.
    pub(crate) fn refuses_logins(&self) -> Option<Fault> {
        match self.route.load().upstream.new_logins() {
            LoginPolicy::Admit => None,
            LoginPolicy::Refuse(fault) => Some(fault),
        }
    }

    /// The database to ask the upstream for, where it is not what the client said.
    fn database(&self, client: &Admitted, asked: &Name, upstream: &Upstream) -> Option<Name> {
        if let Some(database) = asked.text().and_then(|asked| self.databases.get(asked)) {
            return Some(asked.or(&database.dbname));
        }
        match client.startup.get(b"database") {
            Some(name) if !name.is_empty() => None,
            _ => match (&upstream.config().dbname, &client.identity) {
                (Some(dbname), _) => Some(asked.or(dbname)),
                // The server would take the name of a role that the client has never heard of.
                (None, Identity::Held(_)) => Some(asked.clone()),
                (None, Identity::Relayed) => None,
            },
        }
    }
}

async fn wait_for_place(
    client: &mut Admitted,
    (handle, service): (&Handle, &Service),
    route: &Route,
    (key, priority): (Key, Priority),
) -> Result<CapPlace, OpenFailure> {
    let metrics = route.upstream.metrics();
    let began = Instant::now();
    let deadline = began + service.query_wait_timeout;
    let outcome = {
        let _waiting = metrics.waiting();
        let limiter = &route.limiter;
        let wait = || limiter.wait_of(&key);
        let is_proven = matches!(client.identity, Identity::Held(_));
        let admission = pin!(async {
            match is_proven {
                true => limiter.admit(key.clone(), priority, deadline).await,
                false => {
                    let key = key.clone();
                    limiter.admit_unproven(key, priority, deadline).await
                }
            }
        });
        let waiting = pin!(waits::noted(admission, handle, service, wait));
        while_client_stays(&mut client.stream, waiting).await?
    };
    metrics.waited(began.elapsed());
    match outcome {
        Ok(permit) => Ok(CapPlace::new(permit, metrics.connection())),
        Err(refusal) => Err(OpenFailure::Fault(refusal.fault())),
    }
}

/// Waits for `future` as long as the client is there. What the client sends
/// meanwhile is kept for later; one that sends too much is no longer watched.
async fn while_client_stays<T>(
    client: &mut Framed<MaybeTls>,
    mut future: Pin<&mut impl Future<Output = T>>,
) -> Result<T, OpenFailure> {
    loop {
        tokio::select! {
            biased;
            output = &mut future => return Ok(output),
            filled = client.fill(), if client.ahead() < MAX_AHEAD => {
                filled.map_err(|_| OpenFailure::Left)?;
            }
        }
    }
}
