"""Tests that what asyncio does in its own cleanup ends in a cancelled scope,
without asking again and again."""

import asyncio
import contextlib
import os
import socket
import sys
import unittest
from asyncio import staggered
from test import support

from test.test_asyncio import scopes_support


def tearDownModule():
    asyncio.set_event_loop_policy(None)


class CleanupTests:

    async def hold(self, lock, seconds):
        async with lock:
            await asyncio.sleep(seconds)

    def test_a_cancelled_condition_regains_its_lock(self):
        async def main():
            condition = asyncio.Condition()
            with asyncio.CancelScope() as scope:
                async with condition:
                    waiting = asyncio.create_task(self.hold(condition, 10))
                    self.loop.call_later(1, scope.cancel)
                    passes = self.loop.passes
                    try:
                        await condition.wait()
                    finally:
                        self.assertTrue(condition.locked())
                        self.assertTrue(waiting.done())
                        self.assertEqual(self.loop.now, 10)
                        self.assertLess(self.loop.passes - passes, 10)
            self.assertTrue(scope.cancelled_caught)
            self.assertFalse(condition.locked())
        self.run_in_loop(main())

    def test_a_notified_condition_is_not_cancelled_any_more(self):
        async def main():
            condition = asyncio.Condition()
            with asyncio.CancelScope() as scope:
                async with condition:
                    async def notify():
                        async with condition:
                            condition.notify()
                            await asyncio.sleep(5)
                    task = asyncio.create_task(notify())
                    self.loop.call_later(1, scope.cancel)
                    self.assertTrue(await condition.wait())
                    self.assertTrue(task.done())
                    self.assertEqual(self.loop.now, 5)
            self.assertFalse(scope.cancelled_caught)
        self.run_in_loop(main())

    def test_an_edge_still_reaches_a_condition(self):
        async def child(condition, scope):
            with scope:
                async with condition:
                    await condition.wait()

        async def main():
            condition, scope = asyncio.Condition(), asyncio.CancelScope()
            task = asyncio.create_task(child(condition, scope))
            await asyncio.sleep(0)
            holding = asyncio.create_task(self.hold(condition, 10))
            await asyncio.sleep(1)
            scope.cancel("level")
            await asyncio.sleep(1)
            task.cancel("edge")
            with self.assertRaisesRegex(asyncio.CancelledError, "edge"):
                await task
            self.assertEqual(self.loop.now, 10)
            await holding
        self.run_in_loop(main())

    def test_a_cancelled_race_waits_for_its_attempts(self):
        async def attempt(ended):
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(10)
                ended.append(self.loop.now)

        async def main():
            ended = []
            with asyncio.move_on_after(1) as scope:
                passes = self.loop.passes
                try:
                    await staggered.staggered_race(
                        [lambda: attempt(ended)] * 2, 0.5)
                finally:
                    passes = self.loop.passes - passes
            self.assertTrue(scope.cancelled_caught)
            self.assertEqual(ended, [11, 11])
            self.assertLess(passes, 20)
        self.run_in_loop(main())

    def test_wait_for_without_time_is_cancelled_not_late(self):
        async def child(ended):
            try:
                await asyncio.sleep(60)
            finally:
                with asyncio.shield():
                    await asyncio.sleep(5)
                ended.append(self.loop.now)

        async def main():
            ended = []
            with asyncio.CancelScope() as scope:
                task = asyncio.create_task(child(ended))
                await asyncio.sleep(0)
                scope.cancel("level")
                with self.assertRaisesRegex(asyncio.CancelledError, "level"):
                    await asyncio.wait_for(task, 0)
                self.assertEqual(ended, [5])
            with self.assertRaises(TimeoutError):
                await asyncio.wait_for(asyncio.sleep(60), 0)
        self.run_in_loop(main())

    def test_wait_for_with_time_is_cancelled_not_late(self):
        async def main():
            with asyncio.move_on_after(5) as scope:
                with self.assertRaises(asyncio.CancelledError):
                    await asyncio.wait_for(asyncio.sleep(60), 5)
                with self.assertRaises(asyncio.CancelledError):
                    await asyncio.wait_for(asyncio.sleep(60), 1)
                await asyncio.sleep(60)
            self.assertTrue(scope.cancelled_caught)
        self.run_in_loop(main())

    def test_a_group_that_ends_is_not_told_again(self):
        async def member():
            try:
                await asyncio.sleep(60)
            finally:
                with asyncio.shield():
                    await asyncio.sleep(10)

        async def main():
            with asyncio.move_on_after(1):
                passes = self.loop.passes
                try:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(member())
                finally:
                    passes = self.loop.passes - passes
            self.assertEqual(self.loop.now, 11)
            self.assertLess(passes, 10)
        self.run_in_loop(main())

    def test_the_end_of_the_loop_waits_for_a_shielded_task(self):
        ended = []

        async def shielded():
            with asyncio.CancelScope() as scope:
                scope.cancel()
                with asyncio.shield():
                    await asyncio.sleep(10)
                ended.append(self.loop.now)

        async def main():
            asyncio.create_task(shielded())
            await asyncio.sleep(1)

        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            runner.run(main())
            passes = self.loop.passes
        self.assertEqual(ended, [10])
        self.assertLess(self.loop.passes - passes, 15)


