"""psycopg 3: libpq, extended query protocol, automatic named statements, pipelines."""

import threading
import time

import psycopg
from psycopg import errors
from psycopg.pq import TransactionStatus

from harness import (BIG, CANCEL_SECONDS, DATABASE, HOST, PASSWORD, PORT, REFUSAL, USER, Failed,
                     big_value, equal, name, raises, run, sha256, within)


def open_connection(**options):
    return psycopg.connect(**{
        "host": HOST, "port": PORT, "user": USER, "password": PASSWORD,
        "dbname": DATABASE, **options})


def connect():
    with open_connection(application_name=name("psycopg3")) as connection:
        row = connection.execute("SELECT current_user::text, current_database()::text, %s::int4 + 1", (1,)).fetchone()
        equal(row, (USER, DATABASE, 2), "row")
        equal(connection.info.parameter_status("application_name"), name("psycopg3"), "ParameterStatus")
        equal(connection.info.backend_pid, connection.execute("SELECT pg_backend_pid()").fetchone()[0], "process id")
        equal(connection.execute("SELECT %s::text", ("naïve → 数据 🐘",)).fetchone(), ("naïve → 数据 🐘",), "text")


def wrong_password():
    # libpq gives no SQLSTATE for a failed connection, only the server's text.
    error = raises(psycopg.OperationalError, lambda: open_connection(password=PASSWORD + "x"))
    want = f"FATAL:  {REFUSAL}"
    if want not in str(error):
        raise Failed(f"got {error}, want {want}")


def prepared_statements():
    with open_connection(prepare_threshold=5, autocommit=True) as connection:
        sql = "SELECT %s::int4 * 2, %s::text"
        for i in range(20):
            equal(connection.execute(sql, (i, str(i))).fetchall(), [(2 * i, str(i))], "row")
        named = connection.execute(
            "SELECT name FROM pg_prepared_statements WHERE statement = 'SELECT $1::int4 * 2, $2::text'").fetchall()
        equal(len(named), 1, "named statements at the server")
        # An evicted statement is closed at the server.
        connection.prepared_max = 0
        connection.execute("SELECT %s::int8", (1,), prepare=True)
        equal(connection.execute("SELECT count(*) FROM pg_prepared_statements WHERE name = %s",
                                 (named[0][0],)).fetchone(), (0,), "statements after eviction")
        # Binary parameters and results.
        cursor = connection.cursor(binary=True)
        equal(cursor.execute("SELECT %b::int8, %b::bytea", (1 << 40, b"\x00\xff")).fetchone(),
              (1 << 40, b"\x00\xff"), "binary row")


def transaction_error():
    table = name("psycopg3_tx")
    with open_connection() as connection:
        connection.execute(f"CREATE TABLE {table} (id int PRIMARY KEY)")
        connection.commit()
        connection.execute(f"INSERT INTO {table} VALUES (%s)", (1,))
        error = raises(errors.UniqueViolation, lambda: connection.execute(f"INSERT INTO {table} VALUES (%s)", (1,)))
        equal(error.sqlstate, "23505", "SQLSTATE")
        error = raises(errors.InFailedSqlTransaction, lambda: connection.execute("SELECT 1"))
        equal(error.sqlstate, "25P02", "SQLSTATE")
        equal(connection.info.transaction_status, TransactionStatus.INERROR, "transaction status")
        connection.rollback()
        equal(connection.info.transaction_status, TransactionStatus.IDLE, "transaction status")
        # A savepoint takes back only what came after it.
        connection.execute(f"INSERT INTO {table} VALUES (2)")
        def fail_inside():
            with connection.transaction():
                connection.execute(f"INSERT INTO {table} VALUES (3)")
                connection.execute("SELECT 1 / 0")
        equal(raises(errors.DivisionByZero, fail_inside).sqlstate, "22012", "SQLSTATE")
        connection.commit()
        equal(connection.execute(f"SELECT array_agg(id) FROM {table}").fetchone(), ([2],), "rows")
        connection.execute(f"DROP TABLE {table}")


