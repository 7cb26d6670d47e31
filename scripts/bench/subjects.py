"""The programs that are compared: how each is started for a scenario, ended, and what its processes use.

Everything listens on addresses of 127.0.0.80 to .83. Where there are two cores or more, the subject has core 0 and all else
core 1. Processes are ended by pid.
"""
import glob
import os
import re
import signal
import socket
import subprocess
import time

LISTEN, SERVER1, SERVER2 = "127.0.0.80:8180", "127.0.0.81:8181", "127.0.0.82:8181"
CLOSING, BIG, SYSLOG = "127.0.0.81:8182", "127.0.0.83:8183", "127.0.0.81:5514"
NGINX_STREAM = "/usr/lib/nginx/modules/ngx_stream_module.so"
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CONFIGS = os.path.join(ROOT, "perf/configs")
# Which configuration a scenario uses where it has none of its own.
CONFIG_OF = {"e": "a", "k": "a"}


class NotOffered(Exception):
    """The subject has no such scenario."""


class NotServing(Exception):
    """The subject does not answer; says what it printed."""


def shown(name, names):
    """A subject's name for people: the last part of a path, if no other subject has the same."""
    last = os.path.basename(name)
    return last if [os.path.basename(other) for other in names].count(last) < 2 else name


def two_cores():
    return os.cpu_count() >= 2


def on_core(core):
    """Lets this process, and what it starts from now on, run on that core."""
    if two_cores():
        os.sched_setaffinity(0, {core})


def family(pid):
    """A process and all that descend from it."""
    found = [pid]
    for path in glob.glob(f"/proc/{pid}/task/*/children"):
        try:
            with open(path) as file:
                for child in file.read().split():
                    found += family(int(child))
        except OSError:
            pass
    return found


def listens(address):
    """Whether connections are taken there."""
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
        return True
    except OSError:
        return False


def answers(address):
    """Whether a request is answered there."""
    host, port = address.split(":")
    try:
        with socket.create_connection((host, int(port)), timeout=2) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
            return client.recv(12) == b"HTTP/1.1 200"
    except OSError:
        return False


def start_process(command, log, core, **more):
    """Starts it on that core, without a program in between."""
    on_core(core)
    try:
        with open(log, "ab") as out:
            return subprocess.Popen(command, stdout=out, stderr=out, **more)
    finally:
        on_core(1)


def end_process(process):
    for pid in family(process.pid):
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Bench:
    """The folder, the tools and the servers of a run."""

    def __init__(self, folder, binaries):
        self.folder, self.binaries, self.helpers = folder, binaries, []

    def tool(self, name):
        return os.path.join(self.binaries, name)

    def start_servers(self):
        backend = self.tool("backend")
        for command in (
            [backend, "--listen", SERVER1, "--listen-close", CLOSING, "--name", "s1", "--syslog", SYSLOG],
            [backend, "--listen", SERVER2, "--name", "s2"],
            [backend, "--listen", BIG, "--name", "big", "--bytes", str(1 << 20)],
        ):
            self.helpers.append(start_process(command, os.path.join(self.folder, "servers.log"), 1))
        for address in (SERVER1, SERVER2, BIG):
            wait_until(5, lambda: answers(address), f"the server on {address}")
        if any(helper.poll() is not None for helper in self.helpers):
            raise NotServing("other servers hold the addresses of ours: an earlier run may not have ended")

    def close(self):
        for helper in self.helpers:
            end_process(helper)
        self.helpers = []


def wait_until(seconds, condition, what):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise NotServing(f"waited in vain for {what}")
        time.sleep(0.02)


class Subject:
    """One subject while it runs; a context manager."""

    def __init__(self, bench, name, scenario, **values):
        """`values` replace @NAME@ in the configuration."""
        self.bench, self.name, self.scenario, self.process = bench, name, scenario, None
        self.log = os.path.join(bench.folder, "subject.log")
        self.stats = os.path.join(bench.folder, "stats.sock")
        server = BIG if scenario == "e" else SERVER1
        self.values = {"LISTEN": LISTEN, "SERVER1": server, "SERVER2": SERVER2, "SYSLOG": SYSLOG, "DIR": bench.folder, **values}
        self.command = self.find_command()

    def find_command(self):
        if self.name == "relay":
            return self.relay()
        config = CONFIG_OF.get(self.scenario, self.scenario)
        if self.name == "nginx":
            if self.scenario == "f" and not os.path.exists(NGINX_STREAM):
                raise NotOffered
            return ["nginx", "-e", "stderr", "-p", self.bench.folder, "-c", self.configuration(config + ".nginx")]
        program = self.program()
        file = self.configuration(config + ".cfg")
        check = subprocess.run([program, "-c", "-f", file], capture_output=True, text=True)
        if check.returncode != 0:
            raise NotOffered
        return [program, "-db", "-f", file]

    def program(self):
        return self.bench.tool("burdock") if self.name == "burdock" else self.name

    def relay(self):
        relay = [self.bench.tool("relay"), "--listen", LISTEN, "--target"]
        if self.scenario in ("a", "f", "k"):
            return relay + [SERVER1]
        if self.scenario == "e":
            return relay + [BIG]
        if self.scenario in ("b", "c"):
            return relay + [CLOSING, "--server-close"]
        raise NotOffered

    def configuration(self, template):
        path = os.path.join(CONFIGS, template)
        if not os.path.exists(path):
            raise NotOffered
        with open(path) as file:
            text = re.sub("@([A-Z0-9]+)@", lambda found: str(self.values[found[1]]), file.read())
        path = os.path.join(self.bench.folder, "subject.conf")
        with open(path, "w") as file:
            file.write(text)
        return path

    def __enter__(self):
        """Starts it; sets `first_answer_ms`, from just before the start to its first answer."""
        if os.path.exists(self.log):
            os.remove(self.log)
        # Listeners share ports: what an earlier run left there would serve half of the requests, and be charged to nobody.
        wait_until(5, lambda: not listens(LISTEN), f"the end of what listens on {LISTEN}: an earlier run may not have ended")
        begun = time.monotonic()
        self.process = start_process(self.command, self.log, 0)
        while not answers(LISTEN):
            if time.monotonic() > begun + 10 or self.process.poll() is not None:
                said = self.said()
                self.__exit__()
                raise NotServing(f"{self.name} does not serve scenario {self.scenario}: {said}")
        self.first_answer_ms = (time.monotonic() - begun) * 1e3
        return self

    def __exit__(self, *_):
        end_process(self.process)

    def said(self):
        with open(self.log, errors="replace") as file:
            return file.read()[-2000:]

    def pids(self):
        return family(self.process.pid)

    def memory_kb(self, *fields):
        """Sum of these fields of smaps_rollup over all processes."""
        total = 0
        for pid in self.pids():
            with open(f"/proc/{pid}/smaps_rollup") as file:
                for line in file:
                    words = line.split()
                    if words[0].rstrip(":") in fields:
                        total += int(words[1])
        return total

    def cpu_us(self):
        """CPU time that the kernel has charged to all threads of all processes."""
        total_ns = 0
        for pid in self.pids():
            for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
                with open(path) as file:
                    total_ns += int(file.read().split()[0])
        return total_ns / 1e3

    def ticks(self):
        """User and system time of all processes, in ticks."""
        user = system = 0
        for pid in self.pids():
            with open(f"/proc/{pid}/stat") as file:
                words = file.read().rsplit(")", 1)[1].split()
                user, system = user + int(words[11]), system + int(words[12])
        return user, system
