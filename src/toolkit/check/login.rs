//! What the server asks for, and whether what the configuration holds satisfies it.

use std::time::Duration;

use tokio::time::Instant;

use super::account::{Account, likely_role};
use super::refusal;
use super::report::Finding;
use super::secure::topic_of;
use super::session::Session;
use super::topic::Topic;
use super::words::{millis, one_line, span};
use crate::config::values::{AuthMode, ChannelBinding, ServerMethod};
use crate::fault::ClientFacing as _;
use crate::net::framed::FrameError;
use crate::tls::explain_late_alert;
use crate::upstream::{self, Asks, Credentials, LoginError, OpenError, Upstream, ask, open};
use crate::wire::startup::StartupMessage;

/// Roles that are tried, if more are held.
const MOST_ACCOUNTS: usize = 20;

/// What the server asks of the first role, or of one that is likely there.
pub(super) async fn authentication(upstream: &Upstream, accounts: &[Account]) -> Finding {
    let role = likely_role(upstream.config());
    let guessed = Account {
        user: role.to_owned(),
        password: None,
        password_key: String::new(),
        is_database_guessed: upstream.config().dbname.is_none(),
        database: upstream
            .config()
            .dbname
            .clone()
            .unwrap_or_else(|| role.to_owned()),
    };
    let account = accounts.first().unwrap_or(&guessed);
    let began = Instant::now();
    match ask(upstream, (&account.user, &account.database)).await {
        Ok(asks) => asked(upstream, account, &asks, began.elapsed()),
        Err(error) if accounts.is_empty() && error.refusal().is_some() => {
            let mut finding = failed(upstream, account, &error);
            finding.verdict = super::report::Verdict::Warn;
            let guess = format!(
                "asked as {role:?}, because no role is configured: the server may answer others otherwise"
            );
            finding.more([guess])
        }
        Err(error) => failed(upstream, account, &error),
    }
}

fn asked(upstream: &Upstream, account: &Account, asks: &Asks, took: Duration) -> Finding {
    let config = upstream.config();
    let name = method_name(asks.method);
    let offers_binding = asks
        .mechanisms
        .iter()
        .any(|name| name == "SCRAM-SHA-256-PLUS");
    let binding = match (offers_binding, asks.can_be_bound_to) {
        (true, true) => "channel binding offered",
        (true, false) => "channel binding offered, and the certificate has no hash to bind to",
        (false, _) => "no channel binding",
    };
    let user = &account.user;
    let evidence = format!("{user:?} is asked for {name}, {binding}, in {}", span(took));
    if let Err(error) = upstream::check(config.require_auth, asks.method) {
        return Finding::fail(error.to_string(), hint(&error), Topic::Method);
    }
    if config.channel_binding == ChannelBinding::Require
        && !(offers_binding && asks.can_be_bound_to)
    {
        let error = match offers_binding {
            true => LoginError::UnbindableCertificate,
            false => LoginError::NoChannelBinding,
        };
        return Finding::fail(error.to_string(), hint(&error), Topic::Method);
    }
    // A server over TLS offers it to every role that has such a password.
    let is_scram = asks.method == ServerMethod::ScramSha256;
    let missing = is_scram && asks.can_be_bound_to && !offers_binding;
    let hint =
        "a Postgres over TLS offers channel binding: probably a PgBouncer stands between (25061)";
    Finding::pass(evidence)
        .more(missing.then(|| hint.to_owned()))
        .figure("method", name)
        .figure("mechanisms", asks.mechanisms.clone())
        .figure("channel_binding", offers_binding && asks.can_be_bound_to)
        .figure("ms", millis(took))
}

const fn method_name(method: ServerMethod) -> &'static str {
    match method {
        ServerMethod::None => "nothing",
        ServerMethod::Password => "the password in clear",
        ServerMethod::Md5 => "md5",
        ServerMethod::ScramSha256 => "scram-sha-256",
        ServerMethod::Gss => "GSSAPI",
        ServerMethod::Sspi => "SSPI",
    }
}

