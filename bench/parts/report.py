"""The result of a run: medians, tables, JSON, and plots drawn by hand."""

import datetime
import json
import os
import platform
import re
import statistics
import subprocess

from . import contenders, growths, plots, targets
from .host import ROOT, SETTINGS
from .measures import DELAY_MS

PAPER, PLOTS = ROOT / "bench/RESULTS.md", ROOT / "bench/plots"

# Key of a sample: its name in the table, digits, and which way is better.
FIGURES = {
    "tps": ("transactions/s", 0, "more"),
    "cpu_us": ("CPU, µs/transaction", 1, "less"),
    "p50_us": ("latency p50, µs", 0, "less"),
    "p99_us": ("latency p99, µs", 0, "less"),
    "lag_us": ("behind schedule p99, µs", 0, "less"),
    "mb_s": ("MB/s", 0, "more"),
    "cpu_s": ("CPU, s", 2, "less"),
    "kib": ("memory, KiB/client", 1, "less"),
    "tps_kept": ("throughput of 8 busy beside them, of that without", 2, "more"),
    "cpu_kept": ("CPU of 8 busy beside them, of that without", 2, "less"),
    "max_us": ("latency max, µs", 0, "less"),
    "cpu_state": ("CPU, to that without", 2, "less"),
    "start_ms": ("start to the first answer, ms", 1, "less"),
    "size_mb": ("stripped program, MB", 1, "less"),
    "new_ms": ("new connection, ms", 1, "less"),
    "kept_ms": ("kept connection, ms", 1, "less"),
}
# File: title, measure, key.
DRAWN = {
    "throughput-simple": ("pgbench -S, simple protocol, 8 clients: transactions/s", "simple, 8 clients", "tps"),
    "throughput-prepared": ("pgbench -S, prepared, 8 clients: transactions/s", "prepared, 8 clients", "tps"),
    "cpu-simple": ("CPU of the proxy, simple protocol, 8 clients: µs/transaction", "simple, 8 clients", "cpu_us"),
    "latency-p99": ("1,000 transactions/s on 8 clients: p99, µs", "paced", "p99_us"),
    "storm": ("connect, query, disconnect (trust): per second", "connect storm, trust", "tps"),
    "copy-out": ("COPY out: MB/s", "COPY out", "mb_s"),
    "copy-out-cpu": ("COPY out: CPU of the proxy, s", "COPY out", "cpu_s"),
    "cpu-prepared": ("CPU of the proxy, prepared, 8 clients: µs/transaction", "prepared, 8 clients", "cpu_us"),
    "memory": ("memory of an idle client, of 1,000: KiB", "1000 idle clients", "kib"),
    "memory-10000": ("memory of an idle client, of 10,000: KiB", "10000 idle clients", "kib"),
    "first-row": (f"first row over {DELAY_MS} ms of round trip, new connection (SCRAM): ms", "first row, SCRAM", "new_ms"),
}


def result(bench):
    names = [c.name for c in bench.contenders]
    summary = {}
    for sample in bench.samples:
        # Those of a growth have a table of their own.
        if "at" in sample:
            continue
        for key, value in sample.items():
            if key in FIGURES:
                row = summary.setdefault(f"{sample['measure']}/{key}", {})
                row.setdefault(sample["contender"], []).append(value)
    for row in summary.values():
        for name, values in row.items():
            row[name] = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    found = {"about": about(bench), "contenders": names, "summary": summary, "samples": bench.samples,
             "notes": bench.notes}
    return found | {"targets": targets.judged(found)}


def about(bench):
    def git(*arguments):
        return subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True).stdout.strip()

    with open("/proc/cpuinfo") as lines:
        models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    changed = " with changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": git("rev-parse", "--short=12", "HEAD") + changed,
        "machine": f"{os.cpu_count()} × {models[0] if models else platform.machine()}, Linux {platform.release()}",
        "load before": bench.load_before,
        "versions": contenders.versions(),
        "server": SETTINGS,
        "rounds": bench.rounds, "slow rounds": bench.slow_rounds, "seconds": bench.seconds,
        "scale": bench.options.scale, "copy MB": bench.options.copy_mb,
    }


def number(value, digits):
    return f"{value:,.{digits}f}"


def rows(result):
    """Each figure's row: what, key, and the medians by contender."""
    for name, row in result["summary"].items():
        measure, _, key = name.rpartition("/")
        yield measure, key, row


