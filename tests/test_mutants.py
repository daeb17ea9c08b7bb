"""Tests that behaviour suites kill wrong versions of our modules."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "mutants"))

import mutants  # noqa: E402
from mutant_suite import SUITES  # noqa: E402
from mutant_table import FILES, MUTANTS, Mutant  # noqa: E402

# One in so many is tried here; the script tries all.
STEP = 6
# The least that must be tried to say something of the suite.
FEWEST = 40


def test_the_mutants_are_killed(python):
    unchanged, *verdicts = mutants.judge_all(python, MUTANTS[::STEP])
    assert unchanged.fate == "lives", str(unchanged)
    assert unchanged.ran > 300
    assert len(verdicts) >= FEWEST
    wrong = [str(verdict) for verdict in verdicts if verdict.fate != "killed"]
    assert not wrong, "\n".join(wrong)


def test_every_mutant_can_be_made():
    assert all(mutants.mutated(mutant) for mutant in MUTANTS)


def test_names_are_sentences_of_one_mutant_each():
    names = [mutant.name for mutant in MUTANTS]
    assert len(set(names)) == len(names)


def test_each_file_has_mutants_and_a_suite():
    assert {mutant.file for mutant in MUTANTS} == set(FILES)
    assert set(FILES.values()) == set(SUITES)


# The tool

BREAKING = Mutant("scopes.py", "no scope can be cancelled",
                  "        self._node.cancel(msg)\n", "        pass\n")
HARMLESS = Mutant("scopes.py", "an error has another text",
                  "use it in a coroutine of ", "use it in a function of ")


def fates(python, *chosen):
    _, *verdicts = mutants.judge_all(python, chosen)
    return verdicts


def test_a_mutant_that_lives_is_told_from_one_that_is_killed(python):
    killed, lives = fates(python, BREAKING, HARMLESS)
    assert killed.fate == "killed"
    assert killed.killer.startswith("test.test_asyncio.")
    assert killed.why
    assert lives.fate == "lives"
    assert lives.ran > killed.ran


def test_a_mutant_that_spins_is_killed(python):
    [verdict] = fates(python, Mutant(
        "cancellation.py", "visible() never ends",
        "            node = node.parent\n\n    def text",
        "\n    def text"))
    assert (verdict.fate, verdict.why) == ("killed", "took too long")


@pytest.mark.parametrize("old, new, why", [
    ("no such text", "", "occurs 0 times"),
    ("self", "other", "occurs [0-9]{2,} times"),
    ("STORM_LIMIT = 100\n", "STORM_LIMIT = 100\n", "is the old one"),
    ("STORM_LIMIT = 100\n", "STORM_LIMIT =\n", "no Python"),
])
def test_a_mutant_without_a_place_is_told(old, new, why):
    mutant = Mutant("cancellation.py", "it is wrong", old, new)
    with pytest.raises(ValueError, match=why):
        mutants.mutated(mutant)


def test_a_mutant_that_cannot_be_imported_is_told(python):
    [verdict] = fates(python, Mutant(
        "scopes.py", "it has no enum", "import enum\n", ""))
    assert verdict.fate == "cannot be made"
    assert "NameError" in verdict.why


def test_the_script_fails_for_a_mutant_that_lives(
        python, monkeypatch, capsys):
    monkeypatch.setattr(mutants, "MUTANTS", (HARMLESS, BREAKING))
    assert mutants.main(["--python", str(python), "scope"]) == 0
    assert mutants.main(["--python", str(python)]) == 1
    said = capsys.readouterr().out
    assert f"killed: {BREAKING.name}\n    by test." in said
    assert f"lives: {HARMLESS.name}\n" in said
    assert "2 mutants, 1 killed" in said
