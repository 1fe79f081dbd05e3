//! Which plan a client's pool follows, and what is refused.

use std::sync::Arc;
use std::time::Duration;

use super::super::values::*;
use super::{MINIMAL, Room};
use crate::name::Name;

fn pooling(more: &str) -> Arc<Pooling> {
    Room::new(&format!("{MINIMAL}{more}")).config().pooling
}

/// A client whose own names are the upstream's.
fn direct(pooling: &Pooling, database: &str, user: &str) -> Option<Arc<PoolPlan>> {
    plan_of(pooling, [database, database, user, user])
}

/// Of somebody who asks for this database, on the upstream that one, as this user,
/// there that one.
fn plan_of(pooling: &Pooling, names: [&str; 4]) -> Option<Arc<PoolPlan>> {
    let [asked, database, presented, user] = names.map(Name::from);
    pooling.plan(&asked, &database, &presented, &user)
}

fn name(plan: Option<Arc<PoolPlan>>) -> Option<String> {
    plan.and_then(|plan| plan.name.clone())
}

const TWO_USERS: &str = "[auth]\nmode = \"held\"\n\
    [[users]]\nname = \"a\"\nauth = \"trust\"\npool_mode = \"statement\"\npool_size = 3\npriority = \"high\"\n\
    [[users]]\nname = \"b\"\nauth = \"trust\"\n";

#[test]
fn without_a_word_nobody_is_pooled() {
    let pooling = pooling("");
    assert_eq!(direct(&pooling, "d", "u"), None);
    assert!(!pooling.is_used());
    assert_eq!(pooling.priority(&"u".into()), Priority::Medium);
}

#[test]
fn defaults_of_pooling_hold() {
    let pooling = pooling("[pooling]\npool_mode = \"transaction\"\n");
    assert!(pooling.is_used());
    let plan = PoolPlan {
        name: None,
        mode: PoolMode::Transaction,
        size: 20,
        min_size: 0,
        reserve_size: 0,
        reserve_timeout: Duration::from_secs(5),
        priority: Priority::Medium,
        server_lifetime: Some(Duration::from_secs(3600)),
        server_idle_timeout: Some(Duration::from_secs(600)),
        login_retry: Duration::from_secs(1),
        max_logins: Some(4),
        max_prepared_statements: 200,
        scrub: Scrub::Auto,
        on_session_state: OnSessionState::Pin,
        max_pinned: 19,
        query_wait_timeout: Duration::from_secs(120),
        timeouts: Timeouts::default(),
    };
    assert_eq!(*direct(&pooling, "d", "u").unwrap(), plan);
}

#[test]
fn every_key_of_pooling_arrives() {
    let pooling = pooling(
        "[pooling]\npool_mode = \"statement\"\ndefault_pool_size = 9\nmin_pool_size = 1\n\
         reserve_pool_size = 2\nreserve_pool_timeout = \"3s\"\nserver_lifetime = \"0s\"\n\
         server_idle_timeout = \"4s\"\nserver_login_retry = \"5s\"\nmax_logins = 0\n\
         max_prepared_statements = 6\nscrub = \"always\"\non_session_state = \"error\"\n\
         max_pinned = 0\nquery_timeout = \"7s\"\nclient_idle_timeout = \"8s\"\n",
    );
    let plan = direct(&pooling, "d", "u").unwrap();
    let seconds = Duration::from_secs;
    assert_eq!(plan.mode, PoolMode::Statement);
    assert_eq!((plan.size, plan.min_size, plan.reserve_size), (9, 1, 2));
    assert_eq!(plan.reserve_timeout, seconds(3));
    assert_eq!(plan.server_lifetime, None);
    assert_eq!(plan.server_idle_timeout, Some(seconds(4)));
    assert_eq!((plan.login_retry, plan.max_logins), (seconds(5), None));
    assert_eq!((plan.max_prepared_statements, plan.max_pinned), (6, 0));
    assert_eq!(plan.scrub, Scrub::Always);
    assert_eq!(plan.on_session_state, OnSessionState::Error);
    let timeouts = Timeouts {
        query: Some(seconds(7)),
        client_idle: Some(seconds(8)),
        ..Timeouts::default()
    };
    assert_eq!(plan.timeouts, timeouts);
}

