select o.oid::regoperator::text as name, pg_get_userbyid(o.oprowner) as owner, o.oprcode::regprocedure::text as function,
    o.oprresult::regtype::text as result, nullif(o.oprcom, 0)::regoperator::text as commutator,
    nullif(o.oprnegate, 0)::regoperator::text as negator, o.oprcanmerge as merges, o.oprcanhash as hashes,
    o.oprrest::text as restriction, o.oprjoin::text as "join"
from pg_operator o
where o.oid >= 16384
  and not exists (select from pg_depend d where d.classid = 'pg_operator'::regclass and d.objid = o.oid and d.deptype = 'e')
