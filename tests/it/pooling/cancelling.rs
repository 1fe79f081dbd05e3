//! Cancel requests of clients that share connections.

use super::*;
use std::collections::BTreeSet;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::support::raw_client::Session;
use crate::support::wait::PATIENCE;

async fn cancel(stage: &Stage<'_>, request: &[u8]) {
    let mut canceller = stage.proxy.raw().await;
    canceller.send(request).await;
    assert_eq!(canceller.read_until_closed().await, []);
}

/// Clients of a pool, and what they need to cancel.
async fn sessions(stage: &Stage<'_>, count: usize) -> Vec<(Pooled, Session)> {
    let mut sessions = Vec::new();
    for _ in 0..count {
        sessions.push(stage.session(&[]).await);
    }
    sessions
}

fn ids(sessions: &[(Pooled, Session)]) -> BTreeSet<u32> {
    let ids = sessions.iter().map(|(_, session)| session.process_id);
    ids.collect()
}

/// Clients of which each was told of another process. On a busy machine the proxy's own
/// login may take longer than a client waits for a connection of its own: it comes again.
async fn strangers(
    stage: &Stage<'_>,
    count: usize,
    parameters: &[(&str, &str)],
) -> Vec<(Pooled, Session)> {
    let mut sessions = Vec::new();
    while sessions.len() < count {
        let known = ids(&sessions);
        let next = wait::until_some(PATIENCE, "an id of its own", async || {
            let next = stage.session(parameters).await;
            (!known.contains(&next.1.process_id)).then_some(next)
        });
        sessions.push(next.await);
    }
    sessions
}

const LONG: &str = "select pg_sleep(60)";
/// Lasts for as long as somebody else has the [`Lock`].
const LOCKED: &str = "select pg_advisory_xact_lock(7), 2";

/// What keeps a statement of a client running until it is released.
#[derive(Debug)]
struct Lock(Client);

impl Lock {
    async fn of(stage: &Stage<'_>) -> Self {
        Self(stage.postgres.superuser(&stage.database).await)
    }

    async fn take(&self) {
        self.run("select pg_advisory_lock(7)").await;
    }

    async fn release(&self) {
        self.run("select pg_advisory_unlock(7)").await;
    }

    async fn run(&self, sql: &str) {
        self.0.batch_execute(sql).await.unwrap();
    }
}

#[tokio::test]
async fn each_client_cancels_its_own_statement_and_no_other() {
    for auth in BOTH {
        let stage = Stage::of(auth, 3).await;
        let mut sessions = sessions(&stage, 6).await;
        // Whoever was first has been on another connection since.
        for (client, _) in sessions.iter_mut().rev() {
            assert_eq!(ask(client, "select 1").await, "1");
        }
        for round in 0..3 {
            let busy = &mut sessions[round..round + 3];
            for (client, _) in busy.iter_mut() {
                client.send(frontend::query(LONG)).await;
            }
            stage.in_state("active", 3).await;
            for (number, (client, session)) in busy.iter_mut().enumerate() {
                cancel(&stage, &session.cancel_request()).await;
                assert_eq!(said(&client.read_until_ready().await), "57014");
                stage
                    .in_state("active", 2 - i64::try_from(number).unwrap())
                    .await;
            }
        }
    }
}

/// Goal: a cancel that comes late hits nobody.
/// Method: one connection; the client's statement is done, and another's runs.
#[tokio::test]
async fn a_late_cancel_never_hits_the_next_client_of_the_connection() {
    for auth in BOTH {
        let stage = Stage::of(auth, 1).await;
        let mut sessions = sessions(&stage, 2).await;
        let (mut second, _) = sessions.pop().unwrap();
        let (mut first, session) = sessions.pop().unwrap();
        let lock = Lock::of(&stage).await;
        for _ in 0..5 {
            assert_eq!(ask(&mut first, "select 1").await, "1");
            lock.take().await;
            second.send(frontend::query(LOCKED)).await;
            stage.in_state("active", 1).await;
            cancel(&stage, &session.cancel_request()).await;
            lock.release().await;
            assert_eq!(said(&second.read_until_ready().await), " 2");
        }
        // Nor does one that is on its way when the connection changes hands.
        for _ in 0..30 {
            first.send(frontend::query("select 1")).await;
            let request = session.cancel_request();
            let late = cancel(&stage, &request);
            let (answer, ()) = tokio::join!(first.read_until_ready(), late);
            assert!(["1", "57014"].contains(&&*said(&answer)));
            assert_eq!(ask(&mut second, "select pg_sleep(0.01), 2").await, " 2");
        }
    }
}

