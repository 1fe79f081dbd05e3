//! What keeps strangers out: nobody beyond this machine gets in unproven, or reads a
//! password on its way, unless a key says that this is meant.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::resolver::Resolver;
use crate::config::keys::{ListenKeys, UpstreamKeys};
use crate::config::problem::{Invalid, Location};
use crate::config::value_parsers::TlsMode;
use crate::config::values::{
    AuthMode, ClientAuth, ClientCertificates, ListenTls, ServerMethod, Upstream, UpstreamTls, User,
    Verify,
};

/// Who checks clients, behind the listener.
pub(super) struct Behind<'a> {
    pub(super) mode: AuthMode,
    pub(super) users: &'a BTreeMap<String, Arc<User>>,
    pub(super) upstreams: &'a mut BTreeMap<String, Arc<Upstream>>,
}

/// What a client meets first.
pub(super) struct Door<'a> {
    pub(super) addresses: &'a [SocketAddr],
    pub(super) unix: bool,
    pub(super) tls: &'a ListenTls,
}

impl Door<'_> {
    fn certificates(&self) -> &ClientCertificates {
        match self.tls {
            ListenTls::Disable => &ClientCertificates::NotAsked,
            ListenTls::Allow(identity) | ListenTls::Require(identity) => &identity.clients,
        }
    }

    fn demands_certificates(&self) -> bool {
        matches!(self.certificates(), ClientCertificates::Demanded { .. })
    }

    /// An address that others than this machine can reach.
    fn open(&self) -> Option<&SocketAddr> {
        let mut addresses = self.addresses.iter();
        addresses.find(|address| !address.ip().is_loopback())
    }
}

/// Something that is open, and how to close it.
struct Gap {
    why: String,
    fix: &'static str,
}

/// Files what is open.
pub(super) fn guard(
    desk: &mut Resolver<'_>,
    keys: &ListenKeys,
    door: &Door<'_>,
    by: &mut Behind<'_>,
) {
    if by.mode == AuthMode::Passthrough && door.open().is_none() {
        let_servers_ask_nothing(desk, by.upstreams);
    }
    // What was to protect it is wrong, and said to be.
    let protection = ["auth.mode", "listen.allow_insecure_listen"];
    let unread = keys.tls_mode.value != TlsMode::Allow && desk.problems.excuses("listen.tls_mode");
    let excused = unread || protection.iter().any(|key| desk.problems.excuses(key));
    if let Some(open) = door.open().filter(|_| !excused) {
        let gaps = match by.mode {
            AuthMode::Passthrough => relayed(desk, door, by.upstreams),
            AuthMode::Held => held(door, by.users),
        };
        for Gap { why, fix } in gaps {
            if keys.allow_insecure_listen.value {
                desk.problems.warn(format!(
                    "{open} is not loopback: {why} (listen.allow_insecure_listen accepts it)"
                ));
                continue;
            }
            let message = format!("{open} is not loopback: {why}");
            let fix = format!("{fix}, or accept it with allow_insecure_listen = true");
            desk.problems
                .add(&keys.addresses.at, Invalid::new(message, fix));
        }
    }
    check_login_methods(desk, door, by.users);
    check_client_ca(desk, keys, door, by.users);
}

/// Passthrough, where only this machine's own clients come: whom a server lets in that has
/// proven who it is, or is on this machine too, is its own affair. Not if the proxy shows
/// it a certificate: then it is the proxy whom it knows.
fn let_servers_ask_nothing(desk: &Resolver<'_>, upstreams: &mut BTreeMap<String, Arc<Upstream>>) {
    for (name, upstream) in upstreams {
        let is_known = match &upstream.tls {
            UpstreamTls::Disable => true,
            UpstreamTls::Enable(tls) => tls.verify == Verify::Full && tls.identity.is_none(),
        };
        if is_known && !says_what_to_ask(desk, name) {
            let upstream = Arc::make_mut(upstream);
            upstream.require_auth = upstream.require_auth.and(ServerMethod::None);
        }
    }
}

fn says_what_to_ask(desk: &Resolver<'_>, upstream: &str) -> bool {
    let path = UpstreamKeys::SECTION.path(Some(upstream));
    desk.merged.get(&path.join("require_auth")).is_some()
}

