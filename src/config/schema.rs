//! What a key and a section are, the path to a value, and how each is written in a
//! file and in the environment.

use super::value_parsers::Info;

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
