"""Processes, ports and the throwaway Postgres of a run."""

import contextlib
import os
import pathlib
import pwd
import random
import resource
import secrets
import shutil
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"
# Ten thousand clients, and as many connections of theirs in the proxy.
FILES = 65536
# Not the server's defaults, and said in the report: only SELECTs are measured
# for speed, and nothing here outlives the run.
SETTINGS = {
    "shared_buffers": "256MB",
    "max_connections": "1500",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_wal_size": "4GB",
    "autovacuum": "off",
    "log_min_messages": "warning",
}


def as_postgres():
    """Postgres and pgbouncer refuse to run as root."""
    if os.geteuid() != 0:
        return {}
    return {"user": "postgres", "group": "postgres", "extra_groups": []}


def clean_env(**extra):
    """The caller's environment without what would steer libpq or the proxy."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "PGSLUICE_", "DB_", "DATABASE_URL"))}
    return kept | {"PATH": kept.get("PATH", "") + ":/usr/sbin:/sbin"} | extra


def program(*names):
    for name in names:
        found = shutil.which(name, path=clean_env()["PATH"])
        if found:
            return found
    return None


def free_port():
    """Below the ephemeral range, so that no outgoing connection takes it."""
    while True:
        port = random.randint(20000, 31999)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind((HOST, port))
            return port


def wait_until(ready, what, process=None, seconds=60, pause=0.02):
    deadline = time.monotonic() + seconds
    while not ready():
        if process is not None and process.poll() is not None:
            raise SystemExit(f"bench: {what} ended with status {process.returncode}")
        if time.monotonic() > deadline:
            raise SystemExit(f"bench: {what} is not ready after {seconds} s")
        time.sleep(pause)


def listens(port):
    """Looks into the kernel's table: a connection would already be work for the proxy."""
    wanted = f":{port:04X}"
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table) as lines:
            for fields in map(str.split, lines):
                if fields[3] == "0A" and fields[1].endswith(wanted):
                    return True
    return False


class Host:
    """Everything a run starts or writes; leaving it removes all of it."""

    def __init__(self):
        self.stack = contextlib.ExitStack()
        # Short, since a Unix socket's path may have no more than 107 bytes.
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="pgsluice-bench.", dir="/tmp"))
        self.stack.callback(shutil.rmtree, self.dir, ignore_errors=True)
        self.dir.chmod(0o755)
        # When a port is there, how often to look, and how long it took.
        self.ready, self.pause, self.took = listens, 0.02, 0.0
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        # Not even root may everywhere.
        if most < FILES and os.geteuid() == 0:
            with contextlib.suppress(ValueError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))

    def __enter__(self):
        return self

    def __exit__(self, *reason):
        self.stack.close()

    def start(self, name, command, **options):
        """A process in a session of its own, so that Ctrl-C leaves it to us."""
        log = open(self.dir / f"{name}.log", "wb")
        self.stack.callback(log.close)
        process = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True, cwd="/", env=clean_env(), **options)
        self.stack.callback(stop, process)
        return process

    def start_listening(self, name, command, port, **options):
        began = time.monotonic()
        process = self.start(name, command, **options)
        try:
            wait_until(lambda: self.ready(port), name, process, pause=self.pause)
            self.took = time.monotonic() - began
        except SystemExit:
            print((self.dir / f"{name}.log").read_text(errors="replace")[-4000:])
            raise
        return process

    @contextlib.contextmanager
    def ready_when(self, ready):
        """To measure a start: looks often, and for more than a port that listens."""
        usual = self.ready, self.pause
        self.ready, self.pause = ready, 0.0005
        try:
            yield
        finally:
            self.ready, self.pause = usual

    def write(self, name, text, readable_by_postgres=False):
        path = self.dir / name
        path.write_text(text)
        path.chmod(0o600)
        if readable_by_postgres and os.geteuid() == 0:
            shutil.chown(path, "postgres", "postgres")
        return path


def stop(process):
    for ask in (process.terminate, process.kill):
        if process.poll() is None:
            ask()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)


def cpu_seconds(pid):
    """User and system time of all threads so far, by the clock that Linux keeps for each process."""
    return time.clock_gettime(~pid << 3 | 2)


def rss_kib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise SystemExit(f"bench: process {pid} has no VmRSS")


