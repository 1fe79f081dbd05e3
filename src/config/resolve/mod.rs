//! From what was written to what the proxy works with. Nothing is bound or
//! dialled; files are read only to say now what would fail later.

mod exposure;
mod files;
mod listen;
mod pooling;
mod pools;
mod resolver;
mod upstream;
mod users;

pub(crate) use users::UNUSED_IN_PASSTHROUGH;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use super::app_env;
use super::keys::{AdminKeys, AuthKeys, LimitKeys, LogKeys, Root, UpstreamKeys};
use super::layer::{Merged, Set};
use super::nearest::nearest;
use super::problem::{Invalid, Location, Problems};
use super::value_parsers::FilePath;
use super::values::{
    Admin, Auth, AuthMode, Config, Limits, Listen, Log, LogFormat, Upstream, UpstreamAddress,
};

use resolver::{Resolver, at_least_one, some_time, zero_is_none};

/// Threads beyond this cost memory and gain nothing.
const MAX_WORKERS: usize = 256;

/// Turns the merged values into a configuration; it counts only if no problem
/// was filed, until then it holds stand-ins.
pub(super) fn resolve(
    merged: &Merged,
    env: &BTreeMap<String, String>,
    problems: &mut Problems,
) -> Config {
    let desk = &mut Resolver {
        merged,
        env,
        problems,
    };
    let root = Root::read(&merged.table(&Root::SECTION, None), desk.problems);
    let mut upstreams = upstream::resolve_all(desk);
    let upstream = default_upstream(desk, &root);
    let auth_keys = AuthKeys::read(&merged.table(&AuthKeys::SECTION, None), desk.problems);
    let auth = Auth {
        mode: auth_keys.mode.value,
    };
    let users = users::resolve_all(desk, &auth_keys, upstreams.get(&upstream));
    if auth.mode == AuthMode::Passthrough {
        users::warn_of_unused_credentials(desk);
    }
    let behind = exposure::Behind {
        mode: auth.mode,
        users: &users,
        upstreams: &mut upstreams,
    };
    let listen = listen::resolve(desk, behind);
    refuse_loops(desk, &listen, &upstreams);
    let limits = limits(desk);
    let pooling_keys = pooling::read(desk);
    let pools = pools::resolve_all(desk, &pooling_keys, limits.max_upstream_conn);
    pools::warn_of_strangers(desk, &pools, &users);
    let found = pooling::Resolved {
        keys: &pooling_keys,
        limits: &limits,
        auth: &auth_keys,
        pools: &pools,
    };
    let pooling = Arc::new(pooling::resolve(desk, &found));
    let databases = pools::databases(desk, &pools);
    let admin = admin(desk);
    let log = log(desk);
    Config {
        upstream,
        workers: workers(root.workers.value),
        listen,
        upstreams,
        limits,
        auth,
        users,
        databases,
        pools,
        pooling,
        admin,
        log,
        warnings: desk.problems.warnings.clone(),
    }
}

/// As many as there are cores, at most four: more only serve more sockets in vain.
fn workers(asked: u32) -> usize {
    match usize::try_from(asked) {
        Ok(0) | Err(_) => std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(4),
        Ok(asked) => asked.min(MAX_WORKERS),
    }
}

/// The pools file, needed before the merge is complete.
pub(super) struct PoolsFile {
    pub(super) path: PathBuf,
    pub(super) at: Location,
    written: Set<FilePath>,
}

impl PoolsFile {
    pub(super) fn unreadable(&self, error: &std::io::Error) -> Invalid {
        files::unreadable(&self.written, &self.path, error)
    }
}

pub(super) fn pools_file(merged: &Merged, problems: &mut Problems) -> Option<PoolsFile> {
    let root = Root::read(&merged.table(&Root::SECTION, None), problems);
    root.pools_file.map(|written| PoolsFile {
        path: files::rooted(&written),
        at: written.at.clone(),
        written,
    })
}

const FIRST_UPSTREAM: &str = "write\n    [upstreams.cluster]\n    host = \"db.example.com\"\n    sslrootcert = \"ca-certificate.crt\"";

fn default_upstream(desk: &mut Resolver<'_>, root: &Root) -> String {
    let names = upstream::names(desk);
    match (&root.upstream, names.as_slice()) {
        // It was written, and what is wrong with it is said.
        (_, []) if desk.problems.excuses_in("upstreams") => String::new(),
        (_, []) => {
            let known = ["DB_HOST", "DATABASE_URL"];
            let slip = known
                .iter()
                .find_map(|name| Some((app_env::meant_to_be(desk.env, name)?, name)));
            let fix = match slip {
                Some((other, name)) => format!(
                    "set {name} in place of {other}, which is not read here, and DB_SSL_CERT, \
                     or {FIRST_UPSTREAM}"
                ),
                None => format!("set DB_HOST and DB_SSL_CERT, or {FIRST_UPSTREAM}"),
            };
            let bad = Invalid::new("no upstream is configured", fix);
            desk.problems.add(&root.section, bad);
            String::new()
        }
        (Some(set), names) if !names.contains(&set.value) => {
            let fix = match nearest(&set.value, names.iter().map(String::as_str)) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("write one of: {}", names.join(", ")),
            };
            let message = format!("there is no upstream {:?}", set.value);
            desk.problems.add(&set.at, Invalid::new(message, fix));
            String::new()
        }
        (Some(set), _) => set.value.clone(),
        (None, [only]) => only.clone(),
        (None, _) if desk.problems.excuses("upstream") => String::new(),
        (None, names) => {
            let message = format!("there are {} upstreams, and none is chosen", names.len());
            let mut at = root.section.clone();
            "upstream".clone_into(&mut at.key);
            desk.problems.add(
                &at,
                Invalid::new(message, format!("write upstream = {:?}", names[0])),
            );
            String::new()
        }
    }
}

