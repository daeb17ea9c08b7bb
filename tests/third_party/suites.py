"""The test suites of other projects, run from their source distributions."""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import tarfile
import tempfile
from pathlib import Path

import compare
import launcher
import layout
import unprivileged
from settings import refuse_network
from ui import OverlayError, say, step

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.txt"
SDISTS = HERE / "sdists.txt"
# For one run of a suite, in seconds; a test of its own has _TEST_LIMIT.
_TIME_LIMIT = 1200
_TEST_LIMIT = 120
# pytest's exit statuses: all passed, some failed, nothing was collected.
_ENDED = (0, 1, 5)


@dataclasses.dataclass(frozen=True)
class Suite:
    """Which tests of a project are run, and how."""

    project: str
    # The folder of the package in the source distribution.  It is left out:
    # the tests are of the installed wheel.
    package: str
    # Files and folders to collect.
    tests: tuple[str, ...]
    options: tuple[str, ...]
    # Expressions of pytest's -k and -m for what is not run.
    keywords: tuple[str, ...] = ()
    markers: tuple[str, ...] = ()
    # Files that do not work in a worker of pytest-xdist.
    alone: tuple[str, ...] = ()
    # So many tests pass on stock at least, or something else is wrong.
    minimum: int = 1

    def selection(self):
        """The options that leave out what is not run here."""
        keywords = list(self.keywords)
        if not _has_ipv6():
            keywords.append("ipv6")
        for option, names in (("-k", keywords), ("-m", self.markers)):
            if names:
                yield option
                yield " and ".join(f"not {name}" for name in names)


def _has_ipv6():
    """True if localhost is an IPv6 address, too, as tests presume."""
    with contextlib.suppress(OSError):
        return bool(socket.getaddrinfo("localhost", 80, socket.AF_INET6))
    return False


# --- Source distributions ----------------------------------------------------

def sdist(project, python):
    """The project's pinned source distribution, in the cache.

    *python* is one with pip and with what the project is built by: pip looks
    into a source distribution before it hands it over.
    """
    [pin] = [line for line in SDISTS.read_text().splitlines()
             if line.startswith(f"{project}==")]
    version, digest = re.match(r".*==(\S+) --hash=sha256:(\w+)$", pin).groups()
    path = layout.cache_root() / "sdists" / f"{project}-{version}.tar.gz"
    if not path.exists() or _sha256(path) != digest:
        refuse_network(path.name, "PyPI")
        with step(f"getting {path.name}"):
            _download(pin, python, path)
    return path


def _sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _download(pin, python, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    # Beside its place, so that it gets there by a rename.
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        requirement = Path(folder, "requirement.txt")
        requirement.write_text(pin + "\n")
        done = subprocess.run(
            [python, "-m", "pip", "download", "--require-hashes", "--no-deps",
             "--no-build-isolation", "--no-binary", ":all:", "--dest", folder,
             "-r", requirement],
            text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)
        if done.returncode:
            raise OverlayError(f"pip cannot get {path.name}: "
                               + done.stdout[-2000:])
        os.replace(Path(folder, path.name), path)


# --- Runs --------------------------------------------------------------------

class Run:
    """A suite on one interpreter: called, it runs and gives outcomes by id."""

    def __init__(self, suite, python, *, log):
        self.suite = suite
        # Of a venv that has the project's wheel and what the suite needs.
        self.python = python
        self.log = Path(log)

    def __call__(self, ids=None):
        with _folder() as folder:
            self._unpack(folder)
            if ids is None:
                self.log.unlink(missing_ok=True)
            else:
                Path(folder, "selected").write_text("\n".join(ids))
            unprivileged.give(folder)
            results = {}
            for number, arguments in enumerate(self._parts(ids)):
                xml = Path(folder, f"results-{number}.xml")
                self._pytest(folder, ids, xml, arguments)
                results |= compare.read_junit(xml)
            return results

    def _unpack(self, folder):
        """Only what is not the package, beside a home and our plugin."""
        suite = Path(folder, "suite")
        with tarfile.open(sdist(self.suite.project, self.python)) as archive:
            for entry in archive:
                _, _, entry.name = entry.name.partition("/")
                if entry.name.split("/")[0] not in ("", self.suite.package):
                    archive.extract(entry, suite, filter="data")
        for name in ("home", "plugins", "tmp"):
            Path(folder, name).mkdir()
        shutil.copy(HERE / "select_tests.py", Path(folder, "plugins"))

    def _parts(self, ids):
        """The arguments of each pytest that has to be run."""
        alone = self.suite.alone
        if ids is None:
            yield ["-n2", *(f"--ignore={file}" for file in alone),
                   *self.suite.tests]
            if alone:
                yield ["-n0", *alone]
            return
        files = {name.partition("::")[0] for name in ids}
        for workers, chosen in (("-n2", files - set(alone)),
                                ("-n0", files & set(alone))):
            if chosen:
                yield [workers, *sorted(chosen)]

    def _pytest(self, folder, ids, xml, arguments):
        env = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME":
               f"{folder}/home", "TMPDIR": f"{folder}/tmp", "PYTHONPATH":
               f"{folder}/plugins", "PYTHONHASHSEED": "0",
               "PYTHONDONTWRITEBYTECODE": "1"}
        if ids is not None:
            env["SELECTED_TESTS"] = f"{folder}/selected"
        result = launcher.run_guarded(
            [*unprivileged.prefix(self.python, "-c", "import pytest"),
             self.python, "-P", "-m", "pytest", "-q", "-p", "select_tests",
             "-p", "no:cacheprovider", "-o", "junit_family=xunit1",
             "-o", "junit_logging=no", f"--timeout={_TEST_LIMIT}",
             f"--junit-xml={xml}", *self.suite.options,
             *self.suite.selection(), *arguments],
            log=self.log, env=env, cwd=Path(folder, "suite"),
            time_limit=_TIME_LIMIT)
        # A plugin or setting that pytest cannot take gives status 1, too.
        if result.status not in _ENDED or not xml.exists():
            raise launcher.failure(
                result, f"no results: the suite of {self.suite.project} on "
                        f"{self.python}")


@contextlib.contextmanager
def _folder():
    """A temporary folder that another user can enter."""
    folder = tempfile.mkdtemp(prefix="overlay-")
    try:
        os.chmod(folder, 0o755)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# --- Comparison --------------------------------------------------------------

def compare_with_stock(suite, ours, stock):
    """Compare a suite on *ours* and *stock*, pairs (interpreter, venv's one).

    Says the outcome, keeps it in build/results/third_party, and returns the
    Comparison.
    """
    folder = layout.build_root().absolute() / "results" / "third_party"
    folder.mkdir(parents=True, exist_ok=True)
    runs = [Run(suite, python, log=folder / f"{suite.project}-{name}.log")
            for name, (_, python) in (("stock", stock), ("ours", ours))]
    result = compare.compare(
        *runs, stock_key=compare.key_of(stock[0], *_depends_on(suite)))
    say(f"{suite.project}; logs and results are in {folder}")
    result.report()
    text = json.dumps({
        "passed": result.passed, "skipped": result.skipped,
        "broken": result.broken, "flaky": result.flaky,
        "better": result.better,
        "both_failed": result.both_failed}, indent=2)
    (folder / f"{suite.project}.json").write_text(text + "\n")
    return result


def _depends_on(suite):
    """What a suite's outcomes depend on beside the interpreter."""
    files = (REQUIREMENTS, SDISTS, Path(__file__), Path(unprivileged.__file__))
    return (suite, tuple(suite.selection()),
            *(path.read_text() for path in files))
