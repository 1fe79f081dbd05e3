//! Whether a COMMIT is on its way: what tells 08007 from 08006.
//!
//! Errs on the side of "unknown": a text of several that mentions COMMIT counts.

use crate::wire::frame::Frame;
use crate::wire::frontend::{self, split_cstr};

/// Names of statements and portals remembered; more than that are taken for COMMIT.
const MAX_NAMES: usize = 32;
/// How much of a simple Query is searched, at its beginning and at its end.
const MAX_SEARCHED: usize = 4096;

/// Watches what a client sends.
#[derive(Debug, Default)]
pub(crate) struct CommitWatch {
    in_flight: bool,
    statements: Vec<Box<[u8]>>,
    portals: Vec<Box<[u8]>>,
}

impl CommitWatch {
    pub(crate) const fn in_flight(&self) -> bool {
        self.in_flight
    }

    /// Everything has been answered.
    pub(crate) const fn settled(&mut self) {
        self.in_flight = false;
    }

    pub(crate) fn on_frontend(&mut self, frame: Frame<'_>) {
        match frame.tag {
            frontend::QUERY => {
                let text = frame.body;
                let head = text.get(..text.len().min(MAX_SEARCHED)).unwrap_or_default();
                let rest = text.get(MAX_SEARCHED..).unwrap_or_default();
                let tail = text.get(text.len().saturating_sub(MAX_SEARCHED)..);
                let tail = tail.filter(|_| !rest.is_empty());
                self.in_flight |=
                    commits(head) || mentions_commit(head) || tail.is_some_and(mentions_commit);
            }
            frontend::PARSE => {
                if let Some((name, text)) = split_cstr(frame.body) {
                    note(&mut self.statements, name, commits(text));
                }
            }
            frontend::BIND if !self.statements.is_empty() || !self.portals.is_empty() => {
                if let Some((portal, rest)) = split_cstr(frame.body)
                    && let Some((statement, _)) = split_cstr(rest)
                {
                    let commits = self.statements.iter().any(|name| **name == *statement);
                    note(&mut self.portals, portal, commits);
                }
            }
            frontend::EXECUTE if !self.portals.is_empty() => {
                if let Some((portal, _)) = split_cstr(frame.body) {
                    self.in_flight |= self.portals.iter().any(|name| **name == *portal)
                        || self.portals.len() == MAX_NAMES;
                }
            }
            _ => {}
        }
    }
}

fn note(names: &mut Vec<Box<[u8]>>, name: &[u8], commits: bool) {
    let known = names.iter().position(|known| **known == *name);
    match (known, commits) {
        (Some(at), false) => drop(names.swap_remove(at)),
        (None, true) if names.len() < MAX_NAMES => names.push(name.into()),
        _ => {}
    }
}

/// Whether the statement begins with a word that ends a transaction.
fn commits(text: &[u8]) -> bool {
    let text = skip_blank(text);
    [&b"commit"[..], b"end", b"prepare transaction"]
        .iter()
        .any(|word| {
            text.get(..word.len())
                .is_some_and(|head| head.eq_ignore_ascii_case(word))
                && !text
                    .get(word.len())
                    .is_some_and(|c| c.is_ascii_alphanumeric() || *c == b'_')
        })
}

/// What follows the white space and comments at the beginning.
fn skip_blank(mut text: &[u8]) -> &[u8] {
    loop {
        text = text.trim_ascii_start();
        let (opening, closing): (_, &[u8]) = match text.first_chunk() {
            Some(b"--") => (2, b"\n"),
            // Of nested ones, the inner end counts: what follows is searched too early.
            Some(b"/*") => (2, b"*/"),
            _ => return text,
        };
        let inner = text.get(opening..).unwrap_or_default();
        let end = inner.windows(closing.len()).position(|at| at == closing);
        let Some(rest) = end.and_then(|end| inner.get(end + closing.len()..)) else {
            return &[];
        };
        text = rest;
    }
}

/// Whether COMMIT stands in a text of several statements. Most texts are one, and
/// cost a look for a semicolon.
fn mentions_commit(text: &[u8]) -> bool {
    let last = text
        .iter()
        .rposition(|c| !matches!(c, b';' | 0) && !c.is_ascii_whitespace());
    let inner = last.and_then(|last| text.get(..last)).unwrap_or_default();
    inner.contains(&b';')
        && text
            .windows(6)
            .any(|window| window.eq_ignore_ascii_case(b"commit"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(messages: &[(u8, &[u8])]) -> bool {
        let mut watch = CommitWatch::default();
        for (tag, body) in messages {
            watch.on_frontend(Frame {
                tag: *tag,
                len: body.len(),
                body,
            });
        }
        watch.in_flight()
    }

    #[test]
    fn simple_commits_are_seen() {
        for text in [
            "COMMIT",
            " commit;",
            "end",
            "insert into t values (1); commit",
            "/* request 7 */ -- x\n end",
        ] {
            assert!(after(&[(b'Q', text.as_bytes())]), "{text}");
        }
        let long = format!("insert into t values ('{}'); commit", "x".repeat(9000));
        assert!(after(&[(b'Q', long.as_bytes())]), "behind a long text");
        for text in ["select 1", "endless", "select ending", "/* end", "-- end"] {
            assert!(!after(&[(b'Q', text.as_bytes())]), "{text}");
        }
    }

    #[test]
    fn a_prepared_commit_counts_when_it_is_executed() {
        let parse = (b'P', &b"s1\0/*a*/ COMMIT\0\0\0"[..]);
        let bind = (b'B', &b"\0s1\0\0\0\0\0\0\0"[..]);
        let execute = (b'E', &b"\0\0\0\0\0"[..]);
        assert!(!after(&[parse]));
        assert!(!after(&[parse, bind]));
        assert!(after(&[parse, bind, execute]));
        let other = (b'B', &b"\0s2\0\0\0\0\0\0\0"[..]);
        assert!(
            !after(&[parse, bind, other, execute]),
            "the portal was bound anew"
        );
    }
}
