//! `pgsluice verify`: whether one upstream's database holds what another's does.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::exit::Exit;
use super::run::complain;
use super::source::SourceArgs;
use crate::config::values::{Config, Upstream};
use crate::config::{self, Sources};
use crate::toolkit::connect::{ConnectError, Target};
use crate::toolkit::verify::{Options, Report, Verification, VerifyError};

const APPLICATION: &str = "pgsluice verify";

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    pub(super) source: SourceArgs,
    /// Upstream that holds the data: NAME of [upstreams.NAME]
    #[arg(long, value_name = "UPSTREAM")]
    from: String,
    /// Upstream that must hold the same
    #[arg(long, value_name = "UPSTREAM")]
    to: String,
    /// Database on both sides [default: dbname of each upstream]
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
    /// frozen: nobody writes to either side meanwhile
    #[arg(long, value_enum, default_value = "frozen")]
    mode: Mode,
    /// The report as JSON on stdout
    #[arg(long)]
    json: bool,
    /// Write the report as one HTML page, too
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Sessions a side that read rows
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: u16,
    /// Compare the rows of this schema alone; * is any text; may be repeated
    #[arg(long = "schema", value_name = "PATTERN")]
    schemas: Vec<String>,
    /// Compare the rows of this SCHEMA.TABLE alone; * is any text; may be repeated
    #[arg(long = "table", value_name = "PATTERN")]
    tables: Vec<String>,
    /// A role that has another name on the new side; may be repeated
    #[arg(long = "map-role", value_name = "OLD=NEW", value_parser = pair)]
    roles: Vec<(String, String)>,
    /// Read no more than this of each side in a second, e.g. 50MiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_rate: Option<u64>,
    /// Keep no snapshot, and run no statement, longer than this
    #[arg(long, value_name = "DURATION", default_value = "30m", value_parser = config::duration)]
    max_snapshot_age: Duration,
    /// Keys that are shown of a table that differs
    #[arg(long, value_name = "N", default_value_t = 12)]
    samples: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    Frozen,
    SnapshotPair,
}

fn pair(text: &str) -> Result<(String, String), &'static str> {
    let (old, new) = text.split_once('=').ok_or("expected OLD=NEW")?;
    Ok((old.to_owned(), new.to_owned()))
}

/// A number and the unit behind it.
fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(at);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim())?;
    number
        .parse::<u64>()
        .ok()?
        .checked_mul(*factor)
        .filter(|value| *value > 0)
}

fn size(text: &str) -> Result<u64, &'static str> {
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
    with_unit(text, &units).ok_or("expected a size such as 50MiB")
}

/// Compares, and tells.
pub(super) fn verify(sources: &Sources, args: &VerifyArgs) -> Exit {
    if args.mode == Mode::SnapshotPair {
        complain(
            "pgsluice verify: --mode snapshot-pair needs the proxy's pause, which this version does not have\n  \
             fix: stop the writers, and use --mode frozen",
        );
        return Exit::Usage;
    }
    let loaded = match config::load(sources) {
        Ok(loaded) => loaded,
        Err(problems) => {
            for problem in problems {
                complain(&format!("{problem}\n  fix: {}", problem.fix));
            }
            return Exit::Usage;
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("pgsluice verify: {error}"));
            return Exit::Usage;
        }
    };
    let exit = runtime.block_on(run(&loaded.config, args));
    // A name lookup that hangs is not waited for.
    runtime.shutdown_background();
    exit
}

async fn run(config: &Config, args: &VerifyArgs) -> Exit {
    let ended = tokio::select! {
        ended = compare(config, args) => ended,
        _ = tokio::signal::ctrl_c() => return Exit::Interrupted,
    };
    match ended {
        Ok(Some(report)) => tell(&report, args),
        Ok(None) => Exit::Interrupted,
        Err(error) => {
            let fix = error.hint().map(|hint| format!("\n  fix: {hint}"));
            complain(&format!(
                "pgsluice verify: {error}{}",
                fix.unwrap_or_default()
            ));
            exit_of(&error)
        }
    }
}

fn exit_of(error: &VerifyError) -> Exit {
    match error {
        VerifyError::Connect(error) if error.is_configuration() => Exit::Usage,
        VerifyError::Connect(_) => Exit::Connect,
        VerifyError::Sql { .. } | VerifyError::Preflight { .. } => Exit::Preflight,
        VerifyError::NothingChosen | VerifyError::NoUpstream { .. } => Exit::Usage,
    }
}

/// `None` when interrupted.
async fn compare(config: &Config, args: &VerifyArgs) -> Result<Option<Report>, VerifyError> {
    let from = target(config, &args.from, args)?;
    let to = target(config, &args.to, args)?;
    let options = Options {
        schemas: args.schemas.clone(),
        tables: args.tables.clone(),
        roles: args.roles.iter().cloned().collect::<BTreeMap<_, _>>(),
        jobs: usize::from(args.jobs),
        max_rate: args.max_rate,
        max_snapshot_age: args.max_snapshot_age,
        samples: args.samples,
    };
    let verification = Verification::open(from, to, options).await?;
    let shows = io::stderr().is_terminal();
    let mut progress = |text: &str| {
        if shows {
            complain(text);
        }
    };
    tokio::select! {
        report = verification.run(&mut progress) => report.map(Some),
        _ = tokio::signal::ctrl_c() => {
            verification.cancel().await;
            Ok(None)
        }
    }
}

fn target(config: &Config, name: &str, args: &VerifyArgs) -> Result<Target, VerifyError> {
    let upstream: &Arc<Upstream> =
        config
            .upstreams
            .get(name)
            .ok_or_else(|| VerifyError::NoUpstream {
                name: name.to_owned(),
                known: config.upstreams.keys().cloned().collect(),
            })?;
    let target = Target::new(upstream, args.database.as_deref(), APPLICATION);
    target.map_err(|error: ConnectError| error.into())
}

fn tell(report: &Report, args: &VerifyArgs) -> Exit {
    let written = match args.json {
        true => writeln!(io::stdout(), "{:#}", report.to_json()),
        false => write!(io::stdout(), "{report}"),
    };
    // A report that nobody got is no proof.
    if let Err(error) = written {
        complain(&format!(
            "pgsluice verify: the report cannot be written: {error}"
        ));
        return Exit::Different;
    }
    if let Some(file) = &args.report
        && let Err(error) = std::fs::write(file, report.to_html())
    {
        complain(&format!(
            "pgsluice verify: {} cannot be written: {error}",
            file.display()
        ));
        return Exit::Different;
    }
    match report.is_equal() {
        true => Exit::Done,
        false => Exit::Different,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(size("50MiB"), Ok(50 << 20));
        for text in ["", "50", "MiB", "-1MiB", "0MiB", "99999999999999GiB", "5MB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
