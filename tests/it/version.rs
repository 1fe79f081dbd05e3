//! Which commit a binary says it is of: what the build script finds out.

use std::path::Path;
use std::process::Command;

#[path = "../../build.rs"]
#[allow(dead_code, reason = "cargo runs the script, this tests a part of it")]
mod build_script;

use build_script::commit;

fn git(root: &Path, arguments: &[&str]) {
    let identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"];
    let mut command = Command::new("git");
    command.arg("-C").arg(root).args(identity).args(arguments);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

#[test]
fn the_commit_is_that_of_the_sources_and_of_nothing_around_them() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    assert_eq!(commit(root), None, "no repository");
    git(root, &["init", "--quiet"]);
    assert_eq!(commit(root), None, "no commit");
    let (source, inner) = (root.join("src"), root.join("vendor"));
    std::fs::create_dir(&source).unwrap();
    std::fs::create_dir(&inner).unwrap();
    std::fs::write(source.join("main.rs"), "fn main() {}").unwrap();
    std::fs::write(inner.join("build.rs"), "fn main() {}").unwrap();
    git(root, &["add", "."]);
    git(root, &["commit", "--quiet", "-m", "First"]);
    let first = commit(root).unwrap();
    assert!(
        first.len() >= 12 && first.chars().all(|c| c.is_ascii_hexdigit()),
        "{first}"
    );
    assert_eq!(commit(&inner), None, "unpacked in somebody's repository");
    std::fs::write(root.join("notes"), "not a source").unwrap();
    assert_eq!(commit(root), Some(first.clone()));
    std::fs::write(source.join("lib.rs"), "").unwrap();
    assert_eq!(commit(root), Some(format!("{first}-dirty")));
}
