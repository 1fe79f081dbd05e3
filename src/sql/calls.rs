//! What a statement's expressions mention: function calls, and a few words.
//!
//! Invariant: every name that stands where SQL lets a function be called by
//! `name(` is reported. Things that only look like calls may be reported too (a
//! column list, the second of several CTEs with one); that costs certainty, not
//! safety. Functions that are reached otherwise are not seen; `effects` lists how.

use super::cursor::Cursor;
use super::effects::{Certainty, Effects, Marks};
use super::functions::{self, Category, FunctionClass};
use super::name::Ident;
use super::token::{Lexer, Token, TokenKind};

/// A name with a parenthesis behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call<'a> {
    pub(crate) schema: Option<Ident<'a>>,
    pub(crate) name: Ident<'a>,
    /// What pg_catalog's function of that name does. With no schema given, the
    /// caveat of `functions` applies.
    pub(crate) class: Option<FunctionClass>,
}

/// A call of set_config, as far as the text shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SetConfig<'a> {
    /// The literal, with its quotes.
    pub(crate) name: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) local: Option<bool>,
}

/// Keywords before a parenthesis that no call begins with, each with the words
/// that it must stand behind.
const SYNTAX: &[(&str, &[&str])] = &[
    ("by", &["group", "order", "partition"]),
    ("conflict", &["on"]),
    ("cube", &["by"]),
    ("first", &["fetch"]),
    ("insert", &["then"]),
    ("materialized", &["not"]),
    ("next", &["fetch"]),
    ("rollup", &["by"]),
    ("set", &["update"]),
    ("sets", &["grouping"]),
    ("stdin", &["from", "to"]),
    ("stdout", &["from", "to"]),
    ("varying", &["bit", "char", "character", "nchar"]),
    ("zone", &["time"]),
];

/// Words behind which a name with a parenthesis is that of something else: an
/// alias, a table, a CTE, a prepared statement, a type.
const NAMING: &[&str] = &[
    "as",
    "copy",
    "execute",
    "into",
    "prepare",
    "recursive",
    "with",
];

/// The last significant tokens, newest first, and the open parentheses.
#[derive(Debug, Clone, Default)]
struct Context<'a> {
    before: [Option<Token<'a>>; 4],
    depth: usize,
    /// A bit for each open parenthesis: an operand follows where it closes.
    prefixes: u64,
    /// The last parenthesis closed was such a one.
    prefix_closed: bool,
}

impl<'a> Context<'a> {
    fn push(&mut self, token: Token<'a>) {
        let [a, b, c, _] = self.before;
        self.before = [Some(token), a, b, c];
    }

