-- Triggers of foreign keys are compared with their constraints.
select t.tgrelid::regclass::text || '.' || quote_ident(t.tgname) as name,
    pg_get_triggerdef(t.oid) as definition, t.tgenabled as enabled, t.tgparentid <> 0 as is_of_partition
from pg_trigger t left join pg_constraint c on c.oid = t.tgconstraint
where t.oid >= 16384 and (t.tgconstraint = 0 or c.contype = 't')
  and not exists (select from pg_depend d where d.classid = 'pg_trigger'::regclass and d.objid = t.oid and d.deptype = 'e')
