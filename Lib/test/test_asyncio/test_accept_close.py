"""A server that is closed while it accepts a connection."""

import asyncio
import socket
import unittest
from asyncio.proactor_events import BaseProactorEventLoop
from test import support
from test.support import socket_helper
from test.test_asyncio.loop_support import LeakCheckMixin
from unittest import mock


def tearDownModule():
    asyncio.set_event_loop_policy(None)


class AcceptCloseTests(LeakCheckMixin, unittest.IsolatedAsyncioTestCase):

    async def asyncSetUp(self):
        self.loop = asyncio.get_running_loop()
        # What fails as a connection is made is reported in debug mode only.
        self.loop.set_debug(True)
        self.loop.slow_callback_duration = float("inf")
        self.errors = []
        self.loop.set_exception_handler(
            lambda loop, context: self.errors.append(context))
        self.made = 0

    async def greet(self, reader, writer):
        self.made += 1
        writer.write(b"hello")
        writer.close()
        await writer.wait_closed()

    async def receive(self, sock):
        with sock:
            sock.setblocking(False)
            try:
                return await self.loop.sock_recv(sock, 10)
            except ConnectionResetError:
                return b""

    async def check_closed_after(self, passes):
        """Return true if a client got a connection."""
        self.made = 0
        server = await asyncio.start_server(self.greet, socket_helper.HOST, 0)
        client = socket.create_connection(server.sockets[0].getsockname())
        for _ in range(passes):
            await asyncio.sleep(0)
        server.close()
        await server.wait_closed()
        received = await self.receive(client)
        del server
        support.gc_collect()
        self.assertEqual(received, b"hello" * self.made)
        return self.made == 1

    async def test_closed_at_any_pass(self):
        with support.catch_unraisable_exception() as unraisable:
            passes = 0
            while not await self.check_closed_after(passes):
                passes += 1
            self.assertIsNone(unraisable.unraisable)
        self.assertEqual(self.errors, [])
        self.assertGreater(passes, 0)

    async def test_closed_by_the_protocol_factory(self):
        """Its connection is served, as the server was open when it came."""
        def factory():
            server.close()
            return asyncio.StreamReaderProtocol(
                asyncio.StreamReader(), self.greet)

        server = await self.loop.create_server(
            factory, socket_helper.HOST, 0)
        client = socket.create_connection(server.sockets[0].getsockname())
        self.assertEqual(await self.receive(client), b"hello")
        await server.wait_closed()
        self.assertEqual(self.errors, [])


class ProactorTests(unittest.TestCase):

    def setUp(self):
        proactor = mock.Mock()
        with (mock.patch("asyncio.proactor_events.socket.socketpair",
                         return_value=(mock.Mock(), mock.Mock())),
              mock.patch("signal.set_wakeup_fd")):
            self.loop = BaseProactorEventLoop(proactor)
            self.addCleanup(self.loop.close)
        self.accept = proactor.accept
        self.accept.side_effect = lambda sock: self.loop.create_future()

    def run_once(self):
        self.loop.call_soon(self.loop.stop)
        with mock.patch.object(self.loop, "_loop_self_reading"):
            self.loop.run_forever()

    def test_a_connection_that_was_accepted_is_closed(self):
        errors = []
        self.loop.set_exception_handler(
            lambda loop, context: errors.append(context))
        factory = mock.Mock()
        listener = mock.Mock()
        server = asyncio.Server(self.loop, [listener], factory, None, 1, None)
        server._start_serving()
        self.run_once()
        [accepting] = self.loop._accept_futures.values()
        conn = mock.Mock()
        accepting.set_result((conn, ("host", 1)))
        server.close()
        self.run_once()
        conn.close.assert_called_once_with()
        factory.assert_not_called()
        self.accept.assert_called_once_with(listener)
        self.assertEqual(errors, [])


if __name__ == '__main__':
    unittest.main()
