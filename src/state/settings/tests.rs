//! What a replay says, and when it says nothing.

use super::*;
use crate::state::probe::ProbeReader;
use crate::wire::frame::Frame;

fn replay(settings: &Settings) -> String {
    let mut out = Vec::new();
    settings.replay(&mut out);
    String::from_utf8(out).unwrap()
}

fn adopted(rows: &[[&str; 3]]) -> Settings {
    let mut settings = Settings::default();
    settings.adopt(&findings(rows));
    settings
}

fn findings(rows: &[[&str; 3]]) -> Findings {
    let mut reader = ProbeReader::new(false);
    for row in rows {
        let mut body = 3_u16.to_be_bytes().to_vec();
        for column in row {
            body.extend(u32::try_from(column.len()).unwrap().to_be_bytes());
            body.extend(column.as_bytes());
        }
        frame(&mut reader, b'D', &body);
    }
    frame(&mut reader, b'C', b"SELECT 1\0");
    reader.finish()
}

fn frame(reader: &mut ProbeReader, tag: u8, body: &[u8]) {
    let len = body.len();
    reader.on_backend(Frame { tag, len, body });
}

#[test]
fn a_client_that_changed_nothing_has_nothing_to_replay() {
    let mut settings = Settings::default();
    assert!(settings.is_empty() && settings.fingerprint() == 0);
    assert!(settings.record(b"work_mem", b"SET work_mem = 1"));
    assert!(!settings.is_empty() && settings.fingerprint() != 0);
    settings.reset(b"work_mem");
    assert!(settings.is_empty() && settings.fingerprint() == 0);
    assert_eq!(replay(&settings), "");
    assert_eq!(size_of::<Settings>(), size_of::<usize>());
}

#[test]
fn the_last_statement_for_a_name_is_replayed_as_it_was_spelled() {
    let mut settings = Settings::default();
    assert!(settings.record(b"work_mem", b"SET work_mem = '1MB'"));
    assert!(settings.record(b"search_path", b"SET search_path TO a, \"B\""));
    assert!(settings.record(b"work_mem", b"set WORK_MEM to 2"));
    assert_eq!(
        replay(&settings),
        "set WORK_MEM to 2; SET search_path TO a, \"B\""
    );
    settings.reset_all();
    assert!(settings.is_empty());
}

#[test]
fn parts_of_datestyle_add_up_and_repeat_without_end() {
    let mut settings = Settings::default();
    for _ in 0..100 {
        assert!(settings.record(b"datestyle", b"SET datestyle = dmy"));
        assert!(settings.record(b"datestyle", b"SET datestyle = sql"));
    }
    assert_eq!(
        replay(&settings),
        "SET datestyle = dmy; SET datestyle = sql"
    );
}

#[test]
fn what_is_not_plain_is_not_recorded() {
    let mut settings = Settings::default();
    assert!(!settings.record(b"a", b"SET a = 'x\\'"));
    assert!(!settings.record(b"a", "SET a = 'ä'".as_bytes()));
    assert!(!settings.record(b"a", &[b' '; 5000]));
    assert!(settings.is_empty());
}

#[test]
fn values_are_replayed_in_ascii_encoding_first_role_and_timeouts_last() {
    let settings = adopted(&[
        ["setting", "statement_timeout", "5"],
        ["role", "it's", ""],
        ["setting", "application_name", "a\\b"],
        ["custom", "My.own", "é"],
        ["custom", "other.one", ""],
        ["setting", "client_encoding", "LATIN1"],
        ["setting", "work_mem", "64"],
    ]);
    let value = |name: &str, value: &str| format!("pg_catalog.set_config(E'{name}',{value},false)");
    let own = "pg_catalog.convert_from(pg_catalog.decode('c3a9','hex'),\
               pg_catalog.current_setting('client_encoding'))";
    let expected = [
        value("client_encoding", "E'LATIN1'"),
        value("work_mem", "E'64'"),
        value("My.own", own),
        value("role", "E'it''s'"),
        value("statement_timeout", "E'5'"),
        value("application_name", "E'a\\\\b'"),
        "pg_catalog.set_config(E'other.one',E'',true)".to_owned(),
    ];
    assert_eq!(replay(&settings), format!("SELECT {}", expected.join(", ")));
    let names: Vec<_> = settings.placeholders().collect();
    assert_eq!(names, [&b"My.own"[..], b"other.one"]);
}

