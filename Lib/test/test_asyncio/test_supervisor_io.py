"""Tests for supervisors on sockets, pipes, processes, threads and signals."""

import asyncio
import concurrent.futures
import contextlib
import errno
import functools
import inspect
import itertools
import os
import selectors
import signal
import socket
import sys
import tempfile
import threading
import traceback
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
READS_ONE_LINE = sys.executable, "-c", "input()"


class IOTestCase(loop_support.LeakCheckMixin, unittest.IsolatedAsyncioTestCase):

    loop_debug = False

    def setUp(self):
        super().setUp()
        self.unhandled = []
        # What the test's peers hold.
        self.peers_files = contextlib.ExitStack()
        self.addCleanup(self.peers_files.close)

    async def asyncSetUp(self):
        self.loop = asyncio.get_running_loop()
        self.loop.set_debug(self.loop_debug)
        self.loop.set_exception_handler(
            # Not every loop gives itself.
            lambda *args: self.unhandled.append(args[-1]))

    def _callTestMethod(self, method):
        if not inspect.iscoroutinefunction(method):
            return super()._callTestMethod(method)

        @functools.wraps(method)
        async def bounded():
            async with asyncio.timeout(10 * TIME_LIMIT):
                await method()

        super()._callTestMethod(bounded)

    async def within(self, coro):
        async with asyncio.timeout(TIME_LIMIT):
            return await coro

    async def forever(self):
        await asyncio.sleep(3600)

    async def until(self, condition, *args):
        while not condition(*args):
            await asyncio.sleep(0)

    def real(self, thing):
        """Return what the loop has for a transport or a server."""
        return thing

    def is_read(self, sup, sock):
        """Ask if the loop has a reader or a writer of a socket."""
        return sock.fileno() in self.loop._selector.get_map()

    async def until_connecting(self, sup):
        """Wait until a call of a foreign task waits for its handshake."""
        await self.until(lambda: sup._of(supervisors._Kind.TRANSPORT))

    @contextlib.contextmanager
    def leaves_nothing(self):
        """Assert that afterwards nothing is there that was not before."""
        before = self.what_is_there()
        yield
        self.peers_files.close()
        for kind, things in self.what_is_there().items():
            left = [thing for key, thing in things.items()
                    if key not in before[kind]]
            self.assertEqual(left, [], kind)
        with self.assertRaises(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)

    def what_is_there(self):
        found = loop_support.left_in(self.loop)
        # Deadlines may have another timer than before.
        found["timers"] = [
            timer for timer in found["timers"]
            if "Deadlines" not in repr(timer._callback)]
        del found["handles"]
        things = {kind: {id(thing): thing for thing in things}
                  for kind, things in found.items()}
        things["selector keys"] = {key.fd: key for key in
                                   found["selector keys"]}
        things["files"] = {file: file for file in loop_support._open_files()}
        things["signal handlers"] = dict(self.loop._signal_handlers)
        return things

    async def serve(self, sup, factory, **kwargs):
        server = await sup.create_server(factory, "127.0.0.1", 0, **kwargs)
        return server, server.sockets[0].getsockname()

    def client(self, address):
        """Return a connected blocking socket."""
        sock = socket.create_connection(address)
        sock.settimeout(TIME_LIMIT)
        self.peers_files.callback(sock.close)
        return sock

    async def peers(self, sup, protocol):
        """Connect a protocol to a socket, both owned by nobody else."""
        ours, theirs = socket.socketpair()
        self.peers_files.callback(theirs.close)
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
        test.peers_files.callback(self.reader.close)
        test.peers_files.callback(self.peer.close)
        # Not every loop takes the socket.
        sup.add_reader(self.reader.fileno(), print)
        self.add_signal_handler(sup)
        accepted = []
        self.server, address = await test.serve(
            sup, lambda: accepted.append(Recorder()) or accepted[-1])
        self.sock = test.client(address)
        self.idle, _ = await sup.create_connection(Recorder, *address)
        await test.until(lambda: len(accepted) == 2)
        # They say nothing.
        for protocol in accepted:
            await protocol.made
        self.read_pipe, self.write_pipe = await self.pipe(sup)
        self.again(sup)
        self.process, _ = await sup.subprocess_exec(Recorder, *CAT)
        self.datagram, _ = await sup.create_datagram_endpoint(
            Recorder, ("127.0.0.1", 0))
        self.release = threading.Event()
        self.has_ended = False
        self.began = threading.Event()
        self.job = sup.run_in_executor(None, self.work)
        test.peers_files.callback(self.release.set)
        await loop.run_in_executor(None, self.began.wait, TIME_LIMIT)
        self.job.add_done_callback(lambda job: self.release.set())

    def add_signal_handler(self, sup):
        sup.add_signal_handler(signal.SIGUSR2, print)

    async def pipe(self, sup):
        """Own both ends of a pipe; what is sent, nobody gets."""
        read, write = os.pipe()
        reading, _ = await sup.connect_read_pipe(Recorder, open(read, "rb"))
        reading.pause_reading()
        writing, _ = await sup.connect_write_pipe(Recorder, open(write, "wb"))
        writing.write(bytes(1 << 20))
        return reading, writing

    def again(self, sup):
        """Always be ready."""
        self.ready = sup.call_soon(self.again, sup)

    def work(self):
        self.began.set()
        self.release.wait(TIME_LIMIT)
        self.has_ended = True

    def check(self, test):
        test.assertTrue(self.task.cancelled())
        test.assertTrue(self.timer.cancelled())
        test.assertTrue(self.future.cancelled())
        test.assertTrue(self.ready.cancelled())
        test.assertTrue(self.job.cancelled())
        test.assertTrue(self.has_ended, "the thread still runs")
        test.assertFalse(test.loop.remove_reader(self.reader.fileno()))
        self.check_signal_handler(test)
        test.assertFalse(self.server.is_serving())
        test.assertEqual(self.idle.get_protocol(), None)
        test.assertEqual(self.read_pipe.get_protocol(), None)
        test.assertEqual(self.write_pipe.get_protocol(), None)
        test.assertEqual(self.datagram.get_protocol(), None)
        test.assertIsNotNone(self.process.get_returncode())
        self.check_peer(test)

    def check_peer(self, test):
        with contextlib.suppress(ConnectionResetError):
            test.assertEqual(self.sock.recv(10), b"")

    def check_signal_handler(self, test):
        test.assertFalse(test.loop.remove_signal_handler(signal.SIGUSR2))


