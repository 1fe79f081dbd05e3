"""Pipelines, directly and through the proxy: the conversations must be the same.

Half of the cases speak the protocol themselves, so that every order of messages
can be had; the others use libpq's pipeline mode by way of psycopg. Each case
gives a list of lines; PIDs and numbers of the run are left out of them.

    pipeline.py [--direct] [--rounds N] [--only PATTERN]
"""

import argparse
import base64
import difflib
import hashlib
import hmac
import os
import random
import re
import secrets
import select
import socket
import ssl
import struct
import sys
import time

import psycopg
from psycopg import pq

SECONDS = 20
NUMBER = f"{random.randrange(100_000, 1_000_000)}"


class Target:
    """Where to connect, and how."""

    def __init__(self, direct):
        env = os.environ
        self.user, self.password, self.database = env["PGUSER"], env["PGPASSWORD"], env["PGDATABASE"]
        self.ca = env["UPSTREAM_CA"] if direct else None
        self.host = env["UPSTREAM_HOST"] if direct else env["PGHOST"]
        self.address = (env.get("UPSTREAM_HOSTADDR") or self.host) if direct else self.host
        self.port = int(env["UPSTREAM_PORT"] if direct else env["PGPORT"])

    def conninfo(self):
        # hostaddr even where it is the same: an inherited PGHOSTADDR must not count.
        parameters = {"host": self.host, "port": self.port, "user": self.user, "password": self.password,
                      "dbname": self.database, "application_name": "pipeline", "connect_timeout": 10}
        if self.address != self.host:
            parameters["hostaddr"] = self.address
        if self.ca:
            parameters.update(sslmode="verify-full", sslrootcert=self.ca)
        else:
            parameters.update(sslmode="disable")
        return psycopg.conninfo.make_conninfo(**parameters)


# ---- The protocol by hand ---------------------------------------------------

def text(value):
    return value.encode() + b"\0"


def message(kind, body=b""):
    return kind.encode() + struct.pack("!I", len(body) + 4) + body


def Q(sql):
    return message("Q", text(sql))


def P(sql, name="", types=()):
    return message("P", text(name) + text(sql) + struct.pack(f"!H{len(types)}I", len(types), *types))


def B(*values, name="", portal="", results=()):
    body = text(portal) + text(name) + struct.pack("!HH", 0, len(values))
    for value in values:
        data = None if value is None else value if isinstance(value, bytes) else str(value).encode()
        body += struct.pack("!i", -1) if data is None else struct.pack("!i", len(data)) + data
    return message("B", body + struct.pack(f"!H{len(results)}H", len(results), *results))


def D(kind, name=""):
    return message("D", kind.encode() + text(name))


def E(portal="", rows=0):
    return message("E", text(portal) + struct.pack("!I", rows))


def C(kind, name=""):
    return message("C", kind.encode() + text(name))


def run(sql, *values):
    """The usual four messages, without Sync."""
    return P(sql) + B(*values) + D("P") + E()


S, H = message("S"), message("H")
COPY_DONE = message("c")


def d(data):
    return message("d", data)


