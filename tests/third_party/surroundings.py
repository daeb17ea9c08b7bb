"""What every program here is started with."""

import os
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROGRAMS = HERE / "programs"
# A guard against hanging, in seconds; the programs take a few.
OUTER_BOUND = 120


def environment():
    """Ours, without what would change how a Python program runs."""
    ours = {name: value for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "OVERLAY_"))
            and not name.lower().endswith("_proxy")}
    # The folder of the programs is the checkout's.
    return ours | {"PYTHONDONTWRITEBYTECODE": "1"}
