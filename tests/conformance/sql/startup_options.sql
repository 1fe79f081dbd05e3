-- What a session begins with is what RESET and DISCARD ALL return to.
\connect -reuse-previous=on "options='-c work_mem=5MB -c my.var=begun -c search_path=pg_catalog,public -c DateStyle=German -c TimeZone=Asia/Kathmandu -c enable_seqscan=off'"
SHOW work_mem;
SHOW my.var;
SHOW search_path;
SHOW enable_seqscan;
SELECT date '2020-02-01', timestamptz '2020-02-01 00:00+00';
SET work_mem = '6MB';
SET my.var = 'changed';
SET search_path = public;
SET DateStyle = 'ISO';
SHOW work_mem;
RESET work_mem;
SHOW work_mem;
RESET my.var;
SHOW my.var;
SET work_mem TO DEFAULT;
RESET ALL;
SHOW search_path;
SELECT date '2020-02-01', timestamptz '2020-02-01 00:00+00';
SET TimeZone = 'UTC';
SET my.var = 'changed';
SET enable_seqscan = on;
DISCARD ALL;
SHOW TimeZone;
SHOW my.var;
SHOW enable_seqscan;
SELECT name, setting, source, reset_val FROM pg_settings
    WHERE name IN ('work_mem', 'search_path', 'DateStyle', 'TimeZone', 'enable_seqscan', 'my.var')
    ORDER BY name COLLATE "C";
BEGIN;
SET LOCAL my.var = 'local';
SHOW my.var;
COMMIT;
SHOW my.var;
\connect -reuse-previous=on "application_name=conformance_a client_encoding=LATIN1 options='-c role=none'"
SHOW application_name;
SHOW client_encoding;
SHOW work_mem;
SHOW TimeZone;
SELECT current_setting('my.var', true) IS NULL AS never_set;
SET application_name = 'other';
SET client_encoding = 'UTF8';
DISCARD ALL;
SHOW application_name;
SHOW client_encoding;
\encoding
\connect -reuse-previous=on "client_encoding=UTF8 options='--statement-timeout=150 -c default_transaction_isolation=serializable -c geqo=off'"
SHOW statement_timeout;
SHOW transaction_isolation;
SELECT pg_sleep(10);
SET statement_timeout = 0;
SHOW statement_timeout;
RESET statement_timeout;
SHOW statement_timeout;
SHOW geqo;
\connect -reuse-previous=on "options='-c search_path=a,b -c my.var=with\\ space'"
SHOW my.var;
SHOW search_path;
\connect -reuse-previous=on "options=''"
SHOW search_path;
SHOW geqo;
SHOW statement_timeout;
