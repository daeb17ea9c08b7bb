"""Support for asyncio's tests of TLS over TLS: ends of a connection, by API."""

__all__ = ("APIS", "TLS_1_2", "TLS_1_3", "Gauge", "LayersTestCase",
           "add_tests", "close_in_order", "losses_of_layers", "outcome",
           "pairwise", "passes", "socket_pair", "upgrade")

import asyncio
import contextlib
import functools
import gc
import itertools
import socket
import ssl
import warnings
import weakref
from asyncio import sslproto
from unittest import mock

from test.test_asyncio import tls_support

# How it works.  An End is one end of a connection, with the same operations
# whether the program at that end uses streams, a Protocol or a
# BufferedProtocol.  Its transports are in a list: that of the socket first,
# then one for each layer of TLS, the innermost last.  What the end's protocol
# is told is kept in the end's Record, to which the protocol has a weak
# reference: an exception that connection_lost() got refers to the protocol by
# its traceback.
#
# A LayersTestCase has weak references to all protocols, transports and layers,
# and asserts after each test that they are dead.  As the garbage collector is
# off meanwhile, a cycle of references keeps them alive, and the test fails.

TLS_1_2 = ssl.TLSVersion.TLSv1_2
TLS_1_3 = ssl.TLSVersion.TLSv1_3


class Record:
    """What a protocol was told, in order, but for the data."""

    def __init__(self):
        self.calls = []
        # The argument of connection_lost(): a second call is an error.
        self.lost = asyncio.get_running_loop().create_future()

    def flow_control(self):
        return [call for call in self.calls if call in ("pause", "resume")]


class _Recording:
    """Goes before a protocol's class among the bases."""

    def connection_made(self, transport):
        self.record.calls.append("made")
        super().connection_made(transport)

    def pause_writing(self):
        self.record.calls.append("pause")
        super().pause_writing()

    def resume_writing(self):
        self.record.calls.append("resume")
        super().resume_writing()

    def eof_received(self):
        self.record.calls.append("eof")
        return super().eof_received()

    def connection_lost(self, exc):
        self.record.calls.append("lost")
        self.record.lost.set_result(exc)
        super().connection_lost(exc)


class _Flow:
    """What a protocol needs for reading and writing with flow control."""

    # Bytes that may wait for read() before reading is paused.
    limit = 2 ** 16

    def __init__(self, record):
        self.record = weakref.proxy(record)
        self.transport = None
        self.data = bytearray()
        self.ended = False
        self._writing_paused = False
        self._waiters = []

    def connection_made(self, transport):
        self.transport = transport

    def pause_writing(self):
        self._writing_paused = True

    def resume_writing(self):
        self._writing_paused = False
        self._wake()

    def eof_received(self):
        self.ended = True
        self._wake()

    def connection_lost(self, exc):
        self.ended = True
        self._writing_paused = False
        self._wake()

    def take(self, data):
        self.data += data
        if len(self.data) > self.limit:
            self.transport.pause_reading()
        self._wake()

    async def read(self, size):
        while not self.data and not self.ended:
            await self._change()
        data = bytes(self.data[:size])
        del self.data[:size]
        if len(self.data) <= self.limit:
            self.transport.resume_reading()
        return data

    async def drain(self):
        while self._writing_paused:
            await self._change()

    def _wake(self):
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    async def _change(self):
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter


class _Protocol(_Recording, _Flow, asyncio.Protocol):

    def data_received(self, data):
        self.take(data)


class _BufferedProtocol(_Recording, _Flow, asyncio.BufferedProtocol):

    def __init__(self, record):
        super().__init__(record)
        # Smaller than a record, and no memoryview: so an offset matters.
        self._buffer = bytearray(5000)

    def get_buffer(self, sizehint):
        return self._buffer

    def buffer_updated(self, nbytes):
        self.take(self._buffer[:nbytes])


class _StreamProtocol(_Recording, asyncio.StreamReaderProtocol):

    def __init__(self, record, *args):
        super().__init__(*args)
        self.record = weakref.proxy(record)


class _End:
    """One end of a connection."""

    def __init__(self, *, accepted, watch):
        self.accepted = accepted
        self._watch = watch
        self.record = Record()
        self.protocol = self._make_protocol()
        self.transports = []

    @property
    def transport(self):
        return self.transports[-1]

    async def connect(self, sock):
        loop = asyncio.get_running_loop()
        if self.accepted:
            connecting = loop.connect_accepted_socket(self._factory, sock)
        else:
            connecting = loop.create_connection(self._factory, sock=sock)
        transport, _ = await connecting
        self._take(transport)

    def _factory(self):
        return self.protocol

    def _take(self, transport):
        if transport is None:
            raise ConnectionResetError("closed during start_tls()")
        self._watch(transport)
        self.transports.append(transport)


