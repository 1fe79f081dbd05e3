-- One session of a poisoning client: sets everything it can, then leaves, often in the
-- middle. The names are those of the suite. Nothing here may be seen by the suite's own client.
-- Names that the suite looks for in pg_class, without asking for visible ones, are left out.
-- It creates and changes nothing that outlives it, and holds no snapshot: another session of a plain
-- Postgres is not disturbed by it either, which the second direct run proves.
-- :me is its role; :settings_only leaves nothing but settings; :part picks how it ends; PAUSE is how long it idles before.
SELECT :part = 0 AS p0, :part = 1 AS p1, :part = 2 AS p2 \gset
-- Whatever a superuser may set, but for what would end this session or stall the server.
DO $$
DECLARE
    s record;
    v text;
BEGIN
    FOR s IN
        SELECT * FROM pg_catalog.pg_settings
        WHERE context IN ('user', 'superuser') AND vartype <> 'string'
            AND name !~ '^(log_|debug_|trace_|tcp_|transaction_|default_transaction_)|_timeout$|_interval$'
            AND name NOT IN ('exit_on_error', 'max_stack_depth', 'client_min_messages', 'post_auth_delay',
                'zero_damaged_pages', 'ignore_checksum_failure', 'session_replication_role')
    LOOP
        v := CASE s.vartype
            WHEN 'bool' THEN CASE s.setting WHEN 'on' THEN 'off' ELSE 'on' END
            WHEN 'enum' THEN (SELECT e FROM unnest(s.enumvals) e WHERE e <> s.setting LIMIT 1)
            WHEN 'real' THEN CASE WHEN s.boot_val::float8 = s.max_val::float8 THEN s.min_val ELSE s.max_val END
            ELSE CASE WHEN s.boot_val::int8 < s.max_val::int8 THEN (s.boot_val::int8 + 1)::text ELSE s.min_val END
        END;
        BEGIN
            PERFORM set_config(s.name, v, false);
        EXCEPTION WHEN OTHERS THEN
            NULL;
        END;
    END LOOP;
END
$$;
SET search_path = pg_catalog, poison;
SET DateStyle = 'German';
SET IntervalStyle = 'sql_standard';
SET TIME ZONE 'Pacific/Apia';
SET client_encoding = 'LATIN1';
SET bytea_output = 'escape';
SET extra_float_digits = -10;
SET standard_conforming_strings = off;
SET backslash_quote = off;
SET default_transaction_isolation = 'serializable';
SET default_transaction_deferrable = on;
SET client_min_messages = debug1;
SET lock_timeout = '666ms';
SET statement_timeout = '66s';
SET idle_in_transaction_session_timeout = '66s';
SET session_replication_role = replica;
SET default_tablespace = pg_default;
SET temp_tablespaces = pg_default;
SET default_text_search_config = 'german';
SET dynamic_library_path = '/nonexistent';
SET application_name = 'poison';
SET check_function_bodies = off;
SET my.var = 'poison';
SET custom.my_guc = 'poison';
SET plpgsql.extra_errors = 'all';
SELECT set_config('my.local', 'poison', false);
\if :settings_only
\else
SELECT 'CREATE TEMP TABLE ' || name || ' (poison text)'
FROM unnest('{onek,onek2,tenk1,tenk2,int4_tbl,int8_tbl,text_tbl,char_tbl,point_tbl,person,emp,t,t1,t2,t3,tt1,foo,temptest,
    fktable,pktable,parent,child,a,b,users,x,y,base_tbl,atacc1,list_parted,range_parted,q2,tmp,tbl}'::text[]) name
ORDER BY random() LIMIT 12 \gexec
CREATE TEMP VIEW ro_view1 AS SELECT 'poison' AS poison;
CREATE TEMP SEQUENCE sequence_test START 666;
SELECT nextval('pg_temp.sequence_test'), lastval();
CREATE FUNCTION pg_temp.temp_func(i int) RETURNS int LANGUAGE sql AS 'SELECT 666';
CREATE TYPE pg_temp.planets AS ENUM ('poison');
CREATE DOMAIN pg_temp.domaindroptest AS int CHECK (VALUE = 666);
SELECT 'PREPARE ' || name || ' AS SELECT ''poison'''
FROM unnest('{q,q1,q2,q3,q4,q5,q6,q7,q8,p1,p2,ps1,ps2,foo,test,s,t,u,v,vprep,pp,r,ins,prepstmt,prepstmt2,prep_stmt,pstmt,select1,data_sel,cprep}'::text[]) name
ORDER BY random() LIMIT 12 \gexec
SELECT setseed(0.666);
SELECT 'DECLARE ' || name || ' CURSOR WITH HOLD FOR SELECT ''poison'''
FROM unnest('{c,c1,c2,foo,foo1,foo2,foo13,foo24,foo25,xc,rf_cur,held_portal}'::text[]) name \gexec
LISTEN notify_async1;
LISTEN notify_async2;
SELECT pg_advisory_lock_shared(666), pg_advisory_lock_shared(66, 6);
LOAD '$libdir/plpgsql';
SET default_transaction_read_only = on;
SET SESSION AUTHORIZATION :me;
SET ROLE :me;
\endif
-- Another client may want this connection.
\! sleep "$PAUSE"
\if :p0
BEGIN;
SET LOCAL my.var = 'poison in a transaction';
SELECT 1 / 0;
SELECT 'left in a failed transaction';
\elif :p1
BEGIN READ ONLY;
SAVEPOINT s;
SET LOCAL my.var = 'poison in a transaction';
\elif :p2
RESET ALL;
SET search_path = pg_temp;
SET my.var = 'poison after reset';
\else
SELECT 1 \; SELECT nosuch \; SELECT 2;
SET statement_timeout = '20ms';
SELECT pg_catalog.pg_sleep(1);
\endif
