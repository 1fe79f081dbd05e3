//! Accepting: one loop a socket, one task a client, and the one place in which
//! the errors of a client end.

mod cancel;
mod supervise;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::metrics::Metrics;
use crate::name::Name;
use crate::net::{
    AcceptBackoff, AcceptLimit, DetachedSocket, Listener, Peer, PendingConnection, Socket,
};
use crate::session::{self, Service, log_session};
use crate::startup::{Admission, Admitted, Arrival, Refused, refuse};

use cancel::cancel;
pub(crate) use supervise::supervise;

/// Connections beyond `max_client_conn` that are still spoken to: clients that
/// have to be told so, and cancel requests, which must come through when all
/// places are taken.
const CONNECTIONS_BEYOND_CLIENTS: usize = 64;
/// How long a client that has not said what it wants may still do so once the
/// proxy is closing.
const LAST_HANDSHAKES: Duration = Duration::from_secs(1);

/// A thread that sessions live on. A session never moves from one to another.
#[derive(Debug)]
pub(crate) struct Worker {
    handle: Handle,
    /// Those who live there.
    clients: AtomicUsize,
}

impl Worker {
    pub(crate) const fn new(handle: Handle) -> Self {
        Self {
            handle,
            clients: AtomicUsize::new(0),
        }
    }
}

/// Where the fewest live; of several such `here`, where a client has no way to go.
fn least_loaded(workers: &[Worker], here: usize) -> usize {
    let places = (here..workers.len()).chain(0..here);
    let clients = |at: &usize| {
        let worker = workers.get(*at);
        worker.map_or(usize::MAX, |worker| worker.clients.load(Ordering::Relaxed))
    };
    places.min_by_key(clients).unwrap_or(here)
}

/// A client's presence on a worker, until dropped.
#[derive(Debug)]
struct WorkerGuard {
    front: Arc<Server>,
    worker: usize,
}

impl WorkerGuard {
    fn new(front: &Arc<Server>, worker: usize) -> Self {
        front.metrics.clients.increment(1.0);
        if let Some(worker) = front.workers.get(worker) {
            worker.clients.fetch_add(1, Ordering::Relaxed);
        }
        Self {
            front: Arc::clone(front),
            worker,
        }
    }
}

impl Drop for WorkerGuard {
    fn drop(&mut self) {
        self.front.metrics.clients.decrement(1.0);
        if let Some(worker) = self.front.workers.get(self.worker) {
            worker.clients.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// What every accept loop shares.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) admission: Admission,
    pub(crate) service: Service,
    workers: Vec<Worker>,
    pub(crate) tasks: TaskTracker,
    /// No more clients are accepted.
    pub(crate) closing: CancellationToken,
    accept_limit: Arc<AcceptLimit>,
    metrics: Metrics,
}

impl Server {
    pub(crate) fn new(
        admission: Admission,
        service: Service,
        workers: Vec<Worker>,
        max_client_conn: u32,
    ) -> Self {
        let places = (max_client_conn as usize).saturating_add(CONNECTIONS_BEYOND_CLIENTS);
        Self {
            admission,
            workers,
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            accept_limit: Arc::new(AcceptLimit::new(places)),
            metrics: service.metrics.clone(),
            service,
        }
    }
}

/// Accepts, on the worker `here`, until `front.closing`; the socket closes when this
/// returns. A loop that panics is begun again: a port that is held and never served is
/// worse than one that is closed. On a worker, and not beside them, since half of the clients or more stay
/// there: for them no other thread has to be woken.
pub(crate) async fn serve(listener: Listener, front: Arc<Server>, here: usize) {
    let listener = Arc::new(listener);
    let what = format!("accepting at {}", listener.address());
    let accepting = || accept(Arc::clone(&listener), Arc::clone(&front), here);
    supervise(&what, &front.closing, accepting).await;
}

async fn accept(listener: Arc<Listener>, front: Arc<Server>, here: usize) {
    let mut setback = AcceptBackoff::default();
    let mut closing = pin!(front.closing.cancelled());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut closing => return,
        };
        match accepted {
            Ok(client) => {
                setback.is_over();
                let pending = tokio::select! {
                    pending = front.accept_limit.enter() => pending,
                    () = &mut closing => return,
                };
                let Some(pending) = pending else {
                    // Not even a word is spent on it.
                    front.metrics.refused("flood");
                    if let Some(unsaid) = front.service.warnings.may_say("flood") {
                        tracing::warn!(
                            client = %client.1,
                            limit = "limits.max_client_conn, and 64 more",
                            unsaid,
                            "connection closed: all places for connections are taken"
                        );
                    }
                    continue;
                };
                dispatch(&front, client, pending, here);
            }
            // Out of descriptors, mostly: it passes when a client leaves.
            Err(error) => {
                let pause = setback.after(&listener, &error);
                tokio::select! {
                    () = sleep(pause) => {}
                    () = &mut closing => return,
                }
            }
        }
    }
}

