//! The same texts with other outcomes: errors, rollbacks, checks.

use super::*;
use crate::state::probe::ProbeReader;
use crate::wire::frame::Frame;
use TransactionStatus::{Failed, Idle, InTransaction};

const SYNTAX_ERROR: &[u8] = b"SERROR\0VERROR\0C42601\0Mx\0P1\0\0";
const DIVISION: &[u8] = b"SERROR\0VERROR\0C22012\0Mx\0\0";

impl SessionTracker {
    fn query(&mut self, text: &str, tag: &str, status: TransactionStatus) -> Hold {
        self.ran(&clean(text), ExecutedBy::Query);
        self.tag(tag.as_bytes());
        self.settle(status, true)
    }

    fn fails(&mut self, text: &str, error: &[u8], status: TransactionStatus) -> Hold {
        self.ran(&clean(text), ExecutedBy::Query);
        self.failed(error);
        self.settle(status, true)
    }

    fn replays(&self) -> String {
        let mut out = Vec::new();
        self.settings.replay(&mut out);
        String::from_utf8(out).unwrap()
    }
}

fn findings(rows: &[[&str; 2]], sequences: Option<bool>) -> Findings {
    let mut reader = ProbeReader::new(sequences.is_some());
    let mut feed = |tag, body: &[u8]| {
        let len = body.len();
        reader.on_backend(Frame { tag, len, body });
    };
    for [what, name] in rows {
        let mut body = 3_u16.to_be_bytes().to_vec();
        for column in [what, name, &"x"] {
            body.extend(u32::try_from(column.len()).unwrap().to_be_bytes());
            body.extend(column.as_bytes());
        }
        feed(b'D', &body);
    }
    feed(b'C', b"SELECT 1\0");
    match sequences {
        Some(true) => feed(b'C', b"SELECT 0\0"),
        Some(false) => feed(b'E', b"C55000\0\0"),
        None => {}
    }
    reader.finish()
}

#[test]
fn a_text_that_the_server_cannot_parse_leaves_nothing() {
    let mut tracker = SessionTracker::default();
    assert_eq!(
        tracker.fails("selct setseed(1)", SYNTAX_ERROR, Idle),
        Hold::Free
    );
    assert_eq!(tracker.cleanup(), Cleanup::Nothing);

    // An error that says the same but comes from inside of a function.
    let inside = b"C42601\0Mx\0P1\0Wfunction f\0\0";
    let hold = tracker.fails("selct", inside, Idle);
    assert_eq!(hold, Hold::Hard(HoldReason::Unknown));
}

#[test]
fn a_text_that_failed_half_way_is_not_taken_for_unparsed() {
    let mut tracker = SessionTracker::default();
    tracker.ran(
        &clean("select setseed(1); insert into t select"),
        ExecutedBy::Query,
    );
    tracker.tag(b"SELECT 1");
    tracker.failed(SYNTAX_ERROR);
    assert_eq!(tracker.settle(Idle, true), Hold::Hard(HoldReason::Seed));
}

#[test]
fn an_error_undoes_what_transactions_undo() {
    for text in [
        "set work_mem = 1",
        "listen a",
        "create temp table t()",
        "set role x",
        "declare c cursor with hold for select 1",
    ] {
        let mut tracker = SessionTracker::default();
        assert_eq!(tracker.fails(text, DIVISION, Idle), Hold::Free, "{text}");
        assert_eq!(tracker.cleanup(), Cleanup::Nothing, "{text}");
    }
    let mut tracker = SessionTracker::default();
    assert_eq!(
        tracker.fails("select nextval('s'), 1/0", DIVISION, Idle),
        Hold::Soft
    );
    let hold = tracker.fails("select pg_advisory_lock(1), 1/0; listen a", DIVISION, Idle);
    assert_eq!(hold, Hold::Check(HoldReason::AdvisoryLock));
    let hold = tracker.fails("set a.b = c; commit; listen a; select 1/0", DIVISION, Idle);
    assert_eq!(hold, Hold::Check(HoldReason::Listen), "it was committed");
}