#[test]
fn settings_are_replayed_in_the_order_in_which_they_were_changed_first() {
    let mut settings = Settings::default();
    for name in ["work_mem", "jit", "geqo"] {
        assert!(settings.record_value(name.as_bytes(), b"off"));
    }
    assert!(settings.record_value(b"work_mem", b"64"));
    settings.reset(b"jit");
    assert!(settings.record_value(b"jit", b"off"));
    settings.adopt(&findings(&[
        ["setting", "enable_sort", "off"],
        ["setting", "geqo", "off"],
        ["setting", "jit", "off"],
        ["setting", "work_mem", "64"],
    ]));
    let text = replay(&settings);
    let place = |name| text.find(name).unwrap();
    let places = ["work_mem", "geqo", "jit", "enable_sort"].map(place);
    assert!(places.is_sorted(), "{text}");
}

#[test]
fn what_was_found_in_two_spellings_is_changed_in_both() {
    let mut settings = adopted(&[["custom", "my.Var", "old"], ["custom", "my.var", "old"]]);
    assert!(settings.record(b"my.var", b"SET my.var = 'new'"));
    let text = replay(&settings);
    assert!(text.contains("'new'") && !text.contains("old"), "{text}");
}

#[test]
fn a_replay_continues_a_text() {
    let mut settings = adopted(&[["setting", "work_mem", "64"]]);
    assert!(settings.record(b"a.b", b"SET a.b = 1"));
    let mut out = b"RESET ALL; ".to_vec();
    settings.replay(&mut out);
    let expected = "RESET ALL; SELECT pg_catalog.set_config(E'work_mem',E'64',false); SET a.b = 1";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn custom_settings_outlive_their_values() {
    let mut settings = Settings::default();
    assert!(settings.record(b"a.b", b"SET a.b = 1"));
    settings.discard_all();
    assert_eq!(
        replay(&settings),
        "SELECT pg_catalog.set_config(E'a.b',E'',true)"
    );
    for number in 0..10_000 {
        let kept = settings.create(format!("a.n{number}").as_bytes());
        assert_eq!(kept, number < MAX_ENTRIES - 1);
    }
}

#[test]
fn the_fingerprint_is_about_meaning_not_about_order() {
    let mut one = Settings::default();
    let mut other = Settings::default();
    assert!(one.record(b"application_name", b"SET application_name = x"));
    assert!(one.record(b"a.b", b"SET a.b = x"));
    assert_eq!(one.fingerprint(), 0);
    for settings in [&mut one, &mut other] {
        assert!(settings.record(b"search_path", b"SET search_path = x"));
    }
    assert!(one.record(b"timezone", b"SET timezone = x"));
    assert_ne!(one.fingerprint(), other.fingerprint());
    assert!(other.record(b"timezone", b"SET timezone = x"));
    assert!(one.record(b"search_path", b"SET search_path = x"));
    assert_eq!(one.fingerprint(), other.fingerprint());
}

#[test]
fn settings_are_the_same_by_all_that_is_replayed_and_a_copy_goes_its_own_way() {
    let of = |statements: &[(&str, &str)]| {
        let mut settings = Settings::default();
        for (name, statement) in statements {
            assert!(settings.record(name.as_bytes(), statement.as_bytes()));
        }
        settings
    };
    let memory = ("work_mem", "set work_mem = '3MB'");
    let path = ("search_path", "set search_path = a");
    let one = of(&[memory, path]);
    assert!(one.is_same(&one.clone()) && one.is_same(&of(&[memory, path])));
    assert!(Settings::default().is_same(&Settings::default()));
    let custom = ("a.b", "set a.b = 'c'");
    for other in [
        of(&[]),
        of(&[memory]),
        of(&[path, memory]),
        of(&[memory, ("search_path", "set search_path = b")]),
        of(&[memory, path, custom]),
    ] {
        assert!(!one.is_same(&other) && !other.is_same(&one), "{other:?}");
    }
    let mut copy = one.clone();
    copy.reset(b"work_mem");
    assert!(one.changes(b"work_mem") && !copy.changes(b"work_mem"));
    let mut named = one.clone();
    assert!(named.create(b"a.b"));
    assert!(!named.is_same(&one), "it has a custom setting to empty");
}
