select quote_ident(e.extname) as name, e.extversion as version, e.extnamespace::regnamespace::text as schema
from pg_extension e
