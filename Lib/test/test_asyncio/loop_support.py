"""Support for asyncio's tests: a loop on virtual time, and a check for leaks."""

__all__ = ("VirtualClockLoop", "WouldWaitForever", "LeakCheckMixin",
           "VirtualClockTestCase")

import asyncio
import contextlib
import os
import selectors
import unittest
from asyncio import cancellation

# How it works.  VirtualClockLoop is an ordinary selector loop on a selector
# that never waits: asked to wait for some seconds, it moves the loop's clock
# on by them.  So time stands still while anything is ready, and jumps to the
# next timer when nothing is.  That is wrong where a thread, a process or a
# peer does real work meanwhile: its timers would fire at once.


class WouldWaitForever(RuntimeError):
    """Nothing is ready or scheduled, and nothing can happen any more."""


class VirtualClockLoop(asyncio.SelectorEventLoop):
    """An event loop whose time() begins at 0 and jumps from timer to timer.

    Raises WouldWaitForever out of run_forever() where a real loop would wait
    with no timer.  For tests without threads, processes and peers only.
    """

    def __init__(self):
        self._virtual_now = 0.0
        super().__init__(_JumpingSelector(self))

    def time(self):
        return self._virtual_now

    def _wait(self, timeout):
        if timeout is None:
            names = sorted(repr(task) for task in asyncio.all_tasks(self))
            raise WouldWaitForever(
                "nothing is ready or scheduled; tasks that wait: "
                + (", ".join(names) or "none"))
        self._virtual_now += timeout


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, loop):
        super().__init__()
        self._loop = loop

    def select(self, timeout=None):
        events = super().select(0)
        if not events and (timeout is None or timeout > 0):
            self._loop._wait(timeout)
        return events


class LeakCheckMixin:
    """Makes a TestCase fail that leaves something of asyncio behind.

    Goes before the TestCase among the bases.  With IsolatedAsyncioTestCase
    the test's loop is watched; other loops are handed to watch_loop().
    """

    # How often a loop may run after a test, to finish what was cancelled or
    # closed last: a callback that schedules one that schedules one.
    _passes_after_test = 3

    def setUp(self):
        super().setUp()
        # Cleanups run in reverse order: the files are looked at last.
        self.addCleanup(self._check_files, _open_files())
        runner = getattr(self, "_asyncioRunner", None)
        if runner is not None:
            self.watch_loop(runner.get_loop())

    def watch_loop(self, loop):
        """Assert at the end of the test that nothing is left in *loop*.

        The test may close it, which discards what is scheduled.
        """
        self.addCleanup(self._check_loop, loop)

    def _check_loop(self, loop):
        for _ in range(self._passes_after_test):
            if not loop.is_closed():
                loop.call_soon(loop.stop)
                loop.run_forever()
        self._fail_for(left_in(loop))

    def _check_files(self, before):
        self._fail_for({"files": sorted(_open_files() - before)})

    def _fail_for(self, left):
        found = [f"{len(things)} {kind}: {things!r}"
                 for kind, things in left.items() if things]
        if found:
            self.fail("left by the test: " + "; ".join(found))


def left_in(loop):
    """What is alive in a *loop* that does not run: kind to list."""
    # A proactor has neither a map of descriptors nor transports by descriptor.
    selecting = isinstance(loop, asyncio.SelectorEventLoop)
    keys = (loop._selector.get_map().values()
            if selecting and not loop.is_closed() else ())
    transports = loop._transports.values() if selecting else ()
    own = None if loop._ssock is None else loop._ssock.fileno()
    return {
        "tasks": list(asyncio.all_tasks(loop)),
        "handles": [handle for handle in loop._ready
                    if not handle.cancelled()],
        "timers": [handle for handle in loop._scheduled
                   if not handle.cancelled() and not _is_idle(handle)],
        "transports": [transport for transport in transports
                       if transport._sock is not None],
        "selector keys": [key for key in keys if key.fd != own],
    }


def _is_idle(handle):
    """Ask if it is what deadlines leave behind: a timer for nothing."""
    owner = getattr(handle._callback, "__self__", None)
    return (isinstance(owner, (cancellation.Deadlines,
                               cancellation._PyDeadlines))
            and not len(owner))


def _open_files():
    """The process's file descriptors, with what each is open on."""
    folder = "/proc/self/fd"
    found = set()
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        # The one that listdir() itself had open is gone.
        with contextlib.suppress(OSError):
            found.add((int(name), os.readlink(os.path.join(folder, name))))
    return found


class VirtualClockTestCase(LeakCheckMixin, unittest.IsolatedAsyncioTestCase):
    """A test case on virtual time which asserts that nothing is left over."""

    loop_factory = VirtualClockLoop
    # IsolatedAsyncioTestCase turns debug mode on, which no program runs in.
    loop_debug = False

    def setUp(self):
        super().setUp()
        self._asyncioRunner.get_loop().set_debug(self.loop_debug)
