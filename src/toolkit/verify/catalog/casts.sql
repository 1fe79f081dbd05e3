select c.castsource::regtype::text || ' as ' || c.casttarget::regtype::text as name,
    nullif(c.castfunc, 0)::regprocedure::text as function, c.castcontext as context, c.castmethod as method
from pg_cast c
where c.oid >= 16384
  and not exists (select from pg_depend d where d.classid = 'pg_cast'::regclass and d.objid = c.oid and d.deptype in ('e', 'i'))
