//! Configuration: what was written and where (`file`, `environment`, `plan`, the
//! table of `keys`), what it becomes (`resolve`), what the proxy works with
//! (`values`).
//!
//! Precedence: defaults < `proxy.toml` < the plan's `DB_*` variables <
//! `PGSLUICE_*` < flags. This is the only room that names figment and toml.

mod environment;
mod file;
mod keys;
mod kinds;
mod layer;
mod plan;
mod pools_file;
mod problem;
mod resolve;
mod schema;
mod show;
mod url;
pub(crate) mod values;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use layer::{Layer, Merged};
use problem::{At, Bad, Origin, Problems};

pub(crate) use problem::Problem;
pub(crate) use show::Setting;
pub(crate) use values::Config;

/// The file that is read without `-c`, if it exists.
const DEFAULT_FILE: &str = "proxy.toml";

/// Everything that configuration is made from.
#[derive(Clone, Default)]
pub(crate) struct Sources {
    /// The file given with `-c`.
    pub(crate) file: Option<PathBuf>,
    pub(crate) env: BTreeMap<String, String>,
    /// Dotted key to text, for example `limits.max_client_conn` to `50`.
    pub(crate) flags: BTreeMap<String, String>,
}

impl Sources {
    /// The sources of this process: the one place that reads the environment.
    pub(crate) fn of_process(file: Option<PathBuf>, flags: BTreeMap<String, String>) -> Self {
        let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let env = std::env::vars_os().map(|(name, text)| (lossy(name), lossy(text)));
        Self {
            file,
            env: env.collect(),
            flags,
        }
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

impl Loaded {
    /// The effective values as TOML, each with its origin in a comment.
    pub(crate) fn to_toml(&self) -> String {
        show::as_toml(&self.settings)
    }

    pub(crate) fn to_json(&self) -> serde_json::Value {
        show::as_json(&self.settings)
    }
}

/// Reads all sources; either everything is right or every problem is reported.
///
/// Blocks on the file system and, for listen addresses that are names, on name
/// resolution.
pub(crate) fn load(sources: &Sources) -> Result<Loaded, Vec<Problem>> {
    let default = || Path::new(DEFAULT_FILE);
    let file = match &sources.file {
        Some(file) => Some(file.as_path()),
        None => Some(default()).filter(|file| file.exists()),
    };
    load_file(file, sources)
}

fn load_file(path: Option<&Path>, sources: &Sources) -> Result<Loaded, Vec<Problem>> {
    let mut problems = Problems::default();
    let file = match path {
        Some(path) => read_file(path, &mut problems),
        None => Layer::new("file"),
    };
    // A file that cannot be read would make everything else look wrong too.
    if !problems.is_empty() && !file.has_any() {
        return Err(problems.into_sorted());
    }
    let environment = environment::variables(&sources.env, &file, &mut problems);
    let flags = environment::flags(&sources.flags, &mut problems);
    let around = plan::Neighbours {
        file: &file,
        stronger: [&environment, &flags],
    };
    let plan = plan::variables(&sources.env, &around, &mut problems);
    let merged = with_pools_file(&[file, plan, environment, flags], &mut problems);
    let config = resolve::resolve(&merged, &sources.env, &mut problems);
    if !problems.is_empty() {
        return Err(problems.into_sorted());
    }
    let settings = show::settings(&merged, &config);
    Ok(Loaded {
        config,
        settings,
        file: path.map(Path::to_owned),
    })
}

fn read_file(path: &Path, problems: &mut Problems) -> Layer {
    match std::fs::read_to_string(path) {
        Ok(text) => file::read(path, &text, problems),
        Err(error) => {
            let at = At::source(Origin::File(path.to_owned()));
            problems.add(
                &at,
                Bad::new(
                    format!("cannot be read: {error}"),
                    "give a readable file with -c",
                ),
            );
            Layer::new("file")
        }
    }
}

/// Merges the layers, and between them the pools of the file that they name.
fn with_pools_file(layers: &[Layer; 4], problems: &mut Problems) -> Merged {
    let merged = Merged::new(layers);
    let Some(pools_file) = resolve::pools_file(&merged, problems) else {
        return merged;
    };
    let text = match std::fs::read_to_string(&pools_file.value) {
        Ok(text) => text,
        Err(error) => {
            let message = format!("{} cannot be read: {error}", pools_file.value.display());
            problems.add(
                &pools_file.at,
                Bad::new(message, "give the path of a readable JSON file"),
            );
            return merged;
        }
    };
    let [file, plan, environment, flags] = layers;
    let first = pools_file::first_free(&[file, plan, environment, flags]);
    let pools = pools_file::read(&pools_file.value, &text, first, problems);
    let all = [file, &pools, plan, environment, flags];
    Merged::new(&all.map(Clone::clone))
}
