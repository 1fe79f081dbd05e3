//! Arguments to actions, one file a command, and the exit codes.

pub(crate) mod config;
mod demo;
mod exit;
mod help;
mod log;
mod run;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::config::Sources;
use crate::demo::DemoOptions;

use exit::Exit;

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

/// Where the configuration comes from.
#[derive(Debug, Clone, Default, Args)]
struct SourceArgs {
    /// Configuration file [default: ./proxy.toml if it exists]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set one key, above file and environment, e.g. limits.max_client_conn=50
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    settings: Vec<(String, String)>,
}

impl SourceArgs {
    /// Both, as they stand before and behind the name of a command: what stands behind
    /// is nearer to it, and wins.
    fn and(mut self, behind: Self) -> Self {
        self.config = behind.config.or(self.config);
        self.settings.extend(behind.settings);
        self
    }

    const fn is_empty(&self) -> bool {
        self.config.is_none() && self.settings.is_empty()
    }

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

fn key_value(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
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

    #[test]
    fn what_stands_behind_a_command_wins_and_nothing_is_lost() {
        let before = SourceArgs {
            config: Some("a.toml".into()),
            settings: vec![("x".to_owned(), "1".to_owned())],
        };
        let behind = SourceArgs {
            config: None,
            settings: vec![
                ("x".to_owned(), "2".to_owned()),
                ("y".to_owned(), "3".to_owned()),
            ],
        };
        let both = before.and(behind).sources();
        assert_eq!(both.file, Some("a.toml".into()));
        let flags: Vec<_> = both.flags.iter().map(|(k, v)| (&**k, &**v)).collect();
        assert_eq!(flags, [("x", "2"), ("y", "3")]);
    }
}
