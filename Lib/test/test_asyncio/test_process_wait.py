"""Process.wait() waits for the process, not for its pipes (gh-119710)."""

import asyncio
import os
import unittest
from asyncio.subprocess import PIPE
from test import support
from test.test_asyncio.loop_support import LeakCheckMixin
from unittest import mock


def tearDownModule():
    asyncio.set_event_loop_policy(None)


@unittest.skipUnless(os.name == 'posix', 'needs a shell')
@support.requires_subprocess()
class ProcessWaitTests(LeakCheckMixin, unittest.IsolatedAsyncioTestCase):

    async def start_leaving_a_grandchild(self):
        """Start a shell that leaves `cat` behind, which holds its stdout.

        The shell exits at the end of its stdin, the grandchild when the
        returned descriptor is closed.
        """
        reader, writer = os.pipe()
        self.addCleanup(os.close, writer)
        try:
            return await asyncio.create_subprocess_shell(
                f'cat <&{reader} & cat', stdin=PIPE, stdout=PIPE,
                pass_fds=[reader])
        finally:
            os.close(reader)

    async def test_wait_returns_while_a_grandchild_holds_the_pipe(self):
        proc = await self.start_leaving_a_grandchild()
        waiting = asyncio.create_task(proc.wait())
        await asyncio.sleep(0)
        proc.stdin.close()
        async with asyncio.timeout(support.SHORT_TIMEOUT):
            self.assertEqual(await waiting, 0)
        self.assertFalse(proc.stdout.at_eof())
        proc._transport.close()

    async def test_every_waiter_is_woken(self):
        proc = await self.start_leaving_a_grandchild()
        waiting = [asyncio.create_task(proc.wait()) for _ in range(3)]
        await asyncio.sleep(0)
        proc.stdin.close()
        async with asyncio.timeout(support.SHORT_TIMEOUT):
            self.assertEqual(await asyncio.gather(*waiting), [0, 0, 0])
        proc._transport.close()

    async def test_wait_after_the_exit_returns_at_once(self):
        proc = await asyncio.create_subprocess_shell('exit 7')
        await proc.wait()
        waiting = proc.wait()
        with self.assertRaises(StopIteration) as caught:
            waiting.send(None)
        self.assertEqual(caught.exception.value, 7)

    async def test_a_cancelled_wait_does_not_disturb_the_others(self):
        proc = await asyncio.create_subprocess_shell('cat', stdin=PIPE)
        waiting = [asyncio.create_task(proc.wait()) for _ in range(2)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        proc.stdin.close()
        async with asyncio.timeout(support.SHORT_TIMEOUT):
            self.assertEqual(await waiting[1], 0)
        self.assertTrue(waiting[0].cancelled())

    async def cancel_after_the_exit(self, passes):
        """Cancel one of two waits so many passes of the loop after the exit.

        Return what was logged until the other one returned.
        """
        loop = asyncio.get_running_loop()
        errors = []
        loop.set_exception_handler(
            lambda loop, context: errors.append(context))
        proc = await self.start_leaving_a_grandchild()
        waiting = [asyncio.create_task(proc.wait()) for _ in range(2)]
        await asyncio.sleep(0)
        exited = proc._transport._process_exited

        def cancel(passes):
            if passes and not waiting[0].done():
                loop.call_soon(cancel, passes - 1)
            else:
                waiting[0].cancel()

        def cancel_and_exit(returncode):
            cancel(passes)
            exited(returncode)

        with mock.patch.object(
                proc._transport, '_process_exited', cancel_and_exit):
            proc.stdin.close()
            async with asyncio.timeout(support.SHORT_TIMEOUT):
                self.assertEqual(await waiting[1], 0)
        proc._transport.close()
        return errors

    async def test_wait_cancelled_as_the_process_exits(self):
        for passes in range(12):
            with self.subTest(passes=passes):
                self.assertEqual(
                    await self.cancel_after_the_exit(passes), [])


if __name__ == '__main__':
    unittest.main()
