//! Random pipelines of several clients that are handed from connection to
//! connection, against a server of its own for each: it must see the same replies.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::super::*;

const NAMES: [&[u8]; 5] = [b"", b"a", b"b", b"c", b"d"];

/// What a Parse has behind its name; the first few are special.
type Text = u8;
/// A syntax error.
const BAD: Text = 0;
/// Refused before anything is done.
const MALFORMED: Text = 1;
/// Too long to be kept by the proxy.
const LONG: Text = 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sql {
    Plain,
    Fails,
    /// A look at pg_prepared_statements.
    List,
    DeallocateAll,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Message {
    Parse(Vec<u8>, Text),
    Bind(Vec<u8>),
    Describe(Vec<u8>),
    Close(Vec<u8>),
    /// Execute of something that is always there.
    Execute(Sql),
    Query(Sql),
    Sync,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Reply {
    Parsed,
    Closed,
    Used(Text),
    Listed(Vec<(Vec<u8>, Text)>),
    Deallocated,
    Done,
    Error(&'static str),
    Ready,
}

/// Postgres, as far as prepared statements go.
#[derive(Debug, Default)]
struct Postgres {
    named: BTreeMap<Vec<u8>, Text>,
    unnamed: Option<Text>,
    skipping: bool,
}

impl Postgres {
    fn answer(&mut self, message: &Message) -> Vec<Reply> {
        if *message == Message::Sync {
            self.skipping = false;
            return vec![Reply::Ready];
        }
        if self.skipping {
            return vec![];
        }
        let reply = match message {
            Message::Query(sql) => {
                self.unnamed = None;
                return vec![self.run(*sql), Reply::Ready];
            }
            Message::Parse(name, text) => self.parse(name, *text),
            Message::Close(name) => {
                if name.is_empty() {
                    self.unnamed = None;
                } else {
                    self.named.remove(name);
                }
                Reply::Closed
            }
            Message::Execute(sql) => self.run(*sql),
            Message::Bind(name) | Message::Describe(name) => {
                let found = if name.is_empty() {
                    self.unnamed
                } else {
                    self.named.get(name).copied()
                };
                found.map_or(Reply::Error("26000"), Reply::Used)
            }
            Message::Sync => Reply::Ready,
        };
        self.skipping = matches!(reply, Reply::Error(_));
        vec![reply]
    }

    fn parse(&mut self, name: &[u8], text: Text) -> Reply {
        if text == MALFORMED {
            return Reply::Error("08P01");
        }
        if name.is_empty() {
            self.unnamed = None;
        }
        if text == BAD {
            return Reply::Error("42601");
        }
        if name.is_empty() {
            self.unnamed = Some(text);
        } else if self.named.contains_key(name) {
            return Reply::Error("42P05");
        } else {
            self.named.insert(name.to_vec(), text);
        }
        Reply::Parsed
    }

    fn run(&mut self, sql: Sql) -> Reply {
        match sql {
            Sql::Plain => Reply::Done,
            Sql::Fails => Reply::Error("22012"),
            Sql::List => Reply::Listed(self.named.clone().into_iter().collect()),
            Sql::DeallocateAll => {
                self.named.clear();
                Reply::Deallocated
            }
        }
    }
}

#[derive(Debug, Default)]
struct Connection {
    postgres: Postgres,
    server: ServerStatements,
    holder: Option<usize>,
}

struct Owed {
    message: Message,
    injected: bool,
    /// Of a Bind, what the client's statement was said to be.
    note: Option<Text>,
}

/// One client's turn on one connection: the proxy between them.
struct Turn<'a> {
    client: &'a mut ClientStatements<Text>,
    connection: &'a mut Connection,
    env: Environment,
    inbox: VecDeque<Message>,
    owed: VecDeque<Owed>,
    open: bool,
    failed: bool,
    seen: Vec<Reply>,
    waits: usize,
}

impl Turn<'_> {
    /// The client sends a message.
    fn send(&mut self, message: &Message) {
        if *message == Message::Sync {
            self.client.sync();
            self.failed = false;
            self.open = false;
        } else if self.failed {
            self.inbox.push_back(message.clone());
            return;
        } else {
            let mut out = Vec::new();
            let injected = self.announce(message, &mut out).unwrap_or_else(|Wait| {
                self.waits += 1;
                assert!(out.is_empty());
                self.settle_synced();
                self.announce(message, &mut out)
                    .expect("replies decide what was waited for")
            });
            self.inject(&out, &injected);
            // An error may still skip a Query that follows, and all behind it.
            self.open |= !matches!(message, Message::Query(_));
        }
        let note = match message {
            Message::Bind(name) => self.client.note(name).copied(),
            _ => None,
        };
        self.forward(message.clone(), false, note);
    }

    fn announce(&mut self, message: &Message, out: &mut Vec<u8>) -> Result<Vec<Injected>, Wait> {
        let server = &mut self.connection.server;
        match message {
            Message::Parse(name, text) => {
                let rest = [*text];
                let parse = Parse {
                    name,
                    rest: (*text != LONG).then_some(&rest[..]),
                    note: *text,
                };
                self.client.parse(server, parse, self.env, out)
            }
            Message::Bind(name) | Message::Describe(name) => {
                self.client.uses(server, name, self.env, out)
            }
            Message::Close(name) => {
                self.client.close(server, name);
                Ok(vec![])
            }
            Message::Execute(Sql::List | Sql::DeallocateAll) => {
                self.client.align(server, self.env, false, out)
            }
            Message::Query(sql) => {
                let injected = match sql {
                    Sql::List | Sql::DeallocateAll => {
                        self.client.align(server, self.env, !self.open, out)?
                    }
                    _ => vec![],
                };
                self.client.query(server);
                Ok(injected)
            }
            _ => Ok(vec![]),
        }
    }

    /// Reads the bytes as the server would.
    fn inject(&mut self, mut out: &[u8], injected: &[Injected]) {
        for what in injected {
            let len = u32::from_be_bytes(out[1..5].try_into().unwrap()) as usize;
            let body = &out[5..=len];
            let message = match (what, out[0]) {
                (Injected::Parse, b'P') => {
                    let end = body.iter().position(|byte| *byte == 0).unwrap();
                    assert_eq!(body.len(), end + 2);
                    Message::Parse(body[..end].to_vec(), body[end + 1])
                }
                (Injected::Close, b'C') => {
                    assert_eq!((body[0], body.last()), (b'S', Some(&0)));
                    Message::Close(body[1..body.len() - 1].to_vec())
                }
                (Injected::Sync, b'S') => Message::Sync,
                other => panic!("{other:?}"),
            };
            self.forward(message, true, None);
            out = &out[len + 1..];
        }
        assert!(out.is_empty());
    }

    fn forward(&mut self, message: Message, injected: bool, note: Option<Text>) {
        self.inbox.push_back(message.clone());
        self.owed.push_back(Owed {
            message,
            injected,
            note,
        });
    }

    /// The server reads one message.
    fn step(&mut self) {
        let Some(message) = self.inbox.pop_front() else {
            return;
        };
        for reply in self.connection.postgres.answer(&message) {
            self.receive(reply);
        }
    }

    /// The server is heard up to its last ReadyForQuery.
    fn settle_synced(&mut self) {
        let ends = |message: &Message| matches!(message, Message::Sync);
        let last = self.inbox.iter().rposition(ends);
        for _ in 0..last.map_or(0, |last| last + 1) {
            self.step();
        }
    }

    fn receive(&mut self, reply: Reply) {
        let server = &mut self.connection.server;
        let front = self.owed.front().expect("a reply to something");
        let injected = front.injected;
        match (&reply, &front.message) {
            (Reply::Parsed, Message::Parse(..)) => self.client.parsed(server),
            (Reply::Closed, Message::Close(_)) => self.client.closed(server),
            (Reply::Used(text), Message::Bind(_)) => assert_eq!(front.note, Some(*text)),
            (Reply::Ready, Message::Query(_)) => self.client.queried(server),
            (Reply::Deallocated, _) => self.client.all_deallocated(server),
            (Reply::Error(code), message) if !matches!(message, Message::Query(_)) => {
                let begun = announced(message) && *code != "08P01";
                self.skip(begun);
                self.seen.push(reply);
                return;
            }
            _ => {}
        }
        if !matches!(front_kind(&self.owed), Some(Message::Query(_))) || reply == Reply::Ready {
            self.owed.pop_front();
        }
        if !injected {
            self.seen.push(reply);
        }
    }

    fn skip(&mut self, begun: bool) {
        let mut n = 0;
        while let Some(owed) = self.owed.front()
            && owed.message != Message::Sync
        {
            n += usize::from(announced(&owed.message));
            self.owed.pop_front();
        }
        self.failed = self.owed.is_empty();
        self.client.failed(&mut self.connection.server, n, begun);
    }
}

fn front_kind(owed: &VecDeque<Owed>) -> Option<&Message> {
    owed.front().map(|owed| &owed.message)
}

/// Whether a message is in flight to the room.
fn announced(message: &Message) -> bool {
    matches!(
        message,
        Message::Parse(..) | Message::Close(_) | Message::Query(_)
    )
}

#[derive(Debug, Clone)]
enum Event {
    /// A client, the connection it would like, and its messages; behind each, how
    /// many messages the server has time to read.
    Turn(usize, usize, Vec<(Message, usize)>),
    Settings(u64),
    Ddl,
    Stale(usize, usize),
    Scrub(usize),
}

struct World {
    clients: Vec<(ClientStatements<Text>, Postgres)>,
    connections: Vec<Connection>,
    env: Environment,
    waits: usize,
}

impl World {
    fn new(limit: usize) -> Self {
        let connection = |_| Connection {
            server: ServerStatements::new(limit),
            ..Connection::default()
        };
        Self {
            clients: (0..3).map(|_| Default::default()).collect(),
            connections: (0..2).map(connection).collect(),
            env: Environment::default(),
            waits: 0,
        }
    }

    fn is_pinned(&self, connection: usize) -> bool {
        let holder = self.connections[connection].holder;
        holder.is_some_and(|client| self.clients[client].0.must_stay())
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Turn(client, connection, script) => self.turn(client, connection, &script),
            Event::Settings(settings) => self.env.settings = settings,
            Event::Ddl => self.env.epoch += 1,
            Event::Stale(at, name) if !self.is_pinned(at) => {
                self.connections[at].server.stale(NAMES[name]);
            }
            Event::Scrub(at) if !self.is_pinned(at) => {
                let connection = &mut self.connections[at];
                connection.holder = None;
                connection.postgres = Postgres::default();
                connection.server.handed_over();
                connection.server.clear();
            }
            _ => {}
        }
    }

    fn turn(&mut self, client: usize, connection: usize, script: &[(Message, usize)]) {
        let pinned = |at: &usize| {
            self.connections[*at].holder == Some(client) && self.clients[client].0.must_stay()
        };
        let at = (0..2).find(pinned).unwrap_or(connection);
        let connection = &mut self.connections[at];
        if connection.holder != Some(client) {
            if self.is_pinned(at) {
                return;
            }
            let connection = &mut self.connections[at];
            connection.holder = Some(client);
            connection.server.handed_over();
        }
        // Where it was before, somebody else may be now: nobody is there for it.
        self.connections[1 - at]
            .holder
            .take_if(|other| *other == client);
        let (client, alone) = &mut self.clients[client];
        let mut turn = Turn {
            client,
            connection: &mut self.connections[at],
            env: self.env,
            inbox: VecDeque::new(),
            owed: VecDeque::new(),
            open: false,
            failed: false,
            seen: Vec::new(),
            waits: 0,
        };
        let mut expected = Vec::new();
        let end = [(Message::Sync, usize::MAX)];
        for (message, reads) in script.iter().chain(&end) {
            expected.extend(alone.answer(message));
            turn.send(message);
            for _ in 0..(*reads).min(turn.inbox.len()) {
                turn.step();
            }
        }
        assert_eq!(turn.seen, expected);
        assert!(turn.owed.is_empty());
        assert!(turn.client.is_settled());
        let connection = turn.connection;
        assert_eq!(connection.server.named(), connection.postgres.named.len());
        self.waits += turn.waits;
    }
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    (0..NAMES.len()).prop_map(|at| NAMES[at].to_vec())
}

