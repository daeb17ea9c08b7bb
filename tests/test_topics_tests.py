"""Tests of the run of the topics' tests in check-each and rebase."""

import pytest

import build
import launcher
import stepping
from settings import Settings
from ui import OverlayError


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the tests with a made-up verdict; return what was asked for."""
    def run(**lists):
        def run_judged(python, tests, stock, **options):
            asked.extend((python, tests, stock()))
            result = launcher.Result(2, run=5, failures=2, skipped=1)
            return stepping.compare.Judgement(result, **lists)

        asked = []
        monkeypatch.setattr(stepping, "load_settings", Settings)
        monkeypatch.setattr(stepping.compare, "run_judged", run_judged)
        monkeypatch.setattr(build, "build", lambda variant, base:
                            f"{variant} of {base}")
        stepping.run_topics_tests("ours", [], base="3.99.1",
                                  log=tmp_path / "log", what="a step")
        return asked
    return run


def test_what_fails_on_stock_of_the_same_base_too_is_no_failure(run):
    python, tests, stock = run(both_failed=("a", "b"))
    assert (python, tests[-1], stock) == ("ours", "test_asyncio",
                                          "stock of 3.99.1")


def test_they_may_use_all_that_is_on_the_machine(run):
    """What they may not use they skip, and the run would be green."""
    python, tests, stock = run()
    assert tests[:2] == [
        "-u", "all,-gui,-network,-largefile,-urlfetch,-walltime"]


def test_what_stock_passes_is_a_failure_that_is_named(run):
    with pytest.raises(OverlayError, match="a step failed: a, and 1 more"):
        run(broken=("a", "b"))
