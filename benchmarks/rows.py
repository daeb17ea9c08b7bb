"""What is measured: one function a row, and the worker that runs one of them.

The worker is a process of its own, on the interpreter to be measured, and
needs nothing but the standard library and the peer in question:

    python rows.py ROW IMPLEMENTATION --loops N
"""

import argparse
import asyncio
import contextlib
import ctypes
import functools
import gc
import importlib
import json
import os
import resource
import socket
import ssl
import sys
from collections import namedtuple
from importlib.metadata import version
from time import perf_counter

__all__ = ("ROWS", "BOUNDS", "IMPLEMENTATIONS", "SECOND", "BYTE", "serves",
           "stands_in", "grouped")

SECOND = "second"
BYTE = "byte"
MESSAGE = b"x" * 1024
MEBIBYTE = 1024 * 1024
BLOCK = b"x" * (MEBIBYTE // 4)
SHORT_RECORD = b"x" * 100
SHORT_RECORDS = 1000

# How it works.  A row's function gets a number of loops and returns the
# seconds that they took (rows of memory: the bytes of one object).  A loop is
# `inner` operations, and the value of a row is for one operation.  What is
# set up before the clock starts, such as connections, is not counted.

# key: the stable name; aim: the greatest ratio to stock that is aimed at, or
# None; loops: fixed number of loops, which a worker then runs once, or None
# for a calibrated one; instead: what asyncio does where it lacks ours,
# or None; functions: {implementation: `async (loops, repeats) -> list`}, of
# which "asyncio" is for all those on asyncio that have none of their own.
Row = namedtuple("Row", "key title unit aim inner loops instead functions")

ROWS = {}

# Ours in a row is to take no more than *limit* times what the implementation
# *on* takes in the row *other*.
Bound = namedtuple("Bound", "row other on limit")

BOUNDS = (
    Bound("scope-pass", "timeout-pass", "ours", 1.02),
    Bound("scope-after-pass", "timeout-pass", "ours", 1.02),
    Bound("scope-after-sleep0", "timeout-sleep0", "ours", 1.02),
    Bound("scope-cancel-100000", "scope-cancel-100000", "stock", 1.02),
    # What a deadline takes does not grow with their number.
    Bound("scope-deadlines-1000000", "scope-deadlines-10000", "ours", 1.25),
    Bound("supervisor-pass", "taskgroup-pass", "ours", 3.0),
    Bound("supervisor-call-soon", "call-soon", "ours", 1.5),
    Bound("supervisor-call-later-cancel", "call-later-cancel", "ours", 1.5),
    Bound("supervisor-create-task-1000", "create-task-1000", "ours", 1.5),
    # Whose connections they are makes no difference.
    Bound("echo-supervised-1", "echo-tcp-protocol-1", "ours", 1.03),
    Bound("echo-supervised-10", "echo-tcp-protocol-10", "ours", 1.03),
    Bound("echo-supervised-100", "echo-tcp-protocol-100", "ours", 1.03),
)


def grouped(keys):
    """Return *keys* in lists; rows that a bound compares are in the same."""
    first = {bound.row: bound.other for bound in BOUNDS}
    groups = {}
    for key in keys:
        groups.setdefault(first.get(key, key), []).append(key)
    return list(groups.values())


def _row(key, title, *, aim=None, inner=1, unit=SECOND, loops=None,
         instead=None):
    """Register `async function(loops)` as the row *key*."""
    def register(function):
        _add(Row(key, title, unit, aim, inner, loops, instead,
                 {"asyncio": _repeated(function)}))
        return function
    return register


def _on(key, *names):
    """Register what the implementations *names* do for the row *key*.

    That is `async function(library, loops)`; ours has asyncio for its library.
    """
    def register(function):
        for name in names:
            ROWS[key].functions[name] = _repeated(_in(name, function))
        return function
    return register


def _in(name, function):
    async def call(loops):
        # Not before it runs: only a peer's worker can import it.
        library = importlib.import_module(
            "asyncio" if name == "ours" else name)
        return await function(library, loops)
    return call


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
    return await _schedule(asyncio.get_running_loop(), loops)


async def _schedule(owner, loops):
    start = perf_counter()
    for _ in range(loops):
        for _ in range(1000):
            owner.call_soon(_ignore)
        await asyncio.sleep(0)
    return perf_counter() - start


@_row("call-later-cancel", "`call_later` + cancel", aim=0.20, inner=1000)
async def _call_later_cancel(loops):
    return await _schedule_and_cancel(asyncio.get_running_loop(), loops)


async def _schedule_and_cancel(owner, loops):
    start = perf_counter()
    for _ in range(loops):
        for _ in range(1000):
            owner.call_later(10, _ignore).cancel()
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


# What Trio and anyio do for some of these

async def _yield_often(library, loops):
    for _ in range(loops):
        await library.sleep(0)


@_on("sleep0-100-tasks", "trio", "anyio")
async def _group_sleep0_100_tasks(library, loops):
    start = perf_counter()
    async with _group(library) as group:
        for _ in range(100):
            group.start_soon(_yield_often, library, loops)
    return perf_counter() - start


@_on("sleep0-1-task", "trio", "anyio")
async def _library_sleep0_1_task(library, loops):
    start = perf_counter()
    await _yield_often(library, loops)
    return perf_counter() - start


def _group(library):
    """Return a new group of the library's tasks."""
    make = {"asyncio": "TaskGroup", "trio": "open_nursery",
            "anyio": "create_task_group"}
    return getattr(library, make[library.__name__])()


def _start_in(group, function, *args):
    if isinstance(group, asyncio.TaskGroup):
        group.create_task(function(*args))
    else:
        group.start_soon(function, *args)


async def _groups(library, loops, children):
    start = perf_counter()
    for _ in range(loops):
        async with _group(library) as group:
            for _ in range(children):
                group.start_soon(_nothing)
    return perf_counter() - start


@_on("taskgroup-1000", "trio", "anyio")
async def _group_1000(library, loops):
    return await _groups(library, loops, 1000)


@_on("taskgroup-1", "trio", "anyio")
async def _group_1(library, loops):
    return await _groups(library, loops, 1)


@_on("timeout-pass", "trio", "anyio")
async def _fail_after_pass(library, loops):
    start = perf_counter()
    for _ in range(loops):
        with library.fail_after(10):
            pass
    return perf_counter() - start


@_on("timeout-sleep0", "trio", "anyio")
async def _fail_after_sleep0(library, loops):
    start = perf_counter()
    for _ in range(loops):
        with library.fail_after(10):
            await library.sleep(0)
    return perf_counter() - start


# What supervisors are compared with

@_row("taskgroup-pass", "empty TaskGroup")
async def _taskgroup_pass(loops):
    start = perf_counter()
    for _ in range(loops):
        async with asyncio.TaskGroup():
            pass
    return perf_counter() - start


@_row("create-task-1000", "`loop.create_task()` of 1000 empty tasks, per task",
      inner=1000)
async def _create_task_1000(loops):
    return await _create_tasks(asyncio.get_running_loop(), loops)


async def _create_tasks(owner, loops):
    start = perf_counter()
    for _ in range(loops):
        for _ in range(1000):
            owner.create_task(_nothing())
        # They end in the next pass, and are told of in the one after.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    return perf_counter() - start


@_on("taskgroup-pass", "trio", "anyio")
async def _group_pass(library, loops):
    return await _groups(library, loops, 0)


# Supervisors.  Where there are none, the row is what programs do instead:
# a group, and the loop's own methods, which own nothing.

_row("supervisor-pass", "empty supervisor",
     instead="an empty TaskGroup")(_taskgroup_pass)
_on("supervisor-pass", "trio", "anyio")(_group_pass)


@_on("supervisor-pass", "ours")
async def _supervisor_pass(library, loops):
    loop = asyncio.get_running_loop()
    start = perf_counter()
    for _ in range(loops):
        async with loop.create_supervisor():
            pass
    return perf_counter() - start


def _supervised(function):
    """Return what calls *function* with a supervisor in place of the loop."""
    async def call(library, loops):
        loop = asyncio.get_running_loop()
        async with loop.create_supervisor() as supervisor:
            return await function(supervisor, loops)
    return call


_row("supervisor-call-soon", "`call_soon` of a supervisor", inner=1000,
     instead="`loop.call_soon()`")(_call_soon)
_on("supervisor-call-soon", "ours")(_supervised(_schedule))

_row("supervisor-call-later-cancel", "`call_later` of a supervisor + cancel",
     inner=1000, instead="`loop.call_later()`")(_call_later_cancel)
_on("supervisor-call-later-cancel", "ours")(_supervised(_schedule_and_cancel))

_row("supervisor-create-task-1000",
     "1000 empty tasks of a supervisor, per task", inner=1000,
     instead="a TaskGroup")(_taskgroup_1000)
_on("supervisor-create-task-1000", "ours")(_supervised(_create_tasks))
_on("supervisor-create-task-1000", "trio", "anyio")(_group_1000)


# Cancel scopes.  Ours, Trio's and anyio's have the same names.  Where there
# are none, the row is what programs do instead.

@_row("scope-pass", "`with CancelScope(): pass`",
      instead="`async with timeout(None): pass`")
async def _endless_timeout_pass(loops):
    start = perf_counter()
    for _ in range(loops):
        async with asyncio.timeout(None):
            pass
    return perf_counter() - start


@_on("scope-pass", "ours", "trio", "anyio")
async def _scope_pass(library, loops):
    start = perf_counter()
    for _ in range(loops):
        with library.CancelScope():
            pass
    return perf_counter() - start


_row("scope-after-pass", "`with move_on_after(10): pass`",
     instead="`async with timeout(10): pass`")(_timeout_pass)


@_on("scope-after-pass", "ours", "trio", "anyio")
async def _scope_after_pass(library, loops):
    start = perf_counter()
    for _ in range(loops):
        with library.move_on_after(10):
            pass
    return perf_counter() - start


_row("scope-after-sleep0", "`with move_on_after(10): await sleep(0)`",
     instead="`async with timeout(10): await sleep(0)`")(_timeout_sleep0)


@_on("scope-after-sleep0", "ours", "trio", "anyio")
async def _scope_after_sleep0(library, loops):
    start = perf_counter()
    for _ in range(loops):
        with library.move_on_after(10):
            await library.sleep(0)
    return perf_counter() - start


@_row("scope-shield-sleep0", "`with CancelScope(shield=True): await sleep(0)`",
      instead="`await shield(sleep(0))`")
async def _shielded_sleep0(loops):
    start = perf_counter()
    for _ in range(loops):
        await asyncio.shield(asyncio.sleep(0))
    return perf_counter() - start


@_on("scope-shield-sleep0", "ours", "trio", "anyio")
async def _scope_shield_sleep0(library, loops):
    start = perf_counter()
    for _ in range(loops):
        with library.CancelScope(shield=True):
            await library.sleep(0)
    return perf_counter() - start


async def _nest_timeouts(depth):
    async with asyncio.timeout(None):
        if depth > 1:
            await _nest_timeouts(depth - 1)
        else:
            await asyncio.sleep(0)


@_row("scope-nested-100", "100 scopes in each other, and a `sleep(0)` in the "
      "innermost, per scope", inner=100, instead="`async with timeout(None)`")
async def _timeouts_nested_100(loops):
    start = perf_counter()
    for _ in range(loops):
        await _nest_timeouts(100)
    return perf_counter() - start


async def _nest_scopes(library, depth):
    with library.CancelScope():
        if depth > 1:
            await _nest_scopes(library, depth - 1)
        else:
            await library.sleep(0)


@_on("scope-nested-100", "ours", "trio", "anyio")
async def _scope_nested_100(library, loops):
    start = perf_counter()
    for _ in range(loops):
        await _nest_scopes(library, 100)
    return perf_counter() - start


# Cancelling many tasks: the clock runs from the call until all have ended.
# asyncio's tasks are kept, so that freeing them is not counted; those of Trio
# and anyio are with their groups alone.

async def _wait_forever():
    await asyncio.get_running_loop().create_future()


async def _cancel_each(count, loops):
    elapsed = 0
    for _ in range(loops):
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_wait_forever()) for _ in range(count)]
            await asyncio.sleep(0)
            start = perf_counter()
            for task in tasks:
                task.cancel()
        elapsed += perf_counter() - start
    return elapsed


