"""psycopg2: libpq, simple query protocol with values interpolated by the client."""

import io
import select
import threading
import time

import psycopg2
import psycopg2.errors
import psycopg2.extras

from harness import (BIG, CANCEL_SECONDS, DATABASE, HOST, PASSWORD, PORT, REFUSAL, USER, Failed,
                     big_value, equal, name, raises, run, sha256, within)


def open_connection(autocommit=False, **options):
    connection = psycopg2.connect(**{
        "host": HOST, "port": PORT, "user": USER, "password": PASSWORD,
        "dbname": DATABASE, **options})
    connection.autocommit = autocommit
    return connection


def one(connection, sql, values=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchone()


def connect():
    connection = open_connection(application_name=name("psycopg2"), options="-c geqo=off")
    equal(one(connection, "SELECT current_user::text, current_database()::text, 1 + 1"),
          (USER, DATABASE, 2), "row")
    equal(one(connection, "SHOW application_name"), (name("psycopg2"),), "application_name")
    equal(one(connection, "SHOW geqo"), ("off",), "setting given in options")
    equal(connection.get_parameter_status("application_name"), name("psycopg2"), "ParameterStatus")
    equal(connection.get_parameter_status("server_encoding"), "UTF8", "ParameterStatus")
    equal(one(connection, "SELECT %s::text", ("naïve → 数据 🐘",)), ("naïve → 数据 🐘",), "text")
    equal(connection.info.backend_pid, one(connection, "SELECT pg_backend_pid()")[0], "process id")
    connection.close()


def wrong_password():
    # libpq gives no SQLSTATE for a failed connection, only the server's text.
    error = raises(psycopg2.OperationalError, lambda: open_connection(password=PASSWORD + "x"))
    want = f"FATAL:  {REFUSAL}\n"
    if not str(error).endswith(want):
        raise Failed(f"got {error}, want {want}")


def unknown_database():
    error = raises(psycopg2.OperationalError, lambda: open_connection(dbname=name("absent")))
    want = f'FATAL:  database "{name("absent")}" does not exist\n'
    if not str(error).endswith(want):
        raise Failed(f"got {error}, want {want}")


def prepared_statements():
    # psycopg2 prepares only through SQL.
    connection = open_connection()
    with connection.cursor() as cursor:
        cursor.execute("PREPARE add(int, int) AS SELECT $1 + $2")
        for i in range(20):
            cursor.execute("EXECUTE add(%s, %s)", (i, 2 * i))
            equal(cursor.fetchall(), [(3 * i,)], "sum")
        cursor.execute("SELECT count(*) FROM pg_prepared_statements WHERE name = 'add'")
        equal(cursor.fetchone(), (1,), "statements of that name")
        cursor.execute("DEALLOCATE add")
    connection.close()


def transaction_error():
    connection, table = open_connection(), name("psycopg2_tx")
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {table} (id int PRIMARY KEY)")
        connection.commit()
        cursor.execute(f"INSERT INTO {table} VALUES (1)")
        error = raises(psycopg2.errors.UniqueViolation,
                       lambda: cursor.execute(f"INSERT INTO {table} VALUES (1)"))
        equal(error.pgcode, "23505", "SQLSTATE")
        equal(error.diag.constraint_name, f"{table}_pkey", "constraint")
        error = raises(psycopg2.errors.InFailedSqlTransaction, lambda: cursor.execute("SELECT 1"))
        equal(error.pgcode, "25P02", "SQLSTATE")
        equal(connection.info.transaction_status,
              psycopg2.extensions.TRANSACTION_STATUS_INERROR, "transaction status")
        connection.rollback()
        equal(connection.info.transaction_status,
              psycopg2.extensions.TRANSACTION_STATUS_IDLE, "transaction status")
        cursor.execute(f"SELECT count(*) FROM {table}")
        equal(cursor.fetchone(), (0,), "rows after rollback")
        cursor.execute(f"DROP TABLE {table}")
        connection.commit()
    connection.close()


def copy_in_out():
    connection, table = open_connection(), name("psycopg2_copy")
    text = "".join(f"{i}\trow {i} – \\\\ é\t{i * 0.5}\n" for i in range(50_000))
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {table} (id int, t text, n numeric)")
        cursor.copy_expert(f"COPY {table} FROM STDIN", io.StringIO(text))
        equal(cursor.rowcount, 50_000, "rows copied in")
        out = io.StringIO()
        cursor.copy_expert(f"COPY (SELECT * FROM {table} ORDER BY id) TO STDOUT", out)
        equal(out.getvalue() == text, True, "copied text is the same")
        # A COPY that the server refuses half-way must leave the connection usable.
        connection.commit()
        error = raises(psycopg2.errors.InvalidTextRepresentation, lambda: cursor.copy_expert(
            f"COPY {table} FROM STDIN", io.StringIO("1\tfine\t1\n" * 20_000 + "x\tbad\t1\n")))
        equal(error.pgcode, "22P02", "SQLSTATE")
        connection.rollback()
        cursor.execute(f"SELECT count(*), sum(n)::text FROM {table}")
        equal(cursor.fetchone(), (50_000, "624987500.0"), "rows, sum")
        cursor.execute(f"DROP TABLE {table}")
        connection.commit()
    connection.close()


def cancel():
    connection = open_connection(autocommit=True)
    timer = threading.Timer(0.5, connection.cancel)
    started = time.monotonic()
    timer.start()
    error = raises(psycopg2.errors.QueryCanceled, lambda: one(connection, "SELECT pg_sleep(30)"))
    equal(error.pgcode, "57014", "SQLSTATE")
    equal(error.diag.message_primary, "canceling statement due to user request", "message")
    within(CANCEL_SECONDS, started, "cancel")
    equal(one(connection, "SELECT 42"), (42,), "row after cancel")
    connection.close()


def statement_timeout():
    connection = open_connection(autocommit=True, options="-c statement_timeout=300")
    started = time.monotonic()
    error = raises(psycopg2.errors.QueryCanceled, lambda: one(connection, "SELECT pg_sleep(30)"))
    equal(error.pgcode, "57014", "SQLSTATE")
    equal(error.diag.message_primary, "canceling statement due to statement timeout", "message")
    within(CANCEL_SECONDS, started, "timeout")
    equal(one(connection, "SELECT 42"), (42,), "row after timeout")
    connection.close()


def listen_notify():
    listener, sender, channel = open_connection(autocommit=True), open_connection(autocommit=True), name("ch")
    with listener.cursor() as cursor:
        cursor.execute(f"LISTEN {channel}")
    with sender.cursor() as cursor:
        for i in range(3):
            cursor.execute("SELECT pg_notify(%s, %s)", (channel, f"payload {i}"))
        pid = sender.info.backend_pid
    # Nothing is sent on the listener: the notifications must come unasked.
    deadline = time.monotonic() + CANCEL_SECONDS
    while len(listener.notifies) < 3 and time.monotonic() < deadline:
        if select.select([listener], [], [], deadline - time.monotonic())[0]:
            listener.poll()
    equal([(n.pid, n.channel, n.payload) for n in listener.notifies],
          [(pid, channel, f"payload {i}") for i in range(3)], "notifications")
    listener.close()
    sender.close()


def big_value_both_ways():
    connection = open_connection()
    data, digest = big_value()
    length, server_digest, back = one(
        connection, "SELECT length(v), encode(sha256(v), 'hex'), v FROM (SELECT %s AS v) s",
        (psycopg2.Binary(data),))
    equal(length, BIG, "length at the server")
    equal(server_digest, digest, "hash at the server")
    equal(sha256(back), digest, "hash of what came back")
    connection.close()


def batch():
    connection, table = open_connection(), name("psycopg2_batch")
    rows = [(i, f"row {i}") for i in range(5_000)]
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {table} (id int, t text)")
        psycopg2.extras.execute_batch(cursor, f"INSERT INTO {table} VALUES (%s, %s)", rows, page_size=250)
        returned = psycopg2.extras.execute_values(
            cursor, f"INSERT INTO {table} VALUES %s RETURNING id", rows, fetch=True)
        equal(returned, [(i,) for i in range(5_000)], "returned ids")
        cursor.execute(f"SELECT id, t FROM {table} ORDER BY id")
        equal(cursor.fetchall(), [row for row in rows for _ in range(2)], "rows")
        cursor.execute(f"DROP TABLE {table}")
    connection.commit()
    connection.close()


def server_side_cursor():
    connection = open_connection()
    with connection.cursor(name="pages") as cursor:
        cursor.itersize = 1_000
        cursor.execute("SELECT g FROM generate_series(1, 10500) g")
        equal([row[0] for row in cursor], list(range(1, 10_501)), "rows")
    connection.close()


def notices():
    connection = open_connection(autocommit=True)
    with connection.cursor() as cursor:
        cursor.execute("DO $$ BEGIN RAISE NOTICE 'first'; RAISE WARNING 'second'; END $$")
    equal(connection.notices, ["NOTICE:  first\n", "WARNING:  second\n"], "notices")
    connection.close()


run([connect, wrong_password, unknown_database, prepared_statements, transaction_error,
     copy_in_out, cancel, statement_timeout, listen_notify, big_value_both_ways, batch,
     server_side_cursor, notices])
