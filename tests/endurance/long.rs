//! Endurance: many clients and much data for long, in memory that does not grow.
//!
//! The figures go to stdout.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::observed::{ADMIN, CLIENTS, Metrics, resident};
use crate::scripted::Scripted;
use crate::support::frontend as say;
use crate::support::raw_client::tags;
use crate::support::wait;
use crate::support::{Postgres, Proxy, RawClient};

const MIB: u64 = 1 << 20;

/// Bytes a second that a COPY is to reach, and for how many seconds.
const RATE: u64 = 64 * MIB;
const SECONDS: u64 = 60;

#[expect(clippy::print_stdout, reason = "the figures are what it is for")]
fn report(line: &str) {
    println!("endurance: {line}");
}

/// Goal: 2,000 idle clients at once, each with its own upstream connection.
/// Method: a scripted upstream, for which a connection costs next to nothing; all
/// are asked something at the end, and all are answered.
#[tokio::test]
async fn two_thousand_idle_clients_are_held_at_once() {
    const CLIENTS_HELD: u32 = 2000;
    raise_descriptor_limit();
    let upstream = Arc::new(Scripted::bind().await);
    let caps = format!(
        "limits.max_client_conn = {CLIENTS_HELD}\n\
         limits.max_upstream_conn = {CLIENTS_HELD}\n\
         log.level = \"info\""
    );
    let proxy = upstream.proxy().await.toml(ADMIN).toml(&caps).start().await;
    let metrics = Metrics::of(&proxy);
    let before = resident(&proxy);
    let accepting = Arc::clone(&upstream);
    tokio::spawn(async move {
        let mut echoes = JoinSet::new();
        loop {
            echoes.spawn(answer_everything(accepting.accept().await));
        }
    });
    let began = Instant::now();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS_HELD {
        clients.push(proxy.raw_session("script").await);
    }
    let opened = began.elapsed();
    assert_eq!(metrics.get(CLIENTS).await, f64::from(CLIENTS_HELD));
    let each = (resident(&proxy) - before) / u64::from(CLIENTS_HELD);
    let began = Instant::now();
    for client in &mut clients {
        assert_eq!(tags(&client.query("select 1").await), "CZ");
    }
    let asked = began.elapsed();
    let after_use = (resident(&proxy) - before) / u64::from(CLIENTS_HELD);
    drop(clients);
    wait::until(Duration::from_secs(30), "all are gone", async || {
        metrics.get(CLIENTS).await == 0.0
    })
    .await;
    report(&format!(
        "{CLIENTS_HELD} idle clients opened in {opened:?}: {each} bytes each, {after_use} after use; all asked in {asked:?}"
    ));
    assert!(
        after_use < 32 * 1024,
        "{after_use} bytes for an idle client"
    );
}

fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
}

async fn answer_everything(mut stream: TcpStream) {
    let answer = [say::message(b'C', b"SELECT 1\0"), say::message(b'Z', b"I")].concat();
    let mut header = [0; 5];
    while stream.read_exact(&mut header).await.is_ok() && header[0] == b'Q' {
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) - 4;
        let mut body = vec![0; length as usize];
        stream.read_exact(&mut body).await.unwrap();
        stream.write_all(&answer).await.unwrap();
    }
}

/// A session through TLS to a real server, and its proxy.
async fn copying() -> (Proxy, RawClient<TcpStream>) {
    let postgres = Postgres::shared().await;
    let database = postgres.create_database().await;
    let proxy = Proxy::new(postgres).start().await;
    let client = proxy.raw_session(&database).await;
    (proxy, client)
}

/// Memory by second, and what it says.
#[derive(Debug, Default)]
struct Growth(Vec<u64>);

impl Growth {
    fn sample(&mut self, proxy: &Proxy) {
        self.0.push(resident(proxy));
    }

