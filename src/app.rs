//! The composition root: builds everything from a [`Config`], binds, serves,
//! drains. The life of the process fits on the screen in [`App::run`].

mod greeting;
mod signals;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::{Builder, Handle};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::admin::{Health, Http, HttpError};
use crate::config::Config;
use crate::config::values::UpstreamTls;
use crate::listener::{self, Server, serve, supervise};
use crate::metrics::{Metrics, MetricsError};
use crate::net::{BindError, Listener, UnixOptions};
use crate::pool::{Caps, Pools, maintain};
use crate::session::{
    DatabaseRegistry, Registry, Route, Service, StopOrder, Warnings, log_session, watch_waits,
};
use crate::startup::{Admission, AdmissionError};
use crate::tls::{Description, SetupError};
use crate::upstream::{Unreachable, Upstream};

use signals::{ShutdownRequest, Signals};

/// How long sessions that were told to end at once may take to say so.
const FAREWELL: Duration = Duration::from_secs(3);

/// How long the end waits for listeners to close, which takes a moment unless a worker
/// is busy.
const CLOSING: Duration = Duration::from_millis(500);

/// How often it is looked whether something has lasted too long.
const LOOK: Duration = Duration::from_millis(200);

/// Why the proxy cannot start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppError {
    #[error("upstream \"{upstream}\": {source}")]
    Upstream {
        upstream: String,
        source: SetupError,
    },
    #[error(transparent)]
    Admission(#[from] AdmissionError),
    #[error("no upstream is named \"{0}\"")]
    NoUpstream(String),
    #[error("none of the addresses in listen.addresses exists on this machine")]
    NoAddress,
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
    #[error("the upstream is reached in plaintext")]
    Plaintext,
    #[error("the runtime cannot be started: {0}")]
    Runtime(#[source] io::Error),
}

impl AppError {
    /// What to do about it, where the text does not say.
    pub(crate) fn hint(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Upstream { source, .. } | Self::Admission(AdmissionError::Tls(source)) => {
                Some(source.cure().into())
            }
            Self::Bind(error) => Some(error.cure().into()),
            Self::Http(HttpError::Bind(error)) => {
                let cure = error.cure().replace("listen.addresses", "admin.http");
                Some(cure.into())
            }
            Self::NoAddress => Some("write an address of `ip address` in listen.addresses".into()),
            _ => None,
        }
    }
}

/// A proxy whose files are read and whose sockets are bound.
#[derive(Debug)]
pub(crate) struct App {
    front: Arc<Server>,
    listeners: Vec<Listener>,
    http: Option<Http>,
    config: Config,
    drain_timeout: Duration,
    /// Ended by dropping.
    workers: Vec<WorkerThread>,
}

impl App {
    /// Reads what has to be read and binds what has to be bound; serves nobody yet.
    ///
    /// # Errors
    /// See [`AppError`].
    pub(crate) fn build(config: &Config) -> Result<Self, AppError> {
        let (metrics, http) = watched(config)?;
        let upstreams = upstreams(config, &metrics)?;
        let upstream = upstreams
            .get(&config.upstream)
            .ok_or_else(|| AppError::NoUpstream(config.upstream.clone()))?;
        let limits = &config.limits;
        let caps = Caps {
            total: limits.max_upstream_conn,
            per_user: limits.max_user_connections,
            per_database: limits.max_db_connections,
        };
        if let Some(user) = config.users.values().next() {
            upstream.watch(&user.upstream_user);
        }
        let pools = Pools::new(
            Arc::clone(upstream),
            caps,
            config.pooling.max_logins(),
            Handle::current(),
        );
        let service = Service {
            route: ArcSwap::from_pointee(Route {
                upstream: Arc::clone(upstream),
                pools,
                databases: DatabaseRegistry::default(),
            }),
            pooling: Arc::clone(&config.pooling),
            registry: Arc::new(Registry::new(limits.clone())),
            databases: config.databases.clone(),
            query_wait_timeout: limits.query_wait_timeout,
            sasl_plus: config.listen.sasl_plus,
            warnings: Warnings::default(),
            metrics,
        };
        let admission = Admission::new(config)?;
        let workers = (0..config.workers)
            .map(WorkerThread::start)
            .collect::<Result<Vec<_>, _>>()?;
        let listeners = bind(config, &workers)?;
        let seats = workers.iter().map(|worker| worker.handle.clone());
        let front = Server::new(
            admission,
            service,
            seats.map(listener::Worker::new).collect(),
            limits.max_client_conn,
        );
        Ok(Self {
            front: Arc::new(front),
            listeners,
            http,
            config: config.clone(),
            drain_timeout: limits.drain_timeout,
            workers,
        })
    }

