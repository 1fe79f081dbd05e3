//! Text as an expression that the server reads back to the same bytes.

/// An expression for this text, in ASCII, that is read alike whatever
/// standard_conforming_strings says. Bytes beyond ASCII are in the encoding that
/// the client had when the server named them, which the replay has set by then.
pub(super) fn put_literal(value: &[u8], out: &mut Vec<u8>) {
    if value.is_ascii() {
        out.extend_from_slice(b"E'");
        for &byte in value {
            if matches!(byte, b'\'' | b'\\') {
                out.push(byte);
            }
            out.push(byte);
        }
        out.push(b'\'');
        return;
    }
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"pg_catalog.convert_from(pg_catalog.decode('");
    let digit = |half: u8| DIGITS.get(usize::from(half)).copied().unwrap_or(b'0');
    for &byte in value {
        out.extend([digit(byte >> 4), digit(byte & 15)]);
    }
    out.extend_from_slice(b"','hex'),pg_catalog.current_setting('client_encoding'))");
}
