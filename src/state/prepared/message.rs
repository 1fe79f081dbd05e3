//! The messages that are injected, byte by byte.

use crate::wire::frontend;

/// What Close and Describe call a prepared statement.
const STATEMENT: u8 = b'S';

/// Parse of `name`; `rest` is the body behind the name.
pub(super) fn parse(name: &[u8], rest: &[u8], out: &mut Vec<u8>) {
    begin(frontend::PARSE, name.len() + 1 + rest.len(), out);
    out.extend_from_slice(name);
    out.push(0);
    out.extend_from_slice(rest);
}

/// The same with these types of its parameters, as ParameterDescription has them.
pub(super) fn parse_typed(name: &[u8], rest: &[u8], types: &[u8], out: &mut Vec<u8>) {
    let text = rest.split(|&byte| byte == 0).next().unwrap_or_default();
    begin(
        frontend::PARSE,
        name.len() + text.len() + 2 + types.len(),
        out,
    );
    out.extend_from_slice(name);
    out.push(0);
    out.extend_from_slice(text);
    out.push(0);
    out.extend_from_slice(types);
}

/// Describe of the statement `name`, and a Flush.
pub(super) fn describe(name: &[u8], out: &mut Vec<u8>) {
    begin(frontend::DESCRIBE, name.len() + 2, out);
    out.push(STATEMENT);
    out.extend_from_slice(name);
    out.push(0);
    begin(frontend::FLUSH, 0, out);
}

/// Close of the statement `name`.
pub(super) fn close(name: &[u8], out: &mut Vec<u8>) {
    begin(frontend::CLOSE, name.len() + 2, out);
    out.push(STATEMENT);
    out.extend_from_slice(name);
    out.push(0);
}

pub(super) fn sync(out: &mut Vec<u8>) {
    begin(frontend::SYNC, 0, out);
}

fn begin(tag: u8, body: usize, out: &mut Vec<u8>) {
    out.push(tag);
    // What came in a message of the client's fits into one.
    let len = u32::try_from(body + 4).unwrap_or(u32::MAX);
    out.extend_from_slice(&len.to_be_bytes());
}
