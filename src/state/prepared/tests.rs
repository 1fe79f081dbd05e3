//! The rules one by one; `model` tries everything at once.

use super::*;

mod growth;
mod model;

const ENV: Environment = Environment {
    settings: 1,
    epoch: 0,
};

/// Clients by turns on one server connection that answers at once.
struct Desk {
    server: ServerStatements,
    clients: Vec<ClientStatements<u32>>,
    at: usize,
    env: Environment,
}

impl Desk {
    fn new(limit: usize) -> Self {
        Self {
            server: ServerStatements::new(limit),
            clients: (0..3).map(|_| ClientStatements::default()).collect(),
            at: 0,
            env: ENV,
        }
    }

    fn turn(&mut self, at: usize) -> &mut Self {
        self.at = at;
        self.server.handed_over();
        self
    }

    fn client(&mut self) -> &mut ClientStatements<u32> {
        &mut self.clients[self.at]
    }

    /// Parses; `text` stands for all that is behind the name.
    fn send_parse(&mut self, name: &[u8], text: &[u8], note: u32) -> Result<Vec<u8>, Wait> {
        let parse = Parse {
            name,
            rest: Some(text),
            note,
        };
        let mut out = Vec::new();
        let client = &mut self.clients[self.at];
        let injected = client.parse(&mut self.server, parse, self.env, &mut out)?;
        assert_eq!(tags(&injected), tags_of(&out));
        Ok(out)
    }

    fn send_use(&mut self, name: &[u8]) -> Result<Vec<u8>, Wait> {
        let mut out = Vec::new();
        let client = &mut self.clients[self.at];
        let injected = client.uses(&mut self.server, name, self.env, &mut out)?;
        assert_eq!(tags(&injected), tags_of(&out));
        Ok(out)
    }

    fn align(&mut self, sync: bool) -> Vec<u8> {
        let mut out = Vec::new();
        let client = &mut self.clients[self.at];
        let injected = client.align(&mut self.server, self.env, sync, &mut out);
        assert_eq!(tags(&injected.unwrap()), tags_of(&out));
        self.answer(&out);
        out
    }

    fn answer(&mut self, out: &[u8]) {
        for tag in tags_of(out) {
            let client = &mut self.clients[self.at];
            match tag {
                'P' => client.parsed(&mut self.server),
                'C' => client.closed(&mut self.server),
                _ => {}
            }
        }
    }

    /// A Parse that succeeds; returns what was injected.
    fn parse(&mut self, name: &[u8], text: &[u8]) -> Vec<u8> {
        let out = self.send_parse(name, text, 0).unwrap();
        self.client().sync();
        self.answer(&out);
        let client = &mut self.clients[self.at];
        client.parsed(&mut self.server);
        out
    }

    fn uses(&mut self, name: &[u8]) -> Vec<u8> {
        let out = self.send_use(name).unwrap();
        self.client().sync();
        self.answer(&out);
        out
    }

    fn close(&mut self, name: &[u8]) {
        let client = &mut self.clients[self.at];
        client.close(&self.server, name);
        client.sync();
        client.closed(&mut self.server);
    }

    fn query(&mut self) {
        let client = &mut self.clients[self.at];
        client.query(&self.server);
        client.queried(&mut self.server);
    }
}

fn tags(injected: &[Injected]) -> Vec<char> {
    let tag = |injected: &Injected| match injected {
        Injected::Close => 'C',
        Injected::Parse => 'P',
        Injected::Describe => 'D',
        Injected::Flush => 'H',
        Injected::Sync => 'S',
    };
    injected.iter().map(tag).collect()
}

fn tags_of(mut out: &[u8]) -> Vec<char> {
    let mut tags = Vec::new();
    while let Some((&tag, rest)) = out.split_first() {
        tags.push(char::from(tag));
        let len = u32::from_be_bytes(rest[..4].try_into().unwrap());
        out = &rest[len as usize..];
    }
    tags
}

#[test]
fn a_client_without_statements_costs_nothing() {
    assert!(size_of::<ClientStatements<u64>>() <= 64);
    let mut desk = Desk::new(10);
    desk.query();
    assert!(desk.uses(b"s").is_empty());
    assert!(desk.client().is_settled());
    assert!(!desk.client().must_stay());
}