#[test]
fn a_pool_wins_over_its_user_over_the_database_over_pooling() {
    let text = |pool: &str| {
        format!(
            "[pooling]\npool_mode = \"transaction\"\nmin_pool_size = 1\nquery_timeout = \"1m\"\n\
             [databases.d]\npool_mode = \"session\"\npool_size = 4\nmin_pool_size = 2\n\
             {TWO_USERS}{pool}"
        )
    };
    let pools = pooling(&text(""));
    let plan = direct(&pools, "d", "a").unwrap();
    assert_eq!((plan.mode, plan.size), (PoolMode::Statement, 3));
    assert_eq!((plan.min_size, plan.priority), (2, Priority::High));
    assert_eq!(plan.timeouts.query, Some(Duration::from_secs(60)));
    assert_eq!(direct(&pools, "d", "b"), None, "the database says session");
    let plan = direct(&pools, "other", "b").unwrap();
    assert_eq!((plan.mode, plan.size), (PoolMode::Transaction, 20));
    assert_eq!((plan.min_size, plan.priority), (1, Priority::Medium));
    assert_eq!(pools.priority(&"a".into()), Priority::High);

    let pools = pooling(&text(
        "[[pools]]\nname = \"p\"\ndatabase = \"d\"\nsize = 5\nmin_size = 0\nmode = \"transaction\"\n\
         priority = \"low\"\nquery_timeout = \"0s\"\ntransaction_timeout = \"9s\"\n",
    ));
    let plan = direct(&pools, "d", "a").unwrap();
    assert_eq!((plan.mode, plan.size), (PoolMode::Transaction, 5));
    assert_eq!((plan.min_size, plan.priority), (0, Priority::Low));
    assert_eq!(plan.timeouts.query, None);
    assert_eq!(plan.timeouts.transaction, Some(Duration::from_secs(9)));

    let pools = pooling(&text(
        "[[pools]]\nname = \"p\"\ndatabase = \"d\"\nsize = 5\n",
    ));
    let plan = direct(&pools, "d", "a").unwrap();
    assert_eq!((plan.mode, plan.size), (PoolMode::Statement, 5));
    assert_eq!((plan.min_size, plan.priority), (2, Priority::High));
    let plan = direct(&pools, "d", "b").unwrap();
    assert_eq!(plan.mode, PoolMode::Session, "a written pool is one");
}

#[test]
fn every_key_of_a_pool_arrives() {
    let pooling = pooling(
        "[[pools]]\nname = \"p\"\nmode = \"transaction\"\nsize = 5\ndatabase = \"d\"\nuser = \"u\"\n\
         priority = \"low\"\nmin_size = 1\nreserve_size = 2\nserver_lifetime = \"3s\"\n\
         server_idle_timeout = \"4s\"\nmax_pinned = 3\nquery_wait_timeout = \"5s\"\n\
         query_timeout = \"6s\"\ntransaction_timeout = \"7s\"\nidle_transaction_timeout = \"8s\"\n\
         client_idle_timeout = \"9s\"\n",
    );
    let plan = direct(&pooling, "d", "u").unwrap();
    let seconds = |count| Some(Duration::from_secs(count));
    assert_eq!((plan.min_size, plan.reserve_size), (1, 2));
    assert_eq!(plan.server_lifetime, seconds(3));
    assert_eq!(plan.server_idle_timeout, seconds(4));
    assert_eq!(plan.max_pinned, 3);
    assert_eq!(Some(plan.query_wait_timeout), seconds(5));
    let timeouts = Timeouts {
        query: seconds(6),
        transaction: seconds(7),
        idle_transaction: seconds(8),
        client_idle: seconds(9),
    };
    assert_eq!(plan.timeouts, timeouts);
}

