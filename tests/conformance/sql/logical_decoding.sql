-- Logical decoding by SQL; a temporary slot is the session's, and DISCARD ALL does not know it.
CREATE SCHEMA :ns;
SET search_path = :ns;
-- Only what is flushed is decoded.
SET synchronous_commit = on;
SELECT :'ns' || '_t' AS tslot \gset
SELECT slot_name = :'ns' AS mine, lsn IS NOT NULL AS at FROM pg_create_logical_replication_slot(:'ns', 'test_decoding');
CREATE TABLE decoded (id int PRIMARY KEY, v text);
INSERT INTO decoded VALUES (1, 'one');
BEGIN;
UPDATE decoded SET v = 'uno';
DELETE FROM decoded;
COMMIT;
BEGIN;
INSERT INTO decoded VALUES (2, 'never');
ROLLBACK;
SELECT pg_logical_emit_message(true, 'conf', 'message of ' || :'ns') IS NOT NULL AS emitted;
-- Other sessions write too; only what is ours is shown.
SELECT data FROM pg_logical_slot_peek_changes(:'ns', NULL, NULL, 'include-xids', '0', 'skip-empty-xacts', '1') WHERE data LIKE '%' || :'ns' || '%';
SELECT count(*) FROM pg_logical_slot_get_changes(:'ns', NULL, NULL) WHERE data LIKE '%' || :'ns' || '%';
SELECT count(*) FROM pg_logical_slot_get_changes(:'ns', NULL, NULL) WHERE data LIKE '%' || :'ns' || '%';
SELECT slot_name = :'tslot' AS temporary_one FROM pg_create_logical_replication_slot(:'tslot', 'test_decoding', true);
SELECT temporary, active, active_pid = pg_backend_pid() AS by_me, slot_type FROM pg_replication_slots WHERE slot_name LIKE :'ns' || '%' ORDER BY slot_name;
INSERT INTO decoded VALUES (3, 'three');
SELECT data FROM pg_logical_slot_get_changes(:'tslot', NULL, NULL, 'include-xids', '0') WHERE data LIKE '%' || :'ns' || '%';
DISCARD ALL;
SELECT count(*) FROM pg_replication_slots WHERE slot_name = :'tslot';
SELECT pg_create_logical_replication_slot(:'ns', 'test_decoding');
SELECT pg_create_logical_replication_slot('refused', 'no_such_plugin');
BEGIN;
SELECT pg_current_xact_id() IS NOT NULL AS writing;
SELECT pg_create_logical_replication_slot('refused', 'test_decoding');
ROLLBACK;
SELECT pg_replication_slot_advance(:'ns', pg_current_wal_lsn()) IS NOT NULL AS advanced;
SELECT pg_replication_origin_session_is_setup();
SELECT pg_drop_replication_slot(:'ns');
SELECT pg_drop_replication_slot(:'ns');
\c
SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE :'ns' || '%' AND NOT temporary;
DROP TABLE :ns.decoded;
DROP SCHEMA :ns;
