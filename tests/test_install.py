"""`make install`, for real: a whole interpreter that can be moved."""

import shutil
import subprocess
from pathlib import Path

import pytest

import launcher
from same_build import configure_command, environment, seed_build_folder

ROOT = Path(__file__).resolve().parents[1]
MODULES = ("bz2 ctypes curses ensurepip hashlib lzma readline sqlite3 ssl uuid "
           "venv zlib")


@pytest.fixture(scope="module")
def moved(tmp_path_factory, built_python):
    """An installed interpreter whose folder was moved afterwards."""
    folder = tmp_path_factory.mktemp("install")
    seed_build_folder(folder / "build")
    done = subprocess.run(
        configure_command(ROOT, "--prefix", folder / "first", "install"),
        env=environment() | {"OVERLAY_BUILD": str(folder / "build")},
        text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    shutil.rmtree(folder / "build")
    (folder / "first").rename(folder / "second")
    return folder / "second" / "bin" / "python3.13"


def output_of(*command):
    return subprocess.run(command, check=True, text=True,
                          capture_output=True).stdout


def test_moved_interpreter_finds_its_library_and_says_what_it_is(moved):
    shown = output_of(moved, "-c", "import asyncio, sys; print(sys.prefix); "
                      "print(asyncio.__overlay__.version)").splitlines()
    assert shown == [str(moved.parents[1]), (ROOT / "VERSION").read_text()
                     .strip()]
    assert "asyncio-overlay-" in output_of(moved, "-VV")


def test_moved_interpreter_is_whole(moved):
    output_of(moved, "-c", f"import {', '.join(MODULES.split())}")


def test_moved_interpreter_makes_environments_with_pip(moved, tmp_path):
    output_of(moved, "-m", "venv", tmp_path / "env")
    assert "pip" in output_of(tmp_path / "env" / "bin" / "pip", "--version")


def test_moved_interpreter_passes_test_asyncio(moved, tmp_path):
    result = launcher.run_tests(moved, ["-j2", "test_asyncio"],
                                log=tmp_path / "test_asyncio.log")
    assert result.status == 0, "".join(result.tail)
    assert result.run > 2500
