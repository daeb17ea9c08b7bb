"""Tests for what task groups offer beyond create_task()."""

import asyncio
import gc
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


class CancelTests:

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
                # It was closed.
                with self.assertRaisesRegex(RuntimeError, "already awaited"):
                    await coro
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

    def test_a_group_that_ends_is_an_error_of_a_stranger_s_call(self):
        async def silent(*, task_status):
            await asyncio.sleep(60)

        async def main():
            async with asyncio.TaskGroup() as group:
                calling = asyncio.create_task(group.start(silent))
                await asyncio.sleep(1)
                group.cancel()
            with self.assertRaisesRegex(RuntimeError, "was cancelled"):
                await calling
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
        self.run_in_loop(main())

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

    def test_there_is_no_cyclic_garbage(self):
        async def failing():
            await asyncio.sleep(0)
            raise ValueError

        async def work(group, begin):
            async with group:
                group.create_task(failing())
                await begin(group)

        async def main(begin):
            group = asyncio.TaskGroup()
            with self.assertRaises(ExceptionGroup):
                await work(group, begin)

        async def early(*, task_status):
            raise KeyError

        async def start(group):
            try:
                await group.start(early)
            except KeyError:
                await asyncio.sleep(60)

        async def wait(group):
            await asyncio.sleep(60)

        begins = [wait]
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
del CancelTests, StartTests, GroupTests


if __name__ == "__main__":
    unittest.main()
