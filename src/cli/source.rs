//! Where the configuration comes from: arguments that most commands take.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;

use crate::config::Sources;

/// Where the configuration comes from.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct SourceArgs {
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
    pub(super) fn and(mut self, behind: Self) -> Self {
        self.config = behind.config.or(self.config);
        self.settings.extend(behind.settings);
        self
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.config.is_none() && self.settings.is_empty()
    }

    pub(super) fn sources(self) -> Sources {
        Sources::of_process(
            self.config,
            self.settings.into_iter().collect::<BTreeMap<_, _>>(),
        )
    }
}

fn key_value(text: &str) -> Result<(String, String), &'static str> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

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
