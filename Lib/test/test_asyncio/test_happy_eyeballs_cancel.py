"""A race of connections that is cancelled closes the one that won."""

import asyncio
import socket
import unittest
from test.test_asyncio.loop_support import LeakCheckMixin
from unittest import mock


def tearDownModule():
    asyncio.set_event_loop_policy(None)


ADDRESSES = [
    (socket.AF_INET, socket.SOCK_STREAM, 6, '', (host, 1))
    for host in ('slow', 'quick')]


class HappyEyeballsCancelTests(LeakCheckMixin,
                               unittest.IsolatedAsyncioTestCase):

    def setUp(self):
        self.sock, peer = socket.socketpair()
        self.addCleanup(peer.close)
        self.addCleanup(self.sock.close)

    async def connect(self, exceptions, addrinfo, local_addr_infos):
        if addrinfo[-1][0] == 'slow':
            await asyncio.Event().wait()
        asyncio.get_running_loop().call_soon(self.won)
        return self.sock

    def start(self):
        loop = asyncio.get_running_loop()
        self.enterContext(mock.patch.object(
            loop, '_ensure_resolved', return_value=ADDRESSES))
        self.enterContext(mock.patch.object(
            loop, '_connect_sock', self.connect))
        return asyncio.create_task(loop.create_connection(
            asyncio.Protocol, 'localhost', 1, happy_eyeballs_delay=0))

    async def test_winner_is_closed(self):
        connecting = self.start()
        self.won = connecting.cancel
        await asyncio.wait([connecting])
        self.assertTrue(connecting.cancelled())
        self.assertEqual(self.sock.fileno(), -1)

    async def test_winner_of_an_undisturbed_race_is_used(self):
        connecting = self.start()
        self.won = mock.Mock()
        transport, _ = await connecting
        self.won.assert_called_once_with()
        self.assertIs(transport._sock, self.sock)
        transport.close()


if __name__ == '__main__':
    unittest.main()
