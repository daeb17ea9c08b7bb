"""The receive buffer of a TLS layer is as large as what comes needs it."""

import asyncio
import unittest
from unittest import mock

from test.test_asyncio.tls_support import (
    GUARD, TLSTestCase, client_context, for_each, server_context)


def tearDownModule():
    asyncio.set_event_loop_policy(None)


KIB = 1024


class BufferSizeTests(TLSTestCase):

    async def begin(self, layers=1):
        self.transport, self.peer = await self.connect_tls()
        self.protocol = self.transport.get_protocol()
        loop = asyncio.get_running_loop()
        for _ in range(layers - 1):
            async with self.doing(loop.start_tls(
                    self.transport, self.protocol, client_context())) as upgrade:
                self.peer.add_layer(server_context(), server_side=True)
                await self.peer.handshake()
                self.transport = await upgrade

    def sizes(self):
        """Return the size of each layer's buffer, from the innermost."""
        sizes, transport = [], self.transport
        while (layer := getattr(transport, "_ssl_protocol", None)) is not None:
            sizes.append(len(layer._ssl_buffer))
            transport = layer._transport
        return sizes

    async def receive(self, size):
        before = len(self.protocol.data)
        sending = asyncio.create_task(self.peer.write(bytes(size)))
        async with asyncio.timeout(GUARD):
            while len(self.protocol.data) < before + size:
                await asyncio.sleep(0)
        await sending

    @for_each(layers=(1, 2, 3))
    async def test_messages_of_one_record_need_little(self, layers):
        await self.begin(layers)
        # Each layer adds some bytes.
        for size in 100 * [1000, 2 ** 14 - 100]:
            await self.receive(size)
        self.assertEqual(self.sizes(), layers * [64 * KIB])
        self.transport.abort()
        await self.protocol.lost

    @for_each(layers=(1, 2))
    async def test_bulk_is_received_in_large_pieces(self, layers):
        await self.begin(layers)
        # A segment larger than the buffer fills it.
        for _ in range(10):
            await self.receive(1024 * KIB)
        self.assertEqual(self.sizes()[-1], 256 * KIB)
        self.assertLessEqual(max(self.sizes()), 256 * KIB)
        self.assertEqual(self.protocol.data, bytes(10 * 1024 * KIB))

    async def test_transport_may_go_on_with_the_same_buffer(self):
        # It asks once, and fills it again and again.
        await self.begin()
        await self.receive(1000)  # Session tickets have come, too.
        self.protocol.data.clear()
        layer = self.transport._ssl_protocol
        data = bytes(range(256)) * 4 * KIB
        sealed = self.peer.seal(data)
        buffer = layer.get_buffer(32 * KIB)
        for start in range(0, len(sealed), len(buffer)):
            piece = sealed[start:start + len(buffer)]
            buffer[:len(piece)] = piece
            layer.buffer_updated(len(piece))
        self.assertEqual(self.protocol.data, data)

    async def test_it_grows_after_a_full_one_only(self):
        await self.begin()
        layer = self.transport._ssl_protocol
        self.transport.pause_reading()
        for filled, wanted, size in (
                (64 * KIB - 1, -1, 64), (1, 100 * KIB, 100),
                (100 * KIB, -1, 256), (1, -1, 256)):
            layer.get_buffer(-1)
            layer.buffer_updated(filled)
            self.assertEqual(len(layer.get_buffer(wanted)), size * KIB)

    async def test_the_last_one_counts(self):
        # For a transport that fills a buffer several times.
        await self.begin()
        layer = self.transport._ssl_protocol
        self.transport.pause_reading()
        buffer = layer.get_buffer(-1)
        layer.buffer_updated(64 * KIB)
        layer.buffer_updated(1)
        self.assertIs(layer.get_buffer(-1), buffer)

    async def test_the_largest_one_stays(self):
        await self.begin()
        layer = self.transport._ssl_protocol
        self.transport.pause_reading()
        buffer = layer.get_buffer(256 * KIB)
        layer.buffer_updated(256 * KIB)
        for wanted in -1, 256 * KIB, 300 * KIB:
            self.assertIs(layer.get_buffer(wanted), buffer)

    async def test_a_transport_that_goes_on_after_the_end(self):
        await self.begin()
        layer = self.transport._ssl_protocol
        self.transport.pause_reading()
        layer.buffer_updated(len(layer.get_buffer(-1)))
        self.transport.abort()
        await self.protocol.lost
        for wanted in -1, 0:
            self.assertEqual(len(layer.get_buffer(wanted)), 64 * KIB)

    async def test_a_smaller_limit(self):
        with mock.patch.object(
                asyncio.sslproto.SSLProtocol, "max_size", 4 * KIB):
            await self.begin()
            await self.receive(100 * KIB)
            self.assertEqual(self.sizes(), [4 * KIB])

    @for_each(wanted=(-1, 0, 1, 64 * KIB, 100 * KIB, 256 * KIB, 300 * KIB))
    async def test_transport_can_say_what_it_has(self, wanted):
        await self.begin()
        buffer = self.transport._ssl_protocol.get_buffer(wanted)
        self.assertEqual(
            len(buffer), min(max(wanted, 64 * KIB), 256 * KIB))


if __name__ == "__main__":
    unittest.main()
