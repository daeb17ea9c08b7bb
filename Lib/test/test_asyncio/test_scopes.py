"""Tests for scopes.py and cancellation.py."""

import asyncio
import contextlib
import contextvars
import copy
import fractions
import gc
import inspect
import io
import math
import pickle
import random
import threading
import traceback
import unittest
import weakref

from asyncio import cancellation
from asyncio import scopes
from unittest import mock
from test import support
from test.test_asyncio import scopes_support


def tearDownModule():
    asyncio.set_event_loop_policy(None)


class Refusing(asyncio.Future):
    """A future that cannot be cancelled."""

    asked = 0

    def cancel(self, msg=None):
        self.asked += 1
        return False


class LevelTests:

    def test_every_wait_of_a_cancelled_scope_is_told_once(self):
        async def main():
            told = []
            with asyncio.CancelScope() as scope:
                scope.cancel("enough")
                for _ in range(5):
                    try:
                        await asyncio.sleep(1)
                    except asyncio.CancelledError as exc:
                        told.append(exc.args)
                await asyncio.sleep(1)
                self.fail("the wait was not cancelled")
            self.assertEqual(told, [("enough",)] * 5)
            self.assertTrue(scope.cancelled_caught)
            self.assertEqual(self.loop.now, 0)
        self.run_in_loop(main())

    def test_a_wait_in_finally_does_not_stay(self):
        async def main():
            left = []
            with asyncio.move_on_after(5):
                try:
                    await asyncio.sleep(60)
                finally:
                    try:
                        await asyncio.sleep(60)
                    finally:
                        left.append(self.loop.now)
            self.assertEqual(left, [5])
        self.run_in_loop(main())

    def test_cancel_reaches_a_parked_task_in_the_next_pass(self):
        async def child(scope):
            with scope:
                await self.loop.create_future()

        async def main():
            scope = asyncio.CancelScope()
            task = asyncio.create_task(child(scope))
            await asyncio.sleep(1)
            scope.cancel()
            before = self.loop.passes
            await task
            self.assertTrue(scope.cancelled_caught)
            self.assertLessEqual(self.loop.passes - before, 2)
        self.run_in_loop(main())

    def test_the_count_of_requests_is_left_alone(self):
        async def main():
            task = asyncio.current_task()
            with asyncio.CancelScope() as scope:
                scope.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await asyncio.sleep(1)
                self.assertEqual(task.cancelling(), 0)
                self.assertFalse(task._must_cancel)
            self.assertFalse(scope.cancelled_caught)
        self.run_in_loop(main())

    def test_a_future_that_refuses_is_asked_once_a_wait(self):
        async def main():
            future = Refusing(loop=self.loop)
            self.loop.call_later(3, future.set_result, "result")
            with asyncio.CancelScope() as scope:
                scope.cancel()
                self.assertEqual(await future, "result")
            self.assertEqual(future.asked, 1)
            self.assertFalse(scope.cancelled_caught)
        self.run_in_loop(main())

    def test_a_cancel_that_raises_does_not_stop_the_others(self):
        class Raising(asyncio.Future):
            def cancel(self, msg=None):
                raise ZeroDivisionError

        async def child(future):
            await future

        async def main():
            group = cancellation.Node()
            group.members = {}
            raising = Raising(loop=self.loop)
            self.loop.call_later(9, raising.set_result, None)
            children = []
            for future in (raising, self.loop.create_future()):
                coro = child(future)
                asyncio.tasks._pending_owners[id(coro)] = group
                children.append(asyncio.create_task(coro))
            await asyncio.sleep(1)
            group.cancel()
            await asyncio.wait(children)
            self.assertFalse(children[0].cancelled())
            self.assertTrue(children[1].cancelled())
            [context] = self.unhandled
            self.unhandled.clear()
            self.assertIsInstance(context["exception"], ZeroDivisionError)
        self.run_in_loop(main())

    def test_an_error_in_asking_does_not_stop_the_others(self):
        asked = []

        class Member:
            def __init__(self, name, node, raises=False):
                self.name, self.node, self.raises = name, node, raises

            def deliver(self):
                asked.append(self.name)
                if self.raises:
                    raise ZeroDivisionError(self.name)

        outer, group, inner, last = nodes = [
            cancellation.Node() for _ in range(4)]
        for node in nodes[1:]:
            node.attach(outer)
        group.members = dict.fromkeys([Member("a", group, True),
                                       Member("b", group),
                                       Member("elsewhere", inner),
                                       Member("c", group, True)])
        inner.host = Member("d", inner, True)
        last.host = Member("e", last)
        with self.assertRaisesRegex(ZeroDivisionError, "^d$") as cm:
            outer.cancel()
        self.assertEqual(asked, list("abcde"))
        self.assertEqual([str(cm.exception.__context__),
                          str(cm.exception.__context__.__context__)],
                         ["c", "a"])

    def test_an_error_that_asking_raises_again_is_no_context_of_itself(self):
        class Member:
            def __init__(self, node):
                self.node = node

            def deliver(self):
                raise error

        error = ZeroDivisionError()
        group = cancellation.Node()
        group.members = {Member(group): None, Member(group): None}
        with self.assertRaises(ZeroDivisionError):
            group.cancel()
        self.assertIsNone(error.__context__)

    def test_what_asking_changes_meanwhile(self):
        asked = []

        class Member:
            def __init__(self, node, action):
                self.node, self.action = node, action

            def deliver(self):
                asked.append(self)
                self.action()

        def shield_twice():
            # It becomes cancelled again while it is still to be told.
            last.hides = True
            last.update()
            last.hides = False
            last.update()

        outer, group, last = nodes = [cancellation.Node() for _ in range(3)]
        group.attach(outer)
        last.attach(outer)
        first = Member(group, lambda: group.members.pop(second))
        second = Member(group, shield_twice)
        third = Member(group, lambda: None)
        group.members = dict.fromkeys([first, second, third])
        last.host = Member(last, lambda: None)
        outer.cancel()
        self.assertEqual(asked, [first, second, third, last.host])
        shield_twice()
        self.assertEqual(asked[4:], [last.host])

    def test_a_result_that_has_arrived_is_not_lost(self):
        async def child(scope, future, got):
            with scope:
                got.append(await future)
                await asyncio.sleep(1)
                got.append("more")

        async def main():
            got = []
            scope = asyncio.CancelScope()
            future = self.loop.create_future()
            task = asyncio.create_task(child(scope, future, got))
            await asyncio.sleep(1)
            future.set_result("result")
            scope.cancel()
            await task
            self.assertEqual(got, ["result"])
            self.assertTrue(scope.cancelled_caught)
        self.run_in_loop(main())

    async def check_nothing_is_lost(self, give_first, wait, give, left):
        """What is given in the pass in which its waiter is cancelled is with
        the waiter, or left."""
        async def child():
            with scope:
                got.append(await wait())

        scope, got = asyncio.CancelScope(), []
        task = asyncio.create_task(child())
        await asyncio.sleep(1)
        steps = [give, scope.cancel]
        for step in steps if give_first else reversed(steps):
            step()
        await task
        # Who else waits has it by then.
        await asyncio.sleep(20)
        self.assertEqual((len(got), left()), (give_first, not give_first))

    def check_in_either_order(self, make):
        for give_first in (True, False):
            with self.subTest(give_first=give_first):
                async def main():
                    await self.check_nothing_is_lost(give_first, *await make())
                self.run_in_loop(main())

    def test_an_item_of_a_queue_is_not_lost_in_either_order(self):
        async def make():
            queue = asyncio.Queue()
            return queue.get, lambda: queue.put_nowait("item"), queue.qsize
        self.check_in_either_order(make)

    def test_room_in_a_queue_is_not_lost_in_either_order(self):
        async def make():
            queue = asyncio.Queue(1)
            queue.put_nowait("first")
            return (lambda: queue.put("second"), queue.get_nowait,
                    queue.empty)
        self.check_in_either_order(make)

    def test_a_lock_is_not_lost_in_either_order(self):
        async def make():
            lock = asyncio.Lock()
            await lock.acquire()
            return lock.acquire, lock.release, lambda: not lock.locked()
        self.check_in_either_order(make)

    def test_a_semaphore_is_not_lost_in_either_order(self):
        async def make():
            semaphore = asyncio.Semaphore(1)
            await semaphore.acquire()
            return (semaphore.acquire, semaphore.release,
                    lambda: not semaphore.locked())
        self.check_in_either_order(make)

    def test_a_notification_is_not_lost_in_either_order(self):
        async def make():
            condition, others = asyncio.Condition(), []

            async def wait():
                async with condition:
                    return await condition.wait()

            async def wait_second():
                await asyncio.sleep(0.5)
                with asyncio.move_on_after(10):
                    others.append(await wait())

            def give():
                condition.notify()
                condition.release()

            second = asyncio.create_task(wait_second())
            self.loop.call_later(0.75, seize, condition)
            return wait, give, lambda: len(others)

        def seize(condition):
            # Free, so that it does not suspend.
            with self.assertRaises(StopIteration):
                condition.acquire().send(None)
        self.check_in_either_order(make)

    def test_data_of_a_stream_is_not_lost_in_either_order(self):
        for method in "readexactly", "read":
            with self.subTest(method=method):
                async def make():
                    reader = asyncio.StreamReader()
                    return (lambda: getattr(reader, method)(4),
                            lambda: reader.feed_data(b"item"),
                            lambda: reader._buffer == b"item")
                self.check_in_either_order(make)

    def test_an_awaited_task_gets_its_first_step_and_is_then_cancelled(self):
        async def child(seen):
            seen.append("first step")
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError as exc:
                seen.append(exc.args)
                raise

        async def main():
            seen = []
            with asyncio.CancelScope() as scope:
                scope.cancel("why")
                await asyncio.create_task(child(seen))
            self.assertEqual(seen, ["first step", ("why",)])
            self.assertTrue(scope.cancelled_caught)
        self.run_in_loop(main())

    def test_a_first_step_always_runs(self):
        async def child(seen):
            seen.append("first step")
            await asyncio.sleep(1)
            seen.append("second step")

        async def main():
            seen = []
            group = cancellation.Node()
            group.members = {}
            group.cancel()
            coro = child(seen)
            asyncio.tasks._pending_owners[id(coro)] = group
            task = asyncio.create_task(coro)
            with self.assertRaises(asyncio.CancelledError):
                await task
            self.assertEqual(seen, ["first step"])
            self.assertEqual(group.members, {})
        self.run_in_loop(main())

    def test_a_bare_yield_is_told_on_resuming(self):
        async def main():
            with asyncio.CancelScope() as scope:
                self.loop.call_soon(scope.cancel, "now")
                with self.assertRaisesRegex(asyncio.CancelledError, "now"):
                    await asyncio.sleep(0)
        self.run_in_loop(main())

    def test_checkpoint_tells_of_a_deadline_that_has_passed(self):
        async def main():
            with asyncio.move_on_after(1) as scope:
                self.loop.now += 2
                await asyncio.checkpoint()
                self.fail("checkpoint() was not cancelled")
            self.assertTrue(scope.cancelled_caught)
            with asyncio.move_on_after(1) as scope:
                self.loop.now += 2
                self.assertTrue(scope.cancel_called)
        self.run_in_loop(main())

    def test_checkpoint_if_cancelled_suspends_only_to_be_cancelled(self):
        async def main():
            with asyncio.CancelScope() as scope:
                passes = self.loop.passes
                await asyncio.checkpoint_if_cancelled()
                self.assertEqual(self.loop.passes, passes)
                scope.cancel()
                await asyncio.checkpoint_if_cancelled()
                self.fail("it was not cancelled")
            self.assertTrue(scope.cancelled_caught)
        self.run_in_loop(main())

    def test_swallowing_for_ever_is_slowed_down_and_logged_once(self):
        async def main(wait):
            deliveries = 0
            with asyncio.CancelScope() as scope:
                scope.cancel()
                passes = self.loop.passes
                while self.loop.now < 10:
                    try:
                        await wait()
                    except asyncio.CancelledError:
                        deliveries += 1
                return deliveries, self.loop.passes - passes
        with self.assertLogs("asyncio", "WARNING") as logs:
            deliveries, passes = self.run_in_loop(
                main(lambda: asyncio.sleep(60)))
        # 100 at once; seven up to 64 ms; then ten a second.
        self.assertIn(deliveries, range(200, 210))
        self.assertLess(passes, 3 * deliveries)
        [record] = logs.records
        self.assertIn("swallows its cancellation", record.getMessage())

    def test_many_timeouts_in_a_row_are_no_storm(self):
        async def main():
            for _ in range(300):
                with asyncio.move_on_after(1) as scope:
                    await asyncio.sleep(60)
                self.assertTrue(scope.cancelled_caught)
            self.assertEqual(self.loop.now, 300)
        with self.assertNoLogs("asyncio", "WARNING"):
            self.run_in_loop(main())

    async def swallow(self, wait, times):
        """Wait so often; return how often that was cancelled."""
        deliveries = 0
        for _ in range(times):
            try:
                await wait()
            except asyncio.CancelledError:
                deliveries += 1
        return deliveries

    def test_the_first_cancel_gives_the_text(self):
        async def main():
            with asyncio.CancelScope() as scope:
                scope.cancel("first")
                scope.cancel("second")
                with self.assertRaisesRegex(asyncio.CancelledError, "first"):
                    await asyncio.sleep(1)
            self.assertEqual(scope.cancel_msg, "first")
        self.run_in_loop(main())

    def test_without_a_text_the_error_has_no_arguments(self):
        async def main():
            told = []
            with asyncio.CancelScope() as scope:
                scope.cancel()
                for seconds in (0, 1):
                    try:
                        await asyncio.sleep(seconds)
                    except asyncio.CancelledError as exc:
                        told.append(exc.args)
            self.assertEqual(told, [(), ()])
        self.run_in_loop(main())

    def test_an_error_from_elsewhere_passes(self):
        async def main():
            cancelled = self.loop.create_future()
            cancelled.cancel("other")
            with self.assertRaisesRegex(asyncio.CancelledError, "other"):
                with asyncio.CancelScope() as scope:
                    await cancelled
            self.assertFalse(scope.cancelled_caught)
        self.run_in_loop(main())

    def test_a_result_after_a_bare_yield_is_not_lost(self):
        async def child(scope, future, got):
            with scope:
                await asyncio.sleep(0)
                got.append(await future)

        async def main():
            scope, got = asyncio.CancelScope(), []
            future = self.loop.create_future()
            task = asyncio.create_task(child(scope, future, got))
            await asyncio.sleep(1)
            future.set_result("result")
            scope.cancel()
            await task
            self.assertEqual(got, ["result"])
        self.run_in_loop(main())

    def test_a_future_that_refuses_is_asked_once_in_spite_of_shields(self):
        async def main():
            future = Refusing(loop=self.loop)
            with asyncio.CancelScope() as outer:
                with asyncio.CancelScope() as inner:
                    self.loop.call_later(1, outer.cancel)
                    self.loop.call_later(2, setattr, inner, "shield", True)
                    self.loop.call_later(3, setattr, inner, "shield", False)
                    self.loop.call_later(5, future.set_result, "result")
                    self.assertEqual(await future, "result")
            self.assertEqual(future.asked, 1)
        self.run_in_loop(main())

    def test_a_delivery_that_comes_too_late_is_not_that_of_the_next_wait(self):
        async def sleep():
            try:
                await asyncio.sleep(60)
            finally:
                ended.append(self.loop.now)

        async def child(scope, first):
            with scope:
                await first
                await asyncio.create_task(sleep())

        async def main():
            scope, future = asyncio.CancelScope(), self.loop.create_future()
            first = asyncio.ensure_future(asyncio.wait([future]))
            # In the pass in which its waiter runs on, and before that.
            first.add_done_callback(lambda first: scope.cancel())
            task = asyncio.create_task(child(scope, first))
            await asyncio.sleep(1)
            future.set_result(None)
            await task
            self.assertTrue(scope.cancelled_caught)
            self.assertEqual(ended, [1])

        ended = []
        self.run_in_loop(main())

    def test_a_shield_put_up_in_time_stops_a_delivery(self):
        async def child(scopes):
            with scopes[0]:
                with scopes[1]:
                    await asyncio.create_task(asyncio.sleep(5))
                seen.append(self.loop.now)

        async def main():
            scopes = asyncio.CancelScope(), asyncio.CancelScope()
            task = asyncio.create_task(child(scopes))
            await asyncio.sleep(1)
            scopes[0].cancel()
            scopes[1].shield = True
            await task
            self.assertEqual(seen, [5])

        seen = []
        self.run_in_loop(main())

    def test_a_shield_taken_off_again_lets_the_next_delivery_pass(self):
        async def child(scopes):
            with scopes[0]:
                with scopes[1]:
                    await asyncio.create_task(asyncio.sleep(5))

        async def main():
            scopes = asyncio.CancelScope(), asyncio.CancelScope()
            task = asyncio.create_task(child(scopes))
            await asyncio.sleep(1)
            scopes[0].cancel()
            scopes[1].shield = True
            # The delivery that was on its way finds the shield.
            await asyncio.sleep(1)
            scopes[1].shield = False
            await task
            self.assertTrue(scopes[0].cancelled_caught)
            self.assertEqual(self.loop.now, 2)
        self.run_in_loop(main())

    def test_an_awaited_task_is_cancelled_from_where_its_waiter_is(self):
        async def helper(scope):
            scope.cancel()

        async def shielded(scope):
            with asyncio.CancelScope(shield=True):
                await asyncio.sleep(1)
                # It cancels from within this shield, but not this task.
                await asyncio.create_task(helper(scope))
                await asyncio.sleep(4)
            seen.append(self.loop.now)

        async def main():
            with asyncio.CancelScope() as scope:
                await asyncio.create_task(shielded(scope))
                await asyncio.sleep(1)
            self.assertTrue(scope.cancelled_caught)
            self.assertEqual(seen, [5])

        seen = []
        self.run_in_loop(main())

    def test_tasks_are_told_in_the_order_of_their_scopes(self):
        async def child(n, parent):
            with asyncio.CancelScope():
                try:
                    await asyncio.sleep(60)
                finally:
                    told.append(n)

        async def main():
            group = cancellation.Node()
            group.members = {}
            tasks = []
            for n in range(5):
                coro = child(n, group)
                asyncio.tasks._pending_owners[id(coro)] = group
                tasks.append(asyncio.create_task(coro))
            await asyncio.sleep(1)
            group.cancel()
            await asyncio.wait(tasks)
            self.assertEqual(told, [0, 1, 2, 3, 4])

        told = []
        self.run_in_loop(main())

    def test_a_storm_has_a_hundred_deliveries_and_then_pauses(self):
        async def main():
            times = []
            with asyncio.CancelScope() as scope:
                scope.cancel()
                for _ in range(110):
                    try:
                        await asyncio.sleep(60)
                    except asyncio.CancelledError:
                        times.append(self.loop.now)
            self.assertEqual(times[:100], [0] * 100)
            pauses = [round(after - before, 6)
                      for before, after in zip(times[99:], times[100:])]
            self.assertEqual(pauses, [0.001, 0.002, 0.004, 0.008, 0.016,
                                      0.032, 0.064, 0.1, 0.1, 0.1])
        with self.assertLogs("asyncio", "WARNING"):
            self.run_in_loop(main())

    def test_a_storm_of_bare_yields_is_slowed_down(self):
        async def main():
            with asyncio.CancelScope() as scope:
                scope.cancel()
                # Time stands still.
                self.assertEqual(
                    await self.swallow(lambda: asyncio.sleep(0), 300), 100)
                self.loop.now += 1
                self.assertEqual(
                    await self.swallow(lambda: asyncio.sleep(0), 300), 1)
        with self.assertLogs("asyncio", "WARNING"):
            self.run_in_loop(main())

    def test_a_storm_of_bare_yields_is_logged_once(self):
        async def main():
            with asyncio.CancelScope() as scope:
                scope.cancel()
                await self.swallow(lambda: asyncio.sleep(0), 300)
        with self.assertLogs("asyncio", "WARNING") as logged:
            self.run_in_loop(main())
        self.assertEqual(len(logged.output), 1)
        self.assertIn("swallows its cancellation", logged.output[0])

    def test_a_delivery_has_the_context_of_its_task(self):
        class Future(asyncio.Future):
            def cancel(self, msg=None):
                seen.append(var.get())
                return super().cancel(msg=msg)

        async def child(scope, shield):
            var.set("child")
            with scope:
                await self.swallow(Future, 100)
                with shield, contextlib.suppress(asyncio.CancelledError):
                    await Future()

        async def main():
            scope = asyncio.CancelScope()
            shield = asyncio.CancelScope(shield=True)
            task = asyncio.create_task(child(scope, shield))
            await asyncio.sleep(0)
            scope.cancel()
            while len(seen) < 100:
                await asyncio.sleep(0)
            for _ in range(3):
                await asyncio.sleep(0)
            # A timer will tell it, which is not made by the task.
            shield.shield = False
            await task

        seen, var = [], contextvars.ContextVar("var", default="main")
        with self.assertLogs("asyncio", "WARNING"):
            self.run_in_loop(main())
        self.assertEqual(seen, ["child"] * 101)

    def test_a_task_has_one_group(self):
        async def main():
            groups = [cancellation.Node() for _ in range(2)]
            for group in groups:
                group.members = {}
            task = groups[0].create(self.loop.create_task, asyncio.sleep(1))
            groups[1].adopt(task)
            self.assertIs(task._canceller.group, groups[0])
            self.assertEqual([len(g.members) for g in groups], [1, 0])
            await task
            self.assertEqual([len(g.members) for g in groups], [0, 0])
        self.run_in_loop(main())

    def test_scopes_that_end_nothing_do_not_end_a_storm(self):
        async def wait():
            with asyncio.CancelScope():
                await asyncio.sleep(0)

        async def main():
            with asyncio.CancelScope() as scope:
                scope.cancel()
                self.assertEqual(await self.swallow(wait, 300), 100)
        with self.assertLogs("asyncio", "WARNING"):
            self.run_in_loop(main())

    def test_scopes_that_end_what_they_cancelled_are_no_storm(self):
        async def main():
            for _ in range(300):
                with asyncio.CancelScope() as scope:
                    scope.cancel()
                    await asyncio.sleep(60)
                self.assertTrue(scope.cancelled_caught)
            self.assertEqual(self.loop.now, 0)
        with self.assertNoLogs("asyncio", "WARNING"):
            self.run_in_loop(main())

    def check_an_end_of_a_row(self, wait):
        """Assert that *wait* between deliveries makes them no storm."""
        async def main():
            with asyncio.CancelScope() as scope:
                scope.cancel()
                for _ in range(3):
                    before = self.loop.now
                    self.assertEqual(
                        await self.swallow(lambda: asyncio.sleep(60), 60), 60)
                    self.assertEqual(self.loop.now, before)
                    await wait()
        with self.assertNoLogs("asyncio", "WARNING"):
            self.run_in_loop(main())

    def test_a_wait_with_a_result_ends_a_row(self):
        async def wait():
            with asyncio.CancelScope(shield=True):
                await asyncio.sleep(1)
        self.check_an_end_of_a_row(wait)

    def test_a_wait_that_was_told_in_vain_ends_a_row(self):
        async def swallowing():
            with self.assertRaises(asyncio.CancelledError):
                await asyncio.sleep(60)
            return "result"

        async def wait():
            result = await asyncio.create_task(swallowing())
            self.assertEqual(result, "result")
        self.check_an_end_of_a_row(wait)

    def test_an_edge_ends_a_row(self):
        async def wait():
            asyncio.current_task().cancel("edge")
            with self.assertRaisesRegex(asyncio.CancelledError, "edge"):
                await asyncio.sleep(60)
            asyncio.current_task().uncancel()
        self.check_an_end_of_a_row(wait)

    def test_the_log_of_a_storm_says_where_the_task_waits(self):
        async def wait():
            await self.loop.create_future()

        async def main():
            with asyncio.CancelScope() as scope:
                scope.cancel()
                await self.swallow(wait, 101)
        with self.assertLogs("asyncio", "WARNING") as logs:
            self.run_in_loop(main())
        line = wait.__code__.co_firstlineno + 1
        [record] = logs.records
        self.assertIn(f"test_scopes.py:{line}", record.getMessage())

    def test_checkpoints_look_at_all_clocks_around(self):
        async def main(checkpoint):
            with asyncio.move_on_after(1) as outer:
                with asyncio.move_on_after(9):
                    with asyncio.CancelScope():
                        # The deadlines are armed: to suspend does not show
                        # once more that one has passed.
                        await asyncio.sleep(0)
                        self.loop.now += 2
                        await checkpoint()
                        self.fail("it was not cancelled")
            self.assertTrue(outer.cancelled_caught)
        for checkpoint in (asyncio.checkpoint,
                           asyncio.checkpoint_if_cancelled):
            with self.subTest(checkpoint=checkpoint):
                self.run_in_loop(main(checkpoint))

    def test_checkpoint_if_cancelled_tells_of_an_edge(self):
        async def main():
            asyncio.current_task().cancel("edge")
            with self.assertRaisesRegex(asyncio.CancelledError, "edge"):
                await asyncio.checkpoint_if_cancelled()
            asyncio.current_task().uncancel()
        self.run_in_loop(main())

    def test_a_future_with_a_cancel_of_its_own_is_asked_by_it(self):
        async def main():
            asked = []

            def cancel(msg=None):
                asked.append(msg)
                return False
            future = self.loop.create_future()
            future.cancel = cancel
            self.loop.call_later(1, future.set_result, 5)
            with asyncio.CancelScope() as scope:
                scope.cancel("why")
                result = await future
            self.assertEqual((asked, result), (["why"], 5))
            self.assertFalse(scope.cancelled_caught)
        self.run_in_loop(main())

    def test_a_wait_that_ends_before_it_was_asked_leaves_the_next_to_be_asked(
            self):
        class Future(asyncio.Future):
            """No plain one: asked in a pass of its own."""

        async def main():
            first, second = Future(loop=self.loop), Future(loop=self.loop)
            with asyncio.CancelScope() as outer, asyncio.CancelScope() as inner:
                def end():
                    first.set_result(1)
                    outer.cancel()
                    inner.shield = True
                    inner.shield = False
                self.loop.call_later(1, end)
                self.assertEqual(await first, 1)
                await second
            self.assertTrue(outer.cancelled_caught)
        self.run_in_loop(main())


