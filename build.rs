//! Tells the binary which commit it is of: `pgsluice --version`.
//!
//! `BUILD_COMMIT` says so where the source comes without its history, as in an
//! image or a package. Otherwise git is asked, in release builds only: a new commit would
//! make every debug build begin anew. Without either the version stands alone. Nothing
//! here depends on the time or the place of the build.

#![allow(
    clippy::print_stdout,
    reason = "cargo reads what a build script prints"
)]

use std::path::Path;
use std::process::Command;

/// What a build depends on; changes in anything else are not this binary's.
const SOURCES: [&str; 4] = ["src", "build.rs", "Cargo.toml", "Cargo.lock"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=BUILD_COMMIT");
    let given = std::env::var("BUILD_COMMIT")
        .ok()
        .filter(|commit| !commit.trim().is_empty());
    let is_release = std::env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let asked = || {
        let root = Path::new(".");
        watch(root);
        commit(root)
    };
    let commit = match given {
        Some(given) => Some(given.trim().to_owned()),
        None if is_release => asked(),
        None => None,
    };
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let commit = commit.map_or_else(String::new, |commit| format!(" ({commit})"));
    println!("cargo::rustc-env=PGSLUICE_VERSION={version}{commit}");
}

/// The commit of the repository whose root is `root`, with `-dirty` if its sources are
/// others; `None` if there is no such repository.
pub(crate) fn commit(root: &Path) -> Option<String> {
    // A source unpacked in somebody's repository is not of that one's commit.
    if !git(root, &["rev-parse", "--show-prefix"])?.is_empty() {
        return None;
    }
    let commit = git(root, &["rev-parse", "--short=12", "HEAD"])?;
    let arguments = ["status", "--porcelain", "--"];
    let changed = git(root, &[&arguments[..], &SOURCES].concat())?;
    Some(if changed.is_empty() {
        commit
    } else {
        format!("{commit}-dirty")
    })
}

/// Has this script run again when the answer may be another.
fn watch(root: &Path) {
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    // Written with every commit and checkout.
    if let Some(log) = git(root, &["rev-parse", "--git-path", "logs/HEAD"])
        && Path::new(&log).exists()
    {
        println!("cargo::rerun-if-changed={log}");
    }
}

fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    // Looking must not write.
    command.arg("--no-optional-locks").arg("-C").arg(root);
    let output = command.args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
