//! The types that a key can have, and how each is read from text.
//!
//! Every value has a text form, the one that an environment variable gives; a
//! file's value is brought to it by `file` after its TOML type was checked.

use std::time::Duration;

use super::nearest::nearest;
use super::problem::Invalid;
use super::values::AuthMode;
use super::values::{
    ChannelBinding, LogFormat, Negotiation, OnSessionState, PoolMode, Priority, SaslPlus, Scrub,
    TlsVersion,
};
use crate::secret::Secret;

/// How a value is written in TOML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Text,
    Integer,
    Boolean,
    List,
}

/// What is known about a type without a value of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Info {
    /// As the documentation calls it; the words of a choice are listed instead.
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    /// A value that is never shown.
    pub(crate) secret: bool,
    /// What a choice can be; empty for other types.
    pub(crate) words: &'static [&'static str],
    /// A correct value, as TOML.
    pub(crate) example: &'static str,
}

pub(super) const TEXT: Info = Info {
    name: "text",
    shape: Shape::Text,
    secret: false,
    words: &[],
    example: r#""text""#,
};

/// A type that a key can have.
pub(crate) trait Kind: Sized {
    const INFO: Info;

    /// Reads the text form.
    fn parse(text: &str) -> Result<Self, Invalid>;

    /// Reads the written items; only a list has more than one.
    fn parse_items(items: &[&str]) -> Result<Self, Invalid> {
        Self::parse(items.first().copied().unwrap_or_default())
    }
}

/// Any text but the empty one.
pub(crate) type Text = String;

impl Kind for Text {
    const INFO: Info = TEXT;

    fn parse(text: &str) -> Result<Self, Invalid> {
        if text.is_empty() {
            return Err(Invalid::new(
                "is empty",
                "give a value, or leave the key out",
            ));
        }
        if text.contains('\0') {
            return Err(Invalid::new("contains a NUL byte", "take it out"));
        }
        Ok(text.to_owned())
    }
}

impl Kind for Secret {
    const INFO: Info = Info {
        name: "secret",
        secret: true,
        ..TEXT
    };

    fn parse(text: &str) -> Result<Self, Invalid> {
        Text::parse(text).map(Self::new)
    }
}

/// A file or directory; `resolve` makes it absolute or relative to the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FilePath(pub(crate) String);

impl Kind for FilePath {
    const INFO: Info = Info {
        name: "path",
        example: r#""path/to/file""#,
        ..TEXT
    };

    fn parse(text: &str) -> Result<Self, Invalid> {
        Text::parse(text).map(Self)
    }
}

/// Several texts; in the environment separated by commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct List(pub(crate) Vec<String>);

/// The items of a list's text form.
pub(crate) fn split_list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

impl Kind for List {
    const INFO: Info = Info {
        name: "list of texts",
        shape: Shape::List,
        example: r#"["one", "two"]"#,
        ..TEXT
    };

    fn parse(text: &str) -> Result<Self, Invalid> {
        Self::parse_items(&split_list(text).collect::<Vec<_>>())
    }

    fn parse_items(items: &[&str]) -> Result<Self, Invalid> {
        let texts: Result<_, _> = items.iter().map(|item| Text::parse(item)).collect();
        texts.map(Self)
    }
}

macro_rules! number {
    ($Type:ty, $name:literal, $example:literal) => {
        impl Kind for $Type {
            const INFO: Info = Info {
                name: $name,
                shape: Shape::Integer,
                example: $example,
                ..TEXT
            };

            fn parse(text: &str) -> Result<Self, Invalid> {
                text.parse().map_err(|_| {
                    Invalid::new(
                        format!(
                            "must be a whole number from 0 to {}, not {text:?}",
                            Self::MAX
                        ),
                        concat!("write a number, for example ", $example),
                    )
                })
            }
        }
    };
}

number!(u32, "number", "20");
number!(u16, "port", "5432");

impl Kind for bool {
    const INFO: Info = Info {
        name: "boolean",
        shape: Shape::Boolean,
        example: "true",
        ..TEXT
    };

    fn parse(text: &str) -> Result<Self, Invalid> {
        text.parse().map_err(|_| {
            Invalid::new(
                format!("must be true or false, not {text:?}"),
                "write true or false",
            )
        })
    }
}

/// Longer than any sensible wait, short enough to be added to any clock.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

impl Kind for Duration {
    const INFO: Info = Info {
        name: "duration",
        example: r#""30s""#,
        ..TEXT
    };

    fn parse(text: &str) -> Result<Self, Invalid> {
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit = text[digits.len()..].trim();
        let bad = || {
            Invalid::new(
                format!("must be a duration such as \"30s\" or \"5m\", not {text:?}"),
                "write a whole number and a unit: ms, s, m, h or d",
            )
        };
        let count: u64 = digits.parse().map_err(|_| bad())?;
        let millis = match unit {
            "ms" => Some(count),
            "s" => count.checked_mul(1_000),
            "m" => count.checked_mul(60_000),
            "h" => count.checked_mul(3_600_000),
            "d" => count.checked_mul(86_400_000),
            "" => {
                return Err(Invalid::new(
                    format!("a duration needs its unit, {text} has none"),
                    format!("write \"{text}s\" for {text} seconds"),
                ));
            }
            _ => return Err(bad()),
        };
        millis
            .map(Self::from_millis)
            .filter(|wait| *wait <= LONGEST)
            .ok_or_else(|| Invalid::new(format!("{text} is too long"), "write at most \"365d\""))
    }
}

