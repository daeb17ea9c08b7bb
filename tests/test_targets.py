"""Tests of the targets that a user of the interpreter asks for."""

import subprocess
import sys
from pathlib import Path

import pytest

import build
import layout
import targets
from ui import OverlayError


@pytest.mark.parametrize("status", [0, 3])
def test_demo_compares_with_stock_and_passes_its_status_on(
        monkeypatch, status):
    ran = []

    def run(command, **options):
        ran.append(command)
        return subprocess.CompletedProcess(command, status)

    monkeypatch.setattr(build, "build",
                        lambda variant="release": Path(variant))
    monkeypatch.setattr(targets.subprocess, "run", run)
    assert targets.main(["demo"]) == status
    assert ran == [[Path("release"), layout.ROOT / "examples/tls_in_tls.py",
                    "--compare", Path("stock")]]


def test_new_interpreter_is_asked_what_it_is_without_the_environment(
        monkeypatch, capfd):
    # One that is looked at even by those who only ask for the version.
    monkeypatch.setenv("PYTHONUTF8", "neither")
    monkeypatch.setattr(build, "build", lambda: Path(sys.executable))
    assert targets.main(["all"]) == 0
    assert "\nPython " in capfd.readouterr().out


def test_rows_that_are_no_words_are_refused_before_anything_is_built(
        monkeypatch):
    monkeypatch.setenv("ROWS", "it's")
    monkeypatch.setattr(build, "build", None)
    with pytest.raises(OverlayError, match="ROWS=it's: No closing quotation"):
        targets.main(["bench"])
