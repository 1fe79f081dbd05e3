//! The variables that a migration plan already hands to applications: they
//! describe the upstream `cluster` and its pool, so that an environment made for
//! the application configures the proxy too.
//!
//! They may raise how the server is verified, never lower it: an application's
//! `sslmode=require` says nothing about what the operator of the proxy wants.

use std::collections::BTreeMap;

use super::layer::{Layer, Place};
use super::problem::{Invalid, Location, Origin, Problems};
use super::schema::{Path, Section};
use super::url::{self, ConnectionUrl};
use super::value_parsers::{Kind, SslMode};

const UPSTREAM: &str = "cluster";

/// Variable to key of the upstream.
const UPSTREAM_VARIABLES: &[(&str, &str)] = &[
    ("DB_HOST", "host"),
    ("DB_PORT", "port"),
    ("DB_USER", "user"),
    ("DB_PASSWORD", "password"),
    ("DB_NAME", "dbname"),
    ("DB_SSL_CERT", "sslrootcert"),
    ("DB_SSL_MODE", "sslmode"),
];

/// Variable to key of the pool.
const POOL_VARIABLES: &[(&str, &str)] = &[
    ("DB_POOL_NAME", "name"),
    ("DB_POOL_MODE", "mode"),
    ("DB_POOL_SIZE", "size"),
];

/// The plan's name for a key, where the plan's `variable` already gave others.
pub(super) fn name_of(variable: &str, section: &str, key: &str) -> Option<&'static str> {
    let known = match section {
        _ if !variable.starts_with("DB_") && variable != "DATABASE_URL" => return None,
        "pools" if key == "database" => return Some("DB_NAME"),
        "pools" => POOL_VARIABLES,
        _ => UPSTREAM_VARIABLES,
    };
    let pair = known.iter().find(|(_, known)| *known == key);
    pair.map(|(variable, _)| *variable)
}

/// What other frameworks call the plan's variables.
const OTHER_NAMES: &[(&str, &[&str])] = &[
    (
        "DB_HOST",
        &[
            "DB_HOSTNAME",
            "DB_SERVER",
            "DB_ADDRESS",
            "POSTGRES_HOST",
            "PGHOST",
        ],
    ),
    ("DB_PORT", &["POSTGRES_PORT"]),
    ("DB_USER", &["DB_USERNAME"]),
    ("DB_PASSWORD", &["DB_PASS", "DB_PASSWD"]),
    ("DB_NAME", &["DB_DATABASE", "DB_DBNAME"]),
    (
        "DB_SSL_CERT",
        &[
            "DB_SSLROOTCERT",
            "DB_SSL_ROOT_CERT",
            "DB_SSLCERT",
            "DB_SSL_CA",
            "DB_CA_CERT",
            "DB_CA",
            "CA_CERT",
            "DATABASE_CA_CERT",
            "PGSSLROOTCERT",
        ],
    ),
    ("DB_SSL_MODE", &["DB_SSLMODE"]),
    (
        "DATABASE_URL",
        &["DATABASE_URI", "DB_URL", "DB_URI", "POSTGRES_URL", "PG_URL"],
    ),
];

/// A variable of the environment that was probably meant to be `name`.
pub(super) fn meant_to_be<'e>(env: &'e BTreeMap<String, String>, name: &str) -> Option<&'e str> {
    let others = OTHER_NAMES.iter().find(|(known, _)| *known == name)?.1;
    let written = |other: &&str| {
        env.get_key_value(*other)
            .filter(|(_, text)| !text.is_empty())
    };
    others
        .iter()
        .find_map(written)
        .map(|(other, _)| other.as_str())
}

/// Whether the plan has a variable of this name.
pub(super) fn is_variable(name: &str) -> bool {
    let names = UPSTREAM_VARIABLES.iter().chain(POOL_VARIABLES);
    ["DATABASE_URL", "DB_POOL_URL"].contains(&name) || names.map(|pair| pair.0).any(|n| n == name)
}

/// Query parameters of `DATABASE_URL` that mean the same here.
const PARAMETERS: &[&str] = &[
    "host",
    "port",
    "user",
    "password",
    "dbname",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslcrl",
    "sslnegotiation",
    "ssl_min_protocol_version",
    "channel_binding",
];

