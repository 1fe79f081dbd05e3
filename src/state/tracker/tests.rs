//! Texts and outcomes, and what is held for them.

use super::*;
use crate::sql::{Backslash, Dialect};

mod growth;
mod outcomes;
mod table;

const DIALECT: Dialect = Dialect {
    backslash: Backslash::Plain,
    ascii_safe: true,
};

fn with(text: &str, proof: Proof) -> StatementEffects {
    digest(text.as_bytes(), DIALECT, |_| proof)
}

fn clean(text: &str) -> StatementEffects {
    with(text, Proof::Clean)
}

/// After the text ran by itself, without an error.
fn after(text: &str) -> (Hold, Cleanup) {
    let mut tracker = SessionTracker::default();
    tracker.ran(&clean(text), ExecutedBy::Query);
    let hold = tracker.settle(TransactionStatus::Idle, true);
    (hold, tracker.cleanup())
}

#[test]
fn texts_hold_a_connection_for_what_they_leave() {
    let mut wrong = Vec::new();
    for (text, hold, cleanup) in table::TABLE {
        let found = after(text);
        if found != (*hold, *cleanup) {
            wrong.push(format!("{text}: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn without_proof_a_query_is_checked() {
    let after = |text, proof| {
        let mut tracker = SessionTracker::default();
        tracker.ran(&with(text, proof), ExecutedBy::Query);
        (
            tracker.settle(TransactionStatus::Idle, true),
            tracker.cleanup(),
        )
    };
    let function = (Hold::Check(HoldReason::Function), Cleanup::Scrub);
    for text in [
        "select 1",
        "select f()",
        "do 'x'",
        "call f()",
        "create table t()",
    ] {
        assert_eq!(after(text, Proof::Unproven), function, "{text}");
        assert_eq!(
            after(text, Proof::Sequence),
            (Hold::Soft, Cleanup::Scrub),
            "{text}"
        );
    }
    for text in [
        "begin",
        "commit",
        "set constraints all immediate",
        "move c",
        "show a",
    ] {
        let expected = (Hold::Free, Cleanup::Nothing);
        assert_eq!(after(text, Proof::Unproven), expected, "{text}");
    }
}

#[test]
fn what_only_the_process_keeps_is_held_for_good_and_closed_afterwards() {
    let digest = with("select f()", Proof::Library);
    assert_eq!(digest.pins(), Some(HoldReason::Library));
    let mut tracker = SessionTracker::default();
    tracker.ran(&digest, ExecutedBy::Query);
    let held = (Hold::Hard(HoldReason::Library), Cleanup::Close);
    let hold = tracker.settle(TransactionStatus::Idle, true);
    assert_eq!((hold, tracker.cleanup()), held);
    tracker.ran(&clean("discard all"), ExecutedBy::Query);
    tracker.tag(b"DISCARD ALL");
    assert_eq!(tracker.settle(TransactionStatus::Idle, true), held.0);
    assert_eq!(tracker.cleanup(), held.1);
}

#[test]
fn texts_that_nobody_could_judge_are_kept_until_the_server_was_asked() {
    let mut tracker = SessionTracker::default();
    assert!(tracker.unjudged().is_none());
    assert!(with("select f()", Proof::Unjudged).is_unjudged());
    assert!(!with("select f()", Proof::Unproven).is_unjudged());
    assert!(!with("begin", Proof::Unjudged).is_unjudged());
    tracker.judge_later(Some(b"select f()"), DIALECT, 3);
    tracker.judge_later(Some(b"select g()"), DIALECT, 5);
    let unjudged = tracker.unjudged().unwrap();
    assert_eq!(unjudged.began(), 3);
    assert!(unjudged.any(|one| one.text == b"select g()"));
    tracker.keep();
    assert_eq!(tracker.hold(), Hold::Hard(HoldReason::Library));
    assert_eq!(tracker.cleanup(), Cleanup::Close);
}

#[test]
fn a_call_by_number_is_judged_by_the_number() {
    assert!(
        StatementEffects::function(Some(16384)).is_unjudged()
            && StatementEffects::function(None).is_unjudged()
    );
    assert!(!StatementEffects::function(Some(16383)).is_unjudged());
}

#[test]
fn a_digest_is_small_and_answers_for_the_text() {
    assert!(
        size_of::<StatementEffects>() <= 32,
        "{}",
        size_of::<StatementEffects>()
    );
    let alone = |text: &str| {
        clean(text)
            .alone()
            .map(|name| String::from_utf8_lossy(name).into_owned())
    };
    assert_eq!(alone("drop database Foo").as_deref(), Some("foo"));
    assert_eq!(
        alone("drop database if exists \"Foo\"").as_deref(),
        Some("Foo")
    );
    assert_eq!(alone("alter database a rename to b").as_deref(), Some("a"));
    assert_eq!(alone("create database a template b").as_deref(), Some("b"));
    assert_eq!(alone("create database a").as_deref(), Some("template1"));
    assert_eq!(alone("drop table a"), None);

    assert!(clean("alter role x set a = b").login_settings());
    assert!(clean("alter database x reset all").login_settings());
    assert!(clean("alter role x in database y set a = b").login_settings());
    assert!(!clean("alter role x password 'set'").login_settings());
    assert!(clean("begin; select 1").begins_block());
    assert!(clean("select 1; commit").commits() && clean("commit prepared 'x'").commits());
    assert!(!clean("select 'commit'").commits());
    assert!(clean("drop table x").ddl() && !clean("select 1").ddl());

    let needs = |text: &str| clean(text).needs_alignment();
    for text in [
        "prepare a as select 1",
        "execute a",
        "deallocate a",
        "frobnicate",
        "select * from PG_Prepared_Statements",
        "explain execute a",
    ] {
        assert_eq!(needs(text), Alignment::Needed, "{text}");
    }
    for text in [
        "select 1",
        "deallocate all",
        "show all",
        "select * from pg_settings",
    ] {
        assert_eq!(needs(text), Alignment::None, "{text}");
    }
    assert_eq!(
        with("do 'x'", Proof::Unproven).needs_alignment(),
        Alignment::Perhaps
    );
}

#[test]
fn an_unreadable_dialect_is_unknown() {
    let dialect = Dialect {
        ascii_safe: false,
        ..DIALECT
    };
    let digest = digest(b"select 1", dialect, |_| Proof::Clean);
    let mut tracker = SessionTracker::default();
    tracker.ran(&digest, ExecutedBy::Query);
    let hold = tracker.settle(TransactionStatus::Idle, true);
    assert_eq!(hold, Hold::Hard(HoldReason::Unknown));
}

#[test]
fn code_that_does_not_show_is_suspected_of_the_names_in_its_text() {
    let text = "do $$ begin perform set_config('app.user', 'x', false); set local My.own = 1; \
                perform a.b, 'not a name.', f(c.d); end $$";
    let digest = with(text, Proof::Unproven);
    let names: Vec<_> = digest
        .suspected()
        .iter()
        .map(|name| str::from_utf8(name).unwrap())
        .collect();
    assert_eq!(names, ["app.user", "My.own"]);
    assert!(
        with("select f('1.5', 'a..b', '.a', 'a.')", Proof::Unproven)
            .suspected()
            .is_empty()
    );
}

#[test]
fn every_reason_has_a_label_of_its_own() {
    use HoldReason::*;
    let all = [
        Function,
        Setting,
        Role,
        Sequence,
        AdvisoryLock,
        Prepared,
        HoldCursor,
        Listen,
        TempObject,
        Identity,
        Session,
        Dblink,
        Seed,
        Library,
        Unknown,
    ];
    let labels: std::collections::BTreeSet<_> = all.iter().map(|reason| reason.label()).collect();
    assert_eq!(labels.len(), all.len());
    assert!(Hold::Free < Hold::Soft && Hold::Soft < Hold::Check(Unknown));
    assert!(Hold::Check(Unknown) < Hold::Hard(Function));
}
