//! Configuration: what was written and where (`file`, `environment`, `app_env`, the
//! table of `keys`), what it becomes (`resolve`), what the proxy works with
//! (`values`).
//!
//! Precedence: defaults < `proxy.toml` < the plan's `DB_*` variables <
//! `PGSLUICE_*` < flags. This is the only room that names figment and toml.

mod app_env;
pub(crate) mod encoding;
mod environment;
mod file;
mod foreign;
mod keys;
mod layer;
mod log_filter;
mod lookup;
mod meant;
mod nearest;
mod pools_file;
mod problem;
mod require_auth;
mod resolve;
mod schema;
mod show;
mod url;
mod value_parsers;
pub(crate) mod values;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use keys::SECTIONS;
use layer::{Layer, Merged};
use problem::{Invalid, Location, Origin, Problems};

pub(crate) use problem::Problem;
pub(crate) use resolve::UNUSED_IN_PASSTHROUGH;
pub(crate) use show::{Setting, as_json, as_toml};
pub(crate) use values::Config;
use values::LogFormat;

/// The file that is read without `-c`, if it exists.
const DEFAULT_FILE: &str = "proxy.toml";

/// Everything that configuration is made from.
#[derive(Clone, Default)]
pub(crate) struct Sources {
    /// The file given with `-c`.
    pub(crate) file: Option<PathBuf>,
    pub(crate) env: BTreeMap<String, String>,
    /// Variables whose value is not UTF-8.
    pub(crate) env_not_text: BTreeSet<String>,
    /// Dotted key to text, for example `limits.max_client_conn` to `50`.
    pub(crate) flags: BTreeMap<String, String>,
}

impl Sources {
    /// The sources of this process: the one place that reads the environment.
    pub(crate) fn of_process(file: Option<PathBuf>, flags: BTreeMap<String, String>) -> Self {
        let mut sources = Self {
            file,
            flags,
            ..Self::default()
        };
        for (name, value) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            match value.into_string() {
                Ok(text) => drop(sources.env.insert(name, text)),
                Err(_not_text) => drop(sources.env_not_text.insert(name)),
            }
        }
        sources
    }
}

/// A complete configuration, and the story of its values.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    /// Every key in effect, with its origin; secrets are masked already.
    pub(crate) settings: Vec<Setting>,
    /// The file that was read.
    pub(crate) file: Option<PathBuf>,
}

/// Reads all sources; either everything is right or every problem is reported.
///
/// Blocks on the file system and, for listen addresses that are names, on name
/// resolution.
pub(crate) fn load(sources: &Sources) -> Result<Loaded, Vec<Problem>> {
    load_file(file_of(sources), sources)
}

/// What can be said of the settings even where some are wrong or missing, and
/// every problem. A key with a problem is left out: its value may be anything.
pub(crate) fn survey(sources: &Sources) -> (Vec<Setting>, Vec<Problem>) {
    match examine(file_of(sources), sources) {
        (Some(loaded), problems) => (loaded.settings, problems),
        (None, problems) => (Vec::new(), problems),
    }
}

/// A time as the configuration writes it: `30s`, `5m`.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    <Duration as value_parsers::Kind>::parse(text)
        .map_err(|bad| format!("{}: {}", bad.message, bad.fix))
}

fn file_of(sources: &Sources) -> Option<&Path> {
    let default = || Some(Path::new(DEFAULT_FILE)).filter(|file| file.exists());
    sources.file.as_deref().or_else(default)
}

/// The shape of log that the sources ask for, as far as they can be read: what is
/// wrong with them is told in it.
pub(crate) fn log_format(sources: &Sources) -> LogFormat {
    let mut ignored = Problems::default();
    let file = match file_of(sources) {
        Some(path) => read_file(path, &mut ignored),
        None => Layer::new("file"),
    };
    let environment = environment::variables(&sources.env, &file, &mut ignored);
    let flags = environment::flags(&sources.flags, &mut ignored);
    resolve::log_format(
        &Merged::new(&[file, environment, flags], SECTIONS),
        &mut ignored,
    )
}