def copy_in_out():
    table = name("psycopg3_copy")
    rows = [(i, f"row {i} – \\ \t é", i / 2) for i in range(50_000)]
    with open_connection() as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {table} (id int4, t text, n float8)")
        with cursor.copy(f"COPY {table} FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        equal(cursor.rowcount, 50_000, "rows copied in")
        with cursor.copy(f"COPY (SELECT * FROM {table} ORDER BY id) TO STDOUT (FORMAT binary)") as copy:
            copy.set_types(["int4", "text", "float8"])
            equal(list(copy.rows()) == rows, True, "copied rows are the same")
        connection.commit()
        # The client gives up half-way: CopyFail.
        class GiveUp(Exception):
            pass
        def give_up():
            with cursor.copy(f"COPY {table} FROM STDIN") as copy:
                copy.write(b"1\tx\t1\n" * 10_000)
                raise GiveUp
        raises(GiveUp, give_up)
        equal(connection.info.transaction_status, TransactionStatus.INERROR, "transaction status")
        connection.rollback()
        equal(cursor.execute(f"SELECT count(*) FROM {table}").fetchone(), (50_000,), "rows after CopyFail")
        cursor.execute(f"DROP TABLE {table}")


def cancel():
    with open_connection(autocommit=True) as connection:
        for request in (connection.cancel, connection.cancel_safe):
            timer = threading.Timer(0.5, request)
            started = time.monotonic()
            timer.start()
            error = raises(errors.QueryCanceled, lambda: connection.execute("SELECT pg_sleep(30)"))
            equal(error.sqlstate, "57014", "SQLSTATE")
            equal(error.diag.message_primary, "canceling statement due to user request", "message")
            within(CANCEL_SECONDS, started, "cancel")
            timer.join()
            equal(connection.execute("SELECT 42").fetchone(), (42,), "row after cancel")


def listen_notify():
    channel = name("ch")
    with open_connection(autocommit=True) as listener, open_connection(autocommit=True) as sender:
        listener.execute(f"LISTEN {channel}")
        for i in range(3):
            sender.execute("SELECT pg_notify(%s, %s)", (channel, f"payload {i}"))
        got = [(n.pid, n.channel, n.payload) for n in listener.notifies(timeout=CANCEL_SECONDS, stop_after=3)]
        equal(got, [(sender.info.backend_pid, channel, f"payload {i}") for i in range(3)], "notifications")


def big_value_both_ways():
    data, digest = big_value()
    with open_connection() as connection:
        length, server_digest, back = connection.cursor(binary=True).execute(
            "SELECT length(v), encode(sha256(v), 'hex'), v FROM (SELECT %b::bytea AS v) s", (data,)).fetchone()
        equal(length, BIG, "length at the server")
        equal(server_digest, digest, "hash at the server")
        equal(sha256(back), digest, "hash of what came back")


def pipeline():
    table = name("psycopg3_pipe")
    with open_connection(autocommit=True) as connection:
        connection.execute(f"CREATE TABLE {table} (id int PRIMARY KEY)")
        with connection.pipeline():
            cursors = [connection.execute("SELECT %s::int4 + 1", (i,)) for i in range(500)]
            equal([c.fetchone() for c in cursors], [(i + 1,) for i in range(500)], "pipelined rows")
        def fail_inside():
            with connection.pipeline():
                connection.execute(f"INSERT INTO {table} VALUES (1)")
                connection.execute(f"INSERT INTO {table} VALUES (1)")
                connection.execute(f"INSERT INTO {table} VALUES (2)")
        equal(raises(errors.UniqueViolation, fail_inside).sqlstate, "23505", "SQLSTATE")
        # All before the next Sync is one implicit transaction.
        equal(connection.execute(f"SELECT count(*) FROM {table}").fetchone(), (0,), "rows after a failed pipeline")
        connection.cursor().executemany(f"INSERT INTO {table} VALUES (%s)", [(i,) for i in range(3_000)])
        equal(connection.execute(f"SELECT count(*), sum(id) FROM {table}").fetchone(), (3_000, 4_498_500), "rows")
        connection.execute(f"DROP TABLE {table}")


def server_side_cursor():
    with open_connection() as connection, connection.cursor(name="pages") as cursor:
        cursor.itersize = 1_000
        cursor.execute("SELECT g FROM generate_series(1, 10500) g")
        equal([row[0] for row in cursor], list(range(1, 10_501)), "rows")


def session_state():
    with open_connection(autocommit=True) as connection:
        connection.execute("SET TIME ZONE 'Asia/Kathmandu'")
        connection.execute("CREATE TEMP TABLE kept (id int)")
        connection.execute("INSERT INTO kept VALUES (7)")
        connection.execute("SELECT pg_advisory_lock(hashtext(%s))", (name("lock"),))
        equal(connection.info.parameter_status("TimeZone"), "Asia/Kathmandu", "ParameterStatus after SET")
        equal(connection.execute("SELECT id FROM kept").fetchall(), [(7,)], "temporary table")
        equal(connection.execute("SELECT pg_advisory_unlock(hashtext(%s))", (name("lock"),)).fetchone(),
              (True,), "advisory lock held")


def notices():
    with open_connection(autocommit=True) as connection:
        got = []
        connection.add_notice_handler(lambda d: got.append((d.severity_nonlocalized, d.sqlstate, d.message_primary)))
        connection.execute("DO $$ BEGIN RAISE NOTICE 'first'; RAISE WARNING SQLSTATE '01777' USING MESSAGE = 'second'; END $$")
        equal(got, [("NOTICE", "00000", "first"), ("WARNING", "01777", "second")], "notices")


run([connect, wrong_password, prepared_statements, transaction_error, copy_in_out, cancel,
     listen_notify, big_value_both_ways, pipeline, server_side_cursor, session_state, notices])
