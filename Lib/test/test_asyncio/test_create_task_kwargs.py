"""Tests for the keyword arguments with which tasks are created."""

import asyncio
import contextvars
import unittest
from asyncio import tasks


def tearDownModule():
    asyncio.set_event_loop_policy(None)


async def nothing():
    pass


class RecordingTask(tasks._PyTask):
    """A task that can be given more than those of asyncio."""

    def __init__(self, coro, *, extra=None, **kwargs):
        self.extra = extra
        super().__init__(coro, **kwargs)


class RecordingFactory:

    def __init__(self):
        self.calls = []

    def __call__(self, loop, coro, **kwargs):
        self.calls.append(kwargs)
        return asyncio.Task(coro, loop=loop)


class RecordingLoop(asyncio.SelectorEventLoop):

    def __init__(self):
        super().__init__()
        self.calls = []

    def create_task(self, coro, **kwargs):
        self.calls.append(kwargs)
        return super().create_task(coro, **kwargs)


class CreateTaskTests(unittest.TestCase):

    def run_in_loop(self, coro, loop_factory=None):
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            return runner.run(coro)

    def creators(self):
        """Return the functions that create a task in the running loop."""
        return [asyncio.create_task, asyncio.get_running_loop().create_task]

    def test_each_argument_gets_to_the_task(self):
        variable = contextvars.ContextVar("variable", default="outside")

        async def get():
            return variable.get()

        async def main():
            context = contextvars.copy_context()
            context.run(variable.set, "inside")
            for create in self.creators():
                task = create(get(), name="a name", context=context,
                              eager_start=True)
                self.assertTrue(task.done())
                self.assertEqual(task.get_name(), "a name")
                self.assertIs(task.get_context(), context)
                self.assertEqual(task.result(), "inside")
        self.run_in_loop(main())

    def test_an_unknown_argument_is_a_type_error(self):
        async def main():
            for create in self.creators():
                coro = nothing()
                with self.assertRaisesRegex(TypeError, "unknown"):
                    create(coro, unknown=1)
                coro.close()
        self.run_in_loop(main())

    def test_a_loop_gets_only_what_was_given(self):
        async def main():
            calls = asyncio.get_running_loop().calls
            calls.clear()
            await asyncio.create_task(nothing())
            await asyncio.create_task(nothing(), context=None)
            await asyncio.create_task(nothing(), name="a name")
            self.assertEqual(calls, [{}, {}, {"name": "a name"}])
        self.run_in_loop(main(), loop_factory=RecordingLoop)

    def test_a_factory_gets_all_but_the_name(self):
        async def main():
            factory = RecordingFactory()
            asyncio.get_running_loop().set_task_factory(factory)
            context = contextvars.copy_context()
            for create in self.creators():
                task = create(nothing(), name="a name", context=context,
                              other=1)
                self.assertEqual(task.get_name(), "a name")
                await task
                await create(nothing(), name=None, context=None)
            self.assertEqual(factory.calls,
                             2 * [{"context": context, "other": 1}, {}])
        self.run_in_loop(main())

    def test_a_task_of_a_factory_has_a_name_of_its_own(self):
        async def main():
            loop = asyncio.get_running_loop()
            for factory in RecordingFactory(), asyncio.eager_task_factory:
                loop.set_task_factory(factory)
                for create in self.creators():
                    task = create(nothing())
                    await task
                    self.assertRegex(task.get_name(), r"\ATask-\d+\Z")
        self.run_in_loop(main())

    def test_an_eager_factory_makes_a_task_lazy(self):
        async def main():
            loop = asyncio.get_running_loop()
            loop.set_task_factory(asyncio.eager_task_factory)
            for create in self.creators():
                self.assertTrue(create(nothing()).done())
                self.assertTrue(create(nothing(), eager_start=None).done())
                task = create(nothing(), eager_start=False)
                self.assertFalse(task.done())
                await task
        self.run_in_loop(main())

    def test_an_eager_factory_passes_on_what_it_does_not_know(self):
        async def main():
            asyncio.get_running_loop().set_task_factory(
                asyncio.create_eager_task_factory(RecordingTask))
            for create in self.creators():
                task = create(nothing(), extra="more")
                self.assertTrue(task.done())
                self.assertEqual(task.extra, "more")
        self.run_in_loop(main())


if __name__ == "__main__":
    unittest.main()
