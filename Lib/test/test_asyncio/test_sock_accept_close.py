"""sock_accept() cancelled too late closes what it accepted."""

import asyncio
import os
import socket
import unittest
from test import support
from test.support import socket_helper, warnings_helper


def tearDownModule():
    asyncio.set_event_loop_policy(None)


@unittest.skipIf(os.name == 'nt', 'the proactor has its own sock_accept()')
class SockAcceptCloseTests(unittest.IsolatedAsyncioTestCase):

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


if __name__ == '__main__':
    unittest.main()
