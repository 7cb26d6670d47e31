#!/usr/bin/env python3
"""What clients that are slow or greedy cost, and what others notice of them; some four minutes, beside HAProxy if it is installed.

Scenes: ten thousand idle connections (memory a connection), slow heads, slow bodies, slow readers, a byte at a time, a flood beyond `maxconn`,
pipelines a thousand deep. While each goes on, good clients ask and their p50, p99 and slowest answers are noted; "alone" is the same without a
scene. Then each timeout: how long after its time it comes, milliseconds, and how late good clients are answered while nine thousand
connections time out together. A record goes to perf/records/.

    cargo build --release && scripts/slow-and-greedy.py [--binary target/release/burdock]
"""
import argparse
import asyncio
import json
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
IDLE = 10000
BIG = 1000000

CONFIGURATION = """\
global
 stats socket {folder}/stats.sock level admin
 maxconn {maxconn}
 {ours}
defaults
 mode http
 timeout connect 2s
 timeout client 20s
 timeout server 20s
 timeout http-request 20s
 timeout http-keep-alive 5m
listen l
 bind 127.0.0.1:{good}
 server s 127.0.0.1:{server}
listen narrow
 bind 127.0.0.1:{narrow}
 maxconn 50
 server s 127.0.0.1:{server}
listen http_request
 bind 127.0.0.1:{http_request}
 timeout http-request {ms}
 server s 127.0.0.1:{server}
listen keep_alive
 bind 127.0.0.1:{keep_alive}
 timeout http-keep-alive {ms}
 server s 127.0.0.1:{server}
listen client
 bind 127.0.0.1:{client}
 timeout client {ms}
 server s 127.0.0.1:{server}
listen server
 bind 127.0.0.1:{server_timeout}
 timeout server {ms}
 server s 127.0.0.1:{server}
listen queue
 bind 127.0.0.1:{queue}
 timeout queue {ms}
 server s 127.0.0.1:{server} maxconn 1
listen connect
 bind 127.0.0.1:{connect}
 timeout connect {ms}
 retries 0
 server s 127.0.0.1:{deaf}
listen tunnel
 bind 127.0.0.1:{tunnel}
 timeout tunnel {ms}
 server s 127.0.0.1:{server}
listen tarpit
 bind 127.0.0.1:{tarpit}
 timeout tarpit {ms}
 http-request tarpit
 server s 127.0.0.1:{server}
listen client_fin
 mode tcp
 bind 127.0.0.1:{client_fin}
 timeout client-fin {ms}
 server s 127.0.0.1:{server}
listen server_fin
 mode tcp
 bind 127.0.0.1:{server_fin}
 timeout server-fin {ms}
 server s 127.0.0.1:{server}
listen together
 bind 127.0.0.1:{together}
 timeout http-request 8s
 server s 127.0.0.1:{server}
"""
PROXIES = (
    "good narrow http_request keep_alive client server_timeout queue connect tunnel tarpit client_fin server_fin together".split()
)
TOGETHER = 9000
TIMEOUT_MS = 700


# How long the proxy kept connections to the server after their server's end, seconds.
half_ends = []


async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"GET /silence"):
                # Not even its end is answered.
                await reader.read()
                await asyncio.sleep(3)
                break
            if head.startswith(b"GET /half"):
                # Nothing more from here; when is the client given up?
                since = time.monotonic()
                writer.write_eof()
                await reader.read()
                half_ends.append(time.monotonic() - since)
                break
            if head.startswith(b"GET /upgrade"):
                writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
                await reader.read()
                break
            body = b"b" * (BIG if b"/big" in head else 100)
            length = re.search(rb"(?i)content-length: (\d+)", head)
            if length:
                await reader.readexactly(int(length.group(1)))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
        pass
    finally:
        writer.close()


