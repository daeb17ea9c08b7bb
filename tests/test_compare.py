"""Tests of the comparison of test results with stock's."""

import json
import textwrap

import pytest

import compare
from ui import OverlayError


@pytest.fixture(autouse=True)
def build_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("OVERLAY_BUILD", str(tmp_path / "build"))


class Suite:
    """A suite of made-up results: one dictionary a call, the last for ever."""

    def __init__(self, *results):
        self.results = list(results)
        # The ids asked for, one element a call.
        self.calls = []

    def __call__(self, ids=None):
        self.calls.append(ids)
        results = (self.results.pop(0) if len(self.results) > 1
                   else self.results[0])
        return {name: outcome for name, outcome in results.items()
                if ids is None or name in ids}


def compared(stock, ours):
    return compare.compare(stock, ours, stock_key="stock")


def kinds(result):
    return (len(result.broken), len(result.flaky), len(result.better))


# --- Verdicts ----------------------------------------------------------------

def test_equal_results_run_once_and_have_no_difference():
    stock, ours = Suite({"a": "passed"}), Suite({"a": "passed"})
    result = compared(stock, ours)
    assert kinds(result) == (0, 0, 0)
    assert result.failed == 0
    assert stock.calls == ours.calls == [None]


def test_kept_results_of_stock_need_no_run_but_ours_run_every_time():
    compared(Suite({"a": "passed"}), Suite({"a": "passed"}))
    stock, ours = Suite({"a": "passed"}), Suite({"a": "failed"})
    result = compared(stock, ours)
    assert result.stock == {"a": "passed"}
    assert None not in stock.calls
    assert ours.calls[0] is None
    assert result.failed == 1


def test_another_key_of_stock_needs_a_run():
    compared(Suite({"a": "passed"}), Suite({"a": "passed"}))
    stock = Suite({"a": "skipped"})
    result = compare.compare(stock, Suite({"a": "skipped"}), stock_key="other")
    assert stock.calls == [None]
    assert kinds(result) == (0, 0, 0)


def test_three_failures_against_three_passes_are_broken():
    stock = Suite({"a": "passed", "b": "passed"})
    ours = Suite({"a": "passed", "b": "failed"})
    result = compared(stock, ours)
    assert result.broken == ["b: stock passed, passed, passed; "
                             "ours failed, failed, failed"]
    assert result.failed == 1
    assert stock.calls == ours.calls == [None, ["b"], ["b"]]


def test_one_pass_in_three_is_flaky():
    ours = Suite({"a": "failed"}, {"a": "failed"}, {"a": "passed"})
    result = compared(Suite({"a": "passed"}), ours)
    assert kinds(result) == (0, 1, 0)
    assert result.failed == 0


def test_a_failure_on_stock_makes_it_flaky_and_ends_the_rounds():
    stock = Suite({"a": "passed"}, {"a": "failed"})
    ours = Suite({"a": "failed"})
    assert kinds(compared(stock, ours)) == (0, 1, 0)
    assert len(stock.calls) == 2


def test_what_fails_on_stock_alone_is_better():
    result = compared(Suite({"a": "failed"}), Suite({"a": "passed"}))
    assert kinds(result) == (0, 0, 1)


@pytest.mark.parametrize("ours", [{}, {"a": "skipped"}, {"a": "xfailed"}])
def test_another_outcome_than_a_pass_is_broken(ours):
    assert kinds(compared(Suite({"a": "passed"}), Suite(ours))) == (1, 0, 0)


def test_a_failure_of_stock_that_ours_lacks_is_broken():
    assert kinds(compared(Suite({"a": "failed"}), Suite({}))) == (1, 0, 0)


def test_a_skip_of_stock_must_be_one_of_ours():
    result = compared(Suite({"a": "skipped"}), Suite({"a": "passed"}))
    assert kinds(result) == (1, 0, 0)


