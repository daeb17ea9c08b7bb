"""Supervisors that end by what is rare: layers of TLS, exits of the program,
calls in flight, and loops that stop or are closed before."""

import asyncio
import contextlib
import signal
import socket
import ssl
import unittest
from unittest import mock

from test import support
from test.support import script_helper
from test.test_asyncio import loop_support
from test.test_asyncio import test_supervisor_io as supervisor_io
from test.test_asyncio import tls_support


def tearDownModule():
    asyncio.set_event_loop_policy(None)


Boom = supervisor_io.Boom
Recorder = supervisor_io.Recorder


# Over TLS that is over TLS

def fail_tls_in_tls(method, make=Recorder):
    async def fail(self, sup, exc):
        protocol = make(None, exc)
        transport, sock = await self.peers(sup, protocol)
        peer = tls_support.TLSPeer(sock)
        for _ in range(2):
            server = asyncio.create_task(
                peer.start_tls(tls_support.server_context(),
                               server_side=True))
            transport = await sup.start_tls(
                transport, protocol, tls_support.client_context(),
                server_hostname=supervisor_io.HOSTNAME)
            await server
        # The first layer may call get_buffer(), too.
        protocol.name = method
        await drive(self, method, protocol, transport, peer)
    return fail


async def drive(self, method, protocol, transport, peer):
    """Make the protocol of the inner layer get a call of that method."""
    if method in ("data_received", "get_buffer", "buffer_updated"):
        await peer.write(b"data")
    elif method == "eof_received":
        await peer.send(peer.close_notify())
    elif method == "connection_lost":
        transport.abort()
    elif method in ("pause_writing", "resume_writing"):
        while "pause_writing" not in protocol.calls:
            # A layer keeps what is written when those below are full.
            transport.write(bytes(1 << 20))
            await asyncio.sleep(0)
        while method not in protocol.calls:
            await peer.read()
    await self.forever()


class TLSInTLSTests(supervisor_io.FailureMatrixTests):

    WHAT = {
        **{method: fail_tls_in_tls(method) for method in (
            "data_received", "eof_received", "connection_lost",
            "pause_writing", "resume_writing")},
        **{f"buffered {method}":
           fail_tls_in_tls(method, supervisor_io.Buffered)
           for method in ("get_buffer", "buffer_updated")},
    }
    SAYS_NOTHING = {"eof_received"}


class HandshakeTests(supervisor_io.IOTestCase):
    """What OpenSSL calls, whose errors are the ssl module's to report."""

    async def check(self, sup, server, client):
        """The handshake fails, and nothing else; return the error."""
        protocols = []

        def factory():
            protocols.append(Recorder())
            return protocols[-1]
        with support.catch_unraisable_exception() as caught:
            _, address = await self.serve(sup, factory, ssl=server)
            with self.assertRaises(OSError):
                await sup.create_connection(
                    Recorder, *address, ssl=client,
                    server_hostname=supervisor_io.HOSTNAME)
            await self.until(lambda: len(sup.owned()) == 1)
            # As it was never connected.
            self.assertEqual([protocol.calls for protocol in protocols],
                             [[]])
            return caught.unraisable.exc_value

    # Each has *call* called by the context of its side.

    def server_name(server, client, call):
        server.sni_callback = call

    def key_of_the_server(server, client, call):
        without_certificates(server, client)
        server.set_psk_server_callback(call, "hint")
        client.set_psk_client_callback(lambda hint: ("identity", b"key"))

    def key_of_the_client(server, client, call):
        without_certificates(server, client)
        server.set_psk_server_callback(lambda identity: b"key", "hint")
        client.set_psk_client_callback(call)

    WHAT = {"sni_callback": server_name,
            "set_servername_callback": server_name,
            "set_psk_server_callback": key_of_the_server,
            "set_psk_client_callback": key_of_the_client}

    async def test_errors_of_its_callbacks_fail_nothing(self):
        def call(*args):
            raise error
        for what, install in self.WHAT.items():
            with self.subTest(what=what), self.leaves_nothing():
                error = Boom()
                server, client = supervisor_io.tls_contexts()
                try:
                    install(server, client, call)
                except NotImplementedError:
                    continue  # Without pre-shared keys.
                async with self.loop.create_supervisor() as sup:
                    told = await self.within(self.check(sup, server, client))
                    self.assertIs(told, error)
                server = client = sup = told = error = None
        self.assertEqual(self.unhandled, [])

    def test_it_has_no_other_callbacks(self):
        # So nobody chooses a protocol of ALPN in Python.
        self.assertEqual({name for name in dir(ssl.SSLContext)
                          if "callback" in name and name[0] != "_"},
                         set(self.WHAT))


def without_certificates(server, client):
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    for context in server, client:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("PSK")


# Exits

