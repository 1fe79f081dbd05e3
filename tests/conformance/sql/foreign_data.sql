-- superuser
-- Foreign data without a server behind it: wrappers, servers, user mappings, foreign tables.
CREATE SCHEMA :ns;
SET search_path = :ns;
SELECT :'ns' || '_w' AS w, :'ns' || '_s' AS s, current_user AS me \gset
CREATE FOREIGN DATA WRAPPER :w OPTIONS (debug 'true');
ALTER FOREIGN DATA WRAPPER :w OPTIONS (SET debug 'false', ADD more '1');
CREATE SERVER :s TYPE 't' VERSION '1' FOREIGN DATA WRAPPER :w OPTIONS (host 'h');
ALTER SERVER :s VERSION '2' OPTIONS (DROP host);
CREATE USER MAPPING FOR CURRENT_USER SERVER :s OPTIONS (user 'u');
ALTER USER MAPPING FOR CURRENT_USER SERVER :s OPTIONS (SET user 'v');
CREATE FOREIGN TABLE ft (id int OPTIONS (column_name 'x'), v text) SERVER :s OPTIONS (table_name 'y');
ALTER FOREIGN TABLE ft ADD COLUMN extra int;
ALTER FOREIGN TABLE ft OPTIONS (SET table_name 'z');
SELECT * FROM ft;
IMPORT FOREIGN SCHEMA public FROM SERVER :s INTO :ns;
SELECT srvtype, srvversion, srvoptions FROM pg_foreign_server WHERE srvname = :'s';
SELECT umoptions FROM pg_user_mappings WHERE srvname = :'s';
ALTER SERVER :s OWNER TO :"me";
ALTER FOREIGN DATA WRAPPER :w OWNER TO :"me";
CREATE SERVER nowhere FOREIGN DATA WRAPPER nosuch;
CREATE USER MAPPING FOR nosuch_role SERVER :s;
DROP SERVER :s;
DROP FOREIGN TABLE ft;
DROP USER MAPPING FOR CURRENT_USER SERVER :s;
DROP USER MAPPING IF EXISTS FOR CURRENT_USER SERVER :s;
DROP SERVER :s;
DROP FOREIGN DATA WRAPPER :w;
DROP FOREIGN DATA WRAPPER IF EXISTS :w;
DROP SCHEMA :ns;
