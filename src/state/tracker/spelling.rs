//! Small questions about how things are spelled.

use crate::sql::token::{Lexer, TokenKind};

/// A text names no more suspects than this.
const MAX_SUSPECTS: usize = 16;
/// Longer names are cut by the server.
pub(super) const MAX_NAME: usize = 63;

/// Whether `part` (in lower case) occurs, whatever the case.
pub(super) fn mentions(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len())
        .any(|window| window.eq_ignore_ascii_case(part))
}

/// Whether one of the words occurs outside of strings and comments.
pub(super) fn has_word(text: &[u8], words: &[&str]) -> bool {
    let is = |token: &[u8]| {
        words
            .iter()
            .any(|word| token.eq_ignore_ascii_case(word.as_bytes()))
    };
    Lexer::new(text, false).any(|token| token.kind == TokenKind::Word && is(token.text))
}

/// A SET without its comments, if everything else in it is sure to be read alike
/// by every session.
pub(super) fn plain(statement: &[u8]) -> Option<Vec<u8>> {
    if !statement.is_ascii() || statement.contains(&b'\\') || statement.contains(&0) {
        return None;
    }
    let mut text = Vec::with_capacity(statement.len());
    let mut spaced = false;
    for token in Lexer::new(statement, false) {
        match token.kind {
            TokenKind::Space | TokenKind::LineComment | TokenKind::BlockComment => {
                spaced = true;
                continue;
            }
            TokenKind::Word
            | TokenKind::QuotedName
            | TokenKind::Text
            | TokenKind::Number
            | TokenKind::Operator
            | TokenKind::Punct(b',' | b'.' | b'(' | b')') => {}
            _ => return None,
        }
        if spaced && !text.is_empty() {
            text.push(b' ');
        }
        spaced = false;
        text.extend_from_slice(token.text);
    }
    Some(text)
}

/// What a plain string literal says, if it is as simple as a setting's name is.
pub(super) fn literal(spelled: &[u8]) -> Option<&[u8]> {
    let inside = spelled.strip_prefix(b"'")?.strip_suffix(b"'")?;
    let simple = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'$');
    inside.iter().all(simple).then_some(inside)
}

/// Names that custom settings may have: `a.b` behind a quote or behind SET. Of
/// code that does not show, its literals may be all that tells.
pub(super) fn suspects(text: &[u8], out: &mut Vec<Box<[u8]>>) {
    let part = |byte: &u8| is_word_byte(*byte) || *byte == b'.';
    let mut at = 0;
    let mut before: &[u8] = &[];
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let length = rest.iter().take_while(|byte| part(byte)).count();
        let Some(word) = rest.get(..length).filter(|word| !word.is_empty()) else {
            if rest.first().is_some_and(|byte| !byte.is_ascii_whitespace()) {
                before = rest.get(..1).unwrap_or_default();
            }
            at += 1;
            continue;
        };
        let behind = [&b"'"[..], b"set", b"session", b"local"];
        let named = behind.iter().any(|it| before.eq_ignore_ascii_case(it));
        if named && is_custom(word) && out.len() < MAX_SUSPECTS {
            out.push(word.into());
        }
        before = word;
        at += length;
    }
}

/// Of names that are not quoted, in ASCII.
pub(super) const fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$')
}

/// Whether a custom setting can have this name.
pub(super) fn is_custom(name: &[u8]) -> bool {
    let starts = |part: &[u8]| {
        let first = part.first();
        first.is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_')
    };
    let mut parts = name.split(|byte| *byte == b'.');
    name.len() <= MAX_NAME && name.contains(&b'.') && parts.all(starts)
}

type Change = (&'static [u8], &'static [u8]);

/// The settings behind `SET SESSION CHARACTERISTICS AS TRANSACTION`.
pub(super) fn characteristics(modes: &[u8]) -> Option<Vec<Change>> {
    const MODES: &[(&str, Change)] = &[
        (
            "isolation level serializable",
            (b"default_transaction_isolation", b"serializable"),
        ),
        (
            "isolation level repeatable read",
            (b"default_transaction_isolation", b"repeatable read"),
        ),
        (
            "isolation level read committed",
            (b"default_transaction_isolation", b"read committed"),
        ),
        (
            "isolation level read uncommitted",
            (b"default_transaction_isolation", b"read uncommitted"),
        ),
        ("read only", (b"default_transaction_read_only", b"on")),
        ("read write", (b"default_transaction_read_only", b"off")),
        (
            "not deferrable",
            (b"default_transaction_deferrable", b"off"),
        ),
        ("deferrable", (b"default_transaction_deferrable", b"on")),
    ];
    let mut words = String::new();
    for token in Lexer::new(modes, false) {
        match token.kind {
            TokenKind::Space | TokenKind::LineComment | TokenKind::BlockComment => continue,
            TokenKind::Punct(b',') => continue,
            TokenKind::Word => {}
            _ => return None,
        }
        words.push_str(&str::from_utf8(token.text).ok()?.to_ascii_lowercase());
        words.push(' ');
    }
    let mut rest = words.as_str();
    let mut changes = Vec::new();
    while !rest.is_empty() {
        let (mode, change) = MODES.iter().find(|(mode, _)| rest.starts_with(mode))?;
        rest = rest.get(mode.len()..)?.strip_prefix(' ')?;
        changes.push(*change);
    }
    Some(changes)
}
