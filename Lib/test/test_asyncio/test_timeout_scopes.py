"""Tests for timeouts among cancel scopes, and for when they make timers."""

import asyncio
import contextlib
import contextvars
import fractions
import inspect
import math
import unittest
import weakref
from asyncio import cancellation
from asyncio import timeouts
from unittest import mock

from test import support
from test.support import import_helper
from test.test_asyncio import scopes_support
from test.test_asyncio import test_timeouts


def tearDownModule():
    asyncio.set_event_loop_policy(None)


class LevelTests:

    def test_no_timeout_error_while_an_outer_scope_is_cancelled(self):
        async def main():
            with asyncio.CancelScope() as scope:
                async with asyncio.timeout(1) as timeout:
                    try:
                        await asyncio.sleep(60)
                    finally:
                        scope.cancel("outer")
            self.assertTrue(scope.cancelled_caught)
            self.assertTrue(timeout.expired())
            self.assertEqual(asyncio.current_task().cancelling(), 0)
        self.run_in_loop(main())

    def test_a_cancelled_scope_inside_does_not_count(self):
        async def main():
            with self.assertRaises(TimeoutError):
                async with asyncio.timeout(1):
                    with asyncio.CancelScope() as scope:
                        try:
                            await asyncio.sleep(60)
                        finally:
                            scope.cancel()
            # The request of the timeout is more than the scope's own.
            self.assertFalse(scope.cancelled_caught)
        self.run_in_loop(main())

    def test_a_scope_that_hides_its_surroundings_lets_it_raise(self):
        async def main():
            with asyncio.CancelScope() as outer:
                outer.cancel()
                with asyncio.CancelScope(shield=True):
                    with self.assertRaises(TimeoutError):
                        async with asyncio.timeout(1):
                            await asyncio.sleep(60)
                self.assertEqual(self.loop.now, 1)
            # Here, as the scope would end a CancelledError.
            self.assertFalse(outer.cancelled_caught)
        self.run_in_loop(main())

    def test_its_methods_are_coroutine_functions(self):
        for cls in asyncio.Timeout, asyncio.CancelScope:
            for method in cls.__aenter__, cls.__aexit__:
                self.assertTrue(inspect.iscoroutinefunction(method), method)
                self.assertIn(method.__name__, ("__aenter__", "__aexit__"))
                with self.assertRaises(TypeError):
                    method()

    def test_it_asks_once(self):
        async def main():
            with asyncio.CancelScope():
                with self.assertRaises(TimeoutError):
                    async with asyncio.timeout(1):
                        try:
                            await asyncio.sleep(60)
                        finally:
                            await asyncio.sleep(1)
            self.assertEqual(self.loop.now, 2)
        self.run_in_loop(main())

    def test_it_is_no_effective_deadline(self):
        async def main():
            with asyncio.move_on_after(5):
                async with asyncio.timeout(1):
                    return asyncio.current_effective_deadline()
        self.assertEqual(self.run_in_loop(main()), 5)