class _ProtocolEnd(_End):

    def _make_protocol(self):
        return self.protocol_class(self.record)

    def _take(self, transport):
        super()._take(transport)
        self.protocol.transport = transport

    async def start_tls(self, context, *, server_side, **options):
        try:
            self._take(await asyncio.get_running_loop().start_tls(
                self.transport, self.protocol, context,
                server_side=server_side, **options))
        finally:
            # Not to be part of a cycle: record, exception, this frame.
            del self

    def write(self, data):
        self.transport.write(data)

    async def drain(self):
        await self.protocol.drain()

    async def read(self, size):
        return await self.protocol.read(size)

    async def close(self):
        self.transport.close()
        return await asyncio.shield(self.record.lost)


class ProtocolEnd(_ProtocolEnd):
    protocol_class = _Protocol


class BufferedProtocolEnd(_ProtocolEnd):
    protocol_class = _BufferedProtocol


class StreamsEnd(_End):

    def _make_protocol(self):
        self.reader = asyncio.StreamReader()
        self.writer = None
        # The mark of a server's stream is its callback.  It keeps nothing.
        self._writers = writers = []
        return _StreamProtocol(
            self.record, self.reader,
            (lambda _, writer: writers.append(writer)) if self.accepted
            else None)

    def _take(self, transport):
        super()._take(transport)
        if self.writer is None:
            self.writer = self._writers.pop() if self.accepted else (
                asyncio.StreamWriter(transport, self.protocol, self.reader,
                                     asyncio.get_running_loop()))

    async def start_tls(self, context, *, server_side, **options):
        if server_side != self.accepted:
            options["server_side"] = server_side
        await self.writer.start_tls(context, **options)
        self._take(self.writer.transport)

    def write(self, data):
        self.writer.write(data)

    async def drain(self):
        await self.writer.drain()

    async def read(self, size):
        return await self.reader.read(size)

    async def close(self):
        self.writer.close()
        with contextlib.suppress(Exception):
            await self.writer.wait_closed()
        return self.record.lost.result()


APIS = {"streams": StreamsEnd, "protocol": ProtocolEnd,
        "buffered protocol": BufferedProtocolEnd}