class Wire:
    def __init__(self, target):
        self.lines = []
        self.buffer = b""
        self.ended = False
        self.socket = socket.create_connection((target.address, target.port), timeout=SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if target.ca:
            self.socket.sendall(struct.pack("!II", 8, 80877103))
            if self.socket.recv(1) != b"S":
                raise RuntimeError("no TLS")
            context = ssl.create_default_context(cafile=target.ca)
            self.socket = context.wrap_socket(self.socket, server_hostname=target.host)
        parameters = {"user": target.user, "database": target.database, "application_name": "pipeline",
                      "client_encoding": "UTF8", "DateStyle": "ISO", "TimeZone": "UTC"}
        body = struct.pack("!I", 196608) + b"".join(text(k) + text(v) for k, v in parameters.items()) + b"\0"
        self.socket.sendall(struct.pack("!I", len(body) + 4) + body)
        self.log_in(target)

    def log_in(self, target):
        """SCRAM-SHA-256 without channel binding."""
        nonce = secrets.token_hex(12)
        bare = f"n=,r={nonce}"
        while True:
            kind, body = self.read()
            if kind == "Z":
                return
            if kind == "E":
                raise RuntimeError(self.render(kind, body))
            if kind != "R":
                continue
            code = struct.unpack("!I", body[:4])[0]
            if code == 10:
                first = ("n,," + bare).encode()
                self.send(message("p", text("SCRAM-SHA-256") + struct.pack("!I", len(first)) + first))
            elif code == 11:
                server_first = body[4:].decode()
                fields = dict(part.split("=", 1) for part in server_first.split(","))
                salted = hashlib.pbkdf2_hmac("sha256", target.password.encode(), base64.b64decode(fields["s"]), int(fields["i"]))
                key = hmac.digest(salted, b"Client Key", "sha256")
                final = f"c=biws,r={fields['r']}"
                signature = hmac.digest(hashlib.sha256(key).digest(), f"{bare},{server_first},{final}".encode(), "sha256")
                proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signature))).decode()
                self.send(message("p", f"{final},p={proof}".encode()))
            elif code not in (0, 12):
                raise RuntimeError(f"authentication request {code}")

    def send(self, data):
        self.socket.sendall(data)
        return self

    def dribble(self, data, size=1):
        for i in range(0, len(data), size):
            self.socket.sendall(data[i:i + size])

    def read(self):
        while len(self.buffer) < 5 or len(self.buffer) < 1 + struct.unpack("!I", self.buffer[1:5])[0]:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError
            self.buffer += data
        end = 1 + struct.unpack("!I", self.buffer[1:5])[0]
        kind, body, self.buffer = chr(self.buffer[0]), self.buffer[5:end], self.buffer[end:]
        return kind, body

    def see(self, until="Z", times=1):
        """Notes what comes, up to the given message for the given time; an end or silence is noted too."""
        while times:
            try:
                kind, body = self.read()
            except (TimeoutError, EOFError, ConnectionError) as e:
                self.ended = not isinstance(e, TimeoutError)
                self.lines.append("<end>" if self.ended else "<nothing more>")
                return self
            self.lines.append(self.render(kind, body))
            if kind in until:
                times -= 1
        return self

    def silence(self, seconds=0.3):
        """Nothing may come now."""
        # TLS may hold decrypted bytes that select does not see.
        pending = self.buffer or (isinstance(self.socket, ssl.SSLSocket) and self.socket.pending())
        if pending or select.select([self.socket], [], [], seconds)[0]:
            kind, body = self.read()
            self.lines.append("<unexpected> " + self.render(kind, body))
        else:
            self.lines.append("<silence>")
        return self

    def close(self):
        try:
            self.send(message("X"))
        except OSError:
            pass
        self.socket.close()

    @staticmethod
    def render(kind, body):
        strings = lambda b: [s.decode("utf-8", "backslashreplace") for s in b.split(b"\0")[:-1]]
        if kind in "EN":
            fields = [s for s in strings(body) if s]
            return f"{kind} " + " | ".join(fields)
        if kind == "T":
            count, at, columns = struct.unpack("!H", body[:2])[0], 2, []
            for _ in range(count):
                end = body.index(b"\0", at)
                # The table's oid is another one each time.
                _, column, oid, size, modifier, fmt = struct.unpack("!IhIhih", body[end + 1:end + 19])
                columns.append(f"{body[at:end].decode()}:{column}:{oid}:{size}:{modifier}:{fmt}")
                at = end + 19
            return "T " + " ".join(columns)
        if kind == "D":
            count, at, values = struct.unpack("!H", body[:2])[0], 2, []
            for _ in range(count):
                size = struct.unpack("!i", body[at:at + 4])[0]
                value = None if size < 0 else body[at + 4:at + 4 + size]
                if value is not None and len(value) > 100:
                    value = f"{len(value)} bytes, {hashlib.sha256(value).hexdigest()}"
                values.append(repr(value))
                at += 4 + max(size, 0)
            return "D " + " ".join(values)
        if kind == "A":
            return f"A {strings(body[4:])}"
        if kind in "SC":
            return f"{kind} " + "=".join(strings(body))
        return f"{kind} {body!r}"


def wire(case):
    """Makes a case of a function that is given an open connection."""
    def play(target):
        connection = Wire(target)
        try:
            case(connection)
            # Whatever happened, the session must still answer, or be gone on both sides.
            if not connection.ended:
                connection.send(S + Q("SELECT 'alive'"))
                connection.see(times=2)
        except OSError as e:
            connection.lines.append(f"<{type(e).__name__}>")
        finally:
            connection.close()
        return connection.lines
    play.__name__ = "wire_" + case.__name__
    CASES.append(play)
    return play


CASES = []


@wire
def no_sync(w):
    # Answers without any Sync, by Flush alone; then the one Sync.
    w.send(run("SELECT 1") + H).see("C")
    w.silence()
    w.send(run("SELECT 2") + run("SELECT 3") + H).see("C", 2)
    w.silence()
    w.send(S).see()


@wire
def no_flush(w):
    # The server keeps its answers until Flush or Sync, or its buffer is full.
    w.send(run("SELECT 1")).silence()
    w.send(H).see("C")
    w.send(run("SELECT 2")).silence().send(S).see()


@wire
def step_by_step(w):
    w.send(P("SELECT g FROM generate_series(1, 5) g") + H).see("1")
    w.send(D("S") + H).see("T")
    w.send(B() + H).see("2")
    w.send(D("P") + H).see("T")
    w.send(E(rows=2) + H).see("s")
    w.send(E(rows=2) + H).see("s")
    w.send(E(rows=2) + H).see("C")
    w.send(E(rows=2) + H).see("C")
    w.send(S).see()


