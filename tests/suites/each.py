"""Runs each test of a suite as a program of its own, and writes how it ends.

    each.py exit|tap|go COMMAND [ARG...] <NAMES

For suites without pytest. Each line of standard input is a name, and `{}` in the
arguments stands for it. The outcome is the program's exit status, or what it prints:
TAP (`ok 1 - text`), or Go's `--- PASS: Name/sub`, each a test of its own besides the
program's. A program gets TEST_SECONDS for each test that it may hold: once, or ten
times with `tap`. As with recorder.py, each test is a line of JSON in the file RECORD
as soon as it is known; ONLY is a part of the names of the programs to run.
"""

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter

SKIPPED = 77
TAP = re.compile(r"^(not )?ok\b *\d* *(?:- )?(.*?)(?: +# *(skip|todo)\b.*)?$", re.IGNORECASE)
# A test may print without ending its line, so what Go says need not begin one.
GO = re.compile(r"--- (PASS|FAIL|SKIP): (\S+) \(")
GO_OUTCOME = {"PASS": "passed", "FAIL": "failed", "SKIP": "skipped"}


def tap(name, output):
    for line in output.splitlines():
        found = TAP.match(line)
        if not found:
            continue
        bad, text, directive = found.groups()
        outcome = "failed" if bad else "passed"
        if directive:
            outcome = "skipped" if directive.lower() == "skip" else "xfailed" if bad else "passed"
        yield f"{name}: {text or 'unnamed'}", outcome


def go(name, output):
    package, _, main = name.rpartition(":")
    for outcome, test in GO.findall(output):
        if test != main or outcome == "SKIP":
            yield f"{package}:{test}", GO_OUTCOME[outcome]


def run(command, seconds):
    """The exit status, None for a hang, and all output."""
    program = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    status = None
    try:
        output, _ = program.communicate(timeout=seconds)
        status = program.returncode
    except subprocess.TimeoutExpired:
        # TERM first, for a program that has servers of its own to end.
        os.killpg(program.pid, signal.SIGTERM)
        try:
            output, _ = program.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(program.pid, signal.SIGKILL)
            output, _ = program.communicate()
    return status, output.decode("utf-8", "replace")


def main():
    reading, command = sys.argv[1], sys.argv[2:]
    read = {"exit": lambda *_: [], "tap": tap, "go": go}[reading]
    seconds = float(os.environ.get("TEST_SECONDS", "60")) * (10 if reading == "tap" else 1)
    only = os.environ.get("ONLY", "")
    with open(os.environ["RECORD"], "a", encoding="utf-8", buffering=1) as record:
        seen = Counter()

        def write(test, outcome, text):
            seen[test] += 1
            if seen[test] > 1:
                test += f" #{seen[test]}"
            text = "" if outcome == "passed" else text[-2000:]
            record.write(json.dumps({"test": test, "outcome": outcome, "text": text}) + "\n")

        for name in sys.stdin.read().splitlines():
            if only not in name:
                continue
            status, output = run([part.replace("{}", name) for part in command], seconds)
            print(f"=== {name}: {status}\n{output}", flush=True)
            for test, outcome in read(name, output):
                write(test, outcome, "" if outcome == "passed" else near(output, test.removeprefix(f"{name}: ")))
            if seen[name]:
                continue
            outcome = {0: "passed", SKIPPED: "skipped", None: "hang"}.get(status, "failed")
            write(name, outcome, output)


def near(output, text):
    """The lines after the one that says how a test ended, which say why."""
    lines = output.splitlines()
    at = [number for number, line in enumerate(lines) if text in line]
    return "\n".join(lines[at[-1] : at[-1] + 12]) if at else ""


if __name__ == "__main__":
    main()