async def read_response(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    if length:
        await reader.readexactly(int(length.group(1)))
    return int(head[9:12])


def request(target="/", lines=""):
    return f"GET {target} HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode()


class Bench:
    def __init__(self, program, command, ours):
        self.program, self.command, self.ours = program, command, ours

    async def start(self):
        self.folder = tempfile.mkdtemp(prefix="burdock-slow-")
        self.origin = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1000)
        # One that lets nobody in: its backlog is full.
        self.deaf = socket.socket()
        self.deaf.bind(("127.0.0.1", 0))
        self.deaf.listen(0)
        self.full = [socket.socket() for _ in range(4)]
        for sock in self.full:
            sock.setblocking(False)
            sock.connect_ex(self.deaf.getsockname())
        free = [socket.socket() for _ in PROXIES]
        for sock in free:
            sock.bind(("127.0.0.1", 0))
        self.ports = {name: sock.getsockname()[1] for name, sock in zip(PROXIES, free)}
        for sock in free:
            sock.close()
        values = dict(self.ports, server=self.origin.sockets[0].getsockname()[1], deaf=self.deaf.getsockname()[1])
        with open(f"{self.folder}/c.cfg", "w") as file:
            # Both sides of ten thousand connections are in this process too.
            file.write(CONFIGURATION.format(folder=self.folder, maxconn=IDLE + 1000, ours=self.ours, ms=f"{TIMEOUT_MS}ms", **values))
        log = open(f"{self.folder}/stderr", "w")
        self.process = subprocess.Popen([self.command, "-db", "-f", f"{self.folder}/c.cfg"], stdout=log, stderr=log)
        for _ in range(200):
            try:
                _, writer = await self.open("good")
                writer.close()
                break
            except OSError:
                await asyncio.sleep(0.05)

    async def open(self, proxy):
        return await asyncio.open_connection("127.0.0.1", self.ports[proxy])

    async def finish(self):
        self.process.terminate()
        self.process.wait()
        self.origin.close()
        shutil.rmtree(self.folder)

    def kib(self):
        """Memory of all its processes."""
        children = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True).stdout.split()
        total = 0
        for pid in [self.process.pid, *children]:
            total += int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{pid}/status").read()).group(1))
        return total

    async def good(self, seconds):
        """Twenty good clients, each on its connection; the times of their answers, milliseconds."""
        times, failed = [], 0

        async def client():
            nonlocal failed
            reader, writer = await self.open("good")
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                begun = time.monotonic()
                writer.write(request())
                status = await asyncio.wait_for(read_response(reader), 10)
                failed += status != 200
                times.append((time.monotonic() - begun) * 1000)
                await asyncio.sleep(0.02)
            writer.close()

        done = await asyncio.gather(*(client() for _ in range(20)), return_exceptions=True)
        failed += sum(1 for one in done if isinstance(one, BaseException))
        times.sort()
        at = lambda part: round(times[min(int(len(times) * part), len(times) - 1)], 2)
        return {"good_requests": len(times), "failed": failed, "p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": at(1)}

    async def scene(self, begin, seconds=4):
        """What good clients see while `begin` has made its connections and goes on."""
        before = self.kib()
        held = []
        task = asyncio.create_task(begin(held))
        # Making the connections keeps this process busy itself: three hundred answers of a megabyte are its own.
        await asyncio.sleep(3)
        seen = await self.good(seconds)
        seen["kib_more"] = self.kib() - before
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for one in held:
            one.close()
        await asyncio.sleep(0.5)
        return seen

    # Scenes.

    async def alone(self, held):
        pass

    async def drip(self, held, count, first, piece):
        for _ in range(count):
            _, writer = await self.open("good")
            writer.write(first)
            held.append(writer)
        while True:
            for writer in held:
                if not writer.is_closing():
                    writer.write(piece)
            await asyncio.sleep(0.1)

    async def slow_heads(self, held):
        await self.drip(held, 500, b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"a")

    async def slow_bodies(self, held):
        await self.drip(held, 500, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n", b"a")

    async def slow_readers(self, held):
        loop = asyncio.get_running_loop()
        for _ in range(300):
            sock = socket.socket()
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await loop.sock_connect(sock, ("127.0.0.1", self.ports["good"]))
            await loop.sock_sendall(sock, request("/big"))
            held.append(sock)

    async def bytes_alone(self, held):
        async def one():
            reader, writer = await self.open("good")
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            held.append(writer)
            while True:
                for byte in request():
                    writer.write(bytes([byte]))
                    await asyncio.sleep(0.001)
                await read_response(reader)

        await asyncio.gather(*(one() for _ in range(20)))

    async def flood(self, held):
        """Ten times as many clients as the listener may have: those beyond wait in its backlog."""
        for _ in range(500):
            _, writer = await self.open("narrow")
            held.append(writer)

    async def pipelines(self, held):
        async def one():
            while True:
                reader, writer = await self.open("good")
                held.append(writer)
                writer.write(request() * 1000)
                for _ in range(1000):
                    assert await read_response(reader) == 200
                writer.close()

        await asyncio.gather(*(one() for _ in range(4)))

    async def idle(self):
        """Ten thousand connections that have asked once each."""
        before, held = self.kib(), []

        async def some(count):
            for _ in range(count):
                reader, writer = await self.open("good")
                writer.write(request())
                await read_response(reader)
                held.append(writer)

        await asyncio.gather(*(some(IDLE // 20) for _ in range(20)))
        # Idle server connections go after five seconds.
        await asyncio.sleep(7)
        more = self.kib() - before
        seen = await self.good(4)
        seen.update(connections=len(held), kib_more=more, bytes_a_connection=round(more * 1024 / len(held)))
        for writer in held:
            writer.close()
        await asyncio.sleep(1)
        return seen

    # Timeouts.

    async def late_ms(self, proxy, play, rounds=5):
        """How much later than its time a timeout ends something: the least and the most of some rounds, milliseconds."""
        found = []
        for _ in range(rounds):
            reader, writer = await self.open(proxy)
            since = await play(reader, writer)
            try:
                await asyncio.wait_for(reader.read(1), 5)
            except asyncio.TimeoutError:
                return "not within 5 s"
            found.append(round((time.monotonic() - since) * 1000 - TIMEOUT_MS, 1))
            writer.close()
        return [min(found), max(found)]

    async def client_fin(self, rounds=5):
        """`timeout client-fin` ends a client that stays when its server has ended: the server sees it."""
        half_ends.clear()
        for count in range(rounds):
            reader, writer = await self.open("client_fin")
            writer.write(request("/half"))
            end = time.monotonic() + 5
            while len(half_ends) == count:
                if time.monotonic() > end:
                    return "not within 5 s"
                await asyncio.sleep(0.01)
            writer.close()
        late = [round(took * 1000 - TIMEOUT_MS, 1) for took in half_ends]
        return [min(late), max(late)]

    async def together(self):
        """What good clients see while thousands of heads time out in one moment: the slowest answer in that time, milliseconds."""
        socks = []
        for _ in range(TOGETHER):
            sock = socket.socket()
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.ports["together"]))
            socks.append(sock)
        begun = time.monotonic()
        for sock in socks:
            sock.send(b"GET / HT")
        said = time.monotonic() - begun
        await asyncio.sleep(max(0, 6.5 - said))
        seen = await self.good(5)
        answered = 0
        for sock in socks:
            try:
                answered += sock.recv(12)[9:12] == b"408"
            except OSError:
                pass
            sock.close()
        seen.update(timed_out=answered, said_within_s=round(said, 2))
        return seen

    async def timeouts(self):
        async def says(writer, bytes_):
            since = time.monotonic()
            writer.write(bytes_)
            return since

        async def head(reader, writer):
            return await says(writer, b"GET / HT")

        async def between(reader, writer):
            # From before the request: the answer is read some time after it was sent.
            since = await says(writer, request())
            await read_response(reader)
            return since

        async def body(reader, writer):
            return await says(writer, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")

        async def silence(reader, writer):
            return await says(writer, request("/silence"))

        async def queued(reader, writer):
            self.first = await self.open("queue")
            self.first[1].write(request("/silence"))
            await asyncio.sleep(0.1)
            return await says(writer, request())

        async def ended(reader, writer):
            writer.write(request("/silence"))
            await asyncio.sleep(0.2)
            since = time.monotonic()
            writer.write_eof()
            return since

        async def upgraded(reader, writer):
            since = await says(writer, request("/upgrade", "Connection: upgrade\r\nUpgrade: x\r\n"))
            await reader.readuntil(b"\r\n\r\n")
            return since

        found = {
            "http-request": await self.late_ms("http_request", head),
            "http-keep-alive": await self.late_ms("keep_alive", between),
            "client": await self.late_ms("client", body),
            "server": await self.late_ms("server_timeout", silence),
            "connect": await self.late_ms("connect", silence),
            "tunnel": await self.late_ms("tunnel", upgraded),
            "tarpit": await self.late_ms("tarpit", silence),
            "client-fin": await self.client_fin(),
            "server-fin": await self.late_ms("server_fin", ended),
            "queue": await self.late_ms("queue", queued, 1),
        }
        self.first[1].close()
        return found

    async def run(self):
        await self.start()
        try:
            result = {"program": self.program}
            result["alone"] = await self.scene(self.alone)
            for begin in [self.slow_heads, self.slow_bodies, self.slow_readers, self.bytes_alone, self.flood, self.pipelines]:
                result[begin.__name__] = await self.scene(begin)
                print(self.program, begin.__name__, result[begin.__name__], flush=True)
            result["idle"] = await self.idle()
            print(self.program, "idle", result["idle"], flush=True)
            result["together"] = await self.together()
            print(self.program, "together", result["together"], flush=True)
            result["timeouts_late_by_ms"] = await self.timeouts()
            print(self.program, "late by ms (least, most):", result["timeouts_late_by_ms"], flush=True)
            result["stated_bound"] = re.findall(r"limits: .*", open(f"{self.folder}/stderr").read())[:1]
            return result
        finally:
            await self.finish()


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=os.path.join(HERE, "target/release/burdock"))
    options = parser.parse_args()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    results = []
    for program, command in [("burdock", options.binary), ("haproxy", "/usr/sbin/haproxy")]:
        if os.path.exists(command):
            results.append(await Bench(program, command, f"fd-hard-limit {limit}\n no strict-limits").run())
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE).stdout.strip()
    record = {"what": "scripts/slow-and-greedy.py", "commit": commit, "timeout_ms": TIMEOUT_MS, "load_average": os.getloadavg()[0], "results": results}
    path = os.path.join(HERE, "perf/records", time.strftime("%Y-%m-%dT%H%M%SZ", time.gmtime()) + "-slow.json")
    with open(path, "w") as file:
        json.dump(record, file, indent=1)
        file.write("\n")
    print(f"record: {path}")
    scenes = [one for result in results[:1] for one in result.values() if isinstance(one, dict) and "failed" in one]
    timeouts = results[0]["timeouts_late_by_ms"].values()
    is_wrong = any(isinstance(late, str) or late[0] < -1.5 for late in timeouts)
    return 1 if is_wrong or any(one["failed"] for one in scenes) else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
