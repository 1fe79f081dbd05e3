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
    let clients = read("docs/clients.md");
    let in_table: BTreeSet<_> = table(&clients, "### SQLSTATEs")
        .map(|row| row.split('|').map(str::trim).collect::<Vec<_>>())
        .map(|cells| format!("{} {}", cells[1].trim_matches('`'), cells[2]))
        .collect();
    assert!(in_source.len() >= 9, "the constants were not found");
    assert_eq!(in_table, in_source);
}

/// The texts in the function that begins so.
fn texts_in<'a>(source: &'a str, function: &str) -> BTreeSet<&'a str> {
    let (_, body) = source.split_once(function).expect(function);
    body.lines()
        .take_while(|line| *line != "    }")
        .filter_map(|line| line.split('"').nth(1))
        .collect()
}

/// What stands in backticks in a column of the table under `heading`.
fn column<'a>(text: &'a str, heading: &str, number: usize) -> BTreeSet<&'a str> {
    table(text, heading)
        .flat_map(|row| quoted(row.split('|').nth(number).unwrap()))
        .collect()
}

#[test]
fn every_reason_to_keep_or_to_close_a_pooled_connection_is_explained() {
    let pooling = read("docs/pooling.md");
    for (file, function, heading) in [
        (
            "src/state/tracker/hold.rs",
            "fn label(self)",
            "## Why a client keeps its connection",
        ),
        (
            "src/pool/allocator/types.rs",
            "fn label(self)",
            "## Connections that end",
        ),
        ("src/session/handle.rs", "fn name(self)", "## Timeouts"),
    ] {
        let source = read(file);
        let in_source = texts_in(&source, function);
        assert!(in_source.len() >= 4, "the labels were not found in {file}");
        assert_eq!(column(&pooling, heading, 1), in_source, "{heading}");
    }
}

#[test]
fn every_timeout_of_pools_has_the_sqlstate_that_is_told() {
    let handle = read("src/session/handle.rs");
    let sqlstates = read("src/wire/sqlstate.rs");
    let (_, faults) = handle.split_once("fn fault(self)").unwrap();
    let mut pairs = BTreeSet::new();
    let mut constant = "";
    for line in faults.lines().take_while(|line| *line != "    }") {
        if let Some((_, name)) = line.split_once("SqlState::") {
            constant = name.trim_end_matches(',');
        } else if let Some((_, name)) = line.split_once("due to ") {
            let (_, code) = sqlstates
                .split_once(&format!("const {constant}: Self = Self(\""))
                .expect(constant);
            pairs.insert((name.trim_end_matches("\","), &code[..5]));
        }
    }
    let pooling = read("docs/pooling.md");
    let in_table: BTreeSet<_> = table(&pooling, "## Timeouts")
        .map(|row| (quoted(row).next().unwrap(), quoted(row).last().unwrap()))
        .collect();
    assert_eq!(in_table, pairs);
}

#[test]
fn every_setting_that_replaces_one_of_pgbouncer_is_one() {
    let pooling = read("docs/pooling.md");
    let configuration = read("docs/configuration.md");
    let named = column(&pooling, "## For those who come from pgbouncer", 2);
    assert!(named.len() > 10, "the settings were not found");
    for name in named {
        let key = format!("| `{name}` |");
        let section = format!("### `{name}`");
        assert!(
            configuration.contains(&key) || configuration.contains(&section),
            "{name}"
        );
    }
}

#[test]
fn every_metric_that_a_paper_names_exists() {
    let metrics = read("docs/metrics.md");
    for (path, text) in papers() {
        for name in quoted(&prose(&text)) {
            let name = name.split('{').next().unwrap();
            if name.starts_with("pgsluice_") && !name.contains(' ') {
                let row = format!("| `{name}` |");
                assert!(metrics.contains(&row), "{}: {name}", path.display());
            }
        }
    }
}

#[test]
fn every_label_of_a_tls_fault_is_in_the_list_of_cures_and_the_other_way_round() {
    let source = read("src/tls/fault.rs");
    let in_source = texts_in(&source, "fn label(&self)");
    let operations = read("docs/operations.md");
    assert!(in_source.len() > 20, "the labels were not found");
    let in_list = column(&operations, "## When TLS to the upstream fails", 1);
    assert_eq!(in_list, in_source);
}

#[test]
fn every_finding_of_a_check_points_to_a_section_and_every_section_is_pointed_to() {
    let source = read("src/toolkit/check/topic.rs");
    let anchors = texts_in(&source, "fn anchor(self)");
    assert!(anchors.len() > 20, "the anchors were not found");
    let paper = prose(&read("docs/troubleshooting.md"));
    let headings = paper.lines().filter_map(|line| line.strip_prefix("## "));
    let headings: BTreeSet<_> = headings.map(anchor).collect();
    let headings: BTreeSet<_> = headings.iter().map(String::as_str).collect();
    assert_eq!(anchors, headings);
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
    let architecture = read("docs/internals/architecture.md");
    let in_table = column(&architecture, "## Dependencies", 1);
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
fn the_readme_names_the_command_that_ci_runs() {
    let readme = read("README.md");
    let (ci, makefile) = (read(".ci/run"), read("Makefile"));
    for target in ["demo", "test", "build"] {
        assert!(
            readme.contains(&format!("\nmake {target} ")),
            "make {target}"
        );
        assert!(makefile.contains(&format!("\n{target}:")), "{target}");
    }
    assert!(ci.contains("make --no-print-directory test\n"));
}

#[test]
fn every_exit_code_is_explained() {
    let operations = read("docs/operations.md");
    let codes: BTreeSet<u8> = table(&operations, "## Exit codes")
        .map(|row| row.split('|').nth(1).unwrap().trim().parse().unwrap())
        .collect();
    assert_eq!(codes, BTreeSet::from([0, 1, 2, 3, 4, 130]));
}

/// Help and errors send people there.
#[test]
fn every_paper_that_the_program_names_exists() {
    let mut named = 0;
    for (path, text) in texts() {
        if !path.starts_with("src") {
            continue;
        }
        for (at, _) in text.match_indices("docs/") {
            let Some(end) = text[at..].find(".md") else {
                continue;
            };
            let paper = &text[at..at + end + 3];
            if paper.contains(char::is_whitespace) {
                continue;
            }
            named += 1;
            assert!(
                root().join(paper).exists(),
                "{} names {paper}",
                path.display()
            );
        }
    }
    assert!(named > 5, "the papers were not found");
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

/// `ps` and `down` are for when something is missing; and a mistake is not mended by
/// a restart, nor a file by a directory of its name.
#[test]
fn the_compose_file_asks_for_nothing_before_its_containers_start() {
    let file = read("docker-compose.yml");
    for (at, _) in file.match_indices("${") {
        let (before, rest) = (&file[..at], &file[at..]);
        let expression = rest.split('}').next().unwrap();
        // Two dollars are the shell's one, in the container.
        assert!(
            before.ends_with('$') || expression.contains(":-"),
            "{expression}"
        );
    }
    let lines = || file.lines().map(str::trim);
    for line in lines().filter(|line| line.starts_with("restart:")) {
        assert!(line.contains("on-failure:"), "{line}");
    }
    assert!(
        !lines().any(|line| line.starts_with("- ./")),
        "a short bind"
    );
}
