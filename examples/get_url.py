"""GET a URL over HTTP or HTTPS, with all that it takes owned by one block.

get() is the client.  Run without arguments, this shows what becomes of it when a
response goes well, and when a protocol's callback raises in the midst of one.

Left out: redirects, cookies, proxies, connections that serve another request, and
bodies that are not read as a whole.  A body that ends with its connection may be cut
short by anyone on the path, over TLS, too: protocols are not told if a close_notify
is missing.
"""

__all__ = ("BadResponse", "Response", "fetch", "get")

import argparse
import asyncio
import collections
import contextlib
import dataclasses
import json
import os
import re
import ssl as tls
import subprocess
import sys
import tempfile
import textwrap
import traceback
import urllib.parse
import zlib

from http_response import BadResponse, ResponseParser
from loopback import ORIGIN, Certificates, DemoError, read_head, serving

IDLE = 30               # seconds
LARGEST_BODY = 1 << 26  # bytes, unpacked
MOST_PIECES = 8         # of the body, received and not yet unpacked


# ---------------------------------------------------------------------- client

async def get(url, *, ssl=None, idle=IDLE, address=None):
    """GET *url*, and return the Response.

    *ssl* is the context for https.  *idle* is how many seconds may pass without a byte
    from the server; a deadline for all of it is the caller's asyncio.timeout().
    *address* is where to connect, if that is not what the URL says.

    Whatever goes wrong, in whichever callback or task, is raised in an ExceptionGroup:
    BadResponse, OSError (TimeoutError for *idle*).  Nothing is left then.
    """
    loop = asyncio.get_running_loop()
    async with loop.create_supervisor(name=url) as sup:
        return await fetch(sup, url, ssl=ssl, idle=idle, address=address)


