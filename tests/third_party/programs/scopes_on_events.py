"""Tests of scopes on uvloop's own timers, sockets, threads and processes.

None looks at how long anything takes: a wait that a deadline must end is one
that would never end.
"""

import asyncio
import socket
import sys
import threading
import unittest
from asyncio import tasks

import uvloop

# A guard against hanging, in seconds: ten times the longest wait.
OUTER_BOUND = 3


class Guarded(unittest.TestCase):
    """Run on uvloop with one class of tasks."""

    def run_in_loop(self, coro):
        with asyncio.Runner(loop_factory=self.make_loop) as runner:
            unhandled = []
            runner.get_loop().set_exception_handler(
                lambda loop, context: unhandled.append(context))
            result = runner.run(asyncio.wait_for(coro, OUTER_BOUND))
        self.assertEqual(unhandled, [])
        return result

    def make_loop(self):
        loop = uvloop.new_event_loop()
        loop.set_task_factory(lambda loop, coro, **kwargs: self.Task(
            coro, loop=loop, **kwargs))
        return loop


class DeadlineTests:

    def test_a_timeout_of_any_size_ends_its_block(self):
        async def main(timeout):
            with asyncio.move_on_after(timeout) as scope:
                await asyncio.Event().wait()
            self.assertTrue(scope.cancelled_caught)
        # uvloop's timers are in whole milliseconds.
        for timeout in (0, -1, 0.0003, 0.0007, 0.0014, 0.002, 0.0104, 0.01):
            for _ in range(20):
                self.run_in_loop(main(timeout))

    def test_a_deadline_that_is_moved_ends_its_block(self):
        async def main(first, then):
            loop = asyncio.get_running_loop()
            with asyncio.move_on_after(first) as scope:
                loop.call_soon(setattr, scope, "deadline", loop.time() + then)
                await asyncio.Event().wait()
            self.assertTrue(scope.cancelled_caught)
        for first, then in ((None, 0.01), (60, 0.01), (60, 0), (60, -1),
                            (0.005, 0.0204)):
            self.run_in_loop(main(first, then))

    def test_blocks_end_in_the_order_of_their_deadlines(self):
        async def child(when, ended):
            with asyncio.move_on_at(when):
                await asyncio.Event().wait()
            ended.append(when)

        async def main():
            ended = []
            start = asyncio.get_running_loop().time()
            async with asyncio.TaskGroup() as group:
                for n in range(20):
                    when = start + 0.02 + n * 7 % 20 * 0.004
                    group.create_task(child(when, ended))
            self.assertEqual(ended, sorted(ended))
            self.assertEqual(len(ended), 20)
        self.run_in_loop(main())

    def test_fail_after_raises_and_reaches_the_tasks_of_a_group(self):
        async def child(told):
            for _ in range(3):
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    told.append(True)

        async def main():
            told = []
            with self.assertRaises(TimeoutError):
                with asyncio.fail_after(0.01):
                    async with asyncio.TaskGroup() as group:
                        group.create_task(child(told))
                        await asyncio.Event().wait()
            self.assertEqual(len(told), 3)
        self.run_in_loop(main())

    def test_a_shield_with_a_deadline_in_a_cancelled_scope(self):
        async def main():
            with asyncio.move_on_after(0.01) as outer:
                with asyncio.move_on_after(0.03, shield=True) as inner:
                    await asyncio.Event().wait()
                await asyncio.Event().wait()
            self.assertTrue(inner.cancelled_caught)
            self.assertTrue(outer.cancelled_caught)
        self.run_in_loop(main())

    def test_timeout_fires_inside_a_shield(self):
        async def main():
            with asyncio.CancelScope() as outer:
                outer.cancel()
                with asyncio.CancelScope(shield=True):
                    with self.assertRaises(TimeoutError):
                        async with asyncio.timeout(0.01):
                            await asyncio.Event().wait()
                await asyncio.Event().wait()
            self.assertTrue(outer.cancelled_caught)
        self.run_in_loop(main())

    def test_swallowing_for_ever_is_slowed_down(self):
        async def main():
            loop = asyncio.get_running_loop()
            deliveries = 0
            with asyncio.CancelScope() as scope:
                scope.cancel()
                end = loop.time() + 0.3
                while loop.time() < end:
                    try:
                        await asyncio.Event().wait()
                    except asyncio.CancelledError:
                        deliveries += 1
            self.assertLess(deliveries, 120)
        with self.assertLogs("asyncio", "WARNING"):
            self.run_in_loop(main())


