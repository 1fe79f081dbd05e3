"""Runs each case's clients through pools of eight connections, and says what the
proxy's metrics counted meanwhile.

    measure.py [--compare] [--rounds N] [CASE...]

Exits 1 if a client was pinned or failed, or a pool had more connections than its size.
Started by `run`, beside a server of scripts/with-postgres.
"""

import argparse
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
SIZE = 8
CLIENTS = 100
PASSWORD = os.environ["PGPASSWORD"]
UPSTREAM_PORT = os.environ["PGPORT"]
CA = os.environ["UPSTREAM_CA"]

SCHEMA = """
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE account (id int PRIMARY KEY, owner text NOT NULL, balance numeric(12, 2) NOT NULL,
    tags jsonb NOT NULL, state mood NOT NULL);
INSERT INTO account SELECT n, 'owner ' || n, 100, '["a"]', 'good' FROM generate_series(1, 1000) AS n;
CREATE TABLE entry (id serial PRIMARY KEY, account int NOT NULL REFERENCES account,
    amount numeric(12, 2) NOT NULL, note text NOT NULL, at timestamptz NOT NULL DEFAULT now());
CREATE INDEX ON entry (account);
ANALYZE account;
"""


def python(name, *arguments):
    return [f"{os.environ['DRIVERS_PYTHON']}/bin/python", str(HERE / f"{name}_load.py"), *arguments]


CASES = {
    "psycopg2": python("psycopg2"),
    "psycopg3": python("psycopg3"),
    "asyncpg": python("asyncpg"),
    "jdbc_hikari": ["java", "-cp", os.environ["DRIVERS_JAVA"], "HikariLoad"],
    "node_postgres": ["node", "--no-deprecation", str(HERE / "node_postgres_load.js")],
    "django_persistent": python("django", "persistent"),
    "django_fresh": python("django", "fresh"),
    "sqlalchemy_psycopg": python("sqlalchemy", "psycopg"),
    "sqlalchemy_asyncpg": python("sqlalchemy", "asyncpg"),
}

POOL = """
upstream = "server"
[listen]
addresses = ["127.0.0.1:{port}"]
[admin]
http = "127.0.0.1:{http}"
[upstreams.server]
host = "127.0.0.1"
port = {upstream}
sslmode = "verify-full"
sslrootcert = "{ca}"
[limits]
# The logins of passthrough go to the server, beside the pool.
max_upstream_conn = {cap}
[pooling]
pool_mode = "transaction"
default_pool_size = {size}
[log]
level = "info"
{auth}
"""
HELD = """
[auth]
mode = "held"
[[users]]
name = "app"
auth = "scram-sha-256"
password_env = "UPSTREAM_PASSWORD"
"""
PGBOUNCER = """
[databases]
* = host=127.0.0.1 port={upstream}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {directory}/users
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 400
server_tls_sslmode = verify-full
server_tls_ca_file = {ca}
ignore_startup_parameters = extra_float_digits,jit
"""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Service:
    """A program in front of the server, for as long as the block lasts."""

    def __init__(self, kind, directory):
        self.kind = kind
        self.directory = directory / kind
        self.port = free_port()
        self.http = free_port()

    def __enter__(self):
        self.directory.mkdir()
        fields = {
            "port": self.port, "http": self.http, "upstream": UPSTREAM_PORT, "ca": CA, "size": SIZE,
            "directory": self.directory, "cap": 2 * SIZE, "auth": HELD if self.kind == "held" else "",
        }
        config = self.directory / "config"
        command = [os.environ["PROXY_PROGRAM"], "run", "-c", str(config)]
        text = POOL
        if self.kind == "pgbouncer":
            text = PGBOUNCER
            (self.directory / "users").write_text(f'"app" "{PASSWORD}"\n')
            # Root it refuses to be.
            user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
            command = [*user, "pgbouncer", "-q", str(config)]
        config.write_text(text.format(**fields))
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
        environment["UPSTREAM_PASSWORD"] = PASSWORD
        environment["PATH"] += ":/usr/sbin"
        self.log = (self.directory / "log").open("wb")
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, cwd="/"
        )
        until = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return self
            except OSError:
                if time.monotonic() > until or self.process.poll() is not None:
                    sys.exit(f"{self.kind} does not start: {(self.directory / 'log').read_text()}")
                time.sleep(0.05)

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM if self.kind != "pgbouncer" else signal.SIGINT)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def metrics(self):
        """By name; labels are kept in the name where they tell something."""
        values = {}
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/metrics", timeout=10) as answer:
            for line in answer.read().decode().splitlines():
                if not line.startswith("#") and line:
                    name, value = line.rsplit(" ", 1)
                    values[name] = float(value)
        return values


def total(metrics, name, label=""):
    return sum(v for k, v in metrics.items() if re.match(rf"{name}(\{{|$)", k) and label in k)


