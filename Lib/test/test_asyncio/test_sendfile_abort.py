"""A transport aborted in sendfile() leaves nothing in the selector."""

import asyncio
import os
import socket
import tempfile
import unittest
from test.test_asyncio.loop_support import LeakCheckMixin


def tearDownModule():
    asyncio.set_event_loop_policy(None)


@unittest.skipUnless(hasattr(os, 'sendfile'), 'needs os.sendfile()')
class SendfileAbortTests(LeakCheckMixin, unittest.IsolatedAsyncioTestCase):

    async def abort(self, before_cancellation=lambda fd: None):
        """Abort a transport in sendfile(), cancel that; return its number."""
        loop = asyncio.get_running_loop()
        ours, peer = socket.socketpair()
        self.addCleanup(peer.close)
        transport, _ = await loop.create_connection(
            asyncio.Protocol, sock=ours)
        fd = ours.fileno()
        with tempfile.TemporaryFile() as file:
            file.truncate(8 * 1024 * 1024)
            sending = asyncio.create_task(loop.sendfile(transport, file))
            while fd not in loop._selector.get_map():
                await asyncio.sleep(0)
            # sock_sendfile() waits for the peer.
            for _ in range(10):
                await asyncio.sleep(0)
            transport.abort()
            # Runs when the socket is closed, before the task sees that it is
            # cancelled.
            loop.call_soon(before_cancellation, fd)
            sending.cancel()
            await asyncio.wait([sending])
            self.assertTrue(sending.cancelled())
        await asyncio.sleep(0)
        self.assertEqual(ours.fileno(), -1)
        return fd

    async def test_descriptor_is_forgotten(self):
        fd = await self.abort()
        self.assertNotIn(
            fd, asyncio.get_running_loop()._selector.get_map())

    async def test_next_transport_of_the_number_is_known(self):
        def reuse(fd):
            nonlocal transport
            os.dup2(ours.fileno(), fd)
            ours.close()
            sock = socket.socket(fileno=fd)
            sock.setblocking(False)
            transport = loop._make_socket_transport(sock, asyncio.Protocol())
        transport = None
        ours, peer = socket.socketpair()
        self.addCleanup(peer.close)
        loop = asyncio.get_running_loop()
        fd = await self.abort(reuse)
        self.assertIs(loop._transports.get(fd), transport)
        transport.abort()
        await asyncio.sleep(0)


if __name__ == '__main__':
    unittest.main()