async def fetch(loop, url, *, ssl=None, idle=IDLE, address=None):
    """GET *url* on *loop*, which is a supervisor if someone is to clean up."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise ValueError(f"not an HTTP URL: {url!r}")
    secure = {}
    if parts.scheme == "https":
        secure = {"ssl": ssl or tls.create_default_context(),
                  "server_hostname": parts.hostname}
    host, port = address or (parts.hostname, parts.port or (443 if secure else 80))
    client = Client(loop, request_for(parts), idle)
    await loop.create_connection(lambda: client, host, port, **secure)
    await client.has_head
    parser = client.parser
    return Response(parser.status, parser.reason, parser.fields, await client.body)


def request_for(parts):
    """Return the bytes that ask for a URL."""
    path = urllib.parse.quote(parts.path or "/", safe="/%!$&'()*+,;=:@~")
    query = urllib.parse.quote(parts.query, safe="/?%!$&'()*+,;=:@~")
    host = parts.netloc.encode("idna").decode()
    return (f"GET {path}{query and '?'}{query} HTTP/1.1\r\nHost: {host}\r\n"
            "Accept-Encoding: gzip\r\nConnection: close\r\n\r\n").encode("ascii")


@dataclasses.dataclass
class Response:
    status: int
    reason: str
    fields: dict        # values by name in lower case
    body: bytes


class Client(asyncio.Protocol):
    """Sends a request; a task of its own unpacks the body as it comes."""

    def __init__(self, loop, request, idle):
        self.loop = loop
        self.request = request
        self.idle = idle
        self.parser = ResponseParser()
        self.has_head = loop.create_future()
        # The task, with the head.
        self.body = None
        # Pieces of the body; None ends them.
        self.pieces = asyncio.Queue()
        self.timer = None

    def connection_made(self, transport):
        self.transport = transport
        transport.write(self.request)
        self.expect_data()

    def expect_data(self):
        if self.timer is not None:
            self.timer.cancel()
        self.timer = self.loop.call_later(self.idle, self.nothing_came)

    def nothing_came(self):
        raise TimeoutError(f"the server sent nothing for {self.idle} s")

    def data_received(self, data):
        self.expect_data()
        self.pass_on(self.parser.feed(data))
        if self.pieces.qsize() > MOST_PIECES and not self.parser.is_whole:
            self.transport.pause_reading()
            self.timer.cancel()

    def pass_on(self, pieces):
        for piece in pieces:
            self.pieces.put_nowait(piece)
        if self.body is None and (pieces or self.parser.is_whole):
            self.body = self.loop.create_task(self.unpack(), name="unpack the body")
            self.has_head.set_result(None)
        if self.parser.is_whole:
            self.pieces.put_nowait(None)
            self.timer.cancel()
            self.transport.close()

    def eof_received(self):
        if not self.parser.is_whole:
            self.parser.feed_eof()
            self.pass_on([])

    def connection_lost(self, exc):
        # An error of input or output is no failure, unless the protocol says so.
        if isinstance(exc, OSError):
            raise exc

    async def unpack(self):
        """Return the body, when all of it has come."""
        unzip = unzipper(self.parser.fields.get("content-encoding", "identity"))
        body = bytearray()
        while (piece := await self.pieces.get()) is not None:
            if unzip is not None:
                most = LARGEST_BODY + 1 - len(body)
                piece = await self.loop.run_in_executor(None, unpacked, unzip, piece, most)
            body += piece
            if len(body) > LARGEST_BODY:
                raise BadResponse(f"the body has more than {LARGEST_BODY} bytes")
            self.read_on()
        if unzip is not None and not unzip.eof:
            raise BadResponse("the gzip stream has no end")
        return bytes(body)

    def read_on(self):
        is_paused = not (self.transport.is_reading() or self.transport.is_closing())
        if is_paused and self.pieces.empty():
            self.transport.resume_reading()
            self.expect_data()


def unzipper(coding):
    if coding.lower() not in ("gzip", "x-gzip", "identity"):
        raise BadResponse(f"Content-Encoding: {coding} was not asked for")
    return None if coding.lower() == "identity" else zlib.decompressobj(wbits=31)


def unpacked(unzip, piece, most):
    """Runs in a thread, as this can take a while."""
    try:
        return unzip.decompress(piece, most)
    except zlib.error as error:
        raise BadResponse(f"the gzip stream is broken: {error}") from None


# --------------------------------------------------------------------- servers

TEXT = b"In this body every line is the same, and gzip makes little of it.\n" * 40
PACKED = zlib.compress(TEXT, wbits=31)
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n"
BAD_SIZE = b"0x40\r\n"          # a size is in hexadecimal, without a prefix
STALLED_AFTER = 0.3     # seconds without news, when a response takes a few milliseconds


def chunks(data):
    return b"".join(b"%x;part=%d\r\n%s\r\n" % (len(data[i:i + 500]), i, data[i:i + 500])
                    for i in range(0, len(data), 500))


# What the server sends, by path.
PAGES = {
    "/length": OK + b"Content-Length: %d\r\n\r\n%s" % (len(TEXT), TEXT),
    "/chunks": CHUNKED + b"\r\n" + chunks(TEXT) + b"0\r\nDigest: none\r\n\r\n",
    "/until-closed": OK + b"\r\n" + TEXT,
    "/gzip": CHUNKED + b"Content-Encoding: gzip\r\n\r\n" + chunks(PACKED) + b"0\r\n\r\n",
    "/broken": CHUNKED + b"\r\n" + chunks(TEXT[:500]) + BAD_SIZE,
}


async def answer(reader, writer):
    (_, path, _), _ = await read_head(reader)
    page = PAGES[path]
    # In two segments, as a rule.
    for part in page[:-4], page[-4:]:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0.01)
    if path == "/broken":
        await reader.read()     # more would come


async def serve(folder):
    """Serve PAGES in clear and over TLS until stdin ends; print both ports."""
    context = tls.create_default_context(tls.Purpose.CLIENT_AUTH)
    context.load_cert_chain(f"{folder}/{ORIGIN}.pem", f"{folder}/{ORIGIN}.key")
    async with serving(answer) as clear, serving(answer, ssl=context) as secure:
        print(json.dumps({"http": clear, "https": secure}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


@contextlib.asynccontextmanager
async def servers(folder):
    """Run serve() in another process, so that whatever is counted in this one is the
    client's; give the addresses by scheme."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--serve", folder,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        ports = json.loads(await process.stdout.readline() or "{}")
        if not ports:
            raise DemoError("the servers do not start")
        yield {scheme: ("127.0.0.1", port) for scheme, port in ports.items()}
    finally:
        process.stdin.close()
        await process.wait()


# ---------------------------------------------------------------------- report

def held():
    """Count what is open or pending in this process."""
    loop = asyncio.get_running_loop()
    return collections.Counter({
        "file descriptors": len(os.listdir("/proc/self/fd")),
        "tasks": len(asyncio.all_tasks()),
        "timers": sum(not timer.cancelled() for timer in loop._scheduled)})


def show_left(before):
    after = held()
    print("  left over   "
          + ", ".join(f"{after[what] - before[what]} {what}" for what in before))


def say(text):
    print(textwrap.fill(" ".join(text.split()), 78), end="\n\n")


