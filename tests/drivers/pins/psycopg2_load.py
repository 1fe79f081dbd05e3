"""psycopg2: a pool of its own, settings made at connect."""

import load
from psycopg2 import extensions, pool

URL = "application_name=orders"


def open_client():
    connections = pool.ThreadedConnectionPool(load.THREADS, load.THREADS, URL)
    for connection in [connections.getconn() for _ in range(load.THREADS)]:
        connection.set_session(isolation_level=extensions.ISOLATION_LEVEL_READ_COMMITTED, autocommit=True)
        connection.set_client_encoding("UTF8")
        with connection.cursor() as cursor:
            cursor.execute("SET TIME ZONE 'UTC'")
            cursor.execute("SET statement_timeout = '60s'")
        connections.putconn(connection)
    return lambda: lambda: one_round(connections)


def one_round(connections):
    connection = connections.getconn()
    try:
        work(connection)
    finally:
        connections.putconn(connection)


def work(connection):
    mine = load.account()
    with connection.cursor() as cursor:
        for number in (mine, load.account()):
            cursor.execute(load.READ.format("%s"), (number,))
            load.require(cursor.fetchone()[0] == f"owner {number}", "the wrong row")
    connection.autocommit = False
    with connection, connection.cursor() as cursor:
        cursor.execute(load.INSERT.format("%s", "%s", "%s"), (mine, 1.5, "note"))
        load.require(cursor.fetchone()[0] > 0, "no key")
        cursor.execute(load.UPDATE.format("%s", "%s"), (1.5, mine))
        cursor.execute(load.WORK.format("%s"), (load.STATEMENT,))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(load.SUM.format("%s"), (mine,))
        load.require(cursor.fetchone()[0] > 0, "the row is lost")


load.threads(open_client)