    fn previous(&self, back: usize) -> Option<&Token<'a>> {
        self.before.get(back)?.as_ref()
    }

    fn previous_is(&self, back: usize, words: &[&str]) -> bool {
        self.previous(back)
            .is_some_and(|token| token.is_one_of(words))
    }

    /// Whether an INTO here makes no table: it is a label, or its verb says so.
    fn names_label(&self) -> bool {
        self.previous(0).is_some_and(|token| token.is_punct(b'.'))
            || self.previous_is(0, &["insert", "merge", "as"])
    }

    /// Notes an opened parenthesis; `rest` reads what follows it.
    fn open(&mut self, rest: &Lexer<'a>) -> Option<Call<'a>> {
        let operator = self.previous_is(0, &["operator"]) && names_operator(rest);
        let distinct = self.previous_is(0, &["on"]) && self.previous_is(1, &["distinct"]);
        let call = if operator { None } else { self.call() };
        if let Some(bit) = bit(self.depth) {
            self.prefixes &= !bit;
            if operator || distinct {
                self.prefixes |= bit;
            }
        }
        self.depth += 1;
        call
    }

    /// Notes a closed parenthesis; false if none was open.
    fn close(&mut self) -> bool {
        let Some(depth) = self.depth.checked_sub(1) else {
            return false;
        };
        self.depth = depth;
        self.prefix_closed = bit(depth).is_none_or(|bit| self.prefixes & bit != 0);
        true
    }

    fn call(&self) -> Option<Call<'a>> {
        let name = self.previous(0).filter(|token| token.is_name())?;
        let qualified = self.previous(1).is_some_and(|token| token.is_punct(b'.'));
        let back = if qualified { 3 } else { 1 };
        let schema = qualified.then(|| self.previous(2)).flatten();
        let is_call = match self.previous(back) {
            None => false,
            Some(before) if before.is_one_of(NAMING) || before.text == b"::" => false,
            Some(_) if qualified => true,
            Some(before) => self.may_call(name, before),
        };
        let name = Ident::of(name).filter(|_| is_call)?;
        let schema = schema.and_then(Ident::of);
        // A dot without a readable name before it is a schema all the same.
        let class = if qualified && schema.is_none() {
            None
        } else {
            functions::class_of_call(schema, name)
        };
        Some(Call {
            schema,
            name,
            class,
        })
    }

    /// Whether an unqualified name behind `before` can be a function's.
    fn may_call(&self, name: &Token<'a>, before: &Token<'a>) -> bool {
        let category = match name.kind {
            TokenKind::Word => functions::category(name.text),
            _ => None,
        };
        let operand_follows = match before.kind {
            TokenKind::Word => functions::category(before.text).is_some(),
            TokenKind::Punct(b')') => self.prefix_closed,
            TokenKind::QuotedName | TokenKind::UnicodeName => false,
            TokenKind::Number | TokenKind::Parameter => false,
            _ => !before.is_text(),
        };
        match category {
            Some(Category::NoFunction) => false,
            // `a JOIN (`, `b LIKE (` and `a LEFT JOIN (` are no calls, unlike
            // `BY left(` and `LIKE left(`.
            Some(Category::FunctionOrType) => {
                let joins = name.is_word("join")
                    && before.kind == TokenKind::Word
                    && functions::category(before.text) == Some(Category::FunctionOrType);
                operand_follows && !joins
            }
            Some(Category::Other) => {
                let is_syntax = |(word, behind): &(&str, &[&str])| {
                    name.is_word(word) && before.is_one_of(behind)
                };
                operand_follows && !SYNTAX.iter().any(is_syntax)
            }
            None => operand_follows,
        }
    }
}

fn bit(depth: usize) -> Option<u64> {
    1_u64.checked_shl(u32::try_from(depth).ok()?)
}

/// Whether what follows `OPERATOR (` is an operator's name and not an argument.
fn names_operator(rest: &Lexer<'_>) -> bool {
    let mut significant = rest.clone().filter(Token::is_significant).take(7);
    while let Some(token) = significant.next() {
        if token.kind == TokenKind::Operator {
            return significant.next().is_some_and(|token| token.is_punct(b')'));
        }
        let dot = significant.next();
        if !token.is_name() || !dot.is_some_and(|token| token.is_punct(b'.')) {
            return false;
        }
    }
    false
}

/// Goes through the calls of a statement's text.
#[derive(Debug, Clone)]
pub(crate) struct Calls<'a> {
    text: &'a [u8],
    lexer: Lexer<'a>,
    context: Context<'a>,
}

impl<'a> Calls<'a> {
    pub(super) fn new(text: &'a [u8], escapes: bool) -> Self {
        Self {
            text,
            lexer: Lexer::new(text, escapes),
            context: Context::default(),
        }
    }

    /// The arguments of the call that was returned last, if it is set_config's
    /// and they are as simple as they usually are.
    pub(super) fn set_config(&self) -> SetConfig<'a> {
        let mut arguments = Cursor::at(self.text, self.lexer.clone());
        let mut single = || {
            let token = arguments.next()?;
            // A cast to text changes nothing.
            if arguments.peek()?.text == b"::" {
                arguments.next();
                arguments.path()?;
            }
            let end = arguments.next()?;
            let ended = end.is_punct(b',') || end.is_punct(b')');
            ended.then_some(token)
        };
        let [name, value, local] = [single(), single(), single()];
        let literal = |token: Option<Token<'a>>| token.filter(Token::is_text).map(|t| t.text);
        let local = match (name, value, local) {
            (Some(_), Some(_), Some(token)) if token.is_word("true") => Some(true),
            (Some(_), Some(_), Some(token)) if token.is_word("false") => Some(false),
            _ => None,
        };
        SetConfig {
            name: literal(name),
            // Behind an argument that was not understood, nothing has a place.
            value: name.and_then(|_| literal(value)),
            local,
        }
    }
}

impl<'a> Iterator for Calls<'a> {
    type Item = Call<'a>;

