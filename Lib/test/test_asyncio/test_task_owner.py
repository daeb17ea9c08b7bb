"""Tests for what owns a future or a task, and for what stands for a loop."""

import asyncio
import contextvars
import gc
import unittest
import weakref
from asyncio import events
from asyncio import futures
from asyncio import tasks

from test import support
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


class Reporting(Owner):
    """Is told of what its handles raise, in place of the loop."""

    def __init__(self, loop):
        super().__init__(loop)
        self.reported = []

    def call_soon(self, callback, *args, context=None):
        handle = events.Handle(callback, args, self, context)
        return super().call_soon(handle._run)

    def get_debug(self):
        return False

    def call_exception_handler(self, context):
        self.reported.append(context)


class Forgetting(Owner):
    """Does not own a task any more, once it is done."""

    def call_soon(self, callback, task, *, context=None):
        task._asyncio_owner = None
        return super().call_soon(callback, task, context=context)


class Refusing:
    """Schedules nothing, be it taken for an owner or for a loop."""

    def get_debug(self):
        return False

    def call_soon(self, callback, *args, context=None):
        raise ZeroDivisionError


class Proxy(events._LoopProxy):
    """Offers two methods of the loop it stands for, and counts their calls."""

    def __init__(self, loop):
        self._real_loop = loop
        self.called = []

    def create_task(self, coro, **kwargs):
        self.called.append("create_task")
        return self._real_loop.create_task(coro, **kwargs)

    def call_soon_threadsafe(self, callback, *args, context=None):
        self.called.append("call_soon_threadsafe")
        # The thread is the loop's own, whose clock may be a virtual one.
        return self._real_loop.call_soon(callback, *args, context=context)


async def leave(exc, wait=False):
    """Raise an exit in a coroutine that is awaited."""
    async def inner():
        raise exc
    if wait:
        await asyncio.sleep(0)
    await inner()


