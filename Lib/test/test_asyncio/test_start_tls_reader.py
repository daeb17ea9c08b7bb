"""The reader of a stream follows start_tls() to the new transport."""

import asyncio
import unittest

from test.test_asyncio.tls_support import (
    GUARD, TLSTestCase, client_context, server_context)


def tearDownModule():
    asyncio.set_event_loop_policy(None)


class StartTLSReaderTests(TLSTestCase):

    limit = 1000

    async def upgrade(self, layers=1):
        self.reader, self.writer, self.peer = await self.connect_streams(
            limit=self.limit)
        for _ in range(layers):
            async with self.doing(
                    self.writer.start_tls(client_context())) as upgrade:
                self.peer.add_layer(server_context(), server_side=True)
                await self.peer.handshake()
                await upgrade

    async def fill_the_reader(self):
        await self.peer.write(bytes(3 * self.limit))
        while len(self.reader._buffer) < 3 * self.limit:
            await asyncio.sleep(0)

    async def test_full_reader_pauses_the_innermost_transport(self):
        for layers in 1, 2:
            with self.subTest(layers=layers):
                await self.upgrade(layers)
                await self.fill_the_reader()
                self.assertFalse(self.writer.transport.is_reading())

    async def test_full_reader_leaves_the_outer_transports_alone(self):
        # It is the TLS layer that pauses them, by limits of its own.
        await self.upgrade()
        outer = self.writer.transport._ssl_protocol._transport
        await self.fill_the_reader()
        self.assertTrue(outer.is_reading())

    async def test_emptied_reader_resumes_the_innermost_transport(self):
        await self.upgrade()
        await self.fill_the_reader()
        await self.reader.readexactly(3 * self.limit)
        self.assertTrue(self.writer.transport.is_reading())
        await self.peer.write(b"more")
        async with asyncio.timeout(GUARD):
            self.assertEqual(await self.reader.readexactly(4), b"more")

    async def upgrade_with(self, data):
        """Send *data* together with the last bytes of the handshake."""
        self.reader, self.writer, self.peer = await self.connect_streams(
            limit=self.limit, server_side=True)
        async with self.doing(
                self.writer.start_tls(server_context())) as upgrade:
            await self.peer.send(self.peer.add_layer(client_context()))
            tls = self.peer.layers[-1].tls
            self.peer.feed(await self.peer.recv())
            tls.do_handshake()
            await self.peer.send(data())
            await upgrade

    async def test_reader_filled_by_the_end_of_the_handshake_reads_on(self):
        await self.upgrade_with(lambda: self.peer.seal(bytes(3 * self.limit)))
        below = self.writer.transport._ssl_protocol._transport
        self.assertTrue(below.is_reading())
        self.assertFalse(self.writer.transport.is_reading())
        await self.reader.readexactly(3 * self.limit)
        await self.peer.write(b"more")
        async with asyncio.timeout(GUARD):
            self.assertEqual(await self.reader.readexactly(4), b"more")

    async def test_reader_that_was_full_of_clear_text_reads_ahead(self):
        reader, writer, peer = await self.connect_streams(
            limit=10, server_side=True)
        await peer.send(b"line\n" + peer.add_layer(client_context()))
        self.assertEqual(await reader.readline(), b"line\n")
        self.assertFalse(writer.transport.is_reading())
        async with self.doing(writer.start_tls(server_context())) as upgrade:
            await peer.handshake()
            await upgrade
        self.assertTrue(writer.transport.is_reading())
        await peer.write(b"more")
        async with asyncio.timeout(GUARD):
            while reader._buffer != b"more":
                await asyncio.sleep(0)

    async def test_close_with_the_end_of_the_handshake_logs_nothing(self):
        with self.assertNoLogs("asyncio", "WARNING"):
            await self.upgrade_with(
                lambda: self.peer.seal(b"bye") + self.peer.close_notify())
            async with asyncio.timeout(GUARD):
                self.assertEqual(await self.reader.read(), b"bye")

    async def test_refused_upgrade_leaves_the_stream_in_clear(self):
        reader, writer, peer = await self.connect_streams()
        with self.assertRaises(TypeError):
            await writer.start_tls(None)
        peer.shutdown()
        self.assertEqual(await reader.read(), b"")
        # Half-closed, as over TCP.
        writer.write(b"still open")
        self.assertEqual(await peer.recv(), b"still open")

    async def test_reader_may_be_gone(self):
        reader, writer, peer = await self.connect_streams()
        writer._reader = reader = None
        async with self.doing(writer.start_tls(client_context())) as upgrade:
            peer.add_layer(server_context(), server_side=True)
            await peer.handshake()
            await upgrade
        writer.write(b"goes on")
        self.assertEqual(await peer.read(), b"goes on")


if __name__ == "__main__":
    unittest.main()
