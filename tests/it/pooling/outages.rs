//! Servers that die, and databases that come and go.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::*;
use crate::scripted::{Scripted, read_message};
use crate::support::postgres::{DATABASE, Stop};

#[tokio::test]
async fn a_client_whose_connection_is_killed_hears_it_from_the_server_and_others_go_on() {
    for auth in BOTH {
        let stage = Stage::of(auth, 2).await;
        let mut other = stage.client().await;
        let mut busy = stage.client().await;
        let mut idle = stage.client().await;
        assert_eq!(ask(&mut other, "begin").await, "");
        busy.send(frontend::query("select pg_sleep(60)")).await;
        stage.in_state("active", 1).await;
        let watcher = stage.watcher().await;
        let sql = "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and state = 'active'";
        watcher.execute(sql, &[&stage.database]).await.unwrap();
        let error = first_error(&busy.read_until_closed().await);
        assert_eq!((&*error[&'C'], &*error[&'S']), ("57P01", "FATAL"));
        assert_eq!(ask(&mut other, "select 1").await, "1");
        assert_eq!(ask(&mut other, "commit").await, "");
        assert_eq!(ask(&mut idle, "select 2").await, "2");
    }
}

#[tokio::test]
async fn idle_connections_that_are_killed_are_replaced_and_nobody_hears_of_it() {
    let stage = Stage::of(Auth::Held, 3).await;
    let mut clients = stage.clients(6).await;
    for _ in 0..3 {
        for client in &mut clients {
            assert_eq!(ask(client, "begin").await, "");
            assert_eq!(ask(client, "commit").await, "");
        }
        // One may still be on its way, for a client that came before the last had left.
        wait::until(PATIENCE, "none is left", async || {
            stage.postgres.terminate_sessions(&stage.database).await;
            stage.backends().await == 0
        })
        .await;
    }
    for client in &mut clients {
        assert_eq!(ask(client, "select 1").await, "1");
    }
}

/// Goal: an idle connection is known to be dead by whoever comes after its death, be
/// the proxy busy or not.
#[tokio::test]
async fn whoever_comes_after_the_death_of_an_idle_connection_gets_another() {
    let rounds = 20;
    let busy = Stage::of(Auth::Held, 3).await;
    let mut noise = Vec::new();
    for mut client in busy.clients(12).await {
        noise.push(tokio::spawn(async move {
            loop {
                ask(&mut client, "begin; commit").await;
            }
        }));
    }
    let database = busy.postgres.create_database().await;
    let watcher = busy.watcher().await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(busy.proxy.raw_session(&database).await);
    }
    let kill = "select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = $1";
    let (mut bad, mut killed) = (Vec::new(), 0);
    for round in 0..rounds {
        // A statement that the census would have to judge would be kept a connection for.
        for client in &mut clients {
            assert_eq!(ask(client, "begin; commit").await, "");
        }
        while let count = watcher
            .query_one(kill, &[&database])
            .await
            .unwrap()
            .get::<_, i64>(0)
            && count > 0
        {
            killed += count;
        }
        let several = clients.iter_mut().take(1 + round % 4);
        let answers = join_all(several.map(|client| ask(client, "begin; commit"))).await;
        bad.extend(answers.into_iter().filter(|answer| !answer.is_empty()));
    }
    noise.iter().for_each(tokio::task::JoinHandle::abort);
    assert!(killed >= i64::try_from(rounds).unwrap(), "{killed}");
    assert!(bad.is_empty(), "{} of {rounds}: {bad:?}", bad.len());
}

/// The process id that a client was told at its login.
async fn kill(stage: &Stage<'_>, session: &Session) {
    let pid = i32::try_from(session.process_id).unwrap();
    let watcher = stage.watcher().await;
    let sql = "select pg_terminate_backend($1)";
    let row = watcher.query_one(sql, &[&pid]).await.unwrap();
    assert!(row.get::<_, bool>(0));
}

