-- CREATE, ALTER, DROP STATISTICS.
CREATE SCHEMA :ns;
SET search_path = :ns;
CREATE TABLE t (a int, b int);
INSERT INTO t SELECT g % 10, g % 10 FROM generate_series(1, 500) g;
CREATE STATISTICS st (dependencies, ndistinct) ON a, b FROM t;
CREATE STATISTICS expressions ON (a + b), (a - b) FROM t;
ANALYZE t;
SELECT statistics_name, n_distinct, dependencies FROM pg_stats_ext WHERE schemaname = :'ns' AND statistics_name = 'st';
ALTER STATISTICS st SET STATISTICS 50;
ALTER STATISTICS st RENAME TO st2;
SELECT stxname, stxstattarget FROM pg_statistic_ext WHERE stxnamespace = :'ns'::regnamespace ORDER BY 1;
CREATE STATISTICS bad ON a FROM t;
DROP STATISTICS st2;
DROP STATISTICS st2;
DROP TABLE t;
DROP SCHEMA :ns;
