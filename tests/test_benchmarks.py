"""Tests of the benchmarks: statistics, names of rows, and a short real run."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[1]
BENCHMARKS = ROOT / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import report  # noqa: E402
import rows  # noqa: E402
import run as runner  # noqa: E402

# The design's table: what a row is called there, and its aim.
DESIGN = [
    ("`sleep(0)` × 100 tasks, per switch", 0.30),
    ("`sleep(0)` × 1 task", 0.20),
    ("TaskGroup of 1000 empty tasks, per task", 0.40),
    ("`gather` of 1000, per task", 0.45),
    ("`await create_task()`", 0.32),
    ("TaskGroup of one", 0.38),
    ("`async with timeout(10): pass`", 0.22),
    ("`async with timeout(10): await sleep(0)`", 0.35),
    ("`call_soon`", 0.24),
    ("`call_later` + cancel", 0.20),
    ("future set by a callback, awaited", 0.20),
    ("`Event` ping-pong of two tasks, per round", 0.40),
    ("`Queue` put + get between two tasks", 0.90),
    ("create, sleep, cancel, gather a task", 0.45),
]


def rounds(values):
    return {str(turn): value for turn, value in enumerate(values)}


def made_up(ours, stock, key="call-soon"):
    """Results of one row, of which the workers printed these values."""
    def result(values):
        return {"values": {turn: [value, 9 * value]
                           for turn, value in rounds(values).items()},
                "errors": []}
    return {"rounds": len(stock), "implementations": ["stock", "ours"],
            "versions": {}, "machine": {},
            "rows": {key: {"loops": 1, "results": {
                "stock": result(stock), "ours": result(ours)}}}}


def together(*results):
    """Results with the rows of all of these."""
    every = results[0] | {"rows": {}}
    for result in results:
        every["rows"] |= result["rows"]
    return every


def bound_line(results):
    """The cells of the one line about bounds, or None."""
    lines = [line for line in report.markdown(results).splitlines()
             if line.startswith("| ours ")]
    return [cell.strip() for line in lines
            for cell in line.strip("|").split("|")] or None


# Statistics

@pytest.mark.parametrize("count, low, high", [
    # Bounds from tables of the sign test, two-sided at 5 %.
    (6, 1, 6), (8, 1, 8), (9, 2, 8), (12, 3, 10), (15, 4, 12), (20, 6, 15),
    (25, 8, 18), (30, 10, 21)])
def test_interval_is_that_of_the_sign_test(count, low, high):
    values = list(range(count, 0, -1))
    assert report.median_interval(values) == (low, high)


@pytest.mark.parametrize("count", range(6))
def test_fewer_than_six_values_have_no_interval(count):
    assert report.median_interval(list(range(count))) is None


def test_values_are_paired_by_round_and_not_by_place():
    comparison = report.compare({"0": 10, "1": 40, "3": 9},
                                {"3": 3, "2": 7, "1": 20, "0": 5})
    assert comparison.pairs == 3
    assert comparison.ratio == 2


def test_rounds_with_nothing_in_common_compare_to_nothing():
    assert report.compare({"0": 1}, {"1": 1}) is None


def test_a_drift_of_the_machine_drops_out_of_the_ratio():
    stock = [1 + turn for turn in range(15)]
    comparison = report.compare(rounds([1.5 * value for value in stock]),
                                rounds(stock))
    assert comparison == (15, 1.5, 1.5, 1.5)


def test_least_of_a_workers_repeats_is_its_value():
    results = made_up([3] * 15, [2] * 15)
    assert set(report.per_round(results, "call-soon", "ours").values()) == {3}


@pytest.mark.parametrize("ratios, verdict", [
    ([1.03] * 15, "slower"),
    ([1.02] * 15, "same"),                      # not above the threshold
    ([1.03] * 14, "?"),                         # too few pairs
    ([1.01] * 4 + [1.5] * 11, "same"),          # the interval holds 1.01
    ([1.01] * 3 + [1.5] * 12, "slower"),
    ([0.9] * 8 + [5.0] * 7, "same"),            # the median is below
    ([0.9] * 15, "faster"),
    ([0.9] * 11 + [1.0] * 4, "same"),
    ([0.99] * 15, "same"),
])
def test_slower_is_a_median_and_an_interval_above_the_threshold(
        ratios, verdict):
    results = made_up(ratios, [1.0] * len(ratios))
    assert verdict in report.markdown(results).splitlines()[2].split(" | ")
    assert report.slower_rows(results) == (
        ["call-soon"] if verdict == "slower" else [])
    assert report.undecided_rows(results) == (
        ["call-soon"] if verdict == "?" else [])


def test_a_row_that_failed_shows_the_error_and_is_undecided():
    results = made_up([], [1.0] * 15)
    results["rows"]["call-soon"]["results"]["ours"]["errors"] = [
        "Traceback …\nNotImplementedError: no such thing here"]
    assert report.undecided_rows(results) == ["call-soon"]
    assert runner._check(results) == 1
    for table in (report.markdown(results), report.text(results)):
        line = next(line for line in table.splitlines()
                    if "call-soon" in line)
        assert "NotImplementedError" in line
        assert ("call-soon on ours: NotImplementedError: no such thing here"
                in table)


@pytest.mark.parametrize("value, unit, told", [
    (1.0624e-6, "second", "1062 ns"), (9.9994e-6, "second", "9999 ns"),
    (1e-5, "second", "10.0 µs"), (0.25, "second", "250000.0 µs"),
    (12345, rows.BYTE, "12,345 B")])
def test_quantity_is_told_in_its_unit(value, unit, told):
    assert report.quantity(value, unit) == told


def test_only_rows_with_something_else_on_stock_have_a_note_of_it():
    assert "* without ours" not in report.text(made_up([1.0], [1.0]))
    assert "scope-pass is `async with timeout(None): pass`" in report.text(
        made_up([1.0], [1.0], "scope-pass"))


# Bounds

@pytest.mark.parametrize("scope, verdict", [
    ([1.03] * 15, "over"),
    ([1.02] * 15, "kept"),
    ([1.03] * 14, "?"),
    ([1.01] * 4 + [1.5] * 11, "kept"),          # the interval holds 1.01
])
def test_scope_is_bound_by_what_our_timeout_takes(scope, verdict, capsys):
    # Stock is so slow there that no row is slower than stock.
    results = together(
        made_up([1.0] * len(scope), [9.0] * len(scope), "timeout-pass"),
        made_up(scope, [9.0] * len(scope), "scope-pass"))
    title, ratio, limit, found = bound_line(results)
    assert (title, limit, found) == ("ours scope-pass / ours timeout-pass",
                                     "≤ 1.02", verdict)
    assert ratio.startswith(f"{sorted(scope)[len(scope) // 2]:.2f} [")
    assert title in report.text(results)
    assert runner._check(results) == (verdict != "kept")
    assert ("beyond a bound" in capsys.readouterr().err) == (verdict == "over")


def test_bound_may_be_on_stock(capsys):
    for ours, verdict in (1.1, "over"), (1.0, "kept"):
        results = made_up([ours] * 15, [1.0] * 15, "scope-cancel-100000")
        title, *_, found = bound_line(results)
        assert title == ("ours scope-cancel-100000 / "
                         "stock scope-cancel-100000")
        assert found == verdict


def test_bound_has_its_own_limit():
    for million, verdict in (1.26, "over"), (1.24, "kept"):
        results = together(
            made_up([1.0] * 15, [9.0] * 15, "scope-deadlines-10000"),
            made_up([million] * 15, [9.0] * 15, "scope-deadlines-1000000"))
        assert bound_line(results)[-1] == verdict


def test_bound_with_a_row_that_is_not_run_is_not_told_of():
    assert bound_line(made_up([9.0] * 15, [9.0] * 15, "scope-pass")) is None
    assert runner._check(made_up([9.0] * 15, [9.0] * 15, "scope-pass")) == 0


def test_bound_with_too_few_pairs_fails_the_check(capsys):
    # Each row has enough rounds, of which 14 are in both.
    one = made_up([1.0] * 15, [9.0] * 15, "timeout-pass")
    other = made_up([1.0] * 16, [9.0] * 16, "scope-pass")
    for result in other["rows"]["scope-pass"]["results"].values():
        del result["values"]["0"]
    assert report.undecided_rows(together(one, other)) == []
    assert runner._check(together(one, other)) == 1
    assert capsys.readouterr().err == (
        "error: too few pairs: ours scope-pass / ours timeout-pass\n")


def test_rows_of_a_bound_are_measured_in_the_same_rounds():
    groups = rows.grouped(list(rows.ROWS))
    assert sorted(sum(groups, [])) == sorted(rows.ROWS)
    for bound in rows.BOUNDS:
        (group,) = [group for group in groups if bound.row in group]
        assert bound.other in group

    measured = []

    def measure(key, name, loops, turn):
        measured.append((turn, key, name))
        return {"values": [1.0], "version": "0"}

    machine = SimpleNamespace(calibrate=lambda key: 1, measure=measure)
    results = {"implementations": ["stock", "ours"], "versions": {},
               "rows": {}}
    runner._measure_rows(SimpleNamespace(rounds=2), machine, results,
                         ["timeout-pass", "scope-pass"])
    assert measured == [
        (0, "timeout-pass", "stock"), (0, "timeout-pass", "ours"),
        (0, "scope-pass", "stock"), (0, "scope-pass", "ours"),
        (1, "timeout-pass", "ours"), (1, "timeout-pass", "stock"),
        (1, "scope-pass", "ours"), (1, "scope-pass", "stock")]


# Names of rows

def test_first_rows_are_those_of_the_design():
    found = [(row.title, row.aim) for row in rows.ROWS.values()]
    assert found[:len(DESIGN)] == DESIGN
    assert all(aim is None for _, aim in found[len(DESIGN):])


SCOPES = {f"scope-{what}" for what in (
    "pass", "after-pass", "after-sleep0", "shield-sleep0", "nested-100",
    "cancel-1000", "cancel-100000", "deadlines-10000", "deadlines-1000000")}
# Of which Trio and anyio have some.
GROUPED = {"taskgroup-pass", "supervisor-pass", "supervisor-create-task-1000"}
SUPERVISED = GROUPED - {"taskgroup-pass"} | {
    "supervisor-call-soon", "supervisor-call-later-cancel",
    *(f"echo-supervised-{count}" for count in (1, 10, 100))}


def test_all_that_the_design_does_not_have_is_here():
    echo = {f"echo-{kind}-{count}" for count in (1, 10, 100)
            for kind in ("tcp-protocol", "tcp-streams", "tls", "tls-in-tls")}
    tls = {f"tls-{what}-{layers}" for layers in (1, 2)
           for what in ("handshake", "throughput", "short-records")}
    memory = {f"memory-{what}" for what in ("task", "timer", "connection")}
    assert (set(list(rows.ROWS)[len(DESIGN):])
            == SCOPES | GROUPED | SUPERVISED | {"create-task-1000"}
            | echo | tls | memory)


def test_trio_and_anyio_run_what_they_have_the_same_for():
    both = SCOPES | GROUPED | {"sleep0-100-tasks", "sleep0-1-task", "taskgroup-1000",
                     "taskgroup-1", "timeout-pass", "timeout-sleep0"}
    trio = {"memory-task"} | {
        f"echo-{kind}-{count}" for count in (1, 10, 100)
        for kind in ("tcp-streams", "tls", "tls-in-tls")}
    assert {key for key in rows.ROWS if rows.serves("anyio", key)} == both
    assert {key for key in rows.ROWS if rows.serves("trio", key)
            } == both | trio


def test_only_what_lacks_ours_does_something_instead():
    for name in "stock", "again", "uvloop", "rloop":
        assert {key for key in rows.ROWS
                if rows.stands_in(name, key)} == SCOPES | SUPERVISED
    assert {key for key in rows.ROWS if rows.stands_in("aiofastnet", key)
            } == {key for key in SUPERVISED if key.startswith("echo-")}
    for name in "ours", "trio", "anyio":
        assert not any(rows.stands_in(name, key) for key in rows.ROWS)


def test_readme_lists_every_row_with_its_aim():
    text = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    documented = re.findall(r"^\| `([a-z0-9-]+)` \| (.+) \| (.*) ?\|$", text,
                            re.M)
    assert [(key, title, aim.strip()) for key, title, aim in documented] == [
        (key, row.title + (f"; instead: {row.instead}" if row.instead else ""),
         f"≤ {row.aim:.2f}" if row.aim else "")
        for key, row in rows.ROWS.items()]


def test_readme_lists_every_bound():
    text = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    documented = re.findall(
        r"^\| ≤ ([0-9.]+) \| `(.+)` \| (ours|stock) in `(.+)` \|$", text, re.M)
    assert documented == [
        (f"{bound.limit:.2f}", bound.row, bound.on, bound.other)
        for bound in rows.BOUNDS]


# The runner

def run(*arguments, **environment):
    env = {name: value for name, value in os.environ.items()
           if name != "ROWS"} | environment
    return subprocess.run(
        [sys.executable, BENCHMARKS / "run.py", *map(str, arguments)],
        capture_output=True, text=True, env=env, timeout=500)


@pytest.mark.parametrize("arguments, environment", [
    (("--rows", "call-soon,cal-soon"), {}),
    ((), {"ROWS": "cal-soon"}),
    (("--rows", "cal-soon*"), {}),
])
def test_unknown_row_gets_one_line_with_the_known_names(
        arguments, environment):
    done = run(*arguments, **environment)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: no benchmark row 'cal-soon")
    for key in rows.ROWS:
        assert key in line


def test_missing_interpreter_gets_one_line(tmp_path):
    done = run("--stock", tmp_path / "python", "--ours", tmp_path / "python")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert str(tmp_path / "python") in line and "--stock" in line


def test_check_refuses_a_run_that_could_not_decide():
    done = run("--check", "--rounds", 14)
    assert done.returncode == 2
    assert "--check takes at least 15 rounds" in done.stderr


@pytest.mark.parametrize("option, value", [
    ("--rounds", 0), ("--rounds", -3), ("--time-limit", 0)])
def test_run_that_could_measure_nothing_is_refused(option, value):
    done = run(f"{option}={value}")
    assert done.returncode == 2
    assert f"{option} must be more than 0" in done.stderr


def test_output_that_cannot_be_written_gets_one_line(tmp_path, stock):
    (tmp_path / "file").touch()
    done = run("--stock", stock, "--ours", stock,
               "--output", tmp_path / "file" / "out")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert str(tmp_path / "file" / "out") in line


@pytest.fixture(scope="module")
def short_run(tmp_path_factory, stock, python):
    """The output folder of two rows on all implementations, and the run."""
    folder = tmp_path_factory.mktemp("bench")
    done = run("--stock", stock, "--ours", python, "--fast", "--rows",
               "sleep0-1-task, echo-tls-1", "--output", folder)
    assert done.returncode == 0, done.stderr
    return folder, done


@pytest.fixture(scope="module")
def short_tls_run(tmp_path_factory, stock, python):
    """The results of the rows of TLS, but echo, on all implementations."""
    folder = tmp_path_factory.mktemp("bench")
    done = run("--stock", stock, "--ours", python, "--fast", "--rows",
               "tls-*", "--output", folder)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "raw.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def short_scope_run(tmp_path_factory, stock, python):
    """The results of the rows of scopes, but the largest ones."""
    folder = tmp_path_factory.mktemp("bench")
    done = run("--stock", stock, "--ours", python, "--fast", "--rows",
               "timeout-*, " + ", ".join(
                   SCOPES - {"scope-cancel-100000",
                             "scope-deadlines-1000000"}),
               "--output", folder)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "raw.json").read_text(encoding="utf-8"))


def test_run_writes_pyperf_json_with_one_run_a_worker(short_run):
    folder, _ = short_run
    for name, expected in {
            "stock": ["sleep0-1-task", "echo-tls-1"],
            "ours": ["sleep0-1-task", "echo-tls-1"],
            "uvloop": ["sleep0-1-task", "echo-tls-1"],
            "rloop": ["sleep0-1-task"],
            "aiofastnet": ["echo-tls-1"]}.items():
        suite = json.loads((folder / f"{name}.json").read_text())
        common = suite["metadata"]
        assert common["unit"] == "second"
        found = [benchmark.get("metadata", {}).get("name", common.get("name"))
                 for benchmark in suite["benchmarks"]]
        assert found == expected
        for benchmark in suite["benchmarks"]:
            assert len(benchmark["runs"]) == 2
            assert all(value > 0 for made in benchmark["runs"]
                       for value in made["values"])


def test_run_draws_the_plot_and_the_tables(short_run):
    folder, done = short_run
    assert (folder / "ratios.png").read_bytes().startswith(b"\x89PNG\r\n")
    svg = (folder / "ratios.svg").read_text(encoding="utf-8")
    assert "<svg" in svg and "sleep0-1-task" in svg and "echo-tls-1" in svg
    table = (folder / "table.txt").read_text(encoding="utf-8")
    assert table in done.stdout
    assert "| echo-tls-1 |" in (folder / "table.md").read_text("utf-8")


def test_plot_leaves_nothing_in_the_users_home(tmp_path, monkeypatch):
    reporter = tmp_path / "reporter"
    reporter.write_text('#!/bin/sh\necho "$MPLCONFIGDIR" > "$2/told"\n')
    reporter.chmod(0o755)
    monkeypatch.setenv("OVERLAY_BUILD", str(tmp_path / "build"))
    runner._write(made_up([1.0], [1.0]), tmp_path, reporter)
    told = (tmp_path / "told").read_text().strip()
    assert Path(told).parent == tmp_path / "build"


def test_what_a_peer_cannot_do_is_told_by_its_own_error(short_run):
    folder, _ = short_run
    results = json.loads((folder / "raw.json").read_text(encoding="utf-8"))
    rloop = results["rows"]["echo-tls-1"]["results"]["rloop"]
    assert rloop["values"] == {}
    assert rloop["errors"][-1].endswith("NotImplementedError")
    assert "echo-tls-1 on rloop: NotImplementedError" in (
        folder / "table.md").read_text(encoding="utf-8")


def test_what_a_peer_has_nothing_of_is_not_run(short_run):
    folder, _ = short_run
    results = json.loads((folder / "raw.json").read_text(encoding="utf-8"))
    row = results["rows"]["sleep0-1-task"]["results"]
    assert "trio" in row and "aiofastnet" not in row
    (line,) = [line for line in report.markdown(results).splitlines()
               if line.startswith("| sleep0-1-task |")]
    assert "not measured" in line


@pytest.mark.parametrize("implementation", ["stock", "uvloop", "aiofastnet"])
@pytest.mark.parametrize("key", [
    "tls-handshake-1", "tls-handshake-2",
    "tls-throughput-1", "tls-throughput-2",
    "tls-short-records-1", "tls-short-records-2"])
def test_tls_rows_run(short_tls_run, key, implementation):
    result = short_tls_run["rows"][key]["results"][implementation]
    assert result["errors"] == [] and len(result["values"]) == 2


def test_scope_rows_run_on_all_but_aiofastnet(short_scope_run):
    assert len(short_scope_run["rows"]) == 2 + len(SCOPES) - 2
    for row in short_scope_run["rows"].values():
        assert set(row["results"]) == {"stock", "ours", "again", "uvloop",
                                       "rloop", "trio", "anyio"}
        for result in row["results"].values():
            assert result["errors"] == [] and len(result["values"]) == 2


def test_what_is_done_instead_of_a_scope_is_marked(short_scope_run):
    head, _, *lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in report.markdown(short_scope_run).splitlines()
        if line.startswith("|")]
    cells = {line[0]: dict(zip(head, line)) for line in lines}
    for column in "stock", "uvloop/stock", "rloop/stock":
        assert cells["scope-pass"][column].endswith(" *")
        assert not cells["timeout-pass"][column].endswith("*")
    for column in "ours", "trio/stock", "anyio/stock":
        assert re.fullmatch("[0-9.]+(| ns| µs)", cells["scope-pass"][column])
    assert cells["scope-pass"]["aiofastnet/stock"] == "not measured"
    assert ("scope-pass is `async with timeout(None): pass`"
            in report.text(short_scope_run))


def test_rows_of_a_fixed_size_are_run_once_a_worker(monkeypatch):
    machine = object.__new__(runner._Machine)
    machine._options = SimpleNamespace(repeats=4)
    monkeypatch.setattr(machine, "_run", lambda *arguments: arguments)
    for key in rows.ROWS:
        repeats = machine.measure(key, "stock", 1, 0)[-1]
        assert repeats == (1 if key.startswith("memory-")
                           or key.endswith("00000") else 4)


def test_interrupted_run_writes_what_it_has(
        tmp_path, stock, python, monkeypatch, capfd):
    measured = []

    def interrupted(machine, results, key, name, turn):
        if len(measured) == 4:
            raise KeyboardInterrupt
        measured.append(name)
        measure_one(machine, results, key, name, turn)

    measure_one = runner._measure_one
    monkeypatch.setattr(runner, "_measure_one", interrupted)
    status = runner.main(["--stock", str(stock), "--ours", str(python),
                          "--fast", "--peers", "", "--rows", "call-soon",
                          "--output", str(tmp_path)])
    assert status == 130
    assert "interrupted; writing what there is" in capfd.readouterr().out
    # The second round begins with another one than the first.
    assert measured == ["stock", "ours", "again", "ours"]
    suite = json.loads((tmp_path / "ours.json").read_text())
    assert len(suite["benchmarks"][0]["runs"]) == 2


def test_worker_that_hangs_is_stopped_and_the_rest_is_kept(tmp_path, stock):
    hanging = tmp_path / "python"
    hanging.write_text("#!/bin/sh\necho I hang >&2\nexec sleep 600\n")
    hanging.chmod(0o755)
    done = run("--stock", stock, "--ours", hanging, "--fast", "--peers", "",
               "--rows", "sleep0-1-task", "--time-limit", 8,
               "--output", tmp_path / "out")
    assert done.returncode == 1
    assert "sleep0-1-task failed on ours" in done.stderr
    assert "I hang" in done.stderr and "timed out after 8 s" in done.stderr
    suite = json.loads((tmp_path / "out/stock.json").read_text())
    assert len(suite["benchmarks"][0]["runs"]) == 2
    assert (tmp_path / "out/ratios.png").exists()
