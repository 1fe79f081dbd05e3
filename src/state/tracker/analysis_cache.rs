//! Digests remembered by the shape of a text: numbers in it are all alike.
//!
//! Most applications send few texts, over and over, with other values in them.
//! Invariant: texts of one shape have the same digest, by the same dialect and the
//! same judge. What depends on more than the shape is never remembered.

use super::statement_effects::StatementEffects;
use crate::sql::{Backslash, Dialect};

/// A power of two.
const SLOTS: usize = 256;
/// A longer text is digested each time: it costs more to send than to read.
const MAX_SHAPE: usize = 1024;

/// Who judged: the number of a database's knowledge, and the edition of its catalog.
pub(crate) type Judge = (u64, Option<u32>);

/// A bounded memory of digests; one a thread.
#[derive(Debug)]
pub(crate) struct AnalysisCache {
    slots: Vec<Option<Slot>>,
    shape: Vec<u8>,
}

#[derive(Debug)]
struct Slot {
    shape: Box<[u8]>,
    judge: Judge,
    escapes: bool,
    digest: StatementEffects,
}

impl Default for AnalysisCache {
    fn default() -> Self {
        Self {
            slots: std::iter::repeat_with(|| None).take(SLOTS).collect(),
            shape: Vec::new(),
        }
    }
}

impl AnalysisCache {
    /// The digest of `text`, which `fresh` makes if it is not known.
    pub(crate) fn digest(
        &mut self,
        text: &[u8],
        dialect: Dialect,
        judge: Judge,
        fresh: impl FnOnce() -> StatementEffects,
    ) -> StatementEffects {
        let readable = dialect.ascii_safe && dialect.backslash != Backslash::Unsure;
        self.shape.clear();
        if !readable || text.len() > MAX_SHAPE || !shape(text, &mut self.shape) {
            return fresh();
        }
        let escapes = dialect.backslash == Backslash::Escape;
        let Some(slot) = self.slots.get_mut(hash(&self.shape, judge)) else {
            return fresh();
        };
        if let Some(known) = slot
            && known.judge == judge
            && known.escapes == escapes
            && *known.shape == *self.shape
        {
            return known.digest.clone();
        }
        let digest = fresh();
        if digest.depends_on_marks_alone() {
            *slot = Some(Slot {
                shape: self.shape.as_slice().into(),
                judge,
                escapes,
                digest: digest.clone(),
            });
        }
        digest
    }
}

fn hash(shape: &[u8], (knowledge, edition): Judge) -> usize {
    const PRIME: u64 = 0x9e37_79b9_7f4a_7c15;
    let seed = knowledge ^ u64::from(edition.unwrap_or(u32::MAX)) << 32;
    let mix = |hash: u64, word: u64| (hash ^ word).wrapping_mul(PRIME).rotate_left(29);
    let (words, rest) = shape.as_chunks::<8>();
    let mut hash = mix(PRIME, seed);
    for word in words {
        hash = mix(hash, u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    for (to, byte) in last.iter_mut().zip(rest) {
        *to = *byte;
    }
    hash = mix(hash, u64::from_le_bytes(last));
    usize::try_from(hash >> 32).unwrap_or_default() % SLOTS
}

/// What a byte means for the numbers of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Nothing.
    Other,
    /// It can be part of a name.
    Word,
    Digit,
    Dollar,
    Quote,
    DoubleQuote,
    /// Two may open a comment.
    Dash,
    Slash,
    /// It takes a scanner to tell what follows.
    Odd,
}

const CLASSES: [Class; 256] = {
    let mut classes = [Class::Other; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let it = byte as u8;
        classes[byte] = match it {
            b'0'..=b'9' => Class::Digit,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => Class::Word,
            b'$' => Class::Dollar,
            0 | b'\\' => Class::Odd,
            b'\'' => Class::Quote,
            b'"' => Class::DoubleQuote,
            b'-' => Class::Dash,
            b'/' => Class::Slash,
            _ => Class::Other,
        };
        byte += 1;
    }
    classes
};

fn class(byte: Option<&u8>) -> Class {
    let known = byte.and_then(|byte| CLASSES.get(usize::from(*byte)));
    known.copied().unwrap_or(Class::Other)
}

/// Writes `text` with a zero for each number that stands for itself, in strings
/// too, but not in quoted names. False for a text in which it would take a scanner
/// to tell them: with escapes, dollars (but for `$1`) or comments.
fn shape(text: &[u8], out: &mut Vec<u8>) -> bool {
    let mut copied = 0;
    let mut at = 0;
    // Which quote is open.
    let mut open = Class::Other;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let plain = |byte: &u8| matches!(class(Some(byte)), Class::Other | Class::Word);
        let Some(next) = rest.iter().position(|byte| !plain(byte)) else {
            break;
        };
        at += next;
        let found = class(text.get(at));
        let before = class(at.checked_sub(1).and_then(|before| text.get(before)));
        match found {
            Class::Digit => {
                let end = end_of_digits(text, at);
                let alone = before != Class::Word && class(text.get(end)) != Class::Word;
                if alone && open != Class::DoubleQuote {
                    out.extend_from_slice(text.get(copied..at).unwrap_or_default());
                    out.push(b'0');
                    copied = end;
                }
                at = end;
                continue;
            }
            Class::Dollar => {
                // `$1`, but not in a name or in front of one.
                let end = end_of_digits(text, at + 1);
                let named = |class| matches!(class, Class::Word | Class::Digit | Class::Dollar);
                if end == at + 1 || named(before) || named(class(text.get(end))) {
                    return false;
                }
                at = end;
                continue;
            }
            Class::Quote | Class::DoubleQuote if open == Class::Other => open = found,
            Class::Quote | Class::DoubleQuote if open == found => open = Class::Other,
            Class::Dash if text.get(at + 1) == Some(&b'-') => return false,
            Class::Slash if text.get(at + 1) == Some(&b'*') => return false,
            Class::Odd => return false,
            _ => {}
        }
        at += 1;
    }
    out.extend_from_slice(text.get(copied..).unwrap_or_default());
    true
}

