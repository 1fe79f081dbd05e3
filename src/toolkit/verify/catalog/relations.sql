select c.oid::regclass::text as name, pg_get_userbyid(c.relowner) as owner,
    c.relkind as kind, c.relpersistence as persistence, coalesce(am.amname, '') as access_method,
    array_to_string(array(select unnest(c.reloptions) order by 1), ', ') as options,
    c.relreplident as replica_identity, c.relrowsecurity as row_security, c.relforcerowsecurity as row_security_forced,
    c.relispopulated as populated, nullif(c.reloftype, 0)::regtype::text as of_type,
    case when c.relkind = 'p' then pg_get_partkeydef(c.oid) end as partition_key,
    pg_get_expr(c.relpartbound, c.oid) as partition_bound,
    (select string_agg(i.inhparent::regclass::text, ', ' order by i.inhseqno) from pg_inherits i
      where i.inhrelid = c.oid) as inherits,
    case when c.relkind in ('v', 'm') then pg_get_viewdef(c.oid) end as definition
from pg_class c left join pg_am am on am.oid = c.relam
where c.relkind in ('r', 'p', 'v', 'm', 'f', 'c') and c.oid >= 16384
  and c.relnamespace::regnamespace::text !~ '^pg_(toast|temp)'
  and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
