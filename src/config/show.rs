//! The effective configuration as text, and the table of keys as documentation.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use super::keys::SECTIONS;
use super::layer::Merged;
use super::schema::{Key, Path, Repeat, header, toml_key};
use super::value_parsers::Shape;
use super::values::{ClientAuth, Config, UpstreamTls};

const MASK: &str = "********";

/// One key in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    /// `[limits]`, or nothing above the first section.
    header: String,
    name: &'static str,
    /// Dotted path from the root.
    pub(crate) key: String,
    /// As TOML; a secret is a mask already.
    pub(crate) toml: String,
    /// `default`, `proxy.toml:12`, `env NAME` or `--set KEY`.
    pub(crate) origin: String,
}

/// Every key that has a value, in the order of the table.
pub(super) fn settings(merged: &Merged, config: &Config) -> Vec<Setting> {
    let mut settings = Vec::new();
    for section in SECTIONS {
        let entries = match section.repeat {
            Repeat::Once => vec![None],
            Repeat::Named | Repeat::Listed => {
                merged.entries(section).into_iter().map(Some).collect()
            }
        };
        for entry in entries {
            let path = section.path(entry.as_deref());
            for key in section.keys {
                let name = path.join(key.name);
                let (toml, origin) = match merged.get(&name) {
                    Some((items, at)) => (to_toml(key, &items), at.origin_text()),
                    None => match derived(merged, config, &path, key) {
                        Some(toml) => (toml, "default".to_owned()),
                        None => continue,
                    },
                };
                settings.push(Setting {
                    header: header(section, &toml_key(entry.as_deref().unwrap_or_default())),
                    name: key.name,
                    key: name.to_string(),
                    toml,
                    origin,
                });
            }
        }
    }
    settings
}

/// What a default became that another value decides.
fn derived(merged: &Merged, config: &Config, section: &Path, key: &Key) -> Option<String> {
    let names: Vec<&str> = section.0.iter().map(String::as_str).collect();
    let text = match (names.as_slice(), key.name) {
        ([], "upstream") if config.upstream.is_empty() => return None,
        ([], "upstream") => config.upstream.clone(),
        (["listen"], "unix_socket_port") => {
            return Some(config.listen.unix_socket_port.to_string());
        }
        (["upstreams", name], "server_name") => match &config.upstreams.get(*name)?.tls {
            UpstreamTls::Enable(tls) => tls.server_name.clone(),
            UpstreamTls::Disable => return None,
        },
        (["databases", name], "dbname") => config.databases.get(*name)?.dbname.clone(),
        (["users", _], name) => {
            let (user, _) = merged.get(&section.join("name"))?;
            let user = config.users.get(*user.first()?)?;
            match (name, &user.auth) {
                ("upstream_user", _) => user.upstream_user.clone(),
                ("os_user", ClientAuth::Peer { os_user }) => os_user.clone(),
                ("common_name", ClientAuth::Cert { common_name }) => common_name.clone(),
                _ => return None,
            }
        }
        _ => return None,
    };
    Some(quoted(&text))
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn to_toml(key: &Key, items: &[&str]) -> String {
    let first = items.first().copied().unwrap_or_default();
    if key.info.secret {
        return quoted(MASK);
    }
    match key.info.shape {
        Shape::Text => quoted(first),
        Shape::List => {
            let items: Vec<String> = items.iter().map(|item| quoted(item)).collect();
            format!("[{}]", items.join(", "))
        }
        // In a variable a number may have leading zeros, which TOML forbids.
        Shape::Integer => first
            .parse::<u64>()
            .map_or_else(|_| quoted(first), |n| n.to_string()),
        Shape::Boolean => first.to_owned(),
    }
}

/// All settings as TOML, each with its origin.
pub(crate) fn as_toml(settings: &[Setting]) -> String {
    let mut text = String::new();
    let mut section = String::new();
    let mut last_entry = "";
    for setting in settings {
        let entry = setting.key.strip_suffix(setting.name).unwrap_or_default();
        if entry != last_entry || setting.header != section {
            section.clone_from(&setting.header);
            last_entry = entry;
            let gap = if text.is_empty() { "" } else { "\n" };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{gap}{section}");
        }
        let _ = writeln!(
            text,
            "{} = {}  # {}",
            setting.name, setting.toml, setting.origin
        );
    }
    text
}

/// All settings as one JSON object: key to value and origin.
pub(crate) fn as_json(settings: &[Setting]) -> Json {
    let members = settings.iter().map(|setting| {
        let value = toml::from_str::<toml::Table>(&format!("value = {}", setting.toml))
            .ok()
            .and_then(|mut table| table.remove("value"))
            .and_then(|value| serde_json::to_value(value).ok());
        (
            setting.key.clone(),
            json!({ "value": value, "origin": setting.origin }),
        )
    });
    Json::Object(members.collect())
}

/// The reference of every key in Markdown, as `docs/configuration.md` holds it.
#[cfg(test)]
pub(super) fn reference() -> String {
    use super::schema::Fallback;

    let mut text = String::new();
    for section in SECTIONS {
        let title = match section.repeat {
            Repeat::Once if section.name.is_empty() => "Above the first section".to_owned(),
            _ => format!("`{}`", header(section, "NAME")),
        };
        let _ = writeln!(text, "### {title}\n\n{}\n", section.doc.trim());
        text.push_str("| Key | Type | Default | Meaning |\n|---|---|---|---|\n");
        for key in section.keys {
            let kind = match key.info.words {
                [] => key.info.name.to_owned(),
                words => words
                    .iter()
                    .map(|word| format!("`{word}`"))
                    .collect::<Vec<_>>()
                    .join(", "),
            };
            let default = match key.fallback {
                Fallback::Text(text) => {
                    let items: Vec<&str> = match key.info.shape {
                        Shape::List => super::value_parsers::split_list(text).collect(),
                        _ => vec![text],
                    };
                    format!("`{}`", to_toml(key, &items))
                }
                Fallback::Derived(words) => words.to_owned(),
                Fallback::Nothing => String::new(),
            };
            let _ = writeln!(
                text,
                "| `{}` | {kind} | {default} | {} |",
                key.name,
                key.doc.trim()
            );
        }
        text.push('\n');
    }
    text
}
