//! The name of a role or a database, as it is sent: bytes.
//!
//! In which encoding a client means them nobody knows at a login, and a server
//! compares bytes. Names that differ in one are two, everywhere.

use std::borrow::Borrow;
use std::fmt::{self, Write as _};
use std::sync::Arc;

/// Postgres's `NAMEDATALEN`, less its final zero: what is behind that, a server cuts off.
const SHOWN: usize = 63;

/// A name, cheap to clone. Compared and hashed as its bytes.
///
/// Written with `{}`, and so in logs, labels and messages, it is fit for people:
/// bytes that are no text appear as `\xe8`, a backslash as two, and it is cut off
/// where a server does that. That is for reading; nothing is looked up by it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name(Arc<[u8]>);

impl Name {
    /// For what can only be text: a configuration knows no other names.
    pub(crate) fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name behind `text`; mostly that is this one, which is kept already.
    pub(crate) fn or(&self, text: &str) -> Self {
        match *self.0 == *text.as_bytes() {
            true => self.clone(),
            false => text.into(),
        }
    }

    fn shown(&self) -> &[u8] {
        let continues = |at: usize| self.0.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
        // Not in the middle of a character.
        let end = (SHOWN - 3..=SHOWN).rev().find(|at| !continues(*at));
        self.0.get(..end.unwrap_or(SHOWN)).unwrap_or(&self.0)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let escape = |bytes: &[u8], f: &mut fmt::Formatter<'_>| {
            bytes.iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))
        };
        for part in self.shown().utf8_chunks() {
            for character in part.valid().chars() {
                match character {
                    '\\' => f.write_str("\\\\")?,
                    _ if is_printable(character) => f.write_char(character)?,
                    _ => escape(character.encode_utf8(&mut [0; 4]).as_bytes(), f)?,
                }
            }
            escape(part.invalid(), f)?;
        }
        Ok(())
    }
}

/// Neither a control character nor one that moves or hides others.
fn is_printable(character: char) -> bool {
    !character.is_control()
        && !matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{feff}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl From<&[u8]> for Name {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().into())
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(bytes: &[u8]) -> Name {
        Name::from(bytes)
    }

    #[test]
    fn names_that_differ_in_a_byte_are_two_and_look_so() {
        let (one, other) = (name(b"m\xe8"), name(b"m\xe9"));
        assert_ne!(one, other);
        assert_eq!([one.to_string(), other.to_string()], ["m\\xe8", "m\\xe9"]);
        assert_eq!(one.text(), None);
        assert_ne!(name(br"m\xe8").to_string(), one.to_string());
    }

    #[test]
    fn what_would_disturb_a_line_is_escaped() {
        let rude = "a\nb\u{1b}[2J\u{202e}c".into();
        assert_eq!(Name::to_string(&rude), r"a\x0ab\x1b[2J\xe2\x80\xaec");
        assert_eq!(Name::from("bücher 1").to_string(), "bücher 1");
    }

    #[test]
    fn a_name_is_shown_as_far_as_a_server_reads_it() {
        assert_eq!(Name::from(&*"x".repeat(63)).to_string().len(), 63);
        assert_eq!(Name::from(&*"x".repeat(9_000)).to_string().len(), 63);
        let text = format!("{}ü", "x".repeat(62));
        assert_eq!(Name::from(&*text).to_string(), "x".repeat(62));
        assert_eq!(name(&[0xbf; 100]).to_string(), "\\xbf".repeat(63));
        assert_ne!(Name::from(&*text), Name::from(&*"x".repeat(62)));
    }

    #[test]
    fn a_map_finds_a_name_by_its_bytes() {
        let known = std::collections::HashMap::from([(name(b"m\xe8"), 1)]);
        assert_eq!(known.get(&b"m\xe8"[..]), Some(&1));
        assert_eq!(known.get(&b"m\xe9"[..]), None);
    }
}
