//! Messages a server sends: their tags, the few bodies that are read, and the
//! messages that the proxy writes itself.

use bytes::{BufMut, Bytes, BytesMut};

use super::frontend::split_cstr;
use super::sqlstate::SqlState;
use super::startup::{CancelKey, Version};

pub(crate) const AUTHENTICATION: u8 = b'R';
pub(crate) const BACKEND_KEY_DATA: u8 = b'K';
pub(crate) const BIND_COMPLETE: u8 = b'2';
pub(crate) const CLOSE_COMPLETE: u8 = b'3';
pub(crate) const COMMAND_COMPLETE: u8 = b'C';
pub(crate) const COPY_BOTH_RESPONSE: u8 = b'W';
pub(crate) const COPY_DATA: u8 = b'd';
pub(crate) const COPY_DONE: u8 = b'c';
pub(crate) const COPY_IN_RESPONSE: u8 = b'G';
pub(crate) const COPY_OUT_RESPONSE: u8 = b'H';
pub(crate) const DATA_ROW: u8 = b'D';
pub(crate) const EMPTY_QUERY_RESPONSE: u8 = b'I';
pub(crate) const ERROR_RESPONSE: u8 = b'E';
pub(crate) const FUNCTION_CALL_RESPONSE: u8 = b'V';
pub(crate) const NEGOTIATE_PROTOCOL_VERSION: u8 = b'v';
pub(crate) const NO_DATA: u8 = b'n';
pub(crate) const PARAMETER_DESCRIPTION: u8 = b't';
pub(crate) const NOTICE_RESPONSE: u8 = b'N';
pub(crate) const NOTIFICATION_RESPONSE: u8 = b'A';
pub(crate) const PARAMETER_STATUS: u8 = b'S';
pub(crate) const PARSE_COMPLETE: u8 = b'1';
pub(crate) const PORTAL_SUSPENDED: u8 = b's';
pub(crate) const READY_FOR_QUERY: u8 = b'Z';
pub(crate) const ROW_DESCRIPTION: u8 = b'T';

/// How many settings a server may report, and their names and values in bytes. Postgres
/// reports some fifteen. What says more is broken, or means harm.
pub(crate) const MAX_REPORTED: (usize, usize) = (256, 256 << 10);
/// What is kept of one field of an error, which is for logs.
const MAX_FIELD: usize = 2 << 10;

