"""Small wrong versions of our modules, which their suites must kill.

    python3 mutants.py [--python PATH] [WORD ...]

makes the mutants of mutant_table.py whose names have all of the words, runs
the behaviour suite of its file on each, and tells which test kills it.  The
status is 1 if one lives, or cannot be made.
"""

# How it works.  The asyncio of the interpreter is copied, and the own files of
# the checkout are put over it; each mutant is a copy of that with one text
# replaced, and has a process of its own.  A suite that fails without any
# replacement would kill whatever it is given, so it is run so first.

import argparse
import concurrent.futures
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from mutant_table import FILES, MUTANTS

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# For a suite that neither its own limits nor the kernel's have ended.
OUTER_BOUND = 300


@dataclasses.dataclass
class Verdict:
    """What has become of a mutant."""

    name: str
    # "killed", "lives" or "cannot be made".
    fate: str
    # The test that has killed it, and what that said; or what is wrong.
    killer: str = ""
    why: str = ""
    # How many tests were run.
    ran: int = 0

    def __str__(self):
        told = f"{self.fate}: {self.name}"
        if self.killer:
            told += f"\n    by {self.killer}"
        if self.why:
            told += f"\n    {self.why}"
        return told


def mutated(mutant):
    """Return the text of the mutant's file; ValueError if it has no place."""
    text = (ROOT / "Lib" / "asyncio" / mutant.file).read_text()
    count = text.count(mutant.old)
    if count != 1:
        raise ValueError(f"its old text occurs {count} times "
                         f"in {mutant.file}")
    if mutant.old == mutant.new:
        raise ValueError("its new text is the old one")
    text = text.replace(mutant.old, mutant.new)
    try:
        compile(text, mutant.file, "exec")
    except SyntaxError as exc:
        raise ValueError(f"its text is no Python: {exc}") from None
    return text


def library_of(python):
    """The folder of the standard library of the interpreter *python*."""
    return Path(subprocess.run(
        [python, "-I", "-c", "import os; print(os.path.dirname(os.__file__))"],
        check=True, stdout=subprocess.PIPE, text=True).stdout.rstrip("\n"))


class Laboratory:
    """A folder in which mutants are made, and judged by the suite."""

    def __init__(self, python, folder):
        self.python = python
        self.folder = Path(folder)
        # The package without any change, and the tests.
        self.right = self.folder / "right"
        self.tests = self.folder / "tests"
        shutil.copytree(library_of(python) / "asyncio", self.right)
        for name in FILES:
            shutil.copy(ROOT / "Lib" / "asyncio" / name, self.right)
        shutil.copytree(ROOT / "Lib" / "test" / "test_asyncio", self.tests)
        # Else each of the many runs would compile them.
        subprocess.run([python, "-I", "-m", "compileall", "-q",
                        self.right, self.tests], check=True)

    def judge(self, mutant):
        """Make a mutant, and run the suite on it; None is no change."""
        name = mutant.name if mutant else "no change at all"
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            try:
                self._make(mutant, Path(folder) / "asyncio")
                suites = ([FILES[mutant.file]] if mutant
                          else sorted(set(FILES.values())))
                summary = self._run_suites(folder, suites)
            except ValueError as exc:
                return Verdict(name, "cannot be made", why=str(exc))
        if summary["killer"]:
            return Verdict(name, "killed", **summary)
        return Verdict(name, "lives", ran=summary["ran"])

    def _make(self, mutant, package):
        text = mutated(mutant) if mutant else None
        # What is compiled is valid there, as the times are copied, too.
        shutil.copytree(self.right, package)
        if mutant:
            path = package / mutant.file
            path.write_text(text)
            for compiled in package.glob(f"__pycache__/{path.stem}.*"):
                compiled.unlink()

    def _run_suites(self, folder, suites):
        """Return the summary that the suite prints; ValueError if none."""
        done = subprocess.run(
            [self.python, "-I", "-B", HERE / "mutant_suite.py", folder,
             self.tests, *suites],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, timeout=OUTER_BOUND)
        try:
            return json.loads(done.stdout.splitlines()[-1])
        except (IndexError, ValueError):
            raise ValueError(f"the suite ended with status {done.returncode}: "
                             f"{done.stderr[-500:]}") from None


def judge_all(python, mutants=MUTANTS):
    """Yield the verdict of no change, then those of the mutants, in order."""
    with (tempfile.TemporaryDirectory(prefix="mutants-") as folder,
          concurrent.futures.ThreadPoolExecutor(
              len(os.sched_getaffinity(0))) as pool):
        yield from pool.map(Laboratory(python, folder).judge,
                            [None, *mutants])


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--python", type=Path,
                        default=ROOT / "build" / "release" / "python")
    parser.add_argument("words", nargs="*", metavar="WORD")
    options = parser.parse_args(arguments)
    mutants = [m for m in MUTANTS if all(w in m.name for w in options.words)]
    verdicts = judge_all(options.python, mutants)
    unchanged = next(verdicts)
    print(f"{unchanged} ({unchanged.ran} tests)", flush=True)
    killed = 0
    for verdict in verdicts:
        killed += verdict.fate == "killed"
        print(verdict, flush=True)
    print(f"{len(mutants)} mutants, {killed} killed")
    return int(unchanged.fate != "lives" or killed < len(mutants))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
