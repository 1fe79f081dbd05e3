//! Reads the catalogs of both sides, kind by kind. A kind that cannot be read on a side is
//! unchecked as a whole.

use std::collections::BTreeMap;

use super::normalise::Versions;
use super::objects::{Attributes, Comparison, Objects, compare};
use super::side::{Side, TextRow, reason, value};
use super::verdict::{Finding, State};

/// Kind of object, and the query for its objects: a name, and attributes.
const KINDS: [(&str, &str); 23] = [
    ("database", include_str!("catalog/database.sql")),
    ("schema", include_str!("catalog/schemas.sql")),
    ("extension", include_str!("catalog/extensions.sql")),
    ("type", include_str!("catalog/types.sql")),
    ("collation", include_str!("catalog/collations.sql")),
    ("relation", include_str!("catalog/relations.sql")),
    ("column", include_str!("catalog/columns.sql")),
    ("constraint", include_str!("catalog/constraints.sql")),
    ("index", include_str!("catalog/indexes.sql")),
    ("trigger", include_str!("catalog/triggers.sql")),
    ("rule", include_str!("catalog/rules.sql")),
    ("policy", include_str!("catalog/policies.sql")),
    ("function", include_str!("catalog/functions.sql")),
    ("sequence", include_str!("catalog/sequences.sql")),
    ("grant", include_str!("catalog/grants.sql")),
    ("setting", include_str!("catalog/settings.sql")),
    ("comment", include_str!("catalog/comments.sql")),
    ("statistics", include_str!("catalog/statistics.sql")),
    ("operator", include_str!("catalog/operators.sql")),
    ("cast", include_str!("catalog/casts.sql")),
    ("publication", include_str!("catalog/publications.sql")),
    ("event trigger", include_str!("catalog/event_triggers.sql")),
    ("large object", include_str!("catalog/large_objects.sql")),
];

const UNCOMPARED: &str = include_str!("catalog/uncompared.sql");

/// Roles of the old side that have another name on the new one.
pub(crate) type RoleMap = BTreeMap<String, String>;

/// Compares the definitions of everything.
pub(crate) async fn compare_catalogs(
    from: &Side,
    to: &Side,
    roles: &RoleMap,
) -> Vec<(&'static str, Comparison)> {
    let versions = Versions {
        from: from.about.major(),
        to: to.about.major(),
    };
    let mut compared = Vec::new();
    for (kind, sql) in KINDS {
        let sql = sql.replace("{ignored}", ignored_privileges(versions));
        let (old, new) = tokio::join!(from.read(&sql), to.read(&sql));
        let unreadable = |side: &Side, error: tokio_postgres::Error| {
            let detail = format!(
                "cannot be read on {}: {}",
                side.about.upstream,
                reason(&error)
            );
            Finding::new(kind, "all of them", State::Unchecked, detail)
        };
        let comparison = match (old, new) {
            (Ok(old), Ok(new)) => {
                let old = objects(old, roles);
                compare(kind, &old, &objects(new, &RoleMap::new()), versions)
            }
            (old, new) => {
                let old = old.err().map(|error| unreadable(from, error));
                let new = new.err().map(|error| unreadable(to, error));
                Comparison {
                    matches: 0,
                    findings: old.into_iter().chain(new).collect(),
                }
            }
        };
        compared.push((kind, comparison));
    }
    compared.push(("other", uncompared(from, to).await));
    compared
}

/// A right that one of the versions does not know says nothing.
const fn ignored_privileges(versions: Versions) -> &'static str {
    match versions.any_before(17) {
        true => "MAINTAIN.*",
        false => "",
    }
}

/// Objects of kinds that are not compared: that one side has any is enough.
async fn uncompared(from: &Side, to: &Side) -> Comparison {
    let (old, new) = tokio::join!(from.read(UNCOMPARED), to.read(UNCOMPARED));
    let mut comparison = Comparison::default();
    for (side, found) in [(from, old), (to, new)] {
        match found {
            Ok(rows) => {
                for row in rows {
                    let name = value(&row, "name").unwrap_or_default();
                    let detail =
                        format!("on {}: this kind is not compared yet", side.about.upstream);
                    let finding = Finding::new("other", name, State::Unchecked, detail);
                    comparison.findings.push(finding);
                }
            }
            Err(error) => {
                let detail = format!(
                    "cannot be read on {}: {}",
                    side.about.upstream,
                    reason(&error)
                );
                let finding = Finding::new("other", "all of them", State::Unchecked, detail);
                comparison.findings.push(finding);
            }
        }
    }
    comparison
}

fn objects(rows: Vec<TextRow>, roles: &RoleMap) -> Objects {
    let mut objects = Objects::default();
    for row in rows {
        let (name, attributes) = object(row, roles);
        objects.add(name, attributes);
    }
    objects
}

/// A row as an object: its `role` is part of the name, and roles have the names that they
/// have on the new side.
fn object(row: TextRow, roles: &RoleMap) -> (String, Attributes) {
    let mapped = |role: String| roles.get(&role).cloned().unwrap_or(role);
    let (mut name, mut role) = (String::new(), None);
    let mut attributes = Attributes::new();
    for (column, value) in row {
        let Some(value) = value else { continue };
        match column.as_str() {
            "name" => name = value,
            "role" => role = Some(mapped(value)),
            "owner" => {
                attributes.insert(column, mapped(value));
            }
            _ => {
                attributes.insert(column, value);
            }
        }
    }
    if let Some(role) = role {
        name = format!("{name} to {role}");
    }
    (name, attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_known_by_their_new_names() {
        let some = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
        let roles = RoleMap::from([("postgres".to_owned(), "doadmin".to_owned())]);
        let row = vec![
            some("name", "table t"),
            some("role", "postgres"),
            some("owner", "postgres"),
            ("x".to_owned(), None),
        ];
        let (name, attributes) = object(row, &roles);
        assert_eq!(name, "table t to doadmin");
        assert_eq!(
            attributes,
            Attributes::from([("owner".to_owned(), "doadmin".to_owned())])
        );
    }

    #[test]
    fn a_right_that_both_versions_know_is_never_ignored() {
        let ignored = |from, to| ignored_privileges(Versions { from, to });
        assert_eq!(ignored(17, 18), "");
        assert!(ignored(15, 18).starts_with("MAINTAIN") && ignored(18, 15).starts_with("MAINTAIN"));
    }
}
