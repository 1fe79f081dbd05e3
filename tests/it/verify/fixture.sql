-- One of each kind of object that verify compares, and one of each type of value.
create schema "Sales & Co";
comment on schema "Sales & Co" is 'names that need quoting';
create schema plain;

create type plain.mood as enum ('sad', 'ok', 'happy');
create domain plain.percent as numeric(5, 2) default 0 check (value between 0 and 100);
create type plain.pair as (a integer, b text);
create type plain.span as range (subtype = float8);
create collation plain.german (provider = icu, locale = 'de');

create sequence plain.counter increment by 5 start with 100;
select nextval('plain.counter'), nextval('plain.counter');
create sequence plain.untouched;

create table plain.customer (
    id integer generated always as identity primary key,
    name text not null,
    email varchar(80) unique,
    mood plain.mood default 'ok',
    score plain.percent,
    note text collate "C",
    created timestamptz not null default '2024-02-03 04:05:06.789012+00',
    doubled numeric generated always as (score * 2) stored
);
comment on column plain.customer.note is 'free text';
insert into plain.customer (name, email, mood, score, note)
select 'name ' || n, 'u' || n || '@example.com', (enum_range(null::plain.mood))[1 + n % 3], n % 100,
       case n % 3 when 0 then null when 1 then '' else 'note ' || n end
from generate_series(1, 3000) n;

create table plain.everything (
    id bigint primary key,
    a_bool boolean, a_char "char", a_int2 smallint, a_float4 real, a_float8 double precision,
    a_numeric numeric, a_money money, a_text text, a_bpchar char(10), a_varchar varchar(10),
    a_bytea bytea, a_json json, a_jsonb jsonb, a_xml xml, a_uuid uuid,
    a_date date, a_time time, a_timetz timetz, a_ts timestamp, a_tstz timestamptz, an_interval interval,
    an_inet inet, a_cidr cidr, a_mac macaddr, a_mac8 macaddr8, a_bit bit(5), a_varbit varbit,
    a_point point, a_line line, an_lseg lseg, a_box box, a_path path, a_polygon polygon, a_circle circle,
    a_tsvector tsvector, a_tsquery tsquery, an_lsn pg_lsn, an_array integer[], a_text_array text[],
    a_range int4range, a_multirange nummultirange, a_mood plain.mood, a_percent plain.percent,
    a_pair plain.pair, a_span plain.span, a_class regclass, a_jsonpath jsonpath
);
insert into plain.everything values
(1, true, 'x', 7, 1.5, 0.1, 1.00, '12.34', 'text', 'pad', 'var', '\x00ff', '{"b":1, "a":2}',
 '{"b":1, "a":2}', '<a>1</a>', '11111111-2222-3333-4444-555555555555', '2024-02-29', '12:34:56.789012',
 '12:34:56+02', '2024-02-29 01:02:03.456789', '2024-02-29 01:02:03.456789+00', '1 mon 2 days 03:04:05.678901',
 '10.0.0.1/8', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05', b'10101', b'101',
 '(1,2)', '{1,2,3}', '[(1,2),(3,4)]', '(1,2),(3,4)', '((1,2),(3,4))', '((1,2),(3,4))', '<(1,2),3>',
 'a fat cat', 'fat & cat', '16/B374D848', '{1,2,NULL}', '{"a,b","NULL",NULL,""}',
 '[1,5)', '{[1,2),[3,4)}', 'happy', 50, '(1,"a,b")', '[1.5,2.5)', 'plain.customer', '$.a[*]'),
(2, false, (-23)::"char", -7, 'NaN', '-Infinity', 'NaN', '-0.01', E'quote'' "double" \\ back', '', '', '', 'null',
 'null', null, null, 'infinity', '00:00', '00:00+00', '-infinity', 'infinity', '-1 year',
 '::1', '::/0', null, null, b'00000', b'', '(-0,0)', null, null, null, null, null, null,
 '', '', '0/0', '{}', '{}', 'empty', '{}', null, null, '(,)', 'empty', null, null),
(3, null, '', null, '1e-37', 5e-324, 1e-20, null, null, null, null, null, null, null, null, null, null, null,
 null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
 null, null, '[0:1]={1,2}', null, null, null, null, null, null, null, null, null);

