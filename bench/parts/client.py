"""A client of raw sockets: what a driver does at the least, byte for byte."""

import base64
import functools
import hashlib
import hmac
import secrets
import socket
import ssl
import struct

SSL_REQUEST = struct.pack("!ii", 8, 80877103)


class Client:
    """One session, logged in. `tls` is a context for a direct connection."""

    def __init__(self, address, user, password=None, tls=None):
        self.socket = socket.create_connection(address, timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.socket.sendall(SSL_REQUEST)
            if self.socket.recv(1) != b"S":
                raise ConnectionError("the server has no TLS")
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self.kept = b""
        fields = b"".join(f"{k}\0{v}\0".encode() for k, v in (("user", user), ("database", "bench")))
        self.socket.sendall(struct.pack("!ii", len(fields) + 9, 196608) + fields + b"\0")
        self.login(password)

    def login(self, password):
        nonce = secrets.token_urlsafe(18)
        bare = f"n=,r={nonce}"
        proof = None
        while True:
            kind, body = self.message()
            if kind == b"Z":
                return
            if kind != b"R":
                continue
            step = struct.unpack("!i", body[:4])[0]
            if step == 10:
                first = f"n,,{bare}".encode()
                self.send(b"p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first)
            elif step == 11:
                proof = scram_final(password, bare, body[4:].decode())
                self.send(b"p", proof)
            elif step not in (0, 12):
                raise ConnectionError(f"unexpected authentication request {step}")

    def send(self, kind, body):
        self.socket.sendall(kind + struct.pack("!i", len(body) + 4) + body)

    def message(self):
        while len(self.kept) < 5 or len(self.kept) < 1 + struct.unpack("!i", self.kept[1:5])[0]:
            chunk = self.socket.recv(65536)
            if not chunk:
                raise ConnectionError("closed")
            self.kept += chunk
        end = 1 + struct.unpack("!i", self.kept[1:5])[0]
        kind, body, self.kept = self.kept[:1], self.kept[5:end], self.kept[end:]
        if kind == b"E":
            raise ConnectionError(body.replace(b"\0", b" ").decode(errors="replace"))
        return kind, body

    def query(self, sql):
        self.send(b"Q", sql.encode() + b"\0")
        rows = []
        while True:
            kind, body = self.message()
            if kind == b"D":
                # The first column of the row.
                size = struct.unpack("!i", body[2:6])[0]
                rows.append(body[6:6 + size].decode() if size >= 0 else None)
            elif kind == b"Z":
                return rows

    def close(self):
        self.send(b"X", b"")
        self.socket.close()


@functools.cache
def salted_password(password, salt, iterations):
    """Once for each salt: what is measured is the wait for others, not this client's own milliseconds."""
    return hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), iterations)


def scram_final(password, bare, server_first):
    fields = dict(part.split("=", 1) for part in server_first.split(","))
    salted = salted_password(password, fields["s"], int(fields["i"]))
    key = hmac.digest(salted, b"Client Key", "sha256")
    final = f"c=biws,r={fields['r']}"
    signed = hmac.digest(hashlib.sha256(key).digest(), f"{bare},{server_first},{final}".encode(), "sha256")
    proof = base64.b64encode(bytes(a ^ b for a, b in zip(key, signed))).decode()
    return f"{final},p={proof}".encode()


def verifying(ca):
    """Trusts only `ca`, and checks the name: libpq's verify-full."""
    return ssl.create_default_context(cafile=str(ca))
