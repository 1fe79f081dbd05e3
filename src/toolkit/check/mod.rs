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
mod moving;
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

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Servers,
    /// Also the old server, and what stands in the way of a move.
    BeforeMove,
}

/// The upstreams that are meant: all, or the one that is named, with the old server if the
/// scope has it. Old ones come first: the others are compared with them.
///
/// # Errors
/// There is none of that name; what there is.
pub(crate) fn chosen<'a>(
    config: &'a Config,
    name: Option<&str>,
    scope: Scope,
) -> Result<Vec<&'a Arc<Upstream>>, String> {
    if let Some(name) = name.filter(|name| !config.upstreams.contains_key(*name)) {
        let names: Vec<_> = config.upstreams.keys().map(String::as_str).collect();
        return Err(format!(
            "there is no upstream {name:?}; the configuration has: {}",
            names.join(", ")
        ));
    }
    let is_old = |upstream: &Arc<Upstream>| moving::is_old(upstream, &config.upstream);
    let is_meant = |upstream: &&Arc<Upstream>| {
        name.is_none_or(|name| upstream.name == name)
            || scope == Scope::BeforeMove && is_old(upstream)
    };
    let mut meant: Vec<_> = config.upstreams.values().filter(is_meant).collect();
    meant.sort_by_key(|upstream| !is_old(upstream));
    Ok(meant)
}

/// Looks at each of them.
pub(crate) async fn check(config: &Config, upstreams: &[&Arc<Upstream>], scope: Scope) -> Report {
    let began = Instant::now();
    let planned = || {
        let steps = Step::ALL.into_iter();
        steps.filter(move |step| *step != Step::Move || scope == Scope::BeforeMove)
    };
    let (mut reports, mut olds) = (Vec::new(), Vec::new());
    for upstream in upstreams {
        let planned = planned().collect();
        reports.push(probe::examine(config, upstream, planned, &mut olds).await);
    }
    let has_old = upstreams
        .iter()
        .any(|upstream| moving::is_old(upstream, &config.upstream));
    let mut configuration = configuration(config);
    if scope == Scope::BeforeMove && !has_old {
        configuration.push(moving::no_old_server());
    }
    Report {
        configuration,
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
