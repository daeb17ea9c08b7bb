"""A protocol over TLS gets all that its peer sent before it closed."""

import asyncio
import ssl
import unittest

from test.test_asyncio.tls_support import (
    GUARD, VERSIONS, BufferedRecorder, Recorder, TLSTestCase, client_context,
    for_each, server_context)


def tearDownModule():
    asyncio.set_event_loop_policy(None)


DATA = bytes(range(256)) * 40
ENDS = "eof", "close_notify", "close_notify of all"


class _PausesAtOnce(BufferedRecorder):
    """Pauses reading whenever its buffer is filled."""

    def buffer_updated(self, nbytes):
        super().buffer_updated(nbytes)
        self.transport.pause_reading()


class _PausesOnData(Recorder):

    def data_received(self, data):
        super().data_received(data)
        self.transport.pause_reading()


class _KeepsOpen(Recorder):

    def eof_received(self):
        super().eof_received()
        return True


class _FailsOnEOF(Recorder):

    def eof_received(self):
        super().eof_received()
        raise ZeroDivisionError


class _AbortsOnData(Recorder):

    def data_received(self, data):
        super().data_received(data)
        self.transport.abort()


class _FailsOnData(Recorder):

    def data_received(self, data):
        self.calls.append("data")
        raise ZeroDivisionError


class _FailsOnBuffer(BufferedRecorder):

    def buffer_updated(self, nbytes):
        self.calls.append("data")
        raise ZeroDivisionError


