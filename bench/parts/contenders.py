"""Who is measured, and how each is started. One more is one more line of `ALL`."""

import dataclasses
import os
import pathlib
import shutil
import subprocess
import tempfile

from . import client, host
from .host import HOST, ROOT

# Connections to the server of who shares them: pgbouncer's default.
POOL = 20


@dataclasses.dataclass
class Contender:
    """`start(bench, name, port, upstream_port)` returns the process of the proxy."""
    name: str
    start: object = None
    # Can relay, or do by itself, the SCRAM of libpq.
    scram: bool = True
    # Gives the connection to others between transactions.
    shares: bool = False
    # Keeps it for others when the client leaves.
    keeps: bool = False
    # Named prepared statements outlive a transaction.
    prepared: bool = True
    # Whether the way to the server is the one that everybody else has to take.
    tls: bool = True
    port: int = 0
    pid: int = 0
    address: str = HOST
    direct: bool = False
    pidfile: str = ""
    # Takes part in these measures alone; in all if there are none.
    only: tuple = ()

    def find(self):
        """Whether a proxy that someone else starts is there."""
        try:
            self.pid = int(pathlib.Path(self.pidfile).read_text().split()[0])
        except (OSError, IndexError):
            return False
        return host.listens(self.port)

    def env(self, server, port=None):
        if self.direct:
            return server.direct_env(port)
        return {"PGHOST": self.address, "PGPORT": str(port or self.port), "PGSSLMODE": "disable",
                "PGGSSENCMODE": "disable"}

    def connect(self, server, scram=False, port=None):
        user, password = ("bench_scram", server.password) if scram else ("bench", None)
        if self.direct:
            return client.Client((HOST, port or server.port), user, password, client.verifying(server.ca))
        return client.Client((self.address, port or self.port), user, password)


def floor(bench, name, port, upstream):
    command = [ROOT / "target/release/examples/floor", f"{HOST}:{port}", f"{HOST}:{upstream}", "localhost",
               bench.server.ca]
    return bench.host.start_listening(name, command, port)


def pgsluice(bench, name, port, upstream, extra="", require_auth=""):
    conf = bench.host.write(f"{name}.toml", f"""\
[listen]
addresses = ["{HOST}:{port}"]
[upstreams.bench]
host = "{HOST}"
server_name = "localhost"
port = {upstream}
sslmode = "verify-full"
sslrootcert = "{bench.server.ca}"
{require_auth}[limits]
max_client_conn = 12000
max_upstream_conn = 1150
# Neither writes a line for each login and each end.
[log]
level = "warn"
{extra}""")
    return bench.host.start_listening(name, [pgsluice_program(), "-c", conf], port)


def lets_ask_nothing():
    """The server trusts the role; a program of before this key takes that for granted, and would refuse the key."""
    key = 'require_auth = "none,scram-sha-256"\n'
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as conf:
        conf.write(f'[upstreams.bench]\nhost = "localhost"\nsslrootcert = "system"\nport = 1\n{key}')
        conf.flush()
        checked = subprocess.run([pgsluice_program(), "config", "check", "-c", conf.name], capture_output=True)
    return key if checked.returncode == 0 else ""


def pgsluice_program():
    return os.environ.get("PROXY_PROGRAM", str(ROOT / "target/release/pgsluice"))


def held(bench, name, port, upstream, mode, *, size=POOL, users=0, statements=200, pooling=""):
    """Credentials held, clients believed or asked for SCRAM, as pgbouncer does it; `users` more have pools too."""
    trusted = "".join(f'[[users]]\nname = "{user}"\nauth = "trust"\n' for user in ["bench", *others(users)])
    return pgsluice(bench, name, port, upstream, f"""\
[pooling]
pool_mode = "{mode}"
default_pool_size = {size}
max_prepared_statements = {statements}
{pooling}
[[pools]]
name = "bench"
database = "bench"
mode = "{mode}"
size = {size}
[auth]
mode = "held"
{trusted}[[users]]
name = "bench_scram"
auth = "scram-sha-256"
password = "{bench.server.password}"
""", require_auth=lets_ask_nothing())


def pgsluice_transaction(bench, name, port, upstream, **more):
    return held(bench, name, port, upstream, "transaction", **more)


def pgsluice_held(bench, name, port, upstream):
    return held(bench, name, port, upstream, "session", size=1150)


def others(users):
    return [f"pool{number + 1}" for number in range(users)]


