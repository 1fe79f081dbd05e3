//! `[upstreams.NAME]`: verified or nothing.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use super::files::{self, SecretKeys};
use super::resolver::{KeepaliveKeys, Resolver, entries, keepalive, missing, some_time};
use crate::config::encoding::Wanted;
use crate::config::keys::UpstreamKeys;
use crate::config::layer::Set;
use crate::config::problem::{Invalid, Location};
use crate::config::value_parsers::SslMode;
use crate::config::values::{
    ChannelBinding, Negotiation, RequireAuth, Roots, ServerMethod, TlsClient, Upstream,
    UpstreamAddress, UpstreamTls, Verify,
};

pub(super) fn names(desk: &Resolver<'_>) -> Vec<String> {
    entries(desk, &UpstreamKeys::SECTION)
}

pub(super) fn resolve_all(desk: &mut Resolver<'_>) -> BTreeMap<String, Arc<Upstream>> {
    let mut upstreams = BTreeMap::new();
    for name in names(desk) {
        let table = desk.merged.table(&UpstreamKeys::SECTION, Some(&name));
        let keys = UpstreamKeys::read(&table, desk.problems);
        if let Some(upstream) = resolve(desk, &name, &keys) {
            upstreams.insert(name, Arc::new(upstream));
        }
    }
    upstreams
}

fn resolve(desk: &mut Resolver<'_>, name: &str, keys: &UpstreamKeys) -> Option<Upstream> {
    let password = files::secret(
        desk,
        &SecretKeys {
            direct: keys.password.as_ref(),
            file: keys.password_file.as_ref(),
            env: keys.password_env.as_ref(),
        },
    );
    let keepalive = keepalive(
        desk,
        &KeepaliveKeys {
            idle: &keys.keepalives_idle,
            interval: &keys.keepalives_interval,
            count: &keys.keepalives_count,
            user_timeout: &keys.tcp_user_timeout,
        },
    );
    let connect_timeout = some_time(desk, &keys.connect_timeout);
    let Some(host) = &keys.host else {
        let fix = "write host = \"db.example.com\"";
        let (at, bad) = missing(&keys.section, (&UpstreamKeys::SECTION, name), "host", fix);
        desk.problems.add_missing(&at, bad);
        return None;
    };
    let address = address(desk, host, &keys.port)?;
    let tls = tls(desk, name, keys, &host.value);
    let require_auth = match &keys.require_auth {
        Some(set) => set.value,
        None => required_by_default(&tls),
    };
    Some(Upstream {
        name: name.to_owned(),
        address,
        tls,
        require_auth,
        user: keys.user.as_ref().map(|set| set.value.clone()),
        password,
        dbname: keys.dbname.as_ref().map(|set| set.value.clone()),
        channel_binding: keys.channel_binding.value,
        connect_timeout,
        keepalive,
    })
}

/// A password leaves in clear only to a server that has proven who it is. md5's answer
/// is as good as the password, but can be given where nobody else listens.
fn required_by_default(tls: &UpstreamTls) -> RequireAuth {
    use ServerMethod::{Md5, Password, ScramSha256};
    match tls {
        UpstreamTls::Enable(tls) if tls.verify == Verify::Full => {
            RequireAuth::of(&[ScramSha256, Md5, Password])
        }
        UpstreamTls::Enable(_) => RequireAuth::of(&[ScramSha256]),
        UpstreamTls::Disable => RequireAuth::of(&[ScramSha256, Md5]),
    }
}

fn address(
    desk: &mut Resolver<'_>,
    host: &Set<String>,
    port: &Set<u16>,
) -> Option<UpstreamAddress> {
    if port.value == 0 {
        desk.problems.add(
            &port.at,
            Invalid::new(
                "must be from 1 to 65535",
                "write the server's port, for example 25060",
            ),
        );
    }
    if host.value.starts_with('/') {
        let file = format!(".s.PGSQL.{}", port.value);
        return Some(UpstreamAddress::Unix(Path::new(&host.value).join(file)));
    }
    desk.problems.keep(&host.at, plain_host(&host.value))?;
    Some(UpstreamAddress::Tcp {
        host: host.value.clone(),
        port: port.value,
    })
}

/// A name or an address, and nothing else. The text is not repeated: a URL given
/// by mistake has a password in it.
fn plain_host(host: &str) -> Result<(), Invalid> {
    if host.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if host.contains("://") || host.contains('@') {
        return Err(Invalid::new(
            "must be a host name, not a URL",
            "give host, port, user and dbname one by one, or set DATABASE_URL",
        ));
    }
    if host.contains(':') {
        return Err(Invalid::new(
            "must be a host name without a port",
            "give the port in the key port",
        ));
    }
    if host.len() > 253 || !host.chars().all(name) {
        return Err(Invalid::new(
            "is not a host name",
            "write a DNS name, an IP address, or a socket directory starting with /",
        ));
    }
    Ok(())
}

pub(super) fn is_localhost(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    name.eq_ignore_ascii_case("localhost")
}

