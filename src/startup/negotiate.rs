//! SSLRequest, GSSENCRequest, direct TLS, and the packet that says what is wanted.
//!
//! Packets are read to their exact length straight from the socket, so that what
//! follows an SSLRequest reaches the TLS engine and nothing else: bytes stuffed in
//! front of the handshake can never be taken for something said inside it. Behind a
//! StartupMessage no handshake can come: what arrives with it is read with it.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Admission, ClientRequest, LocalTls, Refused, StartupFailure};
use crate::name::Name;
use crate::net::Socket;
use crate::tls::MaybeTls;
use crate::wire::startup::{self, First, StartupMessage, Version};

/// First byte of a TLS ClientHello.
const TLS_HANDSHAKE: u8 = 0x16;
/// A packet's length and code: no packet is shorter.
type Head = [u8; 8];
/// What is asked for where more may be read than the packet. A read that is not filled
/// has emptied the socket, and spares the next one.
const ROOM: usize = 1024;

/// Which of the two requests for encryption were made; Postgres answers each once.
#[derive(Debug, Default)]
struct EncryptionRequests {
    tls: bool,
    gss: bool,
}

impl Admission {
    pub(super) async fn negotiate(
        &self,
        socket: Socket,
    ) -> Result<(MaybeTls, ClientRequest), Refused> {
        let (mut stream, mut seen) = self.open(socket).await?;
        let mut asked = EncryptionRequests {
            tls: stream.is_tls(),
            gss: stream.is_tls(),
        };
        loop {
            let (first, ahead) = match read_packet(&mut stream, seen.take()).await {
                Ok(read) => read,
                // As libpq does that insists on `sslmode=require`; its user is told that the
                // server does not support SSL, and looks here.
                Err(failure) if failure.is_departure() && asked.tls && !stream.is_tls() => {
                    let fix = self.without_tls();
                    return Err(refused(StartupFailure::WantsTls { fix }, stream));
                }
                Err(failure) => return Err(refused(failure, stream)),
            };
            let failure = match first {
                First::SslRequest if !asked.tls => {
                    asked.tls = true;
                    stream = self.answer_tls(stream).await?;
                    asked.gss |= stream.is_tls();
                    continue;
                }
                First::GssEncRequest if !asked.gss => {
                    asked.gss = true;
                    match answer(&mut stream, b'N').await {
                        Ok(()) => continue,
                        Err(error) => StartupFailure::Io(error),
                    }
                }
                // What Postgres makes of a second request: a protocol it does not know.
                First::SslRequest => StartupFailure::Unsupported(Version {
                    major: 1234,
                    minor: 5679,
                }),
                First::GssEncRequest => StartupFailure::Unsupported(Version {
                    major: 1234,
                    minor: 5680,
                }),
                First::Unsupported(version) => StartupFailure::Unsupported(version),
                First::Cancel(key) => return Ok((stream, ClientRequest::Cancel(key))),
                First::Startup(message) => match self.demand(&stream, &message) {
                    Ok(()) => return Ok((stream, ClientRequest::Session(message, ahead))),
                    Err(failure) => failure,
                },
            };
            return Err(refused(failure, stream));
        }
    }

    /// The one check of what the listener demands, behind every way of arriving.
    fn demand(&self, stream: &MaybeTls, startup: &StartupMessage) -> Result<(), StartupFailure> {
        let is_required = matches!(self.tls, LocalTls::Require(_));
        if !is_required || stream.socket().is_unix() {
            return Ok(());
        }
        if !stream.is_tls() {
            return Err(StartupFailure::TlsRequired);
        }
        let user = startup.user();
        let is_named = || {
            let shown = stream.peer_common_name();
            shown.is_some_and(|name| name.as_bytes() == user)
        };
        match !self.names_user || is_named() {
            true => Ok(()),
            false => Err(StartupFailure::WrongCertificate(Name::from(user))),
        }
    }

