"""Run the behaviour suite of the cancel scopes on another copy of asyncio.

    python -I -B mutant_suite.py FOLDER TESTS

runs the tests of the folder TESTS on the package asyncio in FOLDER, up to the
first that fails.  The last line is JSON: how many were run, and what failed.
It ends by itself, whatever the copy does.
"""

import json
import os
import resource
import signal
import sys
import unittest

# The real signals come last: there a wrong copy can wait for a minute.
MODULES = ("test_timeout_scopes", "test_taskgroup_scopes", "test_scopes",
           "test_level_cleanup", "test_shield")
# Tasks in Python: what is mutated is their rules and those of all tasks.
# What else there is needs time, for sockets, processes and clocks.
CLASSES = ("PyLazy", "PyEager", "InterruptTests")
# Of one test, in seconds: of the processor, and of the clock.
CPU_LIMIT = 3
CLOCK_LIMIT = 30
# Of all, if a handler does not get to run.
WHOLE_CPU_LIMIT = 40
MEMORY_LIMIT = 2 << 30


def set_limits():
    resource.setrlimit(resource.RLIMIT_CPU,
                       (WHOLE_CPU_LIMIT, WHOLE_CPU_LIMIT))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class Result(unittest.TestResult):
    """Ends the process when a test takes too long."""

    def startTest(self, test):
        super().startTest(test)
        self.current = test
        signal.setitimer(signal.ITIMER_PROF, CPU_LIMIT)
        signal.setitimer(signal.ITIMER_REAL, CLOCK_LIMIT)

    def stopTest(self, test):
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        super().stopTest(test)

    def tell(self, why=None, test=None):
        print(json.dumps({"ran": self.testsRun, "killer": test, "why": why}),
              flush=True)

    def end(self, signum, frame):
        self.tell("took too long", self.current.id())
        os._exit(1)


def find_tests():
    loader = unittest.TestLoader()
    for name in MODULES:
        module = __import__(f"test.test_asyncio.{name}", fromlist=[name])
        for cls in vars(module).values():
            if (isinstance(cls, type) and issubclass(cls, unittest.TestCase)
                    and cls.__name__.startswith(CLASSES)):
                yield loader.loadTestsFromTestCase(cls)


def main(folder, tests):
    set_limits()
    sys.path.insert(0, folder)
    import asyncio
    if os.path.dirname(asyncio.__path__[0]) != folder:
        raise SystemExit(f"asyncio came from {asyncio.__path__[0]}")
    import test.test_asyncio
    test.test_asyncio.__path__.insert(0, tests)
    result = Result()
    result.failfast = True
    for signum in signal.SIGPROF, signal.SIGALRM:
        signal.signal(signum, result.end)
    try:
        unittest.TestSuite(find_tests()).run(result)
    except BaseException as exc:
        # KeyboardInterrupt of a real signal, say.
        result.tell(repr(exc), result.current.id())
        os._exit(1)
    asyncio.set_event_loop_policy(None)
    for test, text in result.errors + result.failures:
        result.tell(text.rstrip().rpartition("\n")[2], test.id())
        os._exit(1)
    result.tell()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