class EdgeTests:

    def test_an_edge_is_never_swallowed_in_either_order(self):
        async def child(scope):
            with scope:
                await self.loop.create_future()

        async def main(edge_first):
            scope = asyncio.CancelScope()
            task = asyncio.create_task(child(scope))
            await asyncio.sleep(1)
            steps = [task.cancel, scope.cancel]
            for step in steps if edge_first else reversed(steps):
                step()
            with self.assertRaises(asyncio.CancelledError):
                await task
            self.assertFalse(scope.cancelled_caught)
        for edge_first in (True, False):
            with self.subTest(edge_first=edge_first):
                self.run_in_loop(main(edge_first))

    def test_a_cancel_that_was_pending_at_entry_passes(self):
        async def child():
            asyncio.current_task().cancel("edge")
            with asyncio.CancelScope() as scope:
                scope.cancel("level")
                await asyncio.sleep(1)

        async def main():
            task = asyncio.create_task(child())
            with self.assertRaisesRegex(asyncio.CancelledError, "edge"):
                await task
        self.run_in_loop(main())

    def test_a_cancel_that_was_delivered_before_entry_does_not_count(self):
        async def child():
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                pass
            with asyncio.CancelScope() as scope:
                scope.cancel()
                await asyncio.sleep(1)
            return scope.cancelled_caught

        async def main():
            task = asyncio.create_task(child())
            await asyncio.sleep(0)
            task.cancel()
            self.assertTrue(await task)
        self.run_in_loop(main())

    def test_uncancel_lowers_what_a_scope_takes_for_granted(self):
        async def child():
            task = asyncio.current_task()
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                pass
            with asyncio.CancelScope() as scope:
                task.uncancel()
                scope.cancel()
                task.cancel("later")
                await asyncio.sleep(1)

        async def main():
            task = asyncio.create_task(child())
            await asyncio.sleep(0)
            task.cancel()
            with self.assertRaisesRegex(asyncio.CancelledError, "later"):
                await task
        self.run_in_loop(main())

    def test_an_edge_counts_as_the_delivery_of_its_wait(self):
        async def child(scope, told):
            with scope:
                for _ in range(2):
                    try:
                        await self.loop.create_future()
                    except asyncio.CancelledError as exc:
                        told.append(exc.args)

        async def main():
            told = []
            scope = asyncio.CancelScope()
            task = asyncio.create_task(child(scope, told))
            await asyncio.sleep(1)
            task.cancel("edge")
            scope.cancel("level")
            await task
            self.assertEqual(told, [("edge",), ("level",)])
        self.run_in_loop(main())

    def test_an_edge_and_the_level_at_a_bare_yield_are_the_edge(self):
        async def main():
            task = asyncio.current_task()
            with self.assertRaisesRegex(asyncio.CancelledError, "edge"):
                with asyncio.CancelScope() as scope:
                    self.loop.call_soon(scope.cancel, "level")
                    self.loop.call_soon(task.cancel, "edge")
                    await asyncio.sleep(0)
            task.uncancel()
        self.run_in_loop(main())

    async def count_cancels(self):
        """Return how often it was cancelled in its first wait."""
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            # What comes in the same pass has come when this ends.
            await asyncio.sleep(1)
        return asyncio.current_task().cancelling()

    def test_an_awaited_task_is_cancelled_once_for_both(self):
        async def child(scope, counts):
            with scope:
                counts.append(await asyncio.create_task(self.count_cancels()))

        async def main(steps):
            scope, counts = asyncio.CancelScope(), []
            task = asyncio.create_task(child(scope, counts))
            await asyncio.sleep(1)
            for step in steps:
                getattr({"task": task, "scope": scope}[step], "cancel")()
            await task
            self.assertEqual(counts, [1])
        for steps in (("task", "scope"), ("scope", "task")):
            with self.subTest(steps=steps):
                self.run_in_loop(main(steps))

    def test_an_awaited_task_is_cancelled_once_for_what_was_pending(self):
        async def child(scope, counts):
            with scope:
                inner = asyncio.create_task(self.count_cancels())
                await asyncio.sleep(1)
                asyncio.current_task().cancel()
                self.loop.call_soon(scope.cancel)
                counts.append(await inner)

        async def main():
            scope, counts = asyncio.CancelScope(), []
            await asyncio.create_task(child(scope, counts))
            self.assertEqual(counts, [1])
        self.run_in_loop(main())

    def test_a_cancel_just_before_the_end_is_kept(self):
        async def child():
            with asyncio.CancelScope():
                await asyncio.sleep(1)
            asyncio.current_task().cancel("late")
            return "result"

        async def main():
            task = asyncio.create_task(child())
            with self.assertRaisesRegex(asyncio.CancelledError, "late"):
                await task
        self.run_in_loop(main())

    def test_uncancel_lowers_what_all_scopes_take_for_granted(self):
        async def child():
            task = asyncio.current_task()
            with self.assertRaises(asyncio.CancelledError):
                await asyncio.sleep(1)
            with asyncio.CancelScope() as outer, asyncio.CancelScope():
                task.uncancel()
                outer.cancel()
                task.cancel("later")
                await asyncio.sleep(1)

        async def main():
            task = asyncio.create_task(child())
            await asyncio.sleep(0)
            task.cancel()
            with self.assertRaisesRegex(asyncio.CancelledError, "later"):
                await task
        self.run_in_loop(main())

    def test_of_two_cancels_pending_at_entry_one_is_taken_for_granted(self):
        async def child():
            task = asyncio.current_task()
            with asyncio.CancelScope():
                task.cancel()
                task.cancel()
            with asyncio.CancelScope() as scope:
                with self.assertRaises(asyncio.CancelledError):
                    await asyncio.sleep(1)
                # The delivery that was due is answered for.
                task.uncancel()
                scope.cancel()
                await asyncio.sleep(1)
            self.assertTrue(scope.cancelled_caught)

        async def main():
            await asyncio.create_task(child())
        self.run_in_loop(main())

    def test_leaving_a_scope_without_a_shield_does_not_deliver(self):
        async def child(seen):
            async with asyncio.CancelScope():
                asyncio.current_task().cancel("edge")
            seen.append("ran on")
            await asyncio.sleep(1)

        async def main():
            seen = []
            with self.assertRaisesRegex(asyncio.CancelledError, "edge"):
                await asyncio.create_task(child(seen))
            self.assertEqual(seen, ["ran on"])
        self.run_in_loop(main())


