//! Cancel requests: they reach the statement they are for, over verified TLS, and
//! never anything else.

use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::future::join_all;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_postgres::Client;

use super::support::postgres::{DATABASE, wait_until_active};
use super::support::raw_client::{Session, first_error, tags};
use super::support::scripted::{Scripted, authentication, reported, welcome};
use super::support::wait::{self, PATIENCE};
use super::support::{Postgres, Proxy, RawClient, frontend};

/// Waits for as long as the gate is closed.
const WAIT: &str = "select pg_advisory_lock_shared(1)";

/// A database of its own in which statements wait until a lock is let go: one
/// that then ends without an error was not hit by anything.
struct Gate {
    postgres: &'static Postgres,
    database: String,
    holder: Client,
}

impl Gate {
    async fn closed() -> Self {
        let postgres = Postgres::shared().await;
        let database = postgres.create_database().await;
        let holder = postgres.superuser(&database).await;
        let close = "select pg_advisory_lock(1)";
        holder.execute(close, &[]).await.unwrap();
        Self {
            postgres,
            database,
            holder,
        }
    }

    async fn open(&self) {
        let open = "select pg_advisory_unlock(1)";
        self.holder.execute(open, &[]).await.unwrap();
    }

    /// A client whose statement waits at the gate.
    async fn busy(&self, proxy: &Proxy) -> Busy {
        let mut client = proxy.raw().await;
        let app = &self.postgres.app;
        let session = client.login(app.user, &app.password, &self.database).await;
        client.send(frontend::query(WAIT)).await;
        let process_id = i32::try_from(session.process_id).unwrap();
        wait_until_active(&self.holder, process_id).await;
        Busy { client, session }
    }
}

/// A client whose statement runs.
struct Busy {
    client: RawClient<TcpStream>,
    session: Session,
}

impl Busy {
    /// Waits for the statement's end, and fails the test unless it was cancelled.
    async fn is_cancelled(&mut self) {
        let error = first_error(&self.client.read_until_ready().await);
        assert_eq!(error[&'C'], "57014", "{error:?}");
    }

    /// Waits for the statement's end, and fails the test unless it was left alone.
    async fn is_unharmed(&mut self) {
        assert_eq!(tags(&self.client.read_until_ready().await), "TDCZ");
    }
}

/// Sends a cancel request, and waits for the close, which is all that may come.
async fn cancel(proxy: &Proxy, request: &[u8]) {
    let mut canceller = proxy.raw().await;
    canceller.send(request).await;
    assert_eq!(canceller.read_until_closed().await, []);
}

async fn outcome(proxy: &Proxy, outcome: &str) {
    proxy
        .wait_for_log(|line| line["message"] == "cancel request" && line["outcome"] == outcome)
        .await;
}

#[tokio::test]
async fn a_running_statement_is_cancelled() {
    let gate = Gate::closed().await;
    let proxy = Proxy::new(gate.postgres).start().await;
    let mut busy = gate.busy(&proxy).await;
    cancel(&proxy, &busy.session.cancel_request()).await;
    busy.is_cancelled().await;
    outcome(&proxy, "forwarded").await;
    // The session goes on.
    assert_eq!(tags(&busy.client.query("select 1").await), "TDCZ");
}

#[tokio::test]
async fn a_cancel_of_an_idle_session_does_no_harm() {
    let postgres = Postgres::shared().await;
    let proxy = Proxy::new(postgres).start().await;
    let mut client = proxy.raw().await;
    let app = &postgres.app;
    let session = client.login(app.user, &app.password, DATABASE).await;
    for _ in 0..5 {
        cancel(&proxy, &session.cancel_request()).await;
        assert_eq!(tags(&client.query("select 1").await), "TDCZ");
    }
}

#[tokio::test]
async fn a_request_without_a_known_key_is_closed_without_a_byte() {
    let gate = Gate::closed().await;
    let proxy = Proxy::new(gate.postgres).start().await;
    let mut busy = gate.busy(&proxy).await;
    let Session {
        process_id, secret, ..
    } = &busy.session;
    let inverted: Vec<u8> = secret.iter().map(|byte| !byte).collect();
    let longer = [&secret[..], &[0; 28]].concat();
    for (process_id, secret) in [
        (*process_id, &inverted[..]),
        (*process_id, &longer),
        (*process_id + 1, secret),
        (0, &[0; 4]),
        (u32::MAX, &[0xff; 256]),
    ] {
        cancel(&proxy, &frontend::cancel_request(process_id, secret)).await;
    }
    gate.open().await;
    busy.is_unharmed().await;
}