class EdgeTests:

    def test_its_own_request_explains_the_end_beside_others(self):
        async def main():
            task = asyncio.current_task()
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await asyncio.sleep(0)
            # One request is known to all; of two more, one is taken back.
            with self.assertRaises(TimeoutError):
                async with asyncio.timeout(0):
                    try:
                        await asyncio.sleep(0)
                    finally:
                        task.cancel()
                        task.uncancel()
            self.assertEqual(task.cancelling(), 1)
            with self.assertRaises(asyncio.CancelledError):
                await asyncio.sleep(0)
        self.run_in_loop(main())

    def test_a_timeout_that_outlives_the_shield_it_is_in(self):
        async def main():
            with asyncio.CancelScope(shield=True):
                inner = asyncio.CancelScope()
                inner.__enter__()
                with self.assertRaises(TimeoutError):
                    async with asyncio.timeout(1):
                        with self.assertRaisesRegex(RuntimeError, "reverse"):
                            with asyncio.CancelScope():
                                inner.__exit__(None, None, None)
                        await asyncio.sleep(60)
            self.assertEqual(self.loop.now, 1)

        async def of_its_own():
            with asyncio.CancelScope(shield=True):
                scope = asyncio.CancelScope()
                scope.__enter__()
                with self.assertRaises(TimeoutError):
                    async with asyncio.timeout(1):
                        scope.__exit__(None, None, None)
                        await asyncio.sleep(60)
            self.assertEqual(self.loop.now, 2)
        self.run_in_loop(main())
        self.run_in_loop(of_its_own())

    def test_a_task_that_joins_a_group_when_it_is_in_a_timeout(self):
        def factory(loop, coro, **kwargs):
            async def wrapper():
                return await coro
            return self.Task(wrapper(), loop=loop, eager_start=True, **kwargs)

        async def child():
            async with asyncio.timeout(10):
                await asyncio.sleep(60)

        async def main():
            with asyncio.CancelScope() as scope:
                async with asyncio.TaskGroup() as group:
                    task = group.create_task(child())
                    await asyncio.sleep(1)
                    scope.cancel("scope")
            self.assertTrue(task.cancelled())
            self.assertEqual(self.loop.now, 1)
        self.loop.set_task_factory(factory)
        self.run_in_loop(main())

    def test_a_task_of_a_class_whose_cancel_has_no_argument(self):
        class Foreign(asyncio.Future):
            _must_cancel = False
            calls = 0

            def cancelling(self):
                return self.calls

            def uncancel(self):
                self.calls -= 1
                return self.calls

            def cancel(self):
                self.calls += 1
                return super().cancel()

        async def main():
            task = Foreign()
            cancellation.cancel(task, None)
            self.assertTrue(task.cancelled())
            task = Foreign()
            with self.assertRaises(TypeError):
                cancellation.cancel(task, None, "text")
            self.assertFalse(task.cancelled())
            # gh-134471: one that is pending is no old one.
            task.calls, task._must_cancel = 3, True
            guard = cancellation.Guard()
            cancellation.begin(guard, task)
            self.assertEqual(guard._baseline, 2)
        self.run_in_loop(main())

    def check_a_cancel_pending_at_entry(self, delay, scoped):
        async def main():
            task = asyncio.current_task()
            if scoped:
                with asyncio.CancelScope():
                    pass
            task.cancel("mine")
            with self.assertRaises(asyncio.CancelledError) as caught:
                async with asyncio.timeout(delay):
                    await asyncio.sleep(60)
            self.assertEqual(caught.exception.args, ("mine",))
            self.assertEqual(task.cancelling(), 1)
            await asyncio.sleep(0)
        self.run_in_loop(main())

    def test_a_cancel_that_was_pending_at_entry_passes(self):
        # gh-134471
        for delay in 0, -1, 10:
            for scoped in False, True:
                with self.subTest(delay=delay, scoped=scoped):
                    self.check_a_cancel_pending_at_entry(delay, scoped)

    def test_a_cancel_that_was_delivered_before_does_not_count(self):
        async def main():
            task = asyncio.current_task()
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await asyncio.sleep(60)
            with self.assertRaises(TimeoutError):
                async with asyncio.timeout(1):
                    await asyncio.sleep(60)
            self.assertEqual(task.cancelling(), 1)
        self.run_in_loop(main())

    def test_an_edge_wins_over_a_level_through_the_blocks_between(self):
        async def with_timeout(wait):
            async with asyncio.timeout(60):
                await wait

        async def in_group(wait):
            async with asyncio.TaskGroup():
                await wait

        async def with_wait_for(wait):
            await asyncio.wait_for(wait, 60)

        async def child(scope, between, is_pending):
            if is_pending:
                asyncio.current_task().cancel("edge")
            with scope:
                if is_pending:
                    scope.cancel("level")
                await between(asyncio.sleep(30))

        async def main(between, order):
            scope = asyncio.CancelScope()
            task = asyncio.create_task(child(scope, between, not order))
            await asyncio.sleep(0)
            asked = {"edge": task, "level": scope}
            for text in order:
                asked[text].cancel(text)
            await asyncio.wait([task])
            self.assertTrue(task.cancelled())
            self.assertEqual(task.cancelling(), 1)
            self.assertFalse(scope.cancelled_caught)
            self.assertEqual(self.loop.now, 0)
        for between in with_timeout, in_group, with_wait_for:
            for order in ["edge", "level"], ["level", "edge"], []:
                with self.subTest(between=between.__name__, order=order):
                    self.run_in_loop(main(between, order))

    def test_uncancel_lowers_what_it_takes_for_granted(self):
        async def main():
            task = asyncio.current_task()
            with asyncio.CancelScope():
                task.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await asyncio.sleep(60)
                self.loop.call_later(1, task.cancel, "later")
                with self.assertRaises(asyncio.CancelledError) as caught:
                    async with asyncio.timeout(1):
                        task.uncancel()
                        await asyncio.sleep(60)
            self.assertEqual(caught.exception.args, ("later",))
            self.assertEqual(task.cancelling(), 1)
        self.run_in_loop(main())

    def test_the_cancel_of_a_subclass_is_not_called(self):
        class Loud(self.Task):
            calls = 0

            def cancel(self, msg=None):
                self.calls += 1
                return super().cancel(msg)

        async def main():
            for scope in (asyncio.CancelScope(),
                          asyncio.CancelScope(shield=True)):
                with scope, self.assertRaises(TimeoutError):
                    async with asyncio.timeout(1):
                        await asyncio.sleep(60)
            return asyncio.current_task().calls

        async def run():
            task = Loud(main(), loop=self.loop)
            return await task
        self.assertEqual(self.run_in_loop(run()), 0)

    def test_withdrawn_before_it_was_delivered(self):
        async def main():
            task = asyncio.current_task()
            with asyncio.CancelScope():
                # Counted, and swallowed.
                task.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await asyncio.sleep(60)
                async with asyncio.timeout(1) as timeout:
                    with asyncio.CancelScope(shield=True):
                        await asyncio.sleep(2)
                await asyncio.sleep(1)
            self.assertTrue(timeout.expired())
            self.assertEqual(task.cancelling(), 1)
        self.run_in_loop(main())

    def test_left_in_a_shield_it_takes_back_its_own_request(self):
        async def child(seen):
            timeout = asyncio.timeout(1)
            await timeout.__aenter__()
            with asyncio.CancelScope(shield=True):
                await asyncio.sleep(5)
                await timeout.__aexit__(None, None, None)
                seen.append(asyncio.current_task().cancelling())
            await asyncio.sleep(5)

        async def main():
            seen = []
            task = asyncio.create_task(child(seen))
            await asyncio.sleep(2)
            task.cancel("foreign")
            with self.assertRaisesRegex(asyncio.CancelledError, "foreign"):
                await task
            self.assertEqual(seen, [1])

        async def in_a_scope():
            with asyncio.CancelScope():
                await main()
        self.run_in_loop(in_a_scope())


    def test_one_of_two_requests_pending_at_entry_is_taken_back(self):
        async def child():
            task = asyncio.current_task()
            task.cancel("first")
            task.cancel("second")
            async with asyncio.timeout(0):
                task.uncancel()
                await asyncio.sleep(1)

        async def main():
            task = asyncio.create_task(child())
            with self.assertRaises(asyncio.CancelledError):
                await task
            self.assertEqual(task.cancelling(), 1)
        self.run_in_loop(main())