class SocketTests(unittest.IsolatedAsyncioTestCase):

    async def test_a_cancelled_server_ends_with_an_idle_client(self):
        async def serve(reader, writer):
            connected.set()
            await reader.read()
            writer.close()

        def count():
            nonlocal passes
            passes += 1
            if not ended:
                loop.call_soon(count)

        loop = asyncio.get_running_loop()
        connected, ended, passes = asyncio.Event(), False, 0
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname())
        await connected.wait()
        with asyncio.CancelScope() as scope:
            loop.call_soon(scope.cancel)
            loop.call_soon(count)
            await server.serve_forever()
        ended = True
        self.assertTrue(scope.cancelled_caught)
        self.assertFalse(server.is_serving())
        self.assertLess(passes, 10)
        writer.close()
        await writer.wait_closed()
        await server.wait_closed()


class _Watched(socket.socket):
    """A socket that calls *received* when it has received something."""

    received = None

    def recv(self, size):
        data = super().recv(size)
        self.received()
        return data


class EitherOrderTests(unittest.IsolatedAsyncioTestCase):
    """Data comes in the pass in which its receiver is cancelled."""

    async def asyncSetUp(self):
        self.loop = asyncio.get_running_loop()
        one, self.peer = socket.socketpair()
        self.addCleanup(self.peer.close)
        self.sock = _Watched(fileno=one.detach())
        self.addCleanup(self.sock.close)
        self.sock.setblocking(False)

    async def receive(self, scope, got):
        with scope:
            got.append(await self.loop.sock_recv(self.sock, 4))
            await self.loop.create_future()

    async def test_the_data_comes_first(self):
        scope, got = asyncio.CancelScope(), []
        # Between the receiver's future and its next step.
        self.sock.received = lambda: self.loop.call_soon(scope.cancel)
        task = asyncio.create_task(self.receive(scope, got))
        await asyncio.sleep(0)
        self.peer.send(b"data")
        await task
        self.assertEqual(got, [b"data"])
        self.assertTrue(scope.cancelled_caught)

    async def cancel_as_data_comes(self, cancel):
        scope, got = asyncio.CancelScope(), []
        self.sock.received = lambda: None
        task = asyncio.create_task(self.receive(scope, got))
        await asyncio.sleep(0)
        self.peer.send(b"data")
        cancel(scope)
        await task
        self.assertTrue(scope.cancelled_caught)
        return got

    async def test_the_cancellation_comes_first(self):
        got = await self.cancel_as_data_comes(asyncio.CancelScope.cancel)
        self.assertEqual(got, [])
        self.assertEqual(await self.loop.sock_recv(self.sock, 4), b"data")

    async def test_the_loop_finds_the_data_before_it_runs_what_is_ready(self):
        got = await self.cancel_as_data_comes(
            lambda scope: self.loop.call_soon(scope.cancel))
        # Loops differ in whether they receive it at once, too.
        got = got or [await self.loop.sock_recv(self.sock, 4)]
        self.assertEqual(got, [b"data"])


@unittest.skipUnless(hasattr(os, "waitid"), "os.waitid() is needed")
@support.requires_subprocess()
class SubprocessTests(unittest.IsolatedAsyncioTestCase):

    def has_children(self):
        with contextlib.suppress(ChildProcessError):
            # A child that has ended and was not waited for.
            return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG
                             | os.WNOWAIT) or True
        return False

    async def test_a_process_cancelled_while_it_starts_is_waited_for(self):
        if self.has_children():
            self.skipTest("other children")
        with (asyncio.CancelScope() as scope,
              self.assertLogs("asyncio", "WARNING")):
            scope.cancel()
            await asyncio.create_subprocess_exec(
                sys.executable, "-c", "input()",
                stdin=asyncio.subprocess.PIPE)
        self.assertTrue(scope.cancelled_caught)
        self.assertFalse(self.has_children())


globals().update(scopes_support.kinds("CleanupTests", CleanupTests))
del CleanupTests


if __name__ == "__main__":
    unittest.main()
