//! `pgsluice run`: the proxy.

use std::io::{self, Write as _};

use tokio_util::sync::CancellationToken;

use super::{Exit, help, log};
use crate::app::{App, AppError};
use crate::config::values::LogFormat;
use crate::config::{self, Problem, Sources};

/// Runs the proxy until a signal ends it.
pub(super) fn run(sources: &Sources) -> Exit {
    let loaded = match config::load(sources) {
        Ok(loaded) => loaded,
        Err(problems) => {
            match config::log_format(sources) {
                LogFormat::Json => log::as_json(|| problems.iter().for_each(log_problem)),
                LogFormat::Text => problems.iter().for_each(tell_problem),
            }
            return Exit::Usage;
        }
    };
    let _flush = match log::start(&loaded.config.log) {
        Ok(flush) => flush,
        Err(reason) => {
            complain(&reason);
            return Exit::Usage;
        }
    };
    let file = loaded
        .file
        .as_deref()
        .map(|file| file.display().to_string());
    tracing::info!(version = help::VERSION, file, "pgsluice starts");
    if loaded.config.holds_secrets() {
        keep_memory_private();
    }
    for warning in &loaded.config.warnings {
        tracing::warn!("{warning}");
    }
    match serve(&loaded.config) {
        Ok(()) => Exit::Done,
        Err(error) => {
            let fix = error.downcast_ref::<AppError>().and_then(AppError::hint);
            let fix = fix.as_deref();
            tracing::error!(target: log::FATAL, %error, fix, "pgsluice cannot start");
            Exit::Usage
        }
    }
}

fn tell_problem(problem: &Problem) {
    complain(&format!("{problem}\n  fix: {}", problem.fix));
}

/// The same for machines, with the fields of `config check --json`.
fn log_problem(problem: &Problem) {
    let (origin, line, key) = (problem.origin_text(), problem.line, &*problem.key);
    let fix = &*problem.fix;
    tracing::error!(target: log::FATAL, origin, line, key, fix, "{}", problem.message);
}

fn serve(config: &config::Config) -> Result<(), Box<dyn std::error::Error>> {
    raise_descriptor_limit(config);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let served = runtime.block_on(async {
        let app = App::build(config)?;
        app.run(CancellationToken::new()).await?;
        Ok(())
    });
    // A name lookup that hangs is not waited for.
    runtime.shutdown_background();
    served
}

/// A core file would have the passwords and keys in it, and so would what a debugger of the
/// same user reads. The limit stops the file, the flag also a program that the kernel would
/// pipe the core to.
fn keep_memory_private() {
    use nix::sys::resource::{Resource, setrlimit};
    let limited = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    #[cfg(target_os = "linux")]
    let limited = limited.and_then(|()| nix::sys::prctl::set_dumpable(false));
    if let Err(error) = limited {
        tracing::warn!(%error, "a crash may write passwords and keys into a core file");
    }
}

/// Each client takes up to two descriptors; the soft limit is often 1024.
fn raise_descriptor_limit(config: &config::Config) {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let needed =
        u64::from(config.limits.max_client_conn) + u64::from(config.limits.max_upstream_conn) + 256;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return;
    };
    if soft < needed && setrlimit(Resource::RLIMIT_NOFILE, needed.min(hard), hard).is_err()
        || hard < needed
    {
        tracing::warn!(
            needed,
            limit = hard,
            "the limit on open files is too low for max_client_conn"
        );
    }
}

/// Says something to whoever started the process, before there is a log.
pub(super) fn complain(text: &str) {
    // Nobody listens on a closed stderr; the exit code speaks.
    let _ = writeln!(io::stderr(), "{text}");
}
