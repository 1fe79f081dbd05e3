//! `pgsluice check`: its arguments, and when it is repeated.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep};

use super::exit::Exit;
use super::run::complain;
use super::source::SourceArgs;
use crate::config::{self, Config, Problem};
use crate::toolkit::check::{self, Detail, Report, Scope};

/// Between two attempts with `--wait`.
const PAUSE: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// The upstream to look at; all of them if none is named
    #[arg(value_name = "UPSTREAM")]
    upstream: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
    /// Repeat until all is well, for at most this long, e.g. 5m
    #[arg(long, value_name = "TIME", value_parser = config::duration)]
    wait: Option<Duration>,
    /// Before the move: look at the old server too, and at what stands in the way
    #[arg(long)]
    pre: bool,
    /// A warning, or something that was not checked, counts as a failure
    #[arg(long)]
    strict: bool,
}

#[derive(Debug, Args)]
struct OutputArgs {
    /// Say only what is not well
    #[arg(long)]
    short: bool,
    /// For machines
    #[arg(long)]
    json: bool,
}

/// Runs the check and prints what it found.
pub(super) fn check(before: SourceArgs, args: CheckArgs) -> ExitCode {
    let sources = before.and(args.source.clone()).sources();
    let config = match config::load(&sources) {
        Ok(loaded) => loaded.config,
        Err(problems) => return refuse(&problems, args.output.json),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&error.to_string());
            return Exit::Usage.into();
        }
    };
    let report = runtime.block_on(repeat(&config, &args));
    // A name lookup that hangs is not waited for.
    runtime.shutdown_background();
    match report {
        Ok(report) => show(&report, &args),
        Err(text) => {
            complain(&text);
            Exit::Usage.into()
        }
    }
}

async fn repeat(config: &Config, args: &CheckArgs) -> Result<Report, String> {
    let scope = match args.pre {
        true => Scope::BeforeMove,
        false => Scope::Servers,
    };
    let upstreams = check::chosen(config, args.upstream.as_deref(), scope)?;
    let deadline = Instant::now() + args.wait.unwrap_or_default();
    let mut said = None;
    loop {
        let report = check::check(config, &upstreams, scope).await;
        let code = report.exit_code(args.strict);
        let left = deadline.saturating_duration_since(Instant::now());
        if code == 0 || left.is_zero() {
            return Ok(report);
        }
        let cause = report.cause();
        // Once for each cause: the wait may be long.
        if said != Some(cause.clone()) {
            let (text, seconds) = (cause.as_deref().unwrap_or("a warning"), left.as_secs());
            complain(&format!("not yet ({seconds} s left): {text}"));
            said = Some(cause);
        }
        sleep(PAUSE.min(left)).await;
    }
}

fn show(report: &Report, args: &CheckArgs) -> ExitCode {
    let code = report.exit_code(args.strict);
    let detail = match args.output.short {
        true => Detail::Short,
        false => Detail::Full,
    };
    let text = match args.output.json {
        true => format!("{:#}\n", check::json(report, code)),
        false => check::text(report, detail, code),
    };
    print(&text);
    code.into()
}

fn refuse(problems: &[Problem], json: bool) -> ExitCode {
    let exit = Exit::Usage;
    if json {
        let problems: Vec<_> = problems.iter().map(Problem::to_json).collect();
        let report = check::json_of_problems(&problems, exit as u8);
        print(&format!("{report:#}\n"));
        return exit.into();
    }
    for problem in problems {
        complain(&format!("{problem}\n  fix: {}", problem.fix));
    }
    complain("nothing was checked: the configuration comes first");
    exit.into()
}

fn print(text: &str) {
    // A closed pipe: whoever asked has read enough.
    let _ = io::stdout().write_all(text.as_bytes());
}
