"""The one launcher for every run of CPython's tests."""

# How it works.  Tests misbehave: they inherit an ignored SIGINT and loop, take
# all memory, hang, and leave processes behind, some in sessions of their own
# (each worker of regrtest is in one).  So every run has a *guard*: this file
# run as a script, between us and the tests.  It
#   - sets signals, limits and the like as on a terminal, for the tests;
#   - becomes the reaper of every orphan below it (Linux), so that none of
#     their processes can escape it;
#   - ends them all when the tests are done, at the time limit, when it is told
#     to (SIGTERM), and when we die, however that was.

import argparse
import collections
import contextlib
import ctypes
import dataclasses
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from lock import locked
from ui import ArgumentParser, Counter, OverlayError, say

GiB = 1 << 30
# Address space for one process.  A sanitizer reserves terabytes, whatever it
# uses, so that a limit stops it at once.
MEMORY_LIMITS = {"release": 4 * GiB, "stock": 4 * GiB, "debug": 4 * GiB,
                 "nogil": 8 * GiB, "asan": None, "tsan": None}
# Exit status of the guard at the time limit, as coreutils' timeout has it.
TIMED_OUT = 124

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_ADDR_NO_RANDOMIZE = 0x0040000


@dataclasses.dataclass(frozen=True)
class Result:
    """How a run of tests ended; the counts are regrtest's own."""

    # 0: all passed.  128 + N: ended by signal N.
    status: int
    run: int = 0
    failures: int = 0
    skipped: int = 0
    # The last lines of the output, and the file that has it all.
    tail: tuple[str, ...] = ()
    log: Path | None = None

    @property
    def timed_out(self):
        return self.status == TIMED_OUT

    @property
    def passed(self):
        return self.run - self.failures - self.skipped


def run_tests(python, args, *, log, variant="release", time_limit=1800,
              what="the tests", check=True):
    """Run `python -m test ARGS`, with the output appended to the file *log*.

    *variant* decides on the memory limit and a sanitizer's options;
    *time_limit* is in seconds, for the whole run.  Returns a Result.  With
    *check*, shows the log's tail and raises OverlayError unless all passed.
    """
    with _temporary_folder() as folder:
        result = run_guarded(
            [python, "-m", "test", "--tempdir", folder, *args], log=log,
            env=test_environment(python, variant, folder),
            memory_limit=MEMORY_LIMITS[variant], time_limit=time_limit,
            fixed_addresses=variant == "tsan", progress=_FileProgress())
    if check and result.status:
        raise failure(result, what)
    return result


def failure(result, what):
    """Show the log's tail; return the OverlayError that says *what* failed."""
    for line in result.tail:
        say("    | " + line.rstrip())
    how = (f"failed: {result.failures} tests" if result.failures
           else f"ended with status {result.status}")
    if result.timed_out:
        how = "were ended at the time limit"
    return OverlayError(f"{what} {how}; the whole output is in {result.log}")


# --- Surroundings ------------------------------------------------------------

def test_environment(python, variant, folder):
    """The environment for tests: ours without what would change results."""
    env = {name: value for name, value in os.environ.items()
           if not name.startswith(("PYTHON", "LC_", "OVERLAY_", "MAKE"))
           and name not in ("LANGUAGE", "MFLAGS", "VIRTUAL_ENV", "CDPATH",
                            "ASAN_OPTIONS", "TSAN_OPTIONS")}
    env.update(LANG="C.UTF-8", TMPDIR=str(folder))
    if variant == "asan":
        # Tests ask for absurd amounts of memory, and for segmentation faults.
        env["ASAN_OPTIONS"] = ("detect_leaks=0:allocator_may_return_null=1:"
                               "handle_segv=0")
    if variant == "tsan":
        env["TSAN_OPTIONS"] = (f"suppressions='{_tsan_suppressions(python)}':"
                               "handle_segv=0")
    return env


