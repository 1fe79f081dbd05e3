//! `pgsluice config check` and `pgsluice config show`.

use std::io::{self, Write};

use serde_json::json;

use crate::config::{self, Problem, Sources};

const DONE: u8 = 0;
const BAD_CONFIGURATION: u8 = 2;

/// Reports every problem of the configuration, or that there is none.
pub(crate) fn check(
    sources: &Sources,
    json: bool,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<u8> {
    let loaded = match config::load(sources) {
        Ok(loaded) => loaded,
        Err(problems) => return report(&problems, json, out, err),
    };
    let warnings = &loaded.config.warnings;
    if json {
        writeln!(
            out,
            "{:#}",
            json!({ "ok": true, "problems": [], "warnings": warnings })
        )?;
        return Ok(DONE);
    }
    for warning in warnings {
        writeln!(err, "warning: {warning}")?;
    }
    writeln!(out, "configuration ok")?;
    Ok(DONE)
}

/// Prints the effective value of every key and where it came from; with problems,
/// of every other key, and then the problems.
pub(crate) fn show(
    sources: &Sources,
    json: bool,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<u8> {
    let (settings, problems) = config::survey(sources);
    if json {
        writeln!(out, "{:#}", config::as_json(&settings))?;
    } else {
        write!(out, "{}", config::as_toml(&settings))?;
    }
    match problems.as_slice() {
        [] => Ok(DONE),
        // Stdout holds the settings already.
        problems => report(problems, false, out, err),
    }
}

/// Data on stdout when a machine reads it, words on stderr.
fn report(
    problems: &[Problem],
    json: bool,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<u8> {
    if json {
        let problems: Vec<_> = problems.iter().map(Problem::to_json).collect();
        writeln!(
            out,
            "{:#}",
            json!({ "ok": false, "problems": problems, "warnings": [] })
        )?;
        return Ok(BAD_CONFIGURATION);
    }
    for problem in problems {
        writeln!(err, "{problem}\n  fix: {}", problem.fix)?;
    }
    Ok(BAD_CONFIGURATION)
}
