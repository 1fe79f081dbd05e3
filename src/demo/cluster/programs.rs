//! Where the server programs of Postgres are.
//!
//! Debian and others keep `initdb` and `postgres` out of `PATH`, in one
//! directory a version.

use std::cmp::Reverse;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use super::ClusterError;

/// Directories that hold one directory a version, and what follows the version.
const PACKAGED: [(&str, &str, &str); 4] = [
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/opt/homebrew/opt", "postgresql@", "bin"),
    ("/usr/local/opt", "postgresql@", "bin"),
];

/// The directory to use: the one that was named, else one in `PATH`, else the newest.
pub(crate) fn find(named: Option<&Path>) -> Result<PathBuf, ClusterError> {
    if let Some(dir) = named {
        return if is_complete(dir) {
            Ok(dir.to_owned())
        } else {
            Err(ClusterError::NotInstalled {
                searched: dir.display().to_string(),
            })
        };
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(packaged())
        .find(|dir| is_complete(dir))
        .ok_or_else(|| ClusterError::NotInstalled {
            searched: "PATH, /usr/lib/postgresql/*/bin".to_owned(),
        })
}

fn is_complete(dir: &Path) -> bool {
    ["initdb", "postgres"]
        .iter()
        .all(|program| dir.join(program).is_file())
}

/// Installed versions, the newest first.
fn packaged() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for (parent, prefix, bin) in PACKAGED {
        for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let version = name.to_str().and_then(|name| name.strip_prefix(prefix));
            if let Some(version) = version.and_then(major_version) {
                found.push((Reverse(version), entry.path().join(bin)));
            }
        }
    }
    found.sort();
    found.into_iter().map(|(_, dir)| dir).collect()
}

/// `17`, and `9` for `9.6`, which is old enough not to be told from `9.5`.
fn major_version(text: &str) -> Option<u32> {
    text.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(major_version("15") > major_version("9.6"));
        assert_eq!(major_version("common"), None);
    }

    #[test]
    fn a_named_directory_is_the_only_one_considered() {
        let empty = tempfile::tempdir().unwrap();
        let error = find(Some(empty.path())).unwrap_err();
        assert!(error.to_string().contains("apt-get install postgresql"));
    }
}
