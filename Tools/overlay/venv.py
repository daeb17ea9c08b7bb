"""Virtual environments on the built interpreters, from pinned requirements."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from layout import build_root
from lock import lock_descriptors
from settings import refuse_network
from ui import run_logged


def _key(python, requirements):
    built = subprocess.run(
        [python, "-E", "-c",
         "import sys; print(*sys.version_info, sys.abiflags)"],
        check=True, capture_output=True, text=True).stdout
    text = f"{Path(python).absolute()}\n{built}\n" + requirements.read_text()
    return hashlib.sha256(text.encode()).hexdigest()


def ensure_venv(name, python, requirements):
    """Return the python of build/venvs/NAME, with *requirements* installed.

    *python* is the interpreter it is made from, *requirements* a file of
    pinned packages, of which only wheels are taken.  The environment is made
    anew when either has changed.  Raises OverlayError if pip fails, or would
    be needed after configure --offline.
    """
    requirements = Path(requirements)
    folder = build_root().absolute() / "venvs" / name
    stamp = folder / "overlay-stamp"
    key = _key(python, requirements)
    executable = folder / "bin" / "python"
    if stamp.exists() and stamp.read_text() == key:
        return executable
    refuse_network(f"the virtual environment {name}", "PyPI")
    shutil.rmtree(folder, ignore_errors=True)
    log = folder.with_suffix(".log")
    log.unlink(missing_ok=True)
    env = {key: value for key, value in os.environ.items()
           if not key.startswith("PYTHON")}
    run_logged([python, "-m", "venv", folder], log, env=env,
               what=f"making the virtual environment {name}",
               pass_fds=lock_descriptors())
    run_logged([executable, "-m", "pip", "install", "--only-binary", ":all:",
                "--no-input", "-r", requirements], log, env=env,
               what=f"installing {requirements.name}",
               pass_fds=lock_descriptors())
    stamp.write_text(key)
    return executable
