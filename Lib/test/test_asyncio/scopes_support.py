"""Test support: a loop on a virtual clock, and the four kinds of tasks."""

import asyncio
import heapq
import unittest
import unittest.mock
from asyncio import tasks
from asyncio import timeouts


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose time jumps to the next timer when nothing is ready.

    No socket, thread or process may be waited for.
    """

    def __init__(self):
        super().__init__()
        self.now = 0.0
        # How often the loop has run its callbacks.
        self.passes = 0

    def time(self):
        return self.now

    def _run_once(self):
        self.passes += 1
        while self._scheduled and self._scheduled[0].cancelled():
            # Time does not jump to them.
            heapq.heappop(self._scheduled)._scheduled = False
            self._timer_cancelled_count -= 1
        if not self._ready and not self._stopping:
            if not self._scheduled:
                raise RuntimeError("nothing will ever happen in this loop")
            self.now = max(self.now, self._scheduled[0].when())
        super()._run_once()


class VirtualClockTestCase:
    """Run each test on a loop of its own; subclasses set ``Task``, ``eager``.

    Every test ends with no task, timer or handle left.
    """

    Task = None
    eager = False

    def setUp(self):
        self.loop = VirtualLoop()
        self.addCleanup(self.loop.close)
        self.unhandled = []
        self.loop.set_exception_handler(
            lambda loop, context: self.unhandled.append(context))
        if self.Task is tasks._PyTask:
            self.use_timeouts_in_python()
        if self.eager:
            self.loop.set_task_factory(
                asyncio.create_eager_task_factory(self.Task))
        else:
            self.loop.set_task_factory(
                lambda loop, coro, **kwargs: self.Task(coro, loop=loop,
                                                       **kwargs))

    def use_timeouts_in_python(self):
        for module in asyncio, timeouts:
            patch = unittest.mock.patch.multiple(
                module, Timeout=timeouts._PyTimeout,
                timeout=timeouts._py_timeout,
                timeout_at=timeouts._py_timeout_at)
            patch.start()
            self.addCleanup(patch.stop)

    def run_in_loop(self, coro):
        result = self.loop.run_until_complete(coro)
        self.assertEqual(asyncio.all_tasks(self.loop), set())
        self.assertEqual([h for h in self.loop._scheduled
                          if not h.cancelled()], [])
        self.assertEqual(self.unhandled, [])
        return result


def kinds(name, behaviour):
    """Return the test classes of a behaviour, for all kinds of tasks."""
    classes = {}
    for implementation in ("C", "Py"):
        task = getattr(tasks, f"_{implementation}Task", None)
        for eager in (False, True):
            full = f"{implementation}{'Eager' if eager else 'Lazy'}{name}"
            cls = type(full, (behaviour, VirtualClockTestCase,
                              unittest.TestCase),
                       {"Task": task, "eager": eager,
                        "__module__": behaviour.__module__})
            if task is None:
                cls = unittest.skip("requires the C _asyncio module")(cls)
            classes[full] = cls
    return classes
