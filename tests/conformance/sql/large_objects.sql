-- Large objects: descriptors are the transaction's, oids the database's.
SELECT lo_creat(-1) AS lo \gset
SELECT lo_from_bytea(0, '\x00010203') AS lo2 \gset
SELECT lo_get(:lo2);
BEGIN;
SELECT lo_open(:lo, 131072 + 262144) AS fd \gset
\echo :fd
SELECT lowrite(:fd, 'hello large object');
SELECT lo_lseek(:fd, 6, 0), loread(:fd, 5), lo_tell(:fd);
SAVEPOINT s;
SELECT lo_open(:lo2, 262144);
ROLLBACK TO s;
SELECT loread(1, 4);
ROLLBACK;
SELECT convert_from(lo_get(:lo), 'UTF8');
BEGIN;
SELECT lo_open(:lo, 131072 + 262144) AS fd \gset
SELECT lowrite(:fd, 'kept');
SELECT lo_truncate(:fd, 3);
SELECT lo_close(:fd);
COMMIT;
SELECT loread(:fd, 1);
SELECT convert_from(lo_get(:lo), 'UTF8');
SET bytea_output = 'escape';
SELECT lo_get(:lo2);
SELECT lo_put(:lo2, 2, '\xffff');
SELECT lo_get(:lo2);
COMMENT ON LARGE OBJECT :lo IS 'a comment';
SELECT obj_description(:lo, 'pg_largeobject');
GRANT SELECT ON LARGE OBJECT :lo TO PUBLIC;
SELECT current_user AS me \gset
ALTER LARGE OBJECT :lo OWNER TO :"me";
SELECT lo_unlink(:lo), lo_unlink(:lo2);
-- An oid in the error's text would be another one each time.
\set VERBOSITY sqlstate
SELECT lo_unlink(:lo);
\set VERBOSITY default
SELECT count(*) FROM pg_largeobject_metadata WHERE oid IN (:lo, :lo2);
\lo_import /nowhere/file
