//! Arguments to actions, one file a command, and the exit codes.

pub(crate) mod config;
mod demo;
mod log;
mod run;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::config::Sources;
use crate::demo::DemoOptions;

/// What a command ended as; the numbers are the contract with scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    /// Usage or configuration.
    Usage = 2,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A local sidecar proxy for Postgres: plaintext localhost in, verified TLS out.
#[derive(Debug, Parser)]
#[command(name = "pgsluice", version, args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    source: SourceArgs,
}

const EXAMPLES: &str = "Examples:
  pgsluice                                run with ./proxy.toml and the environment
  pgsluice run -c /etc/pgsluice/proxy.toml
  pgsluice run --set limits.max_client_conn=50
  pgsluice config check                   every problem of the configuration at once
  pgsluice demo --once                    a throwaway TLS server, the proxy, the proof";

/// Where the configuration comes from.
#[derive(Debug, Clone, Args)]
struct SourceArgs {
    /// Configuration file [default: ./proxy.toml if it exists]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one key, above file and environment, e.g. limits.max_client_conn=50
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    settings: Vec<(String, String)>,
}

impl SourceArgs {
    fn sources(self) -> Sources {
        Sources::of_process(
            self.config,
            self.settings.into_iter().collect::<BTreeMap<_, _>>(),
        )
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the proxy (the default)
    Run(SourceArgs),
    /// Start a throwaway TLS-only Postgres and the proxy in front of it
    Demo(DemoOptions),
    /// Check or show the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print completions for a shell
    Completions { shell: clap_complete::Shell },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Report every problem at once, with line and fix
    Check(ConfigArgs),
    /// Print the effective value of every key and where it came from
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

fn key_value(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

/// Runs the command that the process was started with.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        None => run::run(&cli.source.sources()).into(),
        Some(Command::Run(source)) => run::run(&source.sources()).into(),
        Some(Command::Demo(options)) => demo::demo(options),
        Some(Command::Config(command)) => config(command),
        Some(Command::Completions { shell }) => {
            clap_complete::generate(shell, &mut Cli::command(), "pgsluice", &mut io::stdout());
            Exit::Done.into()
        }
    }
}

fn config(command: ConfigCommand) -> ExitCode {
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let written = match command {
        ConfigCommand::Check(args) => {
            config::check(&args.source.sources(), args.json, &mut out, &mut err)
        }
        ConfigCommand::Show(args) => {
            config::show(&args.source.sources(), args.json, &mut out, &mut err)
        }
    };
    match written {
        Ok(code) => code.into(),
        // A closed pipe: whoever asked has read enough.
        Err(_) => Exit::Done.into(),
    }
}
