"""What scripts/soak.py sends and what stands behind the proxy: servers that die, and clients that mean no good."""
import asyncio
import glob
import os
import random
import re
import socket
import struct

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


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


async def read_response(reader):
    """Head and body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    if length:
        return head, await reader.readexactly(int(length.group(1)))
    body = b""
    while size := int(await reader.readline(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return head, body


def reset(writer):
    """Closes with a reset, unless it is closed already."""
    try:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass
    writer.transport.abort()


class Server:
    """An application: answers, and dies now and then. What it has read it answers; what it has not is lost with it."""

    def __init__(self, name, port, evil=None):
        self.name, self.port, self.evil, self.writers, self.listener = name, port, evil, {}, None
        self.seen = set()  # targets of the requests that were read

    async def up(self):
        self.seen.clear()
        self.listener = await asyncio.start_server(self.serve, "127.0.0.1", self.port, backlog=1000)

    async def down(self):
        # Connections that nobody has accepted yet are reset by the kernel, as when a process ends.
        self.listener.close()
        self.listener = None
        with_reset = random.random() < 0.5
        for writer, state in list(self.writers.items()):
            if not state["busy"]:
                reset(writer) if with_reset else writer.close()

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
                target = head.split(b" ", 2)[1]
                if target[:2] in (b"/g", b"/k"):
                    self.seen.add(target)
                await self.read_body(reader, head)
                self.answer(writer, head, target)
                await writer.drain()
                state["busy"] = False
                if self.listener is None:
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.LimitOverrunError, asyncio.CancelledError, ValueError, IndexError):
            pass
        finally:
            self.writers.pop(writer, None)
            writer.close()

    async def read_body(self, reader, head):
        # Spaces after the colon are optional; a server that reads this less well than the proxy takes bodies for requests.
        length = re.search(rb"(?i)\ncontent-length:[ \t]*(\d+)", head)
        if length:
            await reader.readexactly(int(length.group(1)))
        if re.search(rb"(?i)\ntransfer-encoding:[ \t]*chunked", head):
            while size := int((await reader.readline()) or b"x", 16):
                await reader.readexactly(size + 2)
            while await reader.readline() not in (b"\r\n", b""):
                pass

    def answer(self, writer, head, target):
        body = target * 20 if target != b"/big" else b"b" * 1000000
        if b"chunked" in target and not head.startswith(b"HEAD "):
            half = len(body) // 2
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for part in (body[:half], body[half:]):
                writer.write(b"%x\r\n%s\r\n" % (len(part), part))
            writer.write(b"0\r\n\r\n")
        else:
            sent = b"" if head.startswith(b"HEAD ") else body
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), sent))


class Attacker:
    """A client that does one nasty thing after the other: garbled requests, or things that take long."""

    def __init__(self, requests, port, evil_port, is_slow):
        self.requests, self.ports, self.count, self.is_slow = requests, [port, evil_port], 0, is_slow

    async def run(self, goes_on):
        ways = [self.garble]
        if self.is_slow:
            ways = [self.drip_head, self.drip_body, self.read_slowly, self.pipeline, self.flood]
        while goes_on():
            try:
                await random.choice(ways)()
            except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
                pass
            self.count += 1
            await asyncio.sleep(0.01)

    async def open(self):
        return await asyncio.open_connection("127.0.0.1", random.choice(self.ports))

    async def garble(self):
        """A case of the corpus with some bytes changed, in pieces, and some way to end it."""
        reader, writer = await self.open()
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
        try:
            if end < 3:
                await asyncio.wait_for(reader.read(100000), random.random() * 2)
        finally:
            reset(writer) if end == 3 else writer.close()

    async def drip(self, first, pause):
        """A byte at a time until the other side has had enough."""
        reader, writer = await self.open()
        try:
            writer.write(first)
            for _ in range(100):
                if writer.is_closing():
                    break
                writer.write(b"a")
                try:
                    if not await asyncio.wait_for(reader.read(1000), pause):
                        break
                except asyncio.TimeoutError:
                    pass
        finally:
            writer.close()

    async def drip_head(self):
        await self.drip(b"GET / HTTP/1.1\r\nHost: a\r\nX: ", 0.2)

    async def drip_body(self):
        await self.drip(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n", 0.2)

    async def read_slowly(self):
        """Asks for much and reads nothing."""
        with socket.socket() as sock:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(sock, ("127.0.0.1", self.ports[0]))
            await loop.sock_sendall(sock, b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
            await asyncio.sleep(random.random() * 15)

    async def pipeline(self):
        """A thousand requests at once."""
        reader, writer = await self.open()
        try:
            writer.write(b"GET /p HTTP/1.1\r\nHost: a\r\n\r\n" * 1000)
            await asyncio.wait_for(reader.read(1 << 20), 5)
        finally:
            writer.close()

    async def flood(self):
        """Many connections that say nothing."""
        opened = [await self.open() for _ in range(50)]
        await asyncio.sleep(random.random() * 3)
        for _, writer in opened:
            reset(writer) if random.random() < 0.5 else writer.close()
