"""Results of test suites by test id, and ours compared with stock's."""

# How it works.  A suite is two callables, one for stock and one for ours:
#
#     run(ids=None) -> {test id: outcome}
#
# which run the whole suite, or only the tests with these ids.  compare() runs
# both (or takes what it kept of stock from the last time, by a key), and runs
# those tests whose outcomes differ twice more on both sides.  A test is *broken* if
# stock gave the same outcome three times and ours never gave that one; it is
# *flaky* otherwise.  What fails on stock and passes on ours is *better*.
#
# For CPython's tests there is Regrtest.  For a suite of pytest, write such a
# callable around
#
#     pytest -o junit_family=xunit1 --junit-xml=PATH [NODE IDS…]
#
# and read_junit(PATH): xunit1 names the file, so that the ids are pytest's own
# node ids and can be given back to it.  The key is key_of(python, what else
# the outcome depends on, such as pinned versions).

import collections
import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import re
import subprocess
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import launcher
import layout
from ui import OverlayError, say, step

# How often a test is run, at most, to know an outcome as that of its code.
ROUNDS = 3
# From the best to the worst; a test that is reported twice has the worse.
OUTCOMES = ("passed", "xfailed", "skipped", "failed")
MISSING = "missing"
# The lists of a Comparison, and how each is told.
_KINDS = {"broken": "broken", "flaky": "flaky", "better": "better",
          "both_failed": "fails on stock, too"}


# --- Results -----------------------------------------------------------------

def read_junit(path):
    """The outcomes by test id in a JUnit XML of regrtest or of pytest."""
    results = {}
    for case in _root(path).iter("testcase"):
        name = _id(case)
        if name:
            outcome = _outcome(case)
            results[name] = max(results.get(name, OUTCOMES[0]), outcome,
                                key=OUTCOMES.index)
    return results


def _root(path):
    try:
        return ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise OverlayError(f"no results in {path}: {error}")


def _id(case):
    name, group, file = map(case.get, ("name", "classname", "file"))
    if group is None:
        return name
    if file is None:
        return f"{group}::{name}"
    module = file.removesuffix(".py").replace("/", ".")
    classes = group.removeprefix(module).strip(".").split(".")
    return "::".join(filter(None, (file, *classes, name)))


def _outcome(case):
    children = {child.tag: child for child in case}
    # regrtest tells an unexpected success by a child "outcome", an expected
    # failure by "output".
    if children.keys() & {"failure", "error", "outcome"}:
        return "failed"
    if "skipped" in children:
        expected = children["skipped"].get("type") == "pytest.xfail"
        return "xfailed" if expected else "skipped"
    return "xfailed" if "output" in children else "passed"


def kept(key, run):
    """run()'s results, or what it gave the last time under this *key*."""
    path = layout.build_root() / "results" / "tests" / f"{key}.json"
    with contextlib.suppress(OSError, ValueError):
        return json.loads(path.read_text())
    results = run()
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(results, indent=0, sort_keys=True) + "\n")
    fresh.replace(path)
    return results


