//! `[listen]`: where clients are accepted, and what keeps strangers out.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;

use super::{Desk, KeepaliveKeys, at_least_one, files, keepalive};
use crate::config::encoding::Wanted;
use crate::config::keys::ListenKeys;
use crate::config::kinds::{FilePath, TlsMode};
use crate::config::layer::Set;
use crate::config::problem::Bad;
use crate::config::values::{Auth, AuthMode, ClientAuth, Listen, ListenTls, ServerIdentity, User};

/// `sun_path` holds 108 bytes, the last one a NUL.
const LONGEST_SOCKET_PATH: usize = 107;

pub(super) fn resolve(
    desk: &mut Desk<'_>,
    auth: Auth,
    users: &BTreeMap<String, Arc<User>>,
) -> Listen {
    let keys = ListenKeys::read(
        &desk.merged.table(&ListenKeys::SECTION, None),
        desk.problems,
    );
    let addresses = addresses(desk, &keys.addresses.value.0, &keys);
    let first_port = addresses
        .iter()
        .map(SocketAddr::port)
        .find(|port| *port != 0);
    let unix_socket_port = keys
        .unix_socket_port
        .as_ref()
        .map_or_else(|| first_port.unwrap_or(5432), |set| set.value);
    let unix_socket_dirs = socket_dirs(desk, &keys, unix_socket_port);
    if addresses.is_empty() && unix_socket_dirs.is_empty() && keys.addresses.value.0.is_empty() {
        desk.problems.add(
            &keys.addresses.at,
            Bad::new(
                "there is nothing to listen on",
                "write addresses = [\"127.0.0.1:5432\"], or give unix_socket_dirs",
            ),
        );
    }
    let tls = tls(desk, &keys);
    guard_open_addresses(
        desk,
        &keys,
        &addresses,
        &Protection {
            tls: &tls,
            auth,
            users,
        },
    );
    check_login_methods(desk, &tls, !unix_socket_dirs.is_empty(), users);
    let keepalive = keepalive(
        desk,
        &KeepaliveKeys {
            idle: &keys.tcp_keepidle,
            interval: &keys.tcp_keepintvl,
            count: &keys.tcp_keepcnt,
            user_timeout: &keys.tcp_user_timeout,
        },
    );
    let backlog = at_least_one(desk, &keys.backlog);
    if backlog > 65_535 {
        desk.problems.add(
            &keys.backlog.at,
            Bad::new("must be at most 65535", "write for example 1024"),
        );
    }
    Listen {
        addresses,
        unix_socket_dirs,
        unix_socket_port,
        unix_socket_mode: keys.unix_socket_mode.value.0,
        unix_socket_group: keys.unix_socket_group.map(|set| set.value),
        tls,
        sasl_plus: keys.sasl_plus.value,
        keepalive,
        backlog,
    }
}

fn addresses(desk: &mut Desk<'_>, texts: &[String], keys: &ListenKeys) -> Vec<SocketAddr> {
    let mut all: Vec<SocketAddr> = Vec::new();
    for text in texts {
        let found = socket_addresses(text);
        for address in desk
            .problems
            .keep(&keys.addresses.at, found)
            .unwrap_or_default()
        {
            // Port 0 is a new port each time, so it never repeats itself.
            if address.port() == 0 || !all.contains(&address) {
                all.push(address);
            }
        }
    }
    all
}

/// The addresses behind `host:port`; `*` is any, `localhost` both loopbacks.
pub(super) fn socket_addresses(text: &str) -> Result<Vec<SocketAddr>, Bad> {
    if let Ok(address) = text.parse() {
        return Ok(vec![address]);
    }
    let example = "write for example \"127.0.0.1:5432\", \"[::1]:5432\" or \"*:5432\"";
    let bad = || Bad::new(format!("{text:?} is not an address with a port"), example);
    let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
    let port: u16 = port.parse().map_err(|_| bad())?;
    let both = |v4: Ipv4Addr, v6: Ipv6Addr| vec![(v4, port).into(), (v6, port).into()];
    match host {
        "*" => Ok(both(Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED)),
        // Not asked of the resolver, which may know only one of the two.
        "localhost" => Ok(both(Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST)),
        _ if host.is_empty() || host.contains([':', '[', ']']) => Err(bad()),
        _ => {
            let found = (host, port).to_socket_addrs();
            let found = found
                .map_err(|error| Bad::new(format!("{host} is not known here: {error}"), example))?;
            Ok(found.collect())
        }
    }
}

fn socket_dirs(desk: &mut Desk<'_>, keys: &ListenKeys, port: u16) -> Vec<PathBuf> {
    let set = &keys.unix_socket_dirs;
    let mut dirs = Vec::new();
    for text in &set.value.0 {
        let dir = files::rooted(&Set {
            value: FilePath(text.clone()),
            at: set.at.clone(),
        });
        let socket = dir.join(format!(".s.PGSQL.{port}"));
        if socket.as_os_str().len() > LONGEST_SOCKET_PATH {
            let message = format!("{} is longer than a socket's path may be", socket.display());
            desk.problems.add(
                &set.at,
                Bad::new(message, "use a directory with a shorter path"),
            );
        } else if !dir.is_dir() {
            let message = format!("{} is not a directory", dir.display());
            desk.problems
                .add(&set.at, Bad::new(message, "create it, or take it out"));
        }
        dirs.push(dir);
    }
    dirs
}