async def _cancel_scope(count, library, loops):
    elapsed = 0
    for _ in range(loops):
        with library.CancelScope() as scope:
            async with library.TaskGroup() as group:
                tasks = [group.create_task(_wait_forever())
                         for _ in range(count)]
                await library.sleep(0)
                start = perf_counter()
                scope.cancel()
        elapsed += perf_counter() - start
        assert scope.cancelled_caught and all(t.cancelled() for t in tasks)
    return elapsed


async def _cancel_group(count, library, loops):
    wait = (library.sleep_forever if library.__name__ == "trio"
            else _wait_forever)
    elapsed = 0
    for _ in range(loops):
        async with _group(library) as group:
            for _ in range(count):
                group.start_soon(wait)
            await library.sleep(0)
            start = perf_counter()
            group.cancel_scope.cancel()
        elapsed += perf_counter() - start
    return elapsed


def _add_cancel_rows():
    for count, loops in (1000, None), (100_000, 1):
        key = f"scope-cancel-{count}"
        _row(key, f"cancelling a scope around a group of {count:,} waiting "
             "tasks, per task", inner=count, loops=loops,
             instead="`cancel()` on each task")(
                 functools.partial(_cancel_each, count))
        _on(key, "ours")(functools.partial(_cancel_scope, count))
        _on(key, "trio", "anyio")(functools.partial(_cancel_group, count))


