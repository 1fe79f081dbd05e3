//! What an unknown name was meant to be: a key in the wrong section, a slip of
//! the keyboard, one underscore for two, another program's word; and how to say
//! so in the spelling of the source that it was written in.

use super::foreign::Foreign;
use super::keys::SECTIONS;
use super::nearest::{nearest, nearest_above};
use super::problem::Invalid;
use super::schema::{Key, Path, Repeat, Section, env_name, header, toml_key};

/// A name in any section must be nearer than one in the section that was named.
const NEAR_ELSEWHERE: f64 = 0.75;

/// The best guess at what was meant.
#[derive(Debug)]
pub(super) enum Guess {
    Key(Target),
    /// A section, where a key or another section's name was written.
    Section(&'static Section),
    /// There is no such key, and this is what to do instead.
    Advice(&'static str),
    Nothing,
}

/// A key, and where it belongs.
#[derive(Debug)]
pub(super) struct Target {
    section: &'static Section,
    key: &'static Key,
    /// Other sections that have a key of this name.
    also: Vec<&'static Section>,
    /// What else there is to know.
    note: &'static str,
}

impl Target {
    const fn new(section: &'static Section, key: &'static Key) -> Self {
        Self {
            section,
            key,
            also: Vec::new(),
            note: "",
        }
    }

    /// Which entry of a repeated section: the one that was written, or an example.
    fn path(&self, entry: Option<&str>) -> Path {
        let example = match self.section.repeat {
            Repeat::Once => None,
            Repeat::Listed => Some("0"),
            Repeat::Named if self.section.name == "upstreams" => Some("cluster"),
            Repeat::Named => Some("NAME"),
        };
        let entry = example.and_then(|_| entry.or(example));
        self.section.path(entry).join(self.key.name)
    }

    fn with_note(&self, fix: String) -> String {
        match self.note {
            "" => fix,
            note => format!("{fix}; {note}"),
        }
    }
}

/// The key that `name` stands for, written in `here` or in no section that is known.
pub(super) fn key(name: &str, here: Option<&'static Section>) -> Guess {
    let name = plain(name);
    let name = name.as_str();
    if let Some(foreign) = Foreign::find(name, here.map(|section| section.name)) {
        return of_foreign(foreign);
    }
    if let Some(key) = here.and_then(|here| here.key(name)) {
        // Nothing but its case, or a dash, was wrong.
        return here.map_or(Guess::Nothing, |here| Guess::Key(Target::new(here, key)));
    }
    let mut homes = homes(name).into_iter();
    if let Some((section, key)) = homes.next() {
        return Guess::Key(Target {
            also: homes.map(|(section, _)| section).collect(),
            ..Target::new(section, key)
        });
    }
    if let Some((here, key)) = here.and_then(|here| near_in(here, name)) {
        return Guess::Key(Target::new(here, key));
    }
    let at_top = here.is_none_or(|here| here.name.is_empty());
    if let Some(section) = section(name).filter(|_| at_top) {
        return Guess::Section(section);
    }
    let all = SECTIONS
        .iter()
        .flat_map(|section| section.keys.iter().map(|key| key.name));
    match nearest_above(NEAR_ELSEWHERE, name, all).and_then(|near| homes_of(near).next()) {
        Some((section, key)) => Guess::Key(Target::new(section, key)),
        None => Guess::Nothing,
    }
}

fn of_foreign(foreign: &Foreign) -> Guess {
    let ours = foreign
        .ours
        .and_then(|(section, key)| Some((Section::named(section)?, key)));
    match ours {
        None => Guess::Advice(foreign.note),
        Some((section, name)) => match section.key(name) {
            None => Guess::Section(section),
            Some(key) => Guess::Key(Target {
                note: foreign.note,
                ..Target::new(section, key)
            }),
        },
    }
}

fn plain(name: &str) -> String {
    name.to_lowercase().replace('-', "_")
}

/// The sections that have a key of this name, those first that exist once.
fn homes(name: &str) -> Vec<(&'static Section, &'static Key)> {
    let mut homes: Vec<_> = homes_of(name).collect();
    homes.sort_by_key(|(section, _)| section.repeat != Repeat::Once);
    homes
}

fn homes_of(name: &str) -> impl Iterator<Item = (&'static Section, &'static Key)> {
    SECTIONS
        .iter()
        .filter_map(move |section| Some((section, section.key(name)?)))
}

fn near_in(here: &'static Section, name: &str) -> Option<(&'static Section, &'static Key)> {
    let near = nearest(name, here.keys.iter().map(|key| key.name))?;
    Some((here, here.key(near)?))
}

/// The section that `name` stands for: singular, plural, a slip, another word.
pub(super) fn section(name: &str) -> Option<&'static Section> {
    let name = plain(name);
    let sections = || SECTIONS.iter().filter(|section| !section.name.is_empty());
    let singular = |text: &str| text.strip_suffix('s').unwrap_or(text).to_owned();
    if let Some(found) = sections().find(|section| singular(section.name) == singular(&name)) {
        return Some(found);
    }
    let by_word = Foreign::find(&name, Some("")).and_then(|foreign| match of_foreign(foreign) {
        Guess::Section(section) => Some(section),
        _ => None,
    });
    by_word.or_else(|| Section::named(nearest(&name, sections().map(|section| section.name))?))
}

/// The key that a path of a variable or flag stands for, with the entry in it.
pub(super) fn path(names: &[&str]) -> (Guess, Option<String>) {
    let words = names.join("_").replace(['-', '.'], "_");
    let depth = |section: &Section| match section.repeat {
        Repeat::Once => names.len() == 2,
        Repeat::Named | Repeat::Listed => names.len() > 2,
    };
    let well_formed = names.first().and_then(|name| Section::named(name));
    if well_formed.is_some_and(depth) {
        match by_parts(names) {
            (Guess::Nothing, _) => {}
            found => return found,
        }
    }
    if let Some((target, entry)) = run_together(&words) {
        return (Guess::Key(target), entry);
    }
    match names.len() {
        0 | 1 => (of_run(&words), None),
        _ => by_parts(names),
    }
}

fn by_parts(names: &[&str]) -> (Guess, Option<String>) {
    let [first, middle @ .., last] = names else {
        return (Guess::Nothing, None);
    };
    match section(first) {
        Some(found) => match key(last, Some(found)) {
            Guess::Key(target) if target.section.name == found.name => {
                let entry = Some(middle.join("_")).filter(|entry| !entry.is_empty());
                (Guess::Key(target), entry)
            }
            guess => (guess, None),
        },
        None => (key(last, None), None),
    }
}

/// `limits_max_client_conn`, `upstream_cluster_host`, `users_0_name`: the
/// separators of a path, or some of them, were written as one underscore.
fn run_together(words: &str) -> Option<(Target, Option<String>)> {
    let singular = |name: &'static str| name.strip_suffix('s').unwrap_or(name);
    let mut best: Option<(Target, Option<String>)> = None;
    for section in SECTIONS.iter().filter(|section| !section.name.is_empty()) {
        for name in [section.name, singular(section.name)] {
            let Some(rest) = words
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix('_'))
            else {
                continue;
            };
            for key in section.keys {
                let Some(middle) = rest.strip_suffix(key.name) else {
                    continue;
                };
                let entry = middle.strip_suffix('_').filter(|entry| !entry.is_empty());
                let fits = match section.repeat {
                    Repeat::Once => middle.is_empty(),
                    Repeat::Named => middle.is_empty() || entry.is_some(),
                    Repeat::Listed => {
                        middle.is_empty() || entry.is_some_and(|nth| nth.parse::<u16>().is_ok())
                    }
                };
                let longer = best
                    .as_ref()
                    .is_none_or(|(target, _)| target.key.name.len() < key.name.len());
                if fits && longer {
                    best = Some((Target::new(section, key), entry.map(str::to_owned)));
                }
            }
        }
    }
    best
}

