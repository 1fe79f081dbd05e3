'use strict';
// What the Node.js driver checks share: cases, exact comparisons, test data.

const crypto = require('crypto');
const { isDeepStrictEqual, inspect } = require('util');
const { performance } = require('perf_hooks');

function required(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
}

const settings = {
  host: required('PGHOST'),
  port: Number(required('PGPORT')),
  user: required('PGUSER'),
  password: required('PGPASSWORD'),
  database: required('PGDATABASE'),
};

// What refuses a wrong password: the server, or a proxy that says who it is.
const refusal = `${process.env.REFUSED_BY || ''}password authentication failed for user "${settings.user}"`;

// A case that gets no answer must be reported by name, not hang the run.
const CASE_MS = 30_000;
const CANCEL_MS = 5_000;
const BIG = 64 * 1024 * 1024;

// Distinct names let programs run in parallel against one database.
const suffix = `${process.pid}_${crypto.randomBytes(4).toString('hex')}`;
const name = (prefix) => `${prefix}_${suffix}`;

class Failed extends Error {}

const shown = (value) => inspect(value, { breakLength: Infinity }).slice(0, 200);

function equal(got, want, what) {
  if (!isDeepStrictEqual(got, want)) throw new Failed(`${what}: got ${shown(got)}, want ${shown(want)}`);
}

function within(ms, started, what) {
  const took = performance.now() - started;
  if (took > ms) throw new Failed(`${what} took ${Math.round(took)} ms, allowed are ${ms} ms`);
}

// The error that the promise must be rejected with, having this SQLSTATE.
async function rejects(promise, sqlstate, codeOf = (e) => e.code) {
  let got;
  try {
    got = await promise;
  } catch (e) {
    if (codeOf(e) !== sqlstate) throw e;
    return e;
  }
  throw new Failed(`got ${shown(got)}, want SQLSTATE ${sqlstate}`);
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const sha256 = (data) => crypto.createHash('sha256').update(data).digest('hex');

// BIG incompressible bytes with every byte value.
const bigValue = () => crypto.randomBytes(BIG);

// Runs the functions in order, prints a line for each, and exits.
async function run(cases) {
  let failed = 0;
  for (const test of cases) {
    const timer = setTimeout(() => {
      console.log(`not ok ${test.name}: no answer in ${CASE_MS / 1000} s`);
      process.exit(1);
    }, CASE_MS);
    try {
      await test();
      console.log(`ok ${test.name}`);
    } catch (e) {
      failed += 1;
      console.log(`not ok ${test.name}: ${e.name}: ${String(e.message).replace(/\s+/g, ' ')}`);
      if (!(e instanceof Failed)) console.error(e);
    } finally {
      clearTimeout(timer);
    }
  }
  // Not process.exit(): a program that has left a connection open must hang,
  // and be reported as such, rather than hide it.
  process.exitCode = failed ? 1 : 0;
  setTimeout(() => {
    console.log('not ok exit: something is still open');
    process.exit(1);
  }, 5_000).unref();
}

// Without a case to blame, a stray error must still fail the program.
process.on('unhandledRejection', (e) => {
  console.log(`not ok unhandled_rejection: ${e && e.message}`);
  console.error(e);
  process.exit(1);
});

module.exports = { settings, refusal, BIG, CANCEL_MS, Failed, name, equal, within, rejects, sleep, sha256, bigValue, run };
