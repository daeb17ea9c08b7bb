"""Run the tests of supervisors on a loop in C, and print the outcomes.

Arguments: the loop, the test cases of test_supervisor_io to run, and in JSON
what is left out: names of tests, and of cells of the failure matrix.
"""

import asyncio
import errno
import faulthandler
import importlib
import json
import logging
import sys
import unittest

from test.test_asyncio import loop_support
from test.test_asyncio import test_supervisor_io as suite
from outcomes_of_tests import Outcomes

loop_name, case_names, left_out = sys.argv[1], *map(json.loads, sys.argv[2:])


class OnLoop:
    """What test cases do otherwise here."""

    def loop_factory(self):
        return importlib.import_module(loop_name).new_event_loop()

    def _check_loop(self, loop):
        pass  # It cannot be looked into.

    def what_is_there(self):
        there = {"tasks": {id(task): task
                           for task in asyncio.all_tasks(self.loop)}}
        if loop_name != "rloop":
            # rloop never closes a socket.
            there["files"] = {file: file for file in open_files()}
        return there

    def real(self, thing):
        return vars(thing).get("_transport") or vars(thing)["_server"]

    def is_read(self, sup, sock):
        return bool(sup._of(suite.supervisors._Kind.REGISTRATION))

    async def until_connecting(self, sup):
        await self.until(lambda: sup._of(suite.supervisors._Kind.CALL))

    async def peers(self, sup, protocol):
        if loop_name != "rloop":
            return await super().peers(sup, protocol)
        # It connects no socket that is there already, and a server that is
        # closed closes its connections, too.
        _, address = await self.serve(sup, lambda: protocol)
        peer = self.client(address)
        peer.setblocking(False)
        await protocol.made
        return protocol.transport, peer


class Company(suite.Company):

    def add_signal_handler(self, sup):
        if loop_name != "rloop":
            super().add_signal_handler(sup)

    def check_peer(self, test):
        if loop_name != "rloop":
            super().check_peer(test)

    def check_signal_handler(self, test):
        if loop_name != "rloop":
            super().check_signal_handler(test)


def note_unraisable(unraisable):
    exc = unraisable.exc_value
    # uvloop closes the descriptor of a pipe, and leaves its file open, if the
    # task that connects it is cancelled.
    if (loop_name, getattr(exc, "errno", None)) != ("uvloop", errno.EBADF):
        sys.__unraisablehook__(unraisable)


_open_files = loop_support._open_files


def open_files():
    # libuv keeps one of these for when there are too many.
    return {(fd, name) for fd, name in _open_files()
            if name != "/dev/null"
            and not (loop_name == "rloop" and name.startswith("socket"))}


def case_on_loop(name):
    cls = getattr(suite, name)
    members = {test: None for test in left_out if hasattr(cls, test)}
    if hasattr(cls, "WHAT"):
        members["WHAT"] = {what: fail for what, fail in cls.WHAT.items()
                           if what not in left_out}
        cells.update(members["WHAT"])
    return type(name, (OnLoop, cls), members)


# Before who has started it gives it up: where does it hang?
faulthandler.dump_traceback_later(100, exit=True)
sys.unraisablehook = note_unraisable
# rloop warns of a process that was gone before it was killed.
logging.getLogger("asyncio").addFilter(
    lambda record: "exit status already read" not in record.msg)
suite.TIME_LIMIT = 20
suite.Company = Company
loop_support._open_files = open_files
# The loop is asked for in some tests.
asyncio.set_event_loop_policy(
    importlib.import_module(loop_name).EventLoopPolicy())
suite.tearDownModule = int
cells, outcomes = {}, Outcomes()
for case_name in case_names:
    unittest.defaultTestLoader.loadTestsFromTestCase(
        case_on_loop(case_name)).run(outcomes)
print(json.dumps({"cells": len(cells), "outcomes": outcomes.by_test}))
