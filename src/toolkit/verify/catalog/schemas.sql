select quote_ident(n.nspname) as name, pg_get_userbyid(n.nspowner) as owner
from pg_namespace n
where n.oid >= 16384 and n.nspname !~ '^pg_(toast_)?temp_'
  and not exists (select from pg_depend d where d.classid = 'pg_namespace'::regclass and d.objid = n.oid and d.deptype = 'e')
