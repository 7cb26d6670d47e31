"""What is measured in each scenario: functions that take a running bench and give a dictionary of figures."""
import json
import os
import re
import signal
import subprocess
import tempfile
import time

from subjects import LISTEN, Subject

# Requests under strace: as many as settle the figure, few enough for a slow subject. Where all connections are kept, those calls count that bring 64 of them to
# stand, some five each: of 4000 requests that were 0.1 calls, of 10 000 it is 0.03.
TRACED_REQUESTS, TRACED_KEPT_REQUESTS, TRACED_BIG_REQUESTS = 4000, 10_000, 64
IDLE_CONNECTIONS = 9_000
WRK_SECONDS = 1
FEW, MANY = 1_000, 1_000_000

TITLES = {
    "a": "keep-alive on both sides",
    "b": "`http-server-close`",
    "c": "`http-server-close` and `stick on req.cook`",
    "d2": "a client connection for each request",
    "e": "1 MiB answers (a MiB)",
    "f": "TCP",
    "g": "bytes an idle client connection",
    "h": "a table of 1 M entries",
    "k": "start and idle memory",
    "r": "a, and a hundred rules",
}


def load(bench, options, **more):
    """The load generator's report; it exits with 1 where requests failed, which the report says too."""
    command = [bench.tool("load"), "--target", LISTEN, "--json", *map(str, options)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=False, **more).stdout)


def faults(*reports):
    """Requests that failed; a measurement without any answer is one, for its figures would be zeros."""
    return sum(report["failed"] + report["bad_status"] + report["wrong_server"] + (report["answers"] == 0) for report in reports)


def wrk(subject, connections):
    """What wrk, which knows nothing of us, finds of the same: requests a second and CPU a request; a check on our own load generator.

    It has no cookies out of many and no fixed rate, so it does not measure scenario c, and no latencies.
    """
    command = ["wrk", "-t", "1", "-c", str(connections), "-d", f"{WRK_SECONDS}s", f"http://{LISTEN}/"]
    if subject.scenario == "d2":
        command += ["-H", "Connection: close"]
    before = subject.cpu_us()
    said = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    spent_us = subject.cpu_us() - before
    requests, seconds = re.search(r"(\d+) requests in ([\d.]+)s", said).groups()
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    other = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    failed = sum(map(int, errors.groups())) if errors else 0
    failed += int(other[1]) if other else 0
    return {"wrk_per_second": int(requests) / float(seconds), "wrk_cpu_us": spent_us / max(int(requests), 1)}, failed


def traffic(bench, name, scenario, options, round_number):
    """CPU a request in a closed loop (ours, then wrk's), latencies in an open loop, and in the first round system calls a request."""
    shape = ["--warmup", 0.5, "--seed", round_number]
    if scenario == "d2":
        shape.append("--close")
    if scenario == "c":
        shape += ["--keys", options.keys]
    connections, rate = (16, min(options.rate, 200)) if scenario == "e" else (options.connections, options.rate)
    clients = ["--connections", connections]
    with Subject(bench, name, scenario) as subject:
        pids = ",".join(map(str, subject.pids()))
        before = subject.ticks()
        busy = load(bench, shape + clients + ["--seconds", options.seconds, "--pid", pids])
        user, system = (after - was for after, was in zip(subject.ticks(), before))
        quiet = load(bench, shape + clients + ["--seconds", options.seconds, "--rate", rate])
        by_wrk, wrk_faults = ({}, 0) if scenario == "c" else wrk(subject, connections)
        memory_kb = subject.memory_kb("Pss")
        syscalls, traced_faults = (None, 0) if round_number > 1 else system_calls(bench, subject, shape + clients)
    figures = {"cpu_us": busy["cpu_us"], "per_second": busy["per_second"], "pss_kb": memory_kb}
    figures["user_us"] = busy["cpu_us"] * user / max(user + system, 1)
    figures |= {key: quiet[key] for key in ("p50_us", "p99_us", "p99_9_us", "max_us")}
    figures |= by_wrk
    figures["faults"] = faults(busy, quiet) + wrk_faults + traced_faults
    if syscalls is not None:
        figures["syscalls"] = syscalls
    return figures


def system_calls(bench, subject, shape):
    """System calls a request: strace counts while a known number of requests is asked."""
    with tempfile.NamedTemporaryFile("r", dir=bench.folder) as out:
        # Only the columns that are read: the usual table has one that is empty where no call failed.
        command = ["strace", "-c", "--summary-columns=calls,name", "-f", "-qq", "-o", out.name]
        for pid in subject.pids():
            command += ["-p", str(pid)]
        tracer = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            if not wait_for_tracer(subject.pids(), tracer.pid):
                return None, 0
            requests = {"a": TRACED_KEPT_REQUESTS, "e": TRACED_BIG_REQUESTS}.get(subject.scenario, TRACED_REQUESTS)
            report = load(bench, [*shape, "--requests", requests])
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait()
        total = re.search(r"^\s*(\d+)\s+total$", out.read(), re.MULTILINE)
    return (int(total[1]) / report["answers"] if total else None), faults(report)


