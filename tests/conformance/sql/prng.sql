-- setseed(): state of the process that no catalog shows.
SELECT setseed(0.5);
SELECT random()::numeric(12, 10);
SELECT random()::numeric(12, 10);
SELECT setseed(0.5);
BEGIN;
SELECT random()::numeric(12, 10);
ROLLBACK;
SELECT random()::numeric(12, 10);
SET seed = 0.1;
SELECT random()::numeric(12, 10);
SHOW seed;
SELECT setseed(0.9);
DISCARD ALL;
SELECT random()::numeric(12, 10);
DO $$ BEGIN PERFORM setseed(-0.3); END $$;
SELECT random()::numeric(12, 10);
SELECT setseed(2);
