//! `require_auth`: libpq's list of what a server may ask of whoever logs in.

use super::problem::Invalid;
use super::value_parsers::{Info, Kind, Shape, TEXT, not_a_word};

/// A way in which a server has the proxy, or a client, prove itself; libpq's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerMethod {
    /// Nothing is asked.
    None,
    /// The password itself.
    Password,
    Md5,
    ScramSha256,
    Gss,
    Sspi,
}

impl ServerMethod {
    const ALL: [(&'static str, Self); 6] = [
        ("scram-sha-256", Self::ScramSha256),
        ("md5", Self::Md5),
        ("password", Self::Password),
        ("none", Self::None),
        ("gss", Self::Gss),
        ("sspi", Self::Sspi),
    ];
}

/// The methods that are accepted; all others end the login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequireAuth(u8);

impl RequireAuth {
    pub(crate) fn of(methods: &[ServerMethod]) -> Self {
        let bits = methods.iter().map(|method| Self::bit(*method));
        Self(bits.fold(0, |all, bit| all | bit))
    }

    pub(crate) const fn allows(self, method: ServerMethod) -> bool {
        self.0 & Self::bit(method) != 0
    }

    pub(crate) const fn and(self, method: ServerMethod) -> Self {
        Self(self.0 | Self::bit(method))
    }

    const fn without(self, method: ServerMethod) -> Self {
        Self(self.0 & !Self::bit(method))
    }

    const fn bit(method: ServerMethod) -> u8 {
        1 << method as u8
    }
}

/// As it would be written.
impl std::fmt::Display for RequireAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let allowed = ServerMethod::ALL.iter();
        let allowed = allowed.filter(|(_, method)| self.allows(*method));
        let words: Vec<&str> = allowed.map(|(word, _)| *word).collect();
        f.write_str(&words.join(","))
    }
}

impl Kind for RequireAuth {
    const INFO: Info = Info {
        name: "methods, separated by commas",
        shape: Shape::Text,
        example: r#""scram-sha-256""#,
        ..TEXT
    };

    /// As in libpq, except that `none` has to be written to be meant: a list of what is
    /// refused does not let a server off that asks for nothing.
    fn parse(text: &str) -> Result<Self, Invalid> {
        let mut named = Self(0);
        let mut negated = None;
        for item in text.split(',').map(str::trim) {
            let (word, is_negated) = match item.strip_prefix('!') {
                Some(word) => (word, true),
                None => (item, false),
            };
            let known = ServerMethod::ALL.iter().find(|(known, _)| *known == word);
            let Some((_, method)) = known else {
                let words = ServerMethod::ALL.map(|(word, _)| word);
                return Err(not_a_word(word, &words));
            };
            if *negated.get_or_insert(is_negated) != is_negated {
                return Err(Invalid::new(
                    "some methods are allowed and others refused (!)",
                    "write what is allowed, for example \"scram-sha-256,md5\", or only what is refused, for example \"!password,!md5\"",
                ));
            }
            if named.allows(*method) {
                return Err(Invalid::new(
                    format!("{word} is written twice"),
                    "write it once",
                ));
            }
            named = named.and(*method);
        }
        let allowed = match negated {
            Some(true) => Self(Self::of(&ServerMethod::ALL.map(|(_, method)| method)).0 & !named.0)
                .without(ServerMethod::None),
            _ => named,
        };
        let possible = allowed
            .without(ServerMethod::Gss)
            .without(ServerMethod::Sspi);
        if possible.0 == 0 {
            return Err(Invalid::new(
                "leaves no method that works here: GSSAPI and SSPI logins are neither made nor relayed",
                "write for example \"scram-sha-256\"",
            ));
        }
        Ok(allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        let read = RequireAuth::parse(text);
        read.map(|read| read.to_string()).map_err(|bad| bad.message)
    }

    #[test]
    fn lists_are_read_as_libpq_reads_them() {
        let table = [
            ("scram-sha-256", "scram-sha-256"),
            ("md5,scram-sha-256", "scram-sha-256,md5"),
            ("none", "none"),
            (" password , none ", "password,none"),
            ("gss,md5", "md5,gss"),
            ("!password", "scram-sha-256,md5,gss,sspi"),
            ("!password,!md5", "scram-sha-256,gss,sspi"),
            ("!none", "scram-sha-256,md5,password,gss,sspi"),
        ];
        for (text, expected) in table {
            assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let table = [
            ("scram", "must be"),
            ("SCRAM-SHA-256", "must be"),
            ("", "must be"),
            ("md5,", "must be"),
            ("!", "must be"),
            ("!!md5", "must be"),
            ("md5,!password", "others refused"),
            ("md5,md5", "written twice"),
            ("!md5,!md5", "written twice"),
            ("gss", "no method"),
            ("!scram-sha-256,!md5,!password", "no method"),
        ];
        for (text, expected) in table {
            let error = read(text).unwrap_err();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }
}
