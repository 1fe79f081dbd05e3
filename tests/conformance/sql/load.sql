-- superuser
-- LOAD: a library stays in the process, and its settings begin to work.
SHOW auto_explain.log_min_duration;
SET auto_explain.log_min_duration = 'not checked yet';
RESET auto_explain.log_min_duration;
LOAD 'auto_explain';
SHOW auto_explain.log_min_duration;
SET auto_explain.log_min_duration = 'checked now';
SET auto_explain.log_min_duration = 0;
SET auto_explain.log_timing = off;
SET client_min_messages = log;
SELECT count(*) FROM (VALUES (1), (2)) v;
BEGIN;
SELECT 1 WHERE false;
COMMIT;
SET auto_explain.log_format = 'json';
SELECT 1;
DISCARD ALL;
SELECT 1;
SET client_min_messages = log;
SHOW auto_explain.log_min_duration;
SET auto_explain.log_min_duration = 0;
SELECT 'still loaded';
RESET auto_explain.log_min_duration;
RESET client_min_messages;
LOAD 'auto_explain';
LOAD 'no_such_library';
LOAD '$libdir/plpgsql';
