"""Trio as the oracle: programs with cancel scopes, run there and here."""

import functools
import itertools
import json

import pytest
from programs.scope_programs import DIFFERENT, SAME
from surroundings import PROGRAMS

KINDS = ("c-lazy", "c-eager", "python-lazy", "python-eager")
# What is known to be wrong here; a program that is right again fails.
FINDINGS = {
    "a_group_whose_tasks_swallow_everything_ends_normally":
        "the exit of TaskGroup raises though no task was cancelled",
    "cancel_after_the_block":
        "cancel_called stays false",
    "a_deadline_that_passes_before_the_entry_is_due_there":
        "cancel_called does not look at the clock before the entry",
}


@pytest.fixture(scope="session")
def outcomes(run_with_trio):
    """Return what the programs say, on the kit of that name."""
    @functools.cache
    def outcomes(kit):
        return json.loads(run_with_trio(PROGRAMS / "scope_outcomes.py", kit))
    return outcomes


def _cases(programs):
    """Every program on every kind of task, known findings marked."""
    cases = []
    for kind, program in itertools.product(KINDS, programs):
        name = program.__name__
        marks = []
        if name in FINDINGS:
            marks = pytest.mark.xfail(reason=FINDINGS[name], strict=True)
        cases.append(pytest.param(program, kind, marks=marks,
                                  id=f"{kind}-{name}"))
    return cases


@pytest.mark.parametrize("program, kind", _cases(SAME))
def test_outcome_is_that_of_trio(outcomes, program, kind):
    expected = outcomes("trio")[program.__name__]
    assert expected, "a program that says nothing shows nothing"
    assert "depends on the order" not in expected
    assert outcomes(kind)[program.__name__] == expected


@pytest.mark.parametrize("program, kind", _cases(DIFFERENT))
def test_outcome_differs_from_that_of_trio_as_said(outcomes, program, kind):
    difference = DIFFERENT[program]
    expected = difference.asyncio
    if kind.endswith("-eager") and difference.eager is not None:
        expected = difference.eager
    assert outcomes("trio")[program.__name__] == difference.trio
    assert outcomes(kind)[program.__name__] == expected
    assert difference.asyncio != difference.trio


def test_there_are_at_least_forty_programs():
    names = {program.__name__ for program in (*SAME, *DIFFERENT)}
    assert len(names) == len(SAME) + len(DIFFERENT)
    assert len(SAME) - len(FINDINGS) >= 40
    assert FINDINGS.keys() <= names