def test_our_own_tests_are_counted_and_must_pass():
    result = compared(Suite({"a": "passed"}),
                      Suite({"a": "passed", "b": "failed", "c": "skipped"}))
    assert result.extra == ["b", "c"]
    assert result.own_failed == ["b: failed"]
    assert (result.passed, result.failed, result.skipped) == (1, 1, 1)
    assert result.summary == ("1 tests of stock's: 1 as there, 0 broken; "
                              "2 tests more, 1 failed; "
                              "0 fail on stock, too")


def test_what_fails_on_both_is_named_and_is_no_failure(capsys):
    result = compared(Suite({"a": "failed", "b": "passed"}),
                      Suite({"a": "failed", "b": "passed"}))
    result.report()
    assert result.both_failed == ["a"]
    assert result.failed == 0
    output = capsys.readouterr().out
    assert "1 fail on stock, too" in output
    assert "    fails on stock, too: a\n" in output


def test_differences_are_said_one_a_line(capsys):
    compared(Suite({"a": "passed", "b": "failed"}),
             Suite({"a": "failed", "b": "passed", "c": "failed"})).report()
    said = [line.strip().split(": ")[:2]
            for line in capsys.readouterr().out.splitlines()]
    assert ["broken", "a"] in said
    assert ["better", "b"] in said
    assert ["c", "failed"] in said


# --- Results -----------------------------------------------------------------

def junit(tmp_path, cases):
    path = tmp_path / "results.xml"
    path.write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
    return path


def test_regrtest_outcomes_are_read(tmp_path):
    path = junit(tmp_path, """
        <testcase name="m.C.good"/>
        <testcase name="m.C.wrong"><failure>x</failure></testcase>
        <testcase name="m.C.error"><error>x</error></testcase>
        <testcase name="m.C.left_out"><skipped>why</skipped></testcase>
        <testcase name="m.C.expected"><output>x</output></testcase>
        <testcase name="m.C.surprise">
            <outcome>UNEXPECTED_SUCCESS</outcome></testcase>
        <testcase/>
    """)
    assert compare.read_junit(path) == {
        "m.C.good": "passed", "m.C.wrong": "failed", "m.C.error": "failed",
        "m.C.left_out": "skipped", "m.C.expected": "xfailed",
        "m.C.surprise": "failed"}


def test_pytest_ids_are_node_ids(tmp_path):
    path = junit(tmp_path, """
        <testcase classname="tests.test_m.TestC" name="test_a[1-x.y]"
                  file="tests/test_m.py"/>
        <testcase classname="tests.test_m" name="test_b"
                  file="tests/test_m.py">
            <skipped type="pytest.xfail"/></testcase>
        <testcase classname="tests.test_m" name="test_c"/>
    """)
    assert compare.read_junit(path) == {
        "tests/test_m.py::TestC::test_a[1-x.y]": "passed",
        "tests/test_m.py::test_b": "xfailed",
        "tests.test_m::test_c": "passed"}


def test_a_test_reported_twice_has_the_worse_outcome(tmp_path):
    path = junit(tmp_path, """
        <testcase name="m.C.a"><error>teardown</error></testcase>
        <testcase name="m.C.a"/>
    """)
    assert compare.read_junit(path) == {"m.C.a": "failed"}


def test_damaged_results_are_an_error(tmp_path):
    with pytest.raises(OverlayError, match="no results in"):
        compare.read_junit(tmp_path / "none.xml")


def test_damaged_kept_results_are_made_anew(tmp_path):
    path = tmp_path / "build" / "results" / "tests" / "key.json"
    compare.kept("key", lambda: {"a": "passed"})
    path.write_text(path.read_text()[:5])
    assert compare.kept("key", lambda: {"b": "passed"}) == {"b": "passed"}
    assert json.loads(path.read_text()) == {"b": "passed"}


# --- CPython's tests ---------------------------------------------------------

@pytest.fixture
def upstream(tmp_path):
    """Two equal folders of test files."""
    folders = tmp_path / "stock", tmp_path / "ours"
    for folder in folders:
        folder.mkdir()
        (folder / "test_tasks.py").write_text("tests\n")
    return folders


