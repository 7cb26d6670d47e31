#!/usr/bin/env python3
"""Mixed good and hostile traffic through one burdock, with reloads and dying servers, under a memory watch.

scripts/soak.sh builds burdock and calls this. Fails when a process ends by itself, when memory is not flat after a worker's first minute, when
something is left of the traffic after its end, or when a good request fails. Of a good request that fails all that is known is written down: the
line that burdock logged, whether the server read the request, and which reload and which death of a server were nearest. A record goes to
perf/records/.

A server that dies takes requests with it that it has not read: they lie in its accept queue or in a socket. `retry-on` gives leave to repeat them,
as an operator would, so no good request may fail at all.
"""
import argparse
import asyncio
import collections
import json
import logging
import os
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from soak_traffic import Attacker, Server, corpus, read_response

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--connections", type=int, default=10000, help="keep-alive connections that are used now and then")
    parser.add_argument("--clients", type=int, default=24, help="good clients at a time")
    parser.add_argument("--hostile", type=int, default=40, help="hostile clients at a time")
    parser.add_argument("--deaths-every", type=float, default=7, help="seconds between two deaths of servers")
    parser.add_argument("--reloads-every", type=float, default=200, help="seconds between two reloads, after a first one at 40 s")
    parser.add_argument("--binary", default=os.path.join(HERE, "target/release/burdock"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="keep the folder with configuration and logs")
    return parser.parse_args()


CONFIGURATION = """\
global
 stats socket {folder}/stats.sock level admin
 maxconn {maxconn}
 fd-hard-limit {descriptors}
 no strict-limits
 log {folder}/log.sock len 2000 local0
defaults
 mode http
 log global
 option dontlog-normal
 log-format "%ci:%cp %b/%s %ST %tsc %TR/%Tw/%Tc/%Tr/%Ta rc=%rc %HU"
 timeout connect 2s
 timeout client 10s
 timeout server 10s
 timeout queue 10s
 timeout http-request 5s
 timeout http-keep-alive 10m
 option redispatch 1
 retries 5
 retry-on conn-failure empty-response
 option http-keep-alive
listen l
 bind 127.0.0.1:{port}
 stick-table type ip size 1k expire 1m
 stick on src
{servers}
listen evil
 bind 127.0.0.1:{evil_port}
 server e 127.0.0.1:{evil_server}
"""


class Soak:
    def __init__(self, options):
        self.options = options
        names = ["good", "failed", "reconnected", "hostile", "kept_connections", "reloads", "server_deaths"]
        self.counts = dict.fromkeys(names, 0)
        self.failures, self.memory = [], []
        self.begun, self.end = time.time(), 0.0
        self.events = []  # (when, what): reloads and deaths
        self.lines = collections.deque(maxlen=20000)  # what burdock logged of what went wrong, with the time it came
        self.requests, self.responses = corpus("requests"), corpus("responses")

    # What is known.

    def now(self):
        return time.time() - self.begun

    def happened(self, what):
        self.events.append((self.now(), what))

    def note_lines(self):
        while True:
            try:
                line = self.log.recv(4096)
            except BlockingIOError:
                return
            self.lines.append((self.now(), line.decode(errors="replace").strip()))

    async def fail(self, what, target=b"", since=None):
        """A good request failed: says all that is known about it."""
        until = self.now()
        await asyncio.sleep(0.3)
        report = {"at_s": round(until, 3), "what": what}
        near = sorted(self.events, key=lambda event: abs(event[0] - until))[:3]
        report["events"] = [f"{when:.3f}s {event}" for when, event in sorted(near)]
        if target:
            word = " " + target.decode()
            report["target"], report["begun_s"] = target.decode(), round(since - self.begun, 3)
            report["logged"] = [line for _, line in self.lines if line.endswith(word)]
            report["read_by"] = [server.name for server in self.servers if target in server.seen]
        self.counts["failed"] += 1
        if len(self.failures) < 20:
            self.failures.append(report)
        print("FAILED:", json.dumps(report), flush=True)

    # Good traffic.

    async def ask(self, reader, writer, target):
        writer.write(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % target)
        head, body = await asyncio.wait_for(read_response(reader), 20)
        if not head.startswith(b"HTTP/1.1 200"):
            raise ValueError(f"answered {head[:40]!r}")
        if body != target * 20:
            raise ValueError(f"another body: {body[:60]!r} after {head!r}")
        self.counts["good"] += 1

    async def attempt(self, reader, writer, target, is_first):
        """One good request; whether its connection goes on."""
        since = time.time()
        try:
            await self.ask(reader, writer, target)
            return True
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            partial = getattr(error, "partial", b"")
            if is_first or partial:
                await self.fail(f"cut: {type(error).__name__} after {partial[:40]!r}", target, since)
            else:
                # Closed between two requests: a client begins anew.
                self.counts["reconnected"] += 1
        except Exception as error:
            await self.fail(f"{type(error).__name__} {error}", target, since)
        writer.close()
        return False

    async def connect(self, number):
        """From one of many addresses, as clients have them: no port runs out, and each sticks to its server."""
        source = f"127.0.{1 + number % 8}.{1 + number // 8 % 200}"
        try:
            return await asyncio.open_connection("127.0.0.1", self.port, local_addr=(source, 0))
        except OSError as error:
            await self.fail(f"connect: {error}")
            await asyncio.sleep(0.1)
            return None

    async def good(self, index):
        number = 0
        while time.time() < self.end:
            pair = await self.connect(random.randrange(1600))
            if pair is None:
                continue
            for turn in range(random.randrange(1, 60)):
                number += 1
                target = b"/g%d-%d%s" % (index, number, b"chunked" if number % 3 == 0 else b"")
                if not await self.attempt(*pair, target, turn == 0):
                    break
                await asyncio.sleep(random.random() * 0.05)
            pair[1].close()

    async def keep(self, index, lanes):
        """Opens a part of the kept connections, uses each now and then, and opens those anew that are gone."""
        kept, number, first = [], 0, True
        share = self.options.connections // lanes
        while time.time() < self.end:
            while len(kept) < share and time.time() < self.end:
                number += 1
                pair = await self.connect(index * share + number)
                if pair and await self.attempt(*pair, b"/k%d-%d" % (index, number), True):
                    kept.append(pair)
                    self.counts["kept_connections"] += first
            first = False
            number += 1
            pair = random.choice(kept)
            if not await self.attempt(*pair, b"/k%d-%d" % (index, number), False):
                kept.remove(pair)
            await asyncio.sleep(0.2)
        for _, writer in kept:
            writer.close()

    # Bad days.

    async def deaths(self):
        while time.time() < self.end:
            await asyncio.sleep(self.options.deaths_every * 0.7)
            server = random.choice(self.servers[:3])
            self.happened(f"{server.name} dies")
            await server.down()
            self.counts["server_deaths"] += 1
            await asyncio.sleep(self.options.deaths_every * 0.3)
            await server.up()
            self.happened(f"{server.name} is back")

    async def reloads(self):
        """After forty seconds, then at intervals: each worker lives long enough for its memory to be judged."""
        pause = 40
        while time.time() + pause < self.end:
            await asyncio.sleep(pause)
            self.happened("reload")
            os.kill(self.process.pid, signal.SIGUSR2)
            self.counts["reloads"] += 1
            pause = self.options.reloads_every

    async def watch(self):
        """Memory and descriptors of each worker by its age, a line a second."""
        born = {}
        while time.time() < self.end:
            if self.process.poll() is not None:
                self.failures.append("the master ended")
                self.end = 0
                return
            workers = self.workers()
            for child in workers:
                born.setdefault(child, self.now())
            newest = max(workers, key=born.get, default=None)
            for child in workers:
                try:
                    status = open(f"/proc/{child}/status").read()
                    descriptors = len(os.listdir(f"/proc/{child}/fd"))
                except OSError:
                    continue
                rss = re.search(r"VmRSS:\s+(\d+)", status)
                if rss:
                    self.memory.append((int(child), round(self.now() - born[child]), int(rss.group(1)), descriptors, child == newest))
            await asyncio.sleep(1)

    def workers(self):
        return subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True).stdout.split()

    def leaks(self):
        """Growth of each worker that lived two minutes and more, after its first minute, KiB. One that hands its connections over, all ten
        thousand, is not judged while it does."""
        found = []
        for pid in dict.fromkeys(pid for pid, *_ in self.memory):
            ages = [(age, kib) for other, age, kib, _, is_newest in self.memory if other == pid and is_newest]
            if not ages:
                continue
            life = ages[-1][0]
            early = [kib for age, kib in ages if 60 <= age < 90]
            late = [kib for age, kib in ages if age > life - 30]
            if life >= 120 and early:
                found.append({"pid": pid, "life_s": life, "first_minute_kib": max(early), "last_half_minute_kib": max(late)})
        return found

    # The whole.

    async def start(self):
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        self.folder = tempfile.mkdtemp(prefix="burdock-soak-")
        self.log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.log.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.log.bind(f"{self.folder}/log.sock")
        asyncio.get_running_loop().add_reader(self.log, self.note_lines)
        sockets = [socket.socket() for _ in range(6)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        ports = [sock.getsockname()[1] for sock in sockets]
        for sock in sockets:
            sock.close()
        self.port, self.evil_port = ports[0], ports[1]
        self.servers = [Server(f"s{index}", port) for index, port in enumerate(ports[2:5])]
        self.servers.append(Server("e", ports[5], self.responses))
        for server in self.servers:
            await server.up()
        lines = [f" server {server.name} 127.0.0.1:{server.port} check inter 500 fall 1 rise 1" for server in self.servers[:3]]
        with open(f"{self.folder}/soak.cfg", "w") as file:
            file.write(
                CONFIGURATION.format(
                    folder=self.folder,
                    maxconn=self.options.connections + 2000,
                    descriptors=limit,
                    port=self.port,
                    servers="\n".join(lines),
                    evil_port=self.evil_port,
                    evil_server=ports[5],
                )
            )
        log = open(f"{self.folder}/stderr", "w")
        command = [self.options.binary, "-W", "-db", "-f", f"{self.folder}/soak.cfg"]
        self.process = subprocess.Popen(command, stdout=log, stderr=log)
        await asyncio.sleep(1.5)

    async def run(self):
        await self.start()
        self.begun = time.time()
        self.end = self.begun + self.options.minutes * 60
        lanes = 16
        ways = range(self.options.hostile)
        attackers = [Attacker(self.requests, self.port, self.evil_port, is_slow=way % 2 == 1) for way in ways]
        tasks = [self.good(index) for index in range(self.options.clients)] + [self.keep(index, lanes) for index in range(lanes)]
        tasks += [attacker.run(lambda: time.time() < self.end) for attacker in attackers]
        tasks += [self.deaths(), self.reloads(), self.watch(), self.report(attackers)]
        try:
            await asyncio.gather(*tasks)
            left = await self.remains()
        finally:
            self.process.terminate()
            self.process.wait()
        text = open(f"{self.folder}/stderr").read()
        self.failures += [line for line in text.splitlines() if "panick" in line or "died" in line or "killed" in line.lower()]
        if not self.options.keep:
            shutil.rmtree(self.folder)
        return self.conclude(left)

    async def remains(self):
        """What is left a while after the end of all traffic: connections of clients and their descriptors."""
        for _ in range(200):
            await asyncio.sleep(0.2)
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(10)
                sock.connect(f"{self.folder}/stats.sock")
                sock.sendall(b"show info\n")
                text = b"".join(iter(lambda: sock.recv(65536), b"")).decode()
            connections = int(re.search(r"CurrConns: (\d+)", text).group(1))
            workers = self.workers()
            # The stats socket's own connection counts.
            if connections <= 1 and len(workers) == 1:
                break
        descriptors = [len(os.listdir(f"/proc/{worker}/fd")) for worker in workers]
        return {"client_connections": max(connections - 1, 0), "workers": len(workers), "descriptors": descriptors}

    async def report(self, attackers):
        while time.time() < self.end:
            await asyncio.sleep(10)
            self.counts["hostile"] = sum(attacker.count for attacker in attackers)
            newest = self.memory[-1][2:4] if self.memory else (0, 0)
            print(f"{self.now():6.0f}s {self.counts} worker {newest[0]} KiB {newest[1]} descriptors", flush=True)

    def conclude(self, left):
        leaks = self.leaks()
        is_flat = all(one["last_half_minute_kib"] <= one["first_minute_kib"] * 1.05 + 4096 for one in leaks)
        is_clean = left["client_connections"] == 0 and left["workers"] == 1
        record = {
            "what": "scripts/soak.sh",
            "minutes": self.options.minutes,
            "commit": subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE).stdout.strip(),
            "counts": self.counts,
            "failures": self.failures,
            "workers": leaks,
            "peak_kib": max(kib for _, _, kib, *_ in self.memory),
            "peak_descriptors": max(descriptors for *_, descriptors, _ in self.memory),
            "memory_is_flat": is_flat,
            "left_after_the_traffic": left,
            "passed": is_flat and is_clean and not self.failures and self.counts["failed"] == 0,
        }
        name = time.strftime("%Y-%m-%dT%H%M%SZ", time.gmtime())
        path = os.path.join(HERE, "perf/records", f"{name}-soak.json")
        with open(path, "w") as file:
            json.dump(record, file, indent=1)
            file.write("\n")
        print(json.dumps(record, indent=1))
        print(f"record: {path}")
        return 0 if record["passed"] else 1


if __name__ == "__main__":
    # That an attacker writes to a connection which was closed on it is no news.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    options = arguments()
    random.seed(options.seed)
    sys.exit(asyncio.run(Soak(options).run()))
