-- What has rows of its own: a table's partitions and heirs, not the table above them.
select c.oid::regclass::text as name, c.relkind as kind,
    coalesce(pg_relation_size(c.oid), 0) / current_setting('block_size')::bigint as blocks,
    coalesce(pg_table_size(c.oid), 0) as bytes, greatest(c.reltuples, 0)::bigint as rows,
    (select json_agg(json_build_array(quote_ident(a.attname), format_type(a.atttypid, a.atttypmod)) order by a.attname collate "C")
       from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated <> 'v') as columns,
    (select json_agg(quote_ident(a.attname) order by k.place)
       from (select i.indkey, i.indnkeyatts from pg_index i
              where i.indrelid = c.oid and i.indisunique and i.indisvalid and i.indimmediate
                and i.indpred is null and i.indexprs is null
                and not exists (select from pg_attribute n where n.attrelid = c.oid and n.attnum = any (i.indkey) and not n.attnotnull)
              order by i.indisprimary desc, i.indisreplident desc, i.indnkeyatts, i.indexrelid::regclass::text limit 1) i
       cross join unnest(i.indkey::int2[]) with ordinality k(number, place)
       join pg_attribute a on a.attrelid = c.oid and a.attnum = k.number
      where k.place <= i.indnkeyatts) as key,
    (select e.condition from (select unnest(x.extconfig) as oid, unnest(x.extcondition) as condition from pg_extension x) e
      where e.oid = c.oid) as condition
from pg_class c
where c.relkind in ('r', 'm', 'f') and c.oid >= 16384 and c.relpersistence <> 't'
  and (not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
    or exists (select from pg_extension x where c.oid = any (x.extconfig)))