@wire
def error_in_the_middle(w):
    w.send(run("SELECT 1") + run("SELECT 1 / 0") + run("SELECT 'skipped'") + S + run("SELECT 'after'") + S).see(times=2)
    w.send(run("SELECT nosuch") + H).see("E")
    w.silence()
    w.send(run("SELECT 'skipped'") + H).silence()
    w.send(S).see()


@wire
def error_at_each_step(w):
    w.send(P("SELEC") + B() + E() + S).see()
    w.send(P("SELECT $1::int") + B("x") + D("P") + E() + S).see()
    w.send(P("SELECT $1::int") + B("1", "2") + E() + S).see()
    w.send(B(name="nosuch") + E() + S).see()
    w.send(P("SELECT 1") + E("nosuch") + S).see()
    w.send(D("S", "nosuch") + S).see()
    w.send(D("P", "nosuch") + S).see()
    w.send(C("S", "nosuch") + C("P", "nosuch") + S).see()
    w.send(P("SELECT 1; SELECT 2") + S).see()


@wire
def query_after_error(w):
    # Until Sync all is skipped, a simple query as well: two requests, one Z.
    w.send(run("SELECT 1 / 0") + Q("SELECT 'skipped'") + S).see()
    w.send(Q("SELECT 'answered'")).see()


@wire
def simple_among_extended(w):
    w.send(run("SELECT 1") + S + Q("SELECT 2; SELECT 3") + run("SELECT 4") + S + Q("") + Q("SELECT 1 / 0") + run("SELECT 5") + S)
    w.see(times=6)
    # A simple query ends the implicit transaction of what is before it, and the unnamed statement.
    w.send(P("SELECT 6") + Q("SELECT 7") + B() + E() + S).see(times=2)


@wire
def implicit_transaction(w):
    w.send(Q("CREATE TEMP TABLE tmp (id int PRIMARY KEY)")).see()
    w.send(run("INSERT INTO tmp VALUES (1)") + run("INSERT INTO tmp VALUES (2)") + S).see()
    w.send(run("INSERT INTO tmp VALUES (3)") + run("INSERT INTO tmp VALUES (1)") + run("INSERT INTO tmp VALUES (4)") + S).see()
    w.send(run("SELECT count(*) FROM tmp") + S).see()
    w.send(run("INSERT INTO tmp VALUES (5)") + S + run("INSERT INTO tmp VALUES (5)") + S + run("INSERT INTO tmp VALUES (6)") + S).see(times=3)
    w.send(run("SELECT array_agg(id ORDER BY id) FROM tmp") + S).see()
    # SET in what fails is taken back, and told so.
    w.send(run("SET TimeZone = 'Asia/Tokyo'") + run("SELECT 1 / 0") + S + run("SHOW TimeZone") + S).see(times=2)


@wire
def explicit_transaction(w):
    w.send(Q("CREATE TEMP TABLE tmp (id int)")).see()
    w.send(run("BEGIN") + S + run("INSERT INTO tmp VALUES (1)") + S + run("SELECT 1 / 0") + S + run("SELECT 'failed'") + S
           + run("ROLLBACK") + S + run("SELECT count(*) FROM tmp") + S).see(times=6)
    w.send(run("BEGIN") + run("INSERT INTO tmp VALUES (2)") + run("COMMIT") + run("SELECT 1 / 0") + S).see()
    w.send(run("SELECT count(*) FROM tmp") + S).see()
    w.send(run("BEGIN") + run("SAVEPOINT s") + run("INSERT INTO tmp VALUES (3)") + S + run("SELECT nosuch") + S
           + run("ROLLBACK TO s") + run("COMMIT") + S).see(times=3)
    w.send(run("INSERT INTO tmp VALUES (4)") + run("BEGIN") + run("ROLLBACK") + S + run("SELECT count(*) FROM tmp") + S).see(times=2)


@wire
def named_statements(w):
    w.send(P("SELECT $1::int + 1", "a") + P("SELECT $1::text", "b") + S).see()
    w.send(B(1, name="a") + E() + B("x", name="b") + E() + B(2, name="a") + E() + S).see()
    w.send(P("SELECT 'other'", "a") + S).see()
    w.send(B(3, name="a") + E() + S).see()
    w.send(C("S", "a") + P("SELECT 'new a'", "a") + B(name="a") + E() + S).see()
    w.send(D("S", "b") + C("S", "b") + S + B("y", name="b") + E() + S).see(times=2)
    # A statement survives the error of what came after it.
    w.send(P("SELECT 'kept'", "kept") + run("SELECT 1 / 0") + S + B(name="kept") + E() + S).see(times=2)
    # Skipped, and so never prepared nor closed.
    w.send(run("SELECT 1 / 0") + P("SELECT 1", "never") + C("S", "kept") + S + B(name="never") + E() + S + B(name="kept") + E() + S).see(times=3)
    w.send(Q("SELECT name, statement, from_sql FROM pg_prepared_statements ORDER BY name")).see()
    w.send(Q("EXECUTE kept; DEALLOCATE kept")).see()
    w.send(B(name="kept") + E() + S).see()
    w.send(Q("PREPARE by_sql AS SELECT $1::int * 2")).see()
    w.send(B(21, name="by_sql") + D("P") + E() + S).see()