#[test]
fn nothing_is_injected_while_a_client_stays() {
    let mut desk = Desk::new(10);
    assert!(desk.parse(b"s", b"one").is_empty());
    assert!(desk.uses(b"s").is_empty());
    // Again: the server says 42P05.
    assert!(desk.send_parse(b"s", b"two", 0).unwrap().is_empty());
    assert!(desk.parse(b"", b"three").is_empty());
    assert!(desk.uses(b"").is_empty());
    assert!(desk.uses(b"missing").is_empty());
}

#[test]
fn a_missing_statement_is_parsed_before_it_is_used() {
    let mut desk = Desk::new(10);
    desk.parse(b"s", b"one");
    desk.server = ServerStatements::new(10);
    assert_eq!(desk.uses(b"s"), b"P\0\0\0\x09s\0one");
    assert!(desk.uses(b"s").is_empty());
}

#[test]
fn a_foreign_statement_of_the_name_is_closed() {
    let mut desk = Desk::new(10);
    desk.parse(b"s", b"one");
    // Nobody's: the server shall say 26000.
    assert_eq!(desk.turn(1).uses(b"s"), b"C\0\0\0\x07Ss\0");
    assert_eq!(desk.turn(0).uses(b"s"), b"P\0\0\0\x09s\0one");
    // In the way of a Parse.
    assert_eq!(desk.turn(1).parse(b"s", b"two"), b"C\0\0\0\x07Ss\0");
    // Another one than the client's.
    assert_eq!(tags_of(&desk.turn(0).uses(b"s")), ['C', 'P']);
}

#[test]
fn an_equal_foreign_statement_is_shared() {
    let mut desk = Desk::new(10);
    desk.parse(b"s", b"one");
    desk.turn(1).parse(b"s", b"one");
    assert!(desk.turn(0).uses(b"s").is_empty());
    assert!(desk.uses(b"s").is_empty());
}

#[test]
fn a_foreign_statement_of_other_settings_or_an_older_schema_is_not_shared() {
    let mut desk = Desk::new(10);
    desk.parse(b"s", b"one");
    desk.turn(1).env.settings = 2;
    desk.parse(b"s", b"one");
    desk.env.settings = 1;
    assert_eq!(tags_of(&desk.turn(0).uses(b"s")), ['C', 'P']);
    let mut desk = Desk::new(10);
    desk.parse(b"s", b"one");
    let old = std::mem::replace(&mut desk.server, ServerStatements::new(10));
    desk.turn(1).env.epoch = 1;
    desk.parse(b"s", b"one");
    desk.server = old;
    assert_eq!(tags_of(&desk.turn(1).uses(b"s")), ['C', 'P']);
    // The newer one is good enough for the elder client.
    assert!(desk.turn(0).uses(b"s").is_empty());
}

#[test]
fn a_stale_plan_is_parsed_anew() {
    let mut desk = Desk::new(10);
    desk.parse(b"s", b"one");
    desk.server.stale(b"s");
    assert_eq!(tags_of(&desk.uses(b"s")), ['C', 'P']);
}

#[test]
fn the_unnamed_statement_follows_its_client() {
    let mut desk = Desk::new(10);
    desk.parse(b"", b"one");
    assert!(desk.turn(1).parse(b"", b"two").is_empty());
    assert_eq!(tags_of(&desk.turn(0).uses(b"")), ['P']);
    assert!(desk.uses(b"").is_empty());
    // A client without one shall get 26000.
    assert_eq!(tags_of(&desk.turn(2).uses(b"")), ['C']);
    // A Query destroys it for good.
    desk.turn(0).query();
    assert!(desk.uses(b"").is_empty());
    desk.server = ServerStatements::new(10);
    assert!(desk.uses(b"").is_empty());
}

#[test]
fn an_unnamed_parse_that_fails_leaves_none() {
    for (begun, kept) in [(true, false), (false, true)] {
        let mut desk = Desk::new(10);
        desk.parse(b"", b"one");
        desk.send_parse(b"", b"bad", 0).unwrap();
        desk.client().sync();
        let client = &mut desk.clients[0];
        client.failed(&mut desk.server, 1, begun);
        assert!(desk.uses(b"").is_empty());
        desk.server = ServerStatements::new(10);
        assert_eq!(desk.uses(b"").is_empty(), !kept, "begun: {begun}");
    }
}

