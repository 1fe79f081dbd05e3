-- psql's own commands, which are queries for the server.
CREATE SCHEMA :ns;
SET search_path = :ns;
CREATE TABLE t (id int PRIMARY KEY, v text NOT NULL DEFAULT 'x', CHECK (id > 0));
-- No \d of temporary objects: their schema's number is another one each time.
INSERT INTO t VALUES (1, 'a'), (2, 'b');
\d t
\d+ t
\dt t
\dn :ns
\d nosuch
SELECT 1 AS one, 'x'::text AS two, now() AS three \gdesc
SELECT * FROM t WHERE nosuch \gdesc
SELECT 1 / 0 AS fails_only_when_run \gdesc
SET work_mem = '5MB' \gdesc
SELECT format('SET work_mem = ''%sMB''', g) FROM (VALUES (6), (7)) s (g) \gexec
SHOW work_mem;
SELECT 'CREATE TEMP TABLE by_gexec (id int)', 'INSERT INTO by_gexec VALUES (1)', 'SELECT * FROM by_gexec', 'SELECT 1 / 0' \gexec
SELECT id AS x, v AS y FROM t WHERE id = 1 \gset got_
\echo :got_x :got_y
SELECT * FROM t \gset
SELECT * FROM t WHERE false \gset
SELECT * FROM t ORDER BY id \gx
SELECT v, id, id * 2 FROM t ORDER BY id \crosstabview v id
\pset format unaligned
SELECT * FROM t ORDER BY id;
\pset format aligned
\pset null '(null)'
SELECT NULL AS n;
\pset null ''
\sf pg_catalog.upper(text)
CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$;
\sf f
\df f
\dv
\ds
\di
\dp t
\drds nosuch_role
SELECT current_setting('work_mem') = '7MB' AS ok \gset
\if :ok
SELECT 'in the branch';
\else
SELECT 'in the other';
\endif
\echo :ROW_COUNT :ERROR :SQLSTATE
SELECT nosuch;
\echo :ERROR :SQLSTATE :LAST_ERROR_SQLSTATE
\echo :LAST_ERROR_MESSAGE
\errverbose
\set ECHO_HIDDEN off
\timing off
SELECT 'b1' \g
\p
\encoding
\password nosuch_role
\l nosuch
SELECT $1 AS no_parameter;
PREPARE p AS SELECT $1::int;
EXECUTE p(5) \gdesc
DROP FUNCTION f();
DROP TABLE t;
DROP SCHEMA :ns;