/// An application's `DB_HOST=localhost` in the proxy's own environment would have
/// the proxy connect to itself until every descriptor is gone.
fn refuse_loops(
    desk: &mut Resolver<'_>,
    listen: &Listen,
    upstreams: &BTreeMap<String, Arc<Upstream>>,
) {
    for (name, upstream) in upstreams {
        // The default in place of a bad value is nobody's wish.
        let section = UpstreamKeys::SECTION.path(Some(name));
        let is_bad = |key: &str| desk.problems.excuses(&section.join(key).to_string());
        if is_bad("port") || is_bad("host") || desk.problems.excuses("listen.addresses") {
            continue;
        }
        let listens_there = match &upstream.address {
            UpstreamAddress::Tcp { host, port } => {
                let is_own = |own: &SocketAddr| own.port() == *port && reaches(host, own.ip());
                listen.addresses.iter().any(is_own)
            }
            UpstreamAddress::Unix(path) => {
                let file = format!(".s.PGSQL.{}", listen.unix_socket_port);
                listen
                    .unix_socket_dirs
                    .iter()
                    .any(|dir| dir.join(&file) == *path)
            }
        };
        if listens_there {
            let Some((_, at)) = desk.merged.get(&section.join("host")) else {
                continue;
            };
            desk.problems.add(
                &at,
                Invalid::new(
                    "points at an address that the proxy itself listens on",
                    "give the server's own host and port, or change listen.addresses",
                ),
            );
        }
    }
}

fn reaches(host: &str, own: IpAddr) -> bool {
    let targets: Vec<IpAddr> = match host.parse() {
        Ok(address) => vec![address],
        Err(_) if upstream::is_localhost(host) => {
            vec![[127, 0, 0, 1].into(), std::net::Ipv6Addr::LOCALHOST.into()]
        }
        Err(_) => Vec::new(),
    };
    targets.iter().any(|target| {
        let any = own.is_unspecified() && target.is_loopback() && target.is_ipv4() == own.is_ipv4();
        *target == own || any
    })
}

fn limits(desk: &mut Resolver<'_>) -> Limits {
    let keys = LimitKeys::read(&desk.merged.table(&LimitKeys::SECTION, None), desk.problems);
    Limits {
        max_client_conn: at_least_one(desk, &keys.max_client_conn),
        max_user_client_connections: zero_is_none(&keys.max_user_client_connections),
        max_db_client_connections: zero_is_none(&keys.max_db_client_connections),
        max_upstream_conn: at_least_one(desk, &keys.max_upstream_conn),
        max_user_connections: zero_is_none(&keys.max_user_connections),
        max_db_connections: zero_is_none(&keys.max_db_connections),
        query_wait_timeout: some_time(desk, &keys.query_wait_timeout),
        client_login_timeout: some_time(desk, &keys.client_login_timeout),
        drain_timeout: keys.drain_timeout.value,
    }
}

fn admin(desk: &mut Resolver<'_>) -> Admin {
    let keys = AdminKeys::read(&desk.merged.table(&AdminKeys::SECTION, None), desk.problems);
    let http = keys.http.and_then(|set| {
        let found = listen::socket_addresses(&set.value);
        let addresses = desk.problems.keep(&set.at, found)?;
        if addresses.iter().any(|address| !address.ip().is_loopback()) {
            desk.problems.add(
                &set.at,
                Invalid::new(
                    format!(
                        "{} is not a loopback address; this face has no login",
                        set.value
                    ),
                    "write for example \"127.0.0.1:9127\"",
                ),
            );
        }
        Some(addresses)
    });
    let hosts = &keys.http_hosts;
    if let Some(host) = hosts.value.0.iter().find(|host| !is_host(host)) {
        desk.problems.add(
            &hosts.at,
            Invalid::new(
                format!("{host:?} is not a name or an address"),
                "write it without scheme, port and path, for example \"metrics.internal\"",
            ),
        );
    }
    Admin {
        http: http.unwrap_or_default(),
        http_hosts: keys.http_hosts.value.0,
        users: keys.users.value.0,
    }
}

/// Whether `text` can be the host in a `Host` header.
fn is_host(text: &str) -> bool {
    let is_name = |text: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        !text.is_empty() && text.bytes().all(allowed)
    };
    let bare = text.strip_prefix('[').and_then(|v6| v6.strip_suffix(']'));
    bare.unwrap_or(text).parse::<IpAddr>().is_ok() || is_name(text)
}

/// The shape of the log alone, of what may be wrong in everything else.
pub(super) fn log_format(merged: &Merged, problems: &mut Problems) -> LogFormat {
    let keys = LogKeys::read(&merged.table(&LogKeys::SECTION, None), problems);
    keys.format.value
}

fn log(desk: &mut Resolver<'_>) -> Log {
    let keys = LogKeys::read(&desk.merged.table(&LogKeys::SECTION, None), desk.problems);
    Log {
        format: keys.format.value,
        level: keys.level.value.0,
    }
}
