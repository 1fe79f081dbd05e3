"""asyncpg: its own protocol code, binary formats, a statement cache, no libpq."""

import asyncio
import io
import time

import asyncpg

from harness import (BIG, CANCEL_SECONDS, DATABASE, HOST, PASSWORD, PORT, REFUSAL, USER, Failed,
                     big_value, equal, name, run, sha256, within)


async def open_connection(**options):
    return await asyncpg.connect(**{
        "host": HOST, "port": PORT, "user": USER, "password": PASSWORD,
        "database": DATABASE, **options})


async def raises(kind, awaitable):
    try:
        got = await awaitable
    except Exception as e:
        if type(e) is not kind:
            raise
        return e
    raise Failed(f"got {got!r:.100}, want {kind.__name__}")


async def connect():
    connection = await open_connection(server_settings={"application_name": name("asyncpg")})
    equal(tuple(await connection.fetchrow("SELECT current_user::text, current_database()::text, $1::int4 + 1", 1)),
          (USER, DATABASE, 2), "row")
    equal(await connection.fetchval("SHOW application_name"), name("asyncpg"), "application_name")
    equal(connection.get_server_pid(), await connection.fetchval("SELECT pg_backend_pid()"), "process id")
    equal(await connection.fetchval("SELECT $1::text", "naïve → 数据 🐘"), "naïve → 数据 🐘", "text")
    await connection.close()


async def wrong_password():
    error = await raises(asyncpg.InvalidPasswordError, open_connection(password=PASSWORD + "x"))
    equal(error.sqlstate, "28P01", "SQLSTATE")
    equal(str(error), REFUSAL, "message")


async def prepared_statements():
    connection = await open_connection()
    statement = await connection.prepare("SELECT $1::int4 * 2 AS twice, $2::text[] AS texts")
    equal([a.name for a in statement.get_attributes()], ["twice", "texts"], "described columns")
    for i in range(20):
        equal(tuple(await statement.fetchrow(i, [str(i), None])), (2 * i, [str(i), None]), "row")
    # The cache of plain queries also makes named statements.
    sql = "SELECT $1::int8 - 1"
    for i in range(20):
        equal(await connection.fetchval(sql, i), i - 1, "value")
    equal(await connection.fetchval("SELECT count(*) FROM pg_prepared_statements WHERE statement = $1", sql),
          1, "named statements at the server")
    # asyncpg must learn of a changed table and prepare again.
    table = name("asyncpg_plan")
    await connection.execute(f"CREATE TABLE {table} (id int)")
    await connection.execute(f"INSERT INTO {table} VALUES (1)")
    equal(tuple(await connection.fetchrow(f"SELECT * FROM {table}")), (1,), "row")
    await connection.execute(f"ALTER TABLE {table} ADD t text DEFAULT 'new'")
    equal(tuple(await connection.fetchrow(f"SELECT * FROM {table}")), (1, "new"), "row after ALTER TABLE")
    await connection.execute(f"DROP TABLE {table}")
    await connection.close()


async def transaction_error():
    connection, table = await open_connection(), name("asyncpg_tx")
    await connection.execute(f"CREATE TABLE {table} (id int PRIMARY KEY)")
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(f"INSERT INTO {table} VALUES ($1)", 1)
    error = await raises(asyncpg.UniqueViolationError, connection.execute(f"INSERT INTO {table} VALUES ($1)", 1))
    equal(error.sqlstate, "23505", "SQLSTATE")
    error = await raises(asyncpg.InFailedSQLTransactionError, connection.fetch("SELECT 1"))
    equal(error.sqlstate, "25P02", "SQLSTATE")
    equal(connection.is_in_transaction(), True, "in transaction")
    await transaction.rollback()
    equal(connection.is_in_transaction(), False, "in transaction")
    equal(await connection.fetchval(f"SELECT count(*) FROM {table}"), 0, "rows after rollback")
    await connection.execute(f"DROP TABLE {table}")
    await connection.close()


async def copy_in_out():
    connection, table = await open_connection(), name("asyncpg_copy")
    rows = [(i, f"row {i} – é", i / 2) for i in range(50_000)]
    await connection.execute(f"CREATE TABLE {table} (id int4, t text, n float8)")
    equal(await connection.copy_records_to_table(table, records=rows), "COPY 50000", "command tag")
    out = io.BytesIO()
    equal(await connection.copy_from_query(f"SELECT * FROM {table} ORDER BY id", output=out), "COPY 50000", "command tag")
    equal(out.getvalue() == "".join(f"{i}\t{t}\t{n:g}\n" for i, t, n in rows).encode(), True, "copied text is the same")
    error = await raises(asyncpg.InvalidTextRepresentationError,
                         connection.copy_to_table(table, source=io.BytesIO(b"1\ta\t1\n" * 20_000 + b"x\tb\t1\n")))
    equal(error.sqlstate, "22P02", "SQLSTATE")
    equal(await connection.fetchval(f"SELECT count(*) FROM {table}"), 50_000, "rows after a refused COPY")
    await connection.execute(f"DROP TABLE {table}")
    await connection.close()