/// Permission bits, written in octal as text (a TOML number would lose the 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileMode(pub(crate) u32);

impl Kind for FileMode {
    const INFO: Info = Info {
        name: "octal mode",
        example: r#""0770""#,
        ..TEXT
    };

    fn parse(text: &str) -> Result<Self, Invalid> {
        u32::from_str_radix(text, 8)
            .ok()
            .filter(|mode| *mode <= 0o777 && !text.starts_with('+'))
            .map(Self)
            .ok_or_else(|| {
                Invalid::new(
                    format!("must be octal permission bits, not {text:?}"),
                    "write for example \"0777\" or \"0770\"",
                )
            })
    }
}

/// `sslmode` as written; `resolve` turns it into what is verified.
///
/// In order of strength.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SslMode {
    Disable,
    Require,
    VerifyCa,
    VerifyFull,
}

/// `listen.tls_mode` as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlsMode {
    Disable,
    Allow,
    Require,
    VerifyCa,
    VerifyFull,
}

/// `users.auth` as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuthMethod {
    ScramSha256,
    Md5,
    Password,
    Trust,
    Peer,
    Cert,
}

macro_rules! choice {
    ($Type:ident { $first:literal => $First:ident $(, $word:literal => $Variant:ident)* } $(unless $refused:ident)?) => {
        impl Kind for $Type {
            const INFO: Info = Info {
                name: "choice",
                words: &[$first $(, $word)*],
                example: concat!("\"", $first, "\""),
                ..TEXT
            };

            fn parse(text: &str) -> Result<Self, Invalid> {
                $($refused(text)?;)?
                match text {
                    $first => Ok(Self::$First),
                    $($word => Ok(Self::$Variant),)*
                    _ => Err(not_a_word(text, Self::INFO.words)),
                }
            }
        }
    };
}

pub(super) fn not_a_word(text: &str, words: &[&str]) -> Invalid {
    let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    let message = format!("must be {}, not {text:?}", quoted.join(" or "));
    let fix = match nearest(text, words.iter().copied()) {
        Some(word) => format!("did you mean {word:?}?"),
        None => format!("write {}", quoted.join(" or ")),
    };
    Invalid::new(message, fix)
}

fn may_end_in_plaintext(text: &str) -> Result<(), Invalid> {
    match text {
        "prefer" | "allow" => Err(Invalid::new(
            format!("sslmode {text:?} is refused: it can end in plaintext without a word"),
            "write \"verify-full\" and give sslrootcert",
        )),
        _ => Ok(()),
    }
}

/// Words that ask for verification are not taken for the weaker ones they resemble.
fn verifies(text: &str) -> Result<(), Invalid> {
    match text {
        "verify" | "full" | "strict" | "on" | "true" | "yes" | "enable" | "enabled" => {
            Err(Invalid::new(
                format!("there is no sslmode {text:?}"),
                "write \"verify-full\" and give sslrootcert",
            ))
        }
        _ => may_end_in_plaintext(text),
    }
}

/// pgbouncer's `auth_type` says how clients prove themselves, here each user does.
fn not_a_method(text: &str) -> Result<(), Invalid> {
    match text {
        "md5" | "scram-sha-256" | "scram" | "trust" | "plain" | "password" | "cert" | "peer"
        | "hba" | "pam" | "any" => Err(Invalid::new(
            format!("{text:?} is a way for a client to prove itself, and not who checks it"),
            "write \"held\", and auth under each of [[users]]; or \"passthrough\", and the upstream \
             checks clients as it does now",
        )),
        _ => Ok(()),
    }
}

fn outdated_tls(text: &str) -> Result<(), Invalid> {
    match text {
        "TLSv1" | "TLSv1.0" | "TLSv1.1" | "SSLv3" => Err(Invalid::new(
            format!("{text} is refused: it is broken, and RFC 8996 retired it"),
            "write \"TLSv1.2\" or \"TLSv1.3\"",
        )),
        _ => Ok(()),
    }
}

choice!(SslMode {
    "verify-full" => VerifyFull, "verify-ca" => VerifyCa, "require" => Require, "disable" => Disable
} unless verifies);
choice!(TlsVersion { "TLSv1.2" => Tls12, "TLSv1.3" => Tls13 } unless outdated_tls);
choice!(TlsMode {
    "disable" => Disable, "allow" => Allow, "require" => Require,
    "verify-ca" => VerifyCa, "verify-full" => VerifyFull
});
choice!(SaslPlus { "strip" => Strip, "keep" => Keep });
choice!(Negotiation { "postgres" => Postgres, "direct" => Direct });
choice!(ChannelBinding { "prefer" => Prefer, "disable" => Disable, "require" => Require });
choice!(AuthMode { "passthrough" => Passthrough, "held" => Held } unless not_a_method);
choice!(AuthMethod {
    "scram-sha-256" => ScramSha256, "md5" => Md5, "password" => Password,
    "trust" => Trust, "peer" => Peer, "cert" => Cert
});
choice!(PoolMode { "session" => Session, "transaction" => Transaction, "statement" => Statement });
choice!(Priority { "high" => High, "medium" => Medium, "low" => Low });
choice!(Scrub { "auto" => Auto, "always" => Always, "never" => Never });
choice!(OnSessionState { "pin" => Pin, "error" => Error, "ignore" => Ignore });
choice!(LogFormat { "text" => Text, "json" => Json });
