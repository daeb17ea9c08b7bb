"""Support for asyncio's tests of TLS: a peer whose every byte the test decides."""

__all__ = ("GUARD", "TLSPeer", "TLSTestCase", "Recorder", "BufferedRecorder",
           "client_context", "server_context", "slow_tcp_pair", "for_each",
           "VERSIONS")

import asyncio
import contextlib
import functools
import inspect
import itertools
import socket
import ssl
import unittest
import weakref
from test.test_asyncio import utils as test_utils
from test.test_asyncio.loop_support import LeakCheckMixin

# How it works.  A test has an asyncio transport at one end of a socket pair,
# and a TLSPeer at the other.  The peer's layers are ssl objects on buffers in
# memory: its methods make or take bytes, and nothing is sent or received
# unless the test says so.  So a test can put any bytes into one segment, stop
# in the middle of a record, or leave out an answer.

# Seconds; far more than any wait here takes, against hanging.
GUARD = 10
RECV_SIZE = 256 * 1024
VERSIONS = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


def server_context(version=None):
    """A server's context with a certificate of the test suite's."""
    return _of_version(test_utils.simple_server_sslcontext(), version)


def client_context(version=None):
    """A client's context that trusts every server."""
    return _of_version(test_utils.simple_client_sslcontext(), version)


def _of_version(context, version):
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context


def for_each(**parameters):
    """Run a test with every combination of the parameters' values."""
    def decorate(test):
        @functools.wraps(test)
        async def run(self):
            for values in itertools.product(*parameters.values()):
                case = dict(zip(parameters, values))
                with self.subTest(**case):
                    async with asyncio.timeout(GUARD):
                        await test(self, **case)
        return run
    return decorate


class _Layer:
    """One layer of TLS between two buffers."""

    def __init__(self, context, server_side):
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self.incoming, self.outgoing, server_side=server_side,
            server_hostname=None if server_side else "localhost")


class TLSPeer:
    """The other end of a socket pair, with any number of layers of TLS.

    Layers are counted from the outermost, which is next to the socket.
    """

    def __init__(self, sock):
        sock.setblocking(False)
        self.sock = sock
        self.layers = []

    # Bytes as they are on the wire

    async def send(self, data):
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def recv(self):
        """Return what came; b'' at the end."""
        return await asyncio.get_running_loop().sock_recv(
            self.sock, RECV_SIZE)

    def shutdown(self):
        """Send FIN."""
        self.sock.shutdown(socket.SHUT_WR)

    # TLS, without sending anything

    def seal(self, data=b"", *, depth=None):
        """Return *data* as the outermost *depth* layers (all) put it on the wire."""
        for layer in reversed(self.layers[:depth]):
            if data:
                layer.tls.write(data)
            data = layer.outgoing.read()
        return data

    def close_notify(self, *, depth=None):
        """Return the close_notify of the layer at *depth* (the innermost)."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.layers[:depth][-1].tls.unwrap()
        return self.seal(depth=depth)

    def add_layer(self, context, *, server_side=False):
        """Put a layer inside of the others; return its first flight, if any."""
        self.layers.append(_Layer(context, server_side))
        with contextlib.suppress(ssl.SSLWantReadError):
            self.layers[-1].tls.do_handshake()
        return self.seal()

    def feed(self, data):
        """Take *data* for the innermost layer as received."""
        self.layers[-1].incoming.write(data)

    # TLS on the wire

    async def write(self, data):
        await self.send(self.seal(data))

    async def read(self):
        """Return what came in the innermost layer; b'' at its end."""
        return await self._read(len(self.layers))

    async def read_all(self):
        """Return all that comes in the innermost layer until its end."""
        data = bytearray()
        while chunk := await self.read():
            data += chunk
        return bytes(data)

    async def _read(self, depth):
        if not depth:
            return await self.recv()
        layer = self.layers[depth - 1]
        while True:
            try:
                return layer.tls.read(RECV_SIZE)
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLWantReadError:
                data = await self._read(depth - 1)
                if not data:
                    return b""
                layer.incoming.write(data)

    async def handshake(self):
        """Bring the innermost layer's handshake to its end."""
        layer = self.layers[-1]
        done = False
        while not done:
            try:
                layer.tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                pass
            await self.send(self.seal())
            if not done:
                data = await self._read(len(self.layers) - 1)
                if not data:
                    raise ConnectionResetError("closed in the handshake")
                layer.incoming.write(data)

    async def start_tls(self, context, *, server_side=False):
        """Put a layer inside of the others, and do its handshake."""
        await self.send(self.add_layer(context, server_side=server_side))
        await self.handshake()