class Watch:
    """The most that the gauges showed."""

    def __init__(self, service):
        self.service = service
        self.most = {"connections": 0, "waiting": 0, "held": 0}
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        while not self.over.wait(0.3):
            now = self.service.metrics()
            for key, value in {
                "connections": total(now, "pgsluice_pool_connections"),
                "held": total(now, "pgsluice_pool_connections", 'state="held"'),
                "waiting": total(now, "pgsluice_pool_waiting_clients"),
            }.items():
                self.most[key] = max(self.most[key], int(value))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def load(case, service, seconds):
    environment = os.environ | {
        "PGHOST": "127.0.0.1", "PGPORT": str(service.port), "CLIENTS": str(CLIENTS), "SECONDS": str(seconds),
        "STATEMENT_SECONDS": "0.02", "PYTHONDONTWRITEBYTECODE": "1", "PGCONNECT_TIMEOUT": "60",
    }
    if service.kind == "pgbouncer":
        environment["PLAIN"] = "1"
    try:
        done = subprocess.run(CASES[case], env=environment, capture_output=True, text=True, timeout=90 + seconds)
    except subprocess.TimeoutExpired:
        return {"rounds": 0, "errors": CLIENTS, "first": "no end"}
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError:
        return {"rounds": 0, "errors": CLIENTS, "first": done.stderr[-2000:]}


def measured(case, service, seconds):
    """One run through the proxy: its result, and what was counted meanwhile."""
    before = service.metrics()
    with Watch(service) as watch:
        result = load(case, service, seconds)
    after = service.metrics()

    def grown(name, label=""):
        return total(after, f"pgsluice_{name}", label) - total(before, f"pgsluice_{name}", label)

    result["pins"] = {
        re.search(r'reason="(\w+)"', key)[1]: int(value - before.get(key, 0))
        for key, value in after.items()
        if key.startswith("pgsluice_pins_total") and value > before.get(key, 0)
    }
    result["checks"] = int(grown("pool_checks_total"))
    result["cleaned"] = int(grown("pool_scrubs_total"))
    result["opened"] = int(grown("pool_opened_total"))
    waits = grown("client_wait_seconds_count")
    result["wait_ms"] = 1000 * grown("client_wait_seconds_sum") / waits if waits else 0.0
    result["most"] = watch.most
    return result


def problems(result):
    if result["errors"]:
        yield f"{result['errors']} clients failed: {result['first']}"
    if result.get("pins"):
        yield f"pinned: {result['pins']}"
    if result.get("most", {}).get("connections", 0) > SIZE:
        yield f"{result['most']['connections']} connections in a pool of {SIZE}"


def psql(text):
    subprocess.run(
        ["psql", "-Xq", "-v", "ON_ERROR_STOP=1"], input=text, text=True, check=True,
        env=os.environ | {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": CA},
    )


def run_case(case, services, arguments):
    """Prints the lines of a case; says whether all is well."""
    rates, well = {}, True
    for _ in range(arguments.rounds):
        for service in services:
            if service.kind == "pgbouncer":
                result = load(case, service, arguments.seconds)
            else:
                result = measured(case, service, arguments.seconds)
            rate = result["rounds"] / arguments.seconds
            rates.setdefault(service.kind, []).append(rate)
            bad = list(problems(result))
            well = well and not bad
            for problem in bad:
                print(f"not ok {case} {service.kind}: {problem}", flush=True)
            if not bad:
                line = f"ok {case} {service.kind}: {rate:.0f} rounds/s"
                if "most" in result:
                    line += (
                        f", pins 0, checks {result['checks']}, cleaned {result['cleaned']}, wait {result['wait_ms']:.1f} ms,"
                        f" opened {result['opened']}, at most {result['most']['connections']} connections,"
                        f" {result['most']['held']} held, {result['most']['waiting']} waiting"
                    )
                print(line, flush=True)
    if "pgbouncer" in rates and well:
        base = statistics.median(rates["pgbouncer"])
        for kind in ("passthrough", "held"):
            ratio = statistics.median(rates[kind]) / base if base else 0.0
            print(f"# {case} {kind}: {ratio:.2f} of pgbouncer's rate", flush=True)
    return well


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--compare", action="store_true", help="with pgbouncer, too")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("cases", nargs="*")
    arguments = parser.parse_args()
    unknown = set(arguments.cases) - set(CASES)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    psql(SCHEMA)
    failed, began = [], time.monotonic()
    cases = arguments.cases or list(CASES)
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        kinds = ["passthrough", "held"] + ["pgbouncer"] * arguments.compare
        for case in cases:
            # Each case begins with empty pools: startup parameters differ.
            with tempfile.TemporaryDirectory(dir=directory) as own:
                os.chmod(own, 0o755)
                with_all = [Service(kind, Path(own)) for kind in kinds]
                for service in with_all:
                    service.__enter__()
                try:
                    if not run_case(case, with_all, arguments):
                        failed.append(case)
                        for service in with_all[:2]:
                            service.log.flush()
                            lines = (service.directory / "log").read_text().splitlines()
                            print("\n".join(f"! {service.kind} {line}" for line in lines[-12:]), file=sys.stderr)
                finally:
                    for service in with_all:
                        service.__exit__()
    print(f"pins: {len(cases)} cases, {len(failed)} failed; {time.monotonic() - began:.0f} s")
    sys.exit(1 if failed else 0)


main()