/// Plaintext to it cannot leave the machine.
fn is_local(host: &str) -> bool {
    host.starts_with('/')
        || is_localhost(host)
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn tls(desk: &mut Resolver<'_>, name: &str, keys: &UpstreamKeys, host: &str) -> UpstreamTls {
    let mode = keys.sslmode.value;
    if mode == SslMode::Disable {
        check_disabled(desk, keys, host);
        return UpstreamTls::Disable;
    }
    if host.starts_with('/') {
        let fix = "write sslmode = \"disable\"; the socket never leaves the machine";
        desk.problems.add(
            &keys.sslmode.at,
            Invalid::new("Postgres has no TLS on a unix socket", fix),
        );
    }
    let (verify, roots) = trust(desk, name, keys);
    let server_name = keys.server_name.as_ref();
    if let Some(set) = server_name {
        desk.problems.keep(&set.at, plain_host(&set.value));
    }
    UpstreamTls::Enable(TlsClient {
        verify,
        roots,
        server_name: server_name.map_or_else(|| host.to_owned(), |set| set.value.clone()),
        identity: identity(desk, keys),
        crl: keys
            .sslcrl
            .as_ref()
            .map(|set| files::tls_file(desk, set, Wanted::RevocationList)),
        min_version: keys.ssl_min_protocol_version.value,
        negotiation: keys.sslnegotiation.value,
    })
}

fn check_disabled(desk: &mut Resolver<'_>, keys: &UpstreamKeys, host: &str) {
    if !is_local(host) {
        desk.problems.add(
            &keys.sslmode.at,
            Invalid::new(
                "plaintext is allowed only to loopback and unix sockets",
                "write sslmode = \"verify-full\" and give sslrootcert",
            ),
        );
    }
    if keys.sslnegotiation.value == Negotiation::Direct {
        let bad = Invalid::new(
            "direct negotiation needs TLS, and sslmode is disable",
            "take it out, or change sslmode",
        );
        desk.problems.add(&keys.sslnegotiation.at, bad);
    }
    if keys.channel_binding.value == ChannelBinding::Require {
        let bad = Invalid::new(
            "channel binding needs TLS, and sslmode is disable",
            "write \"prefer\", or change sslmode",
        );
        desk.problems.add(&keys.channel_binding.at, bad);
    }
}

/// What is verified, against which roots.
fn trust(desk: &mut Resolver<'_>, name: &str, keys: &UpstreamKeys) -> (Verify, Roots) {
    let mode = keys.sslmode.value;
    let (verify, roots) = match (&keys.sslrootcert, mode) {
        (Some(set), SslMode::VerifyFull) if set.value.0 == "system" => {
            (Verify::Full, Roots::System)
        }
        (Some(set), _) if set.value.0 == "system" => {
            // As in libpq: any public CA would vouch for a server of any name.
            let bad = Invalid::new(
                "the system's CAs are safe only with verify-full",
                "write sslmode = \"verify-full\"",
            );
            desk.problems.add(&set.at, bad);
            (Verify::Full, Roots::System)
        }
        (Some(set), _) => (
            if mode == SslMode::VerifyFull {
                Verify::Full
            } else {
                Verify::Ca
            },
            files::authority(desk, set),
        ),
        (None, SslMode::Require | SslMode::Disable) => (Verify::Nothing, Roots::Unneeded),
        (None, SslMode::VerifyCa | SslMode::VerifyFull) => {
            missing_roots(desk, &keys.section, name);
            (Verify::Full, Roots::System)
        }
    };
    match (verify, mode) {
        (Verify::Ca, SslMode::Require) => desk.problems.warn(format!(
            "upstream {name}: sslmode=require with a CA verifies the chain, as in libpq, but not the host name; \
             any server with a certificate of that CA is accepted"
        )),
        (Verify::Ca, _) => desk.problems.warn(format!(
            "upstream {name}: sslmode=verify-ca does not verify the host name; \
             any server with a certificate of that CA is accepted"
        )),
        (Verify::Nothing, _) => desk.problems.warn(format!(
            "upstream {name}: sslmode=require verifies nothing; \
             whoever stands in the way can read and change everything"
        )),
        (Verify::Full, _) => {}
    }
    (verify, roots)
}

const ROOTS: &str = "write sslrootcert = \"ca-certificate.crt\" (the provider's CA), \
                     or \"system\" for a publicly trusted certificate";

fn missing_roots(desk: &mut Resolver<'_>, section: &Location, name: &str) {
    let entry = (&UpstreamKeys::SECTION, name);
    let (at, mut bad) = missing(section, entry, "sslrootcert", ROOTS);
    bad.message
        .push_str(": without it the server cannot be verified");
    let mode = UpstreamKeys::SECTION.path(Some(name)).join("sslmode");
    if !desk.problems.excuses(&mode.to_string()) {
        desk.problems.add_missing(&at, bad);
    }
}

fn identity(
    desk: &mut Resolver<'_>,
    keys: &UpstreamKeys,
) -> Option<(std::path::PathBuf, std::path::PathBuf)> {
    match (&keys.sslcert, &keys.sslkey) {
        (Some(cert), Some(key)) => Some((
            files::tls_file(desk, cert, Wanted::Certificate),
            files::private_key(desk, key),
        )),
        (Some(one), None) => {
            desk.problems.add(
                &one.at,
                Invalid::new("sslcert without sslkey", "give sslkey too"),
            );
            None
        }
        (None, Some(one)) => {
            desk.problems.add(
                &one.at,
                Invalid::new("sslkey without sslcert", "give sslcert too"),
            );
            None
        }
        (None, None) => None,
    }
}
