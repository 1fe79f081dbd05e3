-- Everything in a database that a dump must carry over, as text to compare.
-- Sums of hashes do not depend on the order of rows.
SET search_path = pg_catalog;
SET extra_float_digits = 3;
SET timezone = 'UTC';
-- Only now, for \gexec and the answers alike.
\pset tuples_only on
\pset format unaligned

\echo == rows
SELECT format('SELECT %L, count(*), sum(hashtextextended(t::text, 0)::numeric), sum(length(t::text)) FROM %I.%I t',
    n.nspname || '.' || c.relname, n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'm', 'v') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY n.nspname, c.relname
\gexec

\echo == sequences
SELECT format('SELECT %L, last_value, is_called FROM %I.%I', n.nspname || '.' || c.relname, n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'S' ORDER BY n.nspname, c.relname
\gexec
SELECT schemaname, sequencename, data_type, start_value, min_value, max_value, increment_by, cycle, cache_size
FROM pg_sequences ORDER BY 1, 2;

\echo == large objects
SELECT oid, length(lo_get(oid)), md5(lo_get(oid)) FROM pg_largeobject_metadata ORDER BY oid;

\echo == columns
SELECT a.attrelid::regclass, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
    a.attgenerated, pg_get_expr(d.adbin, d.adrelid)
FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE a.attnum > 0 AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY n.nspname, c.relname, a.attnum;

\echo == definitions
SELECT n.nspname, c.relname, c.relkind, c.relpersistence, c.relrowsecurity, c.relacl, pg_get_expr(c.relpartbound, c.oid),
    CASE c.relkind WHEN 'p' THEN pg_get_partkeydef(c.oid) END, obj_description(c.oid, 'pg_class')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 1, 2;
SELECT schemaname, indexname, indexdef FROM pg_indexes WHERE schemaname !~ '^pg_' ORDER BY 1, 2;
SELECT conrelid::regclass, contypid::regtype, conname, pg_get_constraintdef(c.oid), convalidated
FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY c.conrelid::regclass::text, c.contypid::regtype::text, conname;
SELECT p.oid::regprocedure, CASE p.prokind WHEN 'a' THEN a.aggtransfn::text ELSE pg_get_functiondef(p.oid) END
FROM pg_proc p LEFT JOIN pg_aggregate a ON a.aggfnoid = p.oid JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY p.oid::regprocedure::text;
SELECT schemaname, viewname, definition FROM pg_views WHERE schemaname !~ '^pg_' AND schemaname <> 'information_schema' ORDER BY 1, 2;
SELECT schemaname, matviewname, definition FROM pg_matviews ORDER BY 1, 2;
SELECT tgrelid::regclass, pg_get_triggerdef(oid), tgenabled FROM pg_trigger WHERE NOT tgisinternal ORDER BY tgrelid::regclass::text, 2;
SELECT schemaname, tablename, policyname, cmd, qual FROM pg_policies ORDER BY 1, 2, 3;
SELECT schemaname, tablename, rulename, definition FROM pg_rules WHERE schemaname !~ '^pg_' ORDER BY 1, 2, 3;
SELECT pg_get_statisticsobjdef(oid) FROM pg_statistic_ext ORDER BY 1;
SELECT enumtypid::regtype, enumlabel FROM pg_enum ORDER BY enumtypid::regtype::text, enumsortorder;
