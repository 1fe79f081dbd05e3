//! A client that works with messages, not queries: it sends what it is told to
//! and shows everything that comes back.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::frontend;
use super::wait::PATIENCE;

/// One message of the server: its tag and its body.
pub(crate) type Message = (u8, Vec<u8>);

/// The fields of an ErrorResponse or NoticeResponse by their letters.
pub(crate) type ErrorFields = BTreeMap<char, String>;

/// What a client says about channel binding in SCRAM, by the gs2 flag it sends.
#[derive(Debug, Clone)]
pub(crate) enum Gs2 {
    /// `n`: the client cannot.
    Unsupported,
    /// `y`: the client could, and thinks that the server cannot.
    Unrequested,
    /// `p`: the client does, with the hash of the server's certificate.
    ServerEndPoint(Vec<u8>),
}

/// What a login leaves a client with.
#[derive(Debug, Clone, Default)]
pub(crate) struct Session {
    pub(crate) parameters: BTreeMap<String, String>,
    pub(crate) process_id: u32,
    pub(crate) secret: Vec<u8>,
    pub(crate) notices: Vec<ErrorFields>,
}

impl Session {
    pub(crate) fn cancel_request(&self) -> Vec<u8> {
        frontend::cancel_request(self.process_id, &self.secret)
    }
}

#[derive(Debug)]
pub(crate) struct RawClient<S> {
    stream: S,
    received: BytesMut,
    /// Of the startup packet; md5 needs it.
    user: String,
    /// Everything read so far, for the message of a test that fails.
    seen: Vec<String>,
}

impl RawClient<TcpStream> {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream)
    }
}

impl RawClient<UnixStream> {
    pub(crate) async fn connect_unix(path: &Path) -> Self {
        Self::over(UnixStream::connect(path).await.unwrap())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> RawClient<S> {
    pub(crate) fn over(stream: S) -> Self {
        Self {
            stream,
            received: BytesMut::new(),
            user: String::new(),
            seen: Vec::new(),
        }
    }

    /// The stream, once nothing that was read from it is left over.
    pub(crate) fn into_inner(self) -> S {
        assert!(self.received.is_empty(), "unread: {:?}", self.received);
        self.stream
    }

    /// What was read and not taken yet, for a test that goes on with the stream.
    pub(crate) fn take_received(&mut self) -> Vec<u8> {
        self.received.split().to_vec()
    }

    pub(crate) fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sending = async {
            self.stream.write_all(bytes.as_ref()).await?;
            self.stream.flush().await
        };
        match timeout(PATIENCE, sending).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.fail(&format!("cannot send: {error}")),
            Err(_) => self.fail("nobody takes what is sent"),
        }
    }

    /// Sends to somebody who may have seen enough.
    pub(crate) async fn send_what_is_taken(&mut self, bytes: &[u8]) {
        drop(timeout(PATIENCE, self.stream.write_all(bytes)).await);
    }

    pub(crate) async fn startup(&mut self, parameters: &[(&str, &str)]) {
        let user = parameters.iter().find(|(name, _)| *name == "user");
        self.user = user.map_or_else(String::new, |(_, user)| (*user).to_owned());
        self.send(frontend::startup(frontend::PROTOCOL_3_0, parameters))
            .await;
    }

    /// Logs in as a client without TLS does; fails the test if that fails.
    pub(crate) async fn login(&mut self, user: &str, password: &str, database: &str) -> Session {
        self.startup(&[("user", user), ("database", database)])
            .await;
        match self.finish_login(password, &Gs2::Unsupported).await {
            Ok(session) => session,
            Err(error) => self.fail(&format!("login refused: {error:?}")),
        }
    }

    /// Everything after the startup packet, up to the first ReadyForQuery.
    pub(crate) async fn finish_login(
        &mut self,
        password: &str,
        gs2: &Gs2,
    ) -> Result<Session, ErrorFields> {
        self.authenticate(password, gs2).await?;
        let mut session = Session::default();
        loop {
            let (tag, body) = self.read_message().await;
            match tag {
                b'S' => {
                    let mut words = texts(&body);
                    session.parameters.insert(words.remove(0), words.remove(0));
                }
                b'K' => {
                    let mut body = &body[..];
                    session.process_id = body.get_u32();
                    session.secret = body.to_vec();
                }
                b'Z' => return Ok(session),
                b'E' => return Err(error_fields(&body)),
                b'N' => session.notices.push(error_fields(&body)),
                // NegotiateProtocolVersion.
                b'v' => {}
                _ => self.fail("unexpected in a login"),
            }
        }
    }

