"""Many clients: idle beside busy ones, all of them busy on one pool, and what
grows with their number, that of the pools, and that of prepared statements."""

import contextlib

from . import contenders, host
from .load import Load, picked
from .turns import process_of

CROWDS = (100, 500, 1000, 2000, 5000)
# The server's own limit, less what others keep.
MOST_SESSIONS = 1100
MOST_POOLS = 300


def half(bench):
    return max(1, bench.seconds / 2)


def idle(bench):
    """Memory of clients that do nothing after one query, and what they cost 8 busy ones."""
    for clients in bench.idle:
        able = [c for c in bench.taking("idle") if not c.direct and c.start is not None]
        for number in range(bench.rounds * 2):
            for contender in able:
                # Connections of their own take long to open.
                many = bench.rounds * 2 if contender.shares else bench.slow_rounds
                if number < many and (clients <= MOST_SESSIONS or contender.shares):
                    with bench.forgiving(contender, f"{clients} idle clients"):
                        with_idle(bench, contender, clients, number)


def with_idle(bench, contender, clients, number):
    """Two processes, one with idle clients, by turns: the pace of the machine and of the server fall on both.

    Others each time: which of a process's threads serves whom is up to chance, and costs more or less.
    """
    with contextlib.ExitStack() as opened:
        full, empty = (opened.enter_context(process_of(bench, contender)) for _ in range(2))
        beside, without = (opened.enter_context(Load(bench, port, "simple", 8, pid=pid)) for port, pid in (full, empty))
        for load in (beside, without):
            load.run(0.5)
        before = host.rss_kib(full[1])
        opened.enter_context(Load(bench, full[0], "hold", clients))
        kib = (host.rss_kib(full[1]) - before) / clients
        turns = [load.run(half(bench)) for load in (beside, without, without, beside)]
        kept = {key: (turns[0][key] + turns[3][key]) / (turns[1][key] + turns[2][key]) for key in ("tps", "cpu_us")}
        bench.record(f"{clients} idle clients", contender, number,
                     {"tps_kept": kept["tps"], "cpu_kept": kept["cpu_us"], "kib": kib})


def crowd(bench):
    """All clients of a pool ask as fast as they are answered."""
    for clients in CROWDS[:2] if bench.options.quick else CROWDS:
        with contextlib.ExitStack() as opened:
            loads = {}
            for contender in bench.taking("crowd"):
                if contender.shares:
                    with bench.forgiving(contender, f"{clients} clients"):
                        load = Load(bench, contender.port, "simple", clients, pid=contender.pid,
                                    address=contender.address)
                        loads[contender.name] = opened.enter_context(load)
            in_turns(bench, f"{clients} clients on {contenders.POOL} connections", loads)


def in_turns(bench, measure, loads):
    for number in range(bench.rounds):
        for contender in bench.taking("crowd"):
            if contender.name in loads:
                values = loads[contender.name].run(bench.seconds)
                bench.record(measure, contender, number, picked(values, "tps", "cpu_us", "p50_us", "p99_us", "max_us"))


def state(bench):
    """What it costs to keep the state of sessions apart, for clients that have none: with it and without, by turns."""
    careless = 'scrub = "never"\non_session_state = "ignore"'
    for contender in bench.taking("state"):
        if contender.start is not contenders.pgsluice_transaction:
            continue
        for what, clients, size in (("simple", 8, contenders.POOL), ("prepared", 8, contenders.POOL), ("simple", 32, 8)):
            measure = f"state of sessions, {what}, {clients} clients on {size}"
            for number in range(bench.rounds * 2):
                with bench.forgiving(contender, measure):
                    keeping(bench, contender, (measure, number), (what, clients), ({}, {"pooling": careless}), size)


