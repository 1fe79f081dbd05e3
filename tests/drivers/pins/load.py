"""What the Python clients share: so many of them in threads or tasks, all at work
for so many seconds, and their count of rounds as one line of JSON.

A round is what an application does for one request: two reads, a transaction of
an insert that returns its key, an update and a statement of some milliseconds,
and a read. For everything else the drivers are left as they are.
"""

import asyncio
import json
import multiprocessing
import os
import random
import threading
import time
import traceback

CLIENTS = int(os.environ["CLIENTS"])
SECONDS = float(os.environ["SECONDS"])
PROCESSES = 2
THREADS = CLIENTS // PROCESSES
# Behind a pooler that cannot carry them: no prepared statements.
PLAIN = "PLAIN" in os.environ
WARM_UP = 3
ACCOUNTS = 1000
# Something is to happen at the server, so that connections are what is scarce.
STATEMENT = float(os.environ["STATEMENT_SECONDS"])

READ = "SELECT owner, balance, tags, state FROM account WHERE id = {}"
INSERT = "INSERT INTO entry (account, amount, note) VALUES ({}, {}, {}) RETURNING id, at"
UPDATE = "UPDATE account SET balance = balance + {} WHERE id = {}"
WORK = "SELECT pg_sleep({})"
SUM = "SELECT count(*), max(at) FROM entry WHERE account = {}"


def account():
    return random.randint(1, ACCOUNTS)


def require(condition, what):
    if not condition:
        raise AssertionError(what)


class Tally:
    """What the clients of one process have done."""

    def __init__(self):
        self.rounds = 0
        self.errors = 0
        self.first = None

    def failed(self, error):
        self.errors += 1
        if self.first is None:
            self.first = "".join(traceback.format_exception(error))

    def line(self):
        return {"rounds": self.rounds, "errors": self.errors, "first": self.first}


def threads(open_client):
    """`open_client()` is called once a process, and returns what each thread calls
    for a function that does one round."""
    barrier = multiprocessing.Barrier(CLIENTS)
    results = multiprocessing.Queue()
    processes = [
        multiprocessing.Process(target=_process, args=(open_client, barrier, results)) for _ in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    lines = [results.get() for _ in processes]
    for process in processes:
        process.join()
    report(lines)


def _process(open_client, barrier, results):
    tally = Tally()
    lock = threading.Lock()
    try:
        client = open_client()
    except Exception as error:
        tally.failed(error)
        barrier.abort()
        results.put(tally.line())
        return

    def work():
        done = 0
        try:
            one_round = client()
            for _ in range(WARM_UP):
                one_round()
            barrier.wait(60)
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                one_round()
                done += 1
        except Exception as error:
            with lock:
                tally.failed(error)
            barrier.abort()
        with lock:
            tally.rounds += done

    workers = [threading.Thread(target=work) for _ in range(THREADS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    results.put(tally.line())


def tasks(open_client):
    """As `threads`, in one process with as many tasks."""
    asyncio.run(_tasks(open_client))


async def _tasks(open_client):
    tally = Tally()
    barrier = asyncio.Barrier(CLIENTS)
    one_round = await open_client()

    async def work():
        try:
            for _ in range(WARM_UP):
                await one_round()
            await barrier.wait()
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                await one_round()
                tally.rounds += 1
        except Exception as error:
            tally.failed(error)
            await barrier.abort()

    await asyncio.gather(*(work() for _ in range(CLIENTS)))
    report([tally.line()])


def report(lines):
    firsts = [line["first"] for line in lines if line["first"]]
    total = {
        "rounds": sum(line["rounds"] for line in lines),
        "errors": sum(line["errors"] for line in lines),
        "first": firsts[0] if firsts else None,
    }
    print(json.dumps(total), flush=True)
    # Pools have threads of their own that would be waited for.
    os._exit(0)