fn hint(error: &LoginError) -> String {
    let hint = error.fault().hint;
    hint.map_or_else(
        || "look into the server's log".to_owned(),
        std::borrow::Cow::into_owned,
    )
}

/// Logs in as each role; the first that gets in is asked the rest.
pub(super) async fn log_in(
    upstream: &Upstream,
    accounts: &[Account],
    mode: AuthMode,
) -> (Option<(Session, Account)>, Vec<Finding>) {
    if accounts.is_empty() {
        return (None, vec![no_credentials(upstream, mode)]);
    }
    let (mut first, mut findings) = (None, Vec::new());
    for account in accounts.iter().take(MOST_ACCOUNTS) {
        let began = Instant::now();
        match attempt(upstream, account).await {
            Ok(session) => {
                let took = began.elapsed();
                let Account { user, database, .. } = account;
                let evidence = format!("{user:?} to {database:?} in {}", span(took));
                let finding = Finding::pass(evidence)
                    .figure("user", user.as_str())
                    .figure("database", database.as_str())
                    .figure("ms", millis(took));
                findings.push(finding);
                match first {
                    None => first = Some((session, account.clone())),
                    Some(_) => session.close().await,
                }
            }
            Err(error) => findings.push(failed(upstream, account, &error)),
        }
    }
    if let left @ 1.. = accounts.len().saturating_sub(MOST_ACCOUNTS) {
        let why = format!("{left} more roles of [[users]]");
        let cure = "log in as them by hand: psql";
        findings.push(Finding::unchecked(why, cure, Topic::NoCredentials));
    }
    (first, findings)
}

fn no_credentials(upstream: &Upstream, mode: AuthMode) -> Finding {
    let name = &upstream.config().name;
    let why = match mode {
        AuthMode::Passthrough => {
            "no user is configured: in passthrough each client logs in with its own password, which was not tried"
        }
        AuthMode::Held => "no user is configured for this upstream",
    };
    let cure = format!(
        "for this check give upstreams.{name}.user and upstreams.{name}.password_file (or password_env): clients do not get them"
    );
    Finding::unchecked(why, cure, Topic::NoCredentials)
}

async fn attempt(upstream: &Upstream, account: &Account) -> Result<Session, OpenError> {
    let config = upstream.config();
    let who = Credentials {
        user: &account.user,
        password: account.password.as_ref(),
        channel_binding: config.channel_binding,
        require_auth: config.require_auth,
    };
    let startup = StartupMessage::new(&account.user, &account.database);
    match open(upstream, &startup, &who).await {
        Ok(opened) => Ok(Session::new(opened, config.connect_timeout)),
        Err(failed) => Err(failed.error),
    }
}

/// What a failed login, or the beginning of one, comes from.
fn failed(upstream: &Upstream, account: &Account, error: &OpenError) -> Finding {
    let config = upstream.config();
    if let OpenError::Login(LoginError::Refused(frame)) = error {
        let dbname = config.dbname.as_deref();
        return refusal::finding(frame.body(), account, dbname, &config.name);
    }
    // A server of TLS 1.3 says only now what it thinks of the client certificate.
    if let OpenError::Login(LoginError::Lost(FrameError::Io(io))) = error
        && let Some(fault) = explain_late_alert(io)
    {
        return Finding::fail(fault.to_string(), fault.cure(), topic_of(&fault));
    }
    let fault = error.fault();
    let cure = fault
        .hint
        .unwrap_or_else(|| "look into the server's log: it broke the login off".into());
    let topic = match error {
        OpenError::Unreachable(_) | OpenError::Silent => Topic::NoAnswer,
        OpenError::Login(LoginError::NoPassword(_)) => Topic::NoCredentials,
        OpenError::Login(
            LoginError::Unwanted { .. }
            | LoginError::NoChannelBinding
            | LoginError::UnbindableCertificate
            | LoginError::Unsupported(_),
        ) => Topic::Method,
        OpenError::Login(_) => Topic::Password,
    };
    Finding::fail(one_line(&error.to_string()), cure, topic)
}
