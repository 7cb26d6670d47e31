"""Compares burdock with HAProxy (one thread), nginx (one worker) and a relay that parses nothing, on this machine, in turns.

  a   keep-alive on both sides            b   a server connection for each request (http-server-close)
  c   b, and stick on a cookie            d2  a client connection for each request, server connections kept
  e   answers of 1 MiB                    f   TCP
  g   memory of idle connections          h   a stick table of a million entries (burdock and HAProxy)
  k   start, and idle memory              r   a, and a hundred rules (burdock and HAProxy)

CPU is the time that the kernel charged to the subject's processes (/proc/PID/schedstat) while the load generator measured,
divided by the answers; `user` is its share by /proc/PID/stat. Latencies are those of an open loop at a fixed rate and count from when
a request was due. System calls are counted by strace on a short extra run. Memory is the processes' proportional share (PSS).
CPU and throughput under wrk are a check on our own load generator, in all scenarios but c.
All subjects but the relay write one log line a request to the same syslog port. Needs scripts/bench.sh around it, which
installs what is missing and builds.
"""
import argparse
import json
import os
import shlex
import signal
import sys
import tempfile

import flame
import picture
import readme
import report
import scenarios
from subjects import ROOT, Bench, NotOffered, NotServing, Subject, on_core, shown


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/bench.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words = lambda text: text.split(",")
    parser.add_argument("--scenario", type=words, default=words("a,b,c,d2,e,f,g,h,k,r"), help="a list; all of them")
    parser.add_argument("--subjects", type=words, default=words("burdock,haproxy,nginx,relay"), help="also paths of another burdock or HAProxy")
    parser.add_argument("--rounds", type=int, default=3, help="each of them every subject in turn")
    parser.add_argument("--seconds", type=float, default=3, help="of each measurement")
    parser.add_argument("--rate", type=int, default=2000, help="requests a second of the latencies")
    parser.add_argument("--connections", type=int, default=64, help="clients")
    parser.add_argument("--keys", type=int, default=100_000, help="cookies in scenario c")
    parser.add_argument("--no-record", action="store_true", help="leave nothing in perf/records/")
    parser.add_argument("--profile", action="store_true", help="no comparison: a flame graph of burdock in the (first) scenario, to perf/records/")
    parser.add_argument("--readme", metavar="RECORD", help="measure nothing: write the README's table from this record")
    parser.add_argument("--binaries", default=os.path.join(ROOT, "target/release"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    unknown = [name for name in options.scenario if name not in scenarios.TITLES]
    if unknown:
        parser.error(f"no scenario {', '.join(unknown)}")
    return options


def compare(bench, options):
    """All rounds, with a line for each measurement."""
    rounds, not_offered = [], set()
    total = len(options.scenario) * options.rounds * len(options.subjects)
    done = 0
    for scenario in options.scenario:
        for number in range(1, options.rounds + 1):
            first = (number - 1) % len(options.subjects)  # so that none is always the one after another
            for name in options.subjects[first:] + options.subjects[:first]:
                done += 1
                if (name, scenario) in not_offered:
                    continue
                try:
                    figures = scenarios.measure(bench, name, scenario, options, number)
                except NotOffered:
                    not_offered.add((name, scenario))
                    continue
                rounds.append({"scenario": scenario, "subject": name, "round": number, "figures": figures})
                wrong = f"  FAULTS: {figures['faults']}" if figures["faults"] else ""
                print(f"  [{done}/{total}] {scenario} round {number} {shown(name, options.subjects)}: {scenarios.progress(scenario, figures)}{wrong}", flush=True)
    return rounds


def profile(bench, options):
    scenario = options.scenario[0]
    with Subject(bench, flame.build(), scenario) as subject:
        sampling, data = flame.record(subject.pids(), options.seconds, bench.folder)
        shape = ["--warmup", 0, "--seconds", options.seconds + 1, "--connections", options.connections]
        shape += ["--close"] if scenario == "d2" else ["--keys", options.keys] if scenario == "c" else []
        scenarios.load(bench, shape)
        sampling.wait()
    stacks = flame.fold(data)
    path = os.path.join(ROOT, "perf/records", f"flame-{scenario}.svg")
    with open(path, "w") as file:
        file.write(flame.svg(stacks, f"burdock, scenario {scenario}: {sum(stacks.values())} samples"))
    print(f"{sum(stacks.values())} samples in {path}")


def main():
    options = arguments()
    if options.readme:
        return readme.rewrite(os.path.abspath(options.readme))
    load_before = os.getloadavg()[0]
    if load_before > os.cpu_count() / 4:
        print(f"note: the machine is not idle (load {load_before:.1f}); ratios mean more than figures")
    on_core(1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    with tempfile.TemporaryDirectory(prefix="burdock-bench.") as folder:
        bench = Bench(folder, options.binaries)
        try:
            bench.start_servers()
            if options.profile:
                return profile(bench, options)
            rounds = compare(bench, options)
        except NotServing as error:
            return f"FAILED: {error}"
        finally:
            bench.close()
        versions = {name: report.version(bench, name) for name in options.subjects}
    summary = report.summarise(rounds)
    goals = report.goals(summary, versions)
    print(f"\nmedians of {options.rounds} rounds (lowest..highest) and the ratio to HAProxy; latencies in us at {options.rate} a second\n")
    print(report.text(summary, goals))
    if not options.no_record:
        command_line = shlex.join(["scripts/bench.sh", *sys.argv[1:]])
        path = report.record(command_line, load_before, versions, rounds, summary, goals)
        with open(path + ".json") as file:
            drawn = picture.svg(json.load(file))
        with open(path + ".svg", "w") as file:
            file.write(drawn)
        print(f"\nrecorded: {os.path.relpath(path, ROOT)}.json and .svg")
    if any(one["figures"]["faults"] for one in rounds):
        return "FAILED: some requests failed: see above"
    return 0


if __name__ == "__main__":
    sys.exit(main())
