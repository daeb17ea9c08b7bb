"""Tests for what owns a future or a task, and for what stands for a loop."""

import asyncio
import gc
import unittest
import weakref
from asyncio import events
from asyncio import futures
from asyncio import tasks

from test.test_asyncio import scopes_support


def tearDownModule():
    asyncio.set_event_loop_policy(None)


class Owner:
    """Schedules callbacks on a loop, and counts them."""

    def __init__(self, loop):
        self.loop = loop
        self.scheduled = []

    def call_soon(self, callback, *args, context=None):
        self.scheduled.append(callback)
        return self.loop.call_soon(callback, *args, context=context)


class Proxy(events._LoopProxy):

    def __init__(self, loop):
        self._real_loop = loop


class OwnerTests:

    @property
    def Future(self):
        return (futures._PyFuture if self.Task is tasks._PyTask
                else futures.Future)

    def run_owned(self, coro):
        """Run a coroutine in an owned task; return the task."""
        owner = Owner(self.loop)

        class Adopting:
            def adopt(self, task):
                task._owner = owner

        async def main():
            tasks._pending_owners[id(coro)] = Adopting()
            task = self.Task(coro, loop=self.loop, eager_start=self.eager)
            await asyncio.wait([task])
            return task
        return self.run_in_loop(main())

    def test_nobody_owns_a_new_future(self):
        future = self.Future(loop=self.loop)
        self.assertIsNone(future._owner)
        owner = Owner(self.loop)
        future._owner = owner
        self.assertIs(future._owner, owner)
        future.__init__(loop=self.loop)
        self.assertIsNone(future._owner)

    def test_the_owner_schedules_the_callbacks_in_their_order(self):
        future = self.Future(loop=self.loop)
        owner = Owner(self.loop)
        ran = []
        callbacks = [lambda f, n=n: ran.append(n) for n in range(3)]
        for callback in callbacks:
            future.add_done_callback(callback)
        future._owner = owner
        future.remove_done_callback(callbacks[1])
        future.set_result(1)
        future.add_done_callback(callbacks[1])
        self.assertEqual(owner.scheduled,
                         [callbacks[0], callbacks[2], callbacks[1]])
        self.run_in_loop(asyncio.sleep(0))
        self.assertEqual(ran, [0, 2, 1])

    def test_a_future_without_an_owner_asks_its_loop(self):
        future = self.Future(loop=self.loop)
        owner = future._owner = Owner(self.loop)
        future._owner = None
        ran = []
        future.add_done_callback(ran.append)
        future.cancel()
        self.run_in_loop(asyncio.sleep(0))
        self.assertEqual(ran, [future])
        self.assertEqual(owner.scheduled, [])

    def test_the_loop_as_the_owner_changes_no_callback(self):
        future = self.Future(loop=self.loop)
        future._owner = self.loop
        ran = []
        future.add_done_callback(ran.append)
        future.set_result(1)
        self.run_in_loop(asyncio.sleep(0))
        self.assertEqual(ran, [future])

    def test_an_owner_that_refuses_is_as_a_loop_that_does(self):
        class Refusing:
            def call_soon(self, callback, *args, context=None):
                raise ZeroDivisionError
        future = self.Future(loop=self.loop)
        future.add_done_callback(print)
        future._owner = Refusing()
        with self.assertRaises(ZeroDivisionError):
            future.set_result(1)
        with self.assertRaises(ZeroDivisionError):
            future.add_done_callback(print)

    def test_an_owner_may_be_changed_while_it_schedules(self):
        future = self.Future(loop=self.loop)
        owners = []

        class Leaving:
            def call_soon(self, callback, *args, context=None):
                owners.append(self)
                future._owner = None
                gc.collect()
        future._owner = Leaving()
        ran = []
        future.add_done_callback(ran.append)
        future.add_done_callback(ran.append)
        future.set_result(1)
        self.run_in_loop(asyncio.sleep(0))
        self.assertEqual(len(owners), 1)
        self.assertEqual(ran, [future])

    def test_an_owner_is_no_loop(self):
        async def work():
            await asyncio.sleep(1)
            return asyncio.current_task()
        task = self.run_owned(work())
        self.assertIs(task.result(), task)
        self.assertIs(task.get_loop(), self.loop)
        # The steps of the task are the loop's: only wait() asked.
        self.assertEqual(len(task._owner.scheduled), 1)

    def test_an_exit_of_an_owned_task_is_its_result(self):
        async def inner(exc):
            raise exc

        async def leave(exc, wait):
            if wait:
                await asyncio.sleep(0)
            await inner(exc)
        for exc in KeyboardInterrupt(), SystemExit(3):
            for wait in False, True:
                with self.subTest(exc=exc, wait=wait):
                    task = self.run_owned(leave(exc, wait))
                    self.assertIs(task.exception(), exc)

    def test_an_exit_of_a_task_that_nobody_owns_leaves_the_loop(self):
        async def leave(exc):
            raise exc
        for exc in KeyboardInterrupt(), SystemExit(3):
            with self.subTest(exc=exc):
                task = self.Task(leave(exc), loop=self.loop)
                with self.assertRaises(type(exc)):
                    self.loop.run_until_complete(task)
                self.assertIs(task.exception(), exc)

    def test_other_errors_and_cancellations_are_as_ever(self):
        async def fail():
            await asyncio.sleep(0)
            raise ZeroDivisionError

        async def cancelled():
            await asyncio.sleep(0)
            raise asyncio.CancelledError
        self.assertIsInstance(self.run_owned(fail()).exception(),
                              ZeroDivisionError)
        self.assertTrue(self.run_owned(cancelled()).cancelled())

    def test_a_cycle_with_an_owner_is_collected(self):
        future = self.Future(loop=self.loop)
        future._owner = Owner(self.loop)
        future._owner.future = future
        ref = weakref.ref(future._owner)
        del future
        gc.collect()
        self.assertIsNone(ref())

    def test_what_stands_for_a_loop_is_none_for_futures_and_tasks(self):
        proxy = Proxy(self.loop)
        future = self.Future(loop=proxy)
        self.assertIs(future.get_loop(), self.loop)

        async def main():
            async def ask():
                self.loop.call_soon(future.set_result, 5)
                return asyncio.current_task(proxy), await future
            # create_task() is not what is asked for here.
            task = self.Task(ask(), loop=proxy)
            self.assertIs(task.get_loop(), self.loop)
            self.assertIn(task, asyncio.all_tasks(proxy))
            self.assertEqual(await task, (task, 5))
            self.assertIs(tasks._py_current_task(proxy),
                          tasks._py_current_task(self.loop))
        self.run_in_loop(main())

    def test_one_that_stands_for_nothing_makes_no_future(self):
        class Empty(events._LoopProxy):
            pass
        for make in (lambda: self.Future(loop=Empty()),
                     lambda: asyncio.current_task(Empty())):
            with self.assertRaisesRegex(AttributeError, "_real_loop"):
                make()


globals().update(scopes_support.kinds("OwnerTests", OwnerTests))


if __name__ == "__main__":
    unittest.main()
