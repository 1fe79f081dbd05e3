//! The pool under load, for `tests/endurance/run`, which sets the environment:
//! PG* lead to the proxy, UPSTREAM_* to the server, PROXY_PID is the proxy.
//!
//!     soak run [MINUTES [CLIENTS [CAP]]]   every answer checked, nothing lost or leaked
//!     soak priorities [SECONDS]            waits of three pools at one cap
//!     soak recovery                        the server cut, frozen, refusing
//!     soak storm [SECONDS]                 connect, ask, leave
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a tool for tests: what it cannot do ends it, and figures are what it is for"
)]

mod guest;
mod measures;
mod recovery;
mod run;
mod wire;

use std::env;
use std::net::SocketAddr;
use std::process::ExitCode;

use wire::Target;

pub struct Places {
    pub proxy: Target,
    /// The server itself, through TLS.
    pub direct: Target,
    pub superuser: Target,
    pub proxy_pid: u32,
}

impl Places {
    fn of_environment() -> Self {
        let var = |name: &str| env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
        let address = |host: &str, port: &str| -> SocketAddr {
            format!("{}:{}", var(host), var(port)).parse().unwrap()
        };
        let proxy = Target {
            address: address("PGHOST", "PGPORT"),
            tls: None,
            user: var("PGUSER"),
            password: var("PGPASSWORD"),
            database: var("PGDATABASE"),
        };
        let direct = Target {
            address: address("UPSTREAM_HOST", "UPSTREAM_PORT"),
            tls: Some(wire::tls(&var("UPSTREAM_CA"))),
            ..proxy.clone()
        };
        let superuser = Target {
            password: var("UPSTREAM_SUPERUSER_PASSWORD"),
            ..direct.is(&var("UPSTREAM_SUPERUSER"), &proxy.database)
        };
        let proxy_pid = var("PROXY_PID").parse().unwrap();
        Self {
            proxy,
            direct,
            superuser,
            proxy_pid,
        }
    }
}

/// The `at`th argument after the command, or what is usual.
fn argument<T: std::str::FromStr>(at: usize, usual: T) -> T {
    let given = env::args().nth(at + 1);
    given.and_then(|given| given.parse().ok()).unwrap_or(usual)
}

fn main() -> ExitCode {
    let places = Places::of_environment();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let outcome = runtime.block_on(async {
        match env::args().nth(1).as_deref() {
            Some("run") => {
                run::run(&places, argument(1, 0.5), argument(2, 500), argument(3, 8)).await
            }
            Some("priorities") => measures::priorities(&places, argument(1, 20)).await,
            Some("recovery") => recovery::recovery(&places).await,
            Some("storm") => measures::storm(&places, argument(1, 5)).await,
            _ => Err("soak run | priorities | recovery | storm".to_owned()),
        }
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("FAILED: {error}");
            ExitCode::FAILURE
        }
    }
}
