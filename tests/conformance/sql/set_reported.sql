-- Settings that the server reports to the client, by their effect on output.
\encoding
SET client_encoding = 'SQL_ASCII';
\encoding
SET client_encoding TO 'UTF8';
\encoding
SET DateStyle = 'ISO, DMY';
SELECT date '01-02-2020', timestamp '2020-02-01 13:14:15.5';
SET DateStyle = 'SQL, DMY';
SELECT date '01-02-2020', timestamp '2020-02-01 13:14:15.5';
SET DateStyle = 'Postgres, MDY';
SELECT date '01-02-2020', timestamp '2020-02-01 13:14:15.5', timestamptz '2020-02-01 13:14:15.5+00';
SET DateStyle = 'German';
SHOW DateStyle;
SELECT date '2020-02-01', timestamptz '2020-02-01 13:14:15+00';
SET DateStyle = 'YMD';
SHOW DateStyle;
RESET DateStyle;
SHOW DateStyle;
SET IntervalStyle = 'sql_standard';
SELECT interval '1 year 2 months -3 days 04:05:06';
SET IntervalStyle = 'iso_8601';
SELECT interval '1 year 2 months -3 days 04:05:06';
SET IntervalStyle = 'postgres_verbose';
SELECT interval '1 year 2 months -3 days 04:05:06';
SET IntervalStyle = 'postgres';
SELECT interval '1 year 2 months -3 days 04:05:06';
SET TimeZone = 'Australia/Lord_Howe';
SELECT timestamptz '2020-07-01 00:00:00+00', timestamptz '2020-01-01 00:00:00+00';
SET TimeZone = '<+05:30>-5:30';
SELECT timestamptz '2020-07-01 00:00:00+00';
SELECT '2020-07-01 12:00'::timestamptz AT TIME ZONE 'UTC';
SELECT to_char(timestamptz '2020-07-01 00:00:00+00', 'TZ OF');
SET timezone_abbreviations = 'India';
SELECT timestamptz '2020-07-01 12:00 IST' AT TIME ZONE 'UTC';
RESET timezone_abbreviations;
SELECT timestamptz '2020-07-01 12:00 IST' AT TIME ZONE 'UTC';
SET default_transaction_read_only = on;
CREATE TABLE nowhere (id int);
SET default_transaction_read_only = off;
SELECT name, setting FROM pg_settings
    WHERE name IN ('DateStyle', 'IntervalStyle', 'TimeZone', 'client_encoding', 'standard_conforming_strings')
    ORDER BY name COLLATE "C";
RESET ALL;
SHOW TimeZone;
