"""Tests for supervisors of loops without views: the suites of supervisors on
such a loop, and what its wrappers and proxies do."""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import tempfile
import unittest
import weakref
from asyncio import generic_supervisors
from asyncio import proactor_events
from asyncio import supervisors
from unittest import mock

from test import support
from test.test_asyncio import scopes_support
from test.test_asyncio import test_supervisor_io as io_suite
from test.test_asyncio import test_supervisors as suite

Boom = io_suite.Boom
Recorder = io_suite.Recorder


class Loop(asyncio.SelectorEventLoop):
    """A loop of which there can be no view."""

    __slots__ = ("extra",)


class VirtualLoop(scopes_support.VirtualLoop):

    __slots__ = ("extra",)


class Policy(asyncio.DefaultEventLoopPolicy):
    _loop_factory = Loop


def setUpModule():
    asyncio.set_event_loop_policy(Policy())


def tearDownModule():
    asyncio.set_event_loop_policy(None)


# The suites of supervisors.

class GenericSupervisorTests(suite.SupervisorTests):

    def setUp(self):
        self.enterContext(scopes_support.replaced(
            scopes_support, VirtualLoop=VirtualLoop))
        super().setUp()

    def supervisor(self, **kwargs):
        sup = super().supervisor(**kwargs)
        self.assertIs(type(sup), generic_supervisors.Supervisor)
        return sup


globals().update(scopes_support.kinds("GenericSupervisorTests",
                                      GenericSupervisorTests))


class IOTestCase(io_suite.IOTestCase):

    def real(self, thing):
        return vars(thing).get("_transport") or vars(thing)["_server"]

    async def until_connecting(self, sup):
        # It has no transport before the handshake is made.
        await self.until(lambda: self.loop._transports)

    async def test_its_supervisors_are_generic_ones(self):
        self.assertIs(type(self.loop.create_supervisor()),
                      generic_supervisors.Supervisor)


def _add_suites():
    """Add each test case of the suites on sockets, threads and processes."""
    for module in suite, io_suite:
        for name, cls in list(vars(module).items()):
            if (isinstance(cls, type) and issubclass(cls, unittest.TestCase)
                    and cls.__module__ == module.__name__
                    and name not in ("IOTestCase", "ApiTests")
                    and not issubclass(cls, (suite.SupervisorTests,
                                             io_suite.SelectorTests))):
                bases = ((IOTestCase, cls)
                         if issubclass(cls, io_suite.IOTestCase) else (cls,))
                globals()[f"Generic{name}"] = support.requires_resource(
                    "cpu")(type(f"Generic{name}", bases,
                                {"__module__": __name__}))


_add_suites()

# Only a view is told of what the loop's own code reports.
GenericStartTLSTests.upgraded_by = ("supervisor",)
GenericNormalExitTests.test_delays_of_the_loops_own_code_end_with_it = None


# What wrappers and proxies do.

class Upper(asyncio.BufferedProtocol):
    """Notes what it gets, in a buffer of two bytes."""

    def __init__(self):
        self.buffer = bytearray(2)
        self.received = b""

    def get_buffer(self, sizehint):
        return self.buffer

    def buffer_updated(self, count):
        self.received += bytes(self.buffer[:count]).upper()

    def connection_lost(self, exc):
        raise Boom