class EOFDataTests(TLSTestCase):

    def setUp(self):
        super().setUp()
        # Nothing of this is worth a line in the log.
        self.enterContext(self.assertNoLogs("asyncio", "WARNING"))

    async def begin(self, factory, version, layers, end="eof"):
        """Connect; return DATA and the end, sealed by the peer."""
        await self.upgraded(factory, version, layers)
        data = self.peer.seal(DATA)
        depths = {"eof": [], "close_notify": [layers],
                  "close_notify of all": range(layers, 0, -1)}[end]
        for depth in depths:
            data += self.peer.close_notify(depth=depth)
        return data

    async def upgraded(self, factory, version, layers):
        self.transport, self.peer = await self.connect_tls(
            factory, version=version)
        self.protocol = self.transport.get_protocol()
        loop = asyncio.get_running_loop()
        for _ in range(layers - 1):
            async with self.doing(loop.start_tls(
                    self.transport, self.protocol,
                    client_context(version))) as upgrade:
                self.peer.add_layer(server_context(), server_side=True)
                await self.peer.handshake()
                self.transport = await upgrade
        self.protocol.transport = self.transport

    async def check_all_arrives(self):
        async with asyncio.timeout(GUARD):
            self.assertIsNone(await self.protocol.lost)
        self.assertEqual(self.protocol.data, DATA)
        self.assertEqual(self.protocol.calls, ["made", "eof", "lost"])

    async def send(self, data, passes=20):
        await self.peer.send(data)
        self.peer.shutdown()
        for _ in range(passes):
            await asyncio.sleep(0)

    @for_each(layers=(1, 2), version=VERSIONS, end=ENDS)
    async def test_small_buffer(
            self, layers, version, end):
        data = await self.begin(BufferedRecorder, version, layers, end)
        await self.send(data)
        await self.check_all_arrives()

    @for_each(factory=(Recorder, BufferedRecorder), layers=(1, 2, 3), version=VERSIONS, end=ENDS)
    async def test_paused_reading(
            self, factory, layers, version, end):
        data = await self.begin(factory, version, layers, end)
        self.transport.pause_reading()
        await self.send(data)
        self.assertEqual(self.protocol.calls, ["made"])
        self.assertEqual(self.protocol.data, b"")
        self.transport.resume_reading()
        await self.check_all_arrives()

    @for_each(layers=(1, 2), version=VERSIONS, end=ENDS)
    async def test_reading_paused_again_and_again(
            self, layers, version, end):
        data = await self.begin(_PausesAtOnce, version, layers, end)
        await self.send(data)
        while not self.protocol.lost.done():
            self.transport.resume_reading()
            await asyncio.sleep(0)
        await self.check_all_arrives()

    @for_each(factory=(_PausesOnData, _PausesAtOnce), layers=(1, 2),
              version=VERSIONS, end=ENDS)
    async def test_end_waits_for_who_pauses_at_the_last_byte(
            self, factory, layers, version, end):
        data = await self.begin(factory, version, layers, end)
        self.protocol.buffer = bytearray(len(DATA))
        await self.send(data)
        while self.protocol.data != DATA:
            self.transport.resume_reading()
            await asyncio.sleep(0)
        self.assertEqual(self.protocol.calls, ["made"])
        self.transport.resume_reading()
        await self.check_all_arrives()

    @for_each(factory=(Recorder, _PausesOnData), layers=(1, 2),
              version=VERSIONS)
    async def test_close_notify_is_answered_after_a_pause(
            self, factory, layers, version):
        data = await self.begin(factory, version, layers, "close_notify")
        self.transport.pause_reading()
        await self.send(data)
        while not self.protocol.lost.done():
            self.transport.resume_reading()
            await asyncio.sleep(0)
        self.assertEqual(await self.peer.read_all(), b"")
        # An error, if there was no close_notify.
        self.peer.layers[-1].tls.unwrap()

    @for_each(layers=(1, 2), version=VERSIONS)
    async def test_close_notify_that_a_close_finds_is_answered(
            self, layers, version):
        data = await self.begin(Recorder, version, layers, "close_notify")
        self.transport.pause_reading()
        await self.send(data)
        self.transport.close()
        self.assertEqual(await self.peer.read_all(), b"")
        self.peer.layers[-1].tls.unwrap()
        async with asyncio.timeout(GUARD):
            self.assertIsNone(await self.protocol.lost)

    @for_each(layers=(1, 2), version=VERSIONS, end=ENDS)
    async def test_protocol_cannot_keep_the_connection_open(
            self, layers, version, end):
        data = await self.begin(_KeepsOpen, version, layers, end)
        with self.assertLogs("asyncio", "WARNING") as logged:
            await self.send(data)
            await self.check_all_arrives()
        [line] = logged.output
        self.assertIn("returning true from eof_received() has no effect", line)

    @for_each(layers=(1, 2), version=VERSIONS, end=ENDS)
    async def test_error_in_eof_received_ends_the_connection(
            self, layers, version, end):
        data = await self.begin(_FailsOnEOF, version, layers, end)
        await self.send(data)
        async with asyncio.timeout(GUARD):
            self.assertIsInstance(await self.protocol.lost, ZeroDivisionError)
        self.assertEqual(self.protocol.calls, ["made", "eof", "lost"])
        [report] = self.take_reports()
        self.assertIsInstance(report["exception"], ZeroDivisionError)

    @for_each(layers=(1, 2), version=VERSIONS)
    async def test_paused_protocol_can_write_until_it_has_read(
            self, layers, version):
        data = await self.begin(Recorder, version, layers)
        self.transport.pause_reading()
        await self.send(data)
        self.transport.write(b"written after the peer's EOF")
        self.assertEqual(await self.peer.read(),
                         b"written after the peer's EOF")
        self.transport.resume_reading()
        await self.check_all_arrives()

    @for_each(layers=(1, 2), version=VERSIONS, end=ENDS)
    async def test_paused_protocol_can_close(
            self, layers, version, end):
        data = await self.begin(Recorder, version, layers, end)
        self.transport.pause_reading()
        await self.send(data)
        self.transport.close()
        async with asyncio.timeout(GUARD):
            self.assertIsNone(await self.protocol.lost)
        self.assertEqual(self.protocol.data, b"")

    @for_each(layers=(1, 2), version=VERSIONS, end=ENDS)
    async def test_paused_protocol_can_abort(
            self, layers, version, end):
        data = await self.begin(Recorder, version, layers, end)
        self.transport.pause_reading()
        await self.send(data)
        self.transport.abort()
        async with asyncio.timeout(GUARD):
            self.assertIsNone(await self.protocol.lost)
        self.assertEqual(self.protocol.calls, ["made", "lost"])

    @for_each(layers=(1, 2), version=VERSIONS, end=ENDS)
    async def test_protocol_that_aborts_gets_nothing_more(
            self, layers, version, end):
        data = await self.begin(_AbortsOnData, version, layers, end)
        self.transport.pause_reading()
        await self.send(data)
        self.transport.resume_reading()
        async with asyncio.timeout(GUARD):
            self.assertIsNone(await self.protocol.lost)
        self.assertEqual(self.protocol.calls, ["made", "lost"])

    @for_each(factory=(_FailsOnData, _FailsOnBuffer), layers=(1, 2),
              version=VERSIONS, end=ENDS, paused=(False, True))
    async def test_protocol_that_fails_gets_nothing_more(
            self, factory, layers, version, end, paused):
        data = await self.begin(factory, version, layers, end)
        if paused:
            self.transport.pause_reading()
        await self.send(data)
        self.transport.resume_reading()
        async with asyncio.timeout(GUARD):
            self.assertIsInstance(await self.protocol.lost, ZeroDivisionError)
        self.assertEqual(self.protocol.calls, ["made", "data", "lost"])
        [report] = self.take_reports()
        self.assertIsInstance(report["exception"], ZeroDivisionError)

    @for_each(factory=(Recorder, BufferedRecorder), layers=(1, 2),
              version=VERSIONS)
    async def test_what_cannot_be_decrypted_is_no_end(
            self, factory, layers, version):
        await self.upgraded(factory, version, layers)
        self.transport.pause_reading()
        data = self.peer.seal(b"this is no record", depth=layers - 1)
        await self.send(data)
        self.transport.resume_reading()
        async with asyncio.timeout(GUARD):
            self.assertIsInstance(await self.protocol.lost, ssl.SSLError)
        self.assertEqual(self.protocol.calls, ["made", "lost"])


if __name__ == "__main__":
    unittest.main()
