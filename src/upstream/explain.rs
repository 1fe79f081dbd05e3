//! Hints for errors of the upstream that a user of the proxy can do something about.

use std::borrow::Cow;

use crate::fault::Fault;
use crate::name::Name;
use crate::wire::backend::error_field;
use crate::wire::sqlstate::SqlState;

/// What a client is told when the server refuses the credentials that the proxy holds:
/// the server's own words would blame the client's. `None` when it refuses something else.
/// `password_key` is where the password is written.
pub(crate) fn blame(body: &[u8], role: &str, password_key: &str) -> Option<Fault> {
    let text = error_field(body, b'M').unwrap_or_default();
    let cure = correct(body, role, password_key)?;
    let hint = format!("The client is not to blame: {cure}");
    let message = format!("the upstream refused the credentials that the proxy holds: {text}");
    Some(Fault::new(SqlState::INVALID_AUTHORIZATION, "upstream_login", message).hint(hint))
}

/// How credentials that the proxy holds, and the server refuses, are to be corrected.
pub(crate) fn correct(body: &[u8], role: &str, password_key: &str) -> Option<String> {
    let code = error_field(body, b'C').unwrap_or_default();
    let text = error_field(body, b'M').unwrap_or_default();
    match code.as_str() {
        "28P01" => Some(format!(
            "the proxy logs in as {role:?}, and the password that it holds for that role is wrong. Correct {password_key}."
        )),
        "28000" if text.contains("does not exist") || text.contains("not permitted to log in") => {
            Some(format!(
                "the proxy logs in as {role:?}. Let that role log in on the server, or correct `upstream_user` in [[users]], or `user` of the upstream."
            ))
        }
        _ => None,
    }
}

/// Which login was refused.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) user: &'a Name,
    pub(crate) database: &'a Name,
    /// The database that the server was asked for.
    pub(crate) sent: &'a Name,
    /// `upstreams.NAME.dbname`.
    pub(crate) dbname: Option<&'a str>,
}

/// What to do about an upstream's own FATAL at login; `None` when its text says it all.
pub(crate) fn explain(body: &[u8], asked: Asked<'_>) -> Option<Cow<'static, str>> {
    if error_field(body, b'C').as_deref() == Some("3D000") {
        return no_database(asked).map(Cow::Owned);
    }
    by_text(body).map(Cow::Borrowed)
}

/// libpq and many drivers ask for the database of the user's name where their
/// user named none; the proxy cannot tell, and asks for nothing else. Whoever
/// asked for a name of their own is told by the server what they need to know.
fn no_database(asked: Asked<'_>) -> Option<String> {
    let Asked { database, sent, .. } = asked;
    if sent != database {
        return Some(format!(
            "{database:?} stands for {sent:?} here ([databases.{database:?}], a pool's database, or \
             the upstream's dbname): correct that, or create the database on the server."
        ));
    }
    if database != asked.user {
        return None;
    }
    let (cure, dbname) = match asked.dbname {
        Some(dbname) => (
            format!("The upstream's dbname is {dbname:?}: name it in the client"),
            dbname,
        ),
        None => (
            "Name a database of the server in the client".to_owned(),
            "...",
        ),
    };
    Some(format!(
        "A client that names no database asks for the one of its user's name. {cure} (dbname=, \
         PGDATABASE), or let the name stand for it: [databases.{database:?}] dbname = {dbname:?} in \
         the proxy's configuration."
    ))
}

fn by_text(body: &[u8]) -> Option<&'static str> {
    let code = error_field(body, b'C').unwrap_or_default();
    let text = error_field(body, b'M').unwrap_or_default();
    let starts = |prefix: &str| text.starts_with(prefix);
    match code.as_str() {
        "53300" if starts("too many connections for role") => Some(
            "The role's own CONNECTION LIMIT on the server: raise it with ALTER ROLE, or keep below it with `max_user_connections`.",
        ),
        "53300" if starts("too many connections for database") => Some(
            "The database's own CONNECTION LIMIT on the server: raise it with ALTER DATABASE, or keep below it with `max_db_connections`.",
        ),
        "53300" => Some(
            "The server itself is out of connections: lower `max_upstream_conn` so that others' connections fit too.",
        ),
        // PgBouncer's blanket code for whatever it does not carry.
        "08P01" if starts("unsupported startup parameter") => Some(
            "The upstream is a PgBouncer, which refuses this startup parameter: use the server's direct port (25060 in place of 25061), or take the parameter out of the client's settings.",
        ),
        "08P01" if starts("bad packet header") => Some(
            "The upstream is a PgBouncer that speaks protocol 3.0 alone: set max_protocol_version=3.0 in the client, or use the server's direct port.",
        ),
        "08P01" if starts("no such database") => Some(
            "The upstream is a PgBouncer: the database must be the name of one of its pools, or use the direct port.",
        ),
        "28000" if text.contains("no pg_hba.conf entry") => Some(
            "The server does not let this user, database and address in: check its trusted sources, and that `sslmode` is not disable where it demands TLS.",
        ),
        "28000"
            if text.contains("client certificate")
                || starts("certificate authentication failed") =>
        {
            Some(
                "The server wants a certificate, and what it sees is the proxy's: give the upstream `sslcert` and `sslkey`, issued for this user by a CA that the server trusts.",
            )
        }
        "28000" if text.contains("channel binding") => Some(
            "A TLS session ends at the proxy, so the client cannot bind to the server: set channel_binding=disable in the client, or let the proxy hold the credentials (`[auth] mode = \"held\"`).",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_no_client_named_is_told_with_what_is_configured() {
        let refusal = b"SFATAL\0C3D000\0Mdatabase \"app\" does not exist\0\0";
        let [app, other, gone] = ["app", "other", "gone"].map(Name::from);
        let mut asked = Asked {
            user: &app,
            database: &app,
            sent: &app,
            dbname: Some("defaultdb"),
        };
        let hint = |asked| explain(refusal, asked).map(Cow::into_owned);
        let configured = hint(asked).unwrap();
        assert!(configured.starts_with("A client that names no database"));
        assert!(configured.contains("[databases.\"app\"] dbname = \"defaultdb\""));
        asked.dbname = None;
        assert!(
            hint(asked)
                .unwrap()
                .contains("Name a database of the server")
        );
        asked.user = &other;
        assert_eq!(hint(asked), None, "the client named it");
        asked.sent = &gone;
        assert!(
            hint(asked)
                .unwrap()
                .starts_with("\"app\" stands for \"gone\" here")
        );
    }
}
