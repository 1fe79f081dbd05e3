//! Every command of the reference, most of them in more than one spelling:
//! `commands.txt`.

use super::{all, effects, kind, only};

const TABLE: &str = include_str!("commands.txt");

/// The same statement with comments for spaces, in the other case. `None` where
/// that would change what it says.
fn disguise(text: &str) -> Option<String> {
    let quotes = text.contains(['\'', '"', '$']);
    (!quotes).then(|| text.replace(' ', "/* ; ' */--\"\n").to_uppercase())
}

#[test]
fn sql_commands() {
    let mut wrong = Vec::new();
    let mut rows = 0;
    for row in TABLE.lines() {
        if row.is_empty() || row.starts_with('#') {
            continue;
        }
        rows += 1;
        let [text, expected_kind, expected_effects] =
            row.split(" => ").collect::<Vec<_>>().try_into().unwrap();
        let plain = [text.to_owned(), format!(" {text} ;")];
        for (spelled, is_plain) in plain
            .into_iter()
            .map(|text| (text, true))
            .chain(disguise(text).map(|text| (text, false)))
        {
            let found = all(&spelled);
            let [statement] = found.as_slice() else {
                wrong.push(format!("{spelled}: {} statements", found.len()));
                continue;
            };
            let (kind, effects) = (kind(statement.kind), effects(statement));
            // Operands that are left as they are spelled differ in a disguise.
            if (is_plain && kind != expected_kind) || effects != expected_effects {
                wrong.push(format!("{spelled} => {kind} => {effects}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(rows > 300, "{rows}");
}

#[test]
fn sql_explain_shows_what_it_executes() {
    let explained = only("explain (analyze) execute a");
    assert!(kind(explained.kind).starts_with("Explainanalyze:true,inner:Execute"));
    assert_eq!(effects(&explained), "O PREPARED WRITES");
}
