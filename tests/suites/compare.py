"""Compares how the tests of one suite ended directly and through the proxy.

    compare.py SUITE DIRECT.jsonl DIRECT.jsonl... -- THROUGH.jsonl

Prints each test that does worse through the proxy, and one line of counts.
Exits 1 if there is any, 2 if the direct runs are no measure. A test is
expected to end as it ended in every direct run; one that differs between those is
flaky, and counts as worse only if it hangs.
"""

import json
import os
import sys
from collections import Counter


def read(path):
    with open(path, encoding="utf-8") as lines:
        entries = map(json.loads, lines)
        # The direct runs may have been of all tests.
        return {entry["test"]: entry for entry in entries if os.environ.get("ONLY", "") in entry["test"]}


def main():
    suite, arguments = sys.argv[1], sys.argv[2:]
    at = arguments.index("--")
    direct, through = [read(path) for path in arguments[:at]], read(arguments[at + 1])

    def outcomes(name):
        return {run.get(name, {"outcome": "not run"})["outcome"] for run in direct}

    names = sorted(set().union(*direct))
    good = [n for n in names if len(outcomes(n)) == 1 and outcomes(n) <= {"passed", "xfailed"}]
    flaky = [n for n in names if len(outcomes(n)) > 1]
    worse, better = [], []
    for name in sorted({*names, *through}):
        expected = outcomes(name)
        got = through.get(name, {"outcome": "not run", "text": ""})
        if got["outcome"] in expected or (got["outcome"] == "passed" and name not in good):
            if got["outcome"] not in expected and name not in flaky:
                better.append(name)
            continue
        # What failed or was skipped directly may not hang, nor begin to fail.
        if name in good or got["outcome"] == "hang" or (got["outcome"] == "failed" and name not in flaky):
            worse.append((name, got))
    for name, got in worse:
        print(f"{suite}: worse: {name}: {'/'.join(sorted(outcomes(name)))} directly, {got['outcome']} through the proxy")
        for line in got["text"].strip().splitlines()[-4:]:
            print(f"    {line[:300]}")
    for name in flaky:
        print(f"{suite}: flaky: {name}: {'/'.join(sorted(outcomes(name)))} directly")
    for name in better:
        print(f"{suite}: better: {name}: {'/'.join(sorted(outcomes(name)))} directly")

    counts = Counter(entry["outcome"] for entry in direct[0].values())
    said = ", ".join(f"{counts[outcome]} {outcome}" for outcome in sorted(counts))
    print(f"{suite}: {len(names)} tests; directly {said}; {len(flaky)} flaky, {len(better)} better, {len(worse)} worse")
    if not good:
        print(f"{suite}: no test passes directly")
        sys.exit(2)
    sys.exit(1 if worse else 0)


if __name__ == "__main__":
    main()
