-- Rights as they are in force: without an entry the defaults of the kind count.
with held as (
    select case c.relkind when 'S' then 'sequence ' else 'relation ' end || c.oid::regclass::text as object,
        coalesce(c.relacl, acldefault(case c.relkind when 'S' then 's' else 'r' end::"char", c.relowner)) as acl,
        c.relacl as raw,
        'pg_class'::regclass as classid, c.oid as objid, 0 as objsubid
    from pg_class c where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and c.relnamespace::regnamespace::text !~ '^pg_(toast|temp)'
    union all
    select 'column ' || a.attrelid::regclass::text || '.' || quote_ident(a.attname), a.attacl, a.attacl, 'pg_class'::regclass, a.attrelid, a.attnum
    from pg_attribute a where a.attacl is not null and not a.attisdropped
    union all
    select 'schema ' || quote_ident(n.nspname), coalesce(n.nspacl, acldefault('n', n.nspowner)), n.nspacl, 'pg_namespace'::regclass, n.oid, 0
    from pg_namespace n where n.nspname !~ '^pg_(toast_)?temp_'
    union all
    select 'function ' || p.oid::regprocedure::text, coalesce(p.proacl, acldefault('f', p.proowner)), p.proacl, 'pg_proc'::regclass, p.oid, 0
    from pg_proc p where p.pronamespace::regnamespace::text !~ '^pg_temp'
    union all
    select 'type ' || t.oid::regtype::text, coalesce(t.typacl, acldefault('T', t.typowner)), t.typacl, 'pg_type'::regclass, t.oid, 0
    from pg_type t where t.typcategory <> 'A' and (t.typrelid = 0 or exists (select from pg_class c where c.oid = t.typrelid and c.relkind = 'c'))
    union all
    select 'language ' || quote_ident(l.lanname), coalesce(l.lanacl, acldefault('l', l.lanowner)), l.lanacl, 'pg_language'::regclass, l.oid, 0
    from pg_language l
    union all
    select 'foreign server ' || quote_ident(s.srvname), coalesce(s.srvacl, acldefault('S', s.srvowner)), s.srvacl, 'pg_foreign_server'::regclass, s.oid, 0
    from pg_foreign_server s
    union all
    select 'foreign-data wrapper ' || quote_ident(w.fdwname), coalesce(w.fdwacl, acldefault('F', w.fdwowner)), w.fdwacl, 'pg_foreign_data_wrapper'::regclass, w.oid, 0
    from pg_foreign_data_wrapper w
    union all
    select 'this database', coalesce(d.datacl, acldefault('d', d.datdba)), d.datacl, 'pg_database'::regclass, 16384, 0
    from pg_database d where d.datname = current_database()
), rights as (
    select h.object, x.grantee, x.privilege_type || case when x.is_grantable then ' with grant option' else '' end as privilege
    from held h cross join aclexplode(h.acl) x
    -- What initdb made counts only where somebody has changed its rights.
    where (h.objid >= 16384 or h.raw is not null and h.object !~ '^[a-z]+ information_schema' and not exists (select from pg_init_privs i
              where i.classoid = h.classid and i.objoid = h.objid and i.objsubid = h.objsubid
                and i.initprivs::aclitem[] @> h.raw and h.raw @> i.initprivs::aclitem[]))
      and not exists (select from pg_depend d where d.classid = h.classid and d.objid = h.objid and d.deptype = 'e')
    union all
    select 'default of ' || pg_get_userbyid(d.defaclrole) || coalesce(' in ' || nullif(d.defaclnamespace, 0)::regnamespace::text, '')
        || ' for ' || d.defaclobjtype::text, x.grantee, x.privilege_type || case when x.is_grantable then ' with grant option' else '' end
    from pg_default_acl d cross join aclexplode(d.defaclacl) x
)
select r.object as name, case when r.grantee = 0 then 'PUBLIC' else pg_get_userbyid(r.grantee)::text end as role,
    string_agg(distinct r.privilege, ', ' order by r.privilege) as privileges
from rights r where r.privilege !~ '^{ignored}$'
group by r.object, r.grantee
