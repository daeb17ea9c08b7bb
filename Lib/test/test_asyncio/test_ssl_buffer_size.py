"""The receive buffer of a TLS layer is as large as what comes needs it."""

import asyncio
import unittest

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
    async def test_handshake_and_short_messages_need_little(self, layers):
        await self.begin(layers)
        for _ in range(100):
            await self.receive(1000)
        self.assertEqual(self.sizes(), layers * [16 * KIB])
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
        for filled, size in (16 * KIB, 64), (1, 64), (64 * KIB, 256):
            layer.get_buffer(-1)
            layer.buffer_updated(filled)
            self.assertEqual(len(layer.get_buffer(-1)), size * KIB)

    @for_each(wanted=(-1, 0, 1, 16 * KIB, 20 * KIB, 256 * KIB, 300 * KIB))
    async def test_transport_can_say_what_it_has(self, wanted):
        await self.begin()
        buffer = self.transport._ssl_protocol.get_buffer(wanted)
        self.assertEqual(
            len(buffer), min(max(wanted, 16 * KIB), 256 * KIB))


if __name__ == "__main__":
    unittest.main()
