-- superuser
-- CREATE, ALTER, DROP PUBLICATION and SUBSCRIPTION, without a connection.
CREATE SCHEMA :ns;
SET search_path = :ns;
SELECT :'ns' || '_p' AS p, :'ns' || '_s' AS s, current_user AS me \gset
CREATE TABLE t (id int PRIMARY KEY, v text);
CREATE TABLE t2 (id int PRIMARY KEY);
CREATE PUBLICATION :p FOR TABLE t (id) WHERE (id > 5);
ALTER PUBLICATION :p ADD TABLE t2;
ALTER PUBLICATION :p SET (publish = 'insert, delete');
SELECT tablename, attnames, rowfilter FROM pg_publication_tables WHERE pubname = :'p' ORDER BY tablename;
SELECT pubinsert, pubupdate, pubdelete, pubtruncate FROM pg_publication WHERE pubname = :'p';
ALTER PUBLICATION :p DROP TABLE t2;
ALTER PUBLICATION :p DROP TABLE t2;
ALTER PUBLICATION :p SET TABLES IN SCHEMA :ns;
ALTER PUBLICATION :p OWNER TO :"me";
CREATE PUBLICATION :p;
CREATE SUBSCRIPTION :s CONNECTION 'dbname=nowhere password=x' PUBLICATION p1, p2 WITH (connect = false, slot_name = NONE, enabled = false);
SELECT subenabled, subslotname, subpublications FROM pg_subscription WHERE subname = :'s';
ALTER SUBSCRIPTION :s SET PUBLICATION p3 WITH (refresh = false);
ALTER SUBSCRIPTION :s ADD PUBLICATION p4 WITH (refresh = false);
ALTER SUBSCRIPTION :s SET (synchronous_commit = local, binary = true);
ALTER SUBSCRIPTION :s ENABLE;
ALTER SUBSCRIPTION :s REFRESH PUBLICATION;
SELECT subpublications, subbinary FROM pg_subscription WHERE subname = :'s';
BEGIN;
CREATE SUBSCRIPTION refused CONNECTION 'dbname=nowhere' PUBLICATION p WITH (create_slot = true);
ROLLBACK;
ALTER SUBSCRIPTION :s OWNER TO :"me";
DROP SUBSCRIPTION :s;
DROP SUBSCRIPTION :s;
DROP PUBLICATION :p;
DROP PUBLICATION IF EXISTS :p;
DROP TABLE t, t2;
DROP SCHEMA :ns;