class Postgres:
    """A server that accepts nothing but TLS on TCP, with the roles of a run.

    `bench` is trusted, `bench_scram` has to prove a password: the floor and
    stunnel cannot relay SCRAM from libpq, which refuses a server that offers
    channel binding over plaintext.
    """

    def __init__(self, host, scale, port=None):
        self.host, self.port, self.password = host, port or free_port(), secrets.token_hex(16)
        bins = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda p: int(p.parts[-3]))
        self.bin = (bins[-1].parent if bins else pathlib.Path(program("postgres") or "").parent)
        self.data, self.sockets = host.dir / "data", host.dir / "sockets"
        for directory in (self.data, self.sockets):
            directory.mkdir(mode=0o700)
            if os.geteuid() == 0:
                shutil.chown(directory, "postgres", "postgres")
        # haproxy's row reaches the server through it, as whoever runs the bench.
        self.sockets.chmod(0o755)
        self.ca = host.dir / "ca.crt"
        self.certificate()
        self.initialise()
        command = [self.bin / "postgres", "-D", self.data, "-p", self.port, "-k", self.sockets]
        self.process = host.start("postgres", command, **as_postgres())
        wait_until(lambda: self.psql("select 1", database="postgres", check=False) == 0, "Postgres", self.process)
        self.psql("create role bench login; create role bench_scram login password "
                  f"'{self.password}'; create database bench owner bench", database="postgres")
        env = self.direct_env() | {"PGUSER": "bench", "PGDATABASE": "bench"}
        subprocess.run(["pgbench", "-i", "-q", "-s", str(scale)], env=clean_env(**env), check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.psql("grant select on all tables in schema public to bench_scram; vacuum analyze; checkpoint")

    def certificate(self):
        """A CA and a certificate of it: rustls takes no CA's certificate as a server's own."""
        def openssl(*arguments):
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                            "-nodes", "-days", "2", *arguments], check=True, stderr=subprocess.DEVNULL)

        place = self.host.dir
        openssl("-subj", "/CN=bench CA", "-keyout", place / "ca.key", "-out", self.ca)
        openssl("-subj", "/CN=localhost", "-addext", f"subjectAltName=DNS:localhost,IP:{HOST}",
                "-addext", "basicConstraints=critical,CA:FALSE", "-CA", self.ca, "-CAkey", place / "ca.key",
                "-keyout", place / "server.key", "-out", place / "server.crt")
        for name in ("server.key", "server.crt"):
            (place / name).chmod(0o600)
            if os.geteuid() == 0:
                shutil.chown(place / name, "postgres", "postgres")
        self.ca.chmod(0o644)

    def initialise(self):
        subprocess.run([self.bin / "initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
                        "--locale=C", "-N"], check=True, stdout=subprocess.DEVNULL, cwd="/", **as_postgres())
        settings = SETTINGS | {
            "listen_addresses": HOST, "ssl": "on",
            "ssl_cert_file": self.host.dir / "server.crt", "ssl_key_file": self.host.dir / "server.key"}
        with open(self.data / "postgresql.conf", "a") as conf:
            conf.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        # The directory of the socket lets nobody else in on the machine but by
        # this file; the superuser only as the server's own account.
        (self.data / "pg_hba.conf").write_text(
            "local all postgres peer map=bench\n"
            "local bench bench_scram scram-sha-256\n"
            "local bench bench trust\n"
            f"hostssl bench bench,+pools {HOST}/32 trust\n"
            f"hostssl bench bench_scram {HOST}/32 scram-sha-256\n")
        owner = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        (self.data / "pg_ident.conf").write_text(f"bench {owner} postgres\n")

    def psql(self, sql, database="bench", check=True):
        done = subprocess.run(
            ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", self.sockets, "-p", str(self.port), "-U", "postgres",
             "-d", database, "-c", sql.split(";")[0]] + [part for s in sql.split(";")[1:] for part in ("-c", s)],
            env=clean_env(), cwd="/", capture_output=True, text=True, **as_postgres())
        if not check:
            return done.returncode
        if done.returncode != 0:
            raise SystemExit(f"bench: psql: {done.stderr}")
        return done.stdout.strip()

    def direct_env(self, port=None):
        return {"PGHOST": "localhost", "PGHOSTADDR": HOST, "PGPORT": str(port or self.port),
                "PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(self.ca), "PGGSSENCMODE": "disable"}
