"""Tests of the launcher of CPython's tests."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import build
import launcher
import layout
from base import Base
from ui import OverlayError

# What ends a test that would hang; no test's outcome depends on it.
PATIENCE = 60


@pytest.fixture
def guarded(tmp_path):
    """Run Python *code* under a guard; return the Result and the output."""
    def run(code, **options):
        log = tmp_path / "log"
        result = launcher.run_guarded(
            [sys.executable, "-c", textwrap.dedent(code)], log=log,
            env=dict(os.environ), **{"time_limit": PATIENCE, **options})
        return result, log.read_text()
    return run


def is_alive(pid):
    """Whether *pid* is a process that has not ended; a zombie has."""
    try:
        stat = Path("/proc", str(pid), "stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def wait_until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


def test_ignored_sigint_is_restored(tmp_path):
    # A shell's background job has SIGINT ignored, and passes that on.
    log = tmp_path / "log"
    code = f"""
        import os, signal, sys
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
        sys.path.insert(0, {os.path.dirname(launcher.__file__)!r})
        import launcher
        child = '''
        import signal
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
        assert not signal.pthread_sigmask(signal.SIG_BLOCK, [])
        signal.raise_signal(signal.SIGINT)
        '''
        result = launcher.run_guarded(
            [sys.executable, "-c", "\\n".join(map(str.strip,
                                               child.splitlines()))],
            log={str(log)!r}, env=dict(os.environ), time_limit={PATIENCE})
        print(result.status)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)],
                          check=True, capture_output=True, text=True)
    assert "KeyboardInterrupt" in log.read_text()
    assert int(done.stdout) == 128 + signal.SIGINT


def test_memory_limit_gives_memory_error(guarded):
    code = """
        try:
            bytearray(1 << 30)
        except MemoryError:
            print("MemoryError")
    """
    assert guarded(code)[0].tail == ()
    assert guarded(code, memory_limit=1 << 29)[0].tail == ("MemoryError\n",)


def test_no_core_is_dumped(guarded):
    result, output = guarded("""
        import resource
        print("core:", resource.getrlimit(resource.RLIMIT_CORE))
    """)
    assert "core: (0, 0)" in output


def test_status_and_output_are_passed_on(guarded):
    result, output = guarded("print('said'); raise SystemExit(7)")
    assert result.status == 7
    assert not result.timed_out
    assert result.tail == ("said\n",)
    assert "said\n" in output


def test_a_signal_that_ends_it_is_told_as_a_shell_does(guarded):
    result, _ = guarded("import os; os.kill(os.getpid(), 9)")
    assert result.status == 128 + 9


def test_a_command_that_does_not_exist_is_said(tmp_path):
    result = launcher.run_guarded([tmp_path / "none"], log=tmp_path / "log",
                                  env=dict(os.environ))
    assert result.status == 127
    assert "cannot be run" in result.tail[0]


def test_the_guard_writes_no_bytecode_beside_the_tools(tmp_path):
    tools = tmp_path / "tools"
    shutil.copytree(os.path.dirname(launcher.__file__), tools,
                    ignore=shutil.ignore_patterns("__pycache__"))
    code = f"""
        import os, sys
        sys.path.insert(0, {str(tools)!r})
        import launcher
        result = launcher.run_guarded([sys.executable, "-c", ""], env={{}},
                                      log={str(tmp_path / "log")!r})
        sys.exit(result.status)
    """
    subprocess.run([sys.executable, "-B", "-c", textwrap.dedent(code)],
                   check=True)
    assert not list(tools.rglob("*.pyc"))


def test_variables_of_python_are_for_the_command_alone(tmp_path):
    result = launcher.run_guarded(
        ["/bin/sh", "-c", "echo $PYTHONHOME"], log=tmp_path / "log",
        env={"PYTHONHOME": "/nowhere"}, time_limit=PATIENCE)
    assert result.tail == ("/nowhere\n",)


# Starts a process in a session of its own, as regrtest starts its workers,
# says its pid, and does what is put in.
GRANDCHILD = """
    import subprocess, sys, time
    command = [sys.executable, "-c", "import time; time.sleep(3600)"]
    child = subprocess.Popen(command, start_new_session=True)
    print("pid", child.pid, flush=True)
    {}
"""


def grandchild_in(text):
    [line] = [line for line in text.splitlines() if line.startswith("pid ")]
    return int(line.split()[1])


def test_time_limit_ends_grandchildren_and_says_so(guarded):
    result, output = guarded(GRANDCHILD.format("time.sleep(3600)"),
                             time_limit=2)
    assert result.timed_out
    assert "time limit: 2 s are over" in result.tail[-1]
    assert not is_alive(grandchild_in(output))


