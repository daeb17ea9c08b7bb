"""Everything that CI checks, step by step, with a count at the end."""

import contextlib
import json
import signal
import time
import traceback
import xml.etree.ElementTree as ElementTree

import build
import compare
import docs
import launcher
import layout
import series
import stubs
from settings import load_settings
from ui import Counter, OverlayError, say
from venv import ensure_venv

# One run may take as long as this, in seconds.
_TIME_LIMIT = 3600
# What runs under the launcher is ended so long before, to say what hung.
_MARGIN = 15
# CPython's tests of what the series touches outside of asyncio.
_NEIGHBOURS = ["test_platform", "test_sys", "test_sysconfig", "test_venv",
               "test_pydoc", "test_concurrent_futures"]
_RESOURCES = ["-u", "all,-gui,-network,-largefile,-urlfetch,-walltime"]


def main(arguments):
    [target] = arguments
    return _test() if target == "test" else _test_asyncio()


def _test_asyncio():
    variant = load_settings().variant
    judged = compare.run_judged(
        build.build(), [*_RESOURCES, "test_asyncio"],
        lambda: build.build("stock"), log=_log("test_asyncio"),
        variant=variant, what=f"test_asyncio on {variant}")
    say(f"{judged.result.passed} passed, {len(judged.broken)} failed, "
        f"{judged.result.skipped} skipped")
    return bool(judged.broken)


def _test():
    run = _Run()
    for name, step in _STEPS.items():
        run.step(name, step)
    return run.finish()


class _TimeIsOver(BaseException):
    """Nothing on its way out of a step may take it for a failure to handle."""


