select s.stxnamespace::regnamespace::text || '.' || quote_ident(s.stxname) as name, pg_get_userbyid(s.stxowner) as owner,
    pg_get_statisticsobjdef(s.oid) as definition, nullif(nullif(s.stxstattarget, -1)::text, '') as target
from pg_statistic_ext s
where s.oid >= 16384
  and not exists (select from pg_depend d where d.classid = 'pg_statistic_ext'::regclass and d.objid = s.oid and d.deptype = 'e')
