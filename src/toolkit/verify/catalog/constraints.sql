-- NOT NULL of a table is compared with its columns: older versions have no constraint for it.
select case when c.conrelid <> 0 then c.conrelid::regclass::text else c.contypid::regtype::text end
        || '.' || quote_ident(c.conname) as name,
    pg_get_constraintdef(c.oid) as definition, c.convalidated as validated,
    c.conislocal as is_local, c.connoinherit as no_inherit, c.conparentid <> 0 as is_of_partition,
    (select string_agg(distinct t.tgenabled::text, '') from pg_trigger t where t.tgconstraint = c.oid) as enforcement
from pg_constraint c
where c.oid >= 16384 and (c.contype <> 'n' or c.conrelid = 0)
  and not exists (select from pg_depend d where d.deptype = 'e'
    and (d.classid = 'pg_class'::regclass and d.objid = c.conrelid or d.classid = 'pg_type'::regclass and d.objid = c.contypid))
