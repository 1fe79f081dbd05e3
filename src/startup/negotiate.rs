//! SSLRequest, GSSENCRequest, direct TLS, and the packet that says what is wanted.
//!
//! Packets are read to their exact length straight from the socket, so that what
//! follows an SSLRequest reaches the TLS engine and nothing else: bytes stuffed in
//! front of the handshake can never be taken for something said inside it.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Admission, LocalTls, Refused, StartupFailure};
use crate::net::Socket;
use crate::tls::MaybeTls;
use crate::wire::startup::{self, CancelKey, First, StartupMessage, Version};

/// First byte of a TLS ClientHello.
const TLS_HANDSHAKE: u8 = 0x16;

/// What the client wants.
#[derive(Debug)]
pub(super) enum Wish {
    Session(StartupMessage),
    Cancel(CancelKey),
}

/// Which of the two requests for encryption were made; Postgres answers each once.
#[derive(Debug, Default)]
struct Asked {
    tls: bool,
    gss: bool,
}

impl Admission {
    pub(super) async fn negotiate(&self, socket: Socket) -> Result<(MaybeTls, Wish), Refused> {
        let mut stream = self.open(socket).await?;
        let mut asked = Asked {
            tls: stream.is_tls(),
            gss: stream.is_tls(),
        };
        loop {
            let first = match read_packet(&mut stream).await {
                Ok(first) => first,
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
                First::Cancel(key) => return Ok((stream, Wish::Cancel(key))),
                First::Startup(message) if self.is_satisfied_by(&stream) => {
                    return Ok((stream, Wish::Session(message)));
                }
                First::Startup(_) => StartupFailure::TlsRequired,
            };
            return Err(refused(failure, stream));
        }
    }

    /// The one check of what the listener demands, behind every way of arriving.
    fn is_satisfied_by(&self, stream: &MaybeTls) -> bool {
        match self.tls {
            LocalTls::Require(_) => stream.is_tls() || stream.socket().is_unix(),
            LocalTls::Disable | LocalTls::Allow(_) => true,
        }
    }

    /// Direct TLS (Postgres 17's `sslnegotiation=direct`) shows in the first byte.
    async fn open(&self, socket: Socket) -> Result<MaybeTls, Refused> {
        match socket.peek_byte().await {
            Ok(Some(TLS_HANDSHAKE)) => {}
            Ok(_) => return Ok(MaybeTls::Plain(socket)),
            Err(error) => return Err(refused(error.into(), MaybeTls::Plain(socket))),
        }
        let Some(acceptor) = self.tls.acceptor() else {
            return Err(Refused {
                failure: StartupFailure::NoTls,
                stream: None,
            });
        };
        match acceptor.accept(socket, true).await {
            Ok(stream) => Ok(MaybeTls::Accepted(Box::new(stream))),
            Err(fault) => Err(Refused {
                failure: fault.into(),
                stream: None,
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
            (Some(acceptor), MaybeTls::Plain(socket)) => match acceptor.accept(socket, false).await
            {
                Ok(stream) => Ok(MaybeTls::Accepted(Box::new(stream))),
                Err(fault) => Err(Refused {
                    failure: fault.into(),
                    stream: None,
                }),
            },
            (_, stream) => Ok(stream),
        }
    }
}

fn refused(failure: StartupFailure, stream: MaybeTls) -> Refused {
    Refused {
        failure,
        stream: Some(stream),
    }
}

async fn answer(stream: &mut MaybeTls, byte: u8) -> io::Result<()> {
    stream.write_all(&[byte]).await?;
    stream.flush().await
}

async fn read_packet(stream: &mut MaybeTls) -> Result<First, StartupFailure> {
    let mut prefix = [0; 4];
    match stream.read_exact(&mut prefix).await {
        Ok(_) => {}
        // A port scan or a load balancer's probe: connect and go.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(StartupFailure::Left);
        }
        Err(error) => return Err(error.into()),
    }
    let total = startup::packet_length(prefix)?;
    let mut packet = BytesMut::with_capacity(total);
    packet.extend_from_slice(&prefix);
    let mut rest = (&mut *stream).take((total - prefix.len()) as u64);
    while packet.len() < total {
        if rest.read_buf(&mut packet).await? == 0 {
            return Err(StartupFailure::Left);
        }
    }
    Ok(startup::decode(packet.freeze())?)
}