#[test]
fn a_name_wins_over_a_user_over_a_database() {
    let pooling = pooling(
        "[[pools]]\nname = \"all\"\nsize = 1\ndatabase = \"d\"\n\
         [[pools]]\nname = \"own\"\nsize = 1\ndatabase = \"d\"\nuser = \"u\"\n\
         [[pools]]\nname = \"named\"\nsize = 1\ndatabase = \"d\"\n\
         [[pools]]\nname = \"moved\"\nsize = 1\ndatabase = \"d\"\n\
         [databases.moved]\ndbname = \"elsewhere\"\n",
    );
    let asked = |asked, upstream, user| name(plan_of(&pooling, [asked, upstream, user, user]));
    assert_eq!(asked("named", "d", "u").as_deref(), Some("named"));
    assert_eq!(asked("all", "d", "u").as_deref(), Some("all"));
    assert_eq!(asked("d", "d", "u").as_deref(), Some("own"));
    assert_eq!(asked("d", "d", "v").as_deref(), Some("all"));
    assert_eq!(asked("alias", "d", "v").as_deref(), Some("all"));
    assert_eq!(asked("own", "d", "v").as_deref(), Some("all"), "not theirs");
    assert_eq!(asked("moved", "elsewhere", "u"), None);
    assert_eq!(direct(&pooling, "other", "u"), None);
}

#[test]
fn the_user_of_a_pool_is_the_one_on_the_upstream() {
    let pooling =
        pooling("[[pools]]\nname = \"p\"\nsize = 1\ndatabase = \"d\"\nuser = \"doadmin\"\n");
    let plan = |user, upstream_user| name(plan_of(&pooling, ["p", "d", user, upstream_user]));
    assert_eq!(plan("sep", "doadmin").as_deref(), Some("p"));
    assert_eq!(plan("doadmin", "sep"), None);
}

#[test]
fn equal_plans_are_one() {
    let pooling = pooling(&format!(
        "[pooling]\npool_mode = \"transaction\"\n[databases.d]\npool_size = 4\n{TWO_USERS}"
    ));
    let plan = |database, user| direct(&pooling, database, user).unwrap();
    assert!(Arc::ptr_eq(&plan("d", "b"), &plan("d", "b")));
    assert!(Arc::ptr_eq(&plan("x", "b"), &plan("y", "c")));
    assert!(!Arc::ptr_eq(&plan("x", "a"), &plan("x", "b")));
}

#[test]
fn no_pool_is_larger_than_the_cap() {
    let pooling = pooling(
        "[limits]\nmax_upstream_conn = 5\n\
         [pooling]\npool_mode = \"transaction\"\nmin_pool_size = 10\nmax_pinned = 7\n\
         [[pools]]\nname = \"p\"\nsize = 1\ndatabase = \"d\"\n",
    );
    let plan = direct(&pooling, "x", "u").unwrap();
    assert_eq!((plan.size, plan.min_size, plan.max_pinned), (5, 5, 5));
    let plan = direct(&pooling, "d", "u").unwrap();
    assert_eq!((plan.size, plan.min_size, plan.max_pinned), (1, 1, 1));
}

#[test]
fn a_pool_of_one_may_be_pinned() {
    let pooling = pooling("[[pools]]\nname = \"p\"\nsize = 1\ndatabase = \"d\"\n");
    assert_eq!(direct(&pooling, "d", "u").unwrap().max_pinned, 1);
}

#[test]
fn a_pool_comes_from_the_environment() {
    let config = Room::new(MINIMAL)
        .env("PGSLUICE_POOLING__POOL_MODE", "transaction")
        .env("PGSLUICE_DATABASES__D__POOL_SIZE", "7")
        .env("DB_POOL_NAME", "p")
        .env("DB_POOL_SIZE", "3")
        .env("DB_NAME", "defaultdb")
        .config();
    let plan = plan_of(&config.pooling, ["p", "defaultdb", "u", "u"]).unwrap();
    assert_eq!((plan.mode, plan.size), (PoolMode::Transaction, 3));
    assert_eq!(direct(&config.pooling, "d", "u").unwrap().size, 7);
}
