"""Trio as the oracle: programs with cancel scopes, run there and here."""

import functools
import itertools
import json

import pytest
from programs.scope_programs import DIFFERENT, SAME
from surroundings import PROGRAMS

KINDS = ("c-lazy", "c-eager", "python-lazy", "python-eager")


@pytest.fixture(scope="session")
def outcomes(run_with_trio):
    """Return what the programs say, on the kit of that name."""
    @functools.cache
    def outcomes(kit):
        return json.loads(run_with_trio(PROGRAMS / "scope_outcomes.py", kit))
    return outcomes


def _cases(programs):
    """Every program on every kind of task."""
    return [pytest.param(program, kind, id=f"{kind}-{program.__name__}")
            for kind, program in itertools.product(KINDS, programs)]


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
    assert len(SAME) >= 40
