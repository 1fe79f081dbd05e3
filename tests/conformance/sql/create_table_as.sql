-- CREATE TABLE AS and SELECT INTO: their command tag is that of a SELECT.
CREATE SCHEMA :ns;
SET search_path = :ns;
CREATE TABLE src AS SELECT g AS id, 'v' || g AS v FROM generate_series(1, 4) g;
\unset QUIET
CREATE TEMP TABLE tmp AS SELECT * FROM src WHERE id < 3;
CREATE TEMP TABLE tmp_empty AS SELECT * FROM src WITH NO DATA;
SELECT * INTO TEMP tmp_into FROM src WHERE id > 2;
SELECT id INTO TEMPORARY TABLE tmp_into_2 FROM src;
SELECT * INTO permanent FROM src;
SELECT id INTO pg_temp.by_schema FROM src;
CREATE TEMP TABLE IF NOT EXISTS tmp AS SELECT 1;
CREATE TEMP TABLE at_end ON COMMIT DELETE ROWS AS SELECT * FROM src;
CREATE UNLOGGED TABLE fast AS TABLE src;
CREATE TABLE from_values (a, b) AS VALUES (1, 'x'), (2, 'y');
SELECT 1 INTO nowhere UNION SELECT 2;
\set QUIET on
SELECT (SELECT count(*) FROM tmp), (SELECT count(*) FROM tmp_empty), (SELECT count(*) FROM tmp_into),
    (SELECT count(*) FROM tmp_into_2), (SELECT count(*) FROM permanent), (SELECT count(*) FROM by_schema),
    (SELECT count(*) FROM at_end);
BEGIN;
CREATE TEMP TABLE gone ON COMMIT DROP AS SELECT * FROM src;
SELECT count(*) FROM gone;
COMMIT;
SELECT count(*) FROM gone;
WITH w AS (SELECT 7 AS seven) SELECT * INTO TEMP from_with FROM w;
SELECT * FROM from_with;
CREATE TEMP TABLE from_dml AS WITH d AS (DELETE FROM permanent RETURNING id) SELECT * FROM d;
CREATE TEMP TABLE returned AS SELECT * FROM src \; SELECT count(*) FROM returned;
EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) CREATE TEMP TABLE explained AS SELECT 1 AS one;
SELECT * FROM explained;
SELECT relname FROM pg_class WHERE relnamespace = pg_my_temp_schema() AND relkind = 'r' ORDER BY 1;
RESET client_min_messages;
DROP TABLE src, permanent, fast, from_values;
DROP TABLE nowhere;
DROP SCHEMA :ns;
