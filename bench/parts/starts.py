"""From the start of the process to the first client served, and the size of the program."""

import pathlib
import shutil
import socket
import subprocess
import tempfile

from . import client, contenders, host
from .host import HOST
from .turns import rounds

STARTS = 5


def start(bench):
    able = [c for c in bench.taking("start") if c.start in contenders.POOLERS]
    rounds(bench, "start", lambda c: {"start_ms": one_start(bench, c)}, able, bench.rounds * STARTS)
    for contender in able:
        bench.record("program", contender, 0, {"size_mb": stripped(contenders.POOLERS[contender.start]())})


def one_start(bench, contender):
    """Until a client's first message is answered: a port that listens is not yet somebody who accepts."""
    port = host.free_port()
    bench.serial += 1
    with bench.host.ready_when(answers):
        process = contender.start(bench, f"start-{bench.serial}", port, bench.server.port)
    took = bench.host.took
    host.stop(process)
    return took * 1e3


def answers(port):
    try:
        with socket.create_connection((HOST, port), timeout=5) as probe:
            probe.sendall(client.SSL_REQUEST)
            return probe.recv(1) == b"N"
    except ConnectionError:
        return False


def stripped(program):
    """Megabytes of the program without its symbols."""
    with tempfile.TemporaryDirectory() as place:
        copy = pathlib.Path(place) / "program"
        shutil.copyfile(program, copy)
        subprocess.run(["strip", copy], check=True)
        return copy.stat().st_size / 1e6
