-- One session of a poisoning client: sets everything it can, then leaves, often in
-- the middle. :key and :me are its own; the names are those that the scripts use.
-- Nothing here may be seen by a script. :part picks how it ends.
SELECT :part = 0 AS p0, :part = 1 AS p1, :part = 2 AS p2 \gset
SET work_mem = '66MB';
SET search_path = pg_catalog, poison;
SET DateStyle = 'German';
SET IntervalStyle = 'sql_standard';
SET TIME ZONE 'Pacific/Apia';
SET client_encoding = 'LATIN1';
SET bytea_output = 'escape';
SET extra_float_digits = -10;
SET standard_conforming_strings = off;
SET default_transaction_isolation = 'serializable';
SET default_transaction_deferrable = on;
SET client_min_messages = debug1;
SET lock_timeout = '666ms';
SET statement_timeout = '66s';
SET idle_in_transaction_session_timeout = '66s';
SET enable_seqscan = off;
SET enable_indexscan = off;
SET geqo = off;
SET quote_all_identifiers = on;
SET xmloption = document;
SET array_nulls = off;
SET row_security = off;
SET default_tablespace = pg_default;
SET default_text_search_config = 'german';
SET application_name = 'poison';
SET plan_cache_mode = force_generic_plan;
SET check_function_bodies = off;
SET my.var = 'poison';
SET my.poison = 'poison';
SET app.tenant = 'poison';
SET app.username = 'poison';
SELECT set_config('my.local', 'poison', false), set_config('my.' || g, 'poison', false) FROM (VALUES ('untaken'), ('planned'), ('view'), ('allowed')) v (g);
SELECT setseed(0.666);
CREATE TEMP TABLE tmp (poison text);
CREATE TEMP TABLE t (poison text);
CREATE TEMP TABLE t2 (poison text);
CREATE TEMP TABLE kept (poison text);
CREATE TEMP TABLE config (poison text);
CREATE TEMP TABLE words (poison text);
CREATE TEMP TABLE log (poison text);
CREATE TEMP TABLE src (poison text);
CREATE TEMP TABLE lost (poison text);
CREATE TEMP VIEW temp_view AS SELECT 'poison' AS poison;
CREATE TEMP SEQUENCE temp_seq START 666;
CREATE TEMP SEQUENCE s START 666;
SELECT nextval('pg_temp.temp_seq'), nextval('pg_temp.s'), lastval();
CREATE FUNCTION pg_temp.temp_function(i int) RETURNS int LANGUAGE sql AS 'SELECT 666';
CREATE TYPE pg_temp.temp_enum AS ENUM ('poison');
CREATE DOMAIN pg_temp.temp_domain AS int CHECK (VALUE = 666);
PREPARE q AS SELECT 'poison';
PREPARE q2 AS SELECT 'poison';
PREPARE star AS SELECT 'poison';
PREPARE by_do AS SELECT 'poison';
PREPARE folded AS SELECT 'poison';
LISTEN poison;
LISTEN x;
SELECT pg_notify('poison', 'from ' || :'me'), pg_notify('x', :'me');
SELECT pg_advisory_lock_shared(666), pg_advisory_lock(-:key, 1), pg_try_advisory_lock_shared(6, 66);
DECLARE h CURSOR WITH HOLD FOR SELECT 'poison';
DECLARE h2 CURSOR WITH HOLD FOR SELECT 'poison';
DECLARE by_do CURSOR WITH HOLD FOR SELECT 'poison';
DECLARE from_function CURSOR WITH HOLD FOR SELECT 'poison';
-- A role of its own, left behind by the first session, and another current_user.
CREATE ROLE :me;
SELECT current_user AS login \gset
GRANT :me TO :"login";
LOAD '$libdir/plpgsql';
DO $$ BEGIN SET LOCAL work_mem = '67MB'; PERFORM set_config('my.explained', 'poison', false); END $$;
SET default_transaction_read_only = on;
SET SESSION AUTHORIZATION :me;
SET ROLE :me;
\if :p0
BEGIN;
SET LOCAL my.var = 'poison in a transaction';
SELECT 1 / 0;
SELECT 'left in a failed transaction';
\elif :p1
BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY;
DECLARE c CURSOR FOR SELECT 'poison' FROM generate_series(1, 1000);
FETCH c;
SAVEPOINT s;
\elif :p2
SELECT pg_catalog.pg_sleep(0.05);
RESET ALL;
SET search_path = pg_temp;
SET my.var = 'poison after reset';
\else
SELECT 1 \; SELECT nosuch \; SELECT 2;
SET statement_timeout = '20ms';
SELECT pg_catalog.pg_sleep(1);
\endif
