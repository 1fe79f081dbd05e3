//! What can be wrong with a database that should be a copy, and how that is told.

/// Done to the new side; in the SQL `{database}` is its name.
pub(super) struct Damage {
    pub(super) sql: &'static str,
    /// What the line of a finding contains.
    pub(super) found: &'static [&'static str],
}

const fn damage(sql: &'static str, found: &'static [&'static str]) -> Damage {
    Damage { sql, found }
}

pub(super) const ROWS: &[Damage] = &[
    // A bigint whose halves cancel.
    damage(
        "update plain.wide set n = 4294967297 where id = 1",
        &["rows plain.wide", "columns: n"],
    ),
    // A bigint of another sign.
    damage(
        "update plain.wide set n = 4294967295 where id = 2",
        &["rows plain.wide", "columns: n"],
    ),
    // A smallint.
    damage(
        "update plain.wide set m = 1 where id = 1",
        &["rows plain.wide", "columns: m"],
    ),
    // A uuid.
    damage(
        "update plain.wide set u = '00000000-0000-0000-0000-000000000001' where id = 1",
        &["rows plain.wide", "columns: u"],
    ),
    // A char.
    damage(
        "update plain.wide set c = ' a' where id = 1",
        &["rows plain.wide", "columns: c"],
    ),
    // NULL for nothing.
    damage(
        "update plain.wide set t = null where id = 1",
        &["rows plain.wide", "columns: t"],
    ),
    // Zero for NULL.
    damage(
        "update plain.wide set m = 0 where id = 2",
        &["rows plain.wide", "columns: m"],
    ),
    // Values exchanged between rows.
    damage(
        "update plain.wide w set n = (select o.n from plain.wide o where o.id = 3 - w.id)",
        &["rows plain.wide", "2 different", "columns: n"],
    ),
    // One bit of a text.
    damage(
        "update plain.customer set name = 'oame 7' where id = 7",
        &[
            "rows plain.customer",
            "1 different",
            "columns: name",
            "(7) differs",
        ],
    ),
    // NULL for an empty text.
    damage(
        "update plain.customer set note = null where id = 1",
        &["rows plain.customer", "columns: note"],
    ),
    // An empty text for NULL.
    damage(
        "update plain.customer set note = '' where id = 3",
        &["rows plain.customer", "columns: note"],
    ),
    // A space at the end.
    damage(
        "update plain.customer set note = note || ' ' where id = 2",
        &["rows plain.customer", "columns: note"],
    ),
    // A space at the end, of varchar.
    damage(
        "update plain.customer set email = email || ' ' where id = 2",
        &["rows plain.customer", "columns: email"],
    ),
    // A capital.
    damage(
        "update plain.customer set name = 'Name 9' where id = 9",
        &["rows plain.customer", "columns: name"],
    ),
    // Another label.
    damage(
        "update plain.customer set mood = 'sad' where id = 1",
        &["rows plain.customer", "columns: mood"],
    ),
    // A microsecond of timestamptz.
    damage(
        "update plain.customer set created = created + interval '1 microsecond' where id = 8",
        &["rows plain.customer", "columns: created"],
    ),
    // Two values exchanged.
    damage(
        "update plain.customer set name = 'name ' || (3 - id) where id in (1, 2)",
        &["rows plain.customer", "2 different"],
    ),
    // The last digit of float8.
    damage(
        "update plain.everything set a_float8 = 0.10000000000000002 where id = 1",
        &["rows plain.everything", "columns: a_float8"],
    ),
    // The last digit of float4.
    damage(
        "update plain.everything set a_float4 = 1.5000001 where id = 1",
        &["rows plain.everything", "columns: a_float4"],
    ),
    // The smallest float8.
    damage(
        "update plain.everything set a_float8 = 0 where id = 3",
        &["rows plain.everything", "columns: a_float8"],
    ),
    // Zero for minus zero.
    damage(
        "update plain.everything set a_point = '(0,0)' where id = 2",
        &["rows plain.everything", "columns: a_point"],
    ),
    // The scale of a numeric.
    damage(
        "update plain.everything set a_numeric = 1.0 where id = 1",
        &["rows plain.everything", "columns: a_numeric"],
    ),
    // A microsecond of timestamp.
    damage(
        "update plain.everything set a_ts = a_ts + interval '1 microsecond' where id = 1",
        &["rows plain.everything", "columns: a_ts"],
    ),
    // A microsecond of interval.
    damage(
        "update plain.everything set an_interval = an_interval + interval '1 microsecond' where id = 1",
        &["rows plain.everything", "columns: an_interval"],
    ),
    // 30 days for a month.
    damage(
        "update plain.everything set an_interval = '32 days 03:04:05.678901' where id = 1",
        &["rows plain.everything", "columns: an_interval"],
    ),
    // A zone of timetz.
    damage(
        "update plain.everything set a_timetz = '11:34:56+01' where id = 1",
        &["rows plain.everything", "columns: a_timetz"],
    ),
    // The order in json.
    damage(
        r#"update plain.everything set a_json = '{"a":2, "b":1}' where id = 1"#,
        &["rows plain.everything", "columns: a_json"],
    ),
    // A space in json.
    damage(
        r#"update plain.everything set a_json = '{"b":1,"a":2}' where id = 1"#,
        &["rows plain.everything", "columns: a_json"],
    ),
    // A scale in jsonb.
    damage(
        r#"update plain.everything set a_jsonb = '{"b":1.0, "a":2}' where id = 1"#,
        &["rows plain.everything", "columns: a_jsonb"],
    ),
    // A JSON null for NULL.
    damage(
        "update plain.everything set a_jsonb = null where id = 2",
        &["rows plain.everything", "columns: a_jsonb"],
    ),
    // A byte of bytea.
    damage(
        r#"update plain.everything set a_bytea = '\x01ff' where id = 1"#,
        &["rows plain.everything", "columns: a_bytea"],
    ),
    // An empty bytea for NULL.
    damage(
        "update plain.everything set a_bytea = '' where id = 3",
        &["rows plain.everything", "columns: a_bytea"],
    ),
    // A byte that some versions print otherwise.
    damage(
        r#"update plain.everything set a_char = (-24)::"char" where id = 2"#,
        &["rows plain.everything", "columns: a_char"],
    ),
    // A cent.
    damage(
        "update plain.everything set a_money = '12.35' where id = 1",
        &["rows plain.everything", "columns: a_money"],
    ),
    // A mask of inet.
    damage(
        "update plain.everything set an_inet = '10.0.0.1/9' where id = 1",
        &["rows plain.everything", "columns: an_inet"],
    ),
    // Bounds of an array.
    damage(
        "update plain.everything set an_array = '{1,2}' where id = 3",
        &["rows plain.everything", "columns: an_array"],
    ),
    // The text NULL for NULL in an array.
    damage(
        r#"update plain.everything set a_text_array = '{"a,b","NULL","NULL",""}' where id = 1"#,
        &["rows plain.everything", "columns: a_text_array"],
    ),
    // A comma that separates.
    damage(
        r#"update plain.everything set a_text_array = '{a,b,"NULL",NULL,""}' where id = 1"#,
        &["rows plain.everything", "columns: a_text_array"],
    ),
    // A bound of a range.
    damage(
        "update plain.everything set a_span = '[1.5,2.5]' where id = 1",
        &["rows plain.everything", "columns: a_span"],
    ),
    // A weight of tsvector.
    damage(
        "update plain.everything set a_tsvector = 'a fat:1A cat' where id = 1",
        &["rows plain.everything", "columns: a_tsvector"],
    ),
    // A name of a table.
    damage(
        "update plain.everything set a_class = 'plain.event' where id = 1",
        &["rows plain.everything", "columns: a_class"],
    ),
    // A value in the column beside it.
    damage(
        "update plain.everything set a_text = a_varchar, a_varchar = a_text where id = 1",
        &["rows plain.everything", "columns: a_text, a_varchar"],
    ),
    // A row less.
    damage(
        "delete from plain.customer where id = 3000",
        &["rows plain.customer", "1 missing", "(3000) missing"],
    ),
    // A row more.
    damage(
        "insert into plain.parent values (3, 'x')",
        &["rows plain.parent", "1 only on the new side"],
    ),
    // A row beyond the largest key.
    damage(
        "insert into plain.customer (id, name) overriding system value values (999999, 'x')",
        &["rows plain.customer", "(999999) extra"],
    ),
    // A row below the smallest key.
    damage(
        "insert into plain.customer (id, name) overriding system value values (-5, 'x')",
        &["rows plain.customer", "(-5) extra"],
    ),
    // A row for another.
    damage(
        "update plain.customer set id = default where id = 3000",
        &["rows plain.customer"],
    ),
    // No rows.
    damage("truncate plain.cache", &["rows plain.cache", "1 missing"]),
    // A row in an empty table.
    damage(
        "insert into plain.empty values (null)",
        &["rows plain.empty", "1 only on the new side"],
    ),
    // One of many equal rows less.
    damage(
        "delete from plain.no_key where ctid = (select min(ctid) from plain.no_key)",
        &["rows plain.no_key", "1 only on the old side"],
    ),
    // Rows exchanged among duplicates.
    damage(
        "update plain.no_key set a = a + 1 where ctid in (select min(ctid) from plain.no_key where a in (1, 2) group by a)",
        &["rows plain.no_key"],
    ),
    // Two equal changes, which cancel in an XOR.
    damage(
        "update plain.no_key set a = 4 where ctid in (select ctid from plain.no_key where a = 3 limit 2)",
        &[
            "rows plain.no_key",
            "2 only on the old side, 2 only on the new side",
        ],
    ),
    // A row in another partition.
    damage(
        "update plain.event set at = '2024-05-05' where payload = 'payload 1'",
        &["rows plain.event_2023"],
    ),
    // A row in the wrong partition.
    damage(
        "create or replace function plain.route(n integer) returns integer language sql immutable as 'select (n + 1) % 2'; delete from plain.routed where n = 5; insert into plain.routed values (5); create or replace function plain.route(n integer) returns integer language sql immutable as 'select n % 2'",
        &["rows plain.routed_odd"],
    ),
    // A row in the parent for one in the heir.
    damage(
        "delete from only plain.child; insert into plain.parent values (2, 'child')",
        &["rows plain.parent"],
    ),
    // A materialized view out of date.
    damage(
        "insert into plain.customer (name, mood) values ('x', 'sad'); refresh materialized view plain.totals; delete from plain.customer where name = 'x'",
        &["rows plain.totals"],
    ),
    // A byte of a large object.
    damage(
        "select lo_put(700001, 0, 'A')",
        &["rows large objects", "(700001) differs"],
    ),
    // A large object less.
    damage(
        "select lo_unlink(700002)",
        &["rows large objects", "(700002) missing"],
    ),
    // A large object more.
    damage(
        "select lo_from_bytea(0, '')",
        &["rows large objects", "1 only on the new side"],
    ),
    // Another owner of a large object.
    damage("alter large object 700002 owner to app", &["large object"]),
    // A sequence that went on.
    damage(
        "select nextval('plain.counter')",
        &["sequence position plain.counter"],
    ),
    // A sequence whose first value is used.
    damage(
        "select setval('plain.untouched', 1, true)",
        &["sequence position plain.untouched", "1 next became 1 used"],
    ),
    // A sequence that went back.
    damage(
        "select setval('plain.customer_id_seq', 1, false)",
        &["sequence position plain.customer_id_seq"],
    ),
];

pub(super) const OBJECTS: &[Damage] = &[
    // An index less.
    damage(
        r#"drop index "Sales & Co"."by sum""#,
        &[r#"index "Sales & Co"."by sum""#, "missing"],
    ),
    // An index that is not valid.
    damage(
        r#"update pg_index set indisvalid = false where indexrelid = '"Sales & Co"."by sum"'::regclass"#,
        &["index", "valid"],
    ),
    // An index of other columns.
    damage(
        r#"drop index "Sales & Co"."by sum"; create index "by sum" on "Sales & Co"."Order" ("sum" desc) where "sum" > 10"#,
        &["index", "definition"],
    ),
    // A trigger that is off.
    damage(
        "alter table plain.customer disable trigger touched",
        &["trigger plain.customer.touched", "enabled"],
    ),
    // A trigger that always fires.
    damage(
        "alter table plain.customer enable always trigger touched",
        &["trigger plain.customer.touched", "enabled"],
    ),
    // A trigger less.
    damage(
        "drop trigger touched on plain.customer",
        &["trigger plain.customer.touched", "missing"],
    ),
    // A trigger of a partition that is off.
    damage(
        "alter table plain.event_2024 disable trigger touched_event",
        &["trigger plain.event_2024.touched_event", "enabled"],
    ),
    // A foreign key that is not enforced.
    damage(
        r#"alter table "Sales & Co"."Order" disable trigger all"#,
        &["constraint", "customer id_fkey", "enforcement"],
    ),
    // A constraint that was not validated.
    damage(
        "update pg_constraint set convalidated = false where conname = 'Order_sum_check'",
        &["constraint", "Order_sum_check", "validated"],
    ),
    // A constraint less.
    damage(
        r#"alter table "Sales & Co"."Order" drop constraint "Order_sum_check""#,
        &["constraint", "missing"],
    ),
    // A foreign key that does something else.
    damage(
        r#"alter table "Sales & Co"."Order" drop constraint "Order_customer id_fkey", add constraint "Order_customer id_fkey" foreign key ("customer id") references plain.customer"#,
        &["constraint", "definition"],
    ),
    // A domain without its check.
    damage(
        "alter domain plain.percent drop constraint percent_check",
        &["constraint plain.percent.percent_check", "missing"],
    ),
    // A domain with another default.
    damage(
        "alter domain plain.percent set default 1",
        &["type plain.percent", "default"],
    ),
    // A right less.
    damage(
        "revoke update on plain.customer from app",
        &["grant relation plain.customer to app", "privileges"],
    ),
    // No right left.
    damage(
        "revoke all on plain.customer from app",
        &["grant relation plain.customer to app", "missing"],
    ),
    // A right more.
    damage(
        "grant select on plain.customer to public",
        &[
            "grant relation plain.customer to PUBLIC",
            "only on the new side",
        ],
    ),
    // A right on a column less.
    damage(
        "revoke select (a) on plain.no_key from app",
        &["grant column plain.no_key.a to app"],
    ),
    // A right on a schema less.
    damage(
        "revoke usage on schema plain from app",
        &["grant schema plain to app"],
    ),
    // A right on a sequence more.
    damage(
        "grant usage on sequence plain.counter to app",
        &["grant sequence plain.counter to app"],
    ),
    // A right on a type less.
    damage(
        "revoke usage on type plain.mood from public",
        &["grant type plain.mood to PUBLIC"],
    ),
    // A right on the database less.
    damage(
        "revoke connect on database {database} from public",
        &["grant this database to PUBLIC"],
    ),
    // A function that everybody may call.
    damage(
        "grant execute on function plain.twice(integer, integer) to public",
        &["grant function plain.twice"],
    ),
    // A grant option less.
    damage(
        "revoke grant option for execute on function plain.twice(integer, integer) from app",
        &["grant function plain.twice(integer,integer) to app"],
    ),
    // Default rights less.
    damage(
        "alter default privileges in schema plain revoke select on tables from app",
        &["grant default of postgres in plain for r to app"],
    ),
    // A right on a function of Postgres's own less.
    damage(
        "revoke execute on function pg_catalog.pg_sleep(double precision) from public",
        &["grant function pg_sleep(double precision) to"],
    ),
    // Rights on the schema public.
    damage(
        "grant create on schema public to app",
        &["grant schema public to app"],
    ),
    // Another default.
    damage(
        "alter table plain.customer alter mood set default 'sad'",
        &["column plain.customer.mood", "default"],
    ),
    // No default.
    damage(
        "alter table plain.customer alter mood drop default",
        &["column plain.customer.mood", "became nothing"],
    ),
    // A column that may be NULL.
    damage(
        "alter table plain.customer alter name drop not null",
        &["column plain.customer.name", "not_null"],
    ),
    // A wider column.
    damage(
        "alter table plain.customer alter email type varchar(81)",
        &["column plain.customer.email", "type"],
    ),
    // Another collation.
    damage(
        "alter table plain.customer alter note type text collate plain.german",
        &["column plain.customer.note", "collation"],
    ),
    // Another identity.
    damage(
        "alter table plain.customer alter id set generated by default",
        &["column plain.customer.id", "identity"],
    ),
    // A column that is no longer generated.
    damage(
        "alter table plain.customer alter doubled drop expression",
        &["column plain.customer.doubled", "generated"],
    ),
    // Another storage.
    damage(
        "alter table plain.customer alter note set storage external",
        &["column plain.customer.note", "storage"],
    ),
    // Other statistics.
    damage(
        "alter table plain.customer alter note set statistics 500",
        &["column plain.customer.note", "statistics_target"],
    ),
    // A column less.
    damage(
        "alter table plain.everything drop column a_uuid",
        &["column plain.everything.a_uuid", "missing"],
    ),
    // A column more.
    damage(
        "alter table plain.empty add extra integer",
        &["column plain.empty.extra", "only on the new side"],
    ),
    // Columns in another order.
    damage(
        "alter table plain.parent add c2 text; alter table plain.parent drop column b cascade; alter table plain.parent rename c2 to b; update plain.parent set b = 'parent'",
        &["column plain.child"],
    ),
    // Another order of an enum.
    damage(
        "drop type plain.unused; create type plain.unused as enum ('two', 'one')",
        &["type plain.unused", "labels"],
    ),
    // A label more.
    damage(
        "alter type plain.mood add value 'new' before 'ok'",
        &["type plain.mood", "labels"],
    ),
    // Another attribute of a type.
    damage(
        "alter type plain.pair add attribute c integer",
        &["column plain.pair.c"],
    ),
    // A view of other rows.
    damage(
        "create or replace view plain.happy as select c.id, c.name from plain.customer c where c.mood = 'sad'",
        &["relation plain.happy", "definition"],
    ),
    // A view of other columns.
    damage(
        r#"create or replace view plain.joined as select o."Id" as id, o."sum" from plain.customer c join "Sales & Co"."Order" o on o."customer id" = c.id where exists (select 1 from plain.no_key k where k.a = c.id)"#,
        &["relation plain.joined", "definition"],
    ),
    // A view less.
    damage(
        "drop view plain.happy",
        &["relation plain.happy", "missing"],
    ),
    // A view with a barrier.
    damage(
        "alter view plain.happy set (security_barrier)",
        &["relation plain.happy", "options"],
    ),
    // A materialized view without rows.
    damage(
        "refresh materialized view plain.totals with no data",
        &["relation plain.totals", "populated"],
    ),
    // A function of another body.
    damage(
        "create or replace function plain.twice(n integer, factor integer default 2) returns integer language sql immutable strict set search_path = plain, pg_temp as 'select  n * factor'",
        &["function plain.twice", "source"],
    ),
    // A function of another default.
    damage(
        "create or replace function plain.twice(n integer, factor integer default 3) returns integer language sql immutable strict set search_path = plain, pg_temp as 'select n * factor'",
        &["function plain.twice", "arguments"],
    ),
    // A function that runs as its owner.
    damage(
        "alter function plain.twice(integer, integer) security definer",
        &["function plain.twice", "security_definer"],
    ),
    // A function that is volatile.
    damage(
        "alter function plain.twice(integer, integer) volatile",
        &["function plain.twice", "volatility"],
    ),
    // A function without its setting.
    damage(
        "alter function plain.twice(integer, integer) reset search_path",
        &["function plain.twice", "settings"],
    ),
    // A procedure less.
    damage(
        "drop procedure plain.nothing()",
        &["function plain.nothing()", "missing"],
    ),
    // An aggregate that begins elsewhere.
    damage(
        "create or replace aggregate plain.total (integer) (sfunc = int4pl, stype = integer, initcond = '1')",
        &["function plain.total(integer)", "initial"],
    ),
    // A rule that is off.
    damage(
        "alter table plain.cache disable rule ignore",
        &["rule plain.cache.ignore", "enabled"],
    ),
    // Another policy.
    damage(
        "alter policy own on plain.no_key using (a > 2)",
        &["policy plain.no_key.own", "using"],
    ),
    // Row security that is off.
    damage(
        "alter table plain.no_key disable row level security",
        &["relation plain.no_key", "row_security"],
    ),
    // Another owner.
    damage(
        "alter table plain.empty owner to app",
        &["relation plain.empty", "owner"],
    ),
    // Another owner of a function.
    damage(
        "alter function plain.touch() owner to app",
        &["function plain.touch()", "owner"],
    ),
    // Another owner of a schema.
    damage(
        r#"alter schema "Sales & Co" owner to app"#,
        &[r#"schema "Sales & Co""#, "owner"],
    ),
    // Another option of a table.
    damage(
        "alter table plain.cache set (fillfactor = 71)",
        &["relation plain.cache", "options"],
    ),
    // A table that is logged.
    damage(
        "alter table plain.cache set logged",
        &["relation plain.cache", "persistence"],
    ),
    // Another replica identity.
    damage(
        "alter table plain.no_key replica identity full",
        &["relation plain.no_key", "replica_identity"],
    ),
    // A table that inherits no longer.
    damage(
        "alter table plain.child no inherit plain.parent",
        &["relation plain.child", "inherits"],
    ),
    // A partition that is none.
    damage(
        "alter table plain.event detach partition plain.event_2024",
        &["relation plain.event_2024", "partition_bound"],
    ),
    // A table more.
    damage(
        "create table plain.more ()",
        &["relation plain.more", "only on the new side"],
    ),
    // A table less.
    damage("drop table plain.empty", &["rows plain.empty", "missing"]),
    // A sequence that steps otherwise.
    damage(
        "alter sequence plain.counter increment by 6",
        &["sequence plain.counter", "increment"],
    ),
    // A sequence of a column.
    damage(
        "alter sequence plain.untouched owned by plain.no_key.a",
        &["sequence plain.untouched", "owned_by"],
    ),
    // A schema more.
    damage("create schema more", &["schema more"]),
    // A comment less.
    damage(
        "comment on column plain.customer.note is null",
        &["comment table column plain.customer.note", "missing"],
    ),
    // Another comment.
    damage(
        r#"comment on schema "Sales & Co" is 'other'"#,
        &["comment schema", "comment"],
    ),
    // A setting of the database.
    damage(
        "alter database {database} set work_mem = '5MB'",
        &["setting everybody in this database: work_mem"],
    ),
    // A setting of a role.
    damage(
        "alter role app in database {database} set statement_timeout = '1s'",
        &["setting role app in this database: statement_timeout"],
    ),
    // Another owner of the database.
    damage(
        "alter database {database} owner to app",
        &["database this database", "owner"],
    ),
    // Another version of an extension.
    damage(
        "update pg_extension set extversion = '1.1' where extname = 'plpgsql'",
        &["extension plpgsql", "version"],
    ),
    // Statistics less.
    damage(
        "drop statistics plain.correlated",
        &["statistics plain.correlated", "missing"],
    ),
    // An operator less.
    damage(
        "drop operator plain.=== (integer, integer)",
        &["operator", "missing"],
    ),
    // A cast that happens by itself.
    damage(
        "update pg_cast set castcontext = 'a' where castsource = 'plain.pair'::regtype",
        &["cast plain.pair as text", "context"],
    ),
    // A publication of less.
    damage(
        "alter publication everything set (publish = 'insert')",
        &["publication everything", "publishes"],
    ),
    // An event trigger.
    damage(
        "create function plain.on_ddl() returns event_trigger language plpgsql as 'begin end'; create event trigger watch on ddl_command_end execute function plain.on_ddl()",
        &["event trigger watch"],
    ),
];
