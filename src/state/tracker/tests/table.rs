//! What texts leave that ran by themselves, without an error, and with the catalog's
//! word that what does not show leaves nothing.

use super::{Cleanup, Hold, HoldReason};
use Cleanup::{Close, Discard, Nothing, Scrub};
use Hold::{Check, Free, Hard, Soft};

/// A text, how firmly it holds, what it leaves.
pub(super) const TABLE: &[(&str, Hold, Cleanup)] = &[
    ("", Free, Nothing),
    ("select 1", Free, Nothing),
    ("begin", Free, Nothing),
    ("commit", Free, Nothing),
    ("update t set a = 1 where b = 2", Free, Nothing),
    ("insert into t values (1) returning id", Free, Nothing),
    ("copy t from stdin", Free, Nothing),
    ("create table t(a int)", Free, Nothing),
    ("show all", Free, Nothing),
    ("notify a", Free, Nothing),
    ("set constraints all deferred", Free, Nothing),
    ("select pg_advisory_xact_lock(1)", Free, Nothing),
    ("set local work_mem = 1", Free, Nothing),
    (
        "set transaction isolation level serializable",
        Free,
        Nothing,
    ),
    ("select set_config('a', 'b', true)", Free, Nothing),
    ("discard plans", Free, Nothing),
    ("unlisten *", Free, Nothing),
    ("close all", Free, Nothing),
    ("deallocate all", Free, Nothing),
    ("select pg_advisory_unlock_all()", Free, Nothing),
    ("drop table pg_temp.x", Free, Nothing),
    ("fetch 1 from c", Free, Nothing),
    ("declare c cursor for select 1", Free, Nothing),
    ("set work_mem = 1", Free, Scrub),
    ("set work_mem = 1; set time zone 'UTC'", Free, Scrub),
    ("set work_mem to default", Free, Scrub),
    ("reset all", Free, Scrub),
    (
        "set session characteristics as transaction read only",
        Free,
        Scrub,
    ),
    ("set transaction_isolation = serializable", Free, Nothing),
    ("set a.b = 'c'", Free, Scrub),
    ("set local a.b = 'c'", Free, Scrub),
    ("select set_config('a.b', 'c', true)", Free, Scrub),
    ("set work_mem = E'1'", Check(HoldReason::Setting), Scrub),
    (
        "set work_mem from current",
        Check(HoldReason::Setting),
        Scrub,
    ),
    (
        "select set_config('a', 'b', false)",
        Check(HoldReason::Setting),
        Scrub,
    ),
    (
        "begin; set work_mem = 1; commit",
        Check(HoldReason::Setting),
        Scrub,
    ),
    (
        "select set_config($1, 'b', true)",
        Hard(HoldReason::Setting),
        Close,
    ),
    (
        "set search_path = pg_temp, public",
        Hard(HoldReason::TempObject),
        Close,
    ),
    (
        "select set_config('search_path', 'pg_temp', false)",
        Hard(HoldReason::TempObject),
        Close,
    ),
    ("set role x", Check(HoldReason::Role), Scrub),
    (
        "set session authorization x",
        Check(HoldReason::Role),
        Scrub,
    ),
    ("reset role", Free, Scrub),
    (
        "reset session authorization",
        Check(HoldReason::Role),
        Scrub,
    ),
    ("listen a", Check(HoldReason::Listen), Scrub),
    (
        "select pg_advisory_lock(1)",
        Check(HoldReason::AdvisoryLock),
        Scrub,
    ),
    (
        "create temp table t()",
        Check(HoldReason::TempObject),
        Close,
    ),
    (
        "create table pg_temp.t()",
        Check(HoldReason::TempObject),
        Close,
    ),
    ("select 1 into temp t", Check(HoldReason::TempObject), Close),
    (
        "declare c cursor with hold for select 1",
        Check(HoldReason::HoldCursor),
        Scrub,
    ),
    (
        "prepare p as select 1",
        Check(HoldReason::Prepared),
        Discard,
    ),
    ("execute p", Check(HoldReason::Prepared), Discard),
    ("explain execute p", Check(HoldReason::Prepared), Scrub),
    ("select nextval('s')", Soft, Scrub),
    ("select setval('s', 1)", Soft, Scrub),
    (
        "select nextval('s'), lastval()",
        Hard(HoldReason::Sequence),
        Scrub,
    ),
    ("select setseed(0)", Hard(HoldReason::Seed), Close),
    ("set seed = 0", Hard(HoldReason::Seed), Close),
    ("load 'x'", Hard(HoldReason::Library), Close),
    (
        "select dblink_connect('x')",
        Hard(HoldReason::Dblink),
        Close,
    ),
    (
        "select pg_backend_pid()",
        Hard(HoldReason::Identity),
        Nothing,
    ),
    (
        "select pg_stat_clear_snapshot()",
        Hard(HoldReason::Session),
        Close,
    ),
    ("frobnicate", Hard(HoldReason::Unknown), Close),
];
