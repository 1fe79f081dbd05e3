'use strict';
// node-postgres (pg): one query in flight at a time, named statements on request.

const { pipeline } = require('stream/promises');
const { Readable } = require('stream');
const { performance } = require('perf_hooks');
const pg = require('pg');
const copy = require('pg-copy-streams');
const { settings, refusal, BIG, CANCEL_MS, name, equal, within, rejects, sleep, sha256, bigValue, run } = require('./harness');

// Opens a connection for the given function, and closes it whatever happens.
async function withClient(options, use) {
  const client = new pg.Client({ ...settings, ...options });
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

const connect = () => withClient({ application_name: name('pg') }, async (client) => {
  const { rows, fields } = await client.query(
    'SELECT current_user::text AS u, current_database()::text AS d, $1::int4 + 1 AS n', [1]);
  equal(rows, [{ u: settings.user, d: settings.database, n: 2 }], 'rows');
  equal(fields.map((f) => f.name), ['u', 'd', 'n'], 'described columns');
  equal((await client.query('SHOW application_name')).rows[0].application_name, name('pg'), 'application_name');
  equal((await client.query('SELECT pg_backend_pid() AS pid')).rows[0].pid, client.processID, 'process id');
  equal((await client.query('SELECT $1::text AS t', ['naïve → 数据 🐘'])).rows, [{ t: 'naïve → 数据 🐘' }], 'text');
});

async function wrong_password() {
  const client = new pg.Client({ ...settings, password: `${settings.password}x` });
  const error = await rejects(client.connect(), '28P01');
  equal(error.message, refusal, 'message');
  equal(error.severity, 'FATAL', 'severity');
}

const prepared_statements = () => withClient({}, async (client) => {
  for (let i = 0; i < 20; i += 1) {
    const { rows } = await client.query({ name: 'twice', text: 'SELECT $1::int4 * 2 AS n', values: [i] });
    equal(rows, [{ n: 2 * i }], 'rows');
  }
  const { rows } = await client.query("SELECT statement, from_sql FROM pg_prepared_statements WHERE name = 'twice'");
  equal(rows, [{ statement: 'SELECT $1::int4 * 2 AS n', from_sql: false }], 'named statement at the server');
  // Arrays and null as parameters; no rows as an answer.
  equal((await client.query('SELECT $1::int4[] AS a, $2::text AS t', [[1, null, 3], null])).rows,
    [{ a: [1, null, 3], t: null }], 'rows');
  const empty = await client.query('SELECT 1 AS x WHERE $1::bool', [false]);
  equal([empty.rows, empty.rowCount, empty.command], [[], 0, 'SELECT'], 'empty result');
});

const transaction_error = () => withClient({}, async (client) => {
  const table = name('pg_tx');
  await client.query(`CREATE TABLE ${table} (id int PRIMARY KEY)`);
  await client.query('BEGIN');
  await client.query(`INSERT INTO ${table} VALUES ($1)`, [1]);
  const error = await rejects(client.query(`INSERT INTO ${table} VALUES ($1)`, [1]), '23505');
  equal([error.table, error.constraint], [table, `${table}_pkey`], 'error fields');
  await rejects(client.query('SELECT 1'), '25P02');
  equal((await client.query('ROLLBACK')).command, 'ROLLBACK', 'command tag');
  equal((await client.query(`SELECT count(*)::int4 AS n FROM ${table}`)).rows, [{ n: 0 }], 'rows after rollback');
  await client.query(`DROP TABLE ${table}`);
});

const copy_in_out = () => withClient({}, async (client) => {
  const table = name('pg_copy');
  const lines = Array.from({ length: 50_000 }, (_, i) => `${i}\trow ${i} – é\n`);
  await client.query(`CREATE TABLE ${table} (id int, t text)`);
  const into = client.query(copy.from(`COPY ${table} FROM STDIN`));
  await pipeline(Readable.from(lines), into);
  equal(into.rowCount, 50_000, 'rows copied in');
  const chunks = [];
  for await (const chunk of client.query(copy.to(`COPY (SELECT * FROM ${table} ORDER BY id) TO STDOUT`))) chunks.push(chunk);
  equal(Buffer.concat(chunks).toString() === lines.join(''), true, 'copied text is the same');
  await rejects(pipeline(Readable.from(['1\ta\n', 'x\tb\n']), client.query(copy.from(`COPY ${table} FROM STDIN`))), '22P02');
  equal((await client.query(`SELECT count(*)::int4 AS n FROM ${table}`)).rows, [{ n: 50_000 }], 'rows after a refused COPY');
  await client.query(`DROP TABLE ${table}`);
});

const cancel = () => withClient({}, async (client) => {
  const query = new pg.Query('SELECT pg_sleep(30)');
  const started = performance.now();
  const ended = new Promise((resolve, reject) => {
    query.on('error', reject);
    query.on('end', resolve);
  });
  client.query(query);
  await sleep(500);
  // Sends only the cancel request, over a connection of its own.
  new pg.Client(settings).cancel(client, query);
  const error = await rejects(ended, '57014');
  equal(error.message, 'canceling statement due to user request', 'message');
  within(CANCEL_MS, started, 'cancel');
  equal((await client.query('SELECT 42 AS n')).rows, [{ n: 42 }], 'rows after cancel');
});

const statement_timeout = () => withClient({ statement_timeout: 300 }, async (client) => {
  const started = performance.now();
  const error = await rejects(client.query('SELECT pg_sleep(30)'), '57014');
  equal(error.message, 'canceling statement due to statement timeout', 'message');
  within(CANCEL_MS, started, 'timeout');
  equal((await client.query('SELECT 42 AS n')).rows, [{ n: 42 }], 'rows after timeout');
});

const listen_notify = () => withClient({}, (listener) => withClient({}, async (sender) => {
  const channel = name('ch');
  const got = [];
  const all = new Promise((resolve) => {
    listener.on('notification', (n) => {
      got.push([n.processId, n.channel, n.payload]);
      if (got.length === 3) resolve();
    });
  });
  await listener.query(`LISTEN ${channel}`);
  for (const i of [0, 1, 2]) await sender.query('SELECT pg_notify($1, $2)', [channel, `payload ${i}`]);
  await Promise.race([all, sleep(CANCEL_MS)]);
  equal(got, [0, 1, 2].map((i) => [sender.processID, channel, `payload ${i}`]), 'notifications');
}));

const big_value_both_ways = () => withClient({}, async (client) => {
  const data = bigValue();
  const { rows: [row] } = await client.query(
    "SELECT length(v) AS n, encode(sha256(v), 'hex') AS digest, v FROM (SELECT $1::bytea AS v) s", [data]);
  equal(row.n, BIG, 'length at the server');
  equal(row.digest, sha256(data), 'hash at the server');
  equal(sha256(row.v), sha256(data), 'hash of what came back');
});

const batch = () => withClient({}, async (client) => {
  // Several statements in one simple query, then queries queued without waiting.
  const results = await client.query("SELECT 1 AS a; SELECT 'x' AS b; SELECT 2 AS a, 3 AS c");
  equal(results.map((r) => r.rows), [[{ a: 1 }], [{ b: 'x' }], [{ a: 2, c: 3 }]], 'results');
  const got = await Promise.all(Array.from({ length: 500 }, (_, i) => client.query('SELECT $1::int4 AS n', [i])));
  equal(got.map((r) => r.rows[0].n), Array.from({ length: 500 }, (_, i) => i), 'queued results');
  // An error in the middle ends the simple query and takes back its start.
  const table = name('pg_batch');
  await rejects(client.query(`CREATE TABLE ${table} (id int); SELECT 1 / 0; SELECT 1`), '22012');
  equal((await client.query('SELECT to_regclass($1) AS c', [table])).rows, [{ c: null }], 'table after the error');
});

async function pool() {
  const connections = new pg.Pool({ ...settings, max: 4 });
  const got = await Promise.all(Array.from({ length: 200 }, (_, i) => connections.query('SELECT $1::int4 AS n', [i])));
  equal(got.map((r) => r.rows[0].n), Array.from({ length: 200 }, (_, i) => i), 'pooled results');
  equal(connections.totalCount, 4, 'connections in the pool');
  await connections.end();
}

const notices = () => withClient({}, async (client) => {
  const got = [];
  client.on('notice', (n) => got.push([n.severity, n.code, n.message]));
  await client.query("DO $$ BEGIN RAISE NOTICE 'first'; RAISE WARNING 'second'; END $$");
  equal(got, [['NOTICE', '00000', 'first'], ['WARNING', '01000', 'second']], 'notices');
});

run([connect, wrong_password, prepared_statements, transaction_error, copy_in_out, cancel, statement_timeout,
  listen_notify, big_value_both_ways, batch, pool, notices]);