def key_of(python, *others):
    """A key for what depends on an interpreter's content and on *others*."""
    digest = hashlib.sha256(repr((os.getuid(), others)).encode())
    for path in _content(python):
        digest.update(f"\0{path.name}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:32]


# Prints the standard library's folder, and those of extension modules.
_FOLDERS = """
import os, sys
print(os.path.dirname(os.__file__))
print(*[path for path in sys.path if os.path.isdir(path)], sep="\\n")
"""
# Of Lib/test, what every test of asyncio depends on.
_TEST_FOLDERS = ("certdata", "libregrtest", "support", "test_asyncio")


def _content(python):
    """The interpreter, its extension modules, and the library's modules."""
    library, *others = map(Path, _ask(python, _FOLDERS))
    yield Path(python).resolve()
    for folder in others:
        yield from sorted(folder.glob("*.so"))
    for place, folders, files in os.walk(library):
        place = Path(place)
        if place == library / "test":
            folders[:] = _TEST_FOLDERS
        folders[:] = sorted(set(folders) - {"__pycache__", "site-packages"})
        # Tests read what else is beside them, such as certificates.
        yield from (place / name for name in sorted(files)
                    if name.endswith(".py")
                    or place.is_relative_to(library / "test"))


def _ask(python, code):
    return subprocess.run(
        [python, "-I", "-c", code], check=True, capture_output=True,
        text=True, cwd=Path(python).parent).stdout.splitlines()


# --- Comparison --------------------------------------------------------------

@dataclasses.dataclass(frozen=True)
class Comparison:
    """Stock's outcomes against ours; each list holds lines for people."""

    stock: dict
    ours: dict
    broken: list
    flaky: list
    better: list

    @property
    def extra(self):
        """The ids that only ours has."""
        return sorted(self.ours.keys() - self.stock.keys())

    @property
    def own_failed(self):
        return [f"{name}: failed" for name in self.extra
                if self.ours[name] == "failed"]

    @property
    def both_failed(self):
        return sorted(name for name, outcome in self.stock.items()
                      if outcome == self.ours.get(name) == "failed")

    @property
    def passed(self):
        return self._count("passed") + self._count("xfailed")

    @property
    def skipped(self):
        return self._count("skipped")

    @property
    def failed(self):
        return len(self.broken) + len(self.own_failed)

    def _count(self, outcome):
        return sum(value == outcome for value in self.ours.values())

    @property
    def summary(self):
        """One line: how many are as on stock, and how many are not."""
        return (f"{len(self.stock)} tests of stock's: "
                f"{len(self.stock) - len(self.broken)} as there, "
                f"{len(self.broken)} broken; {len(self.extra)} tests more, "
                f"{len(self.own_failed)} failed; "
                f"{len(self.both_failed)} fail on stock, too")

    def report(self):
        say(f"    {self.summary}")
        for kind, title in _KINDS.items():
            for line in getattr(self, kind):
                say(f"    {title}: {line}")
        for line in self.own_failed:
            say(f"    {line}")


def differing(stock, ours):
    """The ids of stock's tests whose outcome on ours is another."""
    return sorted(name for name, outcome in stock.items()
                  if ours.get(name, MISSING) != outcome)


def compare(stock_run, our_run, *, stock_key):
    """Compare two runs of a suite.

    *stock_key* is of all that stock's outcomes depend on: they are kept.
    Ours are not, so that whoever asks for tests has them run.
    """
    stock = kept(stock_key, stock_run)
    ours = our_run()
    # Outcome lists: one element a round.
    seen = {name: ([stock[name]], [ours.get(name, MISSING)])
            for name in differing(stock, ours)}
    for _ in range(ROUNDS - 1):
        open_ids = [name for name in seen if _kind(*seen[name]) != "flaky"]
        if open_ids:
            with step(f"running {len(open_ids)} tests that differ once more"):
                _add_round(seen, open_ids, stock_run, our_run)
    lines = {"broken": [], "flaky": [], "better": []}
    for name, outcomes in seen.items():
        lines[_kind(*outcomes)].append(
            "{}: stock {}; ours {}".format(name, *map(", ".join, outcomes)))
    return Comparison(stock, ours, **lines)


def _add_round(seen, ids, stock_run, our_run):
    for side, run in enumerate((stock_run, our_run)):
        results = run(ids)
        for name in ids:
            seen[name][side].append(results.get(name, MISSING))


def _kind(stock, ours):
    """What the outcomes of one test say that differed at first."""
    if len(set(stock)) > 1 or stock[0] in ours:
        return "flaky"
    better = stock[0] == "failed" and set(ours) == {"passed"}
    return "better" if better else "broken"


# --- CPython's tests ---------------------------------------------------------

class Regrtest:
    """A suite of CPython's: called, it runs and gives outcomes by id."""

    def __init__(self, python, tests, *, log, variant="release", jobs=2,
                 time_limit=1200):
        self.python = Path(python)
        self.tests = tests
        self.log = Path(log)
        self.variant = variant
        self.jobs = jobs
        self.time_limit = time_limit

    def __call__(self, ids=None):
        with tempfile.TemporaryDirectory(prefix="overlay-") as folder:
            xml = Path(folder, "results.xml")
            # With -W, the log has the details of each failure.
            arguments = [f"-j{self.jobs}", "-W", "--junit-xml", xml]
            if ids is not None:
                chosen = Path(folder, "ids")
                chosen.write_text("\n".join(ids) + "\n")
                arguments += ["--matchfile", chosen]
            begin = self.log.stat().st_size if self.log.exists() else 0
            result = launcher.run_tests(
                self.python, [*arguments, *self.tests], log=self.log,
                variant=self.variant, time_limit=self.time_limit, check=False)
            # Others mean that regrtest itself came to no end.
            if result.status not in _REGRTEST_ENDED:
                raise launcher.failure(result,
                                       f"no results: regrtest on {self.python}")
            with open(self.log, encoding="utf-8", errors="replace") as log:
                log.seek(begin)
                return with_subtests(xml, log)


# Success, failed tests, changed surroundings, and no test run.
_REGRTEST_ENDED = (0, 2, 3, 4)


_FAILED = re.compile(
    r"(?:FAIL|ERROR|UNEXPECTED SUCCESS): (\w+) \(([\w.]+)\)")


def with_subtests(xml, log):
    """read_junit() for regrtest, whose XML does not name failed subtests.

    Their tests, and those whose class could not be set up, are found in the
    lines of *log*.
    """
    results = read_junit(xml)
    for line in log:
        if match := _FAILED.match(line):
            method, name = match.groups()
            if name.endswith("." + method):
                results[name] = "failed"
    return results


@dataclasses.dataclass(frozen=True)
class Judgement:
    """A run of CPython's tests, and what of its failures is ours; each list
    holds lines for people."""

    result: launcher.Result
    broken: list = dataclasses.field(default_factory=list)
    flaky: list = dataclasses.field(default_factory=list)
    both_failed: list = dataclasses.field(default_factory=list)


def run_judged(python, tests, stock, *, log, what, variant="release", jobs=2,
               time_limit=1800):
    """Run CPython's *tests*; what fails must fail on stock, too.

    *stock* gives stock's interpreter, and is called only if there are
    failures: their files then run as often on both sides as compare() would
    run them.  Says what fails, and returns the Judgement; raises OverlayError
    if regrtest came to no end.
    """
    log = Path(log)
    begin = log.stat().st_size if log.exists() else 0
    result = launcher.run_tests(
        python, [f"-j{jobs}", "-W", *tests], log=log, variant=variant,
        time_limit=time_limit, what=what, check=False)
    if not result.status:
        return Judgement(result)
    with open(log, encoding="utf-8", errors="replace") as lines:
        lines.seek(begin)
        failed, crashed = failed_names(lines)
    if result.status not in _REGRTEST_ENDED or not failed | crashed:
        raise launcher.failure(result, what)

    def again(side, side_python, side_variant):
        run = Regrtest(side_python, tests, variant=side_variant, jobs=jobs,
                       log=log.with_name(f"{log.stem}-{side}.log"),
                       time_limit=time_limit)
        run.log.unlink(missing_ok=True)
        return run

    # What became of the tests in a file that crashed is not known.
    kinds = {"broken": sorted(crashed), "flaky": [], "both_failed": []}
    if failed:
        seen = _rounds_of(failed, again("stock", stock(), "stock"),
                          again("again", python, variant))
        for name, outcomes in sorted(seen.items()):
            kinds[_kind_of_failed(*outcomes)].append(
                "{}: stock {}; ours {}".format(name, *map(", ".join, outcomes)))
    for kind, lines in kinds.items():
        for line in lines:
            say(f"    {_KINDS[kind]}: {line}")
    return Judgement(result, **kinds)


def _rounds_of(failed, stock_run, our_run):
    """The outcomes on stock and on ours, by name, of tests that failed here
    at first."""
    on_stock, on_ours = (functools.partial(_outcomes_in_files, run)
                         for run in (stock_run, our_run))
    first = on_stock(failed)
    seen = {name: ([first.get(name, MISSING)], ["failed"]) for name in failed}
    for _ in range(ROUNDS - 1):
        # What stock does not have is ours, and must not fail once.
        open_ids = [name for name, (stock, ours) in seen.items()
                    if stock[0] != MISSING
                    and _kind_of_failed(stock, ours) != "flaky"]
        if open_ids:
            _add_round(seen, open_ids, on_stock, on_ours)
    return seen


def _kind_of_failed(stock, ours):
    """What the outcomes of one test say that failed here at first."""
    both = set(stock) == set(ours) == {"failed"}
    return "both_failed" if both else _kind(stock, ours)


def _outcomes_in_files(run, names):
    """The outcomes of all tests in the files that have *names*, as one of
    them can be the cause; none if regrtest comes to no end."""
    files = {name.rsplit(".", 2)[0] for name in names}
    with step(f"running {len(files)} test files with failures on {run.variant}"):
        try:
            return run(sorted(f"{file}.*" for file in files))
        except OverlayError as error:
            # Such as all of them in a file that stock does not have.
            say(f"    {error}")
            return {}


# How regrtest tells of a test file that did not end by its tests' outcomes.
_ENDED_OTHERWISE = re.compile(
    r"\d+:\d\d:\d\d .*?\[ *\d+/\d+(?:/\d+)?\] (\S+) (?:process crashed|"
    r"worker |timed out|failed \((?:uncaught exception|reference leak))")


def failed_names(lines):
    """What regrtest's log says that failed: the ids of tests (or of classes
    that could not be set up), and the names of files that crashed."""
    tests, files = set(), set()
    for line in lines:
        if match := _FAILED.match(line):
            method, name = match.groups()
            tests.add(name if name.endswith("." + method)
                      else f"{name}.{method}")
        elif match := _ENDED_OTHERWISE.match(line):
            files.add(match[1])
    return tests, files


def compare_asyncio(stock, ours, *, variant="release", jobs=2,
                    time_limit=1200):
    """Compare test_asyncio of two interpreters, and say what differs.

    *time_limit* is in seconds, for each of the runs.
    Returns the Comparison; its `failed` counts what is wrong.  Raises
    OverlayError if one of upstream's test files is not as on stock, or there
    are no results to compare.
    """
    check_unchanged(_test_folder(stock), _test_folder(ours))
    options = {"jobs": jobs, "time_limit": time_limit}
    with step("comparing test_asyncio with stock, test by test"):
        result = compare(
            _asyncio_suite(stock, "stock", "stock", options),
            _asyncio_suite(ours, variant, "ours", options),
            stock_key=key_of(stock, _ASYNCIO, jobs,
                             launcher.MEMORY_LIMITS["stock"]))
        result.report()
    lost = _of_files(result.extra, _test_folder(stock))
    if lost:
        raise OverlayError(
            f"stock's results lack {len(lost)} of upstream's tests, such as "
            f"{lost[0]}: remove {layout.build_root()}/results/tests")
    return result


# Two tests of TLS, one of them in TLS, want -M to say that there is memory.
_ASYNCIO = ("-u", "all,-gui,-network,-largefile,-urlfetch,-walltime",
            "-M", "3g", "test_asyncio")


def _asyncio_suite(python, variant, name, options):
    log = layout.build_root().absolute() / "results" / f"compare-{name}.log"
    log.unlink(missing_ok=True)
    return Regrtest(python, _ASYNCIO, log=log, variant=variant, **options)


def _test_folder(python):
    [library] = _ask(python, "import os; print(os.path.dirname(os.__file__))")
    return Path(library, "test", "test_asyncio")


def check_unchanged(stock, ours):
    """Raise OverlayError unless all of *stock*'s test files are in *ours*."""
    for path in sorted(stock.glob("*.py")):
        other = ours / path.name
        if not other.is_file() or other.read_bytes() != path.read_bytes():
            raise OverlayError(f"{other}: upstream's tests run unchanged, but "
                               f"this is not the text of {path}")


def _of_files(ids, folder):
    """Those of the ids that are tests in a file of *folder*."""
    return sorted(name for name in ids
                  if (folder / f"{name.split('.')[2]}.py").exists())
