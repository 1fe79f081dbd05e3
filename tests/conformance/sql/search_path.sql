-- Which object a name means depends on search_path, also for what was prepared before.
SELECT :'ns' || '_b' AS ns_b \gset
CREATE SCHEMA :ns;
CREATE SCHEMA :ns_b;
CREATE TABLE :ns.t AS SELECT 'first' AS v;
CREATE TABLE :ns_b.t AS SELECT 'second' AS v, 2 AS extra;
CREATE FUNCTION :ns.f() RETURNS text LANGUAGE sql AS 'SELECT ''f of first''';
CREATE FUNCTION :ns_b.f() RETURNS text LANGUAGE sql AS 'SELECT ''f of second''';
SELECT * FROM t;
SET search_path = :ns;
SELECT * FROM t;
SELECT f();
SELECT current_schema() = :'ns' AS here, current_schemas(false) = ARRAY[:'ns']::name[] AS only_here;
PREPARE q AS SELECT v, f() FROM t;
EXECUTE q;
SET search_path = :ns_b, :ns;
SELECT * FROM t;
EXECUTE q;
PREPARE wide AS SELECT * FROM t;
EXECUTE wide;
SET search_path = :ns;
EXECUTE wide;
EXECUTE wide;
-- plpgsql keeps plans too.
CREATE FUNCTION :ns.reads() RETURNS text LANGUAGE plpgsql AS $$
DECLARE r text;
BEGIN
    SELECT v INTO r FROM t;
    RETURN r || ', ' || f();
END $$;
SELECT reads();
SET search_path = :ns_b, :ns;
SELECT reads();
BEGIN;
SET LOCAL search_path = :ns;
SELECT reads();
ROLLBACK;
SELECT reads();
-- Temporary objects come first, unless said otherwise.
CREATE TEMP TABLE t AS SELECT 'temporary' AS v;
SELECT * FROM t;
SELECT reads();
SET search_path = :ns, pg_temp;
SELECT * FROM t;
SELECT * FROM pg_temp.t;
DROP TABLE pg_temp.t;
SET search_path = :ns_b;
SELECT * FROM t;
CREATE TABLE created_here (id int);
SELECT schemaname = :'ns_b' AS in_second FROM pg_tables WHERE tablename = 'created_here' AND schemaname LIKE :'ns' || '%';
SET search_path = 'no such schema';
CREATE TABLE nowhere (id int);
SELECT current_schema() IS NULL AS none;
SELECT * FROM t;
RESET search_path;
SELECT * FROM t;
SET client_min_messages = warning;
DROP SCHEMA :ns CASCADE;
DROP SCHEMA :ns_b CASCADE;
EXECUTE q;
DEALLOCATE ALL;
