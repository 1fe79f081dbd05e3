//! The floor of the benchmarks: the smallest forwarder that could do the job.
//! Plaintext on one side, TLS (verify-full) on the other; no parsing, no pool,
//! one thread, one epoll loop. It is what the machine allows, not a product: a
//! handshake with the server holds up every other session.
//!
//!     floor LISTEN UPSTREAM SERVER_NAME CA_FILE
//!
//! It cannot take a SCRAM login of libpq, which refuses a server that offers
//! channel binding over plaintext; the benchmarks give it a role without.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a tool for benchmarks: whatever is wrong ends it"
)]

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream as Blocking};
use std::sync::Arc;

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

const BUFFER: usize = 32 * 1024;
const LISTENER: Token = Token(usize::MAX);
const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// Whether a session goes on: `None` ends it.
type Flow = Option<()>;

/// Reads once. `None` is the end; an empty slice, nothing to read now.
fn read_some<'b>(socket: &mut TcpStream, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
    match socket.read(buffer) {
        Ok(0) => None,
        Ok(n) => Some(&buffer[..n]),
        Err(error) => (error.kind() == ErrorKind::WouldBlock).then_some(&[]),
    }
}

struct Session {
    client: TcpStream,
    server: TcpStream,
    tls: ClientConnection,
    /// What the client did not take at once; while it holds anything, nothing
    /// is read from the server.
    kept: Vec<u8>,
    sent: usize,
}

impl Session {
    /// Client to server, until the client has no more or the server takes no more.
    fn up(&mut self, buffer: &mut [u8], closed: bool) -> Flow {
        loop {
            self.flush_server()?;
            if self.tls.wants_write() {
                return Some(());
            }
            let bytes = read_some(&mut self.client, buffer)?;
            let read = bytes.len();
            self.tls.writer().write_all(bytes).ok()?;
            // A short read emptied the socket: epoll reports what comes later.
            if read < BUFFER && !(closed && read > 0) {
                return self.flush_server();
            }
        }
    }

    fn flush_server(&mut self) -> Flow {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.server) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return None,
            }
        }
        Some(())
    }

    /// Server to client, the same way.
    fn down(&mut self, buffer: &mut [u8], closed: bool) -> Flow {
        loop {
            self.flush_client()?;
            if !self.kept.is_empty() {
                return Some(());
            }
            let mut bytes = read_some(&mut self.server, buffer)?;
            let read = bytes.len();
            while !bytes.is_empty() {
                if self.decrypt(&mut bytes).is_err() {
                    self.flush_client();
                    return None;
                }
            }
            if read < BUFFER && !(closed && read > 0) {
                return self.flush_client();
            }
        }
    }

    /// Takes in ciphertext, and appends what it contains to `kept`.
    fn decrypt(&mut self, bytes: &mut &[u8]) -> io::Result<()> {
        self.tls.read_tls(bytes)?;
        let state = self.tls.process_new_packets().map_err(io::Error::other)?;
        let start = self.kept.len();
        self.kept.resize(start + state.plaintext_bytes_to_read(), 0);
        self.tls.reader().read_exact(&mut self.kept[start..])
    }

    fn flush_client(&mut self) -> Flow {
        while self.sent < self.kept.len() {
            match self.client.write(&self.kept[self.sent..]) {
                Ok(n) => self.sent += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(()),
                Err(_) => return None,
            }
        }
        self.kept.clear();
        self.sent = 0;
        Some(())
    }
}

struct Floor {
    upstream: SocketAddr,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
    sessions: Vec<Option<Session>>,
    free: Vec<usize>,
}

impl Floor {
    fn open(&mut self, client: TcpStream, registry: &Registry) -> io::Result<()> {
        client.set_nodelay(true)?;
        let mut server = Blocking::connect(self.upstream)?;
        server.set_nodelay(true)?;
        // SSLRequest: its length and its code.
        server.write_all(&[0, 0, 0, 8, 4, 210, 22, 47])?;
        let mut answer = [0];
        server.read_exact(&mut answer)?;
        if answer != *b"S" {
            return Err(io::Error::other("the server has no TLS"));
        }
        let connection = ClientConnection::new(Arc::clone(&self.tls), self.name.clone());
        let mut tls = connection.map_err(io::Error::other)?;
        tls.set_buffer_limit(None);
        while tls.is_handshaking() {
            tls.complete_io(&mut server)?;
        }
        server.set_nonblocking(true)?;

        let mut session = Session {
            client,
            server: TcpStream::from_std(server),
            tls,
            kept: Vec::new(),
            sent: 0,
        };
        let slot = self.free.pop().unwrap_or(self.sessions.len());
        registry.register(&mut session.client, Token(slot * 2), BOTH)?;
        registry.register(&mut session.server, Token(slot * 2 + 1), BOTH)?;
        if slot == self.sessions.len() {
            self.sessions.push(None);
        }
        self.sessions[slot] = Some(session);
        Ok(())
    }

    fn serve(&mut self, event: &Event, buffer: &mut [u8]) {
        let slot = event.token().0 / 2;
        // Closed earlier in this batch.
        let Some(session) = self.sessions[slot].as_mut() else {
            return;
        };
        let from_client = event.token().0.is_multiple_of(2);
        let closed = event.is_read_closed();
        let mut flow = match (event.is_readable(), from_client) {
            (true, true) => session.up(buffer, closed),
            (true, false) => session.down(buffer, closed),
            (false, _) => Some(()),
        };
        if event.is_writable() {
            flow = flow.and_then(|()| match from_client {
                true if !session.kept.is_empty() => session.down(buffer, true),
                false if session.tls.wants_write() => session.up(buffer, true),
                _ => Some(()),
            });
        }
        if flow.is_none() {
            self.sessions[slot] = None;
            self.free.push(slot);
        }
    }
}

fn client_config(ca_file: &str) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca_file).expect("the CA file") {
        roots
            .add(certificate.expect("a certificate"))
            .expect("a CA");
    }
    let builder =
        ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into());
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    builder.with_root_certificates(roots).with_no_client_auth()
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, upstream, name, ca_file] = arguments.as_slice() else {
        return Err(io::Error::other(
            "usage: floor LISTEN UPSTREAM SERVER_NAME CA_FILE",
        ));
    };
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; BUFFER];
    let mut listener = TcpListener::bind(listen.parse().expect("an address to listen on"))?;
    let registry = poll.registry().try_clone()?;
    registry.register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut floor = Floor {
        upstream: upstream.parse().expect("the server's address"),
        name: name.clone().try_into().expect("the server's name"),
        tls: Arc::new(client_config(ca_file)),
        sessions: Vec::new(),
        free: Vec::new(),
    };
    loop {
        // A tracer interrupts it.
        if let Err(error) = poll.poll(&mut events, None)
            && error.kind() != ErrorKind::Interrupted
        {
            return Err(error);
        }
        let knocks = events.iter().any(|event| event.token() == LISTENER);
        for event in events.iter().filter(|event| event.token() != LISTENER) {
            floor.serve(event, &mut buffer);
        }
        // Last, so that nobody waits longer than need be for a handshake; a client
        // that cannot be served sees its connection close.
        while let Some(Ok((client, _))) = knocks.then(|| listener.accept()) {
            let _ = floor.open(client, &registry);
        }
    }
}
