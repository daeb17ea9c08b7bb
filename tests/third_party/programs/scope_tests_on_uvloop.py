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
from outcomes_of_tests import Outcomes
from virtual_uvloop import VirtualUvloop


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