def test_unchanged_upstream_tests_with_more_beside_are_accepted(upstream):
    (upstream[1] / "test_scopes.py").write_text("ours\n")
    compare.check_unchanged(*upstream)


def test_a_changed_upstream_test_is_an_error(upstream):
    (upstream[1] / "test_tasks.py").write_text("tests \n")
    with pytest.raises(OverlayError, match="test_tasks.py: .* unchanged"):
        compare.check_unchanged(*upstream)


def test_a_removed_upstream_test_is_an_error(upstream):
    (upstream[1] / "test_tasks.py").unlink()
    with pytest.raises(OverlayError, match="test_tasks.py: .* unchanged"):
        compare.check_unchanged(*upstream)


TEST_FILE = """
    import unittest

    class Tests(unittest.TestCase):
        def test_good(self):
            pass

        def test_wrong(self):
            self.fail("on purpose")

        def test_part_wrong(self):
            for number in range(3):
                with self.subTest(number=number):
                    self.assertNotEqual(number, 1)

        @unittest.skip("why not")
        def test_left_out(self):
            pass

        @unittest.expectedFailure
        def test_expected(self):
            self.fail()

        @unittest.expectedFailure
        def test_surprise(self):
            pass

    class Late(unittest.TestCase):
        @classmethod
        def setUpClass(cls):
            raise OSError("on purpose")

        def test_never_run(self):
            pass
"""


def test_a_real_run_gives_outcomes_by_id_and_runs_by_id(stock, tmp_path):
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "test_sample.py").write_text(textwrap.dedent(TEST_FILE))
    run = compare.Regrtest(stock, ["--testdir", folder, "test_sample"],
                           log=tmp_path / "log", jobs=1)
    assert run() == {
        "test_sample.Tests.test_good": "passed",
        "test_sample.Tests.test_wrong": "failed",
        "test_sample.Tests.test_part_wrong": "failed",
        "test_sample.Tests.test_left_out": "skipped",
        "test_sample.Tests.test_expected": "xfailed",
        "test_sample.Tests.test_surprise": "failed"}
    chosen = ["test_sample.Tests.test_good", "test_sample.Tests.test_left_out"]
    assert run(chosen) == {chosen[0]: "passed", chosen[1]: "skipped"}


SPLIT = """
    import sys, unittest

    class Tests(unittest.TestCase):
        def test_everywhere(self):
            self.fail("on purpose")

        def test_subtest_everywhere(self):
            with self.subTest(1):
                self.fail("on purpose")

        def test_here(self):
            self.assertIn("stock", sys.executable)
"""
CRASH = SPLIT + """
        def test_zz_crash(self):
            if "stock" not in sys.executable:
                import os
                os.abort()
"""


def judged(python, stock, tmp_path, text):
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "test_sample.py").write_text(textwrap.dedent(text))
    return compare.run_judged(
        python, ["--testdir", folder, "test_sample"], lambda: stock,
        log=tmp_path / "log", jobs=1, what="the sample")


def test_only_what_stock_passes_is_broken(python, stock, tmp_path, capsys):
    judgement = judged(python, stock, tmp_path, SPLIT)
    [broken] = judgement.broken
    assert broken == ("test_sample.Tests.test_here: stock passed, passed, "
                      "passed; ours failed, failed, failed")
    both = "stock failed, failed, failed; ours failed, failed, failed"
    assert judgement.both_failed == [
        f"test_sample.Tests.test_everywhere: {both}",
        f"test_sample.Tests.test_subtest_everywhere: {both}"]
    output = capsys.readouterr().out
    assert f"broken: {broken}\n" in output
    for line in judgement.both_failed:
        assert f"stock, too: {line}\n" in output


def test_the_log_of_a_judged_run_names_what_failed(python, stock, tmp_path):
    judged(python, stock, tmp_path, SPLIT)
    assert ("FAIL: test_here (test_sample.Tests.test_here)"
            in (tmp_path / "log").read_text())


def test_a_crash_is_broken_whatever_fails_on_stock(python, stock, tmp_path):
    assert judged(python, stock, tmp_path, CRASH).broken == ["test_sample"]


