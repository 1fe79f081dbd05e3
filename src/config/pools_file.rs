//! The migration plan's JSON of connection pools:
//! `{"connection_pools": [{"name", "mode", "size", "database", "user", "priority"}]}`.

use std::path::Path as FsPath;

use figment::value::Value;
use serde_json::{Map, Value as Json};

use super::layer::{Layer, Place};
use super::nearest::nearest;
use super::problem::{Invalid, Location, Origin, Problems};
use super::schema::Section;
use super::value_parsers::Shape;

const LIST: &str = "connection_pools";

/// The plan's fields; a pool has more keys in `[[pools]]`.
const FIELDS: &[&str] = &["name", "mode", "size", "database", "user", "priority"];

/// Reads the text of the file at `path`; its pools are numbered from `first`.
pub(super) fn read(path: &FsPath, text: &str, first: usize, problems: &mut Problems) -> Layer {
    let mut layer = Layer::new("pools file");
    let origin = Origin::File(path.to_owned());
    let mut problem = |key: String, line: Option<usize>, bad: Invalid| {
        let origin = origin.clone();
        problems.add(&Location { key, origin, line }, bad);
    };
    let document = match serde_json::from_str::<Json>(text) {
        Ok(document) => document,
        Err(error) => {
            let bad = Invalid::new(
                format!("not JSON: {error}"),
                "correct the syntax of this line",
            );
            problem(String::new(), Some(error.line()), bad);
            return layer;
        }
    };
    let shape = || {
        Invalid::new(
            format!("must be an object with the list {LIST:?}"),
            format!("write {{\"{LIST}\": [...]}}"),
        )
    };
    let Some(pools) = document.get(LIST).and_then(Json::as_array) else {
        problem(String::new(), None, shape());
        return layer;
    };
    for name in document
        .as_object()
        .into_iter()
        .flat_map(Map::keys)
        .filter(|name| *name != LIST)
    {
        problem(name.clone(), None, unknown(name, &[LIST]));
    }
    let Some(section) = Section::named("pools") else {
        return layer;
    };
    for (number, pool) in pools.iter().enumerate() {
        let entry = section.path(Some(&(first + number).to_string()));
        let shown = format!("{LIST}[{number}]");
        let Some(fields) = pool.as_object() else {
            problem(
                shown,
                None,
                Invalid::new("must be an object", "write {\"name\": ..., \"size\": ...}"),
            );
            continue;
        };
        let place = Place {
            origin: Origin::File(path.to_owned()),
            line: None,
        };
        layer.open(entry.clone(), place.clone());
        for (name, value) in fields {
            match field(section, name, value) {
                Ok(Some(value)) => layer.put(entry.join(name), value, place.clone()),
                Ok(None) => {}
                Err(bad) => problem(format!("{shown}.{name}"), None, bad),
            }
        }
    }
    layer
}

/// The text form of a field; `null` is an absent one.
fn field(section: &Section, name: &str, value: &Json) -> Result<Option<Value>, Invalid> {
    let of_plan = section.key(name).filter(|key| FIELDS.contains(&key.name));
    let Some(key) = of_plan else {
        return Err(unknown(name, FIELDS));
    };
    match (key.info.shape, value) {
        (_, Json::Null) => Ok(None),
        (Shape::Integer, Json::Number(number)) => Ok(Some(Value::from(number.to_string()))),
        (Shape::Text, Json::String(text)) => Ok(Some(Value::from(text.as_str()))),
        (Shape::Integer, _) => Err(Invalid::new(
            "must be a number",
            format!("write for example {}", key.info.example),
        )),
        _ => Err(Invalid::new(
            "must be text",
            format!("write for example {}", key.info.example),
        )),
    }
}

fn unknown(name: &str, known: &[&str]) -> Invalid {
    match nearest(name, known.iter().copied()) {
        Some(near) => Invalid::new(
            format!("unknown key; did you mean {near}?"),
            format!("write {near}"),
        ),
        None => Invalid::new(
            "unknown key",
            format!("take it out; known are {}", known.join(", ")),
        ),
    }
}

/// The number of the first free pool.
pub(super) fn first_free(layers: &[&Layer]) -> usize {
    let numbers = Section::named("pools").map(|section| {
        let all = layers.iter().flat_map(|layer| layer.entries(section));
        all.filter_map(|number| number.parse::<usize>().ok()).max()
    });
    numbers.flatten().map_or(0, |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::super::schema::Path;
    use super::*;

    #[test]
    fn every_field_is_checked() {
        let text = r#"{"connection_pools": [
            {"name": "p", "mode": "session", "size": 3, "database": "d", "user": null, "priority": "high"},
            {"name": 7, "sise": 3, "size": "3"}, 5], "pools": []}"#;
        let mut problems = Problems::default();
        let layer = read(FsPath::new("pools.json"), text, 2, &mut problems);
        assert_eq!(layer.text(&Path::of(["pools", "2", "size"])), Some("3"));
        assert!(!layer.has(&Path::of(["pools", "2", "user"])));
        let shown: Vec<String> = problems
            .into_sorted()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            shown,
            [
                "pools.json: pools: unknown key",
                "pools.json: connection_pools[1].name: must be text",
                "pools.json: connection_pools[1].sise: unknown key; did you mean size?",
                "pools.json: connection_pools[1].size: must be a number",
                "pools.json: connection_pools[2]: must be an object",
            ]
        );
    }
}