class ExitTests(loop_support.LeakCheckMixin, unittest.TestCase):
    """KeyboardInterrupt and SystemExit of whatever can fail."""

    # What the matrix uses of a test case.
    forever = supervisor_io.IOTestCase.forever
    serve = supervisor_io.IOTestCase.serve
    client = supervisor_io.IOTestCase.client
    peers = supervisor_io.IOTestCase.peers
    until = supervisor_io.IOTestCase.until
    real = supervisor_io.IOTestCase.real
    fail_callback = supervisor_io.FailureMatrixTests.fail_callback
    WHAT = {**supervisor_io.FailureMatrixTests.WHAT,
            **{f"TLS in TLS {what}": fail
               for what, fail in TLSInTLSTests.WHAT.items()}}
    # They leave the loop in the middle of writing: it still waits for a socket
    # that has nothing to send.
    NOT_CLEAN = {"resume_writing", "TLS resume_writing",
                 "TLS in TLS resume_writing"}

    async def supervise(self, what, exc):
        self.loop = asyncio.get_running_loop()
        async with asyncio.timeout(supervisor_io.TIME_LIMIT):
            async with self.loop.create_supervisor() as self.sup:
                self.lost = (await self.peers(self.sup, Recorder()))[0]
                self.child = self.sup.create_task(self.clean_up())
                await asyncio.sleep(0)
                await self.WHAT[what](self, self.sup, exc)

    async def clean_up(self):
        try:
            await self.forever()
        finally:
            await asyncio.sleep(0.001)
            self.cleaned_up = True

    def check(self, what, exc):
        def note_once(protocol, name):
            # A second one cuts the teardown short, as a second ctrl-C does.
            protocol.calls.append(name)
            if name == protocol.name:
                protocol.name = None
                raise exc
        self.cleaned_up = False
        with (contextlib.ExitStack() as self.peers_files,
              mock.patch.object(Recorder, "note", note_once)):
            with self.assertRaises(type(exc)) as caught:
                with asyncio.Runner() as runner:
                    runner.get_loop().set_exception_handler(
                        lambda loop, context: self.unhandled.append(context))
                    runner.run(self.supervise(what, exc))
        self.assertIs(caught.exception, exc)
        self.assertTrue(self.cleaned_up)
        self.assertEqual(self.sup.owned(), [])
        self.assertIsNone(self.lost.get_protocol())
        self.assertEqual(self.unhandled, [])

    def test_each_exit_of_each_callback(self):
        for what in [what for what in self.WHAT if what not in self.NOT_CLEAN]:
            for how in KeyboardInterrupt, SystemExit:
                with self.subTest(what=what, how=how.__name__):
                    self.unhandled = []
                    self.check(what, how())


class CallsInFlightTests(supervisor_io.IOTestCase):
    """A connection that is being made when the supervisor ends."""

    @contextlib.contextmanager
    def resolving(self):
        def never(*args, **kwargs):
            self.reached.set()
            return future
        future = self.loop.create_future()
        with mock.patch.object(self.loop, "getaddrinfo", never):
            yield "example.invalid", 80

    @contextlib.contextmanager
    def connecting(self):
        async def never(sock, address):
            self.reached.set()
            await self.forever()
        with mock.patch.object(self.loop, "sock_connect", never):
            yield "127.0.0.1", 80

    @contextlib.contextmanager
    def shaking_hands(self):
        with socket.create_server(("127.0.0.1", 0)) as sock:
            # Who connects is not accepted, but can send.
            self.loop.add_reader(sock, self.reached.set)
            yield sock.getsockname()
            self.loop.remove_reader(sock)

    async def connect(self, sup, address):
        try:
            await sup.create_connection(
                Recorder, *address, ssl=tls_support.client_context(),
                server_hostname=supervisor_io.HOSTNAME)
        except BaseException as exc:
            self.told.append(exc)
            raise

    async def host(self, sup, address, end):
        """The body connects, and something else ends it."""
        self.waiting = sup.create_task(self.end_when_reached(sup, end))
        await self.connect(sup, address)

    async def end_when_reached(self, sup, end):
        await self.reached.wait()
        if self.stage == "shaking_hands":
            await self.until(lambda: any(
                isinstance(thing, asyncio.Transport) for thing in sup.owned()))
        if end == "fails":
            raise Boom
        if end == "is cancelled":
            sup.cancel()

    async def owned(self, sup, address, end):
        sup.create_task(self.connect(sup, address))
        await self.end_when_reached(sup, end)
        await self.forever()

    async def foreign(self, sup, address, end):
        self.waiting = self.loop.create_task(self.connect(sup, address))
        await self.end_when_reached(sup, end)

    STAGES = "resolving", "connecting", "shaking_hands"
    # What the task that connects is told.
    WHO = {"host": asyncio.CancelledError, "owned": asyncio.CancelledError,
           "foreign": RuntimeError}

    async def check(self, stage, who, end):
        self.stage, self.told, self.reached = stage, [], asyncio.Event()
        self.waiting = None
        with self.leaves_nothing():
            with getattr(self, stage)() as address:
                errors = []
                try:
                    async with self.loop.create_supervisor() as sup:
                        await getattr(self, who)(sup, address, end)
                except* Boom as group:
                    errors = [type(exc) for exc in group.exceptions]
                self.assertEqual(errors, [Boom] if end == "fails" else [])
                if self.waiting is not None:
                    await asyncio.wait([self.waiting])
                    self.waiting.cancelled() or self.waiting.exception()
                self.assertEqual(len(self.told), 1)
                self.assertIsInstance(self.told.pop(), self.WHO[who])
                self.assert_nothing_owned(sup)
                self.waiting = None
                await asyncio.sleep(0)

    async def test_every_stage_in_every_task(self):
        for stage in self.STAGES:
            for who in self.WHO:
                # A normal end awaits the others.
                for end in ("fails", "is cancelled",
                            *["ends"] * (who == "foreign")):
                    with self.subTest(stage=stage, who=who, end=end):
                        await self.within(self.check(stage, who, end))
        self.assertEqual(self.unhandled, [])


