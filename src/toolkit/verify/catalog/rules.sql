select r.ev_class::regclass::text || '.' || quote_ident(r.rulename) as name,
    pg_get_ruledef(r.oid) as definition, r.ev_enabled as enabled
from pg_rewrite r
where r.oid >= 16384 and r.rulename <> '_RETURN'
  and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = r.ev_class and d.deptype = 'e')
