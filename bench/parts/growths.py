"""What the samples of growth come to: medians by size, and the fitted slope."""

import math
import statistics

# Of the slope: cost = a * n^k. A logarithm over these ranges has about 0.2.
MOST = 0.05


def growths(samples):
    """Title, contender: the size, and its median, lowest and highest CPU."""
    found = {}
    for sample in samples:
        title = sample["measure"].removeprefix("growth: ")
        if title != sample["measure"] and "cpu_us" in sample:
            line = found.setdefault(title, {}).setdefault(sample["contender"], {})
            line.setdefault(sample["at"], []).append(sample["cpu_us"])
    return {title: {name: [point(at, values) for at, values in sorted(line.items())] for name, line in lines.items()}
            for title, lines in found.items()}


def point(at, values):
    return {"at": at, "median": statistics.median(values), "min": min(values), "max": max(values)}


def slope(points):
    """The exponent k of cost = a * n^k, by least squares; 1 is in proportion, 0 is no growth."""
    if len(points) < 2:
        return 0.0
    # Eight busy clients are there even if no idle ones are.
    log = [(math.log(p["at"] or 8), math.log(p["median"])) for p in points]
    return statistics.linear_regression(*zip(*log)).slope


def table(title, lines):
    sizes = sorted({p["at"] for points in lines.values() for p in points})
    out = [f"| CPU, µs/transaction, by {title} | " + " | ".join(f"{size:,}" for size in sizes) + " | exponent |",
           "|---" * (len(sizes) + 2) + "|"]
    for name, points in lines.items():
        by_size = {p["at"]: f"{p['median']:.1f} ({p['min']:.1f}–{p['max']:.1f})" for p in points}
        cells = [name, *(by_size.get(size, "–") for size in sizes), f"{slope(points):+.3f}"]
        out.append("| " + " | ".join(cells) + " |")
    return "\n".join(out)


def markdown(samples):
    parts = [table(title, lines) for title, lines in growths(samples).items()]
    if not parts:
        return []
    return ["### Growth", "The exponent is that of cost = a·nᵏ, fitted to the medians: 1 is in proportion to n, 0 is "
            f"no growth; the target is met up to {MOST}, which is 12 % for ten times as many.", *parts]
