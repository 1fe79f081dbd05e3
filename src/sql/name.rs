//! Names as SQL spells them, compared as the server compares them.
//!
//! Invariant: a name keeps the bytes of its spelling; it answers `None` or false
//! where telling the server's reading of it would need more than the text (an
//! encoding, a locale, Unicode escapes, the limit on a name's length).

use std::borrow::Cow;

use super::token::{Lexer, Token, TokenKind};

/// Longer names are cut by the server, at a place that depends on the encoding.
const MAX_NAME: usize = 63;

/// One identifier, or a string that stands where one may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ident<'a> {
    kind: TokenKind,
    text: &'a [u8],
}

impl<'a> Ident<'a> {
    pub(crate) fn of(token: &Token<'a>) -> Option<Self> {
        let whole = !token.unterminated && (token.is_name() || token.is_text());
        whole.then_some(Self {
            kind: token.kind,
            text: token.text,
        })
    }

    /// As it is spelled.
    pub(crate) const fn raw(&self) -> &'a [u8] {
        self.text
    }

    /// The name that the server sees.
    pub(crate) fn bytes(&self) -> Option<Cow<'a, [u8]>> {
        let name = match self.kind {
            TokenKind::Word if !self.text.is_ascii() => return None,
            TokenKind::Word if self.text.iter().any(u8::is_ascii_uppercase) => {
                Cow::Owned(self.text.to_ascii_lowercase())
            }
            TokenKind::Word => Cow::Borrowed(self.text),
            TokenKind::QuotedName => unquote(self.text, b'"')?,
            TokenKind::Text => unquote(self.text, b'\'')?,
            _ => return None,
        };
        (name.len() <= MAX_NAME).then_some(name)
    }

    /// Whether the server sees `name`, which must be in lower case.
    pub(crate) fn is(&self, name: &str) -> bool {
        let name = name.as_bytes();
        match self.kind {
            TokenKind::Word => self.text.eq_ignore_ascii_case(name),
            TokenKind::QuotedName => self.inside() == Some(name),
            _ => false,
        }
    }

    /// What is between the quotes; `None` where nothing is quoted.
    pub(super) fn inside(&self) -> Option<&'a [u8]> {
        let (_, inside) = self.text.split_first()?;
        let (_, inside) = inside.split_last()?;
        (self.kind == TokenKind::QuotedName).then_some(inside)
    }

    pub(super) const fn kind(&self) -> TokenKind {
        self.kind
    }
}

/// Takes the quotes away and halves the doubled ones; `None` for a string that is
/// continued over lines.
fn unquote(text: &[u8], quote: u8) -> Option<Cow<'_, [u8]>> {
    let start = text.iter().position(|byte| *byte == quote)? + 1;
    let inside = text.get(start..text.len().checked_sub(1)?)?;
    if !inside.contains(&quote) {
        return Some(Cow::Borrowed(inside));
    }
    let mut name = Vec::with_capacity(inside.len());
    let mut bytes = inside.iter();
    while let Some(&byte) = bytes.next() {
        name.push(byte);
        if byte == quote && bytes.next() != Some(&quote) {
            return None;
        }
    }
    Some(Cow::Owned(name))
}

/// A name with dots in it, such as the settings of extensions have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Path<'a>(&'a [u8]);

impl<'a> Path<'a> {
    /// From the first part to the last, with all that stands between them.
    pub(super) const fn new(text: &'a [u8]) -> Self {
        Self(text)
    }

    /// The name of a setting: in lower case even where it is quoted, because
    /// settings are found so.
    pub(crate) fn setting(&self) -> Option<Cow<'a, [u8]>> {
        let name = self.spelled()?;
        if name.iter().any(u8::is_ascii_uppercase) {
            return Some(Cow::Owned(name.to_ascii_lowercase()));
        }
        Some(name)
    }

    /// The name that a custom setting keeps if this creates it.
    pub(crate) fn spelled(&self) -> Option<Cow<'a, [u8]>> {
        let simple = |byte: &u8| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'.');
        if self.0.len() <= MAX_NAME && self.0.iter().all(simple) {
            return Some(Cow::Borrowed(self.0));
        }
        let mut name = Vec::with_capacity(self.0.len());
        for token in Lexer::new(self.0, false).filter(Token::is_significant) {
            if token.is_punct(b'.') {
                name.push(b'.');
            } else {
                let part = Ident::of(&token).filter(|_| token.is_name())?;
                name.extend_from_slice(&part.bytes()?);
            }
        }
        Some(Cow::Owned(name))
    }
}
