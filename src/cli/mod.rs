//! Arguments to actions, one file a command, and the exit codes.

mod check;
pub(crate) mod config;
mod demo;
mod exit;
mod help;
mod log;
mod run;
mod source;
mod verify;

use std::io;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::demo::DemoOptions;

use exit::Exit;
use source::SourceArgs;

/// A local sidecar proxy for Postgres: plaintext localhost in, verified TLS out.
#[derive(Debug, Parser)]
#[command(name = "pgsluice", version = help::VERSION)]
#[command(after_help = help::SHORT, after_long_help = help::LONG)]
struct Cli {
    #[command(flatten)]
    source: SourceArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy (the default)
    #[command(after_long_help = help::RUN)]
    Run(SourceArgs),
    /// Start a throwaway TLS-only Postgres and the proxy in front of it
    #[command(after_long_help = help::DEMO)]
    Demo(DemoOptions),
    /// Check or show the configuration
    #[command(after_long_help = help::CONFIG)]
    Config {
        #[command(flatten)]
        source: SourceArgs,
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Look at the servers: reach, trust, login, limits, latency
    #[command(after_long_help = help::CHECK)]
    Check(check::CheckArgs),
    /// Prove that one upstream's database holds what another's does
    #[command(after_long_help = help::VERIFY)]
    Verify(verify::VerifyArgs),
    /// Print completions for a shell
    Completions { shell: clap_complete::Shell },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Report every problem at once, with line and fix
    #[command(after_long_help = help::CONFIG)]
    Check(ConfigArgs),
    /// Print the effective value of every key and where it came from
    #[command(after_long_help = help::CONFIG)]
    Show(ConfigArgs),
}

#[derive(Debug, Args)]
struct ConfigArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// For machines
    #[arg(long)]
    json: bool,
}

/// Runs the command that the process was started with.
#[must_use]
pub fn run() -> ExitCode {
    let Cli { source, command } = Cli::parse();
    let takes_none = matches!(
        command,
        Some(Command::Demo(_) | Command::Completions { .. })
    );
    if takes_none && !source.is_empty() {
        let text = "this command reads no configuration: take out -c and --set";
        let error = Cli::command().error(ErrorKind::ArgumentConflict, text);
        // Nobody listens on a closed stderr; the exit code speaks.
        let _ = error.print();
        return Exit::Usage.into();
    }
    match command {
        None => run::run(&source.sources()).into(),
        Some(Command::Run(behind)) => run::run(&source.and(behind).sources()).into(),
        Some(Command::Demo(options)) => demo::demo(options),
        Some(Command::Config {
            source: behind,
            command,
        }) => config(source.and(behind), command),
        Some(Command::Check(args)) => check::check(source, args),
        Some(Command::Verify(args)) => {
            let sources = source.and(args.source.clone()).sources();
            verify::verify(&sources, &args).into()
        }
        Some(Command::Completions { shell }) => {
            clap_complete::generate(shell, &mut Cli::command(), "pgsluice", &mut io::stdout());
            Exit::Done.into()
        }
    }
}

fn config(source: SourceArgs, command: ConfigCommand) -> ExitCode {
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let written = match command {
        ConfigCommand::Check(args) => {
            let sources = source.and(args.source).sources();
            config::check(&sources, args.json, &mut out, &mut err)
        }
        ConfigCommand::Show(args) => {
            let sources = source.and(args.source).sources();
            config::show(&sources, args.json, &mut out, &mut err)
        }
    };
    match written {
        Ok(code) => code.into(),
        // A closed pipe: whoever asked has read enough.
        Err(_) => Exit::Done.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
