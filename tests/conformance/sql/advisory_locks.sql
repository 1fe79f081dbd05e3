-- Advisory locks: keys by the run, since all sessions share them.
SELECT pg_advisory_lock(:nsid);
SELECT classid, objid = :nsid AS mine, objsubid, mode, granted FROM pg_locks
    WHERE locktype = 'advisory' AND pid = pg_backend_pid();
SELECT pg_try_advisory_lock(:nsid);
SELECT pg_advisory_unlock(:nsid);
SELECT pg_advisory_unlock(:nsid);
SELECT pg_advisory_unlock(:nsid);
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid();
SELECT pg_advisory_lock_shared(:nsid), pg_try_advisory_lock_shared(:nsid, 2);
SELECT objid = :nsid AS one_key, objsubid, mode FROM pg_locks
    WHERE locktype = 'advisory' AND pid = pg_backend_pid() ORDER BY objsubid;
SELECT pg_advisory_unlock(:nsid);
SELECT pg_advisory_unlock_shared(:nsid), pg_advisory_unlock_shared(:nsid, 2);
-- Those of a transaction go with it, those of the session stay even after a rollback.
BEGIN;
SELECT pg_advisory_xact_lock(:nsid, 1), pg_advisory_lock(:nsid, 2), pg_try_advisory_xact_lock_shared(:nsid, 3);
SELECT objid, mode FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() ORDER BY objid;
SELECT pg_advisory_unlock(:nsid, 1);
ROLLBACK;
SELECT objid, mode FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() ORDER BY objid;
BEGIN;
SAVEPOINT s;
SELECT pg_advisory_xact_lock(:nsid, 4), pg_advisory_lock(:nsid, 5);
ROLLBACK TO s;
SELECT objid, mode FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() ORDER BY objid;
SELECT 1 / 0;
COMMIT;
SELECT objid, mode FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() ORDER BY objid;
SELECT pg_advisory_unlock_all();
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid();
-- Taken where the text does not show it.
DO $$ BEGIN PERFORM pg_advisory_lock(hashtext('conformance'), pg_backend_pid()); END $$;
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid();
SELECT count(pg_advisory_lock(:nsid, g)) FROM generate_series(10, 14) g;
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid();
CREATE SCHEMA :ns;
CREATE VIEW :ns.locking AS SELECT pg_try_advisory_lock(current_setting('my.key')::int, 20) AS got;
SET my.key = :nsid;
SELECT * FROM :ns.locking;
SELECT pg_advisory_unlock(:nsid, 20);
PREPARE locks AS SELECT pg_advisory_lock($1, $2);
EXECUTE locks(:nsid, 30);
SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND classid = :nsid ORDER BY objid;
DISCARD ALL;
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid();
SELECT pg_advisory_lock(:nsid);
\c
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid();
-- The old session's end is not waited for by \c, so this waits for it.
SELECT pg_advisory_lock(:nsid);
DROP VIEW :ns.locking;
DROP SCHEMA :ns;