_add_cancel_rows()


# Deadlines.  Each task waits in 100 blocks, which arms theirs.  All are moved
# to a later time, and then to an earlier one than the first; after each, the
# loop makes a pass, as some sweep there.  Making the blocks and leaving them is
# not counted, nor is the garbage collector, whose share grows with what is
# alive: with it, a deadline of stock's cost 2.6 times as much among a million
# as among 10,000, and 1.2 times without.

_HOUR = 3600


async def _wait_in_timeouts(timeouts, release):
    for timeout in timeouts:
        await timeout.__aenter__()
    await release.wait()
    for timeout in reversed(timeouts):
        await timeout.__aexit__(None, None, None)


async def _wait_in_scopes(scopes, release):
    for scope in scopes:
        scope.__enter__()
    await release.wait()
    for scope in reversed(scopes):
        scope.__exit__(None, None, None)


def _move_timeouts(timeouts, when):
    for number, timeout in enumerate(timeouts):
        timeout.reschedule(when + number / 1024)


def _move_scopes(scopes, when):
    for number, scope in enumerate(scopes):
        scope.deadline = when + number / 1024


async def _move_deadlines(count, library, make, wait, move):
    """Return the seconds for *count* blocks that make(deadline) makes."""
    now = _now(library)
    release = library.Event()
    gc.disable()
    blocks = [make(now + 2 * _HOUR + number / 1024)
              for number in range(count)]
    async with _group(library) as group:
        start = perf_counter()
        for first in range(0, count, 100):
            _start_in(group, wait, blocks[first:first + 100], release)
        await library.sleep(0)
        for hours in (3, 1):
            move(blocks, now + hours * _HOUR)
            await library.sleep(0)
        elapsed = perf_counter() - start
        release.set()
    gc.enable()
    return elapsed


