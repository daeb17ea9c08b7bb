"""close() sends what was written, whatever the peer still sends."""

import asyncio
import ssl
import unittest

from test.test_asyncio.tls_support import (
    GUARD, VERSIONS, Recorder, TLSTestCase, for_each)


def tearDownModule():
    asyncio.set_event_loop_policy(None)


# More than the buffers of a socket pair take.
WRITTEN = bytes(range(256)) * 16 * 1024
# More than the TLS layer takes in while reading is paused.
FLOOD = 512 * 1024


class _ClosesOnData(Recorder):

    def data_received(self, data):
        super().data_received(data)
        self.transport.write(WRITTEN)
        self.transport.close()


class CloseDataTests(TLSTestCase):

    async def begin(self, version, factory=Recorder):
        self.transport, self.peer = await self.connect_tls(
            factory, version=version)
        self.protocol = self.transport.get_protocol()

    async def check_all_arrives(self):
        async with asyncio.timeout(GUARD):
            self.assertEqual(await self.peer.read_all(), WRITTEN)
            await self.peer.send(self.peer.close_notify())
            self.assertIsNone(await self.protocol.lost)

    @for_each(version=VERSIONS)
    async def test_peer_that_sends_before_the_close(self, version):
        await self.begin(version)
        self.transport.write(WRITTEN)
        await self.peer.write(b"before")
        while not self.protocol.data:
            await asyncio.sleep(0)
        self.transport.close()
        await self.check_all_arrives()

    @for_each(version=VERSIONS)
    async def test_peer_that_sends_after_the_close(self, version):
        await self.begin(version)
        self.transport.write(WRITTEN)
        self.transport.close()
        for _ in range(3):
            await self.peer.write(b"after")
            await asyncio.sleep(0)
        await self.check_all_arrives()
        self.assertEqual(self.protocol.data, b"")

    @for_each(version=VERSIONS)
    async def test_data_that_waits_for_resume_reading(self, version):
        await self.begin(version)
        self.transport.pause_reading()
        await self.peer.write(b"unread")
        while not self.transport.get_read_buffer_size():
            await asyncio.sleep(0)
        self.transport.write(WRITTEN)
        self.transport.close()
        await self.check_all_arrives()
        self.assertEqual(self.protocol.data, b"")

    @for_each(version=VERSIONS)
    async def test_flood_that_the_layer_had_stopped(self, version):
        await self.begin(version)
        self.transport.pause_reading()
        flood = asyncio.create_task(self.peer.send(
            b"".join(self.peer.seal(bytes(16 * 1024))
                     for _ in range(FLOOD // (16 * 1024)))))
        below = self.transport._ssl_protocol._transport
        while below.is_reading():
            await asyncio.sleep(0)
        self.transport.write(WRITTEN)
        self.transport.close()
        await self.check_all_arrives()
        await flood

    @for_each(version=VERSIONS)
    async def test_close_in_data_received(self, version):
        await self.begin(version, _ClosesOnData)
        await self.peer.send(self.peer.seal(b"one"))
        await asyncio.sleep(0)
        await self.peer.write(b"two")
        await self.check_all_arrives()

    @for_each(version=VERSIONS)
    async def test_what_is_no_tls_is_still_an_error(self, version):
        await self.begin(version)
        self.transport.close()
        await self.peer.send(b"this is no TLS record")
        async with asyncio.timeout(GUARD):
            self.assertIsInstance(await self.protocol.lost, ssl.SSLError)


if __name__ == "__main__":
    unittest.main()
