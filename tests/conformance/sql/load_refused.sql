-- LOAD by a role that may not: and the settings of a library that is not there.
LOAD 'auto_explain';
LOAD '$libdir/plugins/nosuch';
LOAD '../escape';
SHOW auto_explain.log_min_duration;
SET auto_explain.log_min_duration = 'anything';
SHOW auto_explain.log_min_duration;
RESET auto_explain.log_min_duration;
-- plpgsql is loaded by its first use, then it checks its settings.
SET plpgsql.extra_warnings = 'shadowed_variables';
DO $$ DECLARE f int; BEGIN DECLARE f int; BEGIN f := 1; END; END $$;
SET plpgsql.extra_warnings = 'nonsense';
SET plpgsql.nosuch = 1;
SET plpgsql.variable_conflict = use_column;
SHOW plpgsql.variable_conflict;
DO $$ DECLARE typname int := 0; n int; BEGIN SELECT count(typname) INTO n FROM pg_type; RAISE NOTICE '%', n > 0; END $$;
RESET plpgsql.variable_conflict;
DO $$ DECLARE typname int := 0; n int; BEGIN SELECT count(typname) INTO n FROM pg_type; RAISE NOTICE '%', n > 0; END $$;