# A program with something of each kind that needs no peer.
PROGRAM = """\
import asyncio, gc, signal, sys

async def clean_up():
    try:
        await asyncio.sleep(3600)
    finally:
        {last}
        print("cleaned up")

async def main():
    loop = asyncio.get_running_loop()
    async with loop.create_supervisor() as sup:
        server = await sup.create_server(asyncio.Protocol, "127.0.0.1", 0)
        await sup.create_connection(
            asyncio.Protocol, *server.sockets[0].getsockname())
        sup.create_task(clean_up())
        sup.call_later(3600, print)
        kept = sup.create_future()
        kept.add_done_callback(id)
        await sup.run_in_executor(None, int)
        await asyncio.sleep(0)  # A job may be done at once.
        {first}
        print("ready", flush=True)
        await asyncio.sleep(3600)

"""
OPEN_AT_THE_END = PROGRAM.format(first="loop.stop()", last="pass") + """\
loop = asyncio.new_event_loop()
task = loop.create_task(main())
loop.run_forever()
"""


@support.requires_subprocess()
class ProgramTests(unittest.TestCase):

    def assert_only_told_of_tasks(self, output):
        # As without supervisors; what is destroyed can close nothing.
        self.assertNotIn(b"Traceback", output.err)
        self.assertNotIn(b"supervisor", output.err)
        if support.Py_GIL_DISABLED:
            # A loop that had an executor is not destroyed there.
            self.assertEqual(output.out.splitlines()[:1], [b"ready"])
            return
        self.assertEqual(output.out.splitlines(), [b"ready", b"cleaned up"])
        self.assertIn(b"Task was destroyed but it is pending!", output.err)

    def test_a_program_that_ends_with_an_open_one(self):
        self.assert_only_told_of_tasks(
            script_helper.assert_python_ok("-c", OPEN_AT_THE_END))

    def test_a_loop_that_is_closed_with_an_open_one(self):
        self.assert_only_told_of_tasks(script_helper.assert_python_ok(
            "-c", OPEN_AT_THE_END + "loop.close(); del task; gc.collect()"))

    def test_an_exit_with_an_open_one(self):
        output = script_helper.assert_python_failure(
            "-c", OPEN_AT_THE_END + "sys.exit(3)")
        self.assertEqual(output.rc, 3)
        self.assert_only_told_of_tasks(output)

    def signalled(self, signum, first="pass"):
        """Run a program until it is ready, and send it a signal."""
        code = PROGRAM.format(first=first, last="await asyncio.sleep(0.001)")
        code += "asyncio.run(main())"
        process = script_helper.spawn_python(
            "-c", code, stderr=script_helper.subprocess.PIPE)
        with process:
            self.assertEqual(process.stdout.readline().strip(), b"ready")
            process.send_signal(signum)
            out, err = process.communicate(timeout=supervisor_io.TIME_LIMIT)
        return process.returncode, out.strip(), err

    def test_an_interrupt_from_the_keyboard(self):
        status, out, err = self.signalled(signal.SIGINT)
        self.assertEqual((status, out), (-signal.SIGINT, b"cleaned up"))
        self.assertTrue(err.strip().endswith(b"KeyboardInterrupt"), err)
        self.assertNotIn(b"Warning", err)

    def test_a_handler_of_sigterm(self):
        status, out, err = self.signalled(
            signal.SIGTERM,
            first="sup.add_signal_handler(signal.SIGTERM, sup.cancel)")
        self.assertEqual((status, out, err), (0, b"cleaned up", b""))


if __name__ == "__main__":
    unittest.main()