#[tokio::test]
async fn a_request_with_a_key_of_a_wrong_length_is_closed_without_a_byte() {
    let gate = Gate::closed().await;
    let proxy = Proxy::new(gate.postgres).start().await;
    let mut busy = gate.busy(&proxy).await;
    let Session {
        process_id, secret, ..
    } = &busy.session;
    for wrong in [&[][..], &secret[..3], &[1; 257], &[1; 9000]] {
        cancel(&proxy, &frontend::cancel_request(*process_id, wrong)).await;
    }
    // One whose end never comes.
    let mut cut = proxy.raw().await;
    cut.send(&busy.session.cancel_request()[..14]).await;
    cut.stream().shutdown().await.unwrap();
    assert_eq!(cut.read_until_closed().await, []);
    gate.open().await;
    busy.is_unharmed().await;
}

#[tokio::test]
async fn a_key_is_dead_once_its_session_has_ended() {
    let gate = Gate::closed().await;
    let proxy = Proxy::new(gate.postgres).start().await;
    let mut old = Vec::new();
    for _ in 0..8 {
        let mut client = proxy.raw().await;
        let app = &gate.postgres.app;
        let session = client.login(app.user, &app.password, &gate.database).await;
        old.push(session.cancel_request());
        client.send(frontend::terminate()).await;
        client.read_until_closed().await;
    }
    let mut new = join_all((0..4).map(|_| gate.busy(&proxy))).await;
    join_all(old.iter().map(|request| cancel(&proxy, request))).await;
    proxy
        .wait_for_logs(8, |line| line["outcome"] == "unknown")
        .await;
    gate.open().await;
    for busy in &mut new {
        busy.is_unharmed().await;
    }
}

/// Goal: a cancel hits the session whose key it bears, among many on one database.
#[tokio::test]
async fn a_cancel_hits_only_the_session_it_is_for() {
    let gate = Gate::closed().await;
    let proxy = Proxy::new(gate.postgres).start().await;
    let mut busy = join_all((0..12).map(|_| gate.busy(&proxy))).await;
    for target in busy.iter_mut().step_by(3) {
        cancel(&proxy, &target.session.cancel_request()).await;
        target.is_cancelled().await;
    }
    gate.open().await;
    for (number, busy) in busy.iter_mut().enumerate() {
        if number % 3 != 0 {
            busy.is_unharmed().await;
        }
    }
}

/// Goal: an application whose statements time out together has all of them ended,
/// not just as many as are forwarded at once.
#[tokio::test]
async fn cancels_that_come_together_are_all_delivered() {
    let gate = Gate::closed().await;
    let builder = Proxy::new(gate.postgres).toml("limits.max_upstream_conn = 40");
    let proxy = builder.start().await;
    let mut busy = join_all((0..30).map(|_| gate.busy(&proxy))).await;
    let requests: Vec<_> = busy
        .iter()
        .map(|busy| busy.session.cancel_request())
        .collect();
    join_all(requests.iter().map(|request| cancel(&proxy, request))).await;
    for busy in &mut busy {
        busy.is_cancelled().await;
    }
}

#[tokio::test]
async fn two_hundred_cancels_at_once_do_no_harm() {
    let gate = Gate::closed().await;
    let proxy = Proxy::new(gate.postgres).start().await;
    let mut busy = gate.busy(&proxy).await;
    let request = busy.session.cancel_request();
    join_all((0..200).map(|_| cancel(&proxy, &request))).await;
    busy.is_cancelled().await;
    // What was still on its way has arrived: the next statement is left alone.
    assert_eq!(tags(&busy.client.query("select 1").await), "TDCZ");
}

#[tokio::test]
async fn a_cancel_works_when_every_place_is_taken() {
    let gate = Gate::closed().await;
    let limits = "limits.max_client_conn = 2\nlimits.max_upstream_conn = 2";
    let proxy = Proxy::new(gate.postgres).toml(limits).start().await;
    let mut first = gate.busy(&proxy).await;
    let _second = gate.busy(&proxy).await;
    let mut third = proxy.raw().await;
    third.startup(&[("user", gate.postgres.app.user)]).await;
    let error = first_error(&third.read_until_closed().await);
    assert_eq!(error[&'C'], "53300");
    cancel(&proxy, &first.session.cancel_request()).await;
    first.is_cancelled().await;
}

/// What each connection of a proxy to a server looked like: whether it was
/// secured, and what came first on it.
type Arrivals = mpsc::UnboundedReceiver<(bool, Vec<u8>)>;

/// A server that gives out a key of `secret`; from its second connection on it
/// answers `N` where `secures_once`.
async fn server(secret: &'static [u8], secures_once: bool) -> (Scripted, Arrivals) {
    let (sender, arrivals) = mpsc::unbounded_channel();
    let connections = AtomicU32::new(0);
    let server = Scripted::start(move |connection| {
        let sender = sender.clone();
        let number = connections.fetch_add(1, Ordering::Relaxed);
        async move {
            if secures_once && number > 0 {
                let rest = connection.refuse_tls().await.rest().await;
                sender.send((false, rest)).unwrap();
                return;
            }
            let mut server = connection.secure().await;
            let packet = server.packet().await.unwrap();
            let is_cancel = packet[4..8] == frontend::cancel_request(0, &[])[4..8];
            sender.send((true, packet)).unwrap();
            if !is_cancel {
                server.send(welcome(77, secret)).await;
                server.rest().await;
            }
        }
    })
    .await;
    (server, arrivals)
}

