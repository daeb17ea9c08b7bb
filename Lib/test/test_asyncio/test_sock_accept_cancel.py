"""sock_accept() that is cancelled accepts nothing (gh-153761)."""

import asyncio
import os
import select
import socket
import unittest
from test.support import socket_helper
from test.test_asyncio.loop_support import LeakCheckMixin


def tearDownModule():
    asyncio.set_event_loop_policy(None)


@unittest.skipIf(os.name == 'nt', 'the proactor has its own sock_accept()')
class SockAcceptCancelTests(LeakCheckMixin, unittest.IsolatedAsyncioTestCase):

    async def asyncSetUp(self):
        self.loop = asyncio.get_running_loop()
        self.errors = []
        self.loop.set_exception_handler(
            lambda loop, context: self.errors.append(context))
        self.listener = self.enterContext(
            socket.create_server((socket_helper.HOST, 0)))
        self.listener.setblocking(False)

    def connect(self):
        client = socket.create_connection(self.listener.getsockname())
        self.addCleanup(client.close)
        select.select([self.listener], [], [])
        return client

    async def cancel_while_a_connection_arrives(self):
        accepting = asyncio.create_task(self.loop.sock_accept(self.listener))
        await asyncio.sleep(0)
        client = self.connect()
        # Runs in the pass of the loop that finds the connection, before it
        # is accepted.
        self.loop.call_soon(accepting.cancel)
        await asyncio.wait([accepting])
        self.assertTrue(accepting.cancelled())
        return client

    async def test_connection_is_left_for_the_next_call(self):
        client = await self.cancel_while_a_connection_arrives()
        waiting, _, _ = select.select([self.listener], [], [], 0)
        self.assertTrue(waiting)
        accepted, address = await self.loop.sock_accept(self.listener)
        with accepted:
            self.assertEqual(address, client.getsockname())

    async def test_nothing_is_reported(self):
        await self.cancel_while_a_connection_arrives()
        await asyncio.sleep(0)
        self.assertEqual(self.errors, [])

    async def test_reader_is_removed(self):
        await self.cancel_while_a_connection_arrives()
        self.assertFalse(self.loop.remove_reader(self.listener))


if __name__ == '__main__':
    unittest.main()
