"""A server whose accept() finds no descriptor left tries again, once."""

import asyncio
import contextlib
import errno
import os
import socket
import unittest
from asyncio import constants
from test.support import socket_helper
from test.test_asyncio.loop_support import LeakCheckMixin
from unittest import mock

try:
    import resource
except ImportError:
    resource = None


def tearDownModule():
    asyncio.set_event_loop_policy(None)


@contextlib.contextmanager
def no_descriptor_left():
    """Let every call that makes a descriptor fail with EMFILE."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@unittest.skipUnless(resource and hasattr(resource, 'RLIMIT_NOFILE'),
                     'needs RLIMIT_NOFILE')
class AcceptRetryTests(LeakCheckMixin, unittest.IsolatedAsyncioTestCase):

    async def asyncSetUp(self):
        self.loop = asyncio.get_running_loop()
        self.reported = []
        self.loop.set_exception_handler(
            lambda loop, context: self.reported.append(context))
        self.greeted = []
        self.server = await asyncio.start_server(
            self.greet, socket_helper.HOST, 0)
        self.addAsyncCleanup(self.close_server)

    async def close_server(self):
        self.server.close()
        await self.server.wait_closed()

    async def greet(self, reader, writer):
        self.greeted.append(await reader.readexactly(1))
        writer.close()
        await writer.wait_closed()

    async def connect(self, count, *, delay=3600):
        """Return clients that came when the server had no descriptor left."""
        clients = []
        for number in range(count):
            client = socket.create_connection(
                self.server.sockets[0].getsockname())
            self.addCleanup(client.close)
            client.sendall(bytes([number]))
            clients.append(client)
        self.enterContext(
            mock.patch.object(constants, 'ACCEPT_RETRY_DELAY', delay))
        with no_descriptor_left():
            for _ in range(5):
                await asyncio.sleep(0)
        return clients

    async def test_it_is_reported_and_tried_again_once(self):
        await self.connect(3)
        self.assertEqual(len(self.reported), 1)
        self.assertEqual(self.reported[0]['message'],
                         'socket.accept() out of system resource')
        self.assertEqual(self.reported[0]['exception'].errno, errno.EMFILE)
        self.assertEqual(len(self.loop._scheduled), 1)
        self.assertEqual(self.greeted, [])
        self.loop._scheduled[0].cancel()

    async def test_who_waits_is_served_afterwards(self):
        for client in await self.connect(3, delay=0.001):
            client.setblocking(False)
            self.assertEqual(await self.loop.sock_recv(client, 1), b'')
        self.assertEqual(sorted(self.greeted), [b'\0', b'\1', b'\2'])
        self.assertTrue(self.reported)

    async def test_a_server_that_is_closed_meanwhile_stays_so(self):
        await self.connect(1)
        retry = self.loop._scheduled[0]
        self.reported.clear()
        await self.close_server()
        retry._run()
        retry.cancel()
        self.assertEqual(self.reported, [])


if __name__ == '__main__':
    unittest.main()