fn load_file(path: Option<&Path>, sources: &Sources) -> Result<Loaded, Vec<Problem>> {
    match examine(path, sources) {
        (Some(loaded), problems) if problems.is_empty() => Ok(loaded),
        (_, problems) => Err(problems),
    }
}

/// With a problem, what is loaded holds stand-ins.
fn examine(path: Option<&Path>, sources: &Sources) -> (Option<Loaded>, Vec<Problem>) {
    let mut problems = Problems::default();
    let file = match path {
        Some(path) => read_file(path, &mut problems),
        None => Layer::new("file"),
    };
    // A file that cannot be read would make everything else look wrong too.
    if !problems.is_empty() && !file.has_any() {
        return (None, problems.into_sorted());
    }
    for name in &sources.env_not_text {
        if environment::is_ours(name) || app_env::is_variable(name) {
            let at = Location::source(Origin::Env(name.clone()));
            let fix = "write it in UTF-8, or put the value into a file";
            problems.add(&at, Invalid::new("the value is not UTF-8", fix));
        }
    }
    let environment = environment::variables(&sources.env, &file, &mut problems);
    let flags = environment::flags(&sources.flags, &mut problems);
    let around = app_env::Neighbours {
        file: &file,
        stronger: [&environment, &flags],
    };
    let plan = app_env::variables(&sources.env, &around, &mut problems);
    let merged = with_pools_file(&[file, plan, environment, flags], &mut problems);
    let config = resolve::resolve(&merged, &sources.env, &mut problems);
    let mut settings = show::settings(&merged, &config);
    settings.retain(|setting| !problems.excuses(&setting.key));
    let loaded = Loaded {
        config,
        settings,
        file: path.map(Path::to_owned),
    };
    (Some(loaded), problems.into_sorted())
}

fn read_file(path: &Path, problems: &mut Problems) -> Layer {
    match std::fs::read_to_string(path) {
        Ok(text) => file::read(path, &text, problems),
        Err(error) => {
            let at = Location::source(Origin::File(path.to_owned()));
            problems.add(&at, unreadable(path, &error));
            Layer::new("file")
        }
    }
}

/// Why the file itself cannot be read; it is named in front.
fn unreadable(path: &Path, error: &std::io::Error) -> Invalid {
    use std::io::ErrorKind;
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match error.kind() {
        ErrorKind::NotFound => Invalid::new(
            format!("there is no such file ({})", whole.display()),
            "give the path of the configuration file with -c; without -c it is ./proxy.toml, \
             if there is one",
        ),
        ErrorKind::PermissionDenied => Invalid::new(
            format!("this user may not read it ({})", whole.display()),
            "let the user that runs pgsluice read it (chown, chmod), and enter the directories \
             above it",
        ),
        ErrorKind::IsADirectory => Invalid::new(
            format!("is a directory ({})", whole.display()),
            "give the file; docker makes a directory of a mounted file that is not there: remove \
             the directory, and put the file in its place",
        ),
        ErrorKind::InvalidData => Invalid::new(
            "is not text in UTF-8",
            "save it as UTF-8; it is TOML, as in the example proxy.toml",
        ),
        _ => Invalid::new(
            format!("cannot be read: {error}"),
            "give a readable file with -c",
        ),
    }
}

/// Merges the layers, and between them the pools of the file that they name.
fn with_pools_file(layers: &[Layer; 4], problems: &mut Problems) -> Merged {
    let merged = Merged::new(layers, SECTIONS);
    let Some(pools_file) = resolve::pools_file(&merged, problems) else {
        return merged;
    };
    let text = match std::fs::read_to_string(&pools_file.path) {
        Ok(text) => text,
        Err(error) => {
            problems.add(&pools_file.at, pools_file.unreadable(&error));
            return merged;
        }
    };
    let [file, plan, environment, flags] = layers;
    let first = pools_file::first_free(&[file, plan, environment, flags]);
    let pools = pools_file::read(&pools_file.path, &text, first, problems);
    let all = [file, &pools, plan, environment, flags];
    Merged::new(&all.map(Clone::clone), SECTIONS)
}
