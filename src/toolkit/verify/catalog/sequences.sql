select s.seqrelid::regclass::text as name, pg_get_userbyid(c.relowner) as owner, c.relpersistence as persistence,
    s.seqtypid::regtype::text as type, s.seqstart as start, s.seqincrement as increment, s.seqmin as minimum,
    s.seqmax as maximum, s.seqcache as cache, s.seqcycle as cycle,
    (select string_agg(d.refobjid::regclass::text || '.' || quote_ident(a.attname), ', ') from pg_depend d
       join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
      where d.classid = 'pg_class'::regclass and d.objid = s.seqrelid and d.refclassid = 'pg_class'::regclass
        and d.deptype in ('a', 'i')) as owned_by
from pg_sequence s join pg_class c on c.oid = s.seqrelid
where s.seqrelid >= 16384 and c.relnamespace::regnamespace::text !~ '^pg_temp'
  and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = s.seqrelid and d.deptype = 'e')
