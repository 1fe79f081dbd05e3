"""Turns of the contenders, and processes of theirs."""

import contextlib

from . import host


def rounds(bench, measure, run, able, count=None):
    """Round-robin over the contenders, all of them once in each round."""
    for number in range(count or bench.rounds):
        for contender in able:
            values = run(contender)
            if values:
                bench.record(measure, contender, number, values)


def fresh(bench, contender, upstream=None, **options):
    """Another process of the contender, that nobody has talked to: its port, and itself."""
    if contender.direct:
        return upstream or bench.server.port, None
    if contender.start is None:
        return contender.port, None
    port = host.free_port()
    bench.serial += 1
    name = f"{contender.name.replace(' ', '-').replace(',', '')}-{bench.serial}"
    return port, contender.start(bench, name, port, upstream or bench.server.port, **options)


@contextlib.contextmanager
def process_of(bench, contender, **options):
    """One that ends with the block: its port and its process id."""
    port, process = fresh(bench, contender, **options)
    try:
        yield port, process.pid
    finally:
        host.stop(process)