#[test]
fn settings_of_a_transaction_count_when_it_commits() {
    let mut tracker = SessionTracker::default();
    tracker.query("begin", "BEGIN", InTransaction);
    tracker.query("set work_mem = 1 -- so", "SET", InTransaction);
    assert_eq!(tracker.replays(), "");
    assert_eq!(tracker.query("commit", "COMMIT", Idle), Hold::Free);
    assert_eq!(tracker.replays(), "set work_mem = 1");

    tracker.query("begin", "BEGIN", InTransaction);
    tracker.query("reset work_mem", "RESET", InTransaction);
    assert_eq!(tracker.query("rollback", "ROLLBACK", Idle), Hold::Free);
    assert_eq!(tracker.replays(), "set work_mem = 1");

    tracker.query("begin", "BEGIN", InTransaction);
    tracker.query("set work_mem = 2", "SET", InTransaction);
    tracker.fails("select 1/0", DIVISION, Failed);
    assert_eq!(tracker.query("commit", "ROLLBACK", Idle), Hold::Free);
    assert_eq!(tracker.replays(), "set work_mem = 1");
}

#[test]
fn settings_among_savepoints_are_asked_for() {
    let mut tracker = SessionTracker::default();
    tracker.query("begin", "BEGIN", InTransaction);
    tracker.query("set work_mem = 1", "SET", InTransaction);
    tracker.query("savepoint a", "SAVEPOINT", InTransaction);
    tracker.query("rollback to a", "ROLLBACK", InTransaction);
    assert_eq!(
        tracker.query("commit", "COMMIT", Idle),
        Hold::Check(HoldReason::Setting)
    );

    let mut tracker = SessionTracker::default();
    tracker.query("begin", "BEGIN", InTransaction);
    tracker.query("savepoint a", "SAVEPOINT", InTransaction);
    tracker.query("set work_mem = 1", "SET", InTransaction);
    assert_eq!(
        tracker.query("commit", "COMMIT", Idle),
        Hold::Check(HoldReason::Setting)
    );
}

#[test]
fn a_pipeline_is_followed_in_the_order_of_answers() {
    let mut tracker = SessionTracker::default();
    tracker.ran(&clean("set work_mem = 1"), ExecutedBy::Execute);
    tracker.ran(&clean("select 1/0"), ExecutedBy::Execute);
    tracker.ran(&clean("listen a"), ExecutedBy::Execute);
    tracker.synced();
    tracker.ran(&clean("set work_mem = 2"), ExecutedBy::Execute);
    tracker.synced();
    tracker.tag(b"SET");
    tracker.failed(DIVISION);
    tracker.settle(Idle, false);
    assert_eq!(tracker.replays(), "", "the error undid it");
    tracker.tag(b"SET");
    assert_eq!(tracker.settle(Idle, true), Hold::Free);
    assert_eq!(tracker.replays(), "set work_mem = 2");

    // BEGIN takes what stands before it into its transaction.
    tracker.ran(&clean("set work_mem = 3"), ExecutedBy::Execute);
    tracker.ran(&clean("begin"), ExecutedBy::Execute);
    tracker.synced();
    tracker.tag(b"SET");
    tracker.tag(b"BEGIN");
    tracker.settle(InTransaction, true);
    tracker.query("rollback", "ROLLBACK", Idle);
    assert_eq!(tracker.replays(), "set work_mem = 2");
}

#[test]
fn what_comes_behind_an_error_before_its_sync_does_not_count() {
    let mut tracker = SessionTracker::default();
    tracker.ran(&clean("select 1/0"), ExecutedBy::Execute);
    tracker.failed(DIVISION);
    tracker.ran(&clean("listen a"), ExecutedBy::Execute);
    tracker.synced();
    assert_eq!(tracker.settle(Idle, true), Hold::Free);
    tracker.ran(&clean("listen a"), ExecutedBy::Execute);
    tracker.synced();
    tracker.tag(b"LISTEN");
    assert_eq!(tracker.settle(Idle, true), Hold::Check(HoldReason::Listen));
}

