"""Tests for task groups in cancel scopes."""

import asyncio
import contextlib
import unittest

from test.test_asyncio import scopes_support


def tearDownModule():
    asyncio.set_event_loop_policy(None)


class TaskGroupTests:

    async def stubborn(self, told, waits=3):
        for _ in range(waits):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError as exc:
                told.append(exc.args)

    def test_a_group_without_a_scope_repeats_no_old_request(self):
        async def failing():
            raise ZeroDivisionError

        async def child():
            task = asyncio.current_task()
            try:
                task.cancel()
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                pass
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(failing())
            except* ZeroDivisionError:
                pass
            await asyncio.sleep(1)
            return "went on"

        async def main():
            self.assertEqual(await asyncio.create_task(child()), "went on")
        self.run_in_loop(main())

    def test_a_scope_around_a_group_reaches_its_tasks_at_every_wait(self):
        async def main():
            told = []
            with asyncio.CancelScope() as scope:
                async with asyncio.TaskGroup() as group:
                    for _ in range(2):
                        group.create_task(self.stubborn(told))
                    await asyncio.sleep(1)
                    scope.cancel("scope")
                self.fail("the group ended as if it had finished")
            self.assertTrue(scope.cancelled_caught)
            # The cancel() of the group that ends comes with the first.
            self.assertEqual(told, [("scope",)] * 6)
            self.assertEqual(self.loop.now, 1)
        self.run_in_loop(main())

    def test_an_error_of_the_body_is_not_replaced_by_the_scope(self):
        async def main():
            with asyncio.CancelScope() as scope:
                with self.assertRaises(ExceptionGroup) as caught:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(asyncio.sleep(60))
                        await asyncio.sleep(1)
                        scope.cancel()
                        raise ZeroDivisionError
            # Here, as the scope would end a CancelledError.
            [error] = caught.exception.exceptions
            self.assertIsInstance(error, ZeroDivisionError)
        self.run_in_loop(main())

    def test_the_deadlines_around_a_group_are_those_of_its_tasks(self):
        async def child():
            deadlines.append(asyncio.current_effective_deadline())
            with asyncio.move_on_after(9):
                deadlines.append(asyncio.current_effective_deadline())

        async def main():
            with asyncio.move_on_at(5):
                async with asyncio.TaskGroup() as group:
                    group.create_task(child())
        deadlines = []
        self.run_in_loop(main())
        self.assertEqual(deadlines, [5, 5])

    def test_a_scope_reaches_tasks_of_tasks(self):
        async def middle(told):
            async with asyncio.TaskGroup() as group:
                group.create_task(self.stubborn(told))

        async def main():
            told = []
            with asyncio.move_on_after(5) as scope:
                async with asyncio.TaskGroup() as group:
                    group.create_task(middle(told))
            self.assertTrue(scope.cancelled_caught)
            self.assertEqual(self.loop.now, 5)
            self.assertEqual(len(told), 3)
        self.run_in_loop(main())

    def test_a_scope_in_the_body_does_not_reach_the_tasks(self):
        async def child():
            await asyncio.sleep(5)
            return "result"

        async def main():
            async with asyncio.TaskGroup() as group:
                with asyncio.move_on_after(1):
                    task = group.create_task(child())
                    await asyncio.sleep(60)
            self.assertEqual(task.result(), "result")
        self.run_in_loop(main())

    def test_waiting_for_slow_tasks_costs_no_passes(self):
        async def slow():
            with asyncio.CancelScope(shield=True):
                await asyncio.sleep(5)

        async def main():
            with asyncio.CancelScope() as scope:
                async with asyncio.TaskGroup() as group:
                    group.create_task(slow())
                    await asyncio.sleep(1)
                    scope.cancel()
                    passes = self.loop.passes
            self.assertEqual(self.loop.now, 5)
            self.assertLess(self.loop.passes - passes, 8)
            self.assertTrue(scope.cancelled_caught)
        self.run_in_loop(main())

    def test_a_group_whose_task_was_cancelled_does_not_end_normally(self):
        async def main():
            with asyncio.CancelScope() as scope:
                async with asyncio.TaskGroup() as group:
                    task = group.create_task(asyncio.sleep(60))
                    await asyncio.sleep(1)
                    task.cancel()
                    with asyncio.CancelScope(shield=True):
                        await asyncio.sleep(1)
                    scope.cancel("why")
                self.fail("the group ended as if it had finished")
            self.assertTrue(scope.cancelled_caught)
        self.run_in_loop(main())

    def test_a_group_in_a_shield_hides_its_tasks_from_outside(self):
        async def child():
            await asyncio.sleep(5)
            return "result"

        async def main():
            with asyncio.move_on_after(1):
                with asyncio.CancelScope(shield=True):
                    async with asyncio.TaskGroup() as group:
                        task = group.create_task(child())
            self.assertEqual(task.result(), "result")
        self.run_in_loop(main())

    def test_errors_are_raised_and_the_scope_ends_the_rest(self):
        async def failing():
            try:
                await asyncio.sleep(60)
            finally:
                1 / 0

        async def main():
            with asyncio.move_on_after(1) as scope:
                async with asyncio.TaskGroup() as group:
                    group.create_task(failing())
            return scope
        with self.assertRaises(ExceptionGroup) as caught:
            self.run_in_loop(main())
        [error] = caught.exception.exceptions
        self.assertIsInstance(error, ZeroDivisionError)

    def check_a_siblings_failure_waits(self, scoped):
        async def fail():
            await asyncio.sleep(1)
            raise ZeroDivisionError

        async def cleanup(group):
            async with asyncio.CancelScope(shield=True):
                # What it does has a context that tells of the shield.
                group.create_task(fail())
                await asyncio.sleep(5)
                seen.append(self.loop.now)
            seen.append("ran on")

        async def main():
            with (asyncio.CancelScope() if scoped
                  else contextlib.nullcontext()):
                with self.assertRaises(ExceptionGroup):
                    async with asyncio.TaskGroup() as group:
                        group.create_task(cleanup(group))

        seen, self.loop.now = [], 0
        self.run_in_loop(main())
        self.assertEqual(seen, [5])

    def test_the_failure_of_a_sibling_made_in_a_shield_waits(self):
        for scoped in False, True:
            with self.subTest(scoped=scoped):
                self.check_a_siblings_failure_waits(scoped)

    def test_a_factory_that_wraps_the_coroutine(self):
        def factory(loop, coro, **kwargs):
            async def wrapper():
                return await coro
            return self.Task(wrapper(), loop=loop, **kwargs)

        async def main():
            told = []
            with asyncio.CancelScope() as scope:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self.stubborn(told, 2))
                    await asyncio.sleep(1)
                    scope.cancel()
            self.assertEqual(len(told), 2)
            self.assertEqual(asyncio.tasks._pending_owners, {})
        self.loop.set_task_factory(factory)
        self.run_in_loop(main())

    def test_a_task_that_waits_when_it_joins_is_told_at_once(self):
        def factory(loop, coro, **kwargs):
            async def wrapper():
                return await coro
            return self.Task(wrapper(), loop=loop, eager_start=True, **kwargs)

        async def in_a_scope(told):
            with asyncio.CancelScope():
                await self.stubborn(told, 1)

        async def main(child):
            told = []
            with asyncio.CancelScope() as scope:
                async with asyncio.TaskGroup() as group:
                    scope.cancel()
                    group.create_task(child(told))
                    with asyncio.CancelScope(shield=True):
                        await asyncio.sleep(1)
                        self.assertEqual(len(told), 1)
        for child in (lambda told: self.stubborn(told, 1), in_a_scope):
            with self.subTest(child=child):
                self.loop.set_task_factory(factory)
                self.run_in_loop(main(child))

    def test_without_a_scope_nothing_is_made(self):
        async def main():
            async with asyncio.TaskGroup() as group:
                task = group.create_task(asyncio.sleep(1))
                await asyncio.sleep(0)
                self.assertIsNone(task._canceller)
                self.assertIsNone(asyncio.current_task()._canceller)
        self.run_in_loop(main())

    def test_the_end_of_a_group_whose_task_was_cancelled_has_the_text(self):
        async def main():
            with asyncio.CancelScope() as scope:
                with self.assertRaisesRegex(asyncio.CancelledError, "why"):
                    async with asyncio.TaskGroup() as group:
                        task = group.create_task(asyncio.sleep(60))
                        await asyncio.sleep(1)
                        task.cancel()
                        with asyncio.CancelScope(shield=True):
                            await asyncio.sleep(1)
                        scope.cancel("why")
        self.run_in_loop(main())

    def test_groups_that_have_ended_leave_their_scope(self):
        async def main():
            with asyncio.CancelScope() as scope:
                for _ in range(3):
                    async with asyncio.TaskGroup() as group:
                        group.create_task(asyncio.sleep(1))
                self.assertEqual(scope._node.children, {})
                self.assertEqual(asyncio.current_task()._canceller.guards,
                                 [scope])
        self.run_in_loop(main())

    def test_the_shield_of_a_host_holds_no_edge_of_its_tasks(self):
        async def main():
            # From outside of the shield.
            self.loop.call_later(1, lambda: task.cancel())
            with asyncio.CancelScope(shield=True):
                async with asyncio.TaskGroup() as group:
                    task = group.create_task(asyncio.sleep(60))
            self.assertTrue(task.cancelled())
            self.assertEqual(self.loop.now, 1)
        self.run_in_loop(main())

    def test_all_scopes_of_a_task_that_joins_late_are_below_the_group(self):
        def factory(loop, coro, **kwargs):
            async def wrapper():
                return await coro
            return self.Task(wrapper(), loop=loop, eager_start=True, **kwargs)

        async def child(scopes):
            with scopes[0], scopes[1]:
                await asyncio.sleep(60)

        async def main():
            scopes = asyncio.CancelScope(), asyncio.CancelScope()
            with asyncio.CancelScope():
                async with asyncio.TaskGroup() as group:
                    group.create_task(child(scopes))
                    await asyncio.sleep(1)
                    scopes[0].cancel()
            self.assertTrue(scopes[0].cancelled_caught)
            self.assertEqual(self.loop.now, 1)
        self.loop.set_task_factory(factory)
        self.run_in_loop(main())

    def test_a_task_that_has_ended_does_not_join(self):
        def factory(loop, coro, **kwargs):
            async def wrapper():
                return await coro
            return self.Task(wrapper(), loop=loop, eager_start=True, **kwargs)

        async def child():
            return "result"

        async def main():
            with asyncio.CancelScope():
                async with asyncio.TaskGroup() as group:
                    task = group.create_task(child())
                    self.assertEqual(group._node.members, {})
            self.assertEqual(task.result(), "result")
        self.loop.set_task_factory(factory)
        self.run_in_loop(main())


globals().update(scopes_support.kinds("TaskGroupTests", TaskGroupTests))
del TaskGroupTests


if __name__ == "__main__":
    unittest.main()
