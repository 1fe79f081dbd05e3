"""Clients that compete with a suite for the connections of its pool.

    rivals.py SUITE COUNT RECORD

They log in as the suite's driver does, since only clients with equal startup
parameters share connections, and run short transactions. Each changes settings
which the suite would notice if they leaked to it, and checks that its own still
hold, and that its own prepared statements are what they were. What they find goes into
RECORD as the outcome of the test `rivals`.
"""

import asyncio
import json
import os
import random
import signal
import sys
import threading
import time
import traceback

SETTINGS = {
    "datestyle": ["SQL, DMY", "German, DMY"],
    "timezone": ["Asia/Kolkata", "America/St_Johns"],
    "intervalstyle": ["sql_standard", "iso_8601"],
    "bytea_output": ["escape"],
    "extra_float_digits": ["-5"],
    "search_path": ["pg_catalog", "pg_toast"],
    "statement_timeout": ["41234ms", "51234ms"],
    "lock_timeout": ["31234ms"],
    "default_transaction_isolation": ["serializable", "repeatable read"],
    "default_transaction_read_only": ["on"],
    "check_function_bodies": ["off"],
    "application_name": ["rival"],
    "work_mem": ["4321kB"],
    "default_text_search_config": ["pg_catalog.german"],
    "transform_null_equals": ["on"],
    "array_nulls": ["off"],
    "role": ["rival"],
}

stopping = threading.Event()
problems = []
done = 0


def steps(number):
    """Yields (SQL, expected value or None); a value sent back is ignored."""
    mine = {}
    while not stopping.is_set():
        name, values = random.choice(list(SETTINGS.items()))
        value = random.choice(values)
        mine[name] = value
        yield f"SET {name} = '{value}'" if name != "search_path" else f"SET search_path = {value}", None
        for name, value in random.sample(sorted(mine.items()), min(3, len(mine))):
            yield f"SELECT pg_catalog.current_setting('{name}')", value
        yield "BEGIN", None
        yield f"SET LOCAL application_name = 'rival {number}'", None
        yield f"SELECT {number}", number
        yield random.choice(["COMMIT", "ROLLBACK"]), None
        yield f"SELECT {number} /* a statement that the driver prepares */", number
        if random.random() < 0.1:
            yield "RESET ALL", None
            yield "RESET ROLE", None
            mine.clear()


def check(sql, expected, got):
    global done
    done += 1
    if expected is not None and str(got) != str(expected):
        raise AssertionError(f"{sql}: {got!r}, not {expected!r}")


def pause():
    return random.uniform(0, 2 * float(os.environ.get("RIVAL_PAUSE", "0.02")))


def blocking(connect):
    """A driver of DB-API, in one thread for each client."""

    def client(number):
        connection = connect()
        for sql, expected in steps(number):
            cursor = connection.cursor()
            cursor.execute(sql)
            check(sql, expected, cursor.fetchone()[0] if expected is not None else None)
            time.sleep(pause())
        connection.close()

    return client


def psycopg2_client():
    import psycopg2

    def connect():
        connection = psycopg2.connect("")
        connection.autocommit = True
        return connection

    return blocking(connect)


def psycopg_client(**parameters):
    import psycopg

    return blocking(lambda: psycopg.connect("", autocommit=True, prepare_threshold=0, **parameters))


def pg8000_client():
    import pg8000.dbapi

    def connect():
        connection = pg8000.dbapi.connect(
            os.environ["PGUSER"],
            host=os.environ["PGHOST"],
            port=int(os.environ["PGPORT"]),
            database=os.environ["PGDATABASE"],
            password=os.environ["PGPASSWORD"],
        )
        connection.autocommit = True
        return connection

    return blocking(connect)


def asyncpg_client():
    import asyncpg

    async def session(number):
        connection = await asyncpg.connect()
        for sql, expected in steps(number):
            check(sql, expected, await connection.fetchval(sql))
            await asyncio.sleep(pause())
        await connection.close()

    return lambda number: asyncio.run(session(number))


def client_of(suite):
    if suite.startswith("django"):
        # Django makes its own database, and asks for UTF8 at startup.
        os.environ["PGDATABASE"] = "test_default"
        return psycopg_client(client_encoding="UTF8")
    # libpq, pgx and node-postgres send what psycopg2 does, user and database.
    if suite in ("libpq-pipeline", "isolation", "pgx", "node-postgres", "node-postgres-4"):
        suite = "psycopg2"
    if suite == "tokio-postgres":
        return psycopg_client(client_encoding="UTF8")
    if suite == "lib-pq":
        return psycopg_client(client_encoding="UTF8", options="-c extra_float_digits=2")
    driver = suite.removeprefix("sqlalchemy-").removesuffix("-green")
    return {"psycopg2": psycopg2_client, "psycopg": psycopg_client, "asyncpg": asyncpg_client, "pg8000": pg8000_client}[
        driver
    ]()


def keep_on(client, number):
    while not stopping.is_set():
        try:
            client(number)
        except AssertionError as error:
            problems.append(str(error))
            print(f"rival {number}: {error}", flush=True)
        except Exception as error:  # the suite may end connections, or its database may not exist yet
            if "does not exist" not in str(error):
                traceback.print_exc()
            time.sleep(1)


def main():
    suite, count, record = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    client = client_of(suite)
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    threads = [threading.Thread(target=keep_on, args=(client, number), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    stopping.wait()
    for thread in threads:
        thread.join(5)
    outcome = "passed" if done and not problems else "failed"
    with open(record, "a", encoding="utf-8") as out:
        text = "\n".join(problems[:20]) or f"{done} statements"
        out.write(json.dumps({"test": "rivals", "outcome": outcome, "text": text}) + "\n")
    print(f"{done} statements, {len(problems)} problems", flush=True)


if __name__ == "__main__":
    main()
