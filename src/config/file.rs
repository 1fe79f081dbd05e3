//! `proxy.toml`: what was written, each value with its line. Every unknown key
//! and every value of the wrong TOML type is reported, not just the first.

use std::path::{Path as FsPath, PathBuf};

use figment::value::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::layer::{Layer, Place};
use super::meant;
use super::problem::{Invalid, Location, Origin, Problems};
use super::schema::{Fallback, Key, Path, Repeat, Section};
use super::value_parsers::{Shape, split_list};

/// Reads the text of the file at `path` (a name for messages).
pub(super) fn read(path: &FsPath, text: &str, problems: &mut Problems) -> Layer {
    let mut reader = Reader {
        file: path.to_owned(),
        line_starts: line_starts(text),
        layer: Layer::new("file"),
        problems,
    };
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        // Only `message` is repeated: the error's `Display` quotes the line, and
        // the line may hold a password.
        let line = error.span().map(|span| reader.line(span.start));
        let at = Location {
            key: String::new(),
            origin: Origin::File(reader.file.clone()),
            line,
        };
        let said = error.message().lines().next().unwrap_or_default();
        reader.problems.add(
            &at,
            Invalid::new(format!("not TOML: {said}"), cure(said, text, line)),
        );
    }
    // What recovery made of a broken document would only add noise.
    if errors.is_empty() {
        reader.root(document.get_ref());
    }
    reader.layer
}

/// What to do about an error of the syntax; the line is not repeated.
fn cure(said: &str, text: &str, number: Option<usize>) -> &'static str {
    let nth = number.unwrap_or_default().saturating_sub(1);
    let line = text.lines().nth(nth).unwrap_or_default().trim_start();
    let before_value = line.split(['=', '"']).next().unwrap_or_default();
    if line.starts_with([';', '/']) {
        "a comment starts with #"
    } else if said.contains("duplicate key") {
        "keep one of the two"
    } else if !line.contains('=') && before_value.contains(':') {
        "write KEY = VALUE, with = in place of the colon; text stands in quotes"
    } else if line.contains('=') && !line.contains(['"', '\'']) {
        "put text in quotes: host = \"db.example.com\""
    } else {
        "correct the syntax of this line"
    }
}

fn line_starts(text: &str) -> Vec<usize> {
    let after_newlines = text.match_indices('\n').map(|(at, _)| at + 1);
    std::iter::once(0).chain(after_newlines).collect()
}

struct Reader<'p> {
    file: PathBuf,
    line_starts: Vec<usize>,
    layer: Layer,
    problems: &'p mut Problems,
}

