//! What the log says once the proxy listens: a line for each thing that is easily
//! other than one thinks. Warnings about them are the configuration's.

use std::net::SocketAddr;

use crate::config::Config;
use crate::config::values::{AuthMode, PoolMode, Roots, UpstreamAddress, UpstreamTls, Verify};

/// Says where sessions come in and go, and what holds for them.
pub(super) fn greet(config: &Config, listens: &[String]) {
    let Some(upstream) = config.upstreams.get(&config.upstream) else {
        return;
    };
    let name = &*upstream.name;
    let to = match &upstream.address {
        UpstreamAddress::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
        UpstreamAddress::Tcp { host, port } => format!("{host}:{port}"),
        UpstreamAddress::Unix(path) => path.display().to_string(),
    };
    let from = addresses(listens);
    tracing::info!(upstream = name, from, to, "{from} → {to}");
    verification(name, &upstream.tls);
    auth(config);
    pooling(config);
    let limits = &config.limits;
    let (upstreams, clients) = (limits.max_upstream_conn, limits.max_client_conn);
    tracing::info!(
        max_upstream_conn = upstreams,
        max_client_conn = clients,
        "cap: {upstreams} connections to the upstream, {clients} clients"
    );
    let http = config.admin.http.iter();
    let urls: Vec<_> = http
        .map(|address| format!("http://{address}/metrics"))
        .collect();
    match urls.is_empty() {
        false => tracing::info!("metrics: {}", urls.join(", ")),
        true => tracing::info!("metrics: off (admin.http is not set)"),
    }
}

/// Both loopback addresses with one port are `localhost`.
fn addresses(listens: &[String]) -> String {
    let both: Vec<SocketAddr> = listens
        .iter()
        .filter_map(|text| text.parse().ok())
        .collect();
    match &*both {
        [one, other]
            if listens.len() == 2
                && one.port() == other.port()
                && one.ip() != other.ip()
                && one.ip().is_loopback()
                && other.ip().is_loopback() =>
        {
            format!("localhost:{}", one.port())
        }
        _ => listens.join(", "),
    }
}

fn verification(upstream: &str, tls: &UpstreamTls) {
    let UpstreamTls::Enable(tls) = tls else {
        tracing::info!(
            upstream,
            sslmode = "disable",
            "verification: none, plaintext"
        );
        return;
    };
    let roots = match &tls.roots {
        Roots::File(path) => path.display().to_string(),
        Roots::Inline(_) => "given as text".to_owned(),
        Roots::System => "the system's".to_owned(),
        Roots::Unneeded => "none".to_owned(),
    };
    let server_name = &*tls.server_name;
    let (sslmode, what) = match tls.verify {
        Verify::Full => ("verify-full", format!("name {server_name}, CA {roots}")),
        Verify::Ca => ("verify-ca", format!("any name, CA {roots}")),
        Verify::Nothing => ("require", "none, encrypted only".to_owned()),
    };
    tracing::info!(upstream, sslmode, "verification: {sslmode} ({what})");
}

fn auth(config: &Config) {
    let (mode, what) = match config.auth.mode {
        AuthMode::Passthrough => ("passthrough", "the upstream checks clients".to_owned()),
        AuthMode::Held => {
            let users = config.users.len();
            ("held", format!("pgsluice checks clients, {users} users"))
        }
    };
    tracing::info!(mode, "auth: {mode} ({what})");
}

fn pooling(config: &Config) {
    let rules = config.pooling.rules();
    let mode = match rules.defaults.mode {
        PoolMode::Session => "session",
        PoolMode::Transaction => "transaction",
        PoolMode::Statement => "statement",
    };
    let pools = rules.pools.len();
    let (size, used) = (rules.defaults.size, config.pooling.is_used());
    match (used, pools) {
        (false, _) => tracing::info!(
            mode,
            "pool mode: {mode} (each client has a connection of its own)"
        ),
        (true, 0) => tracing::info!(mode, size, "pool mode: {mode}, size {size}"),
        (true, _) => tracing::info!(
            mode,
            size,
            pools,
            "pool mode: {mode}, size {size}; {pools} of [[pools]] have their own"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_loopbacks_are_localhost() {
        let said = |listens: &[&str]| {
            addresses(
                &listens
                    .iter()
                    .map(|text| (*text).to_owned())
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(said(&["127.0.0.1:5432", "[::1]:5432"]), "localhost:5432");
        for listens in [
            &["127.0.0.1:5432"][..],
            &["127.0.0.1:5432", "[::1]:5433"],
            &["127.0.0.1:5432", "/run/.s.PGSQL.5432"],
            &["127.0.0.1:1", "[::1]:1", "/run/.s.PGSQL.1"],
        ] {
            assert_eq!(said(listens), listens.join(", "));
        }
    }
}
