select quote_ident(p.pubname) as name, pg_get_userbyid(p.pubowner) as owner, p.puballtables as all_tables,
    concat_ws(', ', case when p.pubinsert then 'insert' end, case when p.pubupdate then 'update' end,
        case when p.pubdelete then 'delete' end, case when p.pubtruncate then 'truncate' end) as publishes,
    p.pubviaroot as via_root,
    nullif(to_jsonb(p) ->> 'pubgencols', 'n') as generated_columns,
    (select string_agg(r.prrelid::regclass::text || coalesce(' where ' || pg_get_expr((to_jsonb(r) ->> 'prqual')::pg_node_tree, r.prrelid), '')
         || coalesce(' columns ' || (to_jsonb(r) ->> 'prattrs'), ''), ', ' order by r.prrelid::regclass::text)
       from pg_publication_rel r where r.prpubid = p.oid) as tables,
    (select string_agg(format('%I.%I', t.schemaname, t.tablename), ', ' order by t.schemaname, t.tablename)
       from pg_publication_tables t where t.pubname = p.pubname) as tables_in_effect
from pg_publication p where p.oid >= 16384
