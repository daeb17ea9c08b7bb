"""Tests for supervisors on sockets, pipes, processes, threads and signals."""

import asyncio
import concurrent.futures
import contextlib
import errno
import itertools
import os
import selectors
import signal
import socket
import sys
import tempfile
import threading
import unittest
from asyncio import supervisors
from unittest import mock

from test.test_asyncio import loop_support
from test.test_asyncio import tls_support

# Seconds after which a test has hung.
TIME_LIMIT = 60


def tearDownModule():
    asyncio.set_event_loop_policy(None)


# Of the certificate.
HOSTNAME = "localhost"


def tls_contexts():
    return tls_support.server_context(), tls_support.client_context()


class Boom(Exception):
    pass


class BaseBoom(BaseException):
    pass


class Unprintable(Exception):
    def __str__(self):
        raise ZeroDivisionError


class Recorder(asyncio.Protocol):
    """Notes its calls; raises *exc* in the method of that name."""

    def __init__(self, name=None, exc=None):
        self.name = name
        self.exc = exc
        self.calls = []
        self.transport = None
        loop = asyncio.get_running_loop()
        self.made = loop.create_future()
        self.lost = loop.create_future()
        self.received = bytearray()
        self.has_data = asyncio.Event()

    def note(self, name):
        self.calls.append(name)
        if name == self.name:
            raise self.exc

    def connection_made(self, transport):
        self.transport = transport
        if not self.made.done():
            self.made.set_result(transport)
        self.note("connection_made")

    def data_received(self, data):
        self.received += data
        self.has_data.set()
        self.note("data_received")

    def eof_received(self):
        self.note("eof_received")

    def pause_writing(self):
        self.note("pause_writing")

    def resume_writing(self):
        self.note("resume_writing")

    def datagram_received(self, data, address):
        self.note("datagram_received")

    def error_received(self, exc):
        self.note("error_received")

    def pipe_data_received(self, fd, data):
        self.note("pipe_data_received")

    def pipe_connection_lost(self, fd, exc):
        self.note("pipe_connection_lost")

    def process_exited(self):
        self.note("process_exited")

    def connection_lost(self, exc):
        if not self.lost.done():
            self.lost.set_result(exc)
        self.note("connection_lost")


class Buffered(Recorder, asyncio.BufferedProtocol):

    def get_buffer(self, sizehint):
        self.note("get_buffer")
        return bytearray(1024)

    def buffer_updated(self, count):
        self.note("buffer_updated")


CAT = sys.executable, "-c", "import sys; sys.stdin.buffer.read()"


class IOTestCase(loop_support.LeakCheckMixin, unittest.IsolatedAsyncioTestCase):

    def setUp(self):
        super().setUp()
        self.unhandled = []

    async def asyncSetUp(self):
        self.loop = asyncio.get_running_loop()
        self.loop.set_debug(False)
        self.loop.set_exception_handler(
            lambda loop, context: self.unhandled.append(context))

    async def within(self, coro):
        return await asyncio.wait_for(coro, TIME_LIMIT)

    async def serve(self, sup, factory, **kwargs):
        server = await sup.create_server(factory, "127.0.0.1", 0, **kwargs)
        return server, server.sockets[0].getsockname()

    def client(self, address):
        """Return a connected blocking socket."""
        sock = socket.create_connection(address)
        sock.settimeout(TIME_LIMIT)
        self.addCleanup(sock.close)
        return sock

    async def peers(self, sup, protocol):
        """Connect a protocol to a socket, both owned by nobody else."""
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        theirs.setblocking(False)
        await sup.connect_accepted_socket(lambda: protocol, ours)
        return protocol.transport, theirs

    def assert_nothing_owned(self, sup):
        self.assertEqual(repr(sup).split()[-1], "closed>")
        self.assertEqual(sup.owned(), [])


class Company:
    """Something of every kind, in a supervisor."""

    async def gather(self, test, sup):
        loop = test.loop
        self.task = sup.create_task(asyncio.sleep(3600))
        self.timer = sup.call_later(3600, print)
        self.future = sup.create_future()
        self.reader, self.peer = socket.socketpair()
        sup.add_reader(self.reader, print)
        sup.add_signal_handler(signal.SIGUSR2, print)
        self.server, address = await test.serve(sup, Recorder)
        self.sock = test.client(address)
        self.idle, _ = await sup.create_connection(Recorder, *address)
        self.process, _ = await sup.subprocess_exec(Recorder, *CAT)
        self.datagram, _ = await sup.create_datagram_endpoint(
            Recorder, ("127.0.0.1", 0))
        self.release = threading.Event()
        self.began = threading.Event()
        self.job = sup.run_in_executor(None, self.work)
        await loop.run_in_executor(None, self.began.wait, TIME_LIMIT)
        # The thread runs on until its future is cancelled.
        self.job.add_done_callback(lambda job: self.release.set())

    def work(self):
        self.began.set()
        self.release.wait(TIME_LIMIT)

    def check(self, test):
        test.assertTrue(self.task.cancelled())
        test.assertTrue(self.timer.cancelled())
        test.assertTrue(self.future.cancelled())
        test.assertTrue(self.job.cancelled())
        test.assertTrue(self.release.is_set(), "the thread still runs")
        test.assertFalse(test.loop.remove_reader(self.reader))
        test.assertFalse(test.loop.remove_signal_handler(signal.SIGUSR2))
        test.assertFalse(self.server.is_serving())
        test.assertEqual(self.idle.get_protocol(), None)
        test.assertEqual(self.datagram.get_protocol(), None)
        test.assertIsNotNone(self.process.get_returncode())
        with contextlib.suppress(ConnectionResetError):
            test.assertEqual(self.sock.recv(10), b"")
        self.reader.close()
        self.peer.close()
        self.sock.close()


