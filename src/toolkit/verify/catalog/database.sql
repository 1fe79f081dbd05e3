select 'this database' as name, pg_get_userbyid(d.datdba) as owner, pg_encoding_to_char(d.encoding) as encoding, d.datcollate as "collate", d.datctype as ctype,
    coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') as provider,
    coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale') as locale,
    to_jsonb(d) ->> 'daticurules' as rules, d.datconnlimit as connection_limit, d.datallowconn as connections_allowed
from pg_database d where d.datname = current_database()