class NestingTests:

    def test_the_outer_scope_wins_over_the_inner(self):
        async def main():
            with asyncio.move_on_after(1) as outer:
                with asyncio.move_on_after(1) as inner:
                    await asyncio.sleep(60)
                self.fail("the inner scope has absorbed it")
            self.assertTrue(outer.cancelled_caught)
            self.assertFalse(inner.cancelled_caught)
        self.run_in_loop(main())

    def test_the_text_is_that_of_the_outermost_scope(self):
        async def main():
            with asyncio.CancelScope() as outer:
                with asyncio.CancelScope() as inner:
                    inner.cancel("inner")
                    outer.cancel("outer")
                    with self.assertRaisesRegex(asyncio.CancelledError,
                                                "outer"):
                        await asyncio.sleep(1)
                self.assertEqual(inner.cancel_msg, "inner")
        self.run_in_loop(main())

    def test_a_shielded_inner_scope_finishes(self):
        async def main():
            done = []
            with asyncio.move_on_after(1) as outer:
                with asyncio.CancelScope(shield=True):
                    await asyncio.sleep(5)
                    done.append(self.loop.now)
                await asyncio.sleep(1)
                done.append("not reached")
            self.assertEqual(done, [5])
            self.assertTrue(outer.cancelled_caught)
        self.run_in_loop(main())

    def test_taking_the_shield_off_delivers_at_once(self):
        async def main():
            with asyncio.move_on_after(1) as outer:
                with asyncio.CancelScope(shield=True) as inner:
                    self.loop.call_later(3, setattr, inner, "shield", False)
                    await asyncio.sleep(60)
            self.assertEqual(self.loop.now, 3)
            self.assertTrue(outer.cancelled_caught)
        self.run_in_loop(main())

    def test_a_moved_deadline_fires_when_it_is_due_now(self):
        async def main(first, then, expected):
            start = self.loop.now
            with asyncio.move_on_after(first) as scope:
                self.loop.call_later(2, setattr, scope, "deadline",
                                     start + then)
                await asyncio.sleep(60)
            self.assertEqual(self.loop.now - start, expected)
        for first, then, expected in ((5, 9, 9), (5, 3, 3), (5, 1, 2)):
            with self.subTest(first=first, then=then):
                self.run_in_loop(main(first, then, expected))

    def test_a_deadline_can_be_taken_off(self):
        async def main():
            with asyncio.move_on_after(5) as scope:
                self.loop.call_later(2, setattr, scope, "deadline", None)
                await asyncio.sleep(60)
            self.assertEqual(self.loop.now, 60)
            self.assertFalse(scope.cancel_called)
        self.run_in_loop(main())

    def test_ten_thousand_scopes_deep(self):
        async def main():
            scopes = [asyncio.CancelScope() for _ in range(10_000)]
            for scope in scopes:
                scope.__enter__()
            scopes[0].cancel("outermost")
            self.assertTrue(scopes[-1]._node.effective)
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError as exc:
                for scope in reversed(scopes):
                    absorbed = scope.__exit__(type(exc), exc, None)
            self.assertTrue(absorbed)
            self.assertEqual([s for s in scopes if s.cancelled_caught],
                             [scopes[0]])
        self.run_in_loop(main())

    def test_a_hundred_thousand_members_are_asked_in_order(self):
        asked = []

        class Member:
            def deliver(self):
                asked.append(self)

        group = cancellation.Node()
        members = [Member() for _ in range(100_000)]
        for member in members:
            member.node = group
        group.members = dict.fromkeys(members)
        group.cancel()
        self.assertEqual(asked, members)

    def test_a_task_is_in_no_scope_of_the_task_that_makes_it(self):
        async def child():
            self.assertEqual(asyncio.current_effective_deadline(), math.inf)
            with asyncio.move_on_after(60):
                await asyncio.sleep(5)
            return self.loop.now

        async def main():
            with asyncio.move_on_after(1) as scope:
                task = asyncio.create_task(child())
                await asyncio.sleep(60)
            self.assertTrue(scope.cancelled_caught)
            self.assertEqual(await task, 5)
        self.run_in_loop(main())

    def test_a_scope_entered_in_a_cancelled_one_is_cancelled(self):
        async def main():
            with asyncio.CancelScope() as outer:
                outer.cancel("outer")
                with asyncio.CancelScope() as inner:
                    self.assertIn("open cancelled from outside", repr(inner))
                    await asyncio.sleep(1)
                self.fail("the inner scope has absorbed it")
            self.assertTrue(outer.cancelled_caught)
            self.assertFalse(inner.cancel_called)
            self.assertEqual(self.loop.now, 0)
        self.run_in_loop(main())

    def test_a_shields_own_cancel_has_its_own_text(self):
        async def main():
            with asyncio.CancelScope() as outer:
                outer.cancel("outer")
                with asyncio.CancelScope(shield=True) as inner:
                    inner.cancel("inner")
                    with self.assertRaisesRegex(asyncio.CancelledError,
                                                "inner"):
                        await asyncio.sleep(1)
        self.run_in_loop(main())


