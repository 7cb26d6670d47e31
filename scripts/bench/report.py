"""From rounds to medians, ratios, goals and a table; and the record that is kept."""
import datetime
import json
import os
import statistics
import subprocess

from scenarios import TITLES
from subjects import ROOT, shown

# What the columns of the text table are, by the kind of scenario.
COLUMNS = {
    "g": [("idle_bytes", "bytes", 0), ("with_crowd_kb", "kB with all", 0)],
    "h": [("entry_bytes", "bytes an entry", 0), ("few_cpu_us", "us at 1k", 1), ("many_cpu_us", "us at 1M", 1), ("more_cpu_us", "us more", 1)],
    "k": [("start_ms", "ms to answer", 1), ("idle_rss_kb", "kB RSS", 0), ("idle_pss_kb", "kB PSS", 0)],
}
TRAFFIC = [
    ("cpu_us", "us CPU", 1), ("user_us", "of it user", 1), ("syscalls", "calls", 1), ("per_second", "a second", 0),
    ("p50_us", "p50", 0), ("p99_us", "p99", 0), ("p99_9_us", "p99.9", 0), ("pss_kb", "kB PSS", 0),
    ("wrk_cpu_us", "us CPU (wrk)", 1), ("wrk_per_second", "a second (wrk)", 0),
]


def summarise(rounds):
    """{scenario: {subject: {figure: {median, low, high, ratio}}}}; the ratio is to HAProxy."""
    summary = {}
    for one in rounds:
        subjects = summary.setdefault(one["scenario"], {})
        figures = subjects.setdefault(one["subject"], {})
        for name, value in one["figures"].items():
            figures.setdefault(name, []).append(value)
    for subjects in summary.values():
        for figures in subjects.values():
            for name, values in figures.items():
                figures[name] = {"median": statistics.median(values), "low": min(values), "high": max(values)}
        base = subjects.get("haproxy", {})
        for figures in subjects.values():
            for name, figure in figures.items():
                if base.get(name, {}).get("median", 0) > 0:
                    figure["ratio"] = figure["median"] / base[name]["median"]
    return summary


def of(summary, scenario, subject, figure="cpu_us"):
    """A median, or None."""
    return summary.get(scenario, {}).get(subject, {}).get(figure, {}).get("median")


def newer_haproxy(summary, versions):
    """The subject that is an HAProxy 3, if there is one."""
    return next((name for name, version in versions.items() if "HAProxy version 3" in version), None)


def goals(summary, versions):
    """[(scenario, what, figure of burdock, bound, whether it is met)], of what was measured."""
    rows = []

    def goal(scenario, what, figure, bound):
        if figure is not None and bound is not None:
            rows.append({"scenario": scenario, "goal": what, "figure": figure, "bound": bound, "met": figure <= bound})

    def part(share, value):
        return None if value is None else share * value

    def cpu(scenario, subject):
        return of(summary, scenario, subject)

    newer = newer_haproxy(summary, versions)
    goal("a", "us CPU <= 0.85 of HAProxy 2.6", cpu("a", "burdock"), part(0.85, cpu("a", "haproxy")))
    if newer:
        goal("a", "us CPU <= 0.70 of HAProxy 3", cpu("a", "burdock"), part(0.70, cpu("a", newer)))
        goal("e", "us CPU <= 0.65 of HAProxy 3", cpu("e", "burdock"), part(0.65, cpu("e", newer)))
    goal("a", "us of user time <= 2.5", of(summary, "a", "burdock", "user_us"), 2.5)
    goal("a", "system calls <= 4.1", of(summary, "a", "burdock", "syscalls"), 4.1)
    goal("b", "us CPU <= 0.75 of HAProxy", cpu("b", "burdock"), part(0.75, cpu("b", "haproxy")))
    goal("b", "us CPU below nginx", cpu("b", "burdock"), cpu("b", "nginx"))
    goal("b", "system calls <= 9.5", of(summary, "b", "burdock", "syscalls"), 9.5)
    goal("c", "us CPU <= 0.75 of HAProxy", cpu("c", "burdock"), part(0.75, cpu("c", "haproxy")))
    if cpu("b", "burdock") is not None and cpu("c", "burdock") is not None:
        goal("c", "us more than b <= 0.5", cpu("c", "burdock") - cpu("b", "burdock"), 0.5)
    others = [figures["cpu_us"]["median"] for name, figures in summary.get("d2", {}).items() if name != "burdock"]
    goal("d2", "us CPU below all others", cpu("d2", "burdock"), min(others, default=None))
    goal("e", "us CPU a MiB below HAProxy", cpu("e", "burdock"), cpu("e", "haproxy"))
    goal("f", "us CPU <= 1.1 of the floor", cpu("f", "burdock"), part(1.1, cpu("f", "relay")))
    goal("g", "bytes <= 400", of(summary, "g", "burdock", "idle_bytes"), 400)
    goal("h", "bytes an entry <= 96", of(summary, "h", "burdock", "entry_bytes"), 96)
    goal("h", "us more with 1 M <= 1", of(summary, "h", "burdock", "more_cpu_us"), 1)
    goal("k", "ms to the first answer <= 15", of(summary, "k", "burdock", "start_ms"), 15)
    idle_kb = of(summary, "k", "burdock", "idle_rss_kb")
    goal("k", "MB idle <= 10", None if idle_kb is None else idle_kb / 1024, 10)
    return rows


