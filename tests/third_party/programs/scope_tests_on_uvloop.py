"""Run a module of tests of scopes on uvloop, and print the outcomes.

What takes its loop from scopes_support gets one on a virtual clock, and
asyncio.run() a real one.
"""

import asyncio
import importlib
import json
import sys
import unittest

import uvloop
from test.test_asyncio import scopes_support
from virtual_uvloop import VirtualUvloop


class Outcomes(unittest.TestResult):
    """The outcome of every test by its name; text, if it failed."""

    def __init__(self):
        super().__init__()
        self.by_test = {}

    def addSuccess(self, test):
        self._add(test, "passed")

    def addSkip(self, test, reason):
        self._add(test, f"skipped: {reason}")

    def addFailure(self, test, error):
        self._add(test, self._exc_info_to_string(error, test))

    addError = addFailure

    def addSubTest(self, test, subtest, error):
        if error is not None:
            self._add(test, self._exc_info_to_string(error, subtest))

    def _add(self, test, outcome):
        # What failed in a subtest has not passed.
        self.by_test.setdefault(test.id(), outcome)


def main(name):
    # The test cases look it up when they are set up.
    scopes_support.VirtualLoop = VirtualUvloop
    # For those on real events.
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    module = importlib.import_module(name)
    outcomes = Outcomes()
    unittest.defaultTestLoader.loadTestsFromModule(module).run(outcomes)
    print(json.dumps({"virtual": VirtualUvloop.made,
                      "outcomes": outcomes.by_test}))


main(*sys.argv[1:])