# What fails: methods of the tests below, for the method of a protocol.

def fail_data(method):
    async def fail(self, sup, exc):
        protocol = Recorder(method, exc)
        transport, peer = await self.peers(sup, protocol)
        if method == "data_received":
            peer.send(b"data")
        elif method == "eof_received":
            peer.shutdown(socket.SHUT_WR)
        elif method == "connection_lost":
            transport.abort()
        elif method == "pause_writing":
            transport.write(bytes(1 << 22))
        elif method == "resume_writing":
            transport.write(bytes(1 << 20))
            while "resume_writing" not in protocol.calls:
                await asyncio.sleep(0)
                with contextlib.suppress(BlockingIOError):
                    peer.recv(1 << 20)
        await asyncio.sleep(3600)
    return fail


def fail_buffered(method):
    async def fail(self, sup, exc):
        _, peer = await self.peers(sup, Buffered(method, exc))
        peer.send(b"data")
        await asyncio.sleep(3600)
    return fail


def fail_process(method):
    async def fail(self, sup, exc):
        code = "print('hello')"
        await sup.subprocess_exec(lambda: Recorder(method, exc),
                                  sys.executable, "-c", code)
        await asyncio.sleep(3600)
    return fail


def fail_tls(method):
    async def fail(self, sup, exc):
        server, client = tls_contexts()
        protocol = Recorder(method, exc)
        _, address = await self.serve(sup, lambda: protocol, ssl=server)
        transport, _ = await sup.create_connection(
            Recorder, *address, ssl=client,
            server_hostname=HOSTNAME)
        transport.write(b"data")
        if method in ("eof_received", "connection_lost"):
            transport.close()
        await asyncio.sleep(3600)
    return fail


