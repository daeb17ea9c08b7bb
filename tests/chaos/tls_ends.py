"""The ends of the connections that the fuzzer of TLS makes."""

import asyncio
import inspect
import os
import random
import ssl
import traceback

import test

from tls_scenarios import INTERRUPTIONS, OTHER

__all__ = ("ENDS", "passes", "tell")


# --- Contexts ----------------------------------------------------------------

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_KEY = b"k" * 32


def _make_context(server_side, version, keys):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server_side
                             else ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = _VERSIONS[version]
    if keys == "psk":
        _use_shared_key(context, server_side, version)
    elif server_side:
        context.load_cert_chain(os.path.join(
            os.path.dirname(test.__file__), "certdata", "keycertecc.pem"))
    return context


def _use_shared_key(context, server_side, version):
    # A handshake without signatures takes a sixth of the time.
    if version == "1.2":
        context.set_ciphers("PSK")
    if server_side:
        context.set_psk_server_callback(lambda identity: _KEY)
    else:
        context.set_psk_client_callback(lambda hint: ("chaos", _KEY))


_contexts = {}


def context_for(layer, server_side):
    key = server_side, layer.version, layer.keys
    if key not in _contexts:
        _contexts[key] = _make_context(*key)
    return _contexts[key]


# --- Protocols ---------------------------------------------------------------