def absolute(result):
    names = result["contenders"]
    lines = ["| | | " + " | ".join(names) + " |", "|---" * (len(names) + 2) + "|"]
    for measure, key, row in rows(result):
        title, digits, _ = FIGURES[key]
        cells = [spread(row[name], digits) if name in row else "–" for name in names]
        lines.append(f"| {measure} | {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def spread(cell, digits):
    median, low, high = (number(cell[k], digits) for k in ("median", "min", "max"))
    return median if low == high else f"{median} ({low}–{high})"


def ratios(result, subject):
    """How the subject compares with everybody else: what is worth quoting."""
    others = [name for name in result["contenders"] if name != subject]
    lines = [f"| {subject}, as a ratio to | | better | " + " | ".join(others) + " |",
             "|---" * (len(others) + 3) + "|"]
    for measure, key, row in rows(result):
        if subject not in row or key == "lag_us":
            continue
        title, _, better = FIGURES[key]
        own = row[subject]["median"]
        cells = [f"{own / row[o]['median']:.2f}" if o in row and row[o]["median"] > 0 else "–" for o in others]
        lines.append(f"| {measure} | {title.partition(',')[0]} | {better} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def markdown(result):
    a = result["about"]
    parts = [
        f"Measured on {a['date']} at commit {a['commit']}, on {a['machine']} (load before: {a['load before']}).",
        f"{a['rounds']} rounds of {a['seconds']} s ({a['slow rounds']} for idle clients with connections of their own, "
        f"{2 * a['rounds']} for those that share); medians, in brackets the lowest and the highest. `pgbench` at scale {a['scale']}; COPY of {a['copy MB']} MB.",
        "Versions: " + "; ".join(a["versions"].values()) + ".",
        "Server: " + ", ".join(f"`{k} = {v}`" for k, v in a["server"].items()) + ".",
        *targets.markdown(result),
    ]
    for subject in (name for name in result["contenders"] if name.startswith("pgsluice")):
        parts += [f"### Ratios: {subject}", ratios(result, subject)]
    parts += ["### Absolute figures", absolute(result), *growths.markdown(result["samples"])]
    if result["notes"]:
        parts.append("What went wrong or was left out:\n\n" + "\n".join(f"* {note}" for note in result["notes"]))
    return "\n\n".join(parts) + "\n"


def dump(result):
    """One sample a line, so that two runs can be compared by eye."""
    head = {key: value for key, value in result.items() if key != "samples"}
    samples = ",\n".join("    " + json.dumps(sample, ensure_ascii=False) for sample in result["samples"])
    text = json.dumps(head, indent=1, ensure_ascii=False)
    return text[:-2] + ',\n "samples": [\n' + samples + "\n ]\n}\n"


CROWD = re.compile(r"(\d+) clients on \d+ connections/(tps|cpu_us|p99_us)")


def crowd_series(result, key):
    """Contender to points, of the measure with many clients on one pool."""
    series = {}
    for name, row in result["summary"].items():
        found = CROWD.fullmatch(name)
        if found and found[2] == key:
            for contender, cell in row.items():
                series.setdefault(contender, []).append({"at": int(found[1])} | cell)
    return series


def curves(result):
    """Writes the plots against a number, and yields what refers to them."""
    drawn = {f"growth-{index + 1}": (f"CPU, µs/transaction, by {title}", lines, 0) for index, (title, lines)
             in enumerate(growths.growths(result["samples"]).items())}
    for key in ("tps", "cpu_us", "p99_us"):
        title = f"clients on {contenders.POOL} connections: {FIGURES[key][0]}"
        drawn[f"crowd-{key.partition('_')[0]}"] = (title, crowd_series(result, key), 0)
    for name, (title, series, digits) in drawn.items():
        if series:
            (PLOTS / f"{name}.svg").write_text(plots.lines(title, series, digits))
            yield f"![{title}](plots/{name}.svg)"


def write(result, text):
    """Rewrites the section of the paper, and the files beside it."""
    PLOTS.mkdir(exist_ok=True)
    for old in PLOTS.glob("*.svg"):
        old.unlink()
    images = [*curves(result)]
    for name, (title, measure, key) in DRAWN.items():
        row = result["summary"].get(f"{measure}/{key}", {})
        values = [(contender, row[contender]) for contender in result["contenders"] if contender in row]
        if values:
            (PLOTS / f"{name}.svg").write_text(plots.bars(title, values, FIGURES[key][1]))
            images.append(f"![{title}](plots/{name}.svg)")
    (PLOTS / "samples.json").write_text(dump(result))
    replace("bench", f"{text}\n### Plots\n\n" + "\n\n".join(images))


def replace(mark, text):
    """Rewrites what stands between two marks of the paper."""
    begin, end = f"<!-- {mark}:begin -->", f"<!-- {mark}:end -->"
    paper = PAPER.read_text()
    if not (begin in paper and end in paper):
        raise SystemExit(f"bench: {PAPER.name} has lost its marks")
    between = f"{begin}\n\n{text}\n\n{end}"
    PAPER.write_text(re.sub(re.escape(begin) + ".*?" + re.escape(end), lambda _: between, paper, flags=re.S))
