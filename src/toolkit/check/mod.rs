//! `pgsluice check`: whether each server can be reached, trusted and logged in to, and what
//! will be in the way, in the order of dependence.
//!
//! `report` is the core and has no sockets: which step is next, the verdict, the exit code.
//! The rest are small questions. Nothing is changed, on the servers or here; before a server
//! is verified nothing is sent to it but SSLRequest and the beginning of a handshake, and a
//! login goes through `Upstream::connect` as the proxy's own does.

mod account;
mod limits;
mod login;
mod probe;
mod reach;
mod refusal;
mod render;
mod report;
mod secure;
mod server;
mod session;
mod step;
mod topic;
mod versions;
mod words;

use std::sync::Arc;

use tokio::time::Instant;

use crate::config::values::Upstream;
use crate::config::{Config, UNUSED_IN_PASSTHROUGH};
use report::Finding;
use step::Step;
use topic::Topic;

pub(crate) use render::{Detail, json, json_of_problems, text};
pub(crate) use report::Report;

/// The upstreams that are meant: all, or the one that is named.
///
/// # Errors
/// There is none of that name; what there is.
pub(crate) fn chosen<'a>(
    config: &'a Config,
    name: Option<&str>,
) -> Result<Vec<&'a Arc<Upstream>>, String> {
    let Some(name) = name else {
        return Ok(config.upstreams.values().collect());
    };
    let one = config.upstreams.get(name);
    one.map(|upstream| vec![upstream]).ok_or_else(|| {
        let names: Vec<_> = config.upstreams.keys().map(String::as_str).collect();
        format!(
            "there is no upstream {name:?}; the configuration has: {}",
            names.join(", ")
        )
    })
}

/// Looks at each of them.
pub(crate) async fn check(config: &Config, upstreams: &[&Arc<Upstream>]) -> Report {
    let began = Instant::now();
    let planned = || Step::ALL.into_iter().filter(|step| *step != Step::Move);
    let mut reports = Vec::new();
    for upstream in upstreams {
        reports.push(probe::examine(config, upstream, planned().collect()).await);
    }
    Report {
        configuration: configuration(config),
        upstreams: reports,
        seconds: began.elapsed().as_secs_f64(),
    }
}

fn configuration(config: &Config) -> Vec<Finding> {
    // What no client is given, a check does use.
    let about_others = |warning: &&String| !warning.contains(UNUSED_IN_PASSTHROUGH);
    let warnings = config.warnings.iter().filter(about_others).map(|warning| {
        let cure = "see each value in effect, and where it came from: pgsluice config show";
        Finding::warn(warning.clone(), cure, Topic::Configuration)
    });
    let fine = format!(
        "read without a problem; sessions go to {:?}",
        config.upstream
    );
    std::iter::once(Finding::pass(fine))
        .chain(warnings)
        .collect()
}
