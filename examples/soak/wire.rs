//! A client that is told what to send, and sees what was answered, to the row.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Nobody waits longer than this for an answer.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Where to log in, and as whom.
#[derive(Clone)]
pub struct Target {
    pub address: SocketAddr,
    pub tls: Option<TlsConnector>,
    pub user: String,
    pub password: String,
    pub database: String,
}

impl Target {
    #[must_use]
    pub fn is(&self, user: &str, database: &str) -> Self {
        let (user, database) = (user.to_owned(), database.to_owned());
        Self {
            user,
            database,
            ..self.clone()
        }
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Trouble {
    /// The connection is gone, or was never there.
    Lost(String),
    /// The server, or the proxy, said no; SQLSTATE and message.
    Refused(String, String),
    /// Nothing came in time.
    Stuck(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(what) => write!(f, "lost: {what}"),
            Self::Refused(code, message) => write!(f, "refused: {code} {message}"),
            Self::Stuck(what) => write!(f, "stuck: {what}"),
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Lost(error.to_string())
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Gone,
}

/// All messages up to ReadyForQuery, or to CopyInResponse.
#[derive(Debug, Default)]
pub struct Answer {
    pub rows: Vec<Vec<Option<String>>>,
    pub copied: Vec<u8>,
    pub tags: Vec<String>,
    pub errors: Vec<(String, String)>,
    pub notified: Vec<(String, String)>,
    /// Tags of all messages, but for rows, notices and what may come at any time.
    pub shape: String,
    /// Of the transaction; 0 where the server waits for a COPY.
    pub status: u8,
}

impl Answer {
    pub fn one(&self) -> Option<&str> {
        self.rows.first()?.first()?.as_deref()
    }

    pub fn code(&self) -> &str {
        self.errors.first().map_or("", |(code, _)| code)
    }
}

pub struct Connection {
    stream: Stream,
    received: BytesMut,
    target: Target,
    key: Vec<u8>,
}

impl Connection {
    pub async fn open(target: &Target) -> Result<Self, Trouble> {
        Self::open_with(target, &[]).await
    }

    pub async fn open_with(target: &Target, more: &[(&str, &str)]) -> Result<Self, Trouble> {
        let login = async {
            let mut connection = Self::connect(target).await?;
            connection.login(more).await?;
            Ok(connection)
        };
        let late = |_| Trouble::Stuck("login".to_owned());
        timeout(DEADLINE, login).await.map_err(late)?
    }

    async fn connect(target: &Target) -> Result<Self, Trouble> {
        let mut plain = TcpStream::connect(target.address).await?;
        plain.set_nodelay(true)?;
        let stream = if let Some(tls) = &target.tls {
            plain.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).await?;
            if plain.read_u8().await? != b'S' {
                return Err(Trouble::Lost("no TLS".to_owned()));
            }
            let name = ServerName::from(target.address.ip());
            Stream::Tls(Box::new(tls.connect(name, plain).await?))
        } else {
            Stream::Plain(plain)
        };
        let (received, key) = (BytesMut::new(), Vec::new());
        Ok(Self {
            stream,
            received,
            target: target.clone(),
            key,
        })
    }

    async fn login(&mut self, more: &[(&str, &str)]) -> Result<(), Trouble> {
        let mut body = vec![0, 3, 0, 0];
        let (user, password) = (self.target.user.clone(), self.target.password.clone());
        let database = self.target.database.clone();
        let who = [("user", &user[..]), ("database", &database)];
        for (name, value) in who.iter().chain(more) {
            body.extend([text(name), text(value)].concat());
        }
        body.push(0);
        let packet = [&(body.len() as u32 + 4).to_be_bytes()[..], &body].concat();
        self.send(&packet).await?;
        let mut scram = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        loop {
            let (tag, body) = self.message().await?;
            match (tag, body.get(3)) {
                (b'R', Some(0)) => {}
                (b'R', Some(3)) => self.send(&message(b'p', &text(&password))).await?,
                (b'R', Some(5)) => {
                    let salt = body[4..8].try_into().expect("four bytes");
                    let hash = md5_hash(user.as_bytes(), password.as_bytes(), salt);
                    self.send(&message(b'p', &text(&hash))).await?;
                }
                (b'R', Some(10)) => {
                    let first = scram.message();
                    let length = (first.len() as u32).to_be_bytes();
                    let answer = [&text("SCRAM-SHA-256"), &length[..], first].concat();
                    self.send(&message(b'p', &answer)).await?;
                }
                (b'R', Some(11)) => {
                    scram.update(&body[4..])?;
                    self.send(&message(b'p', scram.message())).await?;
                }
                (b'R', Some(12)) => scram.finish(&body[4..])?,
                (b'K', _) => self.key = body,
                (b'Z', _) => return Ok(()),
                (b'E', _) => {
                    let (code, message) = error(&body);
                    return Err(Trouble::Refused(code, message));
                }
                (b'S' | b'N', _) => {}
                (tag, _) => return Err(Trouble::Lost(format!("{} in a login", tag as char))),
            }
        }
    }

    pub async fn send(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        let sending = async {
            match &mut self.stream {
                Stream::Plain(stream) => stream.write_all(bytes).await,
                Stream::Tls(stream) => {
                    stream.write_all(bytes).await?;
                    stream.flush().await
                }
                Stream::Gone => Err(io::ErrorKind::NotConnected.into()),
            }
        };
        let late = |_| Trouble::Stuck("nobody reads".to_owned());
        Ok(timeout(DEADLINE, sending).await.map_err(late)??)
    }

    async fn message(&mut self) -> Result<(u8, Vec<u8>), Trouble> {
        loop {
            if let Some(mut header) = self.received.get(..5) {
                let tag = header.get_u8();
                let length = header.get_u32() as usize;
                if self.received.len() > length {
                    let whole = self.received.split_to(length + 1);
                    return Ok((tag, whole[5..].to_vec()));
                }
            }
            let read = match &mut self.stream {
                Stream::Plain(stream) => fill(stream, &mut self.received).await,
                Stream::Tls(stream) => fill(stream, &mut self.received).await,
                Stream::Gone => Err(io::ErrorKind::NotConnected.into()),
            };
            if read? == 0 {
                return Err(Trouble::Lost("closed".to_owned()));
            }
        }
    }

    /// Reads one answer. A FATAL error is told as the loss that follows it.
    pub async fn answer(&mut self) -> Result<Answer, Trouble> {
        let late = |_| Trouble::Stuck("no answer".to_owned());
        timeout(DEADLINE, self.read_answer()).await.map_err(late)?
    }

    async fn read_answer(&mut self) -> Result<Answer, Trouble> {
        let mut answer = Answer::default();
        loop {
            let (tag, body) = match self.message().await {
                Ok(message) => message,
                Err(Trouble::Lost(how)) => {
                    let last = answer.errors.last();
                    let said = last.map_or(how, |(code, text)| format!("{code} {text}"));
                    return Err(Trouble::Lost(said));
                }
                Err(trouble) => return Err(trouble),
            };
            if !matches!(tag, b'S' | b'N' | b'A' | b'd') && (tag != b'D') {
                answer.shape.push(tag as char);
            }
            match tag {
                b'D' => answer.rows.push(row(&body)),
                b'd' => answer.copied.extend(body),
                b'C' => answer.tags.push(words(&body).remove(0)),
                b'E' => answer.errors.push(error(&body)),
                b'A' => {
                    let mut said = words(&body[4..]).into_iter();
                    let both = (said.next(), said.next());
                    answer
                        .notified
                        .push((both.0.unwrap_or_default(), both.1.unwrap_or_default()));
                }
                b'G' => return Ok(answer),
                b'Z' => {
                    answer.status = body[0];
                    return Ok(answer);
                }
                _ => {}
            }
        }
    }

    pub async fn ask(&mut self, bytes: &[u8]) -> Result<Answer, Trouble> {
        self.send(bytes).await?;
        self.answer().await
    }

    pub async fn query(&mut self, sql: &str) -> Result<Answer, Trouble> {
        self.ask(&query(sql)).await
    }

    /// Sends a cancel request for this connection, and returns once it was taken.
    pub fn cancelling(&self) -> impl Future<Output = ()> + use<> {
        let (address, key) = (self.target.address, self.key.clone());
        async move {
            let request = [&[0, 0, 0, 16, 4, 210, 22, 46][..], &key].concat();
            if let Ok(mut stream) = TcpStream::connect(address).await {
                let _ = stream.write_all(&request).await;
                let _ = timeout(DEADLINE, stream.read_u8()).await;
            }
        }
    }

    /// Goes away with a reset, as a client does that is killed with answers unread.
    pub fn kill(&mut self) {
        if let Stream::Plain(stream) = &self.stream {
            let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
        self.stream = Stream::Gone;
    }

    pub async fn leave(&mut self) {
        let _ = self.send(&message(b'X', &[])).await;
        self.stream = Stream::Gone;
    }
}

async fn fill<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    into: &mut BytesMut,
) -> io::Result<usize> {
    into.reserve(8192);
    stream.read_buf(into).await
}

pub fn tls(ca_file: &str) -> TlsConnector {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca_file).expect("a CA") {
        roots.add(certificate.expect("a CA")).expect("a CA");
    }
    let config = ClientConfig::builder().with_root_certificates(roots);
    Arc::new(config.with_no_client_auth()).into()
}

fn words(body: &[u8]) -> Vec<String> {
    let words = body.split(|byte| *byte == 0);
    words
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect()
}

fn error(body: &[u8]) -> (String, String) {
    let field = |letter: char| {
        let fields = words(body);
        let found = fields.iter().find_map(|field| field.strip_prefix(letter));
        found.unwrap_or_default().to_owned()
    };
    (field('C'), field('M'))
}

fn row(mut body: &[u8]) -> Vec<Option<String>> {
    let columns = body.get_u16();
    let column = |_| {
        let length = usize::try_from(body.get_i32()).ok()?;
        let value = String::from_utf8_lossy(&body[..length]).into_owned();
        body.advance(length);
        Some(value)
    };
    (0..columns).map(column).collect()
}

fn text(value: &str) -> Vec<u8> {
    [value.as_bytes(), &[0]].concat()
}

pub fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
}

