SELECT 'listen' AS what, channel AS name, NULL AS value
    FROM pg_catalog.pg_listening_channels() AS channel
UNION ALL SELECT 'user', SESSION_USER, CASE
        WHEN activity.usesysid OPERATOR(pg_catalog.<>) role.oid THEN 'changed'
        WHEN role.rolsuper THEN 'super'
    END
    FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid()) AS activity,
        pg_catalog.pg_roles AS role
    WHERE role.rolname OPERATOR(pg_catalog.=) SESSION_USER
UNION ALL SELECT 'role', pg_catalog.current_setting('role'), (SELECT 'login'
        FROM pg_catalog.pg_db_role_setting AS login, pg_catalog.unnest(login.setconfig) AS item
        WHERE item OPERATOR(pg_catalog.~~*) 'role=%'
            AND (login.setrole OPERATOR(pg_catalog.=) 0
                OR pg_catalog.pg_get_userbyid(login.setrole) OPERATOR(pg_catalog.=) SESSION_USER)
        LIMIT 1)
UNION ALL SELECT 'cursor', cursor.name, NULL
    FROM pg_catalog.pg_cursor() AS cursor
    WHERE cursor.is_holdable
UNION ALL SELECT CASE WHEN prepared.from_sql THEN 'prepared' ELSE 'parsed' END, prepared.name, NULL
    FROM pg_catalog.pg_prepared_statement() AS prepared
UNION ALL (SELECT 'temp', NULL, NULL
    FROM pg_catalog.pg_depend AS depend
    WHERE depend.refclassid OPERATOR(pg_catalog.=) 2615
        AND depend.refobjid OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()
        AND pg_catalog.pg_my_temp_schema() OPERATOR(pg_catalog.<>) 0
    LIMIT 1)
UNION ALL SELECT 'schema', NULL, NULL
    WHERE pg_catalog.pg_my_temp_schema() OPERATOR(pg_catalog.<>) 0
UNION ALL (SELECT 'lock', NULL, NULL
    FROM pg_catalog.pg_lock_status() AS lock
    WHERE lock.locktype OPERATOR(pg_catalog.=) 'advisory'
        AND lock.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()
    LIMIT 1)
UNION ALL SELECT CASE
        WHEN setting.context OPERATOR(pg_catalog.=) 'superuser' THEN 'privileged'
        WHEN setting.context OPERATOR(pg_catalog.=) 'superuser-backend' THEN 'privileged'
        ELSE 'setting'
    END, setting.name, setting.setting
    FROM pg_catalog.pg_show_all_settings() AS setting
    WHERE setting.source OPERATOR(pg_catalog.=) 'session'