class ProxyTests(IOTestCase):

    async def test_the_user_sees_his_own_protocol(self):
        async with self.loop.create_supervisor() as sup:
            protocol = Recorder()
            _, address = await self.serve(sup, Recorder)
            transport, returned = await sup.create_connection(
                lambda: protocol, *address)
            self.assertIs(returned, protocol)
            self.assertIs(protocol.transport, transport)
            self.assertIs(transport.get_protocol(), protocol)
            self.assertIsInstance(transport, asyncio.Transport)
            self.assertIn(transport, sup.owned())
            self.assertIn("supervised", repr(transport))
        self.assertIsNone(transport.get_protocol())

    async def test_a_failure_tells_the_users_transport_and_protocol(self):
        for method in "connection_made", "data_received", "connection_lost":
            contexts = []
            async with self.loop.create_supervisor(
                    failure_handler=lambda context: not contexts.append(
                        context)) as sup:
                protocol = Recorder(method, Boom())
                transport, peer = await self.peers(sup, protocol)
                # It may be gone already.
                with contextlib.suppress(BrokenPipeError):
                    peer.send(b"data")
                peer.close()
                await protocol.lost
            with self.subTest(method=method):
                [context] = contexts
                self.assertIs(context["transport"], transport)
                self.assertIs(context["protocol"], protocol)

    async def test_each_kind_of_transport_is_of_its_class(self):
        async with self.loop.create_supervisor() as sup:
            read, write = os.pipe()
            made = [
                await sup.create_datagram_endpoint(Recorder,
                                                   ("127.0.0.1", 0)),
                await sup.connect_read_pipe(Recorder, open(read, "rb")),
                await sup.connect_write_pipe(Recorder, open(write, "wb")),
                await sup.subprocess_exec(Recorder, *io_suite.CAT),
            ]
            for (transport, _), cls in zip(made, [
                    asyncio.DatagramTransport, asyncio.ReadTransport,
                    asyncio.WriteTransport, asyncio.SubprocessTransport]):
                self.assertIsInstance(transport, cls)
            process, _ = made[-1]
            self.assertEqual(process.get_pid(),
                             self.real(process).get_pid())
            with self.assertRaises(AttributeError):
                process.no_such_method

    async def test_another_protocol_is_supervised_as_well(self):
        for make in Upper, Recorder:
            with self.subTest(make=make), self.assertRaises(ExceptionGroup):
                async with self.loop.create_supervisor() as sup:
                    first = Recorder()
                    transport, peer = await self.peers(sup, first)
                    protocol = make()
                    transport.set_protocol(protocol)
                    self.assertIs(transport.get_protocol(), protocol)
                    await self.loop.sock_sendall(peer, b"data")
                    await self.until(lambda: protocol.received)
                    protocol.connection_lost = mock.Mock(side_effect=Boom)
                    peer.close()
                    await self.forever()
            protocol.connection_lost.assert_called_once_with(None)
            self.assertFalse(first.received)
            transport.set_protocol(first)
            self.assertIsNone(transport.get_protocol())

    async def test_a_file_is_sent_through_a_proxy(self):
        async with self.loop.create_supervisor() as sup:
            transport, peer = await self.peers(sup, Recorder())
            with tempfile.TemporaryFile() as file:
                file.write(b"data")
                file.flush()
                await sup.sendfile(transport, file)
            self.assertEqual(await self.loop.sock_recv(peer, 9), b"data")
            with mock.patch.object(self.loop, "sendfile") as sendfile:
                # The loop gets its own transport.
                await sup.sendfile(transport, file, fallback=False)
            sendfile.assert_awaited_once_with(self.real(transport), file,
                                              fallback=False)

    async def test_a_cancelled_error_of_a_protocol_ends_its_transport(self):
        async with self.loop.create_supervisor() as sup:
            exc = asyncio.CancelledError("by hand")
            protocol = Recorder("data_received", exc)
            _, peer = await self.peers(sup, protocol)
            peer.send(b"data")
            self.assertIs(await protocol.lost, exc)
        self.assertEqual([context["exception"] for context in self.unhandled],
                         [exc])

    async def test_a_buffer_of_no_bytes_is_a_failure(self):
        for buffer in b"", None:
            protocol = Upper()
            protocol.buffer = buffer
            protocol.connection_lost = mock.Mock()
            with self.subTest(buffer=buffer):
                with self.assertRaises(ExceptionGroup) as caught:
                    async with self.loop.create_supervisor() as sup:
                        ours, theirs = socket.socketpair()
                        self.peers_files.callback(theirs.close)
                        await sup.connect_accepted_socket(lambda: protocol,
                                                          ours)
                        theirs.send(b"data")
                        await self.forever()
                exc, = caught.exception.exceptions
                self.assertIsInstance(
                    exc, RuntimeError if buffer == b"" else TypeError)
                protocol.connection_lost.assert_called_once_with(exc)
        self.assertEqual(self.unhandled, [])

    async def test_a_transport_is_not_ended_while_the_loop_gets_a_buffer(
            self):
        # uvloop would crash.
        class Ending(Recorder, asyncio.BufferedProtocol):
            def get_buffer(self, sizehint):
                end(self.transport)
                ended.append(real.is_closing())
                return bytearray(9)

            def buffer_updated(self, count):
                pass
        for end in (lambda transport: transport.close(),
                    lambda transport: transport.abort(),
                    lambda transport: sup.cancel()):
            ended = []
            async with self.loop.create_supervisor() as sup:
                protocol = Ending()
                transport, peer = await self.peers(sup, protocol)
                real = self.real(transport)
                peer.send(b"data")
                await protocol.lost
            self.assertEqual(ended, [False])

    async def test_an_exit_of_a_protocol_leaves_the_loop(self):
        def run(method, exc):
            async def main():
                nonlocal protocol
                loop = asyncio.get_running_loop()
                async with loop.create_supervisor() as sup:
                    ours, theirs = socket.socketpair()
                    with theirs:
                        protocol = Recorder(method, exc)
                        await sup.connect_accepted_socket(lambda: protocol,
                                                          ours)
                        theirs.send(b"data")
                        await asyncio.sleep(3600)
            protocol = None
            with self.assertRaises(type(exc)) as caught:
                asyncio.run(main())
            self.assertIs(caught.exception, exc)
            self.assertTrue(protocol.lost.done())
        for method in "connection_made", "data_received":
            await asyncio.to_thread(run, method, SystemExit())