    /// Bytes a second, by least squares, without the first seconds in which
    /// buffers are taken for the first time.
    #[expect(clippy::cast_precision_loss, reason = "figures for a person")]
    fn slope(&self) -> f64 {
        let samples = &self.0[5..];
        let n = samples.len() as f64;
        let middle = (n - 1.0) / 2.0;
        let mean = samples.iter().sum::<u64>() as f64 / n;
        let (mut rise, mut run) = (0.0, 0.0);
        for (at, sample) in samples.iter().enumerate() {
            let x = at as f64 - middle;
            rise += x * (*sample as f64 - mean);
            run += x * x;
        }
        rise / run
    }

    fn check(&self, what: &str, bytes: u64, elapsed: Duration) {
        let (first, last) = (self.0[0] / 1024, self.0[self.0.len() - 1] / 1024);
        let (slope, most) = (self.slope(), self.0.iter().max().unwrap() / 1024);
        #[expect(clippy::cast_precision_loss, reason = "figures for a person")]
        let rate = bytes as f64 / elapsed.as_secs_f64() / MIB as f64;
        report(&format!(
            "{what}: {} MiB at {rate:.1} MiB/s; memory {first} KiB, at most {most}, at the end {last}, {slope:+.0} bytes a second",
            bytes / MIB
        ));
        assert!(slope.abs() < 8.0 * 1024.0, "{slope} bytes a second");
        assert!(most - first < 4096, "{first} KiB became {most}");
        assert!(rate > 0.95 * (RATE / MIB) as f64, "{rate} MiB/s");
    }
}

#[tokio::test]
async fn sixty_four_mib_a_second_are_copied_in_without_growth() {
    let (proxy, mut client) = copying().await;
    // A trigger that keeps nothing: the disk is not what is tested.
    let make = "create unlogged table t (a text); \
                create function nothing() returns trigger language plpgsql as 'begin return null; end'; \
                create trigger nothing before insert on t for each row execute function nothing()";
    assert!(!tags(&client.query(make).await).contains('E'));
    client.send(say::query("copy t from stdin")).await;
    assert_eq!(client.read_message().await.0, b'G');
    let line = [&[b'x'; 65_535][..], b"\n"].concat();
    let chunk: Vec<u8> = (0..RATE / 10 / 65_536)
        .flat_map(|_| say::copy_data(&line))
        .collect();
    let (mut growth, mut sent, began) = (Growth::default(), 0, Instant::now());
    let mut pace = interval(Duration::from_millis(98));
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for tenth in 0..SECONDS * 10 {
        pace.tick().await;
        client.send(&chunk).await;
        sent += chunk.len() as u64;
        if tenth % 10 == 0 {
            growth.sample(&proxy);
        }
    }
    client.send(say::copy_done()).await;
    assert_eq!(tags(&client.read_until_ready().await), "CZ");
    growth.check("COPY in", sent, began.elapsed());
}

#[tokio::test]
async fn sixty_four_mib_a_second_are_copied_out_without_growth() {
    let (proxy, mut client) = copying().await;
    let rows = RATE * (SECONDS + 5) / 8192;
    let sql = format!(
        "copy (select repeat(repeat('x', 91), 90) from generate_series(1, {rows})) to stdout"
    );
    client.send(say::query(&sql)).await;
    assert_eq!(client.read_message().await.0, b'H');
    let mut received = client.take_received().len() as u64;
    let (mut growth, began) = (Growth::default(), Instant::now());
    let mut buffer = vec![0; 1 << 18];
    let mut pace = interval(Duration::from_millis(98));
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for tenth in 0..SECONDS * 10 {
        pace.tick().await;
        while received < (tenth + 1) * RATE / 10 {
            let n = client.stream().read(&mut buffer).await.unwrap();
            assert_ne!(n, 0, "the stream has ended");
            received += n as u64;
        }
        if tenth % 10 == 0 {
            growth.sample(&proxy);
        }
    }
    growth.check("COPY out", received, began.elapsed());
}
