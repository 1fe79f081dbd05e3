//! Plaintext clients for the benchmarks, as many as wanted, from one epoll loop.
//! Every answer is checked against its question; whatever is wrong ends it.
//!
//!     load ADDRESS USER DATABASE hold CLIENTS
//!     load ADDRESS USER DATABASE simple|prepared CLIENTS [STATEMENTS]
//!
//! A `%` in USER is 1, 2, 3 ... for the clients in turn; `USER%N` begins again after N.
//! Logs in, asks one query each, and says `ready`. `hold` then stays until its
//! input ends. The others take a line with seconds from their input, ask for so
//! long as fast as they are answered, and say what came of it as JSON; the time
//! is up when the line is written, what is still under way is not counted.
//! `prepared` spreads its questions over STATEMENTS named statements a client.
//! The role must be trusted.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::disallowed_types,
    reason = "a tool for benchmarks without a runtime: whatever is wrong ends it"
)]

use std::collections::VecDeque;
use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream as Blocking};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

/// Rows of pgbench's smallest table of accounts.
const ROWS: u64 = 100_000;
/// Logins under way at once: fewer than a listener keeps waiting.
const LOGINS: usize = 64;
/// How long nothing at all may come.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, PartialEq)]
enum Protocol {
    Simple,
    Prepared,
}

struct Client {
    socket: TcpStream,
    received: Vec<u8>,
    seed: u64,
    /// The row that was asked for, and when.
    asked: Option<(u64, Instant)>,
    /// The first column of the first row that came.
    told: Option<u64>,
}

fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[kind][..], &length.to_be_bytes(), body].concat()
}

fn startup(user: &str, database: &str) -> Vec<u8> {
    let body = format!("user\0{user}\0database\0{database}\0\0");
    let length = u32::try_from(body.len() + 8).unwrap();
    let version = 196_608_u32.to_be_bytes();
    [&length.to_be_bytes()[..], &version, body.as_bytes()].concat()
}

/// Statements that differ, so that none can stand for another.
fn parse(number: u64) -> Vec<u8> {
    let text = format!("select aid, abalance + {number} from pgbench_accounts where aid = $1");
    framed(b'P', format!("s{number}\0{text}\0\0\0").as_bytes())
}

/// Bind with one parameter as text and text results, Execute, Sync.
fn execute(number: u64, row: u64) -> Vec<u8> {
    let row = row.to_string();
    let length = u32::try_from(row.len()).unwrap();
    let mut bind = format!("\0s{number}\0\0\0\0\u{1}").into_bytes();
    bind.extend(length.to_be_bytes());
    bind.extend(row.as_bytes());
    bind.extend([0, 0]);
    [
        framed(b'B', &bind),
        framed(b'E', &[0; 5]),
        framed(b'S', &[]),
    ]
    .concat()
}

/// The first column of a DataRow, which is a number.
fn first_column(row: &[u8]) -> u64 {
    let length = u32::from_be_bytes(row[2..6].try_into().unwrap());
    let text = &row[6..6 + length as usize];
    std::str::from_utf8(text).unwrap().parse().unwrap()
}

impl Client {
    fn open(address: SocketAddr, seed: u64) -> Self {
        let socket = Blocking::connect(address).expect("a connection");
        socket.set_nodelay(true).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self {
            socket: TcpStream::from_std(socket),
            received: Vec::new(),
            seed: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            asked: None,
            told: None,
        }
    }

    fn random(&mut self) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed >> 11
    }

    /// What is asked is far less than a socket's buffer.
    fn send(&mut self, bytes: &[u8]) {
        let sent = self.socket.write(bytes).expect("a connection that takes");
        assert_eq!(sent, bytes.len(), "sent");
    }

    fn ask(&mut self, protocol: Protocol, statements: u64) {
        let row = 1 + self.random() % ROWS;
        let bytes = match protocol {
            Protocol::Simple => {
                let text =
                    format!("select aid, abalance from pgbench_accounts where aid = {row}\0");
                framed(b'Q', text.as_bytes())
            }
            Protocol::Prepared => execute(self.random() % statements, row),
        };
        self.told = None;
        self.asked = Some((row, Instant::now()));
        self.send(&bytes);
    }

    /// Takes in what came; whether the answer to everything asked is complete.
    fn take(&mut self, buffer: &mut [u8]) -> bool {
        match self.socket.read(buffer) {
            Ok(0) => panic!("the connection was closed"),
            Ok(count) => self.received.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
        let (mut at, mut ready) = (0, false);
        while let Some(length) = self.received.get(at + 1..at + 5) {
            let end = at + 1 + u32::from_be_bytes(length.try_into().unwrap()) as usize;
            let Some(body) = self.received.get(at + 5..end) else {
                break;
            };
            match self.received[at] {
                b'D' => self.told = Some(first_column(body)),
                b'E' => panic!("{}", String::from_utf8_lossy(body).replace('\0', " ")),
                kind => ready |= kind == b'Z',
            }
            at = end;
        }
        self.received.drain(..at);
        if self.received.is_empty() && self.received.capacity() > 4096 {
            self.received = Vec::new();
        }
        ready
    }

    /// How long the answer took, if it is the one to the question.
    fn check(&mut self) -> Duration {
        let (row, since) = self.asked.take().expect("a question");
        assert_eq!(self.told, Some(row), "the answer");
        since.elapsed()
    }
}