class LayersTestCase(tls_support.TLSTestCase):
    """A test case after which no protocol, transport or layer is alive.

    Nor may there have been a ResourceWarning.
    """

    # Seconds, against hanging.
    guard = tls_support.GUARD
    # Set by the test when nothing went wrong.
    passed = False

    def setUp(self):
        self.addCleanup(gc.enable)
        gc.disable()
        self._warnings = self.enterContext(
            warnings.catch_warnings(record=True, action="always"))
        self._watched = []
        self._records_of_streams = []
        # Cleanups run in reverse order: the loop is emptied first.
        self.addCleanup(self._check_references)
        super().setUp()
        # IsolatedAsyncioTestCase turns debug mode on, which is slow.
        self._asyncioRunner.get_loop().set_debug(False)
        self.enterContext(_spy("__init__", self.watch))

    def _check_references(self):
        if not self.passed:
            # The traceback holds whatever it likes.
            return
        if self._streams_failed():
            # A stream keeps the exception that it raises, whose traceback
            # refers to the stream.  All is in the youngest generation.
            gc.collect(0)
        alive = [type(thing).__name__ for reference in self._watched
                 if (thing := reference()) is not None]
        self.assertEqual(alive, [], "alive after the test")
        self.assertEqual([str(warning.message) for warning in self._warnings],
                         [], "warnings")

    def _streams_failed(self):
        records, self._records_of_streams = self._records_of_streams, None
        return any(record.lost.done() and record.lost.result() is not None
                   for record in records)

    def forget_warnings(self, *due):
        """Take those ResourceWarnings out which say one of *due*."""
        self._warnings[:] = [
            warning for warning in self._warnings
            if not any(words in str(warning.message) for words in due)]

    def watch(self, thing, *ignored):
        """Assert at the end of the test that *thing* is dead."""
        self._watched.append(weakref.ref(thing))

    def make_end(self, api, **options):
        end = APIS[api](watch=self.watch, **options)
        self.watch(end.protocol)
        if api == "streams":
            self._records_of_streams.append(end.record)
        return end

    async def connect_ends(self, apis, *, tcp=True):
        """Return a client's end and a server's, by the names of their APIs."""
        ends = [self.make_end(api, accepted=accepted)
                for api, accepted in zip(apis, (False, True), strict=True)]
        async with asyncio.TaskGroup() as group:
            for end, sock in zip(ends, socket_pair(tcp=tcp)):
                group.create_task(end.connect(sock))
        return ends

    async def connect_peer(self, api, *, accepted=False, tcp=True):
        """Return an end, and the TLSPeer at the other one.

        There is little room between them: what the peer does not read soon
        stays in the end's buffers.
        """
        ours, theirs = socket_pair(tcp=tcp)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 ** 14)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2 ** 14)
        self.addCleanup(theirs.close)
        end = self.make_end(api, accepted=accepted)
        await end.connect(ours)
        return end, tls_support.TLSPeer(theirs)

    def check_flow_control(self, end):
        """Assert that pause_writing() and resume_writing() took turns."""
        told = end.record.flow_control()
        self.assertEqual(
            told, ["pause", "resume"] * (len(told) // 2) + told[:len(told) % 2])


def socket_pair(*, tcp):
    if not tcp:
        return socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        return client, server.accept()[0]


async def upgrade(ends, *, contexts=None, version=None, client=0, **options):
    """Put a layer of TLS around what the two *ends* send.

    The end number *client* is TLS's client.  *contexts* are the client's and
    the server's; *options* go to the client's start_tls().
    """
    contexts = contexts or (tls_support.client_context(version),
                            tls_support.server_context(version))
    options.setdefault("server_hostname", "localhost")
    async with asyncio.TaskGroup() as group:
        group.create_task(ends[client].start_tls(
            contexts[0], server_side=False, **options))
        group.create_task(ends[1 - client].start_tls(
            contexts[1], server_side=True))


async def outcome(awaitable):
    """Return the exception that *awaitable* ends with, or None.

    A frame that keeps the exception it has caught itself would be a cycle.
    """
    [result] = await asyncio.gather(awaitable, return_exceptions=True)
    return result if isinstance(result, BaseException) else None


async def passes(number):
    """Let the loop go round *number* times."""
    for _ in range(number):
        await asyncio.sleep(0)


async def close_in_order(first, second):
    """Close one end, then the other; return what each was told."""
    told = await first.close()
    return told, await asyncio.shield(second.record.lost)


@contextlib.contextmanager
def losses_of_layers():
    """Yield a list of what each layer's connection_lost() gets, in order."""
    losses = []
    with _spy("connection_lost", lambda layer, exc: losses.append(exc)):
        yield losses


def _spy(name, tell):
    """Patch SSLProtocol's method to *tell* of its arguments before it runs."""
    method = getattr(sslproto.SSLProtocol, name)

    @functools.wraps(method)
    def spy(layer, *args, **kwargs):
        tell(layer, *args)
        return method(layer, *args, **kwargs)

    return mock.patch.object(sslproto.SSLProtocol, name, spy)


class Gauge:
    """The most that the buffers of each layer of an end have held."""

    def __init__(self, end, chunk):
        self._end = end
        # The largest piece that the end writes at once.
        self._chunk = chunk
        self.written = [0] * len(end.transports)
        self.read = [0] * len(end.transports)

    def measure(self):
        for number, transport in enumerate(self._end.transports):
            self.written[number] = max(
                self.written[number], transport.get_write_buffer_size())
            if number:
                self.read[number] = max(
                    self.read[number], transport.get_read_buffer_size())

    # A layer that has been told to pause takes one more piece at most: what
    # the layer inside of it had encrypted until it was told, too.
    def write_bounds(self):
        bounds = []
        piece = self._chunk
        for transport in reversed(self._end.transports):
            low, high = transport.get_write_buffer_limits()
            piece = high + _encrypted(piece)
            bounds.append(piece)
        return bounds[::-1]

    # And one that has told the next to pause has got one more of its buffers.
    def read_bounds(self):
        return [0] + [transport.get_read_buffer_limits()[1]
                      + sslproto.SSLProtocol.max_size
                      for transport in self._end.transports[1:]]


def _encrypted(size):
    """The most that *size* bytes written at once become in a layer of TLS."""
    record, overhead = 2 ** 14, 64
    return size + (size // record + 1) * overhead


def pairwise(**values):
    """Return rows in which each two values of different names meet."""
    names = list(values)
    rows = [dict(zip(names, row)) for row in itertools.product(*values.values())]
    pairs = {index: set(itertools.combinations(row.items(), 2))
             for index, row in enumerate(rows)}
    missing = set().union(*pairs.values())
    found = []
    while missing:
        best = max(pairs, key=lambda index: len(pairs[index] & missing))
        missing -= pairs.pop(best)
        found.append(rows[best])
    return found


def add_tests(check, rows):
    """A class decorator: a test for each row, a sentence and what *check* gets."""
    def decorate(case):
        for sentence, row in rows:
            name = "test_" + sentence.replace(" ", "_").replace(".", "_")
            assert not hasattr(case, name), name
            setattr(case, name, _test(check, row))
        return case
    return decorate


def _test(check, row):
    async def test(self):
        async with asyncio.timeout(self.guard):
            await getattr(self, check)(**row)
        self.passed = True
    return test
