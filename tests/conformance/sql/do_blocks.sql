-- DO: anything can happen inside, and its tag tells nothing.
CREATE SCHEMA :ns;
SET search_path = :ns;
DO $$ BEGIN PERFORM set_config('work_mem', '5MB', false); END $$;
SHOW work_mem;
DO $$ BEGIN SET work_mem = '6MB'; SET LOCAL lock_timeout = '7s'; RAISE NOTICE '%', current_setting('lock_timeout'); END $$;
SHOW work_mem;
SHOW lock_timeout;
DO $$ BEGIN
    SET my.var = 'inside';
    BEGIN
        SET my.var = 'in the block';
        RAISE EXCEPTION 'back';
    EXCEPTION WHEN OTHERS THEN
        RAISE NOTICE 'now %', current_setting('my.var');
    END;
END $$;
SHOW my.var;
DO $$ BEGIN CREATE TEMP TABLE tmp AS SELECT 1 AS id; END $$;
SELECT * FROM tmp;
DO $$ BEGIN EXECUTE 'CREATE TEMP SEQUENCE tmp_seq'; PERFORM nextval('tmp_seq'); END $$;
SELECT currval('tmp_seq');
SELECT set_config('my.key', :'nsid', false) = :'nsid';
DO $$ BEGIN PERFORM pg_advisory_lock(current_setting('my.key')::int); END $$;
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid();
DO $$ BEGIN EXECUTE 'PREPARE by_do AS SELECT ''prepared by do'''; END $$;
EXECUTE by_do;
DO $$ BEGIN SET TIME ZONE 'Asia/Tokyo'; END $$;
SELECT timestamptz '2020-01-01 00:00+00';
DO $$ BEGIN EXECUTE 'SET search_path = pg_catalog'; END $$;
SHOW search_path;
DO $$ BEGIN RESET search_path; RESET ALL; END $$;
SHOW work_mem;
-- Transactions inside.
DO $$ BEGIN
    CREATE TABLE committed (id int);
    SET work_mem = '8MB';
    SET LOCAL lock_timeout = '9s';
    COMMIT;
    RAISE NOTICE 'lock_timeout %', current_setting('lock_timeout');
    INSERT INTO committed VALUES (1);
    SET work_mem = '10MB';
    ROLLBACK;
END $$;
SHOW work_mem;
SELECT count(*) FROM committed;
BEGIN;
DO $$ BEGIN COMMIT; END $$;
ROLLBACK;
DO $$ BEGIN SET work_mem = '11MB'; RAISE EXCEPTION 'boom' USING DETAIL = 'd', HINT = 'h', ERRCODE = 'ZZ001'; END $$;
\echo :SQLSTATE
SHOW work_mem;
DO $$ BEGIN PERFORM 1 / 0; END $$;
DO $$ syntax error $$;
DO LANGUAGE nosuch 'x';
DO $$ BEGIN SET ROLE nosuch_role; END $$;
SELECT pg_advisory_unlock_all();
SET search_path = :ns;
DROP TABLE committed;
DROP TABLE IF EXISTS public.committed;
DROP SCHEMA :ns;
