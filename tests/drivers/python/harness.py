"""What the Python driver checks share: cases, exact comparisons, test data."""

import hashlib
import os
import random
import sys
import threading
import time
import traceback

HOST = os.environ["PGHOST"]
PORT = int(os.environ["PGPORT"])
USER = os.environ["PGUSER"]
PASSWORD = os.environ["PGPASSWORD"]
DATABASE = os.environ["PGDATABASE"]
# What refuses a wrong password: the server, or a proxy that says who it is.
REFUSAL = os.environ.get("REFUSED_BY", "") + f'password authentication failed for user "{USER}"'

# A case that gets no answer must be reported by name, not hang the run.
CASE_SECONDS = 30
CANCEL_SECONDS = 5
BIG = 64 * 1024 * 1024

# Distinct names let programs run in parallel against one database.
SUFFIX = f"{os.getpid()}_{random.randrange(1 << 32):08x}"


class Failed(Exception):
    pass


def equal(got, want, what):
    if type(got) is not type(want) or got != want:
        raise Failed(f"{what}: got {got!r:.200}, want {want!r:.200}")


def within(seconds, started, what):
    took = time.monotonic() - started
    if took > seconds:
        raise Failed(f"{what} took {took:.1f} s, allowed are {seconds} s")


def raises(kind, call):
    """Returns the exception, which must be exactly of this class."""
    try:
        got = call()
    except Exception as e:
        if type(e) is not kind:
            raise
        return e
    raise Failed(f"got {got!r:.100}, want {kind.__name__}")


def name(prefix):
    return f"{prefix}_{SUFFIX}"


def big_value():
    """BIG incompressible bytes with every byte value, and their SHA-256 in hex."""
    data = random.Random(20).randbytes(BIG)
    return data, hashlib.sha256(data).hexdigest()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def run(cases):
    """Runs the functions in order, prints a line for each, and exits."""
    failed = 0
    for case in cases:
        def give_up():
            print(f"not ok {case.__name__}: no answer in {CASE_SECONDS} s", flush=True)
            os._exit(1)

        timer = threading.Timer(CASE_SECONDS, give_up)
        timer.daemon = True
        timer.start()
        try:
            case()
        except Exception as e:
            failed += 1
            why = " ".join(f"{type(e).__name__}: {e}".split())
            print(f"not ok {case.__name__}: {why}", flush=True)
            if not isinstance(e, Failed):
                traceback.print_exc()
        else:
            print(f"ok {case.__name__}", flush=True)
        finally:
            timer.cancel()
    sys.exit(1 if failed else 0)
