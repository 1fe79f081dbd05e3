-- superuser
-- What only a superuser may, and how it is refused in a transaction.
CHECKPOINT;
BEGIN;
ALTER SYSTEM SET work_mem = '5MB';
ROLLBACK;
ALTER SYSTEM SET nosuch = 1;
ALTER SYSTEM SET work_mem = 'x';
ALTER SYSTEM RESET nosuch;
SHOW is_superuser;
SET log_min_duration_statement = '100s';
SHOW log_min_duration_statement;
SET session_replication_role = replica;
SHOW session_replication_role;
DISCARD ALL;
SHOW session_replication_role;
SHOW log_min_duration_statement;
SET zero_damaged_pages = on;
RESET zero_damaged_pages;
SELECT pg_stat_get_backend_pid(0) IS NULL AS none;
SELECT pg_reload_conf();