    fn next(&mut self) -> Option<Call<'a>> {
        loop {
            let token = self.lexer.find(Token::is_significant)?;
            let call = match token.kind {
                TokenKind::Punct(b'(') => self.context.open(&self.lexer),
                TokenKind::Punct(b')') => {
                    self.context.close();
                    None
                }
                _ => None,
            };
            self.context.push(token);
            if call.is_some() {
                return call;
            }
        }
    }
}

/// What a walk through a whole statement has found.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallSummary {
    /// By calls, and by words that only matter in queries.
    pub(super) query: Effects,
    /// By what matters everywhere.
    pub(super) text: Effects,
    /// `SELECT … INTO`, and whether a temporary table.
    pub(super) into: Option<bool>,
    pub(super) concurrently: bool,
    /// `AS EXECUTE`, which may be a label.
    pub(super) executes: bool,
}

pub(super) fn find(text: &[u8], escapes: bool) -> CallSummary {
    let mut found = CallSummary {
        query: Effects {
            marks: Marks::NONE,
            certainty: Certainty::TextClean,
        },
        text: Effects::EXACT,
        into: None,
        concurrently: false,
        executes: false,
    };
    let mut calls = Calls::new(text, escapes);
    let mut balanced = true;
    while let Some(token) = calls.lexer.next() {
        if token.unterminated || matches!(token.kind, TokenKind::Other | TokenKind::UnicodeName) {
            found.text.add(Marks::NONE, Certainty::Unknown);
        }
        match token.kind {
            TokenKind::Space | TokenKind::LineComment | TokenKind::BlockComment => continue,
            TokenKind::Punct(b'(') => {
                if let Some(call) = calls.context.open(&calls.lexer) {
                    found.call(call, &calls);
                }
            }
            TokenKind::Punct(b')') => balanced &= calls.context.close(),
            TokenKind::Word => found.word(&token, &calls.context),
            TokenKind::QuotedName if token.text.starts_with(b"\"pg_temp") => {
                found.text.marks |= Marks::TEMP;
            }
            _ => {}
        }
        calls.context.push(token);
    }
    if !balanced || calls.context.depth != 0 {
        found.text.add(Marks::NONE, Certainty::Unknown);
    }
    found
}

impl CallSummary {
    fn call(&mut self, call: Call<'_>, calls: &Calls<'_>) {
        match call.class {
            Some(FunctionClass::Pure) => {}
            Some(FunctionClass::Marked(Marks::SET_CONFIG)) => {
                let local = calls.set_config().local == Some(true);
                let reach = if local {
                    Marks::SETTING_LOCAL
                } else {
                    Marks::SETTING
                };
                self.query.marks |= Marks::SET_CONFIG | reach;
            }
            Some(FunctionClass::Marked(marks)) => self.query.marks |= marks,
            Some(FunctionClass::Opaque(marks)) => self.query.add(marks, Certainty::Opaque),
            None => self.query.add(Marks::NONE, Certainty::Opaque),
        }
        if call.schema.is_none() && call.class.is_some() {
            self.query.marks |= Marks::UNQUALIFIED;
        }
    }

    fn word(&mut self, token: &Token<'_>, context: &Context<'_>) {
        let starts = |word: &str| {
            let start = token.text.get(..word.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes()))
        };
        match token.text.len() {
            4 if token.is_word("into") && !context.names_label() => {
                self.into = self.into.or(Some(false));
            }
            4 | 9 if token.is_one_of(&["temp", "temporary"]) => {
                let local = usize::from(context.previous_is(0, &["local", "global"]));
                if self.into.is_some() && context.previous_is(local, &["into"]) {
                    self.into = Some(true);
                }
            }
            5 | 6
                if context
                    .previous(0)
                    .is_some_and(|token| token.is_punct(b'('))
                    && token.is_one_of(&["insert", "update", "delete", "merge"]) =>
            {
                self.query.marks |= Marks::WRITES;
            }
            7 if token.is_word("execute") && context.previous_is(0, &["as"]) => {
                self.executes = true;
            }
            12 if token.is_word("concurrently") => self.concurrently = true,
            10 | 22 if token.is_one_of(&["pg_cursors", "pg_prepared_statements"]) => {
                self.query.marks |= Marks::READS_SESSION;
            }
            7.. if starts("pg_temp") || starts("pg_toast_temp") => {
                self.text.marks |= Marks::TEMP;
            }
            _ => {}
        }
    }
}