#[tokio::test]
async fn a_client_at_rest_in_passthrough_hears_at_once_that_its_connection_was_killed() {
    let stage = Stage::of(Auth::Passthrough, 3).await;
    let (mut newcomer, newcomers) = stage.session(&[]).await;
    let (mut user, users) = stage.session(&[]).await;
    let mut other = stage.client().await;
    assert_eq!(ask(&mut user, "select 1").await, "1");
    for (client, session) in [(&mut newcomer, newcomers), (&mut user, users)] {
        kill(&stage, &session).await;
        let last = client.read_until_closed().await;
        assert_eq!(tags(&last), "E");
        let error = first_error(&last);
        assert_eq!((&*error[&'C'], &*error[&'S']), ("57P01", "FATAL"));
    }
    assert_eq!(ask(&mut other, "select 2").await, "2");
    // There is room for who comes again.
    assert_eq!(ask(&mut stage.client().await, "select 3").await, "3");
}

/// In held mode a connection that ends is nobody's loss, but for whom a client has ended by
/// the process id that it was told: as on a plain server.
#[tokio::test]
async fn a_client_in_held_mode_is_ended_by_another_that_knows_its_process() {
    let stage = Stage::of(Auth::Held, 4).await;
    let mut other = stage.client().await;
    let (mut newcomer, newcomers) = stage.session(&[]).await;
    let (mut user, users) = stage.session(&[]).await;
    let (mut spared, spareds) = stage.session(&[]).await;
    assert_eq!(ask(&mut user, "begin; select 1; commit").await, "1");
    // From outside: the client is none the wiser.
    kill(&stage, &spareds).await;
    stage.settles_at(3).await;
    assert_eq!(ask(&mut spared, "select 1").await, "1");
    for (client, session) in [(&mut newcomer, newcomers), (&mut user, users)] {
        let sql = format!("select pg_terminate_backend({})", session.process_id);
        assert_eq!(ask(&mut other, &sql).await, "t");
        let last = client.read_until_closed().await;
        let error = first_error(&last);
        assert_eq!((&*error[&'C'], &*error[&'S']), ("57P01", "FATAL"));
    }
    for client in [&mut other, &mut spared] {
        assert_eq!(ask(client, "select 2").await, "2");
    }
}

#[tokio::test]
async fn a_client_that_has_used_another_connection_since_is_not_ended_with_its_first() {
    let stage = Stage::of(Auth::Passthrough, 2).await;
    let (mut first, firsts) = stage.session(&[]).await;
    let mut second = stage.client().await;
    for client in [&mut first, &mut second] {
        assert_eq!(ask(client, "begin; select 1").await, "1");
    }
    // It finds no room for its own, and takes the first that comes free.
    let mut third = stage.client().await;
    assert_eq!(ask(&mut first, "commit").await, "");
    assert_eq!(ask(&mut third, "begin").await, "");
    assert_eq!(ask(&mut second, "commit").await, "");
    assert_eq!(ask(&mut first, "select 2").await, "2");
    assert_eq!(ask(&mut third, "commit").await, "");
    kill(&stage, &firsts).await;
    let error = first_error(&third.read_until_closed().await);
    assert_eq!((&*error[&'C'], &*error[&'S']), ("57P01", "FATAL"));
    for client in [&mut first, &mut second] {
        assert_eq!(ask(client, "select 3").await, "3");
    }
}

#[tokio::test]
async fn clients_at_rest_in_passthrough_hear_of_a_restart_of_the_server() {
    for (how, code) in [(Stop::Fast, "57P01"), (Stop::Immediate, "08006")] {
        let mut postgres = Postgres::builder().start().await;
        let proxy = pooling(&postgres, Auth::Passthrough, "default_pool_size = 4")
            .start()
            .await;
        let mut clients = Vec::new();
        for _ in 0..4 {
            let mut client = proxy.raw_session(DATABASE).await;
            assert_eq!(ask(&mut client, "begin; select 1; commit").await, "1");
            clients.push(client);
        }
        postgres.stop(how).await;
        for client in &mut clients {
            let last = client.read_until_closed().await;
            let error = first_error(&last);
            assert_eq!((&*error[&'C'], &*error[&'S']), (code, "FATAL"), "{how:?}");
        }
    }
}

