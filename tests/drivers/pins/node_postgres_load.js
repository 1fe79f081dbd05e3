// node-postgres: its pool, settings made at connect, named statements.
'use strict';

const { Pool } = require('pg');

const clients = Number(process.env.CLIENTS);
const seconds = Number(process.env.SECONDS);
const statement = Number(process.env.STATEMENT_SECONDS);
const plain = 'PLAIN' in process.env;
const WARM_UP = 3;

const pool = new Pool({ max: clients, application_name: 'orders', idleTimeoutMillis: 0 });
pool.on('connect', (client) => {
    client.query("SET TIME ZONE 'UTC'");
    client.query("SET statement_timeout = '60s'; SET default_transaction_isolation = 'read committed'");
});

const named = (name, text, values) => (plain ? { text, values } : { name, text, values });
const read = (id) => named('read', 'SELECT owner, balance, tags, state FROM account WHERE id = $1', [id]);
const account = () => 1 + Math.floor(Math.random() * 1000);

function need(condition, what) {
    if (!condition) throw new Error(what);
}

async function round() {
    const mine = account();
    for (const id of [mine, account()]) {
        const { rows } = await pool.query(read(id));
        need(rows[0].owner === `owner ${id}`, 'the wrong row');
    }
    const client = await pool.connect();
    try {
        await client.query('BEGIN');
        const insert = 'INSERT INTO entry (account, amount, note) VALUES ($1, $2, $3) RETURNING id, at';
        const { rows } = await client.query(named('insert', insert, [mine, 2, 'note']));
        need(rows[0].id > 0, 'no key');
        await client.query('UPDATE account SET balance = balance + $1 WHERE id = $2', [2, mine]);
        await client.query('SELECT pg_sleep($1)', [statement]);
        await client.query('COMMIT');
    } finally {
        client.release();
    }
    const { rows } = await pool.query('SELECT count(*), max(at) FROM entry WHERE account = $1', [mine]);
    need(Number(rows[0].count) > 0, 'the row is lost');
}

async function main() {
    let rounds = 0;
    let errors = 0;
    let first = null;
    const all = (work) => Promise.all(Array.from({ length: clients }, work));
    const guarded = (work) => async () => {
        try {
            await work();
        } catch (error) {
            errors += 1;
            first ??= error.stack;
        }
    };
    await all(guarded(async () => {
        for (let i = 0; i < WARM_UP; i += 1) await round();
    }));
    const end = Date.now() + seconds * 1000;
    await all(guarded(async () => {
        while (Date.now() < end) {
            await round();
            rounds += 1;
        }
    }));
    console.log(JSON.stringify({ rounds, errors, first }));
    process.exit(0);
}

main();
