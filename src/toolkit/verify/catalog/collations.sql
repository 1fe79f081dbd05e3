select c.oid::regcollation::text as name, pg_get_userbyid(c.collowner) as owner, c.collprovider as provider,
    c.collisdeterministic as deterministic, c.collencoding as encoding,
    c.collcollate as "collate", c.collctype as ctype,
    coalesce(to_jsonb(c) ->> 'colllocale', to_jsonb(c) ->> 'colliculocale',
        case when c.collprovider = 'i' then c.collcollate end) as locale, to_jsonb(c) ->> 'collicurules' as rules
from pg_collation c
where c.oid >= 16384
  and not exists (select from pg_depend d where d.classid = 'pg_collation'::regclass and d.objid = c.oid and d.deptype = 'e')
