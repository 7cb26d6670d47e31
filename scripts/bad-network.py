#!/usr/bin/env python3
"""Three nodes on a bad network: two burdocks and the packaged HAProxy, whose tables change all the time, and packets that are lost one way, the
other way, both ways, or late and in the wrong order. Needs root; makes its own network namespaces and leaves nothing.

The wire between them is a process that passes packets on as it is told, so it needs nothing of the kernel but tap devices. While a pair is cut for
longer than peers wait for a sign of life, and after it is whole again, it is judged
  that `show peers lag` says so: the state in words, the age of the oldest change that was not acknowledged, `in_sync`
  that each change of a state is logged once and names its cause
  that nobody redials in a hurry and nobody is taught anew: what changed meanwhile is sent, nothing else
  that the worker's memory stays what it was
  that all three tables are equal afterwards, and that both burdocks know it
  that what one burdock deletes meanwhile (`clear table`) is gone from the other one then, and stays with HAProxy, whose protocol has no word for it

    scripts/bad-network.py [--binary target/debug/burdock] [--long]

--long: more cuts, and a whole minute of loss and delay; some three minutes instead of one.
"""
import argparse
import ctypes
import fcntl
import heapq
import json
import os
import random
import re
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
NODES = "abc"
PORT = 7000
# Longer than a peer may be silent (5 s), and than it takes to notice and to redial once.
CUT_S = 9
# The next attempt to connect comes within 5.5 s; the kernel sends a lost first packet again after 1, 3 and 7 s; two attempts may collide.
HEAL_S = 20
KEYS = 300
# What allocators and kernels may keep.
GROWTH_KIB_MAX = 2048

CONFIGURATION = """\
global
 localpeer {name}
 stats socket {folder}/{name}.sock level admin
 log {folder}/log-{name} local0
defaults
 mode http
 timeout client 5s
 timeout server 5s
 timeout connect 5s
peers mesh
 peer a 10.77.0.1:7000
 peer b 10.77.0.2:7000
 peer c 10.77.0.3:7000
backend app
 stick-table type string len 32 size 20k expire 30m peers mesh
 stick on req.cook(S)
 server s1 10.77.0.9:80
 server s2 10.77.0.9:81
 server s3 10.77.0.9:82
"""


class Wire:
    """Passes frames between the machines; runs in a process of its own, told by a pipe what to lose."""

    def __init__(self, namespaces):
        self.taps = [tap_in(pid) for pid in namespaces]
        reader, self.orders = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.orders)
            try:
                self.run(reader)
            finally:
                os._exit(0)
        os.close(reader)
        for tap in self.taps:
            os.close(tap)

    def set(self, **rules):
        """`lost`: pairs (from, to) of which nothing arrives; `loss`, `delay`, `jitter`: of all others, parts and seconds."""
        os.write(self.orders, json.dumps(rules).encode() + b"\n")

    def run(self, orders):
        lost, loss, delay, jitter = set(), 0, 0, 0
        chance = random.Random(1)
        waiting, count = [], 0
        poll = select.poll()
        for fd in [orders, *self.taps]:
            os.set_blocking(fd, False)
            poll.register(fd, select.POLLIN)
        while True:
            pause = max(0, waiting[0][0] - time.monotonic()) * 1000 if waiting else None
            for fd, _ in poll.poll(pause):
                if fd == orders:
                    text = os.read(orders, 65536)
                    if not text:
                        return
                    rules = json.loads(text.splitlines()[-1])
                    lost = {tuple(pair) for pair in rules.get("lost", [])}
                    loss, delay, jitter = (rules.get(name, 0) for name in ("loss", "delay", "jitter"))
                    continue
                source = self.taps.index(fd)
                for _ in range(64):
                    try:
                        frame = os.read(fd, 65536)
                    except BlockingIOError:
                        break
                    target = frame[5] - 1
                    for to in range(len(self.taps)) if frame[0] & 1 else [target] if target < len(self.taps) else []:
                        if to == source or (NODES[source], NODES[to]) in lost or chance.random() < loss:
                            continue
                        count += 1
                        due = time.monotonic() + delay + chance.uniform(-jitter, jitter) if delay else 0
                        heapq.heappush(waiting, (due, count, to, frame))
            now = time.monotonic()
            while waiting and waiting[0][0] <= now:
                _, _, to, frame = heapq.heappop(waiting)
                try:
                    os.write(self.taps[to], frame)
                except OSError:
                    pass  # a full queue loses packets, as everywhere


