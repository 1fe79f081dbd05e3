'use strict';
// Postgres.js (postgres): pipelines every query, names every statement.

const { createHash } = require('crypto');
const { pipeline } = require('stream/promises');
const { Readable } = require('stream');
const { performance } = require('perf_hooks');
const postgres = require('postgres');
const { settings, refusal, BIG, CANCEL_MS, name, equal, within, rejects, sleep, sha256, bigValue, run } = require('./harness');

async function withSql(options, use) {
  const sql = postgres({ ...settings, max: 1, onnotice: () => {}, ...options });
  try {
    return await use(sql);
  } finally {
    await sql.end({ timeout: 5 });
  }
}

const connect = () => withSql({ connection: { application_name: name('postgres_js') } }, async (sql) => {
  equal([...await sql`SELECT current_user::text AS u, current_database()::text AS d, ${1}::int4 + 1 AS n`],
    [{ u: settings.user, d: settings.database, n: 2 }], 'rows');
  equal([...await sql`SHOW application_name`], [{ application_name: name('postgres_js') }], 'application_name');
  equal([...await sql`SELECT ${'naïve → 数据 🐘'}::text AS t`], [{ t: 'naïve → 数据 🐘' }], 'text');
});

const wrong_password = () => withSql({ password: `${settings.password}x` }, async (sql) => {
  const error = await rejects(sql`SELECT 1`, '28P01');
  equal(error.message, refusal, 'message');
});

const prepared_statements = () => withSql({}, async (sql) => {
  for (let i = 0; i < 20; i += 1) equal([...await sql`SELECT ${i}::int4 * 2 AS n`], [{ n: 2 * i }], 'rows');
  const named = await sql`SELECT name FROM pg_prepared_statements WHERE statement = ${'SELECT $1::int4 * 2 AS n'}`;
  equal(named.length, 1, 'named statements at the server');
  const described = await sql`SELECT ${1}::int8 AS a, ${'x'}::text AS b`.describe();
  equal([described.types, described.columns.map((c) => c.name)], [[20, 25], ['a', 'b']], 'description');
});

const transaction_error = () => withSql({}, async (sql) => {
  const table = name('postgres_js_tx');
  await sql`CREATE TABLE ${sql(table)} (id int PRIMARY KEY)`;
  const seen = [];
  await rejects(sql.begin(async (tx) => {
    await tx`INSERT INTO ${tx(table)} VALUES (1)`;
    try {
      await tx`INSERT INTO ${tx(table)} VALUES (1)`;
    } catch (e) {
      seen.push(e.code);
    }
    try {
      await tx`SELECT 1`;
    } catch (e) {
      seen.push(e.code);
    }
    // The transaction is rejected with its first error, though it was caught.
  }), '23505');
  equal(seen, ['23505', '25P02'], 'SQLSTATEs inside the transaction');
  equal([...await sql`SELECT count(*)::int4 AS n FROM ${sql(table)}`], [{ n: 0 }], 'rows after rollback');
  await sql.begin(async (tx) => {
    await tx`INSERT INTO ${tx(table)} VALUES (1)`;
    await rejects(tx.savepoint((sp) => sp`INSERT INTO ${sp(table)} VALUES (1)`), '23505');
    await tx`INSERT INTO ${tx(table)} VALUES (2)`;
  });
  equal([...await sql`SELECT id FROM ${sql(table)} ORDER BY id`], [{ id: 1 }, { id: 2 }], 'rows after a savepoint');
  await sql`DROP TABLE ${sql(table)}`;
});

const copy_in_out = () => withSql({}, async (sql) => {
  const table = name('postgres_js_copy');
  const lines = Array.from({ length: 50_000 }, (_, i) => `${i}\trow ${i} – é\n`);
  await sql`CREATE TABLE ${sql(table)} (id int, t text)`;
  await pipeline(Readable.from(lines), await sql`COPY ${sql(table)} FROM STDIN`.writable());
  const [copied] = await sql`SELECT md5(string_agg(id || E'\\t' || t || E'\\n', '' ORDER BY id)) AS md5 FROM ${sql(table)}`;
  equal(copied.md5, createHash('md5').update(lines.join('')).digest('hex'), 'hash of the copied rows');
  // Few rows: with more than its stream's buffer holds, this driver (3.4.9)
  // leaves its socket paused after COPY TO, whatever the server.
  const chunks = [];
  for await (const chunk of await sql`COPY (SELECT * FROM ${sql(table)} ORDER BY id LIMIT 500) TO STDOUT`.readable()) chunks.push(chunk);
  equal(Buffer.concat(chunks).toString(), lines.slice(0, 500).join(''), 'copied text');
  equal([...await sql`SELECT 42 AS n`], [{ n: 42 }], 'rows after COPY');
  await sql`DROP TABLE ${sql(table)}`;
});

