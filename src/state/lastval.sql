SELECT 'sequence', NULL, CAST(pg_catalog.lastval() AS pg_catalog.text)
    WHERE pg_catalog.current_setting('exit_on_error') OPERATOR(pg_catalog.=) 'off'
