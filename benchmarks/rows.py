"""What is measured: one function a row, and the worker that runs one of them.

The worker is a process of its own, on the interpreter to be measured, and
needs nothing but the standard library and the event loop in question:

    python rows.py ROW IMPLEMENTATION --loops N
"""

import argparse
import asyncio
import contextlib
import ctypes
import functools
import gc
import json
import os
import resource
import socket
import ssl
import sys
from collections import namedtuple
from time import perf_counter

__all__ = ("ROWS", "IMPLEMENTATIONS", "SECOND", "BYTE", "serves")

SECOND = "second"
BYTE = "byte"
MESSAGE = b"x" * 1024
MEBIBYTE = 1024 * 1024
BLOCK = b"x" * (MEBIBYTE // 4)

# How it works.  A row's function gets a number of loops and returns the
# seconds that they took (rows of memory: the bytes of one object).  A loop is
# `inner` operations, and the value of a row is for one operation.  What is
# set up before the clock starts, such as connections, is not counted.

# key: the stable name; aim: the greatest ratio to stock that is aimed at, or
# None; loops: fixed number of loops, or None for a calibrated one; asyncio,
# trio: `async (loops, repeats) -> list`, or None where nothing like it is
# measured.
Row = namedtuple("Row", "key title unit aim inner loops asyncio trio")

ROWS = {}


def _row(key, title, *, aim=None, inner=1, unit=SECOND, loops=None):
    """Register `async function(loops)` as the row *key*."""
    def register(function):
        _add(Row(key, title, unit, aim, inner, loops,
                 _repeated(function), None))
        return function
    return register


def _on_trio(key):
    """Register `async function(loops)` as what Trio does for the row *key*."""
    def register(function):
        ROWS[key] = ROWS[key]._replace(trio=_repeated(function))
        return function
    return register


def _add(row):
    assert row.key not in ROWS, row.key
    ROWS[row.key] = row


def _repeated(function):
    async def repeat(loops, repeats):
        return [await function(loops) for _ in range(repeats)]
    return repeat


async def _nothing():
    pass


def _ignore():
    pass


# Tasks

async def _yield_many(loops):
    for _ in range(loops):
        await asyncio.sleep(0)


@_row("sleep0-100-tasks", "`sleep(0)` × 100 tasks, per switch",
      aim=0.30, inner=100)
async def _sleep0_100_tasks(loops):
    start = perf_counter()
    await asyncio.gather(*[_yield_many(loops) for _ in range(100)])
    return perf_counter() - start


@_row("sleep0-1-task", "`sleep(0)` × 1 task", aim=0.20)
async def _sleep0_1_task(loops):
    start = perf_counter()
    await _yield_many(loops)
    return perf_counter() - start


@_row("taskgroup-1000", "TaskGroup of 1000 empty tasks, per task",
      aim=0.40, inner=1000)
async def _taskgroup_1000(loops):
    start = perf_counter()
    for _ in range(loops):
        async with asyncio.TaskGroup() as group:
            for _ in range(1000):
                group.create_task(_nothing())
    return perf_counter() - start


@_row("gather-1000", "`gather` of 1000, per task", aim=0.45, inner=1000)
async def _gather_1000(loops):
    start = perf_counter()
    for _ in range(loops):
        await asyncio.gather(*[_nothing() for _ in range(1000)])
    return perf_counter() - start


@_row("await-create-task", "`await create_task()`", aim=0.32)
async def _await_create_task(loops):
    start = perf_counter()
    for _ in range(loops):
        await asyncio.create_task(_nothing())
    return perf_counter() - start


@_row("taskgroup-1", "TaskGroup of one", aim=0.38)
async def _taskgroup_1(loops):
    start = perf_counter()
    for _ in range(loops):
        async with asyncio.TaskGroup() as group:
            group.create_task(_nothing())
    return perf_counter() - start


# Timeouts, callbacks, timers

@_row("timeout-pass", "`async with timeout(10): pass`", aim=0.22)
async def _timeout_pass(loops):
    start = perf_counter()
    for _ in range(loops):
        async with asyncio.timeout(10):
            pass
    return perf_counter() - start


@_row("timeout-sleep0", "`async with timeout(10): await sleep(0)`", aim=0.35)
async def _timeout_sleep0(loops):
    start = perf_counter()
    for _ in range(loops):
        async with asyncio.timeout(10):
            await asyncio.sleep(0)
    return perf_counter() - start


@_row("call-soon", "`call_soon`", aim=0.24, inner=1000)
async def _call_soon(loops):
    loop = asyncio.get_running_loop()
    start = perf_counter()
    for _ in range(loops):
        for _ in range(1000):
            loop.call_soon(_ignore)
        await asyncio.sleep(0)
    return perf_counter() - start


@_row("call-later-cancel", "`call_later` + cancel", aim=0.20, inner=1000)
async def _call_later_cancel(loops):
    loop = asyncio.get_running_loop()
    start = perf_counter()
    for _ in range(loops):
        for _ in range(1000):
            loop.call_later(10, _ignore).cancel()
        await asyncio.sleep(0)
    return perf_counter() - start


@_row("future-set-by-callback", "future set by a callback, awaited", aim=0.20)
async def _future_set_by_callback(loops):
    loop = asyncio.get_running_loop()
    start = perf_counter()
    for _ in range(loops):
        future = loop.create_future()
        loop.call_soon(future.set_result, None)
        await future
    return perf_counter() - start


# Tasks that talk to each other

async def _ping(loops, mine, other):
    for _ in range(loops):
        await mine.wait()
        mine.clear()
        other.set()


@_row("event-ping-pong", "`Event` ping-pong of two tasks, per round", aim=0.40)
async def _event_ping_pong(loops):
    one, two = asyncio.Event(), asyncio.Event()
    one.set()
    start = perf_counter()
    await asyncio.gather(_ping(loops, one, two), _ping(loops, two, one))
    return perf_counter() - start


async def _put_many(queue, count):
    for _ in range(count):
        await queue.put(None)


async def _get_many(queue, count):
    for _ in range(count):
        await queue.get()


@_row("queue-put-get", "`Queue` put + get between two tasks",
      aim=0.90, inner=100)
async def _queue_put_get(loops):
    queue = asyncio.Queue(100)
    start = perf_counter()
    await asyncio.gather(_put_many(queue, 100 * loops),
                         _get_many(queue, 100 * loops))
    return perf_counter() - start


@_row("create-sleep-cancel-gather", "create, sleep, cancel, gather a task",
      aim=0.45, inner=100)
async def _create_sleep_cancel_gather(loops):
    start = perf_counter()
    for _ in range(loops):
        tasks = [asyncio.create_task(asyncio.sleep(10)) for _ in range(100)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return perf_counter() - start


# What Trio does for some of these

async def _trio_yield_many(loops):
    import trio
    for _ in range(loops):
        await trio.lowlevel.checkpoint()


@_on_trio("sleep0-100-tasks")
async def _trio_sleep0_100_tasks(loops):
    import trio
    start = perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(_trio_yield_many, loops)
    return perf_counter() - start


@_on_trio("sleep0-1-task")
async def _trio_sleep0_1_task(loops):
    start = perf_counter()
    await _trio_yield_many(loops)
    return perf_counter() - start


async def _trio_nurseries(loops, children):
    import trio
    start = perf_counter()
    for _ in range(loops):
        async with trio.open_nursery() as nursery:
            for _ in range(children):
                nursery.start_soon(_nothing)
    return perf_counter() - start


@_on_trio("taskgroup-1000")
async def _trio_taskgroup_1000(loops):
    return await _trio_nurseries(loops, 1000)


@_on_trio("taskgroup-1")
async def _trio_taskgroup_1(loops):
    return await _trio_nurseries(loops, 1)


@_on_trio("timeout-pass")
async def _trio_timeout_pass(loops):
    import trio
    start = perf_counter()
    for _ in range(loops):
        with trio.fail_after(10):
            pass
    return perf_counter() - start


@_on_trio("timeout-sleep0")
async def _trio_timeout_sleep0(loops):
    import trio
    start = perf_counter()
    for _ in range(loops):
        with trio.fail_after(10):
            await trio.lowlevel.checkpoint()
    return perf_counter() - start


# Echo: both ends in this process, on the one loop.  A loop is one round trip
# of a message on each connection, at once on all of them.

class _EchoServer(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class _GreetingServer(_EchoServer):
    """Says when it is there: over TLS, the client's handshake ends first."""

    def connection_made(self, transport):
        super().connection_made(transport)
        transport.write(b"!")


class _EchoClient(asyncio.Protocol):
    """Sends a message, and the next when the answer is whole."""

    def connection_made(self, transport):
        self.transport = transport

    def begin(self, rounds):
        self.expect(rounds, len(MESSAGE))
        self.transport.write(MESSAGE)
        return self.done

    def expect(self, rounds, size):
        self.rounds = rounds
        self.missing = size
        self.done = asyncio.get_running_loop().create_future()

    def data_received(self, data):
        self.missing -= len(data)
        if self.missing:
            return
        self.rounds -= 1
        if not self.rounds:
            self.done.set_result(None)
            return
        self.missing = len(MESSAGE)
        self.transport.write(MESSAGE)

    async def close(self):
        self.transport.abort()


class _UpgradingServer(asyncio.Protocol):
    """Answers the first word, then starts TLS on what it has."""

    def __init__(self, protocol=_GreetingServer):
        self.protocol = protocol

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.task = asyncio.create_task(self._upgrade())

    async def _upgrade(self):
        loop = asyncio.get_running_loop()
        self.transport.write(b"yes")
        server = self.protocol()
        inner = await loop.start_tls(
            self.transport, server, _server_context(), server_side=True)
        server.connection_made(inner)


class _UpgradingClient(asyncio.Protocol):
    def __init__(self):
        self.answered = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        transport.write(b"tls?")

    def data_received(self, data):
        self.answered.set_result(None)


class _StreamClient:
    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    async def begin(self, rounds):
        for _ in range(rounds):
            self.writer.write(MESSAGE)
            await self.writer.drain()
            await self.reader.readexactly(len(MESSAGE))

    async def close(self):
        self.writer.transport.abort()


def _certificate(name):
    return os.path.join(os.environ["BENCH_CERTIFICATES"], name)


# One for all connections: to make both took 1.1 ms where a handshake took 1.4.

@functools.cache
def _server_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_certificate("server.pem"),
                            _certificate("server.key"))
    return context


@functools.cache
def _client_context():
    return ssl.create_default_context(cafile=_certificate("client.pem"))


async def _stream_echo(reader, writer):
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()


async def _start(protocol, context=None):
    """Return the port of a new server of *protocol*, and the server."""
    server = await asyncio.get_running_loop().create_server(
        protocol, "127.0.0.1", 0, ssl=context, backlog=1024)
    return server, server.sockets[0].getsockname()[1]


@contextlib.asynccontextmanager
async def _closing(server, clients):
    try:
        yield clients
    finally:
        for client in clients:
            await client.close()
        server.close()
        # Lost connections are told of in the next passes.
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def _tcp_protocols(count):
    server, port = await _start(_EchoServer)
    async with _closing(server, []) as clients:
        for _ in range(count):
            clients.append(await _connect(port))
        yield clients


async def _connect(port, **options):
    _, client = await asyncio.get_running_loop().create_connection(
        _EchoClient, "127.0.0.1", port, **options)
    return client


@contextlib.asynccontextmanager
async def _tcp_streams(count):
    server = await asyncio.start_server(_stream_echo, "127.0.0.1", 0,
                                        backlog=1024)
    port = server.sockets[0].getsockname()[1]
    async with _closing(server, []) as clients:
        for _ in range(count):
            clients.append(_StreamClient(
                *await asyncio.open_connection("127.0.0.1", port)))
        yield clients


@contextlib.asynccontextmanager
async def _tls(count):
    context = _client_context()
    server, port = await _start(_EchoServer, _server_context())
    async with _closing(server, []) as clients:
        for _ in range(count):
            clients.append(await _connect(port, ssl=context,
                                          server_hostname="localhost"))
        yield clients


@contextlib.asynccontextmanager
async def _tls_in_tls(count):
    server, port = await _start(_UpgradingServer, _server_context())
    async with _closing(server, []) as clients:
        for _ in range(count):
            clients.append(await _connect_twice(port, _EchoClient()))
        yield clients


async def _connect_twice(port, client):
    """Connect *client* over TLS in TLS, and wait for the greeting."""
    context = _client_context()
    loop = asyncio.get_running_loop()
    transport, first = await loop.create_connection(
        _UpgradingClient, "127.0.0.1", port, ssl=context,
        server_hostname="localhost")
    await first.answered
    client.expect(1, len(b"!"))
    client.connection_made(await loop.start_tls(
        transport, client, context, server_hostname="localhost"))
    await client.done
    return client


def _echo(connect, count):
    async def echo(loops, repeats):
        async with connect(count) as clients:
            return [await _round_trips(clients, loops)
                    for _ in range(repeats)]
    return echo


async def _round_trips(clients, loops):
    start = perf_counter()
    await asyncio.gather(*[client.begin(loops) for client in clients])
    return perf_counter() - start


def _trio_echo(layers, count):
    async def echo(loops, repeats):
        import trio
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(
                trio.serve_tcp, _trio_server(layers), 0)
            clients = [await _trio_connect(listeners[0], layers)
                       for _ in range(count)]
            values = [await _trio_round_trips(clients, loops)
                      for _ in range(repeats)]
            nursery.cancel_scope.cancel()
        return values
    return echo


def _trio_server(layers):
    import trio

    async def serve(stream):
        for _ in range(layers):
            stream = trio.SSLStream(stream, _server_context(),
                                    server_side=True)
        while data := await stream.receive_some(65536):
            await stream.send_all(data)
    return serve


async def _trio_connect(listener, layers):
    import trio
    stream = await trio.testing.open_stream_to_socket_listener(listener)
    for _ in range(layers):
        stream = trio.SSLStream(stream, _client_context(),
                                server_hostname="localhost")
        await stream.do_handshake()
    return stream


async def _trio_round_trips(clients, loops):
    import trio
    start = perf_counter()
    async with trio.open_nursery() as nursery:
        for client in clients:
            nursery.start_soon(_trio_client, client, loops)
    return perf_counter() - start


async def _trio_client(stream, loops):
    for _ in range(loops):
        await stream.send_all(MESSAGE)
        missing = len(MESSAGE)
        while missing:
            missing -= len(await stream.receive_some(missing))


def _add_echo_rows():
    # kind: (title, how to connect, layers of TLS that Trio needs, or None
    # where Trio has nothing like it)
    kinds = {
        "tcp-protocol": ("TCP, protocols", _tcp_protocols, None),
        "tcp-streams": ("TCP, streams", _tcp_streams, 0),
        "tls": ("TLS", _tls, 1),
        "tls-in-tls": ("TLS in TLS", _tls_in_tls, 2),
    }
    for kind, (title, connect, layers) in kinds.items():
        for count in (1, 10, 100):
            plural = "connection" if count == 1 else "connections"
            _add(Row(f"echo-{kind}-{count}",
                     f"echo over {title}, {count} {plural}, per round trip",
                     SECOND, None, count, None, _echo(connect, count),
                     None if layers is None else _trio_echo(layers, count)))


_add_echo_rows()


# TLS in one layer, and in two.  A loop is a connection and its handshakes, or
# a MiB that the client writes in blocks, each when writing is not paused.

async def _connect_once(port, client):
    """Connect *client* over TLS, and wait for the greeting."""
    client.expect(1, len(b"!"))
    await asyncio.get_running_loop().create_connection(
        lambda: client, "127.0.0.1", port, ssl=_client_context(),
        server_hostname="localhost")
    await client.done
    return client


# Layers: what makes a server of a protocol, and what connects a client to it.
_LAYERS = {
    1: (lambda protocol: protocol, _connect_once),
    2: (lambda protocol: functools.partial(_UpgradingServer, protocol),
        _connect_twice),
}


async def _handshakes(layers, loops):
    serve, connect = _LAYERS[layers]
    server, port = await _start(serve(_GreetingServer), _server_context())
    async with _closing(server, []) as clients:
        start = perf_counter()
        for _ in range(loops):
            clients.append(await connect(port, _EchoClient()))
        elapsed = perf_counter() - start
    # A resumed session would make it another, shorter handshake.
    assert not _server_context().session_stats()["hits"]
    return elapsed


@_row("tls-handshake-1", "connecting over TLS, per handshake")
async def _tls_handshake_1(loops):
    return await _handshakes(1, loops)


@_row("tls-handshake-2", "connecting over TLS in TLS, per handshake", inner=2)
async def _tls_handshake_2(loops):
    return await _handshakes(2, loops)


class _SinkServer(_GreetingServer):
    """Answers each MiB with a byte."""

    missing = MEBIBYTE

    def data_received(self, data):
        self.missing -= len(data)
        while self.missing <= 0:
            self.missing += MEBIBYTE
            self.transport.write(b".")


class _SourceClient(_EchoClient):
    def __init__(self):
        self.writable = asyncio.Event()
        self.resume_writing()

    def connection_made(self, transport):
        super().connection_made(transport)
        # By itself the kernel takes some MiB before writing is ever paused.
        transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)

    def pause_writing(self):
        self.writable.clear()

    def resume_writing(self):
        self.writable.set()

    async def begin(self, rounds):
        self.expect(1, rounds)
        for _ in range(rounds * (MEBIBYTE // len(BLOCK))):
            await self.writable.wait()
            self.transport.write(BLOCK)
        await self.done


async def _throughput(layers, loops):
    serve, connect = _LAYERS[layers]
    server, port = await _start(serve(_SinkServer), _server_context())
    async with _closing(server, []) as clients:
        clients.append(await connect(port, _SourceClient()))
        return await _round_trips(clients, loops)


@_row("tls-throughput-1", "one way over TLS, per MiB")
async def _tls_throughput_1(loops):
    return await _throughput(1, loops)


@_row("tls-throughput-2", "one way over TLS in TLS, per MiB")
async def _tls_throughput_2(loops):
    return await _throughput(2, loops)


# Memory: how much the process's resident set grows from N objects to 2 N, so
# that what is there once drops out.  Unlike tracemalloc, that also counts
# what extensions in C and Rust allocate for themselves.  N is large, as the
# first N must fill the holes that start-up left in the heap: with 200
# connections, two builds of the same sources differed by 30 %.

def _resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def _growth(make, count):
    """Return the bytes of an object of which `await make(n)` adds *n*."""
    await make(count)
    before = _resident()
    await make(count)
    return (_resident() - before) / count


async def _wait_for(future):
    await future


@_row("memory-task", "memory of a waiting task", unit=BYTE, loops=30_000)
async def _memory_task(loops):
    release = asyncio.get_running_loop().create_future()
    tasks = []

    async def make(count):
        tasks.extend([asyncio.create_task(_wait_for(release))
                      for _ in range(count)])
        await asyncio.sleep(0)

    size = await _growth(make, loops)
    release.set_result(None)
    await asyncio.gather(*tasks)
    return size


@_on_trio("memory-task")
async def _trio_memory_task(loops):
    import trio
    async with trio.open_nursery() as nursery:
        async def make(count):
            for _ in range(count):
                nursery.start_soon(trio.sleep_forever)
            await trio.testing.wait_all_tasks_blocked()

        size = await _growth(make, loops)
        nursery.cancel_scope.cancel()
    return size


@_row("memory-timer", "memory of a timer", unit=BYTE, loops=50_000)
async def _memory_timer(loops):
    loop = asyncio.get_running_loop()

    async def make(count):
        for _ in range(count):
            loop.call_later(3600, _ignore)

    return await _growth(make, loops)


def _allow_open_files(count):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


@_row("memory-connection", "memory of a TCP connection, both ends",
      unit=BYTE, loops=1000)
async def _memory_connection(loops):
    _allow_open_files(4 * loops + 100)
    server, port = await _start(_EchoServer)
    async with _closing(server, []) as clients:
        async def make(count):
            for _ in range(count):
                clients.append(await _connect(port))
            # The server's ends exist when each has answered.
            await _round_trips(clients, 1)

        return await _growth(make, loops)


# The worker

def _load_uvloop():
    import uvloop
    return uvloop.new_event_loop, uvloop.__version__


def _load_rloop():
    import rloop
    from importlib.metadata import version
    return rloop.new_event_loop, version("rloop")


def _load_aiofastnet():
    import aiofastnet
    return aiofastnet.loop_factory(), aiofastnet.__version__


def _load_asyncio():
    return asyncio.new_event_loop, sys.version.split()[0]


# Which load function makes an implementation's loop; "again" is stock once
# more, whose ratio to stock is the run's own noise.
IMPLEMENTATIONS = {
    "stock": _load_asyncio,
    "ours": _load_asyncio,
    "again": _load_asyncio,
    "uvloop": _load_uvloop,
    "rloop": _load_rloop,
    "aiofastnet": _load_aiofastnet,
    "trio": None,
}


def serves(implementation, key):
    """Whether the implementation has anything of its own in the row."""
    if implementation == "trio":
        return ROWS[key].trio is not None
    if implementation == "aiofastnet":
        # It has transports and no loop: all else would be stock once more.
        return key.startswith(("echo-", "tls-", "memory-connection"))
    return True


def _runner(row, implementation):
    """Return run(loops, repeats) -> list, and the implementation's version."""
    if implementation == "trio":
        import trio
        import trio.testing
        return (lambda loops, repeats: trio.run(row.trio, loops, repeats),
                trio.__version__)
    factory, version = IMPLEMENTATIONS[implementation]()

    def run(loops, repeats):
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(row.asyncio(loops, repeats))
    return run, version


def _calibrate(run, seconds):
    """Return a number of loops that takes about *seconds*."""
    loops = 1
    while True:
        elapsed = min(run(loops, 2))
        if elapsed >= seconds:
            return loops
        # Short runs say little about long ones: ten times at most.
        factor = min(10, 1.1 * seconds / max(elapsed, 1e-9))
        loops = max(loops + 1, int(loops * factor))


def _refuse_huge_pages():
    # A huge page would count 2 MiB for the first byte that is used of it.
    PR_SET_THP_DISABLE = 41
    ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("row", choices=ROWS)
    parser.add_argument("implementation", choices=IMPLEMENTATIONS)
    parser.add_argument("--loops", type=int)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--calibrate", type=float, metavar="SECONDS")
    options = parser.parse_args()
    row = ROWS[options.row]
    if row.unit == BYTE:
        _refuse_huge_pages()
    run, version = _runner(row, options.implementation)
    if options.calibrate:
        print(json.dumps({"loops": row.loops
                          or _calibrate(run, options.calibrate)}))
        return
    values = run(options.loops, options.repeats)
    if row.unit == SECOND:
        values = [value / (options.loops * row.inner) for value in values]
    print(json.dumps({"values": values, "version": version}))


if __name__ == "__main__":
    main()