class DeadlineTests:

    def test_timeouts_of_all_sizes(self):
        async def main(timeout, expected):
            start = self.loop.now
            with asyncio.move_on_after(timeout) as scope:
                await asyncio.sleep(60)
            self.assertEqual(self.loop.now - start, expected)
            self.assertEqual(scope.cancelled_caught, expected < 60)
        for timeout, expected in ((0, 0), (-1, 0), (2, 2), (2.5, 2.5),
                                  (None, 60), (math.inf, 60)):
            with self.subTest(timeout=timeout):
                self.run_in_loop(main(timeout, expected))

    def test_a_timeout_counts_from_the_entry(self):
        async def main():
            scope = asyncio.move_on_after(5)
            self.assertIsNone(scope.deadline)
            await asyncio.sleep(3)
            with scope:
                self.assertEqual(scope.deadline, 8)
                await asyncio.sleep(60)
            self.assertEqual(self.loop.now, 8)
        self.run_in_loop(main())

    def test_a_scope_that_never_suspends_makes_no_timer(self):
        async def main():
            with asyncio.move_on_after(5):
                self.assertEqual(len(self.loop._scheduled), 0)
            with asyncio.move_on_after(5), asyncio.move_on_after(6):
                await asyncio.sleep(0)
                self.assertEqual(len(self.loop._scheduled), 1)
        self.run_in_loop(main())

    def test_many_deadlines_share_one_timer(self):
        async def child(n):
            with asyncio.move_on_after(n):
                await self.loop.create_future()

        async def main():
            tasks = [asyncio.create_task(child(n % 50 + 1))
                     for n in range(500)]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            self.assertEqual(len(self.timers()), 1)
            await asyncio.wait(tasks)
            self.assertEqual(self.loop.now, 50)
        self.run_in_loop(main())

    def test_handles_need_not_know_their_time(self):
        # uvloop's do not when they are due at once.
        call_at = self.loop.call_at
        def call_at_or_soon(when, callback, *args, context=None):
            if when <= self.loop.now:
                return self.loop.call_soon(callback, *args, context=context)
            return call_at(when, callback, *args, context=context)
        self.loop.call_at = call_at_or_soon

        async def main():
            for timeout in 0, -1, 3:
                with asyncio.move_on_after(timeout) as scope:
                    await asyncio.sleep(60)
                self.assertTrue(scope.cancelled_caught)
            self.assertEqual(self.loop.now, 3)
        self.run_in_loop(main())

    def test_moving_deadlines_leaves_nothing_behind(self):
        async def main():
            with asyncio.CancelScope() as scope:
                await asyncio.sleep(0)
                for n in range(10_000):
                    scope.deadline = 1e6 - n
                self.assertEqual(self.count_armed(), 1)
                heap = cancellation._py_deadlines_of(self.loop)._heap
                self.assertLess(len(heap), 50)
        self.run_in_loop(main())

    def test_deadlines_that_are_moved_at_random_come_in_their_order(self):
        async def child(n, scopes, told):
            with asyncio.CancelScope(deadline=1e6) as scopes[n]:
                await self.loop.create_future()
            told.append(n)

        async def main():
            scopes, told, rng = {}, [], random.Random(1)
            tasks = [asyncio.create_task(child(n, scopes, told))
                     for n in range(200)]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            # {number: (deadline, order)}
            expected = {}
            for order in range(2000):
                n = rng.randrange(200)
                when = rng.choice((None, *range(1, 30)))
                scopes[n].deadline = when
                expected[n] = (when, order)
            self.assertEqual(self.count_armed(), sum(
                when is not None for when, _ in expected.values()))
            never = [n for n, (when, _) in expected.items() if when is None]
            for n in never:
                del expected[n]
                tasks[n].cancel()
            await asyncio.wait(tasks)
            self.assertEqual([n for n in told if n not in never],
                             sorted(expected, key=expected.get))
        self.run_in_loop(main())

    def test_the_timer_of_blocks_that_have_ended_fires_once(self):
        async def main():
            for n in range(100):
                with asyncio.move_on_after(9 + n):
                    await asyncio.sleep(0)
            timers = [h for h in self.loop._scheduled if not h.cancelled()]
            self.assertEqual([h.when() for h in timers], [9])
            await asyncio.sleep(10)
            self.assertEqual(self.loop._scheduled, [])
        self.run_in_loop(main())

    def test_a_deadline_that_no_clock_reaches(self):
        async def main():
            with asyncio.move_on_at(10**400) as scope:
                await asyncio.sleep(60)
            self.assertEqual(scope.deadline, math.inf)
            with asyncio.move_on_at(-10**400):
                await asyncio.sleep(60)
            self.assertEqual(self.loop.now, 60)
        self.run_in_loop(main())

    def test_a_deadline_set_after_the_block_arms_nothing(self):
        async def main():
            with asyncio.move_on_after(60) as scope:
                await asyncio.sleep(1)
            scope.deadline = 2
            self.assertEqual(scope.deadline, 2)
            await asyncio.sleep(9)
            self.assertFalse(scope.cancel_called)
        self.run_in_loop(main())

    def test_current_effective_deadline(self):
        async def main():
            self.assertEqual(asyncio.current_effective_deadline(), math.inf)
            with asyncio.move_on_at(20):
                with asyncio.move_on_at(30):
                    self.assertEqual(asyncio.current_effective_deadline(), 20)
                    with asyncio.CancelScope(shield=True):
                        self.assertEqual(
                            asyncio.current_effective_deadline(), math.inf)
                with asyncio.move_on_at(10) as scope:
                    self.assertEqual(asyncio.current_effective_deadline(), 10)
                    scope.cancel()
                    self.assertEqual(asyncio.current_effective_deadline(),
                                     -math.inf)
        self.run_in_loop(main())

    def test_fail_after_raises_only_for_its_own_deadline(self):
        async def own():
            with asyncio.fail_after(1):
                await asyncio.sleep(60)

        async def cancelled():
            with asyncio.fail_after(1) as scope:
                scope.cancel()
                await asyncio.sleep(60)

        async def outer():
            with asyncio.move_on_after(1) as scope:
                with asyncio.fail_after(1):
                    await asyncio.sleep(60)
            self.assertTrue(scope.cancelled_caught)

        async def other_error():
            with asyncio.fail_after(1):
                try:
                    await asyncio.sleep(60)
                finally:
                    1 / 0

        async def unnoticed():
            with asyncio.fail_at(self.loop.now + 1):
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    pass

        with self.assertRaises(TimeoutError) as caught:
            self.run_in_loop(own())
        self.assertIsInstance(caught.exception.__cause__,
                              asyncio.CancelledError)
        self.run_in_loop(cancelled())
        self.run_in_loop(outer())
        with self.assertRaises(ZeroDivisionError):
            self.run_in_loop(other_error())
        self.run_in_loop(unnoticed())

    def test_a_deadline_set_before_the_entry_counts(self):
        async def main():
            scope = asyncio.move_on_after(9)
            scope.deadline = 2
            with scope:
                await asyncio.sleep(60)
            self.assertEqual(self.loop.now, 2)
        self.run_in_loop(main())

    def test_a_timeout_of_any_kind_of_number(self):
        async def main():
            with asyncio.move_on_after(fractions.Fraction(5, 2)):
                await asyncio.sleep(60)
            self.assertEqual(self.loop.now, 2.5)
        self.run_in_loop(main())

    def test_a_clock_that_enters_or_closes_the_scope(self):
        class Clock(type(self.loop)):
            def time(self):
                if actions:
                    actions.pop()()
                return super().time()

        async def main():
            scope = asyncio.move_on_after(60)
            actions.append(scope.__enter__)
            with self.assertRaisesRegex(RuntimeError, "entered already"):
                scope.__enter__()
            self.assertIsNone(scope._node.parent)
            scope.__exit__(None, None, None)
            scope = asyncio.move_on_at(60)
            scope.__enter__()
            actions.append(scope._abandon)
            await asyncio.sleep(0)
            self.assertEqual(self.count_armed(), 0)
            self.assertEqual(asyncio.current_task()._canceller.guards, [])
        actions = []
        self.loop.__class__ = Clock
        self.run_in_loop(main())

    def test_a_timeout_that_changes_the_scope_when_it_is_added(self):
        class Delay(float):
            def __radd__(self, now):
                scope.deadline = 3
                return now + float(self)

        async def main():
            nonlocal scope
            scope = asyncio.move_on_after(Delay(60))
            with scope:
                self.assertEqual(scope.deadline, 60)
                await asyncio.sleep(70)
            self.assertEqual(self.loop.now, 60)
        scope = None
        self.run_in_loop(main())

    def test_what_needs_no_timer_makes_none(self):
        async def never():
            with asyncio.move_on_after(math.inf):
                await asyncio.sleep(0)
                self.assertEqual(self.loop._scheduled, [])

        async def cancelled():
            with asyncio.move_on_after(5) as scope:
                scope.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await asyncio.sleep(0)
                self.assertEqual(self.loop._scheduled, [])

        async def set_before_the_first_wait():
            with asyncio.CancelScope() as scope:
                scope.deadline = 5
                self.assertEqual(self.loop._scheduled, [])

        for main in never, cancelled, set_before_the_first_wait:
            with self.subTest(main=main.__name__):
                self.run_in_loop(main())

    def test_later_deadlines_leave_the_timer_alone(self):
        made = []

        def call_at(when, *args, **kwargs):
            made.append(when)
            return type(self.loop).call_at(self.loop, when, *args, **kwargs)

        async def main():
            with asyncio.move_on_after(5) as scope:
                await asyncio.sleep(0)
                for n in range(100):
                    with asyncio.move_on_after(9 + n):
                        await asyncio.sleep(0)
                    scope.deadline = 9 + n
        self.loop.call_at = call_at
        self.run_in_loop(main())
        self.assertEqual(made, [5])

    def test_moving_one_deadline_leaves_the_others_alone(self):
        async def main():
            with asyncio.move_on_after(50) as outer:
                with asyncio.CancelScope() as inner:
                    await asyncio.sleep(0)
                    for n in range(1000):
                        inner.deadline = 1e6 - n
                await asyncio.sleep(99)
            self.assertTrue(outer.cancelled_caught)
            self.assertEqual(self.loop.now, 50)
        self.run_in_loop(main())

    def test_a_timer_that_cannot_be_made_stops_no_other_deadline(self):
        async def main():
            with asyncio.move_on_after(50) as outer:
                await asyncio.sleep(0)
                with (self.assertRaises(ZeroDivisionError),
                      asyncio.move_on_after(5),
                      mock.patch.object(self.loop, "call_at",
                                        side_effect=ZeroDivisionError)):
                    await asyncio.sleep(0)
                await asyncio.sleep(99)
            self.assertTrue(outer.cancelled_caught)
            self.assertEqual(self.loop.now, 50)
        self.run_in_loop(main())

    def test_a_deadline_moved_to_earlier_fires_once(self):
        async def main():
            with asyncio.move_on_after(100):
                with asyncio.move_on_after(10) as scope:
                    self.loop.call_later(1, setattr, scope, "deadline", 5)
                    await asyncio.sleep(60)
                self.assertEqual(self.loop.now, 5)
                await asyncio.sleep(20)
            self.assertEqual(self.loop.now, 25)
        self.run_in_loop(main())

    def test_equal_deadlines_fire_in_the_order_of_their_waits(self):
        async def child(n):
            with asyncio.move_on_at(5):
                try:
                    await asyncio.sleep(60)
                finally:
                    told.append(n)

        async def main():
            await asyncio.wait([asyncio.create_task(child(n))
                                for n in range(9)])
            self.assertEqual(told, list(range(9)))

        told = []
        self.run_in_loop(main())

    def test_the_outer_of_equal_deadlines_wins_though_it_was_set_later(self):
        async def main():
            with asyncio.move_on_at(9) as outer:
                with asyncio.fail_at(5):
                    await asyncio.sleep(0)
                    outer.deadline = 5
                    await asyncio.sleep(60)
                self.fail("the inner scope has absorbed it")
            self.assertTrue(outer.cancelled_caught)
        self.run_in_loop(main())

    def test_a_deadline_that_is_now_has_passed(self):
        async def main():
            for timeout in (0, -1):
                with asyncio.move_on_after(timeout) as scope:
                    self.assertTrue(scope.cancel_called)
                    self.assertEqual(asyncio.current_effective_deadline(),
                                     -math.inf)
        self.run_in_loop(main())

    def test_the_effective_deadline_looks_at_the_clock(self):
        async def main():
            with asyncio.move_on_after(1):
                with asyncio.move_on_after(9):
                    self.loop.now += 2
                    self.assertEqual(asyncio.current_effective_deadline(),
                                     -math.inf)
        self.run_in_loop(main())

    def test_the_clock_of_a_scope_that_is_closed_is_not_looked_at(self):
        async def main():
            with asyncio.move_on_after(1) as scope:
                await asyncio.sleep(0)
            self.loop.now += 2
            self.assertFalse(scope.cancel_called)
        self.run_in_loop(main())

    def test_an_outer_deadline_that_has_passed_wins_on_leaving(self):
        async def main():
            for when in (1, 0.5):
                gone = self.loop.create_future()
                gone.cancel()
                start = self.loop.now
                with asyncio.move_on_at(start + when) as outer:
                    with asyncio.fail_at(start + 1) as inner:
                        await asyncio.sleep(0)
                        self.loop.now += 2
                        # No wait.
                        await gone
                    self.fail("the inner scope has absorbed it")
                self.assertTrue(outer.cancelled_caught)
                self.assertFalse(inner.cancelled_caught)
        self.run_in_loop(main())

    def test_an_outer_deadline_that_passes_later_is_seen_at_a_wait(self):
        async def main():
            with asyncio.move_on_at(2) as outer:
                with asyncio.move_on_at(1) as inner:
                    try:
                        await asyncio.sleep(60)
                    finally:
                        self.loop.now += 2
                await asyncio.sleep(60)
                self.fail("nothing was delivered")
            self.assertTrue(inner.cancelled_caught)
            self.assertTrue(outer.cancelled_caught)
            self.assertEqual(self.loop.now, 3)
        self.run_in_loop(main())

    def test_leaving_a_shield_looks_at_the_clocks(self):
        async def main():
            with asyncio.move_on_after(1) as scope:
                async with asyncio.CancelScope(shield=True):
                    self.loop.now += 2
                self.fail("nothing was delivered")
            self.assertTrue(scope.cancelled_caught)
        self.run_in_loop(main())

    def test_a_timer_may_fire_a_little_early(self):
        def call_early(when, *arguments, **options):
            self.loop.call_at = call_at
            return call_at(when - 0.25, *arguments, **options)

        async def main():
            sleeping = asyncio.create_task(asyncio.sleep(9))
            await asyncio.sleep(0)
            self.loop.call_at = call_early
            with asyncio.move_on_after(1):
                await sleeping
            self.assertEqual(self.loop.now, 0.75)
        call_at = self.loop.call_at
        self.run_in_loop(main())

    def test_fail_after_does_not_fail_for_a_deadline_after_a_cancel(self):
        async def main():
            with asyncio.fail_after(1) as scope:
                scope.cancel()
                with asyncio.CancelScope(shield=True):
                    await asyncio.sleep(5)
                self.assertTrue(scope.cancel_called)
                await asyncio.sleep(1)
            self.assertTrue(scope.cancelled_caught)
        self.run_in_loop(main())

    def test_what_else_is_left_to_raise_comes_before_timeout_error(self):
        async def main():
            with asyncio.fail_after(1):
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError as exc:
                    raise BaseExceptionGroup("both", [exc, ValueError()])
        with self.assertRaises(ExceptionGroup) as caught:
            self.run_in_loop(main())
        self.assertEqual(len(caught.exception.exceptions), 1)

    def test_the_functions_hand_the_shield_and_the_time_on(self):
        async def main(function, fails):
            self.assertFalse(function(1).shield)
            with asyncio.CancelScope() as outer:
                outer.cancel()
                try:
                    with function(self.loop.now + 1, shield=True) as scope:
                        self.assertTrue(scope.shield)
                        await asyncio.sleep(60)
                except TimeoutError:
                    self.assertTrue(fails)
                else:
                    self.assertFalse(fails)
        start = self.loop.now
        for function, fails in ((asyncio.move_on_at, False),
                                (asyncio.move_on_after, False),
                                (asyncio.fail_at, True),
                                (asyncio.fail_after, True)):
            with self.subTest(function=function):
                self.loop.now = 0
                self.run_in_loop(main(function, fails))
                self.assertEqual(self.loop.now, 1)


class GroupTests:

    def test_cancelled_errors_are_split_out_at_any_depth(self):
        async def main():
            rest = ValueError("stays")
            rest.add_note("a note")
            cause, context = KeyError("cause"), KeyError("context")
            inner = BaseExceptionGroup("inner", [asyncio.CancelledError(),
                                                 rest])
            group = BaseExceptionGroup("outer", [
                asyncio.CancelledError(), inner,
                BaseExceptionGroup("empty", [asyncio.CancelledError()])])
            group.add_note("the group's note")
            group.__cause__, group.__context__ = cause, context
            with asyncio.CancelScope() as scope:
                scope.cancel()
                raise group
        try:
            self.run_in_loop(main())
        except ExceptionGroup as exc:
            group = exc
        self.assertEqual(group.message, "outer")
        [inner] = group.exceptions
        [rest] = inner.exceptions
        self.assertEqual(rest.__notes__, ["a note"])
        self.assertEqual(group.__notes__, ["the group's note"])
        self.assertEqual(str(group.__cause__), "'cause'")
        self.assertEqual(str(group.__context__), "'context'")
        self.assertIn("raise group", "".join(
            traceback.format_tb(group.__traceback__)))

    def test_the_rest_shows_its_context_if_the_group_did(self):
        async def main(is_hidden):
            group = BaseExceptionGroup("", [asyncio.CancelledError(),
                                            OSError()])
            with self.assertRaises(ExceptionGroup) as cm:
                with asyncio.CancelScope() as scope:
                    scope.cancel()
                    try:
                        raise KeyError
                    except KeyError:
                        if is_hidden:
                            raise group from None
                        raise group
            self.assertIsInstance(cm.exception.__context__, KeyError)
            self.assertIs(cm.exception.__suppress_context__, is_hidden)
        for is_hidden in False, True:
            self.run_in_loop(main(is_hidden))

    def test_an_empty_remainder_raises_nothing(self):
        async def main():
            with asyncio.CancelScope() as scope:
                scope.cancel()
                raise BaseExceptionGroup("all", [
                    BaseExceptionGroup("more", [asyncio.CancelledError()])])
            self.assertTrue(scope.cancelled_caught)
        self.run_in_loop(main())

    def test_other_errors_are_not_touched(self):
        async def main(error):
            with asyncio.CancelScope() as scope:
                scope.cancel()
                raise error
        for error in (ValueError(), ExceptionGroup("g", [ValueError()])):
            with self.subTest(error=error):
                with self.assertRaises(type(error)) as caught:
                    self.run_in_loop(main(error))
                self.assertIs(caught.exception, error)

    def test_other_errors_are_not_called_caught(self):
        async def main():
            with self.assertRaises(ValueError):
                with asyncio.CancelScope() as scope:
                    scope.cancel()
                    raise ValueError
            self.assertFalse(scope.cancelled_caught)
        self.run_in_loop(main())


