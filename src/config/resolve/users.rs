//! `[[users]]`: what a client presents, and what the upstream is given.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::files::{self, SecretKeys};
use super::resolver::{Resolver, entries};
use crate::config::keys::{AuthKeys, UpstreamKeys, UserKeys};
use crate::config::layer::{Set, secret_spellings};
use crate::config::problem::{Invalid, Location};
use crate::config::value_parsers::{AuthMethod, Text};
use crate::config::values::{AuthMode, ClientAuth, ServerMethod, Upstream, User};
use crate::secret::Secret;

pub(super) fn resolve_all(
    desk: &mut Resolver<'_>,
    auth: &AuthKeys,
    upstream: Option<&Arc<Upstream>>,
) -> BTreeMap<String, Arc<User>> {
    let mut users = BTreeMap::new();
    let entries = entries(desk, &UserKeys::SECTION);
    for (position, entry) in entries.iter().enumerate() {
        let table = desk.merged.table(&UserKeys::SECTION, Some(entry));
        let keys = UserKeys::read(&table, desk.problems);
        let chosen = !desk.problems.excuses("auth.mode");
        if position == 0 && chosen && auth.mode.value == AuthMode::Passthrough {
            desk.problems.add(
                &keys.section,
                Invalid::new(
                    "users are of no use in passthrough mode: the upstream checks every client",
                    "write mode = \"held\" under [auth], or take the users out",
                ),
            );
        }
        let Some(user) = resolve(desk, &keys, upstream) else {
            continue;
        };
        if users.contains_key(&user.name) {
            let message = format!("there is another user {:?}", user.name);
            desk.problems
                .add(&keys.section, Invalid::new(message, "keep one of them"));
        }
        users.insert(user.name.clone(), Arc::new(user));
    }
    let written = desk.problems.excuses_in("users");
    if entries.is_empty() && !written && auth.mode.value == AuthMode::Held {
        desk.problems.add(
            &auth.mode.at,
            Invalid::new(
                "held mode without users lets nobody in",
                "add [[users]] with name and password_file, or write mode = \"passthrough\"",
            ),
        );
    }
    users
}

/// In the warning about credentials that no client gets; a command that logs in itself does
/// use them.
pub(crate) const UNUSED_IN_PASSTHROUGH: &str = ": with auth.mode = \"passthrough\"";

/// An environment made for the application often names its user and password.
pub(super) fn warn_of_unused_credentials(desk: &mut Resolver<'_>) {
    const KEYS: [&str; 4] = ["user", "password", "password_file", "password_env"];
    for name in entries(desk, &UpstreamKeys::SECTION) {
        let section = UpstreamKeys::SECTION.path(Some(&name));
        let written: Vec<String> = KEYS
            .iter()
            .filter_map(|key| desk.merged.get(&section.join(key)))
            .map(|(_, at)| format!("{} ({})", at.key, at.origin_text()))
            .collect();
        let verb = match written.len() {
            0 => continue,
            1 => "is",
            _ => "are",
        };
        desk.problems.warn(format!(
            "{} {verb} not used{UNUSED_IN_PASSTHROUGH} every client logs in with its own name and password; \
             take it out, or write mode = \"held\" under [auth] and [[users]] for clients that \
             the proxy checks, and logs in itself",
            written.join(" and ")
        ));
    }
}

fn resolve(
    desk: &mut Resolver<'_>,
    keys: &UserKeys,
    upstream: Option<&Arc<Upstream>>,
) -> Option<User> {
    let password = files::secret(
        desk,
        &SecretKeys {
            direct: keys.password.as_ref(),
            file: keys.password_file.as_ref(),
            env: keys.password_env.as_ref(),
        },
    );
    let own_keys = SecretKeys {
        direct: keys.upstream_password.as_ref(),
        file: keys.upstream_password_file.as_ref(),
        env: keys.upstream_password_env.as_ref(),
    };
    let own_upstream_password = files::secret(desk, &own_keys);
    let Some(name) = keys.name.as_ref().map(|set| set.value.clone()) else {
        let bad = Invalid::new("a user needs a name", "write name = \"app\"");
        if !desk.problems.excuses(&format!("{}.name", keys.section.key)) {
            desk.problems.add(&keys.section, bad);
        }
        return None;
    };
    check_password(desk, keys);
    let shared_user = upstream.and_then(|upstream| upstream.user.as_ref());
    let upstream_user = match (&keys.upstream_user, shared_user) {
        (Some(set), _) => set.value.clone(),
        (None, Some(shared)) => shared.clone(),
        (None, None) => name.clone(),
    };
    let of_user = format!("of user {name:?} in [[users]]");
    let shared = upstream
        .filter(|_| shared_user == Some(&upstream_user))
        .filter(|upstream| upstream.password.is_some());
    let presented = password.as_ref().filter(|_| upstream_user == name);
    let own = presented.filter(|own| !is_verifier(own)).cloned();
    let (upstream_password, upstream_password_key) = match (own_upstream_password, shared, own) {
        (None, Some(upstream), _) => (
            upstream.password.clone(),
            format!(
                "`password` (or `password_file`, `password_env`) of [upstreams.{}]",
                upstream.name
            ),
        ),
        (None, None, Some(own)) => (
            Some(own),
            format!("`password` {of_user}, or give it an `upstream_password` of its own"),
        ),
        (own, _, _) => (
            own,
            format!("`upstream_password{}` {of_user}", own_keys.ending()),
        ),
    };
    check_upstream_password(desk, keys, (presented, &upstream_password), upstream);
    Some(User {
        auth: client_auth(desk, keys, &name),
        name,
        password,
        upstream_user,
        upstream_password,
        upstream_password_key,
    })
}