async fn session_with(server: &Scripted, version: u32) -> (Proxy, RawClient<TcpStream>) {
    let postgres = Postgres::shared().await;
    let proxy = Proxy::new(postgres).toml(&server.toml()).start().await;
    let mut client = proxy.raw().await;
    let who = [("user", "anybody")];
    client.send(frontend::startup(version, &who)).await;
    client.read_until_ready().await;
    (proxy, client)
}

#[tokio::test]
async fn a_cancel_with_a_key_of_any_length_goes_over_tls_as_it_came() {
    for secret in [&[7; 4][..], &[7; 5], &[7; 32], &[7; 256]] {
        let (server, mut arrivals) = server(secret, false).await;
        let (proxy, _client) = session_with(&server, frontend::PROTOCOL_3_2).await;
        reported(&mut arrivals).await;
        let request = frontend::cancel_request(77, secret);
        cancel(&proxy, &request).await;
        assert_eq!(reported(&mut arrivals).await, (true, request));
    }
}

/// Goal: no moment in which a client has a key that the proxy does not know.
/// Method: a server that gives out the key, and keeps ReadyForQuery for itself.
#[tokio::test]
async fn a_key_is_good_as_soon_as_the_client_has_it() {
    let (sender, mut cancels) = mpsc::unbounded_channel();
    let key = frontend::message(b'K', &[0, 0, 0, 77, 7, 7, 7, 7]);
    let request = frontend::cancel_request(77, &[7; 4]);
    let expected = request.clone();
    let server = Scripted::start(move |connection| {
        let (sender, expected, key) = (sender.clone(), expected.clone(), key.clone());
        async move {
            let mut server = connection.secure().await;
            if server.packet().await.unwrap() == expected {
                sender.send(()).unwrap();
            } else {
                server.send(authentication(0, &[])).await;
                server.send(key).await;
                server.rest().await;
            }
        }
    })
    .await;
    let postgres = Postgres::shared().await;
    let proxy = Proxy::new(postgres).toml(&server.toml()).start().await;
    let mut client = proxy.raw().await;
    client.startup(&[("user", "anybody")]).await;
    assert_eq!(client.read_message().await.0, b'R');
    assert_eq!(client.read_message().await.0, b'K');
    cancel(&proxy, &request).await;
    reported(&mut cancels).await;
}

#[tokio::test]
async fn a_cancel_is_not_sent_in_plaintext_even_if_the_server_offers_nothing_else() {
    let (server, mut arrivals) = server(&[7; 4], true).await;
    let (proxy, _client) = session_with(&server, frontend::PROTOCOL_3_0).await;
    reported(&mut arrivals).await;
    cancel(&proxy, &frontend::cancel_request(77, &[7; 4])).await;
    assert_eq!(reported(&mut arrivals).await, (false, vec![]));
    outcome(&proxy, "failed").await;
}

#[tokio::test]
async fn a_cancel_is_not_sent_to_a_server_that_is_not_the_one_expected() {
    let (server, mut arrivals) = server(&[7; 4], false).await;
    let postgres = Postgres::shared().await;
    let wrong = "upstreams.cluster.server_name = 'elsewhere.internal'";
    let proxy = Proxy::new(postgres)
        .toml(&server.toml())
        .toml(wrong)
        .start()
        .await;
    let mut client = proxy.raw().await;
    client.startup(&[("user", "anybody")]).await;
    let error = first_error(&client.read_until_closed().await);
    assert_eq!(error[&'C'], "57P03");
    assert!(arrivals.try_recv().is_err());
}

/// Goal: a place on the server is not held by a statement that nobody waits for.
/// Method: a statement whose rows come slowly; its client shows as gone when one
/// of them cannot be delivered. (One that says nothing runs to its end, as it
/// does in Postgres: the client may have closed just its own direction.)
#[tokio::test]
async fn an_abandoned_statement_is_cancelled() {
    let postgres = Postgres::shared().await;
    let database = postgres.create_database().await;
    let proxy = Proxy::new(postgres).start().await;
    let mut client = proxy.raw_session(&database).await;
    let slow = "select repeat('x', 20000), pg_sleep(0.05) from generate_series(1, 1200)";
    client.send(frontend::query(slow)).await;
    client.read_message().await;
    drop(client);
    wait::until(PATIENCE, "the session is gone", async || {
        postgres.sessions(&database).await == 0
    })
    .await;
}
