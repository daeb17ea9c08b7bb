"""Tests of the targets that a user of the interpreter asks for."""

import subprocess
import sys
from pathlib import Path

import pytest

import build
import layout
import targets
from ui import OverlayError


def _demo_commands():
    examples = layout.ROOT / "examples"
    return [[Path("release"), examples / "tls_in_tls.py",
             "--compare", Path("stock")],
            [Path("release"), examples / "get_url.py"]]


@pytest.mark.parametrize("failing, count", [(None, 2), ("tls_in_tls.py", 1),
                                            ("get_url.py", 2)])
def test_demo_ends_with_the_status_of_an_example_that_fails(
        monkeypatch, failing, count):
    ran = []

    def run(command, *, env):
        # The examples' folder is the checkout's.
        assert env["PYTHONDONTWRITEBYTECODE"] == "1"
        ran.append(command)
        status = 3 if command[1].name == failing else 0
        return subprocess.CompletedProcess(command, status)

    monkeypatch.setattr(build, "build",
                        lambda variant="release": Path(variant))
    monkeypatch.setattr(targets.subprocess, "run", run)
    assert targets.main(["demo"]) == (3 if failing else 0)
    assert ran == _demo_commands()[:count]


def test_new_interpreter_is_asked_what_it_is_without_the_environment(
        monkeypatch, capfd):
    # One that is looked at even by those who only ask for the version.
    monkeypatch.setenv("PYTHONUTF8", "neither")
    monkeypatch.setattr(build, "build", lambda: Path(sys.executable))
    assert targets.main(["all"]) == 0
    assert "\nPython " in capfd.readouterr().out


@pytest.mark.parametrize("rows, error", [
    ("it's", "ROWS=it's: No closing quotation"),
    ("call-soon call-son", "no benchmark row 'call-son'"),
])
def test_bad_rows_are_refused_before_anything_is_built(
        monkeypatch, rows, error):
    monkeypatch.setenv("ROWS", rows)
    monkeypatch.setattr(build, "build", None)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(OverlayError, match=error):
        targets.main(["bench"])
