-- superuser
-- CREATE, ALTER, DROP TABLESPACE; default_tablespace and temp_tablespaces are the session's.
CREATE SCHEMA :ns;
SET search_path = :ns;
SELECT :'ns' || '_b' AS b, current_user AS me \gset
CREATE TABLESPACE :ns LOCATION 'relative';
-- In place, inside the data directory, so that no other is needed.
SET allow_in_place_tablespaces = on;
CREATE TABLESPACE :ns LOCATION '';
BEGIN;
CREATE TABLESPACE refused LOCATION '';
ROLLBACK;
ALTER TABLESPACE :ns SET (random_page_cost = 2);
ALTER TABLESPACE :ns RENAME TO :b;
ALTER TABLESPACE :b OWNER TO :"me";
SET default_tablespace = :b;
CREATE TABLE t (id int);
SELECT tablespace = :'b' AS by_setting FROM pg_tables WHERE schemaname = :'ns';
SET temp_tablespaces = :b;
CREATE TEMP TABLE tmp (id int);
SELECT reltablespace <> 0 AS elsewhere FROM pg_class WHERE oid = 'tmp'::regclass;
SET default_tablespace = nosuch;
DROP TABLESPACE :b;
RESET default_tablespace;
ALTER TABLE t SET TABLESPACE pg_default;
DROP TABLE tmp;
DROP TABLESPACE :b;
DROP TABLESPACE :b;
DROP TABLE t;
DROP SCHEMA :ns;