@wire
def resets(w):
    # A reset in a pipeline must not take what is prepared after it.
    w.send(P("SELECT 1", "a") + P("SELECT 2", "b") + S).see()
    w.send(run("DEALLOCATE ALL") + P("SELECT 'again'", "a") + B(name="a") + E() + S + B(name="a") + E() + S + B(name="b") + E() + S).see(times=3)
    w.send(run("DISCARD ALL") + S + P("SELECT 'third'", "a") + B(name="a") + E() + S).see(times=2)
    w.send(run("SELECT 1") + run("DISCARD ALL") + S + B(name="a") + E() + S).see(times=2)
    w.send(Q("SELECT 1; DISCARD ALL") + B(name="a") + E() + S).see(times=2)
    w.send(run("SET work_mem = '5MB'") + S + run("DISCARD ALL") + S + run("SHOW work_mem") + S).see(times=3)


@wire
def unnamed_statement(w):
    # Parsed once, used in later groups: what many drivers do.
    w.send(P("SELECT $1::int * 10") + D("S") + S).see()
    w.send(B(1) + E() + S + B(2) + E() + S).see(times=2)
    w.send(S).see()
    w.send(B(3) + E() + S).see()
    w.send(P("SELEC") + S + B(4) + E() + S).see(times=2)
    w.send(P("SELECT 'x'") + S + Q("SELECT 'simple'") + B() + E() + S).see(times=3)


@wire
def portals(w):
    w.send(run("BEGIN") + S).see()
    w.send(P("SELECT g FROM generate_series(1, 4) g") + B(portal="p1") + B(portal="p2") + E("p1", 1) + E("p2", 2) + S).see()
    w.send(E("p1", 1) + E("p2", 9) + C("P", "p2") + S + E("p2") + S).see(times=2)
    w.send(run("ROLLBACK") + S + E("p1") + S).see(times=2)
    w.send(P("SELECT 1") + B(portal="p") + S + E("p") + S).see(times=2)
    w.send(run("BEGIN") + P("SELECT 1") + B(portal="p") + B(portal="p") + S + run("ROLLBACK") + S).see(times=2)
    # A portal is a cursor for SQL, and a cursor is a portal.
    w.send(run("BEGIN") + P("SELECT g FROM generate_series(1, 3) g") + B(portal="c") + S + Q("FETCH 1 FROM c") + E("c", 1) + S).see(times=3)
    w.send(Q("DECLARE d CURSOR FOR SELECT 'by sql'") + E("d") + S + Q("COMMIT")).see(times=3)


@wire
def copy_in(w):
    w.send(Q("CREATE TEMP TABLE tmp (id int PRIMARY KEY)")).see()
    # Its own Sync is swallowed while the server takes data.
    w.send(P("COPY tmp FROM STDIN") + B() + E() + S).see("G")
    w.silence()
    w.send(d(b"1\n2\n") + COPY_DONE + S).see()
    w.send(P("COPY tmp FROM STDIN") + B() + E() + d(b"3\n") + COPY_DONE + run("SELECT count(*) FROM tmp") + S).see()
    w.send(run("SELECT 'before'") + P("COPY tmp FROM STDIN") + B() + E() + H).see("G")
    w.send(d(b"4") + d(b"\n") + H + d(b"5\n") + COPY_DONE + S + run("SELECT sum(id) FROM tmp") + S).see(times=2)


@wire
def copy_in_fails(w):
    w.send(Q("CREATE TEMP TABLE tmp (id int PRIMARY KEY)")).see()
    w.send(P("COPY tmp FROM STDIN") + B() + E() + d(b"1\nx\n") + d(b"2\n") + COPY_DONE + S + run("SELECT count(*) FROM tmp") + S).see(times=2)
    w.send(P("COPY tmp FROM STDIN") + B() + E() + d(b"1\n") + message("f", text("changed my mind")) + S).see()
    w.send(P("COPY nosuch FROM STDIN") + B() + E() + d(b"1\n") + COPY_DONE + S).see()
    w.send(Q("COPY tmp FROM STDIN") + d(b"1\n1\n") + COPY_DONE + Q("SELECT count(*) FROM tmp")).see(times=2)
    w.send(Q("COPY tmp FROM STDIN; SELECT 'second'; COPY tmp FROM STDIN") + d(b"1\n") + COPY_DONE + d(b"2\n") + COPY_DONE).see()
    # Another message in the middle of the data is an error of the client.
    w.send(Q("COPY tmp FROM STDIN") + d(b"7\n") + P("SELECT 1") + S).see("Z", 2)


