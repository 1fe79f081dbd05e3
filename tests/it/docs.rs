//! The papers are true where that can be checked cheaply: tables agree with the
//! source, links lead somewhere, and no text names the machine it was written on.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Where everything of ours is, and what may stand there beside it.
const OURS: [&str; 14] = [
    ".ci",
    "bench",
    "docs",
    "examples",
    "scripts",
    "src",
    "tests",
    "Cargo.toml",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "docker-compose.yml",
];
const FOREIGN: [&str; 2] = ["node_modules", "__pycache__"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every text file of the project, with its path from the root.
fn texts() -> Vec<(PathBuf, String)> {
    let mut pending: Vec<_> = OURS.iter().map(|name| root().join(name)).collect();
    let mut found = Vec::new();
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap());
            let ours =
                entries.filter(|entry| !FOREIGN.iter().any(|name| entry.file_name() == *name));
            pending.extend(ours.map(|entry| entry.path()));
        } else if let Ok(text) = fs::read_to_string(&path) {
            found.push((path.strip_prefix(root()).unwrap().to_owned(), text));
        }
    }
    assert!(found.len() > 100, "the project was not found");
    found
}

fn papers() -> Vec<(PathBuf, String)> {
    let mut texts = texts();
    texts.retain(|(path, _)| path.extension().is_some_and(|extension| extension == "md"));
    texts
}

/// What stands in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The rows of the table under `heading`, header and rule left out.
fn table<'a>(text: &'a str, heading: &str) -> impl Iterator<Item = &'a str> {
    let (_, below) = text.split_once(heading).expect(heading);
    let rows = below.lines().skip_while(|line| !line.starts_with('|'));
    rows.take_while(|line| line.starts_with('|')).skip(2)
}

/// The name that a heading is linked by.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Without blocks of code, whose brackets are no links and whose `#` no headings.
fn prose(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

#[test]
fn every_sqlstate_in_the_source_is_in_the_table_and_the_other_way_round() {
    let source = read("src/wire/sqlstate.rs");
    let in_source: BTreeSet<_> = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub(crate) const "))
        .filter_map(|line| line.strip_suffix("\");")?.split_once(": Self = Self(\""))
        .map(|(name, code)| format!("{code} {name}"))
        .collect();
    let protocol = read("docs/protocol.md");
    let in_table: BTreeSet<_> = table(&protocol, "### SQLSTATEs")
        .map(|row| row.split('|').map(str::trim).collect::<Vec<_>>())
        .map(|cells| format!("{} {}", cells[1].trim_matches('`'), cells[2]))
        .collect();
    assert!(in_source.len() >= 9, "the constants were not found");
    assert_eq!(in_table, in_source);
}

#[test]
fn every_label_of_a_tls_fault_is_in_the_list_of_cures_and_the_other_way_round() {
    let source = read("src/tls/fault.rs");
    let (_, labels) = source.split_once("fn label(&self)").unwrap();
    let in_source: BTreeSet<_> = labels
        .lines()
        .take_while(|line| *line != "    }")
        .filter_map(|line| line.split('"').nth(1))
        .collect();
    let operations = read("docs/operations.md");
    let in_list: BTreeSet<_> = table(&operations, "## When TLS to the upstream fails")
        .flat_map(|row| quoted(row.split('|').nth(1).unwrap()))
        .collect();
    assert!(in_source.len() > 20, "the labels were not found");
    assert_eq!(in_list, in_source);
}

#[test]
fn every_dependency_has_a_reason_and_every_reason_a_dependency() {
    let manifest = read("Cargo.toml");
    let manifest: toml::Table = manifest.parse().unwrap();
    let in_manifest: BTreeSet<_> = ["dependencies", "dev-dependencies"]
        .iter()
        .flat_map(|section| manifest[*section].as_table().unwrap().keys())
        .map(String::as_str)
        .collect();
    let architecture = read("docs/architecture.md");
    let in_table: BTreeSet<_> = table(&architecture, "## Dependencies")
        .flat_map(|row| quoted(row.split('|').nth(1).unwrap()))
        .collect();
    assert_eq!(in_table, in_manifest);
}

#[test]
fn every_link_leads_to_a_file_and_to_a_heading_in_it() {
    let mut broken = Vec::new();
    for (path, text) in papers() {
        for link in prose(&text).split("](").skip(1) {
            let link = link.split(')').next().unwrap();
            if link.starts_with("http") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => root().join(&path),
                file => root().join(path.parent().unwrap()).join(file),
            };
            let leads = target.exists()
                && (heading.is_empty()
                    || prose(&fs::read_to_string(&target).unwrap())
                        .lines()
                        .filter(|line| line.starts_with('#'))
                        .any(|line| anchor(line.trim_start_matches('#')) == heading));
            if !leads {
                broken.push(format!("{} links to {link}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_readme_names_the_command_that_ci_runs_and_the_exit_codes_of_the_program() {
    let readme = read("README.md");
    let (ci, makefile) = (read(".ci/run"), read("Makefile"));
    for target in ["demo", "test"] {
        assert!(
            readme.contains(&format!("\nmake {target} ")),
            "make {target}"
        );
        assert!(makefile.contains(&format!("\n{target}:")), "{target}");
    }
    assert!(ci.contains("make --no-print-directory test\n"));
    let operations = read("docs/operations.md");
    let codes = |text: &str, heading: &str| -> BTreeSet<u8> {
        let cells =
            table(text, heading).map(|row| row.split('|').nth(1).unwrap().trim().to_owned());
        cells.map(|cell| cell.parse().unwrap()).collect()
    };
    let in_readme = codes(&readme, "## Exit codes");
    assert_eq!(in_readme, codes(&operations, "## Exit codes"));
    assert_eq!(in_readme, BTreeSet::from([0, 1, 2, 3, 4, 130]));
}

#[test]
fn no_text_names_a_machine() {
    let forbidden = [
        concat!("/wo", "rk/"),
        concat!("/tmp/", "wt"),
        concat!("/ho", "me/"),
        concat!("/ro", "ot/"),
    ];
    for (path, text) in texts() {
        for name in forbidden {
            assert!(!text.contains(name), "{} names {name}", path.display());
        }
    }
}