    /// Answers whatever the server asks for, until AuthenticationOk.
    pub(crate) async fn authenticate(
        &mut self,
        password: &str,
        gs2: &Gs2,
    ) -> Result<(), ErrorFields> {
        loop {
            let mut request = self.read_authentication().await?;
            match request.get_u32() {
                0 => return Ok(()),
                3 => self.send(frontend::password(password)).await,
                5 => {
                    let salt = <[u8; 4]>::try_from(&request[..]).unwrap();
                    let hash = md5_hash(self.user.as_bytes(), password.as_bytes(), salt);
                    self.send(frontend::password(&hash)).await;
                }
                10 => self.scram(password, gs2, &texts(&request)).await?,
                _ => self.fail("a request for authentication that the test client cannot answer"),
            }
        }
    }

    async fn scram(
        &mut self,
        password: &str,
        gs2: &Gs2,
        offered: &[String],
    ) -> Result<(), ErrorFields> {
        let (mechanism, binding) = match gs2 {
            Gs2::Unsupported => ("SCRAM-SHA-256", ChannelBinding::unsupported()),
            Gs2::Unrequested => ("SCRAM-SHA-256", ChannelBinding::unrequested()),
            Gs2::ServerEndPoint(hash) => (
                "SCRAM-SHA-256-PLUS",
                ChannelBinding::tls_server_end_point(hash.clone()),
            ),
        };
        if !offered.iter().any(|name| name == mechanism) {
            self.fail(&format!("{mechanism} is not among {offered:?}"));
        }
        let mut scram = ScramSha256::new(password.as_bytes(), binding);
        self.send(frontend::sasl_initial_response(mechanism, scram.message()))
            .await;
        let challenge = self.read_sasl(11).await?;
        scram.update(&challenge).unwrap();
        self.send(frontend::sasl_response(scram.message())).await;
        let outcome = self.read_sasl(12).await?;
        scram.finish(&outcome).unwrap();
        Ok(())
    }

    async fn read_sasl(&mut self, kind: u32) -> Result<Bytes, ErrorFields> {
        let mut body = self.read_authentication().await?;
        let found = body.get_u32();
        if found != kind {
            self.fail(&format!(
                "authentication message {found} in place of {kind}"
            ));
        }
        Ok(body)
    }

    async fn read_authentication(&mut self) -> Result<Bytes, ErrorFields> {
        loop {
            let (tag, body) = self.read_message().await;
            match tag {
                b'R' => return Ok(body.into()),
                b'E' => return Err(error_fields(&body)),
                b'N' | b'v' => {}
                _ => self.fail("unexpected in an authentication"),
            }
        }
    }

    /// Runs a simple query and returns every message of the answer.
    pub(crate) async fn query(&mut self, sql: &str) -> Vec<Message> {
        self.send(frontend::query(sql)).await;
        self.read_until_ready().await
    }

    /// Runs a simple query and returns its rows as text; fails the test on an error.
    pub(crate) async fn rows(&mut self, sql: &str) -> Vec<Vec<Option<String>>> {
        let messages = self.query(sql).await;
        if messages.iter().any(|(tag, _)| *tag == b'E') {
            self.fail(&format!("{sql} failed"));
        }
        let rows = messages.iter().filter(|(tag, _)| *tag == b'D');
        rows.map(|(_, body)| data_row(body)).collect()
    }

