-- CREATE, ALTER, DROP DATABASE: need a database free of other connections; settings that begin with the next session.
SELECT current_database() AS home \gset
SELECT :'ns' || '_b' AS db_b \gset
SELECT :'ns' || '_c' AS db_c \gset
SELECT current_user AS me \gset
CREATE DATABASE :ns;
CREATE DATABASE :ns;
ALTER DATABASE :ns SET work_mem = '5MB';
ALTER DATABASE :ns SET search_path = 'from_database', public;
ALTER DATABASE :ns SET TimeZone TO 'Asia/Kathmandu';
SHOW work_mem;
\c :ns
SELECT current_database() = :'ns' AS here;
SHOW work_mem;
SHOW search_path;
SELECT timestamptz '2020-01-01 00:00+00';
SET work_mem = '6MB';
RESET work_mem;
SHOW work_mem;
DISCARD ALL;
SHOW work_mem;
CREATE SCHEMA from_database;
CREATE TABLE t AS SELECT 'in the new database' AS v;
SELECT schemaname FROM pg_tables WHERE tablename = 't';
DROP DATABASE :ns;
ALTER DATABASE :ns SET work_mem = '7MB';
SHOW work_mem;
\c
SHOW work_mem;
ALTER DATABASE :ns RESET work_mem;
\c
SELECT current_setting('work_mem') = boot_val || 'kB' OR current_setting('work_mem') = '4MB' AS as_usual FROM pg_settings WHERE name = 'work_mem';
ALTER DATABASE :ns RESET ALL;
ALTER DATABASE :ns CONNECTION LIMIT 5;
COMMENT ON DATABASE :ns IS 'a comment';
-- These need the others gone: a moment ago this very client was there.
\c :home
CREATE DATABASE :db_b TEMPLATE :ns;
\c :db_b
SELECT v FROM from_database.t;
\c :home
ALTER DATABASE :db_b RENAME TO :db_c;
\c :db_c
SELECT v FROM from_database.t;
SELECT current_database() = :'db_c' AS renamed;
\c :home
DROP DATABASE :db_c;
DROP DATABASE :db_c;
DROP DATABASE IF EXISTS :db_c;
ALTER DATABASE :ns OWNER TO :"me";
ALTER DATABASE :ns ALLOW_CONNECTIONS false;
ALTER DATABASE :ns WITH ALLOW_CONNECTIONS true;
ALTER DATABASE :ns REFRESH COLLATION VERSION;
ALTER DATABASE :ns SET TABLESPACE pg_default;
BEGIN;
CREATE DATABASE refused;
ROLLBACK;
BEGIN;
DROP DATABASE :ns;
ROLLBACK;
CREATE DATABASE refused ENCODING 'nonsense';
CREATE DATABASE refused TEMPLATE nosuch;
DROP DATABASE template1;
\c :ns
SELECT 'connected once more';
\c :home
DROP DATABASE :ns WITH (FORCE);
SELECT count(*) FROM pg_database WHERE datname LIKE :'ns' || '%';
\c :ns
SELECT 'not reached, or not connected';
