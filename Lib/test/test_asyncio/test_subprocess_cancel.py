"""A subprocess that is cancelled while it starts leaves nothing behind.

gh-125502, gh-103847.
"""

import asyncio
import contextlib
import os
import subprocess
import unittest
import unittest.mock
from asyncio import base_subprocess
from asyncio.subprocess import PIPE
from test import support
from test.support import os_helper, warnings_helper
from test.test_asyncio.loop_support import LeakCheckMixin


def tearDownModule():
    asyncio.set_event_loop_policy(None)


# Connecting the three pipes takes less.
ENOUGH_PASSES = 9


_Popen = subprocess.Popen


class _Protocol(asyncio.SubprocessProtocol):

    def __init__(self):
        self.calls = []

    def connection_made(self, transport):
        self.calls.append('made')

    def connection_lost(self, exc):
        self.calls.append('lost')


async def ends(task):
    """Return whether *task* ends; if not, stop it all the same."""
    done, pending = await asyncio.wait([task], timeout=support.SHORT_TIMEOUT)
    while pending:
        task.cancel()
        _, pending = await asyncio.wait([task], timeout=0.1)
    return bool(done)


def cancel_caller(starting):
    starting.cancel()


def cancel_connecting(starting):
    for task in asyncio.all_tasks() - {starting, asyncio.current_task()}:
        task.cancel()


def cancel_everything(starting):
    # What asyncio.run() does when it ends.
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


