//! Questions about the table of keys: what is known under a path, and what the
//! environment calls it.

use std::fmt;

use super::app_env;
use super::keys::SECTIONS;
use super::kinds::Info;
use super::problem::{Invalid, Location, Origin};

/// One setting.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) info: Info,
    pub(crate) fallback: Fallback,
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "read by the test that writes the documentation")
    )]
    pub(crate) doc: &'static str,
}

/// What holds when nobody writes a key.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fallback {
    /// The text form of the default.
    Text(&'static str),
    /// Another value decides; said in words.
    Derived(
        #[cfg_attr(
            not(test),
            expect(dead_code, reason = "read by the test that writes the documentation")
        )]
        &'static str,
    ),
    Nothing,
}

/// How often a section can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// `[listen]`
    Once,
    /// `[upstreams.NAME]`
    Named,
    /// `[[users]]`
    Listed,
}

/// A group of keys.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Section {
    /// Empty for the keys above the first section.
    pub(crate) name: &'static str,
    pub(crate) repeat: Repeat,
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "read by the test that writes the documentation")
    )]
    pub(crate) doc: &'static str,
    pub(crate) keys: &'static [Key],
}

impl Section {
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        SECTIONS.iter().find(|section| section.name == name)
    }

    /// The path of the section, or of one of its entries.
    pub(crate) fn path(&self, entry: Option<&str>) -> Path {
        let parts = [Some(self.name).filter(|name| !name.is_empty()), entry];
        Path(parts.into_iter().flatten().map(str::to_owned).collect())
    }
}

/// Names from the root to a value: `["upstreams", "cluster", "host"]`.
/// The entries of a list are numbered from 0.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Path(pub(crate) Vec<String>);

impl Path {
    pub(crate) fn join(&self, name: &str) -> Self {
        let mut names = self.0.clone();
        names.push(name.to_owned());
        Self(names)
    }

    pub(crate) fn of<const N: usize>(names: [&str; N]) -> Self {
        Self(names.map(str::to_owned).to_vec())
    }
}

/// A TOML key: quoted unless bare is allowed.
pub(crate) fn toml_key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.chars().all(bare) {
        name.to_owned()
    } else {
        toml::Value::String(name.to_owned()).to_string()
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = self
            .0
            .first()
            .and_then(|name| Section::named(name))
            .is_some_and(|section| section.repeat == Repeat::Listed);
        for (depth, name) in self.0.iter().enumerate() {
            match depth {
                0 => f.write_str(&toml_key(name))?,
                1 if listed => write!(f, "[{name}]")?,
                _ => write!(f, ".{}", toml_key(name))?,
            }
        }
        Ok(())
    }
}

/// A known key with the path that leads to it.
#[derive(Debug)]
pub(crate) struct KnownKey {
    pub(crate) path: Path,
    pub(crate) key: &'static Key,
}

/// Why a path leads to no key.
#[derive(Debug)]
pub(crate) enum Miss {
    Unknown,
    /// It is known what is wrong with it.
    Bad(Invalid),
}

/// Looks up a path that was split at its separators (`.` or `__`); an entry's
/// name may contain the separator.
pub(crate) fn locate(names: &[&str], separator: &str) -> Result<KnownKey, Miss> {
    let (section, entry, name) = match names {
        [] | [""] => return Err(Miss::Unknown),
        [name] => (Section::named(""), None, *name),
        [section, .., name] => {
            let found = Section::named(section).filter(|section| !section.name.is_empty());
            let entry = names[1..names.len() - 1].join(separator);
            (found, Some(entry).filter(|entry| !entry.is_empty()), *name)
        }
    };
    let section = section.ok_or(Miss::Unknown)?;
    if (section.repeat == Repeat::Once) != entry.is_none() {
        return Err(Miss::Unknown);
    }
    let key = section.key(name).ok_or(Miss::Unknown)?;
    if section.repeat == Repeat::Listed && entry.as_ref().is_some_and(|n| n.parse::<u16>().is_err())
    {
        let path = [section.name, "0", name].join(separator);
        let (path, example) = match separator {
            "__" => (format!("PGSLUICE_{}", path.to_uppercase()), ""),
            _ => (format!("--set {path}"), "=VALUE"),
        };
        return Err(Miss::Bad(Invalid::new(
            format!("the entries of {} are numbered from 0", section.name),
            format!("write {path}{example}"),
        )));
    }
    Ok(KnownKey {
        path: section.path(entry.as_deref()).join(name),
        key,
    })
}

/// `[listen]`, `[upstreams.NAME]`, `[[users]]`, or nothing for the root.
pub(crate) fn header(section: &Section, entry: &str) -> String {
    match section.repeat {
        Repeat::Once if section.name.is_empty() => String::new(),
        Repeat::Once => format!("[{}]", section.name),
        Repeat::Named => format!("[{}.{entry}]", section.name),
        Repeat::Listed => format!("[[{}]]", section.name),
    }
}

/// The environment variable of a key; `entry` is written as it is.
pub(crate) fn env_name(section: &Section, entry: &str, key: &str) -> String {
    let middle = match section.repeat {
        Repeat::Once => "",
        Repeat::Named | Repeat::Listed => entry,
    };
    let names = [section.name, middle, key];
    let path: Vec<String> = names
        .iter()
        .filter(|name| !name.is_empty())
        .map(|name| name.to_uppercase())
        .collect();
    format!("PGSLUICE_{}", path.join("__"))
}

/// A key of an entry that must be written, and how to write it in the kind of
/// source that the entry came from. `at` is the entry.
pub(crate) fn missing(
    at: &Location,
    (section, entry): (&Section, &str),
    key: &str,
    fix: &str,
) -> (Location, Invalid) {
    let mut at = at.clone();
    at.key = format!("{}.{key}", at.key);
    let fix = match &at.origin {
        Origin::Env(variable) => {
            let own = || env_name(section, entry, key);
            let name =
                app_env::name_of(variable, section.name, key).map_or_else(own, str::to_owned);
            format!("set {name}; in a file, {fix}")
        }
        Origin::Default | Origin::File(_) | Origin::Flag(_) => fix.to_owned(),
    };
    (at, Invalid::new("is missing", fix))
}

/// The candidate that `name` is probably a misspelling of.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    nearest_above(0.6, name, candidates)
}

/// The candidate that is most like `name`, if it is so by `least` of 1.
pub(crate) fn nearest_above<'a>(
    least: f64,
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    // A distance over a hostile name would cost its length times the table's.
    if name.len() > 64 {
        return None;
    }
    let name = name.to_lowercase().replace('-', "_");
    candidates
        .map(|candidate| {
            let other = candidate.to_lowercase().replace('-', "_");
            (
                strsim::normalized_damerau_levenshtein(&name, &other),
                candidate,
            )
        })
        .filter(|(likeness, _)| *likeness >= least)
        // The first of equals, in the order of the table.
        .fold(None, |best: Option<(f64, &str)>, next| match best {
            Some(best) if best.0 >= next.0 => Some(best),
            _ => Some(next),
        })
        .map(|(_, candidate)| candidate)
}