class FailureMatrixTests(IOTestCase):
    """What fails, and how, with everything else beside it."""

    async def fail_callback(self, sup, exc, schedule):
        def raising(*args):
            raise exc
        schedule(sup, raising)
        await asyncio.sleep(3600)

    async def fail_factory(self, sup, exc):
        def factory():
            raise exc
        _, address = await self.serve(sup, factory)
        self.client(address)
        await asyncio.sleep(3600)

    async def fail_accepted(self, sup, exc):
        _, address = await self.serve(
            sup, lambda: Recorder("connection_made", exc))
        self.client(address)
        await asyncio.sleep(3600)

    async def fail_datagram(self, sup, exc):
        transport, _ = await sup.create_datagram_endpoint(
            lambda: Recorder("datagram_received", exc), ("127.0.0.1", 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"data", transport.get_extra_info("sockname"))
        await asyncio.sleep(3600)

    async def fail_read_pipe(self, sup, exc):
        read, write = os.pipe()
        with open(write, "wb", buffering=0) as writer:
            await sup.connect_read_pipe(
                lambda: Recorder("data_received", exc), open(read, "rb"))
            writer.write(b"data")
            await asyncio.sleep(3600)

    async def fail_write_pipe(self, sup, exc):
        read, write = os.pipe()
        with open(read, "rb"):
            transport, _ = await sup.connect_write_pipe(
                lambda: Recorder("pause_writing", exc), open(write, "wb"))
            transport.write(bytes(1 << 22))
            await asyncio.sleep(3600)

    async def fail_reader(self, sup, exc):
        def raising():
            raise exc
        one, other = socket.socketpair()
        with one, other:
            sup.add_reader(one, raising)
            other.send(b"data")
            await asyncio.sleep(3600)

    async def fail_writer(self, sup, exc):
        def raising():
            raise exc
        one, other = socket.socketpair()
        with one, other:
            sup.add_writer(one, raising)
            await asyncio.sleep(3600)

    async def fail_signal(self, sup, exc):
        def raising():
            raise exc
        sup.add_signal_handler(signal.SIGUSR1, raising)
        signal.raise_signal(signal.SIGUSR1)
        await asyncio.sleep(3600)

    async def fail_task(self, sup, exc):
        async def work():
            await asyncio.sleep(0)
            raise exc
        sup.create_task(work())
        await asyncio.sleep(3600)

    async def fail_eager_task(self, sup, exc):
        async def work():
            raise exc
        sup.create_task(work(), eager_start=True)
        await asyncio.sleep(3600)

    async def fail_body(self, sup, exc):
        raise exc

    WHAT = {
        "call_soon": lambda self, sup, exc: self.fail_callback(
            sup, exc, lambda sup, raising: sup.call_soon(raising)),
        "call_soon_threadsafe": lambda self, sup, exc: self.fail_callback(
            sup, exc, lambda sup, raising: threading.Thread(
                target=sup.call_soon_threadsafe, args=(raising,)).start()),
        "call_later": lambda self, sup, exc: self.fail_callback(
            sup, exc, lambda sup, raising: sup.call_later(0, raising)),
        "call_at": lambda self, sup, exc: self.fail_callback(
            sup, exc, lambda sup, raising: sup.call_at(sup.time(), raising)),
        "done callback": lambda self, sup, exc: self.fail_callback(
            sup, exc, lambda sup, raising: sup.create_task(
                asyncio.sleep(0)).add_done_callback(raising)),
        **{method: fail_data(method) for method in (
            "connection_made", "data_received", "eof_received",
            "connection_lost", "pause_writing", "resume_writing")},
        **{method: fail_buffered(method) for method in (
            "get_buffer", "buffer_updated")},
        **{method: fail_process(method) for method in (
            "pipe_data_received", "pipe_connection_lost", "process_exited")},
        **{f"TLS {method}": fail_tls(method) for method in (
            "connection_made", "data_received", "eof_received",
            "connection_lost")},
        "protocol factory": fail_factory,
        "accepted connection": fail_accepted,
        "datagram": fail_datagram,
        "read pipe": fail_read_pipe,
        "write pipe": fail_write_pipe,
        "reader": fail_reader,
        "writer": fail_writer,
        "signal handler": fail_signal,
        "task": fail_task,
        "eager task": fail_eager_task,
        "body": fail_body,
    }
    HOW = (Boom, OSError, BaseBoom, Unprintable, ConnectionResetError)

    async def check(self, what, how, company=None):
        exc = how("on purpose")
        told = 0
        with self.assertRaises(BaseExceptionGroup) as caught:
            async with self.loop.create_supervisor() as sup:
                if company is not None:
                    await company.gather(self, sup)
                try:
                    await self.WHAT[what](self, sup, exc)
                except asyncio.CancelledError:
                    told += 1
                    self.assertEqual(asyncio.current_task().cancelling(), 1)
                    raise
        self.assertEqual(told, what != "body")
        self.assertEqual(len(caught.exception.exceptions), 1)
        self.assertIs(caught.exception.exceptions[0], exc)
        self.assertIsNotNone(exc.__traceback__)
        self.assertEqual(asyncio.current_task().cancelling(), 0)
        self.assert_nothing_owned(sup)
        if company is not None:
            company.check(self)
        exc = caught = None

    async def test_each_failure_releases_what_is_beside_it(self):
        for what in self.WHAT:
            with self.subTest(what=what):
                await self.within(self.check(what, Boom, Company()))
        self.assertEqual(self.unhandled, [])

    async def test_each_kind_of_exception_is_a_failure(self):
        for what in self.WHAT:
            for how in self.HOW:
                with self.subTest(what=what, how=how):
                    await self.within(self.check(what, how))
        self.assertEqual(self.unhandled, [])

    async def test_a_failure_in_the_teardown_joins_the_first(self):
        async def main():
            with self.assertRaises(ExceptionGroup) as caught:
                async with self.loop.create_supervisor() as sup:
                    await self.peers(sup, Recorder("connection_lost",
                                                   LookupError()))
                    raise Boom
            self.assertEqual([type(exc) for exc in caught.exception.exceptions],
                             [Boom, LookupError])
        await self.within(main())

    async def test_a_cancelled_error_by_hand_is_no_failure(self):
        async def main(method):
            async with self.loop.create_supervisor() as sup:
                protocol = Recorder(method, asyncio.CancelledError("by hand"))
                transport, peer = await self.peers(sup, protocol)
                peer.send(b"data")
                peer.shutdown(socket.SHUT_WR)
                await protocol.lost
        for method in "connection_made", "data_received", "connection_lost":
            with self.subTest(method=method):
                self.unhandled.clear()
                await self.within(main(method))
                self.assertEqual([type(context["exception"])
                                  for context in self.unhandled],
                                 [asyncio.CancelledError])

    async def test_a_protocol_that_fails_is_told_why_it_is_lost(self):
        for how in Boom, OSError:
            exc = how()
            protocol = Recorder("data_received", exc)
            with self.assertRaises(ExceptionGroup):
                async with self.loop.create_supervisor() as sup:
                    _, peer = await self.peers(sup, protocol)
                    peer.send(b"data")
                    await asyncio.sleep(3600)
            self.assertIs(protocol.lost.result(), exc)


class NoFailureTests(IOTestCase):
    """What the operating system says, and what a handler handles."""

    async def test_a_peers_reset_fails_nothing(self):
        async def main():
            async with self.loop.create_supervisor() as sup:
                protocol = Recorder()
                _, address = await self.serve(sup, lambda: protocol)
                sock = self.client(address)
                await protocol.made
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                b"\1\0\0\0\0\0\0\0")
                sock.close()
                self.assertIsInstance(await protocol.lost,
                                      ConnectionResetError)
                await asyncio.sleep(0)
        await self.within(main())
        self.assertEqual(self.unhandled, [])

    async def test_a_lack_of_descriptors_for_accept_fails_nothing(self):
        async def main():
            async with self.loop.create_supervisor() as sup:
                protocol = Recorder()
                server, address = await self.serve(sup, lambda: protocol)
                listening = server._sockets[0]
                server._sockets[0] = failing = mock.Mock(wraps=listening)
                self.loop.remove_reader(listening.fileno())
                failing.accept.side_effect = itertools.chain(
                    [OSError(errno.EMFILE, "too many")],
                    itertools.repeat(mock.DEFAULT))
                server._serving = False
                with mock.patch("asyncio.constants.ACCEPT_RETRY_DELAY", 0):
                    server._start_serving()
                    self.client(address)
                    await protocol.made
        await self.within(main())
        self.assertEqual([context["exception"].errno
                          for context in self.unhandled], [errno.EMFILE])

    async def test_an_error_that_a_datagram_protocol_gets_fails_nothing(self):
        async def main():
            async with self.loop.create_supervisor() as sup:
                transport, protocol = await sup.create_datagram_endpoint(
                    Recorder, ("127.0.0.1", 0))
                with mock.patch.object(transport, "_sock") as sock:
                    sock.recvfrom.side_effect = OSError(errno.ECONNREFUSED, "")
                    transport._read_ready()
                self.assertEqual(protocol.calls[-1], "error_received")
        await self.within(main())
        self.assertEqual(self.unhandled, [])

    async def test_a_failed_handshake_fails_nothing(self):
        async def main():
            server_context, _ = tls_contexts()
            async with self.loop.create_supervisor() as sup:
                _, address = await self.serve(sup, Recorder,
                                              ssl=server_context)
                sock = self.client(address)
                sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
                await self.loop.run_in_executor(None, sock.recv, 100)
                self.assertTrue(sup.owned())
        await self.within(main())

    def handler(self, context):
        self.contexts.append(context)
        return True

    async def test_a_handled_connection_is_gone_and_others_live_on(self):
        self.contexts = []

        async def main(method):
            async with self.loop.create_supervisor(
                    failure_handler=self.handler) as sup:
                other, other_peer = await self.peers(sup, Recorder())
                failing = Recorder(method, Boom())
                _, peer = await self.peers(sup, failing)
                with contextlib.suppress(BrokenPipeError):
                    peer.send(b"data")
                await failing.lost
                self.assertEqual(sup._of(supervisors._Kind.TRANSPORT),
                                 {id(other): other})
                other_peer.send(b"more")
                await other.get_protocol().has_data.wait()
        for method in "connection_made", "data_received":
            with self.subTest(method=method):
                self.contexts.clear()
                await self.within(main(method))
                self.assertEqual(len(self.contexts), 1)

    async def test_a_handled_tls_connection_is_gone(self):
        self.contexts = []

        async def main(method):
            server, client = tls_contexts()
            async with self.loop.create_supervisor(
                    failure_handler=self.handler) as sup:
                failing = Recorder(method, OSError("on purpose"))
                server, address = await self.serve(sup, lambda: failing,
                                                   ssl=server)
                with contextlib.suppress(ConnectionError):
                    transport, peer = await sup.create_connection(
                        Recorder, *address, ssl=client,
                        server_hostname=HOSTNAME)
                    transport.write(b"data")
                    await peer.lost
                self.assertTrue(server.is_serving())
        for method in "connection_made", "data_received":
            with self.subTest(method=method):
                self.contexts.clear()
                await self.within(main(method))
                self.assertEqual([str(context["exception"])
                                  for context in self.contexts],
                                 ["on purpose"])

    async def test_a_handled_reader_is_removed(self):
        self.contexts = []

        async def main(add, remove):
            async with self.loop.create_supervisor(
                    failure_handler=self.handler) as sup:
                one, other = socket.socketpair()
                with one, other:
                    def raising():
                        raise Boom
                    getattr(sup, add)(one, raising)
                    other.send(b"data")
                    while not self.contexts:
                        await asyncio.sleep(0)
                    self.assertFalse(getattr(self.loop, remove)(one))
                    self.assertEqual(sup.owned(), [])
        for add, remove in (("add_reader", "remove_reader"),
                            ("add_writer", "remove_writer")):
            with self.subTest(add=add):
                self.contexts.clear()
                await self.within(main(add, remove))

    async def test_a_handled_process_is_killed(self):
        self.contexts = []

        async def main():
            async with self.loop.create_supervisor(
                    failure_handler=self.handler) as sup:
                code = "print('hello', flush=True); input()"
                transport, protocol = await sup.subprocess_exec(
                    lambda: Recorder("pipe_data_received", Boom()),
                    sys.executable, "-c", code)
                await protocol.lost
                self.assertEqual(transport.get_returncode(), -signal.SIGKILL)
                self.assertEqual(sup.owned(), [])
        await self.within(main())
        self.assertEqual(len(self.contexts), 1)

    async def test_endpoints_servers_and_signal_handlers_stay(self):
        self.contexts = []

        async def main():
            async with self.loop.create_supervisor(
                    failure_handler=self.handler) as sup:
                def raising():
                    raise Boom
                sup.add_signal_handler(signal.SIGUSR1, raising)
                for count in 1, 2:
                    signal.raise_signal(signal.SIGUSR1)
                    while len(self.contexts) < count:
                        await asyncio.sleep(0)

                transport, _ = await sup.create_datagram_endpoint(
                    lambda: Recorder("datagram_received", Boom()),
                    ("127.0.0.1", 0))
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                    for count in 3, 4:
                        sock.sendto(b"x", transport.get_extra_info("sockname"))
                        while len(self.contexts) < count:
                            await asyncio.sleep(0)

                def factory():
                    raise Boom
                server, address = await self.serve(sup, factory)
                for count in 5, 6:
                    self.client(address)
                    while len(self.contexts) < count:
                        await asyncio.sleep(0)
                self.assertTrue(server.is_serving())
        await self.within(main())