def pgbouncer(bench, name, port, upstream, mode="session", *, size=None, users=0):
    trusted = ["bench", *others(users)]
    listed = "".join(f'"{user}" ""\n' for user in trusted) + f'"bench_scram" "{bench.server.password}"\n'
    lines = "".join(f"host all {user} {HOST}/32 {how}\n" for user, how in
                    [(user, "trust") for user in trusted] + [("bench_scram", "scram-sha-256")])
    accounts = bench.host.write(f"{name}.users", listed, readable_by_postgres=True)
    hba = bench.host.write(f"{name}.hba", lines, readable_by_postgres=True)
    conf = bench.host.write(f"{name}.ini", f"""\
[databases]
bench = host={HOST} port={upstream}
[pgbouncer]
listen_addr = {HOST}
listen_port = {port}
unix_socket_dir =
auth_type = hba
auth_hba_file = {hba}
auth_file = {accounts}
pool_mode = {mode}
max_client_conn = 12000
default_pool_size = {size or (POOL if mode == "transaction" else 1150)}
server_tls_sslmode = verify-full
server_tls_ca_file = {bench.server.ca}
ignore_startup_parameters = extra_float_digits
log_connections = 0
log_disconnections = 0
""", readable_by_postgres=True)
    return bench.host.start_listening(name, [host.program("pgbouncer"), conf], port, **host.as_postgres())


def stunnel(bench, name, port, upstream):
    conf = bench.host.write(f"{name}.conf", f"""\
foreground = yes
pid =
debug = warning
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
[bench]
client = yes
accept = {HOST}:{port}
connect = {HOST}:{upstream}
protocol = pgsql
CAfile = {bench.server.ca}
verifyChain = yes
checkHost = localhost
""")
    return bench.host.start_listening(name, [host.program("stunnel4", "stunnel"), conf], port)


def haproxy(bench, name, port, _upstream):
    """It cannot ask for TLS as Postgres wants to be asked: forwards to the server's Unix socket, in plaintext."""
    path = bench.server.sockets / f".s.PGSQL.{bench.server.port}"
    conf = bench.host.write(f"{name}.cfg", f"""\
global
    maxconn 9000
    nbthread 1
defaults
    mode tcp
    timeout connect 10s
    timeout client 1h
    timeout server 1h
listen bench
    bind {HOST}:{port}
    server postgres unix@{path}
""")
    return bench.host.start_listening(name, [host.program("haproxy"), "-db", "-f", conf], port)


def transaction(bench, name, port, upstream, **more):
    return pgbouncer(bench, name, port, upstream, "transaction", **more)


ALL = [
    Contender("direct TLS", direct=True),
    Contender("floor", floor, scram=False),
    Contender("pgsluice session", pgsluice),
    Contender("pgsluice session, held", pgsluice_held, keeps=True, only=("storm", "first-row")),
    Contender("pgsluice transaction", pgsluice_transaction, shares=True, keeps=True),
    Contender("pgbouncer session", pgbouncer, keeps=True),
    Contender("pgbouncer transaction", transaction, shares=True, keeps=True, prepared=False),
    Contender("stunnel", stunnel, scram=False),
    Contender("haproxy, plaintext", haproxy, tls=False),
]
# Those that speak the protocol themselves, and where their programs are.
POOLERS = {pgsluice: pgsluice_program, pgsluice_transaction: pgsluice_program,
           pgbouncer: lambda: host.program("pgbouncer"), transaction: lambda: host.program("pgbouncer")}
NEEDS = {pgbouncer: ("pgbouncer",), transaction: ("pgbouncer",), stunnel: ("stunnel4", "stunnel"),
         haproxy: ("haproxy",)}


def available(contender):
    needed = NEEDS.get(contender.start)
    return needed is None or host.program(*needed) is not None


def external(text):
    """NAME=HOST:PORT:PIDFILE, of a proxy that someone else started."""
    name, _, place = text.partition("=")
    address, port, pidfile = place.split(":", 2)
    # Shared by its name, for the measure with many clients on one pool.
    return Contender(name, address=address, port=int(port), pidfile=pidfile, scram=False, shares="transaction" in name)


def versions():
    """What each program says it is, by its first line."""
    asked = {"postgres": ["psql", "--version"], "pgbouncer": [host.program("pgbouncer"), "--version"],
             "haproxy": [host.program("haproxy"), "-v"],
             "stunnel": [host.program("stunnel4", "stunnel"), "-version"],
             "pgsluice": [pgsluice_program(), "--version"]}
    found = {}
    for name, command in asked.items():
        if command[0] and shutil.which(command[0]):
            done = subprocess.run(command, capture_output=True, text=True)
            lines = [line for line in (done.stdout + done.stderr).splitlines() if any(c.isdigit() for c in line)]
            found[name] = lines[0].split(" on ")[0].removeprefix("[ ] ").strip() if lines else "unknown"
    return found
