"""Tests for what task groups offer beyond create_task()."""

import asyncio
import gc
import inspect
import sys
import unittest
from asyncio import tasks

from test.test_asyncio import scopes_support


def tearDownModule():
    asyncio.set_event_loop_policy(None)


class Listener:
    """An async context manager that has told someone what has ended it."""

    def __init__(self, told):
        self.told = told

    async def listen(self):
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError as exc:
            self.told.append(exc.args)
            raise


async def serve(value, *, task_status, told=None):
    task_status.started(value)
    await Listener([] if told is None else told).listen()


async def fail(exc, passes=0):
    for _ in range(passes):
        await asyncio.sleep(0)
    raise exc


class SlottedTask:
    """What looks like a task, and takes no attributes that it does not know."""

    __slots__ = ("task",)

    def __init__(self, task):
        self.task = task

    def add_done_callback(self, callback):
        self.task.add_done_callback(lambda _: callback(self))

    def __getattr__(self, name):
        return getattr(self.task, name)


class CancelTests:

    def test_its_own_request_explains_the_end_beside_others(self):
        async def main():
            task = asyncio.current_task()
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await asyncio.sleep(0)
            async with asyncio.TaskGroup() as group:
                group.cancel()
                try:
                    await asyncio.sleep(0)
                finally:
                    task.cancel()
                    task.uncancel()
            self.assertEqual(task.cancelling(), 1)
            with self.assertRaises(asyncio.CancelledError):
                await asyncio.sleep(0)
        self.run_in_loop(main())

    def test_cancel_ends_the_tasks_and_the_body(self):
        async def main():
            told = []
            async with asyncio.TaskGroup() as group:
                for _ in range(2):
                    group.create_task(Listener(told).listen())
                await asyncio.sleep(1)
                group.cancel("enough")
                await Listener(told).listen()
                told.append("went on")
            self.assertEqual(told, 3 * [("enough",)])
            self.assertEqual(asyncio.current_task().cancelling(), 0)
            self.assertEqual(self.loop.now, 1)
            await asyncio.sleep(0)
        self.run_in_loop(main())

    def test_a_task_of_the_group_can_cancel_it(self):
        async def child(group):
            await asyncio.sleep(1)
            group.cancel()
            await asyncio.sleep(60)

        async def main(waits):
            told = []
            async with asyncio.TaskGroup() as group:
                group.create_task(Listener(told).listen())
                task = group.create_task(child(group))
                if waits:
                    await Listener(told).listen()
            self.assertTrue(task.cancelled())
            self.assertEqual(told, [()] * (1 + waits))
            self.assertEqual(asyncio.current_task().cancelling(), 0)
            await asyncio.sleep(0)
        for waits in True, False:
            with self.subTest(waits=waits):
                self.run_in_loop(main(waits))

    def test_an_eager_task_that_cancels_the_group_is_cancelled(self):
        async def child(group):
            group.cancel()
            await asyncio.sleep(60)

        async def main():
            async with asyncio.TaskGroup() as group:
                task = group.create_task(child(group), eager_start=True)
                await asyncio.sleep(60)
            self.assertTrue(task.cancelled())
            self.assertEqual(task.cancelling(), 1)
            self.assertEqual(self.loop.now, 0)
        self.run_in_loop(main())

    def test_cancel_again_and_after_the_end_does_nothing(self):
        async def main():
            told = []
            group = asyncio.TaskGroup()
            async with group:
                group.create_task(Listener(told).listen())
                await asyncio.sleep(1)
                group.cancel("first")
                group.cancel("second")
                await asyncio.sleep(60)
            self.assertEqual(told, [("first",)])
            group.cancel()
            self.assertEqual(asyncio.current_task().cancelling(), 0)
            await asyncio.sleep(1)
            self.assertEqual(self.loop.now, 2)
        self.run_in_loop(main())

    def test_cancel_before_the_entry_ends_the_body_at_its_first_wait(self):
        async def main():
            group = asyncio.TaskGroup()
            group.cancel()
            steps = []
            async with group:
                steps.append("began")
                coro = asyncio.sleep(1)
                with self.assertRaisesRegex(RuntimeError, "shutting down"):
                    group.create_task(coro)
                await asyncio.sleep(1)
                steps.append("went on")
            self.assertEqual(steps, ["began"])
            self.assertEqual(self.loop.now, 0)
            self.assertEqual(asyncio.current_task().cancelling(), 0)
        self.run_in_loop(main())

    def test_a_body_without_a_wait_ends_as_ever(self):
        async def main():
            async with asyncio.TaskGroup() as group:
                group.cancel()
            self.assertEqual(asyncio.current_task().cancelling(), 0)
            await asyncio.sleep(1)
            self.assertEqual(self.loop.now, 1)
        self.run_in_loop(main())

    def test_a_cancellation_from_outside_is_not_lost(self):
        async def work(groups):
            async with asyncio.TaskGroup() as group:
                groups.append(group)
                group.create_task(Listener([]).listen())
                await asyncio.sleep(60)

        async def main(outside_first):
            groups = []
            working = asyncio.create_task(work(groups))
            await asyncio.sleep(1)
            if outside_first:
                working.cancel("outside")
            groups[0].cancel("inside")
            if not outside_first:
                working.cancel("outside")
            await asyncio.wait([working])
            self.assertTrue(working.cancelled())
        for outside_first in True, False:
            with self.subTest(outside_first=outside_first):
                self.run_in_loop(main(outside_first))

    def test_a_cancellation_during_the_exit_is_not_lost(self):
        async def stubborn():
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(5)

        async def work(groups):
            async with asyncio.TaskGroup() as group:
                groups.append(group)
                group.create_task(stubborn())
                await asyncio.sleep(60)

        async def main():
            groups = []
            working = asyncio.create_task(work(groups))
            await asyncio.sleep(1)
            groups[0].cancel("inside")
            await asyncio.sleep(1)
            working.cancel("outside")
            with self.assertRaises(asyncio.CancelledError) as raised:
                await working
            self.assertEqual(raised.exception.args, ("outside",))
            self.assertEqual(self.loop.now, 6)
        self.run_in_loop(main())

    def test_a_scope_around_sees_that_the_group_has_not_finished(self):
        async def main():
            with asyncio.CancelScope() as scope:
                async with asyncio.TaskGroup() as group:
                    group.create_task(Listener([]).listen())
                    await asyncio.sleep(1)
                    group.cancel()
                    scope.cancel()
                    await asyncio.sleep(1)
                self.fail("the group ended as if nothing was cancelled")
            self.assertTrue(scope.cancelled_caught)
        self.run_in_loop(main())

    def test_a_scope_around_reaches_each_wait_of_a_task(self):
        async def child(told):
            for _ in range(2):
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    told.append(self.loop.now)

        async def main():
            told = []
            with asyncio.move_on_after(1):
                async with asyncio.TaskGroup() as group:
                    group.create_task(child(told))
            self.assertEqual(told, [1, 1])
        self.run_in_loop(main())

    def test_a_scope_around_sees_that_a_task_was_told_to_end(self):
        async def child():
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                pass

        async def main():
            with asyncio.CancelScope() as scope:
                async with asyncio.TaskGroup() as group:
                    group.create_task(child())
                    self.loop.call_later(1, group.cancel)
                    self.loop.call_later(1, scope.cancel)
                self.fail("the group ended as if nothing was cancelled")
            self.assertTrue(scope.cancelled_caught)
        self.run_in_loop(main())

    def test_of_cancellations_while_the_exit_waits_the_first_is_raised(self):
        async def stubborn():
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(5)

        async def work():
            async with asyncio.TaskGroup() as group:
                group.create_task(stubborn())

        async def main():
            working = asyncio.create_task(work())
            for msg in "first", "second":
                await asyncio.sleep(1)
                working.cancel(msg)
            with self.assertRaises(asyncio.CancelledError) as raised:
                await working
            self.assertEqual(raised.exception.args, ("first",))
            self.assertEqual(self.loop.now, 6)
        self.run_in_loop(main())

    def test_errors_after_cancel_are_raised(self):
        async def child():
            try:
                await asyncio.sleep(60)
            finally:
                1 / 0

        async def main():
            with self.assertRaises(ExceptionGroup) as raised:
                async with asyncio.TaskGroup() as group:
                    group.create_task(child())
                    await asyncio.sleep(1)
                    group.cancel()
                    await asyncio.sleep(60)
            self.assertEqual(list(map(type, raised.exception.exceptions)),
                             [ZeroDivisionError])
            self.assertEqual(asyncio.current_task().cancelling(), 0)
        self.run_in_loop(main())

    def test_a_cancelled_group_takes_no_tasks(self):
        async def main():
            async with asyncio.TaskGroup() as group:
                group.create_task(Listener([]).listen())
                await asyncio.sleep(0)
                group.cancel()
                coro = asyncio.sleep(1)
                with self.assertRaisesRegex(RuntimeError, "shutting down"):
                    group.create_task(coro)
                self.assertEqual(inspect.getcoroutinestate(coro),
                                 inspect.CORO_CLOSED)
        self.run_in_loop(main())