create table plain.no_key (a integer, b text);
insert into plain.no_key select n % 10, 'b' from generate_series(1, 100) n;

create table plain.empty (a integer);

create table plain.wide (id integer primary key, n bigint, m smallint, u uuid, c char(5), t text);
insert into plain.wide values (1, 0, 0, '00000000-0000-0000-0000-000000000000', 'a', ''), (2, -1, null, null, null, null);

create table plain.event (at date not null, payload text) partition by range (at);
create table plain.event_2023 partition of plain.event for values from ('2023-01-01') to ('2024-01-01');
create table plain.event_2024 partition of plain.event for values from ('2024-01-01') to ('2025-01-01');
create table plain.event_rest partition of plain.event default;
create index on plain.event (at);
insert into plain.event select date '2023-06-01' + n, 'payload ' || n from generate_series(1, 700) n;

create table plain.parent (a integer, b text);
create table plain.child (c integer) inherits (plain.parent);
insert into plain.parent values (1, 'parent');
insert into plain.child values (2, 'child', 3);

create table "Sales & Co"."Order" (
    "Id" integer primary key,
    "customer id" integer references plain.customer (id) on delete cascade,
    "sum" numeric(10, 2) check ("sum" >= 0),
    exclude using gist (int4range("Id", "Id", '[]') with &&)
);
insert into "Sales & Co"."Order" select n, n, n * 1.5 from generate_series(1, 200) n;
create index "by sum" on "Sales & Co"."Order" ("sum" desc nulls last) where "sum" > 10;

create unlogged table plain.cache (k text primary key, v text) with (fillfactor = 70);
insert into plain.cache values ('k', 'v');

create view plain.happy as select c.id, c.name from plain.customer c where c.mood = 'happy';
create view plain.joined as
    select c.id, o."sum" from plain.customer c join "Sales & Co"."Order" o on o."customer id" = c.id
    where exists (select 1 from plain.no_key k where k.a = c.id);
create materialized view plain.totals as select mood, count(*) as n from plain.customer group by mood;
create unique index on plain.totals (mood);

create function plain.twice(n integer, factor integer default 2) returns integer
    language sql immutable strict as 'select n * factor';
create procedure plain.nothing() language plpgsql as 'begin end';
create function plain.touch() returns trigger language plpgsql as 'begin return new; end';
create function plain.atomic(n integer) returns bigint
    begin atomic select count(*) from plain.customer where customer.id > n; end;
create aggregate plain.total (integer) (sfunc = int4pl, stype = integer, initcond = '0');
alter function plain.twice(integer, integer) set search_path = plain, pg_temp;

create trigger touched before update on plain.customer for each row execute function plain.touch();
create trigger touched_event after insert on plain.event for each row execute function plain.touch();
create rule ignore as on delete to plain.cache do instead nothing;

alter table plain.no_key enable row level security;
create policy own on plain.no_key for select to public using (a > 1);

create statistics plain.correlated (dependencies) on a, b from plain.no_key;
comment on function plain.twice(integer, integer) is 'doubles';
comment on constraint "Order_pkey" on "Sales & Co"."Order" is 'the key';

select lo_from_bytea(700001, 'a large object'), lo_from_bytea(700002, '');

-- A function decides the partition: a row comes into the wrong one while it lies.
create function plain.route(n integer) returns integer language sql immutable as 'select n % 2';
create table plain.routed (n integer) partition by list (plain.route(n));
create table plain.routed_even partition of plain.routed for values in (0);
create table plain.routed_odd partition of plain.routed for values in (1);
insert into plain.routed select generate_series(1, 10);

create type plain.unused as enum ('one', 'two');
create operator plain.=== (leftarg = integer, rightarg = integer, function = int4eq);
create cast (plain.pair as text) with inout;
create publication everything for table plain.customer;

grant usage on schema plain to app;
grant select, update on plain.customer to app;
grant select (a) on plain.no_key to app;
revoke execute on function plain.twice(integer, integer) from public;
grant execute on function plain.twice(integer, integer) to app with grant option;
alter default privileges in schema plain grant select on tables to app;