#[tokio::test]
async fn a_cancel_of_a_client_that_waits_does_no_harm_to_the_one_that_is_served() {
    for auth in BOTH {
        let stage = Stage::of(auth, 1).await;
        let mut sessions = sessions(&stage, 2).await;
        let (mut second, session) = sessions.pop().unwrap();
        let (mut first, _) = sessions.pop().unwrap();
        let lock = Lock::of(&stage).await;
        lock.take().await;
        first
            .send(frontend::query(&format!("begin; {LOCKED}; commit")))
            .await;
        stage.in_state("active", 1).await;
        second.send(frontend::query("select 2")).await;
        stage.waiting(1.0).await;
        cancel(&stage, &session.cancel_request()).await;
        assert_eq!(said(&second.read_until_ready().await), "57014");
        stage.waiting(0.0).await;
        lock.release().await;
        assert_eq!(said(&first.read_until_ready().await), " 2");
        assert_eq!(ask(&mut second, "select 3").await, "3");
    }
}

/// Goal: what waits for a place among those who keep their connection can be cancelled.
#[tokio::test]
async fn a_statement_that_waits_to_keep_its_connection_is_cancelled() {
    let postgres = Postgres::shared().await;
    let builder = pooling(
        postgres,
        Auth::Held,
        "default_pool_size = 2\nmax_pinned = 1",
    );
    let stage = Stage::on(postgres, builder).await;
    let (mut listener, _) = stage.session(&[]).await;
    let (mut client, session) = stage.session(&[]).await;
    assert_eq!(ask(&mut listener, "listen x").await, "");
    let pipeline = [
        frontend::extended_query("listen y", &[]),
        frontend::query("select 1"),
    ];
    client.send(pipeline.concat()).await;
    // Not to be seen from outside, but a cancel that comes too early does nothing.
    wait::until(PATIENCE, "the cancel", async || {
        cancel(&stage, &session.cancel_request()).await;
        let name = "pgsluice_cancel_requests_total{outcome=\"called_off\"}";
        stage.metrics.get(name).await == 1.0
    })
    .await;
    assert_eq!(said(&client.read_until_ready().await), "57014");
    assert_eq!(said(&client.read_until_ready().await), "1");
}

/// Goal: a cancel that comes when the statement is done does not hit what the proxy
/// asks on that connection: its client would be taken for one who leaves something.
/// Method: the check is held up by a lock on a catalog that it reads.
#[tokio::test]
async fn a_late_cancel_does_not_hit_the_check() {
    let postgres = Postgres::shared().await;
    let builder = pooling(postgres, Auth::Held, "default_pool_size = 1");
    let stage = Stage::on(postgres, builder.toml("log.level = 'debug'")).await;
    let mut sessions = sessions(&stage, 2).await;
    let (mut second, _) = sessions.pop().unwrap();
    let (mut first, session) = sessions.pop().unwrap();
    let locker = stage.postgres.superuser(&stage.database).await;
    assert_eq!(
        ask(&mut first, "select set_config('work_mem', '3MB', false)").await,
        "3MB"
    );
    locker
        .batch_execute("begin; lock table pg_catalog.pg_depend in access exclusive mode")
        .await
        .unwrap();
    second.send(frontend::query("select 2")).await;
    let sql = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    wait::until(PATIENCE, "the check is held up", async || {
        locker.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 1
    })
    .await;
    let request = session.cancel_request();
    let late = cancel(&stage, &request);
    let unlock = async {
        // It has come, and goes no further.
        let waits = |line: &serde_json::Value| {
            let message = line["message"].as_str().unwrap();
            message.contains("a cancel waits")
        };
        stage.proxy.wait_for_log(waits).await;
        locker.batch_execute("commit").await.unwrap();
    };
    let (answer, (), ()) = tokio::join!(second.read_until_ready(), late, unlock);
    assert_eq!(said(&answer), "2");
    assert_eq!(ask(&mut first, "show work_mem").await, "3MB");
}

#[tokio::test]
async fn a_cancel_of_an_idle_client_and_one_without_a_known_key_do_nothing() {
    for auth in BOTH {
        let stage = Stage::of(auth, 1).await;
        let mut sessions = sessions(&stage, 2).await;
        let (mut busy, own) = sessions.pop().unwrap();
        let (mut idle, session) = sessions.pop().unwrap();
        assert_eq!(ask(&mut idle, "select 1").await, "1");
        let lock = Lock::of(&stage).await;
        lock.take().await;
        busy.send(frontend::query(LOCKED)).await;
        stage.in_state("active", 1).await;
        let mut wrong = own.secret.clone();
        wrong[0] ^= 1;
        for request in [
            session.cancel_request(),
            frontend::cancel_request(own.process_id, &wrong),
            frontend::cancel_request(own.process_id, &[0; 4]),
            frontend::cancel_request(0, &own.secret),
        ] {
            cancel(&stage, &request).await;
        }
        lock.release().await;
        assert_eq!(said(&busy.read_until_ready().await), " 2");
        // Nor the key of one that has left, on a connection that lives on.
        drop(idle);
        lock.take().await;
        busy.send(frontend::query(LOCKED)).await;
        stage.in_state("active", 1).await;
        cancel(&stage, &session.cancel_request()).await;
        lock.release().await;
        assert_eq!(said(&busy.read_until_ready().await), " 2");
    }
}

