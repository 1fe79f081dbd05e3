-- What of this database can leave something behind in a session that does not show in a statement's text.
-- Sent as one simple Query, so that SET LOCAL ends with it. No backslash stands in a plain string, because
-- standard_conforming_strings may be off. Objects made by initdb (below 16384) are trusted, except for the
-- functions listed in `watched`.
SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL statement_timeout = '5s';
SET LOCAL jit = off;
SET LOCAL enable_nestloop = off;
SET LOCAL enable_mergejoin = off;
SET LOCAL enable_hashjoin = on;
SET LOCAL max_parallel_workers_per_gather = 0;
WITH RECURSIVE
-- Functions of pg_catalog whose traces nobody sees afterwards, and nothing removes.
lasting(word) AS (
  SELECT unnest(string_to_array(btrim(regexp_replace($$
binary_upgrade_add_sub_rel_state binary_upgrade_create_empty_extension
binary_upgrade_logical_slot_has_caught_up binary_upgrade_replorigin_advance binary_upgrade_set_missing_value
binary_upgrade_set_next_array_pg_type_oid binary_upgrade_set_next_heap_pg_class_oid
binary_upgrade_set_next_heap_relfilenode binary_upgrade_set_next_index_pg_class_oid
binary_upgrade_set_next_index_relfilenode binary_upgrade_set_next_multirange_array_pg_type_oid
binary_upgrade_set_next_multirange_pg_type_oid binary_upgrade_set_next_pg_authid_oid
binary_upgrade_set_next_pg_enum_oid binary_upgrade_set_next_pg_tablespace_oid
binary_upgrade_set_next_pg_type_oid binary_upgrade_set_next_toast_pg_class_oid
binary_upgrade_set_next_toast_relfilenode binary_upgrade_set_record_init_privs pg_backup_start
pg_backup_start_time pg_backup_stop pg_copy_logical_replication_slot pg_copy_physical_replication_slot
pg_create_logical_replication_slot pg_create_physical_replication_slot pg_extension_config_dump
pg_import_system_collations pg_is_in_backup pg_logical_slot_get_binary_changes pg_logical_slot_get_changes
pg_logical_slot_peek_binary_changes pg_logical_slot_peek_changes pg_replication_origin_session_reset
pg_replication_origin_session_setup pg_replication_origin_xact_reset pg_replication_origin_xact_setup
pg_replication_slot_advance pg_start_backup pg_stat_clear_snapshot pg_stat_force_next_flush pg_stop_backup
pg_stop_making_pinned_objects pg_sync_replication_slots setseed
$$, $$[[:space:]]+$$, ' ', 'g')), ' '))
),
-- Those that run what they are given: queries, and expressions of indexes and domains.
running(word) AS (
  SELECT unnest(string_to_array(btrim(regexp_replace($$
brin_summarize_new_values brin_summarize_range cursor_to_xml cursor_to_xmlschema database_to_xml
database_to_xml_and_xmlschema database_to_xmlschema domain_in domain_recv gin_clean_pending_list
query_to_xml query_to_xml_and_xmlschema query_to_xmlschema schema_to_xml schema_to_xml_and_xmlschema
schema_to_xmlschema table_to_xml table_to_xml_and_xmlschema table_to_xmlschema ts_rewrite ts_stat
$$, $$[[:space:]]+$$, ' ', 'g')), ' '))
),
-- All that leave something behind, show the session or run what they are given.
watched(word) AS (
  SELECT unnest(string_to_array(btrim(regexp_replace($$
currval inet_client_addr inet_client_port inet_server_addr inet_server_port lastval lo_close lo_creat
lo_lseek lo_lseek64 lo_open lo_tell lo_tell64 lo_truncate lo_truncate64 loread lowrite pg_advisory_lock
pg_advisory_lock_shared pg_advisory_unlock pg_advisory_unlock_all pg_advisory_unlock_shared pg_backend_pid
pg_cancel_backend pg_create_restore_point pg_log_backend_memory_contexts pg_my_temp_schema pg_promote
pg_reload_conf pg_rotate_logfile pg_rotate_logfile_old pg_stat_get_backend_idset pg_switch_wal
pg_terminate_backend pg_try_advisory_lock pg_try_advisory_lock_shared pg_wal_replay_pause
pg_wal_replay_resume set_config
$$, $$[[:space:]]+$$, ' ', 'g')), ' '))
  UNION ALL SELECT word FROM lasting
  UNION ALL SELECT word FROM running
),
draws(word) AS (VALUES ('nextval'), ('setval')),
-- Commands in the body of a function, by their words. DDL is among them because it makes this census stale.
commands(word) AS (
  SELECT unnest(string_to_array('alter analyse analyze cascade cluster create deallocate discard drop execute hold import listen load pg_settings pg_temp prepare reassign reindex reset temp temporary unlisten', ' '))
),
-- What the C code of these extensions leaves in a session. `clean`: nothing but settings of their own (which the check
-- sees), caches of tables (which the server invalidates) and what ends with the transaction. `asked`: what the check
-- sees. `runs`: what comes of the queries, functions, tables and indexes that they are given by name.
-- Believed, not proven. Variables and plans that outlive a call were looked for in the sources of address_standardizer,
-- adminpack, autoinc, old_snapshot, pg_logicalinspect, pg_similarity, postgis_raster, postgis_topology and sslinfo, and
-- in part of those of file_fdw and hll; the others are taken for what they are documented to do.
-- Of `asked`, autoinc was looked into. The sources of the others were not: managed clusters offer them, they are not
-- known to keep what another session could see, and who uses them is asked about as about any code that nobody judged.
-- All other C code is taken to keep what it likes in its process, as refint does (plans), dblink (connections), hypopg
-- (indexes), unit (a copy of its tables), orafce (buffers), and the code of all languages but SQL and PL/pgSQL
-- (variables).
known(how, extension) AS (
  SELECT 'clean', unnest(string_to_array('adminpack bloom btree_gin btree_gist citext cube dict_int dict_xsyn earthdistance file_fdw fuzzystrmatch hll hstore insert_username intagg intarray ip4r isn lo ltree moddatetime old_snapshot pageinspect pg_buffercache pg_freespacemap pg_logicalinspect pg_prewarm pg_similarity pg_stat_statements pg_surgery pg_trgm pg_uuidv7 pg_visibility pg_walinspect pgaudit pgcrypto pgrowlocks pgstattuple plpgsql postgis postgis_sfcgal seg sslinfo tablefunc tcn tsm_system_rows tsm_system_time unaccent uuid-ossp vector xml2', ' '))
  UNION ALL
  SELECT 'asked', unnest(string_to_array('autoinc h3 h3_postgis jsquery pg_cron pg_repack pg_stat_monitor pgrouting postgres_fdw rum timescaledb', ' '))
  UNION ALL
  SELECT 'runs', unnest(string_to_array('address_standardizer amcheck postgis_raster postgis_topology', ' '))
),
-- Functions of theirs that do otherwise. Those of `library` change or show what is kept in the process.
except_for(how, word) AS (
  SELECT 'asked', unnest(string_to_array('checkauthtrigger set_limit', ' '))
  UNION ALL
  SELECT 'runs', unnest(string_to_array('connectby crosstab crosstab2 crosstab3 crosstab4 crosstabn xpath_table', ' '))
  UNION ALL
  SELECT 'library', unnest(string_to_array('hll_set_defaults hll_set_max_sparse hll_set_output_version isn_weak postgres_fdw_disconnect postgres_fdw_disconnect_all postgres_fdw_get_connections', ' '))
),
hidden(namespace) AS MATERIALIZED (
  SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_(toast_)?temp_'
),
fn AS MATERIALIZED (
  SELECT p.oid, 'f' || p.oid AS node, p.proname::text COLLATE "C" AS name, p.pronamespace AS namespace,
         p.prosqlbody::text COLLATE "C" AS tree, p.proargdefaults::text COLLATE "C" AS arguments,
         CASE WHEN l.lanname IN ('sql', 'plpgsql') THEN lower(p.prosrc COLLATE "C") END AS body,
         CASE WHEN l.lanname IN ('sql', 'plpgsql') OR p.prokind = 'a' THEN 'read'
           WHEN l.lanname = 'internal' AND p.prosrc IN (SELECT word FROM lasting) THEN 'library'
           WHEN l.lanname = 'internal' AND p.prosrc IN (SELECT word FROM running) THEN 'runs'
           WHEN l.lanname NOT IN ('c', 'internal') THEN 'library'
           WHEN k.how IS NULL THEN CASE l.lanname WHEN 'c' THEN 'library' ELSE 'asked' END
           ELSE coalesce(o.how, k.how)
         END AS how
  FROM pg_proc p
  JOIN pg_language l ON l.oid = p.prolang
  LEFT JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass
  LEFT JOIN pg_extension x ON x.oid = d.refobjid
  LEFT JOIN known k ON k.extension = x.extname::text
  LEFT JOIN except_for o ON o.word = p.proname::text
  WHERE p.oid >= 16384
),
rel AS MATERIALIZED (
  SELECT c.oid, 'r' || c.oid AS node, c.relname::text COLLATE "C" AS name, c.relnamespace AS namespace, c.relkind AS kind, c.relispartition AS is_partition
  FROM pg_class c WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')
),
typ AS MATERIALIZED (
  SELECT t.oid, 't' || t.oid AS node, t.typname::text COLLATE "C" AS name, t.typnamespace AS namespace, t.typrelid AS relation, t.typdefaultbin::text COLLATE "C" AS tree
  FROM pg_type t WHERE t.oid >= 16384
),
-- `implied`: syntax uses operators of this name without showing it. Both operands are of types that initdb made:
-- nothing else is needed to reach it.
op AS MATERIALIZED (
  SELECT o.oid, 'o' || o.oid AS node, o.oprname::text COLLATE "C" AS name, o.oprleft, o.oprright,
         o.oprname::text IN ('=', '<>', '<', '<=', '>', '>=', '~', '!~', '~*', '!~*', '~~', '!~~', '~~*', '!~~*') AS implied,
         o.oprleft < 16384 AND o.oprright < 16384 AS plain
  FROM pg_operator o WHERE o.oid >= 16384 AND o.oprcode <> 0
),
-- A family of operators is also known by the names of its classes.
named AS MATERIALIZED (
  SELECT node, name FROM fn WHERE namespace NOT IN (SELECT namespace FROM hidden)
  UNION ALL
  SELECT node, name FROM rel WHERE namespace NOT IN (SELECT namespace FROM hidden) AND kind <> 'c'
  UNION ALL
  SELECT node, name FROM typ WHERE namespace NOT IN (SELECT namespace FROM hidden)
  UNION ALL
  SELECT 'm' || opcfamily, opcname::text COLLATE "C" FROM pg_opclass WHERE oid >= 16384
  UNION ALL
  SELECT 'a' || oid, amname::text COLLATE "C" FROM pg_am WHERE oid >= 16384
  UNION ALL
  SELECT 'w' || oid, fdwname::text COLLATE "C" FROM pg_foreign_data_wrapper WHERE oid >= 16384
  UNION ALL
  SELECT 's' || oid, srvname::text COLLATE "C" FROM pg_foreign_server
),
-- Bodies without comments and strings where those can be told with certainty (no escapes, no dollar quotes, no
-- nested comments); else a barrier ends each line with
-- `--` in it, so that nothing reaches over it.
cleaned AS MATERIALIZED (
  SELECT node, CASE WHEN body ~ $$\\'|[$]([^0-9[:space:]$][^[:space:]$]*)?[$]|/[*].*/[*]$$
      THEN regexp_replace(body, $$--[^\n\r]*$$, $$\&;$$, 'g')
      WHEN strpos(body, '"') = 0 THEN regexp_replace(body, $$'[^']*'|--[^\n\r]*|/[*]([^*]|[*]+[^*/])*[*]+/$$, ' ', 'g')
      ELSE regexp_replace(body, $$("[^"]*")|'[^']*'|--[^\n\r]*|/[*]([^*]|[*]+[^*/])*[*]+/$$, $$ \1 $$, 'g')
    END AS body
  FROM fn WHERE body <> ''
),
-- Texts of functions as they are spelled, where custom settings (with a dot in the name) may be made. What stands in
-- strings counts: EXECUTE may run it.
code AS MATERIALIZED (
  SELECT 'f' || p.oid AS node, p.prosrc COLLATE "C" AS source
  FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
  WHERE p.oid >= 16384 AND l.lanname NOT IN ('c', 'internal') AND p.prosrc COLLATE "C" ~* $$set_config|\mset\M|\mexecute\M$$
),
-- Texts of functions that run other texts; strings count.
dynamic AS MATERIALIZED (
  SELECT node, body,
         body !~ $$u&\s*"$$ AND (body !~ $$\mexecute\M$$
           OR body ~ $$'\s*(alter|analyze|begin|call|cluster|comment|copy|create|delete|do|drop|explain|grant|insert|listen|lock|merge|notify|refresh|reindex|reset|revoke|select|set|truncate|update|vacuum|values|with)\M$$) AS shows
  FROM fn WHERE body ~ $$\mexecute\M(?!\s+(function|procedure|on)\M)|\mdo\M(?!\s+(nothing|update)\M)|u&\s*"$$
),
-- The settings that a function is declared with come and go with each call, but for a custom one's being there.
declared AS MATERIALIZED (
  SELECT 'f' || oid AS node, split_part(item COLLATE "C", '=', 1) AS name
  FROM pg_proc, unnest(proconfig) AS item
  WHERE oid >= 16384 AND proconfig IS NOT NULL AND strpos(split_part(item COLLATE "C", '=', 1), '.') > 0
),
-- The first of a name's words stands for it.
term AS MATERIALIZED (
  SELECT coalesce(substring(lower(name) FROM '[a-z0-9_]+'), '') AS word, node AS target FROM named
  UNION ALL SELECT word, '!bad' FROM watched
  UNION ALL SELECT word, '!bad' FROM commands
  UNION ALL SELECT word, '!library' FROM lasting
  UNION ALL SELECT word, '!draws' FROM draws
  UNION ALL SELECT word, '*anything' FROM running
  UNION ALL SELECT 'import', '*anything'
  UNION ALL SELECT word, '*tables' FROM unnest(ARRAY['analyse', 'analyze', 'cascade', 'cluster', 'reindex']) AS word
  UNION ALL
  SELECT word, 'definitions'
  FROM unnest(ARRAY['alter', 'comment', 'create', 'drop', 'grant', 'import', 'reassign', 'refresh', 'reindex', 'revoke', 'security']) AS word
  UNION ALL SELECT word, '!insert' FROM unnest(ARRAY['insert', 'merge', 'copy', 'default']) AS word
  UNION ALL SELECT word, '!write' FROM unnest(ARRAY['update', 'delete', 'truncate']) AS word
),
mention AS MATERIALIZED (
  SELECT DISTINCT w.node, t.target
  FROM (SELECT node, unnest(regexp_split_to_array(body, '[^a-z0-9_]+')) COLLATE "C" AS word FROM cleaned) w
  JOIN term t ON t.word = w.word
),
-- How much a function of that body may do: 0 reads, 1 changes rows, 2 makes rows.
reach_of AS MATERIALIZED (
  SELECT node, max(CASE target WHEN '!insert' THEN 2 WHEN '!write' THEN 1 ELSE 0 END) AS cap FROM mention GROUP BY node
  UNION ALL
  SELECT node, CASE WHEN tree ~ ':commandType [35] ' THEN 2 WHEN tree ~ ':commandType [24] ' THEN 1 ELSE 0 END FROM fn WHERE tree IS NOT NULL
),
depend AS MATERIALIZED (
  SELECT classid, objid, refclassid, refobjid,
         CASE refclassid WHEN 'pg_proc'::regclass THEN 'f' WHEN 'pg_class'::regclass THEN 'r' WHEN 'pg_operator'::regclass THEN 'o' ELSE 't' END || refobjid AS target
  FROM pg_depend
  WHERE refobjid >= 16384 AND objid >= 16384 AND deptype IN ('n', 'a', 'i')
    AND refclassid IN ('pg_proc'::regclass, 'pg_class'::regclass, 'pg_type'::regclass, 'pg_operator'::regclass)
),
default_of AS MATERIALIZED (
  SELECT d.oid, 'r' || d.adrelid AS node, d.adbin::text COLLATE "C" AS tree, CASE a.attgenerated WHEN '' THEN 2 WHEN 's' THEN 1 ELSE 0 END AS level
  FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
),
check_of AS MATERIALIZED (
  SELECT oid, CASE WHEN contypid <> 0 THEN 't' || contypid ELSE 'r' || conrelid END AS node, conbin::text COLLATE "C" AS tree
  FROM pg_constraint WHERE contype = 'c' AND oid >= 16384
),
-- Expressions, and at which level using their owner evaluates them.
tree AS MATERIALIZED (
  SELECT 'q' || oid AS node, 0 AS level, concat(ev_action::text, ' ', ev_qual::text) COLLATE "C" AS tree FROM pg_rewrite WHERE oid >= 16384
  UNION ALL SELECT node, level, tree FROM default_of
  UNION ALL SELECT node, 0, tree FROM check_of
  UNION ALL SELECT 'r' || indrelid, 0, concat(indexprs::text, ' ', indpred::text) FROM pg_index WHERE indexrelid >= 16384 AND (indexprs IS NOT NULL OR indpred IS NOT NULL)
  UNION ALL SELECT 'r' || polrelid, 0, concat(polqual::text, ' ', polwithcheck::text) FROM pg_policy
  UNION ALL SELECT 'r' || tgrelid, 1, tgqual::text FROM pg_trigger WHERE tgqual IS NOT NULL
  UNION ALL SELECT node, 0, concat(tree, ' ', arguments) FROM fn WHERE tree IS NOT NULL OR arguments IS NOT NULL
  UNION ALL SELECT node, 0, tree FROM typ WHERE tree IS NOT NULL
  UNION ALL SELECT 'r' || stxrelid, 0, stxexprs::text FROM pg_statistic_ext WHERE stxexprs IS NOT NULL
  UNION ALL SELECT 'r' || partrelid, 0, partexprs::text FROM pg_partitioned_table WHERE partexprs IS NOT NULL
),
-- Calls of set_config with a constant name, the bytes of which follow four of its length.
constant AS MATERIALIZED (
  SELECT node, count(*) AS calls, array_agg((
      SELECT string_agg(chr(byte::int), '' ORDER BY at) FROM unnest(string_to_array(bytes, ' ')) WITH ORDINALITY AS one(byte, at)
      WHERE at > 4 AND byte::int > 0)) AS names
  FROM (
    SELECT node, (regexp_matches(tree, $$:funcid 2078 [^()]*:args [(][{]CONST [^{}]*:constvalue [0-9]+ \[ ([-0-9 ]*[0-9]) \]$$, 'g'))[1] AS bytes
    FROM tree WHERE strpos(tree, ':funcid 2078 ') > 0
  ) AS called
  GROUP BY node
),
calling AS MATERIALIZED (
  SELECT node, min(level) AS level, sum((length(tree) - length(replace(tree, ':funcid 2078 ', ''))) / 13) AS calls
  FROM tree WHERE strpos(tree, ':funcid 2078 ') > 0 GROUP BY node
),
custom(name) AS MATERIALIZED (
  SELECT (regexp_matches(source, $$\mset_config"?\s*[(]\s*(?:setting_name\s*[:=>]+\s*)?'+([a-z_][a-z0-9_$]*(?:[.][a-z_][a-z0-9_$]*)+)'$$, 'gi'))[1] FROM code
  UNION
  SELECT (regexp_matches(source, $$\mset\s+(?:(?:local|session)\s+)?([a-z_][a-z0-9_$]*(?:[.][a-z_][a-z0-9_$]*)+)$$, 'gi'))[1] FROM code
  UNION
  SELECT name FROM declared
  UNION
  SELECT unnest(names) FROM constant
),
pattern AS MATERIALIZED (
  SELECT ':funcid (' || string_agg(p.oid::text, '|') FILTER (WHERE w.bad) || ') ' AS bad,
         ':funcid (' || string_agg(p.oid::text, '|') FILTER (WHERE w.draws) || ') ' AS draws,
         ':funcid (' || string_agg(p.oid::text, '|') FILTER (WHERE w.lasting) || ') ' AS lasting,
         ':funcid (' || string_agg(p.oid::text, '|') FILTER (WHERE w.running) || ') ' AS running,
         (SELECT ':relid ' || oid || ' ' FROM pg_class WHERE relname = 'pg_settings' AND relnamespace = 'pg_catalog'::regnamespace) AS settings
  FROM pg_proc p
  JOIN (
    SELECT word, true AS bad, false AS draws, word IN (SELECT word FROM lasting) AS lasting, word IN (SELECT word FROM running) AS running FROM watched
    UNION ALL
    SELECT word, false, true, false, false FROM draws
  ) w ON w.word = p.proname::text
  WHERE p.oid < 16384
),
-- The trees that call any of `watched`; `lasting` and `running` are among those.
caller AS MATERIALIZED (
  SELECT t.node, t.level, t.tree FROM tree t, pattern WHERE t.tree ~ bad
),
-- What an object does by itself. Levels: 0 whenever it is used, 1 when rows are changed, 2 when rows are made.
direct(node, taint, level) AS (
  SELECT node, CASE how WHEN 'library' THEN 'library' ELSE 'unproven' END, 0 FROM fn WHERE how IN ('asked', 'runs', 'library')
  UNION ALL
  SELECT node, CASE target WHEN '!bad' THEN 'unproven' WHEN '!library' THEN 'library' ELSE 'sequence' END, 0
  FROM mention WHERE target IN ('!bad', '!library', '!draws')
  UNION ALL
  SELECT node, 'library', 0 FROM fn WHERE body ~ $$\mload\s+(e?'|[$])$$
  UNION ALL
  -- A SET that begins a statement, a DO, and what hides names.
  SELECT node, 'unproven', 0 FROM cleaned
  WHERE body ~ $$(^|;|>>|[*]/|\m(begin|then|else|loop))\s*set\M(?!\s+local\s+[a-z])$$
     OR body ~ $$\mset\s+local\s+[^\s.=;/]+\s*[./]$$
     OR body ~ $$\mdo\M(?!\s+(nothing|update)\M)|u&\s*"|pg_(toast_)?temp_$$
  UNION ALL
  SELECT node, 'unproven', 0 FROM declared
  UNION ALL
  -- Custom settings of names that are computed, or too well hidden to be read.
  SELECT node, 'hidden', 0 FROM code
  WHERE source ~* $$\mset_config"?\s*[(](?!\s*(setting_name\s*[:=>]+\s*)?'+[a-z0-9_$.]*'+\s*(::\s*[a-z0-9_.]+\s*)?,)$$
     OR source ~* $$\mset_config"?\s*(/[*]|--)$$
     OR source ~* $$\mset\s+((local|session)\s+)?("[^"]*"\s*[.]|"[^"]*[.][^"]*"|[a-z0-9_$.]*[.]\s*"|[a-z0-9_$]+\s+[.])$$
     OR source ~* $$([(=,:]|\m(execute|default|then|else|return|query|in))\s*'+\s*set\s+((local|session)\s+)?[%']$$
     OR source ~* $$\mexecute\M(?!\s+(function|procedure|on)\M)$$
        AND source !~* $$'\s*(alter|analyze|begin|call|cluster|comment|copy|create|delete|do|drop|explain|grant|insert|listen|lock|merge|notify|refresh|reindex|reset|revoke|select|set|truncate|update|vacuum|values|with)\M$$
  UNION ALL
  SELECT g.node, 'hidden', g.level FROM calling g LEFT JOIN constant c ON c.node = g.node WHERE c.calls IS DISTINCT FROM g.calls
  UNION ALL
  SELECT node, 'unproven', level FROM caller
  UNION ALL
  SELECT t.node, 'sequence', t.level FROM tree t, pattern WHERE t.tree ~ pattern.draws
  UNION ALL
  SELECT t.node, 'library', t.level FROM caller t, pattern WHERE t.tree ~ pattern.lasting
  UNION ALL
  SELECT t.node, 'unproven', CASE WHEN t.node LIKE 'q%' THEN 1 ELSE 0 END FROM tree t, pattern WHERE t.tree ~ settings
  UNION ALL
  SELECT node, 'unproven', 0 FROM rel WHERE kind = 'f'
  UNION ALL
  SELECT DISTINCT 'r' || attrelid, 'sequence', 2 FROM pg_attribute WHERE attidentity <> ''
),
-- Who reaches whom; a source with a star, for the sake of `library` alone. What the target does above `cap` does not matter; what `absorbs` does it whenever it is used.
edge(source, target, level, cap, absorbs) AS MATERIALIZED (
  SELECT m.node, m.target, 0, r.cap, true FROM mention m JOIN reach_of r ON r.node = m.node WHERE m.target NOT LIKE '!%' AND m.target <> m.node
  UNION ALL
  SELECT f.node, d.target, 0, coalesce(r.cap, 0), true FROM depend d JOIN fn f ON f.oid = d.objid LEFT JOIN reach_of r ON r.node = f.node AND f.tree IS NOT NULL
  WHERE d.classid = 'pg_proc'::regclass
  UNION ALL
  SELECT 'r' || ev_class, 'q' || oid, CASE ev_type WHEN '1' THEN 0 WHEN '3' THEN 2 ELSE 1 END, 2, false FROM pg_rewrite WHERE oid >= 16384
  UNION ALL
  SELECT 'q' || w.oid, d.target, 0, 2, w.ev_type <> '1' FROM depend d JOIN pg_rewrite w ON w.oid = d.objid
  WHERE d.classid = 'pg_rewrite'::regclass AND NOT (d.refclassid = 'pg_class'::regclass AND d.refobjid = w.ev_class)
  UNION ALL
  -- A row that moves between partitions is made anew.
  SELECT 'r' || g.tgrelid, 'f' || g.tgfoid, CASE WHEN (g.tgtype & 60) = 4 AND NOT c.is_partition THEN 2 ELSE 1 END, 2, false
  FROM pg_trigger g JOIN rel c ON c.oid = g.tgrelid WHERE g.tgenabled <> 'D'
  UNION ALL
  -- Its condition.
  SELECT 'r' || g.tgrelid, d.target, CASE WHEN (g.tgtype & 60) = 4 AND NOT c.is_partition THEN 2 ELSE 1 END, 2, false
  FROM depend d JOIN pg_trigger g ON g.oid = d.objid JOIN rel c ON c.oid = g.tgrelid
  WHERE d.classid = 'pg_trigger'::regclass AND d.refclassid <> 'pg_class'::regclass AND d.refobjid <> g.tgfoid AND g.tgenabled <> 'D'
  UNION ALL
  SELECT o.node, d.target, o.level, 2, false FROM depend d JOIN default_of o ON o.oid = d.objid
  WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid <> 'pg_class'::regclass
  UNION ALL
  SELECT o.node, d.target, 0, 2, false FROM depend d JOIN check_of o ON o.oid = d.objid
  WHERE d.classid = 'pg_constraint'::regclass AND d.refclassid <> 'pg_class'::regclass
  UNION ALL
  SELECT 'r' || confrelid, 'r' || conrelid, 1, CASE WHEN 'd' IN (confdeltype, confupdtype) THEN 2 ELSE 1 END, false
  FROM pg_constraint WHERE contype = 'f' AND (confdeltype IN ('c', 'n', 'd') OR confupdtype IN ('c', 'n', 'd'))
  UNION ALL
  SELECT 'r' || i.indrelid, d.target, 0, 2, false FROM depend d JOIN pg_index i ON i.indexrelid = d.objid
  WHERE d.classid = 'pg_class'::regclass AND d.refclassid <> 'pg_class'::regclass
  UNION ALL
  SELECT 'r' || p.polrelid, d.target, 0, CASE d.refclassid WHEN 'pg_class'::regclass THEN 0 ELSE 2 END, false FROM depend d JOIN pg_policy p ON p.oid = d.objid
  WHERE d.classid = 'pg_policy'::regclass AND NOT (d.refclassid = 'pg_class'::regclass AND d.refobjid = p.polrelid)
  UNION ALL
  SELECT 'r' || s.stxrelid, d.target, 0, 2, false FROM depend d JOIN pg_statistic_ext s ON s.oid = d.objid
  WHERE d.classid = 'pg_statistic_ext'::regclass AND d.refclassid <> 'pg_class'::regclass
  UNION ALL
  SELECT 'r' || d.objid, d.target, 0, 2, false FROM depend d
  WHERE d.classid = 'pg_class'::regclass AND d.refclassid <> 'pg_class'::regclass
  UNION ALL
  SELECT 't' || d.objid, d.target, 0, 2, false FROM depend d
  WHERE d.classid = 'pg_type'::regclass AND d.refclassid <> 'pg_class'::regclass
  UNION ALL
  SELECT t.node, r.node, 0, 2, false FROM typ t JOIN rel r ON r.oid = t.relation AND r.kind = 'c'
  UNION ALL
  SELECT t.node, 't' || a.atttypid, 0, 2, false FROM typ t JOIN pg_attribute a ON a.attrelid = t.relation AND a.atttypid >= 16384
  UNION ALL
  SELECT 'r' || inhparent, 'r' || inhrelid, 0, 2, false FROM pg_inherits
  UNION ALL
  SELECT 'r' || i.inhrelid, 'r' || i.inhparent, 0, 2, false FROM pg_inherits i JOIN rel c ON c.oid = i.inhrelid AND c.is_partition
  UNION ALL
  -- Code that runs other code by names that nobody sees.
  SELECT '*anything', node, 0, 2, false FROM direct WHERE taint = 'library'
  UNION ALL
  SELECT '*tables', node, 0, 2, true FROM rel
  UNION ALL
  SELECT node, '*anything', 0, 2, false FROM fn WHERE how = 'runs'
  UNION ALL
  SELECT t.node, '*anything', t.level, 2, false FROM caller t, pattern WHERE t.tree ~ pattern.running
  UNION ALL
  -- A text that begins with a verb shows the functions that it calls, if not the tables.
  SELECT node, CASE WHEN shows THEN '*tables' ELSE '*anything' END, 0, 2, true FROM dynamic
  UNION ALL
  SELECT node, '*' || node, 0, 2, true FROM dynamic WHERE shows
  UNION ALL
  SELECT '*' || w.node, t.target, 0, 2, true
  FROM (SELECT node, unnest(regexp_split_to_array(body, '[^a-z0-9_]+')) COLLATE "C" AS word FROM dynamic WHERE shows) w
  JOIN term t ON t.word = w.word WHERE t.target NOT LIKE '!%'
  UNION ALL
  -- An operator shows by its name, but for those that syntax implies; to need none of its operands' types named, it takes
  -- types that initdb made. The same holds for casts, and for what sorts and hashes values.
  SELECT c.node, o.node, 0, coalesce(r.cap, 0), true
  FROM cleaned c JOIN op o ON NOT o.implied AND strpos(c.body, o.name) > 0 LEFT JOIN reach_of r ON r.node = c.node
  WHERE o.oid IN (SELECT d.objid FROM depend d JOIN fn f ON f.oid = d.refobjid AND f.how <> 'clean'
                  WHERE d.classid = 'pg_operator'::regclass AND d.refclassid = 'pg_proc'::regclass)
  UNION ALL
  SELECT 'everything', node, 0, 2, false FROM op WHERE implied AND plain
  UNION ALL
  SELECT 't' || operand, node, 0, 2, false FROM op, unnest(ARRAY[oprleft, oprright]) AS operand WHERE operand >= 16384
  UNION ALL
  SELECT 'o' || d.objid, d.target, 0, 2, false FROM depend d
  WHERE d.classid = 'pg_operator'::regclass AND d.refclassid = 'pg_proc'::regclass
  UNION ALL
  SELECT CASE WHEN side >= 16384 THEN 't' || side ELSE 'everything' END, 'f' || castfunc, 0, 2, false
  FROM pg_cast, unnest(ARRAY[castsource, casttarget]) AS side
  WHERE castfunc >= 16384 AND (side >= 16384 OR castsource < 16384 AND casttarget < 16384)
  UNION ALL
  SELECT CASE WHEN amopopr >= 16384 THEN 'o' || amopopr ELSE 'everything' END, 'm' || amopfamily, 0, 2, false
  FROM pg_amop WHERE amopfamily >= 16384 AND (amopopr >= 16384 OR amopmethod IN (SELECT oid FROM pg_am WHERE amname IN ('btree', 'hash')))
  UNION ALL
  SELECT 'm' || amopfamily, 'o' || amopopr, 0, 2, false FROM pg_amop WHERE amopopr >= 16384
  UNION ALL
  SELECT CASE WHEN side >= 16384 THEN 't' || side WHEN amprocfamily >= 16384 THEN 'm' || amprocfamily ELSE 'everything' END,
         'f' || amproc::oid, 0, 2, false
  FROM pg_amproc, unnest(ARRAY[amproclefttype, amprocrighttype, 0]) AS side
  WHERE amproc::oid >= 16384
    AND (side >= 16384 OR side = 0 AND (amprocfamily >= 16384 OR amproclefttype < 16384 AND amprocrighttype < 16384))
  UNION ALL
  SELECT 'r' || i.indrelid, 'm' || c.opcfamily, 0, 2, false
  FROM pg_index i, unnest(i.indclass::oid[]) AS class JOIN pg_opclass c ON c.oid = class WHERE c.opcfamily >= 16384
  UNION ALL
  SELECT 'r' || p.partrelid, 'm' || c.opcfamily, 0, 2, false
  FROM pg_partitioned_table p, unnest(p.partclass::oid[]) AS class JOIN pg_opclass c ON c.oid = class WHERE c.opcfamily >= 16384
  UNION ALL
  SELECT 'r' || coalesce(i.indrelid, c.oid), 'a' || c.relam, 0, 2, false
  FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid WHERE c.relam >= 16384
  UNION ALL
  SELECT 'a' || opfmethod, 'm' || oid, 0, 2, false FROM pg_opfamily WHERE opfmethod >= 16384
  UNION ALL
  SELECT 'a' || oid, 'f' || amhandler::oid, 0, 2, false FROM pg_am WHERE oid >= 16384
  UNION ALL
  SELECT 'definitions', 'a' || oid, 0, 2, false FROM pg_am WHERE oid >= 16384 AND amtype = 't'
  UNION ALL
  SELECT 'r' || t.ftrelid, 's' || t.ftserver, 0, 2, false FROM pg_foreign_table t
  UNION ALL
  SELECT 's' || oid, 'w' || srvfdw, 0, 2, false FROM pg_foreign_server
  UNION ALL
  SELECT 'w' || oid, 'f' || code, 0, 2, false FROM pg_foreign_data_wrapper, unnest(ARRAY[fdwhandler, fdwvalidator]) AS code
  WHERE code >= 16384
  UNION ALL
  -- No name in a text shows that one of these is used.
  SELECT 'everything', d.target, 0, 2, false FROM depend d
  WHERE d.refclassid = 'pg_proc'::regclass
    AND d.classid IN ('pg_conversion'::regclass, 'pg_ts_parser'::regclass, 'pg_ts_template'::regclass)
  UNION ALL
  SELECT 'definitions', 'f' || evtfoid, 0, 2, false FROM pg_event_trigger WHERE evtenabled <> 'D' AND evtevent <> 'login'
),
reach(node, taint, level) AS (
  SELECT node, taint, level FROM direct
  UNION
  SELECT e.source, r.taint, CASE WHEN e.absorbs THEN 0 ELSE greatest(e.level, r.level) END
  FROM reach r JOIN edge e ON e.target = r.node WHERE r.level <= e.cap AND (r.taint = 'library' OR e.source NOT LIKE '*%')
),
tainted AS MATERIALIZED (
  SELECT node, taint, min(level) AS level FROM reach GROUP BY node, taint
),
line(kind, level, name) AS MATERIALIZED (
  -- Names in other characters than ASCII are sent as none: they depend on the client's encoding.
  SELECT DISTINCT kind, level, CASE WHEN name ~ $$[^\x01-\x7f]$$ THEN '' ELSE name END
  FROM (
    SELECT t.taint, t.level, n.name FROM tainted t JOIN named n ON n.node = t.node
    UNION ALL
    SELECT t.taint, t.level, o.name FROM tainted t JOIN op o ON o.node = t.node WHERE NOT o.implied
    UNION ALL
    SELECT 'function', 0, n.name FROM named n WHERE n.node LIKE 'f%'
    UNION ALL
    SELECT taint, 0, node FROM tainted WHERE node IN ('everything', 'definitions', '*tables')
    UNION ALL
    SELECT 'custom', 0, name FROM custom WHERE name ~ $$^[A-Za-z_][A-Za-z0-9_$]*([.][A-Za-z_][A-Za-z0-9_$]*)+\Z$$
  ) AS found(kind, level, name)
  LIMIT 50001
)
SELECT kind, level::text, name FROM line
UNION ALL
SELECT 'end', '0', count(*)::text FROM line
