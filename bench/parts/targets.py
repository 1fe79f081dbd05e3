"""The targets, each with what this run measured: a row is met when all its cases are."""

import operator

from . import growths
from .measures import MODES

AT_MOST, AT_LEAST = ("≤", operator.le), ("≥", operator.ge)
SESSION, HELD, TRANSACTION = "pgsluice session", "pgsluice session, held", "pgsluice transaction"
BOUNCERS = {SESSION: "pgbouncer session", HELD: "pgbouncer session", TRANSACTION: "pgbouncer transaction"}
# No peers: what no proxy at all, or one that does less, comes to.
REFERENCES = ("direct TLS", "floor", "haproxy, plaintext")
SPEED = [(f"{mode}, {clients} clients", f"{mode} {clients}") for clients in (8, 64) for mode in MODES]
PACED, PERCENTILES = "paced", (("p50_us", "p50"), ("p99_us", "p99"))


class Figures:
    """The medians of a run."""

    def __init__(self, result):
        self.summary = result["summary"]
        self.names = result["contenders"]

    def of(self, measure, key, name, which="median"):
        cell = self.summary.get(f"{measure}/{key}", {}).get(name)
        return cell and cell[which]

    def ratio(self, measure, key, name, other):
        own, others = self.of(measure, key, name), self.of(measure, key, other)
        return own / others if own is not None and others else None

    def peers(self, subject):
        """All other proxies that use TLS; for session mode without those that pool transactions: they do less
        work on the server with many clients, and behave differently."""
        kept = [n for n in self.names if n not in REFERENCES and not n.startswith("pgsluice")]
        return kept if subject == TRANSACTION else [n for n in kept if "transaction" not in n]

    def to_best(self, measure, key, subject, better):
        """To the best of the peers."""
        found = [value for value in (self.of(measure, key, n) for n in self.peers(subject)) if value]
        own = self.of(measure, key, subject)
        return own / better(found) if found and own is not None else None


def speed(figures):
    """Throughput and CPU."""
    f = figures
    yield ("CPU, session mode, to the floor's", AT_MOST, 1.10,
           [(short, f.ratio(long, "cpu_us", SESSION, "floor")) for long, short in SPEED])
    for subject in (SESSION, TRANSACTION):
        mode, other = subject.split()[1], BOUNCERS[subject]
        # Debian's pgbouncer has no named statements in transaction mode.
        against = {long: other if f.of(long, "cpu_us", other) else "pgbouncer session" for long, _ in SPEED}
        yield (f"CPU, {mode} mode, to pgbouncer's", AT_MOST, 0.80,
               [(short, f.ratio(long, "cpu_us", subject, against[long])) for long, short in SPEED])
        yield (f"throughput, {mode} mode, to pgbouncer's", AT_LEAST, 1.10,
               [(short, f.ratio(long, "tps", subject, against[long])) for long, short in SPEED])
        yield (f"throughput, {mode} mode, to the best peer's", AT_LEAST, 1.0,
               [(short, f.to_best(long, "tps", subject, max)) for long, short in SPEED])


def waits(figures):
    """Latency and the first row."""
    f = figures
    for subject in (SESSION, TRANSACTION):
        mode = subject.split()[1]
        yield (f"paced latency, {mode} mode, to the floor's", AT_MOST, 1.10,
               [(short, f.ratio(PACED, key, subject, "floor")) for key, short in PERCENTILES])
        yield (f"paced latency, {mode} mode, to the best peer's", AT_MOST, 1.0,
               [(short, f.to_best(PACED, key, subject, min)) for key, short in PERCENTILES])
    # The least that a connection that is kept took for a query, without a proxy.
    trip = f.of("first row, trust", "kept_ms", "direct TLS", "min")
    first = [(login, f.of(f"first row, {login}", "new_ms", TRANSACTION)) for login in ("trust", "SCRAM")]
    yield ("first row on a warm pool, new connection, in round trips", AT_MOST, 1.10,
           [(login, value / trip if value and trip else None) for login, value in first])