impl Reader<'_> {
    fn line(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }

    fn place(&self, offset: usize) -> Place {
        Place {
            origin: Origin::File(self.file.clone()),
            line: Some(self.line(offset)),
        }
    }

    fn problem(&mut self, path: &Path, offset: usize, bad: Invalid) {
        let place = self.place(offset);
        let at = Location {
            key: path.to_string(),
            origin: place.origin,
            line: place.line,
        };
        self.problems.add(&at, bad);
    }

    fn root(&mut self, document: &DeTable<'_>) {
        for (name, value) in document {
            let (text, offset) = (name.get_ref().as_ref(), name.span().start);
            let path = Path::of([text]);
            let root = Section::named("");
            let key = root.and_then(|root| root.key(text));
            if let Some(section) = Section::named(text).filter(|s| !s.name.is_empty()) {
                self.section(section, offset, value);
            } else if let Some(inner) = tables(value.get_ref()) {
                let (bad, section) = meant::section_in_file(text, &inner);
                self.problem(&path, offset, bad);
                if let Some(section) = section {
                    self.problems.excuse(section.name);
                }
            } else if let Some(key) = key {
                self.leaf(path, key, (offset, value));
            } else if let Some(root) = root {
                self.unknown(&path, (root, None), offset);
            }
        }
    }

    /// What was meant counts as written, so that nothing is called missing for it.
    fn unknown(&mut self, path: &Path, here: (&'static Section, Option<&str>), offset: usize) {
        let name = path.0.last().map_or("", String::as_str);
        let (bad, meant) = meant::in_file(name, here);
        self.problem(path, offset, bad);
        if let Some(meant) = meant {
            self.problems.excuse(meant.to_string());
        }
    }

    fn section(&mut self, section: &'static Section, offset: usize, value: &Spanned<DeValue<'_>>) {
        let path = section.path(None);
        match (section.repeat, value.get_ref()) {
            (Repeat::Once, DeValue::Table(table)) => self.table(section, &path, table),
            (Repeat::Named, DeValue::Table(entries)) => {
                for (name, entry) in entries {
                    self.entry(
                        section,
                        &path.join(name.get_ref()),
                        (name.span().start, entry),
                    );
                }
            }
            (Repeat::Listed, DeValue::Array(entries)) => {
                for (number, entry) in entries.iter().enumerate() {
                    self.entry(
                        section,
                        &path.join(&number.to_string()),
                        (entry.span().start, entry),
                    );
                }
            }
            _ => self.problem(&path, offset, not_a_section(section)),
        }
    }

    fn entry(
        &mut self,
        section: &'static Section,
        path: &Path,
        (offset, value): (usize, &Spanned<DeValue<'_>>),
    ) {
        match value.get_ref() {
            DeValue::Table(table) => {
                self.layer.open(path.clone(), self.place(offset));
                self.table(section, path, table);
            }
            _ => self.problem(path, offset, not_a_section(section)),
        }
    }

    fn table(&mut self, section: &'static Section, path: &Path, table: &DeTable<'_>) {
        for (name, value) in table {
            let (text, offset) = (name.get_ref().as_ref(), name.span().start);
            let path = path.join(text);
            match section.key(text) {
                Some(key) => self.leaf(path, key, (offset, value)),
                None => {
                    let entry = path.0.get(1).filter(|_| path.0.len() > 2).cloned();
                    self.unknown(&path, (section, entry.as_deref()), offset);
                }
            }
        }
    }

    fn leaf(&mut self, path: Path, key: &Key, (offset, value): (usize, &Spanned<DeValue<'_>>)) {
        match written(key, value.get_ref()) {
            Ok(value) => {
                let place = self.place(offset);
                self.layer.put(path, value, place);
            }
            Err(bad) => self.problem(&path, offset, bad),
        }
    }
}

/// The names of the tables in a table, or in the tables of a list; nothing if
/// `value` is neither.
fn tables<'a>(value: &'a DeValue<'_>) -> Option<Vec<&'a str>> {
    match value {
        DeValue::Table(table) => Some(
            table
                .iter()
                .filter(|(_, value)| matches!(value.get_ref(), DeValue::Table(_)))
                .map(|(name, _)| name.get_ref().as_ref())
                .collect(),
        ),
        DeValue::Array(items)
            if items
                .iter()
                .any(|item| matches!(item.get_ref(), DeValue::Table(_))) =>
        {
            Some(Vec::new())
        }
        _ => None,
    }
}

fn not_a_section(section: &Section) -> Invalid {
    let header = super::schema::header(section, "NAME");
    Invalid::new(
        "is a section, not a value",
        format!("write {header}, and its keys below"),
    )
}

/// Brings a TOML value of the right type to its text form.
fn written(key: &Key, value: &DeValue<'_>) -> Result<Value, Invalid> {
    match (key.info.shape, value) {
        (Shape::Text, DeValue::String(text)) => Ok(Value::from(text.as_ref())),
        (Shape::Boolean, DeValue::Boolean(flag)) => Ok(Value::from(flag.to_string())),
        (Shape::Integer, DeValue::Integer(number)) => {
            i128::from_str_radix(number.as_str(), number.radix())
                .map(|number| Value::from(number.to_string()))
                .map_err(|_| {
                    Invalid::new(
                        "the number is too large",
                        format!("write for example {}", key.info.example),
                    )
                })
        }
        (Shape::List, DeValue::Array(items)) => {
            let texts: Option<Vec<&str>> =
                items.iter().map(|item| item.get_ref().as_str()).collect();
            texts
                .map(Value::from)
                .ok_or_else(|| wrong_type(key, "a list with something other than text in it"))
        }
        (Shape::Text, DeValue::Integer(number)) if key.info.name == "duration" => {
            Err(Invalid::new(
                "a duration is text with a unit, not a number",
                format!("write {} = \"{number}s\" for {number} seconds", key.name),
            ))
        }
        // Right but for its quotes. A secret is not repeated.
        (Shape::Integer | Shape::Boolean, DeValue::String(text))
            if text.parse::<u64>().is_ok() || text.parse::<bool>().is_ok() =>
        {
            let fix = format!("write {} = {}", key.name, text.trim());
            Err(Invalid::new(wrong_type(key, "string").message, fix))
        }
        (Shape::Text, DeValue::Integer(number))
            if !key.info.secret && key.info.words.is_empty() =>
        {
            let fix = format!("write {} = \"{number}\"", key.name);
            Err(Invalid::new(wrong_type(key, "integer").message, fix))
        }
        (_, other) => Err(wrong_type(key, other.type_str())),
    }
}

fn wrong_type(key: &Key, found: &str) -> Invalid {
    let wanted = match key.info.shape {
        Shape::Text => "text in quotes",
        Shape::Integer => "a number without quotes",
        Shape::Boolean => "true or false without quotes",
        Shape::List => "a list of texts",
    };
    let example = match (key.info.shape, key.fallback) {
        (Shape::List, Fallback::Text(text)) if !text.is_empty() => {
            let items: Vec<String> = split_list(text).map(|item| format!("{item:?}")).collect();
            format!("[{}]", items.join(", "))
        }
        _ => key.info.example.to_owned(),
    };
    Invalid::new(
        format!("must be {wanted}, not {found}"),
        format!("write for example {} = {example}", key.name),
    )
}