#[tokio::test]
async fn the_process_that_a_client_is_told_of_is_real() {
    for auth in BOTH {
        let stage = Stage::of(auth, 1).await;
        let (_client, session) = stage.session(&[]).await;
        let watcher = stage.watcher().await;
        let sql = "select datname from pg_stat_activity where pid = $1";
        let id = i32::try_from(session.process_id).unwrap();
        let row = watcher.query_one(sql, &[&id]).await.unwrap();
        assert_eq!(row.get::<_, &str>(0), stage.database);
    }
}

/// Drivers compare the process id of the login with `pg_backend_pid()`. While somebody
/// else is busy on that connection, the client is not kept waiting for it.
#[tokio::test]
async fn who_asks_for_its_process_id_is_told_that_of_its_login_if_that_connection_can_be_had() {
    let question = "select pg_backend_pid()";
    let prepared = || frontend::extended_query(question, &[]);
    for (busy, extended) in [(false, false), (false, true), (true, false)] {
        let stage = Stage::of(Auth::Held, 2).await;
        let mut others = strangers(&stage, 2, &[]).await;
        let (mut client, session) = stage.session(&[]).await;
        // With two connections for three, it is told of one that another was told of.
        let at_home = |(_, other): &(_, Session)| other.process_id == session.process_id;
        let (mut other, _) = others.remove(others.iter().position(at_home).unwrap());
        assert_eq!(ask(&mut other, "begin").await, "");
        // Nothing that the census would have to judge: it keeps no connection.
        assert_eq!(ask(&mut client, "set work_mem = '3MB'").await, "");
        stage.settles_at(2).await;
        if !busy {
            assert_eq!(ask(&mut other, "commit").await, "");
        }
        let answer = match extended {
            true => said(&exchange(&mut client, &[prepared()]).await),
            false => ask(&mut client, question).await,
        };
        let told = session.process_id.to_string();
        assert_eq!(answer == told, !busy, "{busy} {extended}");
        assert_eq!(ask(&mut client, question).await, answer);
    }
}

/// Goal: a client whose process nobody knows is served by whatever there is.
/// Method: a server that tells no keys.
#[tokio::test]
async fn who_asks_for_its_process_id_is_served_by_a_server_that_tells_none() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let builder = crate::scripted::proxy_to(listener.local_addr().unwrap()).await;
    let app = &Postgres::shared().await.app;
    let proxy = builder
        .toml("pooling.pool_mode = 'transaction'\nauth.mode = 'held'")
        .toml(&user(app.user, &app.password))
        .start()
        .await;
    let (sender, mut asked) = tokio::sync::mpsc::unbounded_channel();
    // The proxy looks in by itself, too, whether the server lets anybody in.
    tokio::spawn(async move {
        while let Ok((server, _)) = listener.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move { sender.send(without_key(server).await) });
        }
    });
    let mut client = proxy.raw_session("script").await;
    client
        .send(frontend::query("select pg_backend_pid()"))
        .await;
    let query = async { while asked.recv().await.unwrap() != b'Q' {} };
    timeout(PATIENCE, query).await.unwrap();
}

/// Lets anybody in, tells no key, and says which message came next.
async fn without_key(mut server: TcpStream) -> u8 {
    let length = server.read_u32().await.unwrap();
    let mut startup = vec![0; length as usize - 4];
    server.read_exact(&mut startup).await.unwrap();
    let greeting = [
        frontend::message(b'R', &[0; 4]),
        frontend::message(b'S', b"client_encoding\0UTF8\0"),
        frontend::message(b'S', b"standard_conforming_strings\0on\0"),
        frontend::message(b'Z', b"I"),
    ];
    server.write_all(&greeting.concat()).await.unwrap();
    crate::scripted::read_message(&mut server).await.0
}

