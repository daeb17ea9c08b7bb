"""loop.sendfile() ends when its transport does."""

import asyncio
import os
import socket
import tempfile
import unittest
from test.test_asyncio.loop_support import LeakCheckMixin


def tearDownModule():
    asyncio.set_event_loop_policy(None)


SIZE = 8 * 1024 * 1024


class _Protocol(asyncio.Protocol):

    def __init__(self):
        self.lost = []

    def connection_lost(self, exc):
        self.lost.append(exc)


@unittest.skipUnless(hasattr(os, 'sendfile'), 'needs os.sendfile()')
class SendfileLostTests(LeakCheckMixin, unittest.IsolatedAsyncioTestCase):

    async def start(self, *, full=False):
        """Return a transport, and the task that sends a file through it."""
        self.loop = asyncio.get_running_loop()
        ours, self.peer = socket.socketpair()
        self.addCleanup(self.peer.close)
        ours.setblocking(False)
        if full:
            try:
                while True:
                    ours.send(bytes(2 ** 16))
            except BlockingIOError:
                pass
        self.fd = ours.fileno()
        transport, self.protocol = await self.loop.create_connection(
            _Protocol, sock=ours)
        self.file = self.enterContext(tempfile.TemporaryFile())
        self.file.truncate(SIZE)
        sending = asyncio.create_task(self.loop.sendfile(transport, self.file))
        while self.fd not in self.loop._selector.get_map():
            await asyncio.sleep(0)
        for _ in range(5):
            await asyncio.sleep(0)
        return transport, sending

    async def check_end(self, sending, error=ConnectionError):
        with self.assertRaises(error):
            async with asyncio.timeout(30):
                await sending
        await asyncio.sleep(0)
        self.assertEqual(self.protocol.lost, [None])
        self.assertNotIn(self.fd, self.loop._selector.get_map())

    async def test_closed(self):
        transport, sending = await self.start()
        transport.close()
        await self.check_end(sending)

    async def test_aborted(self):
        transport, sending = await self.start()
        transport.abort()
        await self.check_end(sending)

    async def test_the_file_is_where_it_was_sent_up_to(self):
        transport, sending = await self.start()
        transport.abort()
        await self.check_end(sending)
        received = 0
        while data := self.peer.recv(2 ** 20):
            received += len(data)
        self.assertTrue(0 < received < SIZE)
        self.assertEqual(self.file.tell(), received)

    async def test_before_anything_was_sent(self):
        for end in ('close', 'abort'):
            with self.subTest(end=end):
                transport, sending = await self.start(full=True)
                getattr(transport, end)()
                await self.check_end(sending)
                self.assertEqual(self.file.tell(), 0)

    async def test_cancelled_in_the_same_pass(self):
        for end in ('close', 'abort'):
            with self.subTest(end=end):
                transport, sending = await self.start()
                getattr(transport, end)()
                sending.cancel()
                await self.check_end(sending, asyncio.CancelledError)

    async def test_ended_just_after_the_file_was_sent(self):
        transport, sending = await self.start()
        received = 0
        self.peer.setblocking(False)
        while received < SIZE:
            received += len(await self.loop.sock_recv(self.peer, 2 ** 20))
        while self.fd in self.loop._selector.get_map():
            await asyncio.sleep(0)
        transport.close()
        self.assertEqual(await sending, SIZE)


if __name__ == '__main__':
    unittest.main()
