"""Tests for scopes.py and cancellation.py."""

import asyncio
import gc
import math
import threading
import traceback
import unittest
import weakref

from asyncio import cancellation
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

    def test_an_item_of_a_queue_is_not_lost_in_either_order(self):
        async def child(scope, queue, got):
            with scope:
                got.append(await queue.get())

        async def main(put_first):
            queue, got = asyncio.Queue(), []
            scope = asyncio.CancelScope()
            task = asyncio.create_task(child(scope, queue, got))
            await asyncio.sleep(1)
            steps = [lambda: queue.put_nowait("item"), scope.cancel]
            for step in steps if put_first else reversed(steps):
                step()
            await task
            left = [] if queue.empty() else [queue.get_nowait()]
            self.assertEqual(got + left, ["item"])
            self.assertEqual(bool(got), put_first)
        for put_first in (True, False):
            with self.subTest(put_first=put_first):
                self.run_in_loop(main(put_first))

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
            timers = [h for h in self.loop._scheduled if not h.cancelled()]
            self.assertEqual(len(timers), 1)
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
                heap = cancellation.deadlines_of(self.loop)._heap
                self.assertLess(len(heap), 50)
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


class MisuseTests:

    def test_arguments_that_are_refused(self):
        for arguments, error, text in (
                (dict(timeout=1, deadline=1), ValueError, "both"),
                (dict(timeout=math.nan), ValueError, "timeout.*NaN"),
                (dict(deadline=math.nan), ValueError, "deadline.*NaN"),
                (dict(timeout="1"), TypeError, "timeout must be a number"),
                (dict(deadline=[]), TypeError, "deadline must be a number")):
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

    def test_a_coroutine_that_is_destroyed_closes_its_scopes(self):
        async def main(scope):
            with scope:
                with asyncio.CancelScope(shield=True):
                    await asyncio.sleep(60)

        def start():
            task = self.Task(coro, loop=self.loop)
            self.loop.run_until_complete(asyncio.sleep(0))
            task._log_destroy_pending = False
            for handle in self.loop._scheduled:
                handle.cancel()

        scope = asyncio.CancelScope(timeout=5)
        coro = main(scope)
        start()
        coro.close()
        self.assertIn("closed", repr(scope))
        self.assertIsNone(scope._node.parent)

    def test_another_thread_is_refused(self):
        async def main():
            errors = []

            def other_thread(scope):
                for step in (scope.cancel,
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
                await asyncio.sleep(1)
            self.assertEqual(len(errors), 3)
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
            with asyncio.CancelScope() as scope:
                scope.cancel()
                passes = self.loop.passes
                await asyncio.cancel_and_wait(task)
                self.assertTrue(task.done())
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
                  GroupTests, ShieldTests, CornerTests, MisuseTests, CleanTests,
                  CancelAndWaitTests, MemberTests):
    globals().update(scopes_support.kinds(behaviour.__name__, behaviour))
del behaviour


if __name__ == "__main__":
    unittest.main()