# What fails: functions that have the method of a protocol raise.

def fail_stream(method, make=Recorder):
    async def fail(self, sup, exc):
        protocol = make(method, exc)
        transport, peer = await self.peers(sup, protocol)
        await drive(self, method, protocol, transport, peer)
    return fail


async def drive(self, method, protocol, transport, peer):
    """Make a stream's protocol get a call of that method."""
    if method in ("data_received", "get_buffer", "buffer_updated"):
        peer.send(b"data")
    elif method == "eof_received":
        peer.shutdown(socket.SHUT_WR)
    elif method == "connection_lost":
        transport.abort()
    elif method == "pause_writing":
        transport.write(bytes(1 << 22))
    elif method == "resume_writing":
        transport.write(bytes(1 << 23))
        while method not in protocol.calls:
            await asyncio.sleep(0)
            with contextlib.suppress(BlockingIOError):
                peer.recv(1 << 20)
    await self.forever()


def fail_process(method):
    async def fail(self, sup, exc):
        code = "print('hello')"
        await sup.subprocess_exec(lambda: Recorder(method, exc),
                                  sys.executable, "-c", code)
        await self.forever()
    return fail


def fail_stdin(method):
    async def fail(self, sup, exc):
        process, protocol = await sup.subprocess_exec(
            lambda: Recorder(method, exc), *CAT)
        process.get_pipe_transport(0).write(bytes(1 << 22))
        await self.forever()
    return fail


def fail_tls(method, make=Recorder):
    async def fail(self, sup, exc):
        server, client = tls_contexts()
        protocol = make(method, exc)
        _, address = await self.serve(sup, lambda: protocol, ssl=server)
        transport, peer = await sup.create_connection(
            Recorder, *address, ssl=client,
            server_hostname=HOSTNAME)
        transport.write(b"data")
        if method in ("eof_received", "connection_lost"):
            transport.close()
        elif method in ("pause_writing", "resume_writing"):
            await protocol.made
            transport.pause_reading()
            while "pause_writing" not in protocol.calls:
                protocol.transport.write(bytes(1 << 20))
                await asyncio.sleep(0)
            transport.resume_reading()
        await self.forever()
    return fail


def fail_datagram(method):
    async def fail(self, sup, exc):
        transport, protocol = await sup.create_datagram_endpoint(
            lambda: Recorder(method, exc), ("127.0.0.1", 0))
        address = transport.get_extra_info("sockname")
        if method == "datagram_received":
            transport.sendto(b"data", address)
        elif method == "error_received":
            transport = self.real(transport)
            with mock.patch.object(transport, "_sock") as sock:
                sock.recvfrom.side_effect = ConnectionRefusedError
                transport.sendto(b"data", address)
                self.loop._ready.append(asyncio.Handle(
                    transport._read_ready, (), transport._loop))
                await asyncio.sleep(0)
        elif method == "connection_lost":
            transport.close()
        await self.forever()
    return fail


