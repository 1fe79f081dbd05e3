"""SQLAlchemy: models, its QueuePool with pre-ping, on psycopg or asyncpg.

    sqlalchemy_load.py psycopg|asyncpg
"""

import datetime
import decimal
import os
import sys
import uuid

import load
from sqlalchemy import URL, Numeric, create_engine, func, select, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker


class Base(DeclarativeBase):
    pass


class Account(Base):
    __tablename__ = "account"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str]
    balance: Mapped[decimal.Decimal] = mapped_column(Numeric(12, 2))
    tags: Mapped[list] = mapped_column(JSONB)


class Entry(Base):
    __tablename__ = "entry"
    id: Mapped[int] = mapped_column(primary_key=True)
    account: Mapped[int]
    amount: Mapped[decimal.Decimal] = mapped_column(Numeric(12, 2))
    note: Mapped[str]
    at: Mapped[datetime.datetime] = mapped_column(server_default=func.now())


def url(driver):
    return URL.create(
        f"postgresql+{driver}",
        os.environ["PGUSER"],
        os.environ["PGPASSWORD"],
        os.environ["PGHOST"],
        int(os.environ["PGPORT"]),
        os.environ["PGDATABASE"],
    )


def own_row(row, number):
    load.require(row.owner == f"owner {number}" and row.tags == ["a"], "the wrong row")


def add(mine):
    return update(Account).where(Account.id == mine).values(balance=Account.balance + 2)


def total(mine):
    return select(func.count(), func.max(Entry.at)).where(Entry.account == mine)


def blocking():
    arguments = {"application_name": "orders"}
    if load.PLAIN:
        arguments["prepare_threshold"] = None
    engine = create_engine(
        url("psycopg"), pool_size=load.THREADS, max_overflow=0, pool_pre_ping=True, connect_args=arguments
    )
    session_of = sessionmaker(engine)
    # As for reports and health checks: no transaction around it.
    reader = engine.execution_options(isolation_level="AUTOCOMMIT")

    def one_round():
        mine, other = load.account(), load.account()
        with reader.connect() as connection:
            own_row(connection.execute(select(Account.owner, Account.tags).where(Account.id == other)).one(), other)
        with session_of.begin() as session:
            own_row(session.get(Account, mine), mine)
            entry = Entry(account=mine, amount=decimal.Decimal(2), note="note")
            session.add(entry)
            session.flush()
            load.require(entry.id > 0, "no key")
            session.execute(add(mine))
            session.execute(select(func.pg_sleep(load.STATEMENT)))
        with session_of() as session:
            load.require(session.execute(total(mine)).one()[0] > 0, "the row is lost")

    return lambda: one_round


async def with_tasks():
    arguments = {"server_settings": {"application_name": "orders"}}
    if load.PLAIN:
        arguments |= {
            "statement_cache_size": 0,
            "prepared_statement_cache_size": 0,
            "prepared_statement_name_func": lambda: f"s_{uuid.uuid4().hex}",
        }
    engine = create_async_engine(
        url("asyncpg"), pool_size=load.CLIENTS, max_overflow=0, pool_pre_ping=True, connect_args=arguments
    )
    session_of = async_sessionmaker(engine)

    async def one_round():
        mine, other = load.account(), load.account()
        async with session_of() as session:
            own_row(await session.get(Account, other), other)
        async with session_of.begin() as session:
            own_row(await session.get(Account, mine), mine)
            entry = Entry(account=mine, amount=decimal.Decimal(2), note="note")
            session.add(entry)
            await session.flush()
            load.require(entry.id > 0, "no key")
            await session.execute(add(mine))
            await session.execute(select(func.pg_sleep(load.STATEMENT)))
        async with session_of() as session:
            load.require((await session.execute(total(mine))).one()[0] > 0, "the row is lost")

    return one_round


if sys.argv[1] == "asyncpg":
    load.tasks(with_tasks)
else:
    load.threads(blocking)
