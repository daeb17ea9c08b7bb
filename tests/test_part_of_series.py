"""What `make test` does with a build of a part of the series (--upto)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import series
import suite
from settings import Settings

ROOT = Path(__file__).resolve().parents[1]
FIRST, *_, LAST = series.series_names(ROOT)


def run_tests_of(tmp_path, version):
    """Run a test of the whole series on an interpreter of this version; return
    what pytest says in the end."""
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho '3.99.0 ({version}, today)'\n")
    python.chmod(0o755)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs",
         "tests/test_scale.py", "-k", "thousands and linear and fails"],
        cwd=ROOT, env=dict(os.environ, OVERLAY_PYTHON=str(python)), text=True,
        stdout=subprocess.PIPE).stdout


def test_tests_of_the_whole_series_are_skipped_on_a_part_with_the_reason(
        tmp_path):
    said = run_tests_of(tmp_path, f"asyncio-overlay-0.1.0+upto.{FIRST}")
    assert (f"is about the whole series; this is {FIRST} and what is before it"
            in said)
    assert " 1 skipped, " in said


@pytest.mark.parametrize("version", [
    "asyncio-overlay-0.1.0", f"asyncio-overlay-0.1.0+upto.{LAST}"])
def test_they_are_run_on_the_whole_series(tmp_path, version):
    # The stand-in fails them.
    assert " 1 failed, " in run_tests_of(tmp_path, version)


@pytest.mark.parametrize("upto, counts", [
    (None, []), (LAST, []), (FIRST, [(0, 0, 1, "type stubs")])])
def test_stubs_are_checked_against_the_whole_series_only(
        monkeypatch, capsys, upto, counts):
    class Run:
        def count(self, *counts):
            counted.append(counts)

    checked, counted = [], []
    monkeypatch.setattr(suite, "load_settings", lambda: Settings(upto=upto))
    monkeypatch.setattr(suite.stubs, "main", checked.append)
    suite._stubs(Run())
    assert counted == counts
    assert bool(checked) == (not counts)
    assert (f"not up to {FIRST}" in capsys.readouterr().out) == bool(counts)
