//! Questions about the table of keys: what is known under a path.

use std::fmt;

use super::keys::SECTIONS;
use super::problem::Invalid;
use super::schema::{Key, Path, Repeat, Section, toml_key};

impl Section {
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        SECTIONS.iter().find(|section| section.name == name)
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
