"""What the tests of real programs share: the environment they run in."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
import unprivileged
from postgresql_server import PostgreSQL, server_programs
from surroundings import HERE, OUTER_BOUND, PROGRAMS, environment


@pytest.fixture(scope="session")
def venv_python(built_python):
    """The interpreter under test in a venv that has the programs."""
    from venv import ensure_venv
    return ensure_venv("third-party", built_python, HERE / "requirements.txt")


@pytest.fixture(scope="session")
def run(venv_python):
    """Run a program with the venv's interpreter; return what it printed."""
    return _runner(venv_python)


@pytest.fixture(scope="session")
def run_with_trio(python):
    """The same in a venv that has Trio."""
    from venv import ensure_venv
    return _runner(ensure_venv("trio", python, HERE / "trio.txt"))


def _runner(python):
    def run(program, *arguments):
        done = subprocess.run(
            [python, program, *arguments], env=environment(), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL, timeout=OUTER_BOUND)
        assert done.returncode == 0, done.stdout + done.stderr
        # A lost task or an exception in a callback is told there, only.
        assert done.stderr == ""
        return done.stdout
    return run


@pytest.fixture(scope="session")
def certificate(run, tmp_path_factory):
    """A folder with certificate.pem and key.pem, signed by authority.pem."""
    folder = tmp_path_factory.mktemp("certificate")
    run(PROGRAMS / "certificate.py", folder)
    return folder


@pytest.fixture(scope="session")
def postgresql():
    """The folder of a running PostgreSQL's socket."""
    programs = server_programs()
    # Not pytest's folder: a socket's path has 107 bytes at most.
    folder = Path(tempfile.mkdtemp(prefix="overlay-"))
    try:
        unprivileged.give(folder)
        server = PostgreSQL(programs, folder)
        try:
            server.wait_until_ready()
            yield folder
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)