class OwnerTests:

    @property
    def Future(self):
        return (futures._PyFuture if self.Task is tasks._PyTask
                else futures.Future)

    def run_owned(self, coro, owner=None, make=None, ask=None):
        """Run a coroutine in an owned task; return the task.

        It has a done callback, *ask* if given, before its first step.
        """
        owner = owner or Owner(self.loop)
        make = make or self.Task

        class Adopting:
            def adopt(self, task):
                task._asyncio_owner = owner
                task.add_done_callback(ask or (lambda task: None))

        async def main():
            tasks._pending_owners[id(coro)] = Adopting()
            task = make(coro, loop=self.loop, eager_start=self.eager)
            if not task.done():
                await asyncio.wait([task])
            return task
        try:
            return self.run_in_loop(main())
        except (KeyboardInterrupt, SystemExit) as exc:
            # It would end the run of all tests.
            self.fail(f"{exc!r} of an owned task left the loop")

    def test_nobody_owns_a_new_future(self):
        future = self.Future(loop=self.loop)
        self.assertIsNone(future._asyncio_owner)
        owner = Owner(self.loop)
        future._asyncio_owner = owner
        self.assertIs(future._asyncio_owner, owner)
        future.__init__(loop=self.loop)
        self.assertIsNone(future._asyncio_owner)

    def test_a_task_that_is_made_anew_has_no_owner(self):
        async def work():
            pass
        task = self.run_owned(work())
        self.assertIsNotNone(task._asyncio_owner)
        # It takes no other coroutine, once it is done.
        with self.assertRaises(TypeError):
            task.__init__(None, loop=self.loop)
        self.assertIsNone(task._asyncio_owner)

    def test_the_owner_schedules_the_callbacks_in_their_order(self):
        future = self.Future(loop=self.loop)
        owner = Owner(self.loop)
        ran = []
        callbacks = [lambda f, n=n: ran.append(n) for n in range(3)]
        for callback in callbacks:
            future.add_done_callback(callback)
        future._asyncio_owner = owner
        future.remove_done_callback(callbacks[1])
        future.set_result(1)
        future.add_done_callback(callbacks[1])
        self.assertEqual(owner.scheduled,
                         [callbacks[0], callbacks[2], callbacks[1]])
        self.run_in_loop(asyncio.sleep(0))
        self.assertEqual(ran, [0, 2, 1])

    def test_a_callback_that_is_owned_runs_in_its_context(self):
        var = contextvars.ContextVar("var", default=0)
        future = self.Future(loop=self.loop)
        future._asyncio_owner = Owner(self.loop)
        ran = []

        def add(value):
            context = contextvars.copy_context()
            context.run(var.set, value)
            future.add_done_callback(lambda f: ran.append(var.get()),
                                     context=context)
        add(1)
        add(2)
        future.set_result(1)
        add(3)
        self.run_in_loop(asyncio.sleep(0))
        self.assertEqual(ran, [1, 2, 3])

    def test_a_future_without_an_owner_asks_its_loop(self):
        future = self.Future(loop=self.loop)
        owner = future._asyncio_owner = Owner(self.loop)
        future._asyncio_owner = None
        ran = []
        future.add_done_callback(ran.append)
        future.cancel()
        self.run_in_loop(asyncio.sleep(0))
        self.assertEqual(ran, [future])
        self.assertEqual(owner.scheduled, [])

    def test_the_loop_as_the_owner_changes_no_callback(self):
        future = self.Future(loop=self.loop)
        future._asyncio_owner = self.loop
        ran = []
        future.add_done_callback(ran.append)
        future.set_result(1)
        self.run_in_loop(asyncio.sleep(0))
        self.assertEqual(ran, [future])

    def test_what_an_owned_callback_raises_is_for_the_owner(self):
        def fail(future):
            raise ZeroDivisionError
        future = self.Future(loop=self.loop)
        owner = future._asyncio_owner = Reporting(self.loop)
        future.add_done_callback(fail)
        future.set_result(1)
        # Which asserts that the loop was told of nothing.
        self.run_in_loop(asyncio.sleep(0))
        self.assertEqual([type(context["exception"])
                          for context in owner.reported],
                         [ZeroDivisionError])

    def test_an_exception_that_nobody_asks_for_is_for_the_loop(self):
        future = self.Future(loop=self.loop)
        owner = future._asyncio_owner = Reporting(self.loop)
        future.set_exception(ZeroDivisionError())
        del future
        gc.collect()
        self.assertIn("never retrieved", self.unhandled.pop()["message"])
        self.assertEqual(self.unhandled, [])
        self.assertEqual(owner.reported, [])

    def test_an_owner_that_refuses_is_as_a_loop_that_does(self):
        of_loop = self.Future(loop=Refusing())
        owned = self.Future(loop=self.loop)
        owned._asyncio_owner = Refusing()
        for future in of_loop, owned:
            with self.subTest(future=future):
                future.add_done_callback(print)
                future.add_done_callback(print)
                with self.assertRaises(ZeroDivisionError):
                    future.set_result(1)
                self.assertEqual(future.result(), 1)
                with self.assertRaises(ZeroDivisionError):
                    future.add_done_callback(print)
        self.assertEqual(owned._callbacks, of_loop._callbacks)

    def test_an_owner_may_be_changed_while_it_schedules(self):
        future = self.Future(loop=self.loop)
        owners = []

        class Leaving:
            def call_soon(self, callback, *args, context=None):
                owners.append(self)
                future._asyncio_owner = None
                gc.collect()
        future._asyncio_owner = Leaving()
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
        ran = []
        task = self.run_owned(work(), ask=ran.append)
        self.assertIs(task.result(), task)
        self.assertIs(task.get_loop(), self.loop)
        # The steps of the task are the loop's: only callbacks are the owner's.
        self.assertEqual(task._asyncio_owner.scheduled[0], ran.append)
        self.assertEqual(len(task._asyncio_owner.scheduled), 2)

    def test_what_awaits_an_owned_future_is_woken_by_the_owner(self):
        class Future(self.Future):
            pass
        for cls in self.Future, Future:
            with self.subTest(cls=cls):
                future = cls(loop=self.loop)
                owner = future._asyncio_owner = Owner(self.loop)

                async def wait():
                    self.loop.call_soon(future.set_result, 5)
                    return await future

                async def main():
                    return await self.Task(wait(), loop=self.loop)
                self.assertEqual(self.run_in_loop(main()), 5)
                self.assertEqual(len(owner.scheduled), 1)

    def test_an_exit_of_an_owned_task_is_its_result(self):
        class Task(self.Task):
            pass
        for make in self.Task, Task:
            for exc in KeyboardInterrupt(), SystemExit(3):
                for wait in False, True:
                    with self.subTest(make=make, exc=exc, wait=wait):
                        task = self.run_owned(leave(exc, wait), make=make)
                        self.assertIs(task.exception(), exc)
                        self.assertGreaterEqual(
                            len(task._asyncio_owner.scheduled), 1)

    def test_an_exit_stays_with_an_owner_that_forgets_the_task(self):
        for wait in False, True:
            with self.subTest(wait=wait):
                exc = KeyboardInterrupt()
                task = self.run_owned(leave(exc, wait),
                                      owner=Forgetting(self.loop))
                self.assertIs(task.exception(), exc)
                self.assertIsNone(task._asyncio_owner)

    def test_an_exit_of_a_task_that_the_loop_owns_is_its_result(self):
        exc = KeyboardInterrupt()
        task = self.run_owned(leave(exc), owner=self.loop)
        self.assertIs(task.exception(), exc)

    def test_an_exit_of_a_task_that_nobody_owns_leaves_the_loop(self):
        for exc in KeyboardInterrupt(), SystemExit(3):
            with self.subTest(exc=exc):
                task = self.Task(leave(exc), loop=self.loop)
                with self.assertRaises(type(exc)):
                    self.loop.run_until_complete(task)
                self.assertIs(task.exception(), exc)

    def test_an_exit_of_a_first_step_that_nobody_owns_leaves_it(self):
        made = []

        async def first(exc):
            made.append(asyncio.current_task())
            raise exc

        async def main():
            for exc in KeyboardInterrupt(), SystemExit(3):
                with self.assertRaises(type(exc)):
                    self.Task(first(exc), loop=self.loop, eager_start=True)
                self.assertIs(made.pop().exception(), exc)
        self.run_in_loop(main())

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

    @support.cpython_only
    def test_an_owner_is_let_go_at_once(self):
        def owned():
            future = self.Future(loop=self.loop)
            owner = future._asyncio_owner = Owner(self.loop)
            return future, weakref.ref(owner)
        with support.disable_gc():
            future, ref = owned()
            future._asyncio_owner = None
            self.assertIsNone(ref())
            future, ref = owned()
            future.__init__(loop=self.loop)
            self.assertIsNone(ref())
            future, ref = owned()
            del future
            self.assertIsNone(ref())

    def test_a_cycle_with_an_owner_is_collected(self):
        async def work():
            pass

        async def main():
            task = self.Task(work(), loop=self.loop)
            await task
            return task
        for make in (lambda: self.Future(loop=self.loop),
                     lambda: self.run_in_loop(main())):
            with self.subTest(make=make):
                future = make()
                owner = future._asyncio_owner = Owner(self.loop)
                owner.future = future
                ref = weakref.ref(owner)
                del future, owner
                gc.collect()
                self.assertIsNone(ref())

    def test_an_owner_is_deleted_as_other_attributes_are(self):
        future = self.Future(loop=self.loop)
        owner = future._asyncio_owner = Owner(self.loop)
        if self.Future is futures._PyFuture:
            del future._asyncio_owner
            self.assertIsNone(future._asyncio_owner)
        else:
            for name in "_asyncio_owner", "_log_traceback":
                with self.assertRaisesRegex(AttributeError,
                                            "cannot delete attribute"):
                    delattr(future, name)
            self.assertIs(future._asyncio_owner, owner)

    def test_what_stands_for_a_loop_is_none_for_futures_and_tasks(self):
        proxy = Proxy(self.loop)
        future = self.Future(loop=proxy)
        self.assertIs(future.get_loop(), self.loop)

        async def main():
            async def ask():
                self.loop.call_soon(future.set_result, 5)
                return asyncio.current_task(proxy), await future
            # create_task() is not what is asked for here.
            task = self.Task(ask(), loop=proxy, eager_start=self.eager)
            self.assertIs(task.get_loop(), self.loop)
            self.assertIn(task, asyncio.all_tasks(proxy))
            self.assertEqual(await task, (task, 5))
            self.assertIs(tasks._py_current_task(proxy),
                          tasks._py_current_task(self.loop))
        self.run_in_loop(main())
        self.assertEqual(proxy.called, [])

    def test_what_stands_for_a_loop_makes_the_tasks_asked_of_it(self):
        proxy = Proxy(self.loop)

        async def work():
            return 5

        async def main():
            task = asyncio.ensure_future(work(), loop=proxy)
            self.assertEqual(proxy.called, ["create_task"])
            self.assertEqual(await task, 5)
            job = asyncio.run_coroutine_threadsafe(work(), proxy)
            self.assertEqual(await asyncio.wrap_future(job), 5)
            self.assertEqual(proxy.called[1:],
                             ["call_soon_threadsafe", "create_task"])
        self.run_in_loop(main())

    def test_a_future_belongs_to_what_stands_for_its_loop(self):
        future = self.Future(loop=self.loop)
        self.assertIs(asyncio.ensure_future(future, loop=Proxy(self.loop)),
                      future)
        with self.assertRaisesRegex(ValueError, "different loop"):
            asyncio.ensure_future(future, loop=Proxy(object()))

    @support.cpython_only
    def test_what_stands_for_a_loop_is_let_go_at_once(self):
        proxy = Proxy(self.loop)
        future = self.Future(loop=proxy)
        self.assertIsNone(asyncio.current_task(proxy))
        ref = weakref.ref(proxy)
        with support.disable_gc():
            del proxy
            self.assertIsNone(ref())
        self.assertIs(future.get_loop(), self.loop)

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
