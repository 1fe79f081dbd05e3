'use strict';
// Sequelize: an ORM with a pool, over node-postgres.

const { performance } = require('perf_hooks');
const { Sequelize, DataTypes, Transaction, QueryTypes } = require('sequelize');
const { settings, refusal, BIG, CANCEL_MS, Failed, name, equal, within, rejects, sha256, bigValue, run } = require('./harness');

const codeOf = (e) => e.original && e.original.code;

async function withSequelize(options, use) {
  const { database, user, password, host, port } = settings;
  const sequelize = new Sequelize(database, user, options.password || password,
    { host, port, dialect: 'postgres', logging: false, ...options });
  try {
    return await use(sequelize);
  } finally {
    await sequelize.close();
  }
}

const connect = () => withSequelize({}, async (sequelize) => {
  await sequelize.authenticate();
  equal(await sequelize.query('SELECT current_user::text AS u, current_database()::text AS d, $1::int4 + 1 AS n',
    { bind: [1], type: QueryTypes.SELECT }), [{ u: settings.user, d: settings.database, n: 2 }], 'rows');
});

const wrong_password = () => withSequelize({ password: `${settings.password}x` }, async (sequelize) => {
  const error = await rejects(sequelize.authenticate(), '28P01', codeOf);
  equal(error.original.message, refusal, 'message');
});

const models = () => withSequelize({}, async (sequelize) => {
  const Author = sequelize.define('author', { name: { type: DataTypes.STRING, unique: true } }, { tableName: name('seq_author') });
  const Book = sequelize.define('book', { title: DataTypes.TEXT, details: DataTypes.JSONB, price: DataTypes.DECIMAL(10, 2) },
    { tableName: name('seq_book') });
  Author.hasMany(Book);
  Book.belongsTo(Author);
  await sequelize.sync();
  try {
    const authors = await Author.bulkCreate(Array.from({ length: 500 }, (_, i) => ({ name: `author ${i}` })));
    await Book.bulkCreate(authors.flatMap((a, i) => [0, 1].map((n) => (
      { title: `book ${i}/${n}`, details: { i, n }, price: `${i}.5`, authorId: a.id }))));
    const found = await Author.findOne({ where: { name: 'author 7' }, include: Book, order: [[Book, 'title', 'ASC']] });
    equal(found.books.map((b) => [b.title, b.details, b.price]),
      [['book 7/0', { i: 7, n: 0 }, '7.50'], ['book 7/1', { i: 7, n: 1 }, '7.50']], 'joined objects');
    equal(await Book.count({ where: { details: { i: 9 } } }), 2, 'rows found by JSON');
    const [, created] = await Author.findOrCreate({ where: { name: 'author 3' } });
    equal(created, false, 'created by findOrCreate');
    try {
      await Author.create({ name: 'author 1' });
      throw new Failed('a duplicate was accepted');
    } catch (e) {
      equal([e.name, codeOf(e), e.errors && e.errors[0].path], ['SequelizeUniqueConstraintError', '23505', 'name'], 'error');
    }
  } finally {
    await Book.drop();
    await Author.drop();
  }
});

const transaction_error = () => withSequelize({}, async (sequelize) => {
  const table = name('seq_tx');
  await sequelize.query(`CREATE TABLE ${table} (id int PRIMARY KEY)`);
  const transaction = await sequelize.transaction({ isolationLevel: Transaction.ISOLATION_LEVELS.SERIALIZABLE });
  equal(await sequelize.query('SHOW transaction_isolation', { transaction, plain: true, type: QueryTypes.SELECT }),
    { transaction_isolation: 'serializable' }, 'isolation level');
  await sequelize.query(`INSERT INTO ${table} VALUES (1)`, { transaction });
  await rejects(sequelize.query(`INSERT INTO ${table} VALUES (1)`, { transaction }), '23505', codeOf);
  await rejects(sequelize.query('SELECT 1', { transaction }), '25P02', codeOf);
  await transaction.rollback();
  equal(await sequelize.query(`SELECT count(*)::int4 AS n FROM ${table}`, { type: QueryTypes.SELECT }), [{ n: 0 }], 'rows after rollback');
  await sequelize.query(`DROP TABLE ${table}`);
});

// Sequelize has no cancel of its own; a timeout is what its users rely on.
const statement_timeout = () => withSequelize({ dialectOptions: { statement_timeout: 300 }, pool: { max: 1 } }, async (sequelize) => {
  const started = performance.now();
  await rejects(sequelize.query('SELECT pg_sleep(30)'), '57014', codeOf);
  within(CANCEL_MS, started, 'timeout');
  equal(await sequelize.query('SELECT 42 AS n', { type: QueryTypes.SELECT }), [{ n: 42 }], 'rows after timeout');
});

const big_value_both_ways = () => withSequelize({}, async (sequelize) => {
  const data = bigValue();
  const [row] = await sequelize.query(
    "SELECT length(v) AS n, encode(sha256(v), 'hex') AS digest, v FROM (SELECT $1::bytea AS v) s",
    { bind: [data], type: QueryTypes.SELECT });
  equal(row.n, BIG, 'length at the server');
  equal(row.digest, sha256(data), 'hash at the server');
  equal(sha256(row.v), sha256(data), 'hash of what came back');
});

const pool = () => withSequelize({ pool: { max: 4 } }, async (sequelize) => {
  const got = await Promise.all(Array.from({ length: 200 }, (_, i) => (
    sequelize.query('SELECT $1::int4 AS n', { bind: [i], plain: true, type: QueryTypes.SELECT }))));
  equal(got.map((r) => r.n), Array.from({ length: 200 }, (_, i) => i), 'pooled results');
});

run([connect, wrong_password, models, transaction_error, statement_timeout, big_value_both_ways, pool]);