class StartTests:

    def test_start_returns_what_the_task_reports(self):
        async def main():
            told = []
            async with asyncio.TaskGroup() as group:
                value = await group.start(_told_serve(told), "value")
                self.assertEqual(value, "value")
                self.assertEqual(told, [])
                self.assertEqual(len(group._tasks), 1)
                group.cancel()
            self.assertEqual(told, [()])
        self.run_in_loop(main())

    def test_start_waits_for_the_report(self):
        async def late(*, task_status):
            await asyncio.sleep(3)
            task_status.started()
            await asyncio.sleep(2)

        async def main():
            async with asyncio.TaskGroup() as group:
                self.assertIsNone(await group.start(late))
                self.assertEqual(self.loop.now, 3)
            self.assertEqual(self.loop.now, 5)
        self.run_in_loop(main())

    def test_the_task_has_the_name(self):
        async def get(*, task_status):
            await asyncio.sleep(0)
            task_status.started(asyncio.current_task().get_name())

        async def main():
            async with asyncio.TaskGroup() as group:
                self.assertEqual(await group.start(get, name="a name"),
                                 "a name")
                self.assertRegex(await group.start(get), r"\ATask-\d+\Z")
        self.run_in_loop(main())

    def test_an_error_before_the_report_is_of_the_call_alone(self):
        async def early(exc, passes, *, task_status):
            await fail(exc, passes)

        async def main(exc, passes):
            told = []
            async with asyncio.TaskGroup() as group:
                group.create_task(Listener(told).listen())
                await asyncio.sleep(0)
                with self.assertRaises(type(exc)) as raised:
                    await group.start(early, exc, passes)
                self.assertIs(raised.exception, exc)
                await asyncio.sleep(1)
                self.assertEqual(told, [])
                group.cancel()
        for passes in 0, 2:
            for exc in ValueError(), KeyboardInterrupt(), BaseException():
                with self.subTest(exc=exc, passes=passes):
                    self.run_in_loop(main(exc, passes))

    def test_an_error_after_the_report_is_of_the_group(self):
        async def late(passes, *, task_status):
            task_status.started()
            await fail(ValueError(), passes)

        async def main(passes):
            with self.assertRaises(ExceptionGroup) as raised:
                async with asyncio.TaskGroup() as group:
                    await group.start(late, passes)
                    await asyncio.sleep(60)
            self.assertEqual(list(map(type, raised.exception.exceptions)),
                             [ValueError])
            self.assertEqual(self.loop.now, 0)
        for passes in 0, 2:
            with self.subTest(passes=passes):
                self.run_in_loop(main(passes))

    def test_an_end_without_a_report_is_an_error(self):
        async def silent(*, task_status):
            await asyncio.sleep(0)

        async def main():
            async with asyncio.TaskGroup() as group:
                with self.assertRaisesRegex(RuntimeError, "returned and has "
                                            "not called"):
                    await group.start(silent)
        self.run_in_loop(main())

    def test_a_task_that_is_cancelled_before_its_report_is_an_error(self):
        async def silent(*, task_status):
            asyncio.current_task().cancel()
            await asyncio.sleep(60)

        async def main():
            async with asyncio.TaskGroup() as group:
                with self.assertRaisesRegex(RuntimeError, "was cancelled "
                                            "before it called"):
                    await group.start(silent)
        self.run_in_loop(main())

    def test_a_cancelled_call_ends_after_its_task(self):
        async def slow(ended, error, *, task_status):
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(5)
                # Nobody waits for it any more.
                task_status.started()
                ended.append(self.loop.now)
                if error is not None:
                    raise error

        async def call(group, *args):
            await group.start(slow, *args)

        async def main(error):
            ended, begin = [], self.loop.now
            async with asyncio.TaskGroup() as group:
                calling = asyncio.create_task(call(group, ended, error))
                await asyncio.sleep(1)
                calling.cancel()
                await asyncio.wait([calling])
                self.assertEqual(ended, [begin + 6])
                self.assertEqual(self.loop.now, begin + 6)
                self.assertEqual(len(group._tasks), 0)
                if error is None:
                    self.assertTrue(calling.cancelled())
                else:
                    self.assertIs(calling.exception(), error)
        for error in None, ValueError():
            with self.subTest(error=error):
                self.run_in_loop(main(error))

    def test_a_call_that_is_cancelled_with_the_report_leaves_the_task(self):
        async def work(calls, ended, *, task_status):
            await asyncio.sleep(1)
            task_status.started()
            calls[0].cancel()
            await asyncio.sleep(5)
            ended.append(self.loop.now)

        async def main():
            calls, ended = [], []
            async with asyncio.TaskGroup() as group:
                calls.append(asyncio.create_task(
                    group.start(work, calls, ended)))
                await asyncio.wait(calls)
                self.assertTrue(calls[0].cancelled())
                self.assertEqual(self.loop.now, 1)
            self.assertEqual(ended, [6])
        self.run_in_loop(main())

    def test_a_scope_that_cancels_the_call_waits_for_the_task(self):
        async def slow(told, *, task_status):
            for _ in range(2):
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    told.append(self.loop.now)
            await asyncio.sleep(5)

        async def main():
            told = []
            async with asyncio.TaskGroup() as group:
                with asyncio.move_on_after(1) as scope:
                    await group.start(slow, told)
                self.assertTrue(scope.cancelled_caught)
                # The group is outside of the scope: its task is not in it.
                self.assertEqual(told, [1])
                self.assertEqual(self.loop.now, 66)
        self.run_in_loop(main())

    def test_a_group_that_fails_ends_the_call(self):
        async def silent(told, *, task_status):
            await Listener(told).listen()

        async def main():
            told = []
            with self.assertRaises(ExceptionGroup) as raised:
                async with asyncio.TaskGroup() as group:
                    group.create_task(fail(ValueError(), passes=3))
                    await group.start(silent, told)
            self.assertEqual(list(map(type, raised.exception.exceptions)),
                             [ValueError])
            self.assertEqual(told, [()])
            self.assertEqual(asyncio.current_task().cancelling(), 0)
        self.run_in_loop(main())

    def test_a_group_that_ends_cancels_a_task_in_start_once(self):
        async def silent(ended, *, task_status):
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(5)
                ended.append(self.loop.now)

        async def member(group, ended):
            await group.start(silent, ended)

        async def by_host(group, ended):
            await group.start(silent, ended)

        async def by_member(group, ended):
            group.create_task(member(group, ended))
            await asyncio.sleep(60)

        async def main(body, end):
            ended, begin = [], self.loop.now
            try:
                async with asyncio.TaskGroup() as group:
                    self.loop.call_later(1, end, group)
                    await body(group, ended)
            except* ValueError:
                pass
            self.assertEqual(ended, [begin + 6])
            self.assertEqual(asyncio.current_task().cancelling(), 0)

        def break_it(group):
            group.create_task(fail(ValueError()))

        for body in by_host, by_member:
            for end in asyncio.TaskGroup.cancel, break_it:
                with self.subTest(body=body.__name__, end=end.__name__):
                    self.run_in_loop(main(body, end))

    def test_the_group_has_the_error_if_the_call_was_closed(self):
        async def silent(*, task_status):
            await asyncio.sleep(1)
            raise ValueError

        async def main():
            with self.assertRaises(ExceptionGroup) as raised:
                async with asyncio.TaskGroup() as group:
                    call = group.start(silent)
                    call.send(None)
                    call.close()
            self.assertEqual(list(map(type, raised.exception.exceptions)),
                             [ValueError])
        self.run_in_loop(main())
        gc.collect()
        # It is told of once.
        self.assertEqual(self.unhandled, [])

    def test_a_group_that_ends_cancels_a_shielded_call_from_inside(self):
        async def silent(*, task_status):
            await asyncio.sleep(60)

        async def call(group, told):
            async with asyncio.shield():
                try:
                    await group.start(silent)
                except asyncio.CancelledError as exc:
                    told.append(exc.args)
                    raise

        async def by_member(group, told):
            group.create_task(call(group, told))

        async def main(body):
            told = []
            async with asyncio.TaskGroup() as group:
                self.loop.call_later(1, group.cancel, "enough")
                await body(group, told)
            self.assertEqual(told, [("enough",)])
            self.assertEqual(asyncio.current_task().cancelling(), 0)
        for body in call, by_member:
            with self.subTest(body=body.__name__):
                self.run_in_loop(main(body))

    def test_a_group_that_ends_is_an_error_of_a_stranger_s_call(self):
        async def silent(*, task_status):
            await asyncio.sleep(60)

        async def slow():
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(5)

        async def main():
            async with asyncio.TaskGroup() as group:
                group.create_task(slow())
                calling = asyncio.create_task(group.start(silent))
                await asyncio.sleep(1)
                group.cancel()
            with self.assertRaisesRegex(RuntimeError, "was cancelled"):
                await calling
            self.assertEqual(self.loop.now, 6)
        self.run_in_loop(main())

    def test_an_error_of_a_task_that_ends_with_its_group_is_of_the_call(self):
        error = RuntimeError()

        async def silent(*, task_status):
            try:
                await asyncio.sleep(60)
            finally:
                raise error

        async def main():
            async with asyncio.TaskGroup() as group:
                self.loop.call_later(1, group.cancel)
                async with asyncio.shield():
                    with self.assertRaises(RuntimeError) as raised:
                        await group.start(silent)
                self.fail("the shield was left without a cancellation")
            self.assertIs(raised.exception, error)
        self.run_in_loop(main())

    def test_a_report_is_made_once(self):
        async def twice(*, task_status):
            task_status.started(1)
            with self.assertRaisesRegex(RuntimeError, "already called"):
                task_status.started(2)

        async def main():
            async with asyncio.TaskGroup() as group:
                self.assertEqual(await group.start(twice), 1)
        self.run_in_loop(main())

    def test_a_report_after_the_end_is_an_error(self):
        async def leave(statuses, *, task_status):
            statuses.append(task_status)

        async def main():
            statuses = []
            async with asyncio.TaskGroup() as group:
                with self.assertRaises(RuntimeError):
                    await group.start(leave, statuses)
                with self.assertRaisesRegex(RuntimeError, "after the task"):
                    statuses[0].started()
        self.run_in_loop(main())

    def test_a_group_that_is_not_open_starts_nothing(self):
        async def main():
            group = asyncio.TaskGroup()
            with self.assertRaisesRegex(RuntimeError, "has not been entered"):
                await group.start(serve, 1)
            async with group:
                pass
            with self.assertRaisesRegex(RuntimeError, "is finished"):
                await group.start(serve, 1)
        self.run_in_loop(main())

    def test_a_function_without_task_status_is_a_type_error(self):
        async def without():
            pass

        async def main():
            async with asyncio.TaskGroup() as group:
                with self.assertRaisesRegex(TypeError, "task_status"):
                    await group.start(without)
                with self.assertRaisesRegex(TypeError, "coroutine"):
                    await group.start(lambda task_status: None)
        self.run_in_loop(main())


