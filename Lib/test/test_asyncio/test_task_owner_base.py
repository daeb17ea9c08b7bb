"""What task groups and supervisors do for each of their tasks."""

import asyncio
import concurrent.futures
import contextvars
import functools
import gc
import inspect
import unittest
import weakref
from asyncio import base_events
from asyncio import supervisors
from asyncio import tasks
from test.test_asyncio import scopes_support


def tearDownModule():
    asyncio.set_event_loop_policy(None)


class TestCase(scopes_support.VirtualClockTestCase, unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.loop.set_task_factory(None)


class OwnerTests:
    """The fields, and what is done for a task, from C and Python."""

    def make(self, **kwargs):
        """Return an owner that is open, with a log of what is called."""
        class Owner(self.Base):
            _NEW = "new"
            _OPEN = "open"
            _PLAIN_CREATE = base_events.BaseEventLoop.create_task

            def __getattr__(self, name):
                if name == "_inner":
                    return self._loop
                raise AttributeError(name)

            def _create_carefully(self, coro, **kwargs):
                log.append("created carefully")
                task = self._loop.create_task(coro, **kwargs)
                self._take(task)
                return task

            def _changed(self):
                log.append("changed")

            def _task_ended(self, task):
                if task.cancelled():
                    self._task_was_cancelled = True
                elif isinstance(task, asyncio.Task):
                    log.append(f"{task.get_name()} ended")

        self.log = log = []
        owner = Owner(**kwargs)
        owner._loop = self.loop
        owner._state = "open"
        return owner

    async def returns(self):
        pass

    def run_passes(self):
        self.run_in_loop(self.pass_often())

    async def pass_often(self):
        for _ in range(3):
            await asyncio.sleep(0)

    def test_fields(self):
        owner = self.Base.__new__(type("Owner", (self.Base,), {"_NEW": "new"}))
        for _ in "twice":
            self.assertIsNone(owner.__init__(name=7))
            self.assertEqual((owner._name, owner._state, owner._tasks),
                             ("7", "new", set()))
            for name in ("_task_was_cancelled", "_cancel_called",
                         "_is_exiting"):
                self.assertIs(getattr(owner, name), False, name)
            for name in ("_loop", "_host", "_guard", "_node", "_errors",
                         "_base_error", "_cancelled_error", "_wake",
                         "_owner_of_tasks", "_task_callback", "_returned"):
                self.assertIsNone(getattr(owner, name), name)
            owner._is_exiting = True
            owner._errors = {}
        self.assertIsNone(self.make()._name)

    def test_bad_arguments(self):
        for args, kwargs in (["name"], {}), ([], {"nam": "name"}):
            with self.subTest(args=args, kwargs=kwargs):
                with self.assertRaises(TypeError):
                    supervisors.TaskOwner(*args, **kwargs)

    def test_the_arguments_are_told(self):
        owner = type("Owner", (self.Base,), {"__doc__": "An owner."})
        self.assertEqual(str(inspect.signature(owner)), "(*, name=None)")

    def test_a_name_without_text(self):
        class Name:
            def __str__(self):
                1 / 0

        with self.assertRaises(ZeroDivisionError):
            self.make(name=Name())

    def test_without_init(self):
        owner = object.__new__(type("Owner", (self.Base,),
                                    {"_create_carefully": None}))
        with self.assertRaises(AttributeError):
            owner._state
        with self.assertRaises((AttributeError, TypeError)):
            owner.create_task(None)
        for method in owner._take, owner._on_task_done:
            with self.subTest(method=method):
                with self.assertRaises(AttributeError):
                    method(self.loop.create_future())

    def test_a_task_is_owned_until_it_has_ended(self):
        owner = self.make()
        task = owner.create_task(self.returns(), name="task")
        self.assertEqual(owner._tasks, {task})
        self.assertIs(task._asyncio_owner, self.loop)
        self.assertEqual(task.get_name(), "task")
        self.run_passes()
        self.assertEqual(owner._tasks, set())
        self.assertNotIn("changed", self.log)

    def test_who_is_told_last(self):
        owner = self.make()
        owner._wake = self.loop.create_future()
        for _ in range(2):
            owner.create_task(self.returns())
        self.run_passes()
        self.assertEqual(self.log.count("changed"), 1)

    def test_who_schedules_the_callbacks(self):
        owner = self.make()
        owner._owner_of_tasks = other = functools.partial(print)
        other.call_soon = self.loop.call_soon
        task = owner.create_task(self.returns())
        self.assertIs(task._asyncio_owner, other)
        self.run_passes()

    def test_other_ends_are_told_of(self):
        async def fails():
            1 / 0

        owner = self.make()
        failing = owner.create_task(fails(), name="failing")
        cancelled = owner.create_task(asyncio.sleep(9), name="cancelled")
        cancelled.cancel()
        self.run_passes()
        self.assertIn("failing ended", self.log)
        self.assertIs(owner._task_was_cancelled, True)
        self.assertIsInstance(failing.exception(), ZeroDivisionError)

    def test_what_has_no_owner_attribute(self):
        class Slots(asyncio.Future):
            def __setattr__(self, name, value):
                if name == "_asyncio_owner" and value is not None:
                    raise AttributeError(name)
                super().__setattr__(name, value)

        owner = self.make()
        future = Slots(loop=self.loop)
        owner._take(future)
        self.assertIn(future, owner._tasks)
        future.set_result(None)
        self.run_passes()
        self.assertEqual(owner._tasks, set())

    def test_the_state_in_which_a_task_is_taken(self):
        class Future(asyncio.Future):
            def add_done_callback(self, callback, **kwargs):
                # Who aborts the owner here finds it.
                found.append(self in owner._tasks)
                owner._state = "aborting"
                super().add_done_callback(callback, **kwargs)

        found = []
        owner = self.make()
        self.assertEqual(owner._take(Future(loop=self.loop)), "open")
        self.assertEqual(found, [True])
        self.assertEqual(owner._take(asyncio.Future(loop=self.loop)),
                         "aborting")

    def test_what_cannot_tell_of_its_end_is_not_taken(self):
        owner = self.make()
        with self.assertRaisesRegex(AttributeError, "add_done_callback"):
            owner._take(None)
        self.assertEqual(owner._tasks, set())

    def test_what_calls_at_once_is_forgotten(self):
        owner = self.make()
        future = concurrent.futures.Future()
        future.set_result(None)
        owner._take(future)
        self.assertEqual(owner._tasks, set())

    def test_tasks_that_make_it_anew_when_they_are_compared(self):
        class Future(asyncio.Future):
            def __hash__(self):
                return 1

            def __eq__(self, other):
                owner.__init__()
                return False

        owner = self.make()
        futures = [Future(loop=self.loop) for _ in range(9)]
        for change in owner._take, owner._on_task_done:
            for future in futures:
                owner._owner_of_tasks = self.loop
                change(future)
        self.assertEqual(owner._tasks, set())

    def test_an_owner_that_cannot_be_made(self):
        class Owner(type(self.make())):
            @property
            def _inner(self):
                1 / 0

        owner = Owner()
        owner._loop = self.loop
        owner._state = "open"
        with self.assertRaises(ZeroDivisionError):
            owner._take(asyncio.Future(loop=self.loop))

    def test_those_that_return_in_one_pass_are_told_of_at_once(self):
        owner = self.make()
        ended = [self.loop.create_task(self.returns()) for _ in range(3)]
        owner._tasks.update(ended)
        self.run_passes()
        self.assertEqual([owner._note_return(task) for task in ended],
                         [False, True, True])
        owner._wake = self.loop.create_future()
        owner._on_task_done(ended[0])
        self.assertEqual((owner._tasks, self.log.count("changed")), (set(), 1))
        self.assertIs(owner._note_return(ended[1]), False)

    def test_those_that_fail_are_told_of_one_by_one(self):
        owner = self.make()
        ended = [self.loop.create_future() for _ in range(3)]
        ended[0].set_result(None)
        ended[1].cancel()
        ended[2].set_exception(ZeroDivisionError())
        owner._note_return(self.loop.run_until_complete(self.ended_task()))
        for future in ended[1:]:
            self.assertIs(owner._note_return(future), False)
        self.assertIsInstance(ended[2].exception(), ZeroDivisionError)

    async def ended_task(self):
        task = asyncio.create_task(self.returns())
        await task
        return task

    def test_one_callback_for_all_tasks(self):
        owner = self.make()
        called = []
        owner._task_callback = called.append
        task = owner.create_task(self.returns())
        self.run_passes()
        self.assertEqual(called, [task])

    def test_no_garbage(self):
        owner = self.make()
        owner._errors = {1: owner}
        known = weakref.ref(owner)
        del owner
        gc.collect()
        self.assertIsNone(known())


class COwnerTests(OwnerTests):
    """When a task is created without further ado."""

    def created_directly(self, owner, **kwargs):
        task = owner.create_task(self.returns(), **kwargs)
        self.assertIn(task, owner._tasks)
        self.run_passes()
        return "created carefully" not in self.log

    def test_directly(self):
        self.assertTrue(self.created_directly(self.make()))
        self.assertTrue(self.created_directly(self.make(), name="x"))

    def test_by_keyword(self):
        owner = self.make()
        owner.create_task(coro=self.returns())
        self.assertEqual(self.log, ["created carefully"])
        self.run_passes()

    def test_with_other_arguments(self):
        for kwargs in ({"context": contextvars.copy_context()},
                       {"name": "x", "context": None}):
            with self.subTest(kwargs=kwargs):
                self.assertFalse(self.created_directly(self.make(), **kwargs))

    def test_without_or_with_too_many_arguments(self):
        owner = self.make()
        with self.assertRaises(TypeError):
            owner.create_task()
        with self.assertRaises(TypeError):
            owner.create_task(None, None)

    def test_in_other_states(self):
        for field, value in ("_state", "closed"), ("_is_exiting", True):
            with self.subTest(field=field):
                owner = self.make()
                setattr(owner, field, value)
                self.assertFalse(self.created_directly(owner))

    def test_below_a_scope(self):
        class Node:
            def adopt(self, task):
                adopted.append(task)

        adopted = []
        owner = self.make()
        owner._node = Node()
        self.assertTrue(self.created_directly(owner))
        self.assertEqual(len(adopted), 1)
        owner._node = 7
        with self.assertRaises(AttributeError):
            owner.create_task(self.returns())
        self.run_passes()

    def test_by_a_factory_or_in_debug_mode(self):
        owner = self.make()
        self.loop.set_task_factory(lambda loop, coro, **kwargs:
                                   tasks.Task(coro, loop=loop, **kwargs))
        self.assertFalse(self.created_directly(owner))
        self.loop.set_task_factory(None)
        owner = self.make()
        self.loop.set_debug(True)
        self.assertFalse(self.created_directly(owner))

    def test_by_a_method_of_the_loops_own(self):
        plain = self.loop.create_task
        for method in (lambda coro, **kwargs: plain(coro, **kwargs),
                       functools.partial(plain)):
            with self.subTest(method=method):
                self.loop.create_task = method
                self.assertFalse(self.created_directly(self.make()))
        del self.loop.create_task

    def test_one_that_is_made_while_the_block_is_aborted(self):
        class Name:
            def __str__(self):
                owner._state = "aborting"
                return "task"

        late = []
        owner = self.make()
        owner._release_late = late.append
        task = owner.create_task(self.returns(), name=Name())
        noted = set(owner._tasks)
        self.run_passes()
        self.assertEqual((late, noted), ([task], {task}))

    def test_an_error_in_creating(self):
        owner = self.make()
        with self.assertRaisesRegex(TypeError, "a coroutine was expected"):
            owner.create_task(7)
        self.assertEqual(owner._tasks, set())

    def test_a_class_without_its_constants(self):
        with self.assertRaisesRegex(TypeError, "_NEW"):
            self.Base()


class PyTests(OwnerTests, TestCase):
    Base = supervisors._PyTaskOwnerBase


@unittest.skipIf(supervisors._TaskOwnerBase is supervisors._PyTaskOwnerBase,
                 "requires the C _asyncio module")
class CTests(COwnerTests, TestCase):
    Base = supervisors._TaskOwnerBase


class SupervisorTests(TestCase):

    def test_who_aborts_the_block_while_a_task_is_made_ends_it(self):
        class Name:
            def __str__(self):
                owner.cancel("by the name")
                return "task"

        async def main(make):
            nonlocal owner
            async with make() as owner:
                task = owner.create_task(asyncio.sleep(3600), name=Name())
            with self.assertRaisesRegex(asyncio.CancelledError, "by the name"):
                await task
        owner = None
        for make in asyncio.TaskGroup, self.loop.create_supervisor:
            for debug in False, True:
                with self.subTest(make=make, debug=debug):
                    self.loop.set_debug(debug)
                    self.run_in_loop(main(make))

    def test_who_aborts_the_block_while_a_task_is_taken_ends_it(self):
        class Task(asyncio.Task):
            def add_done_callback(self, *args, **kwargs):
                super().add_done_callback(*args, **kwargs)
                owner.cancel()

        async def main(make):
            nonlocal owner
            async with make() as owner:
                task = owner.create_task(asyncio.sleep(3600))
            self.assertTrue(task.cancelled())
            self.assertEqual(task.cancelling(), 1)
        owner = None
        for make in asyncio.TaskGroup, self.loop.create_supervisor:
            with self.subTest(make=make):
                self.run_in_loop(self.with_tasks_of(Task, main(make)))

    def test_who_aborts_a_supervisor_while_its_view_is_made_ends_a_task(self):
        class Supervisor(type(self.loop.create_supervisor())):
            def _make_inner(self):
                self.cancel()
                return super()._make_inner()

        async def main():
            async with Supervisor(self.loop) as sup:
                task = sup.create_task(asyncio.sleep(3600))
            self.assertTrue(task.cancelled())
        for debug in False, True:
            with self.subTest(debug=debug):
                self.loop.set_debug(debug)
                self.run_in_loop(main())

    async def with_tasks_of(self, cls, coro):
        self.loop.set_task_factory(
            lambda loop, coro, **kwargs: cls(coro, loop=loop, **kwargs))
        await coro

    def test_tasks_that_return_in_one_pass_need_one_callback(self):
        async def nothing():
            pass

        async def main(count):
            loop = asyncio.get_running_loop()
            async with loop.create_supervisor() as sup:
                for _ in range(count):
                    sup.create_task(nothing())
                await asyncio.sleep(0)
                # This task is what else is ready.
                ready = len(loop._ready)
                self.assertEqual(len(sup.owned()), count)
                await asyncio.sleep(0)
                self.assertEqual(sup.owned(), [])
                return ready
        # On a virtual clock, loops schedule otherwise than asyncio's.
        self.assertEqual(asyncio.run(main(100), debug=False),
                         asyncio.run(main(1), debug=False))

    def test_callbacks_of_the_tasks_run_before_the_block_ends(self):
        async def nothing():
            pass

        async def main():
            log = []
            async with asyncio.get_running_loop().create_supervisor() as sup:
                for number in range(3):
                    sup.create_task(nothing()).add_done_callback(
                        lambda task, number=number: log.append(number))
            return log
        self.assertEqual(asyncio.run(main(), debug=False), [0, 1, 2])


if __name__ == "__main__":
    unittest.main()
