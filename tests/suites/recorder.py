"""Writes how each test ends, and ends the program when one hangs.

A pytest plugin (`-p recorder`) and, for Django, a test runner. Each test is a
line of JSON in the file RECORD as soon as it is done, so that nothing is lost
when the program dies. A test that takes longer than TEST_SECONDS is recorded as
a hang, and the program exits with 75: a driver which waits in C code cannot be
interrupted otherwise. Tests that are in RECORD already are left out, so the
program is started again until nothing is left.
"""

import atexit
import faulthandler
import json
import os
import sys
import threading
import time

HANG = 75
# The best first: a test is as good as the worst of its phases and subtests.
ORDER = ["passed", "xfailed", "skipped", "failed", "hang"]


class Record:
    def __init__(self):
        self.path = os.environ["RECORD"]
        self.seconds = float(os.environ.get("TEST_SECONDS", "60"))
        self.lock = threading.Lock()
        self.running = None
        self.deadline = None
        self.outcome, self.text = "passed", ""
        self.done = set()
        if os.path.exists(self.path):
            with open(self.path, encoding="utf-8") as lines:
                self.done = {json.loads(line)["test"] for line in lines}
        self.file = open(self.path, "a", encoding="utf-8", buffering=1)
        threading.Thread(target=self.watch, daemon=True).start()

    def write(self, test, outcome, text=""):
        self.file.write(json.dumps({"test": test, "outcome": outcome, "text": text[-2000:]}) + "\n")

    def start(self, test):
        with self.lock:
            self.running, self.deadline = test, time.monotonic() + self.seconds
            self.outcome, self.text = "passed", ""

    def note(self, outcome, text=""):
        with self.lock:
            if ORDER.index(outcome) > ORDER.index(self.outcome):
                self.outcome, self.text = outcome, text

    def stop(self):
        with self.lock:
            if self.running is not None:
                self.write(self.running, self.outcome, self.text)
            self.running = None

    def between(self, what):
        """The time before the first test and after the last may hang as well."""
        with self.lock:
            self.running, self.deadline = what, time.monotonic() + 5 * self.seconds
            self.outcome, self.text = "passed", ""

    def watch(self):
        while True:
            time.sleep(0.5)
            with self.lock:
                if self.running is None or time.monotonic() < self.deadline:
                    continue
                self.write(self.running, "hang", f"still running; before that: {self.outcome} {self.text}")
                faulthandler.dump_traceback(file=sys.__stderr__, all_threads=True)
                os._exit(HANG)


record = Record() if "RECORD" in os.environ else None

# --- pytest


def pytest_collection_modifyitems(config, items):
    only = os.environ.get("ONLY", "")
    left = [item for item in items if item.nodeid not in record.done and only in item.nodeid]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(left)])
    items[:] = left


def pytest_runtest_logstart(nodeid):
    record.start(nodeid)


def pytest_runtest_logreport(report):
    outcome = report.outcome
    if hasattr(report, "wasxfail"):
        outcome = "xfailed" if report.skipped else "passed"
    record.note(outcome, "" if outcome == "passed" else f"{report.when}: {report.longreprtext}")


def pytest_runtest_logfinish(nodeid):
    record.stop()


def pytest_collectreport(report):
    if report.failed:
        record.write(f"collect {report.nodeid}", "failed", report.longreprtext)


def pytest_sessionfinish():
    record.between("end of the program")
    atexit.register(record.stop)


# --- Django

try:
    from django.test.runner import DiscoverRunner
    from unittest import TextTestResult
except ImportError:
    DiscoverRunner = TextTestResult = object


class Result(TextTestResult):
    def fail(self, test, outcome, text):
        # What fails outside of a test, such as setUpClass, is one of its own.
        if record.running == test.id():
            record.note(outcome, text)
        else:
            record.write(test.id(), outcome, text)

    def startTest(self, test):
        record.start(test.id())
        super().startTest(test)

    def stopTest(self, test):
        super().stopTest(test)
        record.stop()

    def addError(self, test, err):
        super().addError(test, err)
        self.fail(test, "failed", self.errors[-1][1])

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.fail(test, "failed", self.failures[-1][1])

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            record.note("failed", self._exc_info_to_string(err, subtest))

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.fail(test, "skipped", reason)

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        record.note("xfailed")

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        record.note("failed", "unexpected success")


class Runner(DiscoverRunner):
    def get_resultclass(self):
        return Result

    def build_suite(self, *args, **kwargs):
        suite = super().build_suite(*args, **kwargs)
        only = os.environ.get("ONLY", "")
        suite._tests = [t for t in suite if t.id() not in record.done and only in t.id()]
        return suite

    def setup_databases(self, **kwargs):
        record.between("setup_databases")
        configured = super().setup_databases(**kwargs)
        record.running = None
        return configured

    def teardown_databases(self, old_config, **kwargs):
        record.between("teardown_databases")
        try:
            super().teardown_databases(old_config, **kwargs)
        except BaseException as error:
            record.note("failed", repr(error))
            raise
        finally:
            record.stop()
