-- SET ROLE is not a reported setting; who one is has to last all the same.
CREATE ROLE :"ns";
SELECT :'ns' || '_b' AS role_b \gset
CREATE ROLE :"role_b";
SELECT current_user AS me \gset
GRANT :"ns" TO :"me";
CREATE SCHEMA :ns AUTHORIZATION :"ns";
SET search_path = :ns;
SET ROLE :"ns";
SELECT current_user = :'ns' AS is_role, session_user = :'me' AS is_me;
SHOW role;
CREATE TABLE owned (id int);
INSERT INTO owned VALUES (1);
SELECT tableowner = :'ns' AS owned_by_role FROM pg_tables WHERE schemaname = :'ns';
RESET ROLE;
SELECT current_user = :'me' AS is_me;
SHOW role;
-- Transactional.
BEGIN;
SET ROLE :"ns";
SELECT current_user = :'ns' AS is_role;
ROLLBACK;
SELECT current_user = :'me' AS is_me;
BEGIN;
SET LOCAL ROLE :"ns";
SELECT current_user = :'ns' AS is_role;
COMMIT;
SELECT current_user = :'me' AS is_me;
BEGIN;
SAVEPOINT s;
SET ROLE :"ns";
ROLLBACK TO s;
SELECT current_user = :'me' AS is_me;
SET ROLE :"ns";
COMMIT;
SELECT current_user = :'ns' AS is_role;
SET ROLE NONE;
SELECT current_user = :'me' AS is_me;
-- RESET ALL touches no role, DISCARD ALL does.
SET ROLE :"ns";
RESET ALL;
SELECT current_user = :'ns' AS is_role;
DISCARD ALL;
SELECT current_user = :'me' AS is_me;
SELECT set_config('role', :'ns', false) = :'ns';
SELECT current_user = :'ns' AS is_role, current_role = :'ns', pg_has_role(:'me', 'USAGE');
SET ROLE 'none';
-- Refused.
SET ROLE nosuch_role;
SET ROLE :"role_b";
BEGIN;
SET ROLE nosuch_role;
SELECT 1;
ROLLBACK;
SET SESSION AUTHORIZATION :"ns";
SET SESSION AUTHORIZATION DEFAULT;
RESET SESSION AUTHORIZATION;
-- The role goes while it is in use.
SET ROLE :"ns";
SET search_path = :ns;
SELECT count(*) FROM owned;
CREATE TEMP TABLE of_the_role (id int);
RESET ROLE;
SELECT count(*) FROM of_the_role;
SELECT count(*) FROM owned;
DROP TABLE of_the_role;
SET ROLE :"ns";
DROP TABLE of_the_role;
DROP TABLE owned;
RESET ROLE;
DROP ROLE :"ns";
SET client_min_messages = warning;
DROP OWNED BY :"ns" CASCADE;
DROP ROLE :"ns";
DROP ROLE :"role_b";
SET ROLE :"ns";
SELECT current_user = :'me' AS is_me;