class NormalExitTests(IOTestCase):

    async def test_transports_are_flushed(self):
        size = 8 << 20

        def read(sock):
            count = 0
            while data := sock.recv(1 << 16):
                count += len(data)
            return count

        async def main():
            async with self.loop.create_supervisor() as sup:
                protocol = Recorder()
                _, address = await self.serve(sup, lambda: protocol)
                sock = self.client(address)
                await protocol.made
                protocol.transport.write(bytes(size))
                count = self.loop.run_in_executor(None, read, sock)
            self.assertEqual(protocol.lost.result(), None)
            self.assertEqual(await count, size)
        await self.within(main())

    async def test_tls_is_closed_with_its_goodbye(self):
        server, client = tls_contexts()

        async def main():
            async with self.loop.create_supervisor() as sup:
                there = Recorder()
                _, address = await self.serve(sup, lambda: there, ssl=server)
                transport, here = await sup.create_connection(
                    Recorder, *address, ssl=client,
                    server_hostname=HOSTNAME)
                transport.write(b"x" * 100_000)
                while len(there.received) < 100_000:
                    await asyncio.sleep(0)
            self.assertEqual(there.calls[-1], "connection_lost")
            self.assertIsNone(there.lost.result())
            self.assertIsNone(here.lost.result())
        await self.within(main())

    async def test_futures_are_last(self):
        async def main():
            log = []

            class Resolving(Recorder):
                def connection_lost(self, exc):
                    super().connection_lost(exc)
                    future.set_result("lost")
            for fails in False, True:
                with contextlib.suppress(ExceptionGroup):
                    async with self.loop.create_supervisor() as sup:
                        future = sup.create_future()
                        future.add_done_callback(
                            lambda f: log.append(f.result()))
                        await self.peers(sup, Resolving())
                        if fails:
                            raise Boom
            self.assertEqual(log, ["lost", "lost"])
        await self.within(main())
        self.assertEqual(self.unhandled, [])

    async def test_a_process_with_an_open_stdin_ends(self):
        code = "import sys; sys.stdout.write(sys.stdin.read().upper())"

        async def main():
            received = []

            class Protocol(Recorder):
                def pipe_data_received(self, fd, data):
                    received.append((fd, data))
            async with self.loop.create_supervisor() as sup:
                transport, protocol = await sup.subprocess_exec(
                    Protocol, sys.executable, "-c", code)
                transport.get_pipe_transport(0).write(b"hello")
            self.assertEqual(transport.get_returncode(), 0)
            self.assertEqual(received, [(1, b"HELLO")])
            self.assertTrue(protocol.lost.done())
        await self.within(main())

    async def test_stdin_stays_open_for_tasks(self):
        async def main():
            async def write(stdin):
                await asyncio.sleep(0.01)
                stdin.write(b"late\n")
            async with self.loop.create_supervisor() as sup:
                transport, _ = await sup.subprocess_exec(
                    Recorder, sys.executable, "-c",
                    "raise SystemExit(0 if input() == 'late' else 1)")
                sup.create_task(write(transport.get_pipe_transport(0)))
            self.assertEqual(transport.get_returncode(), 0)
        await self.within(main())

    async def test_a_child_that_ignores_sigterm_is_killed(self):
        code = ("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
                "print('ready', flush=True); signal.pause()")

        async def main():
            async with self.loop.create_supervisor() as sup:
                transport, protocol = await sup.subprocess_exec(
                    Recorder, sys.executable, "-c", code)
                while "pipe_data_received" not in protocol.calls:
                    await asyncio.sleep(0)
                sup.cancel()
            self.assertEqual(transport.get_returncode(), -signal.SIGKILL)
        await self.within(main())

    async def test_grandchildren_that_hold_the_pipes_hold_nobody(self):
        code = ("import subprocess, sys\n"
                "child = subprocess.Popen([sys.executable, '-c', "
                "'import time; time.sleep(60)'])\n"
                "print(child.pid, flush=True)\ninput()")

        async def main():
            class Protocol(Recorder):
                def pipe_data_received(self, fd, data):
                    self.received += data
                    self.has_data.set()
            async with self.loop.create_supervisor() as sup:
                transport, protocol = await sup.subprocess_exec(
                    Protocol, sys.executable, "-c", code)
                await protocol.has_data.wait()
                sup.cancel()
            os.kill(int(protocol.received), signal.SIGKILL)
            self.assertTrue(protocol.lost.done())
        await self.within(main())

    async def test_a_peer_that_reads_nothing_holds_the_exit_until_a_deadline(
            self):
        async def main(block):
            async with block(0.2):
                async with self.loop.create_supervisor() as sup:
                    protocol = Recorder()
                    transport, peer = await self.peers(sup, protocol)
                    transport.write(bytes(1 << 24))
                    self.loop.call_later(0.1, states.append, sup._state)
                self.fail("the exit did not raise")
            self.assertTrue(protocol.lost.done())
            self.assert_nothing_owned(sup)
        states = []
        await self.within(main(asyncio.move_on_after))
        with self.assertRaises(TimeoutError):
            await self.within(main(asyncio.timeout))

    async def test_a_tls_peer_that_never_says_goodbye_holds_nothing(self):
        server, client = tls_contexts()

        async def main():
            async with self.loop.create_supervisor() as sup:
                protocol = Recorder()
                _, address = await self.serve(sup, lambda: protocol,
                                              ssl=server,
                                              ssl_shutdown_timeout=0.2)

                def handshake():
                    sock = self.client(address)
                    return client.wrap_socket(
                        sock, server_hostname=HOSTNAME)
                sock = await self.loop.run_in_executor(None, handshake)
                self.addCleanup(sock.close)
                await protocol.made
            self.assertTrue(protocol.lost.done())
        await self.within(main())

    async def test_a_connection_in_its_handshake_holds_nothing(self):
        server, client = tls_contexts()

        async def main(ends):
            with contextlib.suppress(ExceptionGroup):
                async with self.loop.create_supervisor() as sup:
                    _, address = await self.serve(sup, Recorder, ssl=server)
                    sock = self.client(address)
                    while not sup._of(supervisors._Kind.TRANSPORT):
                        await asyncio.sleep(0)
                    if ends:
                        raise Boom
            self.assert_nothing_owned(sup)
        for ends in False, True:
            with self.subTest(ends=ends):
                await self.within(main(ends))

    async def test_a_thread_is_awaited(self):
        async def main(executor, fails):
            began, release = threading.Event(), threading.Event()
            ended = []

            def work():
                began.set()
                release.wait(TIME_LIMIT)
                ended.append(True)
                return 42
            with contextlib.suppress(ExceptionGroup):
                async with self.loop.create_supervisor() as sup:
                    job = sup.run_in_executor(executor, work)
                    await self.loop.run_in_executor(None, began.wait)
                    self.loop.call_later(0.05, release.set)
                    if fails:
                        raise Boom
            self.assertEqual(ended, [True])
            if fails:
                self.assertTrue(job.cancelled())
            else:
                self.assertEqual(job.result(), 42)
        with concurrent.futures.ThreadPoolExecutor(1) as executor:
            for given in None, executor:
                for fails in False, True:
                    with self.subTest(given=given, fails=fails):
                        await self.within(main(given, fails))

    async def test_a_job_that_has_not_begun_never_does(self):
        async def main(own):
            release, ran = threading.Event(), []
            with concurrent.futures.ThreadPoolExecutor(1) as executor:
                if own:
                    self.loop.set_default_executor(executor)
                busy = executor.submit(release.wait, TIME_LIMIT)
                try:
                    async with self.loop.create_supervisor() as sup:
                        job = sup.run_in_executor(None if own else executor,
                                                  ran.append, 1)
                        sup.cancel()
                finally:
                    release.set()
            self.assertTrue(job.cancelled())
            self.assertEqual(ran, [])
        await self.within(main(False))
        await self.within(main(True))

    async def test_the_error_of_a_job_is_its_futures(self):
        def work():
            raise Boom

        async def main():
            async with self.loop.create_supervisor() as sup:
                job = sup.run_in_executor(None, work)
            self.assertIsInstance(job.exception(), Boom)
        await self.within(main())

    async def test_signal_handlers_that_were_replaced_are_put_back(self):
        got = []

        async def main():
            self.loop.add_signal_handler(signal.SIGUSR1, got.append, "before")
            self.addCleanup(signal.signal, signal.SIGUSR2,
                            signal.getsignal(signal.SIGUSR2))
            handler = lambda *args: got.append("python")
            signal.signal(signal.SIGUSR2, handler)
            async with self.loop.create_supervisor() as sup:
                for name in "first", "second":
                    sup.add_signal_handler(signal.SIGUSR1, got.append, name)
                sup.add_signal_handler(signal.SIGUSR2, got.append, "ours")
                signal.raise_signal(signal.SIGUSR1)
                signal.raise_signal(signal.SIGUSR2)
                while len(got) < 2:
                    await asyncio.sleep(0)
            self.assertEqual(got, ["second", "ours"])
            self.assertIs(signal.getsignal(signal.SIGUSR2), handler)
            signal.raise_signal(signal.SIGUSR1)
            while len(got) < 3:
                await asyncio.sleep(0)
            self.assertEqual(got[2], "before")
            self.assertTrue(self.loop.remove_signal_handler(signal.SIGUSR1))
        await self.within(main())

    async def test_a_reader_that_someone_else_replaced_stays(self):
        async def main():
            one, other = socket.socketpair()
            with one, other:
                async with self.loop.create_supervisor() as sup:
                    sup.add_reader(one, print)
                    self.loop.add_reader(one, print)
                    self.assertEqual(sup.owned(), [])
                self.assertTrue(self.loop.remove_reader(one))
        await self.within(main())

    async def test_protocols_may_allocate_when_they_are_lost(self):
        async def main(fails):
            refused = []

            class Allocating(Recorder):
                def connection_lost(self, exc):
                    super().connection_lost(exc)
                    sup.call_soon(self.calls.append, "called")
                    sup.call_later(0, print)
                    sup.create_future()
                    coro = sup.create_connection(Recorder, "127.0.0.1", 1)
                    try:
                        coro.send(None)
                    except RuntimeError as exc:
                        refused.append(str(exc))
                    sup.create_task(asyncio.sleep(0))
            protocol = Allocating()
            with contextlib.suppress(ExceptionGroup):
                async with self.loop.create_supervisor() as sup:
                    await self.peers(sup, protocol)
                    if fails:
                        raise Boom
            self.assertEqual(len(refused), 1)
            self.assertEqual("called" in protocol.calls, not fails)
            self.assert_nothing_owned(sup)
        for fails in False, True:
            with self.subTest(fails=fails):
                await self.within(main(fails))


