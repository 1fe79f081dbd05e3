-- The server ends a session that idles at all.
SET idle_session_timeout = '150ms';
SELECT 1;
\! sleep 0.7
SELECT 2;
SELECT 'never reached';
