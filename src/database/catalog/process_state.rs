//! What a text of code leads to that is a string to the statement around it: the
//! body of a DO.
//!
//! Only to find what keeps state in the server's process, and definitions of what leads
//! there. Words count wherever they stand, in strings and comments too.

use std::collections::{BTreeSet, HashSet};

use crate::sql::Statement;

/// What a text that is to be executed begins with.
const VERBS: &[&[u8]] = &[
    b"alter",
    b"analyze",
    b"begin",
    b"call",
    b"cluster",
    b"comment",
    b"copy",
    b"create",
    b"delete",
    b"do",
    b"drop",
    b"explain",
    b"grant",
    b"insert",
    b"listen",
    b"lock",
    b"merge",
    b"notify",
    b"refresh",
    b"reindex",
    b"reset",
    b"revoke",
    b"select",
    b"set",
    b"truncate",
    b"update",
    b"vacuum",
    b"values",
    b"with",
];

fn occurs(name: &[u8], text: &[u8]) -> bool {
    text.windows(name.len()).any(|part| part == name)
}

/// Names that lead to what keeps state in the process, as a text is searched for them.
#[derive(Debug, Default)]
pub(super) struct ProcessStateNames {
    /// The first word of each.
    words: HashSet<Box<[u8]>>,
    /// Operators, and names of odd characters only.
    others: BTreeSet<Box<[u8]>>,
    /// Some table leads to such state.
    pub(super) of_tables: bool,
}

impl ProcessStateNames {
    pub(super) fn add(&mut self, name: &[u8]) {
        match first_word(name) {
            Some(word) => self.words.insert(word.into()),
            None => self.others.insert(name.into()),
        };
    }

    /// Whether the code of a DO may reach one of these names; `is_foreign`: one of them
    /// is not of ASCII.
    pub(super) fn may_be_reached_by(&self, statement: &Statement<'_>, is_foreign: bool) -> bool {
        let text = statement.text.to_ascii_lowercase();
        let words: HashSet<&[u8]> = words(&text).collect();
        if statement.is_of_other_language() || !text.is_ascii() && is_foreign {
            return true;
        }
        if words.contains(&b"execute"[..]) {
            // A text that begins with a verb shows the functions that it calls, if not
            // the tables.
            let shows = VERBS.iter().any(|verb| is_quoted(&text, verb));
            if self.of_tables || !shows {
                return true;
            }
        }
        words.iter().any(|word| self.words.contains(*word))
            || self.others.iter().any(|name| occurs(name, &text))
    }
}

fn is_quoted(text: &[u8], verb: &[u8]) -> bool {
    let mut quotes = text.split(|byte| *byte == b'\'').skip(1);
    quotes.any(|after| words(after.trim_ascii_start()).next() == Some(verb))
}

/// As catalog_query.sql does it.
fn first_word(name: &[u8]) -> Option<Vec<u8>> {
    let name = name.to_ascii_lowercase();
    words(&name).next().map(<[u8]>::to_vec)
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    text.split(move |byte| !is_word(byte))
        .filter(|word| !word.is_empty())
}