fn end_of_digits(text: &[u8], at: usize) -> usize {
    let digits = text.get(at..).unwrap_or_default();
    at + digits
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::statement_effects::{Proof, digest};
    use super::*;
    use crate::sql::token::{Token, TokenKind};

    const DIALECT: Dialect = Dialect {
        backslash: Backslash::Plain,
        ascii_safe: true,
    };

    fn shaped(text: &str) -> Option<String> {
        let mut out = Vec::new();
        shape(text.as_bytes(), &mut out).then(|| String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn numbers_are_alike_and_nothing_else_is() {
        for (text, expected) in [
            (
                "select a from t where id = 12345",
                "select a from t where id = 0",
            ),
            ("select 1.50, -3, (77)", "select 0.0, -0, (0)"),
            ("select t1.c2 from t1", "select t1.c2 from t1"),
            ("select 'x 12', 'it''s 3'", "select 'x 0', 'it''s 0'"),
            ("select \"a 12\", 3", "select \"a 12\", 0"),
            ("select '\"', \"a 12\"", "select '\"', \"a 12\""),
            ("select $1, $22 + 5", "select $1, $22 + 0"),
            ("select 0x1F, 1e5, 1_000", "select 0x1F, 1e5, 1_000"),
        ] {
            assert_eq!(shaped(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_takes_a_scanner_has_no_shape() {
        for text in [
            "select E'\\47'",
            "select $$a$$",
            "select $a1$ 5 $a1$",
            "select 1 -- '",
            "select 1 /* ' */",
            "select $1$ 5 $1$",
            "select a$1",
        ] {
            assert_eq!(shaped(text), None, "{text}");
        }
    }

    #[test]
    fn a_digest_is_made_once_for_each_shape_and_judge() {
        let mut shapes = AnalysisCache::default();
        let mut made = 0;
        let mut ask = |text: &str, judge| {
            shapes.digest(text.as_bytes(), DIALECT, judge, || {
                made += 1;
                digest(text.as_bytes(), DIALECT, |_| Proof::Clean)
            });
            made
        };
        assert_eq!(ask("select 1", (1, Some(1))), 1);
        assert_eq!(ask("select 22", (1, Some(1))), 1);
        assert_eq!(ask("select 22", (1, Some(2))), 2);
        assert_eq!(ask("select 22", (2, Some(2))), 3);
        assert_eq!(ask("select 22", (2, None)), 4);
        assert_eq!(ask("set work_mem = 22", (1, Some(1))), 5);
        assert_eq!(ask("set work_mem = 33", (1, Some(1))), 6);
    }

    fn is_name(token: &Token<'_>) -> bool {
        use TokenKind::{QuotedName, UnicodeName, Word};
        matches!(token.kind, Word | QuotedName | UnicodeName)
    }

    /// The text with other digits in place of each run of them.
    fn renumbered(text: &str, numbers: &[u32]) -> String {
        let mut numbers = numbers.iter().cycle();
        let mut other = String::new();
        let mut within = false;
        for letter in text.chars() {
            let digit = letter.is_ascii_digit();
            if digit && !within {
                other.push_str(&numbers.next().unwrap().to_string());
            } else if !digit {
                other.push(letter);
            }
            within = digit;
        }
        other
    }

    proptest! {
        #[test]
        fn texts_of_one_shape_have_one_digest(
            pieces in proptest::collection::vec(proptest::sample::select(vec![
                "select ", "insert into t", " values (", "'", "\"", "7", "42", " ", ",", ")", "a", "t1", ".", "-",
                "nextval(", "set_config(", "'x.y'", "pg_advisory_lock(", "$1", "$", ";", "begin", "commit", "set x = ",
                "listen c", "e'", "n'", "u&\"", "u&'", "x'", "1e", "0x", "_", "/", "*", "fetch ", " from ", "update ",
                "set local ", "set search_path = ", "pg_temp", "'a.", "b 5'", "\"f 1\"(", "b'01'", "::", "é", "\n", "!",
                "do 'begin execute ", "create function f() returns int as ", "|| ", "true)", "uescape '!'", "explain (analyze ",
                "prepare p as ", "execute p(", "deallocate ", "declare c cursor with hold for ", "role ", "1.5e", "+", "||'",
                "select set_config('a1.b', '1', false)", "pg_backend_pid()", "(", "E", "U&", "0", "[", "]", ":", "=",
            ]), 0..20),
            numbers in proptest::collection::vec(0_u32..100_000, 16),
            escapes in proptest::bool::ANY,
        ) {
            let text = pieces.concat();
            let other = renumbered(&text, &numbers);
            if let (Some(one), Some(two)) = (shaped(&text), shaped(&other)) && one == two {
                let backslash = if escapes { Backslash::Escape } else { Backslash::Plain };
                let dialect = Dialect { backslash, ascii_safe: true };
                // A judge to whom each name means something else.
                let made = |text: &str| digest(text.as_bytes(), dialect, |statement| {
                    let names = statement.tokens().filter(is_name).flat_map(|name| name.text);
                    let sum = names.fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(*byte));
                    if sum % 2 == 0 { Proof::Clean } else { Proof::Unproven }
                });
                let (one, two) = (made(&text), made(&other));
                if one.depends_on_marks_alone() {
                    prop_assert_eq!(format!("{one:?}"), format!("{two:?}"), "{} and {}", text, other);
                }
            }
        }
    }
}
