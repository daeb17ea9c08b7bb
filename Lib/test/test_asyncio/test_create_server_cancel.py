"""A server whose creation is cancelled stops listening."""

import asyncio
import os
import socket
import unittest
from asyncio import base_events
from test.support import os_helper, socket_helper, warnings_helper
from test.test_asyncio.loop_support import LeakCheckMixin
from unittest import mock


def tearDownModule():
    asyncio.set_event_loop_policy(None)


def cancelled_when_serving_starts():
    """Cancel the task that creates a server, at its wait for the readers."""
    start = base_events.Server._start_serving

    def start_and_cancel(server):
        start(server)
        asyncio.current_task().cancel()

    return mock.patch.object(base_events.Server, '_start_serving',
                             start_and_cancel)


@unittest.skipIf(os.name == 'nt', 'reads the selector')
class CreateServerCancelTests(LeakCheckMixin,
                              unittest.IsolatedAsyncioTestCase):

    async def check_cancelled(self, creation):
        watched = set(asyncio.get_running_loop()._selector.get_map())
        with (warnings_helper.check_no_resource_warning(self),
              cancelled_when_serving_starts()):
            creating = asyncio.create_task(creation)
            await asyncio.wait([creating])
            self.assertTrue(creating.cancelled())
            del creating
        self.assertEqual(
            set(asyncio.get_running_loop()._selector.get_map()), watched)

    async def test_tcp_server(self):
        await self.check_cancelled(asyncio.get_running_loop().create_server(
            asyncio.Protocol, socket_helper.HOST, 0))

    async def test_given_socket_is_closed_as_the_server_owns_it(self):
        sock = socket.create_server((socket_helper.HOST, 0))
        await self.check_cancelled(asyncio.get_running_loop().create_server(
            asyncio.Protocol, sock=sock))
        self.assertEqual(sock.fileno(), -1)

    async def test_stream_server(self):
        await self.check_cancelled(asyncio.start_server(
            lambda reader, writer: None, socket_helper.HOST, 0))

    @socket_helper.skip_unless_bind_unix_socket
    async def test_unix_server_removes_its_path(self):
        with os_helper.temp_dir() as folder:
            path = os.path.join(folder, 's')
            await self.check_cancelled(
                asyncio.get_running_loop().create_unix_server(
                    asyncio.Protocol, path))
            self.assertFalse(os.path.exists(path))


if __name__ == '__main__':
    unittest.main()
