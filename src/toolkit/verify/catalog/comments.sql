select i.type || ' ' || i.identity as name, d.description as comment
from pg_description d cross join pg_identify_object(d.classoid, d.objoid, d.objsubid) i
where d.objoid >= 16384
  and not exists (select from pg_depend x where x.classid = d.classoid and x.objid = d.objoid and x.deptype = 'e')
union all
select 'this database', shobj_description(d.oid, 'pg_database') from pg_database d
where d.datname = current_database() and shobj_description(d.oid, 'pg_database') is not null
