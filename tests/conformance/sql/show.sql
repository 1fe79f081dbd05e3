-- SHOW in all its forms.
SHOW server_version_num \gset
SELECT :server_version_num >= 140000 AS known;
SHOW TRANSACTION ISOLATION LEVEL;
SHOW SESSION AUTHORIZATION;
SHOW transaction_read_only;
SHOW transaction_deferrable;
SHOW default_transaction_isolation;
SHOW TIME ZONE;
SHOW is_superuser;
SHOW role;
SHOW session_authorization;
SHOW in_hot_standby;
SHOW "DateStyle";
SHOW nosuch;
SHOW data_directory;
SET work_mem = '5555kB';
SHOW work_mem;
SET work_mem = '3GB';
SHOW work_mem;
SELECT current_setting('work_mem'), setting, unit FROM pg_settings WHERE name = 'work_mem';
SHOW temp_buffers;
SET temp_buffers = 200;
SHOW temp_buffers;
CREATE TEMP TABLE touches_temp_buffers AS SELECT 1 AS a;
SELECT * FROM touches_temp_buffers;
-- Too late from now on, for this session.
SET temp_buffers = 300;
SHOW temp_buffers;
DROP TABLE touches_temp_buffers;
