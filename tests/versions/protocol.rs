//! Versions 3.0 and 3.2 of the protocol with servers that know only the one, and both.

use crate::servers::{postgres_15, postgres_18};
use crate::support::frontend::{self, PROTOCOL_3_0, PROTOCOL_3_2};
use crate::support::postgres::wait_until_active;
use crate::support::raw_client::{first_error, tags};
use crate::versions::{
    GREASE, GREASE_OPTION, PROTOCOL_3_3, held, negotiate, outcomes, passthrough,
};

#[tokio::test]
async fn a_client_of_version_3_2_gets_the_long_key_of_a_server_that_has_one() {
    let outcomes = outcomes(postgres_18().await, PROTOCOL_3_2, &[]).await;
    assert_eq!(outcomes, [(None, 32), (None, 32)]);
}

#[tokio::test]
async fn a_client_of_version_3_2_is_told_by_an_older_server_that_it_speaks_3_0() {
    let postgres = postgres_15().await;
    let relayed = negotiate(&passthrough(postgres).await, postgres, PROTOCOL_3_2, &[]).await;
    assert_eq!(relayed.told, Some((PROTOCOL_3_0, vec![])));
    assert_eq!(relayed.key_length(), 4);
}

/// With the proxy it speaks 3.2, whatever the server behind it speaks; a key of
/// four bytes is within 3.2.
#[tokio::test]
async fn a_client_of_version_3_2_in_held_mode_speaks_it_with_the_proxy() {
    let postgres = postgres_15().await;
    let own = negotiate(&held(postgres).await, postgres, PROTOCOL_3_2, &[]).await;
    assert_eq!(own.told, None);
    assert_eq!(own.key_length(), 4);
}

#[tokio::test]
async fn a_greased_client_is_told_the_version_and_the_option() {
    let unknown = vec![GREASE_OPTION.to_owned()];
    let old = outcomes(postgres_15().await, GREASE, &[GREASE_OPTION]).await;
    assert_eq!(old[0], (Some((PROTOCOL_3_0, unknown.clone())), 4));
    assert_eq!(old[1], (Some((PROTOCOL_3_2, unknown.clone())), 4));
    let new = outcomes(postgres_18().await, GREASE, &[GREASE_OPTION]).await;
    assert_eq!(new[0], (Some((PROTOCOL_3_2, unknown.clone())), 32));
    assert_eq!(new[1], (Some((PROTOCOL_3_2, unknown)), 32));
}

#[tokio::test]
async fn a_client_of_a_version_to_come_is_told_the_newest_there_is() {
    let outcomes = outcomes(postgres_18().await, PROTOCOL_3_3, &[]).await;
    let expected = (Some((PROTOCOL_3_2, vec![])), 32);
    assert_eq!(outcomes, [expected.clone(), expected]);
    let postgres = postgres_15().await;
    let relayed = negotiate(&passthrough(postgres).await, postgres, PROTOCOL_3_3, &[]).await;
    assert_eq!(relayed.told, Some((PROTOCOL_3_0, vec![])));
}

#[tokio::test]
async fn a_session_of_version_3_2_is_cancelled_by_its_long_key() {
    let postgres = postgres_18().await;
    for proxy in [passthrough(postgres).await, held(postgres).await] {
        let mut negotiated = negotiate(&proxy, postgres, PROTOCOL_3_2, &[]).await;
        let superuser = postgres.superuser("postgres").await;
        let process_id = i32::try_from(negotiated.session.process_id).unwrap();
        negotiated
            .client
            .send(frontend::query("select pg_sleep(60)"))
            .await;
        wait_until_active(&superuser, process_id).await;
        let mut canceller = proxy.raw().await;
        canceller.send(negotiated.session.cancel_request()).await;
        assert_eq!(canceller.read_until_closed().await, []);
        let error = first_error(&negotiated.client.read_until_ready().await);
        assert_eq!(error[&'C'], "57014");
    }
}

#[tokio::test]
async fn other_major_versions_are_refused_as_postgres_does() {
    let postgres = postgres_18().await;
    let proxy = passthrough(postgres).await;
    // To version 2 Postgres answers in the words of version 2, which nobody speaks.
    for version in [0, 4 << 16, 0xffff_ffff, 1234 << 16] {
        let packet = frontend::startup(version, &[("user", postgres.app.user)]);
        let mut direct = postgres.raw_tls().await;
        direct.send(&packet).await;
        let expected = first_error(&direct.read_until_closed().await);
        let mut client = proxy.raw().await;
        client.send(&packet).await;
        let messages = client.read_until_closed().await;
        assert_eq!(tags(&messages), "E");
        let error = first_error(&messages);
        assert_eq!(error[&'C'], expected[&'C']);
        assert_eq!(error[&'M'], format!("pgsluice: {}", expected[&'M']));
    }
}
