//! Files import one another without cycles, inside rooms too.
//!
//! What a file imports is what it names by `crate::`, `self::`, `super::` or by a child's
//! name, in a `use` or in the middle of code. A name that a file re-exports counts for the file that
//! defines it. `mod child;` and `pub use child::Name` import nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::{is_test, sources};

/// Rooms that are being rebuilt: their cycles are not looked at until that is done.
/// None is to be added.
const UNDER_CONSTRUCTION: &[&str] = &[];

type Path = Vec<String>;

#[derive(Default)]
struct File {
    code: String,
    /// Names that `use` brings into it, and what they stand for.
    names: BTreeMap<String, Path>,
    /// What it names.
    imports: Vec<Path>,
}

/// By module path: `session::pooled`; the root is empty.
struct Files(BTreeMap<Path, File>);

impl Files {
    fn read() -> Self {
        let mut files = BTreeMap::new();
        for source in sources().iter().filter(|source| !is_test(source)) {
            let path = source.path.with_extension("");
            let mut module: Path = path
                .iter()
                .map(|part| part.to_str().unwrap().to_owned())
                .collect();
            if matches!(module.last().map(String::as_str), Some("mod" | "lib")) {
                module.pop();
            }
            let code = source.code.clone();
            files.insert(
                module,
                File {
                    code,
                    ..File::default()
                },
            );
        }
        let mut files = Self(files);
        for module in files.0.keys().cloned().collect::<Vec<_>>() {
            let (uses, rest) = uses_of(&files.0[&module].code);
            let mut names = BTreeMap::new();
            let mut imports = Vec::new();
            for (is_public, path) in uses {
                let (path, alias) = path.split_once(" as ").unwrap_or((&path, ""));
                let Some(path) = files.resolve(&module, path.trim(), &BTreeMap::new()) else {
                    continue;
                };
                let name = match alias {
                    "" => path.last().cloned().unwrap_or_default(),
                    alias => alias.trim().to_owned(),
                };
                names.insert(name, path.clone());
                if !is_public {
                    imports.push(path);
                }
            }
            for path in paths_in(&rest) {
                imports.extend(files.resolve(&module, &path, &names));
            }
            let file = files.0.get_mut(&module).unwrap();
            (file.names, file.imports) = (names, imports);
        }
        files
    }

    /// A path as written in `module`, from the root; `None` for other crates and types.
    fn resolve(&self, module: &Path, path: &str, names: &BTreeMap<String, Path>) -> Option<Path> {
        let mut parts: Vec<String> = path
            .split("::")
            .map(|part| part.trim().to_owned())
            .collect();
        let mut at = module.clone();
        match parts[0].as_str() {
            "crate" => {
                at.clear();
                parts.remove(0);
            }
            "self" => drop(parts.remove(0)),
            "super" => {
                while parts.first().is_some_and(|part| part == "super") {
                    at.pop();
                    parts.remove(0);
                }
            }
            first => {
                let child: Path = at.iter().cloned().chain([first.to_owned()]).collect();
                if !self.0.contains_key(&child) {
                    at = names.get(first)?.clone();
                    parts.remove(0);
                }
            }
        }
        at.extend(parts.into_iter().filter(|part| part != "self"));
        Some(at)
    }

    /// The file that defines what `path` leads to.
    fn owner(&self, path: &Path) -> Path {
        let mut path = path.clone();
        // No chain of re-exports is longer.
        for _ in 0..8 {
            let len = (0..=path.len())
                .rev()
                .find(|len| self.0.contains_key(&path[..*len]));
            let len = len.expect("there is a root");
            let next = path
                .get(len)
                .and_then(|name| self.0[&path[..len]].names.get(name))
                .map(|target| [target, &path[len + 1..]].concat());
            match next {
                Some(next) if next != path => path = next,
                _ => {
                    path.truncate(len);
                    break;
                }
            }
        }
        path
    }

    fn edges(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut edges = BTreeMap::new();
        for (module, file) in &self.0 {
            let owners = file.imports.iter().map(|path| self.owner(path));
            let others = owners.filter(|owner| owner != module && !owner.is_empty());
            edges.insert(
                module.join("::"),
                others.map(|owner| owner.join("::")).collect(),
            );
        }
        edges
    }
}

