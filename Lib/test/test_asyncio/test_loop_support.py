"""Tests of the support for asyncio's tests."""

import asyncio
import os
import socket
import unittest
from asyncio import proactor_events
from unittest import mock

from test import support
from test.test_asyncio.loop_support import (
    LeakCheckMixin, VirtualClockLoop, VirtualClockTestCase, WouldWaitForever,
    left_in)


def tearDownModule():
    asyncio.set_event_loop_policy(None)


class VirtualClockTests(VirtualClockTestCase):

    async def test_an_hour_passes_exactly(self):
        loop = asyncio.get_running_loop()
        self.assertEqual(loop.time(), 0)
        await asyncio.sleep(3600)
        self.assertEqual(loop.time(), 3600)

    async def test_time_stands_still_while_something_is_ready(self):
        loop = asyncio.get_running_loop()
        for _ in range(1000):
            await asyncio.sleep(0)
        self.assertEqual(loop.time(), 0)

    async def test_timers_fire_in_their_order(self):
        loop = asyncio.get_running_loop()
        seen = []
        for delay in (0.3, 1e6, 0.1, 86401):
            loop.call_later(delay, lambda d=delay: seen.append(
                (d, loop.time())))
        await asyncio.sleep(1e6 + 1)
        self.assertEqual(seen, [(d, d) for d in (0.1, 0.3, 86401, 1e6)])

    async def test_timeout_fires_at_its_time(self):
        loop = asyncio.get_running_loop()
        with self.assertRaises(TimeoutError):
            async with asyncio.timeout(60):
                await loop.create_future()
        self.assertEqual(loop.time(), 60)

    async def test_debug_mode_is_off(self):
        self.assertFalse(asyncio.get_running_loop().get_debug())


class WaitForeverTests(unittest.TestCase):

    def test_waiting_with_nothing_scheduled_raises_and_names_the_task(self):
        async def wait():
            await asyncio.get_running_loop().create_future()

        with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
            with self.assertRaisesRegex(WouldWaitForever, "wait()"):
                runner.run(wait())

    def test_a_wakeup_from_elsewhere_is_no_waiting_for_ever(self):
        async def wait():
            loop = asyncio.get_running_loop()
            future = loop.create_future()
            loop.call_soon(loop.call_soon_threadsafe, future.set_result, 1)
            return await future

        with asyncio.Runner(loop_factory=VirtualClockLoop) as runner:
            self.assertEqual(runner.run(wait()), 1)


class LeakCheckTests(unittest.TestCase):

    def setUp(self):
        # Holds on to what a test leaks, for as long as it takes to see it.
        self.kept = []
        self.addCleanup(self.release)

    def release(self):
        for thing in self.kept:
            thing.close()

    def failure_of(self, body, base=VirtualClockTestCase):
        """The text of the one failure of a test that does *body*."""
        class Case(base):
            async def test(self):
                await body()

        result = unittest.TestResult()
        Case("test").run(result)
        self.assertEqual(result.errors, [])
        self.assertEqual(len(result.failures), 1)
        return result.failures[0][1]

    def test_a_test_that_leaves_nothing_passes(self):
        class Case(VirtualClockTestCase):
            async def test(self):
                task = asyncio.create_task(asyncio.sleep(10))
                await asyncio.sleep(0)
                task.cancel()

        result = unittest.TestResult()
        Case("test").run(result)
        self.assertTrue(result.wasSuccessful())
        self.assertEqual(result.testsRun, 1)

    def test_a_pending_task_is_found(self):
        async def leave():
            self.task = asyncio.create_task(asyncio.Event().wait())

        self.assertIn("left by the test: 1 tasks", self.failure_of(leave))

    def test_a_timer_is_found(self):
        async def leave():
            asyncio.get_running_loop().call_later(10, print)

        self.assertIn("left by the test: 1 timers", self.failure_of(leave))

    def test_a_handle_that_renews_itself_is_found(self):
        async def leave():
            loop = asyncio.get_running_loop()

            def again():
                loop.call_soon(again)
            again()

        self.assertIn("left by the test: 1 handles", self.failure_of(leave))

    def test_a_loop_without_a_selector_is_asked_for_the_rest(self):
        handle = mock.Mock()
        handle.cancelled.return_value = False
        loop = mock.Mock(proactor_events.BaseProactorEventLoop,
                         _ready=[handle], _scheduled=[], _ssock=None)
        found = {kind: things for kind, things in left_in(loop).items()
                 if things}
        self.assertEqual(found, {"handles": [handle]})

    def test_a_file_is_found(self):
        if not os.path.isdir("/proc/self/fd"):
            self.skipTest("needs /proc/self/fd")

        async def leave():
            self.kept.append(open(os.devnull))

        self.assertIn(os.devnull, self.failure_of(leave))

    def test_a_transport_is_found(self):
        class Case(LeakCheckMixin, unittest.IsolatedAsyncioTestCase):
            loop_factory = asyncio.SelectorEventLoop

        async def leave():
            ours, theirs = socket.socketpair()
            self.kept.append(theirs)
            transport, _ = await asyncio.get_running_loop().create_connection(
                asyncio.Protocol, sock=ours)
            self.transport = transport

        class Quiet(Case):
            # Lets the failure of the check on files, which sees the same
            # sockets, not count.
            def _check_files(self, before):
                pass

        text = self.failure_of(leave, Quiet)
        self.assertIn("1 transports", text)
        self.assertIn("1 selector keys", text)
        with self.assertWarns(ResourceWarning):
            self.transport = None
            support.gc_collect()

    def test_another_loop_is_watched_when_asked(self):
        class Case(LeakCheckMixin, unittest.TestCase):
            def test(self):
                loop = VirtualClockLoop()
                self.addCleanup(loop.close)
                self.watch_loop(loop)
                loop.call_later(1, print)

        result = unittest.TestResult()
        Case("test").run(result)
        self.assertIn("1 timers", result.failures[0][1])


if __name__ == "__main__":
    unittest.main()
