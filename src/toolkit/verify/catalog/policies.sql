select p.polrelid::regclass::text || '.' || quote_ident(p.polname) as name, p.polcmd as command, p.polpermissive as permissive,
    pg_get_expr(p.polqual, p.polrelid) as "using", pg_get_expr(p.polwithcheck, p.polrelid) as "check",
    (select string_agg(case when r.oid = 0 then 'public' else pg_get_userbyid(r.oid)::text end, ', ' order by 1)
     from unnest(p.polroles) r(oid)) as roles
from pg_policy p where p.oid >= 16384
