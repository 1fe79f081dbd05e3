//! Values as large as Postgres has them, in memory that does not grow.

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::observed::peak;
use crate::support::frontend as say;
use crate::support::raw_client::tags;
use crate::support::{Postgres, Proxy};

const MIB: u64 = 1 << 20;

/// A proxy to the shared server, and a database of the test's own.
async fn ground() -> (Proxy, String) {
    let postgres = Postgres::shared().await;
    let database = postgres.create_database().await;
    (Proxy::new(postgres).start().await, database)
}

/// Reads and drops exactly this many bytes.
async fn skim(stream: &mut (impl AsyncRead + Unpin), bytes: u64) {
    let mut buffer = vec![0; 1 << 18];
    let mut left = bytes;
    while left > 0 {
        let n = stream.read(&mut buffer).await.unwrap();
        assert_ne!(n, 0, "{left} bytes are missing");
        left = left.checked_sub(n as u64).expect("more came than was sent");
    }
}

#[tokio::test]
async fn a_value_of_a_gigabyte_is_received_in_constant_memory() {
    const LENGTH: u64 = 1_000_000_000;
    let (proxy, database) = ground().await;
    let mut client = proxy.raw_session(&database).await;
    client.query("select 1").await;
    let before = peak(&proxy);
    client
        .send(say::query(&format!(
            "select repeat(repeat('x', 1000), {}) as v",
            LENGTH / 1000
        )))
        .await;
    assert_eq!(client.read_message().await.0, b'T');
    // The client's own buffer holds what came with the first message.
    let held = client.take_received();
    let total = 1 + 4 + 2 + 4 + LENGTH + 14 + 6;
    skim(client.stream(), total - held.len() as u64).await;
    let grown = peak(&proxy) - before;
    assert!(grown < 16 * MIB, "grown by {grown} bytes");
    assert_eq!(client.rows("select 1").await.len(), 1);
}

#[tokio::test]
async fn a_value_of_a_gigabyte_is_sent_in_constant_memory() {
    const LENGTH: u32 = 1_000_000_000;
    let (proxy, database) = ground().await;
    let mut client = proxy.raw_session(&database).await;
    client.query("select 1").await;
    let before = peak(&proxy);
    client
        .send(say::parse("", "select octet_length($1::bytea)"))
        .await;
    let mut head = vec![b'B'];
    head.extend((4 + 2 + 4 + 2 + 4 + LENGTH + 2).to_be_bytes());
    head.extend([0, 0, 0, 1, 0, 1, 0, 1]);
    head.extend(LENGTH.to_be_bytes());
    client.send(head).await;
    let piece = vec![b'x'; 1_000_000];
    for _ in 0..LENGTH / 1_000_000 {
        client.send(&piece).await;
    }
    client
        .send([vec![0, 0], say::execute("", 0), say::sync()].concat())
        .await;
    let answer = client.read_until_ready().await;
    assert_eq!(tags(&answer), "12DCZ");
    assert!(answer[2].1.ends_with(b"1000000000"));
    let grown = peak(&proxy) - before;
    assert!(grown < 16 * MIB, "grown by {grown} bytes");
}
