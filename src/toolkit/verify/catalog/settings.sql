select case when s.setrole = 0 then 'everybody' else 'role ' || quote_ident(pg_get_userbyid(s.setrole)) end
        || case when s.setdatabase = 0 then ' in every database' else ' in this database' end
        || ': ' || split_part(c.item, '=', 1) as name,
    substr(c.item, strpos(c.item, '=') + 1) as value
from pg_db_role_setting s cross join unnest(s.setconfig) c(item)
where s.setdatabase in (0, (select d.oid from pg_database d where d.datname = current_database()))
