//! Clients that have had the same connection again and again keep it in between: nobody
//! notices.

use super::*;
use crate::observed::CLIENTS;

/// Enough of them for a client to keep its connection.
const MANY: usize = 20;

/// Transactions that leave nothing, and are known to.
async fn often(client: &mut Pooled) {
    for _ in 0..MANY {
        assert_eq!(ask(client, "begin; commit").await, "");
    }
}

#[tokio::test]
async fn a_connection_that_is_killed_while_a_client_keeps_it_without_need_is_nobodys_loss() {
    let stage = Stage::of(Auth::Held, 2).await;
    let mut clients = stage.clients(2).await;
    for _ in 0..3 {
        for client in &mut clients {
            often(client).await;
        }
        wait::until(PATIENCE, "none is left", async || {
            stage.postgres.terminate_sessions(&stage.database).await;
            stage.backends().await == 0
        })
        .await;
        for client in &mut clients {
            assert_eq!(ask(client, "begin; commit").await, "");
        }
    }
}

#[tokio::test]
async fn a_client_that_keeps_its_connection_without_need_gives_it_to_who_waits() {
    for auth in BOTH {
        let stage = Stage::of(auth, 1).await;
        let mut clients = stage.clients(3).await;
        for _ in 0..3 {
            for client in &mut clients {
                often(client).await;
            }
        }
        // With one in a transaction, the others have to wait for its end.
        assert_eq!(ask(&mut clients[0], "begin").await, "");
        clients[1].send(frontend::query("select 7")).await;
        stage.waiting(1.0).await;
        assert_eq!(ask(&mut clients[0], "commit").await, "");
        assert_eq!(said(&clients[1].read_until_ready().await), "7");
        assert_eq!(stage.backends().await, 1);
    }
}

#[tokio::test]
async fn a_setting_made_while_a_connection_is_kept_is_not_seen_by_the_next() {
    for auth in BOTH {
        let stage = Stage::of(auth, 1).await;
        let mut clients = stage.clients(2).await;
        let (first, second) = clients.split_at_mut(1);
        let (first, second) = (&mut first[0], &mut second[0]);
        for round in 0..3 {
            often(first).await;
            let set = format!("set application_name = 'round {round}'");
            assert_eq!(ask(first, &set).await, "");
            often(first).await;
            assert_eq!(ask(second, "show work_mem").await, "4MB");
            assert_eq!(ask(second, "show application_name").await, "");
            often(second).await;
            let shown = ask(first, "show application_name").await;
            assert_eq!(shown, format!("round {round}"));
        }
    }
}

/// One that had kept its connection, and left while it did: the connection is the
/// next one's from its login on.
#[tokio::test]
async fn who_logs_in_finds_nothing_of_who_has_left() {
    for auth in BOTH {
        let stage = Stage::of(auth, 1).await;
        for visit in 0..4 {
            let mut client = stage.client().await;
            let prepare = [frontend::parse("s", &format!("select {visit}"))];
            let prepare = [&prepare[..], &[frontend::sync()]].concat();
            assert_eq!(
                tags(&exchange(&mut client, &prepare).await),
                "1Z",
                "{auth:?}"
            );
            often(&mut client).await;
            let run = [
                frontend::bind("", "s", &[]),
                frontend::execute("", 0),
                frontend::sync(),
            ];
            assert_eq!(said(&exchange(&mut client, &run).await), visit.to_string());
            client.send(frontend::terminate()).await;
            wait::until(PATIENCE, "it has left", async || {
                stage.metrics.get(CLIENTS).await == 0.0
            })
            .await;
        }
    }
}
