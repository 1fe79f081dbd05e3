//! A statement's significant tokens, with a short look ahead.
//!
//! Invariant: a look ahead reads at most three significant tokens, and a copy of
//! the cursor is free, so that parsers stay linear however they try.

use super::kind::Which;
use super::name::{Ident, Path};
use super::token::{Lexer, Token};

/// Reads tokens, without space and comments.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    text: &'a [u8],
    lexer: Lexer<'a>,
    next: Option<Token<'a>>,
    /// Where the last token read ended.
    end: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a [u8], escapes: bool) -> Self {
        Self::at(text, Lexer::new(text, escapes))
    }

    pub(super) fn at(text: &'a [u8], mut lexer: Lexer<'a>) -> Self {
        let next = lexer.find(Token::is_significant);
        Self {
            text,
            lexer,
            next,
            end: 0,
        }
    }

    pub(super) const fn peek(&self) -> Option<Token<'a>> {
        self.next
    }

    /// The token after the next one.
    pub(super) fn peek_second(&self) -> Option<Token<'a>> {
        self.lexer.clone().find(Token::is_significant)
    }

    pub(super) fn next(&mut self) -> Option<Token<'a>> {
        let token = self.next?;
        self.end = token.end();
        self.next = self.lexer.find(Token::is_significant);
        Some(token)
    }

    /// Takes the next token if it is this word.
    pub(super) fn eat(&mut self, word: &str) -> bool {
        let found = self.next.is_some_and(|token| token.is_word(word));
        if found {
            self.next();
        }
        found
    }

    /// Takes the next token if it is one of these words.
    pub(super) fn eat_one_of(&mut self, words: &[&str]) -> bool {
        words.iter().any(|word| self.eat(word))
    }

    /// Takes these words if all of them come next.
    pub(super) fn eat_all(&mut self, words: &[&str]) -> bool {
        let mut ahead = self.clone();
        let found = words.iter().all(|word| ahead.eat(word));
        if found {
            *self = ahead;
        }
        found
    }

    pub(super) fn eat_punct(&mut self, byte: u8) -> bool {
        let found = self.next.is_some_and(|token| token.is_punct(byte));
        if found {
            self.next();
        }
        found
    }

    /// Whether this word comes next.
    pub(super) fn sees(&self, word: &str) -> bool {
        self.next.is_some_and(|token| token.is_word(word))
    }

    pub(super) const fn is_at_end(&self) -> bool {
        self.next.is_none()
    }

    /// An identifier.
    pub(super) fn name(&mut self) -> Option<Ident<'a>> {
        self.next.filter(Token::is_name)?;
        Ident::of(&self.next()?)
    }

    /// An identifier or a string.
    pub(super) fn name_or_text(&mut self) -> Option<Ident<'a>> {
        Ident::of(&self.next()?)
    }

    /// `ALL` or an identifier, and nothing after it.
    pub(super) fn which(&mut self) -> Option<Which<'a>> {
        let which = if self.eat("all") {
            Which::All
        } else {
            Which::Named(self.name()?)
        };
        self.is_at_end().then_some(which)
    }

    /// Identifiers with dots between them.
    pub(super) fn path(&mut self) -> Option<Path<'a>> {
        let start = self.next?.at;
        self.name()?;
        while self.eat_punct(b'.') {
            self.name()?;
        }
        Some(Path::new(self.text.get(start..self.end)?))
    }

    /// Everything up to the last significant token.
    pub(super) fn remainder(&mut self) -> &'a [u8] {
        let start = self.next.map_or(self.end, |token| token.at);
        while self.next().is_some() {}
        self.text.get(start..self.end).unwrap_or_default()
    }

    /// Passes what is in a pair of parentheses whose first was just read.
    pub(super) fn pass_parens(&mut self) {
        let mut depth = 1_usize;
        while let Some(token) = self.next() {
            if token.is_punct(b'(') {
                depth += 1;
            } else if token.is_punct(b')') {
                depth -= 1;
            }
            if depth == 0 {
                return;
            }
        }
    }
}