    /// Reads up to and including the next ReadyForQuery.
    pub(crate) async fn read_until_ready(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            messages.push(self.read_message().await);
            if messages.last().is_some_and(|(tag, _)| *tag == b'Z') {
                return messages;
            }
        }
    }

    pub(crate) async fn read_message(&mut self) -> Message {
        match self.next_message().await {
            Some(message) => message,
            None => self.fail("closed by the other side"),
        }
    }

    /// Reads up to the end of the stream, and returns the messages before it.
    pub(crate) async fn read_until_closed(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Some(message) = self.next_message().await {
            messages.push(message);
        }
        messages
    }

    /// Reads the single byte that answers an SSLRequest or a GSSENCRequest.
    pub(crate) async fn read_byte(&mut self) -> u8 {
        while self.received.is_empty() {
            if self.receive().await == 0 {
                self.fail("closed by the other side");
            }
        }
        self.received.get_u8()
    }

    /// Fails the test if anything arrives within `duration`; only ever a
    /// supporting witness, since what comes later is not seen.
    pub(crate) async fn assert_silent(&mut self, duration: Duration) {
        if !self.received.is_empty()
            || timeout(duration, self.stream.read_buf(&mut self.received))
                .await
                .is_ok()
        {
            self.fail(&format!("unexpected: {:?}", self.received));
        }
    }

    /// The next message, which stays to be read again.
    pub(crate) async fn peek(&mut self) -> Message {
        let message = self.read_message().await;
        let (tag, body) = &message;
        let mut unread = BytesMut::from(&frontend::message(*tag, body)[..]);
        unread.extend_from_slice(&self.received);
        self.received = unread;
        message
    }

    /// The next message, or `None` at a clean end of the stream.
    pub(crate) async fn next_message(&mut self) -> Option<Message> {
        loop {
            if let Some((tag, body)) = take_message(&mut self.received) {
                self.seen.push(show(tag, &body));
                return Some((tag, body));
            }
            if self.receive().await == 0 {
                if !self.received.is_empty() {
                    self.fail(&format!("cut within a message: {:?}", self.received));
                }
                return None;
            }
        }
    }

    /// Number of bytes that arrived; 0 at the end, a reset included.
    async fn receive(&mut self) -> usize {
        match timeout(PATIENCE, self.stream.read_buf(&mut self.received)).await {
            Ok(Ok(count)) => count,
            Ok(Err(error)) => {
                self.seen.push(format!("({error})"));
                0
            }
            Err(_) => self.fail("nothing arrives"),
        }
    }

    fn fail(&self, reason: &str) -> ! {
        let seen = self.seen.join("\n  ");
        panic!("{reason}\nreceived before, oldest first:\n  {seen}")
    }
}

/// Takes one message out of `received` once all of it is there.
pub(crate) fn take_message(received: &mut BytesMut) -> Option<Message> {
    let mut header = received.get(..5)?;
    let (tag, length) = (header.get_u8(), header.get_u32() as usize);
    assert!(
        length >= 4,
        "message {:?} of length {length}",
        char::from(tag)
    );
    if received.len() < 1 + length {
        return None;
    }
    let mut message = received.split_to(1 + length);
    message.advance(5);
    Some((tag, message.to_vec()))
}

/// The tags of messages in a row, for example `TDCZ`.
pub(crate) fn tags(messages: &[Message]) -> String {
    messages.iter().map(|(tag, _)| char::from(*tag)).collect()
}

/// The fields of the first ErrorResponse; fails the test if there is none.
pub(crate) fn first_error(messages: &[Message]) -> ErrorFields {
    match messages.iter().find(|(tag, _)| *tag == b'E') {
        Some((_, body)) => error_fields(body),
        None => panic!("no error among {}", tags(messages)),
    }
}

/// Decodes an ErrorResponse or a NoticeResponse; `C` is the SQLSTATE, `M` the message.
pub(crate) fn error_fields(body: &[u8]) -> ErrorFields {
    let mut fields = ErrorFields::new();
    for field in texts(body) {
        let mut letters = field.chars();
        if let Some(letter) = letters.next() {
            fields.insert(letter, letters.as_str().to_owned());
        }
    }
    fields
}

/// Decodes a DataRow of text values.
pub(crate) fn data_row(body: &[u8]) -> Vec<Option<String>> {
    let mut body = body;
    let columns = body.get_u16();
    let value = |_| {
        let length = usize::try_from(body.get_i32()).ok()?;
        let (value, rest) = body.split_at(length);
        body = rest;
        Some(String::from_utf8_lossy(value).into_owned())
    };
    (0..columns).map(value).collect()
}

/// The strings of a body that has nothing else, the empty one that may end it included.
pub(crate) fn texts(body: &[u8]) -> Vec<String> {
    let words = body.split_inclusive(|byte| *byte == 0);
    let words = words.map(|word| String::from_utf8_lossy(&word[..word.len() - 1]).into_owned());
    words.collect()
}

fn show(tag: u8, body: &[u8]) -> String {
    let shown = &body[..body.len().min(200)];
    format!("{} {}", char::from(tag), shown.escape_ascii())
}