@wire
def copy_out(w):
    w.send(run("SELECT 1") + P("COPY (SELECT generate_series(1, 3)) TO STDOUT") + B() + E() + run("SELECT 2") + S).see()
    w.send(P("COPY (SELECT 1 / (g - 2) FROM generate_series(1, 3) g) TO STDOUT") + B() + E() + run("SELECT 'skipped'") + S).see()
    w.send(Q("COPY (SELECT 'x') TO STDOUT; SELECT 'y'")).see()
    w.send(P("COPY (SELECT 1::int2) TO STDOUT (FORMAT binary)") + B() + E() + S).see()


@wire
def reported_settings(w):
    # A changed setting is told just before the Z of its group, once.
    w.send(run("SET TimeZone = 'Asia/Tokyo'") + run("SET TimeZone = 'Europe/Paris'") + run("SHOW TimeZone") + S
           + run("SET DateStyle = 'German'") + S + run("SELECT date '2020-02-01'") + S).see(times=3)
    w.send(run("BEGIN") + run("SET IntervalStyle = 'iso_8601'") + S + run("ROLLBACK") + S).see(times=2)
    w.send(run("SELECT set_config('application_name', 'by function', false)") + run("RESET ALL") + S).see()


@wire
def notifications(w):
    channel = f"ch_{NUMBER}"
    w.send(run(f"LISTEN {channel}") + S).see()
    w.send(run(f"NOTIFY {channel}, 'one'") + S + run(f"NOTIFY {channel}, 'two'") + run(f"NOTIFY {channel}, 'three'") + S).see(times=2)
    w.send(run("BEGIN") + S + run(f"NOTIFY {channel}, 'at commit'") + S + run("COMMIT") + S).see(times=3)
    w.send(run("UNLISTEN *") + run(f"NOTIFY {channel}, 'lost'") + S).see()


@wire
def notices(w):
    say = "DO $$ BEGIN RAISE NOTICE 'first'; RAISE WARNING 'second'; END $$"
    w.send(run(say) + run("SELECT 1") + run("DROP TABLE IF EXISTS nosuch") + S).see()
    w.send(run("ROLLBACK") + S + run("BEGIN") + run("BEGIN") + S + run("END") + S).see(times=3)


@wire
def syncs_alone(w):
    w.send(S * 40).see(times=40)
    w.send(H * 10 + S).see()
    w.send(P("") + B() + D("P") + E() + S + Q("") + Q(";") + S).see(times=4)


@wire
def idle(w):
    w.send(run("SELECT 1") + S).see()
    w.silence(0.4)
    w.send(run("SELECT 2") + S).see()
    w.send(run("BEGIN") + S).see()
    w.silence(0.4)
    w.send(run("SELECT 3")).silence(0.3)
    w.send(H).see("C").silence(0.3)
    w.send(run("COMMIT") + S).see()


@wire
def function_call(w):
    # int4pl(5, 7), text in and out; one that fails; one in a failed transaction.
    call = lambda oid, *v: message("F", struct.pack("!IHHH", oid, 1, 0, len(v)) + b"".join(struct.pack("!i", len(x)) + x for x in v) + struct.pack("!H", 0))
    w.send(call(177, b"5", b"7")).see()
    w.send(call(154, b"5", b"0") + run("SELECT 1") + S).see(times=2)
    w.send(call(999999999)).see()
    w.send(Q("BEGIN") + Q("SELECT nosuch") + call(177, b"1", b"2") + Q("ROLLBACK")).see(times=4)
    w.send(run("SELECT 1 / 0") + call(177, b"1", b"2") + S).see()


@wire
def changed_result(w):
    w.send(Q("CREATE TEMP TABLE tmp (a int); INSERT INTO tmp VALUES (1)")).see()
    w.send(P("SELECT * FROM tmp", "star") + B(name="star") + D("P") + E() + S).see()
    w.send(Q("ALTER TABLE tmp ADD COLUMN b text DEFAULT 'x'")).see()
    w.send(B(name="star") + D("P") + E() + S + D("S", "star") + S).see(times=2)
    w.send(B(name="star") + E() + S).see()
    w.send(C("S", "star") + P("SELECT * FROM tmp", "star") + B(name="star") + D("P") + E() + S).see()


@wire
def formats(w):
    w.send(P("SELECT $1::int4, $2::text, $3::bool", types=(23, 25, 16)) + D("S") + B(1, None, "t", results=(1,)) + D("P") + E() + S).see()
    w.send(B(1, "x", "f", results=(1, 0, 1)) + D("P") + E() + S).see()
    w.send(B(1, "x", "f", results=(1, 0)) + E() + S).see()
    w.send(P("SELECT $1, $2", types=(0, 23)) + D("S") + B("a", 5) + E() + S).see()


