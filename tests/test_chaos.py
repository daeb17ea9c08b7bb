"""Tests of the seeded fuzzers, and of the tool that runs them for long."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import chaos
from ui import OverlayError

FUZZERS = Path(__file__).parent / "chaos"
FUZZER = FUZZERS / "tls_chaos.py"
sys.path.insert(0, str(FUZZERS))

import supervisors_programs  # noqa: E402
import tls_scenarios  # noqa: E402

# What a test of the tool runs: its runs fail at the seeds in FAILING, and at
# those in CRASHING the process ends at once.
STUB = """\
import argparse, json, os
parser = argparse.ArgumentParser()
for option in "--seed", "--runs", "--failures":
    parser.add_argument(option, type=int)
options = parser.parse_args()
failures = []
for seed in range(options.seed, options.seed + options.runs):
    if seed in CRASHING:
        os._exit(3)
    if seed in FAILING:
        failures.append({"seed": seed, "problems": ["wrong", "bytes"]})
    if len(failures) == options.failures:
        break
runs = seed + 1 - options.seed
print(json.dumps({"next": seed + 1, "runs": runs, "failures": failures,
                  "counts": {"outcomes": {"intact": runs}}}))
raise SystemExit(bool(failures))
"""


def fuzz(python, *options, fuzzer=FUZZER):
    """Run the fuzzer; return its status, output and summary."""
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith("PYTHON")}
    done = subprocess.run([python, "-B", fuzzer, *map(str, options)],
                          stdout=subprocess.PIPE, text=True, env=environment)
    return done.returncode, done.stdout, json.loads(
        done.stdout.splitlines()[-1])


# The fuzzer of TLS

def test_two_thousand_runs_keep_every_rule(python):
    status, output, summary = fuzz(python, "--seed", 1, "--runs", 2000)
    assert (status, summary["failures"]) == (0, []), output
    assert summary["runs"] == 2000
    counts = summary["counts"]
    # Nothing of the table is left out.
    assert set(counts["depths"]) == {"1", "2", "3"}
    assert set(counts["versions"]) == {"1.2", "1.3"}
    assert set(counts["apis"]) == {"streams", "protocol", "buffered"}
    assert {outcome.partition(":")[0] for outcome in counts["outcomes"]} == {
        "none", "corrupt", "inject", "truncate", "reset", "stall", "cancel",
        "close", "abort"}


def test_the_fuzzer_finds_bugs_of_stock(stock):
    status, output, summary = fuzz(stock, "--seed", 1, "--runs", 300)
    assert status == 1
    [failure] = summary["failures"]
    assert failure["problems"]
    assert f"--seed {failure['seed']} --runs 1" in output


def test_a_seed_gives_the_same_scenario_again():
    def drawn():
        return [tls_scenarios.scenario_of(seed) for seed in range(200)]
    assert drawn() == drawn()


# The fuzzer of scopes

# Breaks a rule, and is the fuzzer then.
BROKEN = """\
import runpy, sys
from asyncio import cancellation
cancellation._PyNode.text = lambda node: "wrong"
sys.path.insert(0, {folder!r})
runpy.run_path({fuzzer!r}, run_name="__main__")
"""


def test_a_thousand_programs_of_scopes_do_what_the_rules_say(python):
    status, output, summary = fuzz(
        python, "--seed", 1, "--runs", 1000,
        fuzzer=FUZZERS / "scopes_chaos.py")
    assert (status, summary["failures"]) == (0, []), output
    assert summary["runs"] == 1000
    assert summary["counts"]["kinds"] == {
        f"{kind} ok": 1000
        for kind in ("CLazy", "CEager", "PyLazy", "PyEager")}
    # Nothing of the table is left out.
    assert {"with", "group", "timeout", "spin", "spawn"} <= set(
        summary["counts"]["statements"])


def test_the_fuzzer_of_scopes_tells_a_broken_rule(python, tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text(BROKEN.format(folder=str(FUZZERS),
                                    fuzzer=str(FUZZERS / "scopes_chaos.py")))
    status, output, summary = fuzz(python, "--seed", 1, "--runs", 300,
                                   fuzzer=broken)
    assert status == 1
    [failure] = summary["failures"]
    assert "wrong" in failure["problems"][0]
    assert f"# seed {failure['seed']}" in output
    assert f"--seed {failure['seed']} --runs 1" in output


# The fuzzer of supervisors

SUPERVISORS = FUZZERS / "supervisors_chaos.py"


def test_five_thousand_programs_of_supervisors_leave_nothing(python):
    status, output, summary = fuzz(
        python, "--seed", 1, "--runs", 5000, fuzzer=SUPERVISORS)
    assert (status, summary["failures"]) == (0, []), output
    counts = summary["counts"]
    assert counts["programs"] == {"ok": summary["runs"]} == {"ok": 5000}
    # Nothing of the table is left out.
    assert set(counts["statements"]) >= {
        "sup", "scope", "timeout", "shield", "group", "raise", "wait", "join",
        "call_soon", "threadsafe", "call_later", "call_at", "future", "task",
        "foreign", "job", "reader", "writer", "signal", "kill",
        "cancel_host", "cancel_sup", "cancel_task", "handles", "raises",
        *(f"open {kind}" for kind in supervisors_programs.CONNECTIONS),
        "open process", "data_received", "connection_lost"}


# What is broken: how.
BROKEN_SUPERVISORS = {
    "futures are left": """
        Supervisor._cancel_futures = lambda self: (
            setattr(self, "_futures_are_cancelled", True))""",
    "timers are left": """
        supervisors._RELEASE[Kind.TIMER] = ignore""",
    "readers and writers are left": """
        supervisors._Registration.remove = ignore""",
    "replaced signal handlers are lost": """
        supervisors._SignalRegistration._remove = lambda self: (
            self._loop.remove_signal_handler(self._sig))""",
    "servers are left": """
        supervisors._RELEASE[Kind.SERVER] = ignore""",
    "tasks are not cancelled": """
        supervisors._RELEASE[Kind.TASK] = ignore""",
    "jobs are not awaited": """
        supervisors._Job._look = lambda self: (
            self.supervisor._forget(Kind.JOB, id(self)))""",
    "transports are not awaited": """
        Supervisor._has_none = lambda self, *kinds: not any(
            self._books.get(kind) for kind in kinds
            if kind is not Kind.TRANSPORT)""",
    "transports are not flushed": """
        supervisors._release_transport = lambda supervisor, transport: (
            supervisors._abort_transport(transport))
        supervisors._RELEASE[Kind.TRANSPORT] = supervisors._release_transport
        """,
    "transports are closed, not aborted": """
        supervisors._RELEASE[Kind.TRANSPORT] = lambda supervisor, transport: (
            transport.close())""",
    "callbacks are not dropped": """
        Supervisor._drops = property(lambda self: False, ignore)""",
    "the last callbacks do not run": """
        async def nothing(self): pass
        Supervisor._one_pass_for_callbacks = nothing""",
    "callbacks can be added after the end": """
        Supervisor._check_callbacks = lambda self: False""",
    "work can be added while it aborts": """
        supervisors._FOR_WORK = supervisors._FOR_WORK | {State.ABORTING}""",
    "an error is told twice": """
        Supervisor._add_error = lambda self, exc: self._errors.append(exc)""",
    "the error of a failure handler is lost": """
        def is_handled(self, context):
            try:
                return bool(self._failure_handler
                            and self._failure_handler(context))
            except BaseException:
                return False
        Supervisor._is_handled = is_handled""",
    "what was handled goes on": """
        Supervisor._drop_failed = ignore""",
    "a failure is only logged": """
        supervisors._is_failure = lambda context: "task" in context""",
    "a cancelled callback is a failure": """
        supervisors._is_failure = lambda context: "handle" in context""",
    "an error of the system is a failure": """
        supervisors._is_failure = lambda context: "exception" in context""",
    "its own refusal is a failure": """
        supervisors.isinstance = lambda thing, cls: (
            cls is not supervisors._Refusal and isinstance(thing, cls))""",
    "a request of its own stays counted": """
        from asyncio import cancellation
        cancellation.HostGuard.take_back = cancellation.is_asked_by_others""",
    "a cancelled host is not told": """
        conclude = Supervisor._conclude
        def silent(self, exc):
            self._cancelled_error = None
            return conclude(self, exc) or isinstance(exc, CancelledError)
        Supervisor._conclude = silent""",
    "a host that was cancelled with errors is not cancelled again": """
        from asyncio import cancellation
        cancellation.HostGuard.ask_again = ignore""",
    "nothing wakes the exit": """
        Supervisor._changed = ignore""",
    "what is finished is kept": """
        Supervisor._forget = ignore""",
    "a foreign call in flight is cancelled as a task": """
        supervisors._Call.take_back = lambda self: False""",
    "an exit of a task is an error": """
        supervisors.KeyboardInterrupt = supervisors.SystemExit = Boom""",
}
BREAKING = """\
import runpy, sys
from asyncio import CancelledError, supervisors
from asyncio.supervisors import Supervisor
Kind, State = supervisors._Kind, supervisors._State
ignore = lambda *args: None
class Boom(Exception): pass
{breaking}
sys.path.insert(0, {folder!r})
runpy.run_path({fuzzer!r}, run_name="__main__")
"""


@pytest.mark.parametrize("what", BROKEN_SUPERVISORS)
def test_the_fuzzer_of_supervisors_tells_that(what, python, tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text(BREAKING.format(
        breaking=textwrap.dedent(BROKEN_SUPERVISORS[what]),
        folder=str(FUZZERS), fuzzer=str(SUPERVISORS)))
    status, output, summary = fuzz(python, "--seed", 1, "--runs", 3000,
                                   fuzzer=broken)
    assert status == 1
    [failure] = summary["failures"]
    assert failure["problems"]
    assert f"# seed {failure['seed']}" in output
    assert f"--seed {failure['seed']} --runs 1" in output


def test_a_seed_gives_the_same_program_again():
    def drawn():
        return [supervisors_programs.generate(seed) for seed in range(200)]
    assert drawn() == drawn()


def test_a_program_is_shrunk_to_what_fails():
    programs = map(supervisors_programs.generate, range(1, 1000))
    program = next(program for program in programs
                   if "'job'" in str(program) and len(str(program)) > 3000)
    small = supervisors_programs.shrink(
        program, lambda smaller: "'job'" in str(smaller))
    assert len(str(small)) < 300
    assert "'job'" in str(small)


# The tool

@pytest.fixture
def tool(monkeypatch, tmp_path):
    """Runs the tool on a stub, for two batches at least a worker."""
    stub = tmp_path / "stub.py"
    monkeypatch.setenv("OVERLAY_BUILD", str(tmp_path / "build"))
    monkeypatch.setattr(chaos, "FUZZERS", {"stub": stub})
    monkeypatch.setattr(chaos, "BATCH", 10)

    def run(failing=(), crashing=(), minutes=0.005):
        stub.write_text(f"FAILING = {set(failing)}\n"
                        f"CRASHING = {set(crashing)}\n" + STUB)
        return chaos.run(sys.executable, minutes)
    return run


def totals(tmp_path):
    path = tmp_path / "build" / "results" / "chaos.json"
    return json.loads(path.read_text())["stub"]


def test_batches_are_summed_and_the_next_call_goes_on(tool, tmp_path):
    assert tool() == 0
    first = totals(tmp_path)
    assert first["runs"] == first["counts"]["outcomes"]["intact"] > 0
    assert first["next"] == first["runs"] + 1
    assert first["pending"] == first["failures"] == []
    assert tool() == 0
    second = totals(tmp_path)
    assert second["runs"] > first["runs"]
    assert second["next"] == second["runs"] + 1
    assert second["runs"] == second["counts"]["outcomes"]["intact"]
    # Only failures leave their logs.
    assert not list((tmp_path / "build" / "results" / "chaos").iterdir())


def test_a_batch_that_was_interrupted_is_done_first(tool, tmp_path):
    path = tmp_path / "build" / "results" / "chaos.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"stub": {
        "next": 31, "runs": 20, "pending": [[11, 10]], "failures": [],
        "counts": {"outcomes": {"intact": 20}}}, "other": {"runs": 7}}))
    assert tool() == 0
    assert totals(tmp_path)["pending"] == []
    assert totals(tmp_path)["runs"] == totals(tmp_path)["next"] - 1
    assert json.loads(path.read_text())["other"] == {"runs": 7}


def test_a_failing_seed_is_told_with_the_command_that_repeats_it(
        tool, tmp_path, capsys):
    assert tool(failing={7}) == 1
    [failure] = totals(tmp_path)["failures"]
    assert failure["seed"] == 7
    assert failure["problems"] == ["wrong", "bytes"]
    assert failure["command"].endswith("stub.py --seed 7 --runs 1 --verbose")
    said = capsys.readouterr().out
    assert "FAILED seed 7: wrong; bytes" in said
    assert failure["command"] in said
    assert (tmp_path / "build" / "results" / "chaos" / "stub-1.log").exists()
    # The failure is history for the next call, whose own runs are good.
    assert tool() == 0
    assert totals(tmp_path)["failures"] == [failure]


def test_a_crash_is_a_failure(tool, tmp_path):
    assert tool(crashing={4}) == 1
    [failure] = totals(tmp_path)["failures"]
    assert "ended with status 3" in failure["problems"][0]
    assert "--seed 1 --runs 10" in failure["command"]
    assert totals(tmp_path)["pending"] == []


def test_it_ends_when_it_has_found_enough(tool, tmp_path, monkeypatch):
    monkeypatch.setattr(chaos, "_MOST_FAILURES", 4)
    # Without an end this would take an hour.
    assert tool(failing=range(10_000), minutes=60) == 1
    failures = totals(tmp_path)["failures"]
    assert 4 <= len(failures) <= 4 * len(os.sched_getaffinity(0))


@pytest.mark.parametrize("minutes", ["none", "0", "-3", "nan", "inf", "1e999"])
def test_bad_minutes_are_told_before_anything_is_built(monkeypatch, minutes):
    monkeypatch.setenv("MINUTES", minutes)
    monkeypatch.setattr(chaos.build, "build", None)
    with pytest.raises(OverlayError, match=f"^MINUTES={minutes}: [^\n]*$"):
        chaos.main(["chaos"])


def test_ten_minutes_on_the_release_build_unless_told_otherwise(monkeypatch):
    ran = []
    monkeypatch.setattr(chaos.build, "build", lambda variant: variant)
    monkeypatch.setattr(chaos, "run", lambda *arguments: ran.append(arguments))
    for minutes in None, "2.5":
        monkeypatch.delenv("MINUTES", raising=False)
        if minutes:
            monkeypatch.setenv("MINUTES", minutes)
        chaos.main(["chaos"])
    assert ran == [("release", 10), ("release", 2.5)]


def test_a_damaged_file_of_results_is_told(tool, tmp_path):
    path = tmp_path / "build" / "results" / "chaos.json"
    path.parent.mkdir(parents=True)
    path.write_text("{")
    with pytest.raises(OverlayError, match="damaged .*: remove it"):
        tool()
