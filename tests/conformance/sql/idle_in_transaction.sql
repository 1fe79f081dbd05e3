-- The server ends a session that idles in a transaction; the client is told why.
SET idle_in_transaction_session_timeout = '100ms';
SELECT 'idle outside of a transaction is fine';
\! sleep 0.3
SELECT 'still here';
BEGIN;
SELECT 1;
\! sleep 0.6
SELECT 2;
SELECT 'never reached';
