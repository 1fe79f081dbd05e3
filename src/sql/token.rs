//! Bytes of SQL to tokens, by the rules of Postgres's own scanner.
//!
//! Invariant: the tokens tile the text, in order and without a gap, whatever the
//! text is, and the work is linear in its length. Nothing is decoded or copied.
//! Text that Postgres's scanner would refuse still becomes tokens; that is
//! harmless, because a refused text is refused as a whole and nothing of it runs.
//! Where server versions differ (`1_000`, `0x1F`, `1e'…'`), the boundaries of
//! strings and comments come out the same for all of 14 to 18.

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Space,
    /// `-- …`, without the line's end.
    LineComment,
    /// `/* … */`, with those nested in it.
    BlockComment,
    /// A keyword or an unquoted identifier.
    Word,
    /// `"…"`
    QuotedName,
    /// `U&"…"`
    UnicodeName,
    /// `'…'` and `N'…'`, continued over lines where SQL allows it.
    Text,
    /// `E'…'`
    EscapeText,
    /// `U&'…'`
    UnicodeText,
    /// `B'…'` and `X'…'`
    BitText,
    /// `$tag$ … $tag$`
    DollarText,
    Number,
    /// `$1`
    Parameter,
    Operator,
    /// One of `,()[].;:`
    Punct(u8),
    /// A byte that begins nothing, or a number that servers do not agree on.
    Other,
}

/// A piece of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) kind: TokenKind,
    pub(crate) text: &'a [u8],
    /// Where it begins.
    pub(crate) at: usize,
    /// The text ended before the token did.
    pub(crate) unterminated: bool,
}

impl<'a> Token<'a> {
    pub(super) const fn end(&self) -> usize {
        self.at + self.text.len()
    }

    /// Neither space nor comment.
    pub(super) const fn is_significant(&self) -> bool {
        !matches!(
            self.kind,
            TokenKind::Space | TokenKind::LineComment | TokenKind::BlockComment
        )
    }

    pub(super) const fn is_punct(&self, byte: u8) -> bool {
        matches!(self.kind, TokenKind::Punct(found) if found == byte)
    }

    /// An unquoted word equal to `word`, whatever the case.
    pub(super) fn is_word(&self, word: &str) -> bool {
        self.kind == TokenKind::Word && self.text.eq_ignore_ascii_case(word.as_bytes())
    }

    pub(super) fn is_one_of(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.is_word(word))
    }

    /// The unquoted word in lower case; empty for anything else, and for words
    /// longer than every keyword that matters here.
    pub(super) fn folded(&self) -> Folded {
        let mut folded = Folded::default();
        if self.kind == TokenKind::Word
            && let Some(room) = folded.bytes.get_mut(..self.text.len())
        {
            room.copy_from_slice(self.text);
            room.make_ascii_lowercase();
            folded.len = self.text.len();
        }
        folded
    }

    pub(super) const fn is_text(&self) -> bool {
        matches!(
            self.kind,
            TokenKind::Text
                | TokenKind::EscapeText
                | TokenKind::UnicodeText
                | TokenKind::BitText
                | TokenKind::DollarText
        )
    }

    pub(super) const fn is_name(&self) -> bool {
        matches!(
            self.kind,
            TokenKind::Word | TokenKind::QuotedName | TokenKind::UnicodeName
        )
    }
}

/// A short word in lower case, held in place.
#[derive(Debug, Default)]
pub(super) struct Folded {
    bytes: [u8; 16],
    len: usize,
}

impl Folded {
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Walks through a text token by token.
#[derive(Debug, Clone)]
pub(crate) struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    /// Backslashes escape in plain strings: `standard_conforming_strings = off`.
    escapes: bool,
    /// Up to here the text is known to be single `+` and `-` operators, which
    /// spares a look at the rest of the run for each of them.
    signs_until: usize,
}

impl<'a> Lexer<'a> {
    pub(crate) const fn new(text: &'a [u8], escapes: bool) -> Self {
        Self {
            text,
            at: 0,
            escapes,
            signs_until: 0,
        }
    }

