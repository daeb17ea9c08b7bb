"""Runs the seeded fuzzers for some minutes, and adds up what they found."""

import collections
import concurrent.futures
import json
import math
import os
import shlex
import threading
import time

import build
import launcher
import layout
from ui import Counter, OverlayError, say, step

# Fuzzer: its script.  It takes --seed, --runs and --failures (where to stop);
# its last line is JSON: "runs", "counts" (numbers in tables in a table), and
# "failures" (the "seed" and "problems" of each).
FUZZERS = {name: layout.ROOT / "tests" / "chaos" / f"{name}_chaos.py"
           for name in ("tls", "scopes", "supervisors")}
# Runs of a batch: some seconds, which an interruption waits for.
BATCH = 200
# Of those whose runs are short.
BATCHES = {"supervisors": 2000}
# A batch ends at so many failures, and so does the call of this target.
_MOST_FAILURES = 20
# Seconds for a batch, in which the slowest of failures may be.
_TIME_LIMIT = 1800


def main(arguments):
    [target] = arguments
    minutes = _minutes(os.environ.get("MINUTES") or "10")
    return run(build.build("release"), minutes)


def _minutes(text):
    try:
        minutes = float(text)
    except ValueError:
        minutes = math.nan
    if not 0 < minutes < math.inf:
        raise OverlayError(f"MINUTES={text}: a number above 0 is needed, as "
                           "in make chaos MINUTES=10")
    return minutes


def run(python, minutes):
    """Give each fuzzer its part of the *minutes*; return the exit status."""
    path = layout.build_root() / "results" / "chaos.json"
    found = []
    for name in FUZZERS:
        fuzzing = _Fuzzing(name, python, path)
        with step(f"running the fuzzer {name}"):
            fuzzing.run(time.monotonic() + 60 * minutes / len(FUZZERS))
        found += fuzzing.found
        say(f"    {name}: {fuzzing.total['runs']} runs in all")
    for failure in found:
        problems = "; ".join(failure["problems"])
        say(f"FAILED seed {failure['seed']}: {problems}\n"
            f"    repeat it with: {failure['command']}")
    say(f"{len(found)} failures; counts and seeds are in {path}")
    return 1 if found else 0


class _Fuzzing:
    """One fuzzer on all processors, with its totals in a file."""

    def __init__(self, name, python, path):
        self.name, self.python, self.path = name, python, path
        # Held by whoever changes what follows.
        self.lock = threading.Lock()
        self.totals = _read(path)
        # "pending": seed and runs of each batch that is not in the counts yet.
        self.total = self.totals.setdefault(name, dict(
            next=1, runs=0, pending=[], counts={}, failures=[]))
        # Batches that a call which was ended has left.
        self.left = self.total["pending"].copy()
        # Failures of this call.
        self.found = []
        self.stopped = False
        self.counter = Counter(f"runs of {name}")

    def run(self, end):
        workers = len(os.sched_getaffinity(0))
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            jobs = [pool.submit(self._work, end) for _ in range(workers)]
            try:
                for job in concurrent.futures.as_completed(jobs):
                    job.result()
            finally:
                self.stopped = True
        self.counter.finish()

    def _work(self, end):
        while (time.monotonic() < end and not self.stopped
               and len(self.found) < _MOST_FAILURES):
            batch = self._take()
            self._add(batch, self._run_batch(*batch))

    def _take(self):
        with self.lock:
            if self.left:
                return self.left.pop()
            runs = BATCHES.get(self.name, BATCH)
            batch = [self.total["next"], runs]
            self.total["next"] += runs
            self.total["pending"].append(batch)
            self._save()
            return batch

    def _run_batch(self, seed, runs):
        """Return the fuzzer's summary; keep the log if there are failures."""
        log = self.path.parent / "chaos" / f"{self.name}-{seed}.log"
        log.unlink(missing_ok=True)
        result = launcher.run_guarded(
            self._command(seed, runs, "--failures", str(_MOST_FAILURES)),
            log=log, cwd=layout.ROOT, time_limit=_TIME_LIMIT,
            env=launcher.test_environment(self.python, "release", log.parent),
            memory_limit=launcher.MEMORY_LIMITS["release"])
        if result.status == 0:
            log.unlink()
        last = "".join(result.tail[-1:])
        if result.status in (0, 1) and last.startswith("{"):
            return json.loads(last)
        problem = f"ended with status {result.status}, see {log}"
        return dict(runs=0, counts={}, failures=[
            dict(seed=seed, runs=runs, problems=[problem])])

    def _command(self, seed, runs, *options):
        return [self.python, "-B", FUZZERS[self.name], "--seed", str(seed),
                "--runs", str(runs), *options]

    def _add(self, batch, summary):
        with self.lock:
            self.total["pending"].remove(batch)
            self.total["runs"] += summary["runs"]
            for what, numbers in summary["counts"].items():
                had = collections.Counter(self.total["counts"].get(what))
                self.total["counts"][what] = had + collections.Counter(numbers)
            for failure in summary["failures"]:
                failure["command"] = shlex.join(map(str, self._command(
                    failure["seed"], failure.pop("runs", 1), "--verbose")))
                self.found.append(failure)
                self.total["failures"].append(failure)
            self._save()
            self.counter.advance(summary["runs"])

    def _save(self):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps(self.totals, indent=1) + "\n")
        fresh.replace(self.path)


def _read(path):
    try:
        return json.loads(path.read_text()) if path.exists() else {}
    except ValueError as error:
        raise OverlayError(f"{path} is damaged ({error}): remove it")
