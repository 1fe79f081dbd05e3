//! `proxy.toml`: what was written, each value with its line. Every unknown key
//! and every value of the wrong TOML type is reported, not just the first.

use std::path::{Path as FsPath, PathBuf};

use figment::value::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::kinds::Shape;
use super::layer::{Layer, Place};
use super::problem::{At, Bad, Origin, Problems};
use super::schema::{Key, Path, Repeat, Section, unknown};

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
        let at = At {
            key: String::new(),
            origin: Origin::File(reader.file.clone()),
            line,
        };
        let said = error.message().lines().next().unwrap_or_default();
        reader.problems.add(
            &at,
            Bad::new(
                format!("not TOML: {said}"),
                "correct the syntax of this line",
            ),
        );
    }
    // What recovery made of a broken document would only add noise.
    if errors.is_empty() {
        reader.root(document.get_ref());
    }
    reader.layer
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

    fn problem(&mut self, path: &Path, offset: usize, bad: Bad) {
        let place = self.place(offset);
        let at = At {
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
            if let Some(key) = root.and_then(|root| root.key(text)) {
                self.leaf(path, key, (offset, value));
            } else if let Some(section) = Section::named(text).filter(|s| !s.name.is_empty()) {
                self.section(section, offset, value);
            } else {
                self.problem(&path, offset, unknown(text, None));
            }
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
                None => self.problem(&path, offset, unknown(text, Some(section))),
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

fn not_a_section(section: &Section) -> Bad {
    let header = super::schema::header(section, "NAME");
    Bad::new(
        "is a section, not a value",
        format!("write {header}, and its keys below"),
    )
}

/// Brings a TOML value of the right type to its text form.
fn written(key: &Key, value: &DeValue<'_>) -> Result<Value, Bad> {
    match (key.info.shape, value) {
        (Shape::Text, DeValue::String(text)) => Ok(Value::from(text.as_ref())),
        (Shape::Boolean, DeValue::Boolean(flag)) => Ok(Value::from(flag.to_string())),
        (Shape::Integer, DeValue::Integer(number)) => {
            i128::from_str_radix(number.as_str(), number.radix())
                .map(|number| Value::from(number.to_string()))
                .map_err(|_| {
                    Bad::new(
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
        (Shape::Text, DeValue::Integer(number)) if key.info.name == "duration" => Err(Bad::new(
            "a duration is text with a unit, not a number",
            format!("write {} = \"{number}s\" for {number} seconds", key.name),
        )),
        (_, other) => Err(wrong_type(key, other.type_str())),
    }
}

fn wrong_type(key: &Key, found: &str) -> Bad {
    let wanted = match key.info.shape {
        Shape::Text => "text in quotes",
        Shape::Integer => "a number without quotes",
        Shape::Boolean => "true or false without quotes",
        Shape::List => "a list of texts",
    };
    Bad::new(
        format!("must be {wanted}, not {found}"),
        format!("write for example {} = {}", key.name, key.info.example),
    )
}