    /// The TCP addresses that are listened on, with the ports that were taken.
    pub(crate) fn tcp_addresses(&self) -> Vec<SocketAddr> {
        self.listeners
            .iter()
            .filter_map(|listener| listener.address().parse().ok())
            .collect()
    }

    /// Secures one connection to the active upstream as a session would, except
    /// that the server must prove to be `server_name`.
    ///
    /// # Errors
    /// It cannot be reached or verified.
    pub(crate) async fn secure_upstream(
        config: &Config,
        server_name: &str,
    ) -> Result<Description, AppError> {
        let missing = || AppError::NoUpstream(config.upstream.clone());
        let mut upstream = Arc::clone(config.upstreams.get(&config.upstream).ok_or_else(missing)?);
        if let UpstreamTls::Enable(tls) = &mut Arc::make_mut(&mut upstream).tls {
            server_name.clone_into(&mut tls.server_name);
        }
        let built =
            Upstream::new(upstream, &Metrics::detached()).map_err(|source| AppError::Upstream {
                upstream: config.upstream.clone(),
                source,
            })?;
        built
            .connect()
            .await?
            .description()
            .ok_or(AppError::Plaintext)
    }

    /// Serves until a signal, or until `stop`.
    ///
    /// # Errors
    /// Signals cannot be listened to.
    pub(crate) async fn run(self, stop: CancellationToken) -> io::Result<()> {
        let mut signals = Signals::new()?;
        if let Some(http) = self.http {
            let workers = self.workers.iter().map(|worker| worker.handle.clone());
            http.serve(Health::new(workers.collect(), self.front.closing.clone()));
        }
        let (mut doors, mut listens) = (Vec::new(), Vec::new());
        let posts = self.workers.iter().enumerate().cycle();
        for (listener, (here, worker)) in self.listeners.into_iter().zip(posts) {
            let address = listener.address();
            tracing::info!(address, "listening");
            listens.push(address);
            let accepting = serve(listener, Arc::clone(&self.front), here);
            doors.push(worker.handle.spawn(accepting));
        }
        greeting::greet(&self.config, &listens);
        let service = &self.front.service;
        let pools = service.route.load().pools.clone();
        let upkeep = CancellationToken::new();
        keep_going("the upkeep of pools", &upkeep, {
            let pools = pools.clone();
            move |stop| maintain(pools.clone(), stop)
        });
        keep_going("limits on sessions", &upkeep, {
            let registry = Arc::clone(&service.registry);
            move |stop| enforce_limits(Arc::clone(&registry), stop)
        });
        keep_going("warnings of long waits", &upkeep, {
            let front = Arc::clone(&self.front);
            move |stop| {
                let front = Arc::clone(&front);
                async move { watch_waits(&front.service, stop).await }
            }
        });
        // Not under systemd: nobody to tell.
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);

        let asked = tokio::select! {
            asked = signals.next() => asked,
            () = stop.cancelled() => ShutdownRequest::Drain,
        };
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        self.front.closing.cancel();
        let doors = async {
            for door in doors {
                // Closed, and its socket file gone; it can have failed in no other way.
                let _ = door.await;
            }
        };
        // A worker that is busy closes its own later: whoever comes there is refused.
        if timeout(CLOSING, doors).await.is_err() {
            tracing::warn!("a worker thread is busy, and still has its listener open");
        }
        self.front.tasks.close();
        if asked == ShutdownRequest::Drain {
            drain(&self.front, self.drain_timeout, &mut signals).await;
        }
        self.front.service.registry.order_all(StopOrder::End);
        pools.close_all();
        upkeep.cancel();
        let all = async {
            self.front.tasks.wait().await;
            pools.all_closed().await;
        };
        let all_ended = timeout(FAREWELL, all).await.is_ok();
        tracing::info!(all_ended, "stopped");
        Ok(())
    }
}

/// Runs what `begin` makes in the background until `stop`, whatever happens to it.
fn keep_going<F>(
    what: &'static str,
    stop: &CancellationToken,
    begin: impl Fn(CancellationToken) -> F + Send + Sync + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let stop = stop.clone();
    tokio::spawn(async move { supervise(what, &stop, || begin(stop.clone())).await });
}

