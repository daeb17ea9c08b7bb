"""What supervisors keep and do, counted: nothing of what is finished, and for
what is alive as much for each thing, however many there are."""

import asyncio
import concurrent.futures
import contextlib
import functools
import gc
import itertools
import os
import socket
import sys
import threading
import time
import unittest

from test import support
from test.test_asyncio import loop_support

# Seconds after which a test has hung.
TIME_LIMIT = 600


def tearDownModule():
    asyncio.set_event_loop_policy(None)


class Boom(Exception):
    pass


def nothing(*args):
    pass


async def nap(*args):
    await asyncio.sleep(0)


class CountTestCase(loop_support.LeakCheckMixin,
                    unittest.IsolatedAsyncioTestCase):

    def setUp(self):
        super().setUp()
        loop = self._asyncioRunner.get_loop()
        # It keeps tracebacks, and is about as linear.
        loop.set_debug(False)
        self.unhandled = []
        loop.set_exception_handler(
            lambda loop, context: self.unhandled.append(context))
        self.addCleanup(lambda: self.assertEqual(self.unhandled, []))

    def assert_books_are_empty(self, sup):
        self.assertEqual(sup.owned(), [])
        self.assertEqual([kind for kind, things in sup._books.items()
                          if things], [])
        self.assertEqual(list(sup._futures or ()), [])


# What is done again and again; each function does it *count* times.

async def callbacks(sup, count):
    for _ in range(count):
        sup.call_soon(nothing)
    await nap()


async def callbacks_of_threads(sup, count):
    for _ in range(count):
        sup.call_soon_threadsafe(nothing)
    await nap()


async def tasks(sup, count):
    for _ in range(count):
        task = sup.create_task(nap())
    await task


async def eager_tasks(sup, count):
    async def finished():
        pass
    for _ in range(count):
        sup.create_task(finished(), eager_start=True)
    await nap()


async def cancelled_tasks(sup, count):
    for _ in range(count):
        task = sup.create_task(nap())
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def timers(sup, count):
    for _ in range(count):
        sup.call_later(0, nothing)
    await asyncio.sleep(0.001)


async def cancelled_timers(sup, count):
    for _ in range(count):
        sup.call_later(3600, nothing).cancel()


async def futures(sup, count):
    for _ in range(count):
        future = sup.create_future()
        future.add_done_callback(nothing)
        future.set_result(None)
    await nap()


async def dropped_futures(sup, count):
    for _ in range(count):
        sup.create_future()


async def nested_supervisors(sup, count):
    for _ in range(count):
        async with sup.create_supervisor() as nested:
            nested.call_soon(nothing)


# The same with sockets, threads and signals.

