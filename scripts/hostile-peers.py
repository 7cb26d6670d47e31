#!/usr/bin/env python3
"""What somebody costs who reaches the peers port and knows a name there, beside requests; some three minutes.

One kind of attack after the other, as fast as one process can, while a load generator asks at a fixed rate with cookies that the stick table keeps.
For each: the worker's anonymous memory before, at most and after; its descriptors at most; the CPU time of its turns (from one return of epoll_wait to
the next call, by `perf record` if it is there): the 99.9th percentile and the longest, how much of that the kernel took for packets that came in
meanwhile, and the longest without that; the requests' p50 and p99 (of the whole, and the lower quartile
of quarters of a second: whoever shares the machine only adds); lines logged. "nothing" is the same without an attack. Fails when a request fails or
memory grows. A record goes to perf/records/.

    cargo build --release --workspace && scripts/hostile-peers.py [--binary target/release/burdock] [--only PART] [--seconds 3] [--no-record]
"""
import argparse
import json
import os
import re
import resource
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
GROWTH_KIB_MAX = 8192
ENTRIES = 20000

CONFIGURATION = """\
global
 localpeer us
 maxconn 1000
 stats socket {folder}/stats.sock level admin
 log 127.0.0.1:{log} local0
defaults
 mode http
 timeout client 30s
 timeout server 30s
 timeout connect 5s
peers mesh
 peer us 127.0.0.1:{peers}
 peer good 127.0.0.1:{nobody}
 peer evil 127.0.0.1:{nobody}
frontend fe
 bind 127.0.0.1:{front}
 default_backend app
backend app
 stick-table type string len 32 size 50k expire 5m peers mesh
 stick on req.cook(PHPSESSID)
 server s1 127.0.0.1:{server}
"""

DEFINE = bytes.fromhex("0a820f0503617070 0621f1f1fe00 f0e5ed05")


def message(kind, body, of=10):
    assert len(body) < 240
    return bytes([of, kind, len(body)]) + body


def vint(number):
    if number < 240:
        return bytes([number])
    out = [number & 15 | 240]
    number = (number - 240) >> 4
    while number >= 128:
        out.append(number & 127 | 128)
        number = (number - 128) >> 7
    return bytes([*out, number])


def update(number, key):
    return message(0x80, struct.pack(">IB", number, len(key)) + key + bytes.fromhex("0104 0102 7331"))