/// Gives a socket to a worker.
fn dispatch(
    front: &Arc<Server>,
    (socket, peer): (Socket, Peer),
    pending: PendingConnection,
    here: usize,
) {
    let at = least_loaded(&front.workers, here);
    let Some(worker) = front.workers.get(at) else {
        return;
    };
    let socket = match at == here {
        true => Ok(DetachedSocket::Here(socket)),
        false => socket.unsettle(),
    };
    match socket {
        Ok(socket) => {
            let task = handle_connection(WorkerGuard::new(front, at), (socket, peer), pending);
            front.tasks.spawn_on(task, &worker.handle);
        }
        Err(error) => tracing::warn!(client = %peer, %error, "client not taken over"),
    }
}

/// One client from its first byte to its last. What is over when a client idles is
/// boxed, so that it takes no room then.
async fn handle_connection(
    presence: WorkerGuard,
    (socket, peer): (DetachedSocket, Peer),
    pending: PendingConnection,
) {
    let front = &*presence.front;
    let receiving = match socket.settle() {
        Ok(socket) => Box::pin(receive(front, socket, peer, pending)),
        Err(error) => {
            tracing::warn!(client = %peer, %error, "client not taken over");
            return;
        }
    };
    front.metrics.clients_total.increment(1);
    // The place is kept for as long as the client is.
    if let Some((client, _place)) = receiving.await {
        serve_session(front, client).await;
    }
}

/// A client that may be given a session, and its place; whoever wants something
/// else has been seen to.
async fn receive(
    front: &Server,
    socket: Socket,
    peer: Peer,
    pending: PendingConnection,
) -> Option<(Box<Admitted>, OwnedSemaphorePermit)> {
    match handshake(front, socket, peer, pending).await {
        Ok((Ok(Arrival::Client(client)), place)) => return Some((client, place)),
        Ok((Ok(Arrival::Cancel(key, stream)), _place)) => {
            Box::pin(cancel(&front.service, &key, peer, stream)).await;
        }
        Ok((Err(refused), _place)) => Box::pin(reject(front, refused, peer)).await,
        Err(aborted) => {
            front.metrics.refused(aborted.label());
            tracing::debug!(client = %peer, reason = aborted.label(), "connection dropped");
        }
    }
    None
}

async fn drain_deadline(closing: &CancellationToken) {
    closing.cancelled().await;
    sleep(LAST_HANDSHAKES).await;
}