/// Passthrough over plaintext counts as open: the client would hand its password to
/// whoever asks for it.
fn relayed(
    desk: &Resolver<'_>,
    door: &Door<'_>,
    upstreams: &BTreeMap<String, Arc<Upstream>>,
) -> Vec<Gap> {
    let mut gaps = Vec::new();
    if !matches!(door.tls, ListenTls::Require(_)) {
        gaps.push(Gap {
            why: "passthrough over plaintext shows logins and data to the network".to_owned(),
            fix: "write tls_mode = \"require\", or auth.mode = \"held\" with a password for every user",
        });
    }
    if door.demands_certificates() {
        return gaps;
    }
    for (name, upstream) in upstreams {
        let is_said = says_what_to_ask(desk, name);
        let shows = matches!(&upstream.tls, UpstreamTls::Enable(tls) if tls.identity.is_some());
        if shows && !is_said {
            gaps.push(Gap {
                why: format!(
                    "upstream {name} knows the proxy by its sslcert, and may let every client in as the role of that certificate"
                ),
                fix: "write tls_mode = \"verify-full\" with a tls_ca_file, so that clients need certificates of their own, or require_auth = \"scram-sha-256\" for the upstream, so that it asks each client for its password",
            });
        }
        if is_said && upstream.require_auth.allows(ServerMethod::None) {
            gaps.push(Gap {
                why: format!(
                    "upstream {name} may let clients in without asking them for anything (require_auth)"
                ),
                fix: "take none out of require_auth, or write tls_mode = \"verify-full\" with a tls_ca_file, so that clients need certificates",
            });
        }
    }
    gaps
}

fn held(door: &Door<'_>, users: &BTreeMap<String, Arc<User>>) -> Vec<Gap> {
    let mut gaps = Vec::new();
    let first = |auth| users.values().find(|user| user.auth == auth);
    if let Some(user) = first(ClientAuth::Trust).filter(|_| !door.demands_certificates()) {
        gaps.push(Gap {
            why: format!(
                "user {:?} with auth = \"trust\" is let in from anywhere; TLS alone proves nobody",
                user.name
            ),
            fix: "write auth = \"scram-sha-256\" with a password for every such user, or tls_mode = \"verify-full\" with a tls_ca_file, so that clients need certificates",
        });
    }
    let is_encrypted = matches!(door.tls, ListenTls::Require(_));
    if let Some(user) = first(ClientAuth::Password).filter(|_| !is_encrypted) {
        gaps.push(Gap {
            why: format!(
                "user {:?} with auth = \"password\" sends the password through the network in clear",
                user.name
            ),
            fix: "write auth = \"scram-sha-256\", or tls_mode = \"require\" with tls_cert_file and tls_key_file",
        });
    }
    gaps
}

/// A method that no listener can satisfy would refuse every login.
fn check_login_methods(
    desk: &mut Resolver<'_>,
    door: &Door<'_>,
    users: &BTreeMap<String, Arc<User>>,
) {
    let client_ca = *door.certificates() != ClientCertificates::NotAsked;
    let mut at = desk.merged.table(&ListenKeys::SECTION, None).at();
    for user in users.values() {
        match user.auth {
            ClientAuth::Peer { .. } if !door.unix => {
                "listen.unix_socket_dirs".clone_into(&mut at.key);
                let message = format!(
                    "user {:?} logs in with peer, which needs a unix socket",
                    user.name
                );
                desk.problems
                    .add(&at, Invalid::new(message, "give unix_socket_dirs"));
            }
            ClientAuth::Cert { .. } if !client_ca => {
                "listen.tls_ca_file".clone_into(&mut at.key);
                let message = format!(
                    "user {:?} logs in with cert, which needs TLS and a CA for clients",
                    user.name
                );
                desk.problems
                    .add(&at, Invalid::new(message, "give tls_mode and tls_ca_file"));
            }
            _ => {}
        }
    }
}

/// A CA for clients looks like a lock; without somebody who needs a certificate it is none.
fn check_client_ca(
    desk: &mut Resolver<'_>,
    keys: &ListenKeys,
    door: &Door<'_>,
    users: &BTreeMap<String, Arc<User>>,
) {
    let by_certificate = |user: &Arc<User>| matches!(user.auth, ClientAuth::Cert { .. });
    let is_idle = matches!(door.certificates(), ClientCertificates::Asked { .. })
        && !users.values().any(by_certificate);
    let at: Option<&Location> = keys.tls_ca_file.as_ref().map(|set| &set.at);
    let Some(at) = at.filter(|_| is_idle) else {
        return;
    };
    let message = "asks nobody for a certificate: no user has auth = \"cert\"";
    if keys.allow_insecure_listen.value {
        desk.problems.warn(format!(
            "{} {message} (listen.allow_insecure_listen accepts it)",
            at.key
        ));
        return;
    }
    let fix = "write tls_mode = \"verify-full\" (a certificate in the user's name) or \"verify-ca\" (any of this CA), or take it out";
    desk.problems.add(at, Invalid::new(message, fix));
}
