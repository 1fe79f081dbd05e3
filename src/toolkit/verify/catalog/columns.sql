select c.oid::regclass::text || '.' || quote_ident(a.attname) as name,
    format_type(a.atttypid, a.atttypmod) as type, a.attnotnull as not_null,
    pg_get_expr(d.adbin, d.adrelid) as "default", a.attidentity as identity, a.attgenerated as generated,
    case when a.attcollation <> t.typcollation then a.attcollation::regcollation::text end as collation,
    a.attstorage as storage, nullif(a.attcompression, '') as compression,
    nullif(nullif(a.attstattarget, -1)::text, '') as statistics_target,
    -- Some minor releases keep a number of their own there.
    array_to_string(array(select o from unnest(a.attoptions) o where o !~ '^pg_attver=' order by 1), ', ') as options,
    array_to_string(array(select unnest(a.attfdwoptions) order by 1), ', ') as foreign_options,
    a.attislocal as is_local, a.attinhcount as inherited_times,
    (select count(*) from pg_attribute b where b.attrelid = a.attrelid and b.attnum between 1 and a.attnum
       and not b.attisdropped) as position
from pg_attribute a
join pg_class c on c.oid = a.attrelid
join pg_type t on t.oid = a.atttypid
left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where a.attnum > 0 and not a.attisdropped and c.relkind in ('r', 'p', 'v', 'm', 'f', 'c') and c.oid >= 16384
  and c.relnamespace::regnamespace::text !~ '^pg_(toast|temp)'
  and not exists (select from pg_depend x where x.classid = 'pg_class'::regclass and x.objid = c.oid and x.deptype = 'e')
