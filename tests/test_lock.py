"""Tests of the lock that lets one run at a time work in a checkout."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import lock

# What ends a test that would hang; no test's outcome depends on it.
LIMIT = 60


@pytest.fixture
def start(tmp_path):
    """Start Python *code* that has locked() and lock_descriptors()."""
    started = []
    env = {name: value for name, value in os.environ.items()
           if not name.startswith("OVERLAY_")}
    env["OVERLAY_BUILD"] = str(tmp_path / "build")

    def start(code):
        code = textwrap.dedent(code)
        process = subprocess.Popen(
            [sys.executable, "-B", "-c", "import subprocess, sys\n"
             f"sys.path.insert(0, {str(Path(lock.__file__).parent)!r})\n"
             f"from lock import lock_descriptors, locked\n{code}"],
            env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


# Says that it has the lock, and keeps it until it is told to end.
HOLDER = """
    with locked():
        print("locked", flush=True)
        sys.stdin.readline()
"""
# The same, with a child that does so, too, and ends when *its* input does.
PARENT = """
    with locked():
        child = subprocess.Popen([sys.executable, "-c", {code!r}],
                                 pass_fds={descriptors})
        child.wait()
"""
CHILD = "print('locked', flush=True); import sys; sys.stdin.readline()"


def test_a_second_run_says_that_it_waits_and_goes_on_afterwards(start):
    first = start(HOLDER)
    assert first.stdout.readline() == "locked\n"
    second = start(HOLDER)
    assert "waiting" in second.stdout.readline()
    first.communicate("\n", timeout=LIMIT)
    assert second.stdout.readline() == "locked\n"


def test_a_run_alone_does_not_wait(start):
    for _ in range(2):
        assert start(HOLDER).communicate("\n", timeout=LIMIT)[0] == "locked\n"


def test_what_belongs_to_a_run_shares_its_lock(start):
    process = start("""
        with locked():
            with locked():
                print("inside", flush=True)
            subprocess.run([sys.executable, "-B", "-c", f'''
        import sys
        sys.path[:0] = [{sys.path[0]!r}]
        from lock import locked
        with locked():
            print("child")
        '''], check=True)
    """)
    assert process.communicate(timeout=LIMIT)[0] == "inside\nchild\n"


def test_a_killed_run_holds_no_lock(start):
    first = start(HOLDER)
    assert first.stdout.readline() == "locked\n"
    first.kill()
    first.wait()
    assert start(HOLDER).stdout.readline() == "locked\n"


def test_a_child_with_the_descriptor_keeps_the_lock_of_a_killed_run(start):
    parent = start(PARENT.format(code=CHILD, descriptors="lock_descriptors()"))
    assert parent.stdout.readline() == "locked\n"
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    second = start(HOLDER)
    assert "waiting" in second.stdout.readline()
    # The child reads the killed run's input.
    parent.stdin.close()
    assert second.stdout.readline() == "locked\n"


def test_a_child_without_the_descriptor_does_not_keep_the_lock(start):
    parent = start(PARENT.format(code=CHILD, descriptors="()"))
    assert parent.stdout.readline() == "locked\n"
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert start(HOLDER).stdout.readline() == "locked\n"


@pytest.mark.parametrize("how, count", [
    ("close_fds=True", 0), ("pass_fds=lock_descriptors()", 1)])
def test_a_child_has_a_descriptor_to_pass_on_only_if_it_inherited_it(
        start, how, count):
    process = start(f"""
        code = f'''
        import sys
        sys.path[:0] = [{{sys.path[0]!r}}]
        from lock import lock_descriptors
        print(len(lock_descriptors()))
        '''
        with locked():
            subprocess.run([sys.executable, "-B", "-c", code], {how})
    """)
    assert process.communicate(timeout=LIMIT)[0] == f"{count}\n"


@pytest.mark.parametrize("number", [None, "987", "1"])
def test_a_descriptor_of_something_else_is_not_passed_on(
        tmp_path, monkeypatch, number):
    (tmp_path / "lock").touch()
    monkeypatch.setenv("OVERLAY_LOCK", str(tmp_path / "lock"))
    monkeypatch.delenv("OVERLAY_LOCK_FD", raising=False)
    if number:
        monkeypatch.setenv("OVERLAY_LOCK_FD", number)
    assert lock.lock_descriptors() == ()