struct Load {
    poll: Poll,
    events: Events,
    clients: Vec<Client>,
    buffer: Vec<u8>,
    protocol: Protocol,
    statements: u64,
}

impl Load {
    /// The clients that have a complete answer, waited for until `until`.
    fn answered(&mut self, until: Instant) -> Vec<usize> {
        let wait = until.saturating_duration_since(Instant::now());
        if let Err(error) = self.poll.poll(&mut self.events, Some(wait)) {
            assert_eq!(error.kind(), ErrorKind::Interrupted, "{error}");
        }
        let mut answered = Vec::new();
        for event in &self.events {
            let at = event.token().0;
            if self.clients[at].take(&mut self.buffer) {
                answered.push(at);
            }
        }
        answered
    }

    /// Does all of `steps` with every client, a limited number of them at a time.
    fn each(&mut self, count: usize, mut step: impl FnMut(&mut Self, usize, usize) -> bool) {
        let mut waiting: VecDeque<usize> = (0..count).collect();
        let mut steps = vec![0; count];
        let (mut busy, mut last) = (0, Instant::now());
        while busy > 0 || !waiting.is_empty() {
            while busy < LOGINS
                && let Some(at) = waiting.pop_front()
            {
                step(self, at, 0);
                busy += 1;
            }
            for at in self.answered(Instant::now() + Duration::from_secs(1)) {
                last = Instant::now();
                steps[at] += 1;
                if !step(self, at, steps[at]) {
                    busy -= 1;
                }
            }
            assert!(last.elapsed() < PATIENCE, "{busy} clients are stuck");
        }
    }

    fn open(&mut self, address: SocketAddr, at: usize, hello: &[u8]) {
        let mut client = Client::open(address, at as u64 + 1);
        let registry = self.poll.registry();
        registry
            .register(&mut client.socket, Token(at), Interest::READABLE)
            .unwrap();
        client.send(hello);
        assert_eq!(at, self.clients.len(), "clients come in order");
        self.clients.push(client);
    }

    /// Logs in, makes the statements, and asks one query.
    fn begin(&mut self, address: SocketAddr, user: &str, database: &str, count: usize) {
        let statements = match self.protocol {
            Protocol::Simple => 0,
            Protocol::Prepared => self.statements as usize,
        };
        self.each(count, |load, at, step| {
            if step == 0 {
                load.open(address, at, &startup(&named(user, at), database));
            } else if step <= statements {
                // One at a time: more may be more than the socket takes.
                let message = [parse(step as u64 - 1), framed(b'S', &[])].concat();
                load.clients[at].send(&message);
            } else if step == statements + 1 {
                load.clients[at].ask(load.protocol, load.statements);
            } else {
                load.clients[at].check();
                return false;
            }
            true
        });
    }

    /// Asks for so long, and tells what came of it.
    fn run(&mut self, seconds: f64) {
        let began = Instant::now();
        let until = began + Duration::from_secs_f64(seconds);
        for client in &mut self.clients {
            client.ask(self.protocol, self.statements);
        }
        let mut took = Vec::new();
        while Instant::now() < until {
            for at in self.answered(until) {
                took.push(self.clients[at].check());
                self.clients[at].ask(self.protocol, self.statements);
            }
        }
        tell(&mut took, began.elapsed());
        let mut open = self.clients.iter().filter(|c| c.asked.is_some()).count();
        let patient = Instant::now() + PATIENCE;
        while open > 0 {
            assert!(Instant::now() < patient, "{open} clients are stuck");
            for at in self.answered(patient) {
                self.clients[at].check();
                open -= 1;
            }
        }
    }
}

/// The user of the client: `name%` has its number, `name%5` counts to five.
fn named(user: &str, at: usize) -> String {
    match user.split_once('%') {
        None => user.to_owned(),
        Some((name, "")) => format!("{name}{}", at + 1),
        Some((name, most)) => format!("{name}{}", at % most.parse::<usize>().unwrap() + 1),
    }
}

fn tell(took: &mut [Duration], elapsed: Duration) {
    took.sort_unstable();
    let at = |percent: usize| {
        let index = (took.len() * percent / 100).min(took.len().saturating_sub(1));
        took.get(index).map_or(0.0, |t| t.as_secs_f64() * 1e6)
    };
    println!(
        "{{\"count\": {}, \"tps\": {:.1}, \"p50_us\": {:.1}, \"p99_us\": {:.1}, \"max_us\": {:.1}}}",
        took.len(),
        took.len() as f64 / elapsed.as_secs_f64(),
        at(50),
        at(99),
        at(100),
    );
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, user, database, what, count, rest @ ..] = arguments.as_slice() else {
        panic!("usage: load ADDRESS USER DATABASE hold|simple|prepared CLIENTS [STATEMENTS]");
    };
    let mut load = Load {
        poll: Poll::new().unwrap(),
        events: Events::with_capacity(1024),
        clients: Vec::new(),
        buffer: vec![0; 64 * 1024],
        protocol: match what.as_str() {
            "prepared" => Protocol::Prepared,
            _ => Protocol::Simple,
        },
        statements: rest.first().map_or(1, |n| n.parse().unwrap()),
    };
    let count = count.parse().expect("a number of clients");
    load.begin(address.parse().unwrap(), user, database, count);
    println!("ready");
    for line in io::stdin().lock().lines() {
        load.run(line.unwrap().trim().parse().expect("seconds"));
    }
    for client in &mut load.clients {
        client.send(&framed(b'X', &[]));
    }
}