@contextlib.contextmanager
def refused_address():
    """Give an address from which datagrams are refused."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        # The port is taken, by a socket that hears itself only.
        sock.bind(("127.0.0.1", 0))
        sock.connect(sock.getsockname())
        yield sock.getsockname()


async def fail_refused_datagram(self, sup, exc):
    with refused_address() as address:
        transport, _ = await sup.create_datagram_endpoint(
            lambda: Recorder("error_received", exc), remote_addr=address)
        transport.sendto(b"data")
        await self.forever()


def fail_read_pipe(method):
    async def fail(self, sup, exc):
        read, write = os.pipe()
        with open(write, "wb", buffering=0) as writer:
            transport, _ = await sup.connect_read_pipe(
                lambda: Recorder(method, exc), open(read, "rb"))
            if method == "data_received":
                writer.write(b"data")
            elif method == "eof_received":
                writer.close()
            elif method == "connection_lost":
                transport.close()
            await self.forever()
    return fail


def fail_write_pipe(method):
    async def fail(self, sup, exc):
        read, write = os.pipe()
        with open(read, "rb", buffering=0) as reader:
            transport, protocol = await sup.connect_write_pipe(
                lambda: Recorder(method, exc), open(write, "wb"))
            if method == "connection_lost":
                transport.abort()
            else:
                transport.write(bytes(1 << 20))
            os.set_blocking(reader.fileno(), False)
            while method == "resume_writing":
                reader.read(1 << 16)
                await asyncio.sleep(0)
            await self.forever()
    return fail


class FailureMatrixTests(IOTestCase):
    """What fails, and how, with everything else beside it."""

    async def fail_callback(self, sup, exc, schedule):
        def raising(*args):
            raise exc
        schedule(sup, raising)
        await self.forever()

    async def fail_factory(self, sup, exc):
        def factory():
            raise exc
        _, address = await self.serve(sup, factory)
        self.client(address)
        await self.forever()

    async def fail_accepted(self, sup, exc):
        _, address = await self.serve(
            sup, lambda: Recorder("connection_made", exc))
        self.client(address)
        await self.forever()

    async def fail_client(self, sup, exc):
        _, address = await self.serve(sup, Recorder)
        await sup.create_connection(
            lambda: Recorder("connection_made", exc), *address)
        await self.forever()

    async def fail_reader(self, sup, exc):
        def raising():
            raise exc
        one, other = socket.socketpair()
        with one, other:
            sup.add_reader(one.fileno(), raising)
            other.send(b"data")
            await self.forever()

    async def fail_writer(self, sup, exc):
        def raising():
            raise exc
        one, other = socket.socketpair()
        with one, other:
            sup.add_writer(one.fileno(), raising)
            await self.forever()

    async def fail_signal(self, sup, exc):
        def raising():
            raise exc
        sup.add_signal_handler(signal.SIGUSR1, raising)
        signal.raise_signal(signal.SIGUSR1)
        await self.forever()

    async def fail_task(self, sup, exc):
        async def work():
            await asyncio.sleep(0)
            raise exc
        sup.create_task(work())
        await self.forever()

    async def fail_eager_task(self, sup, exc):
        async def work():
            raise exc
        sup.create_task(work(), eager_start=True)
        await self.forever()

    async def fail_body(self, sup, exc):
        raise exc

    async def fail_nested(self, sup, exc):
        async def nest():
            async with sup.create_supervisor() as nested:
                nested.create_task(self.fail_task(nested, exc))
        try:
            await sup.create_task(nest())
        except BaseExceptionGroup:
            raise exc  # Of another supervisor, whose group is a leaf here.

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
        "future's done callback": lambda self, sup, exc: self.fail_callback(
            sup, exc, lambda sup, raising: (
                future := sup.create_future(), future.set_result(None),
                future.add_done_callback(raising))),
        **{method: fail_stream(method) for method in (
            "connection_made", "data_received", "eof_received",
            "connection_lost", "pause_writing", "resume_writing")},
        **{f"buffered {method}": fail_stream(method, Buffered)
           for method in ("get_buffer", "buffer_updated", "eof_received",
                          "connection_lost")},
        **{f"process {method}": fail_process(method) for method in (
            "connection_made", "pipe_data_received", "pipe_connection_lost",
            "process_exited", "connection_lost")},
        **{f"stdin {method}": fail_stdin(method) for method in (
            "pause_writing", "resume_writing")},
        **{f"TLS {method}": fail_tls(method) for method in (
            "connection_made", "data_received", "eof_received",
            "connection_lost", "pause_writing", "resume_writing")},
        **{f"TLS buffered {method}": fail_tls(method, Buffered)
           for method in ("get_buffer", "buffer_updated")},
        **{f"datagram {method}": fail_datagram(method) for method in (
            "connection_made", "datagram_received", "error_received",
            "connection_lost")},
        "refused datagram": fail_refused_datagram,
        **{f"read pipe {method}": fail_read_pipe(method) for method in (
            "connection_made", "data_received", "eof_received",
            "connection_lost")},
        **{f"write pipe {method}": fail_write_pipe(method) for method in (
            "connection_made", "pause_writing", "resume_writing",
            "connection_lost")},
        "protocol factory": fail_factory,
        "accepted connection": fail_accepted,
        "client": fail_client,
        "reader": fail_reader,
        "writer": fail_writer,
        "signal handler": fail_signal,
        "task": fail_task,
        "eager task": fail_eager_task,
        "body": fail_body,
    }
    # What reports nothing of a CancelledError, as without a supervisor.
    SAYS_NOTHING = {"task", "eager task", "body", "TLS eof_received"}
    HOW = (Boom, OSError, BaseBoom, Unprintable, ConnectionResetError)

    async def check(self, what, how, company=None, beside=None):
        """Have *what* fail by *how*, and *beside* in what follows."""
        exc = how("on purpose")
        expected = [exc] if beside is None else [exc, beside]
        told = 0
        with self.leaves_nothing():
            with self.assertRaises(BaseExceptionGroup) as caught:
                async with self.loop.create_supervisor() as sup:
                    if company is not None:
                        await company.gather(self, sup)
                    if beside is not None:
                        await self.peers(sup, Recorder("connection_lost",
                                                       beside))
                    try:
                        await self.WHAT[what](self, sup, exc)
                    except asyncio.CancelledError:
                        told += 1
                        self.assertEqual(asyncio.current_task().cancelling(),
                                         1)
                        raise
            self.assertEqual(told, what != "body")
            self.assertEqual(list(map(id, caught.exception.exceptions)),
                             list(map(id, expected)))
            for error in expected:
                self.assert_was_raised_here(error)
            self.assertEqual(asyncio.current_task().cancelling(), 0)
            self.assert_nothing_owned(sup)
            if company is not None:
                company.check(self)
            exc = error = beside = caught = None
            expected.clear()
            # What was lost in the last pass goes.
            await asyncio.sleep(0)

    def assert_was_raised_here(self, exc):
        *_, (frame, _) = traceback.walk_tb(exc.__traceback__)
        self.assertEqual(frame.f_code.co_filename, __file__)

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

    async def test_what_fails_in_the_teardown_of_each_failure_joins_it(self):
        for what in self.WHAT:
            with self.subTest(what=what):
                await self.within(
                    self.check(what, Boom, beside=BaseBoom()))
        self.assertEqual(self.unhandled, [])

    async def test_an_error_of_the_handler_joins_each_failure(self):
        async def main(what):
            def handler(context):
                self.assertIs(context["exception"], exc)
                raise error
            exc, error = Boom("on purpose"), LookupError("of the handler")
            with self.leaves_nothing():
                with self.assertRaises(ExceptionGroup) as caught:
                    async with self.loop.create_supervisor(
                            failure_handler=handler) as sup:
                        await self.WHAT[what](self, sup, exc)
                self.assertEqual(list(map(id, caught.exception.exceptions)),
                                 [id(exc), id(error)])
                self.assert_was_raised_here(error)
                self.assert_nothing_owned(sup)
                exc = error = caught = None
                await asyncio.sleep(0)
        for what in self.WHAT.keys() - {"body"}:
            with self.subTest(what=what):
                await self.within(main(what))
        self.assertEqual(self.unhandled, [])

    async def test_a_cancelled_error_by_hand_fails_nothing(self):
        async def main(what):
            def report(*args):
                reported.append(args[-1]["exception"])
                # By then the one that was reported has ended.
                timers.append(self.loop.call_later(0.001, sup.cancel))
            exc, reported = asyncio.CancelledError("by hand"), []
            timers = []
            self.loop.set_exception_handler(report)
            async with self.loop.create_supervisor() as sup:
                await self.WHAT[what](self, sup, exc)
            for timer in timers:
                timer.cancel()
            # A process has two pipes, which say so one by one.
            self.assertEqual(set(map(id, reported)), {id(exc)})
            self.assert_nothing_owned(sup)
        for what in self.WHAT.keys() - self.SAYS_NOTHING:
            with self.subTest(what=what):
                await self.within(main(what))

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
                server = self.real(server)
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
                transport = self.real(transport)
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
                    getattr(sup, add)(one.fileno(), raising)
                    other.send(b"data")
                    while not self.contexts:
                        await asyncio.sleep(0)
                    self.assertFalse(getattr(self.loop, remove)(one.fileno()))
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

    async def test_futures_are_last_over_tls_with_tasks(self):
        server, client = tls_contexts()

        class Resolving(Recorder):
            def connection_lost(self, exc):
                super().connection_lost(exc)
                end.set_result("lost")
        async with self.loop.create_supervisor() as sup:
            end = sup.create_future()
            _, address = await self.serve(sup, Recorder, ssl=server)
            await sup.create_connection(Resolving, *address, ssl=client,
                                        server_hostname=HOSTNAME)
            sup.create_task(asyncio.sleep(3600))
            await asyncio.sleep(0)
            sup.cancel()
        self.assertEqual(end.result(), "lost")

    async def test_futures_are_last_over_tls_over_tls(self):
        server, client = tls_contexts()

        class Resolving(Recorder):
            def connection_lost(self, exc):
                super().connection_lost(exc)
                end.set_result("lost")

        async def main(cancels):
            nonlocal end
            async with self.loop.create_supervisor() as sup:
                end = sup.create_future()
                below, above = Recorder(), Resolving()
                _, address = await self.serve(sup, lambda: below, ssl=server)
                transport, _ = await sup.create_connection(
                    Recorder, *address, ssl=client, server_hostname=HOSTNAME)
                await below.made
                await asyncio.gather(
                    sup.start_tls(transport, above, client,
                                  server_hostname=HOSTNAME),
                    sup.start_tls(below.transport, Recorder(), server,
                                  server_side=True))
                if cancels:
                    sup.cancel()
            self.assertEqual(end.result(), "lost")
        end = None
        for cancels in False, True:
            with self.subTest(cancels=cancels):
                await self.within(main(cancels))

    async def test_delays_of_the_loops_own_code_end_with_it(self):
        for fails in False, True:
            with (self.subTest(fails=fails),
                  contextlib.suppress(ExceptionGroup)):
                async with self.loop.create_supervisor() as sup:
                    transport, _ = await self.peers(sup, Recorder())
                    # As for the end of a handshake.
                    delay = transport._loop.call_later(3600, print)
                    if fails:
                        raise Boom
            self.assertTrue(delay.cancelled())

    async def test_patched_methods_of_the_loop_let_nothing_escape(self):
        for name in "create_connection", "create_server":
            method = getattr(self.loop, name)
            with mock.patch.object(self.loop, name, lambda *args, _=method,
                                   **kwargs: _(*args, **kwargs)):
                async with self.loop.create_supervisor() as sup:
                    _, address = await self.serve(sup, Recorder)
                    _, there = await sup.create_connection(Recorder, *address)
                    self.assertGreaterEqual(len(sup.owned()), 2)
                self.assertTrue(there.lost.done())

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

    async def test_callbacks_of_a_lost_connection_run_before_futures_end(self):
        class Protocol(Recorder):
            def connection_lost(self, exc):
                super().connection_lost(exc)
                self.later = sup.create_future()
                sup.call_soon(self.later.set_result, "run")

        lost = [Protocol(), Protocol()]
        async with self.loop.create_supervisor() as sup:
            for protocol in lost:
                await self.peers(sup, protocol)
        for protocol in lost:
            self.assertEqual(protocol.later.result(), "run")

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
            self.assertTrue(transport.is_closing(), "it warns when deleted")
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
                    await self.until_connecting(sup)
                    if ends:
                        raise Boom
            self.assert_nothing_owned(sup)
            self.assertEqual(await self.loop.run_in_executor(
                None, sock.recv, 1), b"")
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

    async def test_nothing_runs_on_when_a_thread_ends_in_a_cancelled_scope(
            self):
        def end():
            sup.cancel()
            # The exit does not see it, as it waits for the thread.
            scope.cancel()
            release.set()
        release = threading.Event()
        with asyncio.CancelScope() as scope:
            async with self.loop.create_supervisor() as sup:
                sup.run_in_executor(None, release.wait, TIME_LIMIT)
                self.loop.call_soon(end)
            self.fail("the host runs on")
        self.assertTrue(scope.cancelled_caught)

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

    async def test_a_job_that_a_thread_has_taken_does_not_begin_any_more(self):
        class Late(concurrent.futures.ThreadPoolExecutor):
            def submit(self, function, /, *args):
                future = concurrent.futures.Future()
                future.set_running_or_notify_cancel()
                taken.append(functools.partial(function, *args))
                return future
        taken, ran = [], []
        self.loop.set_default_executor(Late(1))
        async with self.loop.create_supervisor() as sup:
            sup.run_in_executor(None, ran.append, 1)
            sup.cancel()
        taken[0]()
        self.assertEqual(ran, [])

    async def test_the_error_of_a_job_is_its_futures(self):
        def work():
            raise Boom

        async def main():
            async with self.loop.create_supervisor() as sup:
                job = sup.run_in_executor(None, work)
            self.assertIsInstance(job.exception(), Boom)
        await self.within(main())

    async def test_what_a_callback_of_a_job_raises_is_a_failure(self):
        def raising(future):
            raise Boom

        async def main(executor):
            with self.assertRaises(ExceptionGroup) as caught:
                async with self.loop.create_supervisor() as sup:
                    job = sup.run_in_executor(executor, int)
                    job.add_done_callback(raising)
                    await self.forever()
            self.assertIsInstance(caught.exception.exceptions[0], Boom)
        with concurrent.futures.ThreadPoolExecutor(1) as executor:
            for given in None, executor:
                with self.subTest(given=given):
                    await self.within(main(given))

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

    async def test_signal_handlers_are_put_back_in_any_order_of_the_ends(self):
        handlers = self.loop._signal_handlers
        add = lambda sup: sup.add_signal_handler(signal.SIGUSR1, print)
        for order in itertools.permutations(range(3)):
            for again in None, 0, 1:
                stacks = [contextlib.AsyncExitStack() for _ in order]
                self.loop.add_signal_handler(signal.SIGUSR1, print)
                before = handlers[signal.SIGUSR1]
                sups = [await stack.enter_async_context(
                    self.loop.create_supervisor()) for stack in stacks]
                for sup in sups:
                    add(sup)
                if again is not None:
                    add(sups[again])
                for ended in order:
                    await stacks[ended].aclose()
                    # Nobody's handler is there who has ended.
                    owner = getattr(handlers[signal.SIGUSR1]._loop,
                                    "_supervisor", None)
                    with self.subTest(order=order, again=again, ended=ended):
                        self.assertNotIn("closed", repr(owner))
                self.assertIs(handlers[signal.SIGUSR1], before)
                self.loop.remove_signal_handler(signal.SIGUSR1)

    async def test_a_signal_handler_that_is_removed_puts_back_what_was(self):
        def remove(sup):
            return sup.remove_signal_handler(signal.SIGUSR1)
        handlers = self.loop._signal_handlers
        self.loop.add_signal_handler(signal.SIGUSR1, print)
        before = handlers[signal.SIGUSR1]
        create = self.loop.create_supervisor
        async with create() as first, create() as second:
            first.add_signal_handler(signal.SIGUSR1, print)
            second.add_signal_handler(signal.SIGUSR1, print)
            above = handlers[signal.SIGUSR1]
            self.assertTrue(remove(first))
            # It was not the one that is called.
            self.assertIs(handlers[signal.SIGUSR1], above)
            self.assertEqual(first.owned(), [])
            self.assertTrue(remove(second))
            self.assertIs(handlers[signal.SIGUSR1], before)
            # What is not the supervisor's is the loop's.
            second.add_signal_handler(signal.SIGUSR1, print)
            self.loop.add_signal_handler(signal.SIGUSR1, print)
            self.assertTrue(remove(second))
            self.assertFalse(remove(second))
            self.assertEqual(handlers, {})

    async def test_a_signal_that_came_before_it_ends_calls_nobody(self):
        got = []
        async with self.loop.create_supervisor() as sup:
            sup.add_signal_handler(signal.SIGUSR1, got.append, True)
            # As when the loop has read of it.
            self.loop._handle_signal(signal.SIGUSR1)
            sup.cancel()
        await asyncio.sleep(0)
        self.assertEqual(got, [])

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
                    with test.assertRaisesRegex(RuntimeError, "is (clos|shut)"):
                        sup.create_task(asyncio.sleep(0))
                    refused.append("task")
                    sup.create_task(asyncio.sleep(0))
            test, protocol = self, Allocating()
            with contextlib.suppress(ExceptionGroup):
                async with self.loop.create_supervisor() as sup:
                    await self.peers(sup, protocol)
                    if fails:
                        raise Boom
            self.assertEqual(len(refused), 2)
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

    async def test_a_server_closed_by_its_factory_reports_nothing(self):
        async def main():
            self.loop.set_task_factory(asyncio.eager_task_factory)
            protocols = []

            def factory():
                server.close()
                protocols.append(Recorder())
                return protocols[-1]
            async with self.loop.create_supervisor() as sup:
                server, address = await self.serve(sup, factory)
                for _ in range(3):
                    self.client(address)
                await self.until(lambda: protocols)
                await protocols[0].made
        self.addCleanup(self.loop.set_task_factory, None)
        await self.within(main())
        self.assertEqual(self.unhandled, [])


class DrainingTests(IOTestCase):
    """What is allocated while a normal exit awaits the work."""

    async def test_a_server_that_a_task_makes_then_is_closed_as_well(self):
        async def serve():
            await asyncio.sleep(0)
            server, _ = await self.serve(sup, Recorder)
            return server
        async with self.loop.create_supervisor() as sup:
            task = sup.create_task(serve())
        self.assertFalse(task.result().is_serving())
        self.assert_nothing_owned(sup)

    async def test_a_server_that_a_task_makes_then_serves_until_that_ends(self):
        protocol = Recorder()

        async def serve():
            await asyncio.sleep(0)
            server, address = await self.serve(sup, lambda: protocol)
            async with server:
                self.client(address)
                await protocol.made
                self.loop.call_soon(asyncio.current_task().cancel)
                await server.serve_forever()
        async with self.loop.create_supervisor() as sup:
            task = sup.create_task(serve())
        self.assertTrue(task.cancelled())
        self.assertTrue(protocol.lost.done())
        self.assert_nothing_owned(sup)

    async def test_a_process_of_which_another_ones_output_is_the_cause_ends(
            self):
        made = []

        class Starting(Recorder):
            def pipe_data_received(self, fd, data):
                made.append(sup.create_task(
                    sup.subprocess_exec(Recorder, *CAT)))
        code = "import sys; sys.stdin.read(); print('end')"
        async with self.loop.create_supervisor() as sup:
            await sup.subprocess_exec(Starting, sys.executable, "-c", code)
        transport, _ = made[0].result()
        self.assertEqual(transport.get_returncode(), 0)

    async def test_a_process_that_a_foreign_task_is_starting_ends(self):
        async with self.loop.create_supervisor() as sup:
            task = asyncio.create_task(sup.subprocess_exec(Recorder, *CAT))
            await self.until(lambda: sup._of(supervisors._Kind.PROCESS))
        transport, _ = await task
        self.assertEqual(transport.get_returncode(), 0)

    async def test_a_process_whose_pipes_are_being_connected_is_lost(self):
        for passes in range(8):
            async with self.loop.create_supervisor() as sup:
                protocol = Recorder()
                starting = sup.create_task(sup.subprocess_exec(
                    lambda: protocol, *CAT))
                await self.until(lambda: sup._of(supervisors._Kind.PROCESS))
                for _ in range(passes):
                    await asyncio.sleep(0)
                sup.cancel()
            with self.subTest(passes=passes):
                self.assertTrue(starting.done())
                self.assertEqual(protocol.calls[0], "connection_made")
                self.assertEqual(protocol.calls[-1], "connection_lost")

    async def test_a_process_is_lost_when_every_task_is_cancelled(self):
        async def own():
            async with self.loop.create_supervisor() as sup:
                await sup.subprocess_exec(Recorder, *CAT)
        for passes in range(8):
            with self.subTest(passes=passes), self.leaves_nothing():
                host = self.loop.create_task(own())
                for _ in range(passes):
                    await asyncio.sleep(0)
                # As programs do at their end.
                for task in asyncio.all_tasks() - {asyncio.current_task()}:
                    task.cancel()
                await asyncio.wait([host])
                self.assertTrue(host.cancelled())
                # A pipe's end is told a pass later.
                await asyncio.sleep(0)

    async def test_a_process_is_lost_whose_protocol_lacks_a_method(self):
        for missing in ("connection_made", "pipe_connection_lost",
                        "process_exited", "connection_lost"):
            class Partial:
                locals().update(
                    (name, lambda self, *args: None) for name in (
                        "connection_made", "pipe_connection_lost",
                        "process_exited", "connection_lost")
                    if name != missing)

            with self.subTest(missing=missing), self.leaves_nothing():
                with self.assertRaises(ExceptionGroup) as caught:
                    async with self.loop.create_supervisor() as sup:
                        await sup.subprocess_exec(Partial, *CAT)
                for exc in caught.exception.exceptions:
                    self.assertIn(missing, str(exc))
                del exc, caught
                self.assert_nothing_owned(sup)

    async def test_each_kind_is_released_in_its_turn(self):
        log = []

        def note(what):
            log.append((what, {
                "serving": server.is_serving(),
                "stdin": not stdin.is_closing(),
                "timer": not timer.cancelled(),
                "reader": self.is_read(sup, one),
                "transport": not transport.is_closing(),
                "future": not future.done(),
            }))

        class Noting(Recorder):
            def __init__(self, what):
                super().__init__()
                self.what = what

            def connection_lost(self, exc):
                super().connection_lost(exc)
                note(self.what)

        async def work():
            await asyncio.sleep(0)
            note("task")

        async with self.loop.create_supervisor() as sup:
            server, _ = await self.serve(sup, Recorder)
            transport, _ = await self.peers(sup, Noting("transport"))
            process, _ = await sup.subprocess_exec(
                lambda: Noting("process"), *CAT)
            stdin = process.get_pipe_transport(0)
            one, other = socket.socketpair()
            self.peers_files.callback(one.close)
            self.peers_files.callback(other.close)
            sup.add_reader(one.fileno(), print)
            timer = sup.call_later(3600, print)
            future = sup.create_future()
            future.add_done_callback(lambda future: note("future"))
            sup.create_task(work())
        order = ["task", "process", "transport", "future"]
        self.assertEqual([what for what, _ in log], order)
        alive = {what: {kind for kind, is_so in state.items() if is_so}
                 for what, state in log}
        self.assertEqual(alive["task"],
                         {"stdin", "timer", "reader", "transport", "future"})
        self.assertEqual(alive["process"],
                         {"timer", "reader", "transport", "future"})
        self.assertEqual(alive["transport"], {"future"})
        self.assertEqual(alive["future"], set())

    async def test_a_tls_connection_that_was_closed_before_still_times_out(
            self):
        server, client = tls_contexts()
        protocol = Recorder()

        def handshake():
            return client.wrap_socket(self.client(address),
                                      server_hostname=HOSTNAME)
        async with self.loop.create_supervisor() as sup:
            _, address = await self.serve(sup, lambda: protocol, ssl=server,
                                          ssl_shutdown_timeout=0.1)
            sock = await self.loop.run_in_executor(None, handshake)
            self.peers_files.callback(sock.close)
            transport = await protocol.made
            # The peer doesn't answer.
            transport.close()
        self.assertTrue(protocol.lost.done())

    async def test_a_task_that_closes_its_transport_and_waits_ends(self):
        async def work(protocol, transport):
            try:
                await self.forever()
            finally:
                transport.close()
                await protocol.lost
                ended.append(True)
        for how in "fail", "cancel", "task":
            with self.subTest(how=how):
                ended = []
                with contextlib.suppress(ExceptionGroup):
                    async with self.loop.create_supervisor() as sup:
                        protocol = Recorder()
                        transport, _ = await self.peers(sup, protocol)
                        task = sup.create_task(work(protocol, transport))
                        await asyncio.sleep(0)
                        if how == "fail":
                            raise Boom
                        sup.cancel() if how == "cancel" else task.cancel()
                self.assertEqual(ended, [True])
                self.assert_nothing_owned(sup)

    async def test_a_protocol_that_reconnects_when_it_is_lost_lets_it_end(
            self):
        class Reconnecting(Recorder):
            def connection_lost(self, exc):
                super().connection_lost(exc)
                sup.create_task(
                    sup.create_connection(Reconnecting, *address))
        for fails in False, True:
            with self.subTest(fails=fails):
                with contextlib.suppress(ExceptionGroup):
                    async with self.loop.create_supervisor() as sup:
                        _, address = await self.serve(sup, Recorder)
                        await sup.create_connection(Reconnecting, *address)
                        if fails:
                            raise Boom
                self.assert_nothing_owned(sup)
        self.assertEqual(self.unhandled, [])

    async def test_a_pipe_that_nobody_reads_holds_the_exit_until_a_cancel(
            self):
        async def main():
            async with self.loop.create_supervisor() as sup:
                transport, protocol = await sup.connect_write_pipe(
                    Recorder, open(write, "wb", buffering=0))
                transport.write(bytes(1 << 20))
                made.set_result((sup, protocol))
        read, write = os.pipe()
        self.peers_files.callback(os.close, read)
        made = self.loop.create_future()
        task = asyncio.create_task(main())
        sup, protocol = await made
        await self.until(
            lambda: sup._state is supervisors._State.CLOSING)
        task.cancel("outside")
        with self.assertRaisesRegex(asyncio.CancelledError, "outside"):
            await task
        self.assertTrue(protocol.lost.done())
        self.assert_nothing_owned(sup)


class SystemErrorTests(IOTestCase):
    """What the system says, real errors of it where it can be had."""

    async def test_an_error_of_accept_that_passes_fails_nothing(self):
        class Listening(socket.socket):
            errors = [errno.ENETDOWN, errno.ECONNABORTED, errno.EPERM]

            def accept(self):
                if self.errors:
                    raise OSError(self.errors.pop(), "on purpose")
                return super().accept()
        protocol = Recorder()
        async with self.loop.create_supervisor() as sup:
            with socket.create_server(("127.0.0.1", 0)) as sock:
                listening = Listening(fileno=sock.detach())
            address = listening.getsockname()
            await sup.create_server(lambda: protocol, sock=listening)
            self.client(address)
            await protocol.made
        self.assertEqual([context["exception"].errno
                          for context in self.unhandled],
                         [errno.EPERM, errno.ENETDOWN])

    async def test_a_terminal_that_hangs_up_fails_nothing(self):
        async with self.loop.create_supervisor() as sup:
            master, slave = os.openpty()
            _, protocol = await sup.connect_read_pipe(
                Recorder, open(master, "rb", buffering=0))
            os.close(slave)
            self.assertEqual((await protocol.lost).errno, errno.EIO)
        self.assertEqual(self.unhandled, [])

    async def test_a_pipe_that_nobody_can_read_any_more_fails_nothing(self):
        async with self.loop.create_supervisor() as sup:
            read, write = os.pipe()
            transport, protocol = await sup.connect_write_pipe(
                Recorder, open(write, "wb", buffering=0))
            transport.write(bytes(1 << 20))
            os.close(read)
            self.assertIsInstance(await protocol.lost, BrokenPipeError)
        self.assertEqual(self.unhandled, [])

    async def test_a_refused_datagram_fails_nothing(self):
        async with self.loop.create_supervisor() as sup:
            with refused_address() as address:
                transport, protocol = await sup.create_datagram_endpoint(
                    Recorder, remote_addr=address)
                transport.sendto(b"data")
                await self.until(lambda: "error_received" in protocol.calls)
        self.assertEqual(self.unhandled, [])

    async def test_what_is_no_tls_on_a_tls_connection_fails_nothing(self):
        server, client = tls_contexts()
        protocol = Recorder()

        def handshake():
            return client.wrap_socket(self.client(address),
                                      server_hostname=HOSTNAME)
        async with self.loop.create_supervisor() as sup:
            _, address = await self.serve(sup, lambda: protocol, ssl=server)
            sock = await self.loop.run_in_executor(None, handshake)
            await protocol.made
            with socket.socket(fileno=sock.detach()) as raw:
                raw.send(b"no record of TLS")
                self.assertIsInstance(await protocol.lost, OSError)
        self.assertEqual(self.unhandled, [])


class HandledTests(IOTestCase):

    async def test_a_handled_callback_ends_nothing_that_it_was_given(self):
        def raising(transport):
            contexts.append(transport)
            raise Boom
        contexts = []
        async with self.loop.create_supervisor(
                failure_handler=lambda context: True) as sup:
            transport, _ = await self.peers(sup, Recorder())
            sup.call_soon(raising, transport)
            sup.call_later(0, raising, transport)
            await self.until(lambda: len(contexts) == 2)
            await asyncio.sleep(0)
            self.assertFalse(transport.is_closing())

    async def test_a_handled_pipe_is_gone_and_others_live_on(self):
        for what in ("read pipe data_received", "read pipe connection_made",
                     "write pipe pause_writing", "write pipe connection_made"):
            with self.subTest(what=what):
                contexts = []
                async with self.loop.create_supervisor(
                        failure_handler=lambda context: not contexts.append(
                            context)) as sup:
                    other, _ = await self.peers(sup, Recorder())
                    task = sup.create_task(
                        FailureMatrixTests.WHAT[what](self, sup, Boom()))
                    await self.until(lambda: contexts)
                    await self.until(
                        lambda: len(sup._of(supervisors._Kind.TRANSPORT)) == 1)
                    self.assertFalse(other.is_closing())
                    task.cancel()

    async def test_a_handled_pipe_is_gone_though_it_had_paused(self):
        class Pausing(Recorder):
            def data_received(self, data):
                self.transport.pause_reading()
                super().data_received(data)
        ours, theirs = os.pipe()
        self.peers_files.enter_context(open(theirs, "wb", 0)).write(b"data")
        async with self.loop.create_supervisor(
                failure_handler=lambda context: True) as sup:
            await sup.connect_read_pipe(
                lambda: Pausing("data_received", Boom()), open(ours, "rb", 0))
            await self.until(
                lambda: not sup._of(supervisors._Kind.TRANSPORT))
        self.assertEqual(self.unhandled, [])

    async def test_a_handled_process_is_gone_though_its_child_holds_stdin(
            self):
        code = ("import subprocess, sys\n"
                "child = subprocess.Popen([sys.executable, '-c', "
                "'import time; time.sleep(60)'])\n"
                "print(child.pid, flush=True)\nchild.wait()")

        class Failing(Recorder):
            def pipe_data_received(self, fd, data):
                self.pid = int(data)
                raise Boom
        async with self.loop.create_supervisor(
                failure_handler=lambda context: True) as sup:
            transport, protocol = await sup.subprocess_exec(
                Failing, sys.executable, "-c", code)
            transport.get_pipe_transport(0).write(bytes(1 << 20))
            try:
                async with asyncio.timeout(TIME_LIMIT / 2):
                    await protocol.lost
            finally:
                os.kill(protocol.pid, signal.SIGKILL)
            self.assertEqual(sup.owned(), [])


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
                    await self.until_connecting(sup)
                    if ends:
                        raise Boom
            self.assertEqual(await task, "went on")
        for ends in False, True:
            with self.subTest(ends=ends):
                await self.within(main(ends))

    async def test_a_foreign_task_that_is_cancelled_says_so(self):
        async def main():
            with mock.patch.object(self.loop, "getaddrinfo",
                                   lambda *args, **kwargs:
                                       self.loop.create_future()):
                async with self.loop.create_supervisor() as sup:
                    task = asyncio.create_task(
                        sup.create_connection(Recorder, "example", 80))
                    await asyncio.sleep(0)
                    task.cancel("outside")
                    with self.assertRaisesRegex(asyncio.CancelledError,
                                                "outside"):
                        await task
                    self.assertEqual(sup.owned(), [])
                async with self.loop.create_supervisor() as sup:
                    task = asyncio.create_task(
                        sup.create_connection(Recorder, "example", 80))
                    await asyncio.sleep(0)
                    sup.cancel()
                    task.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await task
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


    async def test_what_is_made_in_a_shield_as_it_ends_is_closed(self):
        async def main(connects):
            async with asyncio.timeout(TIME_LIMIT):
                async with self.loop.create_supervisor() as sup:
                    task = sup.create_task(make(sup, connects))
                    await self.forever()
            self.assertFalse(task.cancelled())

        async def make(sup, connects):
            with asyncio.shield():
                self.loop.call_soon(sup.cancel)
                if connects:
                    # A name, as an address is connected to at once.
                    _, protocol = await sup.create_connection(
                        Recorder, "localhost", address[1],
                        family=socket.AF_INET)
                    await protocol.lost
                else:
                    with self.assertRaisesRegex(RuntimeError, "shutting"):
                        await self.serve(sup, Recorder)
        # Nobody accepts there, or closes what is connected.
        with socket.create_server(("127.0.0.1", 0)) as listening:
            address = listening.getsockname()
            for connects in False, True:
                with self.subTest(connects=connects):
                    await main(connects)


class StartTLSTests(IOTestCase):

    upgraded_by = "supervisor", "loop"

    async def test_start_tls_that_is_refused_takes_over_nothing(self):
        async def main():
            protocol = Recorder()
            transport, _ = await self.peers(self.loop, protocol)
            async with self.loop.create_supervisor() as sup:
                with self.assertRaises(TypeError):
                    await sup.start_tls(transport, protocol, "no context")
                self.assertEqual(sup.owned(), [])
                self.assertFalse(transport.is_closing())
            self.assertFalse(transport.is_closing())
            transport.close()
            await protocol.lost
        await self.within(main())

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
        for how in self.upgraded_by:
            with self.subTest(how=how):
                await self.within(main(how))

    async def test_a_peer_is_told_of_a_normal_exit(self):
        server, client = tls_contexts()
        ours, theirs = socket.socketpair()

        def handshake():
            return client.wrap_socket(theirs, server_hostname=HOSTNAME,
                                      suppress_ragged_eofs=False)
        async with self.loop.create_supervisor() as sup:
            sock = self.loop.run_in_executor(None, handshake)
            await sup.connect_accepted_socket(Recorder, ours, ssl=server)
            sock = await sock
        with sock:
            self.assertEqual(sock.recv(10), b"")

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
                self.assertEqual(len(sup.owned()), 1)
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

    async def test_an_error_of_a_streams_callback_is_reported_once(self):
        async def main():
            async def handle(reader, writer):
                raise Boom

            def factory():
                reader = asyncio.StreamReader(loop=sup)
                return asyncio.StreamReaderProtocol(reader, handle, loop=sup)
            with self.assertRaises(ExceptionGroup) as caught:
                async with self.loop.create_supervisor() as sup:
                    _, address = await self.serve(sup, factory)
                    self.client(address)
                    await self.forever()
            self.assertEqual(len(caught.exception.exceptions), 1)
        await self.within(main())
        self.assertEqual(self.unhandled, [])


class DebugModeTests(FailureMatrixTests):
    """In debug mode more is reported, but no failure twice."""

    loop_debug = True
    # Accepting says, too, that it has failed.
    test_a_cancelled_error_by_hand_fails_nothing = None
    test_each_kind_of_exception_is_a_failure = None

    async def asyncSetUp(self):
        await super().asyncSetUp()
        # On a busy machine anything can be slow.
        self.loop.slow_callback_duration = float("inf")

    async def test_each_failure_releases_what_is_beside_it(self):
        for what in self.WHAT:
            with self.subTest(what=what):
                await self.within(self.check(what, Boom))


class SelectorTests(FailureMatrixTests):
    """The same on each kind of selector."""

    selector = "PollSelector"
    test_a_cancelled_error_by_hand_fails_nothing = None
    test_each_kind_of_exception_is_a_failure = None
    test_an_error_of_the_handler_joins_each_failure = None

    def setUp(self):
        if not hasattr(selectors, self.selector):
            self.skipTest(f"there is no {self.selector}")
        super().setUp()

    def loop_factory(self):
        return asyncio.SelectorEventLoop(getattr(selectors, self.selector)())


class SelectTests(SelectorTests):
    selector = "SelectSelector"


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
            # So many that some are told of their end before the host is.
            for _ in range(16):
                self.sup.create_task(self.clean_up_slowly())
            server = await self.sup.create_server(Recorder, "127.0.0.1", 0)
            self.client, self.protocol = await self.sup.create_connection(
                Recorder, *server.sockets[0].getsockname())
            interrupt(loop)
            await asyncio.sleep(3600)

    def assert_all_gone(self):
        self.assertEqual(self.log, 16 * ["cleaned up"])
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


if __name__ == "__main__":
    unittest.main()
