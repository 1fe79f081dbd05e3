//! The custom settings that a definition's text makes, once its code runs. The same
//! as catalog_query.sql finds in the texts of functions that exist.

use super::spelling::{MAX_NAME, is_custom, is_word_byte};

/// A text defines no more than this.
const MAX_NAMES: usize = 64;

/// What a text that is to be executed begins with.
const VERBS: &[&str] = &[
    "alter", "analyze", "begin", "call", "cluster", "comment", "copy", "create", "delete", "do",
    "drop", "explain", "grant", "insert", "listen", "lock", "merge", "notify", "refresh",
    "reindex", "reset", "revoke", "select", "set", "truncate", "update", "vacuum", "values",
    "with",
];

/// Appends the names of `set_config('a.b', …)` and `SET a.b`, wherever they stand,
/// strings included: these may be what EXECUTE runs. True if there may be others,
/// which the text computes.
pub(super) fn settings(text: &[u8], out: &mut Vec<Box<[u8]>>) -> bool {
    let mut found = Found {
        names: out,
        hides: false,
    };
    let mut executes = false;
    let mut spells = false;
    let comments = Comments::of(text);
    let mut rest = Rest {
        text,
        at: 0,
        comments: &comments,
    };
    let mut before: [u8; 2] = [0; 2];
    while let Some(byte) = rest.first() {
        let word = rest.word();
        if word.is_empty() {
            if !byte.is_ascii_whitespace() {
                before = [before[1], byte];
            }
            rest.advance(1);
            continue;
        }
        spells |= before[1] == b'\'' && is_one_of(word, VERBS);
        if word.eq_ignore_ascii_case(b"set_config") {
            found.call(rest);
        } else if word.eq_ignore_ascii_case(b"set") {
            found.set(rest, before == [b'|', b'\'']);
        } else if word.eq_ignore_ascii_case(b"execute") {
            let mut after = rest;
            after.skip_space();
            executes |= !is_one_of(after.word(), &["function", "procedure", "on"]);
        }
        before = [0; 2];
    }
    found.hides || executes && !spells
}

fn is_one_of(word: &[u8], words: &[&str]) -> bool {
    words
        .iter()
        .any(|one| word.eq_ignore_ascii_case(one.as_bytes()))
}

struct Found<'a> {
    names: &'a mut Vec<Box<[u8]>>,
    hides: bool,
}

impl Found<'_> {
    fn add(&mut self, name: &[u8]) {
        if !name.contains(&b'.') || self.names.iter().any(|known| **known == *name) {
            return;
        }
        if is_custom(name) && self.names.len() < MAX_NAMES {
            self.names.push(name.into());
        } else {
            self.hides = true;
        }
    }

    /// Behind `set_config`.
    fn call(&mut self, mut rest: Rest<'_>) {
        rest.take(b'"');
        rest.skip_space();
        if !rest.take(b'(') {
            return;
        }
        rest.skip_space();
        let mut named = rest;
        if named.word().eq_ignore_ascii_case(b"setting_name") {
            named.skip_space();
            named.skip(|byte| matches!(byte, b'=' | b':' | b'>'));
            named.skip_space();
            rest = named;
        }
        let open = rest.skip(|byte| byte == b'\'').len();
        let name = rest.name();
        let close = rest.skip(|byte| byte == b'\'').len();
        rest.skip_space();
        if rest.take(b':') && rest.take(b':') {
            rest.skip(|byte| is_word_byte(byte) || byte == b'.');
            rest.skip_space();
        }
        if open > 0 && open == close && rest.take(b',') {
            self.add(name);
        } else {
            self.hides = true;
        }
    }

    /// Behind SET; `joined` if that begins a string which continues another.
    fn set(&mut self, mut rest: Rest<'_>, joined: bool) {
        rest.skip_space();
        let mut scoped = rest;
        if is_one_of(scoped.word(), &["local", "session"]) {
            scoped.skip_space();
            rest = scoped;
        }
        let name = rest.name();
        if let (true, Some(b'%' | b'\'')) = (name.is_empty(), rest.first()) {
            self.hides |= !joined;
            return;
        }
        let quoted = rest.take(b'"');
        let inside = rest.skip(|byte| quoted && byte != b'"');
        rest.take(b'"');
        rest.skip_space();
        if quoted && (name.ends_with(b".") || inside.contains(&b'.')) || rest.take(b'.') {
            self.hides = true;
        } else if !quoted {
            self.add(name);
        }
    }
}

/// Where a look behind each comment ends, so that words within comments do not lead to
/// the same place again and again.
struct Comments(Vec<Comment>);

struct Comment {
    at: usize,
    /// Behind it, and all space and comments that follow.
    behind: usize,
}