/// Goal: clients tell each other apart by their process ids, as long as there are
/// connections enough, and do not wait where there are none to be had.
#[tokio::test]
async fn no_two_clients_are_told_one_process_id_while_the_pool_has_room() {
    for (auth, cap) in [(Auth::Held, 8), (Auth::Held, 3), (Auth::Passthrough, 8)] {
        let postgres = Postgres::shared().await;
        let builder = pooling(postgres, auth, "default_pool_size = 4\nmax_pinned = 4");
        let builder = builder.toml(&format!("limits.max_upstream_conn = {cap}"));
        let stage = Stage::on(postgres, builder).await;
        let most = cap.min(4);
        let mut clients = strangers(&stage, most, &[]).await;
        for _ in 0..2 {
            for (client, session) in &mut clients {
                let told = session.process_id.to_string();
                assert_eq!(ask(client, "begin").await, "");
                assert_eq!(ask(client, "commit").await, "");
                assert_eq!(ask(client, "select pg_backend_pid()").await, told);
            }
            if auth == Auth::Passthrough {
                stage.idle(0.0).await;
            }
            // Whoever comes for one that has left is told of the same connection, or brings
            // one of its own, for which there is room when that one has been cleaned.
            let (left, session) = clients.remove(0);
            drop(left);
            if auth == Auth::Passthrough {
                stage.idle(1.0).await;
            }
            let what = "the connection of who has left is told again";
            let next = wait::until_some(PATIENCE, what, async || {
                let next = stage.session(&[]).await;
                let same = next.1.process_id == session.process_id;
                (same || auth == Auth::Passthrough).then_some(next)
            });
            clients.push(next.await);
            assert_eq!(ids(&clients).len(), most, "{auth:?}");
        }
        if auth == Auth::Held {
            // None of those who are here will ever let go of theirs.
            let beyond = stage.session(&[]).await;
            assert!(ids(&clients).contains(&beyond.1.process_id));
        }
        // One that gives way to another is still closing.
        wait::until(PATIENCE, "four are left", async || {
            stage.backends().await <= 4
        })
        .await;
    }
}

/// Goal: neither do connections of clients that are gone make those of other startup
/// parameters share one.
#[tokio::test]
async fn what_others_have_left_behind_makes_room_for_a_process_id_of_ones_own() {
    let stage = Stage::of(Auth::Held, 3).await;
    let former = strangers(&stage, 3, &[("application_name", "former")]).await;
    // Beside those who are here, one connection serves the newcomers.
    let mut latter = Vec::new();
    for _ in 0..3 {
        latter.push(stage.session(&[("application_name", "latter")]).await);
    }
    assert_eq!(ids(&latter).len(), 1);
    drop((former, latter));
    strangers(&stage, 3, &[("application_name", "last")]).await;
    assert!(stage.backends().await <= 3);
}

/// Goal: nobody waits for a connection that is no more.
#[tokio::test]
async fn who_asks_for_its_process_id_does_not_wait_for_a_connection_that_has_ended() {
    let stage = Stage::of(Auth::Held, 2).await;
    let clients = stage.clients(8).await;
    wait::until(PATIENCE, "no backends", async || {
        stage.postgres.terminate_sessions(&stage.database).await;
        stage.backends().await == 0
    })
    .await;
    // One of them is not held up by the machine.
    let mut quickest = Duration::MAX;
    for mut client in clients {
        // Nothing that the census would have to judge: it keeps no connection.
        assert_eq!(ask(&mut client, "set work_mem = '3MB'").await, "");
        let began = tokio::time::Instant::now();
        ask(&mut client, "select pg_backend_pid()").await;
        quickest = quickest.min(began.elapsed());
    }
    assert!(quickest < Duration::from_millis(200), "{quickest:?}");
}

/// Goal: the bound on pinned clients holds for those whose settings are on their way
/// to a connection, too.
#[tokio::test]
async fn clients_that_come_to_another_connection_need_a_place_to_keep_it() {
    let keys = "default_pool_size = 2\nmax_pinned = 1";
    let postgres = Postgres::shared().await;
    let builder = pooling(postgres, Auth::Held, keys).toml("limits.query_wait_timeout = '1s'");
    let stage = Stage::on(postgres, builder).await;
    // On a busy machine the first connection may take longer than that.
    let first = wait::until_some(PATIENCE, "a login", async || stage.try_client().await.ok());
    let mut clients = vec![first.await];
    clients.extend(stage.clients(3).await);
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(
            ask(client, &format!("set work_mem = '{}MB'", number + 3)).await,
            ""
        );
    }
    let mut refused = 0;
    for client in &mut clients[..3] {
        refused += usize::from(ask(client, "listen x").await == "53300");
    }
    assert_eq!(
        ask(&mut clients[3], "select 1").await,
        "1",
        "refused {refused}"
    );
    assert_eq!(refused, 2);
}