/// The layers on both sides of this one.
pub(super) struct Neighbours<'a> {
    pub(super) file: &'a Layer,
    /// The environment and the flags.
    pub(super) stronger: [&'a Layer; 2],
}

/// Reads the variables into a layer of their own.
pub(super) fn variables(
    env: &BTreeMap<String, String>,
    around: &Neighbours<'_>,
    problems: &mut Problems,
) -> Layer {
    let mut plan = AppEnv {
        layer: Layer::new("plan"),
        problems,
    };
    // An empty variable is what compose files make of an unset one.
    let get = |name: &str| {
        env.get(name)
            .filter(|text| !text.is_empty())
            .map(String::as_str)
    };
    plan.database_url(get("DATABASE_URL"));
    for (variable, key) in UPSTREAM_VARIABLES {
        if let Some(text) = get(variable) {
            plan.upstream(variable, key, text);
        }
    }
    plan.settle_sslmode(around);
    plan.pool(get, around.file);
    if plan.layer.has_any() {
        plan.warn_of_other_names(env);
    }
    plan.layer
}

struct AppEnv<'p> {
    layer: Layer,
    problems: &'p mut Problems,
}

fn place(variable: &str) -> Place {
    Place {
        origin: Origin::Env(variable.to_owned()),
        line: None,
    }
}

fn upstream_path(key: &str) -> Path {
    Path::of(["upstreams", UPSTREAM, key])
}

