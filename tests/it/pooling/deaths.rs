//! Clients that die: whatever they were in the middle of, the next one gets a
//! connection that shows nothing of it.

use tokio::net::TcpListener;
use tokio::time::timeout;

use super::*;
use crate::scripted::{Scripted, read_message, reset};

/// What a client is in the middle of.
struct Scene {
    name: &'static str,
    bytes: fn() -> Vec<u8>,
    /// The state in which the server is then.
    state: &'static str,
    /// Nobody can go on with the connection.
    lost: bool,
}

const SCENES: &[Scene] = &[
    Scene {
        name: "nothing",
        bytes: || frontend::query("select 1"),
        state: "idle",
        lost: false,
    },
    Scene {
        name: "a statement",
        bytes: || frontend::query("insert into t values (-1); select pg_sleep(60)"),
        state: "active",
        lost: false,
    },
    Scene {
        name: "a transaction",
        bytes: || frontend::query("begin; insert into t values (-1)"),
        state: "idle in transaction",
        lost: false,
    },
    Scene {
        name: "a transaction that failed",
        bytes: || frontend::query("begin; insert into t values (-1); select 1/0"),
        state: "idle in transaction (aborted)",
        lost: false,
    },
    Scene {
        name: "a transaction and a statement",
        bytes: || {
            let begin = frontend::query("begin; insert into t values (-1)");
            [begin, frontend::query("select pg_sleep(60)")].concat()
        },
        state: "active",
        lost: false,
    },
    Scene {
        name: "a batch",
        bytes: || {
            let parse = frontend::parse("s", "insert into t values (-1)");
            let bind = frontend::bind("", "s", &[]);
            [parse, bind, frontend::execute("", 0), frontend::flush()].concat()
        },
        // There is no telling from the state.
        state: "active",
        lost: true,
    },
    Scene {
        name: "a copy in",
        bytes: || {
            let copy = frontend::query("copy t from stdin");
            [copy, frontend::copy_data(b"-1\n")].concat()
        },
        state: "active",
        lost: true,
    },
    Scene {
        name: "a torn message",
        bytes: || {
            let copy = frontend::query("copy t from stdin");
            [&copy[..], &frontend::copy_data(&[b'1'; 60_000])[..50_000]].concat()
        },
        state: "active",
        lost: true,
    },
    Scene {
        name: "a flood of rows",
        bytes: || frontend::query("select repeat('x', 1000) from generate_series(1, 1000000)"),
        state: "active",
        lost: false,
    },
];

async fn next_is_served(auth: Auth, scene: &Scene, dies: fn(Pooled)) {
    let what = format!("{auth:?} {}", scene.name);
    // Clients that bring their connections cannot do without the last.
    let spare = u32::from(auth == Auth::Passthrough && scene.lost);
    let stage = Stage::of(auth, 1 + spare).await;
    let mut next = stage.client().await;
    assert_eq!(ask(&mut next, "create table t (n int)").await, "");
    let mut client = stage.client().await;
    client.send((scene.bytes)()).await;
    stage.in_state(scene.state, 1).await;
    dies(client);
    let answer = ask(&mut next, "begin; select count(*) from t; commit").await;
    assert_eq!(answer, "0", "{what}");
    // Whatever may still come belongs to nobody.
    let answer = next.query("select 7").await;
    assert_eq!((&*tags(&answer), &*said(&answer)), ("TDCZ", "7"), "{what}");
    let statements = "select count(*) from pg_prepared_statements";
    assert_eq!(ask(&mut next, statements).await, "0", "{what}");
}

#[tokio::test]
async fn the_client_after_one_that_closed_gets_a_clean_connection() {
    for auth in BOTH {
        for scene in SCENES {
            next_is_served(auth, scene, drop).await;
        }
    }
}

#[tokio::test]
async fn the_client_after_one_that_was_reset_gets_a_clean_connection() {
    for auth in BOTH {
        for scene in SCENES {
            next_is_served(auth, scene, |mut client| {
                client.take_received();
                reset(client.into_inner());
            })
            .await;
        }
    }
}

#[tokio::test]
async fn drained_idle_clients_are_told_at_once_and_busy_ones_after_their_transactions() {
    for auth in BOTH {
        let mut stage = Stage::of(auth, 2).await;
        let mut idle = stage.clients(3).await;
        let mut busy = stage.client().await;
        assert_eq!(ask(&mut idle[0], "select * from missing").await, "42P01");
        assert_eq!(ask(&mut busy, "create table t ()").await, "");
        assert_eq!(ask(&mut busy, "begin").await, "");
        stage.proxy.terminate();
        for client in &mut idle {
            let error = first_error(&client.read_until_closed().await);
            assert_eq!((&*error[&'C'], &*error[&'S']), ("57P01", "FATAL"));
        }
        assert_eq!(ask(&mut busy, "select 1").await, "1");
        busy.send(frontend::query("drop table t; commit")).await;
        let last = busy.read_until_closed().await;
        assert_eq!(tags(&last), "CCZE");
        assert_eq!(first_error(&last)[&'C'], "57P01");
        assert!(stage.proxy.wait().await.success());
        stage.settles_at(0).await;
    }
}

/// Goal: a connection whose client has left does not wait for ever for what it owes.
/// Method: a server that takes cancels, and does nothing about them.
#[tokio::test]
async fn a_connection_that_does_not_heed_cancels_is_closed() {
    let scripted = Scripted::bind().await;
    let builder = scripted.proxy().await;
    let proxy = builder
        .toml("pooling.pool_mode = 'transaction'")
        .start()
        .await;
    let (mut client, mut server) = scripted.session(&proxy).await;
    client.send(frontend::query("select 'for ever'")).await;
    assert_eq!(read_message(&mut server).await.0, b'Q');
    drop(client);
    let cancels = tokio::spawn(take_and_close(scripted.into_listener()));
    let ended = timeout(2 * PATIENCE, read_message(&mut server)).await;
    assert_eq!(ended.expect("it is not kept").0, b'X');
    cancels.abort();
}

async fn take_and_close(listener: TcpListener) {
    loop {
        drop(listener.accept().await.unwrap());
    }
}
