//! A simple query's text to its statements.
//!
//! Invariant: the segments, with the semicolons between them, tile the text; and
//! a text that Postgres accepts is cut exactly where Postgres cuts it. What may be
//! cut otherwise never runs: a text that it cannot parse, and whatever follows a
//! routine defined in the body of another, which it refuses to define.

use super::token::{Lexer, Token, TokenKind};

/// One statement's text, without its semicolon. May hold nothing but space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment<'a> {
    pub(crate) text: &'a [u8],
    /// Where it begins.
    pub(crate) at: usize,
    /// A semicolon follows.
    pub(crate) ended: bool,
}

/// Cuts a text into segments.
#[derive(Debug, Clone)]
pub(crate) struct Segments<'a> {
    text: &'a [u8],
    /// `None` when there was no semicolon to look for.
    lexer: Option<Lexer<'a>>,
    at: usize,
    done: bool,
}

pub(crate) fn segments(text: &[u8], escapes: bool) -> Segments<'_> {
    Segments {
        text,
        lexer: text.contains(&b';').then(|| Lexer::new(text, escapes)),
        at: 0,
        done: false,
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = Segment<'a>;

    fn next(&mut self) -> Option<Segment<'a>> {
        if self.done {
            return None;
        }
        let mut nesting = Nesting::default();
        let tokens = self.lexer.iter_mut().flatten();
        let end = { tokens }
            .filter(Token::is_significant)
            .find(|token| nesting.ends_statement(token));
        let at = self.at;
        let until = end.map_or(self.text.len(), |token| token.at);
        self.at = until + 1;
        self.done = end.is_none();
        Some(Segment {
            text: self.text.get(at..until).unwrap_or_default(),
            at,
            ended: end.is_some(),
        })
    }
}

/// What a semicolon may be inside of: parentheses (the actions of a rule), and
/// the body of a routine in SQL.
#[derive(Debug, Default)]
struct Nesting {
    parens: usize,
    routine: Routine,
    body: bool,
    last: Last,
}

/// What the last token lets the next one be.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Last {
    /// BEGIN: ATOMIC opens a body.
    Begin,
    /// ATOMIC or a semicolon: END closes the body.
    Boundary,
    #[default]
    Other,
}

/// How far the statement's beginning is that of CREATE FUNCTION or PROCEDURE.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Routine {
    #[default]
    Start,
    Create,
    Or,
    Yes,
    No,
}

impl Nesting {
    fn ends_statement(&mut self, token: &Token<'_>) -> bool {
        self.routine = match self.routine {
            Routine::Start if token.is_word("create") => Routine::Create,
            Routine::Create if token.is_word("or") => Routine::Or,
            Routine::Or if token.is_word("replace") => Routine::Create,
            Routine::Create if token.is_one_of(&["function", "procedure"]) => Routine::Yes,
            Routine::Yes => Routine::Yes,
            _ => Routine::No,
        };
        let last = std::mem::take(&mut self.last);
        match token.kind {
            TokenKind::Punct(b'(') => self.parens += 1,
            TokenKind::Punct(b')') => self.parens = self.parens.saturating_sub(1),
            TokenKind::Punct(b';') => {
                self.last = Last::Boundary;
                return self.parens == 0 && !self.body;
            }
            TokenKind::Word if self.routine == Routine::Yes && self.parens == 0 => {
                if last == Last::Begin && !self.body && token.is_word("atomic") {
                    self.body = true;
                    self.last = Last::Boundary;
                } else if last == Last::Boundary && token.is_word("end") {
                    // A statement within a body cannot be END, and an END in an
                    // expression follows no semicolon.
                    self.body = false;
                } else if token.is_word("begin") {
                    self.last = Last::Begin;
                }
            }
            _ => {}
        }
        false
    }
}
