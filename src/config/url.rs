//! A connection URL as applications are given it:
//! `postgres://user:password@host:port/dbname?sslmode=require`.
//!
//! No message repeats any part of the URL: the password may be anywhere in it.

use super::problem::Invalid;

/// The parts that were present.
#[derive(Default, Clone, PartialEq, Eq)]
pub(super) struct ConnectionUrl {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) host: Option<String>,
    pub(super) port: Option<String>,
    pub(super) dbname: Option<String>,
    /// In order of appearance.
    pub(super) parameters: Vec<(String, String)>,
}

const EXAMPLE: &str =
    "write postgres://USER:PASSWORD@HOST:PORT/DBNAME?sslrootcert=ca-certificate.crt";

/// Splits a URL into its parts.
pub(super) fn parse(url: &str) -> Result<ConnectionUrl, Invalid> {
    let rest =
        without_scheme(url).ok_or_else(|| Invalid::new("is not a postgres:// URL", EXAMPLE))?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, dbname) = rest.split_once('/').unwrap_or((rest, ""));
    // Otherwise part of a password would be taken, and shown, as another part.
    if dbname.contains('@') || query.contains('@') {
        return Err(Invalid::new(
            "has an @ behind a / or ?",
            "in the password write / as %2F, ? as %3F and @ as %40",
        ));
    }
    // The last `@`: a password with an unescaped one is more likely than a host.
    let (userinfo, hostport) = match authority.rsplit_once('@') {
        Some((userinfo, hostport)) => (Some(userinfo), hostport),
        None => (None, authority),
    };
    let (user, password) = match userinfo.map(|info| info.split_once(':').unwrap_or((info, ""))) {
        Some((user, password)) => (decoded(user)?, decoded(password)?),
        None => (None, None),
    };
    let (host, port) = host_and_port(hostport)?;
    if !port.is_empty() && port.parse::<u16>().is_err() {
        return Err(Invalid::new("has a port that is no number", EXAMPLE));
    }
    let mut parameters = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        parameters.push((
            decoded(name)?.unwrap_or_default(),
            decoded(value)?.unwrap_or_default(),
        ));
    }
    Ok(ConnectionUrl {
        user,
        password,
        host: decoded(host)?,
        port: decoded(port)?,
        dbname: decoded(dbname)?,
        parameters,
    })
}

/// Also takes the scheme with a driver, which SQLAlchemy users have: `postgresql+psycopg://`.
fn without_scheme(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let base = scheme.split_once('+').map_or(scheme, |(base, _)| base);
    matches!(base, "postgres" | "postgresql").then_some(rest)
}

fn host_and_port(text: &str) -> Result<(&str, &str), Invalid> {
    if text.contains(',') {
        return Err(Invalid::new(
            "names several hosts; an upstream has one",
            EXAMPLE,
        ));
    }
    if let Some(bracketed) = text.strip_prefix('[') {
        let (host, port) = bracketed
            .split_once(']')
            .ok_or_else(|| Invalid::new("has a [ without its ]", EXAMPLE))?;
        return Ok((host, port.strip_prefix(':').unwrap_or_default()));
    }
    Ok(text.split_once(':').unwrap_or((text, "")))
}

/// Undoes percent encoding; an empty part is an absent one.
fn decoded(text: &str) -> Result<Option<String>, Invalid> {
    let bad = || {
        Invalid::new(
            "has a % that is not followed by two hexadecimal digits of UTF-8",
            "write a literal % as %25",
        )
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let digits = tail
                .get(..2)
                .and_then(|digits| std::str::from_utf8(digits).ok());
            let byte = digits
                .filter(|digits| !digits.starts_with('+'))
                .and_then(|digits| u8::from_str_radix(digits, 16).ok());
            bytes.push(byte.ok_or_else(bad)?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    let text = String::from_utf8(bytes).map_err(|_| bad())?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}