class EventTests:

    def test_a_read_that_was_cancelled_loses_no_data(self):
        async def main():
            ours, theirs = socket.socketpair()
            reader, writer = await asyncio.open_connection(sock=ours)
            with theirs:
                with asyncio.CancelScope() as scope:
                    asyncio.get_running_loop().call_soon(scope.cancel)
                    await reader.read(100)
                self.assertTrue(scope.cancelled_caught)
                theirs.sendall(b"data")
                self.assertEqual(await reader.readexactly(4), b"data")
                writer.close()
                await writer.wait_closed()
        self.run_in_loop(main())

    def test_a_receive_that_was_cancelled_loses_no_data(self):
        async def main():
            loop = asyncio.get_running_loop()
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            with ours, theirs:
                with asyncio.CancelScope() as scope:
                    loop.call_soon(scope.cancel)
                    await loop.sock_recv(ours, 100)
                self.assertTrue(scope.cancelled_caught)
                theirs.sendall(b"data")
                self.assertEqual(await loop.sock_recv(ours, 100), b"data")
        self.run_in_loop(main())

    def test_data_that_has_been_read_is_not_lost(self):
        async def child(scope, reader, got):
            with scope:
                got.append(await reader.read(100))
                await asyncio.Event().wait()

        async def main():
            got = []
            ours, theirs = socket.socketpair()
            reader, writer = await asyncio.open_connection(sock=ours)
            scope = asyncio.CancelScope()

            def feed_and_cancel():
                reader.feed_data(b"data")
                scope.cancel()
            with theirs:
                asyncio.get_running_loop().call_soon(feed_and_cancel)
                await child(scope, reader, got)
                writer.close()
                await writer.wait_closed()
            self.assertEqual(got, [b"data"])
            self.assertTrue(scope.cancelled_caught)
        self.run_in_loop(main())

    def test_a_thread_cancels_by_call_soon_threadsafe(self):
        async def main():
            loop = asyncio.get_running_loop()
            with asyncio.CancelScope() as scope:
                thread = threading.Thread(target=loop.call_soon_threadsafe,
                                          args=[scope.cancel, "thread"])
                thread.start()
                with self.assertRaisesRegex(asyncio.CancelledError, "thread"):
                    await asyncio.Event().wait()
                thread.join()
        self.run_in_loop(main())

    def test_the_wait_for_a_thread_is_cancelled_and_not_the_thread(self):
        async def main():
            release, ended = threading.Event(), threading.Event()

            def work():
                release.wait()
                ended.set()
            with asyncio.CancelScope() as scope:
                asyncio.get_running_loop().call_soon(scope.cancel)
                await asyncio.to_thread(work)
            self.assertTrue(scope.cancelled_caught)
            self.assertFalse(ended.is_set())
            release.set()
            await asyncio.to_thread(ended.wait)
        self.run_in_loop(main())

    def test_a_process_outlives_the_wait_for_it(self):
        async def main():
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-S", "-c", "input()",
                stdin=asyncio.subprocess.PIPE)
            with asyncio.CancelScope() as scope:
                asyncio.get_running_loop().call_soon(scope.cancel)
                await process.wait()
            self.assertTrue(scope.cancelled_caught)
            with asyncio.CancelScope() as outer:
                outer.cancel()
                with asyncio.CancelScope(shield=True):
                    self.assertEqual(await process.communicate(b"\n"),
                                     (None, None))
            self.assertEqual(process.returncode, 0)
        self.run_in_loop(main())

    def test_an_edge_is_not_swallowed(self):
        async def child(scope):
            with scope:
                await asyncio.Event().wait()

        async def main():
            scope = asyncio.CancelScope()
            task = asyncio.create_task(child(scope))
            await asyncio.sleep(0)
            task.cancel("edge")
            scope.cancel("level")
            with self.assertRaisesRegex(asyncio.CancelledError, "edge"):
                await task
        self.run_in_loop(main())


for implementation in ("C", "Py"):
    task_class = getattr(tasks, f"_{implementation}Task")
    for behaviour in (DeadlineTests, EventTests):
        name = implementation + behaviour.__name__
        globals()[name] = type(name, (behaviour, Guarded), {
            "Task": task_class, "__module__": __name__})
del behaviour, Guarded, task_class
