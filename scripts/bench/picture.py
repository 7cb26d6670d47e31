"""A record as a picture: one panel a scenario, one bar a subject, the range over the rounds as a line on it."""
import html

from report import COLUMNS
from scenarios import TITLES
from subjects import shown

WIDTH, PANEL, BAR, LABEL = 760, 30, 22, 110
COLOURS = {"burdock": "#2b6cb0", "haproxy": "#c05621", "nginx": "#2f855a", "relay": "#a0aec0"}


def svg(record):
    """The picture's text."""
    shapes, top = [], 40
    shapes.append(text(10, 24, f"burdock {record['commit']}: CPU a request and more, medians and ranges; shorter is better", 15))
    for scenario, subjects in record["summary"].items():
        key, unit, digits = COLUMNS.get(scenario, [("cpu_us", "us CPU a request", 1)])[0]
        present = sorted((name for name in subjects if key in subjects[name]), key=lambda name: subjects[name][key]["median"])
        top += PANEL
        shapes.append(text(10, top - 8, f"{scenario}: {TITLES[scenario].replace('`', '')} ({unit})", 13))
        scale = (WIDTH - LABEL - 90) / max(max(subjects[name][key]["high"] for name in present), 1e-9)
        for name in present:
            shapes += bar(top, shown(name, subjects), subjects[name][key], scale, digits)
            top += BAR
        top += 6
    machine = record["machine"]
    shapes.append(text(10, top + 24, f"{record['date']}, {machine['cpu']}, {machine['cores']} cores, {machine['kernel']}", 11))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top + 40}" font-family="sans-serif">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', *shapes, "</svg>", ""])


def text(x, y, words, size, anchor="start"):
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}">{html.escape(words)}</text>'


def bar(top, name, figure, scale, digits):
    length = max(figure["median"] * scale, 1)
    low, high = (LABEL + max(figure[end], 0) * scale for end in ("low", "high"))
    middle = top + BAR / 2 - 2
    colour = COLOURS.get(name, "#805ad5")
    return [
        text(LABEL - 8, middle + 4, name if len(name) <= 16 else "…" + name[-15:], 12, "end"),
        f'<rect x="{LABEL}" y="{top}" width="{length:.1f}" height="{BAR - 5}" fill="{colour}"/>',
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{middle:.1f}" y2="{middle:.1f}" stroke="black"/>',
        text(max(high, LABEL + length) + 6, middle + 4, f"{figure['median']:.{digits}f}", 12),
    ]
