-- Owners and rights; there may be very many of them, so those that are alike are counted.
select pg_get_userbyid(m.lomowner) || coalesce(', rights: ' || m.lomacl::text, '') as name, count(*) as number
from pg_largeobject_metadata m group by 1
