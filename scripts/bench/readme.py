"""The README's table, made from a record: what is between the two marks is replaced."""
import json
import os

from scenarios import TITLES
from subjects import ROOT

BEGIN, END = "<!-- bench.sh --readme: begin -->\n", "<!-- bench.sh --readme: end -->\n"
SUBJECTS = [("relay", "floor"), ("burdock", "burdock"), ("nginx", "nginx"), ("haproxy", "HAProxy")]
ROWS = [(scenario, "cpu_us", f"{TITLES[scenario]}, µs", 1) for scenario in ("a", "b", "c", "d2")] + [
    ("e", "cpu_us", "1 MiB answers, µs a MiB", 0),
    ("f", "cpu_us", "TCP, µs", 1),
    ("a", "syscalls", "system calls a request, keep-alive", 1),
    ("b", "syscalls", "system calls a request, `http-server-close`", 1),
    ("a", "p99_us", "p99 at the fixed rate, keep-alive, µs", 0),
    ("g", "idle_bytes", "bytes an idle client connection", 0),
    ("h", "entry_bytes", "bytes an entry, string of 32 and its server", 0),
    ("h", "more_cpu_us", "a request with 1 M entries against 1 k, µs more", 1),
    ("k", "start_ms", "start to first answer, ms", 1),
    ("k", "idle_rss_kb", "idle, all processes, kB", 0),
]


def version_number(text):
    words = [word for part in text.replace("/", " ").split() for word in [part] if word[:1].isdigit()]
    return ".".join(words[0].split("-")[0].split(".")[:2]) if words else ""


def markdown(record, path):
    """The table and where it is from."""
    names = [name for name, _ in SUBJECTS]
    titles = {name: title for name, title in SUBJECTS}
    for name in ("nginx", "haproxy"):
        titles[name] += " " + version_number(record["versions"].get(name, ""))
    lines = ["| | " + " | ".join(titles[name].strip() for name in names) + " |", "|---|" + "---|" * len(names)]
    for scenario, figure, title, digits in ROWS:
        subjects = record["summary"].get(scenario, {})
        cells = [subjects.get(name, {}).get(figure, {}).get("median") for name in names]
        if any(cell is not None for cell in cells):
            lines.append(f"| {title} | " + " | ".join("–" if cell is None else f"{cell:.{digits}f}" for cell in cells) + " |")
    machine = record["machine"]
    rounds = max((one["round"] for one in record["rounds"]), default=0)
    about = (
        f"CPU time a request and more: medians of {rounds} rounds ({machine['cpu']}, {machine['cores']} cores, load before {machine['load_before']:.1f}, "
        f"commit {record['commit']}; `{os.path.relpath(path, ROOT)}` has ranges and all rounds, `.svg` beside it the picture). The floor is a relay that "
        "only receives and sends:\n"
    )
    return about + "\n" + "\n".join(lines) + "\n"


def rewrite(path):
    """Puts the table of this record into the README."""
    with open(path) as file:
        record = json.load(file)
    readme = os.path.join(ROOT, "README.md")
    with open(readme) as file:
        before, rest = file.read().split(BEGIN)
    _, after = rest.split(END)
    if not isinstance(record["summary"], dict):
        return "FAILED: this record is of an older form; make a new one"
    text = before + BEGIN + markdown(record, path) + END + after
    with open(readme, "w") as file:
        file.write(text)
    return 0
