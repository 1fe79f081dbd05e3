-- Functions that change the session: a SELECT shows nothing of it.
CREATE SCHEMA :ns;
SET search_path = :ns;
CREATE FUNCTION sets(v text) RETURNS text LANGUAGE sql AS $$ SELECT set_config('work_mem', v, false) $$;
SELECT sets('5MB');
SHOW work_mem;
CREATE FUNCTION sets_local(v text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN EXECUTE format('SET LOCAL work_mem = %L', v); RETURN current_setting('work_mem'); END $$;
SELECT sets_local('6MB');
SHOW work_mem;
-- SET clauses: back when the function ends, except for what it sets itself with another scope.
CREATE FUNCTION with_clause() RETURNS text LANGUAGE plpgsql SET work_mem = '7MB' SET search_path = pg_catalog AS $$
BEGIN RETURN current_setting('work_mem') || ' ' || current_setting('search_path'); END $$;
SELECT with_clause();
SHOW work_mem;
CREATE FUNCTION clause_and_set() RETURNS text LANGUAGE plpgsql SET work_mem = '8MB' AS $$
BEGIN SET work_mem = '9MB'; RETURN current_setting('work_mem'); END $$;
SELECT clause_and_set();
SHOW work_mem;
CREATE FUNCTION clause_and_local() RETURNS text LANGUAGE plpgsql SET work_mem = '10MB' AS $$
BEGIN SET LOCAL work_mem = '11MB'; RETURN current_setting('work_mem'); END $$;
BEGIN;
SELECT clause_and_local();
SHOW work_mem;
COMMIT;
CREATE FUNCTION from_current() RETURNS text LANGUAGE sql SET work_mem FROM CURRENT AS $$ SELECT current_setting('work_mem') $$;
SET work_mem = '12MB';
SELECT from_current();
ALTER FUNCTION from_current() RESET work_mem;
SELECT from_current();
ALTER FUNCTION from_current() SET work_mem TO '13MB';
SELECT from_current();
-- One that fails takes its setting back.
CREATE FUNCTION sets_and_fails() RETURNS int LANGUAGE plpgsql AS $$
BEGIN SET work_mem = '14MB'; RETURN 1 / 0; END $$;
SELECT sets_and_fails();
SHOW work_mem;
-- Depends on data.
CREATE TABLE config (name text, value text);
INSERT INTO config VALUES ('my.tenant', '42'), ('TimeZone', 'Asia/Tokyo');
SELECT set_config(name, value, false) FROM config ORDER BY name;
SELECT current_setting('my.tenant'), timestamptz '2020-01-01 00:00+00';
-- Other kinds of state.
CREATE FUNCTION makes_temp() RETURNS void LANGUAGE plpgsql AS $$
BEGIN CREATE TEMP TABLE IF NOT EXISTS tmp (id int); INSERT INTO tmp VALUES (1); END $$;
SELECT makes_temp();
SELECT makes_temp();
SELECT * FROM tmp;
CREATE FUNCTION locks(k int) RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_lock(k); END $$;
SELECT locks(:nsid);
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid();
CREATE FUNCTION listens(c text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'LISTEN ' || quote_ident(c); END $$;
SELECT listens(:'ns');
NOTIFY :ns, 'heard';
CREATE FUNCTION prepares() RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'PREPARE q AS SELECT 5'; END $$;
SELECT prepares();
EXECUTE q;
CREATE FUNCTION becomes(r text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN EXECUTE format('SET ROLE %I', r); RETURN 'done'; END $$;
CREATE ROLE :ns;
SELECT current_user AS me \gset
GRANT :ns TO :"me";
SELECT becomes(:'ns');
SELECT current_user = :'ns' AS became;
RESET ROLE;
CREATE FUNCTION definer() RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN SET ROLE NONE; RETURN 'set'; END $$;
SELECT definer();
CREATE FUNCTION sequence_state() RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN CREATE TEMP SEQUENCE IF NOT EXISTS own; RETURN nextval('own'); END $$;
SELECT sequence_state();
SELECT lastval();
-- In places where calls are hidden.
CREATE OPERATOR !> (rightarg = text, function = sets);
SELECT !> '15MB'::text;
SHOW work_mem;
CREATE CAST (config AS int) WITH FUNCTION nosuch(config);
CREATE TABLE defaults (id int, v text DEFAULT sets('16MB'));
INSERT INTO defaults (id) VALUES (1);
SHOW work_mem;
CREATE TABLE checks (id int CHECK (sets(id || 'MB') IS NOT NULL));
INSERT INTO checks VALUES (17);
SHOW work_mem;
COPY checks FROM STDIN;
18
19
\.
SHOW work_mem;
CREATE FUNCTION immutable_lie(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN PERFORM set_config('work_mem', i || 'MB', false); RETURN i; END $$;
CREATE INDEX ON config (immutable_lie(length(name)));
SHOW work_mem;
SELECT immutable_lie(20);
SHOW work_mem;
EXPLAIN (COSTS OFF) SELECT immutable_lie(21);
SHOW work_mem;
PREPARE folded AS SELECT immutable_lie(22);
EXECUTE folded;
SHOW work_mem;
CREATE DOMAIN checked AS int CHECK (immutable_lie(VALUE) > 0);
SELECT 23::checked;
SHOW work_mem;
CREATE AGGREGATE agg_sets (int) (sfunc = int4pl, stype = int, finalfunc = immutable_lie);
SELECT agg_sets(v) FROM (VALUES (20), (4)) t (v);
SHOW work_mem;
UNLISTEN *;
SELECT pg_advisory_unlock_all();
SET client_min_messages = warning;
DROP SCHEMA :ns CASCADE;
DROP ROLE :ns;
