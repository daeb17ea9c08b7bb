"""Tests of `make test` itself, with made-up steps."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import build
import launcher
import suite
from base import Base
from settings import Settings
from ui import OverlayError

ROOT = Path(__file__).resolve().parents[1]
# What a step sleeps that has to be ended.
LONG = 60


@pytest.fixture
def run_steps(monkeypatch, capsys, tmp_path):
    """Run made-up steps; return the exit status and the lines said."""
    monkeypatch.setenv("OVERLAY_BUILD", str(tmp_path / "build"))

    def run(**steps):
        monkeypatch.setattr(suite, "_STEPS", steps)
        status = suite.main(["test"])
        return int(status), capsys.readouterr().out.splitlines()
    return run


def counting(passed, failed, skipped):
    return lambda run: run.count(passed, failed, skipped, "some")


def raising(error):
    def step(run):
        raise error
    return step


def test_the_last_line_is_the_sum_of_the_counts(run_steps):
    status, lines = run_steps(a=counting(3, 0, 1), b=counting(4, 0, 2))
    assert lines[-1] == "7 passed, 0 failed, 3 skipped"
    assert status == 0


def test_the_count_is_written_for_ci(run_steps, tmp_path):
    run_steps(a=counting(3, 2, 1))
    count = tmp_path / "build" / "results" / "count"
    assert count.read_text() == "3 passed, 2 failed, 1 skipped\n"


@pytest.mark.parametrize("script, status, last", [
    ("mkdir -p build/results; echo 3 passed, 1 failed, 0 skipped > "
     "build/results/count; echo make: Error 1; exit 2", 2,
     "3 passed, 1 failed, 0 skipped"),
    ("mkdir -p build/results; echo 4 passed, 0 failed, 0 skipped > "
     "build/results/count", 0, "4 passed, 0 failed, 0 skipped"),
    ("echo error: no compiler >&2; exit 1", 1,
     "0 passed, 1 failed, 0 skipped")])
def test_ci_ends_with_the_count_and_the_status(tmp_path, script, status, last):
    root = tmp_path / "check out"
    (root / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "run", root / ".ci")
    stub = root / "configure-overlay.sh"
    stub.write_text(f"#!/bin/sh\n[ \"$*\" = '--install-deps test' ] || exit 9\n"
                    f"{script}\n")
    stub.chmod(0o755)
    # Of an earlier run.
    (root / "build" / "results").mkdir(parents=True)
    (root / "build" / "results" / "count").write_text("9 passed\n")
    done = subprocess.run([root / ".ci" / "run"], text=True,
                          capture_output=True, timeout=LONG)
    assert done.stdout.splitlines()[-1] == last
    assert done.returncode == status


def test_ci_runs_in_its_own_checkout_whatever_cdpath_says(
        tmp_path, monkeypatch):
    for folder, said in ("here", "this one"), ("elsewhere", "another one"):
        root = tmp_path / folder / "checkout"
        (root / ".ci").mkdir(parents=True)
        shutil.copy(ROOT / ".ci" / "run", root / ".ci")
        (root / "configure-overlay.sh").write_text(f"#!/bin/sh\necho {said}\n")
        (root / "configure-overlay.sh").chmod(0o755)
    monkeypatch.setenv("CDPATH", str(tmp_path / "elsewhere"))
    done = subprocess.run(["checkout/.ci/run"], cwd=tmp_path / "here",
                          text=True, capture_output=True, timeout=LONG)
    assert done.stdout.splitlines()[0] == "this one"


def test_failed_tests_give_status_1(run_steps):
    status, lines = run_steps(a=counting(3, 2, 0))
    assert lines[-1] == "3 passed, 2 failed, 0 skipped"
    assert status == 1


@pytest.mark.parametrize("error", [
    OverlayError("why"), OSError(28, "why"), RuntimeError("why"),
    suite.ElementTree.ParseError("why")], ids=lambda error: type(error).__name__)
def test_a_step_that_raises_is_counted_and_the_next_one_runs(run_steps, error):
    status, lines = run_steps(a=raising(error), b=counting(1, 0, 0))
    assert lines[-1] == "1 passed, 1 failed, 0 skipped"
    assert status == 1
    [line] = [line for line in lines if line.startswith("failed: a: ")]
    assert "why" in line
    assert [line.split()[-1] for line in lines if " min  " in line] == [
        "a", "b", "all"]


def test_an_interruption_is_not_taken_for_a_failed_step(run_steps):
    with pytest.raises(KeyboardInterrupt):
        run_steps(a=raising(KeyboardInterrupt()))


def test_nothing_is_tested_without_the_builds(run_steps):
    status, lines = run_steps(builds=raising(OverlayError("no compiler")),
                              b=counting(1, 0, 0))
    assert lines[-1] == "0 passed, 1 failed, 0 skipped"
    assert status == 1
    assert "=== b" not in lines


def test_a_step_that_hangs_is_ended_and_the_later_ones_are_not_run(
        run_steps, monkeypatch):
    monkeypatch.setattr(suite, "_TIME_LIMIT", 1)
    status, lines = run_steps(a=lambda run: time.sleep(LONG),
                              b=counting(1, 0, 0))
    assert lines[-1] == "0 passed, 2 failed, 0 skipped"
    assert status == 1
    for name in "ab":
        [line] = [line for line in lines if line.startswith(f"failed: {name}")]
        assert "minutes for all steps are over" in line


def test_signals_are_as_before_after_a_step(run_steps):
    before = signal.getsignal(signal.SIGALRM)
    run_steps(a=counting(1, 0, 0))
    assert signal.getsignal(signal.SIGALRM) is before


# --- pytest ------------------------------------------------------------------

@pytest.fixture
def pytest_step(monkeypatch, tmp_path):
    """A step that runs pytest on a file with this text."""
    monkeypatch.setenv("OVERLAY_BUILD", str(tmp_path / "build"))
    monkeypatch.setattr(build, "current_tree",
                        lambda: build.Tree(Base("3.99.0", "", None)))
    monkeypatch.setattr(suite, "ensure_venv",
                        lambda *arguments: Path(sys.executable))
    monkeypatch.setattr(suite.layout, "default_base", lambda: "3.99.0")
    folder = tmp_path / "made up"
    folder.mkdir()

    def step(text):
        (folder / "test_made_up.py").write_text(text)
        return lambda run: suite._pytest(
            run, "made-up", ["-c", "/dev/null", f"--rootdir={folder}", folder])
    step.folder = folder
    return step


def test_tests_of_pytest_are_counted(run_steps, pytest_step):
    status, lines = run_steps(a=pytest_step(
        "import pytest\n"
        "def test_good(): pass\n"
        "def test_bad(): assert False\n"
        "def test_skipped(): pytest.skip()\n"))
    assert lines[-1] == "1 passed, 1 failed, 1 skipped"
    assert status == 1


def test_the_line_about_a_failed_step_says_which_tests_and_why(
        run_steps, pytest_step):
    _, lines = run_steps(a=pytest_step(
        "import pytest\n"
        "@pytest.fixture\n"
        "def broken(): raise OSError('no luck')\n"
        "def test_error(broken): pass\n"
        "def test_good(): pass\n"
        "def test_bad(): assert not 'one\\ntwo'\n"))
    [line] = [line for line in lines if line.startswith("failed: a: ")]
    assert "test_error: " in line and "no luck" in line
    assert "test_bad: " in line and "made-up.log" in line
    assert "test_good" not in line


def test_pytest_writes_no_bytecode(run_steps, pytest_step):
    run_steps(a=pytest_step("def test_good(): pass\n"))
    assert not list(pytest_step.folder.rglob("*.pyc"))


def test_pytest_that_hangs_is_ended_with_its_log_named(
        run_steps, pytest_step, monkeypatch):
    monkeypatch.setattr(suite, "_TIME_LIMIT", suite._MARGIN + 5)
    status, lines = run_steps(a=pytest_step(
        f"import time\ndef test_hangs(): time.sleep({LONG})\n"))
    assert status == 1
    assert lines[-1] == "0 passed, 1 failed, 0 skipped"
    [line] = [line for line in lines if line.startswith("failed: a: ")]
    assert "time limit" in line and "made-up.log" in line


@pytest.mark.parametrize("text", [
    None, "", "<testsuites><testsuite tests=", "<testsuites/>",
    "<testsuites><testsuite tests='1'/></testsuites>"])
def test_missing_or_damaged_results_are_a_failure(
        run_steps, pytest_step, monkeypatch, tmp_path, text):
    def run_guarded(command, *, log, **options):
        if text is not None:
            log.with_suffix(".xml").write_text(text)
        return launcher.Result(0, log=log)

    monkeypatch.setattr(launcher, "run_guarded", run_guarded)
    status, lines = run_steps(a=pytest_step(""), b=counting(1, 0, 0))
    assert status == 1
    assert lines[-1] == "1 passed, 1 failed, 0 skipped"
    assert any("no results in" in line for line in lines)


def test_the_steps_of_make_test_are_these():
    """A step that is lost would make the run shorter, and green."""
    assert list(suite._STEPS.items()) == [
        ("builds", suite._builds),
        ("test_asyncio compared with stock", suite._same_as_stock),
        ("test_asyncio on debug", suite._debug),
        ("tests beside it", suite._neighbours),
        ("type stubs", suite._stubs),
        ("documentation", suite._documentation),
        ("tooling", suite._tooling),
        ("third-party programs", suite._third_party)]


@pytest.mark.parametrize("step, arguments", [
    (suite._tooling, ["tests", "--ignore=tests/third_party"]),
    (suite._third_party, ["tests/third_party"])])
def test_steps_of_pytest_have_these_tests(
        run_steps, monkeypatch, step, arguments):
    seen = []
    monkeypatch.setattr(suite, "_pytest",
                        lambda run, name, given: seen.append(given))
    run_steps(a=step)
    assert seen == [arguments]


def test_all_that_is_tested_is_built(run_steps, monkeypatch):
    built = []
    monkeypatch.setattr(build, "build", built.append)
    run_steps(builds=suite._builds)
    assert built == ["release", "stock", "debug"]


# --- CPython's tests ---------------------------------------------------------

def test_cpythons_tests_get_what_is_left_of_the_time(
        run_steps, pytest_step, monkeypatch):
    limits = []

    def run_tests(*arguments, time_limit, log, **options):
        limits.append(time_limit)
        return launcher.Result(0, run=5, skipped=1, log=log)

    monkeypatch.setattr(launcher, "run_tests", run_tests)
    monkeypatch.setattr(suite, "_TIME_LIMIT", 100)
    status, lines = run_steps(a=suite._debug, b=suite._neighbours)
    assert lines[-1] == "8 passed, 0 failed, 2 skipped"
    assert status == 0
    assert limits[1] < limits[0] <= 100 - suite._MARGIN


def test_cpythons_tests_may_use_all_that_is_on_the_machine(
        run_steps, pytest_step, monkeypatch):
    """What they may not use they skip, and the run would be green."""
    asked = []

    def run_judged(python, tests, stock, *, variant, **options):
        asked.append((variant, *tests))
        return suite.compare.Judgement(launcher.Result(0, run=1))

    monkeypatch.setattr(suite.compare, "run_judged", run_judged)
    monkeypatch.setattr(build, "build", lambda *arguments: Path("python"))
    monkeypatch.setattr(suite, "load_settings", Settings)
    run_steps(a=suite._debug, b=suite._neighbours)
    suite.main(["test-asyncio"])
    allowed = "-u", "all,-gui,-network,-largefile,-urlfetch,-walltime"
    # What takes long is not for the debug build.
    assert asked == [("debug", "-u", f"{allowed[1]},-cpu", "test_asyncio"),
                     ("release", *allowed, *suite._NEIGHBOURS),
                     ("release", *allowed, "test_asyncio")]


def made_up_verdict(monkeypatch, **lists):
    result = launcher.Result(2, run=5, failures=2, skipped=1)
    monkeypatch.setattr(
        suite.compare, "run_judged",
        lambda *arguments, **options: suite.compare.Judgement(result, **lists))


@pytest.mark.parametrize("lists, failed", [
    ({"both_failed": ("a", "b")}, 0), ({"broken": ("a", "b")}, 2)])
def test_only_what_stock_passes_fails_a_step(
        run_steps, pytest_step, monkeypatch, lists, failed):
    made_up_verdict(monkeypatch, **lists)
    status, lines = run_steps(a=suite._debug)
    assert lines[-1] == f"2 passed, {failed} failed, 1 skipped"
    assert status == bool(failed)


@pytest.mark.parametrize("lists, failed", [
    ({"both_failed": ("a", "b")}, 0), ({"broken": ("a", "b")}, 2)])
def test_only_what_stock_passes_fails_test_asyncio(
        pytest_step, monkeypatch, capsys, lists, failed):
    made_up_verdict(monkeypatch, **lists)
    monkeypatch.setattr(build, "build", lambda *arguments: Path("python"))
    monkeypatch.setattr(suite, "load_settings", Settings)
    assert suite.main(["test-asyncio"]) == bool(failed)
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"2 passed, {failed} failed, 1 skipped")


def test_what_fails_on_stock_too_is_said_of_third_party_suites(
        run_steps, pytest_step, monkeypatch, tmp_path):
    folder = tmp_path / "build" / "results" / "third_party"
    folder.mkdir(parents=True)
    (folder / "of-an-earlier-run.json").write_text("{}")

    def run_pytest(run, name, arguments):
        (folder / "thing.json").write_text('{"both_failed": ["t::a"]}')

    monkeypatch.setattr(suite, "_pytest", run_pytest)
    status, lines = run_steps(a=suite._third_party)
    assert status == 0
    assert "    thing: 1 fail on stock, too" in lines
    assert "        t::a" in lines


def test_the_comparison_gets_what_is_left_of_the_time(
        run_steps, pytest_step, monkeypatch):
    limits = []

    def compare_asyncio(*, stock, ours, time_limit):
        limits.append(time_limit)
        return suite.compare.Comparison({}, {"a": "passed"}, ["b"], [], [])

    monkeypatch.setattr(suite.compare, "compare_asyncio", compare_asyncio)
    monkeypatch.setattr(suite, "_TIME_LIMIT", 100)
    status, lines = run_steps(a=suite._same_as_stock)
    assert lines[-1] == "1 passed, 1 failed, 0 skipped"
    assert status == 1
    assert 1 <= limits[0] <= 100 - suite._MARGIN