    /// Kind, length and whether its end is there, of the token `rest` begins with.
    fn scan(&mut self, first: u8, rest: &[u8]) -> (TokenKind, usize, bool) {
        let second = rest.get(1).copied().unwrap_or_default();
        let whole = |kind, len| (kind, len, true);
        match first {
            b' ' | b'\t' | b'\n' | b'\r' | b'\x0b' | b'\x0c' => {
                whole(TokenKind::Space, span(rest, 1, is_space))
            }
            b'-' if second == b'-' => {
                whole(TokenKind::LineComment, span(rest, 2, |b| !is_newline(b)))
            }
            b'/' if second == b'*' => block_comment(rest),
            b'\'' => quoted(TokenKind::Text, rest, 1, self.plain()),
            b'e' | b'E' if second == b'\'' => {
                quoted(TokenKind::EscapeText, rest, 2, Quoting::Backslash)
            }
            b'b' | b'B' | b'x' | b'X' if second == b'\'' => {
                quoted(TokenKind::BitText, rest, 2, Quoting::Bits)
            }
            b'n' | b'N' if second == b'\'' => quoted(TokenKind::Text, rest, 2, self.plain()),
            b'u' | b'U' if second == b'&' && rest.get(2) == Some(&b'\'') => {
                quoted(TokenKind::UnicodeText, rest, 3, Quoting::Doubled)
            }
            b'u' | b'U' if second == b'&' && rest.get(2) == Some(&b'"') => {
                quoted_name(TokenKind::UnicodeName, rest, 3)
            }
            b'"' => quoted_name(TokenKind::QuotedName, rest, 1),
            b'$' if second.is_ascii_digit() => {
                whole(TokenKind::Parameter, span(rest, 1, |b| b.is_ascii_digit()))
            }
            b'$' => dollar(rest),
            b'0'..=b'9' => number(rest),
            b'.' if second.is_ascii_digit() => number(rest),
            b'.' if second == b'.' => whole(TokenKind::Operator, 2),
            b':' if second == b':' || second == b'=' => whole(TokenKind::Operator, 2),
            b',' | b'(' | b')' | b'[' | b']' | b'.' | b';' | b':' => {
                whole(TokenKind::Punct(first), 1)
            }
            _ if is_operator(first) => whole(TokenKind::Operator, self.operator(rest)),
            _ if is_word_start(first) => whole(TokenKind::Word, span(rest, 1, is_word_part)),
            _ => whole(TokenKind::Other, 1),
        }
    }

    const fn plain(&self) -> Quoting {
        if self.escapes {
            Quoting::Backslash
        } else {
            Quoting::Doubled
        }
    }

    /// A run of operator characters ends before a comment, and gives its last
    /// `+` and `-` back unless it holds a character that SQL itself does not use.
    fn operator(&mut self, rest: &[u8]) -> usize {
        if self.at < self.signs_until {
            return 1;
        }
        let mut len = 0;
        let mut last_other = None;
        let mut not_sql = false;
        for (at, &byte) in rest.iter().enumerate() {
            let next = rest.get(at + 1).copied().unwrap_or_default();
            let comment = matches!((byte, next), (b'-', b'-') | (b'/', b'*'));
            if !is_operator(byte) || (comment && at > 0) {
                break;
            }
            if !matches!(byte, b'+' | b'-') {
                last_other = Some(at);
            }
            not_sql |= matches!(
                byte,
                b'~' | b'!' | b'@' | b'#' | b'^' | b'&' | b'|' | b'`' | b'?' | b'%'
            );
            len = at + 1;
        }
        if not_sql {
            return len;
        }
        self.signs_until = self.at + len;
        last_other.map_or(1, |at| at + 1)
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Token<'a>;

    #[inline]
    fn next(&mut self) -> Option<Token<'a>> {
        let rest = self.text.get(self.at..)?;
        let (kind, len, whole) = self.scan(*rest.first()?, rest);
        let token = Token {
            kind,
            text: rest.get(..len).unwrap_or(rest),
            at: self.at,
            unterminated: !whole,
        };
        self.at += token.text.len();
        Some(token)
    }
}

/// What may stand between the quotes of a string.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quoting {
    /// `''` is a quote.
    Doubled,
    /// So is `\'`.
    Backslash,
    /// Neither: the next quote is the end.
    Bits,
}

const fn is_newline(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'\x0b' | b'\x0c')
}

const fn is_operator(byte: u8) -> bool {
    matches!(
        byte,
        b'~' | b'!'
            | b'@'
            | b'#'
            | b'^'
            | b'&'
            | b'|'
            | b'`'
            | b'?'
            | b'+'
            | b'-'
            | b'*'
            | b'/'
            | b'%'
            | b'<'
            | b'>'
            | b'='
    )
}

const fn is_word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

const fn is_word_part(byte: u8) -> bool {
    is_word_start(byte) || byte.is_ascii_digit() || byte == b'$'
}

/// Length of the beginning of `rest` of which every byte after the first `from`
/// is accepted.
fn span(rest: &[u8], from: usize, accept: impl Fn(u8) -> bool) -> usize {
    let tail = rest.get(from..).unwrap_or_default();
    from + tail.iter().take_while(|byte| accept(**byte)).count()
}

fn block_comment(rest: &[u8]) -> (TokenKind, usize, bool) {
    let mut depth = 1_usize;
    let mut at = 2;
    while let Some(pair) = rest.get(at..at + 2) {
        match pair {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return (TokenKind::BlockComment, at, true);
        }
    }
    (TokenKind::BlockComment, rest.len(), false)
}

