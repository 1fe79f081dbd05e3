-- Partitioned tables, routed by what the session says.
CREATE SCHEMA :ns;
SET search_path = :ns;
CREATE TABLE events (at timestamptz, tenant int, v text) PARTITION BY RANGE (at);
SET TIME ZONE 'Asia/Tokyo';
CREATE TABLE events_2020 PARTITION OF events FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
SET TIME ZONE 'UTC';
CREATE TABLE events_2021 PARTITION OF events FOR VALUES FROM ('2020-12-31 15:00') TO ('2022-01-01');
INSERT INTO events VALUES ('2020-12-31 16:00', 1, 'utc');
SET TIME ZONE 'America/New_York';
INSERT INTO events VALUES ('2020-12-31 09:00', 1, 'new york');
SELECT tableoid::regclass, * FROM events ORDER BY at;
INSERT INTO events VALUES ('2030-01-01', 1, 'nowhere');
CREATE TABLE events_rest PARTITION OF events DEFAULT PARTITION BY LIST (tenant);
CREATE TABLE events_rest_1 PARTITION OF events_rest FOR VALUES IN (1, NULL);
INSERT INTO events VALUES ('2030-01-01', 1, 'default');
INSERT INTO events VALUES ('2030-01-01', 2, 'nowhere');
SET enable_partition_pruning = off;
EXPLAIN (COSTS OFF) SELECT * FROM events WHERE at < '2020-06-01';
RESET enable_partition_pruning;
EXPLAIN (COSTS OFF) SELECT * FROM events WHERE at < '2020-06-01';
UPDATE events SET at = '2020-05-05 00:00' WHERE v = 'utc' RETURNING tableoid::regclass;
ALTER TABLE events DETACH PARTITION events_2020;
ALTER TABLE events DETACH PARTITION events_2021 CONCURRENTLY;
BEGIN;
ALTER TABLE events DETACH PARTITION events_rest CONCURRENTLY;
ROLLBACK;
SELECT count(*) FROM events;
ALTER TABLE events ATTACH PARTITION events_2020 FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE hashed (id int) PARTITION BY HASH (id);
CREATE TABLE hashed_0 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE hashed_1 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO hashed SELECT generate_series(1, 10);
SELECT tableoid::regclass, count(*) FROM hashed GROUP BY 1 ORDER BY 1;
CREATE INDEX ON events (tenant);
\d events
\d+ hashed
SET client_min_messages = warning;
DROP SCHEMA :ns CASCADE;