def _tsan_suppressions(python):
    """CPython's own list for the interpreter, from its sources."""
    # The interpreter is not asked: it may not even start without the list.
    makefile = Path(python).parent / "Makefile"
    values = dict(re.findall(r"^(srcdir|ABIFLAGS)=[ \t]*(.*)$",
                             makefile.read_text(), re.MULTILINE))
    name = ("suppressions_free_threading.txt" if "t" in values["ABIFLAGS"]
            else "suppressions.txt")
    path = (makefile.parent / values["srcdir"] / "Tools" / "tsan" / name)
    if not path.is_file():
        raise OverlayError(f"{path}, which tsan needs, is missing")
    return path.resolve()


@contextlib.contextmanager
def _temporary_folder():
    """A fresh folder, removed afterwards even if the tests locked parts.

    Not in the build folder: the path of a unix socket has 107 bytes at most.
    """
    folder = tempfile.mkdtemp(prefix="overlay-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, onerror=_unlock)


def _unlock(remove, path, error):
    with contextlib.suppress(OSError):
        os.chmod(os.path.dirname(path), 0o700)
        os.chmod(path, 0o700)
        shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)


class _FileProgress:
    """Shows how many test files are done, from regrtest's `[ 3/31]`."""

    def __init__(self):
        self._counter = Counter("test files")

    def see(self, line):
        match = re.match(r"\d+:\d\d:\d\d .*?\[ *(\d+)/(\d+)", line)
        if match:
            self._counter.total = int(match[2])
            self._counter.advance(int(match[1]) - self._counter.count)

    def finish(self):
        self._counter.finish()


# --- Our side of the guard ---------------------------------------------------

def run_guarded(command, *, log, env, memory_limit=None, time_limit=1800,
                fixed_addresses=False, cwd=None, progress=None, tail=15):
    """Run any *command* under a guard, its output appended to *log*.

    Returns a Result when no process of it is left.
    """
    guard = [sys.executable, "-B", "-E", "-s", "-S",
             os.path.abspath(__file__), str(os.getpid()),
             str(memory_limit or 0), str(time_limit),
             str(int(fixed_addresses)), "--", *map(str, command)]
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    last = collections.deque(maxlen=tail)
    counts = {}
    with open(log, "a", encoding="utf-8", errors="replace") as out:
        out.write(f"$ {' '.join(map(str, command))}\n")
        out.flush()
        with _ended(subprocess.Popen(
                guard, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL, text=True, encoding="utf-8",
                errors="replace", env=env, cwd=cwd,
                start_new_session=True)) as process:
            for line in process.stdout:
                out.write(line)
                out.flush()
                last.append(line)
                counts = _counts(line) or counts
                if progress:
                    progress.see(line)
    if progress:
        progress.finish()
    return Result(_shell_status(process.returncode), tail=tuple(last),
                  log=Path(log), **counts)


@contextlib.contextmanager
def _ended(guard):
    """Let the *guard* end all of its processes, whatever happens to us."""
    with guard:
        try:
            yield guard
        except BaseException:
            guard.terminate()
            # Full and unread, the pipe would keep the guard from its end.
            guard.stdout.close()
            guard.wait()
            raise


def _counts(line):
    """What regrtest's closing line says, e.g. `run=2,657 skipped=20`."""
    if not line.startswith("Total tests: "):
        return None
    return {name: int(number.replace(",", "")) for name, number
            in re.findall(r"(run|failures|skipped)=([\d,]+)", line)}


# --- The guard ---------------------------------------------------------------

class _Ended(Exception):
    """The guard was told to end its processes."""


def _guard(arguments):
    parent, memory_limit, time_limit, fixed_addresses, _, *command = arguments
    _restore_signals()
    signal.signal(signal.SIGTERM, _told_to_end)
    os.umask(0o022)
    try:
        # Before the tests start: a parent that is gone can tell us no more.
        _tie_to(int(parent))
        _limit(int(memory_limit))
        if int(fixed_addresses):
            # With more random addresses than it knows of, a thread sanitizer
            # built by an older compiler dies at its start.
            _libc("personality", _ADDR_NO_RANDOMIZE)
        status = _wait_for(subprocess.Popen(command), float(time_limit))
    except _Ended:
        status = 128 + signal.SIGTERM
    except OSError as error:
        print(f"{command[0]} cannot be run: {error}", flush=True)
        status = 127
    finally:
        # From here on nothing may stop us.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        ended = _end_all()
    if status == TIMED_OUT:
        print(f"time limit: {time_limit} s are over; {ended} processes were "
              "ended", flush=True)
    elif ended and status != 128 + signal.SIGTERM:
        print(f"{ended} processes were left behind, and ended", flush=True)
    return status


