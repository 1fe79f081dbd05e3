"""SQLAlchemy: Core and ORM with its pool, over psycopg2 and over psycopg 3."""

import threading
import time

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.dialects.postgresql import BYTEA, JSONB

from harness import (BIG, CANCEL_SECONDS, DATABASE, HOST, PASSWORD, PORT, REFUSAL, USER, Failed,
                     big_value, equal, name, raises, run, sha256, within)

DRIVERS = ("psycopg2", "psycopg")


def engine(driver, **options):
    password = options.pop("password", PASSWORD)
    url = sa.URL.create(f"postgresql+{driver}", USER, password, HOST, PORT, DATABASE)
    return sa.create_engine(url, **options)


def sqlstate(error):
    # The two drivers name it differently.
    return getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)


def each_driver(check):
    def call():
        for driver in DRIVERS:
            e = engine(driver)
            try:
                check(driver, e)
            finally:
                e.dispose()
    call.__name__ = check.__name__
    return call


@each_driver
def connect(driver, e):
    with e.connect() as connection:
        row = connection.execute(sa.text("SELECT current_user::text, current_database()::text, :n + 1"), {"n": 1}).one()
        equal(tuple(row), (USER, DATABASE, 2), f"{driver} row")
        version = connection.scalar(sa.text("SELECT current_setting('server_version_num')::int"))
        equal(connection.dialect.server_version_info[0], version // 10000, f"{driver} server version")


@each_driver
def wrong_password(driver, _):
    e = engine(driver, password=PASSWORD + "x")
    error = raises(sa.exc.OperationalError, e.connect)
    want = f"FATAL:  {REFUSAL}"
    if want not in str(error.orig):
        raise Failed(f"{driver}: got {error.orig}, want {want}")


@each_driver
def prepared_statements(driver, e):
    # psycopg 3 prepares from the sixth use on; psycopg2 never does.
    with e.connect() as connection:
        statement = sa.select(sa.literal(1, sa.Integer) * sa.bindparam("n", type_=sa.Integer))
        for i in range(20):
            equal(connection.scalar(statement, {"n": i}), i, f"{driver} value")
        if driver == "psycopg":
            count = connection.scalar(sa.text(
                "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE 'SELECT $1::INTEGER * $2::INTEGER%'"))
            equal(count, 1, "named statements at the server")


@each_driver
def transaction_error(driver, e):
    table = sa.Table(name(f"sqlalchemy_tx_{driver}"), sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True))
    table.create(e)
    with e.connect() as connection:
        connection.execute(table.insert(), {"id": 1})
        error = raises(sa.exc.IntegrityError, lambda: connection.execute(table.insert(), {"id": 1}))
        equal(sqlstate(error), "23505", f"{driver} SQLSTATE")
        error = raises(sa.exc.InternalError, lambda: connection.execute(sa.text("SELECT 1")))
        equal(sqlstate(error), "25P02", f"{driver} SQLSTATE")
        connection.rollback()
        equal(connection.scalar(sa.select(sa.func.count()).select_from(table)), 0, f"{driver} rows")
        with connection.begin_nested() as savepoint:
            connection.execute(table.insert(), {"id": 2})
            savepoint.rollback()
        connection.execute(table.insert(), {"id": 3})
        connection.commit()
        equal(connection.scalars(sa.select(table.c.id)).all(), [3], f"{driver} rows")
    table.drop(e)


@each_driver
def cancel(driver, e):
    with e.connect() as connection:
        timer = threading.Timer(0.5, connection.connection.driver_connection.cancel)
        started = time.monotonic()
        timer.start()
        error = raises(sa.exc.OperationalError, lambda: connection.execute(sa.text("SELECT pg_sleep(30)")))
        equal(sqlstate(error), "57014", f"{driver} SQLSTATE")
        within(CANCEL_SECONDS, started, "cancel")
        connection.rollback()
        equal(connection.scalar(sa.text("SELECT 42")), 42, f"{driver} value after cancel")