def _now(library):
    if library is asyncio:
        return asyncio.get_running_loop().time()
    return library.current_time()


async def _move_asyncio_deadlines(count, loops):
    return sum([await _move_deadlines(count, asyncio, asyncio.timeout_at,
                                      _wait_in_timeouts, _move_timeouts)
                for _ in range(loops)])


async def _move_scope_deadlines(count, library, loops):
    def make(when):
        return library.CancelScope(deadline=when)

    return sum([await _move_deadlines(count, library, make,
                                      _wait_in_scopes, _move_scopes)
                for _ in range(loops)])


def _add_deadline_rows():
    for count, loops in (10_000, None), (1_000_000, 1):
        key = f"scope-deadlines-{count}"
        _row(key, f"{count:,} deadlines armed, and then moved twice, per "
             "deadline", inner=count, loops=loops,
             instead="`timeout_at()` and `reschedule()`")(
                 functools.partial(_move_asyncio_deadlines, count))
        _on(key, "ours", "trio", "anyio")(
            functools.partial(_move_scope_deadlines, count))


_add_deadline_rows()


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


async def _start(protocol, context=None, loop=None):
    """Return the port of a new server of *protocol*, and the server."""
    loop = loop or asyncio.get_running_loop()
    server = await loop.create_server(
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


@contextlib.asynccontextmanager
async def _supervised_protocols(count):
    loop = asyncio.get_running_loop()
    async with loop.create_supervisor() as supervisor:
        server, port = await _start(_EchoServer, loop=supervisor)
        async with _closing(server, []) as clients:
            for _ in range(count):
                clients.append(await _connect(port, loop=supervisor))
            yield clients


async def _connect(port, *, loop=None, **options):
    loop = loop or asyncio.get_running_loop()
    _, client = await loop.create_connection(
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


def _free_large_block():
    """Let malloc() keep the buffers of received data.

    glibc maps and unmaps each block of 128 KiB and more until it has freed one
    once, as any program does sooner or later.  The rows of the echo would show
    which interpreter did so first: it makes a factor of 3.
    """
    bytes(2 ** 20)


def _echo(connect, count):
    async def echo(loops, repeats):
        _free_large_block()
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
            functions = {"asyncio": _echo(connect, count)}
            if layers is not None:
                functions["trio"] = _trio_echo(layers, count)
            _add(Row(f"echo-{kind}-{count}",
                     f"echo over {title}, {count} {plural}, per round trip",
                     SECOND, None, count, None, None, functions))


_add_echo_rows()


def _add_supervised_echo_rows():
    for count in (1, 10, 100):
        plural = "connection" if count == 1 else "connections"
        _add(Row(f"echo-supervised-{count}",
                 f"echo over TCP, protocols, {count} {plural} of a supervisor, "
                 "per round trip",
                 SECOND, None, count, None, "connections that nobody owns",
                 {"asyncio": _echo(_tcp_protocols, count),
                  "ours": _echo(_supervised_protocols, count)}))


_add_supervised_echo_rows()


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
    """Answers each *amount* of bytes with one."""

    amount = missing = MEBIBYTE

    def data_received(self, data):
        self.missing -= len(data)
        while self.missing <= 0:
            self.missing += self.amount
            self.transport.write(b".")


class _ShortSinkServer(_SinkServer):
    amount = missing = SHORT_RECORDS * len(SHORT_RECORD)


class _SourceClient(_EchoClient):
    block = BLOCK
    blocks = MEBIBYTE // len(BLOCK)

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
        for _ in range(rounds * self.blocks):
            await self.writable.wait()
            self.transport.write(self.block)
        await self.done


class _ShortSourceClient(_SourceClient):
    block = SHORT_RECORD
    blocks = SHORT_RECORDS


async def _throughput(layers, loops, sink=_SinkServer, source=_SourceClient):
    serve, connect = _LAYERS[layers]
    server, port = await _start(serve(sink), _server_context())
    async with _closing(server, []) as clients:
        clients.append(await connect(port, source()))
        return await _round_trips(clients, loops)


@_row("tls-throughput-1", "one way over TLS, per MiB")
async def _tls_throughput_1(loops):
    return await _throughput(1, loops)


@_row("tls-throughput-2", "one way over TLS in TLS, per MiB")
async def _tls_throughput_2(loops):
    return await _throughput(2, loops)


@_row("tls-short-records-1", "records of 100 bytes one way over TLS, each",
      inner=SHORT_RECORDS)
async def _tls_short_records_1(loops):
    return await _throughput(1, loops, _ShortSinkServer, _ShortSourceClient)


@_row("tls-short-records-2",
      "records of 100 bytes one way over TLS in TLS, each",
      inner=SHORT_RECORDS)
async def _tls_short_records_2(loops):
    return await _throughput(2, loops, _ShortSinkServer, _ShortSourceClient)


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


@_on("memory-task", "trio")
async def _trio_memory_task(trio, loops):
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
    return rloop.new_event_loop, version("rloop")


def _load_aiofastnet():
    import aiofastnet
    return aiofastnet.loop_factory(), aiofastnet.__version__


def _load_anyio():
    return asyncio.new_event_loop, version("anyio")


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
    "anyio": _load_anyio,
}


def _function(implementation, key):
    """Return what the implementation runs in the row, or None."""
    functions = ROWS[key].functions
    if implementation in ("trio", "anyio"):
        # What they do is called by their own names.
        return functions.get(implementation)
    if implementation == "aiofastnet" and not key.startswith(
            ("echo-", "tls-", "memory-connection")):
        # It has transports and no loop: all else would be stock once more.
        return None
    return functions.get(implementation, functions["asyncio"])


def serves(implementation, key):
    """Whether the implementation has anything of its own in the row."""
    return _function(implementation, key) is not None


def stands_in(implementation, key):
    """Whether it does something else there, as it lacks ours."""
    row = ROWS[key]
    return (row.instead is not None
            and _function(implementation, key) is row.functions["asyncio"])


def _runner(row, implementation):
    """Return run(loops, repeats) -> list, and the implementation's version."""
    function = _function(implementation, row.key)
    if implementation == "trio":
        import trio
        import trio.testing
        return (lambda loops, repeats: trio.run(function, loops, repeats),
                trio.__version__)
    factory, version = IMPLEMENTATIONS[implementation]()

    def run(loops, repeats):
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(function(loops, repeats))
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