#[test]
fn a_sync_that_copy_swallowed_confuses_nobody() {
    let mut tracker = SessionTracker::default();
    tracker.ran(&clean("copy t from stdin"), ExecutedBy::Execute);
    tracker.synced();
    tracker.synced();
    tracker.tag(b"COPY 1");
    assert_eq!(tracker.settle(Idle, true), Hold::Free);
    tracker.ran(&clean("set work_mem = 1"), ExecutedBy::Execute);
    tracker.synced();
    tracker.tag(b"SET");
    assert_eq!(tracker.settle(Idle, true), Hold::Free);
    assert_eq!(tracker.replays(), "set work_mem = 1");
}

#[test]
fn tags_and_reports_tell_what_the_text_did_not() {
    for (tag, reason) in [
        ("SET", HoldReason::Setting),
        ("LISTEN", HoldReason::Listen),
        ("PREPARE", HoldReason::Prepared),
        ("DECLARE CURSOR", HoldReason::HoldCursor),
    ] {
        let mut tracker = SessionTracker::default();
        assert_eq!(tracker.query("select 1", tag, Idle), Hold::Check(reason));
    }
    let mut tracker = SessionTracker::default();
    tracker.ran(&clean("select 1"), ExecutedBy::Query);
    tracker.tag(b"SELECT 1");
    tracker.reported(b"TimeZone");
    assert_eq!(tracker.settle(Idle, true), Hold::Check(HoldReason::Setting));

    let mut tracker = SessionTracker::default();
    tracker.query("begin", "BEGIN", InTransaction);
    tracker.query("set local time zone 'UTC'", "SET", InTransaction);
    tracker.ran(&clean("commit"), ExecutedBy::Query);
    tracker.tag(b"COMMIT");
    tracker.reported(b"TimeZone");
    assert_eq!(tracker.settle(Idle, true), Hold::Free);
}

#[test]
fn discard_all_clears_what_it_clears() {
    let mut tracker = SessionTracker::default();
    tracker.query("set work_mem = 1", "SET", Idle);
    tracker.query("listen a", "LISTEN", Idle);
    tracker.query("select nextval('s')", "SELECT 1", Idle);
    assert_eq!(
        tracker.query("discard all", "DISCARD ALL", Idle),
        Hold::Free
    );
    assert_eq!(
        (tracker.cleanup(), tracker.replays()),
        (Cleanup::Nothing, String::new())
    );

    tracker.query("create temp table t()", "CREATE TABLE", Idle);
    assert_eq!(
        tracker.query("discard all", "DISCARD ALL", Idle),
        Hold::Free
    );
    assert_eq!(
        tracker.cleanup(),
        Cleanup::Close,
        "it had a temporary schema"
    );

    tracker.query("load 'x'", "LOAD", Idle);
    let hold = tracker.query("discard all", "DISCARD ALL", Idle);
    assert_eq!(hold, Hold::Hard(HoldReason::Library));
}

#[test]
fn a_check_frees_or_pins_until_something_may_have_changed() {
    let mut tracker = SessionTracker::default();
    tracker.query("listen a", "LISTEN", Idle);
    tracker.checked(&findings(&[["listen", "a"]], None));
    assert_eq!(tracker.hold(), Hold::Hard(HoldReason::Listen));
    assert_eq!(
        tracker.query("select 1", "SELECT 1", Idle),
        Hold::Hard(HoldReason::Listen)
    );
    assert_eq!(
        tracker.query("unlisten a", "UNLISTEN", Idle),
        Hold::Check(HoldReason::Listen)
    );
    tracker.checked(&findings(&[], None));
    assert_eq!(
        (tracker.hold(), tracker.cleanup()),
        (Hold::Free, Cleanup::Scrub)
    );

    tracker.query("select set_config('a', 'b', false)", "SELECT 1", Idle);
    tracker.checked(&findings(&[["setting", "work_mem"]], None));
    assert_eq!(tracker.hold(), Hold::Free);
    assert!(tracker.replays().contains("work_mem"));
    tracker.reset();
    assert!(tracker.replays().contains("work_mem"));
    assert_eq!(tracker.cleanup(), Cleanup::Scrub, "its settings come along");
}