class FactoryTests(IOTestCase):

    def failing(self):
        raise Boom

    async def test_the_call_raises_what_a_factory_has_raised(self):
        async with self.loop.create_supervisor() as sup:
            _, address = await self.serve(sup, Recorder)
            read, write = os.pipe()
            with open(read, "rb") as reader, open(write, "wb") as writer:
                for call in (
                        sup.create_connection(self.failing, *address),
                        sup.create_datagram_endpoint(self.failing,
                                                     ("127.0.0.1", 0)),
                        sup.connect_read_pipe(self.failing, reader),
                        sup.connect_write_pipe(self.failing, writer),
                        sup.subprocess_exec(self.failing, *io_suite.CAT)):
                    with self.assertRaises(Boom):
                        await call
            await self.until(lambda: not sup._of(supervisors._Kind.PROCESS))
        self.assertEqual(self.unhandled, [])

    async def test_a_cancellation_is_not_replaced_by_what_a_factory_raised(
            self):
        def factory():
            asyncio.current_task().cancel()
            raise Boom
        async with self.loop.create_supervisor() as sup:
            _, address = await self.serve(sup, Recorder)
            with self.assertRaises(asyncio.CancelledError):
                await sup.create_connection(factory, *address)
            asyncio.current_task().uncancel()

    async def test_a_process_of_a_failing_factory_is_not_started(self):
        with mock.patch("subprocess.Popen") as popen:
            async with self.loop.create_supervisor() as sup:
                for start in sup.subprocess_exec, sup.subprocess_shell:
                    with self.assertRaises(Boom):
                        await start(self.failing, "true")
        popen.assert_not_called()

    async def test_a_connection_of_a_failing_server_factory_is_closed(self):
        contexts = []
        async with self.loop.create_supervisor(
                failure_handler=lambda context: not contexts.append(
                    context)) as sup:
            _, address = await self.serve(sup, self.failing)
            sock = self.client(address)
            self.assertEqual(
                await self.loop.run_in_executor(None, sock.recv, 1), b"")
        self.assertEqual([type(context["exception"]) for context in contexts],
                         [Boom])


