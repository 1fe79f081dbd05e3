-- superuser
-- SET SESSION AUTHORIZATION changes session_user, and with it what RESET ROLE goes back to.
SELECT current_user AS me \gset
SELECT :'ns' || '_b' AS role_b \gset
CREATE ROLE :"ns" NOSUPERUSER;
CREATE ROLE :"role_b" IN ROLE :"ns";
CREATE SCHEMA :ns AUTHORIZATION :"ns";
SET SESSION AUTHORIZATION :"ns";
SELECT session_user = :'ns', current_user = :'ns';
SHOW is_superuser;
CREATE TABLE :ns.mine (id int);
CREATE ROLE refused_role;
SELECT pg_read_file('PG_VERSION');
RESET SESSION AUTHORIZATION;
SHOW is_superuser;
SELECT session_user = :'me', current_user = :'me';
SET SESSION AUTHORIZATION :"role_b";
SET ROLE :"ns";
SELECT session_user = :'role_b', current_user = :'ns';
RESET ROLE;
SELECT session_user = :'role_b', current_user = :'role_b';
SET SESSION AUTHORIZATION DEFAULT;
-- SET SESSION AUTHORIZATION drops SET ROLE.
SET ROLE :"ns";
SET SESSION AUTHORIZATION :"role_b";
SELECT session_user = :'role_b', current_user = :'role_b';
SHOW role;
RESET SESSION AUTHORIZATION;
BEGIN;
SET LOCAL SESSION AUTHORIZATION :"ns";
SELECT session_user = :'ns';
SHOW session_authorization \gset
SELECT :'session_authorization' = :'ns';
COMMIT;
SELECT session_user = :'me';
BEGIN;
SET SESSION AUTHORIZATION :"ns";
SELECT 1 / 0;
ROLLBACK;
SELECT session_user = :'me';
SET SESSION AUTHORIZATION :"ns";
RESET ALL;
SELECT session_user = :'ns';
DISCARD ALL;
SELECT session_user = :'me';
SET ROLE :"role_b";
SHOW is_superuser;
SET SESSION AUTHORIZATION nosuch_role;
SELECT session_user = :'me', current_user = :'role_b';
SET ROLE NONE;
SET client_min_messages = warning;
DROP OWNED BY :"ns", :"role_b" CASCADE;
DROP ROLE :"ns", :"role_b";
