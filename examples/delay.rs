//! A forwarder with the round trip of a distant server: holds every byte for
//! half of it in each direction, in order, at any rate. For the benchmarks,
//! since a kernel may lack netem. Threads for each connection, and sleeps: it is
//! for measuring waits, never throughput.
//!
//!     delay LISTEN UPSTREAM ROUND_TRIP_MS
#![allow(
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a tool for benchmarks without a runtime, which sleeps for a living"
)]

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Forwards one direction, each chunk `delay` after it came, and nothing before
/// `earliest` and `delay`.
fn forward(mut from: TcpStream, mut to: TcpStream, earliest: Instant, delay: Duration) {
    let (sender, chunks) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        for (due, bytes) in chunks {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        // The other end may be gone already.
        let _ = to.shutdown(Shutdown::Write);
    });
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let due = Instant::now().max(earliest) + delay;
        if sender.send((due, buffer[..read].to_vec())).is_err() {
            break;
        }
    }
}

fn open(client: TcpStream, upstream: &str, round_trip: Duration) -> io::Result<()> {
    // The kernel accepted at once. Over a distance the client would have waited
    // one round trip before its first byte.
    let connected = Instant::now() + round_trip;
    let server = TcpStream::connect(upstream)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let back = (server.try_clone()?, client.try_clone()?);
    let delay = round_trip / 2;
    thread::spawn(move || forward(client, server, connected, delay));
    thread::spawn(move || forward(back.0, back.1, connected, delay));
    Ok(())
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, upstream, round_trip] = arguments.as_slice() else {
        return Err(io::Error::other(
            "usage: delay LISTEN UPSTREAM ROUND_TRIP_MS",
        ));
    };
    let round_trip = Duration::from_millis(round_trip.parse().expect("milliseconds"));
    for client in TcpListener::bind(listen)?.incoming() {
        // The client sees the connection close.
        let _ = open(client?, upstream, round_trip);
    }
    Ok(())
}