/// What it is made from cannot be found out from it, so it is no password for a server.
fn is_verifier(secret: &Secret) -> bool {
    secret.expose().starts_with("SCRAM-SHA-256$")
}

fn check_upstream_password(
    desk: &mut Resolver<'_>,
    keys: &UserKeys,
    (own, given): (Option<&Secret>, &Option<Secret>),
    upstream: Option<&Arc<Upstream>>,
) {
    let places = [
        keys.upstream_password.as_ref().map(|set| &set.at),
        keys.upstream_password_file.as_ref().map(|set| &set.at),
        keys.upstream_password_env.as_ref().map(|set| &set.at),
    ];
    let place: Option<&Location> = places.into_iter().flatten().next();
    let fix = "give upstream_password_file, with the password and not a hash of it";
    if given.as_ref().is_some_and(is_verifier) {
        let bad = Invalid::new(
            "is a SCRAM verifier; the upstream has to be given the password itself",
            fix,
        );
        desk.problems.add(place.unwrap_or(&keys.section), bad);
    }
    let needs_one = |upstream: &Arc<Upstream>| !upstream.require_auth.allows(ServerMethod::None);
    if given.is_none() && own.is_some_and(is_verifier) && upstream.is_some_and(needs_one) {
        let bad = Invalid::new(
            "the client's password is given as a SCRAM verifier, which the upstream cannot be given",
            fix,
        );
        desk.problems.add(&keys.section, bad);
    }
}

/// Methods that ask for a password need one, and the others have no use for it.
fn check_password(desk: &mut Resolver<'_>, keys: &UserKeys) {
    let asks = matches!(
        keys.auth.value,
        AuthMethod::Password | AuthMethod::Md5 | AuthMethod::ScramSha256
    );
    let places = [
        keys.password.as_ref().map(|set| &set.at),
        keys.password_file.as_ref().map(|set| &set.at),
        keys.password_env.as_ref().map(|set| &set.at),
    ];
    let given: Option<&Location> = places.into_iter().flatten().next();
    let is_bad = |name: String| {
        desk.problems
            .excuses(&format!("{}.{name}", keys.section.key))
    };
    if secret_spellings("password").into_iter().any(is_bad) || is_bad("auth".to_owned()) {
        return;
    }
    match given {
        None if asks => desk.problems.add(
            &keys.section,
            Invalid::new(
                "a user who logs in with a password needs one",
                "give password_file, password_env or password",
            ),
        ),
        Some(at) if !asks => desk.problems.add(
            at,
            Invalid::new(
                "the client is not asked for a password with this auth",
                "take it out; the upstream's is upstream_password_file",
            ),
        ),
        _ => {}
    }
}

fn client_auth(desk: &mut Resolver<'_>, keys: &UserKeys, name: &str) -> ClientAuth {
    let method = keys.auth.value;
    if method != AuthMethod::Peer {
        unused(desk, keys.os_user.as_ref(), "peer");
    }
    if method != AuthMethod::Cert {
        unused(desk, keys.common_name.as_ref(), "cert");
    }
    let or_name = |set: &Option<Set<Text>>| set.as_ref().map_or(name, |set| &set.value).to_owned();
    match method {
        AuthMethod::Trust => ClientAuth::Trust,
        AuthMethod::Password => ClientAuth::Password,
        AuthMethod::Md5 => ClientAuth::Md5,
        AuthMethod::ScramSha256 => ClientAuth::ScramSha256,
        AuthMethod::Peer => ClientAuth::Peer {
            os_user: or_name(&keys.os_user),
        },
        AuthMethod::Cert => ClientAuth::Cert {
            common_name: or_name(&keys.common_name),
        },
    }
}

fn unused(desk: &mut Resolver<'_>, set: Option<&Set<Text>>, method: &str) {
    if let Some(set) = set {
        let message = format!("is used only with auth = {method:?}");
        desk.problems.add(
            &set.at,
            Invalid::new(message, format!("take it out, or write auth = {method:?}")),
        );
    }
}
