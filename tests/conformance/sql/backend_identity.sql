-- One session, one process: what a program can see of that.
SELECT pg_backend_pid() AS pid \gset
SELECT pg_backend_pid() = :pid AS same_process;
BEGIN;
SELECT pg_backend_pid() = :pid AS same_process;
COMMIT;
SELECT pg_backend_pid() = :pid AS same_process;
SET application_name = 'conformance identity';
SELECT application_name, state, query, usename = current_user AS me, datname = current_database() AS here
    FROM pg_stat_activity WHERE pid = pg_backend_pid();
SELECT count(*) FROM pg_stat_activity WHERE pid = :pid AND backend_type = 'client backend';
SELECT backend_start AS t0 FROM pg_stat_activity WHERE pid = pg_backend_pid() \gset
SELECT backend_start = :'t0' AS same_start FROM pg_stat_activity WHERE pid = pg_backend_pid();
SELECT count(*) FROM pg_stat_get_activity(pg_backend_pid());
-- A session that has created nothing temporary has no schema for it yet.
SELECT pg_my_temp_schema() = 0 AS none_yet;
CREATE TEMP TABLE makes_one (id int);
SELECT pg_my_temp_schema() <> 0 AS has_one;
SELECT pg_my_temp_schema()::regnamespace::text ~ '^pg_temp_[0-9]+$' AS named;
DISCARD ALL;
SELECT pg_my_temp_schema() <> 0 AS still_has_one;
\c
SELECT pg_my_temp_schema() = 0 AS none_yet;
SELECT pg_backend_pid() = :pid AS same_process;
SHOW application_name;
