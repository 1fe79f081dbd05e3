-- Error texts: positions, details, hints, contexts, in every verbosity.
CREATE SCHEMA :ns;
SET search_path = :ns;
CREATE TABLE t (id int PRIMARY KEY, v varchar(3) NOT NULL, CONSTRAINT positive CHECK (id > 0));
SELECT nosuch FROM t;
SELECT id,
    v,
    missing_column
FROM t;
SELECT * FROM nosuch_table;
SELECT nosuch_function(1, 'a');
SELECT 1 +;
SELECT 'unterminated;
';
SELECT 'é', nosuch, 'ü';
SELECT '数据数据', nosuch;
INSERT INTO t VALUES (1, 'abc');
INSERT INTO t VALUES (1, 'abc');
INSERT INTO t VALUES (-1, 'abc');
INSERT INTO t VALUES (2, NULL);
INSERT INTO t VALUES (2, 'too long');
INSERT INTO t VALUES ('x', 'abc');
SELECT 'x'::int;
SELECT 2147483647 + 1;
SELECT 1 / 0;
SELECT '2020-13-01'::date;
SELECT t.ID FROM t tt;
SELECT sum(v) FROM t;
SELECT v FROM t GROUP BY id + 1;
UPDATE t SET id = id WHERE (SELECT 1 UNION SELECT 2) = 1;
SELECT jsonb '{"a": ' -> 'a';
SELECT '(' ~ '(';
CREATE FUNCTION deep(n int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN IF n = 0 THEN RETURN 1 / n; END IF; RETURN deep(n - 1); END $$;
SELECT deep(2);
CREATE FUNCTION sql_fails() RETURNS int LANGUAGE sql AS $$ SELECT 1 / (SELECT count(*)::int FROM t WHERE false) $$;
SELECT sql_fails();
CREATE FUNCTION broken() RETURNS int LANGUAGE sql AS $$ SELECT nosuch $$;
CREATE FUNCTION broken() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN nosuch; END $$;
SELECT broken();
DO $$ BEGIN RAISE EXCEPTION 'own' USING ERRCODE = '22012', DETAIL = 'the detail', HINT = 'the hint',
    COLUMN = 'c', CONSTRAINT = 'k', DATATYPE = 'd', TABLE = 't', SCHEMA = 's'; END $$;
\set VERBOSITY verbose
SELECT nosuch FROM t;
INSERT INTO t VALUES (1, 'abc');
DO $$ BEGIN RAISE EXCEPTION 'own' USING ERRCODE = '22012', COLUMN = 'c', CONSTRAINT = 'k', TABLE = 't', SCHEMA = 's'; END $$;
\set VERBOSITY terse
SELECT nosuch FROM t;
\set VERBOSITY sqlstate
SELECT nosuch FROM t;
INSERT INTO t VALUES (1, 'abc');
\set VERBOSITY default
\set SHOW_CONTEXT always
DO $$ BEGIN RAISE NOTICE 'with context'; END $$;
\set SHOW_CONTEXT never
SELECT deep(1);
\set SHOW_CONTEXT errors
SELECT 1 AS first \; SELECT nosuch AS second;
SELECT repeat('x', 20)::varchar(5), repeat('long message ', 100)::int;
SET lc_messages = 'C';
SELECT nosuch;
SELECT * FROM pg_read_file('/etc/passwd');
GRANT SELECT ON pg_authid TO PUBLIC;
DROP TABLE pg_class;
CREATE TABLE pg_catalog.x (id int);
SELECT pg_sleep('x');
DROP FUNCTION deep, sql_fails, broken;
DROP TABLE t;
DROP SCHEMA :ns;
