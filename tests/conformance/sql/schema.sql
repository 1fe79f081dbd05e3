-- CREATE, ALTER, DROP SCHEMA.
SELECT :'ns' || '_b' AS b, current_user AS me \gset
CREATE SCHEMA :ns CREATE TABLE t (id int) CREATE VIEW v AS SELECT * FROM t;
SET search_path = :ns;
SELECT * FROM v;
ALTER SCHEMA :ns RENAME TO :b;
-- The setting holds a name, not the schema.
SELECT * FROM v;
CREATE TABLE t2 (id int);
SET search_path = :b;
SELECT * FROM v;
CREATE SCHEMA :ns;
SET search_path = :ns, :b;
CREATE TABLE t (id text);
INSERT INTO t VALUES ('new');
SELECT * FROM t;
SELECT * FROM v;
DROP SCHEMA :ns;
DROP SCHEMA :ns CASCADE;
SELECT * FROM t;
ALTER SCHEMA :b OWNER TO :"me";
CREATE SCHEMA IF NOT EXISTS :b;
CREATE SCHEMA :b;
CREATE SCHEMA pg_mine;
CREATE SCHEMA AUTHORIZATION nosuch_role;
DROP SCHEMA nosuch;
BEGIN;
DROP SCHEMA :b CASCADE;
ROLLBACK;
SELECT * FROM t;
SET client_min_messages = warning;
DROP SCHEMA :b CASCADE;