async fn serve_session(front: &Server, client: Box<Admitted>) {
    let began = Instant::now();
    let (session, end, close) = session::run(client, &front.service).await;
    front.metrics.session_ended(end.label());
    let (reason, detail) = (end.label(), end.detail());
    let seconds = seconds(began.elapsed());
    let upstream = end.over().map(|leg| leg.upstream.config().name.as_str());
    let tls = end.over().map(|leg| leg.tls);
    if end.is_failure() {
        log_session!(
            warn,
            &session,
            upstream,
            tls,
            reason,
            detail,
            fix = end.hint(),
            seconds,
            "session failed"
        );
    } else {
        log_session!(
            info,
            &session,
            upstream,
            tls,
            reason,
            detail,
            seconds,
            "session ended"
        );
    }
    drop(session);
    Box::pin(close.finish()).await;
}

/// To the millisecond: finer is noise in a log.
fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

/// Why a connection was given up before it was clear what it wanted.
#[derive(Debug, Clone, Copy)]
enum HandshakeAborted {
    /// Others waited, and it had not logged in.
    Dismissed,
    /// The proxy is going down.
    Closing,
}

impl HandshakeAborted {
    const fn label(self) -> &'static str {
        match self {
            Self::Dismissed => "flood",
            Self::Closing => "draining",
        }
    }
}

/// What a client wants, and its place.
async fn handshake(
    front: &Server,
    socket: Socket,
    peer: Peer,
    pending: PendingConnection,
) -> Result<(Result<Arrival, Refused>, OwnedSemaphorePermit), HandshakeAborted> {
    let unavailable = || front.service.refuses_logins();
    let admitting = front.admission.admit((socket, peer), unavailable);
    let outcome = tokio::select! {
        // Boxed: so that neither part is of a size for which the allocator has to look.
        outcome = Box::pin(admitting) => outcome,
        () = pending.dismissed() => return Err(HandshakeAborted::Dismissed),
        () = drain_deadline(&front.closing) => return Err(HandshakeAborted::Closing),
    };
    Ok((outcome, pending.stay().ok_or(HandshakeAborted::Dismissed)?))
}

async fn reject(front: &Server, refused: Refused, peer: Peer) {
    let Refused {
        failure,
        stream,
        startup,
    } = refused;
    let reason = failure.label();
    let startup = startup.as_deref();
    let user = startup.map(|startup| Name::from(startup.user()).to_string());
    let database = startup.map(|startup| Name::from(startup.database()).to_string());
    front.metrics.refused(reason);
    match (failure.client_error(), stream) {
        (Some(fault), Some(stream)) => {
            let fix = fault.hint.as_deref();
            tracing::warn!(client = %peer, user, database, reason, error = %failure, fix, "client refused");
            refuse(stream, &fault.fatal()).await;
        }
        // A probe, a scan, or somebody who changed their mind.
        _ if failure.is_departure() => {
            tracing::debug!(client = %peer, user, database, reason, error = %failure, "connection dropped");
        }
        // Whoever is dropped without a word looks here for the reason.
        _ => {
            let fix = failure.fix();
            tracing::warn!(client = %peer, user, database, reason, error = %failure, fix, "connection dropped");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of what `start` returns.
    const fn size<F: Future>(
        _start: fn(WorkerGuard, (DetachedSocket, Peer), PendingConnection) -> F,
    ) -> usize {
        size_of::<F>()
    }

    #[tokio::test]
    async fn a_client_goes_where_the_fewest_are_and_otherwise_stays() {
        let workers: Vec<_> = (0..3).map(|_| Worker::new(Handle::current())).collect();
        let come = |here| {
            let at = least_loaded(&workers, here);
            workers[at].clients.fetch_add(1, Ordering::Relaxed);
            at
        };
        assert_eq!(
            [come(1), come(1), come(1), come(1), come(2)],
            [1, 2, 0, 1, 2]
        );
        workers[1].clients.fetch_sub(2, Ordering::Relaxed);
        assert_eq!(come(0), 1);
    }

    #[test]
    fn the_task_of_an_idle_client_is_small() {
        // With the runtime's own part of it, less than a kilobyte.
        assert!(
            size(handle_connection) <= 768,
            "{} bytes",
            size(handle_connection)
        );
    }
}