class ServerTests(IOTestCase):

    async def serve_forever(self, sup, started):
        protocol = Recorder()
        server, address = await self.serve(sup, lambda: protocol)
        started.set_result((address, protocol))
        async with server:
            await server.serve_forever()

    async def host(self, started, suspended):
        async with self.loop.create_supervisor() as sup:
            suspended.append(sup)
            await self.serve_forever(sup, started)

    async def test_serving_with_an_idle_client_ends(self):
        async def main(how):
            started, sups = self.loop.create_future(), []
            task = asyncio.create_task(self.host(started, sups))
            address, protocol = await started
            self.client(address)
            await protocol.made
            sup, = sups
            if how == "fail":
                sup.call_soon(int, "x")
                with self.assertRaises(ExceptionGroup):
                    await task
            elif how == "cancel":
                sup.cancel()
                await task
            else:
                task.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await task
            self.assertTrue(protocol.lost.done())
            self.assert_nothing_owned(sup)
        for how in "fail", "cancel", "outside":
            with self.subTest(how=how):
                await self.within(main(how))

    async def test_serving_in_an_owned_task_ends_with_the_body(self):
        async def main():
            started = self.loop.create_future()
            async with self.loop.create_supervisor() as sup:
                task = sup.create_task(self.serve_forever(sup, started))
                address, protocol = await started
                self.client(address)
                await protocol.made
            self.assertTrue(task.cancelled())
            self.assertTrue(protocol.lost.done())
        await self.within(main())

    async def test_a_closed_server_is_forgotten(self):
        async def main():
            async with self.loop.create_supervisor() as sup:
                server, address = await self.serve(sup, Recorder)
                self.assertEqual(sup.owned(), [server])
                self.assertIs(server.get_loop(), self.loop)
                server.close()
                self.assertEqual(sup.owned(), [])
                await server.wait_closed()
        await self.within(main())

    async def test_a_server_that_does_not_serve_yet_is_closed(self):
        async def main():
            async with self.loop.create_supervisor() as sup:
                server, _ = await self.serve(sup, Recorder,
                                             start_serving=False)
            with self.assertRaisesRegex(RuntimeError, "is closed"):
                await server.serve_forever()
        await self.within(main())

    async def test_a_unix_server_is_owned(self):
        async def main():
            folder = tempfile.TemporaryDirectory()
            path = os.path.join(self.enterContext(folder), "socket")
            protocol = Recorder()
            async with self.loop.create_supervisor() as sup:
                await sup.create_unix_server(lambda: protocol, path)
                _, here = await sup.create_unix_connection(Recorder, path)
                await protocol.made
            self.assertTrue(here.lost.done())
            self.assertTrue(protocol.lost.done())
        await self.within(main())