class ShieldTests:

    async def start(self, coro):
        task = asyncio.create_task(coro)
        await asyncio.sleep(1)
        return task

    def test_a_held_request_keeps_its_text_and_its_count(self):
        async def child(counts):
            task = asyncio.current_task()
            with asyncio.CancelScope(shield=True):
                await asyncio.sleep(5)
                counts.append(task.cancelling())
            await asyncio.sleep(5)

        async def main():
            counts = []
            task = await self.start(child(counts))
            self.assertTrue(task.cancel("held"))
            with self.assertRaisesRegex(asyncio.CancelledError, "held"):
                await task
            self.assertEqual(counts, [1])
            self.assertEqual(self.loop.now, 5)
        self.run_in_loop(main())

    def test_leaving_an_async_with_delivers(self):
        async def edge():
            async with asyncio.CancelScope(shield=True):
                await asyncio.sleep(5)
            self.fail("nothing was delivered")

        async def main():
            task = await self.start(edge())
            task.cancel("held")
            with self.assertRaisesRegex(asyncio.CancelledError, "held"):
                await task
            with asyncio.move_on_after(1) as outer:
                async with asyncio.CancelScope(shield=True):
                    await asyncio.sleep(5)
                self.fail("nothing was delivered")
            self.assertTrue(outer.cancelled_caught)
        self.run_in_loop(main())

    def test_a_task_that_ends_without_another_wait_ends_normally(self):
        async def child():
            with asyncio.CancelScope(shield=True):
                await asyncio.sleep(5)
            return "result"

        async def main():
            task = await self.start(child())
            task.cancel()
            self.assertEqual(await task, "result")
        self.run_in_loop(main())

    def test_uncancel_forgets_what_is_held(self):
        async def child():
            with asyncio.CancelScope(shield=True):
                await asyncio.sleep(5)
                self.assertEqual(asyncio.current_task().uncancel(), 0)
            await asyncio.sleep(5)
            return "result"

        async def main():
            task = await self.start(child())
            task.cancel()
            self.assertEqual(await task, "result")
        self.run_in_loop(main())

    def test_a_cancel_that_is_pending_at_entry_is_held(self):
        async def child(seen):
            asyncio.current_task().cancel("pending")
            with asyncio.CancelScope(shield=True):
                await asyncio.sleep(5)
                seen.append(self.loop.now)
            await asyncio.sleep(5)

        async def main():
            seen = []
            task = asyncio.create_task(child(seen))
            with self.assertRaisesRegex(asyncio.CancelledError, "pending"):
                await task
            self.assertEqual(seen, [5])
        self.run_in_loop(main())

    def test_an_exception_of_the_body_passes_and_the_request_stays(self):
        async def child():
            try:
                async with asyncio.CancelScope(shield=True):
                    await asyncio.sleep(5)
                    1 / 0
            except ZeroDivisionError:
                await asyncio.sleep(5)

        async def main():
            task = await self.start(child())
            task.cancel("held")
            with self.assertRaisesRegex(asyncio.CancelledError, "held"):
                await task
            self.assertEqual(self.loop.now, 5)
        self.run_in_loop(main())

    def test_taking_the_shield_off_releases_at_once(self):
        async def child(scope):
            with scope:
                await asyncio.sleep(60)

        async def main():
            scope = asyncio.CancelScope(shield=True)
            task = await self.start(child(scope))
            task.cancel("held")
            await asyncio.sleep(1)
            self.assertFalse(task.done())
            scope.shield = False
            with self.assertRaisesRegex(asyncio.CancelledError, "held"):
                await task
            self.assertEqual(self.loop.now, 2)
        self.run_in_loop(main())

    def test_a_future_that_raises_then_keeps_neither_request_nor_scope(self):
        class Raising(asyncio.Future):
            def cancel(self, msg=None):
                raise ZeroDivisionError

        async def child(scopes, future):
            with scopes[0], scopes[1], scopes[2]:
                await future
                with self.assertRaisesRegex(asyncio.CancelledError, "held"):
                    await asyncio.sleep(60)
                await asyncio.sleep(60)

        async def main():
            scopes = [asyncio.CancelScope(shield=i == 1) for i in range(3)]
            future = Raising(loop=self.loop)
            task = asyncio.create_task(child(scopes, future))
            await asyncio.sleep(1)
            task.cancel("held")
            scopes[0].cancel("level")
            with self.assertRaises(ZeroDivisionError):
                scopes[1].shield = False
            self.assertIn("cancelled from outside", repr(scopes[2]))
            future.set_result(None)
            with self.assertRaises(asyncio.CancelledError):
                await task
            self.assertEqual(self.loop.now, 1)
            # For the level it was asked in a pass of its own.
            error = self.unhandled.pop()["exception"]
            self.assertIsInstance(error, ZeroDivisionError)
        self.run_in_loop(main())

    def test_all_shields_must_be_gone(self):
        async def child(seen):
            with asyncio.CancelScope(shield=True):
                with asyncio.CancelScope(shield=True):
                    await asyncio.sleep(5)
                await asyncio.sleep(5)
                seen.append(self.loop.now)
            await asyncio.sleep(5)

        async def main():
            seen = []
            task = await self.start(child(seen))
            task.cancel("held")
            with self.assertRaisesRegex(asyncio.CancelledError, "held"):
                await task
            self.assertEqual(seen, [10])
        self.run_in_loop(main())

    def test_a_cancel_from_within_is_not_held(self):
        async def child():
            task = asyncio.current_task()
            with asyncio.CancelScope(shield=True):
                self.loop.call_later(2, task.cancel, "from within")
                await asyncio.sleep(60)

        async def main():
            task = await self.start(child())
            task.cancel("from outside")
            with self.assertRaisesRegex(asyncio.CancelledError,
                                        "from within"):
                await task
            self.assertEqual(self.loop.now, 2)
        self.run_in_loop(main())

    def test_a_callback_of_a_shield_that_is_left_is_from_around_it(self):
        async def child():
            task = asyncio.current_task()
            with asyncio.CancelScope(shield=True):
                with asyncio.CancelScope(shield=True):
                    self.loop.call_later(2, task.cancel, "from within")
                await asyncio.sleep(60)

        async def main():
            task = await self.start(child())
            with self.assertRaisesRegex(asyncio.CancelledError,
                                        "from within"):
                await task
            self.assertEqual(self.loop.now, 2)
        self.run_in_loop(main())

    def test_timeout_fires_inside_a_shield(self):
        async def child():
            with asyncio.CancelScope(shield=True):
                with self.assertRaises(TimeoutError):
                    async with asyncio.timeout(2):
                        await asyncio.sleep(60)
            return self.loop.now

        async def main():
            self.assertEqual(await asyncio.create_task(child()), 2)
        self.run_in_loop(main())

    def test_a_shield_with_a_deadline_ends_at_it(self):
        async def main():
            with asyncio.move_on_after(1) as outer:
                with asyncio.move_on_after(5, shield=True) as inner:
                    await asyncio.sleep(60)
                self.assertEqual(self.loop.now, 5)
                await asyncio.sleep(60)
            self.assertTrue(inner.cancelled_caught)
            self.assertTrue(outer.cancelled_caught)
            self.assertEqual(self.loop.now, 5)
        self.run_in_loop(main())

    def test_a_scope_in_a_shield_is_shielded_from_edges(self):
        async def child():
            with asyncio.CancelScope(shield=True):
                with asyncio.CancelScope():
                    await asyncio.sleep(5)
            await asyncio.sleep(5)

        async def main():
            task = await self.start(child())
            task.cancel("held")
            with self.assertRaisesRegex(asyncio.CancelledError, "held"):
                await task
            self.assertEqual(self.loop.now, 5)
        self.run_in_loop(main())

    def test_a_held_request_does_not_keep_a_scope_inside_from_absorbing(self):
        async def child(when):
            with asyncio.CancelScope(shield=True):
                await asyncio.sleep(when)
                with asyncio.move_on_after(4) as scope:
                    await asyncio.sleep(60)
            return scope.cancelled_caught, self.loop.now

        async def main(when):
            start = self.loop.now
            task = await self.start(child(when))
            task.cancel()
            self.assertEqual(await task, (True, start + when + 4))
        for when in (0, 3):
            with self.subTest(when=when):
                self.run_in_loop(main(when))

    def test_a_cancel_made_in_a_scope_is_held_by_a_shield_in_it(self):
        async def child():
            with asyncio.CancelScope():
                asyncio.current_task().cancel("pending")
                with asyncio.CancelScope(shield=True):
                    await asyncio.sleep(5)
                await asyncio.sleep(5)

        async def main():
            with self.assertRaisesRegex(asyncio.CancelledError, "pending"):
                await asyncio.create_task(child())
            self.assertEqual(self.loop.now, 5)
        self.run_in_loop(main())

    def test_a_shield_put_up_later_holds_what_is_pending(self):
        async def child():
            with asyncio.CancelScope() as scope:
                asyncio.current_task().cancel("pending")
                scope.shield = True
                await asyncio.sleep(5)
            await asyncio.sleep(5)

        async def main():
            with self.assertRaisesRegex(asyncio.CancelledError, "pending"):
                await asyncio.create_task(child())
            self.assertEqual(self.loop.now, 5)
        self.run_in_loop(main())

    def test_a_shield_put_up_later_lets_a_cancel_from_within_pass(self):
        async def child():
            with asyncio.CancelScope() as scope:
                scope.shield = True
                self.loop.call_later(2, asyncio.current_task().cancel,
                                     "from within")
                await asyncio.sleep(60)

        async def main():
            with self.assertRaisesRegex(asyncio.CancelledError,
                                        "from within"):
                await asyncio.create_task(child())
            self.assertEqual(self.loop.now, 2)
        self.run_in_loop(main())

    def test_a_shield_put_up_again_lets_what_was_made_within_pass(self):
        async def child():
            with asyncio.CancelScope(shield=True) as scope:
                scope.shield = False
                asyncio.current_task().cancel("from within")
                scope.shield = True
                await asyncio.sleep(5)

        async def main():
            with self.assertRaisesRegex(asyncio.CancelledError,
                                        "from within"):
                await asyncio.create_task(child())
            self.assertEqual(self.loop.now, 0)
        self.run_in_loop(main())

    def test_who_puts_a_shield_up_from_outside_stays_outside(self):
        async def child(scope):
            with scope:
                await asyncio.sleep(5)
            await asyncio.sleep(5)

        async def main():
            scope = asyncio.CancelScope()
            task = await self.start(child(scope))
            scope.shield = True
            task.cancel("from outside")
            with self.assertRaisesRegex(asyncio.CancelledError,
                                        "from outside"):
                await task
            self.assertEqual(self.loop.now, 5)
        self.run_in_loop(main())

    def test_who_has_asked_from_outside_is_inside_again(self):
        async def main():
            task = asyncio.current_task()
            with asyncio.CancelScope(shield=True):
                with cancellation.from_outside():
                    pass
                task.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await asyncio.sleep(60)
            task.uncancel()
        self.run_in_loop(main())

    def test_after_an_inner_shield_the_outer_one_marks_the_context(self):
        async def child():
            task = asyncio.current_task()
            with asyncio.CancelScope(shield=True):
                with asyncio.CancelScope(shield=True):
                    pass
                self.loop.call_later(2, task.cancel, "from within")
                await asyncio.sleep(60)

        async def main():
            with self.assertRaisesRegex(asyncio.CancelledError,
                                        "from within"):
                await asyncio.create_task(child())
            self.assertEqual(self.loop.now, 2)
        self.run_in_loop(main())

    def test_a_shield_leaves_nothing_in_the_context(self):
        async def main():
            with asyncio.CancelScope(shield=True):
                await asyncio.sleep(0)
                self.assertTrue(cancellation._inside.get())
            self.assertFalse(cancellation._inside.get())
        self.run_in_loop(main())

    def test_a_shield_that_was_taken_off_leaves_nothing_in_the_context(self):
        async def main():
            with asyncio.CancelScope(shield=True) as scope:
                scope.shield = False
            self.assertFalse(cancellation._inside.get())
            with asyncio.CancelScope(shield=True) as scope:
                self.loop.call_soon(setattr, scope, "shield", False)
                await asyncio.sleep(1)
            self.assertFalse(scope.shield)
            self.assertFalse(cancellation._inside.get())
        self.run_in_loop(main())

    def test_the_context_forgets_shields_of_earlier_tasks(self):
        async def job(left):
            with asyncio.CancelScope(shield=True):
                lengths.append(len(cancellation._inside.get()))
                if left:
                    self.loop.call_later(1, start, left - 1)
                await asyncio.sleep(2)

        def start(left):
            jobs.append(asyncio.create_task(job(left)))

        async def main():
            start(100)
            await asyncio.sleep(200)
        lengths, jobs = [], []
        self.run_in_loop(main())
        self.assertEqual(len(lengths), 101)
        self.assertLess(max(lengths), 9)

    def test_a_request_that_was_forgotten_is_not_held(self):
        async def child():
            task = asyncio.current_task()
            task.cancel("forgotten")
            task.uncancel()
            task.cancel("held")
            self.assertEqual(len(task._canceller.pending), 1)
            with asyncio.CancelScope(shield=True):
                await asyncio.sleep(1)
                self.assertEqual(task.uncancel(), 0)
            await asyncio.sleep(1)

        async def main():
            # It has a Canceller.
            with asyncio.CancelScope():
                await child()
            self.assertEqual(self.loop.now, 2)
        self.run_in_loop(main())

    def test_a_request_that_was_delivered_is_not_held(self):
        async def main():
            task = asyncio.current_task()
            with asyncio.CancelScope():
                task.cancel("delivered")
                with self.assertRaisesRegex(asyncio.CancelledError,
                                            "delivered"):
                    # A bare yield is told on resuming.
                    await asyncio.sleep(0)
                task.cancel("held")
                with asyncio.CancelScope(shield=True):
                    await asyncio.sleep(1)
                    self.assertEqual(task.uncancel(), 1)
                with self.assertRaisesRegex(asyncio.CancelledError, "held"):
                    await asyncio.sleep(1)
            self.assertEqual(task.uncancel(), 0)
        self.run_in_loop(main())

    def test_a_request_that_a_wait_was_told_of_is_not_held(self):
        def hold_another(task, scope):
            self.assertTrue(task.cancel("held"))
            scope.shield = True

        async def child(scope):
            task = asyncio.current_task()
            with scope:
                task.cancel("told")
                self.loop.call_soon(hold_another, task, scope)
                with self.assertRaisesRegex(asyncio.CancelledError, "told"):
                    await asyncio.sleep(60)
                self.assertEqual(task.cancelling(), 2)
                scope.cancel()
                await asyncio.sleep(60)

        async def main():
            scope = asyncio.CancelScope()
            task = asyncio.create_task(child(scope))
            await asyncio.wait([task])
            # One request is not held: it is not for the scope to end.
            self.assertFalse(scope.cancelled_caught)
            self.assertTrue(task.cancelled())
        self.run_in_loop(main())

    def test_a_held_request_does_not_hide_one_from_inside(self):
        async def child():
            with asyncio.CancelScope(shield=True):
                await asyncio.sleep(1)
                with asyncio.CancelScope() as scope:
                    scope.cancel()
                    asyncio.current_task().cancel("inside")
                    await asyncio.sleep(1)
                self.fail("the scope has swallowed a request")

        async def main():
            task = await self.start(child())
            task.cancel("outside")
            with self.assertRaisesRegex(asyncio.CancelledError, "inside"):
                await task
        self.run_in_loop(main())

    def test_the_request_wins_when_a_shield_is_taken_off(self):
        async def child(outer, shield):
            with outer:
                with self.assertRaisesRegex(asyncio.CancelledError, "edge"):
                    with shield:
                        await asyncio.sleep(60)
                with self.assertRaisesRegex(asyncio.CancelledError, "level"):
                    await asyncio.sleep(60)

        async def main():
            outer = asyncio.CancelScope()
            shield = asyncio.CancelScope(shield=True)
            task = asyncio.create_task(child(outer, shield))
            await asyncio.sleep(0)
            outer.cancel("level")
            task.cancel("edge")
            shield.shield = False
            await task
        self.run_in_loop(main())

    def test_many_requests_are_held_and_released_in_one_go_through_them(self):
        class Request(cancellation.Request):
            __slots__ = ()
            compared = 0

            def __eq__(self, other):
                Request.compared += 1
                return self is other

        async def child(scope):
            with contextlib.suppress(asyncio.CancelledError):
                async with scope:
                    await asyncio.sleep(1)

        async def main():
            scope = asyncio.CancelScope()
            task = asyncio.create_task(child(scope))
            await asyncio.sleep(0)
            for _ in range(10):
                task.cancel()
                scope.shield = True
                for _ in range(10):
                    task.cancel()
                scope.shield = False
            await asyncio.wait([task])
            self.assertEqual(task.cancelling(), 110)
        with scopes_support.replaced(cancellation, Request=Request):
            self.run_in_loop(main())
        self.assertEqual(Request.compared, 0)

    def test_a_released_request_that_was_swallowed_is_done_with(self):
        async def child():
            with self.assertRaisesRegex(asyncio.CancelledError, "held"):
                async with asyncio.CancelScope(shield=True):
                    await asyncio.sleep(5)
            await asyncio.sleep(5)
            return self.loop.now

        async def main():
            task = await self.start(child())
            task.cancel("held")
            self.assertEqual(await task, 10)
        self.run_in_loop(main())

    def test_an_exception_of_the_body_is_not_replaced(self):
        async def child():
            async with asyncio.CancelScope(shield=True):
                await asyncio.sleep(5)
                1 / 0

        async def main():
            task = await self.start(child())
            task.cancel("held")
            with self.assertRaises(ZeroDivisionError):
                await task
        self.run_in_loop(main())

    def test_a_shield_that_its_deadline_ended_delivers(self):
        async def main():
            with asyncio.move_on_after(1) as outer:
                async with asyncio.move_on_after(5, shield=True) as inner:
                    await asyncio.sleep(60)
                self.fail("nothing was delivered")
            self.assertTrue(inner.cancelled_caught)
            self.assertTrue(outer.cancelled_caught)
        self.run_in_loop(main())

    def test_a_new_cancel_after_a_release_ends_the_task(self):
        async def after(task):
            with asyncio.CancelScope(shield=True):
                await asyncio.sleep(5)
            task.cancel("new")

        async def before(task):
            with asyncio.CancelScope(shield=True):
                await asyncio.sleep(5)
                task.cancel("new")

        async def child(block):
            await block(asyncio.current_task())
            return "result"

        async def main(block):
            task = await self.start(child(block))
            task.cancel("held")
            with self.assertRaises(asyncio.CancelledError):
                await task
        for block in before, after:
            with self.subTest(block=block.__name__):
                self.run_in_loop(main(block))

    def test_requests_that_came_before_any_scope_count_each(self):
        async def main():
            task = asyncio.current_task()
            task.cancel("first")
            task.cancel("last")
            with asyncio.CancelScope(shield=True):
                # From within; and taken back: two are held, none is pending.
                task.cancel()
                self.assertEqual(task.uncancel(), 2)
                await asyncio.sleep(0)
            with self.assertRaisesRegex(asyncio.CancelledError, "last"):
                await asyncio.sleep(0)
            self.assertEqual(task.uncancel(), 1)
        self.run_in_loop(main())

    def test_what_is_left_of_merged_requests_may_be_one_that_was_held(self):
        async def child():
            async with asyncio.timeout(0):
                with asyncio.CancelScope(shield=True):
                    await asyncio.sleep(5)
                    asyncio.current_task().cancel("from within")
                # That one and the held one are pending; leaving the timeout
                # takes one back.

        async def main():
            task = await self.start(child())
            await asyncio.sleep(1)
            # Forgets what the timeout has asked for.
            task.uncancel()
            task.cancel("held")
            await task
            self.assertEqual(task.cancelling(), 1)
        self.run_in_loop(main())

    def test_uncancel_inside_takes_a_pending_request_not_the_held_one(self):
        async def child(seen):
            task = asyncio.current_task()
            with asyncio.CancelScope(shield=True):
                await asyncio.sleep(5)
                task.cancel("from within")
                self.assertEqual(task.uncancel(), 1)
                await asyncio.sleep(5)
                seen.append(self.loop.now)
            await asyncio.sleep(5)

        async def main():
            seen = []
            task = await self.start(child(seen))
            task.cancel("held")
            with self.assertRaisesRegex(asyncio.CancelledError, "held"):
                await task
            self.assertEqual(seen, [10])
        self.run_in_loop(main())

    def test_an_awaited_task_is_told_once_when_the_shield_is_taken_off(self):
        async def inner():
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                await asyncio.sleep(1)
            return asyncio.current_task().cancelling()

        async def child(outer, shield):
            with outer, shield:
                counts.append(await asyncio.create_task(inner()))

        async def main():
            outer = asyncio.CancelScope()
            shield = asyncio.CancelScope(shield=True)
            task = await self.start(child(outer, shield))
            task.cancel()
            outer.cancel()
            shield.shield = False
            await task
            # It has swallowed it: that was all.
            self.assertEqual(counts, [1])
            self.assertEqual(task.cancelling(), 1)

        counts = []
        self.run_in_loop(main())

    def test_a_cancel_from_within_two_shields_is_not_held(self):
        async def child():
            with asyncio.CancelScope(shield=True):
                with asyncio.CancelScope(shield=True):
                    self.loop.call_later(2, asyncio.current_task().cancel,
                                         "from within")
                    await asyncio.sleep(60)

        async def main():
            with self.assertRaisesRegex(asyncio.CancelledError,
                                        "from within"):
                await asyncio.create_task(child())
            self.assertEqual(self.loop.now, 2)
        self.run_in_loop(main())

    def test_a_shield_holds_of_what_is_pending_what_uncancel_left(self):
        async def child():
            task = asyncio.current_task()
            with asyncio.CancelScope():
                task.cancel("first")
                task.cancel("last")
                task.uncancel()
                async with asyncio.CancelScope(shield=True):
                    await asyncio.sleep(5)
                self.fail("nothing was delivered")

        async def main():
            with self.assertRaisesRegex(asyncio.CancelledError, "last"):
                await asyncio.create_task(child())
            self.assertEqual(self.loop.now, 5)
        self.run_in_loop(main())

    def test_a_request_that_is_pending_as_its_block_ends_is_from_around(self):
        async def main():
            with asyncio.CancelScope(shield=True):
                with asyncio.CancelScope(shield=True):
                    asyncio.current_task().cancel("within")
                with asyncio.CancelScope(shield=True):
                    pass
                with self.assertRaisesRegex(asyncio.CancelledError, "within"):
                    await asyncio.sleep(1)
            asyncio.current_task().uncancel()
        self.run_in_loop(main())