fn tls(desk: &mut Desk<'_>, keys: &ListenKeys) -> ListenTls {
    let mode = keys.tls_mode.value;
    let files = [&keys.tls_cert_file, &keys.tls_key_file, &keys.tls_ca_file];
    if mode == TlsMode::Disable {
        if let Some(unused) = files.into_iter().flatten().next() {
            desk.problems.warn(format!(
                "{} is not used: listen.tls_mode is disable",
                unused.at.key
            ));
        }
        return ListenTls::Disable;
    }
    let (Some(cert), Some(key)) = (&keys.tls_cert_file, &keys.tls_key_file) else {
        desk.problems.add(
            &keys.tls_mode.at,
            Bad::new(
                "TLS for clients needs tls_cert_file and tls_key_file",
                "give both, or write tls_mode = \"disable\"",
            ),
        );
        return ListenTls::Disable;
    };
    let identity = ServerIdentity {
        cert_file: files::tls_file(desk, cert, Wanted::Certificate),
        key_file: files::private_key(desk, key),
        ca_file: keys
            .tls_ca_file
            .as_ref()
            .map(|set| files::tls_file(desk, set, Wanted::Authority)),
    };
    match mode {
        TlsMode::Require => ListenTls::Require(identity),
        TlsMode::Allow | TlsMode::Disable => ListenTls::Allow(identity),
    }
}

/// What a client must get past.
struct Protection<'a> {
    tls: &'a ListenTls,
    auth: Auth,
    users: &'a BTreeMap<String, Arc<User>>,
}

/// Passthrough counts as open: the client would hand its password, over
/// plaintext, to whoever asks for it.
fn guard_open_addresses(
    desk: &mut Desk<'_>,
    keys: &ListenKeys,
    addresses: &[SocketAddr],
    by: &Protection<'_>,
) {
    let proves =
        |user: &Arc<User>| !matches!(user.auth, ClientAuth::Trust | ClientAuth::Peer { .. });
    let authenticated = by.auth.mode == AuthMode::Held && by.users.values().all(proves);
    let Some(open) = addresses.iter().find(|address| !address.ip().is_loopback()) else {
        return;
    };
    if matches!(by.tls, ListenTls::Require(_)) || authenticated {
        return;
    }
    // What was to protect it is wrong, and said to be.
    let protection = ["auth.mode", "listen.allow_insecure_listen"];
    let unread = keys.tls_mode.value != TlsMode::Allow && desk.problems.excuses("listen.tls_mode");
    if unread || protection.iter().any(|key| desk.problems.excuses(key)) {
        return;
    }
    if keys.allow_insecure_listen.value {
        desk.problems.warn(format!(
            "{open} is open to the network without TLS and without authentication by the proxy \
             (listen.allow_insecure_listen)"
        ));
        return;
    }
    let why = match by.auth.mode {
        AuthMode::Passthrough => "passthrough over plaintext shows logins and data to the network",
        AuthMode::Held => "a user with auth trust or peer gets in from anywhere",
    };
    desk.problems.add(
        &keys.addresses.at,
        Bad::new(
            format!("{open} is not loopback: {why}"),
            "write tls_mode = \"require\", or auth.mode = \"held\" with a password for every user, \
         or accept it with allow_insecure_listen = true",
        ),
    );
}

/// A method that no listener can satisfy would refuse every login.
fn check_login_methods(
    desk: &mut Desk<'_>,
    tls: &ListenTls,
    unix: bool,
    users: &BTreeMap<String, Arc<User>>,
) {
    let client_ca = match tls {
        ListenTls::Disable => false,
        ListenTls::Allow(identity) | ListenTls::Require(identity) => identity.ca_file.is_some(),
    };
    let mut at = desk.merged.table(&ListenKeys::SECTION, None).at();
    for user in users.values() {
        match user.auth {
            ClientAuth::Peer { .. } if !unix => {
                "listen.unix_socket_dirs".clone_into(&mut at.key);
                let message = format!(
                    "user {:?} logs in with peer, which needs a unix socket",
                    user.name
                );
                desk.problems
                    .add(&at, Bad::new(message, "give unix_socket_dirs"));
            }
            ClientAuth::Cert { .. } if !client_ca => {
                "listen.tls_ca_file".clone_into(&mut at.key);
                let message = format!(
                    "user {:?} logs in with cert, which needs TLS and a CA for clients",
                    user.name
                );
                desk.problems
                    .add(&at, Bad::new(message, "give tls_mode and tls_ca_file"));
            }
            _ => {}
        }
    }
}
