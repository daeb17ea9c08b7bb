"""A cancelled wait for a server or a process leaves no waiter behind."""

import asyncio
import os
import unittest
from asyncio.subprocess import PIPE
from test import support
from test.support import socket_helper
from test.test_asyncio.loop_support import LeakCheckMixin


def tearDownModule():
    asyncio.set_event_loop_policy(None)


class WaitCancelTests(LeakCheckMixin, unittest.IsolatedAsyncioTestCase):

    async def cancel_many(self, wait):
        for _ in range(10):
            waiting = asyncio.create_task(wait())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
            self.assertTrue(waiting.cancelled())

    async def start_server(self):
        return await asyncio.get_running_loop().create_server(
            asyncio.Protocol, socket_helper.HOST, 0)

    async def test_server_forgets_cancelled_waiters(self):
        server = await self.start_server()
        await self.cancel_many(server.wait_closed)
        self.assertEqual(server._waiters, [])
        server.close()

    async def test_server_wakes_the_other_waiters(self):
        server = await self.start_server()
        waiting = asyncio.create_task(server.wait_closed())
        await self.cancel_many(server.wait_closed)
        server.close()
        await waiting

    async def test_wait_cancelled_after_the_server_was_closed(self):
        server = await self.start_server()
        waiting = asyncio.create_task(server.wait_closed())
        await asyncio.sleep(0)
        server.close()
        waiting.cancel()
        await asyncio.wait([waiting])
        self.assertTrue(waiting.cancelled())

    @unittest.skipUnless(os.name == 'posix', 'needs a shell')
    @support.requires_subprocess()
    async def test_process_forgets_cancelled_waiters(self):
        proc = await asyncio.create_subprocess_shell('cat', stdin=PIPE)
        await self.cancel_many(proc.wait)
        self.assertEqual(proc._transport._exit_waiters, [])
        waiting = asyncio.create_task(proc.wait())
        await asyncio.sleep(0)
        proc.stdin.close()
        self.assertEqual(await waiting, 0)


if __name__ == '__main__':
    unittest.main()