class CallsInFlightTests(IOTestCase):

    async def stuck_server(self):
        """Return the address of a socket that never accepts."""
        sock = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(sock.close)
        return sock.getsockname()

    async def test_a_foreign_task_gets_a_runtime_error(self):
        _, client = tls_contexts()

        async def main(ends):
            address = await self.stuck_server()

            async def connect(sup):
                with self.assertRaisesRegex(
                        RuntimeError, "is closing|is shutting down"):
                    await sup.create_connection(
                        Recorder, *address, ssl=client,
                        server_hostname=HOSTNAME)
                self.assertEqual(asyncio.current_task().cancelling(), 0)
                await asyncio.sleep(0)
                return "went on"
            with contextlib.suppress(ExceptionGroup):
                async with self.loop.create_supervisor() as sup:
                    task = asyncio.create_task(connect(sup))
                    while not sup._of(supervisors._Kind.TRANSPORT):
                        await asyncio.sleep(0)
                    if ends:
                        raise Boom
            self.assertEqual(await task, "went on")
        for ends in False, True:
            with self.subTest(ends=ends):
                await self.within(main(ends))

    async def test_a_foreign_task_that_is_cancelled_says_so(self):
        async def main():
            never = self.loop.create_future()
            with mock.patch.object(self.loop, "getaddrinfo",
                                   lambda *args, **kwargs: never):
                async with self.loop.create_supervisor() as sup:
                    task = asyncio.create_task(
                        sup.create_connection(Recorder, "example", 80))
                    await asyncio.sleep(0)
                    task.cancel("outside")
                    with self.assertRaisesRegex(asyncio.CancelledError,
                                                "outside"):
                        await task
                    self.assertEqual(sup.owned(), [])
        await self.within(main())

    async def test_the_host_and_owned_tasks_are_cancelled(self):
        async def main(in_task):
            address = await self.stuck_server()
            _, client = tls_contexts()

            async def connect():
                with self.assertRaises(asyncio.CancelledError):
                    await sup.create_connection(
                        Recorder, *address, ssl=client,
                        server_hostname=HOSTNAME)
                told.append(True)
            told = []
            async with self.loop.create_supervisor() as sup:
                self.loop.call_later(0.05, sup.cancel)
                if in_task:
                    sup.create_task(connect())
                    with contextlib.suppress(asyncio.CancelledError):
                        await asyncio.sleep(3600)
                else:
                    await connect()
            self.assertEqual(told, [True])
        for in_task in False, True:
            with self.subTest(in_task=in_task):
                await self.within(main(in_task))

    async def test_one_that_finishes_as_it_ends_is_aborted(self):
        async def main():
            server = await asyncio.start_server(lambda *args: None,
                                                "127.0.0.1", 0)
            address = server.sockets[0].getsockname()
            async with server, self.loop.create_supervisor() as sup:
                coro = sup.create_connection(Recorder, *address)
                task = asyncio.create_task(coro)
                while not sup._of(supervisors._Kind.TRANSPORT):
                    await asyncio.sleep(0)
                sup.cancel()
            with self.assertRaises(RuntimeError):
                await task
            server.close_clients()
        await self.within(main())


