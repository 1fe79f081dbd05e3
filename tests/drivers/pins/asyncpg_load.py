"""asyncpg: its pool, which resets connections after each use, its introspection
of types, its cache of statements."""

import json

import asyncpg
import load


async def init(connection):
    await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")


async def open_client():
    settings = {"application_name": "orders"}
    options = {"statement_cache_size": 0} if load.PLAIN else {}
    connections = await asyncpg.create_pool(
        min_size=load.CLIENTS, max_size=load.CLIENTS, server_settings=settings, init=init, timeout=60, **options
    )

    async def one_round():
        mine = load.account()
        async with connections.acquire() as connection:
            for number in (mine, load.account()):
                row = await connection.fetchrow(load.READ.format("$1"), number)
                load.require(row["owner"] == f"owner {number}" and row["tags"] == ["a"], "the wrong row")
            async with connection.transaction(isolation="read_committed"):
                row = await connection.fetchrow(load.INSERT.format("$1", "$2", "$3"), mine, 2, "note")
                load.require(row["id"] > 0, "no key")
                await connection.execute(load.UPDATE.format("$1", "$2"), 2, mine)
                await connection.execute(load.WORK.format("$1"), load.STATEMENT)
            count = await connection.fetchval(load.SUM.format("$1"), mine)
            load.require(count > 0, "the row is lost")

    return one_round


load.tasks(open_client)
