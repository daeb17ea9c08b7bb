"""Test support: a loop on a virtual clock, and the kinds of tasks and scopes.
"""

import asyncio
import contextlib
import heapq
import unittest
from asyncio import cancellation
from asyncio import scopes
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


class FailingTimers:
    """A loop's timers are of no use: they never fire, and cannot be cancelled.

    It takes no Deadlines, so that each scope has a timer of its own.
    """

    class _Timer:
        def __init__(self, callback):
            self.callback = callback

        def cancel(self):
            raise ZeroDivisionError

    def __setattr__(self, name, value):
        if name.endswith("_deadlines"):
            raise AttributeError(name)
        super().__setattr__(name, value)

    def call_at(self, when, callback, *args, context=None):
        timer = self._Timer(callback)
        # As a loop does, so that the garbage collector leaves it alone.
        self.__dict__.setdefault("failing_timers", []).append(timer)
        return timer


def fail_timers(loop):
    """Give the loop FailingTimers."""
    loop.__class__ = type("Loop", (FailingTimers, type(loop)), {})


@contextlib.contextmanager
def replaced(module, **names):
    """Give names of a module other values."""
    before = {name: getattr(module, name) for name in names}
    vars(module).update(names)
    try:
        yield
    finally:
        vars(module).update(before)


@contextlib.contextmanager
def scopes_in_python():
    """Let asyncio have the scopes and timeouts in Python."""
    with contextlib.ExitStack() as stack:
        for module in asyncio, scopes:
            stack.enter_context(replaced(
                module, CancelScope=scopes._PyCancelScope,
                move_on_after=scopes._py_move_on_after,
                move_on_at=scopes._py_move_on_at,
                fail_after=scopes._py_fail_after,
                fail_at=scopes._py_fail_at))
        for module in asyncio, timeouts:
            stack.enter_context(replaced(
                module, Timeout=timeouts._PyTimeout,
                timeout=timeouts._py_timeout,
                timeout_at=timeouts._py_timeout_at))
        yield


def nodes_in_python():
    """Let scopes and groups have the nodes in Python."""
    return replaced(cancellation, Node=cancellation._PyNode,
                    Deadlines=cancellation._PyDeadlines,
                    deadlines_of=cancellation._py_deadlines_of)


def deadlines_in_both(loop):
    """Return the Deadlines of *loop* in Python and, if there are any, in C."""
    return [of(loop) for of in (cancellation._py_deadlines_of,
                                cancellation.deadlines_of)]


class VirtualClockTestCase:
    """Run each test on a loop of its own.

    Subclasses set ``Task``, ``eager``, and ``scopes``, "C" or "Py".  Every
    test ends with no task, timer or handle left.
    """

    Task = None
    eager = False
    scopes = "C"

    def setUp(self):
        self.loop = VirtualLoop()
        self.addCleanup(self.loop.close)
        self.unhandled = []
        self.loop.set_exception_handler(
            lambda loop, context: self.unhandled.append(context))
        if self.scopes == "Py":
            self.enterContext(scopes_in_python())
            if self.Task is tasks._PyTask:
                # Those in C are for tasks in C, too.
                self.enterContext(nodes_in_python())
        if self.eager:
            self.loop.set_task_factory(
                asyncio.create_eager_task_factory(self.Task))
        elif self.Task is not asyncio.Task:
            self.loop.set_task_factory(
                lambda loop, coro, **kwargs: self.Task(coro, loop=loop,
                                                       **kwargs))

    def timers(self):
        """Return the timers of the loop that are for something."""
        idle = [id(deadlines._timer)
                for deadlines in deadlines_in_both(self.loop)
                if not len(deadlines)]
        return [handle for handle in self.loop._scheduled
                if not handle.cancelled() and id(handle) not in idle]

    def count_armed(self):
        """Return the number of deadlines that are armed."""
        return sum(map(len, set(deadlines_in_both(self.loop))))

    def run_in_loop(self, coro):
        result = self.loop.run_until_complete(coro)
        self.assertEqual(asyncio.all_tasks(self.loop), set())
        self.assertEqual(self.timers(), [])
        self.assertEqual(self.unhandled, [])
        return result


# Kind: implementation of tasks and of scopes, and whether tasks are eager.
KINDS = {"CLazy": ("C", "C", False), "CEager": ("C", "C", True),
         "PyLazy": ("Py", "Py", False), "PyEager": ("Py", "Py", True),
         "MixedC": ("C", "Py", False), "MixedPy": ("Py", "C", False)}


def kinds(name, behaviour):
    """Return the test classes of a behaviour, for all kinds of tasks."""
    classes = {}
    for kind, (implementation, its_scopes, eager) in KINDS.items():
        task = getattr(tasks, f"_{implementation}Task", None)
        cls = type(kind + name, (behaviour, VirtualClockTestCase,
                                 unittest.TestCase),
                   {"Task": task, "eager": eager, "scopes": its_scopes,
                    "__module__": behaviour.__module__})
        if not kind.startswith("Py") and not hasattr(tasks, "_CTask"):
            cls = unittest.skip("requires the C _asyncio module")(cls)
        classes[kind + name] = cls
    return classes
