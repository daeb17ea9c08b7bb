"""Runs the benchmarks: stock, ours and other event loops, interleaved.

    python3 benchmarks/run.py [--check] [--fast] ['echo-*' call-soon …]
    python3 benchmarks/run.py --instructions ROW
"""

import argparse
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from fnmatch import fnmatchcase
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "Tools" / "overlay")]

import report
from layout import build_root
from rows import BYTE, IMPLEMENTATIONS, ROWS, grouped, serves
from ui import OverlayError, say, step
from venv import ensure_venv

__all__ = ("main",)

# An implementation that has failed as often in a row is not asked again.
_FAILURES = 2
_PEERS = report.PEERS


def main(arguments=None):
    """Run what *arguments* ask for and return an exit status."""
    options = _parse(arguments)
    try:
        if options.list:
            return _list()
        options.keys = select(options.rows)
        for name in ("stock", "ours"):
            _require(getattr(options, name), name)
        if options.instructions:
            return _Instructions(options).run(options.instructions)
        return _bench(options)
    except (OverlayError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _listen_to_interrupts():
    # A shell starts background jobs with SIGINT ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


def _parse(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    built = build_root()
    parser.add_argument("--stock", type=Path, default=built / "stock/python",
                        help="the unpatched interpreter")
    parser.add_argument("--ours", type=Path, default=built / "release/python",
                        help="the interpreter to compare with it")
    parser.add_argument("--rows", default=os.environ.get("ROWS", ""),
                        help="names or patterns, by commas or spaces "
                        "(default: $ROWS, or all)")
    parser.add_argument("row", nargs="*", help="the same as --rows")
    parser.add_argument("--output", type=Path,
                        default=built / "results/bench")
    parser.add_argument("--rounds", type=int, help="default: 15")
    parser.add_argument("--peers", default=",".join(_PEERS),
                        help="which of %(default)s; may be empty")
    parser.add_argument("--time-limit", type=float, default=60,
                        help="seconds that a worker may take")
    parser.add_argument("--fast", action="store_true",
                        help="two short rounds: shows that all rows run")
    parser.add_argument("--check", action="store_true",
                        help="fail if a row is slower than stock, or than its "
                        "bound")
    parser.add_argument("--instructions", metavar="ROW",
                        help="count instructions per operation instead")
    parser.add_argument("--list", action="store_true",
                        help="name the rows and what they measure")
    options = parser.parse_args(arguments)
    _fill_in(parser, options)
    return options


def _fill_in(parser, options):
    options.rows = " ".join(options.row) or options.rows
    options.peers = [peer for peer in options.peers.split(",") if peer]
    if strangers := set(options.peers) - set(_PEERS):
        parser.error(f"--peers: no {', '.join(sorted(strangers))}; "
                     f"there are {', '.join(_PEERS)}")
    if options.rounds is None:
        options.rounds = 2 if options.fast else report.LEAST_PAIRS
    for option, value in (("--rounds", options.rounds),
                          ("--time-limit", options.time_limit)):
        if value <= 0:
            parser.error(f"{option} must be more than 0")
    if options.check and options.rounds < report.LEAST_PAIRS:
        parser.error(f"--check takes at least {report.LEAST_PAIRS} rounds")
    options.seconds = 0.002 if options.fast else 0.02
    options.repeats = 1 if options.fast else 4


def _list():
    for key, row in ROWS.items():
        print(f"{key:28} {row.title}")
    return 0


def select(patterns):
    """Return the keys of the rows that *patterns* name, in the rows' order.

    Raises OverlayError for a pattern that names none.
    """
    names = patterns.replace(",", " ").split() or ["*"]
    for name in names:
        if not any(fnmatchcase(key, name) for key in ROWS):
            raise OverlayError(f"no benchmark row {name!r}; the rows are "
                               + ", ".join(ROWS))
    return [key for key in ROWS
            if any(fnmatchcase(key, name) for name in names)]


def _require(python, name):
    if not (python.is_file() and os.access(python, os.X_OK)):
        raise OverlayError(f"no {name} interpreter {python}; build it, or say "
                           f"where it is with --{name} PATH")


# Workers

class Failure(Exception):
    """A worker failed; says how, with the end of what it printed."""


def _environment(certificates, seed):
    env = {name: value for name, value in os.environ.items()
           if not name.startswith("PYTHON")}
    # The same for all of a round, so that a pair differs in nothing else.
    return env | {"PYTHONHASHSEED": str(seed), "PYTHONDONTWRITEBYTECODE": "1",
                  "BENCH_CERTIFICATES": str(certificates)}


def _work(command, env, time_limit):
    """Run a worker and return the object that it prints."""
    try:
        done = subprocess.run(command, env=env, timeout=time_limit, text=True,
                              capture_output=True, errors="replace",
                              stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as error:
        tail = _tail((error.stderr or b"").decode(errors="replace"))
        raise Failure(f"{tail}\ntimed out after {time_limit:g} s".strip())
    if done.returncode:
        raise Failure(_tail(done.stderr) or f"status {done.returncode}")
    return json.loads(done.stdout)


def _tail(text):
    return "\n".join(text.strip().splitlines()[-12:])


class _Machine:
    """The interpreters, and how to run a row on one of them."""

    def __init__(self, options, certificates):
        self._options = options
        self._certificates = certificates
        self._pythons = dict.fromkeys(("stock", "again"), options.stock)
        self._pythons["ours"] = options.ours
        if options.peers:
            peers = ensure_venv("bench-peers", options.stock,
                                HERE / "requirements-peers.txt")
            self._pythons |= dict.fromkeys(options.peers, peers)

    def implementations(self):
        return [name for name in IMPLEMENTATIONS if name in self._pythons]

    def measure(self, key, implementation, loops, seed):
        return self._run(key, implementation, seed, "--loops", loops,
                         "--repeats", 1 if ROWS[key].loops
                         else self._options.repeats)

    def calibrate(self, key):
        return self._run(key, "stock", 0, "--calibrate",
                         self._options.seconds)["loops"]

    def _run(self, key, implementation, seed, *arguments):
        command = [self._pythons[implementation], HERE / "rows.py", key,
                   implementation, *map(str, arguments)]
        return _work(command, _environment(self._certificates, seed),
                     self._options.time_limit)


def _make_certificates(reporter, folder):
    """Write a new authority, and a certificate of it for localhost."""
    subprocess.run([reporter, "-m", "trustme", "-q", "-d", folder,
                    "-i", "localhost"], check=True,
                   env=_environment(folder, 0))


# The run

def _bench(options):
    output = options.output.absolute()
    output.mkdir(parents=True, exist_ok=True)
    with step("making the environments of the benchmarks"):
        reporter = ensure_venv("bench-report", options.stock,
                               HERE / "requirements-report.txt")
        certificates = tempfile.TemporaryDirectory()
        _make_certificates(reporter, certificates.name)
        machine = _Machine(options, certificates.name)
    results = _empty_results(options, machine)
    try:
        with certificates:
            _measure_all(options, machine, results)
        interrupted = False
    except KeyboardInterrupt:
        interrupted = True
        say("interrupted; writing what there is")
    _write(results, output, reporter)
    return 130 if interrupted else _status(results, options)


def _empty_results(options, machine):
    return {"date": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()),
            "rounds": options.rounds,
            "implementations": machine.implementations(),
            "versions": {},
            "machine": {"platform": platform.platform(),
                        "cpu_count": os.cpu_count()},
            "rows": {}}


def _measure_all(options, machine, results):
    for keys in grouped(options.keys):
        start = time.monotonic()
        _measure_rows(options, machine, results, keys)
        elapsed = time.monotonic() - start
        for number, key in enumerate(keys, len(results["rows"]) + 1
                                     - len(keys)):
            ours = report.ratio_to_stock(results, key, "ours")
            say(f"[{number}/{len(options.keys)}] {key:28} "
                + (f"ours/stock {ours.ratio:.2f}" if ours else "no ratio")
                + f"  ({elapsed / len(keys):.0f} s)")


def _measure_rows(options, machine, results, keys):
    """Measure rows that are compared with each other in the same rounds."""
    ready = [key for key in keys if _prepare(machine, results, key)]
    for turn in range(options.rounds):
        for key in ready:
            names = list(results["rows"][key]["results"])
            # Each is first as often as the others.
            shift = turn % len(names)
            for name in names[shift:] + names[:shift]:
                _measure_one(machine, results, key, name, turn)


def _prepare(machine, results, key):
    """Begin a row's results, and return whether it can be measured."""
    names = [name for name in results["implementations"]
             if serves(name, key)]
    row = {"loops": 0, "results": {name: {"values": {}, "errors": []}
                                   for name in names}}
    results["rows"][key] = row
    try:
        row["loops"] = machine.calibrate(key)
    except Failure as failure:
        row["results"]["stock"]["errors"].append(str(failure))
        return False
    return True


def _measure_one(machine, results, key, name, turn):
    row = results["rows"][key]
    result = row["results"][name]
    if len(result["errors"]) >= _FAILURES:
        return
    try:
        answer = machine.measure(key, name, row["loops"], turn)
    except Failure as failure:
        result["errors"].append(str(failure))
        return
    result["values"][str(turn)] = answer["values"]
    results["versions"][name] = answer["version"]


def _write(results, output, reporter):
    table = report.text(results)
    for name, content in (("raw.json", json.dumps(results, indent=1)),
                          ("table.md", report.markdown(results)),
                          ("table.txt", table)):
        (output / name).write_text(content, encoding="utf-8")
    say(f"\n{table}\nresults: {output}")
    # Or matplotlib makes folders in the user's home.
    env = _environment("", 0) | {
        "MPLCONFIGDIR": str(build_root().absolute() / "matplotlib")}
    done = subprocess.run([reporter, HERE / "report.py", output], env=env,
                          stdin=subprocess.DEVNULL)
    if done.returncode:
        raise OverlayError("no plot was drawn; the numbers are in "
                           f"{output / 'raw.json'}")


def _status(results, options):
    status = 0
    for key, name, error in report.failures(results):
        if name in ("stock", "ours", "again"):
            print(f"error: {key} failed on {name}:\n{error}", file=sys.stderr)
            status = 1
    return _check(results) or status if options.check else status


def _check(results):
    complaints = {
        "too few pairs": (report.undecided_rows(results)
                          + report.undecided_bounds(results)),
        "slower than stock": report.slower_rows(results),
        "beyond a bound": report.passed_bounds(results)}
    for what, found in complaints.items():
        if found:
            print(f"error: {what}: {', '.join(found)}", file=sys.stderr)
    return int(any(complaints.values()))


# Instructions: for claims that are too small for a clock.  What N operations
# take is taken off what 2 N take, so that start-up drops out.

class _Instructions:
    def __init__(self, options):
        self._options = options

    def run(self, key):
        (key,) = self._one_row(key)
        with tempfile.TemporaryDirectory() as folder:
            self._folder = Path(folder)
            if "tls" in key:
                self._make_certificates()
            counts = self._count_both(key)
        for name, count in counts.items():
            say(f"{name:6} {count:,.1f} instructions per operation")
        say(f"ours/stock {counts['ours'] / counts['stock']:.4f}  ({key})")
        return 0

    def _one_row(self, pattern):
        keys = select(pattern)
        if len(keys) != 1 or ROWS[keys[0]].unit == BYTE:
            raise OverlayError(f"--instructions {pattern}: needs one row that "
                               "measures time")
        return keys

    def _make_certificates(self):
        reporter = ensure_venv("bench-report", self._options.stock,
                               HERE / "requirements-report.txt")
        _make_certificates(reporter, self._folder)

    def _count_both(self, key):
        pythons = {"stock": self._options.stock, "ours": self._options.ours}
        try:
            loops = _work([self._options.stock, HERE / "rows.py", key, "stock",
                           "--calibrate", "0.01"],
                          _environment(self._folder, 0),
                          self._options.time_limit)["loops"]
            return {name: self._per_operation(python, name, key, loops)
                    for name, python in pythons.items()}
        except Failure as failure:
            raise OverlayError(f"--instructions {key}: {failure}")

    def _per_operation(self, python, name, key, loops):
        once, twice = (self._collected(python, name, key, loops * factor)
                       for factor in (1, 2))
        return (twice - once) / (loops * ROWS[key].inner)

    def _collected(self, python, name, key, loops):
        """Return how many instructions a worker of *loops* loops takes."""
        out = self._folder / "callgrind.out"
        command = ["valgrind", "--tool=callgrind",
                   f"--callgrind-out-file={out}", python, HERE / "rows.py",
                   key, name, "--loops", str(loops)]
        try:
            _work(command, _environment(self._folder, 0),
                  20 * self._options.time_limit)
        except FileNotFoundError:
            raise OverlayError("--instructions needs valgrind: "
                               "apt-get install valgrind")
        return int(re.search(r"^(?:summary|totals): (\d+)", out.read_text(),
                             re.M)[1])


if __name__ == "__main__":
    _listen_to_interrupts()
    sys.exit(main())
