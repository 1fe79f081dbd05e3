//! Files that the configuration names: where they are, whether they can be read,
//! and who else can read them.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::Desk;
use crate::config::kinds::{FilePath, Text};
use crate::config::layer::Set;
use crate::config::problem::{At, Bad, Origin};
use crate::secret::Secret;

/// More than any certificate bundle; a device or a log given by mistake must not
/// fill the memory.
const LARGEST: u64 = 4 << 20;

/// A path in a file is relative to that file's directory, any other to the
/// working directory.
pub(super) fn rooted(set: &Set<FilePath>) -> PathBuf {
    let path = Path::new(&set.value.0);
    match &set.at.origin {
        Origin::File(file) => file.with_file_name("").join(path),
        Origin::Default | Origin::Env(_) | Origin::Flag(_) => path.to_owned(),
    }
}

/// A PEM file that must hold at least one block with this label.
pub(super) fn pem(desk: &mut Desk<'_>, set: &Set<FilePath>, label: &str) -> PathBuf {
    let path = rooted(set);
    let begin = format!("-----BEGIN {label}");
    let end = match label {
        // RSA PRIVATE KEY, EC PRIVATE KEY, PRIVATE KEY
        "" => "PRIVATE KEY-----",
        _ => "-----",
    };
    let holds_block = |text: &str| {
        text.lines()
            .any(|line| line.starts_with(&begin) && line.contains(end))
    };
    let wanted = if label.is_empty() {
        "private key"
    } else {
        label
    };
    match read(&path) {
        Ok(text) if holds_block(&text) => {}
        Ok(_) => desk.problems.add(
            &set.at,
            Bad::new(
                format!("{} holds no PEM {}", path.display(), wanted.to_lowercase()),
                "give a PEM file (it has a line starting with -----BEGIN)",
            ),
        ),
        Err(error) => desk.problems.add(&set.at, unreadable(&path, &error)),
    }
    path
}

/// A PEM private key; others should not be able to read it.
pub(super) fn private_key(desk: &mut Desk<'_>, set: &Set<FilePath>) -> PathBuf {
    let path = pem(desk, set, "");
    warn_if_shared(desk, &set.at, &path);
    path
}

/// The three spellings of one secret.
pub(super) struct SecretKeys<'a> {
    pub(super) direct: Option<&'a Set<Secret>>,
    pub(super) file: Option<&'a Set<FilePath>>,
    pub(super) env: Option<&'a Set<Text>>,
}

impl SecretKeys<'_> {
    /// What the spelling that was used adds to the key's name.
    pub(super) const fn ending(&self) -> &'static str {
        match (self.file, self.env) {
            (Some(_), _) => "_file",
            (_, Some(_)) => "_env",
            _ => "",
        }
    }
}

/// The secret, from whichever spelling was used; two at once are a problem.
pub(super) fn secret(desk: &mut Desk<'_>, keys: &SecretKeys<'_>) -> Option<Secret> {
    let places = [
        keys.direct.map(|set| &set.at),
        keys.file.map(|set| &set.at),
        keys.env.map(|set| &set.at),
    ];
    let mut given = places.into_iter().flatten();
    if let (Some(first), Some(second)) = (given.next(), given.next()) {
        desk.problems.add(
            second,
            Bad::new(
                format!("{} gives the same secret", first.key),
                "keep one of the two",
            ),
        );
        return None;
    }
    if let Some(file) = keys.file {
        return secret_file(desk, file);
    }
    if let Some(variable) = keys.env {
        return secret_variable(desk, variable);
    }
    let direct = keys.direct?;
    if let Origin::File(path) = &direct.at.origin {
        warn_if_shared(desk, &direct.at, &path.clone());
    }
    Some(direct.value.clone())
}

fn secret_file(desk: &mut Desk<'_>, set: &Set<FilePath>) -> Option<Secret> {
    let path = rooted(set);
    let text = match read(&path) {
        Ok(text) => text,
        Err(error) => {
            desk.problems.add(&set.at, unreadable(&path, &error));
            return None;
        }
    };
    warn_if_shared(desk, &set.at, &path);
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() || line.contains('\0') {
        let message = format!("{} is empty or holds a NUL byte", path.display());
        desk.problems
            .add(&set.at, Bad::new(message, "write the password into it"));
        return None;
    }
    Some(Secret::new(line))
}

fn secret_variable(desk: &mut Desk<'_>, set: &Set<Text>) -> Option<Secret> {
    match desk.env.get(&set.value).filter(|text| !text.is_empty()) {
        Some(text) => Some(Secret::new(text.as_str())),
        None => {
            // The value may be the password itself, put under the wrong key.
            let is_name = set
                .value
                .chars()
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
            let message = match is_name {
                true => format!("the environment variable {} is not set", set.value),
                false => "names an environment variable that is not set".to_owned(),
            };
            desk.problems.add(
                &set.at,
                Bad::new(message, "set the variable, or give the secret another way"),
            );
            None
        }
    }
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(LARGEST).read_to_string(&mut text)?;
    Ok(text)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Bad {
    Bad::new(
        format!("{} cannot be read: {error}", path.display()),
        "give the path of a readable file",
    )
}

fn warn_if_shared(desk: &mut Desk<'_>, at: &At, path: &Path) {
    let Ok(metadata) = fs::metadata(path) else {
        return;
    };
    if metadata.permissions().mode() & 0o044 != 0 {
        desk.problems.warn(format!(
            "{}: {} holds a secret, and others can read it; chmod 600 it",
            at.key,
            path.display()
        ));
    }
}
