"""Plots drawn by hand, as SVG."""

import html
import math

OWN, OTHERS = ("#2f6f9f", "#6fa8cf", "#1b3f5f"), ("#b0662f", "#8a8f94", "#7a5a9f")


def sheet(width, height, title):
    return [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            'font-family="sans-serif" font-size="12">',
            f'<rect width="{width}" height="{height}" fill="#fff"/>',
            f'<text x="8" y="18" font-weight="bold">{html.escape(title)}</text>']


def bars(title, values, digits):
    """Horizontal bars. `values`: contender and its cell."""
    line, left, width = 22, 190, 380
    most = max(cell["max"] for _, cell in values) or 1
    out = sheet(680, 34 + line * len(values), title)
    for index, (name, cell) in enumerate(values):
        top = 28 + line * index
        low, median, high = (left + width * cell[key] / most for key in ("min", "median", "max"))
        colour = "#2f6f9f" if name.startswith("pgsluice") else "#b8c4cc"
        out += [f'<text x="{left - 8}" y="{top + 12}" text-anchor="end">{html.escape(name)}</text>',
                f'<rect x="{left}" y="{top}" width="{median - left:.1f}" height="15" fill="{colour}"/>',
                f'<path d="M{low:.1f} {top + 7.5}H{high:.1f}" stroke="#333"/>',
                f'<text x="{max(high, median) + 6:.1f}" y="{top + 12}">{cell["median"]:,.{digits}f}</text>']
    return "\n".join(out) + "\n</svg>\n"


def nice(most):
    """A round step, of which four or so reach `most`."""
    size = 10 ** math.floor(math.log10(most / 4))
    return next(size * step for step in (1, 2, 5, 10) if size * step * 5 >= most)


def lines(title, series, digits):
    """A line a contender over a logarithmic axis. `series`: contender to points of `at`, `median`, `min`, `max`."""
    left, top, width, height = 60, 34, 420, 200
    sizes = sorted({p["at"] for points in series.values() for p in points})
    low = math.log10(max(sizes[0], 1) if sizes[0] else max(sizes[1] / 10, 1)) if len(sizes) > 1 else 0
    span = math.log10(max(sizes)) - low or 1
    most = max(p["max"] for points in series.values() for p in points) * 1.05 or 1
    x = lambda at: left + width * (math.log10(at) - low if at else 0) / span
    y = lambda value: top + height * (1 - value / most)
    out = sheet(720, top + height + 30, title)
    step = nice(most)
    for tick in range(int(most / step) + 1):
        at = y(tick * step)
        out += [f'<path d="M{left} {at:.1f}h{width}" stroke="#ddd"/>',
                f'<text x="{left - 6}" y="{at + 4:.1f}" text-anchor="end">{tick * step:,.{digits}f}</text>']
    out += [f'<text x="{x(at):.1f}" y="{top + height + 18}" text-anchor="middle">{at:,}</text>' for at in sizes]
    own, others = iter(OWN * 3), iter(OTHERS * 3)
    for index, (name, points) in enumerate(series.items()):
        colour, at = next(own if name.startswith("pgsluice") else others), top + 14 + 18 * index
        out += line(points, colour, x, y)
        out += [f'<path d="M{left + width + 10} {at - 4}h14" stroke="{colour}" stroke-width="2"/>',
                f'<text x="{left + width + 30}" y="{at}">{html.escape(name)}</text>']
    return "\n".join(out) + "\n</svg>\n"


def line(points, colour, x, y):
    path = "L".join(f"{x(p['at']):.1f} {y(p['median']):.1f}" for p in points)
    out = [f'<path d="M{path}" stroke="{colour}" stroke-width="2" fill="none"/>']
    for p in points:
        at = f"{x(p['at']):.1f}"
        out += [f'<circle cx="{at}" cy="{y(p["median"]):.1f}" r="3" fill="{colour}"/>',
                f'<path d="M{at} {y(p["min"]):.1f}V{y(p["max"]):.1f}" stroke="{colour}"/>']
    return out