/// The authentication request in the first four bytes of an `R` message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuthRequest<'a> {
    Ok,
    CleartextPassword,
    Md5Password([u8; 4]),
    /// Offered mechanisms, each zero-terminated, with the list's own terminator.
    Sasl(&'a [u8]),
    SaslContinue(&'a [u8]),
    SaslFinal(&'a [u8]),
    /// GSSAPI, SSPI and their continuation.
    Gss,
    Other(u32),
}

impl<'a> AuthRequest<'a> {
    /// Decodes the body of an `R` message; `None` when malformed.
    pub(crate) fn decode(body: &'a [u8]) -> Option<Self> {
        let (code, data) = body.split_first_chunk::<4>()?;
        Some(match u32::from_be_bytes(*code) {
            0 => Self::Ok,
            3 => Self::CleartextPassword,
            5 => Self::Md5Password(*data.first_chunk::<4>()?),
            7..=9 => Self::Gss,
            10 => Self::Sasl(data),
            11 => Self::SaslContinue(data),
            12 => Self::SaslFinal(data),
            other => Self::Other(other),
        })
    }
}

/// The names in a list of zero-terminated strings.
pub(crate) fn mechanisms(mut list: &[u8]) -> Vec<&[u8]> {
    let mut names = Vec::new();
    while let Some((name, rest)) = split_cstr(list) {
        if name.is_empty() {
            break;
        }
        names.push(name);
        list = rest;
    }
    names
}

/// An `R` message asking for `code`, with its data.
pub(crate) fn authentication(code: u32, data: &[u8]) -> Bytes {
    message(AUTHENTICATION, |body| {
        body.put_u32(code);
        body.extend_from_slice(data);
    })
}

/// AuthenticationSASL with these mechanisms in this order.
pub(crate) fn authentication_sasl(names: &[&[u8]]) -> Bytes {
    let mut list = Vec::new();
    for name in names {
        list.extend_from_slice(name);
        list.push(0);
    }
    list.push(0);
    authentication(10, &list)
}

/// NegotiateProtocolVersion: the whole version number, as Postgres sends it, and
/// the protocol options that are not understood.
pub(crate) fn negotiate_protocol_version(version: Version, unknown: &[&[u8]]) -> Bytes {
    message(NEGOTIATE_PROTOCOL_VERSION, |body| {
        body.put_u32(version.code());
        body.put_u32(u32::try_from(unknown.len()).unwrap_or(u32::MAX));
        for name in unknown {
            body.extend_from_slice(name);
            body.put_u8(0);
        }
    })
}

/// A ParameterStatus: one of many, which are not to be allocated each.
pub(crate) fn put_parameter_status(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let len = 4 + name.len() + 1 + value.len() + 1;
    out.reserve(1 + len);
    put_header(out, PARAMETER_STATUS, len);
    for text in [name, value] {
        out.extend_from_slice(text);
        out.push(0);
    }
}

/// The BackendKeyData that gives `key` to a client.
pub(crate) fn put_key_data(out: &mut Vec<u8>, key: &CancelKey) {
    put_header(out, BACKEND_KEY_DATA, 8 + key.secret().len());
    out.extend_from_slice(&key.pid().to_be_bytes());
    out.extend_from_slice(key.secret());
}

/// `len` counts itself, as it travels.
fn put_header(out: &mut Vec<u8>, tag: u8, len: usize) {
    out.push(tag);
    out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
}

/// AuthenticationOk.
pub(crate) const AUTHENTICATION_OK: [u8; 9] = [AUTHENTICATION, 0, 0, 0, 8, 0, 0, 0, 0];

/// ReadyForQuery outside of a transaction.
pub(crate) const READY_IDLE: [u8; 6] = [READY_FOR_QUERY, 0, 0, 0, 5, b'I'];

/// An ErrorResponse with a hint added, unless it has one.
pub(crate) fn with_hint(body: &[u8], hint: &str) -> Bytes {
    message(ERROR_RESPONSE, |out| {
        let fields = body.strip_suffix(b"\0").unwrap_or(body);
        out.extend_from_slice(fields);
        if error_field(body, b'H').is_none() {
            out.put_u8(b'H');
            out.extend_from_slice(hint.as_bytes());
            out.put_u8(0);
        }
        out.put_u8(0);
    })
}

/// What an ErrorResponse of the proxy's own says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ErrorFields<'a> {
    /// `ERROR`: the statement is over; `FATAL`: the session is.
    pub(crate) severity: &'static str,
    pub(crate) sqlstate: SqlState,
    pub(crate) message: &'a str,
    pub(crate) detail: Option<&'a str>,
    pub(crate) hint: Option<&'a str>,
}

/// An ErrorResponse.
pub(crate) fn error_response(fields: &ErrorFields<'_>) -> Bytes {
    message(ERROR_RESPONSE, |body| {
        let parts = [
            (b'S', Some(fields.severity)),
            (b'V', Some(fields.severity)),
            (b'C', Some(fields.sqlstate.code())),
            (b'M', Some(fields.message)),
            (b'D', fields.detail),
            (b'H', fields.hint),
        ];
        for (field, text) in parts {
            if let Some(text) = text {
                body.put_u8(field);
                // A zero byte would end the field early.
                body.extend(text.bytes().filter(|&byte| byte != 0));
                body.put_u8(0);
            }
        }
        body.put_u8(0);
    })
}

/// One field of an ErrorResponse or NoticeResponse, as text fit for logs.
pub(crate) fn error_field(mut body: &[u8], field: u8) -> Option<String> {
    while let Some((&code, rest)) = body.split_first() {
        if code == 0 {
            return None;
        }
        let (text, rest) = split_cstr(rest)?;
        if code == field {
            let text = text.get(..MAX_FIELD).unwrap_or(text);
            return Some(String::from_utf8_lossy(text).into_owned());
        }
        body = rest;
    }
    None
}

/// Whether an ErrorResponse announces the end of the session.
pub(crate) fn is_fatal(body: &[u8]) -> bool {
    // V is never translated; servers older than 9.6 have only S.
    error_field(body, b'V')
        .or_else(|| error_field(body, b'S'))
        .is_some_and(|severity| severity == "FATAL" || severity == "PANIC")
}

/// Whether a server says such things after the login.
pub(crate) const fn is_known(tag: u8) -> bool {
    matches!(
        tag,
        b'1' | b'2'
            | b'3'
            | b'A'
            | b'C'
            | b'D'
            | b'E'
            | b'G'
            | b'H'
            | b'I'
            | b'N'
            | b'S'
            | b'T'
            | b'V'
            | b'W'
            | b'Z'
            | b'c'
            | b'd'
            | b'n'
            | b's'
            | b't'
    )
}

/// One message: `tag`, the length, what `write` puts into the body.
fn message(tag: u8, write: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::with_capacity(64);
    out.put_u8(tag);
    out.put_u32(0);
    write(&mut out);
    let len = u32::try_from(out.len() - 1).unwrap_or(u32::MAX);
    if let Some(field) = out.get_mut(1..5) {
        field.copy_from_slice(&len.to_be_bytes());
    }
    out.freeze()
}

#[cfg(test)]
mod tests {
    use pgwire::messages::startup::Authentication;
    use pgwire::messages::{DecodeContext, PgWireBackendMessage};

    use super::*;

    #[test]
    fn an_error_response_can_be_read_back() {
        let bytes = error_response(&ErrorFields {
            severity: "FATAL",
            sqlstate: SqlState::TOO_MANY_CONNECTIONS,
            message: "pgsluice: full\0 house",
            detail: None,
            hint: Some("wait"),
        });
        let body = &bytes[5..];
        assert_eq!(error_field(body, b'C').as_deref(), Some("53300"));
        assert_eq!(
            error_field(body, b'M').as_deref(),
            Some("pgsluice: full house")
        );
        assert_eq!(error_field(body, b'H').as_deref(), Some("wait"));
        assert_eq!(error_field(body, b'D'), None);
        assert!(is_fatal(body));
    }

    #[test]
    fn a_parameter_status_is_appended_whole() {
        let mut out = b"before".to_vec();
        put_parameter_status(&mut out, b"TimeZone", b"UTC");
        assert_eq!(out, b"beforeS\0\0\0\x11TimeZone\0UTC\0");
    }

    #[test]
    fn torn_error_bodies_are_not_fatal_and_do_not_panic() {
        for body in [
            &b""[..],
            b"V",
            b"VFATAL",
            b"\0VFATAL\0",
            b"SERROR\0VERROR\0\0",
        ] {
            assert!(!is_fatal(body), "{body:?}");
        }
    }

    /// What another implementation makes of a message of ours.
    fn second_opinion(bytes: &Bytes) -> PgWireBackendMessage {
        let mut bytes = BytesMut::from(&bytes[..]);
        let message = PgWireBackendMessage::decode(&mut bytes, &DecodeContext::default());
        assert!(bytes.is_empty(), "bytes are left over");
        message.unwrap().unwrap()
    }

    #[test]
    fn another_implementation_reads_what_is_written_here() {
        let error = error_response(&ErrorFields {
            severity: "FATAL",
            sqlstate: SqlState::CANNOT_CONNECT_NOW,
            message: "pgsluice: away",
            detail: Some("why"),
            hint: Some("wait"),
        });
        let PgWireBackendMessage::ErrorResponse(error) = second_opinion(&error) else {
            panic!("not an error")
        };
        let fields: Vec<_> = error
            .fields
            .iter()
            .map(|(code, text)| (*code, &text[..]))
            .collect();
        let expected = [
            (b'S', "FATAL"),
            (b'V', "FATAL"),
            (b'C', "57P03"),
            (b'M', "pgsluice: away"),
            (b'D', "why"),
            (b'H', "wait"),
        ];
        assert_eq!(fields, expected);

        let offer = authentication_sasl(&[b"SCRAM-SHA-256", b"OAUTHBEARER"]);
        let PgWireBackendMessage::Authentication(Authentication::SASL(names)) =
            second_opinion(&offer)
        else {
            panic!("not an offer")
        };
        assert_eq!(names, ["SCRAM-SHA-256", "OAUTHBEARER"]);

        let version = negotiate_protocol_version(Version::NEWEST, &[b"_pq_.x"]);
        let PgWireBackendMessage::NegotiateProtocolVersion(version) = second_opinion(&version)
        else {
            panic!("not a version")
        };
        assert_eq!(version.newest_minor_protocol, 0x0003_0002);
        assert_eq!(version.unsupported_options, ["_pq_.x"]);
    }

    #[test]
    fn mechanisms_stop_at_the_end_of_the_list() {
        assert_eq!(mechanisms(b"A\0B\0\0C\0"), [b"A", b"B"]);
        assert_eq!(mechanisms(b"A"), Vec::<&[u8]>::new());
    }
}
