-- Triggers: what an INSERT runs is in the catalog, not in its text.
CREATE SCHEMA :ns;
SET search_path = :ns;
CREATE TABLE t (id int, who text);
CREATE FUNCTION before_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.who := current_setting('app.username', true);
    PERFORM set_config('app.last', NEW.id::text, false);
    RETURN NEW;
END $$;
CREATE TRIGGER b BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION before_row();
SET app.username = 'alice';
INSERT INTO t VALUES (1);
SHOW app.last;
BEGIN;
SET LOCAL app.username = 'bob';
INSERT INTO t VALUES (2);
ROLLBACK;
SHOW app.last;
INSERT INTO t VALUES (3), (4);
UPDATE t SET id = id + 10 WHERE id = 3;
SELECT * FROM t ORDER BY id;
SHOW app.last;
CREATE FUNCTION after_statement() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    CREATE TEMP TABLE IF NOT EXISTS log (op text, n bigint);
    INSERT INTO log SELECT TG_OP, count(*) FROM changed;
    PERFORM pg_advisory_lock(current_setting('my.key')::int);
    RETURN NULL;
END $$;
CREATE TRIGGER a AFTER INSERT ON t REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION after_statement();
SET my.key = :nsid;
INSERT INTO t VALUES (5), (6);
INSERT INTO t VALUES (7);
SELECT * FROM log;
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid();
COPY t (id) FROM STDIN;
8
9
\.
SELECT * FROM log;
CREATE CONSTRAINT TRIGGER late AFTER DELETE ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION before_row();
BEGIN;
DELETE FROM t WHERE id = 8;
SELECT 'before commit';
COMMIT;
CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM set_config('app.at_commit', OLD.id::text, false); RETURN NULL; END $$;
DROP TRIGGER late ON t;
CREATE CONSTRAINT TRIGGER late AFTER DELETE ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION at_commit();
BEGIN;
DELETE FROM t WHERE id = 9;
SELECT current_setting('app.at_commit', true) IS NULL AS not_yet;
COMMIT;
SHOW app.at_commit;
-- Replication role and disabled triggers.
ALTER TABLE t DISABLE TRIGGER b;
INSERT INTO t VALUES (20);
SELECT * FROM t WHERE id = 20;
SET session_replication_role = replica;
ALTER TRIGGER b ON t RENAME TO renamed;
ALTER TABLE t ENABLE TRIGGER renamed;
CREATE OR REPLACE TRIGGER renamed BEFORE TRUNCATE ON t EXECUTE FUNCTION after_statement();
DROP TRIGGER nosuch ON t;
CREATE VIEW v AS SELECT id FROM t;
CREATE FUNCTION instead() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN EXECUTE format('SET app.instead = %L', NEW.id); RETURN NEW; END $$;
CREATE TRIGGER i INSTEAD OF INSERT ON v FOR EACH ROW EXECUTE FUNCTION instead();
INSERT INTO v VALUES (77);
SHOW app.instead;
SELECT pg_advisory_unlock_all();
SET client_min_messages = warning;
DROP SCHEMA :ns CASCADE;