class _Watched:
    """Holds the calls that a protocol gets against the rules."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.loop = asyncio.get_running_loop()
        self.problems = []
        self.made = self.eofs = 0
        self.writing_paused = False
        self.lost = self.loop.create_future()
        # Wakes whoever waits for data or for room to write.
        self.news = asyncio.Event()

    def _rule(self, kept, broken):
        if not kept:
            self.problems.append(f"callback: {broken}")

    def _called(self, what):
        self._rule(self.made, f"{what} before connection_made")
        self._rule(not self.lost.done(), f"{what} after connection_lost")
        self.news.set()

    def connection_made(self, transport):
        self._rule(not self.made, "connection_made twice")
        self.made += 1
        super().connection_made(transport)

    def connection_lost(self, error):
        self._called("connection_lost")
        self._rule(error is None or isinstance(error, OSError),
                   f"connection_lost({error!r})")
        if not self.lost.done():
            self.lost.set_result(error and type(error).__name__)
        super().connection_lost(error)

    def received(self):
        self._called("data")
        self._rule(not self.eofs, "data after eof_received")

    def eof_received(self):
        self._called("eof_received")
        self._rule(not self.eofs, "eof_received twice")
        self.eofs += 1
        return super().eof_received()

    def pause_writing(self):
        self._called("pause_writing")
        self._rule(not self.writing_paused, "pause_writing twice")
        self.writing_paused = True
        super().pause_writing()

    def resume_writing(self):
        self._called("resume_writing")
        self._rule(self.writing_paused, "resume_writing without a pause")
        self.writing_paused = False
        super().resume_writing()


class _StreamsProtocol(_Watched, asyncio.StreamReaderProtocol):
    def data_received(self, data):
        self.received()
        super().data_received(data)


class _Collecting(_Watched):
    """Collects data, and pauses reading as it is told to."""

    def __init__(self, end):
        super().__init__()
        self.data = bytearray()
        # Called with each piece of data that came.
        self.on_data = lambda: None

    def collect(self, data):
        self.received()
        self.data += data
        self.on_data()

    @property
    def at_end(self):
        return bool(self.eofs) or self.lost.done()


class _PlainProtocol(_Collecting, asyncio.Protocol):
    def data_received(self, data):
        self.collect(data)


class _BufferedProtocol(_Collecting, asyncio.BufferedProtocol):
    def __init__(self, end):
        super().__init__(end)
        self.buffer = bytearray(end.plan.buffer_size)
        if end.plan.buffer == "memoryview":
            self.buffer = memoryview(self.buffer)

    def get_buffer(self, sizehint):
        return self.buffer

    def buffer_updated(self, count):
        self._rule(0 < count <= len(self.buffer), f"buffer_updated({count})")
        data = bytes(self.buffer[:count])
        # Whatever is not written again must not be seen again.
        self.buffer[:count] = bytes(count)
        self.collect(data)


# --- Ends --------------------------------------------------------------------

class Gone(Exception):
    """The peer ended before the preamble was complete."""


class Interrupted(Exception):
    """An upgrade was interrupted, as the scenario has it."""


class End:
    """One end; what depends on its API is in the subclasses."""

    def __init__(self, name, scenario, stream, expected):
        self.name, self.scenario = name, scenario
        self.plan = scenario.ends[name]
        self.rng = random.Random(f"{scenario.seed} end {name}")
        self.loop = asyncio.get_running_loop()
        # What it sends over all layers, and what it should get.
        self.stream, self.expected = stream, expected
        self.got = bytearray()
        self.transport = None
        self.protocol = None
        # What went wrong against the rules; its names of errors.
        self.problems = []
        self.errors = []
        # It closed or aborted; its upgrade was interrupted.
        self.closed_itself = self.interrupted = False

    # Connecting and upgrading

    async def connect(self, sock):
        layer = self.scenario.layers[0]
        if layer.start != "direct":
            await self._connect(sock)
        elif self._troubled_at(0):
            await self._interrupt(self._connect(sock, layer))
        else:
            await self._connect(sock, layer)

    async def _connect(self, sock, layer=None):
        options = {}
        if layer:
            server_side = layer.client != self.name
            options.update(self._timeouts(),
                           ssl=context_for(layer, server_side))
        if layer and not server_side:
            options["server_hostname"] = "localhost"
        call = (self.loop.connect_accepted_socket
                if layer and server_side else self.loop.create_connection)
        self.transport, _ = await call(
            self._make_protocol, sock=sock, **options)

    def _timeouts(self):
        return {"ssl_handshake_timeout": self.plan.handshake_timeout,
                "ssl_shutdown_timeout": self.plan.shutdown_timeout}

    def _troubled_at(self, number):
        trouble = self.scenario.trouble
        return (trouble.kind in INTERRUPTIONS and trouble.end == self.name
                and trouble.layer == number)

    async def upgrade(self, number):
        layer = self.scenario.layers[number]
        await self._exchange_lines(layer)
        upgrade = self._start_tls(layer, layer.client != self.name)
        if self._troubled_at(number):
            await self._interrupt(upgrade)
        else:
            await upgrade

    async def _exchange_lines(self, layer):
        if layer.start == "bare":
            return
        ask = (self._send_preamble, self._read_preamble)
        steps = ask if self.name == layer.client else ask[::-1]
        if layer.start == "pipelined":
            steps = steps[:1]
        for step in steps:
            await step(layer)

    async def _send_preamble(self, layer):
        # Not drained: start_tls() has to cope with that.
        self.transport.write(layer.line(self.name))
        self.transport.write(b"." * layer.preambles[self.name])

    async def _read_preamble(self, layer):
        wanted = layer.line(OTHER[self.name])
        wanted += b"." * layer.preambles[OTHER[self.name]]
        found = await self._read_exactly(len(wanted))
        if found != wanted:
            self.problems.append(f"wrong bytes: {found[:60]!r} in clear")

    async def _interrupt(self, upgrade):
        """Do *upgrade*, and cancel it or close its transport meanwhile."""
        trouble = self.scenario.trouble
        task = self.loop.create_task(upgrade)
        # Taken now: the upgrade itself replaces it.
        transport = self.transport
        await passes(trouble.passes)
        if not task.done():
            self.interrupted = True
            {"cancel": task.cancel, "close": transport and transport.close,
             "abort": transport and transport.abort}[trouble.kind]()
        del transport
        try:
            await task
        except asyncio.CancelledError:
            if not self.interrupted or trouble.kind != "cancel":
                raise
            raise Interrupted from None
        finally:
            del task

    # Data

    async def send(self):
        self._choose_write_limits()
        until = len(self.stream)
        if self._closes("abort"):
            until = self.rng.randrange(until + 1)
        place = 0
        while place < until and not self._is_over():
            size = min(self.rng.randint(1, self.plan.chunk), until - place)
            self._write(self.stream[place:place + size])
            place += size
            if self.plan.obeys_flow_control:
                await self._drain()
            else:
                await passes(self.rng.randrange(2))

    def _is_over(self):
        return self.protocol.lost.done() or self.transport.is_closing()

    def _choose_write_limits(self):
        if self.plan.write_high is not None:
            self.transport.set_write_buffer_limits(self.plan.write_high)

    def _write(self, data):
        kind = self.rng.choice((bytes, bytearray, memoryview))
        if self.rng.random() < 0.1:
            half = len(data) // 2
            self.transport.writelines([kind(data[:half]), kind(data[half:])])
        else:
            self.transport.write(kind(data))

    async def receive(self):
        """Read until the end, or until there is no more to wait for."""
        while not (self._closes("all")
                   and len(self.got) >= len(self.expected)):
            data = await self._read(self.rng.choice((10, 1000, 2 ** 17)))
            if not data:
                return
            self.got += data

    def _closes(self, how):
        return (self.scenario.closing == how
                and self.name in self.scenario.closers)

    async def transfer(self):
        sending = self.loop.create_task(self._suppressing(self.send))
        receiving = self.loop.create_task(self._suppressing(self.receive))
        try:
            if self._closes("early") or self._closes("abort"):
                await sending
                self.end(abort=self._closes("abort"))
            await sending
            await receiving
            if self._closes("all"):
                self.end()
        finally:
            for task in sending, receiving:
                task.cancel()
            await asyncio.wait([sending, receiving])

    async def _suppressing(self, step):
        try:
            await step()
        except OSError as error:
            self.errors.append(type(error).__name__)
            self._release(error)

    def _release(self, error):
        pass

    def end(self, abort=False):
        if not self.protocol.lost.done() and not self.protocol.eofs:
            self.closed_itself = True
        self.transport.abort() if abort else self.transport.close()

    # The whole of it

    async def play(self, sock):
        """Be this end, from the socket to the last callback."""
        try:
            async with asyncio.timeout(self.scenario.patience) as patience:
                await self._play(sock)
        except (OSError, Gone, Interrupted) as error:
            if patience.expired():
                self.closed_itself = True
                self._give_up()
            else:
                self.errors.append(type(error).__name__)
            self._release(error)
        except Exception as error:
            self.errors.append(type(error).__name__)
            self.problems.append(f"exception: {tell(error)}")
        await self._await_end()

    async def _play(self, sock):
        await self.connect(sock)
        first = 1 if self.scenario.layers[0].start == "direct" else 0
        for number in range(first, len(self.scenario.layers)):
            await self.upgrade(number)
        await self.transfer()

    def _give_up(self):
        if self.transport is not None:
            self.end(abort=self.scenario.impatience == "abort")

    async def _await_end(self):
        if self.transport is not None:
            # Whatever has happened, this must do no harm.
            self.transport.close()
        if self.protocol is not None and self.protocol.made:
            await asyncio.shield(self.protocol.lost)

    @property
    def outcome(self):
        """How it ended, in a word."""
        if self.protocol and self.protocol.lost.done():
            if self.protocol.lost.result():
                return self.protocol.lost.result()
        if self.interrupted:
            return "interrupted"
        if self.errors:
            return self.errors[0]
        return "intact" if self.got == self.expected else "cut"

    @property
    def has_error(self):
        lost = self.protocol and self.protocol.lost
        return bool(self.errors or lost and lost.done() and lost.result())


_CHOOSES_ROLE = "server_side" in inspect.signature(
    asyncio.StreamWriter.start_tls).parameters


class StreamsEnd(End):
    # None if the connection was lost before it was ours.
    writer = None

    def _make_protocol(self):
        self.reader = asyncio.StreamReader(limit=self.plan.limit)
        self.protocol = _StreamsProtocol(self.reader)
        return self.protocol

    async def _connect(self, sock, layer=None):
        await super()._connect(sock, layer)
        self.writer = asyncio.StreamWriter(
            self.transport, self.protocol, self.reader, self.loop)

    async def _start_tls(self, layer, server_side):
        options = self._timeouts()
        if _CHOOSES_ROLE:
            options["server_side"] = server_side
        else:
            self.protocol._client_connected_cb = server_side or None
        if not server_side:
            options["server_hostname"] = "localhost"
        await self.writer.start_tls(context_for(layer, server_side), **options)
        self.transport = self.writer.transport
        if self.reader._transport is not self.transport:
            self.problems.append("reader: it has the old transport")

    async def _read_exactly(self, count):
        try:
            return await self.reader.readexactly(count)
        except asyncio.IncompleteReadError:
            raise Gone from None

    async def _read(self, most):
        if self.rng.random() < self.plan.pauses:
            await passes(self.plan.pause_passes)
        return await self.reader.read(most)

    async def _drain(self):
        await self.writer.drain()

    async def _await_end(self):
        await super()._await_end()
        if self.writer is not None:
            try:
                await self.writer.wait_closed()
            except OSError as error:
                self._release(error)

    def _release(self, error):
        # A stream keeps the error that it raises, whose traceback has the
        # stream: garbage that is over TCP, too, and that is not looked for.
        error.__traceback__ = None


class ProtocolEnd(End):
    protocol_class = _PlainProtocol

    def _make_protocol(self):
        self.protocol = self.protocol_class(self)
        return self.protocol

    async def _start_tls(self, layer, server_side):
        self.protocol.on_data = lambda: None
        if self.plan.pauses_before_upgrade:
            self.transport.pause_reading()
        options = self._timeouts()
        if not server_side:
            options["server_hostname"] = "localhost"
        if self.protocol.data:
            options["buffered_data"] = bytes(self.protocol.data)
            self.protocol.data.clear()
        transport = await self.loop.start_tls(
            self.transport, self.protocol, context_for(layer, server_side),
            server_side=server_side, **options)
        if transport is None:
            # This side has closed it meanwhile, or it was lost before.
            raise ConnectionResetError
        self.transport = transport

    async def _await_news(self):
        self.protocol.news.clear()
        await self.protocol.news.wait()

    async def _read_exactly(self, count):
        while len(self.protocol.data) < count:
            if self.protocol.at_end:
                raise Gone
            await self._await_news()
        return self._take(count)

    async def _read(self, most):
        while not self.protocol.data and not self.protocol.at_end:
            await self._await_news()
        return self._take(most)

    def _take(self, most):
        data = bytes(self.protocol.data[:most])
        del self.protocol.data[:most]
        return data

    async def receive(self):
        self.protocol.on_data = self._pause_now_and_then
        try:
            await super().receive()
        finally:
            self.protocol.on_data = lambda: None

    def _pause_now_and_then(self):
        if self.rng.random() < self.plan.pauses:
            self.transport.pause_reading()
            self._resume_in(self.plan.pause_passes)

    def _resume_in(self, passes):
        if passes and not self.protocol.lost.done():
            self.loop.call_soon(self._resume_in, passes - 1)
        else:
            self.transport.resume_reading()

    async def _drain(self):
        while self.protocol.writing_paused and not self.protocol.lost.done():
            # Not _await_news(), which has one reader.
            await asyncio.sleep(0)


class BufferedEnd(ProtocolEnd):
    protocol_class = _BufferedProtocol


ENDS = {"streams": StreamsEnd, "protocol": ProtocolEnd,
         "buffered": BufferedEnd}


async def passes(count):
    for _ in range(count):
        await asyncio.sleep(0)


def tell(error):
    """The error, and the lines that it went through last."""
    where = [f"{os.path.basename(frame.filename)}:{frame.lineno}"
             for frame in traceback.extract_tb(error.__traceback__)[-3:]]
    return f"{type(error).__name__}: {error} ({' '.join(where)})"
