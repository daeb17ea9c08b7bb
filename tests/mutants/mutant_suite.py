"""Run behaviour suites on another copy of asyncio.

    python -I -B mutant_suite.py FOLDER TESTS SUITE ...

runs those tests of the folder TESTS that are of the suites, "scopes" or
"supervisors", on the package asyncio in FOLDER, up to the first
that fails.  The last line is JSON: how many were run, and what failed.
It ends by itself, whatever the copy does.
"""

import itertools
import json
import os
import resource
import signal
import sys
import unittest

# Tasks in Python: what is mutated is their rules and those of all tasks.
# What else there is needs time, for sockets, processes and clocks.
_OF_TASKS = ("PyLazy", "PyEager", "InterruptTests")
# Suite: its modules, in order, with the beginnings of the names of classes.
SUITES = {
    # The real signals come last: there a wrong copy can wait for a minute.
    "scopes": tuple((module, _OF_TASKS) for module in (
        "test_timeout_scopes", "test_taskgroup_scopes", "test_scopes",
        "test_level_cleanup", "test_shield")),
    # One kind of selector will do.  The matrix comes last: it is long.
    "supervisors": (
        ("test_task_owner", ("CLazy", "PyEager")),
        ("test_task_owner_base", ("Py", "Supervisor")),
        ("test_taskgroup_methods", ("CLazy", "PyEager", "Plain")),
        ("test_taskgroup_scopes", ("CLazy", "PyEager")),
        ("test_supervisors", ("CLazy", "PyEager", "Api", "Loop", "Thread")),
        ("test_supervisor_io", (
            "NoFailure", "Server", "Draining", "SystemError", "Handled",
            "CallsInFlight", "StartTLS", "Stream", "Runner", "NormalExit")),
        ("test_supervisor_io", ("FailureMatrix",)),
    ),
}
# Of one test, in seconds: of the processor, and of the clock.
CPU_LIMITS = {"scopes": 3, "supervisors": 10}
CLOCK_LIMIT = 30
# Of all, if a handler does not get to run.
WHOLE_CPU_LIMIT = 80
MEMORY_LIMIT = 2 << 30


def set_limits():
    resource.setrlimit(resource.RLIMIT_CPU,
                       (WHOLE_CPU_LIMIT, WHOLE_CPU_LIMIT))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


class Result(unittest.TestResult):
    """Ends the process when a test takes too long."""

    cpu_limit = 0

    def startTest(self, test):
        super().startTest(test)
        self.current = test
        signal.setitimer(signal.ITIMER_PROF, self.cpu_limit)
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


def find_tests(suites):
    loader = unittest.TestLoader()
    for name, classes in itertools.chain(*(SUITES[s] for s in suites)):
        module = __import__(f"test.test_asyncio.{name}", fromlist=[name])
        for cls in vars(module).values():
            if (isinstance(cls, type) and issubclass(cls, unittest.TestCase)
                    and cls.__name__.startswith(classes)):
                yield loader.loadTestsFromTestCase(cls)


def main(folder, tests, *suites):
    set_limits()
    sys.path.insert(0, folder)
    import asyncio
    if os.path.dirname(asyncio.__path__[0]) != folder:
        raise SystemExit(f"asyncio came from {asyncio.__path__[0]}")
    import test.test_asyncio
    test.test_asyncio.__path__.insert(0, tests)
    result = Result()
    result.failfast = True
    result.cpu_limit = max(CPU_LIMITS[suite] for suite in suites)
    for signum in signal.SIGPROF, signal.SIGALRM:
        signal.signal(signum, result.end)
    try:
        unittest.TestSuite(find_tests(suites)).run(result)
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
