"""`examples/load.rs`, held by a leash: clients that stay, and ask when told to."""

import json
import subprocess

from .host import HOST, ROOT, clean_env, cpu_seconds

PROGRAM = ROOT / "target/release/examples/load"


class Load:
    """`clients` of `what`: hold, simple or prepared. Leaving it ends them.

    They are logged in, and each has had an answer, when this is made.
    """

    def __init__(self, bench, port, what, clients, *, user="bench", statements=1, pid=None, address=HOST):
        self.pid = pid
        self.log = open(bench.host.dir / "load.log", "w+")
        self.process = subprocess.Popen(
            [PROGRAM, f"{address}:{port}", user, "bench", what, str(clients), str(statements)], text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, env=clean_env(), start_new_session=True)
        try:
            self.line()
        except BaseException:
            self.close()
            raise

    def line(self):
        line = self.process.stdout.readline()
        if not line:
            self.log.seek(0)
            raise OSError(f"load: {self.log.read().strip()[-300:]}")
        return line

    def run(self, seconds):
        """What a slice of so many seconds came to, with the proxy's CPU if its process is known."""
        before = cpu_seconds(self.pid) if self.pid else 0
        self.process.stdin.write(f"{seconds}\n")
        values = json.loads(self.line())
        if self.pid and values["count"]:
            values["cpu_us"] = (cpu_seconds(self.pid) - before) * 1e6 / values["count"]
        return values

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.log.close()

    def __enter__(self):
        return self

    def __exit__(self, *reason):
        self.close()


def picked(values, *keys):
    return {key: values[key] for key in keys if key in values}
