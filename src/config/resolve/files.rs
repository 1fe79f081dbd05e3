//! Files that the configuration names: where they are, whether they can be read,
//! and who else can read them.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::resolver::Resolver;
use crate::config::encoding::{Encoded, Wanted};
use crate::config::layer::Set;
use crate::config::problem::{Invalid, Location, Origin};
use crate::config::value_parsers::{FilePath, Text};
use crate::config::values::Roots;
use crate::secret::Secret;

/// More than any certificate bundle; a device or a log given by mistake must not
/// fill the memory.
const LARGEST: u64 = 4 << 20;

/// Of a file, as Linux has it.
const LONGEST_NAME: usize = 255;

/// A path in a file is relative to that file's directory, any other to the
/// working directory.
pub(super) fn rooted(set: &Set<FilePath>) -> PathBuf {
    let path = Path::new(&set.value.0);
    match &set.at.origin {
        Origin::File(file) => file.with_file_name("").join(path),
        Origin::Default | Origin::Env(_) | Origin::Flag(_) => path.to_owned(),
    }
}

/// A certificate, key or list; what is in the file is checked as far as can be
/// without the TLS library.
pub(super) fn tls_file(desk: &mut Resolver<'_>, set: &Set<FilePath>, wanted: Wanted) -> PathBuf {
    let path = rooted(set);
    if Encoded::is_value(&set.value.0) {
        // Not repeated: it may be a key.
        let bad = Invalid::new(
            "is the text of a certificate or key, and has to be a path",
            "write the text to a file, and give the file's path",
        );
        desk.problems.add(&set.at, bad);
        return path;
    }
    let checked = match read(&path) {
        Ok(bytes) => Encoded::of(bytes)
            .check(wanted)
            .map_err(|bad| of_file(&path, bad)),
        Err(error) => Err(unreadable(set, &path, &error)),
    };
    desk.problems.keep(&set.at, checked);
    path
}

/// The server's CA: a file, or the certificates themselves.
pub(super) fn authority(desk: &mut Resolver<'_>, set: &Set<FilePath>) -> Roots {
    if !Encoded::is_value(&set.value.0) {
        return Roots::File(tls_file(desk, set, Wanted::Authority));
    }
    let encoded = Encoded::of_value(&set.value.0);
    let checked = match encoded.check(Wanted::Authority) {
        // It would be shown as what it is.
        Ok(()) if encoded.has_key() => Err(Invalid::new(
            "holds a private key beside the certificate",
            "give the certificate alone, and take the key for known to others",
        )),
        checked => checked,
    };
    desk.problems.keep(&set.at, checked);
    Roots::Inline(set.value.0.clone())
}

/// A private key; others should not be able to read it.
pub(super) fn private_key(desk: &mut Resolver<'_>, set: &Set<FilePath>) -> PathBuf {
    let path = tls_file(desk, set, Wanted::PrivateKey);
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
pub(super) fn secret(desk: &mut Resolver<'_>, keys: &SecretKeys<'_>) -> Option<Secret> {
    let places = [
        keys.direct.map(|set| &set.at),
        keys.file.map(|set| &set.at),
        keys.env.map(|set| &set.at),
    ];
    let mut given = places.into_iter().flatten();
    if let (Some(first), Some(second)) = (given.next(), given.next()) {
        desk.problems.add(
            second,
            Invalid::new(
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

fn secret_file(desk: &mut Resolver<'_>, set: &Set<FilePath>) -> Option<Secret> {
    let path = rooted(set);
    let text = read(&path)
        .map_err(|error| unreadable(set, &path, &error))
        .and_then(|bytes| {
            let fix = "write the password into it as plain text in UTF-8";
            String::from_utf8(bytes)
                .map_err(|_| of_file(&path, Invalid::new("holds no text in UTF-8", fix)))
        });
    let text = desk.problems.keep(&set.at, text)?;
    // A byte order mark is an editor's, and no part of the password.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    warn_if_shared(desk, &set.at, &path);
    let line = text.strip_suffix('\n').unwrap_or(text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() || line.contains('\0') {
        let message = format!("{} is empty or holds a NUL byte", path.display());
        desk.problems
            .add(&set.at, Invalid::new(message, "write the password into it"));
        return None;
    }
    Some(Secret::new(line))
}

fn secret_variable(desk: &mut Resolver<'_>, set: &Set<Text>) -> Option<Secret> {
    match desk.env.get(&set.value).filter(|text| !text.is_empty()) {
        Some(text) => Some(Secret::new(text.as_str())),
        None => {
            // The value may be the password itself, put under the wrong key.
            let is_name = set
                .value
                .chars()
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
            let message = match is_name {
                true => format!(
                    "the environment variable {} is not set, or not UTF-8",
                    set.value
                ),
                false => "names an environment variable that is not set, or not UTF-8".to_owned(),
            };
            desk.problems.add(
                &set.at,
                Invalid::new(message, "set the variable, or give the secret another way"),
            );
            None
        }
    }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Where the file was looked for, whatever the working directory is.
fn shown(path: &Path) -> String {
    let absolute = std::path::absolute(path);
    absolute
        .unwrap_or_else(|_| path.to_owned())
        .display()
        .to_string()
}

fn of_file(path: &Path, bad: Invalid) -> Invalid {
    Invalid::new(format!("{} {}", shown(path), bad.message), bad.fix)
}

/// Why a file that the configuration names cannot be read.
pub(in crate::config) fn unreadable(
    set: &Set<FilePath>,
    path: &Path,
    error: &std::io::Error,
) -> Invalid {
    let written = set.value.0.as_str();
    // It may be anything, and is not repeated.
    if written.contains('\n') || written.split('/').any(|name| name.len() > LONGEST_NAME) {
        return Invalid::new(
            "is no path",
            "write the text to a file, and give the file's path",
        );
    }
    let start = match (&set.at.origin, Path::new(written).is_absolute()) {
        (_, true) => "in a container, mount it there",
        (Origin::File(_), false) => "a relative path starts at the directory of the file it is in",
        (_, false) => "a relative path in a variable or flag starts at the working directory",
    };
    let (message, fix) = match error.kind() {
        _ if written.starts_with(['~', '$']) => (
            "does not exist".to_owned(),
            "write the whole path: ~ and variables are the shell's, and mean nothing here"
                .to_owned(),
        ),
        ErrorKind::NotFound | ErrorKind::NotADirectory => (
            "does not exist".to_owned(),
            format!("put the file there, or correct the path; {start}"),
        ),
        ErrorKind::PermissionDenied => (
            "may not be read by this user".to_owned(),
            "let the user that runs pgsluice read it (chown, chmod), and enter the directories \
             above it"
                .to_owned(),
        ),
        ErrorKind::IsADirectory => (
            "is a directory".to_owned(),
            "give the file; docker makes a directory of a mounted file that is not there: remove \
             the directory, and put the file in its place"
                .to_owned(),
        ),
        _ => (
            format!("cannot be read: {error}"),
            "give the path of a readable file".to_owned(),
        ),
    };
    of_file(path, Invalid::new(message, fix))
}

fn warn_if_shared(desk: &mut Resolver<'_>, at: &Location, path: &Path) {
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