/// A string whose content begins at `at`.
fn quoted(
    kind: TokenKind,
    rest: &[u8],
    mut at: usize,
    quoting: Quoting,
) -> (TokenKind, usize, bool) {
    let plain = |byte| byte != b'\'' && (byte != b'\\' || quoting != Quoting::Backslash);
    loop {
        at = span(rest, at, plain);
        match (rest.get(at), rest.get(at + 1)) {
            (Some(b'\\'), Some(_)) => at += 2,
            (Some(b'\''), Some(b'\'')) if quoting != Quoting::Bits => at += 2,
            (Some(b'\''), _) => match continuation(rest, at + 1) {
                Some(next) => at = next,
                None => return (kind, at + 1, true),
            },
            _ => return (kind, rest.len(), false),
        }
    }
}

/// Where a string goes on that was closed before `at`: after the next quote, if
/// only space and comments with at least one line's end come before it.
fn continuation(rest: &[u8], mut at: usize) -> Option<usize> {
    let mut new_line = false;
    loop {
        match rest.get(at)? {
            b'\'' => return new_line.then_some(at + 1),
            b'-' if rest.get(at + 1) == Some(&b'-') => at = span(rest, at, |b| !is_newline(b)),
            &byte if is_space(byte) => {
                new_line |= is_newline(byte);
                at += 1;
            }
            _ => return None,
        }
    }
}

fn quoted_name(kind: TokenKind, rest: &[u8], mut at: usize) -> (TokenKind, usize, bool) {
    loop {
        at = span(rest, at, |byte| byte != b'"');
        match (rest.get(at), rest.get(at + 1)) {
            (Some(_), Some(b'"')) => at += 2,
            (Some(_), _) => return (kind, at + 1, true),
            (None, _) => return (kind, rest.len(), false),
        }
    }
}

fn dollar(rest: &[u8]) -> (TokenKind, usize, bool) {
    let tagged = rest.get(1).is_some_and(|byte| is_word_start(*byte));
    let close = if tagged {
        span(rest, 2, |byte| is_word_part(byte) && byte != b'$')
    } else {
        1
    };
    if rest.get(close) != Some(&b'$') {
        return (TokenKind::Other, 1, true);
    }
    let body = close + 1;
    let delimiter = rest.get(..body).unwrap_or_default();
    let mut at = body;
    // A tag holds no `$`, so that a comparison never looks past the next one.
    loop {
        at = span(rest, at, |byte| byte != b'$');
        let Some(tail) = rest.get(at..).filter(|tail| !tail.is_empty()) else {
            return (TokenKind::DollarText, rest.len(), false);
        };
        if tail.starts_with(delimiter) {
            return (TokenKind::DollarText, at + body, true);
        }
        at += 1;
    }
}

/// `0x1F` and `1_000` are a number and a name to servers before 16. Where more of
/// a name follows at once, versions disagree about what the quote behind it
/// opens, so that such a thing is no number here either.
fn number(rest: &[u8]) -> (TokenKind, usize, bool) {
    let radix = match rest.get(1) {
        _ if rest.first() != Some(&b'0') => None,
        Some(b'x' | b'X') => Some(16),
        Some(b'o' | b'O') => Some(8),
        Some(b'b' | b'B') => Some(2),
        _ => None,
    };
    let end = match radix.map(|radix| digits(rest, 2, radix)) {
        Some(2) => 1,
        Some(end) => end,
        None => decimal(rest),
    };
    let token = rest.get(..end).unwrap_or_default();
    let is_new = (radix.is_some() && end > 1) || token.contains(&b'_');
    let kind = if is_new && rest.get(end).is_some_and(|byte| is_word_part(*byte)) {
        TokenKind::Other
    } else {
        TokenKind::Number
    };
    (kind, end, true)
}

fn decimal(rest: &[u8]) -> usize {
    let mut end = digits(rest, 0, 10);
    if rest.get(end) == Some(&b'.') && rest.get(end + 1) != Some(&b'.') {
        end += 1;
        // No separator may follow the point at once.
        if rest.get(end).is_some_and(u8::is_ascii_digit) {
            end = digits(rest, end, 10);
        }
    }
    if let Some(b'e' | b'E') = rest.get(end) {
        let sign = usize::from(matches!(rest.get(end + 1), Some(b'+' | b'-')));
        let from = end + 1 + sign;
        if rest.get(from).is_some_and(u8::is_ascii_digit) {
            end = digits(rest, from, 10);
        }
    }
    end
}

/// The end of the digits that begin at `at`, single `_` between them included.
fn digits(rest: &[u8], mut at: usize, radix: u32) -> usize {
    let is_digit = |at: usize| {
        rest.get(at)
            .is_some_and(|byte| char::from(*byte).is_digit(radix))
    };
    loop {
        if is_digit(at) {
            at += 1;
        } else if rest.get(at) == Some(&b'_') && is_digit(at + 1) {
            at += 2;
        } else {
            return at;
        }
    }
}
