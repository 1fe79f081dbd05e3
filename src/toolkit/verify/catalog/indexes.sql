select i.indexrelid::regclass::text as name, pg_get_indexdef(i.indexrelid) as definition,
    i.indisvalid as valid, i.indisready as ready, i.indislive as live, i.indisclustered as clustered,
    i.indisreplident as replica_identity, i.indisprimary as "primary", i.indimmediate as immediate,
    (select h.inhparent::regclass::text from pg_inherits h where h.inhrelid = i.indexrelid) as inherits
from pg_index i join pg_class c on c.oid = i.indexrelid
where i.indexrelid >= 16384 and c.relnamespace::regnamespace::text !~ '^pg_(toast|temp)'
  and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass
    and d.objid in (i.indexrelid, i.indrelid) and d.deptype = 'e')
