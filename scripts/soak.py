#!/usr/bin/env python3
"""Mixed good and hostile traffic through one burdock, with reloads and dying servers, under a memory watch.

scripts/soak.sh builds burdock and calls this. Fails when a process ends by itself, when memory is not flat after a worker's first minute, or when a
good request fails. A record goes to perf/records/.
"""
import argparse
import asyncio
import glob
import json
import os
import random
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--connections", type=int, default=10000, help="idle keep-alive connections")
    parser.add_argument("--clients", type=int, default=24, help="good clients at a time")
    parser.add_argument("--hostile", type=int, default=12, help="hostile clients at a time")
    parser.add_argument("--binary", default=os.path.join(HERE, "target/release/burdock"))
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def unescape(text):
    """The bytes of a corpus case; tests/corpus.rs describes the escapes."""
    out = bytearray()
    at = 0
    while at < len(text):
        char = text[at]
        at += 1
        if char == "\n":
            continue
        if char != "\\":
            out += char.encode()
            continue
        kind = text[at]
        at += 1
        if kind in "rnt0\\":
            out += {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}[kind]
        elif kind == "x":
            out.append(int(text[at : at + 2], 16))
            at += 2
        else:
            end = text.index("}", at)
            count, what = text[at:end].split("*", 1)
            out += unescape(what) * int(count)
            at = end + 1
    return bytes(out)


def corpus(prefix):
    cases = []
    for path in sorted(glob.glob(os.path.join(HERE, "tests/corpus", prefix + "*.txt"))):
        for block in open(path).read().split("=== ")[1:]:
            cases.append(unescape(block.split("---\n", 1)[1]))
    return cases


class Server:
    """An application: answers, and dies now and then. What it has begun it ends."""

    def __init__(self, port, evil):
        self.port, self.evil, self.writers, self.listener = port, evil, {}, None

    async def up(self):
        self.listener = await asyncio.start_server(self.serve, "127.0.0.1", self.port, backlog=1000)

    async def down(self):
        self.listener.close()
        self.listener = None
        for writer, state in list(self.writers.items()):
            if not state["busy"]:
                writer.close()

    async def serve(self, reader, writer):
        state = {"busy": False}
        self.writers[writer] = state
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                state["busy"] = True
                if self.evil:
                    writer.write(random.choice(self.evil))
                    await writer.drain()
                    break
                length = re.search(rb"(?i)content-length: (\d+)", head)
                if length:
                    await reader.readexactly(int(length.group(1)))
                if re.search(rb"(?i)\ntransfer-encoding: *chunked", head):
                    while size := int((await reader.readline()) or b"x", 16):
                        await reader.readexactly(size + 2)
                    while await reader.readline() not in (b"\r\n", b""):
                        pass
                target = head.split(b" ", 2)[1]
                body = target * 20
                if b"chunked" in target:
                    half = len(body) // 2
                    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                    for part in (body[:half], body[half:]):
                        writer.write(b"%x\r\n%s\r\n" % (len(part), part))
                    writer.write(b"0\r\n\r\n")
                else:
                    sent = b"" if head.startswith(b"HEAD ") else body
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), sent))
                await writer.drain()
                state["busy"] = False
                if self.listener is None:
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.LimitOverrunError, asyncio.CancelledError, ValueError):
            pass
        finally:
            self.writers.pop(writer, None)
            writer.close()


