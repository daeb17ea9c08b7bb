"""What is left of a connection whose protocol factory fails."""

import asyncio
import socket
import unittest
from asyncio.proactor_events import BaseProactorEventLoop
from test.support import os_helper
from test.support import socket_helper
from test.test_asyncio.loop_support import LeakCheckMixin
from unittest import mock


def tearDownModule():
    asyncio.set_event_loop_policy(None)


ERRORS = ValueError, OSError, asyncio.CancelledError, SystemExit


class FactoryFailsTests(LeakCheckMixin, unittest.IsolatedAsyncioTestCase):

    async def asyncSetUp(self):
        self.loop = asyncio.get_running_loop()

    def listen(self):
        listener = socket.create_server((socket_helper.HOST, 0))
        self.addCleanup(listener.close)
        return listener.getsockname()

    async def check_files(self, method, *args, **kwargs):
        """A call whose factory fails leaves as many files open as before."""
        for error in ERRORS:
            with self.subTest(error=error):
                factory = mock.Mock(side_effect=error)
                before = os_helper.fd_count()
                try:
                    await method(factory, *args, **kwargs)
                except error:
                    # The frames are alive: nothing was collected.
                    self.assertEqual(os_helper.fd_count(), before)
                else:
                    self.fail("the call does not fail")

    async def test_a_connection_is_closed(self):
        await self.check_files(self.loop.create_connection, *self.listen())

    async def test_the_winner_of_a_race_is_closed(self):
        await self.check_files(self.loop.create_connection, *self.listen(),
                               happy_eyeballs_delay=1)

    async def test_a_datagram_endpoint_is_closed(self):
        await self.check_files(self.loop.create_datagram_endpoint,
                               local_addr=(socket_helper.HOST, 0))

    @socket_helper.skip_unless_bind_unix_socket
    async def test_a_unix_connection_is_closed(self):
        path = socket_helper.create_unix_domain_name()
        self.addCleanup(os_helper.unlink, path)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            await self.check_files(self.loop.create_unix_connection, path)

    async def check_given(self, name, sock):
        with sock:
            await self.check_files(getattr(self.loop, name), sock=sock)
            self.assertGreaterEqual(sock.fileno(), 0)

    async def test_a_given_socket_stays_its_callers(self):
        for name in "create_connection", "connect_accepted_socket":
            with self.subTest(name=name):
                sock = socket.create_connection(self.listen())
                await self.check_given(name, sock)

    async def test_a_given_datagram_socket_stays_its_callers(self):
        await self.check_given("create_datagram_endpoint",
                               socket.socket(type=socket.SOCK_DGRAM))

    @socket_helper.skip_unless_bind_unix_socket
    async def test_a_given_unix_socket_stays_its_callers(self):
        await self.check_given("create_unix_connection",
                               socket.socket(socket.AF_UNIX))


class ProactorTests(unittest.TestCase):

    def setUp(self):
        self.proactor = mock.Mock()
        with (mock.patch("asyncio.proactor_events.socket.socketpair",
                         return_value=(mock.Mock(), mock.Mock())),
              mock.patch("signal.set_wakeup_fd")):
            self.loop = BaseProactorEventLoop(self.proactor)
            self.addCleanup(self.loop.close)

    def run_once(self):
        self.loop.call_soon(self.loop.stop)
        with mock.patch.object(self.loop, "_loop_self_reading"):
            self.loop.run_forever()

    def accept(self, factory):
        """Have a server accept a connection; return that."""
        accepting = self.loop.create_future()
        self.proactor.accept.side_effect = [accepting,
                                            self.loop.create_future()]
        self.loop._start_serving(factory, mock.Mock())
        self.run_once()
        conn = mock.Mock()
        accepting.set_result((conn, ("host", 1)))
        self.run_once()
        return conn

    def test_an_accepted_connection_is_closed(self):
        self.loop.set_exception_handler(lambda loop, context: None)
        for error in ValueError, OSError, asyncio.CancelledError:
            with self.subTest(error=error):
                conn = self.accept(mock.Mock(side_effect=error))
                conn.close.assert_called_once_with()


if __name__ == '__main__':
    unittest.main()