impl Comments {
    /// From the last to the first, since each ends where the next one does, if nothing
    /// but space is in between.
    fn of(text: &[u8]) -> Self {
        let mut comments = Vec::new();
        // Where one ends up who begins here; one byte further; at the next line's end;
        // behind the next `*/`.
        let (mut here, mut next) = (text.len(), text.len());
        let (mut line, mut block) = (text.len(), text.len());
        for (at, byte) in text.iter().enumerate().rev() {
            let pair = text.get(at..at + 2).unwrap_or_default();
            let behind = match pair {
                b"--" => line,
                b"/*" => block,
                _ if byte.is_ascii_whitespace() => here,
                _ => at,
            };
            match pair {
                b"--" | b"/*" => comments.push(Comment { at, behind }),
                b"*/" => block = next,
                _ if *byte == b'\n' => line = behind,
                _ => {}
            }
            (here, next) = (behind, here);
        }
        comments.reverse();
        Self(comments)
    }

    fn behind(&self, at: usize) -> Option<usize> {
        let found = self
            .0
            .binary_search_by_key(&at, |comment| comment.at)
            .ok()?;
        self.0.get(found).map(|comment| comment.behind)
    }
}

#[derive(Clone, Copy)]
struct Rest<'a> {
    text: &'a [u8],
    at: usize,
    comments: &'a Comments,
}

impl<'a> Rest<'a> {
    fn first(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    const fn advance(&mut self, count: usize) {
        self.at += count;
    }

    fn skip(&mut self, mut which: impl FnMut(u8) -> bool) -> &'a [u8] {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let count = rest.iter().take_while(|byte| which(**byte)).count();
        self.advance(count);
        rest.get(..count).unwrap_or_default()
    }

    fn word(&mut self) -> &'a [u8] {
        self.skip(is_word_byte)
    }

    /// Words with dots between them; one that is too long for a setting ends with the
    /// word that makes it so.
    fn name(&mut self) -> &'a [u8] {
        let mut length = 0;
        self.skip(|byte| {
            length += 1;
            is_word_byte(byte) || byte == b'.' && length <= MAX_NAME
        })
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.first() == Some(byte);
        self.advance(usize::from(there));
        there
    }

    /// Comments included.
    fn skip_space(&mut self) {
        self.skip(|byte| byte.is_ascii_whitespace());
        if let Some(behind) = self.comments.behind(self.at) {
            self.at = behind;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn makes(text: &str, names: &[&str], hides: bool) {
        let mut found = Vec::new();
        assert_eq!(settings(text.as_bytes(), &mut found), hides, "{text}");
        let found: Vec<_> = found
            .iter()
            .map(|name| str::from_utf8(name).unwrap())
            .collect();
        assert_eq!(found, names, "{text}");
    }

    #[test]
    fn names_of_settings_are_found_wherever_code_shows_them() {
        makes("select set_config('a.b', 'c', false)", &["a.b"], false);
        makes(
            "PERFORM SET_CONFIG ( 'App.Last'::text, x, true)",
            &["App.Last"],
            false,
        );
        makes(
            "pg_catalog.\"set_config\"(/* x */ 'a.b', '', true)",
            &["a.b"],
            false,
        );
        makes(
            "set_config(setting_name => 'a.b', new_value => '', is_local => true)",
            &["a.b"],
            false,
        );
        makes(
            "as 'begin perform set_config(''a.b'', x, true); end'",
            &["a.b"],
            false,
        );
        makes(
            "set a.b = 1; set local c.d to 2; SET SESSION e.f.g = 3",
            &["a.b", "c.d", "e.f.g"],
            false,
        );
        makes(
            "EXECUTE format('SET app.instead = %L', NEW.id)",
            &["app.instead"],
            false,
        );
        makes("execute 'set a.b = ' || x", &["a.b"], false);
        makes(
            "create function f() returns int set a.b = 'c' as $$ select 1 $$",
            &["a.b"],
            false,
        );
    }

    #[test]
    fn names_that_code_computes_are_hidden() {
        for text in [
            "set_config(x, 'c', false)",
            "set_config('a.' || x, 'c', false)",
            "set_config(format('a.%s', x), 'c', false)",
            "set_config(E'a.b', 'c', false)",
            "execute 'set ' || x",
            "execute format('SET LOCAL %I = %L', a, b)",
            "execute format('set %s', a)",
            "set a.\"B\" = 1",
            "set \"a.b\" = 1",
            "set \"a\".b = 1",
            "set a . b = 1",
            "execute x",
            "return query execute x using y",
        ] {
            makes(text, &[], true);
        }
    }

    #[test]
    fn other_code_makes_no_settings() {
        for text in [
            "update t set a = 1; set search_path = x.y",
            "set_config('work_mem', '1MB', false)",
            "-- see set_config and set",
            "select set_config_of_mine(x), current_setting('a.b')",
            "execute format('create table %I (a int)', x)",
            "q := 'update t' || ' set ' || x; execute q",
            "create trigger t after insert on x execute function y()",
            "grant execute on function f to x",
            "update t set \"A\" = 1, b = '2'",
            "update t set -- first\n a = 1",
            "on delete set null",
            "alter table t alter column a set default nextval('public.s')",
        ] {
            makes(text, &[], false);
        }
    }
}
