//! One source's values with the place of each, and the merge of all sources.
//! Figment merges; its tags say which source a merged value came from.

use std::collections::BTreeMap;

use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::problem::{Invalid, Location, Origin, Problems};
use super::schema::{Fallback, Key, Path, Repeat, Section};
use super::value_parsers::{Kind, Shape, split_list};

/// A value that was written, or its default.
#[derive(Debug, Clone)]
pub(super) struct Set<T> {
    pub(super) value: T,
    pub(super) at: Location,
}

/// Where one value of a layer stands.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) origin: Origin,
    pub(super) line: Option<usize>,
}

/// The values of one source.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    /// Unique among the layers; figment's metadata carries it.
    name: &'static str,
    values: Dict,
    places: BTreeMap<Path, Place>,
}

impl Layer {
    pub(super) fn new(name: &'static str) -> Self {
        Self {
            name,
            values: Dict::new(),
            places: BTreeMap::new(),
        }
    }

    /// Sets a value by its text form.
    pub(super) fn put_text(&mut self, path: Path, key: &Key, text: &str, place: Place) {
        self.put(path, from_text(key.info.shape, text), place);
    }

    pub(super) fn put(&mut self, path: Path, value: Value, place: Place) {
        let mut values = &mut self.values;
        let Some((name, parents)) = path.0.split_last() else {
            return;
        };
        for parent in parents {
            let inner = values
                .entry(parent.clone())
                .or_insert_with(|| Value::from(Dict::new()));
            let Value::Dict(_, dict) = inner else {
                return;
            };
            values = dict;
        }
        values.insert(name.clone(), value);
        self.places.insert(path, place);
    }

    /// Forgets a value, so that a weaker source's holds.
    pub(super) fn remove(&mut self, path: &Path) {
        let Some((name, parents)) = path.0.split_last() else {
            return;
        };
        if let Some(values) = find_table(&mut self.values, parents) {
            values.remove(name);
        }
        self.places.remove(path);
    }

    /// Declares a section, or an entry of one, that may stay empty.
    pub(super) fn open(&mut self, path: Path, place: Place) {
        if !self.has(&path) {
            self.put(path.clone(), Value::from(Dict::new()), place.clone());
        }
        self.places.entry(path).or_insert(place);
    }

    pub(super) fn has_any(&self) -> bool {
        !self.values.is_empty()
    }

    pub(super) fn has(&self, path: &Path) -> bool {
        find(&self.values, path).is_some()
    }

    /// The text form of a scalar.
    pub(super) fn text(&self, path: &Path) -> Option<&str> {
        find(&self.values, path)?.as_str()
    }

    pub(super) fn entries(&self, section: &Section) -> Vec<String> {
        entries(&self.values, section)
    }

    /// Who wrote the value at `path`.
    pub(super) fn origin(&self, path: &Path) -> Option<&Origin> {
        self.place(path).map(|place| &place.origin)
    }

    fn place(&self, path: &Path) -> Option<&Place> {
        self.places.get(path)
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.values.clone())]))
    }
}

/// The value that a text form stands for.
fn from_text(shape: Shape, text: &str) -> Value {
    match shape {
        Shape::List => Value::from(split_list(text).collect::<Vec<_>>()),
        Shape::Text | Shape::Integer | Shape::Boolean => Value::from(text),
    }
}

fn find<'a>(values: &'a Dict, path: &Path) -> Option<&'a Value> {
    let (name, parents) = path.0.split_last()?;
    let mut values = values;
    for parent in parents {
        values = values.get(parent)?.as_dict()?;
    }
    values.get(name)
}

fn find_table<'a>(values: &'a mut Dict, path: &[String]) -> Option<&'a mut Dict> {
    path.iter()
        .try_fold(values, |values, name| match values.get_mut(name)? {
            Value::Dict(_, inner) => Some(inner),
            _ => None,
        })
}

fn entries(values: &Dict, section: &Section) -> Vec<String> {
    let mut names: Vec<String> = match values.get(section.name).and_then(Value::as_dict) {
        Some(dict) => dict.keys().cloned().collect(),
        None => Vec::new(),
    };
    if section.repeat == Repeat::Listed {
        names.sort_by_key(|number| number.parse::<u32>().unwrap_or(u32::MAX));
    }
    names
}

/// All sources, the strongest value of each key on top.
#[derive(Debug)]
pub(super) struct Merged {
    figment: Figment,
    values: Dict,
    layers: Vec<Layer>,
}

impl Merged {
    /// Merges the layers, weakest first, over the defaults of `sections`.
    pub(super) fn new(layers: &[Layer], sections: &[Section]) -> Self {
        let mut layers = layers.to_vec();
        layers.insert(0, defaults(&layers, sections));
        let figment = layers.iter().fold(Figment::new(), Figment::merge);
        // Our own providers cannot fail, so there is always a profile to take.
        let values = figment
            .data()
            .ok()
            .and_then(|mut profiles| profiles.remove(&Profile::Default))
            .unwrap_or_default();
        let mut merged = Self {
            figment,
            values,
            layers,
        };
        merged.drop_overridden_secrets(sections);
        merged
    }