def _told_serve(told):
    async def told_serve(value, *, task_status):
        await serve(value, task_status=task_status, told=told)
    return told_serve


class GroupTests:

    def test_what_is_no_coroutine_is_refused_as_one(self):
        async def main():
            group = asyncio.TaskGroup()
            for wrong in None, self.loop.create_future():
                with self.assertRaisesRegex(RuntimeError, "not been entered"):
                    group.create_task(wrong)
            async with group:
                for wrong in None, self.loop.create_future():
                    with self.assertRaisesRegex(TypeError, "coroutine"):
                        group.create_task(wrong)
        self.run_in_loop(main())

    def test_a_group_serves_one_block(self):
        async def main():
            group = asyncio.TaskGroup()
            async with group:
                with self.assertRaisesRegex(RuntimeError, "already been ent"):
                    await group.__aenter__()
            with self.assertRaisesRegex(RuntimeError, "already been entered"):
                await group.__aenter__()
        self.run_in_loop(main())

    def test_repr_tells_the_state(self):
        async def main():
            group = asyncio.TaskGroup(name="a name")
            self.assertEqual(repr(group), "<TaskGroup 'a name'>")
            async with group:
                self.assertEqual(repr(group), "<TaskGroup 'a name' entered>")
                group.create_task(Listener([]).listen())
                await asyncio.sleep(0)
                group.cancel()
                self.assertEqual(repr(group),
                                 "<TaskGroup 'a name' tasks=1 cancelling>")
            self.assertEqual(repr(group), "<TaskGroup 'a name' finished>")

        async def failing(seen):
            async with asyncio.TaskGroup() as group:
                group.create_task(fail(ValueError()))
                group.create_task(Listener([]).listen())
                try:
                    await asyncio.sleep(60)
                finally:
                    seen.append(repr(group))
        self.run_in_loop(main())
        seen = []
        with self.assertRaises(ExceptionGroup):
            self.run_in_loop(failing(seen))
        self.assertEqual(seen, ["<TaskGroup tasks=1 errors=1 cancelling>"])

    def test_an_exit_of_a_task_ends_the_others_first(self):
        async def slow(ended):
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(5)
                ended.append(self.loop.now)

        async def main(exit):
            ended, begin = [], self.loop.now
            with self.assertRaises(exit):
                async with asyncio.TaskGroup() as group:
                    group.create_task(slow(ended))
                    group.create_task(fail(exit(), passes=2))
                    await asyncio.sleep(60)
            self.assertEqual(ended, [begin + 5])
            self.assertEqual(asyncio.current_task().cancelling(), 0)
        for exit in KeyboardInterrupt, SystemExit:
            with self.subTest(exit=exit):
                self.run_in_loop(main(exit))

    def test_of_two_exits_the_first_is_raised(self):
        async def child():
            try:
                await asyncio.sleep(60)
            finally:
                raise SystemExit

        async def main():
            with self.assertRaises(KeyboardInterrupt):
                async with asyncio.TaskGroup() as group:
                    group.create_task(child())
                    group.create_task(fail(KeyboardInterrupt(), passes=2))
        self.run_in_loop(main())

    def test_errors_beside_an_exit_are_reported(self):
        error = ValueError()

        async def child():
            try:
                await asyncio.sleep(60)
            finally:
                raise error

        async def main():
            with self.assertRaises(SystemExit):
                async with asyncio.TaskGroup() as group:
                    group.create_task(child())
                    await asyncio.sleep(0)
                    raise SystemExit
            self.assertEqual([c["exception"] for c in self.unhandled], [error])
            self.unhandled.clear()
        self.run_in_loop(main())

    def test_an_error_that_two_have_raised_is_in_the_group_once(self):
        async def main():
            with self.assertRaises(ExceptionGroup) as raised:
                async with asyncio.TaskGroup() as group:
                    task = group.create_task(fail(ValueError()))
                    await task
            self.assertEqual(len(raised.exception.exceptions), 1)
        self.run_in_loop(main())

    def test_the_errors_hide_what_the_body_was_told(self):
        async def main():
            with self.assertRaises(ExceptionGroup) as raised:
                async with asyncio.TaskGroup() as group:
                    group.create_task(fail(ValueError(), passes=2))
                    await asyncio.sleep(60)
            self.assertTrue(raised.exception.__suppress_context__)
            self.assertIsNone(raised.exception.__cause__)
        self.run_in_loop(main())

    def test_the_work_is_linear_in_the_number_of_errors(self):
        async def main(errors):
            with self.assertRaises(ExceptionGroup) as raised:
                async with asyncio.TaskGroup() as group:
                    for _ in range(errors):
                        group.create_task(fail(ValueError(), passes=2))
            self.assertEqual(len(raised.exception.exceptions), errors)

        def count_calls(errors):
            calls = 0

            def profile(frame, event, arg):
                nonlocal calls
                calls += event == "call"
            sys.setprofile(profile)
            try:
                self.run_in_loop(main(errors))
            finally:
                sys.setprofile(None)
            return calls

        self.assertLess(count_calls(200), 2.5 * count_calls(100))

    def test_an_error_after_the_end_of_the_host_is_reported(self):
        error = ValueError()

        async def host(groups, told):
            groups.append(group := asyncio.TaskGroup())
            await group.__aenter__()
            group.create_task(Listener(told).listen())
            group.create_task(fail(error, passes=5))

        async def main():
            groups, told = [], []
            await asyncio.create_task(host(groups, told))
            await asyncio.sleep(1)
            self.assertEqual(told, [()])
            self.assertEqual([c["exception"] for c in self.unhandled], [error])
            self.unhandled.clear()
            # As what runs fixtures does, which enters it in another task.
            with self.assertRaises(ExceptionGroup) as raised:
                await groups[0].__aexit__(None, None, None)
            self.assertEqual(raised.exception.exceptions, (error,))
        self.run_in_loop(main())

    def test_an_exit_of_what_is_not_entered_does_nothing(self):
        async def main():
            group = asyncio.TaskGroup()
            self.assertFalse(await group.__aexit__(None, None, None))
            async with group:
                pass
            self.assertFalse(await group.__aexit__(None, None, None))
            self.assertEqual(repr(group), "<TaskGroup finished>")
        self.run_in_loop(main())

    def test_a_second_exit_meanwhile_is_refused(self):
        async def main():
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(2))
                self.loop.call_later(1, leave, group)
            with self.assertRaisesRegex(RuntimeError, "left already"):
                leaving[0].result()
            self.assertEqual(self.loop.now, 2)

        def leave(group):
            leaving.append(self.loop.create_task(
                group.__aexit__(None, None, None)))
        leaving = []
        self.run_in_loop(main())

    def test_tasks_of_a_class_that_takes_no_attributes_are_awaited(self):
        async def wrap(coro):
            await coro

        async def main():
            begin = self.loop.now
            async with asyncio.TaskGroup() as group:
                group.create_task(asyncio.sleep(1))
            self.assertEqual(self.loop.now, begin + 1)

        create_task = self.loop.create_task
        for factory in self.loop.get_task_factory(), None:
            with self.subTest(factory=factory):
                self.loop.set_task_factory(factory)
                main_task = create_task(main())
                self.loop.create_task = lambda coro: SlottedTask(
                    create_task(wrap(coro)))
                try:
                    self.loop.run_until_complete(main_task)
                finally:
                    del self.loop.create_task

    def test_futures_of_a_factory_are_awaited(self):
        error = ValueError()

        def factory(loop, coro, **kwargs):
            coro.close()
            future = loop.create_future()
            loop.call_later(1, future.set_exception, error)
            return future

        async def main():
            before = self.loop.get_task_factory()
            self.loop.set_task_factory(factory)
            try:
                with self.assertRaises(ExceptionGroup) as raised:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(asyncio.sleep(60))
                        await asyncio.sleep(60)
                self.assertEqual(raised.exception.exceptions, (error,))
                self.assertEqual(self.loop.now, 1)
            finally:
                self.loop.set_task_factory(before)
        self.run_in_loop(main())

    def test_a_loop_gets_only_what_was_given(self):
        calls = []

        async def main():
            create_task = self.loop.create_task

            def record(coro, **kwargs):
                calls.append(kwargs)
                return create_task(coro, **kwargs)
            self.loop.create_task = record
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(asyncio.sleep(0))
                    group.create_task(asyncio.sleep(0), context=None)
                    group.create_task(asyncio.sleep(0), name="a name")
            finally:
                del self.loop.create_task
            self.assertEqual(calls, [{}, {}, {"name": "a name"}])
        self.run_in_loop(main())

    def test_the_host_wakes_in_the_second_pass_after_the_last_task(self):
        async def child(passes):
            await asyncio.sleep(1)
            passes.append(self.loop.passes)

        async def main():
            passes = []
            async with asyncio.TaskGroup() as group:
                for _ in range(3):
                    group.create_task(child(passes))
            self.assertEqual(self.loop.passes - passes[-1], 2)
        self.run_in_loop(main())

    def test_the_host_does_not_wake_for_each_task(self):
        async def child(more, passes):
            await asyncio.sleep(1)
            for _ in range(more):
                await asyncio.sleep(0)
            passes.append(self.loop.passes)

        async def main():
            passes = []
            async with asyncio.TaskGroup() as group:
                # The later one ends just before the group knows of the other.
                group.create_task(child(1, passes))
                group.create_task(child(0, passes))
            self.assertEqual(passes[-1] - passes[0], 1)
            self.assertEqual(self.loop.passes - passes[-1], 2)
        self.run_in_loop(main())

    def test_the_source_of_a_task_is_the_caller(self):
        async def main():
            async with asyncio.TaskGroup() as group:
                made = [group.create_task(asyncio.sleep(0), **kwargs)
                        for kwargs in ({}, {"eager_start": True})]
            for task in made:
                self.assertEqual(task._source_traceback[-1].name, "main")
        # The frames of a factory are for itself to remove.
        self.loop.set_task_factory(None)
        self.loop.set_debug(True)
        self.run_in_loop(main())

    def test_a_closed_body_ends_the_tasks(self):
        async def work(told):
            async with asyncio.TaskGroup() as group:
                group.create_task(Listener(told).listen())
                await asyncio.get_running_loop().create_future()

        async def main():
            told = []
            coro = work(told)
            coro.send(None)
            await asyncio.sleep(0)
            with self.assertRaisesRegex(RuntimeError, "ignored"):
                coro.close()
            await asyncio.sleep(0)
            self.assertEqual(told, [()])
        self.run_in_loop(main())

    def test_an_error_after_the_body_was_closed_is_reported(self):
        error = ValueError()

        async def child():
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(1)
                raise error

        async def work():
            async with asyncio.TaskGroup() as group:
                group.create_task(child())
                await asyncio.get_running_loop().create_future()

        async def main():
            coro = work()
            coro.send(None)
            await asyncio.sleep(0)
            with self.assertRaisesRegex(RuntimeError, "ignored"):
                coro.close()
            # This one ends the wait for the tasks.
            coro.close()
            await asyncio.sleep(2)
            self.assertEqual([c["exception"] for c in self.unhandled], [error])
            self.unhandled.clear()
        self.run_in_loop(main())

    def test_a_body_that_is_closed_without_tasks_is_closed(self):
        async def work():
            async with asyncio.TaskGroup():
                await asyncio.get_running_loop().create_future()

        async def main():
            coro = work()
            coro.send(None)
            coro.close()
        self.run_in_loop(main())

    def test_there_is_no_cyclic_garbage(self):
        async def failing():
            await asyncio.sleep(0)
            raise ValueError

        async def work(group, begin):
            async with group:
                group.create_task(Listener([]).listen() if begin is be_cancelled
                                  else failing())
                await begin(group)

        async def main(begin):
            group = asyncio.TaskGroup()
            # assertRaises() would clear the frames, and so break the cycles.
            try:
                await work(group, begin)
            except (ExceptionGroup, asyncio.CancelledError):
                return
            self.fail("nothing was raised")

        async def early(*, task_status):
            raise KeyError

        async def start(group):
            try:
                await group.start(early)
            except KeyError:
                await asyncio.sleep(60)

        async def wait(group):
            await asyncio.sleep(60)

        async def be_cancelled(group):
            self.loop.call_soon(asyncio.current_task().cancel)

        begins = [wait, be_cancelled]
        if self.Task is not tasks._PyTask:
            # A frame of that has the future that it waits for.
            begins.append(start)
        for begin in begins:
            with self.subTest(begin=begin):
                self.run_in_loop(main(begin))
                gc.collect()
                gc.set_debug(gc.DEBUG_SAVEALL)
                try:
                    self.run_in_loop(main(begin))
                    gc.collect()
                    self.assertEqual([x for x in gc.garbage if isinstance(
                        x, (asyncio.TaskGroup, BaseException))], [])
                finally:
                    gc.set_debug(0)
                    gc.garbage.clear()


globals().update(scopes_support.kinds("CancelTests", CancelTests))
globals().update(scopes_support.kinds("StartTests", StartTests))
globals().update(scopes_support.kinds("GroupTests", GroupTests))


class WithoutFactory(scopes_support.VirtualClockTestCase):
    """Tasks are made in the shortest way."""

    Task = asyncio.Task

    def setUp(self):
        super().setUp()
        self.loop.set_task_factory(None)


class PlainCancelTests(CancelTests, WithoutFactory, unittest.TestCase):
    pass


class PlainStartTests(StartTests, WithoutFactory, unittest.TestCase):
    pass


class PlainGroupTests(GroupTests, WithoutFactory, unittest.TestCase):
    pass


del CancelTests, StartTests, GroupTests


if __name__ == "__main__":
    unittest.main()
