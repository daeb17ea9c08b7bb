"""A transport aborted in sendfile() leaves nothing in the selector."""

import asyncio
import os
import socket
import tempfile
import unittest


def tearDownModule():
    asyncio.set_event_loop_policy(None)


@unittest.skipUnless(hasattr(os, 'sendfile'), 'needs os.sendfile()')
class SendfileAbortTests(unittest.IsolatedAsyncioTestCase):

    async def test_descriptor_is_forgotten(self):
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
            sending.cancel()
            await asyncio.wait([sending])
            self.assertTrue(sending.cancelled())
        await asyncio.sleep(0)
        self.assertEqual(ours.fileno(), -1)
        self.assertNotIn(fd, loop._selector.get_map())


if __name__ == '__main__':
    unittest.main()
