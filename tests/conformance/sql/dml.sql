-- SELECT, INSERT, UPDATE, DELETE, MERGE, VALUES, WITH: plain statements, with calls that leave state.
CREATE SCHEMA :ns;
SET search_path = :ns;
CREATE TABLE t (id serial PRIMARY KEY, v text, n int DEFAULT 0);
INSERT INTO t (v) VALUES ('a'), ('b'), ('c') RETURNING id, v;
INSERT INTO t (id, v) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET v = t.v || EXCLUDED.v RETURNING *;
INSERT INTO t (id, v) VALUES (1, 'x') ON CONFLICT DO NOTHING;
INSERT INTO t (v) SELECT set_config('my.inserted', 'yes', false) RETURNING v;
SHOW my.inserted;
UPDATE t SET n = n + 1 WHERE id < 3 RETURNING id, set_config('my.updated', id::text, false);
SHOW my.updated;
DELETE FROM t WHERE set_config('my.deleted', v, false) = 'c' RETURNING id;
SELECT current_setting('my.deleted') = 'yes' OR current_setting('my.deleted') <> '' AS set;
MERGE INTO t USING (VALUES (1, 'm'), (100, 'new')) s (id, v) ON t.id = s.id
    WHEN MATCHED THEN UPDATE SET v = s.v || set_config('my.merged', 'yes', false)
    WHEN NOT MATCHED THEN INSERT (id, v) VALUES (s.id, s.v);
SHOW my.merged;
SELECT * FROM t ORDER BY id;
VALUES (1, 'x'), (2, 'y') ORDER BY 1 DESC;
WITH RECURSIVE r (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM r WHERE n < 4) SELECT sum(n) FROM r;
WITH moved AS (DELETE FROM t WHERE id = 100 RETURNING *), back AS (INSERT INTO t SELECT 200, v, n FROM moved RETURNING id)
    SELECT * FROM back;
SELECT id, row_number() OVER w, lag(v) OVER w FROM t WINDOW w AS (ORDER BY id) ORDER BY id;
SELECT n, count(*), grouping(n) FROM t GROUP BY ROLLUP (n) ORDER BY n NULLS LAST;
SELECT DISTINCT ON (n) n, id FROM t ORDER BY n, id;
SELECT * FROM t ORDER BY id OFFSET 1 FETCH FIRST 1 ROW WITH TIES;
SELECT t.id, l.x FROM t, LATERAL (SELECT t.id * 2 AS x) l ORDER BY 1 LIMIT 2;
SELECT 1 UNION SELECT 2 EXCEPT SELECT 1;
SELECT currval('t_id_seq') = lastval() AS same, lastval();
SELECT;
SELECT 1 AS a, 2 AS a;
SELECT repeat('wide ', 50) AS wide;
SELECT generate_series(1, 3), generate_series(1, 2);
SELECT ARRAY[1, 2] || 3, '{"a": [1]}'::jsonb #>> '{a,0}', xmlelement(name x, 'y');
SELECT * FROM t WHERE id IN (SELECT id FROM t FOR UPDATE) ORDER BY id FOR SHARE SKIP LOCKED;
INSERT INTO t DEFAULT VALUES RETURNING id;
SELECT lastval();
\unset QUIET
INSERT INTO t (v) VALUES ('tag');
UPDATE t SET n = 0 WHERE false;
DELETE FROM t WHERE v = 'tag';
MERGE INTO t USING (VALUES (1)) s (id) ON t.id = s.id WHEN MATCHED THEN DO NOTHING;
SELECT 1;
\set QUIET on
DROP TABLE t;
DROP SCHEMA :ns;
