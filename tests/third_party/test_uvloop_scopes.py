"""The tests of scopes on uvloop, whose tasks are asyncio's.

Those on a virtual clock get one on uvloop, and scopes_on_events.py is about
uvloop's own timers and events.
"""

import json

import pytest
from surroundings import HERE, PROGRAMS

pytestmark = pytest.mark.usefixtures("python")

SUITE = HERE.parents[1] / "Lib" / "test" / "test_asyncio"
# Module: the fewest tests it has.
KNOWN = {
    "scopes_on_events": 28,
    "test.test_asyncio.test_level_cleanup": 53,
    "test.test_asyncio.test_scopes": 1194,
    "test.test_asyncio.test_shield": 129,
    "test.test_asyncio.test_supervisors": 384,
    "test.test_asyncio.test_task_owner": 156,
    "test.test_asyncio.test_task_owner_base": 42,
    "test.test_asyncio.test_taskgroup_methods": 204,
    "test.test_asyncio.test_taskgroup_scopes": 114,
    "test.test_asyncio.test_timeout_scopes": 328,
}
# What is about code that uvloop has of its own.
EXCLUDED = {
    "test.test_asyncio.test_level_cleanup.EitherOrderTests."
    "test_the_cancellation_comes_first":
        "the futures of its sock_recv() are of a class of its own, which a "
        "scope cancels one pass later",
    "test.test_asyncio.test_level_cleanup.SubprocessTests."
    "test_a_process_cancelled_while_it_starts_is_waited_for":
        "uvloop starts processes itself, and leaves one that was cancelled",
    **{f"test.test_asyncio.test_supervisors.{kind}Eager{way}SupervisorTests."
       "test_a_thousand_nested_ones_end":
           "eager tasks nest in the interpreter's stack, on any loop"
       for kind in ("C", "Py") for way in ("", "Direct", "Debug")},
    "test.test_asyncio.test_supervisors.DirectTests.test_callbacks_and_timers":
        "it compares with what is in asyncio's own queues",
    **{f"test.test_asyncio.test_timeout_scopes.{kind}TimerTests."
       "test_a_timeout_at_an_integer_too_large_for_a_float":
           "call_at() of uvloop takes what a float can hold"
       for kind in ("CLazy", "CEager", "PyLazy", "PyEager", "MixedC",
                    "MixedPy")},
    **{f"test.test_asyncio.test_task_owner_base.CTests.{test}":
           "uvloop has a create_task() of its own, which is called"
       for test in ("test_directly", "test_below_a_scope",
                    "test_one_that_is_made_while_the_block_is_aborted")},
    "test.test_asyncio.test_task_owner_base.SupervisorTests."
    "test_tasks_that_return_in_one_pass_need_one_callback":
        "it counts what is ready in asyncio's loop",
}

@pytest.mark.parametrize("module", KNOWN)
def test_every_case_passes_on_uvloop(run, module):
    result = json.loads(run(PROGRAMS / "scope_tests_on_uvloop.py", module))
    outcomes = result["outcomes"]
    assert len(outcomes) >= KNOWN[module]
    failed = {test: text for test, text in outcomes.items()
              if text != "passed"}
    assert failed.keys() == EXCLUDED.keys() & outcomes.keys(), failed
    if module.startswith("test."):
        # One for each test; it has not run on asyncio's own.
        assert result["virtual"] >= 30


def test_every_module_on_the_virtual_clock_is_run():
    users = {f"test.test_asyncio.{path.stem}"
             for path in SUITE.glob("test_*.py")
             if "import scopes_support" in path.read_text()}
    known = {module for module in KNOWN if module.startswith("test.")}
    # That has a loop of its own, without views.
    assert users == known | {"test.test_asyncio.test_generic_supervisors"}
    assert len(EXCLUDED) == 19


EAGER = """\
import asyncio, uvloop

async def nothing():
    pass

async def main():
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)
    for create in loop.create_task, asyncio.create_task:
        print(create(nothing()).done(), create(nothing(), name="name").done())

uvloop.run(main())
"""


def test_the_eager_task_factory_serves_uvloop(run):
    """It gives the factory more than that of 3.13.5 takes."""
    assert run("-c", EAGER).split() == 4 * ["True"]