class _Run:
    """Steps with their times and failures; each is run whatever failed before,
    except that nothing is tested without the builds, or when time is over."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self._end = time.monotonic() + _TIME_LIMIT
        self._times = {}
        self._errors = []

    def step(self, name, function):
        if "builds" in [failed for failed, _ in self._errors]:
            return
        say(f"\n=== {name}")
        start = time.monotonic()
        try:
            with self._bounded():
                function(self)
        except OverlayError as error:
            self._fail(name, error)
        except _TimeIsOver:
            self._fail(name, f"ended, as {_limit()} for all steps are over")
        except Exception as error:
            # Whatever it is, the other steps and the count are still wanted.
            say(traceback.format_exc())
            self._fail(name, f"{type(error).__name__}: {error}")
        self._times[name] = time.monotonic() - start

    def _fail(self, name, why):
        say(f"{name} failed: {why}")
        self._errors.append((name, why))

    @contextlib.contextmanager
    def _bounded(self):
        """Raise _TimeIsOver in what is done meanwhile when time is over."""
        rest = self._end - time.monotonic()
        if rest <= 0:
            raise _TimeIsOver
        handler = signal.signal(signal.SIGALRM, _tell_that_time_is_over)
        # Again and again, as a process may take no notice of its end.
        timer = signal.setitimer(signal.ITIMER_REAL, rest, 60)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, *timer)
            signal.signal(signal.SIGALRM, handler)

    def time_limit(self):
        """What a run under the launcher may take, in seconds."""
        return max(1, self._end - time.monotonic() - _MARGIN)

    def count(self, passed, failed, skipped, what):
        say(f"    {what}: {passed} passed, {failed} failed, {skipped} skipped")
        self.passed += passed
        self.failed += failed
        self.skipped += skipped

    def finish(self):
        total = sum(self._times.values())
        say("")
        for name, seconds in self._times.items():
            say(f"{seconds / 60:6.1f} min  {name}")
        say(f"{total / 60:6.1f} min  in all")
        for name, error in self._errors:
            say(f"failed: {name}: {error}")
        # Every failure is in the count, or the last line would belie it.
        failed = max(self.failed, len(self._errors))
        count = f"{self.passed} passed, {failed} failed, {self.skipped} skipped"
        # For .ci/run, as make has the last word when something failed.
        _results("count").write_text(count + "\n")
        say(count)
        return bool(failed)


def _tell_that_time_is_over(number, frame):
    raise _TimeIsOver


def _limit():
    return f"the {_TIME_LIMIT / 60:g} minutes"


def _builds(run):
    for variant in ("release", "stock", "debug"):
        build.build(variant)


def _same_as_stock(run):
    """test_asyncio on both, compared test by test."""
    tree = build.current_tree()
    report = compare.compare_asyncio(
        stock=tree.python("stock"), ours=tree.python("release"),
        time_limit=run.time_limit())
    run.count(report.passed, report.failed, report.skipped,
              "test_asyncio, compared with stock")
    if report.failed:
        raise OverlayError(report.summary)


def _neighbours(run):
    _run_cpython_tests(run, "release", _NEIGHBOURS)


def _debug(run):
    # Without the long ones, which take several times as long there.
    _run_cpython_tests(run, "debug", ["test_asyncio"], but_for="cpu")


def _run_cpython_tests(run, variant, tests, but_for=None):
    tree = build.current_tree()
    what = f"{tests[0] if len(tests) == 1 else 'neighbours'} on {variant}"
    log = _log(what.replace(" ", "-"))
    *flag, resources = _RESOURCES
    if but_for is not None:
        resources += f",-{but_for}"
    judged = compare.run_judged(
        tree.python(variant), [*flag, resources, *tests],
        lambda: tree.python("stock"), variant=variant, what=what, log=log,
        time_limit=run.time_limit())
    run.count(judged.result.passed, len(judged.broken), judged.result.skipped,
              what)
    if judged.broken:
        raise OverlayError(f"{what} failed: {len(judged.broken)} tests that do "
                           f"not on stock; the whole output is in {log}")


def _documentation(run):
    docs.main([])


def _stubs(run):
    upto = load_settings().upto
    if upto and upto != series.series_names(layout.ROOT)[-1]:
        say("    skipped: they are those of the whole series, "
            f"not up to {upto}")
        run.count(0, 0, 1, "type stubs")
    else:
        stubs.main([])


def _tooling(run):
    _pytest(run, "tooling", ["tests", "--ignore=tests/third_party"])


def _third_party(run):
    folder = layout.build_root() / "results" / "third_party"
    for path in folder.glob("*.json"):
        path.unlink()
    try:
        _pytest(run, "third-party", ["tests/third_party"])
    finally:
        for path in sorted(folder.glob("*.json")):
            _say_both_failed(path)


def _say_both_failed(path):
    """pytest keeps what its tests print to itself, if they pass."""
    failed = json.loads(path.read_text())["both_failed"]
    say(f"    {path.stem}: {len(failed)} fail on stock, too")
    for name in failed:
        say(f"        {name}")


def _pytest(run, name, arguments):
    tree = build.current_tree()
    # On stock, so that a fault of ours cannot hide in what looks for it.
    python = ensure_venv("tests", tree.python("stock"),
                         layout.ROOT / "tests" / "requirements.txt")
    log = _log(name)
    results = log.with_suffix(".xml")
    results.unlink(missing_ok=True)
    # No bytecode, as the tests' and the tools' folders are the checkout's.
    env = dict(build.build_environment(), PYTHONDONTWRITEBYTECODE="1",
               OVERLAY_PYTHON=str(tree.python("release")),
               OVERLAY_STOCK=str(tree.python("stock")))
    result = launcher.run_guarded(
        [python, "-m", "pytest", "-v", "-p", "no:cacheprovider",
         f"--junitxml={results}", *arguments], log=log, env=env,
        cwd=layout.ROOT, time_limit=run.time_limit(), tail=40,
        progress=_TestProgress())
    counts = _junit_counts(results)
    if counts:
        run.count(*counts, name)
    if result.status:
        failure = launcher.failure(result, f"{name} tests")
        raise OverlayError("; ".join([*_junit_failures(results),
                                      str(failure)]))
    if not counts:
        raise OverlayError(f"{name} tests: no results in {results}")


class _TestProgress:
    """Shows how many tests are done, from pytest's `[ 12%]`."""

    def __init__(self):
        self._counter = Counter("tests run")

    def see(self, line):
        if "%]" in line:
            self._counter.advance()

    def finish(self):
        self._counter.finish()


def _junit_counts(results):
    """Passed, failed, skipped; None if *results* is missing or damaged."""
    try:
        suite = ElementTree.parse(results).getroot().find("testsuite")
        total, failures, errors, skipped = (
            int(suite.get(name))
            for name in ("tests", "failures", "errors", "skipped"))
    except (OSError, ElementTree.ParseError, AttributeError, TypeError,
            ValueError):
        return None
    return total - failures - errors - skipped, failures + errors, skipped


def _junit_failures(results, most=5):
    """What failed, and the first line of why; of *most* tests, if any."""
    try:
        cases = list(ElementTree.parse(results).iter("testcase"))
    except (OSError, ElementTree.ParseError):
        return []
    found = []
    for case in cases:
        for problem in (*case.findall("failure"), *case.findall("error")):
            why = problem.get("message", "").strip().partition("\n")[0]
            found.append(f"{case.get('name')}: {why[:200]}")
    return found[:most]


def _log(name):
    log = _results(f"{name}.log")
    log.unlink(missing_ok=True)
    return log


def _results(name):
    folder = layout.build_root().absolute() / "results"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name


_STEPS = {
    "builds": _builds,
    "test_asyncio compared with stock": _same_as_stock,
    "test_asyncio on debug": _debug,
    "tests beside it": _neighbours,
    "type stubs": _stubs,
    "documentation": _documentation,
    "tooling": _tooling,
    "third-party programs": _third_party,
}
