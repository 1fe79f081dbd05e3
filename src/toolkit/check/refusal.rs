//! Every error of a server that users meet, with its cause, its cure, and where to read on.
//!
//! The cures are those that a client of the proxy is told (`upstream::explain`).

use crate::name::Name;
use crate::upstream::{Asked, correct, explain};
use crate::wire::backend::error_field;

use super::account::Account;
use super::report::Finding;
use super::topic::Topic;
use super::words::one_line;

/// The server's own words, and what to do.
pub(super) fn finding(body: &[u8], account: &Account, dbname: Option<&str>, name: &str) -> Finding {
    let code = error_field(body, b'C').unwrap_or_default();
    let text = one_line(&error_field(body, b'M').unwrap_or_default());
    let evidence = format!(
        "as {:?} to {:?}: {text} ({code})",
        account.user, account.database
    );
    let topic = topic(&code, &text);
    let cure = cure(body, account, (dbname, name), topic);
    let finding = Finding::fail(evidence, cure, topic).figure("sqlstate", code);
    let extra = [(b'D', "detail"), (b'H', "hint")];
    let extra = extra.iter().filter_map(|(field, word)| {
        let text = error_field(body, *field)?;
        Some(format!("the server's {word}: {}", one_line(&text)))
    });
    finding.more(extra)
}

fn topic(code: &str, text: &str) -> Topic {
    let has = |part: &str| text.contains(part);
    match code {
        "28P01" => Topic::Password,
        "28000" if has("no pg_hba.conf entry") || has("pg_hba.conf rejects") => Topic::Hba,
        "28000" if has("certificate") => Topic::ClientCertificate,
        "28000" => Topic::Password,
        "3D000" => Topic::Database,
        "53300" => Topic::Slots,
        "57P03" => Topic::NotReady,
        "42501" if has("schema public") => Topic::SchemaPublic,
        "08P01" if text_is_about_login(text) => Topic::Password,
        "08P01" | "08006" => Topic::Pooler,
        _ => Topic::Password,
    }
}

fn cure(
    body: &[u8],
    account: &Account,
    (dbname, name): (Option<&str>, &str),
    topic: Topic,
) -> String {
    if account.is_database_guessed && topic == Topic::Database {
        return format!(
            "write upstreams.{name}.dbname = \"defaultdb\" (a database of the server): none is configured, so the one of the role's name was asked for"
        );
    }
    let is_wrong_password = error_field(body, b'C').as_deref() == Some("28P01");
    match correct(body, &account.user, &account.password_key) {
        Some(cure) if is_wrong_password => {
            return format!("{cure} Or the role is not there: Postgres does not tell which.");
        }
        Some(cure) => return cure,
        None => {}
    }
    let said = error_field(body, b'M').unwrap_or_default();
    if topic == Topic::Hba && (said.contains("no encryption") || said.contains("SSL off")) {
        return format!(
            "write upstreams.{name}.sslmode = \"verify-full\" and sslrootcert: the server lets nobody in without TLS"
        );
    }
    let (user, database) = (account.user.as_str(), account.database.as_str());
    let [user, database] = [user, database].map(Name::from);
    let asked = Asked {
        user: &user,
        database: &database,
        sent: &database,
        dbname,
    };
    if let Some(cure) = explain(body, asked) {
        return cure.into_owned();
    }
    match topic {
        Topic::NotReady => "wait for it: pgsluice check --wait 5m".to_owned(),
        Topic::Database => format!(
            "correct upstreams.{name}.dbname, or create the database on the server: createdb {}",
            account.database
        ),
        // PgBouncer's words for a wrong password.
        Topic::Password if text_is_about_login(&said) => format!(
            "correct {}, or the role: the pooler knows no such pair",
            account.password_key
        ),
        Topic::Pooler => {
            "the pooler in between refuses this: use the server's direct port (25060 in place of 25061)"
                .to_owned()
        }
        _ => "look into the server's log: it says more than it tells a client".to_owned(),
    }
}

fn text_is_about_login(text: &str) -> bool {
    text.contains("authentication failed") || text.contains("auth failed")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[(&str, &str, Topic, &str)] = &[
        (
            "28P01",
            "password authentication failed for user \"app\"",
            Topic::Password,
            "[upstreams.cluster]",
        ),
        (
            "28000",
            "no pg_hba.conf entry for host \"10.0.0.9\"",
            Topic::Hba,
            "trusted sources",
        ),
        (
            "28000",
            "no pg_hba.conf entry for host \"10.0.0.9\", no encryption",
            Topic::Hba,
            "verify-full",
        ),
        (
            "28000",
            "role \"app\" is not permitted to log in",
            Topic::Password,
            "Let that role log in",
        ),
        (
            "28000",
            "connection requires a valid client certificate",
            Topic::ClientCertificate,
            "sslcert",
        ),
        (
            "53300",
            "remaining connection slots are reserved for roles",
            Topic::Slots,
            "max_upstream_conn",
        ),
        (
            "53300",
            "too many connections for role \"app\"",
            Topic::Slots,
            "ALTER ROLE",
        ),
        (
            "53300",
            "too many connections for database \"app\"",
            Topic::Slots,
            "ALTER DATABASE",
        ),
        (
            "57P03",
            "the database system is starting up",
            Topic::NotReady,
            "--wait",
        ),
        (
            "08P01",
            "no such database: app",
            Topic::Pooler,
            "name of one of its pools",
        ),
        (
            "08P01",
            "SASL authentication failed",
            Topic::Password,
            "the pooler knows no such pair",
        ),
        (
            "08P01",
            "unsupported startup parameter: x",
            Topic::Pooler,
            "25060",
        ),
        (
            "3D000",
            "database \"app\" does not exist",
            Topic::Database,
            "dbname",
        ),
    ];

    fn told(code: &str, text: &str, guessed: bool) -> Finding {
        let body = format!("SFATAL\0C{code}\0M{text}\0\0");
        let account = Account {
            user: "app".to_owned(),
            password: None,
            password_key: "`password` of [upstreams.cluster]".to_owned(),
            database: "app".to_owned(),
            is_database_guessed: guessed,
        };
        finding(body.as_bytes(), &account, None, "cluster")
    }

    #[test]
    fn each_known_error_has_a_cure_of_its_own_and_a_place_to_read_on() {
        for (code, text, topic, cure) in KNOWN {
            let finding = told(code, text, false);
            assert_eq!(finding.topic, Some(*topic), "{text}");
            let told = finding.cure.unwrap();
            assert!(told.contains(cure), "{text}: {told}");
            assert!(finding.evidence.contains(text) && finding.evidence.contains(code));
        }
    }

    #[test]
    fn a_database_that_nobody_configured_is_told_as_such() {
        let finding = told("3D000", "database \"app\" does not exist", true);
        assert!(finding.cure.unwrap().contains("upstreams.cluster.dbname"));
    }
}