@unittest.skipUnless(os.name == 'posix', 'needs a shell')
@support.requires_subprocess()
class SubprocessCancelTests(LeakCheckMixin, unittest.TestCase):

    async def start_and_cancel(self, cancel, passes, command):
        """Start *command*, call *cancel* after *passes* passes of the loop."""
        loop = asyncio.get_running_loop()
        watched = len(loop._selector.get_map())
        protocol = _Protocol()
        starting = asyncio.create_task(
            loop.subprocess_shell(lambda: protocol, command))
        for _ in range(passes):
            await asyncio.sleep(0)
        cancel(starting)
        self.assertTrue(await ends(starting),
                        f'hangs when cancelled after {passes} passes')
        if not starting.cancelled():
            transport, _ = starting.result()
            transport.close()
            await transport._wait()
        self.assertNotIn('lost', protocol.calls[:1])
        # Processes and pipes end in callbacks of callbacks.
        for _ in range(100):
            if len(loop._selector.get_map()) == watched:
                break
            await asyncio.sleep(0.01)
        self.assertEqual(len(loop._selector.get_map()), watched)
        return starting.cancelled()

    def check_each_pass(self, cancel, command):
        cancelled = set()
        for passes in range(ENOUGH_PASSES):
            with warnings_helper.check_no_resource_warning(self):
                before = os_helper.fd_count()
                if asyncio.run(
                        self.start_and_cancel(cancel, passes, command)):
                    cancelled.add(passes)
                support.gc_collect()
                self.assertEqual(os_helper.fd_count(), before)
        # One is before the first step of the task that connects the pipes,
        # the others are at each of its awaits.
        self.assertLessEqual({1, 2, 3, 4, 5, 6}, cancelled)

    def check_with_a_grandchild(self, cancel):
        (reader, writer), (started, starts) = os.pipe(), os.pipe()
        for fd in reader, writer, started, starts:
            self.addCleanup(os.close, fd)
        os.set_inheritable(reader, True)
        os.set_inheritable(starts, True)

        def popen(*args, **kwargs):
            process = _Popen(*args, close_fds=False, **kwargs)
            # Not killed before there is a grandchild.
            os.read(started, 1)
            return process

        with unittest.mock.patch('subprocess.Popen', popen):
            self.check_each_pass(
                cancel, f'cat <&{reader} & echo >&{starts}; exec cat')

    def test_cancelled_caller(self):
        self.check_each_pass(cancel_caller, 'cat')

    def test_cancelled_connection_of_the_pipes(self):
        self.check_each_pass(cancel_connecting, 'cat')

    def test_cancelled_everything(self):
        self.check_each_pass(cancel_everything, 'cat')

    def test_grandchild_and_cancelled_caller(self):
        self.check_with_a_grandchild(cancel_caller)

    def test_grandchild_and_cancelled_connection_of_the_pipes(self):
        self.check_with_a_grandchild(cancel_connecting)

    def test_grandchild_and_cancelled_everything(self):
        self.check_with_a_grandchild(cancel_everything)

    def test_failure_to_connect_a_pipe_closes_all(self):
        async def start(loop):
            with unittest.mock.patch.object(
                    loop, 'connect_read_pipe', side_effect=OSError('no')):
                with self.assertRaisesRegex(OSError, 'no'):
                    await loop.subprocess_shell(_Protocol, 'cat')

        async def main():
            async with asyncio.timeout(support.SHORT_TIMEOUT):
                await start(asyncio.get_running_loop())

        with warnings_helper.check_no_resource_warning(self):
            asyncio.run(main())

    def test_cancelled_connection_ends_cancelled(self):
        async def main():
            loop = asyncio.get_running_loop()
            starting = asyncio.create_task(
                loop.subprocess_shell(_Protocol, 'cat'))
            await asyncio.sleep(0)
            connecting, = (asyncio.all_tasks()
                           - {starting, asyncio.current_task()})
            await asyncio.sleep(0)
            connecting.cancel()
            await asyncio.wait([connecting])
            self.assertTrue(await ends(starting))
            self.assertTrue(connecting.cancelled())
            self.assertTrue(starting.cancelled())

        asyncio.run(main())

    def test_message_reaches_the_caller(self):
        async def main():
            starting = asyncio.create_task(
                asyncio.get_running_loop().subprocess_shell(_Protocol, 'cat'))
            await asyncio.sleep(0)
            connecting, = (asyncio.all_tasks()
                           - {starting, asyncio.current_task()})
            connecting.cancel('why')
            self.assertTrue(await ends(starting))
            with self.assertRaisesRegex(asyncio.CancelledError, 'why'):
                await starting

        asyncio.run(main())

    def test_exit_while_connecting_closes_all(self):
        async def main():
            loop = asyncio.get_running_loop()
            with unittest.mock.patch.object(
                    loop, 'connect_read_pipe', side_effect=SystemExit):
                await loop.subprocess_shell(_Protocol, 'cat')

        with warnings_helper.check_no_resource_warning(self):
            with self.assertRaises(SystemExit):
                asyncio.run(main())
            support.gc_collect()

    def test_caller_is_told_although_closing_fails(self):
        async def main():
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda loop, context: None)
            with (unittest.mock.patch.object(
                      loop, 'connect_read_pipe', side_effect=OSError('no')),
                  unittest.mock.patch(
                      'asyncio.unix_events._UnixWritePipeTransport.close',
                      side_effect=[OSError('closing'), None, None])):
                starting = asyncio.create_task(
                    loop.subprocess_shell(_Protocol, 'true'))
                self.assertTrue(await ends(starting))
                with self.assertRaisesRegex(OSError, 'no'):
                    await starting

        asyncio.run(main())

    def test_connected_pipe_is_left_alone_when_the_loop_is_closed(self):
        # gh-114177: a coroutine that is collected late closes no transport,
        # which would use the loop.
        class Transport(base_subprocess.BaseSubprocessTransport):
            def _start(self, **kwargs):
                self._proc = unittest.mock.Mock(stderr=None)

        async def main():
            loop = asyncio.get_running_loop()
            transport = Transport(
                loop, _Protocol(), ('program',), False, PIPE, PIPE, None, 0)
            while not transport._pipes[0]:
                await asyncio.sleep(0)
            connecting, = asyncio.all_tasks() - {asyncio.current_task()}
            return transport, connecting

        async def connect(*args):
            return None, unittest.mock.Mock()

        async def never(*args):
            await asyncio.get_running_loop().create_future()

        loop = asyncio.new_event_loop()
        with (contextlib.closing(loop),
              unittest.mock.patch.object(loop, 'connect_write_pipe', connect),
              unittest.mock.patch.object(loop, 'connect_read_pipe', never)):
            transport, connecting = loop.run_until_complete(main())
        connecting._log_destroy_pending = False
        connecting.get_coro().close()
        transport._pipes[0].pipe.close.assert_not_called()
        transport._proc.stdout.close.assert_called_once_with()
        transport.close()


if __name__ == '__main__':
    unittest.main()