def heading(text):
    print(f"\n{text}\n{'-' * len(text)}")


def short(thing, width):
    """Return the repr() without addresses, folders and what is too long."""
    text = re.sub(r" object at 0x\w+|\S*/(?=\w+\.py)", "", repr(thing))
    return text if len(text) <= width else text[:width - 1] + "…"


def show_error(error, indent="  raised      "):
    if isinstance(error, BaseExceptionGroup):
        print(f"{indent}{type(error).__name__}: {error}")
        for inner in error.exceptions:
            show_error(inner, " " * len(indent) + "  ")
    else:
        print(f"{indent}{type(error).__name__}: {error}")
        frames = traceback.extract_tb(error.__traceback__)
        way = " > ".join(frame.name for frame in frames if "/asyncio/" not in frame.filename)
        print(textwrap.fill(f"in {way}", 78, initial_indent=" " * len(indent),
                            subsequent_indent=" " * len(indent)))


# ------------------------------------------------------------------------ main

async def show_responses(addresses, ssl):
    heading("1. Each kind of body, with and without TLS")
    before = held()
    for scheme, path in [("http", "/length"), ("http", "/until-closed"),
                         ("https", "/chunks"), ("https", "/gzip")]:
        url = f"{scheme}://{ORIGIN}{path}"
        response = await get(url, ssl=ssl, address=addresses[scheme])
        right = "as sent" if response.body == TEXT else "NOT as sent"
        print(f"  {url:36} {response.status} {response.reason}, "
              f"{len(response.body)} bytes, {right}")
    show_left(before)


async def show_failure(addresses, ssl):
    heading("2. A callback raises in the midst of a response")
    say(f"""The server sends a head, a chunk, and then {BAD_SIZE!r} for the size of the next
        one. The parser raises in data_received(), while one task waits for the response
        and another one for the rest of the body.""")

    def look(context):
        print(f"  message     {context['message']}")
        for thing in sup.owned():
            print(f"  owned       {short(thing, 64)}")

    before = held()
    url = f"https://{ORIGIN}/broken"
    try:
        async with asyncio.get_running_loop().create_supervisor(failure_handler=look) as sup:
            await fetch(sup, url, ssl=ssl, address=addresses["https"])
    except* BadResponse as group:
        show_error(group)
    show_left(before)
    print(f"  supervisor  {sup!r}")


async def show_bare(addresses, ssl):
    heading("3. The same code on the bare loop")
    say(f"""fetch() takes a supervisor or the loop. Nobody owns anything on the loop: the
        error goes to the log, and the caller waits for what cannot come any more. When it
        is cancelled, the timer stays, to raise into the log after {IDLE} s.""")
    loop, logged = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda loop, context: logged.append(context["exception"]))
    before = held()
    caller = loop.create_task(fetch(loop, f"https://{ORIGIN}/broken", ssl=ssl,
                                    address=addresses["https"]))
    await asyncio.wait([caller], timeout=STALLED_AFTER)
    print(f"  after {STALLED_AFTER} s {'has ended' if caller.done() else 'still waiting'}")
    for error in logged:
        print(f"  logged      {type(error).__name__}: {error}")
    show_left(before)
    caller.cancel()
    await asyncio.wait([caller])
    print("  cancelled")
    show_left(before)
    print()


async def demo(folder):
    ssl = Certificates(folder).client(ORIGIN)
    print(__doc__.partition("\n")[0])
    async with servers(folder) as addresses:
        await show_responses(addresses, ssl)
        await show_failure(addresses, ssl)
        await show_bare(addresses, ssl)


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("url", nargs="?", help="write its body to stdout (default: show "
                                               "on loopback what get() does)")
    parser.add_argument("--serve", metavar="FOLDER", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


async def write_out(url):
    response = await get(url)
    print(response.status, response.reason, file=sys.stderr)
    sys.stdout.buffer.write(response.body)


def run(options):
    if options.serve:
        asyncio.run(serve(options.serve))
    elif options.url:
        asyncio.run(write_out(options.url))
    else:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(demo(folder))


def main(arguments=None):
    options = parse(arguments)
    if not hasattr(asyncio, "Supervisor"):
        missing = "get_url: this build has no supervisors"
        return missing if options.url else print(missing)
    try:
        run(options)
    except* (DemoError, BadResponse, OSError, ValueError) as group:
        sys.exit(f"get_url: {first(group)}")
    except* KeyboardInterrupt:
        sys.exit(130)


def first(error):
    """Return the first error in a group of errors."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


if __name__ == "__main__":
    sys.exit(main())
