"""Cancel scopes around, inside and beside those of anyio and aiohttp."""

import json
import subprocess

import pytest
from surroundings import PROGRAMS, environment

pytestmark = pytest.mark.usefixtures("python")


@pytest.fixture(scope="module")
def said(venv_python):
    done = subprocess.run(
        [venv_python, PROGRAMS / "mixed_scopes.py"], env=environment(),
        capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    # A group of anyio swallows what it is told while its task cleans up.
    assert done.stderr.count("swallows its cancellation again and again") == 2
    return json.loads(done.stdout)


def test_a_group_that_swallows_is_told_no_more_than_the_rule_says(said):
    assert said["cleaned up"] == ["for_half_a_second", "for_a_thousand_passes"]
    # 100 deliveries in a row, two passes each; then 1, 2, 4 … 100 ms apart.
    caught, passes = said["for_half_a_second"]
    assert caught
    assert 100 < passes < 300
    caught, passes = said["for_a_thousand_passes"]
    assert caught
    assert 1000 < passes < 1300


@pytest.mark.parametrize("library", ["anyio timeout", "aiohttp"])
def test_a_wait_with_its_own_timeout_is_cut_off(said, library):
    caught, passes = said[library]
    assert caught
    assert passes < 50


@pytest.mark.parametrize("library", ["anyio", "aiohttp"])
def test_a_timeout_of_its_own_fires_in_a_shield(said, library):
    fired, passes = said[f"{library} timeout in a shield"]
    assert fired
    assert passes < 50


def test_a_shield_inside_of_anyios_scope_finishes_first(said):
    assert said["anyio around a shield"] == [True, True]


def test_the_outer_of_two_kinds_of_scopes_ends_its_cancellation(said):
    assert said["inside of anyio's scope"] == [True, False]


def test_an_edge_wins_over_a_level_in_the_same_pass(said):
    outcomes = said["edge and level"]
    assert len(outcomes) == 6
    assert all(outcome == [True, 1, False] for outcome in outcomes.values()), (
        outcomes)


def test_no_request_is_left(said):
    assert said["requests left"] == 0