class LosingTransport(asyncio.Transport):
    """One of a loop that forgets to call connection_lost()."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def is_closing(self):
        return bool(self.calls)

    def close(self):
        self.calls.append("close")

    def abort(self):
        self.calls.append("abort")


class LostLossTests(IOTestCase):

    def lose(self, fails=False, twice=False):
        """Patch the loop: its transports forget their end."""
        async def create_connection(factory, *args):
            protocol, transport = factory(), LosingTransport()
            self.transports.append(transport)
            protocol.connection_made(transport)
            if fails:
                raise ConnectionError
            if twice:
                self.loop.call_later(0, protocol.connection_lost, None)
                self.loop.call_later(0, protocol.connection_lost, None)
            return transport, protocol
        self.transports = []
        return mock.patch.object(self.loop, "create_connection",
                                 create_connection)

    async def test_the_end_of_an_aborted_transport_is_made_up(self):
        with self.lose():
            async with self.loop.create_supervisor() as sup:
                _, protocol = await sup.create_connection(Recorder)
                sup.cancel()
        self.assertEqual(protocol.calls, ["connection_made",
                                          "connection_lost"])
        self.assertEqual(self.transports[0].calls, ["abort"])

    async def test_so_is_that_of_a_call_that_failed(self):
        made = []
        with self.lose(fails=True):
            async with self.loop.create_supervisor() as sup:
                with self.assertRaises(ConnectionError):
                    await sup.create_connection(
                        lambda: made.append(Recorder()) or made[0])
                await made[0].lost
                self.assertEqual(sup.owned(), [])

    async def test_a_second_end_is_not_told(self):
        with self.lose(twice=True):
            async with self.loop.create_supervisor() as sup:
                _, protocol = await sup.create_connection(Recorder)
                await protocol.lost
                await asyncio.sleep(0)
        self.assertEqual(protocol.calls, ["connection_made",
                                          "connection_lost"])

    async def test_a_connection_that_comes_after_the_end_is_closed(self):
        async def create_server(factory, *args):
            self.late = factory()
            return mock.Mock()
        protocol, transport = Recorder(), LosingTransport()
        with mock.patch.object(self.loop, "create_server", create_server):
            async with self.loop.create_supervisor() as sup:
                await sup.create_server(lambda: protocol)
        self.late.connection_made(transport)
        self.assertEqual(transport.calls, ["abort"])
        self.late.connection_lost(None)
        self.assertEqual(protocol.calls, [])


class ServerTests(IOTestCase):

    async def test_a_server_is_served_by_one_task_only(self):
        async with self.loop.create_supervisor() as sup:
            server, _ = await self.serve(sup, Recorder, start_serving=False)
            self.assertFalse(server.is_serving())
            task = sup.create_task(server.serve_forever())
            await self.until(server.is_serving)
            with self.assertRaisesRegex(RuntimeError, "already"):
                await server.serve_forever()
            closed = sup.create_task(server.wait_closed())
            await asyncio.sleep(0)
            self.assertFalse(closed.done())
            server.close()
            await closed
            with self.assertRaises(asyncio.CancelledError):
                await task
            with self.assertRaisesRegex(RuntimeError, "is closed"):
                await server.start_serving()
            self.assertFalse(server.is_serving())

    async def test_a_task_that_serves_for_ever_closes_it_when_cancelled(self):
        async with self.loop.create_supervisor() as sup:
            server, _ = await self.serve(sup, Recorder)
            task = sup.create_task(server.serve_forever())
            await asyncio.sleep(0)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
            self.assertEqual(sup.owned(), [])


class StartTLSTests(IOTestCase):

    async def test_what_another_supervisor_owns_stays_its_own(self):
        server, client = io_suite.tls_contexts()
        async with (self.loop.create_supervisor(name="owner") as owner,
                    self.loop.create_supervisor() as sup):
            transport, peer = await self.peers(owner, Recorder())
            peer.setblocking(True)
            shaking = self.loop.run_in_executor(
                None, lambda: client.wrap_socket(
                    peer, server_hostname=io_suite.HOSTNAME))
            protocol = Recorder()
            over_tls = await sup.start_tls(transport, protocol, server,
                                           server_side=True)
            self.peers_files.callback((await shaking).close)
            self.assertEqual(owner.owned(), [over_tls])
            self.assertEqual(sup.owned(), [])
            self.assertIs(over_tls.get_protocol(), protocol)
        self.assertTrue(protocol.lost.done())

    async def test_a_refused_upgrade_changes_nothing(self):
        async with self.loop.create_supervisor() as sup:
            protocol = Recorder()
            transport, peer = await self.peers(sup, protocol)
            with self.assertRaises(TypeError):
                await sup.start_tls(transport, Recorder(), None)
            self.assertIs(transport.get_protocol(), protocol)
            peer.send(b"data")
            await protocol.has_data.wait()
            one, other = socket.socketpair()
            self.peers_files.callback(other.close)
            foreign, _ = await self.loop.connect_accepted_socket(Recorder,
                                                                 one)
            with self.assertRaises(TypeError):
                await sup.start_tls(foreign, Recorder(), None)
            self.assertEqual(sup.owned(), [transport])
            foreign.abort()

    async def test_a_failed_handshake_ends_the_transport(self):
        server, _ = io_suite.tls_contexts()
        async with self.loop.create_supervisor() as sup:
            transport, peer = await self.peers(sup, Recorder())
            peer.send(b"no record of TLS")
            protocol = Recorder()
            with self.assertRaises(OSError):
                await sup.start_tls(transport, protocol, server,
                                    server_side=True)
            await protocol.lost
            self.assertEqual(sup.owned(), [])

    async def test_one_that_is_lost_before_the_call_returns_is_not_owned(self):
        start_tls = self.loop.start_tls

        async def late(*args, **kwargs):
            made = await start_tls(*args, **kwargs)
            (await shaking).close()
            await protocol.lost
            return made
        server, client = io_suite.tls_contexts()
        async with self.loop.create_supervisor() as sup:
            transport, peer = await self.peers(sup, Recorder())
            peer.setblocking(True)
            shaking = self.loop.run_in_executor(
                None, lambda: client.wrap_socket(
                    peer, server_hostname=io_suite.HOSTNAME))
            protocol = Recorder()
            with mock.patch.object(self.loop, "start_tls", late):
                over_tls = await sup.start_tls(transport, protocol, server,
                                               server_side=True)
            self.assertIsNone(over_tls.get_protocol())
            self.assertEqual(sup.owned(), [])
        self.assertEqual(protocol.calls.count("connection_lost"), 1)


# Readers, writers and signal handlers of loops that tell nothing.

class RegistrationTests(IOTestCase):

    async def test_a_reader_that_the_loop_has_dropped_is_not_owned(self):
        one, other = socket.socketpair()
        with one, other:
            async with self.loop.create_supervisor() as sup:
                for kind in "reader", "writer":
                    add = getattr(sup, f"add_{kind}")
                    remove = getattr(self.loop, f"remove_{kind}")
                    add(one, int)
                    self.assertEqual(len(sup.owned()), 1)
                    remove(one)
                    self.assertEqual(sup.owned(), [])
                    add(one, int)
                    getattr(self.loop, f"add_{kind}")(one, int)
                    self.assertEqual(sup.owned(), [])
                    remove(one)

    def add(self, sup, callback, *args):
        """Add a signal handler as if the loop could not be asked for one."""
        sup._outer.replace_signal_handler(signal.SIGUSR1, callback, args)

    async def test_handlers_of_supervisors_are_put_back(self):
        got = []
        before = signal.getsignal(signal.SIGUSR1)
        self.addCleanup(signal.signal, signal.SIGUSR1, before)
        in_python = lambda *args: got.append("python")
        signal.signal(signal.SIGUSR1, in_python)

        async def raise_signal(expected):
            signal.raise_signal(signal.SIGUSR1)
            await self.until(lambda: got)
            self.assertEqual(got, [expected])
            got.clear()
        async with self.loop.create_supervisor() as outer:
            self.add(outer, got.append, "outer")
            async with self.loop.create_supervisor() as inner:
                self.add(inner, got.append, "first")
                self.add(inner, got.append, "second")
                await raise_signal("second")
                self.assertEqual(len(inner.owned()), 1)
            await raise_signal("outer")
            self.assertEqual(len(outer.owned()), 1)
        self.assertIs(signal.getsignal(signal.SIGUSR1), in_python)
        self.assertEqual(generic_supervisors._signal_handlers, {})

    async def test_one_that_is_removed_puts_back_what_was(self):
        before = signal.getsignal(signal.SIGUSR1)
        handlers = generic_supervisors._signal_handlers
        create = self.loop.create_supervisor
        async with create() as first, create() as second:
            for sup in first, second:
                self.add(sup, print)
            above, = handlers.values()
            self.assertTrue(first.remove_signal_handler(signal.SIGUSR1))
            # It was not the one that is called.
            self.assertEqual([*handlers.values()], [above])
            self.assertEqual(first.owned(), [])
            self.add(first, print)
            self.assertTrue(first.remove_signal_handler(signal.SIGUSR1))
            self.assertEqual([registration.handle
                              for registration in handlers.values()],
                             second.owned())
            self.assertTrue(second.remove_signal_handler(signal.SIGUSR1))
            self.assertIs(signal.getsignal(signal.SIGUSR1), before)
            self.assertFalse(second.remove_signal_handler(signal.SIGUSR1))
            # What is not the supervisor's is the loop's.
            self.add(second, print)
            self.loop.add_signal_handler(signal.SIGUSR1, print)
            self.assertTrue(second.remove_signal_handler(signal.SIGUSR1))
        self.assertIs(signal.getsignal(signal.SIGUSR1), before)
        self.assertEqual(handlers, {})

    async def test_one_whose_supervisor_has_ended_is_not_put_back(self):
        before = signal.getsignal(signal.SIGUSR1)
        outer = self.loop.create_supervisor()

        async def hold():
            async with outer:
                self.add(outer, print)
                await leave.wait()
        leave = asyncio.Event()
        task = asyncio.create_task(hold())
        await asyncio.sleep(0)
        async with self.loop.create_supervisor() as inner:
            self.add(inner, print)
            leave.set()
            await task
            self.assertEqual(len(inner.owned()), 1)
        self.assertIs(signal.getsignal(signal.SIGUSR1), before)
        self.assertEqual(generic_supervisors._signal_handlers, {})

    async def test_one_that_cannot_be_removed_does_nothing(self):
        got = []
        before = signal.getsignal(signal.SIGUSR1)
        with mock.patch.object(self.loop, "remove_signal_handler",
                               side_effect=AttributeError):
            async with self.loop.create_supervisor() as sup:
                self.add(sup, got.append, True)
        self.assertIs(signal.getsignal(signal.SIGUSR1), before)
        self.loop._handle_signal(signal.SIGUSR1)
        await asyncio.sleep(0)
        self.assertEqual(got, [])
        self.loop.remove_signal_handler(signal.SIGUSR1)


# Which loops have which.

class FakeProactor:
    """A proactor on which nothing is ever received."""

    def __init__(self):
        self.receiving = {}

    def set_loop(self, loop):
        self._loop = loop

    def select(self, timeout=None):
        return []

    def recv(self, sock, size):
        return self._loop.create_future()

    def recv_into(self, sock, buffer):
        future = self.receiving[sock] = self._loop.create_future()
        return future

    def _stop_serving(self, sock):
        pass

    def close(self):
        self._loop = None


class LoopTests(unittest.TestCase):

    def test_a_loop_with_slots_has_generic_ones(self):
        for factory, module in ((Loop, generic_supervisors),
                                (asyncio.SelectorEventLoop, supervisors)):
            loop = factory()
            self.addCleanup(loop.close)
            sup = loop.create_supervisor(name="x", failure_handler=print)
            self.assertIs(type(sup), module.Supervisor)
            self.assertEqual(repr(sup), "<Supervisor 'x' not entered>")
            self.assertIs(sup._failure_handler, print)

    def test_so_has_every_other_loop(self):
        loop = asyncio.AbstractEventLoop()
        self.assertIs(type(loop.create_supervisor()),
                      generic_supervisors.Supervisor)

    def test_one_of_a_proactor_owns_what_it_makes(self):
        async def main():
            loop = asyncio.get_running_loop()
            protocol = Recorder("data_received", Boom())
            ours, theirs = socket.socketpair()
            with theirs, self.assertRaises(ExceptionGroup):
                async with loop.create_supervisor() as sup:
                    self.assertIs(type(sup), generic_supervisors.Supervisor)
                    task = sup.create_task(asyncio.sleep(3600))
                    timer = sup.call_later(0, called.append, "timer")
                    sup.call_soon(called.append, "soon")
                    await sup.connect_accepted_socket(lambda: protocol, ours)
                    while len(called) < 2:
                        await asyncio.sleep(0)
                    with self.assertRaises(NotImplementedError):
                        sup.add_reader(theirs, print)
                    proactor.receiving[ours].set_result(4)
                    await asyncio.sleep(3600)
            self.assertTrue(task.cancelled())
            self.assertIsInstance(protocol.lost.result(), Boom)
            self.assertEqual(sup.owned(), [])
        called, proactor = [], FakeProactor()
        with mock.patch("signal.set_wakeup_fd"):
            loop = proactor_events.BaseProactorEventLoop(proactor)
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(main())
        self.assertEqual(called, ["soon", "timer"])

    def test_what_is_no_callback_is_refused_in_debug_mode(self):
        async def main():
            loop = asyncio.get_running_loop()
            async with loop.create_supervisor() as sup:
                for schedule in (sup.call_soon, sup.call_soon_threadsafe,
                                 lambda callback: sup.call_at(0, callback)):
                    with self.assertRaises(TypeError):
                        schedule(main)
                self.assertEqual(sup.owned(), [])
        asyncio.run(main(), debug=True)

    def test_callbacks_run_in_the_context_that_is_asked_for(self):
        async def main():
            loop = asyncio.get_running_loop()
            context = suite.contextvars.copy_context()
            context.run(variable.set, "asked for")
            variable.set("here")
            got = []
            async with loop.create_supervisor() as sup:
                for schedule in sup.call_soon, sup.call_soon_threadsafe:
                    schedule(lambda: got.append(variable.get()))
                    schedule(lambda: got.append(variable.get()),
                             context=context)
                sup.call_later(0, lambda: got.append(variable.get()),
                               context=context)
                while len(got) < 5:
                    await asyncio.sleep(0)
            self.assertEqual(got, ["here", "asked for"] * 2 + ["asked for"])
        variable = suite.contextvars.ContextVar("variable")
        asyncio.run(main())

    def test_nothing_is_kept_of_what_has_ended(self):
        async def main():
            loop = asyncio.get_running_loop()
            async with loop.create_supervisor() as sup:
                ours, theirs = socket.socketpair()
                with theirs:
                    protocol = Recorder()
                    transport, _ = await sup.connect_accepted_socket(
                        lambda: protocol, ours)
                    timer = sup.call_later(3600, print)
                    things = [weakref.ref(thing) for thing in (
                        transport, protocol, timer, transport._wrapper,
                        sup.call_soon(int))]
                    timer.cancel()
                    theirs.close()
                    await protocol.lost
                    await asyncio.sleep(0)
                del protocol, transport, timer, _
                return [ref() for ref in things]
        gc.disable()
        self.addCleanup(gc.enable)
        self.assertEqual(asyncio.run(main()), [None] * 5)


if __name__ == "__main__":
    unittest.main()