class StartTLSTests(IOTestCase):

    async def upgrade(self, through, protocol, sup):
        """Return the server's transport and our socket, after start_tls()."""
        server, client = tls_contexts()
        transport, peer = await self.peers(sup, protocol)
        peer.setblocking(True)

        def handshake():
            return client.wrap_socket(peer,
                                      server_hostname=HOSTNAME)
        sock = self.loop.run_in_executor(None, handshake)
        transport = await through.start_tls(transport, protocol, server,
                                            server_side=True)
        sock = await sock
        self.addCleanup(sock.close)
        return transport, sock

    async def test_a_failure_over_tls_is_reported_and_all_is_closed(self):
        async def main(how):
            exc = OSError("on purpose")
            protocol = Recorder("data_received", exc)
            with self.assertRaises(ExceptionGroup) as caught:
                async with self.loop.create_supervisor() as sup:
                    through = sup if how == "supervisor" else self.loop
                    _, sock = await self.upgrade(through, protocol, sup)
                    await self.loop.run_in_executor(None, sock.send, b"data")
                    await asyncio.sleep(3600)
            self.assertIs(caught.exception.exceptions[0], exc)
            self.assertTrue(protocol.lost.done())
        for how in "supervisor", "loop":
            with self.subTest(how=how):
                await self.within(main(how))

    async def test_a_foreign_transport_is_owned_from_then_on(self):
        async def main():
            protocol = Recorder()
            async with self.loop.create_supervisor() as sup:
                # The loop makes it, the supervisor upgrades it.
                server, client = tls_contexts()
                ours, theirs = socket.socketpair()
                self.addCleanup(theirs.close)
                transport, _ = await self.loop.connect_accepted_socket(
                    lambda: protocol, ours)
                self.assertEqual(sup.owned(), [])
                sock = self.loop.run_in_executor(
                    None, lambda: client.wrap_socket(
                        theirs, server_hostname=HOSTNAME))
                await sup.start_tls(transport, protocol, server,
                                    server_side=True)
                (await sock).close()
                await protocol.lost
                self.assertEqual(sup.owned(), [])
        await self.within(main())