def _told_to_end(number, frame):
    signal.signal(number, signal.SIG_IGN)
    raise _Ended


def _restore_signals():
    """As a shell on a terminal does; a background job has SIGINT ignored.

    subprocess sees to SIGPIPE and SIGXFSZ, which Python itself ignores.
    """
    kept = {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE, signal.SIGXFSZ}
    for number in signal.valid_signals() - kept:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _tie_to(parent):
    _libc("prctl", _PR_SET_CHILD_SUBREAPER, 1)
    _libc("prctl", _PR_SET_PDEATHSIG, int(signal.SIGTERM))
    if os.getppid() != parent:
        raise _Ended


def _libc(function, *arguments):
    """Call a function of Linux's C library; nothing elsewhere."""
    if sys.platform == "linux":
        getattr(ctypes.CDLL(None), function)(*map(ctypes.c_ulong, arguments))


def _limit(memory):
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory:
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        if hard != resource.RLIM_INFINITY:
            memory = min(memory, hard)
        resource.setrlimit(resource.RLIMIT_AS, (memory, hard))


def _wait_for(process, time_limit):
    try:
        status = process.wait(time_limit)
    except subprocess.TimeoutExpired:
        return TIMED_OUT
    return _shell_status(status)


def _shell_status(status):
    return status if status >= 0 else 128 - status


def _end_all():
    """Kill and reap every process below us; return how many lived."""
    ended = set()
    while children := _live_children():
        for child in children:
            os.kill(child, signal.SIGKILL)
        ended.update(children)
        # What a dead one leaves is ours, and found in the next round.
        os.waitpid(-1, 0)
    return len(ended)


def _live_children():
    """Our children, those inherited from the dead too, with zombies reaped."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    return _children(os.getpid())


def _children(parent):
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # After the name, which may hold anything: state, parent.
            fields = (place / "stat").read_bytes().rpartition(b")")[2].split()
            if int(fields[1]) == parent:
                found.append(int(place.name))
    return found


# --- Command line ------------------------------------------------------------

def main(arguments):
    """run-tests [OPTION…] [-- what `python -m test` takes]"""
    parser = ArgumentParser(
        prog="run-tests", allow_abbrev=False,
        description="Run CPython's tests in fixed surroundings.",
        epilog="Arguments after -- go to `python -m test`.")
    parser.add_argument("command", help=argparse.SUPPRESS)
    parser.add_argument("--variant", choices=sorted(MEMORY_LIMITS),
                        default="release")
    parser.add_argument("--python", metavar="PATH",
                        help="default: the built one of the variant")
    parser.add_argument("--time-limit", metavar="SECONDS", type=float,
                        default=1800, help="for the whole run (%(default)s)")
    parser.add_argument("--log", metavar="PATH",
                        help="default: tests.log in the variant's folder")
    split = (arguments.index("--") if "--" in arguments else len(arguments))
    options = parser.parse_args(arguments[:split])
    ours = not (options.python and options.log)
    with locked() if ours else contextlib.nullcontext():
        python, log = _built(options) if ours else (options.python, options.log)
        result = run_tests(
            python, arguments[split + 1:], log=log, variant=options.variant,
            time_limit=options.time_limit, check=False)
    say(f"{result.passed} passed, {result.failures} failed, "
        f"{result.skipped} skipped")
    if result.status:
        raise failure(result, "the tests")
    return 0


def _built(options):
    """The interpreter and the log, in the build folder where none is named."""
    # Only here, as it needs a configured checkout.
    import build
    tree = build.current_tree()
    python = Path(options.python or tree.python(options.variant))
    log = Path(options.log or tree.log(options.variant, "tests"))
    if not python.exists():
        raise OverlayError(f"{python} is not built yet: run make all")
    if not options.log:
        log.unlink(missing_ok=True)
    return python, log


if __name__ == "__main__":
    sys.exit(_guard(sys.argv[1:]))
