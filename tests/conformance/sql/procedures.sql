-- CALL: procedures that commit in the middle, and leave state.
CREATE SCHEMA :ns;
SET search_path = :ns;
CREATE TABLE t (id int);
CREATE PROCEDURE commits(n int) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..n LOOP
        INSERT INTO t VALUES (i);
        IF i % 2 = 0 THEN COMMIT; ELSE ROLLBACK; END IF;
    END LOOP;
END $$;
CALL commits(5);
SELECT * FROM t ORDER BY id;
BEGIN;
CALL commits(2);
ROLLBACK;
CREATE PROCEDURE state() LANGUAGE plpgsql AS $$
BEGIN
    SET work_mem = '5MB';
    CREATE TEMP TABLE tmp (id int) ON COMMIT DELETE ROWS;
    INSERT INTO tmp VALUES (1);
    SET LOCAL lock_timeout = '6s';
    RAISE NOTICE 'rows %, lock_timeout %', (SELECT count(*) FROM tmp), current_setting('lock_timeout');
    COMMIT;
    RAISE NOTICE 'rows %, lock_timeout %', (SELECT count(*) FROM tmp), current_setting('lock_timeout');
    PERFORM set_config('my.var', 'by procedure', false);
END $$;
CALL state();
SHOW work_mem;
SHOW my.var;
SELECT count(*) FROM tmp;
CALL state();
CREATE PROCEDURE outs(INOUT a int, OUT b text) LANGUAGE plpgsql AS $$ BEGIN a := a + 1; b := current_setting('my.var'); END $$;
CALL outs(1, NULL);
DO $$ DECLARE x int := 5; y text; BEGIN CALL outs(x, y); RAISE NOTICE '% %', x, y; END $$;
CREATE PROCEDURE with_set() LANGUAGE plpgsql SET work_mem = '7MB' AS $$ BEGIN COMMIT; END $$;
CALL with_set();
CREATE PROCEDURE in_sql(v text) LANGUAGE sql BEGIN ATOMIC SELECT set_config('my.var', v, false); END;
CALL in_sql('by sql');
SHOW my.var;
CALL nosuch();
CREATE PROCEDURE modes() LANGUAGE plpgsql AS $$
BEGIN
    COMMIT;
    SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;
    RAISE NOTICE '%', current_setting('transaction_isolation');
    COMMIT AND CHAIN;
    RAISE NOTICE '%', current_setting('transaction_isolation');
    COMMIT;
    RAISE NOTICE '%', current_setting('transaction_isolation');
END $$;
CALL modes();
ALTER PROCEDURE modes() SET lock_timeout = '8s';
CALL modes();
ALTER ROUTINE commits(int) RENAME TO commits_often;
DROP ROUTINE commits_often(int);
DROP PROCEDURE commits_often(int);
DROP PROCEDURE state, outs, with_set, in_sql, modes;
DROP TABLE t;
DROP SCHEMA :ns;