const cancel = () => withSql({}, async (sql) => {
  const started = performance.now();
  const query = sql`SELECT pg_sleep(30)`;
  const failed = rejects(query.execute(), '57014');
  await sleep(500);
  query.cancel();
  equal((await failed).message, 'canceling statement due to user request', 'message');
  within(CANCEL_MS, started, 'cancel');
  equal([...await sql`SELECT 42 AS n`], [{ n: 42 }], 'rows after cancel');
});

const statement_timeout = () => withSql({ connection: { statement_timeout: 300 } }, async (sql) => {
  const started = performance.now();
  const error = await rejects(sql`SELECT pg_sleep(30)`, '57014');
  equal(error.message, 'canceling statement due to statement timeout', 'message');
  within(CANCEL_MS, started, 'timeout');
  equal([...await sql`SELECT 42 AS n`], [{ n: 42 }], 'rows after timeout');
});

const listen_notify = () => withSql({}, async (sql) => {
  // The driver listens on a second connection of its own.
  const channel = name('ch');
  const got = [];
  const { unlisten } = await sql.listen(channel, (payload) => got.push(payload));
  for (const i of [0, 1, 2]) await sql.notify(channel, `payload ${i}`);
  const started = performance.now();
  while (got.length < 3 && performance.now() - started < CANCEL_MS) await sleep(20);
  equal(got, ['payload 0', 'payload 1', 'payload 2'], 'notifications');
  await unlisten();
});

const big_value_both_ways = () => withSql({}, async (sql) => {
  const data = bigValue();
  const [row] = await sql`
    SELECT length(v) AS n, encode(sha256(v), 'hex') AS digest, v FROM (SELECT ${data}::bytea AS v) s`;
  equal(row.n, BIG, 'length at the server');
  equal(row.digest, sha256(data), 'hash at the server');
  equal(sha256(row.v), sha256(data), 'hash of what came back');
});

const pipelining = () => withSql({}, async (sql) => {
  // On one connection, an error between others must fail only its own query.
  const outcomes = await Promise.allSettled(Array.from({ length: 500 }, (_, i) => sql`SELECT 1000 / ${i - 250}::int4 AS n`));
  equal(outcomes.map((o) => (o.status === 'fulfilled' ? o.value[0].n : o.reason.code)),
    Array.from({ length: 500 }, (_, i) => (i === 250 ? '22012' : Math.trunc(1000 / (i - 250)))), 'outcomes');
  const [one, two] = await sql.begin((tx) => [tx`SELECT 1 AS n`, tx`SELECT 2 AS n`]);
  equal([one[0].n, two[0].n], [1, 2], 'pipelined in a transaction');
  const several = await sql`SELECT 1 AS a; SELECT 2 AS b`.simple();
  equal(several.map((r) => [...r]), [[{ a: 1 }], [{ b: 2 }]], 'results of a simple query');
});

const server_side_cursor = () => withSql({}, async (sql) => {
  const got = [];
  for await (const rows of sql`SELECT g FROM generate_series(1, 10500) g`.cursor(1000)) got.push(rows.length);
  equal(got, [...Array(10).fill(1000), 500], 'page sizes');
});

async function notices() {
  const got = [];
  await withSql({ onnotice: (n) => got.push([n.severity, n.code, n.message]) }, async (sql) => {
    await sql.unsafe("DO $$ BEGIN RAISE NOTICE 'first'; RAISE WARNING 'second'; END $$");
  });
  equal(got, [['NOTICE', '00000', 'first'], ['WARNING', '01000', 'second']], 'notices');
}

run([connect, wrong_password, prepared_statements, transaction_error, copy_in_out, cancel, statement_timeout,
  listen_notify, big_value_both_ways, pipelining, server_side_cursor, notices]);
