"""What the tests of the overlay share: where the interpreters and tools are."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "Tools" / "overlay"))

import build  # noqa: E402
import series  # noqa: E402
from ui import OverlayError  # noqa: E402


def _interpreter(variable, variant):
    """The one that is named, or that of the last configure."""
    try:
        path = Path(os.environ.get(variable)
                    or build.current_tree().python(variant))
    except OverlayError as error:
        pytest.fail(f"{error}, or set {variable}")
    if not path.exists():
        pytest.fail(f"no interpreter at {path}: build it, or set {variable}")
    return path


@pytest.fixture(scope="session")
def built_python():
    """The patched interpreter, with as much of the series as --upto says."""
    return _interpreter("OVERLAY_PYTHON", "release")


@pytest.fixture(scope="session")
def python(built_python):
    """The patched interpreter, with the whole series."""
    version = subprocess.run(
        [built_python, "-E", "-c", "import sys; print(sys.version)"],
        check=True, capture_output=True, text=True).stdout
    upto = re.search(r"\+upto\.([\w.-]+)", version)
    if upto and upto[1] != series.series_names(ROOT)[-1]:
        pytest.skip(f"is about the whole series; this is {upto[1]} and what is "
                    "before it")
    return built_python


@pytest.fixture(scope="session")
def stock():
    """The same CPython without the series."""
    return _interpreter("OVERLAY_STOCK", "stock")
