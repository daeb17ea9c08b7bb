"""A task that sets up an accepted connection ends cancelled if cancelled."""

import asyncio
import os
import socket
import unittest
from test.support import socket_helper


def tearDownModule():
    asyncio.set_event_loop_policy(None)


class _Protocol(asyncio.Protocol):

    def __init__(self):
        self.lost = asyncio.get_running_loop().create_future()

    def connection_lost(self, exc):
        self.lost.set_result(exc)


@unittest.skipIf(os.name == 'nt', 'the proactor accepts without a task')
class AcceptCancelTests(unittest.IsolatedAsyncioTestCase):

    def make_protocol(self):
        # Called in the task, just before it waits for the transport.
        self.accepting = asyncio.current_task()
        self.accepting.cancel()
        self.protocol = _Protocol()
        return self.protocol

    async def asyncSetUp(self):
        loop = asyncio.get_running_loop()
        loop.set_debug(True)
        self.errors = []
        loop.set_exception_handler(
            lambda loop, context: self.errors.append(context))
        self.accepting = None
        server = await loop.create_server(
            self.make_protocol, socket_helper.HOST, 0)
        self.addCleanup(server.close)
        self.client = socket.create_connection(
            server.sockets[0].getsockname())
        self.addCleanup(self.client.close)
        while self.accepting is None:
            await asyncio.sleep(0)
        await asyncio.wait([self.accepting])

    async def test_task_ends_cancelled(self):
        self.assertTrue(self.accepting.cancelled())

    async def test_cancellation_is_not_reported_as_an_error(self):
        self.assertEqual(self.errors, [])

    async def test_connection_is_closed(self):
        await self.protocol.lost
        self.assertEqual(self.client.recv(1), b'')


if __name__ == '__main__':
    unittest.main()