async def connections(sup, count):
    """Have a server of the supervisor's accept, and both ends end."""
    server = await sup.create_server(Echo, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    for _ in range(count):
        client = Client()
        transport, _ = await sup.create_connection(lambda: client, *address)
        transport.write(b"hello")
        await client.lost
    server.close()
    await nap()


async def connections_of_foreign_tasks(sup, count):
    server = await sup.create_server(Echo, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    for _ in range(count):
        client = Client()
        transport, _ = await asyncio.create_task(
            sup.create_connection(lambda: client, *address))
        transport.write(b"hello")
        await client.lost
    server.close()
    await nap()


async def datagram_endpoints(sup, count):
    for _ in range(count):
        transport, _ = await sup.create_datagram_endpoint(
            asyncio.DatagramProtocol, ("127.0.0.1", 0))
        transport.close()
    await nap()


async def servers(sup, count):
    for _ in range(count):
        server = await sup.create_server(Echo, "127.0.0.1", 0)
        server.close()
        await server.wait_closed()
    await nap()


async def readers(sup, count):
    one, other = socket.socketpair()
    with one, other:
        for _ in range(count):
            sup.add_reader(one, nothing)
            sup.add_writer(one, nothing)
            sup.remove_reader(one)
            sup.remove_writer(one)


async def readers_by_either_name(sup, count):
    for _ in range(count):
        one, other = socket.socketpair()
        with one, other:
            sup.add_reader(one, nothing)
            sup.add_writer(one.fileno(), nothing)
            sup.remove_reader(one.fileno())
            sup.remove_writer(one)


async def jobs(sup, count):
    for _ in range(count):
        await sup.run_in_executor(None, nothing)


class Echo(asyncio.Protocol):
    """Sends one piece of data back, and says goodbye."""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)
        self.transport.close()


class Client(asyncio.Protocol):

    def __init__(self):
        self.lost = asyncio.get_running_loop().create_future()

    def connection_lost(self, exc):
        self.lost.set_result(exc)


class FlatTests(CountTestCase):
    """One supervisor that lives for long keeps nothing of what is over."""

    # How many, and of those with sockets and threads.
    count = 10_000
    io_count = 400
    # Parts, after each of which is looked; the first two fill caches.
    parts = 10
    # Blocks of memory for each thing, beyond which something is kept.
    limit = 0.05

    async def check(self, work, count):
        count //= self.parts
        blocks = []
        async with asyncio.get_running_loop().create_supervisor() as sup:
            for _ in range(self.parts):
                for done in range(0, count, 1000):
                    await work(sup, min(1000, count - done))
                await nap()
                gc.collect()
                self.assert_books_are_empty(sup)
                blocks.append(sys.getallocatedblocks())
        growth = blocks[-1] - blocks[1]
        # Some caches grow for longer, but not without end.
        self.assertLess(growth, 200 + self.limit * count * (self.parts - 2),
                        blocks)


def _add_flat_tests(works, count_name):
    for work in works:
        async def test(self, work=work):
            async with asyncio.timeout(TIME_LIMIT):
                await self.check(work, getattr(self, count_name))
        setattr(FlatTests, f"test_{work.__name__}", test)


_add_flat_tests((callbacks, callbacks_of_threads, tasks, eager_tasks,
                 cancelled_tasks, timers, cancelled_timers, futures,
                 dropped_futures, nested_supervisors), "count")
_add_flat_tests((connections, connections_of_foreign_tasks,
                 datagram_endpoints, servers, readers, readers_by_either_name,
                 jobs), "io_count")


@contextlib.contextmanager
def counting():
    """Count the lines, calls and steps of generators that the block runs.

    Gives a function that returns the number.
    """
    monitoring = sys.monitoring
    events = (monitoring.events.LINE | monitoring.events.CALL
              | monitoring.events.PY_RESUME)
    counter = itertools.count()
    tool = next(tool for tool in range(6) if not monitoring.get_tool(tool))
    monitoring.use_tool_id(tool, __name__)
    for event in (monitoring.events.LINE, monitoring.events.CALL,
                  monitoring.events.PY_RESUME):
        monitoring.register_callback(tool, event, lambda *args: next(counter))
    try:
        monitoring.set_events(tool, events)
        yield lambda: next(counter)
    finally:
        monitoring.set_events(tool, 0)
        monitoring.free_tool_id(tool)


# What is alive at once; each makes *count* of a kind, and gives what is to be
# kept for it.  Things of the peers' are closed by *files*.

async def many_callbacks(sup, count, files):
    for _ in range(count):
        sup.call_soon(nothing)


async def many_tasks(sup, count, files):
    for _ in range(count):
        sup.create_task(nap())


async def many_timers(sup, count, files):
    for _ in range(count):
        sup.call_later(3600, nothing)


async def many_futures(sup, count, files):
    return [sup.create_future() for _ in range(count)]


async def many_tasks_that_wait_for_futures(sup, count, files):
    for _ in range(count):
        sup.create_task(wait_for(sup.create_future()))


async def wait_for(future):
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.wait([future], timeout=0)


def pair(files):
    ours, theirs = socket.socketpair()
    files.callback(theirs.close)
    return ours, theirs


async def many_readers(sup, count, files):
    for _ in range(count):
        ours, _ = pair(files)
        files.callback(ours.close)
        sup.add_reader(ours, nothing)


async def many_transports(sup, count, files):
    for _ in range(count):
        await sup.connect_accepted_socket(asyncio.Protocol, pair(files)[0])


class Refused(asyncio.Protocol):
    """Asks for too much as it is lost."""

    def __init__(self, sup):
        self.sup = sup

    def connection_lost(self, exc):
        with contextlib.suppress(RuntimeError):
            self.sup.create_task(nap())


async def many_refusals(sup, count, files):
    for _ in range(count):
        await sup.connect_accepted_socket(lambda: Refused(sup), pair(files)[0])


async def many_accepted_connections(sup, count, files):
    server = await sup.create_server(asyncio.Protocol, "127.0.0.1", 0)
    for number in range(count):
        sock = socket.create_connection(server.sockets[0].getsockname())
        files.callback(sock.close)
        while len(server._clients) <= number:
            await nap()


async def many_servers(sup, count, files):
    for _ in range(count):
        await sup.create_server(asyncio.Protocol, "127.0.0.1", 0)


async def many_datagram_endpoints(sup, count, files):
    for _ in range(count):
        await sup.create_datagram_endpoint(asyncio.DatagramProtocol,
                                           ("127.0.0.1", 0))


async def many_pipes(sup, count, files):
    for _ in range(count):
        read, write = os.pipe()
        files.callback(os.close, write)
        await sup.connect_read_pipe(asyncio.Protocol, open(read, "rb"))


async def many_nested_supervisors(sup, count, files):
    for _ in range(count):
        sup.create_task(nest(sup))


async def nest(sup):
    async with sup.create_supervisor() as nested:
        nested.create_task(nap())


MANY = (many_callbacks, many_tasks, many_timers, many_futures,
        many_tasks_that_wait_for_futures, many_readers, many_transports,
        many_refusals,
        many_accepted_connections, many_servers, many_datagram_endpoints,
        many_pipes, many_nested_supervisors)


@support.requires_resource("cpu")
class LinearTests(CountTestCase):
    """The end takes as much for each thing, however many there are."""

    counts = 50, 100, 200

    async def end(self, make, count, *, how):
        """Return how much is done to end *count* things."""
        with contextlib.ExitStack() as files:
            with self.raising(Boom if how == "fails" else None):
                async with asyncio.get_running_loop().create_supervisor() as s:
                    kept = await make(s, count, files)
                    counted = files.enter_context(counting())
                    if how == "fails":
                        raise Boom
                    if how == "is cancelled":
                        s.cancel()
            operations = counted()
            self.assert_books_are_empty(s)
            return operations

    @contextlib.contextmanager
    def raising(self, error):
        """The block raises a group of one error of that type, or nothing."""
        if error is None:
            yield
            return
        with self.assertRaises(ExceptionGroup) as caught:
            yield
        self.assertEqual(list(map(type, caught.exception.exceptions)), [error])

    async def check(self, do):
        # What is done the first time only.
        await do(1)
        few, some, many = [await do(count) for count in self.counts]
        # Twice as many more.
        self.assertLess(many - some, 2.3 * (some - few), (few, some, many))

    async def test_each_kind_in_each_way(self):
        async with asyncio.timeout(TIME_LIMIT):
            for make in MANY:
                for how in "ends", "fails", "is cancelled":
                    with self.subTest(kind=make.__name__, how=how):
                        await self.check(
                            functools.partial(self.end, make, how=how))

    async def test_failures_that_are_handled_one_by_one(self):
        async def do(count):
            with contextlib.ExitStack() as files:
                async with asyncio.get_running_loop().create_supervisor(
                        failure_handler=lambda context: True) as sup:
                    pairs = [pair(files) for _ in range(count)]
                    for ours, _ in pairs:
                        await sup.connect_accepted_socket(Failing, ours)
                    counted = files.enter_context(counting())
                    for _, theirs in pairs:
                        theirs.send(b"data")
                    while sup.owned():
                        await nap()
                return counted()

        class Failing(asyncio.Protocol):
            def data_received(self, data):
                raise Boom

        async with asyncio.timeout(TIME_LIMIT):
            await self.check(do)

    async def test_callbacks_fail_beside_many_transports(self):
        async def do(count):
            def fail():
                raise Boom
            with contextlib.ExitStack() as files:
                async with asyncio.get_running_loop().create_supervisor(
                        failure_handler=lambda context: True) as sup:
                    await many_transports(sup, count, files)
                    with counting() as counted:
                        sup.call_soon(fail)
                        await nap()
                return counted()

        async with asyncio.timeout(TIME_LIMIT):
            few, *_, many = [await do(count) for count in (1, *self.counts)]
            self.assertLess(many, 1.1 * few)

    async def nested(self, depth, *, how):
        """Return how much is done to end *depth* supervisors in each other."""
        async def nest(depth):
            async with asyncio.get_running_loop().create_supervisor() as sup:
                sups.append(sup)
                if depth > 1:
                    # Not awaited here: cancel() goes down along what is
                    # awaited by recursion.
                    sup.create_task(nest(depth - 1))
                elif how == "fails":
                    await ready.wait()
                    raise Boom
                else:
                    await ready.wait()

        sups, ready = [], asyncio.Event()
        task = asyncio.create_task(nest(depth))
        while len(sups) < depth:
            await nap()
        with counting() as counted:
            if how == "is cancelled":
                sups[0].cancel()
            ready.set()
            await asyncio.wait([task])
        for sup in sups:
            self.assert_books_are_empty(sup)
        # Not by recursion, which is no matter of the supervisors.
        errors, exc = 0, task.exception()
        while exc is not None:
            errors += 1
            exc, = getattr(exc, "exceptions", [None])
        self.assertEqual(errors, depth + 1 if how == "fails" else 0)
        return counted()

    async def test_nested_ones(self):
        async with asyncio.timeout(TIME_LIMIT):
            for how in "ends", "fails", "is cancelled":
                with self.subTest(how=how):
                    do = functools.partial(self.nested, how=how)
                    await self.check(do)
                    await do(1000)


class ThreadTests(CountTestCase):

    # How many calls of each thread come before it fails.
    calls = 200

    async def hammer(self, end):
        """Have threads schedule callbacks and jobs until they are refused."""
        def schedule(sup):
            try:
                while True:
                    sup.call_soon_threadsafe(submit, sup)
                    # The others have a turn, and the loop can keep up.
                    time.sleep(len(loop._ready) / 1_000_000)
            except RuntimeError as exc:
                refused.append(str(exc))

        def submit(sup):
            next(submitted)
            sup.run_in_executor(executor, work)

        def work():
            begun.append(None)
            if not ended.is_set():
                done.append(None)

        loop = asyncio.get_running_loop()
        submitted, ended = itertools.count(), threading.Event()
        begun, done, refused = [], [], []
        with concurrent.futures.ThreadPoolExecutor(4) as executor:
            try:
                async with loop.create_supervisor() as s:
                    threads = [threading.Thread(target=schedule, args=(s,))
                               for _ in range(8)]
                    for thread in threads:
                        thread.start()
                    while len(done) < self.calls:
                        await nap()
                    end(s)
            except* Boom:
                pass
            finally:
                ended.set()
            self.assertEqual(len(begun), len(done))
            for thread in threads:
                await asyncio.to_thread(thread.join, TIME_LIMIT)
                self.assertFalse(thread.is_alive())
        self.assertEqual(len(refused), 8)
        self.assertEqual({text.rsplit("> ")[-1] for text in refused},
                         {"has ended"})
        self.assert_books_are_empty(s)
        # Nothing comes any more.
        calls = next(submitted)
        for _ in range(3):
            await nap()
        self.assertEqual(next(submitted), calls + 1)
        self.assertEqual(len(begun), len(done))

    async def test_threads_that_go_on_while_it_fails(self):
        def fail(sup):
            raise Boom
        async with asyncio.timeout(TIME_LIMIT):
            await self.hammer(fail)

    async def test_threads_that_go_on_while_a_callback_fails_it(self):
        def fail(sup):
            def boom():
                raise Boom
            sup.call_soon(boom)
        async with asyncio.timeout(TIME_LIMIT):
            await self.hammer(fail)

    async def test_threads_that_go_on_while_it_is_cancelled(self):
        async with asyncio.timeout(TIME_LIMIT):
            await self.hammer(lambda sup: sup.cancel())


if __name__ == "__main__":
    unittest.main()