    pub(super) fn entries(&self, section: &Section) -> Vec<String> {
        entries(&self.values, section)
    }

    pub(super) fn table(&self, section: &Section, entry: Option<&str>) -> Table<'_> {
        Table {
            merged: self,
            path: section.path(entry),
        }
    }

    /// The items of a written value (one, unless it is a list) and its place.
    pub(super) fn get(&self, path: &Path) -> Option<(Vec<&str>, Location)> {
        let value = find(&self.values, path)?;
        let items = match value {
            Value::Array(_, items) => items.iter().filter_map(Value::as_str).collect(),
            other => vec![other.as_str()?],
        };
        Some((items, self.at(path, self.rank(value))))
    }

    fn rank(&self, value: &Value) -> usize {
        let metadata = self.figment.get_metadata(value.tag());
        metadata
            .and_then(|metadata| {
                self.layers
                    .iter()
                    .position(|layer| layer.name == metadata.name)
            })
            .unwrap_or(0)
    }

    fn at(&self, path: &Path, rank: usize) -> Location {
        let place = self.layers.get(rank).and_then(|layer| layer.place(path));
        Location {
            key: path.to_string(),
            origin: place.map_or(Origin::Default, |place| place.origin.clone()),
            line: place.and_then(|place| place.line),
        }
    }

    /// The first place, by precedence of the file, that opened a section.
    fn section_at(&self, path: &Path) -> Location {
        let opened = self
            .layers
            .iter()
            .position(|layer| layer.place(path).is_some());
        self.at(path, opened.unwrap_or(0))
    }

    /// `password_file` in the file gives way to `password` in the environment:
    /// of the three spellings of a secret only those of the strongest source stay.
    fn drop_overridden_secrets(&mut self, sections: &[Section]) {
        let repeated = |section: &&Section| section.repeat != Repeat::Once;
        for section in sections.iter().filter(repeated) {
            for name in section
                .keys
                .iter()
                .filter(|key| key.info.secret)
                .map(|key| key.name)
            {
                for entry in self.entries(section) {
                    self.keep_strongest(&section.path(Some(&entry)), name);
                }
            }
        }
    }

    fn keep_strongest(&mut self, entry: &Path, name: &str) {
        let spellings = secret_spellings(name).map(|spelling| entry.join(&spelling));
        let ranks = spellings
            .each_ref()
            .map(|path| find(&self.values, path).map(|value| self.rank(value)));
        let strongest = ranks.iter().max().copied().flatten();
        let Some(values) = find_table(&mut self.values, &entry.0) else {
            return;
        };
        for (path, rank) in spellings.iter().zip(ranks) {
            if rank < strongest
                && let Some(name) = path.0.last()
            {
                values.remove(name);
            }
        }
    }
}

/// The ways to give one secret.
pub(super) fn secret_spellings(name: &str) -> [String; 3] {
    [
        name.to_owned(),
        format!("{name}_file"),
        format!("{name}_env"),
    ]
}

/// The defaults of every section and entry that exists.
fn defaults(layers: &[Layer], sections: &[Section]) -> Layer {
    let mut defaults = Layer::new("default");
    let place = Place {
        origin: Origin::Default,
        line: None,
    };
    for section in sections {
        let names: Vec<Option<String>> = match section.repeat {
            Repeat::Once => vec![None],
            Repeat::Named | Repeat::Listed => layers
                .iter()
                .flat_map(|layer| layer.entries(section))
                .map(Some)
                .collect(),
        };
        for entry in names {
            for key in section.keys {
                if let Fallback::Text(text) = key.fallback {
                    let path = section.path(entry.as_deref()).join(key.name);
                    defaults.put_text(path, key, text, place.clone());
                }
            }
        }
    }
    defaults
}

/// One section, or one entry of one, after the merge.
#[derive(Debug)]
pub(super) struct Table<'a> {
    merged: &'a Merged,
    path: Path,
}

impl Table<'_> {
    pub(super) fn at(&self) -> Location {
        self.merged.section_at(&self.path)
    }

    /// A key that may be missing; a bad value is filed and counts as missing.
    pub(super) fn optional<T: Kind>(&self, name: &str, problems: &mut Problems) -> Option<Set<T>> {
        let (items, at) = self.merged.get(&self.path.join(name))?;
        let value = problems.keep(&at, T::parse_items(&items))?;
        Some(Set { value, at })
    }

    /// A key with a default, which also stands in for a bad value.
    pub(super) fn required<T: Kind>(
        &self,
        name: &str,
        default: &str,
        problems: &mut Problems,
    ) -> Set<T> {
        if let Some(mut set) = self.optional(name, problems) {
            if set.at.origin == Origin::Default {
                // A problem with a default is shown where the section starts.
                let key = std::mem::take(&mut set.at.key);
                set.at = Location { key, ..self.at() };
            }
            return set;
        }
        Set {
            value: default_value(default),
            at: self.at(),
        }
    }
}

#[expect(
    clippy::expect_used,
    reason = "a test reads every default of the table"
)]
fn default_value<T: Kind>(default: &str) -> T {
    T::parse(default)
        .map_err(|Invalid { message, .. }| message)
        .expect("a default is a correct value")
}