#[tokio::test]
async fn after_a_restart_of_the_server_idle_clients_are_served_within_seconds() {
    for how in [Stop::Fast, Stop::Immediate] {
        let mut postgres = Postgres::builder().start().await;
        let proxy = pooling(&postgres, Auth::Held, "default_pool_size = 8")
            .start()
            .await;
        let mut idle = Vec::new();
        let mut busy = Vec::new();
        for _ in 0..20 {
            let mut client = proxy.raw_session(DATABASE).await;
            assert_eq!(tags(&client.query("begin").await), "CZ");
            assert_eq!(tags(&client.query("commit").await), "CZ");
            idle.push(client);
        }
        for _ in 0..5 {
            let mut client = proxy.raw_session(DATABASE).await;
            assert_eq!(ask(&mut client, "begin; select 1").await, "1");
            client.send(frontend::query("select pg_sleep(60)")).await;
            busy.push(client);
        }
        postgres.stop(how).await;
        for client in &mut busy {
            let error = first_error(&client.read_until_closed().await);
            assert!(
                ["57P01", "57P02", "08006"].contains(&&*error[&'C']),
                "{error:?}"
            );
        }
        postgres.start_again().await;
        let all = idle.iter_mut().map(|client| ask(client, "select 1"));
        // Two seconds, and as much again for a machine that has other things to do.
        let answers = timeout(Duration::from_secs(4), join_all(all)).await;
        assert_eq!(answers.unwrap(), vec!["1"; 20], "{how:?}");
    }
}

/// Goal: a server that dies in the middle of a row leaves the client with what the
/// server has said, and nothing that it has not.
#[tokio::test]
async fn what_a_client_has_of_a_server_that_died_is_what_it_said() {
    for length in [1000, 1_000_000] {
        let scripted = Scripted::bind().await;
        let builder = scripted.proxy().await;
        let proxy = builder
            .toml("pooling.pool_mode = 'transaction'")
            .start()
            .await;
        let (mut client, mut server) = scripted.session(&proxy).await;
        client.send(frontend::query("select 'a long row'")).await;
        assert_eq!(read_message(&mut server).await.0, b'Q');
        let whole = frontend::message(b'D', &[&[0, 1, 0, 0, 0, 1, b'x'][..]].concat());
        let row = frontend::message(b'D', &vec![b'x'; length]);
        let sent = [&whole[..], &row[..length / 2]].concat();
        server.write_all(&sent).await.unwrap();
        drop(server);
        let mut received = Vec::new();
        client.stream().read_to_end(&mut received).await.unwrap();
        assert!(received.starts_with(&whole));
        if received.len() <= sent.len() && received == sent[..received.len()] {
            continue;
        }
        let error = received.strip_prefix(&whole[..]).unwrap();
        assert_eq!(error[0], b'E', "{length}");
        let fields = crate::support::raw_client::error_fields(&error[5..]);
        assert_eq!((&*fields[&'C'], &*fields[&'S']), ("08006", "FATAL"));
    }
}

/// A superuser's client beside the pool of the test's database.
async fn administrator(stage: &Stage<'_>) -> Pooled {
    let account = &stage.postgres.superuser;
    let mut client = stage.proxy.raw().await;
    client
        .login(account.user, &account.password, "postgres")
        .await;
    client
}

#[tokio::test]
async fn idle_connections_are_in_nobodys_way_who_needs_a_database_for_itself() {
    for auth in BOTH {
        let stage = Stage::of(auth, 3).await;
        let database = &stage.database;
        let mut admin = administrator(&stage).await;
        let steps = [
            (
                format!("create database {database}_copy template {database}"),
                database.clone(),
            ),
            (
                format!("alter database {database}_copy rename to {database}_new"),
                format!("{database}_copy"),
            ),
            (
                format!("drop database {database}_new"),
                format!("{database}_new"),
            ),
        ];
        for (sql, used) in steps {
            // Idle connections, some kept and some not.
            let mut clients = Vec::new();
            for _ in 0..3 {
                clients.push(stage.proxy.raw_session(&used).await);
            }
            for client in &mut clients {
                assert_eq!(ask(client, "select 1").await, "1");
            }
            let answer = admin.query(&sql).await;
            assert_eq!(tags(&answer), "CZ", "{auth:?} {sql}: {}", said(&answer));
        }
    }
}