class CornerTests:

    async def ends(self, coro):
        """Run *coro* as a task; return its outcome."""
        task = asyncio.create_task(coro)
        await asyncio.wait([task])
        try:
            return task.result()
        except BaseException as exc:
            return repr(exc)

    def test_a_shield_that_is_put_up_again_does_not_hang_cancel(self):
        async def child():
            with asyncio.CancelScope(shield=True) as scope:
                scope.shield = False
                scope.shield = True
            asyncio.current_task().cancel("edge")
            await asyncio.sleep(1)

        async def main():
            self.assertEqual(await self.ends(child()),
                             "CancelledError('edge')")
        self.run_in_loop(main())

    def test_an_outer_shield_that_is_put_up_again_does_not_hide_the_inner(
            self):
        async def child(told):
            task = asyncio.current_task()
            with asyncio.CancelScope() as outer:
                with asyncio.CancelScope(shield=True):
                    outer.shield = True
                    task.cancel("from within")
                    try:
                        await asyncio.sleep(1)
                    except asyncio.CancelledError as exc:
                        told.append(exc.args)
                        task.uncancel()

        async def main():
            told = []
            await self.ends(child(told))
            self.assertEqual(told, [("from within",)])
        self.run_in_loop(main())

    def test_a_task_made_inside_that_has_a_shield_of_its_own_is_inside(self):
        async def canceller(task):
            with asyncio.CancelScope(shield=True):
                task.cancel("from within")

        async def child():
            with asyncio.CancelScope(shield=True):
                helper = asyncio.create_task(
                    canceller(asyncio.current_task()))
                await asyncio.sleep(5)
                return "held"

        async def main():
            self.assertEqual(await self.ends(child()),
                             "CancelledError('from within')")
        self.run_in_loop(main())

    def test_a_scope_that_is_due_at_entry_cancels_a_bare_yield(self):
        async def main(timeout):
            with asyncio.move_on_after(timeout):
                await asyncio.sleep(0)
                self.fail("the first wait was not cancelled")
        for timeout in (0, -1):
            with self.subTest(timeout=timeout):
                self.run_in_loop(main(timeout))

    def test_an_outer_scope_that_is_due_wins_over_the_inner(self):
        async def main():
            with asyncio.move_on_after(0) as outer:
                with asyncio.move_on_after(-1):
                    await asyncio.sleep(1)
                self.fail("the inner scope has absorbed it")
        self.run_in_loop(main())

    def test_looking_at_the_clock_does_not_decide_what_is_absorbed(self):
        async def main(look):
            future = self.loop.create_future()
            future.cancel()
            with asyncio.move_on_after(1) as scope:
                self.loop.now += 2
                if look:
                    scope.cancel_called
                await future
        self.run_in_loop(main(True))
        self.run_in_loop(main(False))

    def test_uncancel_takes_back_one_of_two_pending_requests(self):
        async def child():
            task = asyncio.current_task()
            with asyncio.CancelScope():
                task.cancel()
                task.cancel()
                task.uncancel()
                with asyncio.CancelScope(shield=True):
                    with asyncio.move_on_after(1) as scope:
                        task.uncancel()
                        await asyncio.sleep(5)
            return scope.cancelled_caught

        async def main():
            self.assertEqual(await self.ends(child()), True)
        self.run_in_loop(main())

    def test_one_of_two_requests_pending_at_entry_is_taken_back(self):
        async def child():
            task = asyncio.current_task()
            task.cancel("first")
            task.cancel("second")
            with asyncio.CancelScope() as scope:
                task.uncancel()
                scope.cancel()
                await asyncio.sleep(0)

        async def main():
            task = asyncio.create_task(child())
            with self.assertRaises(asyncio.CancelledError):
                await task
            self.assertEqual(task.cancelling(), 1)
        self.run_in_loop(main())

    def test_two_requests_pending_at_entry_let_no_edge_be_swallowed(self):
        async def child():
            task = asyncio.current_task()
            with asyncio.CancelScope():
                task.cancel("first")
                task.cancel("second")
                with asyncio.CancelScope(shield=True) as scope:
                    # Both are held.
                    scope.cancel("level")
                    task.cancel("from within")
                    await asyncio.sleep(1)
                task.uncancel(), task.uncancel(), task.uncancel()
            return "swallowed"

        async def main():
            self.assertEqual(await self.ends(child()),
                             "CancelledError('from within')")
        self.run_in_loop(main())

    def test_what_is_held_later_does_not_lend_its_text(self):
        async def child(scope):
            task = asyncio.current_task()
            future = Refusing(loop=self.loop)
            self.loop.call_later(3, future.set_result, None)
            with scope:
                # From within, refused: pending.
                self.loop.call_soon(task.cancel, "from within")
                await future

        async def main():
            scope = asyncio.CancelScope(shield=True)
            task = asyncio.create_task(child(scope))
            await asyncio.sleep(1)
            scope.shield = False
            task.cancel("from outside")
            scope.shield = True
            await asyncio.wait([task])
            with self.assertRaisesRegex(asyncio.CancelledError, "within"):
                task.result()
        self.run_in_loop(main())

    def test_deadlines_that_have_passed_fire_together(self):
        async def child(scopes):
            with scopes[0], scopes[1]:
                await asyncio.sleep(60)

        async def main():
            outer = asyncio.move_on_at(2)
            inner = asyncio.move_on_at(1)
            task = asyncio.create_task(child((outer, inner)))
            await asyncio.sleep(0.5)
            self.loop.now = 9.0          # the loop was blocked
            await task
            self.assertEqual((outer.cancelled_caught, inner.cancelled_caught),
                             (True, False))
        self.run_in_loop(main())

    def test_what_was_asked_in_a_block_is_from_around_it_when_that_ends(self):
        async def child():
            with asyncio.CancelScope(shield=True):
                with asyncio.CancelScope(shield=True):
                    asyncio.current_task().cancel("from within")
                with asyncio.CancelScope(shield=True):
                    pass
                await asyncio.sleep(5)

        async def main():
            self.assertEqual(await self.ends(child()),
                             "CancelledError('from within')")
            self.assertEqual(self.loop.now, 0)
        self.run_in_loop(main())


