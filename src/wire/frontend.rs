//! Messages a client sends: their tags, and the few bodies that are read or written.

use std::ffi::CStr;

use bytes::{BufMut, BytesMut};

pub(crate) const BIND: u8 = b'B';
pub(crate) const CLOSE: u8 = b'C';
pub(crate) const COPY_DATA: u8 = b'd';
pub(crate) const COPY_DONE: u8 = b'c';
pub(crate) const COPY_FAIL: u8 = b'f';
pub(crate) const DESCRIBE: u8 = b'D';
pub(crate) const FLUSH: u8 = b'H';
pub(crate) const EXECUTE: u8 = b'E';
pub(crate) const FUNCTION_CALL: u8 = b'F';
pub(crate) const PARSE: u8 = b'P';
/// PasswordMessage, SASLInitialResponse, SASLResponse, GSSResponse.
pub(crate) const PASSWORD: u8 = b'p';
pub(crate) const QUERY: u8 = b'Q';
pub(crate) const SYNC: u8 = b'S';
pub(crate) const TERMINATE: u8 = b'X';

/// Whether a server that has logged a client in knows what that is; any other type
/// makes it end the session.
pub(crate) const fn is_known(tag: u8) -> bool {
    matches!(
        tag,
        BIND | CLOSE
            | COPY_DATA
            | COPY_DONE
            | COPY_FAIL
            | DESCRIBE
            | EXECUTE
            | FLUSH
            | FUNCTION_CALL
            | PARSE
            | QUERY
            | SYNC
            | TERMINATE
    )
}

/// The whole Terminate message.
pub(crate) const TERMINATE_MESSAGE: [u8; 5] = [TERMINATE, 0, 0, 0, 4];

/// A Parse that fails, so that the batch it is in comes to nothing.
pub(crate) const SPOILER: [u8; 13] = *b"P\0\0\0\x0c\0left\0\0\0";

/// The whole Sync message.
pub(crate) const SYNC_MESSAGE: [u8; 5] = [SYNC, 0, 0, 0, 4];

/// Appends a Bind of a statement that nobody has: the server refuses it by `name`.
pub(crate) fn failing_bind(name: &str, out: &mut Vec<u8>) {
    // No portal, no formats, no parameters.
    let body = 1 + name.len() + 1 + 6;
    out.push(BIND);
    out.extend_from_slice(&u32::try_from(4 + body).unwrap_or(u32::MAX).to_be_bytes());
    out.push(0);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(&[0; 7]);
}

/// A simple Query with this text.
pub(crate) fn query(text: &[u8]) -> BytesMut {
    let mut out = BytesMut::with_capacity(6 + text.len());
    out.put_u8(QUERY);
    out.put_u32(u32::try_from(5 + text.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(text);
    out.put_u8(0);
    out
}

/// A message of type `p` with this body.
pub(crate) fn password_message(body: &[u8]) -> BytesMut {
    let mut out = BytesMut::with_capacity(5 + body.len());
    out.put_u8(PASSWORD);
    out.put_u32(u32::try_from(4 + body.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(body);
    out
}

/// A SASLInitialResponse.
pub(crate) fn sasl_initial_response(mechanism: &str, data: &[u8]) -> BytesMut {
    let mut body = BytesMut::with_capacity(mechanism.len() + 5 + data.len());
    body.extend_from_slice(mechanism.as_bytes());
    body.put_u8(0);
    body.put_u32(u32::try_from(data.len()).unwrap_or(u32::MAX));
    body.extend_from_slice(data);
    password_message(&body)
}

/// Mechanism and initial data of a SASLInitialResponse; `None` when malformed.
pub(crate) fn parse_sasl_initial_response(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let (mechanism, rest) = split_cstr(body)?;
    let (len, data) = rest.split_first_chunk::<4>()?;
    match i32::from_be_bytes(*len) {
        -1 => Some((mechanism, &[])),
        len => (usize::try_from(len) == Ok(data.len())).then_some((mechanism, data)),
    }
}

/// The zero-terminated string at the beginning of `bytes`, and what follows it.
pub(crate) fn split_cstr(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    // Most names are empty, and texts are long: those are read a word at a time.
    let end = match bytes.first()? {
        0 => 0,
        _ => CStr::from_bytes_until_nul(bytes).ok()?.count_bytes(),
    };
    Some((bytes.get(..end)?, bytes.get(end + 1..)?))
}