@wire
def large(w):
    big = "x" * 1_000_000
    w.send(P("SELECT length($1::text), $1::text") + B(big) + E() + run("SELECT 'next'") + S).see()
    w.send(P("SELECT length('" + big + "')", "big") + S + B(name="big") + E() + S).see(times=2)
    w.send(Q("SELECT repeat('y', 3000000)") + run("SELECT 'z'") + S).see(times=2)
    w.send(P("SELECT 1", "n" * 200) + B(name="n" * 200, portal="p" * 200) + E("p" * 200) + S).see()


@wire
def dribbled(w):
    conversation = run("SELECT $1::text", "x") + S + Q("SELECT 'q'") + run("SELECT 1 / 0") + run("SELECT 2") + S
    for size in (1, 3, 7):
        w.dribble(conversation, size)
        w.see(times=3)


@wire
def long_pipeline(w):
    # Written while it is read, as both buffers fill.
    group = b"".join(run(f"SELECT {i}, repeat('r', 200)") + (S if i % 5 == 0 else b"") for i in range(1, 2001))
    sent, at = 0, 0
    w.socket.setblocking(False)
    done = 0
    while done < 400:
        readable, writable, _ = select.select([w.socket], [w.socket] if at < len(group) else [], [], SECONDS)
        if not readable and not writable:
            w.lines.append("<nothing more>")
            break
        if writable:
            try:
                at += w.socket.send(group[at:at + 65536])
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                pass
        try:
            while True:
                w.buffer += w.socket.recv(65536) or (_ for _ in ()).throw(EOFError())
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        while len(w.buffer) >= 5 and len(w.buffer) > struct.unpack("!I", w.buffer[1:5])[0]:
            kind, body = w.read()
            done += kind == "Z"
            if kind in "DZE":
                w.lines.append(w.render(kind, body))
    w.socket.settimeout(SECONDS)


@wire
def violations_under_load(w):
    # Every group for itself; each seventh breaks the key, and only that one is lost.
    w.send(Q("CREATE TEMP TABLE tmp (id int PRIMARY KEY)")).see()
    for start in range(0, 2100, 300):
        w.send(P("INSERT INTO tmp VALUES ($1) RETURNING id", f"s{start}") + S
               + b"".join(B(i - 1 if i % 7 == 6 else i, name=f"s{start}") + E() + S for i in range(start, start + 300)))
        w.see(times=301)
    w.send(run("SELECT count(*), sum(id) FROM tmp") + S).see()


@wire
def unknown_message(w):
    w.send(run("SELECT 1") + S + message("y", b"what") + S).see(times=3)


# ---- libpq's pipeline mode --------------------------------------------------

class Libpq:
    def __init__(self, target):
        self.lines = []
        self.connection = pq.PGconn.connect(target.conninfo().encode())
        if self.connection.status != pq.ConnStatus.OK:
            raise RuntimeError(self.connection.error_message.decode())
        self.connection.notice_handler = lambda r: self.lines.append(f"notice {r.error_field(pq.DiagnosticField.MESSAGE_PRIMARY)}")

    def note(self, result):
        if result is None:
            self.lines.append("none")
            return None
        status = pq.ExecStatus(result.status).name
        rows = [[result.get_value(r, c) for c in range(result.nfields)] for r in range(result.ntuples)]
        state = result.error_field(pq.DiagnosticField.SQLSTATE)
        said = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY)
        self.lines.append(f"{status} {result.command_status} {rows} {state} {said}")
        return status

    def results(self, count):
        """That many calls of PQgetResult; None counts too."""
        for _ in range(count):
            self.note(self.connection.get_result())
        return self

    def until_sync(self, times=1):
        """Everything up to the results of that many syncs."""
        for _ in range(20_000):
            if self.note(self.connection.get_result()) == "PIPELINE_SYNC":
                times -= 1
                if not times:
                    return self
        raise RuntimeError("no end")

    def refused(self, call, *args):
        try:
            result = call(*args)
            self.lines.append(f"allowed {result!r:.60}")
        except psycopg.Error as e:
            self.lines.append(f"refused {' '.join(str(e).split())}")

    def status(self):
        self.lines.append(f"status {pq.PipelineStatus(self.connection.pipeline_status).name}"
                          f" {pq.TransactionStatus(self.connection.transaction_status).name}")
        return self


def libpq(case):
    def play(target):
        session = Libpq(target)
        try:
            case(session, session.connection)
            if session.connection.pipeline_status:
                session.refused(session.connection.exit_pipeline_mode)
            session.status()
        finally:
            session.connection.finish()
        return session.lines
    play.__name__ = "libpq_" + case.__name__
    CASES.append(play)
    return play


@libpq
def disallowed_in_pipeline(s, c):
    c.enter_pipeline_mode()
    s.refused(c.exec_, b"SELECT 1")
    s.refused(c.exec_params, b"SELECT 1", [])
    s.refused(c.prepare, b"s", b"SELECT 1")
    s.refused(c.send_query, b"SELECT 1")
    s.refused(c.enter_pipeline_mode)
    c.send_query_params(b"SELECT 1", None)
    s.refused(c.exit_pipeline_mode)
    c.pipeline_sync()
    s.until_sync()
    c.exit_pipeline_mode()
    s.note(c.exec_(b"SELECT 'out of it'"))
    c.send_query(b"SELECT 1")
    s.refused(c.enter_pipeline_mode)
    s.results(2)


