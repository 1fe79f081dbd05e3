//! What one version of Postgres prints otherwise than another, though it is the same.
//! Each rule is narrow: what none of them covers is a difference.

/// Major versions of the two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) from: u32,
    pub(crate) to: u32,
}

impl Versions {
    /// Whether one side is older than `version` and the other is not.
    const fn straddle(self, version: u32) -> bool {
        (self.from < version) != (self.to < version)
    }

    /// Whether a side knows less than `version`.
    pub(crate) const fn any_before(self, version: u32) -> bool {
        self.from < version || self.to < version
    }
}

/// Whether two values of an attribute are the same, for these versions.
pub(crate) fn agree(attribute: &str, from: &str, to: &str, versions: Versions) -> bool {
    if from == to {
        return true;
    }
    // Version 16 leaves out the qualification where a query reads a single relation.
    if attribute == "definition" && versions.straddle(16) {
        let (old, new) = match versions.from < versions.to {
            true => (from, to),
            false => (to, from),
        };
        return differs_in_qualification(&tokens(old), &tokens(new));
    }
    false
}

/// Whether `old` is `new` but for names with a dot behind them that only `old` has.
fn differs_in_qualification(old: &[&str], new: &[&str]) -> bool {
    let (mut old, mut new) = (old, new);
    loop {
        match (old, new) {
            ([], []) => return true,
            ([name, ".", rest @ ..], [first, ..])
                if is_name(name) && rest.first() == Some(first) && name != first =>
            {
                old = rest;
            }
            ([a, old_rest @ ..], [b, new_rest @ ..]) if a == b => {
                old = old_rest;
                new = new_rest;
            }
            _ => return false,
        }
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_' || c == '"')
}

/// Names, texts and everything else in order, without the space between them.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\'' | '"' => quoted(rest, first),
            c if c.is_alphanumeric() || c == '_' => {
                let inside = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
                rest.find(|c| !inside(c)).unwrap_or(rest.len())
            }
            c => c.len_utf8(),
        };
        let (token, behind) = rest.split_at(length);
        tokens.push(token);
        rest = behind.trim_start();
    }
    tokens
}

/// The length of a quoted text or name; a doubled quote is inside it. Postgres prints no
/// backslash that escapes a quote.
fn quoted(text: &str, quote: char) -> usize {
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == quote {
            match chars.peek() {
                Some((_, next)) if *next == quote => {
                    chars.next();
                }
                _ => return at + 1,
            }
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLDER: Versions = Versions { from: 15, to: 18 };
    const NEWER: Versions = Versions { from: 18, to: 15 };
    const SAME: Versions = Versions { from: 15, to: 15 };

    #[test]
    fn a_view_that_is_qualified_by_the_older_version_alone_is_the_same() {
        let old = " SELECT c.id,\n    c.\"a b\"\n   FROM plain.customer c\n  WHERE (c.mood = 'c.x'::text);";
        let new =
            " SELECT id,\n    \"a b\"\n   FROM plain.customer c\n  WHERE (mood = 'c.x'::text);";
        assert!(agree("definition", old, new, OLDER));
        assert!(agree("definition", new, old, NEWER));
        assert!(!agree("definition", old, new, SAME));
        assert!(
            !agree("definition", new, old, OLDER),
            "the newer one qualifies"
        );
        assert!(!agree("default", old, new, OLDER));
    }

    #[test]
    fn a_change_that_looks_like_it_is_not() {
        for (old, new) in [
            ("SELECT a.x, b.x FROM a, b", "SELECT b.x, a.x FROM a, b"),
            ("SELECT a.x FROM a", "SELECT y FROM a"),
            ("SELECT a.x FROM a", "SELECT x FROM b"),
            ("SELECT a.x FROM s.a", "SELECT x FROM t.a"),
            ("SELECT 'a.x' FROM a", "SELECT 'x' FROM a"),
            ("SELECT a.x FROM a", "SELECT x FROM a WHERE true"),
            ("SELECT a.x FROM a WHERE true", "SELECT x FROM a"),
            ("SELECT 'a  b'::text", "SELECT 'a b'::text"),
            ("SELECT 'A'::text", "SELECT 'a'::text"),
            ("SELECT 1.5", "SELECT 5"),
        ] {
            assert!(!agree("definition", old, new, OLDER), "{old} / {new}");
        }
    }

    #[test]
    fn quoted_texts_are_one_token() {
        assert_eq!(
            tokens("f('it''s  x', \"a\"\"b\")"),
            ["f", "(", "'it''s  x'", ",", "\"a\"\"b\"", ")"]
        );
    }
}