#[test]
fn sequences_hold_firmly_those_who_ask_for_their_values() {
    let mut tracker = SessionTracker::default();
    let insert = with("insert into t values (1)", Proof::Sequence);
    tracker.ran(&insert, ExecutedBy::Query);
    assert_eq!(tracker.settle(Idle, true), Hold::Soft);
    tracker.query("select lastval()", "SELECT 1", Idle);
    assert!(tracker.asks_for_sequences());
    assert_eq!(tracker.hold(), Hold::Check(HoldReason::Sequence));
    tracker.checked(&findings(&[], Some(true)));
    assert_eq!(tracker.hold(), Hold::Hard(HoldReason::Sequence));

    tracker.reset();
    assert!(tracker.asks_for_sequences());
    tracker.ran(&insert, ExecutedBy::Query);
    tracker.settle(Idle, true);
    tracker.checked(&findings(&[], Some(false)));
    assert_eq!(tracker.hold(), Hold::Free);
    let hold = tracker.query("select setval('s', 1)", "SELECT 1", Idle);
    assert_eq!(hold, Hold::Hard(HoldReason::Sequence));
}

#[test]
fn custom_settings_are_known_by_name_whatever_came_of_them() {
    let mut tracker = SessionTracker::default();
    tracker.query("select set_config('My.own', 'x', true)", "SELECT 1", Idle);
    tracker.fails("set local a.b = 'c'", DIVISION, Idle);
    let suspect = with("select f('c.d')", Proof::Unproven);
    tracker.ran(&suspect, ExecutedBy::Query);
    tracker.settle(Idle, true);
    let names: Vec<_> = tracker.custom().map(<[u8]>::to_vec).collect();
    assert_eq!(names, [&b"My.own"[..], b"a.b", b"c.d"]);
    let created = "SELECT pg_catalog.set_config(E'My.own',E'',true), \
                   pg_catalog.set_config(E'a.b',E'',true)";
    assert_eq!(tracker.replays(), created);
}

#[test]
fn a_custom_setting_is_created_by_its_reset() {
    let mut tracker = SessionTracker::default();
    tracker.query("reset a.b", "RESET", Idle);
    assert_eq!(tracker.hold(), Hold::Free);
    let names: Vec<_> = tracker.custom().map(<[u8]>::to_vec).collect();
    assert_eq!(names, [&b"a.b"[..]]);
}

#[test]
fn a_custom_setting_keeps_the_spelling_that_created_it() {
    let mut tracker = SessionTracker::default();
    tracker.query(r#"set "My.Quoted" = 'x'"#, "SET", Idle);
    tracker.query("set My.Other = 'x'", "SET", Idle);
    tracker.query(r#"reset "App"."Id""#, "RESET", Idle);
    let names: Vec<_> = tracker.custom().map(<[u8]>::to_vec).collect();
    assert_eq!(names, [&b"My.Quoted"[..], b"my.other", b"App.Id"]);
}

#[test]
fn a_change_whose_answer_was_lost_is_asked_for() {
    let mut tracker = SessionTracker::default();
    tracker.ran(&clean("set work_mem = 1"), ExecutedBy::Execute);
    tracker.synced();
    let hold = tracker.settle(Idle, true);
    assert_eq!(hold, Hold::Check(HoldReason::Setting));
    assert_eq!(tracker.replays(), "");
}
