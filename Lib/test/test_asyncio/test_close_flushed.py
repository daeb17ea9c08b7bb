"""A transport that is closed while it has data to send, when it has sent it."""

import asyncio
import operator
import unittest
from unittest import mock

from test.test_asyncio.tls_support import (
    GUARD, Recorder, TLSTestCase, for_each)


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


class _EndsInResume(Recorder):

    def resume_writing(self):
        super().resume_writing()
        self.end(self.transport)


class ResumeTests(TLSTestCase):
    """The protocol ends the connection when it is told that all is sent."""

    @for_each(end=("close", "abort"))
    async def test_connection_is_lost_once(self, end):
        transport, peer = await self.connect(_EndsInResume)
        protocol = transport.get_protocol()
        protocol.end = operator.methodcaller(end)
        # Resumed when the buffer is empty.
        transport.set_write_buffer_limits(0)
        while "pause" not in protocol.calls:
            transport.write(bytes(2 ** 16))
        await peer.read_all()
        async with asyncio.timeout(GUARD):
            self.assertIsNone(await protocol.lost)
        await asyncio.sleep(0)
        self.assertEqual(protocol.calls, ["made", "pause", "resume", "lost"])

    async def test_error_of_a_write_there_is_told(self):
        transport, peer = await self.connect(_EndsInResume)
        protocol = transport.get_protocol()
        transport.set_write_buffer_limits(0)
        sock = transport._sock

        def write(transport):
            transport._sock = mock.Mock(wraps=sock)
            transport._sock.send.side_effect = ConnectionResetError
            transport.write(b"more")

        protocol.end = write
        while "pause" not in protocol.calls:
            transport.write(bytes(2 ** 16))
        while "resume" not in protocol.calls:
            await peer.recv()
        self.assertIsInstance(await protocol.lost, ConnectionResetError)


if __name__ == "__main__":
    unittest.main()
