//! Startup parameters: those of one client are none of another's business.

use super::*;

/// What clients of one pool may ask for in their startup packets.
const STARTUPS: [&[(&str, &str)]; 6] = [
    &[],
    &[("options", "-c work_mem=3MB -c search_path=one")],
    &[("search_path", "two"), ("TimeZone", "Asia/Tokyo")],
    &[("application_name", "named"), ("datestyle", "German")],
    &[
        ("client_encoding", "LATIN1"),
        ("statement_timeout", "12345"),
    ],
    &[("app.tenant", "startup")],
];

/// All that may differ.
const QUESTION: &str = "select current_setting('work_mem'), current_setting('search_path'), \
     current_setting('timezone'), current_setting('datestyle'), current_setting('application_name'), \
     current_setting('client_encoding'), current_setting('statement_timeout'), \
     current_setting('app.tenant', true)";

/// What a client does about its settings.
const TURNS: [&str; 7] = [
    "select 1",
    "set work_mem = '5MB'; set search_path = three; set timezone = 'UTC'; set application_name = 'x'",
    "set statement_timeout = 0; set datestyle = 'SQL'",
    "reset all",
    "begin; set local work_mem = '6MB'; commit",
    "set timezone = 'UTC'; set work_mem = '7MB'",
    "discard all",
];

#[tokio::test]
async fn startup_parameters_mean_what_they_mean_to_a_server_and_resets_go_back_to_them() {
    for auth in BOTH {
        let stage = Stage::of(auth, 8).await;
        let mut pairs = Vec::new();
        for startup in STARTUPS.iter().chain(&STARTUPS) {
            let (direct, expected) = stage.direct(startup).await;
            let (pooled, session) = stage.session(startup).await;
            assert_eq!(session.parameters, expected.parameters, "{startup:?}");
            pairs.push((pooled, direct, startup));
        }
        for turn in TURNS {
            for (pooled, direct, startup) in &mut pairs {
                let answer = pooled.query(turn).await;
                assert_eq!(answer, direct.query(turn).await, "{startup:?} {turn}");
            }
            for (pooled, direct, startup) in &mut pairs {
                let (answer, expected) = (ask(pooled, QUESTION).await, ask(direct, QUESTION).await);
                assert_eq!(answer, expected, "{startup:?} after {turn}");
            }
        }
    }
}

/// Goal: what a server remarks about a login reaches every client that it is about, be the
/// login the proxy's own, and nobody else.
#[tokio::test]
async fn notices_of_a_login_reach_each_client_that_begins_so() {
    let long = "x".repeat(65);
    for auth in BOTH {
        let stage = Stage::of(auth, 4).await;
        let startup = [("application_name", &*long)];
        let (_direct, expected) = stage.direct(&startup).await;
        assert_eq!(expected.notices[0][&'C'], "42622", "name_too_long");
        for _ in 0..6 {
            let (_client, session) = stage.session(&startup).await;
            assert_eq!(session.notices, expected.notices, "{auth:?}");
            let (_client, session) = stage.session(&[]).await;
            assert_eq!(session.notices, [], "{auth:?}");
        }
    }
}

/// The parameters that an answer reports, in order.
fn reported(messages: &[Message]) -> Vec<String> {
    let statuses = messages.iter().filter(|(tag, _)| *tag == b'S');
    statuses
        .map(|(_, body)| crate::support::raw_client::texts(body)[..2].join("="))
        .collect()
}

#[tokio::test]
async fn a_client_is_told_of_its_own_parameters_and_never_of_anothers() {
    for auth in BOTH {
        let stage = Stage::of(auth, 1).await;
        let mut tokyo = stage.client().await;
        let mut lima = stage.client().await;
        let mut plain = stage.client().await;
        let answer = tokyo.query("set timezone = 'Asia/Tokyo'").await;
        assert_eq!(reported(&answer), ["TimeZone=Asia/Tokyo"]);
        let answer = lima.query("set timezone = 'America/Lima'").await;
        assert_eq!(reported(&answer), ["TimeZone=America/Lima"]);
        for _ in 0..3 {
            for (client, zone) in [(&mut tokyo, "Asia/Tokyo"), (&mut lima, "America/Lima")] {
                let answer = client.query("show timezone").await;
                assert_eq!((&*tags(&answer), &*said(&answer)), ("TDCZ", zone));
            }
            assert_eq!(tags(&plain.query("select 1").await), "TDCZ");
        }
        let answer = tokyo.query("reset timezone").await;
        assert_eq!(reported(&answer).len(), 1, "{answer:?}");
        let answer = plain.query("show timezone").await;
        assert_eq!(tags(&answer), "TDCZ");
    }
}

#[tokio::test]
async fn settings_made_by_alter_role_and_alter_database_hold_for_clients_that_come_later() {
    for auth in BOTH {
        let stage = Stage::of(auth, 2).await;
        let mut before = stage.client().await;
        let alter = format!("alter database {} set work_mem = '3MB'", stage.database);
        assert_eq!(ask(&mut before, &alter).await, "");
        let mut after = stage.client().await;
        assert_eq!(ask(&mut after, "show work_mem").await, "3MB");
        assert_ne!(ask(&mut before, "show work_mem").await, "3MB");
    }
}

/// Where only clients' own logins open connections, those whose place others took would
/// never get it back: with one left, one of them in a transaction keeps all waiting.
#[tokio::test]
async fn logins_with_other_startup_parameters_take_no_more_than_their_share() {
    let postgres = Postgres::shared().await;
    let builder = pooling(postgres, Auth::Passthrough, "default_pool_size = 4");
    let builder = builder.toml("limits.query_wait_timeout = '3s'");
    let stage = Stage::on(postgres, builder).await;
    let mut first = Vec::new();
    for _ in 0..4 {
        first.push(stage.session(&[("application_name", "first")]).await.0);
    }
    let mut others = stage.clients(8).await;
    for client in &mut others {
        assert_eq!(ask(client, "begin; select 1; commit").await, "1");
    }
    stage.settles_at(4).await;
    assert_eq!(ask(&mut first[0], "begin").await, "");
    assert_eq!(ask(&mut first[1], "select 2").await, "2");
    assert_eq!(ask(&mut others[0], "begin").await, "");
    assert_eq!(ask(&mut others[1], "select 3").await, "3");
}