/// The trees of all `use` items, flat, with whether each is a re-export; and the code
/// without them.
fn uses_of(code: &str) -> (Vec<(bool, String)>, String) {
    let mut uses = Vec::new();
    let mut rest = String::new();
    let mut item: Option<(bool, String)> = None;
    for line in code.lines() {
        let trimmed = line.trim();
        if item.is_none() {
            let (is_public, tail) = match trimmed.strip_prefix("pub") {
                Some(tail) => (true, tail.split_once(' ').map_or("", |(_, tail)| tail)),
                None => (false, trimmed),
            };
            match tail.strip_prefix("use ") {
                Some(tree) => item = Some((is_public, tree.to_owned())),
                None => {
                    rest.push_str(line);
                    rest.push('\n');
                }
            }
        } else if let Some((_, tree)) = &mut item {
            tree.push(' ');
            tree.push_str(trimmed);
        }
        if let Some((is_public, tree)) = item.take_if(|(_, tree)| tree.ends_with(';')) {
            let flat = flatten(tree.trim_end_matches(';'));
            uses.extend(flat.into_iter().map(|path| (is_public, path)));
        }
    }
    (uses, rest)
}

/// `a::{b, c::{d, e}}` as `a::b`, `a::c::d`, `a::c::e`.
fn flatten(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((prefix, inner)) = tree.split_once('{') else {
        return vec![tree.to_owned()];
    };
    let inner = inner.strip_suffix('}').expect("a use tree is closed");
    let mut depth = 0;
    let parts = inner.split(|c| {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    });
    parts
        .filter(|part| !part.trim().is_empty())
        .flat_map(flatten)
        .map(|part| format!("{prefix}{part}"))
        .collect()
}

/// Every `a::b::C` in code, but for `pub(in a::b)`.
fn paths_in(code: &str) -> Vec<String> {
    let mut parts = code.split("pub(in ");
    let first = parts.next().unwrap_or_default().to_owned();
    let code = parts.fold(first, |code, part| {
        code + part.split_once(')').map_or("", |(_, rest)| rest)
    });
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    code.split(|c| !is_word(c))
        .map(|word| word.trim_matches(':'))
        .filter(|word| word.contains("::"))
        .map(str::to_owned)
        .collect()
}

/// Sets of files that reach one another.
fn cycles(edges: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<BTreeSet<String>> {
    let reach = |from: &String| {
        let mut seen = BTreeSet::new();
        let mut pending: Vec<&String> = edges[from].iter().collect();
        while let Some(file) = pending.pop() {
            if seen.insert(file.clone()) {
                pending.extend(edges.get(file).into_iter().flatten());
            }
        }
        seen
    };
    let reached: BTreeMap<_, _> = edges.keys().map(|file| (file, reach(file))).collect();
    edges
        .keys()
        .filter(|file| reached[*file].contains(*file))
        .map(|file| {
            let back = |other: &&String| reached.get(*other).is_some_and(|set| set.contains(file));
            reached[file].iter().filter(back).cloned().collect()
        })
        .collect()
}

#[test]
fn architecture_files_import_one_another_without_cycles() {
    let edges = Files::read().edges();
    let is_skipped = |file: &String| {
        let room = file.split("::").next().unwrap_or_default();
        UNDER_CONSTRUCTION.contains(&room)
    };
    let mut report = String::new();
    for cycle in cycles(&edges) {
        if cycle.iter().all(is_skipped) {
            continue;
        }
        for file in &cycle {
            let others: Vec<_> = edges[file].intersection(&cycle).collect();
            writeln!(report, "{file} imports {others:?}").unwrap();
        }
        report.push('\n');
    }
    assert!(report.is_empty(), "cycles of imports:\n{report}");
}

#[test]
fn architecture_imports_are_read_as_the_compiler_reads_them() {
    let (uses, rest) = uses_of("use super::a::{self, b::{C, D}};\npub(super) use x::Y;\nfn f() {}");
    let uses: Vec<_> = uses
        .iter()
        .map(|(public, path)| (*public, path.as_str()))
        .collect();
    let expected = [
        (false, "super::a::self"),
        (false, "super::a::b::C"),
        (false, "super::a::b::D"),
        (true, "x::Y"),
    ];
    assert_eq!(uses, expected);
    assert_eq!(rest, "fn f() {}\n");
    assert_eq!(
        paths_in("pub(in a::x) fn f() { sub::make(b::C::new()) }"),
        ["sub::make", "b::C::new"]
    );
    let edges = [("a", "b"), ("b", "c"), ("c", "b"), ("d", "d2")];
    let edges: BTreeMap<_, BTreeSet<_>> = edges
        .into_iter()
        .map(|(from, to)| (from.to_owned(), BTreeSet::from([to.to_owned()])))
        .collect();
    let cycle = BTreeSet::from(["b".to_owned(), "c".to_owned()]);
    assert_eq!(cycles(&edges), BTreeSet::from([cycle]));
}
