//! The messages that a client sends, as bytes; a test may put them together, or
//! cut them, as no proper client would.

/// Protocol versions as they stand in a startup packet.
pub(crate) const PROTOCOL_3_0: u32 = 3 << 16;
pub(crate) const PROTOCOL_3_2: u32 = (3 << 16) | 2;

const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;

/// A tag, the length, the body.
pub(crate) fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &untagged(body)].concat()
}

/// The length and the body, as before the login.
pub(crate) fn untagged(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&length.to_be_bytes(), body].concat()
}

pub(crate) fn startup(version: u32, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    for (name, value) in parameters {
        body.extend([text(name), text(value)].concat());
    }
    body.push(0);
    untagged(&body)
}

pub(crate) fn ssl_request() -> Vec<u8> {
    untagged(&SSL_REQUEST.to_be_bytes())
}

pub(crate) fn gssenc_request() -> Vec<u8> {
    untagged(&GSSENC_REQUEST.to_be_bytes())
}

/// `secret` has four bytes, and up to 256 since protocol 3.2.
pub(crate) fn cancel_request(process_id: u32, secret: &[u8]) -> Vec<u8> {
    let (code, process_id) = (CANCEL_REQUEST.to_be_bytes(), process_id.to_be_bytes());
    untagged(&[&code, &process_id, secret].concat())
}

/// An answer to the server's request for a password, hashed or not.
pub(crate) fn password(answer: &str) -> Vec<u8> {
    message(b'p', &text(answer))
}

pub(crate) fn sasl_initial_response(mechanism: &str, response: &[u8]) -> Vec<u8> {
    let length = u32::try_from(response.len()).unwrap().to_be_bytes();
    message(b'p', &[&text(mechanism), &length[..], response].concat())
}

pub(crate) fn sasl_response(response: &[u8]) -> Vec<u8> {
    message(b'p', response)
}

pub(crate) fn query(sql: &str) -> Vec<u8> {
    message(b'Q', &text(sql))
}

/// The types of parameters are left to the server.
pub(crate) fn parse(statement: &str, sql: &str) -> Vec<u8> {
    message(b'P', &[text(statement), text(sql), vec![0, 0]].concat())
}

/// All parameters and results as text.
pub(crate) fn bind(portal: &str, statement: &str, parameters: &[Option<&str>]) -> Vec<u8> {
    let mut body = [text(portal), text(statement), vec![0, 0]].concat();
    body.extend(u16::try_from(parameters.len()).unwrap().to_be_bytes());
    for parameter in parameters {
        match parameter {
            None => body.extend((-1_i32).to_be_bytes()),
            Some(value) => {
                body.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
                body.extend(value.as_bytes());
            }
        }
    }
    body.extend([0, 0]);
    message(b'B', &body)
}

pub(crate) fn describe_statement(name: &str) -> Vec<u8> {
    message(b'D', &[vec![b'S'], text(name)].concat())
}

pub(crate) fn describe_portal(name: &str) -> Vec<u8> {
    message(b'D', &[vec![b'P'], text(name)].concat())
}

/// `rows` of 0 is all of them.
pub(crate) fn execute(portal: &str, rows: u32) -> Vec<u8> {
    message(b'E', &[&text(portal), &rows.to_be_bytes()[..]].concat())
}

pub(crate) fn close_statement(name: &str) -> Vec<u8> {
    message(b'C', &[vec![b'S'], text(name)].concat())
}

pub(crate) fn close_portal(name: &str) -> Vec<u8> {
    message(b'C', &[vec![b'P'], text(name)].concat())
}

pub(crate) fn flush() -> Vec<u8> {
    message(b'H', &[])
}

pub(crate) fn sync() -> Vec<u8> {
    message(b'S', &[])
}

/// The five messages of one statement without a name, Sync included.
pub(crate) fn extended_query(sql: &str, parameters: &[Option<&str>]) -> Vec<u8> {
    [
        parse("", sql),
        bind("", "", parameters),
        describe_portal(""),
        execute("", 0),
        sync(),
    ]
    .concat()
}

pub(crate) fn copy_data(data: &[u8]) -> Vec<u8> {
    message(b'd', data)
}

pub(crate) fn copy_done() -> Vec<u8> {
    message(b'c', &[])
}

pub(crate) fn copy_fail(reason: &str) -> Vec<u8> {
    message(b'f', &text(reason))
}

/// A call by the function's OID, arguments and result in binary.
pub(crate) fn function_call(oid: u32, arguments: &[&[u8]]) -> Vec<u8> {
    let mut body = oid.to_be_bytes().to_vec();
    body.extend([0, 1, 0, 1]);
    body.extend(u16::try_from(arguments.len()).unwrap().to_be_bytes());
    for argument in arguments {
        body.extend(u32::try_from(argument.len()).unwrap().to_be_bytes());
        body.extend(*argument);
    }
    body.extend([0, 1]);
    message(b'F', &body)
}

pub(crate) fn terminate() -> Vec<u8> {
    message(b'X', &[])
}

fn text(value: &str) -> Vec<u8> {
    [value.as_bytes(), &[0]].concat()
}