def bulk(figures):
    """COPY and the storm."""
    f = figures
    for subject in (SESSION, TRANSACTION):
        mode = subject.split()[1]
        yield (f"COPY, {mode} mode, MB/s to direct TLS", AT_LEAST, 1.0,
               [(way, f.ratio(f"COPY {way}", "mb_s", subject, "direct TLS")) for way in ("out", "in")])
        yield (f"COPY, {mode} mode, CPU to pgbouncer's", AT_MOST, 0.70,
               [(way, f.ratio(f"COPY {way}", "cpu_s", subject, BOUNCERS[subject])) for way in ("out", "in")])
    storms = ("trust", "SCRAM")
    yield ("connect storm, held credentials and local trust, to direct TLS", AT_LEAST, 25,
           [(name.partition(" ")[2], f.ratio("connect storm, trust", "tps", name, "direct TLS"))
            for name in (TRANSACTION, HELD)])
    yield ("connect storm, to pgbouncer's with the same logins", AT_LEAST, 1.0,
           [(f"{login}, {name.partition(' ')[2]}", f.ratio(f"connect storm, {login}", "tps", name, BOUNCERS[name]))
            for name in (TRANSACTION, HELD) for login in storms])


def crowds(figures, samples):
    """Memory, idle clients, growth."""
    f = figures
    memory = [(f"{n:,}", f.of(f"{n} idle clients", "kib", TRANSACTION)) for n in (1000, 10000)]
    yield "memory of an idle client, transaction mode, KiB", AT_MOST, 4, memory
    own, tls = (f.of("1000 idle clients", "kib", name) for name in (SESSION, "floor"))
    yield ("memory of an idle client, session mode, less the floor's, which is its TLS, KiB", AT_MOST, 12,
           [("1,000", own - tls if own and tls else None)])
    kept = lambda key: [("beside", f.of("10000 idle clients", key, TRANSACTION))]
    yield "CPU of 8 busy clients beside 10,000 idle ones, to that without", AT_MOST, 1.05, kept("cpu_kept")
    yield "throughput of 8 busy clients beside 10,000 idle ones, to that without", AT_LEAST, 0.95, kept("tps_kept")
    for title, lines in growths.growths(samples).items():
        own = [(name.partition(" ")[2], growths.slope(points)) for name, points in lines.items()
               if name.startswith("pgsluice")]
        # Above what is kept, half of the statements are made again: another cost, not a growth.
        if "that keep" not in title:
            yield f"growth with {title}, exponent", AT_MOST, growths.MOST, own


def state(figures):
    """Of clients that set nothing."""
    prefix, key = "state of sessions, ", "/cpu_state"
    found = [name for name in figures.summary if name.startswith(prefix) and name.endswith(key)]
    yield ("CPU with session state kept apart, to that with scrub = \"never\" and on_session_state = \"ignore\"",
           AT_MOST, 1.10, [(name.removeprefix(prefix).removesuffix(key), figures.summary[name][TRANSACTION]["median"])
                           for name in found if TRANSACTION in figures.summary[name]])


def program(figures):
    yield ("start to the first answer, ms", AT_MOST, 50,
           [(name.partition(" ")[2], figures.of("start", "start_ms", name)) for name in (SESSION, TRANSACTION)])
    yield "stripped program, MB", AT_MOST, 12, [("", figures.of("program", "size_mb", SESSION))]


def rows(result):
    figures = Figures(result)
    yield from speed(figures)
    yield from waits(figures)
    yield from bulk(figures)
    yield from crowds(figures, result["samples"])
    yield from state(figures)
    yield from program(figures)


def judged(result):
    """Each target: what, the bound, what was measured, and whether it is met; for the JSON, too."""
    out = []
    for what, (sign, holds), limit, cases in rows(result):
        cases = [(case, value) for case, value in cases if value is not None]
        if cases:
            # To the digits that are shown.
            failed = [case for case, value in cases if not holds(round(value, 3), limit)]
            out.append({"target": what, "bound": f"{sign} {limit:g}", "met": not failed,
                        "measured": dict(cases), "failed": failed})
    return out


def markdown(result):
    found = judged(result)
    if not found:
        return []
    lines = ["| target | bound | measured | |", "|---|---|---|---|"]
    for row in found:
        digits = 3 if "exponent" in row["target"] else 2
        shown = [f"{case} {value:.{digits}f}".strip() for case, value in row["measured"].items()]
        bold = [f"**{text}**" if case in row["failed"] else text for text, case in zip(shown, row["measured"])]
        verdict = "met" if row["met"] else "**not met**"
        lines.append(f"| {row['target']} | {row['bound']} | {', '.join(bold)} | {verdict} |")
    met = sum(row["met"] for row in found)
    return ["### Targets", f"{met} of {len(found)} are met. A row is met when each of its cases is; those that are "
            "not are bold.", "\n".join(lines)]