def orm_objects():
    class Base(orm.DeclarativeBase):
        pass

    class Author(Base):
        __tablename__ = name("author")
        id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
        name: orm.Mapped[str]
        books: orm.Mapped[list["Book"]] = orm.relationship(cascade="all, delete-orphan")

    class Book(Base):
        __tablename__ = name("book")
        id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
        author_id: orm.Mapped[int] = orm.mapped_column(sa.ForeignKey(Author.id))
        details: orm.Mapped[dict] = orm.mapped_column(JSONB)

    e = engine("psycopg2")
    Base.metadata.create_all(e)
    with orm.Session(e) as session:
        session.add_all(Author(name=f"author {i}", books=[Book(details={"n": n, "of": i}) for n in range(3)])
                        for i in range(200))
        session.commit()
        rows = session.execute(sa.select(Author.name, sa.func.count(Book.id)).join(Author.books)
                               .where(Book.details["of"].as_integer() < 5)
                               .group_by(Author.name).order_by(Author.name)).all()
        equal([tuple(r) for r in rows], [(f"author {i}", 3) for i in range(5)], "joined rows")
        author = session.scalars(sa.select(Author).where(Author.name == "author 7")
                                 .options(orm.selectinload(Author.books))).one()
        equal(sorted(b.details["n"] for b in author.books), [0, 1, 2], "loaded objects")
        session.delete(author)
        session.commit()
        equal(session.scalar(sa.select(sa.func.count()).select_from(Book)), 597, "rows after delete")
    equal(sorted(t for t in sa.inspect(e).get_table_names() if t in Base.metadata.tables),
          sorted(Base.metadata.tables), "tables by reflection")
    Base.metadata.drop_all(e)
    e.dispose()


@each_driver
def batch(driver, e):
    table = sa.Table(name(f"sqlalchemy_batch_{driver}"), sa.MetaData(),
                     sa.Column("id", sa.Integer, sa.Identity(), primary_key=True), sa.Column("t", sa.Text))
    table.create(e)
    with e.begin() as connection:
        rows = [{"t": f"row {i}"} for i in range(4_000)]
        got = connection.execute(table.insert().returning(table.c.t, sort_by_parameter_order=True), rows)
        equal([r[0] for r in got], [r["t"] for r in rows], f"{driver} returned rows")
        connection.execute(table.insert(), rows)
        equal(connection.scalar(sa.select(sa.func.count()).select_from(table)), 8_000, f"{driver} rows")
    table.drop(e)


def big_value_both_ways():
    data, digest = big_value()
    e = engine("psycopg")
    with e.connect() as connection:
        value = sa.select(sa.literal(data, BYTEA).label("v")).subquery()
        length, server_digest, back = connection.execute(sa.select(
            sa.func.length(value.c.v), sa.func.encode(sa.func.sha256(value.c.v), "hex"), value.c.v)).one()
    e.dispose()
    equal(length, BIG, "length at the server")
    equal(server_digest, digest, "hash at the server")
    equal(sha256(back), digest, "hash of what came back")


@each_driver
def pool(driver, _):
    e = engine(driver, pool_size=3, max_overflow=0, pool_pre_ping=True)
    wrong = []

    def work(i):
        for n in range(20):
            with e.connect() as connection:
                got = connection.scalar(sa.text("SELECT :i * 1000 + :n"), {"i": i, "n": n})
                if got != i * 1000 + n:
                    wrong.append((i, n, got))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    equal(wrong, [], f"{driver} wrong answers")
    equal(e.pool.checkedin(), 3, f"{driver} connections back in the pool")
    e.dispose()


@each_driver
def server_side_cursor(driver, e):
    with e.connect() as connection:
        result = connection.execution_options(yield_per=1_000).execute(
            sa.text("SELECT g FROM generate_series(1, 10500) g"))
        equal(result.scalars().all(), list(range(1, 10_501)), f"{driver} rows")


run([connect, wrong_password, prepared_statements, transaction_error, cancel, orm_objects, batch,
     big_value_both_ways, pool, server_side_cursor])
