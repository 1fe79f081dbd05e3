-- The connection's encoding decides how bytes are read and written.
CREATE SCHEMA :ns;
SET search_path = :ns;
CREATE TABLE words (id int, w text);
INSERT INTO words VALUES (1, 'naïve'), (2, 'straße'), (3, '数据'), (4, 'плюс');
SELECT id, w, length(w), octet_length(w) FROM words ORDER BY id;
SET client_encoding = 'LATIN1';
SELECT id, encode(convert_to(w, 'LATIN1'), 'hex') FROM words WHERE id < 3 ORDER BY id;
-- Two bytes of UTF-8 are two characters now.
SELECT length('ï');
SELECT w FROM words WHERE id = 3;
SELECT 'after the error';
\encoding UTF8
SHOW client_encoding;
SELECT w FROM words WHERE id = 3;
SET client_encoding = 'EUC_JP';
SELECT w FROM words WHERE id = 4;
SELECT count(*) FROM words;
SET client_encoding = 'SQL_ASCII';
SELECT length('ï');
BEGIN;
SET LOCAL client_encoding = 'UTF8';
SELECT length('ï');
COMMIT;
SHOW client_encoding;
RESET client_encoding;
\encoding
SELECT E'\xff';
SELECT convert_from('\xff', 'UTF8');
SELECT U&'\6570\636E', U&'\D83D\DE00', U&'\D83D';
DROP TABLE words;
DROP SCHEMA :ns;