# Fails in the runs whose numbers are given, by interpreter.
FLAKY = """
    import pathlib, sys, unittest

    class Tests(unittest.TestCase):
        def test_by_turns(self):
            side = "stock" if "stock" in sys.executable else "ours"
            runs = pathlib.Path({folder!r}, side)
            with runs.open("a") as file:
                file.write(".")
            self.assertNotIn(len(runs.read_text()), {turns}[side])
"""


@pytest.mark.parametrize("stock_turns, our_turns, kind", [
    # What stock fails but once is no excuse for one that never passes here…
    ([], [1, 2, 3], "broken"), ([1, 2, 3], [1, 2, 3], "both_failed"),
    # … nor is what fails but once here broken.
    ([], [1], "flaky"), ([], [1, 2], "flaky"),
    ([1], [1, 2, 3], "flaky"), ([3], [1, 2, 3], "flaky"),
    ([1, 2, 3], [1, 3], "flaky")])
def test_a_test_is_broken_by_three_rounds_of_three(
        python, stock, tmp_path, stock_turns, our_turns, kind):
    judgement = judged(python, stock, tmp_path, FLAKY.format(
        folder=str(tmp_path), turns={"stock": stock_turns, "ours": our_turns}))
    found = {name: len(getattr(judgement, name))
             for name in ("broken", "flaky", "both_failed")}
    assert found == {"broken": 0, "flaky": 0, "both_failed": 0} | {kind: 1}


def test_a_test_that_stock_does_not_have_must_not_fail_once(
        python, stock, tmp_path):
    text = FLAKY.format(folder=str(tmp_path), turns={"ours": [1]})
    text += """
    if "stock" in sys.executable:
        del Tests.test_by_turns
    """
    [line] = judged(python, stock, tmp_path, text).broken
    assert line.endswith(": stock missing; ours failed")


def test_the_cause_may_be_another_test_of_the_file(python, stock, tmp_path):
    [line] = judged(python, stock, tmp_path, """
        import sys, unittest

        left = []

        class Tests(unittest.TestCase):
            def test_a(self):
                left.append("stock" not in sys.executable)

            def test_b(self):
                self.assertNotIn(True, left)
    """).broken
    assert line.startswith("test_sample.Tests.test_b: stock passed")


def test_stock_is_not_asked_if_nothing_fails(python, tmp_path):
    judgement = judged(python, None, tmp_path, """
        import unittest
        class Tests(unittest.TestCase):
            def test_good(self):
                pass
    """)
    assert judgement.broken == judgement.both_failed == []
    assert judgement.result.passed == 1


def test_a_judged_run_that_comes_to_no_end_is_an_error(python, tmp_path):
    with pytest.raises(OverlayError, match="status"):
        compare.run_judged(python, ["--no-such-option"], lambda: None,
                           log=tmp_path / "log", what="the sample")


def test_what_failed_is_found_in_the_log_of_regrtest():
    assert compare.failed_names([
        "0:00:01 load avg: 1.0 [ 3/31/1] test.a.test_x failed (1 error)\n",
        "0:00:01 load avg: 1.0 [ 4/31/2] test.a.test_y process crashed\n",
        "0:00:01 [ 5/31/3] test.a.test_z failed (uncaught exception)\n",
        "0:00:01 [ 6/31/4] test.a.test_t timed out (1 sec)\n",
        "0:00:01 [ 7/31/4] test.a.test_w worker non-zero exit code\n",
        "FAIL: test_1 (test.a.test_x.C.test_1) (i=1)\n",
        "ERROR: setUpClass (test.a.test_x.D)\n",
        "UNEXPECTED SUCCESS: test_2 (test.a.test_x.C.test_2)\n",
        "FAIL\n", "ERROR: something said\n"]) == (
            {"test.a.test_x.C.test_1", "test.a.test_x.D.setUpClass",
             "test.a.test_x.C.test_2"},
            {"test.a.test_y", "test.a.test_z", "test.a.test_t",
             "test.a.test_w"})


