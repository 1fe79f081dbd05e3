-- superuser
-- postgres_fdw and dblink: connections that hang on the session. Straight to the server, from the server.
\getenv password PGPASSWORD
SELECT current_database() AS home, current_user AS me, current_setting('port') AS port \gset
CREATE DATABASE :ns;
\c :ns
CREATE EXTENSION postgres_fdw;
CREATE EXTENSION dblink;
CREATE TABLE real (id int PRIMARY KEY, v text);
CREATE SERVER loopback FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port :'port', dbname :'ns');
CREATE USER MAPPING FOR CURRENT_USER SERVER loopback OPTIONS (user :'me', password :'password');
CREATE FOREIGN TABLE remote (id int, v text) SERVER loopback OPTIONS (table_name 'real');
SELECT count(*) FROM postgres_fdw_get_connections();
INSERT INTO remote VALUES (1, 'one'), (2, 'two');
SELECT * FROM remote ORDER BY id;
SELECT server_name, valid FROM postgres_fdw_get_connections();
BEGIN;
INSERT INTO remote VALUES (3, 'three');
SELECT count(*) FROM remote;
ROLLBACK;
SELECT count(*) FROM real;
INSERT INTO remote VALUES (1, 'again');
BEGIN;
SAVEPOINT s;
INSERT INTO remote VALUES (1, 'again');
ROLLBACK TO s;
SELECT count(*) FROM remote;
COMMIT;
ALTER SERVER loopback OPTIONS (ADD fetch_size '1');
SELECT * FROM remote ORDER BY id;
CREATE SCHEMA imported;
IMPORT FOREIGN SCHEMA public LIMIT TO (real) FROM SERVER loopback INTO imported;
SELECT * FROM imported.real ORDER BY id;
EXPLAIN (VERBOSE, COSTS OFF) SELECT v FROM remote WHERE id = 1;
SELECT count(*) FROM postgres_fdw_get_connections();
DISCARD ALL;
SELECT count(*) FROM postgres_fdw_get_connections();
SELECT postgres_fdw_disconnect('loopback');
SELECT count(*) FROM postgres_fdw_get_connections();
-- dblink's connections have names in the session.
SELECT format('host=127.0.0.1 port=%s dbname=%s user=%s password=%s', :'port', :'ns', :'me', :'password') AS conninfo \gset
SELECT dblink_get_connections();
SELECT dblink_connect('c1', :'conninfo');
SELECT dblink_connect('c1', :'conninfo');
SELECT dblink_get_connections();
SELECT dblink_exec('c1', 'SET my.var = ''remote''');
SELECT * FROM dblink('c1', 'SHOW my.var') AS t (v text);
BEGIN;
SELECT dblink_exec('c1', 'INSERT INTO real VALUES (9, ''by dblink'')');
ROLLBACK;
SELECT * FROM real WHERE id = 9;
SELECT dblink_send_query('c1', 'SELECT 42');
SELECT 'in between';
SELECT * FROM dblink_get_result('c1') AS t (a int);
SELECT * FROM dblink_get_result('c1') AS t (a int);
SELECT dblink_open('c1', 'cur', 'SELECT id FROM real ORDER BY id');
SELECT * FROM dblink_fetch('c1', 'cur', 1) AS t (id int);
SELECT * FROM dblink_fetch('c1', 'cur', 5) AS t (id int);
SELECT dblink_close('c1', 'cur');
DISCARD ALL;
SELECT dblink_get_connections();
SELECT dblink_disconnect('c1');
SELECT dblink_disconnect('c1');
\c :home
DROP DATABASE :ns WITH (FORCE);
