"""A PostgreSQL of Debian's, on a unix socket of its own."""

import signal
import subprocess
import time
from pathlib import Path

import pytest
import unprivileged
from surroundings import OUTER_BOUND, environment


def server_programs():
    """The folder of the newest PostgreSQL's server programs."""
    found = [path.parent for path
             in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if not found:
        pytest.fail("no /usr/lib/postgresql/*/bin/initdb: install the Debian "
                    "package postgresql")
    return max(found, key=lambda path: int(path.parts[-2]))


class PostgreSQL:
    """A server whose data, socket and log are all in *folder*."""

    def __init__(self, programs, folder):
        self.log = folder / "log"
        self._programs = programs
        self._folder = folder
        self._data = folder / "data"
        self._prefix = unprivileged.prefix("ls", folder)
        self._run("initdb", "-D", self._data, "-U", "overlay", "--auth=trust",
                  "--no-sync", "--locale=C", "--encoding=UTF8")
        with open(self.log, "w") as log:
            self._process = subprocess.Popen(
                [*self._prefix, programs / "postgres", "-D", self._data,
                 "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
                env=environment())

    def wait_until_ready(self):
        end = time.monotonic() + OUTER_BOUND
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > end:
                pytest.fail("PostgreSQL did not start: "
                            + self.log.read_text())
            time.sleep(0.05)

    def _ready(self):
        return subprocess.run(
            [self._programs / "pg_isready", "-q", "-h", self._folder],
            env=environment()).returncode == 0

    def _run(self, program, *arguments):
        done = subprocess.run(
            [*self._prefix, self._programs / program, *arguments],
            cwd=self._folder, env=environment(), text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=OUTER_BOUND)
        assert done.returncode == 0, done.stdout

    def stop(self):
        """End it by the signal that makes it end its sessions first."""
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(OUTER_BOUND)
        finally:
            self._process.kill()
            self._process.wait()