class MisuseTests:

    def test_arguments_that_are_refused(self):
        class Textual:
            def __float__(self):
                return "1"

        for arguments, error, text in (
                (dict(timeout=1, deadline=1), ValueError, "both"),
                (dict(timeout=math.nan), ValueError, "timeout.*NaN"),
                (dict(deadline=math.nan), ValueError, "deadline.*NaN"),
                (dict(timeout="1"), TypeError, "timeout must be a number"),
                (dict(deadline=[]), TypeError, "deadline must be a number"),
                (dict(timeout=Textual()), TypeError, "non-float")):
            with self.subTest(arguments=arguments):
                with self.assertRaisesRegex(error, text):
                    asyncio.CancelScope(**arguments)

    def test_a_scope_serves_one_with(self):
        async def main():
            scope = asyncio.CancelScope()
            with scope:
                with self.assertRaisesRegex(RuntimeError, "entered already"):
                    scope.__enter__()
            with self.assertRaisesRegex(RuntimeError, "entered already"):
                scope.__enter__()
            with self.assertRaisesRegex(RuntimeError, "is not entered"):
                asyncio.CancelScope().__exit__(None, None, None)
        self.run_in_loop(main())

    def test_a_scope_needs_a_task(self):
        with self.assertRaises(RuntimeError):
            asyncio.CancelScope().__enter__()

        async def main():
            caught = []

            def callback():
                with self.assertRaisesRegex(RuntimeError,
                                            "outside of a task"):
                    asyncio.CancelScope().__enter__()
                caught.append(True)
            self.loop.call_soon(callback)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            self.assertEqual(caught, [True])
        self.run_in_loop(main())

    def test_a_foreign_task_class_is_refused(self):
        class Foreign:
            def done(self):
                return False

        async def main():
            task = asyncio.current_task()
            foreign = Foreign()
            asyncio.tasks._leave_task(self.loop, task)
            asyncio.tasks._enter_task(self.loop, foreign)
            try:
                with self.assertRaisesRegex(RuntimeError, "does not support"):
                    asyncio.CancelScope().__enter__()
            finally:
                asyncio.tasks._leave_task(self.loop, foreign)
                asyncio.tasks._enter_task(self.loop, task)
        self.run_in_loop(main())

    def test_scopes_left_in_the_wrong_order_are_closed(self):
        async def main():
            outer = asyncio.CancelScope(timeout=5)
            inner = asyncio.CancelScope()
            outer.__enter__()
            inner.__enter__()
            await asyncio.sleep(1)
            with self.assertRaisesRegex(RuntimeError, "reverse order"):
                outer.__exit__(None, None, None)
            outer.cancel()
            await asyncio.sleep(9)
            inner.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await asyncio.sleep(1)
            inner.__exit__(None, None, None)
            await asyncio.sleep(1)
            self.assertIsNone(asyncio.current_task()._canceller.node)
        self.run_in_loop(main())

    def test_a_generator_closed_in_the_wrong_order_says_so(self):
        async def generate():
            with asyncio.CancelScope() as scope:
                yield scope

        async def main():
            generator = generate()
            scope = await anext(generator)
            with asyncio.CancelScope():
                with self.assertRaisesRegex(RuntimeError, "reverse order"):
                    await generator.aclose()
                scope.cancel()
                await asyncio.sleep(1)
            self.assertIsNone(asyncio.current_task()._canceller.node)
        self.run_in_loop(main())

    def test_a_scope_left_in_another_task_is_closed(self):
        async def leave(scope):
            scope.__exit__(None, None, None)

        async def main():
            scope = asyncio.CancelScope()
            scope.__enter__()
            with self.assertRaisesRegex(RuntimeError, "was entered in"):
                await asyncio.create_task(leave(scope))
            scope.cancel()
            await asyncio.sleep(1)
        self.run_in_loop(main())

    def test_a_shield_closed_elsewhere_lets_a_parked_task_be_told(self):
        async def be_told(closing):
            closing = asyncio.create_task(closing)
            with self.assertRaisesRegex(asyncio.CancelledError, "outer"):
                await asyncio.sleep(60)
            await closing

        async def leave(shield):
            with self.assertRaisesRegex(RuntimeError, "was entered in"):
                shield.__exit__(None, None, None)

        async def generate():
            with asyncio.CancelScope(shield=True):
                yield

        async def main():
            with asyncio.CancelScope() as scope:
                scope.cancel("outer")
                shield = asyncio.CancelScope(shield=True)
                shield.__enter__()
                await be_told(leave(shield))
            with asyncio.CancelScope() as scope:
                scope.cancel("outer")
                generator = generate()
                await anext(generator)
                await be_told(generator.aclose())
            self.assertEqual(self.loop.now, 0)
        self.run_in_loop(main())

    def test_scopes_left_open_are_closed_with_their_task(self):
        async def child(scope):
            scope.__enter__()
            await asyncio.sleep(1)

        async def main():
            scope = asyncio.CancelScope(timeout=60)
            task = asyncio.create_task(child(scope))
            await task
            self.assertIn("closed", repr(scope))
            self.assertIsNone(task._canceller)
            scope.cancel()
        self.run_in_loop(main())

    def test_many_scopes_left_open_are_closed_from_within(self):
        async def child(scopes):
            for scope in scopes:
                scope.__enter__()

        async def main():
            scopes = [asyncio.CancelScope() for _ in range(1000)]
            with mock.patch.object(cancellation._Rules, "_leave_below",
                                   side_effect=AssertionError):
                await asyncio.create_task(child(scopes))
            self.assertNotIn("open", "".join(map(repr, scopes)))
        self.run_in_loop(main())

    def test_an_error_in_closing_is_that_of_the_task(self):
        async def child(scopes, future, ends_in):
            for scope in scopes:
                scope.__enter__()
            await future
            if ends_in is not None:
                raise ends_in

        async def main():
            for ends_in in None, ValueError(), asyncio.CancelledError():
                scopes = [asyncio.CancelScope(timeout=60) for _ in range(3)]
                future = self.loop.create_future()
                self.loop.call_soon(self.loop.call_soon,
                                    future.set_result, None)
                task = asyncio.create_task(child(scopes, future, ends_in))
                with self.assertRaises(ZeroDivisionError) as cm:
                    await task
                context = cm.exception
                for _ in scopes:
                    self.assertIsInstance(context, ZeroDivisionError)
                    context = context.__context__
                if ends_in is not None:
                    self.assertIs(context, ends_in)
                self.assertNotIn("open", "".join(map(repr, scopes)))
                self.assertIsNone(task._canceller)
        scopes_support.fail_timers(self.loop)
        self.run_in_loop(main())

    def test_closing_that_raises_stop_iteration_is_an_error(self):
        class Guard:
            _baseline = 0

            def _arm(self):
                pass

            def _abandon(self):
                raise StopIteration("result")

        async def child():
            with asyncio.CancelScope():
                pass
            asyncio.current_task()._canceller.enter(Guard())

        async def main():
            with self.assertRaisesRegex(RuntimeError, "StopIteration"):
                await asyncio.create_task(child())
        self.run_in_loop(main())

    def test_an_error_in_closing_leaves_no_scope_in_the_task(self):
        async def main():
            task = asyncio.current_task()
            future = self.loop.create_future()
            self.loop.call_soon(future.set_result, None)
            self.loop.call_soon(task.cancel)
            with asyncio.CancelScope() as outer:
                with self.assertRaises(ZeroDivisionError):
                    with asyncio.move_on_after(60, shield=True):
                        await future
                self.assertIs(task._canceller.node, outer._node)
                self.assertEqual(task._canceller.guards, [outer])
                # What the shield held is pending.
                with self.assertRaises(asyncio.CancelledError):
                    await asyncio.sleep(0)
        scopes_support.fail_timers(self.loop)
        self.run_in_loop(main())

    def test_an_error_in_what_is_told_then_takes_the_shield_off(self):
        class Member:
            def deliver(self):
                raise ZeroDivisionError

        async def main():
            with asyncio.CancelScope() as outer:
                outer.cancel()
                with self.assertRaises(ZeroDivisionError):
                    with asyncio.CancelScope(shield=True) as scope:
                        group = type(scope._node)()
                        member = Member()
                        member.node = group
                        group.members = {member: None}
                        group.attach(scope._node)
                self.assertEqual(cancellation._inside.get(), ())
        self.run_in_loop(main())

    def test_an_error_of_the_clock_leaves_no_scope_in_the_task(self):
        async def main():
            task = asyncio.current_task()
            with asyncio.CancelScope() as outer:
                with self.assertRaises(ZeroDivisionError):
                    with asyncio.move_on_after(60):
                        patch = mock.patch.object(
                            self.loop, "time", side_effect=ZeroDivisionError)
                        patch.start()
                        raise KeyError
                patch.stop()
                self.assertIs(task._canceller.node, outer._node)
                self.assertEqual(task._canceller.guards, [outer])
        self.run_in_loop(main())

    def make_suspended(self, main):
        """Return a coroutine that a task has left at its first wait."""
        coro = main()
        task = self.Task(coro, loop=self.loop)
        self.loop.run_until_complete(asyncio.sleep(0))
        task._log_destroy_pending = False
        for handle in self.loop._scheduled:
            handle.cancel()
        return coro

    def test_a_coroutine_that_is_destroyed_closes_its_scopes(self):
        async def main():
            with scope:
                with asyncio.CancelScope(shield=True):
                    await asyncio.sleep(60)

        scope = asyncio.CancelScope(timeout=5)
        self.make_suspended(main).close()
        self.assertIn("closed", repr(scope))
        self.assertIsNone(scope._node.parent)

    def test_the_error_of_a_coroutine_that_is_destroyed_is_raised(self):
        async def main():
            with scope:
                try:
                    await asyncio.sleep(60)
                finally:
                    raise ZeroDivisionError

        scope = asyncio.CancelScope()
        with self.assertRaises(ZeroDivisionError):
            self.make_suspended(main).close()
        self.assertIn("closed", repr(scope))

    def test_a_coroutine_that_another_task_destroys_closes_its_scopes(self):
        async def main():
            scope = asyncio.CancelScope(timeout=5)
            async def wait():
                with scope:
                    await asyncio.sleep(60)
            coro = wait()
            task = self.Task(coro, loop=self.loop)
            await asyncio.sleep(0)
            task._log_destroy_pending = False
            coro.close()
            self.assertIn("closed", repr(scope))
            self.assertIsNone(scope._node.parent)
            self.assertEqual(self.count_armed(), 0)
            task.cancel()
            # The task cannot go on with the coroutine.
            await asyncio.wait([task])
            self.assertIsInstance(task.exception(), RuntimeError)
        self.run_in_loop(main())

    def test_a_group_that_cannot_be_split_closes_the_scope(self):
        class Group(BaseExceptionGroup):
            def derive(self, exceptions):
                raise ZeroDivisionError

        async def main():
            task = asyncio.current_task()
            with asyncio.CancelScope() as outer:
                scope = asyncio.CancelScope()
                with self.assertRaises(ZeroDivisionError):
                    with scope:
                        scope.cancel()
                        raise Group("", [asyncio.CancelledError(), KeyError()])
                self.assertIn("closed", repr(scope))
                self.assertIs(task._canceller.node, outer._node)
                self.assertEqual(task._canceller.guards, [outer])
                await asyncio.sleep(1)
        self.run_in_loop(main())

    def test_a_scope_that_was_entered_cannot_be_made_again(self):
        async def main():
            with asyncio.CancelScope() as scope:
                with self.assertRaisesRegex(RuntimeError, "made again"):
                    scope.__init__(timeout=1)
                self.assertIsNone(scope.deadline)
            with self.assertRaisesRegex(RuntimeError, "made again"):
                scope.__init__()
        self.run_in_loop(main())

    def test_scopes_that_are_equal(self):
        class Equal(asyncio.CancelScope):
            def __eq__(self, other):
                return True

        async def main():
            outer, left, inner = Equal(), Equal(), Equal()
            for scope in outer, left, inner:
                scope.__enter__()
            with self.assertRaises(RuntimeError):
                left.__exit__(None, None, None)
            guards = asyncio.current_task()._canceller.guards
            self.assertEqual(list(map(id, guards)), [id(outer), id(inner)])
            for scope in inner, outer:
                scope.__exit__(None, None, None)
        self.run_in_loop(main())

    def test_a_delivery_that_cannot_be_cancelled(self):
        class Handle:
            def __init__(self, handle):
                self.handle = handle

            def cancel(self):
                self.handle.cancel()
                raise ZeroDivisionError

        def call_soon(callback, *args, context=None):
            handle = type(self.loop).call_soon(self.loop, callback, *args,
                                               context=context)
            if getattr(callback, "__name__", None) == "_ask":
                return Handle(handle)
            return handle

        class NotPlain(asyncio.Future):
            pass

        async def main():
            with asyncio.CancelScope() as scope:
                future = NotPlain(loop=self.loop)
                self.loop.call_soon(future.set_result, None)
                # It schedules the delivery, which comes too late.
                self.loop.call_soon(scope.cancel)
                with self.assertRaises(ZeroDivisionError):
                    await future
                with self.assertRaises(asyncio.CancelledError):
                    await asyncio.sleep(1)
        self.loop.call_soon = call_soon
        self.run_in_loop(main())

    def test_a_loop_whose_hash_closes_the_scope(self):
        class Closing(type(self.loop)):
            def __hash__(self):
                if scope is not None:
                    scope._abandon()
                return super().__hash__()

        async def main():
            nonlocal scope
            with self.assertRaisesRegex(RuntimeError, "left again"):
                with asyncio.CancelScope() as entered:
                    scope = entered
            scope = None
            self.assertEqual(asyncio.current_task()._canceller.guards, [])
            await asyncio.sleep(1)
        scope = None
        self.loop.__class__ = Closing
        self.run_in_loop(main())

    def test_another_thread_that_asks_cancels_nothing(self):
        async def main():
            seen = []
            with asyncio.move_on_after(1) as scope:
                self.loop.now += 2
                thread = threading.Thread(
                    target=lambda: seen.append(scope.cancel_called))
                thread.start()
                thread.join()
                self.assertEqual(seen, [False])
                self.assertTrue(scope.cancel_called)
        self.run_in_loop(main())

    def test_what_is_no_exception_does_not_end_a_shield(self):
        async def main():
            scope = asyncio.CancelScope(shield=True)
            await scope.__aenter__()
            self.assertFalse(await scope.__aexit__(None, b"no exception", None))
        self.run_in_loop(main())

    async def scoped_generator(self):
        with asyncio.move_on_after(10):
            yield 1
            yield 2

    async def leave_open(self, generators):
        """Return in the block of a generator, which stays."""
        generators.append(self.scoped_generator())
        async for _ in generators[-1]:
            break

    def test_a_generator_may_be_closed_after_its_task_has_ended(self):
        async def main():
            generators = []
            await asyncio.create_task(self.leave_open(generators))
            await generators[0].aclose()
            # By the garbage collector, or asyncio.run().
            await asyncio.create_task(self.leave_open([]))
        self.run_in_loop(main())
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.assertEqual(self.unhandled, [])

    def test_what_a_generator_raises_after_its_task_has_ended_goes_on(self):
        async def main():
            generators = []
            await asyncio.create_task(self.leave_open(generators))
            with self.assertRaisesRegex(ZeroDivisionError, "mine"):
                await generators[0].athrow(ZeroDivisionError("mine"))
        self.run_in_loop(main())

    def test_a_generator_that_runs_on_after_its_task_has_ended(self):
        async def main():
            generators = []
            await asyncio.create_task(self.leave_open(generators))
            self.assertEqual(await anext(generators[0]), 2)
            with self.assertRaisesRegex(RuntimeError,
                                        "after its task has ended"):
                await anext(generators[0])
            await asyncio.sleep(1)
        self.run_in_loop(main())

    def test_a_coroutine_may_be_destroyed_in_another_thread(self):
        made, closed = [], []

        class Scope(asyncio.CancelScope):
            def _abandon(self):
                closed.append(True)
                super()._abandon()

        async def work():
            with Scope():
                await asyncio.get_running_loop().create_future()

        def other_thread(loop):
            async def start():
                made.append(self.Task(work(), loop=loop))
                await asyncio.sleep(0)
            loop.run_until_complete(start())

        for is_closed in True, False:
            with self.subTest(is_closed=is_closed):
                loop = asyncio.new_event_loop()
                loop.set_exception_handler(
                    lambda loop, context: self.unhandled.append(context))
                thread = threading.Thread(target=other_thread, args=[loop])
                thread.start()
                thread.join()
                if is_closed:
                    loop.close()
                task = made.pop()
                task._log_destroy_pending = False
                task = weakref.ref(task)
                with support.catch_unraisable_exception() as caught:
                    gc.collect()
                    self.assertIsNone(task())
                    self.assertIsNone(caught.unraisable)
                # A loop that lives does it in its own thread.
                self.assertEqual(closed, [True] if is_closed else [])
                if not is_closed:
                    loop.run_until_complete(asyncio.sleep(0))
                    loop.close()
                self.assertEqual(closed, [True])
                closed.clear()
                self.assertEqual(self.unhandled, [])

    def test_a_request_that_is_held_by_a_destroyed_coroutine_is_forgotten(self):
        seen = []

        async def work():
            try:
                with asyncio.CancelScope() as scope:
                    scope.cancel()
                    async with asyncio.CancelScope(shield=True):
                        await asyncio.get_running_loop().create_future()
            except BaseException as exc:
                seen.append(type(exc))
                raise

        def run(loop, made):
            async def start():
                task = self.Task(work(), loop=loop)
                made.append(task)
                task._log_destroy_pending = False
                await asyncio.sleep(0)
                task.cancel()
            loop.run_until_complete(start())
            loop.close()

        for in_thread in False, True:
            with self.subTest(in_thread=in_thread):
                loop, made = asyncio.new_event_loop(), []
                if in_thread:
                    thread = threading.Thread(target=run, args=[loop, made])
                    thread.start()
                    thread.join()
                else:
                    run(loop, made)
                seen.clear()
                with support.catch_unraisable_exception() as caught:
                    made.clear()
                    gc.collect()
                    self.assertIsNone(caught.unraisable)
                self.assertEqual(seen, [GeneratorExit])

    def test_another_thread_is_refused(self):
        async def main():
            errors = []

            def other_thread(scope):
                for step in (scope.cancel,
                             lambda: scope.__exit__(None, None, None),
                             lambda: setattr(scope, "shield", True),
                             lambda: setattr(scope, "deadline", 1)):
                    try:
                        step()
                    except RuntimeError as exc:
                        errors.append(str(exc))

            with asyncio.CancelScope() as scope:
                thread = threading.Thread(target=other_thread, args=[scope])
                thread.start()
                thread.join()
                self.assertIn("open", repr(scope))
                await asyncio.sleep(1)
            self.assertEqual(len(errors), 4)
            for error in errors:
                self.assertIn("call_soon_threadsafe", error)
            self.assertFalse(scope.cancel_called)
        self.run_in_loop(main())

    def test_a_scope_that_was_cancelled_before_entry(self):
        async def main():
            scope = asyncio.CancelScope()
            scope.cancel("early")
            with scope:
                await asyncio.sleep(1)
                self.fail("it was not cancelled")
            self.assertTrue(scope.cancelled_caught)
            self.assertEqual(self.loop.now, 0)
        self.run_in_loop(main())

    def test_cancel_called_before_and_after_the_block(self):
        async def main():
            late = asyncio.move_on_at(2)
            after = asyncio.CancelScope()
            with after:
                pass
            after.cancel("after")
            self.assertTrue(after.cancel_called)
            self.assertEqual(after.cancel_msg, "after")
            self.assertFalse(after.cancelled_caught)
            self.assertFalse(late.cancel_called)
            await asyncio.sleep(2)
            self.assertTrue(late.cancel_called)
        self.run_in_loop(main())
        self.assertFalse(asyncio.move_on_at(-1).cancel_called)

    def test_repr_says_the_state(self):
        async def main():
            scope = asyncio.CancelScope(shield=True, deadline=3)
            self.assertRegex(repr(scope), "<CancelScope new shield "
                                          "deadline=3.000 at 0x")
            with scope:
                self.assertIn("<CancelScope open", repr(scope))
                scope.cancel()
                self.assertIn("open cancelled", repr(scope))
            self.assertIn("closed cancelled", repr(scope))
        self.run_in_loop(main())

    def test_repr_of_a_task_says_that_a_scope_cancels_it(self):
        async def child(scope):
            with scope:
                try:
                    await asyncio.sleep(60)
                finally:
                    seen.append(repr(asyncio.current_task()))
            seen.append(repr(asyncio.current_task()))

        async def main():
            scope = asyncio.CancelScope()
            task = asyncio.create_task(child(scope))
            await asyncio.sleep(0)
            seen.append(repr(task))
            scope.cancel()
            seen.append(repr(task))
            await task
            seen.append(repr(task))

        seen = []
        self.run_in_loop(main())
        self.assertEqual([text.split()[1] for text in seen],
                         ["pending", "cancelling", "cancelling", "pending",
                          "finished"])

    def test_the_stack_of_a_task_in_a_cancelled_scope_is_printed(self):
        async def child(scope):
            with scope:
                await asyncio.create_task(asyncio.sleep(60))  # It is here.

        async def main():
            scope = asyncio.CancelScope()
            task = asyncio.create_task(child(scope))
            await asyncio.sleep(1)
            scope.cancel()
            output = io.StringIO()
            task.print_stack(file=output)
            self.assertIn("# It is here.", output.getvalue())
            await task
        self.run_in_loop(main())

    def test_what_is_in_a_scope_left_too_early_gets_to_what_is_around(self):
        async def main():
            outer, middle, inner = [asyncio.CancelScope() for _ in range(3)]
            with outer:
                middle.__enter__()
                with inner:
                    middle.cancel()
                    with self.assertRaisesRegex(RuntimeError, "reverse order"):
                        middle.__exit__(None, None, None)
                    # Nothing is cancelled any more.
                    await asyncio.sleep(1)
                    outer.cancel("outer")
                    with self.assertRaisesRegex(asyncio.CancelledError,
                                                "outer"):
                        await asyncio.sleep(1)
            self.assertEqual(self.loop.now, 1)
        self.run_in_loop(main())

    def test_a_deadline_after_a_scope_left_too_early(self):
        async def main():
            left, inner = asyncio.move_on_after(5), asyncio.move_on_after(60)
            left.__enter__()
            with inner:
                await asyncio.sleep(0)
                with self.assertRaisesRegex(RuntimeError, "reverse order"):
                    left.__exit__(None, None, None)
                with asyncio.move_on_after(7):
                    await asyncio.sleep(99)
            self.assertEqual(self.loop.now, 7)
        self.run_in_loop(main())