async def cancel():
    # On a client-side timeout, and when the task is cancelled, asyncpg sends a
    # cancel request. It keeps the server's 57014 to itself, so what proves the
    # request is that the connection answers again long before the sleep's end.
    connection = await open_connection()
    started = time.monotonic()
    await raises(TimeoutError, connection.fetch("SELECT pg_sleep(30)", timeout=0.5))
    equal(await connection.fetchval("SELECT 42"), 42, "value after timeout")
    within(CANCEL_SECONDS, started, "cancel by timeout")

    started = time.monotonic()
    task = asyncio.create_task(connection.fetch("SELECT pg_sleep(30)"))
    await asyncio.sleep(0.5)
    task.cancel()
    outcome = (await asyncio.gather(task, return_exceptions=True))[0]
    equal(type(outcome), asyncio.CancelledError, "outcome")
    equal(await connection.fetchval("SELECT 42"), 42, "value after cancel")
    within(CANCEL_SECONDS, started, "cancel by task")
    await connection.close()


async def statement_timeout():
    connection = await open_connection(server_settings={"statement_timeout": "300"})
    started = time.monotonic()
    error = await raises(asyncpg.QueryCanceledError, connection.fetch("SELECT pg_sleep(30)"))
    equal(error.sqlstate, "57014", "SQLSTATE")
    within(CANCEL_SECONDS, started, "timeout")
    equal(await connection.fetchval("SELECT 42"), 42, "value after timeout")
    await connection.close()


async def listen_notify():
    listener, sender, channel = await open_connection(), await open_connection(), name("ch")
    got, done = [], asyncio.Event()

    def heard(_connection, pid, channel, payload):
        got.append((pid, channel, payload))
        if len(got) == 3:
            done.set()

    await listener.add_listener(channel, heard)
    for i in range(3):
        await sender.execute("SELECT pg_notify($1, $2)", channel, f"payload {i}")
    await asyncio.wait_for(done.wait(), CANCEL_SECONDS)
    equal(got, [(sender.get_server_pid(), channel, f"payload {i}") for i in range(3)], "notifications")
    await listener.remove_listener(channel, heard)
    await listener.close()
    await sender.close()


async def big_value_both_ways():
    connection = await open_connection()
    data, digest = big_value()
    length, server_digest, back = await connection.fetchrow(
        "SELECT length(v), encode(sha256(v), 'hex'), v FROM (SELECT $1::bytea AS v) s", data)
    equal(length, BIG, "length at the server")
    equal(server_digest, digest, "hash at the server")
    equal(sha256(back), digest, "hash of what came back")
    await connection.close()


async def batch():
    # executemany streams Bind and Execute without waiting, one Sync at the end.
    connection, table = await open_connection(), name("asyncpg_batch")
    await connection.execute(f"CREATE TABLE {table} (id int PRIMARY KEY, t text)")
    await connection.executemany(f"INSERT INTO {table} VALUES ($1, $2)", [(i, "x" * 100) for i in range(5_000)])
    equal(tuple(await connection.fetchrow(f"SELECT count(*), sum(id) FROM {table}")), (5_000, 12_497_500), "rows")
    error = await raises(asyncpg.UniqueViolationError, connection.executemany(
        f"INSERT INTO {table} VALUES ($1, $2)", [(i, "y") for i in range(9_000, 4_000, -1)]))
    equal(error.sqlstate, "23505", "SQLSTATE")
    equal(await connection.fetchval(f"SELECT count(*) FROM {table}"), 5_000, "rows after a failed batch")
    await connection.execute(f"DROP TABLE {table}")
    await connection.close()


async def server_side_cursor():
    connection = await open_connection()
    async with connection.transaction():
        got = [row[0] async for row in connection.cursor("SELECT g FROM generate_series(1, 10500) g", prefetch=1_000)]
    equal(got, list(range(1, 10_501)), "rows")
    await connection.close()


async def pool():
    # The pool sends a reset (a batch of simple statements) on every release.
    async with asyncpg.create_pool(host=HOST, port=PORT, user=USER, password=PASSWORD, database=DATABASE,
                                   min_size=2, max_size=4) as connections:
        async def work(i):
            async with connections.acquire() as connection:
                await connection.execute(f"SET search_path TO schema_{i}")
                equal(await connection.fetchval("SELECT current_setting('search_path')"), f"schema_{i}", "setting")
        await asyncio.gather(*(work(i) for i in range(40)))
        async with connections.acquire() as connection:
            equal(await connection.fetchval("SHOW search_path"), '"$user", public', "setting after reset")


async def notices():
    connection, got = await open_connection(), []
    connection.add_log_listener(lambda _c, m: got.append((m.severity_en, m.sqlstate, m.message)))
    await connection.execute("DO $$ BEGIN RAISE NOTICE 'first'; RAISE WARNING 'second'; END $$")
    # Listeners are called from the event loop, after execute has returned.
    await asyncio.sleep(0.1)
    equal(got, [("NOTICE", "00000", "first"), ("WARNING", "01000", "second")], "notices")
    await connection.close()


def in_event_loop(case):
    def call():
        asyncio.run(case())
    call.__name__ = case.__name__
    return call


run([in_event_loop(case) for case in (
    connect, wrong_password, prepared_statements, transaction_error, copy_in_out, cancel,
    statement_timeout, listen_notify, big_value_both_ways, batch, server_side_cursor, pool, notices)])