impl AppEnv<'_> {
    fn problem(&mut self, variable: &str, key: &Path, bad: Invalid) {
        let at = Location {
            key: key.to_string(),
            origin: Origin::Env(variable.to_owned()),
            line: None,
        };
        self.problems.add(&at, bad);
    }

    fn put(&mut self, variable: &str, section: &str, (entry, name): (&str, &str), text: &str) {
        let entry = Path::of([section, entry]);
        let key = Section::named(section).and_then(|section| section.key(name));
        if let Some(key) = key {
            self.layer.open(entry.clone(), place(variable));
            self.layer
                .put_text(entry.join(name), key, text, place(variable));
        }
    }

    /// In an environment that uses the plan's names, others are slips of these.
    fn warn_of_other_names(&mut self, env: &BTreeMap<String, String>) {
        for (variable, key) in UPSTREAM_VARIABLES {
            let given = self.layer.has(&upstream_path(key));
            let own = |other: &&str| other.starts_with("DB_");
            if let Some(other) = meant_to_be(env, variable).filter(own).filter(|_| !given) {
                self.problems
                    .warn(format!("{other} is not used; did you mean {variable}?"));
            }
        }
    }

    fn upstream(&mut self, variable: &str, key: &str, text: &str) {
        self.put(variable, "upstreams", (UPSTREAM, key), text);
    }

    fn database_url(&mut self, text: Option<&str>) {
        const NAME: &str = "DATABASE_URL";
        let parsed = match text.map(url::parse) {
            None => return,
            Some(Ok(parsed)) => parsed,
            Some(Err(bad)) => {
                // What it was to give is not missing too.
                for key in PARAMETERS {
                    self.problems.excuse(upstream_path(key).to_string());
                }
                return self.problem(NAME, &Path::of(["upstreams", UPSTREAM]), bad);
            }
        };
        let ConnectionUrl {
            user,
            password,
            host,
            port,
            dbname,
            parameters,
        } = parsed;
        let parts = [
            ("host", host),
            ("port", port),
            ("user", user),
            ("password", password),
            ("dbname", dbname),
        ];
        for (key, text) in parts {
            if let Some(text) = text {
                self.upstream(NAME, key, &text);
            }
        }
        for (name, text) in parameters {
            if PARAMETERS.contains(&name.as_str()) {
                self.upstream(NAME, &name, &text);
            } else if name == "connect_timeout" {
                // libpq counts bare seconds.
                self.upstream(NAME, &name, &format!("{text}s"));
            } else {
                let shown: String = name
                    .chars()
                    .filter(|c| c.is_ascii_alphanumeric() || *c == '_')
                    .take(40)
                    .collect();
                self.problems.warn(format!(
                    "DATABASE_URL: the parameter {shown} is the application's business and is not used"
                ));
            }
        }
    }

    /// Raises what an application asked for to verify-full, or leaves it to a
    /// stronger or equal word of the operator's.
    fn settle_sslmode(&mut self, around: &Neighbours<'_>) {
        let path = upstream_path("sslmode");
        let Some(text) = self.layer.text(&path).map(str::to_owned) else {
            return;
        };
        let variable = if self.layer_origin_is_url(&path) {
            "DATABASE_URL"
        } else {
            "DB_SSL_MODE"
        };
        let spelled_out = around.stronger.iter().any(|layer| layer.has(&path));
        let in_file = around
            .file
            .text(&path)
            .and_then(|text| SslMode::parse(text).ok());
        let asked = match SslMode::parse(&text) {
            Ok(SslMode::VerifyFull) => return,
            _ if spelled_out => return,
            Ok(asked) => asked,
            Err(bad) => {
                self.problem(variable, &path, bad);
                return self.upstream(variable, "sslmode", "verify-full");
            }
        };
        if in_file.is_some_and(|word| word >= asked) {
            return self.layer.remove(&path);
        }
        self.upstream(variable, "sslmode", "verify-full");
        let roots = upstream_path("sslrootcert");
        let layers = [
            around.file,
            &self.layer,
            around.stronger[0],
            around.stronger[1],
        ];
        // Stand-ins below: the missing CA needs no second problem.
        let has_roots = layers.iter().any(|layer| layer.has(&roots));
        if asked == SslMode::Disable {
            self.upstream(variable, "sslrootcert", "system");
            self.problem(
                variable,
                &path,
                Invalid::new(
                    "an application's variable cannot turn TLS off",
                    "write sslmode in proxy.toml, or set PGSLUICE_UPSTREAMS__CLUSTER__SSLMODE",
                ),
            );
        } else if has_roots {
            self.problems.warn(format!(
                "{variable} asks for sslmode={text}: raised to verify-full, because a CA was given"
            ));
        } else {
            self.upstream(variable, "sslrootcert", "system");
            self.problem(
                variable,
                &path,
                Invalid::new(
                    format!("sslmode={text} without a CA would not verify the server"),
                    "give DB_SSL_CERT, the path of the server's CA certificate",
                ),
            );
        }
    }

    fn layer_origin_is_url(&self, path: &Path) -> bool {
        self.layer.origin(path) == Some(&Origin::Env("DATABASE_URL".to_owned()))
    }

    /// `DB_POOL_*`: the file's pool of that name, or one more.
    fn pool<'e>(&mut self, get: impl Fn(&str) -> Option<&'e str>, file: &Layer) {
        let pool_url = match get("DB_POOL_URL").map(url::parse) {
            Some(Ok(parsed)) => parsed,
            Some(Err(bad)) => return self.problem("DB_POOL_URL", &Path::of(["pools"]), bad),
            None => ConnectionUrl::default(),
        };
        let by_variable = get("DB_POOL_NAME").map(|name| ("DB_POOL_NAME", name.to_owned()));
        let by_url = pool_url.dbname.map(|name| ("DB_POOL_URL", name));
        let Some((variable, name)) = by_variable.or(by_url) else {
            let given = ["DB_POOL_MODE", "DB_POOL_SIZE", "DB_POOL_URL"];
            if let Some(variable) = given.into_iter().find(|variable| get(variable).is_some()) {
                let bad = Invalid::new("a pool needs a name", "set DB_POOL_NAME");
                self.problem(variable, &Path::of(["pools"]), bad);
            }
            return;
        };
        let Some(section) = Section::named("pools") else {
            return;
        };
        let numbers = file.entries(section);
        let same =
            |number: &&String| file.text(&Path::of(["pools", number, "name"])) == Some(&name);
        let number = numbers
            .iter()
            .find(same)
            .cloned()
            .unwrap_or_else(|| numbers.len().to_string());
        let in_file = |key: &str| file.has(&Path::of(["pools", &number, key]));
        for (variable, key) in POOL_VARIABLES {
            if let Some(text) = get(variable) {
                self.put(variable, "pools", (&number, key), text);
            }
        }
        self.put(variable, "pools", (&number, "name"), &name);
        if let Some(user) = pool_url.user {
            self.put("DB_POOL_URL", "pools", (&number, "user"), &user);
        }
        let database = self.layer.text(&upstream_path("dbname")).map(str::to_owned);
        if let Some(text) = database.filter(|_| !in_file("database")) {
            self.put(variable, "pools", (&number, "database"), &text);
        }
    }
}