def table(rows):
    """Rows of words, in columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(word.ljust(width) for word, width in zip(row, widths)).rstrip() for row in rows)


def above_floor(summary, scenario):
    """A line that says how much of the others' part above the floor burdock takes, in the scenarios where the relay does all that cannot be left out."""
    floor, ours = of(summary, scenario, "relay"), of(summary, scenario, "burdock")
    if scenario not in ("a", "b", "c") or floor is None or ours is None:
        return []
    others = {name: of(summary, scenario, name) for name in summary[scenario] if name not in ("relay", "burdock")}
    shares = [f"{(ours - floor) / (cpu - floor):.2f} of that of {shown(name, summary[scenario])}" for name, cpu in others.items() if cpu and cpu > floor]
    return [f"above the floor: {ours - floor:.1f} us, {', '.join(shares)}"] if shares else []


def cell(figure, digits):
    """`17.6 (17.0..18.2) 0.68`: the median, the range over the rounds, the ratio to HAProxy."""
    if figure is None:
        return "-"
    median, low, high = (f"{figure[key]:.{digits}f}" for key in ("median", "low", "high"))
    return median + (f" ({low}..{high})" if low != high else "") + (f" {figure['ratio']:.2f}" if "ratio" in figure else "")


def text(summary, goal_rows):
    """All that was found, for a terminal: a table a scenario, a line a figure, a column a subject, the best one first."""
    parts = []
    for scenario, subjects in summary.items():
        columns = COLUMNS.get(scenario, TRAFFIC)
        main = columns[0][0]
        names = sorted(subjects, key=lambda name: subjects[name][main]["median"])
        rows = [["", *(shown(name, names) for name in names)]]
        for key, title, digits in columns:
            if any(key in subjects[name] for name in names):
                rows.append([title, *(cell(subjects[name].get(key), digits) for name in names)])
        rows.append(["faults", *(f"{subjects[name]['faults']['high']:.0f}" for name in names)])
        parts.append("\n".join([f"{scenario}: {TITLES[scenario]}", table(rows), *above_floor(summary, scenario)]))
    if goal_rows:
        rows = [["goal", "", "here", "bound", ""]]
        for row in goal_rows:
            rows.append([row["scenario"], row["goal"], f"{row['figure']:.3f}", f"{row['bound']:.3f}", "pass" if row["met"] else "FAIL"])
        parts.append(table(rows))
    return "\n\n".join(parts)


def first_line(command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    except OSError:
        return "unknown"
    return ((done.stdout + done.stderr).splitlines() or ["unknown"])[0]


def commit():
    """Of this tree, or `unknown` where there is no git."""
    try:
        done = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=ROOT)
    except OSError:
        return "unknown"
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def version(bench, subject):
    if subject == "relay":
        return "this tree"
    return first_line([bench.tool("burdock") if subject == "burdock" else subject, "-v"])


def machine():
    with open("/proc/cpuinfo") as file:
        models = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return {"cpu": (models or ["unknown"])[0], "cores": os.cpu_count(), "kernel": " ".join(os.uname()[::2][:2])}


def record(command_line, load_before, versions, rounds, summary, goal_rows):
    """Keeps the run in perf/records/; the path without its ending."""
    now = datetime.datetime.now(datetime.timezone.utc)
    path = os.path.join(ROOT, "perf/records", now.strftime("%Y-%m-%dT%H%M%SZ-bench"))
    content = {
        "date": now.strftime("%Y-%m-%dT%H:%M:%SZ"), "command": command_line,
        "commit": commit(),
        "machine": machine() | {"load_before": load_before}, "versions": versions,
        "summary": summary, "goals": goal_rows, "rounds": rounds,
    }
    with open(path + ".json", "w") as file:
        json.dump(content, file, indent=1)
        file.write("\n")
    return path
