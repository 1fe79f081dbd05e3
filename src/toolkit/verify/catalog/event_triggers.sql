select quote_ident(e.evtname) as name, pg_get_userbyid(e.evtowner) as owner, e.evtevent as event,
    e.evtfoid::regprocedure::text as function, e.evtenabled as enabled, e.evttags::text as tags
from pg_event_trigger e
where e.oid >= 16384
  and not exists (select from pg_depend d where d.classid = 'pg_event_trigger'::regclass and d.objid = e.oid and d.deptype = 'e')
