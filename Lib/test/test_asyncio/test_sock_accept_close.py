"""sock_accept() cancelled too late closes what it accepted."""

import asyncio
import os
import socket
import unittest
from test import support
from test.support import socket_helper, warnings_helper
from test.test_asyncio.loop_support import LeakCheckMixin


def tearDownModule():
    asyncio.set_event_loop_policy(None)


@unittest.skipIf(os.name == 'nt', 'the proactor has its own sock_accept()')
class SockAcceptCloseTests(LeakCheckMixin, unittest.IsolatedAsyncioTestCase):

    async def test_accepted_connection_is_closed(self):
        loop = asyncio.get_running_loop()
        with (warnings_helper.check_no_resource_warning(self),
              socket.create_server((socket_helper.HOST, 0)) as listener):
            listener.setblocking(False)
            accepting = asyncio.create_task(loop.sock_accept(listener))
            await asyncio.sleep(0)
            with socket.create_connection(listener.getsockname()) as client:
                client.settimeout(support.LOOPBACK_TIMEOUT)
                accepted = accepting._fut_waiter
                while not accepted.done():
                    await asyncio.sleep(0)
                self.assertFalse(accepting.done())
                del accepted
                accepting.cancel()
                await asyncio.wait([accepting])
                self.assertTrue(accepting.cancelled())
                self.assertEqual(client.recv(1), b'')

    async def test_failure_is_passed_on(self):
        loop = asyncio.get_running_loop()
        with socket.socket() as sock:
            sock.setblocking(False)
            with self.assertRaises(OSError):
                await loop.sock_accept(sock)

    async def cancel_when_it_is_done(self, end):
        """Cancel sock_accept() after *end* has ended what it waits for.

        Return the exception that it raised.
        """
        async def accept():
            try:
                await loop.sock_accept(listener)
            except BaseException as exc:
                return exc
        loop = asyncio.get_running_loop()
        with socket.create_server((socket_helper.HOST, 0)) as listener:
            listener.setblocking(False)
            accepting = asyncio.create_task(accept())
            await asyncio.sleep(0)
            end(accepting._fut_waiter)
            accepting.cancel('why')
            return await accepting

    def check_is_the_cancellation(self, exc):
        self.assertIs(type(exc), asyncio.CancelledError)
        self.assertEqual(exc.args, ('why',))
        self.assertIsNone(exc.__context__)

    async def test_cancellation_while_it_waits_is_passed_on(self):
        self.check_is_the_cancellation(
            await self.cancel_when_it_is_done(lambda future: None))

    async def test_cancellation_after_a_failure_is_passed_on(self):
        self.check_is_the_cancellation(await self.cancel_when_it_is_done(
            lambda future: future.set_exception(OSError('no'))))

    async def test_coroutine_can_be_closed_while_it_waits(self):
        loop = asyncio.get_running_loop()
        with socket.create_server((socket_helper.HOST, 0)) as listener:
            listener.setblocking(False)
            accepting = loop.sock_accept(listener)
            accepting.send(None)
            accepting.close()
            self.assertTrue(loop.remove_reader(listener))


if __name__ == '__main__':
    unittest.main()