def keeping(bench, contender, entry, load, options, size):
    with contextlib.ExitStack() as opened:
        both = (opened.enter_context(process_of(bench, contender, size=size, **more)) for more in options)
        careful, careless = (opened.enter_context(Load(bench, port, *load, pid=pid)) for port, pid in both)
        for one in (careful, careless):
            one.run(0.5)
        turns = [one.run(half(bench))["cpu_us"] for one in (careful, careless, careless, careful)]
        bench.record(entry[0], contender, entry[1], {"cpu_state": (turns[0] + turns[3]) / (turns[1] + turns[2])})


class Series:
    """Points of a growth: a process of the contender each, all of them kept, and asked by turns.

    Others in each round, since which of a process's threads serves whom is up to chance.
    """

    def __init__(self, bench, title, opened):
        self.bench, self.title, self.opened, self.points = bench, title, opened, []

    def add(self, contender, at, load, hold=None, **options):
        with self.bench.forgiving(contender, f"{self.title}: {at}"):
            port, pid = self.opened.enter_context(process_of(self.bench, contender, **options))
            if hold:
                self.opened.enter_context(Load(self.bench, port, "hold", **hold))
            busy = self.opened.enter_context(Load(self.bench, port, pid=pid, **load))
            # The first pass is for caches and connections that open.
            busy.run(0.3)
            self.points.append((contender, at, busy))

    def measure(self, number):
        # There and back, so that nobody is always the first.
        for contender, at, busy in self.points + self.points[::-1]:
            with self.bench.forgiving(contender, f"{self.title}: {at}"):
                values = picked(busy.run(half(self.bench)), "tps", "cpu_us")
                self.bench.record(f"growth: {self.title}", contender, number, {"at": at} | values)


def growth(bench):
    """The CPU of a transaction of busy clients, against the number of what is beside them."""
    able = {c.name: c for c in bench.taking("growth")}
    sharing = [c for c in able.values() if c.shares and c.start is not None]
    own = [c for c in sharing if c.start is contenders.pgsluice_transaction]
    keeping = [able[name] for name in ("pgsluice session", "pgbouncer session") if name in able]
    pool_roles(bench)
    for fill, who in ((grow_idle, sharing), (grow_pools, sharing), (grow_statements, own + keeping),
                      (grow_shared_statements, own)):
        for number in range(bench.rounds):
            with contextlib.ExitStack() as opened:
                fill(bench, who, opened).measure(number)


def grow_idle(bench, sharing, opened):
    series = Series(bench, "idle clients", opened)
    for contender in sharing:
        for idle_clients in (0, 100, 1000, max(bench.idle)):
            hold = {"clients": idle_clients} if idle_clients else None
            series.add(contender, idle_clients, {"what": "simple", "clients": 8}, hold)
    return series


def pool_roles(bench):
    names = contenders.others(MOST_POOLS)
    bench.server.psql(f"create role pools; {'; '.join(f'create role {name} login' for name in names)}; "
                      f"grant pools to {', '.join(names)}; grant select on pgbench_accounts to pools")


def grow_pools(bench, sharing, opened):
    """Each pool has had a client, which stays, and so has a connection; the busy ones are spread over eight."""
    series = Series(bench, "pools", opened)
    for contender in sharing:
        for pools in (1, 10, 100, MOST_POOLS):
            user = f"pool%{pools}"
            series.add(contender, pools, {"what": "simple", "clients": 8, "user": user},
                       {"clients": pools, "user": user}, users=pools)
    return series


def grow_statements(bench, able, opened):
    series = Series(bench, "prepared statements of a client", opened)
    for contender in able:
        for statements in (1, 10, 100, 1000):
            options = {"statements": 2000} if contender.shares else {}
            series.add(contender, statements, {"what": "prepared", "clients": 8, "statements": statements}, **options)
    return series


def grow_shared_statements(bench, own, opened):
    """More clients than connections, which keep 500 statements each: of 1,000, half have to be made again."""
    series = Series(bench, "prepared statements, 32 clients on 8 connections that keep 500", opened)
    for contender in own:
        for statements in (1, 10, 100, 400, 1000):
            series.add(contender, statements, {"what": "prepared", "clients": 32, "statements": statements},
                       statements=500, size=8)
    return series

