"""A flame graph of burdock under a scenario's load: perf samples, folded and drawn here.

Own folding and drawing (some sixty lines) rather than inferno: `cargo install inferno` builds a hundred crates for what is a sum
over stacks and a nest of rectangles, and this needs nothing that perf does not need. Stacks are found by frame pointers, which
a build of its own has (target/profile), so the numbers of the ordinary build are not touched.
"""
import html
import os
import re
import subprocess

from subjects import ROOT

WIDTH, ROW = 1200, 17


def build():
    """burdock with frame pointers; its path."""
    target = os.path.join(ROOT, "target/profile")
    flags = {"RUSTFLAGS": "-C force-frame-pointers=yes", "CARGO_TARGET_DIR": target}
    subprocess.run(["cargo", "build", "--release", "--quiet", "--bin", "burdock"], cwd=ROOT, env=os.environ | flags, check=True)
    return os.path.join(target, "release/burdock")


def record(pids, seconds, folder):
    """Samples the processes meanwhile; start it, let it end by itself, then call `fold` with its file."""
    data = os.path.join(folder, "perf.data")
    command = ["perf", "record", "-q", "-F", "997", "-e", "cpu-clock", "-g", "-p", ",".join(map(str, pids)), "-o", data, "--", "sleep", str(seconds)]
    return subprocess.Popen(command), data


def fold(data):
    """{stack from the outermost frame inwards: samples}"""
    script = subprocess.run(["perf", "script", "-i", data, "-F", "comm,ip,sym"], capture_output=True, text=True, check=True).stdout
    stacks = {}
    for block in script.split("\n\n"):
        frames = re.findall(r"^\s+[0-9a-f]+ (.*)$", block, re.MULTILINE)
        names = tuple(re.sub(r"(::h[0-9a-f]{16}|\+0x[0-9a-f]+)$", "", frame) for frame in reversed(frames))
        if names:
            stacks[names] = stacks.get(names, 0) + 1
    return stacks


def tree(stacks):
    """(samples, {name: tree})"""
    root = [0, {}]
    for stack, count in stacks.items():
        node = root
        node[0] += count
        for name in stack:
            node = node[1].setdefault(name, [0, {}])
            node[0] += count
    return root


def depth(node):
    return 1 + max((depth(child) for child in node[1].values()), default=0)


def svg(stacks, title):
    """The flame graph; each frame tells its name and share when pointed at."""
    root = tree(stacks)
    height = (depth(root) + 3) * ROW
    shapes = []

    def draw(name, node, x, level):
        width = WIDTH * node[0] / max(root[0], 1)
        if width < 0.5:
            return
        share = 100 * node[0] / max(root[0], 1)
        hue = 200 if re.search(r"^(\[k\]|__x64|do_|sys|tcp_|ip_|sk_|entry_)", name) else 20 + hash(name) % 35
        label = name if len(name) * 6.5 < width else name[: int(width / 6.5)]
        y = height - (level + 2) * ROW
        shapes.append(
            f'<g><title>{html.escape(name)}: {share:.1f} %</title><rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{ROW - 1}" '
            f'fill="hsl({hue},80%,70%)"/><text x="{x + 2:.1f}" y="{y + 12}">{html.escape(label)}</text></g>'
        )
        for child, inner in sorted(node[1].items()):
            draw(child, inner, x, level + 1)
            x += WIDTH * inner[0] / max(root[0], 1)

    draw("all", root, 0.0, 0)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="monospace" font-size="11">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="white"/>', f'<text x="4" y="14">{html.escape(title)}</text>', *shapes, "</svg>", ""])