class TypeTests:
    """What is the same for scopes in C and in Python."""

    def test_a_subclass_does_what_it_wants(self):
        class Telling(asyncio.CancelScope):
            def __enter__(self):
                self.told = ["enter"]
                return super().__enter__()

            def __exit__(self, *exc_info):
                self.told.append(exc_info)
                return super().__exit__(*exc_info)

        async def main():
            with Telling(timeout=5, shield=True) as scope:
                await asyncio.sleep(9)
            self.assertEqual(self.loop.now, 5)
            async with Telling() as scope:
                pass
            self.assertEqual(scope.told, ["enter", (None, None, None)])
            for shield in False, True:
                async with Telling(timeout=5, shield=shield) as scope:
                    await asyncio.sleep(9)
                self.assertIs(scope.told[1][0], asyncio.CancelledError)
                self.assertIsNotNone(scope.told[1][2])
                self.assertTrue(scope.cancelled_caught)
                self.assertIn("<Telling closed", repr(scope))
        self.run_in_loop(main())

    def test_it_has_no_other_attributes(self):
        for made in asyncio.CancelScope(), cancellation.Node():
            with self.assertRaises(AttributeError):
                made.something = 1
            self.assertIs(weakref.ref(made)(), made)
        scope = asyncio.CancelScope()
        for name in "cancel_called", "cancelled_caught", "cancel_msg":
            with self.assertRaises(AttributeError):
                setattr(scope, name, True)
        for name in "deadline", "shield":
            with self.assertRaises(AttributeError):
                delattr(scope, name)

    def test_its_name_and_what_help_says(self):
        cls = asyncio.CancelScope
        self.assertEqual((cls.__module__, cls.__qualname__),
                         ("asyncio.scopes", "CancelScope"))
        self.assertEqual(inspect.getdoc(cls),
                         inspect.getdoc(scopes._PyCancelScope))
        self.assertEqual(str(inspect.signature(cls)),
                         "(*, timeout=None, deadline=None, shield=False)")
        for name in ("deadline", "shield", "cancel_called",
                     "cancelled_caught", "cancel_msg", "cancel"):
            with self.subTest(name=name):
                self.assertEqual(
                    inspect.getdoc(getattr(cls, name)),
                    inspect.getdoc(getattr(scopes._PyCancelScope, name)))
        for name in "move_on_after", "move_on_at", "fail_after", "fail_at":
            with self.subTest(name=name):
                function = getattr(asyncio, name)
                python = getattr(scopes, f"_py_{name}")
                self.assertEqual(inspect.getdoc(function),
                                 inspect.getdoc(python))
                self.assertEqual(inspect.signature(function),
                                 inspect.signature(python))
                self.assertIs(type(function(1)), asyncio.CancelScope)

    def test_it_cannot_be_copied(self):
        scope = asyncio.CancelScope()
        for function in copy.copy, pickle.dumps:
            with self.assertRaisesRegex(TypeError,
                                        "cannot pickle 'CancelScope' object"):
                function(scope)

    def test_a_tree_has_nodes_of_one_class(self):
        class Other:
            pass

        for other in Other(), asyncio.CancelScope(), 1:
            for method in "attach", "link":
                node = cancellation.Node()
                with self.assertRaisesRegex(TypeError, "one class only"):
                    getattr(node, method)(other)
                self.assertIsNone(node.parent)

    def test_the_fields_of_a_node(self):
        names = {name for name in dir(cancellation._PyNode)
                 if not name.startswith("_")}
        self.assertEqual(names, {name for name in dir(cancellation.Node)
                                 if not name.startswith("_")})
        parent, middle, children = cancellation.Node(), cancellation.Node(), []
        middle.attach(parent)
        parent.attach(None)
        for _ in range(4):
            children.append(cancellation.Node())
            children[-1].attach(middle)
        children.pop(1).detach()
        self.assertEqual(list(middle.children), children)
        self.assertEqual(list(children[0].visible()),
                         [children[0], middle, parent])
        other = cancellation.Node()
        other.attach(parent)
        middle.detach()
        self.assertEqual(list(parent.children), [other, *children])
        self.assertEqual(middle.children, {})
        parent.cancel("why")
        self.assertEqual([child.text() for child in children], ["why"] * 3)
        children[1].hides = True
        children[1].update()
        self.assertEqual([child.effective for child in children],
                         [True, False, True])
        parent.detach()
        self.assertEqual([child.parent for child in children], [None] * 3)
        self.assertEqual([child.effective for child in children], [False] * 3)

    def test_a_deep_tree_goes_away(self):
        node = None
        for _ in range(100_000):
            parent, node = node, cancellation.Node()
            node.attach(parent)
        ref = weakref.ref(parent)
        del parent, node
        gc.collect()
        self.assertIsNone(ref())

    def test_a_node_that_is_forgotten_leaves_the_tree(self):
        parent = cancellation.Node()
        kept = [cancellation.Node() for _ in range(3)]
        for node in kept:
            node.attach(parent)
        ref = weakref.ref(kept.pop(1))
        if cancellation.Node is cancellation._PyNode:
            # A parent has references to its children.
            ref().detach()
        del node
        gc.collect()
        self.assertIsNone(ref())
        self.assertEqual(list(parent.children), kept)

    def test_a_scope_of_a_closed_loop_goes(self):
        async def child(refs):
            with asyncio.CancelScope(timeout=60) as scope:
                refs.append(weakref.ref(scope))
                del scope
                await self.loop.create_future()

        refs = []
        task = self.Task(child(refs), loop=self.loop)
        self.loop.run_until_complete(asyncio.sleep(0))
        task._log_destroy_pending = False
        del task
        gc.collect()
        self.assertIsNotNone(refs[0]())
        self.loop.close()
        gc.collect()
        self.assertIsNone(refs[0]())


class CleanTests:

    def test_no_cyclic_garbage_is_left(self):
        async def main():
            with asyncio.fail_after(1):
                await asyncio.sleep(60)

        async def child():
            with asyncio.move_on_after(1):
                await asyncio.sleep(60)
            with self.assertRaises(TimeoutError):
                await main()

        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            self.run_in_loop(child())
            gc.collect()
            found = [o for o in gc.garbage if isinstance(
                o, (asyncio.CancelScope, cancellation.Node,
                    cancellation.Canceller, BaseException))]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
        self.assertEqual(found, [])

    def test_a_task_lets_its_scopes_go(self):
        async def child():
            with asyncio.CancelScope(timeout=5) as scope:
                await asyncio.sleep(1)
            return weakref.ref(scope)

        async def main():
            task = asyncio.create_task(child())
            ref = await task
            self.assertIsNone(ref())
        self.run_in_loop(main())


class CancelAndWaitTests:

    async def stubborn(self):
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(5)

    def test_it_waits_until_all_have_ended(self):
        async def stubborn(seen):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError as exc:
                await asyncio.sleep(5)
                seen.append((self.loop.now, exc.args))

        async def main():
            seen = []
            task = asyncio.create_task(stubborn(seen))
            future = self.loop.create_future()
            await asyncio.sleep(1)
            await asyncio.cancel_and_wait(task, future, msg="why")
            self.assertEqual(seen, [(6, ("why",))])
            self.assertTrue(future.cancelled())
            await asyncio.cancel_and_wait()
        self.run_in_loop(main())

    def test_a_cancelled_scope_does_not_cut_it_short(self):
        async def main():
            task = asyncio.create_task(self.stubborn())
            await asyncio.sleep(1)
            passes = self.loop.passes
            with asyncio.CancelScope() as scope:
                scope.cancel()
                await asyncio.cancel_and_wait(task)
                self.assertTrue(task.done())
            self.assertFalse(scope.cancelled_caught)
            self.assertLess(self.loop.passes - passes, 8)
            self.assertEqual(self.loop.now, 6)
        self.run_in_loop(main())

    def test_an_edge_is_raised_after_it(self):
        async def main():
            task = asyncio.create_task(self.stubborn())
            await asyncio.sleep(1)
            me = asyncio.current_task()
            self.loop.call_later(2, me.cancel, "edge")
            with self.assertRaisesRegex(asyncio.CancelledError, "edge"):
                await asyncio.cancel_and_wait(task)
            self.assertTrue(task.done())
            me.uncancel()
        self.run_in_loop(main())

    def test_an_error_in_asking_one_does_not_stop_the_others(self):
        class Raising(asyncio.Future):
            def cancel(self, msg=None):
                super().cancel(msg)
                raise ZeroDivisionError

        async def child(ended):
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(1)
                ended.append(self.loop.now)

        async def main():
            ended = []
            task = asyncio.create_task(child(ended))
            await asyncio.sleep(1)
            with self.assertRaises(ZeroDivisionError):
                await asyncio.cancel_and_wait(Raising(loop=self.loop), task)
            self.assertEqual(ended, [2])
        self.run_in_loop(main())

    def test_a_task_cannot_wait_for_itself(self):
        async def main():
            with self.assertRaisesRegex(RuntimeError, "itself"):
                await asyncio.cancel_and_wait(asyncio.current_task())
        self.run_in_loop(main())


class MemberTests:
    """What groups build on: a node whose members are tasks."""

    def setUp(self):
        super().setUp()
        self.group = cancellation.Node()
        self.group.members = {}

    def create(self, coro):
        asyncio.tasks._pending_owners[id(coro)] = self.group
        task = asyncio.create_task(coro)
        self.assertEqual(asyncio.tasks._pending_owners, {})
        return task

    def test_members_are_cancelled_at_every_wait(self):
        async def child(told):
            for _ in range(3):
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError as exc:
                    told.append(exc.args)

        async def main():
            told = []
            tasks = [self.create(child(told)) for _ in range(2)]
            await asyncio.sleep(1)
            self.group.cancel("group")
            await asyncio.wait(tasks)
            self.assertEqual(told, [("group",)] * 6)
            self.assertEqual(self.group.members, {})
        self.run_in_loop(main())

    def test_scopes_of_members_hang_below_the_group(self):
        async def child(scope):
            with scope:
                await asyncio.sleep(60)

        async def main():
            open_one = asyncio.CancelScope()
            shielded = asyncio.CancelScope(shield=True, timeout=5)
            tasks = [self.create(child(open_one)),
                     self.create(child(shielded))]
            await asyncio.sleep(1)
            self.group.cancel()
            await asyncio.wait(tasks)
            self.assertTrue(tasks[0].cancelled())
            self.assertFalse(tasks[1].cancelled())
            self.assertEqual(self.loop.now, 5)
        self.run_in_loop(main())


for behaviour in (LevelTests, EdgeTests, NestingTests, DeadlineTests,
                  GroupTests, ShieldTests, CornerTests, MisuseTests, TypeTests,
                  CleanTests, CancelAndWaitTests, MemberTests):
    globals().update(scopes_support.kinds(behaviour.__name__, behaviour))
del behaviour


if __name__ == "__main__":
    unittest.main()