@libpq
def simple_pipeline(s, c):
    c.enter_pipeline_mode()
    c.send_query_params(b"SELECT $1", [b"1"], [23])
    c.pipeline_sync()
    s.status().results(3)
    s.results(1)
    c.exit_pipeline_mode()


@libpq
def multi_pipelines(s, c):
    c.enter_pipeline_mode()
    for value in (b"a", b"b", b"c"):
        c.send_query_params(b"SELECT $1::text", [value])
        c.pipeline_sync()
    s.until_sync(3).results(1).status()


@libpq
def no_sync(s, c):
    c.enter_pipeline_mode()
    for i in range(10):
        c.send_query_params(b"SELECT repeat('x', 10), $1::int", [str(i).encode()])
    c.send_flush_request()
    c.flush()
    s.results(20)
    c.pipeline_sync()
    s.until_sync()


@libpq
def pipeline_abort(s, c):
    s.note(c.exec_(b"CREATE TEMP TABLE tmp (id int PRIMARY KEY)"))
    c.enter_pipeline_mode()
    c.send_query_params(b"INSERT INTO tmp VALUES ($1)", [b"1"])
    c.send_query_params(b"SELECT no_such_function($1)", [b"1"])
    c.send_query_params(b"INSERT INTO tmp VALUES ($1)", [b"2"])
    c.pipeline_sync()
    c.send_query_params(b"INSERT INTO tmp VALUES ($1)", [b"3"])
    c.pipeline_sync()
    s.results(3).status().results(3).status()
    s.until_sync(2).status()
    # An error after some rows of one result.
    c.send_query_params(b"SELECT 1.0 / g FROM generate_series(3, -1, -1) g", None)
    c.pipeline_sync()
    c.set_single_row_mode()
    s.until_sync()
    # An abort, then more behind it, before anything is read.
    c.send_query_params(b"SELECT 1; SELECT 2", None)
    c.send_query_params(b"SELECT 'skipped'", None)
    c.pipeline_sync()
    c.send_query_params(b"SELECT count(*), sum(id) FROM tmp", None)
    c.pipeline_sync()
    s.until_sync(2).status()


@libpq
def pipeline_idle(s, c):
    c.enter_pipeline_mode()
    for _ in range(3):
        c.send_query_params(b"SELECT 1", None)
        c.send_flush_request()
        c.flush()
        s.results(2)
        time.sleep(0.1)
        s.lines.append(f"busy {c.is_busy()}")
    c.pipeline_sync()
    s.until_sync()
    c.send_query_params(b"DO $$ BEGIN RAISE NOTICE 'while idle'; END $$", None)
    c.pipeline_sync()
    s.until_sync()
    c.exit_pipeline_mode()
    s.note(c.exec_(b"SELECT 2"))


@libpq
def prepared(s, c):
    c.enter_pipeline_mode()
    c.send_prepare(b"select_one", b"SELECT $1, '42', $2::numeric, interval '1 sec'", [23])
    c.send_describe_prepared(b"select_one")
    c.send_query_prepared(b"select_one", [b"7", b"1.5"])
    c.pipeline_sync()
    s.until_sync()
    c.send_prepare(b"select_one", b"SELECT 'twice'")
    c.pipeline_sync()
    c.send_query_prepared(b"select_one", [b"8", b"2.5"])
    c.pipeline_sync()
    s.until_sync(2)
    c.send_query_params(b"DEALLOCATE select_one", None)
    c.send_query_prepared(b"select_one", [b"8", b"2.5"])
    c.pipeline_sync()
    s.until_sync()
    c.exit_pipeline_mode()
    s.note(c.exec_(b"BEGIN"))
    s.note(c.exec_(b"DECLARE cursor_one CURSOR FOR SELECT 1 AS a, 'x' AS b"))
    c.enter_pipeline_mode()
    c.send_describe_portal(b"cursor_one")
    c.send_describe_portal(b"nosuch")
    c.pipeline_sync()
    s.until_sync()
    c.exit_pipeline_mode()
    s.note(c.exec_(b"ROLLBACK"))


@libpq
def single_row(s, c):
    c.enter_pipeline_mode()
    for i in range(3):
        c.send_query_params(b"SELECT generate_series(42, $1)", [str(44 + i).encode()], [23])
    c.pipeline_sync()
    for i in range(3):
        # Not for the second, to see that the mode is one query's.
        if i != 1:
            c.set_single_row_mode()
        while s.note(c.get_result()) is not None:
            pass
    s.until_sync()
    c.send_query_params(b"SELECT 1 WHERE false", None)
    c.send_flush_request()
    c.flush()
    c.set_single_row_mode()
    s.results(2)
    c.pipeline_sync()
    s.until_sync()