#[test]
fn long_names_are_what_the_server_makes_of_them() {
    let mut desk = Desk::new(10);
    desk.parse(&[b'x'; 70], b"one");
    assert_eq!(tags_of(&desk.turn(1).parse(&[b'x'; 80], b"one")), ['C']);
    desk.server.stale(&[b'x'; 90]);
    assert_eq!(tags_of(&desk.uses(&[b'x'; 100])), ['C', 'P']);
}

#[test]
fn the_least_recently_used_is_closed_foreign_ones_first() {
    let mut desk = Desk::new(3);
    desk.parse(b"a", b"1");
    desk.parse(b"b", b"1");
    desk.turn(1).parse(b"c", b"1");
    assert_eq!(desk.parse(b"d", b"1"), b"C\0\0\0\x07Sa\0");
    assert_eq!(desk.parse(b"e", b"1"), b"C\0\0\0\x07Sb\0");
    desk.uses(b"c");
    assert_eq!(desk.parse(b"f", b"1"), b"C\0\0\0\x07Sd\0");
    assert_eq!(desk.server.named(), 3);
    // It comes back when needed.
    assert_eq!(desk.uses(b"d"), b"C\0\0\0\x07Se\0P\0\0\0\x07d\x001");
}

#[test]
fn deallocate_all_spares_what_is_in_flight_behind_it() {
    let mut desk = Desk::new(10);
    desk.parse(b"a", b"1");
    desk.parse(b"b", b"1");
    desk.parse(b"", b"1");
    desk.send_parse(b"a", b"2", 7).unwrap();
    let client = &mut desk.clients[0];
    client.all_deallocated(&mut desk.server);
    client.parsed(&mut desk.server);
    assert_eq!(client.note(b"a"), Some(&7));
    assert_eq!(client.note(b"b"), None);
    assert!(client.note(b"").is_some());
    assert_eq!(desk.server.named(), 1);
}

#[test]
fn aligned_the_server_holds_what_the_client_prepared() {
    let mut desk = Desk::new(10);
    desk.parse(b"a", b"1");
    desk.parse(b"b", b"1");
    desk.turn(1).parse(b"b", b"2");
    desk.parse(b"c", b"2");
    let mut injected = tags_of(&desk.turn(0).align(true));
    assert_eq!(injected.pop(), Some('S'));
    injected.sort_unstable();
    assert_eq!(injected, ['C', 'C', 'P']);
    assert!(desk.align(true).is_empty());
    assert!(desk.turn(0).align(false).is_empty());
    assert_eq!(desk.server.named(), 2);
}

/// Of a parameter of type `takes` and a column of type `returns`.
fn described(takes: u8, returns: u8) -> Described {
    let mut row = b"\0\x01c\0".to_vec();
    row.extend([0; 18]);
    row[4 + 9] = returns;
    Described::new(Some(&[0, 1, 0, 0, 0, takes]), Some(&row))
}

/// Client 0 has `a` and was told about it; then definitions change, and client 1
/// has made the connection's `a` another.
fn desk_of_changes() -> Desk {
    let mut desk = Desk::new(10);
    desk.parse(b"a", b"1\0\0\0");
    desk.client().described(b"a", described(23, 23));
    desk.env.epoch += 1;
    desk.turn(1).parse(b"a", b"2\0\0\0");
    desk.turn(0);
    desk
}

#[test]
fn a_statement_that_was_described_is_compared_when_definitions_have_changed() {
    let mut desk = desk_of_changes();
    let out = desk.send_use(b"a").unwrap();
    assert_eq!(tags_of(&out), ['C', 'P', 'D', 'H']);
    desk.answer(&out);
    assert_eq!(desk.send_use(b"a"), Err(Wait), "the answer has not come");
    desk.client().verified(&described(23, 23));
    assert_eq!(desk.send_use(b"a"), Ok(vec![]));
    assert!(!desk.client().is_refused(b"a"));
    // What was found to be the same need not be compared again.
    desk.turn(1).uses(b"a");
    assert_eq!(tags_of(&desk.turn(0).uses(b"a")), ['C', 'P']);
}

#[test]
fn a_statement_that_returns_something_else_is_refused_until_it_is_parsed_again() {
    let mut desk = desk_of_changes();
    let out = desk.send_use(b"a").unwrap();
    desk.answer(&out);
    desk.client().verified(&described(23, 25));
    assert!(desk.client().is_refused(b"a"));
    desk.close(b"a");
    desk.parse(b"a", b"1\0\0\0");
    assert!(!desk.client().is_refused(b"a"));
}

