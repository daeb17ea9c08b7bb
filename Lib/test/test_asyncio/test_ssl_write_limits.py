"""Flow control on a TLS transport with a limit of zero."""

import asyncio
import unittest

from test.test_asyncio.tls_support import (
    GUARD, BufferedRecorder, Recorder, TLSTestCase, client_context, for_each,
    server_context)


def tearDownModule():
    asyncio.set_event_loop_policy(None)


class WriteLimitTests(TLSTestCase):

    async def test_empty_buffer_is_not_over_a_limit_of_zero(self):
        transport, peer = await self.connect_tls()
        protocol = transport.get_protocol()
        transport.set_write_buffer_limits(0)
        await peer.write(b"something to do for the layer")
        while not protocol.data:
            await asyncio.sleep(0)
        transport.write(b"sent at once")
        self.assertEqual(protocol.calls, ["made"])

    async def test_drain_returns_when_there_is_nothing_to_drain(self):
        _, writer, peer = await self.connect_streams()
        async with self.doing(writer.start_tls(client_context())) as upgrade:
            peer.add_layer(server_context(), server_side=True)
            await peer.handshake()
            await upgrade
        writer.transport.set_write_buffer_limits(0)
        async with asyncio.timeout(GUARD):
            await writer.drain()

    async def test_anything_in_the_buffer_is_over_a_limit_of_zero(self):
        transport, peer = await self.connect_tls()
        protocol = transport.get_protocol()
        below = transport._ssl_protocol._transport
        below.set_write_buffer_limits(0)
        transport.set_write_buffer_limits(0)
        # Fills the socket, which pauses the layer, which has the rest.
        written = 0
        while "pause" not in protocol.calls:
            transport.write(bytes(2 ** 20))
            written += 2 ** 20
        self.assertGreater(transport.get_write_buffer_size(), 0)
        while written:
            written -= len(await peer.read())
        async with asyncio.timeout(GUARD):
            while "resume" not in protocol.calls:
                await asyncio.sleep(0)
        self.assertEqual(protocol.calls, ["made", "pause", "resume"])


class ReadLimitTests(TLSTestCase):

    @for_each(factory=(Recorder, BufferedRecorder))
    async def test_reading_goes_on_with_a_limit_of_zero(self, factory):
        transport, peer = await self.connect_tls(factory)
        protocol = transport.get_protocol()
        transport.set_read_buffer_limits(0)
        for paused in False, True:
            if paused:
                transport.pause_reading()
            await peer.write(bytes(1000))
            for _ in range(3):
                await asyncio.sleep(0)
            transport.resume_reading()
            while len(protocol.data) < 1000:
                await asyncio.sleep(0)
            protocol.data.clear()

    async def test_anything_unread_is_over_a_limit_of_zero(self):
        transport, peer = await self.connect_tls()
        transport.set_read_buffer_limits(0)
        transport.pause_reading()
        await peer.write(b"some")
        below = transport._ssl_protocol._transport
        async with asyncio.timeout(GUARD):
            while below.is_reading():
                await asyncio.sleep(0)
        self.assertGreater(transport.get_read_buffer_size(), 0)


if __name__ == "__main__":
    unittest.main()