@libpq
def transaction(s, c):
    for sql in (b"CREATE TEMP TABLE tmp (id int)", b"CREATE TEMP TABLE log (n int)"):
        s.note(c.exec_(sql))
    c.enter_pipeline_mode()
    c.send_prepare(b"rollback", b"ROLLBACK")
    c.send_query_params(b"BEGIN", None)
    c.send_query_params(b"SELECT 0 / 0", None)
    c.send_query_prepared(b"rollback", None)
    c.send_query_params(b"INSERT INTO tmp VALUES (1)", None)
    c.pipeline_sync()
    c.send_query_params(b"INSERT INTO tmp VALUES (2)", None)
    c.pipeline_sync()
    c.send_query_prepared(b"rollback", None)
    c.send_query_params(b"INSERT INTO tmp VALUES (3)", None)
    c.pipeline_sync()
    c.send_query_params(b"BEGIN", None)
    c.send_query_params(b"INSERT INTO tmp VALUES (4)", None)
    c.pipeline_sync()
    c.send_query_params(b"COMMIT", None)
    c.pipeline_sync()
    s.until_sync(5).status()
    c.exit_pipeline_mode()
    s.note(c.exec_(b"SELECT array_agg(id ORDER BY id) FROM tmp"))


@libpq
def unique_violations(s, c):
    # In one implicit transaction after the other, without waiting, until the socket is full.
    s.note(c.exec_(b"CREATE TEMP TABLE tmp (id bigint PRIMARY KEY, v text)"))
    c.nonblocking = 1
    c.enter_pipeline_mode()
    c.send_prepare(b"insertion", b"INSERT INTO tmp VALUES ($1, $2) RETURNING id")
    c.pipeline_sync()
    syncs, sent, noted = 1, 0, 0
    while True:
        while sent < 1500 and not c.flush():
            key = sent - 1 if sent % 50 == 49 else sent
            c.send_query_prepared(b"insertion", [str(key).encode(), b"v" * 300])
            sent += 1
            if sent % 10 == 0:
                c.pipeline_sync()
                syncs += 1
        readable, _, _ = select.select([c.socket], [c.socket] if c.flush() else [], [], SECONDS)
        if readable:
            c.consume_input()
        while not c.is_busy():
            result = c.get_result()
            if result is None:
                if noted == syncs and sent == 1500:
                    break
                # Between two results, or none yet.
                if c.is_busy():
                    break
                result = c.get_result()
                if result is None:
                    break
            if s.note(result) == "PIPELINE_SYNC":
                noted += 1
        if sent == 1500 and noted == syncs:
            break
    c.nonblocking = 0
    c.exit_pipeline_mode()
    s.note(c.exec_(b"SELECT count(*), sum(id) FROM tmp"))


@libpq
def copy_is_disallowed(s, c):
    s.note(c.exec_(b"CREATE TEMP TABLE tmp (id int)"))
    c.enter_pipeline_mode()
    c.send_query_params(b"COPY (SELECT 1) TO STDOUT", None)
    c.pipeline_sync()
    s.refused(lambda: s.note(c.get_result()))


def scrub(lines):
    # An error names the schema of a temporary table, which has another number in each session.
    lines = [re.sub(r"pg_temp_\d+", "pg_temp_N", line.replace(NUMBER, "000000")) for line in lines]
    # As in `run`: libpq's word for a lost connection differs with TLS.
    return [re.sub(r"SSL connection has been closed unexpectedly|server closed the connection unexpectedly.*", "the connection was lost", x) for x in lines]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--direct", action="store_true", help="both sides directly: tests the cases")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", metavar="PATTERN")
    parser.add_argument("--show", action="store_true", help="print the direct conversations")
    args = parser.parse_args()
    cases = [c for c in CASES if not args.only or re.search(args.only, c.__name__)]
    failed = 0
    began = time.monotonic()
    for case in cases:
        sides = []
        for direct in [True] + [args.direct] * args.rounds:
            try:
                sides.append(scrub(case(Target(direct))))
            except Exception as e:
                sides.append([f"<{type(e).__name__}: {e}>"])
        want, *gots = sides
        if args.show:
            print("\n".join([f"== {case.__name__}"] + want))
        wrong = [got for got in gots if got != want]
        # A case that breaks directly compares nothing.
        broken = len(want) == 1 and want[0].startswith("<")
        if wrong or broken:
            failed += 1
            print(f"not ok {case.__name__}" + (f": directly: {want[0]}" if broken else ""))
            for line in list(difflib.unified_diff(want, (wrong or [want])[0], "direct", "proxy", lineterm="", n=2))[:30]:
                print("    " + line[:300])
        else:
            print(f"ok {case.__name__}")
    print(f"pipeline: {len(cases)} cases, {failed} failed; {time.monotonic() - began:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
