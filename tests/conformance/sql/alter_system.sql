-- ALTER SYSTEM by a role that may not; nothing of the server changes.
ALTER SYSTEM SET work_mem = '5MB';
ALTER SYSTEM RESET work_mem;
ALTER SYSTEM RESET ALL;
ALTER SYSTEM SET my.var = 'x';
SHOW work_mem;
SELECT pg_reload_conf();
