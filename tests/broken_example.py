"""Run an example that is broken from outside, and print what is left of it.

    python broken_example.py EXAMPLE PLACE CALL [ARGUMENT…]

The call number CALL of the function PLACE raises Broken; a coroutine function does so
when a line comes on stdin.  Prints JSON: the errors that the example ends with, and how
much more of each resource there was when it broke, and when it had ended, than before.
"""

import asyncio
import collections
import contextlib
import functools
import gc
import importlib
import inspect
import itertools
import json
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "examples"))

# What each example is run with, given its module and the arguments.
RUNS = {
    "broadcast_server": lambda module, interval: module.serve(0, float(interval)),
    "get_url": lambda module, url, idle: module.get(url, idle=float(idle)),
    "port_forwarder": lambda module, port: module.forward(0, ("127.0.0.1", int(port))),
    "worker_pool": lambda module, silence, *command: module.keep_pool(
        2, command, float(silence)),
}


class Broken(Exception):
    """What the broken place raises."""


class Break:
    """Lets one call of a function raise."""

    def __init__(self, module, place, call):
        *path, name = place.split(".")
        owner = functools.reduce(getattr, path, module)
        self.place = place
        self.function = getattr(owner, name)
        self.is_now = (number == call for number in itertools.count(1)).__next__
        self.held = None
        is_async = inspect.iscoroutinefunction(self.function)
        made = self.make_coroutine_function() if is_async else self.make_function()
        setattr(owner, name, made)

    def make_function(self):
        def broken(*args, **kwargs):
            return self.fail() if self.is_now() else self.function(*args, **kwargs)
        return broken

    def make_coroutine_function(self):
        async def broken(*args, **kwargs):
            if self.is_now():
                await asyncio.to_thread(sys.stdin.readline)
                self.fail()
            return await self.function(*args, **kwargs)
        return broken

    def fail(self):
        self.held = held()
        raise Broken(self.place)


def held():
    """Count what is open, pending or running in this process."""
    links = []
    for link in pathlib.Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):    # that of the listing itself
            links.append(os.readlink(link))
    children = pathlib.Path("/proc/self/task").glob("*/children")
    return collections.Counter({
        "descriptors": len(links),
        "sockets": sum(link.startswith("socket:") for link in links),
        "processes": sum(len(path.read_text().split()) for path in children),
        "tasks": len(asyncio.all_tasks()),
        "timers": sum(map(is_pending, asyncio.get_running_loop()._scheduled))})


def is_pending(timer):
    # A loop has one timer for all deadlines, which outlives them.
    owner = getattr(timer._callback, "__self__", None)
    return not timer.cancelled() and type(owner).__name__ != "Deadlines"


def leaves(error):
    """Return the errors in nested groups."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [f"{type(error).__name__}: {error}"]


async def run(example, place, call, *arguments):
    module = importlib.import_module(example)
    broken = Break(module, place, int(call))
    before, errors = held(), []
    try:
        await RUNS[example](module, *arguments)
    except BaseExceptionGroup as group:
        errors = leaves(group)
    after = held()
    return {"errors": errors,
            "broke with": broken.held and {k: broken.held[k] - before[k] for k in before},
            "left": {what: after[what] - before[what] for what in before}}


if __name__ == "__main__":
    result = asyncio.run(run(*sys.argv[1:]))
    gc.collect()            # what was not closed is to warn now
    print(json.dumps(result))