class TimerTests:

    def count_timers(self):
        return sum(not handle.cancelled() for handle in self.loop._scheduled)

    def test_a_block_that_does_not_suspend_makes_no_timer(self):
        async def main():
            with asyncio.CancelScope():
                before = len(self.loop._scheduled), len(self.loop._ready)
                async with asyncio.timeout(1):
                    async with asyncio.timeout(2):
                        pass
                    self.assertEqual(before, (len(self.loop._scheduled),
                                              len(self.loop._ready)))
        self.run_in_loop(main())

    def test_a_block_that_suspends_is_armed(self):
        async def main():
            counts = []
            with asyncio.CancelScope():
                async with asyncio.timeout(1):
                    async with asyncio.timeout(2):
                        self.loop.call_soon(
                            lambda: counts.append(self.count_armed()))
                        await asyncio.sleep(0)
                    counts.append(self.count_armed())
                counts.append(self.count_armed())
            self.assertEqual(counts, [2, 1, 0])
        self.run_in_loop(main())

    def count_calls_of_call_at(self):
        """Return a list to which the times of new timers are added."""
        made = []

        def call_at(when, *args, **kwargs):
            made.append(when)
            return type(self.loop).call_at(self.loop, when, *args, **kwargs)
        self.loop.call_at = call_at
        return made

    def test_many_blocks_share_one_timer_with_scopes(self):
        async def child(n):
            with asyncio.CancelScope(deadline=None if n % 2 else 9):
                async with asyncio.timeout(9 + n):
                    await asyncio.sleep(1)

        async def main():
            made = self.count_calls_of_call_at()
            await asyncio.wait([asyncio.create_task(child(n))
                                for n in range(100)])
            # And one for each sleep().
            self.assertEqual(len([when for when in made if when > 1]), 1)
        self.run_in_loop(main())

    def test_the_timer_of_blocks_that_have_ended_fires_once(self):
        async def main():
            made = self.count_calls_of_call_at()
            with asyncio.CancelScope():
                for n in range(100):
                    async with asyncio.timeout(9 + n):
                        await asyncio.sleep(0)
                self.assertEqual((made, self.count_timers()), ([9], 1))
                passes = self.loop.passes
                await asyncio.sleep(60)
                made = [when for when in made if when != 60]
                self.assertEqual((made, self.count_timers()), ([9], 0))
                self.assertLessEqual(self.loop.passes - passes, 4)
        self.run_in_loop(main())

    def test_reschedule_to_later_moves_no_timer(self):
        async def main():
            made = self.count_calls_of_call_at()
            with asyncio.CancelScope():
                with self.assertRaises(TimeoutError):
                    async with asyncio.timeout(5) as timeout:
                        await asyncio.sleep(0)
                        for n in range(1000):
                            timeout.reschedule(9 + n)
                        await self.loop.create_future()
            self.assertEqual((made, self.loop.now), ([5, 1008], 1008))
        self.run_in_loop(main())

    def test_a_timeout_of_any_kind_of_number(self):
        async def main():
            with asyncio.CancelScope():
                for when in 5, fractions.Fraction(11, 2), True:
                    with self.assertRaises(TimeoutError):
                        async with asyncio.timeout_at(when):
                            await asyncio.sleep(60)
                    self.assertGreaterEqual(self.loop.now, when)
            self.assertEqual(self.loop.now, 5.5)
        self.run_in_loop(main())

    def test_a_timeout_at_an_integer_too_large_for_a_float(self):
        async def main():
            with asyncio.CancelScope():
                with self.assertRaises(TimeoutError):
                    async with asyncio.timeout_at(10**400) as timeout:
                        await asyncio.sleep(1)
                        timeout.reschedule(math.inf)
                        await asyncio.sleep(60)
                        # It has a timer of its own.
                        self.assertEqual(self.count_armed(), 0)
                        timeout.reschedule(62)
                        await asyncio.sleep(60)
            self.assertEqual(self.loop.now, 62)
        self.run_in_loop(main())

    def test_one_that_raises_stops_no_other(self):
        class Raising(asyncio.Future):
            def cancel(self, msg=None):
                raise ZeroDivisionError

        async def child(future):
            with asyncio.CancelScope():
                async with asyncio.timeout(1):
                    await future

        async def main():
            raising = Raising(loop=self.loop)
            tasks = [asyncio.create_task(child(raising))]
            tasks += [asyncio.create_task(child(self.loop.create_future()))
                      for _ in range(2)]
            await asyncio.wait(tasks[1:])
            self.assertEqual([type(task.exception()) for task in tasks[1:]],
                             [TimeoutError, TimeoutError])
            self.assertEqual([type(context["exception"])
                              for context in self.unhandled],
                             [ZeroDivisionError])
            self.unhandled.clear()
            self.assertEqual(self.loop.now, 1)
            raising.set_result(None)
            await asyncio.wait(tasks)
        self.run_in_loop(main())

    def test_the_task_is_asked_in_its_own_context(self):
        var = contextvars.ContextVar("var", default=None)
        seen = []

        class Telling(asyncio.Future):
            def cancel(self, msg=None):
                seen.append(var.get())
                return super().cancel(msg)

        async def child(n):
            var.set(n)
            with asyncio.CancelScope(), contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await Telling(loop=self.loop)

        async def main():
            await asyncio.wait([asyncio.create_task(child(n))
                                for n in range(3)])
            self.assertEqual(seen, [0, 1, 2])
        self.run_in_loop(main())

    def test_what_is_left_of_the_timer_keeps_no_context(self):
        class Value:
            pass

        async def main():
            var = contextvars.ContextVar("var")
            value = Value()
            ref = weakref.ref(value)
            token = var.set(value)
            del value
            with asyncio.CancelScope():
                async with asyncio.timeout(60):
                    await asyncio.sleep(0)
            var.reset(token)
            del token
            support.gc_collect()
            self.assertEqual(self.count_timers(), 1)
            self.assertIsNone(ref())
        self.run_in_loop(main())

    def test_a_deadline_that_is_no_number_leaves_nothing(self):
        async def main():
            with asyncio.CancelScope():
                with self.assertRaises(TypeError):
                    async with asyncio.timeout_at("soon"):
                        self.fail("it was entered")
                await asyncio.sleep(1)
        self.run_in_loop(main())

    def test_a_clock_that_fails_leaves_nothing(self):
        async def main():
            with asyncio.CancelScope():
                for enter in (asyncio.move_on_after(1).__enter__,
                              asyncio.timeout_at(9).__aenter__().__await__):
                    with mock.patch.object(self.loop, "time",
                                           side_effect=ZeroDivisionError):
                        with self.assertRaises(ZeroDivisionError):
                            next(iter(enter()))
                await asyncio.sleep(1)
        self.run_in_loop(main())

    def test_a_timer_that_cannot_be_made_is_an_error_in_the_task(self):
        async def main():
            future = self.loop.create_future()
            self.loop.call_later(1, future.set_result, "later")
            with asyncio.CancelScope():
                with mock.patch.object(self.loop, "call_at",
                                       side_effect=OverflowError):
                    async with asyncio.timeout(60):
                        with self.assertRaises(OverflowError):
                            await future
                    with asyncio.move_on_after(50):
                        with self.assertRaises(OverflowError):
                            await future
                self.assertEqual(await future, "later")
        self.run_in_loop(main())

    def test_a_clock_that_fails_once_does_not_stop_the_deadlines(self):
        failing = False

        class Failing(type(self.loop)):
            def time(self):
                nonlocal failing
                if failing:
                    failing = False
                    raise ZeroDivisionError
                return super().time()

        async def main():
            nonlocal failing

            def fail():
                nonlocal failing
                failing = True
            for _ in range(2):
                with asyncio.move_on_after(5) as scope:
                    # In the pass in which the timer is called, after the
                    # loop has looked at the clock.
                    self.loop.call_at(self.loop.now + 5, fail)
                    await asyncio.sleep(60)
                self.assertTrue(scope.cancelled_caught)
        self.loop.__class__ = Failing
        self.loop.run_until_complete(main())
        self.unhandled.clear()

    def test_it_can_be_left_once(self):
        async def leave(timeout, exc=None):
            await timeout.__aexit__(type(exc), exc, None)

        async def main():
            in_time, late, failed = (asyncio.timeout(60),
                                     asyncio.timeout(0), asyncio.timeout_at(1))
            with self.assertRaisesRegex(RuntimeError, "leave created"):
                await leave(in_time)
            async with in_time:
                pass
            with self.assertRaises(TimeoutError):
                async with late:
                    await asyncio.sleep(60)
            with self.assertRaises(ZeroDivisionError):
                with mock.patch.object(self.loop, "time",
                                       side_effect=ZeroDivisionError):
                    await failed.__aenter__()
            for timeout in in_time, late, failed:
                before = repr(timeout)
                for exc in None, asyncio.CancelledError():
                    with self.assertRaisesRegex(
                            RuntimeError, "Cannot leave .*: use it in one"):
                        await leave(timeout, exc)
                self.assertEqual(repr(timeout), before)
                with self.assertRaises(RuntimeError):
                    timeout.__init__(1)
            self.assertEqual(asyncio.current_task()._canceller.guards, [])
        self.run_in_loop(main())

    def test_it_takes_attributes(self):
        timeout = timeouts.timeout_at(1)
        timeout.note = timeout
        self.assertEqual(vars(timeout)["note"], timeout)
        wr = weakref.ref(timeout)
        del timeout
        support.gc_collect()
        self.assertIsNone(wr())

    def test_a_task_that_ends_in_another_one_leaves_what_that_handles(self):
        async def quick():
            async with asyncio.timeout(1):
                pass

        async def generate():
            yield
            async with asyncio.timeout(1):
                self.Task(quick(), loop=self.loop, eager_start=True)
            try:
                raise KeyError
            except KeyError as exc:
                contexts.append(exc.__context__)
            yield
            try:
                raise KeyError
            except KeyError as exc:
                contexts.append(exc.__context__)
            yield

        async def main():
            generator = generate()
            await anext(generator)
            try:
                raise ZeroDivisionError
            except ZeroDivisionError as exc:
                error = exc
                await anext(generator)
            await anext(generator)
            self.assertEqual(contexts, [error, None])
            await generator.aclose()
            del error
        contexts = []
        self.run_in_loop(main())

    def test_a_timer_that_cannot_be_cancelled_leaves_nothing(self):
        async def main(when):
            task = asyncio.current_task()
            with asyncio.CancelScope() as outer:
                future = self.loop.create_future()
                self.loop.call_soon(future.set_result, None)
                with self.assertRaises(ZeroDivisionError):
                    async with asyncio.timeout_at(when):
                        await future
                self.assertEqual(task._canceller.guards, [outer])
        scopes_support.fail_timers(self.loop)
        for when in 60, math.inf:
            with self.subTest(when=when):
                self.run_in_loop(main(when))

    def test_a_time_that_changes_the_timeout_when_it_is_looked_at(self):
        class Compared:
            def __le__(self, now):
                timeout.reschedule(None)
                return False

        class Converted(float):
            def __float__(self):
                timeout.reschedule(None)
                return super().__float__()

        async def main():
            nonlocal timeout
            timeout = asyncio.timeout_at(Compared())
            with asyncio.CancelScope():
                async with timeout:
                    self.assertIsNone(timeout.when())
                    await asyncio.sleep(60)
                async with asyncio.timeout(None) as timeout:
                    await asyncio.sleep(0)
                    timeout.reschedule(Converted(70))
                    await asyncio.sleep(5)
                await asyncio.sleep(9)
        timeout = None
        self.run_in_loop(main())

    def test_a_loop_that_runs_callbacks_at_once(self):
        def call_soon(callback, *args, context=None):
            del self.loop.call_soon
            callback(*args)
            return asyncio.Handle(print, (), self.loop)

        async def main():
            with asyncio.CancelScope():
                with self.assertRaises(TimeoutError):
                    self.loop.call_soon = call_soon
                    async with asyncio.timeout_at(self.loop.now) as timeout:
                        self.assertTrue(timeout.expired())
                        await asyncio.sleep(0)
                await asyncio.sleep(0)
        self.run_in_loop(main())

    def test_a_loop_whose_attributes_arm_the_timeout(self):
        class Arming(type(self.loop)):
            def __getattr__(self, name):
                if name.endswith("_deadlines") and timeout.when() != 7:
                    timeout.reschedule(7)
                raise AttributeError(name)

        async def main():
            nonlocal timeout
            with asyncio.CancelScope():
                async with asyncio.timeout(5) as timeout:
                    await asyncio.sleep(0)
                    self.assertEqual(timeout.when(), 7)
                with self.assertRaises(TimeoutError):
                    async with asyncio.timeout(8):
                        await asyncio.sleep(60)
            self.assertEqual(self.loop.now, 8)
        timeout = None
        self.loop.__class__ = Arming
        self.run_in_loop(main())

    def test_a_loop_that_takes_no_attribute(self):
        class Closed(type(self.loop)):
            def __setattr__(self, name, value):
                if name.endswith("_deadlines"):
                    raise AttributeError(name)
                super().__setattr__(name, value)

        async def main():
            with asyncio.CancelScope():
                async with asyncio.timeout(60):
                    async with asyncio.timeout(50) as timeout:
                        await asyncio.sleep(0)
                        timeout.reschedule(70)
                        self.assertEqual(self.count_timers(), 2)
                    with asyncio.move_on_after(5):
                        await asyncio.sleep(9)
                    self.assertEqual(self.loop.now, 5)
                self.assertEqual(self.count_timers(), 0)
                with self.assertRaises(TimeoutError):
                    async with asyncio.timeout(5):
                        await asyncio.sleep(60)
            self.assertEqual(self.loop.now, 10)
        self.loop.__class__ = Closed
        self.run_in_loop(main())

    def test_timeouts_that_are_late_come_in_their_order(self):
        async def child(order, delay):
            with asyncio.CancelScope():
                try:
                    async with asyncio.timeout(delay):
                        await self.loop.create_future()
                except TimeoutError:
                    order.append(delay)

        async def main():
            order = []
            tasks = [asyncio.create_task(child(order, delay))
                     for delay in (3, 1, 4, 2)]
            # A timer between them comes after those that come together.
            self.loop.call_at(2.5, order.append, "timer")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            self.loop.now = 9
            await asyncio.wait(tasks)
            self.assertEqual(order, ["timer", 1, 2, 3, 4])
        self.run_in_loop(main())

    def test_nested_timeouts_that_are_late_count_both(self):
        async def main():
            with asyncio.CancelScope():
                with self.assertRaises(TimeoutError):
                    async with asyncio.timeout(2) as outer:
                        async with asyncio.timeout(1) as inner:
                            self.loop.call_soon(setattr, self.loop, "now", 9)
                            await asyncio.sleep(60)
            self.assertTrue(inner.expired())
            self.assertTrue(outer.expired())
            self.assertEqual(asyncio.current_task().cancelling(), 0)
        self.run_in_loop(main())

    def test_a_closed_loop_lets_armed_timeouts_go(self):
        async def child(refs):
            with asyncio.CancelScope():
                async with asyncio.timeout(60) as timeout:
                    refs.append(weakref.ref(timeout))
                    del timeout
                    await self.loop.create_future()

        refs = []
        task = self.Task(child(refs), loop=self.loop)
        self.loop.run_until_complete(asyncio.sleep(0))
        support.gc_collect()
        task._log_destroy_pending = False
        del task
        support.gc_collect()
        self.assertIsNotNone(refs[0]())
        self.loop.close()
        support.gc_collect()
        self.assertIsNone(refs[0]())

    def test_what_is_due_at_entry_comes_before_the_bodys_callbacks(self):
        async def main():
            order = []
            with asyncio.CancelScope():
                with self.assertRaises(TimeoutError):
                    async with asyncio.timeout(0) as timeout:
                        self.loop.call_soon(
                            lambda: order.append(timeout.expired()))
                        await asyncio.sleep(0)
            self.assertEqual(order, [True])
        self.run_in_loop(main())

    def test_reschedule_before_the_first_wait(self):
        async def main():
            with asyncio.CancelScope():
                with self.assertRaises(TimeoutError):
                    async with asyncio.timeout(60) as timeout:
                        timeout.reschedule(3)
                        self.assertEqual(self.count_timers(), 0)
                        self.assertEqual(self.count_armed(), 0)
                        await asyncio.sleep(60)
            self.assertEqual(self.loop.now, 3)
        self.run_in_loop(main())

    def test_reschedule_of_what_is_due_before_the_first_wait(self):
        async def main():
            with asyncio.CancelScope():
                with self.assertRaises(TimeoutError):
                    async with asyncio.timeout(0) as timeout:
                        timeout.reschedule(3)
                        await asyncio.sleep(60)
            self.assertEqual(self.loop.now, 3)
        self.run_in_loop(main())

    def test_reschedule_while_the_task_is_parked(self):
        async def main():
            with asyncio.CancelScope():
                with self.assertRaises(TimeoutError):
                    async with asyncio.timeout(60) as timeout:
                        self.loop.call_later(1, timeout.reschedule, 3)
                        await asyncio.sleep(60)
            self.assertEqual(self.loop.now, 3)
        self.run_in_loop(main())

    def test_reschedule_to_never(self):
        async def main():
            with asyncio.CancelScope():
                async with asyncio.timeout(1) as timeout:
                    self.loop.call_soon(timeout.reschedule, None)
                    await asyncio.sleep(60)
            self.assertFalse(timeout.expired())
            self.assertEqual(self.loop.now, 60)
        self.run_in_loop(main())

    def test_a_timeout_left_open_ends_with_its_task(self):
        generators = []

        async def generate():
            async with asyncio.timeout(60):
                yield

        async def child():
            with asyncio.CancelScope():
                generators.append(generate())
                await anext(generators[0])
                await asyncio.sleep(1)

        async def main():
            await asyncio.create_task(child())
            self.assertEqual(self.count_armed(), 0)
            await generators.pop().aclose()
        self.run_in_loop(main())

    def test_a_block_that_has_ended_makes_no_timer(self):
        async def main():
            with asyncio.CancelScope():
                async with asyncio.timeout(1):
                    pass
                await asyncio.sleep(5)
        self.run_in_loop(main())

    def test_a_block_that_has_ended_lets_the_timeout_go(self):
        async def main():
            with asyncio.CancelScope():
                for seconds in (1, 60):
                    timeout = asyncio.timeout(1)
                    ref = weakref.ref(timeout)
                    with contextlib.suppress(TimeoutError):
                        async with timeout:
                            await asyncio.sleep(seconds)
                    del timeout
                    self.assertIsNone(ref())
        self.run_in_loop(main())

    def test_a_block_that_has_ended_is_let_go_while_others_are_armed(self):
        async def main():
            with asyncio.CancelScope():
                async with asyncio.timeout(50):
                    async with asyncio.timeout(60) as timeout:
                        await asyncio.sleep(0)
                    ref = weakref.ref(timeout)
                    del timeout
                    self.assertIsNone(ref())
        self.run_in_loop(main())