/// One run of words that names no section as it should.
fn of_run(words: &str) -> Guess {
    match key(words, Section::named("")) {
        Guess::Nothing => {}
        guess => return guess,
    }
    let paths = || {
        let once = SECTIONS.iter().filter(|one| one.repeat == Repeat::Once);
        once.flat_map(|section| section.keys.iter().map(move |key| (section, key)))
    };
    let run = |(section, key): &(&Section, &Key)| format!("{}_{}", section.name, key.name);
    let runs: Vec<String> = paths().map(|pair| run(&pair)).collect();
    let near = nearest_above(NEAR_ELSEWHERE, words, runs.iter().map(String::as_str));
    let found = near.and_then(|near| paths().find(|pair| run(pair) == near));
    found.map_or(Guess::Nothing, |(section, key)| {
        Guess::Key(Target::new(section, key))
    })
}

/// An unknown name of a file in `here`, and the path of what was meant.
pub(super) fn in_file(
    name: &str,
    (here, entry): (&'static Section, Option<&str>),
) -> (Invalid, Option<Path>) {
    let guess = key(name, Some(here));
    let Guess::Key(target) = guess else {
        return (of_no_key(&guess, here), None);
    };
    let key = target.key.name;
    let same = target.section.name == here.name;
    let bad = if same {
        Invalid::new(
            format!("unknown key; did you mean {key}?"),
            target.with_note(format!("write {key}")),
        )
    } else {
        let home = place(target.section);
        let homes = std::iter::once(home.clone()).chain(target.also.iter().map(|at| place(at)));
        let homes: Vec<String> = homes.collect();
        let message = format!("unknown key here; {key} belongs {}", homes.join(" or "));
        let fix = match plain(name) == key {
            true => "move it there".to_owned(),
            false => format!("write {key} {home}"),
        };
        Invalid::new(message, target.with_note(fix))
    };
    let path = target.path(entry.filter(|_| same));
    (bad, Some(path))
}

fn place(section: &Section) -> String {
    match header(section, "NAME") {
        home if home.is_empty() => "above the first section".to_owned(),
        home => format!("in {home}"),
    }
}

fn of_no_key(guess: &Guess, here: &Section) -> Invalid {
    match guess {
        Guess::Section(section) => {
            let header = header(section, "NAME");
            Invalid::new(
                format!("unknown key; did you mean the section {header}?"),
                format!("write {header}, and its keys below"),
            )
        }
        Guess::Advice(note) => Invalid::new("unknown key", *note),
        Guess::Key(_) | Guess::Nothing => Invalid::new(
            "unknown key",
            format!("take it out; known are {}", known(here)),
        ),
    }
}

fn known(here: &Section) -> String {
    let sections = SECTIONS
        .iter()
        .map(|section| header(section, "NAME"))
        .filter(|header| here.name.is_empty() && !header.is_empty());
    let keys = here.keys.iter().map(|key| key.name.to_owned());
    keys.chain(sections).collect::<Vec<_>>().join(", ")
}

/// A section of a file that is not known by this name; `inner` are the names of
/// the tables in it.
pub(super) fn section_in_file(name: &str, inner: &[&str]) -> (Invalid, Option<&'static Section>) {
    let guess = Foreign::find(&plain(name), Some("")).map(of_foreign);
    if let Some(Guess::Advice(note)) = guess {
        return (Invalid::new("unknown section", note), None);
    }
    let Some(section) = section(name) else {
        let root = Section::named("").unwrap_or(&SECTIONS[0]);
        let fix = format!("take it out; known are {}", known(root));
        return (Invalid::new("unknown section", fix), None);
    };
    let entry = match inner.first() {
        Some(entry) => toml_key(entry),
        None if section.name == "upstreams" => "cluster".to_owned(),
        None => "NAME".to_owned(),
    };
    let header = header(section, &entry);
    let bad = Invalid::new(
        format!("unknown section; did you mean {header}?"),
        format!("write {header}"),
    );
    (bad, Some(section))
}

/// An unknown variable, whose path is `names`.
pub(super) fn in_environment(prefix: &str, names: &[&str]) -> (Invalid, Option<Path>) {
    let plan_name = names.join("_").to_uppercase();
    if super::app_env::is_variable(&plan_name) {
        let fix = format!("write {plan_name}");
        return (
            Invalid::new(format!("unknown variable; did you mean {plan_name}?"), fix),
            None,
        );
    }
    let (guess, entry) = path(names);
    match guess {
        Guess::Key(target) => {
            let path = target.path(entry.as_deref());
            let variable = format!("{prefix}{}", path.0.join("__").to_uppercase());
            let fix = target.with_note(format!("write {variable}"));
            let message = format!("unknown variable; did you mean {variable}?");
            (Invalid::new(message, fix), Some(path))
        }
        Guess::Section(section) => {
            let key = section.keys.first().map_or("", |key| key.name);
            let fix = format!("write {}", env_name(section, "CLUSTER", key));
            let message = "is the name of a section; the name of a key has to follow";
            (Invalid::new(message, fix), None)
        }
        Guess::Advice(note) => (Invalid::new("unknown variable", note), None),
        Guess::Nothing => {
            let fix = "take it out, or write the key's path in capitals, joined by two \
                       underscores, for example PGSLUICE_LIMITS__MAX_CLIENT_CONN";
            (Invalid::new("unknown variable", fix), None)
        }
    }
}

/// An unknown key of a flag.
pub(super) fn in_flag(names: &[&str]) -> (Invalid, Option<Path>) {
    let (guess, entry) = path(names);
    match guess {
        Guess::Key(target) => {
            let path = target.path(entry.as_deref());
            let dotted = path.0.join(".");
            let fix = target.with_note(format!("write --set {dotted}=VALUE"));
            let message = format!("unknown key; did you mean {dotted}?");
            (Invalid::new(message, fix), Some(path))
        }
        Guess::Section(section) => {
            let fix = format!("write --set {}.KEY=VALUE", section.name);
            (Invalid::new("is the name of a section", fix), None)
        }
        Guess::Advice(note) => (Invalid::new("unknown key", note), None),
        Guess::Nothing => {
            let fix =
                "take it out, or write the key's path, for example --set limits.max_client_conn=50";
            (Invalid::new("unknown key", fix), None)
        }
    }
}