/// Ends what lasts too long.
async fn enforce_limits(registry: Arc<Registry>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = sleep(LOOK) => registry.limited().enforce(),
            () = stop.cancelled() => return,
        }
    }
}

/// Lets sessions end by themselves, until the deadline or the next signal.
async fn drain(front: &Server, limit: Duration, signals: &mut Signals) {
    let registry = &front.service.registry;
    front.service.route.load().pools.drain();
    registry.order_all(StopOrder::Drain);
    tracing::info!(
        sessions = registry.handles().len(),
        drain_timeout = ?limit,
        "draining: sessions may take {limit:?} to finish, a second signal (Ctrl-C) ends them now"
    );
    let reason = tokio::select! {
        () = front.tasks.wait() => return,
        () = sleep(limit) => "drain_timeout",
        _ = signals.next() => "second signal",
    };
    for session in registry.handles() {
        log_session!(
            warn,
            &session,
            activity = %session.activity(),
            reason,
            "session cut off",
        );
    }
}

/// Metrics are recorded where somebody can ask for them.
fn watched(config: &Config) -> Result<(Metrics, Option<Http>), AppError> {
    if config.admin.http.is_empty() {
        return Ok((Metrics::detached(), None));
    }
    let (metrics, recorded) = Metrics::record()?;
    let http = Http::bind(&config.admin, &config.listen.keepalive, recorded)?;
    Ok((metrics, Some(http)))
}

fn upstreams(
    config: &Config,
    metrics: &Metrics,
) -> Result<BTreeMap<String, Arc<Upstream>>, AppError> {
    let build = |(name, upstream): (&String, &Arc<_>)| {
        Upstream::new(Arc::clone(upstream), metrics)
            .map(|upstream| (name.clone(), Arc::new(upstream)))
            .map_err(|source| AppError::Upstream {
                upstream: name.clone(),
                source,
            })
    };
    config.upstreams.iter().map(build).collect()
}

/// Each is watched by the worker that will accept there; see [`App::run`].
fn bind(config: &Config, workers: &[WorkerThread]) -> Result<Vec<Listener>, AppError> {
    let listen = &config.listen;
    let mut listeners = Vec::new();
    let enter = |nth: usize| {
        let worker = workers.get(nth % workers.len().max(1));
        worker.map(|worker| worker.handle.enter())
    };
    for address in &listen.addresses {
        let _post = enter(listeners.len());
        match Listener::bind_tcp(*address, listen.backlog, &listen.keepalive) {
            Ok(listener) => listeners.push(listener),
            // The default asks for both families; many containers have only one.
            Err(error) if error.is_no_such_address() && listen.addresses.len() > 1 => {
                tracing::warn!(%error, "address left out");
            }
            Err(error) => return Err(error.into()),
        }
    }
    if listeners.is_empty() && !listen.addresses.is_empty() {
        return Err(AppError::NoAddress);
    }
    let port = match listen.unix_socket_port {
        0 => listeners
            .first()
            .and_then(Listener::port)
            .unwrap_or_default(),
        port => port,
    };
    let options = UnixOptions {
        port,
        mode: listen.unix_socket_mode,
        group: listen.unix_socket_group.as_deref(),
    };
    for directory in &listen.unix_socket_dirs {
        let _post = enter(listeners.len());
        listeners.push(Listener::bind_unix(directory, &options)?);
    }
    Ok(listeners)
}

/// An event loop on a thread of its own. Sessions stay on one: many ready sockets
/// are served for each time it wakes, and none is handed between threads.
#[derive(Debug)]
struct WorkerThread {
    handle: Handle,
    stop: CancellationToken,
}

impl WorkerThread {
    fn start(number: usize) -> Result<Self, AppError> {
        let runtime = Builder::new_current_thread()
            // No signals, no children: those are the main thread's.
            .enable_io()
            .enable_time()
            .build()
            .map_err(AppError::Runtime)?;
        let worker = Self {
            handle: runtime.handle().clone(),
            stop: CancellationToken::new(),
        };
        let stop = worker.stop.clone();
        std::thread::Builder::new()
            .name(format!("worker-{number}"))
            .spawn(move || runtime.block_on(stop.cancelled()))
            .map_err(AppError::Runtime)?;
        Ok(worker)
    }
}

impl Drop for WorkerThread {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
