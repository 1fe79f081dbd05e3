-- Objects of kinds that no other query looks at. That there are any is enough to say so.
select i.type || ' ' || i.identity as name
from (
    select 'pg_subscription'::regclass as classid, s.oid from pg_subscription s
        where s.subdbid = (select d.oid from pg_database d where d.datname = current_database())
    union all select 'pg_foreign_data_wrapper'::regclass, oid from pg_foreign_data_wrapper
    union all select 'pg_foreign_server'::regclass, oid from pg_foreign_server
    union all select 'pg_user_mapping'::regclass, umid from pg_user_mappings
    union all select 'pg_opclass'::regclass, oid from pg_opclass
    union all select 'pg_opfamily'::regclass, oid from pg_opfamily
    union all select 'pg_conversion'::regclass, oid from pg_conversion
    union all select 'pg_am'::regclass, oid from pg_am
    union all select 'pg_language'::regclass, oid from pg_language
    union all select 'pg_transform'::regclass, oid from pg_transform
    union all select 'pg_ts_config'::regclass, oid from pg_ts_config
    union all select 'pg_ts_dict'::regclass, oid from pg_ts_dict
    union all select 'pg_ts_parser'::regclass, oid from pg_ts_parser
    union all select 'pg_ts_template'::regclass, oid from pg_ts_template
) o cross join pg_identify_object(o.classid, o.oid, 0) i
where o.oid >= 16384
  and not exists (select from pg_depend d where d.classid = o.classid and d.objid = o.oid and d.deptype in ('e', 'i'))
union all
select 'security label on ' || i.type || ' ' || i.identity
from pg_seclabel l cross join pg_identify_object(l.classoid, l.objoid, l.objsubid) i
