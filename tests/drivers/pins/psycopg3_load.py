"""psycopg 3: psycopg_pool, checked before use, prepared statements as by default."""

import load
import psycopg
from psycopg.adapt import Loader
from psycopg.types import TypeInfo
from psycopg_pool import ConnectionPool


class Text(Loader):
    def load(self, data):
        return bytes(data).decode()


def configure(connection):
    connection.autocommit = True
    connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
    if load.PLAIN:
        connection.prepare_threshold = None
    connection.execute("SET TIME ZONE 'UTC'")
    connection.execute("SELECT set_config('statement_timeout', '60s', false)")
    mood = TypeInfo.fetch(connection, "mood")
    mood.register(connection)
    connection.adapters.register_loader(mood.oid, Text)


def open_client():
    connections = ConnectionPool(
        "",
        kwargs={"application_name": "orders"},
        min_size=load.THREADS,
        max_size=load.THREADS,
        configure=configure,
        check=ConnectionPool.check_connection,
        timeout=60,
        open=True,
    )
    connections.wait(60)
    return lambda: lambda: one_round(connections)


def one_round(connections):
    mine = load.account()
    with connections.connection() as connection:
        for number in (mine, load.account()):
            row = connection.execute(load.READ.format("%s"), (number,)).fetchone()
            load.require(row[0] == f"owner {number}", "the wrong row")
        with connection.transaction():
            row = connection.execute(load.INSERT.format("%s", "%s", "%s"), (mine, 1.5, "note")).fetchone()
            load.require(row[0] > 0, "no key")
            connection.execute(load.UPDATE.format("%s", "%s"), (1.5, mine))
            connection.execute(load.WORK.format("%s"), (load.STATEMENT,))
        row = connection.execute(load.SUM.format("%s"), (mine,)).fetchone()
        load.require(row[0] > 0, "the row is lost")


load.threads(open_client)
