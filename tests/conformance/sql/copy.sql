-- COPY in, out, with errors in the data, and under the session's settings.
CREATE SCHEMA :ns;
SET search_path = :ns;
CREATE TABLE t (id int PRIMARY KEY, d date, v text);
COPY t FROM STDIN;
1	2020-01-02	plain
2	\N	with\ttab
\.
COPY t (v, id) FROM STDIN WITH (FORMAT csv, HEADER true, DELIMITER ';', NULL 'nil');
v;id
"quoted ""x""";3
nil;4
\.
COPY t TO STDOUT;
SET DateStyle = 'German';
COPY t (id, d) TO STDOUT WITH CSV HEADER;
COPY t FROM STDIN;
5	24.12.2021	german
\.
RESET DateStyle;
COPY (SELECT id, d FROM t WHERE d IS NOT NULL ORDER BY id) TO STDOUT;
-- Errors: the rest of the data must not be taken for statements.
COPY t FROM STDIN;
6	2020-01-01	fine
x	2020-01-01	no number
7	2020-01-01	never
\.
SELECT 'after a bad line', count(*) FROM t;
COPY t FROM STDIN;
1	2020-01-01	duplicate
\.
SELECT 'after a duplicate';
COPY t FROM STDIN;
8	2020-01-01
\.
COPY t FROM STDIN;
9	2020-01-01	too	many
\.
COPY t FROM STDIN (FORMAT csv);
10,2020-01-01,"open
\.
COPY nosuch FROM STDIN;
COPY t (nosuch) TO STDOUT;
COPY t FROM STDIN WITH (FORMAT nonsense);
COPY (SELECT 1 / 0) TO STDOUT;
COPY (SELECT 1 / (id - 3) FROM t ORDER BY id) TO STDOUT;
COPY t TO '/nowhere/file';
COPY t FROM PROGRAM 'true';
BEGIN;
COPY t FROM STDIN;
11	2020-01-01	in transaction
\.
SAVEPOINT s;
COPY t FROM STDIN;
11	2020-01-01	again
\.
ROLLBACK TO s;
COPY t FROM STDIN;
12	2020-01-01	after savepoint
\.
COMMIT;
SELECT id, v FROM t WHERE id > 10 ORDER BY id;
-- Temporary tables, settings as defaults, COPY of functions that set.
CREATE TEMP TABLE tmp (id int, who text DEFAULT current_setting('app.username', true));
SET app.username = 'alice';
COPY tmp (id) FROM STDIN;
1
2
\.
COPY tmp TO STDOUT;
COPY (SELECT set_config('my.copied', 'by copy', false)) TO STDOUT;
SHOW my.copied;
SET client_encoding = 'LATIN1';
COPY tmp FROM STDIN (ENCODING 'UTF8');
3	é
\.
SELECT length(who) FROM tmp WHERE id = 3;
RESET client_encoding;
\copy t to '/dev/null'
\copy (SELECT id FROM t ORDER BY id LIMIT 2) to stdout csv
\copy tmp (id) from stdin
40
\.
SELECT count(*) FROM tmp;
COPY t (id) FROM STDIN \; SELECT 'after copy in one message' \; COPY t (id) FROM STDIN;
100
\.
101
\.
SELECT count(*) FROM t WHERE id >= 100;
COPY t TO STDOUT (FORMAT csv, FORCE_QUOTE *);
COPY t FROM STDIN (FREEZE);
\.
COPY t FROM STDIN WHERE id > 1000;
200	2020-01-01	filtered
2000	2020-01-01	kept
\.
SELECT id FROM t WHERE id >= 200;
\unset QUIET
COPY tmp (id) FROM STDIN;
1
\.
COPY (SELECT 1) TO STDOUT;
\set QUIET on
DROP TABLE t;
DROP SCHEMA :ns;