class Attacker:
    """One kind of attack, until the end: it never minds what becomes of its connections."""

    def __init__(self, address, end):
        self.address, self.end = address, end
        self.held = []

    def goes_on(self):
        return time.monotonic() < self.end

    def connect(self, say=b""):
        sock = socket.socket()
        sock.settimeout(0.5)
        try:
            sock.connect(self.address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.sendall(say)
        except OSError:
            pass
        return sock

    def hello(self, name="evil", words=f"{os.getpid()} 1"):
        return f"HAProxyS 2.1\nus\n{name} {words}\n".encode()

    def established(self, words=f"{os.getpid()} 1"):
        sock = self.connect(self.hello(words=words))
        try:
            sock.recv(4)
        except OSError:
            pass
        return sock

    def flood(self, again, before=b"", reads=True, words=f"{os.getpid()} 1"):
        """The same again and again; after an end of the session in a new one."""
        block = again * max(1, 60000 // len(again))
        while self.goes_on():
            sock = self.established(words)
            try:
                if words.endswith("burdock/1"):
                    sock.sendall(sock.recv(12))
                sock.sendall(before)
                sock.setblocking(False)
                rest = memoryview(block)
                while self.goes_on():
                    idle = True
                    try:
                        rest = rest[sock.send(rest) :]
                        idle = False
                        if not rest:
                            rest = memoryview(block)
                    except BlockingIOError:
                        pass
                    try:
                        if reads and not sock.recv(1 << 18):
                            break
                        idle &= not reads
                    except BlockingIOError:
                        pass
                    if idle:
                        time.sleep(0.0005)
            except OSError:
                pass
            sock.close()

    def nothing(self):
        time.sleep(max(0, self.end - time.monotonic()))

    def bytes_alone(self):
        every = DEFINE + b"".join(update(number, b"slow%03d" % number) for number in range(200))
        while self.goes_on():
            sock = self.established()
            try:
                while self.goes_on():
                    for byte in every:
                        sock.send(bytes([byte]))
            except OSError:
                pass

    def bytes_of_a_hello(self):
        """Hellos of the longest kind, thirty at once, a byte at a time."""
        while self.goes_on():
            self.held = [self.connect(b"HAProxyS 2.1\nus\n" + b"e" * 15000) for _ in range(30)]
            try:
                for _ in range(1300):
                    for sock in self.held:
                        sock.send(b"e")
                    if not self.goes_on():
                        return
            except OSError:
                pass

    def lengths_out_of_bounds(self):
        self.flood(bytes([10, 0x80]) + vint(0x7FFFFFFF), DEFINE)

    def longest_messages(self):
        """As long as a message may be, and never complete."""
        self.flood(bytes([10, 0x80]) + vint(16300) + b"\0" * 16000, DEFINE)

    def longest_keys(self):
        body = struct.pack(">I", 7) + vint(16000) + b"k" * 16000 + bytes.fromhex("0104 0102 7331")
        self.flood(bytes([10, 0x80]) + vint(len(body)) + body, DEFINE)

    def integers_without_end(self):
        self.flood(bytes.fromhex("0a80ffffffffffffffffffffff"), DEFINE)

    def many_tables(self):
        tables = b"".join(
            message(0x82, vint(number) + b"\6t%05d" % number + bytes.fromhex("06210100")) + bytes.fromhex("0a800100") for number in range(5000)
        )
        self.flood(tables)

    def slots_out_of_range(self):
        self.flood(bytes.fromhex("0a8009 00000001 0161 01 01 81"), DEFINE)

    def all_slots(self):
        """Each update has a name of the longest kind for another slot."""
        name = b"n" * 200
        def one(number):
            body = struct.pack(">I", number) + b"\4k%03d" % number + b"\1" + vint(2 + len(name)) + bytes([1 + number % 128]) + vint(len(name)) + name
            return bytes([10, 0x80]) + vint(len(body)) + body
        self.flood(b"".join(one(number) for number in range(128)), DEFINE)

    def switches_to_nothing(self):
        self.flood(bytes.fromhex("0a830163 0a80050000000101"), DEFINE)

    def no_acks(self):
        self.flood(bytes.fromhex("0004"), reads=True)

    def acks_of_anything(self):
        self.flood(b"".join(message(0x84, b"\1" + struct.pack(">I", number * 0x9E3779B9 & 0xFFFFFFFF)) for number in range(1000)))

    def requests_for_lessons(self):
        self.flood(b"\0\0")

    def requests_for_lessons_unread(self):
        self.flood(b"\0\0", reads=False)

    def whole_lessons(self):
        self.flood(b"\0\0\0\3", DEFINE)

    def errors(self):
        self.flood(b"\1\0")

    def unknown_messages(self):
        self.flood(bytes.fromhex("5505 007f"))

    def updates(self):
        self.flood(b"".join(update(number, b"flood-%06d" % number) for number in range(20000)), DEFINE)

    def updates_unread(self):
        self.flood(b"".join(update(number, b"flood-%06d" % number) for number in range(20000)), DEFINE, reads=False)

    def hellos_of_a_mebibyte(self):
        while self.goes_on():
            self.connect(b"H" * (1 << 20)).close()

    def half_closed(self):
        while self.goes_on():
            sock = self.established()
            sock.shutdown(socket.SHUT_WR)
            self.held.append(sock)
            if len(self.held) > 2000:
                self.held.pop(0).close()

    def connections_without_hello(self):
        while self.goes_on():
            self.held.append(self.connect())
            if len(self.held) > 5000:
                self.held.pop(0).close()

    def refused_and_stays(self):
        """No hello, or a stranger's; the answer is not read and nothing is closed."""
        while self.goes_on():
            self.held.append(self.connect(b"GET / HTTP/1.1\r\n\r\n" if len(self.held) % 2 else self.hello("stranger")))
            if len(self.held) > 5000:
                self.held.pop(0).close()

    def violates_and_stays(self):
        while self.goes_on():
            self.held.append(self.connect(self.hello() + b"\xff\xff\xff"))
            if len(self.held) > 5000:
                self.held.pop(0).close()

    def same_name(self):
        begun, count = time.monotonic(), 0
        while self.goes_on():
            self.connect(self.hello()).close()
            count += 1
            time.sleep(max(0, begun + count / 1000 - time.monotonic()))

    def same_name_other_process(self):
        count = 0
        while self.goes_on():
            count += 1
            self.held.append(self.connect(self.hello(words=f"{count} 1") + b"\0\0"))
            if len(self.held) > 100:
                self.held.pop(0).close()

    def digests(self):
        def one(number):
            numbers = b"".join(struct.pack(">Q", number * 0x9E3779B97F4A7C15 & (1 << 64) - 1) for _ in range(4))
            return message(0x81, bytes.fromhex("03617070 07 f0af9100 f001") + numbers, of=ord("b"))
        self.flood(b"".join(map(one, range(1000))), words="77 1 burdock/1")

    def digests_cut_short(self):
        self.flood(message(0x81, bytes.fromhex("03617070 07 f0af9100 f001"), of=ord("b")), words="77 1 burdock/1")

    def repairs(self):
        self.flood(message(0x82, b"app", of=ord("b")), words="77 1 burdock/1")

    def deletions(self):
        def one(number):
            key = b"never-%06d" % number
            return message(0x85, struct.pack(">IIB", number, 0, len(key)) + key + struct.pack(">I", number), of=ord("b"))
        self.flood(b"".join(map(one, range(60000))), DEFINE, words="77 1 burdock/1")

    def deletions_cut_short(self):
        self.flood(message(0x85, bytes.fromhex("00000001 00000000 7f 61"), of=ord("b")), DEFINE, words="77 1 burdock/1")

    def garbage(self):
        self.flood(os.urandom(50000))


KINDS = [name for name in vars(Attacker) if not name.startswith("_") and name not in ("goes_on", "connect", "hello", "established", "flood")]


def attack(kind, port, seconds, core):
    """In a process of its own that runs when nobody else wants the core."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.sched_setaffinity(0, {core})
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        attacker = Attacker(("127.0.0.1", port), time.monotonic() + seconds)
        getattr(attacker, kind)()
    finally:
        os._exit(0)


class Bench:
    def __init__(self, options):
        self.options = options
        self.folder = tempfile.mkdtemp(prefix="burdock-hostile-")
        self.release = os.path.dirname(os.path.abspath(options.binary))
        self.subject_core, self.other_core = 0, min(1, os.cpu_count() - 1)
        self.perf = shutil.which("perf")
        log = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        log.bind(("127.0.0.1", 0))
        self.lines = 0
        threading.Thread(target=self.count_lines, args=(log,), daemon=True).start()
        free = [socket.socket() for _ in range(4)]
        for sock in free:
            sock.bind(("127.0.0.1", 0))
        self.front, self.peers, self.server, self.nobody = (sock.getsockname()[1] for sock in free)
        for sock in free:
            sock.close()
        values = {"front": self.front, "peers": self.peers, "server": self.server, "nobody": self.nobody, "log": log.getsockname()[1]}
        with open(f"{self.folder}/c.cfg", "w") as file:
            file.write(CONFIGURATION.format(folder=self.folder, **values))
        self.processes = [
            self.run(self.other_core, f"{self.release}/backend", "--listen", f"127.0.0.1:{self.server}", "--name", "s1"),
            self.run(self.subject_core, options.binary, "-db", "-f", f"{self.folder}/c.cfg"),
        ]
        for _ in range(100):
            if self.ask("show info"):
                break
            time.sleep(0.1)
        pid = self.processes[1].pid
        self.worker = int(open(f"/proc/{pid}/task/{pid}/children").read().split()[0])
        for first in range(0, ENTRIES, 50):
            self.ask(";".join(f"set table app key k{number} data.server_id 1" for number in range(first, first + 50)))

    def run(self, core, *command, **more):
        # Before whatever else runs on this machine.
        return subprocess.Popen(["taskset", "-c", str(core), "nice", "-n", "-20", *command], **more)

    def count_lines(self, log):
        while log.recv(65536):
            self.lines += 1

    def ask(self, command):
        try:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(10)
                sock.connect(f"{self.folder}/stats.sock")
                sock.sendall(command.encode() + b"\n")
                return b"".join(iter(lambda: sock.recv(65536), b"")).decode()
        except OSError:
            return ""

    def kib(self):
        return int(re.search(r"RssAnon:\s+(\d+)", open(f"/proc/{self.worker}/status").read()).group(1))

    def turns(self):
        """CPU time of turns in ms, in order, of what perf recorded, and how much of it the kernel used for packets that came in meanwhile (softirqs).

        Time in which others had the core does not count.
        """
        command = [self.perf, "script", "-i", f"{self.folder}/perf", "-F", "time,event,trace"]
        text = subprocess.run(command, capture_output=True, text=True, errors="replace").stdout
        turns, runs, softirqs, began, softirq_began = [], [], [], None, None
        for at, event, runtime in re.findall(r"(\d+\.\d+):\s+\w+:(\w+):(?:.*?runtime=(\d+))?", text):
            at = float(at)
            if event == "sched_stat_runtime":
                runs.append((at - int(runtime) / 1e9, at))
            elif event == "softirq_entry":
                softirq_began = at
            elif event == "softirq_exit":
                if softirq_began is not None:
                    softirqs.append((softirq_began, at))
                softirq_began = None
            elif event == "sys_exit":
                began = at
            elif began is not None:
                turns.append((began, at))
        # What the processor did for the worker in each turn. The last stretches are not accounted for yet.
        lengths, run, softirq = [], 0, 0
        for began, ended in turns:
            if not runs or ended > runs[-1][1]:
                break
            run, busy = self.within(runs, run, began, ended)
            softirq, packets = self.within(softirqs, softirq, began, ended)
            lengths.append((busy * 1000, min(busy, packets) * 1000))
        return sorted(lengths)

    @staticmethod
    def within(stretches, first, began, ended):
        """How much of the stretches is between two times; and the first that does not end before."""
        while first < len(stretches) and stretches[first][1] < began:
            first += 1
        much, at = 0, first
        while at < len(stretches) and stretches[at][0] < ended:
            much += max(0, min(ended, stretches[at][1]) - max(began, stretches[at][0]))
            at += 1
        return first, much

    def scene(self, kind):
        seconds = self.options.seconds
        before, lines = self.kib(), self.lines
        pid = attack(kind, self.peers, seconds + 2, self.other_core)
        time.sleep(0.5)
        tracer = None
        if self.perf:
            # epoll_wait or epoll_pwait
            waits = ["--filter", "id==232||id==281"]
            events = ["-e", "raw_syscalls:sys_enter", *waits, "-e", "raw_syscalls:sys_exit", *waits, "-e", "sched:sched_stat_runtime"]
            for event in ("entry", "exit"):
                events += ["-e", f"irq:softirq_{event}", "--filter", "vec==3"]  # NET_RX
            tracer = self.run(self.other_core, self.perf, "record", "-q", *events, "-m", "8M", "-p", str(self.worker), "-o", f"{self.folder}/perf", stderr=subprocess.DEVNULL)
        load = ["--target", f"127.0.0.1:{self.front}", "--json", "--seconds", str(seconds), "--warmup", "0.5", "--rate", "1000", "--connections", "8", "--slice", "0.25", "--keys", "1000"]
        load = self.run(self.other_core, f"{self.release}/load", *load, stdout=subprocess.PIPE, text=True)
        most, descriptors = 0, 0
        while load.poll() is None:
            most = max(most, self.kib())
            descriptors = max(descriptors, len(os.listdir(f"/proc/{self.worker}/fd")))
            time.sleep(0.05)
        said = json.loads(load.stdout.read())
        if tracer:
            tracer.send_signal(2)
            tracer.wait()
        os.waitpid(pid, 0)
        # What was refused is read from for a second more.
        time.sleep(1.2)
        turns = self.turns() if tracer else []
        at = lambda numbers, part: round(numbers[min(int(len(numbers) * part), len(numbers) - 1)], 3) if numbers else None
        slices = sorted(said["slices_p99_us"])
        return {
            "kind": kind,
            "kib": [before, most, self.kib()],
            "descriptors": descriptors,
            "turns": len(turns),
            "turn_p99_9_ms": at([turn for turn, _ in turns], 0.999),
            "turn_max_ms": at([turn for turn, _ in turns], 1),
            "turn_max_packets_ms": round(turns[-1][1], 3) if turns else None,
            "turn_own_max_ms": at(sorted(turn - packets for turn, packets in turns), 1),
            "p50_us": said["p50_us"],
            "p99_us": said["p99_us"],
            "slices_p99_us": slices[len(slices) // 4],
            "failed": said["failed"],
            "log_lines": self.lines - lines,
        }

    def finish(self):
        for process in self.processes:
            process.terminate()
            process.wait()
        shutil.rmtree(self.folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=os.path.join(HERE, "target/release/burdock"))
    parser.add_argument("--only", default="", help="kinds whose name has this part")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--no-record", action="store_true")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20000), hard))
    load_before = os.getloadavg()[0]
    bench = Bench(options)
    rows, faults = [], []
    try:
        print(f"{'':28} {'KiB before':>10} {'most':>7} {'after':>7} {'fds':>5} {'turns':>7} {'p99.9 ms':>8} {'max ms':>7} {'packets':>7} {'own':>7} {'p50 us':>7} {'p99 us':>7} {'slices':>7} {'failed':>6} {'log':>5}")
        for kind in KINDS:
            if options.only not in kind and kind != "nothing":
                continue
            row = bench.scene(kind)
            rows.append(row)
            before, most, after = row["kib"]
            number = lambda name: "-" if row[name] is None else row[name]
            print(
                f"{kind.replace('_', ' '):28} {before:10} {most:7} {after:7} {row['descriptors']:5} {row['turns']:7} {number('turn_p99_9_ms'):>8} {number('turn_max_ms'):>7} {number('turn_max_packets_ms'):>7} {number('turn_own_max_ms'):>7}"
                f" {row['p50_us']:7} {row['p99_us']:7} {row['slices_p99_us']:7} {row['failed']:6} {row['log_lines']:5}",
                flush=True,
            )
            if row["failed"]:
                faults.append(f"{kind}: {row['failed']} requests failed")
        first = rows[0]["kib"][0]
        faults += [f"{row['kind']}: memory grew from {first} to {max(row['kib'])} KiB" for row in rows if max(row["kib"]) > first + GROWTH_KIB_MAX]
    finally:
        bench.finish()
    if not options.no_record:
        record = {
            "what": "scripts/hostile-peers.py",
            "commit": subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=HERE).stdout.strip(),
            "cpu": re.search(r"model name\s*: (.*)", open("/proc/cpuinfo").read()).group(1),
            "cores": os.cpu_count(),
            "load_before": load_before,
            "rows": rows,
            "faults": faults,
        }
        path = os.path.join(HERE, "perf/records", time.strftime("%Y-%m-%dT%H%M%SZ", time.gmtime()) + "-hostile-peers.json")
        with open(path, "w") as file:
            json.dump(record, file, indent=1)
            file.write("\n")
        print(f"record: {path}")
    if faults:
        sys.exit("FAILED: " + "; ".join(faults))


if __name__ == "__main__":
    main()
