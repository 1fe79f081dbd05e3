-- A session that ends itself: the client sees the server's own words, then the loss.
CREATE TEMP TABLE lost (id int);
SELECT pg_cancel_backend(pg_backend_pid());
SELECT 'cancelled only';
BEGIN;
SELECT pg_cancel_backend(pg_backend_pid());
SELECT 1;
ROLLBACK;
SELECT pg_terminate_backend(pg_backend_pid());
SELECT 'never reached';