def test_a_run_that_comes_to_no_end_gives_no_results(stock, tmp_path):
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "test_hang.py").write_text(
        "import time\nwhile True:\n    time.sleep(1)\n")
    run = compare.Regrtest(stock, ["--testdir", folder, "test_hang"],
                           log=tmp_path / "log", jobs=1, time_limit=2)
    with pytest.raises(OverlayError, match="no results: .* time limit"):
        run()


def test_the_key_depends_on_interpreter_content_and_the_rest(stock, tmp_path):
    key = compare.key_of(stock, "1.0")
    assert key == compare.key_of(stock, "1.0")
    assert key != compare.key_of(stock, "1.1")


def test_the_key_sees_a_changed_library(tmp_path, monkeypatch):
    library = tmp_path / "lib"
    (library / "asyncio").mkdir(parents=True)
    python, module = tmp_path / "python", library / "asyncio" / "tasks.py"
    python.write_bytes(b"\x7fELF")
    module.write_text("one\n")
    monkeypatch.setattr(compare, "_ask", lambda *args: [str(library)])
    before = compare.key_of(python)
    module.write_text("two\n")
    assert compare.key_of(python) != before


@pytest.mark.parametrize("name", [
    "certdata/keycert3.pem", "test_asyncio/echo.txt", "support/script.py"])
def test_the_key_sees_what_the_tests_read(tmp_path, monkeypatch, name):
    python, path = tmp_path / "python", tmp_path / "lib" / "test" / name
    path.parent.mkdir(parents=True)
    python.touch()
    path.write_text("one\n")
    monkeypatch.setattr(compare, "_ask",
                        lambda *args: [str(tmp_path / "lib")])
    before = compare.key_of(python)
    path.write_text("two\n")
    assert compare.key_of(python) != before


def test_a_comparison_begins_with_the_check_of_upstreams_files(
        upstream, monkeypatch):
    (upstream[1] / "test_tasks.py").write_text("weaker\n")
    monkeypatch.setattr(compare, "_test_folder",
                        dict(zip(("stock", "ours"), upstream)).get)
    monkeypatch.setattr(compare, "compare", None)
    with pytest.raises(OverlayError, match="unchanged"):
        compare.compare_asyncio("stock", "ours")


def test_the_key_of_stock_has_the_arguments_of_regrtest(tmp_path, monkeypatch):
    folder = tmp_path / "test" / "test_asyncio"
    folder.mkdir(parents=True)
    (tmp_path / "python").touch()
    keys = []

    def seen(stock_run, our_run, *, stock_key):
        keys.append(stock_key)
        return compare.Comparison({}, {}, [], [], [])

    monkeypatch.setattr(compare, "_ask", lambda *args: [str(tmp_path)])
    monkeypatch.setattr(compare, "compare", seen)
    for arguments in (("-u", "all"), ("-u", "none")):
        monkeypatch.setattr(compare, "_ASYNCIO", arguments)
        for jobs in (1, 2):
            compare.compare_asyncio(tmp_path / "python", tmp_path / "python",
                                    jobs=jobs)
    assert len(set(keys)) == 4


def test_both_sides_of_a_comparison_run_all_that_the_machine_allows(
        upstream, monkeypatch):
    """What both sides skip would be the same, and green."""
    runs = []

    def seen(*sides, stock_key):
        runs.extend((run.variant, run.tests) for run in sides)
        return compare.Comparison({}, {}, [], [], [])

    monkeypatch.setattr(compare, "_test_folder",
                        dict(zip(("stock", "ours"), upstream)).get)
    monkeypatch.setattr(compare, "key_of", lambda *arguments: "key")
    monkeypatch.setattr(compare, "compare", seen)
    compare.compare_asyncio("stock", "ours")
    wanted = ("-u", "all,-gui,-network,-largefile,-urlfetch,-walltime",
              "-M", "3g", "test_asyncio")
    assert runs == [("stock", wanted), ("release", wanted)]