class _Calls:
    """What a protocol was told, in order, but for the data."""

    def __init__(self):
        self.calls = []
        self.data = bytearray()
        self.transport = None
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.calls.append("made")
        self.transport = transport

    def pause_writing(self):
        self.calls.append("pause")

    def resume_writing(self):
        self.calls.append("resume")

    def eof_received(self):
        self.calls.append("eof")

    def connection_lost(self, exc):
        """Set the result of `lost`, which is an error if that happens twice."""
        self.calls.append("lost")
        self.lost.set_result(exc)


class Recorder(_Calls, asyncio.Protocol):
    """A protocol that keeps what it is told."""

    def data_received(self, data):
        self.data += data


class BufferedRecorder(_Calls, asyncio.BufferedProtocol):
    """A protocol that keeps what it is told, and offers one small buffer."""

    def __init__(self, buffer=None):
        super().__init__()
        self.buffer = bytearray(100) if buffer is None else buffer

    def get_buffer(self, sizehint):
        return self.buffer

    def buffer_updated(self, nbytes):
        self.data += self.buffer[:nbytes]


def slow_tcp_pair(host="127.0.0.1"):
    """Return two connected sockets; the second one receives little at a time."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        ours = socket.create_connection(listening.getsockname()[:2])
        theirs, _ = listening.accept()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 ** 18)
    return ours, theirs


def _abort(transport):
    # A weak reference, as some tests look for what is kept.
    transport = transport()
    if transport is not None:
        transport.abort()


class TLSTestCase(LeakCheckMixin, unittest.IsolatedAsyncioTestCase):
    """A test case that leaves nothing behind, and reports no error.

    A test that expects reports takes them by take_reports().
    """

    def setUp(self):
        super().setUp()
        self.reports = []
        loop = self._asyncioRunner.get_loop()
        loop.set_exception_handler(
            lambda loop, context: self.reports.append(context))
        # On a busy machine anything can be slow, and the debug mode logs it.
        loop.slow_callback_duration = float("inf")
        self.addCleanup(lambda: self.assertEqual(self.reports, []))

    def _callTestMethod(self, method):
        if not inspect.iscoroutinefunction(method):
            return super()._callTestMethod(method)

        @functools.wraps(method)
        async def bounded():
            async with asyncio.timeout(10 * GUARD):
                await method()

        super()._callTestMethod(bounded)

    def take_reports(self):
        """Return what the exception handler was told, and forget it."""
        reports = self.reports[:]
        self.reports.clear()
        return reports

    async def connect(self, factory=Recorder, *, sockets=socket.socketpair,
                      **options):
        """Return the transport of a protocol, and the peer at the other end."""
        ours, theirs = sockets()
        peer = TLSPeer(theirs)
        self.addCleanup(theirs.close)
        async with asyncio.timeout(GUARD):
            connecting = asyncio.create_task(
                asyncio.get_running_loop().create_connection(
                    factory, sock=ours, **options))
            if "ssl" in options:
                peer.add_layer(server_context(), server_side=True)
                await peer.handshake()
            transport, _ = await connecting
        self.addCleanup(_abort, weakref.ref(transport))
        return transport, peer

    async def connect_tls(self, factory=Recorder, *, version=None, **options):
        """The same, over TLS; the peer is the server."""
        return await self.connect(factory, ssl=client_context(version),
                                  server_hostname="localhost", **options)

    async def connect_streams(self, *, server_side=False, limit=2 ** 16):
        """Return a reader, a writer, and the peer at the other end."""
        reader = asyncio.StreamReader(limit)
        writers = []
        # The mark of a server's stream is its callback.
        protocol = asyncio.StreamReaderProtocol(
            reader,
            (lambda _, writer: writers.append(writer)) if server_side else None)
        transport, peer = await self.connect(lambda: protocol)
        [writer] = writers or [asyncio.StreamWriter(
            transport, protocol, reader, asyncio.get_running_loop())]
        self.addCleanup(lambda: writer.transport.abort())
        return reader, writer, peer

    @contextlib.asynccontextmanager
    async def doing(self, coroutine):
        """Do *coroutine* while the body runs; the body gets its task."""
        async with asyncio.timeout(GUARD):
            task = asyncio.create_task(coroutine)
            try:
                yield task
            finally:
                if not task.done():
                    await asyncio.wait([task])