def tap_in(pid):
    """A tap device `eth0` in the network namespace of a process."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/self/ns/net") as ours, open(f"/proc/{pid}/ns/net") as theirs:
        assert libc.setns(theirs.fileno(), 0) == 0, os.strerror(ctypes.get_errno())
        try:
            tap = os.open("/dev/net/tun", os.O_RDWR)
            # IFF_TAP | IFF_NO_PI
            fcntl.ioctl(tap, 0x400454CA, struct.pack("16sH", b"eth0", 0x0002 | 0x1000))
        finally:
            assert libc.setns(ours.fileno(), 0) == 0, os.strerror(ctypes.get_errno())
    return tap


class Node:
    def __init__(self, name, program, folder):
        self.name, self.program, self.folder = name, program, folder
        self.is_burdock = "haproxy" not in os.path.basename(program)
        self.number = NODES.index(name) + 1
        self.holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        while os.readlink(f"/proc/{self.holder.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            time.sleep(0.01)
        self.process = None
        self.lines = []
        self.log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.log.bind(f"{folder}/log-{name}")
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        while True:
            line = self.log.recv(65536).decode(errors="replace").rstrip()
            self.lines.append((time.monotonic(), line.split("]: ", 1)[-1]))

    def on(self, *command):
        return ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net", *command]

    def connect_to_wire(self):
        mac = "02:00:00:00:00:0"
        commands = f"ip link set lo up; ip link set eth0 address {mac}{self.number}; ip address add 10.77.0.{self.number}/24 dev eth0; ip link set eth0 up"
        # What is lost is told apart by direction: neighbours must not be asked who they are.
        for number in range(1, len(NODES) + 1):
            commands += f"; ip neighbour replace 10.77.0.{number} lladdr {mac}{number} nud permanent dev eth0"
        subprocess.run(self.on("sh", "-ec", commands), check=True)

    def start(self):
        with open(f"{self.folder}/{self.name}.cfg", "w") as file:
            file.write(CONFIGURATION.format(name=self.name, folder=self.folder))
        output = open(f"{self.folder}/{self.name}.err", "w")
        command = self.on(self.program, "-db", "-f", f"{self.folder}/{self.name}.cfg")
        self.process = subprocess.Popen(command, stdout=output, stderr=output)
        wait_for(10, f"node {self.name}", lambda: self.ask("show info"))

    def ask(self, command):
        try:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(10)
                sock.connect(f"{self.folder}/{self.name}.sock")
                sock.sendall(command.encode() + b"\n")
                return b"".join(iter(lambda: sock.recv(65536), b"")).decode()
        except OSError:
            return ""

    def entries(self, deleted=False):
        """The table: what is never deleted, or the rest."""
        found = re.findall(r"key=(\S+) .*server_id=(\d+)", self.ask("show table app"))
        return {key: server for key, server in found if key.startswith("deleted") == deleted}

    def anonymous_kib(self):
        """Memory of all its processes without tables, which are shared."""
        total = 0
        for pid in [self.process.pid, *children(self.process.pid)]:
            total += int(re.search(r"RssAnon:\s+(\d+)", open(f"/proc/{pid}/status").read()).group(1))
        return total

    def lag(self):
        """`show peers lag`: by peer, what is said of it and of its table."""
        peers = {}
        for line in self.ask("show peers lag").splitlines():
            fields = {name: quoted or plain for name, quoted, plain in re.findall(r'(\w+)=(?:"([^"]*)"|(\S*))', line)}
            if "table" in fields:
                peers[fields["peer"]] = {**fields, "peer_state": peers[fields["peer"]]}
            elif "peer" in fields:
                peers[fields["peer"]] = fields["state"]
        return peers

    def attempts(self):
        """How often this node dialled, by peer."""
        return {name: int(count) for name, count in re.findall(r"id=(\w+)\(remote.*?new_conn=(\d+)", self.ask("show peers"), re.S)}

    def finish(self):
        if self.process:
            self.process.terminate()
            self.process.wait()
        self.holder.terminate()
        self.holder.wait()


def children(pid):
    return [int(child) for child in open(f"/proc/{pid}/task/{pid}/children").read().split()]


def wait_for(seconds, what, condition):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Failure(f"waited in vain for {what}")
        time.sleep(0.1)


class Failure(Exception):
    pass


class Trial:
    def __init__(self, nodes, wire):
        self.nodes, self.wire = nodes, wire
        self.burdocks = [node for node in nodes if node.is_burdock]
        self.faults = []
        self.updating = threading.Event()
        self.ended = False
        self.seen = []
        for node in nodes:
            threading.Thread(target=self.update, args=(node,), daemon=True).start()

    def update(self, node):
        """Each node goes round its own keys: which of two changes made at the same time counts is not the question here."""
        number = 0
        while not self.ended:
            if not self.updating.wait(0.2):
                continue
            some = [f"set table app key {node.name}{(number + i) % KEYS} data.server_id {1 + (number + i) // KEYS % 3}" for i in range(5)]
            number += 5
            node.ask(";".join(some))
            time.sleep(0.05)

    def expect(self, holds, text):
        if not holds:
            self.faults.append(text)
            print(f"    FAULT {text}", flush=True)

    def watch(self, seconds):
        """Looks at the burdocks until then; what was seen, oldest first: (time, node, peer, fields)."""
        seen = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for node in self.burdocks:
                seen += [(time.monotonic(), node.name, peer, fields) for peer, fields in node.lag().items()]
            time.sleep(0.25)
        return seen

    def agree(self, what):
        """All tables become equal, and the burdocks say so."""
        self.updating.clear()
        began = time.monotonic()
        tables = []

        def equal():
            tables[:] = [node.entries() for node in self.nodes]
            return all(table == tables[0] for table in tables)

        try:
            wait_for(HEAL_S, "equal tables", equal)
        except Failure:
            sizes = [len(table) for table in tables]
            different = [key for key in set().union(*tables) if len({table.get(key) for table in tables}) > 1]
            values = {key: [table.get(key) for table in tables] for key in sorted(different)[:5]}
            self.expect(False, f"{what}: tables of {sizes} entries differ in {len(different)} keys, as {values}")
            return
        equal_s = time.monotonic() - began
        self.expect(len(tables[0]) == KEYS * len(self.nodes), f"{what}: {len(tables[0])} entries")

        def known():
            # HAProxy compares nothing, and that is what is said.
            verdicts = [node.lag()[peer.name] for node in self.burdocks for peer in self.nodes if peer is not node]
            return all(
                fields["in_sync"] == ("yes" if self.named(fields["peer"]).is_burdock else "unknown") and fields["pending"] == "0" and fields["oldest_ms"] == "0"
                for fields in verdicts
            )

        wait_for(15, "burdocks that know it", known)
        print(f"    equal {equal_s:.1f} s after the last change, known {time.monotonic() - began:.1f} s after it", flush=True)

    def named(self, name):
        return next(node for node in self.nodes if node.name == name)

    def lines_since(self, node, since, peer):
        return [(round(at - since, 1), line) for at, line in node.lines if at >= since and f"peer {peer}: " in line]

    def cut(self, what, pairs):
        """`pairs`: (from, to) whose packets are lost."""
        print(f"== {what}", flush=True)
        self.updating.set()
        wait_for(HEAL_S, "sessions", self.all_connected)
        time.sleep(1)
        dead = {frozenset(pair) for pair in pairs}
        memory = {node.name: node.anonymous_kib() for node in self.burdocks}
        attempts = {node.name: node.attempts() for node in self.nodes}
        a, b, c = self.nodes
        a.ask(";".join(f"set table app key deleted{number} data.server_id 1" for number in range(50)))
        wait_for(5, "entries to delete", lambda: all(len(node.entries(deleted=True)) == 50 for node in self.nodes))
        began = time.monotonic()
        self.wire.set(lost=pairs)
        # Of a change and a deletion that know nothing of each other the later one counts.
        b.ask("set table app key deleted1 data.server_id 2")
        seen = self.watch(CUT_S / 3)
        a.ask(";".join(f"clear table app key deleted{number}" for number in range(50)))
        seen += self.watch(CUT_S / 3)
        b.ask("set table app key deleted0 data.server_id 3")
        seen += self.watch(CUT_S / 3)
        healed = time.monotonic()
        self.wire.set()
        wait_for(HEAL_S, "sessions after the cut", self.all_connected)
        back_s = time.monotonic() - healed
        seen_after = self.watch(1)
        self.agree(what)
        left = [node.entries(deleted=True) for node in self.nodes]
        self.expect(left[0] == left[1] == {"deleted0": "3"}, f"{what}: after deletions a has {left[0]}, b has {left[1]}")
        self.expect(len(left[2]) == 50, f"{what}: HAProxy has {len(left[2])} of 50")
        print(f"    of 50 entries deleted during the cut, one made again behind it, are left: {[len(table) for table in left]}", flush=True)
        print(f"    sessions are back {back_s:.1f} s after the cut", flush=True)
        for node in self.burdocks:
            for peer in self.nodes:
                if peer is node:
                    continue
                said = [(at - began, fields) for at, name, of, fields in seen if (name, of) == (node.name, peer.name)]
                said_after = [(at - began, fields) for at, name, of, fields in seen_after if (name, of) == (node.name, peer.name)]
                self.judge_words(f"{what}: {node.name} of {peer.name}", frozenset((node.name, peer.name)) in dead, said, said_after)
                self.judge_log(what, node, peer, began, frozenset((node.name, peer.name)) in dead)
        taken_s = time.monotonic() - began
        for node in self.nodes:
            dials = {peer: count - attempts[node.name][peer] for peer, count in node.attempts().items()}
            for peer, count in dials.items():
                # One in five seconds, and some that collide.
                most = taken_s / 4.5 + 2 if frozenset((node.name, peer)) in dead else 0
                self.expect(count <= most, f"{what}: {node.name} dialled {peer} {count} times")
            print(f"    {node.name} dialled {dials}", flush=True)
        for node in self.burdocks:
            more = node.anonymous_kib() - memory[node.name]
            self.expect(more <= GROWTH_KIB_MAX, f"{what}: {node.name} has {more} KiB more")
            print(f"    {node.name} has {more} KiB more than before ({memory[node.name]})", flush=True)

    def judge_words(self, who, is_cut, said, said_after):
        no = [at for at, fields in said + said_after if fields["in_sync"] == "no"]
        self.expect(not no, f"{who}: a false alarm after {no[:1]} s")
        if not is_cut:
            lost = [fields["peer_state"] for _, fields in said if not fields["peer_state"].startswith("connected")]
            self.expect(not lost, f"{who} without a cut between them: {lost[:1]}")
            return
        # Silence is noticed after five seconds; who is heard but not understood is told so by the other one.
        last_at, last = said[-1]
        noticed = [at for at, fields in said if not fields["peer_state"].startswith("connected")]
        self.expect(noticed and noticed[0] < 8, f"{who}: noticed after {noticed[:1]} s, its state is \"{last['peer_state']}\"")
        down = [fields for at, fields in said if noticed and at >= noticed[0]]
        wrong = [fields["in_sync"] for fields in down if fields["in_sync"] != "unknown" or "connection" not in fields["not_compared"]]
        self.expect(not wrong, f"{who}: in_sync={wrong[:1]} without a connection")
        words = {re.sub(r"\d+", "N", fields["peer_state"]) for fields in down}
        self.expect(words <= {"not connected, next attempt in N ms", "connecting", "connected, not yet greeted"}, f"{who}: {words}")
        # From when the cut is sure to have begun, the oldest change grows older with the clock.
        ages = [(at, int(fields["oldest_ms"])) for at, fields in said if at > 1]
        drops = [pair for pair in zip(ages, ages[1:]) if pair[1][1] < pair[0][1]]
        self.expect(not drops, f"{who}: the oldest change became younger: {drops[:1]}")
        off = [(at, age) for at, age in ages if abs(age - 1000 * at) > 2000]
        self.expect(not off, f"{who}: after {off[:1]} s, ms, of a cut")
        print(f"    {who}: noticed after {noticed[0] if noticed else -1:.1f} s; at the end: \"{last['peer_state']}\" {last['pending']} pending, oldest {last['oldest_ms']} ms at {1000 * last_at:.0f} ms", flush=True)

    def judge_log(self, what, node, peer, began, is_cut):
        lines = self.lines_since(node, began, peer.name)
        texts = [line.split(f"peer {peer.name}: ", 1)[1] for _, line in lines]
        if not is_cut:
            return self.expect(not texts, f"{what}: {node.name} logged of {peer.name}: {texts}")
        changes = [text for text in texts if text.split(":")[0].split(",")[0] in ("lost", "connected", "not connected")]
        print(f"    {node.name} logged of {peer.name}: {lines}", flush=True)
        self.expect(changes == texts, f"{what}: {node.name} logged of {peer.name}: {texts}")
        self.expect(len(changes) <= 5, f"{what}: {node.name} logged of {peer.name}: {texts}")
        self.expect(texts and texts[0].startswith("lost: ") and len(texts[0]) > 10, f"{what}: {node.name} logged no loss of {peer.name}: {texts}")
        self.expect(texts and texts[-1].startswith("connected, "), f"{what}: {node.name} logged no return of {peer.name}: {texts}")
        twice = [one for one, next_one in zip(texts, texts[1:]) if one == next_one]
        self.expect(not twice, f"{what}: {node.name} logged twice: {twice[:1]}")

    def all_connected(self):
        return all(fields["peer_state"].startswith("connected") and "greeted" not in fields["peer_state"] for node in self.burdocks for fields in node.lag().values())

    def loss(self, seconds):
        print(f"== {seconds} s with a loss of 5 %, 50 ms on the way, and packets that overtake each other", flush=True)
        self.updating.set()
        wait_for(HEAL_S, "sessions", self.all_connected)
        memory = {node.name: node.anonymous_kib() for node in self.burdocks}
        attempts = {node.name: node.attempts() for node in self.nodes}
        began = time.monotonic()
        self.wire.set(loss=0.05, delay=0.05, jitter=0.025)
        seen = self.watch(seconds)
        for node in self.burdocks:
            for peer in self.nodes:
                if peer is node:
                    continue
                fields = [fields for _, name, of, fields in seen if (name, of) == (node.name, peer.name)]
                oldest = sorted(int(one["oldest_ms"]) for one in fields)
                down = [one["peer_state"] for one in fields if not one["peer_state"].startswith("connected")]
                self.expect(not [one for one in fields if one["in_sync"] == "no"], f"loss: {node.name} raised a false alarm over {peer.name}")
                self.expect(not down, f"loss: {node.name} of {peer.name}: {down[:1]}")
                self.expect(oldest[-1] < 5000, f"loss: {node.name} was {oldest[-1]} ms behind with {peer.name}")
                lines = self.lines_since(node, began, peer.name)
                self.expect(not lines, f"loss: {node.name} logged {lines}")
                verdicts = {verdict: sum(one["in_sync"] == verdict for one in fields) for verdict in ("yes", "unknown", "no")}
                print(f"    {node.name} of {peer.name}: oldest change in the middle {oldest[len(oldest) // 2]} ms, at most {oldest[-1]} ms; in_sync {verdicts}", flush=True)
        # Still on the bad network.
        self.agree("loss")
        self.wire.set()
        for node in self.nodes:
            dials = {peer: count - attempts[node.name][peer] for peer, count in node.attempts().items()}
            self.expect(not any(dials.values()), f"loss: {node.name} dialled {dials}")
        for node in self.burdocks:
            more = node.anonymous_kib() - memory[node.name]
            self.expect(more <= GROWTH_KIB_MAX, f"loss: {node.name} has {more} KiB more")
            print(f"    {node.name} has {more} KiB more than before", flush=True)


def both(one, other):
    return [(one, other), (other, one)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=os.path.join(HERE, "target/debug/burdock"))
    parser.add_argument("--long", action="store_true")
    options = parser.parse_args()
    haproxy = shutil.which("haproxy", path=os.environ["PATH"] + ":/usr/sbin")
    if os.geteuid() != 0 or not haproxy or not os.path.exists("/dev/net/tun"):
        sys.exit("needs root, haproxy and /dev/net/tun")
    folder = tempfile.mkdtemp(prefix="burdock-bad-network-")
    os.chmod(folder, 0o755)
    nodes, wire, trial = [], None, None
    try:
        nodes = [Node(name, haproxy if name == "c" else options.binary, folder) for name in NODES]
        wire = Wire([node.holder.pid for node in nodes])
        for node in nodes:
            node.connect_to_wire()
        for node in nodes:
            node.start()
        trial = Trial(nodes, wire)
        trial.updating.set()
        wait_for(HEAL_S, "all keys everywhere", lambda: all(len(node.entries()) == len(nodes) * KEYS for node in nodes))
        trial.agree("start")
        trial.cut("a to b lost, c to a lost, b and c cut", [("a", "b"), ("c", "a"), *both("b", "c")])
        if options.long:
            trial.cut("b to a lost, a to c lost", [("b", "a"), ("a", "c")])
            trial.cut("a and b cut, c to b lost", [*both("a", "b"), ("c", "b")])
            trial.cut("all cut", [*both("a", "b"), *both("a", "c"), *both("b", "c")])
        trial.loss(60 if options.long else 10)
        for node in nodes:
            warnings = [line for _, line in node.lines if "taught" in line or "learnt" in line or "not the same" in line]
            print(f"== {node.name}: lessons and alarms in the log: {warnings}", flush=True)
            if node.is_burdock:
                alarms = [line for line in warnings if "not the same" in line]
                trial.expect(not alarms, f"alarms of {node.name}: {alarms}")
    except Failure as failure:
        for node in nodes:
            print(f"-- {node.name}: {node.ask('show peers lag') if node.is_burdock else node.ask('show peers')}")
            for _, line in node.lines[-20:]:
                print(f"   {line}")
        sys.exit(f"FAILED: {failure}")
    finally:
        if trial:
            trial.ended = True
        if wire:
            os.close(wire.orders)
            os.waitpid(wire.pid, 0)
        for node in nodes:
            node.finish()
        shutil.rmtree(folder, ignore_errors=True)
    if trial.faults:
        sys.exit("FAILED: " + "; ".join(trial.faults))
    print("== passed")


if __name__ == "__main__":
    main()
