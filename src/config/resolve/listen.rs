//! `[listen]`: where clients are accepted, and what they are shown.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use super::exposure::{self, Behind, Door};
use super::files;
use super::resolver::{KeepaliveKeys, Resolver, at_least_one, keepalive};
use crate::config::encoding::Wanted;
use crate::config::keys::ListenKeys;
use crate::config::layer::Set;
use crate::config::problem::Invalid;
use crate::config::value_parsers::{FilePath, TlsMode};
use crate::config::values::{
    AuthMode, ClientCertificates, Listen, ListenTls, OwnCertificate, ServerIdentity,
};

/// `sun_path` holds 108 bytes, the last one a NUL.
const LONGEST_SOCKET_PATH: usize = 107;

pub(super) fn resolve(desk: &mut Resolver<'_>, mut behind: Behind<'_>) -> Listen {
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
            Invalid::new(
                "there is nothing to listen on",
                "write addresses = [\"127.0.0.1:5432\"], or give unix_socket_dirs",
            ),
        );
    }
    let may_make =
        behind.mode == AuthMode::Held && addresses.iter().all(|address| address.ip().is_loopback());
    let tls = tls(desk, &keys, may_make);
    let door = Door {
        addresses: &addresses,
        unix: !unix_socket_dirs.is_empty(),
        tls: &tls,
    };
    exposure::guard(desk, &keys, &door, &mut behind);
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
            Invalid::new("must be at most 65535", "write for example 1024"),
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

fn addresses(desk: &mut Resolver<'_>, texts: &[String], keys: &ListenKeys) -> Vec<SocketAddr> {
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
pub(super) fn socket_addresses(text: &str) -> Result<Vec<SocketAddr>, Invalid> {
    if let Ok(address) = text.parse() {
        return Ok(vec![address]);
    }
    let example = "write for example \"127.0.0.1:5432\", \"[::1]:5432\" or \"*:5432\"";
    let bad = || Invalid::new(format!("{text:?} is not an address with a port"), example);
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
            let found = found.map_err(|error| {
                Invalid::new(format!("{host} is not known here: {error}"), example)
            })?;
            Ok(found.collect())
        }
    }
}

fn socket_dirs(desk: &mut Resolver<'_>, keys: &ListenKeys, port: u16) -> Vec<PathBuf> {
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
                Invalid::new(message, "use a directory with a shorter path"),
            );
        } else if !dir.is_dir() {
            let message = format!("{} is not a directory", dir.display());
            desk.problems
                .add(&set.at, Invalid::new(message, "create it, or take it out"));
        }
        dirs.push(dir);
    }
    dirs
}

/// `may_make`: clients are on this machine and bind to nothing, so that a certificate
/// which they cannot verify does for those whose settings insist on TLS.
fn tls(desk: &mut Resolver<'_>, keys: &ListenKeys, may_make: bool) -> ListenTls {
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
    let certificate = match (&keys.tls_cert_file, &keys.tls_key_file) {
        (Some(cert), Some(key)) => OwnCertificate::Files {
            cert_file: files::tls_file(desk, cert, Wanted::Certificate),
            key_file: files::private_key(desk, key),
        },
        (None, None) if mode == TlsMode::Allow && may_make => OwnCertificate::MadeAtStart,
        _ => {
            let fix = match mode {
                TlsMode::Allow => {
                    "give both, or write tls_mode = \"disable\" and sslmode=disable in the clients' URLs; the proxy makes a certificate by itself only in held mode and on loopback"
                }
                _ => "give both, or write tls_mode = \"disable\"",
            };
            let message = "TLS for clients needs tls_cert_file and tls_key_file";
            desk.problems
                .add(&keys.tls_mode.at, Invalid::new(message, fix));
            return ListenTls::Disable;
        }
    };
    let clients = client_certificates(desk, keys);
    let identity = ServerIdentity {
        certificate,
        clients,
    };
    match mode {
        TlsMode::Allow | TlsMode::Disable => ListenTls::Allow(identity),
        TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => ListenTls::Require(identity),
    }
}

fn client_certificates(desk: &mut Resolver<'_>, keys: &ListenKeys) -> ClientCertificates {
    let mode = keys.tls_mode.value;
    let is_demanded = matches!(mode, TlsMode::VerifyCa | TlsMode::VerifyFull);
    let Some(set) = &keys.tls_ca_file else {
        if is_demanded {
            let message = "demands certificates of clients, and nothing says of which CA";
            let fix = "give tls_ca_file, or write tls_mode = \"require\"";
            desk.problems
                .add(&keys.tls_mode.at, Invalid::new(message, fix));
        }
        return ClientCertificates::NotAsked;
    };
    let ca_file = files::tls_file(desk, set, Wanted::Authority);
    match is_demanded {
        true => ClientCertificates::Demanded {
            ca_file,
            names_user: mode == TlsMode::VerifyFull,
        },
        false => ClientCertificates::Asked { ca_file },
    }
}