#[test]
fn parameters_keep_the_types_that_the_client_was_told() {
    let mut desk = desk_of_changes();
    let out = desk.send_use(b"a").unwrap();
    desk.answer(&out);
    desk.client().verified(&described(25, 23));
    let out = desk.send_use(b"a").unwrap();
    assert_eq!(tags_of(&out), ['C', 'P', 'D', 'H']);
    assert!(out.windows(7).any(|part| part == b"1\0\0\x01\0\0\0"));
    desk.answer(&out);
    desk.client().verified(&described(23, 23));
    assert_eq!(desk.send_use(b"a"), Ok(vec![]));
    assert!(!desk.client().is_refused(b"a"));
    // Nobody else would get the same of this text.
    desk.clients.swap(0, 1);
    desk.clients[0] = ClientStatements::default();
    desk.turn(0);
    assert_eq!(tags_of(&desk.parse(b"a", b"1\0\0\0")), ['C']);
}

#[test]
fn an_error_ends_the_comparison() {
    let mut desk = desk_of_changes();
    desk.send_use(b"a").unwrap();
    let client = &mut desk.clients[0];
    client.closed(&mut desk.server);
    client.failed(&mut desk.server, 1, true);
    client.sync();
    assert_eq!(tags_of(&desk.send_use(b"a").unwrap()), ['P', 'D', 'H']);
}

#[test]
fn what_is_in_flight_counts_first() {
    let mut desk = Desk::new(10);
    desk.send_parse(b"a", b"1", 1).unwrap();
    assert_eq!(desk.client().note(b"a"), Some(&1));
    assert_eq!(desk.send_use(b"a"), Ok(vec![]));
    desk.client().sync();
    // If that Parse fails, there is none anywhere.
    assert_eq!(desk.send_use(b"a"), Ok(vec![]));
    let client = &mut desk.clients[0];
    client.failed(&mut desk.server, 1, true);
    assert_eq!(client.note(b"a"), None);
    assert!(client.is_settled());
}

#[test]
fn a_use_waits_for_a_batch_that_decides_what_it_finds() {
    let mut desk = Desk::new(10);
    desk.parse(b"a", b"1");
    desk.turn(1);
    let out = desk.send_parse(b"a", b"2", 2).unwrap();
    assert_eq!(desk.send_use(b"a"), Ok(vec![]));
    desk.client().sync();
    assert_eq!(desk.send_use(b"a"), Err(Wait));
    assert_eq!(desk.send_parse(b"a", b"3", 3), Err(Wait));
    desk.answer(&out);
    // The Close was done; the Parse was not, and 26000 is due.
    let client = &mut desk.clients[1];
    client.failed(&mut desk.server, 1, true);
    assert_eq!(desk.send_use(b"a"), Ok(vec![]));
}

#[test]
fn what_cannot_be_kept_keeps_the_client() {
    let mut desk = Desk::new(10);
    desk.parse(b"", &[b'x'; (64 << 10) + 1]);
    assert!(desk.client().must_stay());
    desk.parse(b"", b"short");
    assert!(!desk.client().must_stay());
    let out = {
        let parse = Parse {
            name: b"long",
            rest: None,
            note: 0,
        };
        let mut out = Vec::new();
        let client = &mut desk.clients[0];
        client
            .parse(&mut desk.server, parse, ENV, &mut out)
            .unwrap();
        client.parsed(&mut desk.server);
        out
    };
    assert!(out.is_empty());
    assert!(desk.client().must_stay());
    desk.close(b"long");
    assert!(!desk.client().must_stay());
}

#[test]
fn what_a_client_keeps_is_bounded() {
    let mut desk = Desk::new(usize::MAX);
    let text = vec![b'x'; 1 << 20];
    for n in 0..4_u8 {
        desk.parse(&[b'a' + n], &text);
        assert_eq!(desk.client().must_stay(), n == 3);
    }
    assert!(!desk.server.must_be_cleared());
    for n in 0..20_000_u32 {
        desk.parse(format!("{n}").as_bytes(), &text);
    }
    assert!(desk.server.named() < 20_000);
    assert!(desk.server.must_be_cleared());
    let client = &mut desk.clients[0];
    client.all_deallocated(&mut desk.server);
    assert!(!client.must_stay());
    assert!(!desk.server.must_be_cleared());
}
