"""What is measured. Each measurement yields its contenders by turns, so that a
slow minute of the machine falls on all of them."""

import re
import statistics
import subprocess
import time

from . import crowds, host, starts
from .contenders import ALL, haproxy
from .host import HOST, ROOT, clean_env, cpu_seconds
from .turns import fresh, rounds

DELAY_MS = 20
MODES = ("simple", "extended", "prepared")


def pgbench(bench, contender, *arguments, scram=False, port=None):
    """One run; what it printed, as numbers. None if it failed, with a line that says so."""
    env = contender.env(bench.server, port) | {"PGUSER": "bench", "PGDATABASE": "bench"}
    if scram:
        env |= {"PGUSER": "bench_scram", "PGPASSWORD": bench.server.password}
    command = ["pgbench", "-n", "-S", "-j", "2", *map(str, arguments)]
    done = subprocess.run(command, env=clean_env(**env), cwd=bench.host.dir, capture_output=True, text=True)
    found = {name: re.search(pattern, done.stdout) for name, pattern in (
        ("count", r"actually processed: (\d+)"), ("tps", r"tps = ([\d.]+)"), ("failed", r"failed transactions: (\d+)"))}
    if done.returncode != 0 or not found["count"] or float(found["failed"].group(1) if found["failed"] else 0):
        bench.note(f"{contender.name}: pgbench {' '.join(command[1:])} failed: {done.stderr.strip()[-300:]}")
        return None
    return {name: float(match.group(1)) for name, match in found.items() if match}


def with_cpu(contender, run, pid=None):
    """The CPU time that the proxy took while `run` went on, in seconds; None without a proxy."""
    pid = pid or contender.pid
    before = cpu_seconds(pid) if pid else 0
    result = run()
    return result, (cpu_seconds(pid) - before if pid else None)


def transactions(bench, contender, *arguments, **options):
    result, cpu = with_cpu(contender, lambda: pgbench(bench, contender, *arguments, **options),
                           options.pop("pid", None))
    if not result or not result["count"]:
        return None
    values = {"tps": result["tps"]}
    if cpu is not None:
        values["cpu_us"] = cpu * 1e6 / result["count"]
    return values


def throughput(bench):
    for clients in (8,) if bench.options.quick else (8, 64):
        for mode in MODES:
            able = [c for c in bench.taking("throughput") if mode != "prepared" or c.prepared]
            rounds(bench, f"{mode}, {clients} clients", lambda c: transactions(
                bench, c, "-M", mode, "-c", clients, "-T", bench.seconds), able)


def latency(bench):
    rounds(bench, "paced", lambda c: paced(bench, c), bench.taking("latency"))


def paced(bench, contender):
    for old in bench.host.dir.glob("paced.*"):
        old.unlink()
    if not pgbench(bench, contender, "-c", 8, "-R", 1000, "-T", bench.seconds, "--log", "--log-prefix=paced"):
        return None
    times, lags = [], []
    for log in bench.host.dir.glob("paced.*"):
        for line in log.read_text().splitlines():
            fields = line.split()
            # The time is from when the transaction should have begun.
            lag = float(fields[6])
            times.append(float(fields[2]) - lag)
            lags.append(lag)
    return {"p50_us": percentile(times, 50), "p99_us": percentile(times, 99), "lag_us": percentile(lags, 99)}


def percentile(values, wanted):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * wanted // 100)]


def storm(bench):
    """Connect, one query, disconnect, with each kind of login that a contender can do."""
    for login in ("trust", "SCRAM"):
        able = [c for c in bench.taking("storm") if login == "trust" or c.scram]
        rounds(bench, f"connect storm, {login}", lambda c: transactions(
            bench, c, "-C", "-c", 8, "-T", 1 if bench.options.quick else bench.seconds, scram=login == "SCRAM"), able)


def copy(bench):
    """A table out to nowhere, and a file in, by psql."""
    bench.server.psql(
        "create unlogged table big as select n, repeat(md5(n::text), 31) as filler "
        f"from generate_series(1, {bench.copy_rows}) n; create unlogged table sink (like big); "
        "grant all on big, sink to bench; vacuum analyze big")
    data = bench.host.dir / "big.copy"
    direct = ALL[0]
    psql_copy(bench, direct, f"\\copy big to '{data}'")
    megabytes = data.stat().st_size / 1e6

    def run(contender, command):
        began = time.monotonic()
        ok, cpu = with_cpu(contender, lambda: psql_copy(bench, contender, command))
        values = {"mb_s": megabytes / (time.monotonic() - began)}
        return ok and values | ({} if cpu is None else {"cpu_s": cpu})

    def inward(contender):
        bench.server.psql("truncate sink")
        return run(contender, f"\\copy sink from '{data}'")

    able = bench.taking("copy")
    rounds(bench, "COPY out", lambda c: run(c, "\\copy big to '/dev/null'"), able)
    rounds(bench, "COPY in", inward, able)


def psql_copy(bench, contender, command):
    env = contender.env(bench.server) | {"PGUSER": "bench", "PGDATABASE": "bench"}
    done = subprocess.run(["psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-c", command], env=clean_env(**env),
                          cwd=bench.host.dir, capture_output=True, text=True)
    if done.returncode != 0:
        bench.note(f"{contender.name}: psql {command} failed: {done.stderr.strip()[-300:]}")
    return done.returncode == 0


def first_row(bench):
    """How long a client waits for its first row, with a server 20 ms away."""
    far = host.free_port()
    bench.host.start_listening("delay", [
        ROOT / "target/release/examples/delay", f"{HOST}:{far}", f"{HOST}:{bench.server.port}", DELAY_MS], far)
    # Those started elsewhere, or past the delaying forwarder, cannot be put in front of it.
    able = [c for c in bench.taking("first-row") if c.direct or c.start not in (None, haproxy)]
    ports = {c.name: fresh(bench, c, far)[0] for c in able}
    for contender in able:
        # A pool is warm when it has a connection.
        for scram in (False, True)[: 1 + contender.scram]:
            wait_for_row(bench, contender, ports[contender.name], scram)

    def run(contender, scram):
        return wait_for_row(bench, contender, ports[contender.name], scram)

    rounds(bench, "first row, trust", lambda c: run(c, False), able)
    rounds(bench, "first row, SCRAM", lambda c: run(c, True), [c for c in able if c.scram])


def wait_for_row(bench, contender, port, scram):
    waits, kept = [], []
    for _ in range(3):
        began = time.monotonic()
        one = contender.connect(bench.server, scram, port)
        one.query("select 1")
        waits.append(time.monotonic() - began)
        began = time.monotonic()
        one.query("select 1")
        kept.append(time.monotonic() - began)
        one.close()
    return {"new_ms": statistics.median(waits) * 1e3, "kept_ms": statistics.median(kept) * 1e3}


MEASURES = {
    "throughput": throughput,
    "latency": latency,
    "storm": storm,
    "copy": copy,
    "idle": crowds.idle,
    "crowd": crowds.crowd,
    "growth": crowds.growth,
    "state": crowds.state,
    "first-row": first_row,
    "start": starts.start,
}
