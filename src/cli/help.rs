//! What `--help` and `--version` say beyond the arguments themselves: `-h` is a reminder,
//! `--help` what somebody needs who has nothing but the binary.

/// The version, and the commit where the build knew it: `build.rs` writes it.
pub(super) const VERSION: &str = env!("PGSLUICE_VERSION");

macro_rules! examples {
    () => {
        "Examples:
  pgsluice                                run with ./proxy.toml and the environment
  pgsluice run -c /etc/pgsluice/proxy.toml
  pgsluice run --set limits.max_client_conn=50
  pgsluice -c proxy.toml config check     every problem of the configuration at once
  pgsluice check                          reach, trust, login, limits, latency of each server
  pgsluice demo --once                    a throwaway TLS server, the proxy, the proof"
    };
}

macro_rules! environment {
    () => {
        "Environment (above the file, below --set; an empty variable counts as unset):
  PGSLUICE_SECTION__KEY   any key by its path: PGSLUICE_LIMITS__MAX_CLIENT_CONN=50,
                          PGSLUICE_UPSTREAMS__CLUSTER__SSLMODE=verify-full
  DATABASE_URL            the upstream \"cluster\", as an application has it; or in parts:
  DB_HOST, DB_PORT, DB_NAME, DB_USER, DB_PASSWORD, DB_SSL_MODE, DB_SSL_CERT
  DB_POOL_NAME, DB_POOL_MODE, DB_POOL_SIZE, DB_POOL_URL   a pool on DB_NAME"
    };
}

macro_rules! exit_codes {
    () => {
        "Exit codes:
  0    done; for run: ended by a signal
  1    verify: a difference, or something unchecked; demo: the proof failed
  2    usage, configuration, or an address that cannot be listened on
  3    check: something is wrong (with --strict also a warning); verify: the sides cannot be
       compared; demo: no Postgres to start
  4    check, verify: no connection, TLS or login; demo: the server or the proxy did not start
  130  verify, demo: interrupted"
    };
}

macro_rules! documentation {
    () => {
        "Documentation, beside the source:
  docs/quick-start.md      where to begin
  docs/configuration.md    every key, the environment, secrets
  docs/operations.md       signals, logs, systemd, what each failure means
  docs/troubleshooting.md  each error that users meet, its cause and cure
  docs/pooling.md          sharing connections
  docs/verify.md           comparing two databases
  docs/clients.md          drivers, and every error that a client can get"
    };
}

pub(super) const SHORT: &str = concat!(
    examples!(),
    "\n\n--help says more: environment, exit codes, documentation."
);

pub(super) const LONG: &str = concat!(
    examples!(),
    "\n\n",
    environment!(),
    "\n\n",
    exit_codes!(),
    "\n\n",
    documentation!()
);

pub(super) const RUN: &str = concat!(
    "Signals:
  TERM, INT (Ctrl-C)   drain: sessions may finish for limits.drain_timeout; again: end now
  QUIT                 end now
  HUP                  drain if the terminal is closed, else a warning: reload is planned

",
    environment!(),
    "\n\n",
    exit_codes!(),
    "\n\n",
    documentation!()
);

pub(super) const CONFIG: &str = concat!(
    "Examples:
  pgsluice config check -c proxy.toml     exit code 2 if there is a problem
  pgsluice config show --json             each value in effect, and where it came from

",
    environment!(),
    "\n\n",
    exit_codes!(),
    "\n\n",
    documentation!()
);

pub(super) const DEMO: &str = concat!(
    "Examples:
  pgsluice demo           until Ctrl-C; says how to connect
  pgsluice demo --once    ends after the proof

",
    exit_codes!(),
    "\n\n",
    documentation!()
);

pub(super) const CHECK: &str = concat!(
    "Examples:
  pgsluice check                     every upstream
  pgsluice check cluster --short     one of them; only what is not well
  pgsluice check --pre               before the move: the old server, and what blocks
  pgsluice check --wait 5m           until all is well, for at most five minutes
  pgsluice check --strict --json     for a pipeline

It only reads. A login needs upstreams.NAME.user and its password, or held users.

",
    environment!(),
    "\n\n",
    exit_codes!(),
    "\n\n",
    documentation!()
);

pub(super) const VERIFY: &str = concat!(
    "Examples:
  pgsluice verify --from legacy --to cluster
  pgsluice verify --from legacy --to cluster --json --report evidence.html
  pgsluice verify --from legacy --to cluster --table 'public.order*' --max-rate 50MiB
  pgsluice verify --from legacy --to cluster --map-role postgres=doadmin

",
    environment!(),
    "\n\n",
    exit_codes!(),
    "\n\n",
    documentation!()
);
