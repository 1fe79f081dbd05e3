select t.oid::regtype::text as name, pg_get_userbyid(t.typowner) as owner, t.typtype as kind, t.typcategory as category,
    t.typispreferred as preferred, t.typdelim as delimiter, t.typstorage as storage, t.typlen as length, t.typbyval as by_value,
    t.typalign as alignment, t.typnotnull as not_null, pg_get_expr(t.typdefaultbin, 0) as "default",
    case when t.typdefaultbin is null then t.typdefault end as default_text,
    case when t.typtype = 'd' then format_type(t.typbasetype, t.typtypmod) end as base_type,
    nullif(t.typcollation, 0)::regcollation::text as collation, t.typinput::text as input, t.typoutput::text as output,
    t.typreceive::text as receive, t.typsend::text as send, t.typsubscript::text as subscript,
    (select string_agg(quote_literal(e.enumlabel), ', ' order by e.enumsortorder) from pg_enum e
      where e.enumtypid = t.oid) as labels,
    r.rngsubtype::regtype::text as subtype, nullif(r.rngcollation, 0)::regcollation::text as subtype_collation,
    r.rngcanonical::text as canonical, r.rngsubdiff::text as difference,
    (select o.opcnamespace::regnamespace::text || '.' || quote_ident(o.opcname) from pg_opclass o where o.oid = r.rngsubopc) as subtype_class
from pg_type t left join pg_range r on r.rngtypid = t.oid
where t.oid >= 16384 and t.typnamespace::regnamespace::text !~ '^pg_(toast|temp)'
  -- Neither arrays nor the row types of tables, which say nothing of their own.
  and t.typcategory <> 'A' and (t.typrelid = 0 or exists (select from pg_class c where c.oid = t.typrelid and c.relkind = 'c'))
  and not exists (select from pg_depend d where d.classid = 'pg_type'::regclass and d.objid = t.oid and d.deptype = 'e')
