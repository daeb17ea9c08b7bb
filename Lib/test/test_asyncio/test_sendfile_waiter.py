"""sendfile() cancelled when the last of the buffer is sent does no harm."""

import asyncio
import os
import socket
import tempfile
import unittest
from unittest import mock


def tearDownModule():
    asyncio.set_event_loop_policy(None)


@unittest.skipUnless(hasattr(os, 'sendfile'), 'needs os.sendfile()')
class SendfileWaiterTests(unittest.IsolatedAsyncioTestCase):

    async def asyncSetUp(self):
        self.loop = asyncio.get_running_loop()
        self.errors = []
        self.loop.set_exception_handler(
            lambda loop, context: self.errors.append(context))
        ours, self.peer = socket.socketpair()
        self.addCleanup(self.peer.close)
        self.peer.setblocking(False)
        self.protocol = mock.Mock()
        self.transport, _ = await self.loop.create_connection(
            lambda: self.protocol, sock=ours)
        self.file = self.enterContext(tempfile.TemporaryFile())
        self.file.write(b'file')

    async def asyncTearDown(self):
        await asyncio.sleep(0)

    def make_writable(self):
        try:
            while True:
                self.peer.recv(65536)
        except BlockingIOError:
            pass

    async def cancel_when_the_buffer_is_sent(self, meanwhile=lambda: None):
        while not self.transport.get_write_buffer_size():
            self.transport.write(bytes(4096))
        sending = asyncio.create_task(
            self.loop.sendfile(self.transport, self.file))
        await asyncio.sleep(0)
        self.make_writable()
        meanwhile()
        # Runs in the pass of the loop that sends the rest, just before.
        self.loop.call_soon(sending.cancel)
        await asyncio.wait([sending])
        self.assertTrue(sending.cancelled())
        self.assertEqual(self.transport.get_write_buffer_size(), 0)

    async def test_no_error_is_reported(self):
        await self.cancel_when_the_buffer_is_sent()
        self.assertEqual(self.errors, [])
        self.transport.write(b'more')
        self.transport.abort()

    async def test_transport_that_is_closing_ends(self):
        await self.cancel_when_the_buffer_is_sent(self.transport.close)
        self.protocol.connection_lost.assert_called_once_with(None)
        self.assertEqual(self.errors, [])


if __name__ == '__main__':
    unittest.main()