fn sql() -> impl Strategy<Value = Sql> {
    prop_oneof![
        6 => Just(Sql::Plain),
        2 => Just(Sql::Fails),
        1 => Just(Sql::List),
        1 => Just(Sql::DeallocateAll),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    let text = prop_oneof![
        2 => Just(BAD),
        1 => Just(MALFORMED),
        20 => 3..6_u8,
    ];
    prop_oneof![
        60 => (name(), text).prop_map(|(name, text)| Message::Parse(name, text)),
        1 => name().prop_map(|name| Message::Parse(name, LONG)),
        60 => name().prop_map(Message::Bind),
        20 => name().prop_map(Message::Describe),
        20 => name().prop_map(Message::Close),
        15 => sql().prop_map(Message::Execute),
        20 => sql().prop_map(Message::Query),
        60 => Just(Message::Sync),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let reads = prop_oneof![3 => Just(0), 2 => 0..4_usize, 1 => Just(usize::MAX)];
    let script = prop::collection::vec((message(), reads), 0..12);
    prop_oneof![
        20 => (0..3_usize, 0..2_usize, script).prop_map(|(c, s, m)| Event::Turn(c, s, m)),
        1 => (0..2_u64).prop_map(Event::Settings),
        1 => Just(Event::Ddl),
        1 => (0..2_usize, 0..NAMES.len()).prop_map(|(s, n)| Event::Stale(s, n)),
        1 => (0..2_usize).prop_map(Event::Scrub),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_client_sees_what_it_would_see_alone(
        limit in prop::sample::select(vec![0, 1, 2, 3, 100]),
        events in prop::collection::vec(event(), 1..40),
    ) {
        let mut world = World::new(limit);
        for event in events {
            world.apply(event);
        }
    }
}