class PyUpstreamTests(test_timeouts.TimeoutTests):
    """Upstream's tests of the Timeout in Python."""

    def setUp(self):
        super().setUp()
        self.enterContext(scopes_support.scopes_in_python())

    async def test_it_is_the_one_in_python(self):
        async with asyncio.timeout(1) as timeout:
            self.assertIs(type(timeout), timeouts._PyTimeout)


@unittest.skipUnless(hasattr(timeouts, "_CTimeout"),
                     "requires the C _asyncio module")
class CTests(unittest.IsolatedAsyncioTestCase):

    def test_it_is_what_asyncio_has(self):
        self.assertIs(asyncio.Timeout, timeouts._CTimeout)
        self.assertIs(asyncio.timeout, timeouts._c_timeout)
        self.assertIs(asyncio.timeout_at, timeouts._c_timeout_at)

    def test_both_have_the_same_members(self):
        c, python = (set(dir(timeouts._CTimeout)),
                     set(dir(timeouts._PyTimeout)))
        own = {name for name in python - set(dir(type("", (), {})))
               if not name.startswith("_")}
        self.assertLessEqual(own, c)

    async def test_it_cannot_be_used_without_init(self):
        timeout = asyncio.Timeout.__new__(asyncio.Timeout)
        timeout._arm()
        self.assertEqual(repr(timeout), "<Timeout [created]>")
        with self.assertRaisesRegex(RuntimeError, "__init__"):
            async with timeout:
                self.fail("was entered")

    async def test_a_step_can_be_awaited_once(self):
        timeout = asyncio.timeout(1)
        step = timeout.__aenter__()
        self.assertIs(await step, timeout)
        with self.assertRaises(RuntimeError):
            await step
        await timeout.__aexit__(None, None, None)
        step = timeout.__aenter__()
        with self.assertRaises(KeyError):
            step.throw(KeyError())
        step.close()

    async def test_a_step_can_be_driven_by_hand(self):
        for end in next, lambda step: step.send(None):
            timeout = asyncio.timeout(1)
            with self.assertRaises(StopIteration) as cm:
                end(timeout.__aenter__())
            self.assertIs(cm.exception.value, timeout)
            with self.assertRaises(StopIteration) as cm:
                end(timeout.__aexit__(None, None, None))
            self.assertIsNone(cm.exception.value)

    async def test_a_step_does_not_end_by_stop_iteration(self):
        class Stopping(asyncio.CancelScope):
            def __exit__(self, *exc_info):
                super().__exit__(None, None, None)
                raise StopIteration(True)

        with self.assertRaisesRegex(RuntimeError, "StopIteration"):
            async with Stopping():
                raise KeyError

    @unittest.skipIf(support.Py_GIL_DISABLED,
                     "types are immortal when there was another thread")
    def test_a_step_that_is_kept_does_not_keep_the_module(self):
        module = import_helper.import_fresh_module("_asyncio")
        module.CancelScope().__aenter__().close()
        wr = weakref.ref(module)
        del module
        support.gc_collect()
        self.assertIsNone(wr())

    async def test_a_step_refuses_what_is_no_exception(self):
        for arguments in (), (1,), (int,), ("text", None, None):
            step = asyncio.timeout(1).__aenter__()
            with self.assertRaises(TypeError):
                step.throw(*arguments)
        step = asyncio.timeout(1).__aenter__()
        with self.assertRaisesRegex(KeyError, "key"):
            step.throw(KeyError, "key")

    async def test_a_subclass(self):
        class Named(asyncio.Timeout):
            async def __aenter__(self):
                self.name = "named"
                return await super().__aenter__()

        self.assertEqual((Named.__base__.__module__, Named.__base__.__name__),
                         ("asyncio.timeouts", "Timeout"))
        timeout = Named(asyncio.get_running_loop().time())
        with self.assertRaises(TimeoutError):
            async with timeout:
                await asyncio.sleep(60)
        self.assertEqual(timeout.name, "named")
        wr = weakref.ref(timeout)
        del timeout
        support.gc_collect()
        self.assertIsNone(wr())

    async def test_it_goes_when_nothing_needs_it(self):
        with asyncio.CancelScope():
            async with asyncio.timeout(60) as timeout:
                await asyncio.sleep(0)
        wr = weakref.ref(timeout)
        del timeout
        support.gc_collect()
        self.assertIsNone(wr())

    async def test_a_cycle_through_an_open_one_is_collected(self):
        async def generate():
            async with asyncio.timeout(60) as timeout:
                yield timeout

        generator = generate()
        timeout = await anext(generator)
        self.assertIn("active", repr(timeout))
        await generator.aclose()
        self.assertIn("finished", repr(timeout))


globals().update(scopes_support.kinds("LevelTests", LevelTests))
globals().update(scopes_support.kinds("EdgeTests", EdgeTests))
globals().update(scopes_support.kinds("TimerTests", TimerTests))
del LevelTests, EdgeTests, TimerTests


if __name__ == "__main__":
    unittest.main()