def wait_for_tracer(pids, tracer):
    """Whether all of them are traced."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        traced = 0
        for pid in pids:
            with open(f"/proc/{pid}/status") as file:
                traced += f"TracerPid:\t{tracer}\n" in file.read()
        if traced == len(pids):
            return True
        time.sleep(0.01)
    return False


def idle_crowd(bench, name, _scenario, options, round_number):
    """User-space memory that an idle keep-alive connection takes: what the second half of nine thousand adds to the first.

    The first half also brings what many requests at once need, buffers above all. With all nine thousand against none, as many of these counted as
    the machine happened to let requests pile up: 361 bytes one day, 808 on another.
    """
    half = IDLE_CONNECTIONS // 2
    with Subject(bench, name, "g") as subject:
        warm = load(bench, ["--connections", 256, "--requests", 5000])
        crowds, reports = [], []
        memory_kb = []
        for rate in (2500, 1000):
            command = [bench.tool("load"), "--target", LISTEN, "--json", "--hold", "--connections", half, "--rate", rate]
            crowds.append(subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            reports.append(json.loads(crowds[-1].stdout.readline()))
            time.sleep(0.5)  # what was in use at once may go back to the system
            memory_kb.append(subject.memory_kb("Pss"))
        for crowd in crowds:
            crowd.stdin.close()
            crowd.wait()
    half_kb, all_kb = memory_kb
    return {"idle_bytes": (all_kb - half_kb) * 1024 / half, "half_kb": half_kb, "with_crowd_kb": all_kb, "faults": faults(warm, *reports)}


def entries(bench, name, _scenario, options, round_number):
    """Bytes an entry, and what a request costs more with a million entries than with a thousand."""
    figures = {}
    with Subject(bench, name, "h", SIZE=FEW + 200) as subject:
        fill(bench, subject, FEW)
        few_kb = subject.memory_kb("Pss")
    # As full as the small one: memory that is taken at the start for entries that never come is nobody's.
    with Subject(bench, name, "h", SIZE=MANY + 200) as subject:
        pids = ",".join(map(str, subject.pids()))
        cost = ["--connections", options.connections, "--seconds", options.seconds, "--warmup", 0.5, "--pid", pids, "--seed", round_number]
        cost += ["--cookie", "ID", "--key-prefix", "session", "--homes", "s1,s2", "--keys"]
        fill(bench, subject, FEW)
        few = load(bench, [*cost, FEW])
        fill(bench, subject, MANY)
        many = load(bench, [*cost, MANY])
        many_kb = subject.memory_kb("Pss")
    figures["entry_bytes"] = (many_kb - few_kb) * 1024 / (MANY - FEW)
    figures |= {"few_cpu_us": few["cpu_us"], "many_cpu_us": many["cpu_us"], "more_cpu_us": many["cpu_us"] - few["cpu_us"]}
    figures["faults"] = faults(few, many)
    return figures


def fill(bench, subject, count):
    command = [bench.tool("peer"), "--do", "fill", "--socket", subject.stats, "--table", "b", "--entries", str(count)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def start(bench, name, _scenario, options, round_number):
    """From the start of the program to its first answer, and what all its processes hold a second later."""
    times = []
    for _ in range(5):
        with Subject(bench, name, "k") as subject:
            times.append(subject.first_answer_ms)
            time.sleep(0.2)
            rss_kb, pss_kb = subject.memory_kb("Rss"), subject.memory_kb("Pss")
    return {"start_ms": sorted(times)[2], "idle_rss_kb": rss_kb, "idle_pss_kb": pss_kb, "faults": 0}


MEASURES = {"g": idle_crowd, "h": entries, "k": start}


def measure(bench, name, scenario, options, round_number):
    """One subject in one scenario, once."""
    return MEASURES.get(scenario, traffic)(bench, name, scenario, options, round_number)


def progress(scenario, figures):
    """The figures of one measurement in a few words."""
    if scenario == "g":
        return f"{figures['idle_bytes']:.0f} bytes an idle connection"
    if scenario == "h":
        return f"{figures['entry_bytes']:.0f} bytes an entry, {figures['more_cpu_us']:+.1f} us a request with a million"
    if scenario == "k":
        return f"{figures['start_ms']:.1f} ms to the first answer, {figures['idle_rss_kb'] / 1024:.1f} MB idle"
    calls = f", {figures['syscalls']:.1f} system calls" if "syscalls" in figures else ""
    return f"{figures['cpu_us']:.1f} us CPU a request, {figures['per_second']:.0f} a second, p99 {figures['p99_us']:.0f} us{calls}"
