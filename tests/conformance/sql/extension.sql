-- CREATE, ALTER, DROP EXTENSION, in a database of its own.
SELECT current_database() AS home \gset
CREATE DATABASE :ns;
\c :ns
CREATE SCHEMA ext;
CREATE EXTENSION hstore SCHEMA ext;
SELECT 'a=>1'::hstore;
SET search_path = public, ext;
SELECT 'a=>1'::hstore -> 'a';
ALTER EXTENSION hstore SET SCHEMA public;
RESET search_path;
SELECT 'a=>1'::ext.hstore -> 'a';
SET search_path = public, ext;
SELECT 'a=>1'::hstore -> 'a';
ALTER EXTENSION hstore UPDATE;
CREATE EXTENSION hstore;
CREATE EXTENSION IF NOT EXISTS hstore;
CREATE EXTENSION nosuch;
CREATE EXTENSION pg_trgm;
SHOW pg_trgm.similarity_threshold;
SELECT set_limit(0.5);
SHOW pg_trgm.similarity_threshold;
SELECT show_limit();
SET pg_trgm.similarity_threshold = 2;
RESET pg_trgm.similarity_threshold;
SELECT show_limit();
CREATE EXTENSION tablefunc;
CREATE EXTENSION file_fdw;
BEGIN;
CREATE EXTENSION citext;
SELECT 'A'::citext = 'a';
ROLLBACK;
SELECT 'A'::citext;
CREATE TABLE t (h hstore);
DROP EXTENSION hstore;
SET client_min_messages = warning;
DROP EXTENSION hstore CASCADE;
DROP EXTENSION nosuch;
ALTER EXTENSION nosuch UPDATE;
\dx
\c :home
DROP DATABASE :ns;
