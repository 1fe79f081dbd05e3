//! What a client's SQL does to its session, as far as its text shows.
//!
//! [`statements`] cuts a text as the server does and says of each statement its
//! [`Command`] and its [`Effects`]. Transaction pooling asks it two things: what to
//! carry over to the next connection, and what to hold a connection for.
//!
//! Invariant: text is evidence, never proof. The strongest claim for a query is
//! [`Certainty::TextClean`]; whoever needs proof asks the catalog. What cannot be
//! read with certainty is [`Certainty::Unknown`], and speaks for the whole text,
//! because the texts behind it may be cut in the wrong place.
//!
//! Pure and linear: tokens, names and operands are spans of the input, nothing is
//! allocated for them, and nothing recurses.

pub(crate) mod calls;
pub(crate) mod effects;
pub(crate) mod functions;
pub(crate) mod kind;
pub(crate) mod name;
pub(crate) mod split;
pub(crate) mod token;

mod assess;
mod cursor;
mod definition;
mod head;
mod setting;

#[cfg(test)]
mod tests;

use calls::{Call, Calls, SetConfig};
use cursor::Cursor;
use effects::{Certainty, Effects, Marks};
use functions::FunctionClass;
use kind::Command;
use split::Segments;
use token::{Lexer, Token, TokenKind};

/// What a backslash means in a plain string, by `standard_conforming_strings`. It
/// counts as it was when the server begins to read the text: a SET in the same
/// text comes too late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backslash {
    /// `on`: nothing.
    Plain,
    /// `off`: it escapes.
    Escape,
    /// A change of it is under way. Texts without a backslash can be read still.
    Unsure,
}

/// How the server will read a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dialect {
    pub(crate) backslash: Backslash,
    /// No byte of a longer character can be taken for ASCII.
    pub(crate) ascii_safe: bool,
}

impl Dialect {
    /// For a value of `client_encoding`, as the server reports it. Encodings that
    /// are not known to be safe are not: in SJIS, BIG5, GBK, GB18030, UHC and JOHAB
    /// the second byte of a character may be a quote's or a backslash's.
    pub(crate) fn new(backslash: Backslash, client_encoding: &[u8]) -> Self {
        const SAFE: &[&str] = &["UTF8", "SQL_ASCII", "MULE_INTERNAL", "KOI8R", "KOI8U"];
        const SAFE_FAMILIES: &[&str] = &["LATIN", "WIN", "EUC_", "ISO_8859_"];
        let safe = SAFE.iter().any(|name| name.as_bytes() == client_encoding)
            || SAFE_FAMILIES
                .iter()
                .any(|family| client_encoding.starts_with(family.as_bytes()));
        Self {
            backslash,
            ascii_safe: safe,
        }
    }

    /// Whether plain strings have escapes; `None` if the text cannot be read.
    fn escapes(self, text: &[u8]) -> Option<bool> {
        match self.backslash {
            _ if !self.ascii_safe => None,
            Backslash::Plain => Some(false),
            Backslash::Escape => Some(true),
            Backslash::Unsure => (!text.contains(&b'\\')).then_some(false),
        }
    }
}

/// One statement of a text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Statement<'a> {
    /// Without its semicolon.
    pub(crate) text: &'a [u8],
    pub(crate) kind: Command<'a>,
    pub(crate) effects: Effects,
    escapes: bool,
}

impl<'a> Statement<'a> {
    /// The calls that its text shows, with what is known of them. Of an unreadable
    /// text this says nothing.
    pub(crate) fn calls(&self) -> impl Iterator<Item = Call<'a>> + use<'a> {
        Calls::new(self.text, self.escapes)
    }

    /// Its tokens, without space and comments.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = Token<'a>> + use<'a> {
        Lexer::new(self.text, self.escapes).filter(Token::is_significant)
    }

    /// Whether code in it is of another language than SQL and PL/pgSQL.
    pub(crate) fn is_of_other_language(&self) -> bool {
        let mut tokens = self.tokens();
        std::iter::from_fn(|| {
            tokens.find(|token| token.text.eq_ignore_ascii_case(b"language"))?;
            tokens.next()
        })
        .any(|name| {
            use TokenKind::{Punct, QuotedName, Text, Word};
            let name = match name.kind {
                Word | QuotedName | Text => name.text.trim_ascii(),
                // A column or table of that name.
                Punct(_) => return false,
                _ => return true,
            };
            let within = |quote: &[u8]| name.strip_prefix(quote)?.strip_suffix(quote);
            let name = within(b"'").or_else(|| within(b"\"")).unwrap_or(name);
            !["sql", "plpgsql", "internal"]
                .iter()
                .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
        })
    }

    /// Its calls of set_config.
    pub(crate) fn set_configs(&self) -> impl Iterator<Item = SetConfig<'a>> + use<'a> {
        let mut calls = Calls::new(self.text, self.escapes);
        std::iter::from_fn(move || {
            calls.find(|call| call.class == Some(FunctionClass::Marked(Marks::SET_CONFIG)))?;
            Some(calls.set_config())
        })
    }
}

/// Goes through the statements of a text.
#[derive(Debug, Clone)]
pub(crate) struct Statements<'a> {
    inner: Inner<'a>,
}

#[derive(Debug, Clone)]
enum Inner<'a> {
    Read {
        segments: Segments<'a>,
        escapes: bool,
    },
    Unreadable(Option<&'a [u8]>),
}

/// The statements of a Query or Parse message's text, empty ones left out.
pub(crate) fn statements(text: &[u8], dialect: Dialect) -> Statements<'_> {
    let inner = match dialect.escapes(text) {
        Some(escapes) => Inner::Read {
            segments: split::segments(text, escapes),
            escapes,
        },
        None => Inner::Unreadable(Some(text)),
    };
    Statements { inner }
}

impl<'a> Iterator for Statements<'a> {
    type Item = Statement<'a>;

    fn next(&mut self) -> Option<Statement<'a>> {
        match &mut self.inner {
            Inner::Unreadable(text) => Some(Statement {
                text: text.take()?,
                kind: Command::Unknown,
                effects: Effects {
                    marks: Marks::NONE,
                    certainty: Certainty::Unknown,
                },
                escapes: false,
            }),
            Inner::Read { segments, escapes } => {
                let escapes = *escapes;
                segments.find_map(|segment| classify(segment.text, escapes))
            }
        }
    }
}

/// `None` for a statement with nothing in it.
fn classify(text: &[u8], escapes: bool) -> Option<Statement<'_>> {
    let mut cursor = Cursor::new(text, escapes);
    cursor.peek()?;
    let found = calls::find(text, escapes);
    let kind = head::kind(&mut cursor, &found);
    Some(Statement {
        text,
        kind,
        effects: assess::effects(kind, &found),
        escapes,
    })
}