class Soak:
    def __init__(self, options):
        self.options = options
        self.counts = dict.fromkeys(["good", "failed", "reconnected", "hostile", "idle", "reloads", "server_deaths"], 0)
        self.failures, self.memory, self.end = [], [], 0.0
        self.requests, self.responses = corpus("requests"), corpus("responses")

    def fail(self, what):
        self.counts["failed"] += 1
        if len(self.failures) < 20:
            self.failures.append(f"{time.time() - self.begun:.1f}s {what}")

    async def ask(self, reader, writer, number):
        target = b"/%d%s" % (number, b"chunked" if number % 3 == 0 else b"")
        writer.write(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % target)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise ValueError(f"{head[:40]!r}")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if length:
            body = await reader.readexactly(int(length.group(1)))
        else:
            body = b""
            while size := int(await reader.readline(), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readline()
        if body != target * 20:
            raise ValueError("another body")

    async def good(self):
        number = random.randrange(1 << 30)
        while time.time() < self.end:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError as error:
                self.fail(f"connect: {error}")
                await asyncio.sleep(0.1)
                continue
            for turn in range(random.randrange(1, 60)):
                number += 1
                try:
                    await asyncio.wait_for(self.ask(reader, writer, number), 20)
                    self.counts["good"] += 1
                except asyncio.IncompleteReadError as error:
                    if turn and not error.partial:
                        # Closed between two requests: a client begins anew.
                        self.counts["reconnected"] += 1
                    else:
                        self.fail(f"cut after {error.partial[:40]!r}")
                    break
                except Exception as error:
                    self.fail(f"{type(error).__name__} {error}")
                    break
                await asyncio.sleep(random.random() * 0.05)
            writer.close()

    async def hostile(self):
        while time.time() < self.end:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", random.choice([self.port, self.evil_port]))
                bytes_ = bytearray(random.choice(self.requests))
                for _ in range(random.randrange(4)):
                    if bytes_:
                        bytes_[random.randrange(len(bytes_))] = random.randrange(256)
                at = 0
                while at < len(bytes_):
                    step = random.choice([1, 7, 100, 100000])
                    writer.write(bytes_[at : at + step])
                    at += step
                    if step == 1 and random.random() < 0.1:
                        await asyncio.sleep(0.01)
                    if at > 2000 and step == 1:
                        break
                end = random.randrange(4)
                if end == 0 and writer.can_write_eof():
                    writer.write_eof()
                if end < 3:
                    await asyncio.wait_for(reader.read(100000), random.random() * 2)
                else:
                    sock = writer.get_extra_info("socket")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort() if end == 3 else writer.close()
            except (OSError, asyncio.TimeoutError):
                pass
            self.counts["hostile"] += 1
            await asyncio.sleep(0.01)

    async def idle(self):
        """Opens the idle connections, uses each now and then, and opens those anew that are gone."""
        kept = []
        while time.time() < self.end:
            while len(kept) < self.options.connections and time.time() < self.end:
                try:
                    reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    await asyncio.wait_for(self.ask(reader, writer, len(kept)), 20)
                    kept.append((reader, writer))
                    self.counts["idle"] = max(self.counts["idle"], len(kept))
                except Exception as error:
                    self.fail(f"idle: {type(error).__name__} {error}")
                    await asyncio.sleep(0.1)
            for _ in range(20):
                index = random.randrange(len(kept))
                reader, writer = kept[index]
                try:
                    await asyncio.wait_for(self.ask(reader, writer, index), 20)
                    self.counts["good"] += 1
                except asyncio.IncompleteReadError as error:
                    if error.partial:
                        self.fail("idle: cut")
                    self.counts["reconnected"] += 1
                    writer.close()
                    kept.pop(index)
                except Exception as error:
                    self.fail(f"idle: {type(error).__name__} {error}")
                    writer.close()
                    kept.pop(index)
            await asyncio.sleep(0.2)

    async def deaths(self):
        while time.time() < self.end:
            await asyncio.sleep(7)
            server = random.choice(self.servers[:3])
            await server.down()
            self.counts["server_deaths"] += 1
            await asyncio.sleep(3)
            await server.up()

    async def reloads(self):
        """After forty seconds, then every five minutes: each worker lives long enough for its memory to be judged."""
        pause = 40
        while time.time() + pause < self.end:
            await asyncio.sleep(pause)
            os.kill(self.process.pid, signal.SIGUSR2)
            self.counts["reloads"] += 1
            pause = 300

    async def watch(self):
        """Memory of each worker by its age, a line a second."""
        born = {}
        while time.time() < self.end:
            if self.process.poll() is not None:
                self.failures.append("the master ended")
                self.end = 0
                return
            for child in subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True).stdout.split():
                try:
                    status = open(f"/proc/{child}/status").read()
                except OSError:
                    continue
                now = time.time() - self.begun
                born.setdefault(child, now)
                rss = re.search(r"VmRSS:\s+(\d+)", status)
                if rss:
                    self.memory.append((int(child), round(now - born[child]), int(rss.group(1))))
            await asyncio.sleep(1)

    def leaks(self):
        """Growth of each worker that lived two minutes and more, after its first minute, KiB."""
        found = []
        for pid in {pid for pid, _, _ in self.memory}:
            ages = [(age, kib) for other, age, kib in self.memory if other == pid]
            life = ages[-1][0]
            early = [kib for age, kib in ages if 60 <= age < 90]
            late = [kib for age, kib in ages if age > life - 30]
            if life >= 120 and early:
                found.append({"pid": pid, "life_s": life, "first_minute_kib": max(early), "last_half_minute_kib": max(late)})
        return found

    async def run(self):
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        folder = tempfile.mkdtemp(prefix="burdock-soak-")
        sockets = [socket.socket() for _ in range(6)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        ports = [sock.getsockname()[1] for sock in sockets]
        for sock in sockets:
            sock.close()
        self.port, self.evil_port = ports[0], ports[1]
        self.servers = [Server(port, None) for port in ports[2:5]] + [Server(ports[5], self.responses)]
        for server in self.servers:
            await server.up()
        servers = "".join(f" server s{index} 127.0.0.1:{port} check inter 500 fall 1 rise 1\n" for index, port in enumerate(ports[2:5]))
        with open(f"{folder}/soak.cfg", "w") as file:
            file.write(
                f"global\n stats socket {folder}/stats.sock level admin\n maxconn {self.options.connections + 2000}\n fd-hard-limit {limit}\n"
                " no strict-limits\ndefaults\n mode http\n timeout connect 2s\n timeout client 30s\n timeout server 10s\n timeout queue 10s\n"
                " timeout http-request 5s\n timeout http-keep-alive 10m\n option redispatch 1\n retries 5\n option http-keep-alive\n"
                f"listen l\n bind 127.0.0.1:{self.port}\n{servers} stick-table type ip size 1k expire 1m\n"
                f"listen evil\n bind 127.0.0.1:{self.evil_port}\n server e 127.0.0.1:{ports[5]}\n"
            )
        log = open(f"{folder}/stderr", "w")
        self.process = subprocess.Popen([self.options.binary, "-W", "-db", "-f", f"{folder}/soak.cfg"], stdout=log, stderr=log)
        await asyncio.sleep(1.5)
        self.begun = time.time()
        self.end = self.begun + self.options.minutes * 60
        tasks = [self.good() for _ in range(self.options.clients)] + [self.hostile() for _ in range(self.options.hostile)]
        tasks += [self.idle(), self.deaths(), self.reloads(), self.watch(), self.report()]
        await asyncio.gather(*tasks)
        self.process.terminate()
        self.process.wait()
        text = open(f"{folder}/stderr").read()
        self.failures += [line for line in text.splitlines() if "panick" in line or "died" in line or "killed" in line.lower()]
        return self.conclude()

    async def report(self):
        while time.time() < self.end:
            await asyncio.sleep(10)
            newest = self.memory[-1][2] if self.memory else 0
            print(f"{time.time() - self.begun:6.0f}s {self.counts} worker {newest} KiB", flush=True)

    def conclude(self):
        leaks = self.leaks()
        is_flat = all(one["last_half_minute_kib"] <= one["first_minute_kib"] * 1.05 + 4096 for one in leaks)
        record = {
            "what": "scripts/soak.sh",
            "minutes": self.options.minutes,
            "commit": subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE).stdout.strip(),
            "counts": self.counts,
            "failures": self.failures,
            "workers": leaks,
            "peak_kib": max(kib for _, _, kib in self.memory),
            "memory_is_flat": is_flat,
            "passed": is_flat and not self.failures and self.counts["failed"] == 0,
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
    options = arguments()
    random.seed(options.seed)
    sys.exit(asyncio.run(Soak(options).run()))