pub fn query(sql: &str) -> Vec<u8> {
    message(b'Q', &text(sql))
}

pub fn parse(name: &str, sql: &str) -> Vec<u8> {
    message(b'P', &[text(name), text(sql), vec![0, 0]].concat())
}

/// Binds one text parameter, or none.
pub fn bind(portal: &str, statement: &str, parameter: Option<&str>) -> Vec<u8> {
    let mut body = [text(portal), text(statement), vec![0, 0]].concat();
    match parameter {
        None => body.extend([0, 0]),
        Some(value) => {
            body.extend([0, 1]);
            body.extend((value.len() as u32).to_be_bytes());
            body.extend(value.as_bytes());
        }
    }
    body.extend([0, 0]);
    message(b'B', &body)
}

pub fn describe(kind: u8, name: &str) -> Vec<u8> {
    message(b'D', &[vec![kind], text(name)].concat())
}

pub fn close(kind: u8, name: &str) -> Vec<u8> {
    message(b'C', &[vec![kind], text(name)].concat())
}

pub fn execute(portal: &str, rows: u32) -> Vec<u8> {
    message(b'E', &[&text(portal), &rows.to_be_bytes()[..]].concat())
}

pub fn sync() -> Vec<u8> {
    message(b'S', &[])
}

/// One statement without a name, without Sync.
pub fn extended(sql: &str, parameter: Option<&str>) -> Vec<u8> {
    [
        parse("", sql),
        bind("", "", parameter),
        describe(b'P', ""),
        execute("", 0),
    ]
    .concat()
}
