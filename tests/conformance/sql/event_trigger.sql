-- superuser
-- CREATE, ALTER, DROP EVENT TRIGGER: in a database of its own, as they are for all its sessions.
SELECT current_database() AS home \gset
CREATE DATABASE :ns;
\c :ns
CREATE FUNCTION on_start() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM set_config('my.ddl', TG_TAG, false); RAISE NOTICE '% %', TG_EVENT, TG_TAG; END $$;
CREATE EVENT TRIGGER starts ON ddl_command_start EXECUTE FUNCTION on_start();
CREATE TABLE t (id int);
SHOW my.ddl;
CREATE TEMP TABLE tmp (id int);
SHOW my.ddl;
CREATE FUNCTION on_end() RETURNS event_trigger LANGUAGE plpgsql AS $$
DECLARE r record;
BEGIN
    FOR r IN SELECT * FROM pg_event_trigger_ddl_commands() LOOP RAISE NOTICE 'end: % %', r.command_tag, r.object_type; END LOOP;
    SET TIME ZONE 'Asia/Tokyo';
END $$;
CREATE EVENT TRIGGER ends ON ddl_command_end WHEN TAG IN ('CREATE INDEX', 'ALTER TABLE') EXECUTE FUNCTION on_end();
CREATE INDEX ON t (id);
SELECT timestamptz '2020-01-01 00:00+00';
ALTER TABLE t ADD COLUMN v text;
CREATE FUNCTION on_drop() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'no drops today'; END $$;
CREATE EVENT TRIGGER drops ON sql_drop EXECUTE FUNCTION on_drop();
DROP TABLE t;
ALTER EVENT TRIGGER drops DISABLE;
DROP TABLE t;
ALTER EVENT TRIGGER drops ENABLE REPLICA;
SET session_replication_role = replica;
DROP TABLE tmp;
RESET session_replication_role;
DROP TABLE tmp;
ALTER EVENT TRIGGER drops RENAME TO no_drops;
ALTER EVENT TRIGGER nosuch DISABLE;
DROP EVENT TRIGGER drops;
DROP EVENT TRIGGER no_drops;
DROP EVENT TRIGGER starts;
DROP EVENT TRIGGER ends;
CREATE EVENT TRIGGER bad ON nonsense EXECUTE FUNCTION on_start();
\c :home
DROP DATABASE :ns;
