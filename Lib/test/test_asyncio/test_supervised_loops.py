"""The tests of event loops again, with a supervisor between test and loop.

The loop runs as ever.  What a test asks it to allocate, a supervisor owns; a
task of the loop has entered it, and leaves it when the test closes the loop.
"""

import asyncio
import contextlib
import sys
import unittest
from asyncio import selector_events
from asyncio import supervisors
from unittest import mock

from test import support
from test.test_asyncio import loop_support
from test.test_asyncio import test_events
from test.test_asyncio import utils as test_utils


def tearDownModule():
    asyncio.set_event_loop_policy(None)


class PassedOver(Exception):
    """The loop's class has served, not the mock in the loop's dictionary."""


# What cannot hold by the rules: the error, its text, and why.
_CANNOT_PATCH = (
    PassedOver, "",
    "it patches the loop's _start_serving(), where the view has its own")
CANNOT = {
    "test_create_server_multiple_hosts_ipv4": _CANNOT_PATCH,
    "test_create_server_multiple_hosts_ipv6": _CANNOT_PATCH,
    "test_unclosed_pipe_transport": (
        AssertionError, "'open' not found in '<_UnixReadPipeTransport closed",
        "a supervisor leaves no transport open"),
}
# What is the loop's own and not the supervisor's: how many of what.
LEAVES = {
    # run_until_complete() makes the task, and is stopped.
    "test_run_until_complete_stopped": {"tasks": 1, "timers": 1},
}
# These allocate nothing for which a supervisor is asked, or a test keeps the
# method when it patches the loop's.
OF_THE_LOOP = {*supervisors._REFUSED, "getaddrinfo"}


class SupervisedLoop:
    """Stands for *loop*, and has a supervisor do what allocates."""

    def __init__(self, test, loop):
        entered = loop.create_future()
        # All other attributes are the loop's.
        own = vars(self)
        own.update(_test=test, _real=loop, _leave=loop.create_future())
        own.update(_left=loop.create_task(self._hold(entered)))
        own.update(_sup=loop.run_until_complete(entered))
        own.update(_target=test.choose(self._sup))

    @property
    def __class__(self):
        # For isinstance().
        return type(self._real)

    def __getattr__(self, name):
        of_the_loop = name.startswith("_") or name in OF_THE_LOOP
        return getattr(self._real if of_the_loop else self._target, name)

    def __setattr__(self, name, value):
        setattr(self._real, name, value)

    def __delattr__(self, name):
        delattr(self._real, name)

    async def _hold(self, entered):
        async with self._real.create_supervisor() as sup:
            entered.set_result(sup)
            await self._leave
            self._test.end(sup)

    def close(self):
        if not (self._leave.done() or self._real.is_running()):
            self._leave.set_result(None)
            self._real.run_until_complete(self._left)
            self._test.check(self._real, self._sup)
        self._real.close()


class Supervised:
    """Goes before a class of tests, whose loops then are supervised ones."""

    # In this way of being supervised.
    leaves = LEAVES

    def setUp(self):
        # For each supervisor that has ended: how many of what was left.
        self.left = []
        # The last one to run: a test that closes no loop would prove nothing.
        self.addCleanup(self.check_left)
        super().setUp()

    def check_left(self):
        self.assertGreater(len(self.left), 0)
        expected = self.leaves.get(self._testMethodName)
        self.assertEqual([left for left in self.left if left],
                         [expected] if expected else [])

    def create_event_loop(self):
        return SupervisedLoop(self, super().create_event_loop())

    def choose(self, sup):
        return sup

    def end(self, sup):
        """Called at the end of the supervisor's body."""

    def check(self, loop, sup):
        """The supervisor has ended."""
        self.assertEqual(sup.owned(), [])
        self.left.append({
            kind: len(things)
            for kind, things in loop_support.left_in(loop).items() if things})

    def _callTestMethod(self, method):
        if self._testMethodName not in CANNOT:
            return super()._callTestMethod(method)
        error, text, _ = CANNOT[self._testMethodName]
        with (self.assertRaises(error) as caught,
              self.patch_for(error)):
            method()
        self.assertIn(text, str(caught.exception))

    def patch_for(self, error):
        if error is not PassedOver:
            return contextlib.nullcontext()
        return mock.patch.object(selector_events.BaseSelectorEventLoop,
                                 "_start_serving", side_effect=PassedOver)

    def skipTest(self, reason):
        # The only one that skips itself asks what kind of loop it has.
        self.fail(f"it is not seen which loop it is: {reason}")


@support.requires_resource("cpu")
class SelectTests(Supervised, test_events.SelectEventLoopTests):
    pass


if hasattr(test_events, "PollEventLoopTests"):
    @support.requires_resource("cpu")
    class PollTests(Supervised, test_events.PollEventLoopTests):
        pass


if hasattr(test_events, "EPollEventLoopTests"):
    class EPollTests(Supervised, test_events.EPollEventLoopTests):
        pass

    @support.requires_resource("cpu")
    class CancelledTests(EPollTests):
        """The supervisor is cancelled at the end, and closes nothing gently."""

        def end(self, sup):
            sup.cancel()

    @support.requires_resource("cpu")
    class DebugModeTests(EPollTests):

        def setUp(self):
            # It tells of what else is silent.
            self.enterContext(test_utils.disable_logger())
            super().setUp()

        def create_event_loop(self):
            loop = super().create_event_loop()
            loop.set_debug(True)
            return loop

    @support.requires_resource("cpu")
    class InnerViewTests(EPollTests):
        """What transports, servers and processes have for their loop."""

        # Its readers and writers are those of transports, which it owns.
        leaves = {**LEAVES,
                  "test_remove_fds_after_closing": {"selector keys": 2}}

        def choose(self, sup):
            return sup._inner


class CountTests(unittest.TestCase):

    def test_every_test_is_run_in_every_way(self):
        names = unittest.TestLoader().getTestCaseNames
        ways = [cls for cls in vars(sys.modules[__name__]).values()
                if isinstance(cls, type) and issubclass(cls, Supervised)
                and cls is not Supervised]
        self.assertGreaterEqual(len(ways), 6 if sys.platform == "linux" else 1)
        for cls in ways:
            with self.subTest(way=cls.__name__):
                self.assertGreaterEqual(len(names(cls)), 75)
                self.assertEqual(names(cls),
                                 names(test_events.SelectEventLoopTests))
                self.assertLessEqual(CANNOT.keys() | cls.leaves.keys(),
                                     set(names(cls)))


if __name__ == "__main__":
    unittest.main()
