//! Whom a check logs in as: what the configuration holds, and nothing else.

use crate::config::Config;
use crate::config::values::Upstream;
use crate::secret::Secret;

/// One role of an upstream.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) user: String,
    pub(super) password: Option<Secret>,
    /// Where the password stands, or belongs.
    pub(super) password_key: String,
    pub(super) database: String,
    /// Nobody configured the database: it is that of the user's name.
    pub(super) is_database_guessed: bool,
}

/// The upstream's own `user` first, then the roles of `[[users]]`, each once.
pub(super) fn accounts(config: &Config, upstream: &Upstream) -> Vec<Account> {
    let mut accounts: Vec<Account> = Vec::new();
    if let Some(user) = &upstream.user {
        let key = format!(
            "`password` (or `password_file`, `password_env`) of [upstreams.{}]",
            upstream.name
        );
        accounts.push(account(
            config,
            upstream,
            (user, upstream.password.clone(), key),
        ));
    }
    // What they log in with stands in the section of the active upstream, where it is not theirs.
    let is_active = upstream.name == config.upstream;
    let held = config
        .users
        .values()
        .filter(|_| is_active || upstream.user.is_none());
    for user in held {
        if accounts.iter().any(|one| one.user == user.upstream_user) {
            continue;
        }
        let key = user.upstream_password_key.clone();
        let who = (&*user.upstream_user, user.upstream_password.clone(), key);
        accounts.push(account(config, upstream, who));
    }
    accounts
}

fn account(
    config: &Config,
    upstream: &Upstream,
    (user, password, password_key): (&str, Option<Secret>, String),
) -> Account {
    let database = database(config, upstream, user);
    Account {
        user: user.to_owned(),
        password,
        password_key,
        is_database_guessed: database.is_none(),
        database: database.unwrap_or_else(|| user.to_owned()),
    }
}

/// The upstream's, or that of a pool which serves this role.
fn database(config: &Config, upstream: &Upstream, user: &str) -> Option<String> {
    upstream.dbname.clone().or_else(|| {
        let serves = |pool: &&crate::config::values::Pool| {
            pool.user.as_deref().is_none_or(|other| other == user)
        };
        let pool = config.pools.iter().find(serves)?;
        Some(pool.database.clone())
    })
}

/// The role that a server is asked about where none is configured.
pub(super) fn likely_role(upstream: &Upstream) -> &'static str {
    use crate::config::values::UpstreamAddress;
    match &upstream.address {
        UpstreamAddress::Tcp { host, .. } if host.ends_with(".ondigitalocean.com") => "doadmin",
        _ => "postgres",
    }
}
