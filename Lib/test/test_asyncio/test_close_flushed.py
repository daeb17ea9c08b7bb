"""A transport that was closed while it had data to send, after it has sent it."""

import asyncio
import unittest

from test.test_asyncio.tls_support import GUARD, TLSTestCase


def tearDownModule():
    asyncio.set_event_loop_policy(None)


class CloseFlushedTests(TLSTestCase):

    async def asyncSetUp(self):
        self.transport, peer = await self.connect()
        self.protocol = self.transport.get_protocol()
        while not self.transport.get_write_buffer_size():
            self.transport.write(bytes(2 ** 16))
        self.transport.close()
        self.assertFalse(self.protocol.lost.done())
        async with asyncio.timeout(GUARD):
            while await peer.recv():
                pass
            self.assertIsNone(await self.protocol.lost)

    async def test_may_be_aborted(self):
        self.transport.abort()

    async def test_may_be_closed(self):
        self.transport.close()

    async def test_may_be_written_to(self):
        with self.assertNoLogs("asyncio"):
            self.transport.write(b"too late")

    async def test_warns_of_many_writes(self):
        with self.assertLogs("asyncio", "WARNING") as logged:
            for _ in range(10):
                self.transport.write(b"too late")
        self.assertIn("socket.send() raised exception", logged.output[0])

    async def test_is_closing(self):
        self.assertTrue(self.transport.is_closing())


if __name__ == "__main__":
    unittest.main()