class StreamTests(IOTestCase):

    async def test_streams_on_a_supervisor(self):
        async def main():
            async def handle(reader, writer):
                writer.write(await reader.readline())

            def factory():
                reader = asyncio.StreamReader(loop=sup)
                return asyncio.StreamReaderProtocol(reader, handle, loop=sup)
            async with self.loop.create_supervisor() as sup:
                _, address = await self.serve(sup, factory)
                reader, writer = await asyncio.open_connection(*address)
                writer.write(b"hello\n")
                self.assertEqual(await reader.readline(), b"hello\n")
                writer.close()
                await writer.wait_closed()
            self.assert_nothing_owned(sup)
        await self.within(main())
        self.assertEqual(self.unhandled, [])


class RunnerTests(unittest.TestCase):
    """The program ends in the middle of something."""

    def setUp(self):
        if threading.current_thread() is not threading.main_thread():
            self.skipTest("signals come to the main thread")
        if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            self.skipTest("SIGINT has another handler")
        self.log = []

    async def clean_up_slowly(self):
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.01)
            self.log.append("cleaned up")

    async def supervised(self, interrupt):
        loop = asyncio.get_running_loop()
        async with loop.create_supervisor() as self.sup:
            self.sup.create_task(self.clean_up_slowly())
            server = await self.sup.create_server(Recorder, "127.0.0.1", 0)
            self.client, self.protocol = await self.sup.create_connection(
                Recorder, *server.sockets[0].getsockname())
            interrupt(loop)
            await asyncio.sleep(3600)

    def assert_all_gone(self):
        self.assertEqual(self.log, ["cleaned up"])
        self.assertTrue(self.protocol.lost.done())
        self.assertEqual(self.sup.owned(), [])

    def test_an_interrupt(self):
        with self.assertRaises(KeyboardInterrupt):
            asyncio.run(self.supervised(
                lambda loop: signal.raise_signal(signal.SIGINT)))
        self.assert_all_gone()

    def test_an_exit_from_a_callback_of_nobody(self):
        def leave():
            raise SystemExit(3)
        with self.assertRaises(SystemExit):
            asyncio.run(self.supervised(lambda loop: loop.call_soon(leave)))
        self.assert_all_gone()

    def test_an_exit_from_an_owned_callback(self):
        def leave():
            raise KeyboardInterrupt
        with self.assertRaises(KeyboardInterrupt):
            asyncio.run(self.supervised(
                lambda loop: self.sup.call_soon(leave)))
        self.assert_all_gone()

    def test_a_handler_of_sigterm_ends_it(self):
        def interrupt(loop):
            self.sup.add_signal_handler(signal.SIGTERM, self.sup.cancel)
            signal.raise_signal(signal.SIGTERM)
        before = signal.getsignal(signal.SIGTERM)
        asyncio.run(self.supervised(interrupt))
        self.assert_all_gone()
        self.assertIs(signal.getsignal(signal.SIGTERM), before)

    def test_a_loop_that_is_stopped_while_it_ends_ends_it_later(self):
        def interrupt(loop):
            self.sup.cancel()
            loop.call_soon(loop.stop)
        with asyncio.Runner() as runner:
            loop = runner.get_loop()
            task = loop.create_task(self.supervised(interrupt))
            loop.run_forever()
            self.assertFalse(task.done())
            loop.run_until_complete(task)
            self.assert_all_gone()

    def test_a_runner_ends_one_that_is_forgotten(self):
        async def main():
            async def hold():
                await self.supervised(lambda loop: started.set())
            started = asyncio.Event()
            self.task = asyncio.create_task(hold())
            await started.wait()
        asyncio.run(main())
        self.assert_all_gone()
        self.assertTrue(self.task.cancelled())


class SelectorTests(unittest.TestCase):
    """The same on each kind of selector."""

    def test_a_failing_connection_ends_all(self):
        async def main():
            loop = asyncio.get_running_loop()
            with self.assertRaises(ExceptionGroup) as caught:
                async with loop.create_supervisor() as sup:
                    server = await sup.create_server(
                        lambda: Recorder("data_received", Boom()),
                        "127.0.0.1", 0)
                    transport, _ = await sup.create_connection(
                        Recorder, *server.sockets[0].getsockname())
                    transport.write(b"data")
                    await asyncio.sleep(3600)
            self.assertIsInstance(caught.exception.exceptions[0], Boom)
            self.assertEqual(loop_support.left_in(loop)["transports"], [])

        for name in "SelectSelector", "PollSelector", "EpollSelector":
            with self.subTest(name=name):
                if not hasattr(selectors, name):
                    self.skipTest(f"there is no {name}")

                def factory():
                    return asyncio.SelectorEventLoop(
                        getattr(selectors, name)())
                with asyncio.Runner(loop_factory=factory) as runner:
                    runner.run(asyncio.wait_for(main(), TIME_LIMIT))


if __name__ == "__main__":
    unittest.main()