    /// Direct TLS (Postgres 17's `sslnegotiation=direct`) shows in the first byte. Of
    /// a plain stream its head comes along, if all of that is here.
    async fn open(&self, socket: Socket) -> Result<(MaybeTls, Option<Head>), Refused> {
        let mut head = Head::default();
        match socket.peek(&mut head).await {
            Ok(1..) if head[0] == TLS_HANDSHAKE => {}
            Ok(n) => {
                let seen = (n == head.len()).then_some(head);
                return Ok((MaybeTls::Plain(socket), seen));
            }
            Err(error) => return Err(refused(error.into(), MaybeTls::Plain(socket))),
        }
        let Some(acceptor) = self.tls.acceptor() else {
            return Err(Refused {
                failure: StartupFailure::NoTls {
                    fix: self.without_tls(),
                },
                stream: None,
                startup: None,
            });
        };
        match Box::pin(acceptor.accept(socket, true)).await {
            Ok(stream) => Ok((MaybeTls::Accepted(Box::new(stream)), None)),
            Err(fault) => Err(Refused {
                failure: fault.into(),
                stream: None,
                startup: None,
            }),
        }
    }

    async fn answer_tls(&self, mut stream: MaybeTls) -> Result<MaybeTls, Refused> {
        // libpq asks no encryption of a unix socket, and Postgres offers none there.
        let acceptor = self.tls.acceptor().filter(|_| !stream.socket().is_unix());
        let reply = if acceptor.is_some() { b'S' } else { b'N' };
        if let Err(error) = answer(&mut stream, reply).await {
            return Err(refused(error.into(), stream));
        }
        match (acceptor, stream) {
            (Some(acceptor), MaybeTls::Plain(socket)) => {
                match Box::pin(acceptor.accept(socket, false)).await {
                    Ok(stream) => Ok(MaybeTls::Accepted(Box::new(stream))),
                    Err(fault) => Err(Refused {
                        failure: fault.into(),
                        stream: None,
                        startup: None,
                    }),
                }
            }
            (_, stream) => Ok(stream),
        }
    }
}

fn refused(failure: StartupFailure, stream: MaybeTls) -> Refused {
    Refused {
        failure,
        stream: Some(stream),
        startup: None,
    }
}

async fn answer(stream: &mut MaybeTls, byte: u8) -> io::Result<()> {
    stream.write_all(&[byte]).await?;
    stream.flush().await
}

/// The next packet, and what came with it if it was the last; `seen` has been looked
/// at, and not read.
async fn read_packet(
    stream: &mut MaybeTls,
    seen: Option<Head>,
) -> Result<(First, BytesMut), StartupFailure> {
    let mut packet = BytesMut::with_capacity(ROOM);
    let head = match seen {
        Some(head) => head,
        None => read_head(stream, &mut packet).await?,
    };
    let [a, b, c, d, ..] = head;
    let total = startup::packet_length([a, b, c, d])?;
    packet.reserve(total.saturating_sub(packet.len()));
    let is_last = startup::is_startup(head);
    while packet.len() < total {
        let most = match is_last {
            true => packet.capacity(),
            false => total,
        };
        read_up_to(stream, &mut packet, most).await?;
    }
    let ahead = match packet.len() > total {
        true => packet.split_off(total),
        false => BytesMut::new(),
    };
    Ok((startup::decode(packet.freeze())?, ahead))
}

/// A length that Postgres refuses is refused as soon as it is here.
async fn read_head(stream: &mut MaybeTls, packet: &mut BytesMut) -> Result<Head, StartupFailure> {
    loop {
        if let Some(prefix) = packet.first_chunk() {
            startup::packet_length(*prefix)?;
        }
        if let Some(head) = packet.first_chunk() {
            return Ok(*head);
        }
        read_up_to(stream, packet, size_of::<Head>()).await?;
    }
}

/// Reads once, and no more than makes `most` bytes of it. An end of file here is a port
/// scan, or a load balancer's probe: connect and go.
async fn read_up_to(
    stream: &mut MaybeTls,
    packet: &mut BytesMut,
    most: usize,
) -> Result<(), StartupFailure> {
    let room = most.saturating_sub(packet.len());
    match stream.take(room as u64).read_buf(packet).await? {
        0 => Err(StartupFailure::Left),
        _ => Ok(()),
    }
}