def test_processes_left_behind_are_ended_and_counted(guarded):
    result, output = guarded(GRANDCHILD.format("sys.exit(0)"))
    assert result.status == 0
    assert "1 processes were left behind" in result.tail[-1]
    assert not is_alive(grandchild_in(output))


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_when_the_launcher_ends_its_processes_end(tmp_path, ending):
    log = tmp_path / "log"
    code = f"""
        import os, signal, sys
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.path.insert(0, {os.path.dirname(launcher.__file__)!r})
        import launcher
        launcher.run_guarded(
            [sys.executable, "-c", {textwrap.dedent(
                GRANDCHILD.format("time.sleep(3600)"))!r}],
            log={str(log)!r}, env=dict(os.environ), time_limit={PATIENCE})
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)],
                               stderr=subprocess.DEVNULL)
    wait_until(lambda: log.exists() and "pid " in log.read_text())
    pid = grandchild_in(log.read_text())
    assert is_alive(pid)
    process.send_signal(ending)
    process.wait()
    # After SIGKILL nobody waits for the guard.
    wait_until(lambda: not is_alive(pid))


def test_environment_is_cleaned(monkeypatch):
    for name in ("PYTHONPATH", "PYTHONASYNCIODEBUG", "LC_ALL", "MAKEFLAGS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("LANG", "tlh_QO")
    env = launcher.test_environment("python", "release", "/somewhere")
    assert not [name for name in env if name.startswith(("PYTHON", "LC_"))]
    assert "MAKEFLAGS" not in env
    assert env["LANG"] == "C.UTF-8"
    assert env["TMPDIR"] == "/somewhere"


def test_asan_survives_absurd_allocations():
    env = launcher.test_environment("python", "asan", "/somewhere")
    assert "allocator_may_return_null=1" in env["ASAN_OPTIONS"]


@pytest.mark.parametrize("abiflags, name", [
    ("", "suppressions.txt"), ("td", "suppressions_free_threading.txt")])
def test_tsan_gets_the_suppressions_of_its_sources(tmp_path, abiflags, name):
    (tmp_path / "Makefile").write_text(
        f"srcdir=\t\tsrc\nVPATH=src\nABIFLAGS=\t{abiflags}\n")
    python = tmp_path / "python"
    with pytest.raises(OverlayError, match=name):
        launcher.test_environment(python, "tsan", "/somewhere")
    folder = tmp_path / "src" / "Tools" / "tsan"
    folder.mkdir(parents=True)
    (folder / name).touch()
    env = launcher.test_environment(python, "tsan", "/somewhere")
    assert f"suppressions='{folder / name}':" in env["TSAN_OPTIONS"]


def test_every_variant_has_a_memory_limit_or_none():
    assert launcher.MEMORY_LIMITS.keys() == layout.VARIANTS.keys()


def test_only_a_sanitizer_runs_without_a_memory_limit():
    assert [variant for variant, limit in launcher.MEMORY_LIMITS.items()
            if not limit] == ["asan", "tsan"]


@pytest.mark.parametrize("variant", ["release", "tsan"])
def test_tests_run_under_the_limit_of_their_variant(
        tmp_path, monkeypatch, variant):
    limits = []
    monkeypatch.setattr(launcher, "test_environment", lambda *args: {})
    monkeypatch.setattr(
        launcher, "run_guarded", lambda command, *, memory_limit, **options:
        limits.append(memory_limit) or launcher.Result(0))
    launcher.run_tests("python", [], log=tmp_path / "log", variant=variant)
    assert limits == [launcher.MEMORY_LIMITS[variant]]


# --- The command line --------------------------------------------------------

@pytest.fixture
def run(tmp_path, monkeypatch):
    """The command line; returns what it ran, and whether the lock was held."""
    folder = tmp_path / "build"
    ran = []

    def run_tests(python, arguments, *, log, **options):
        with open(folder / ".lock", "a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                held = False
            except BlockingIOError:
                held = True
        ran.append((Path(python), Path(log), held))
        return launcher.Result(0)

    def run(*arguments):
        # Set by the lock, and by a run that these tests may be part of.
        for name in ("OVERLAY_LOCK", "OVERLAY_LOCK_FD"):
            monkeypatch.setenv(name, "")
        launcher.main(["run-tests", *map(str, arguments)])
        return ran[-1]

    monkeypatch.setenv("OVERLAY_BUILD", str(folder))
    tree = build.Tree(Base(layout.default_base(), "", None))
    monkeypatch.setattr(build, "current_tree", lambda: tree)
    monkeypatch.setattr(launcher, "run_tests", run_tests)
    tree.log("debug", "tests").write_text("of an earlier run\n")
    tree.python("debug").touch()
    return run


def test_tests_of_a_build_hold_the_lock(run, tmp_path):
    folder, log = tmp_path / "build/debug", tmp_path / "log"
    assert run("--variant", "debug") == (
        folder / "python", folder / "tests.log", True)
    assert not (folder / "tests.log").exists()
    assert run("--variant", "debug", "--log", log) == (
        folder / "python", log, True)
    assert run("--python", sys.executable) == (
        Path(sys.executable), tmp_path / "build/release/tests.log", True)


def test_tests_of_another_python_do_without_the_lock(run, tmp_path):
    log = tmp_path / "log"
    assert run("--python", sys.executable, "--log", log) == (
        Path(sys.executable), log, False)


@pytest.mark.parametrize("arguments, words", [
    (["--variant", "fast"], ["'fast'", *launcher.MEMORY_LIMITS]),
    (["--varian", "debug"], ["--varian"]),
    (["--time-limit", "x"], ["--time-limit", "'x'"]),
    (["--variant", "asan"], ["asan/python is not built yet: run make all"])])
def test_bad_argument_is_told_in_a_line(run, capsys, arguments, words):
    with pytest.raises(OverlayError) as caught:
        run(*arguments)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)
    assert "usage" not in capsys.readouterr().err


# --- On a real interpreter ---------------------------------------------------

TESTS = {
    "test_good.py": """
        import os, resource, signal, tempfile, unittest

        class Tests(unittest.TestCase):
            def test_sigint(self):
                self.assertIs(signal.getsignal(signal.SIGINT),
                              signal.default_int_handler)

            def test_memory(self):
                with self.assertRaises(MemoryError):
                    bytearray(resource.getrlimit(resource.RLIMIT_AS)[0])

            def test_folder(self):
                with open(os.environ["SEEN"], "w") as file:
                    print(tempfile.mkdtemp(), os.getcwd(), sep="\\n",
                          file=file)
                # What is locked must go, too.
                locked = tempfile.mkdtemp()
                os.mkdir(os.path.join(locked, "in"))
                os.chmod(locked, 0o500)

            @unittest.skip("for the count")
            def test_skipped(self):
                pass
    """,
    "test_bad.py": """
        import unittest

        class Tests(unittest.TestCase):
            def test_wrong(self):
                self.fail("on purpose")
    """,
}


@pytest.fixture
def testdir(tmp_path):
    folder = tmp_path / "tests"
    folder.mkdir()
    for name, text in TESTS.items():
        (folder / name).write_text(textwrap.dedent(text))
    return folder


@pytest.mark.parametrize("workers", [(), ("-j2",)], ids=["alone", "workers"])
def test_a_real_run_is_counted_and_cleaned_up(stock, testdir, tmp_path,
                                              monkeypatch, workers):
    seen = tmp_path / "seen"
    monkeypatch.setenv("SEEN", str(seen))
    result = launcher.run_tests(
        stock, ["--testdir", testdir, *workers, "test_good"],
        log=tmp_path / "log", variant="stock", time_limit=PATIENCE)
    assert (result.status, result.run, result.failures, result.skipped) == (
        0, 4, 0, 1), (tmp_path / "log").read_text()
    assert result.passed == 3
    for folder in seen.read_text().splitlines():
        assert not os.path.exists(folder)


def test_a_failure_is_counted(stock, testdir, tmp_path):
    result = launcher.run_tests(
        stock, ["--testdir", testdir, "test_bad", "test_good", "-i",
                "test_folder"],
        log=tmp_path / "log", time_limit=PATIENCE, check=False)
    assert result.status
    assert (result.run, result.failures) == (4, 1)


def test_a_failure_is_an_error_with_the_tail_and_the_log(stock, testdir,
                                                         tmp_path, capsys):
    with pytest.raises(OverlayError) as caught:
        launcher.run_tests(
            stock, ["--testdir", testdir, "test_bad"], log=tmp_path / "log",
            what="the sample", time_limit=PATIENCE)
    assert str(caught.value) == ("the sample failed: 1 tests; the whole output"
                                 f" is in {tmp_path / 'log'}")
    assert "Result: FAILURE" in capsys.readouterr().out


def test_the_time_limit_is_an_error(stock, testdir, tmp_path):
    (testdir / "test_hang.py").write_text(
        "import time\nwhile True:\n    time.sleep(1)\n")
    with pytest.raises(OverlayError, match="ended at the time limit"):
        launcher.run_tests(stock, ["--testdir", testdir, "-j2", "test_hang"],
                           log=tmp_path / "log", time_limit=2)


def test_command_line_runs_tests_after_the_dashes(stock, testdir, tmp_path,
                                                  capsys):
    log = tmp_path / "log"
    with pytest.raises(OverlayError):
        launcher.main([
            "run-tests", "--python", str(stock), "--log", str(log),
            "--time-limit", str(PATIENCE), "--",
            "--testdir", str(testdir), "test_bad"])
    assert "0 passed, 1 failed, 0 skipped" in capsys.readouterr().out
