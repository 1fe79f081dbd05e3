-- superuser
-- CREATE, ALTER, DROP ROLE, USER and GROUP; settings of a role begin with its next session.
\getenv password PGPASSWORD
SELECT current_user AS super, current_database() AS db, :'ns' || '_b' AS b, :'ns' || '_c' AS c \gset
CREATE ROLE :ns LOGIN PASSWORD :'password';
CREATE USER :b PASSWORD :'password' CONNECTION LIMIT 3;
CREATE GROUP :c ROLE :ns;
ALTER ROLE :ns SET work_mem = '5MB';
ALTER ROLE :ns IN DATABASE :db SET work_mem = '6MB';
ALTER ROLE :ns SET my.var = 'of the role';
ALTER USER :ns SET search_path = 'of_role';
ALTER GROUP :c ADD USER :b;
\c - :ns
SELECT current_user = :'ns' AS me;
SHOW work_mem;
SHOW my.var;
SHOW search_path;
SHOW is_superuser;
SET work_mem = '7MB';
SET my.var = 'changed';
RESET ALL;
SHOW work_mem;
SHOW my.var;
SET ROLE :c;
SELECT current_user = :'c' AS group_now;
DISCARD ALL;
SELECT current_user = :'ns' AS me_again;
ALTER ROLE :ns SET work_mem = '8MB';
ALTER ROLE CURRENT_USER IN DATABASE :db SET work_mem TO '9MB';
SHOW work_mem;
\c
SHOW work_mem;
ALTER ROLE :ns SET work_mem FROM CURRENT;
ALTER ROLE SESSION_USER RESET my.var;
\c
SHOW work_mem;
SELECT coalesce(current_setting('my.var', true), 'null') AS my_var;
CREATE ROLE refused_role;
ALTER ROLE :b NOLOGIN;
DROP ROLE :b;
\c - :b
SELECT current_user = :'b' AS me;
SELECT count(*) FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid WHERE r.rolname = :'c';
\c - :super
ALTER GROUP :c DROP USER :b;
ALTER GROUP :c RENAME TO never_seen_group;
ALTER ROLE never_seen_group RENAME TO :c;
ALTER ROLE :ns RESET ALL;
ALTER ROLE :ns IN DATABASE :db RESET ALL;
ALTER ROLE :ns VALID UNTIL 'infinity' NOINHERIT CREATEDB BYPASSRLS;
SELECT rolname = :'ns' AS me, rolsuper, rolinherit, rolcreatedb, rolcanlogin, rolbypassrls, rolvaliduntil FROM pg_roles WHERE rolname = :'ns';
ALTER USER :ns WITH PASSWORD NULL NOCREATEDB;
ALTER ROLE nosuch_role SET work_mem = '1MB';
ALTER ROLE :ns SET nosuch = 1;
CREATE ROLE :ns;
CREATE ROLE pg_reserved;
DROP USER :b;
DROP USER IF EXISTS :b;
DROP GROUP :c;
DROP ROLE :ns;
DROP ROLE :ns;
