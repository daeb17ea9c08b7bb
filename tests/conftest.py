"""What the tests of the overlay share: where the interpreters and tools are."""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "Tools" / "overlay"))


def _interpreter(variable, variant):
    path = Path(os.environ.get(variable) or ROOT / "build" / variant / "python")
    if not path.exists():
        pytest.fail(f"no interpreter at {path}: build it, or set {variable}")
    return path


@pytest.fixture(scope="session")
def python():
    """The patched interpreter."""
    return _interpreter("OVERLAY_PYTHON", "release")


@pytest.fixture(scope="session")
def stock():
    """The same CPython without the series."""
    return _interpreter("OVERLAY_STOCK", "stock")
