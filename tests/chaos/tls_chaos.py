"""Seeded chaos between two ends that talk TLS in TLS over a bad network.

    python tls_chaos.py --seed N --runs M [--verbose]

runs the scenarios of the seeds N, N + 1, … on the asyncio of the interpreter
that it is given to.  The last line is JSON: what was run, and how it ended.
The status is 1 if a run broke a rule; that run's scenario is printed, with
the command that repeats it.
"""

# How it works.  A seed gives a *scenario*: two ends, one to three layers of
# TLS, what each end sends and how it reads, who closes and how, what the
# network between them does, and at most one *trouble*: damage done to the
# bytes at some place, or an upgrade that is interrupted.  The ends and the
# *mangler* between them share a loop, so that all that is random comes from
# the seed; only the kernel's timing does not.
#
# The rules that every run has to keep:
#   - what an end has received is what its peer sent, up to some point;
#   - connection_lost() is called once after connection_made(), and is the
#     last call; exceptions are of OSError's family;
#   - nothing is logged, and nothing is left: no task, handle, descriptor,
#     transport or SSLProtocol, not even as cyclic garbage;
#   - it is over in ten times the longest timeout.
# Without trouble, also: no exception, and what is written before close()
# arrives.  With damaged bytes: whoever lacks data because of them has an
# error to show for it.

import argparse
import asyncio
import collections
import contextlib
import dataclasses
import gc
import json
import logging
import os
import random
import shlex
import signal
import socket
import struct
import sys
import time
import warnings
import weakref
from asyncio import constants, selector_events, sslproto

from tls_ends import ENDS, passes, tell
from tls_scenarios import DAMAGE, OTHER, Scenario, scenario_of

# What may still be scheduled when all is over has so many passes to run.
LAST_PASSES = 20


# --- The network -------------------------------------------------------------

_CUTS = {"coarse": 16_384, "fine": 300, "tiny": 6}
# Cuts of one direction; whatever comes after them goes as a whole.
_MOST_CUTS = 250


class _Reset(Exception):
    """The mangler is to reset both connections."""


class _Pump:
    """One direction of the network, from *source* to *target*."""

    def __init__(self, name, scenario, source, target):
        self.plan = scenario.manglings[name]
        trouble = scenario.trouble
        self.trouble = (trouble if trouble.kind in DAMAGE
                        and trouble.end == name else None)
        self.rng = random.Random(f"{scenario.seed} pump {name}")
        self.loop = asyncio.get_running_loop()
        self.source, self.target = source, target
        self.cuts = 0
        # Bytes that came from the source so far, as far as they are handled.
        self.place = 0
        self.damaged = False

    async def run(self):
        while data := await self._receive():
            for part in self._cut(data):
                await passes(self.rng.randint(0, self.plan.delay))
                await self._forward(part)
        self._finish()

    async def _receive(self):
        # A source that was reset has ended, as far as its peer can tell: the
        # mangler is a kind network unless told otherwise.
        try:
            data = await self.loop.sock_recv(self.source, 2 ** 18)
        except OSError:
            return b""
        if data and self.plan.merge:
            await passes(self.plan.merge)
            with contextlib.suppress(OSError):
                data += self.source.recv(2 ** 18)
        return data

    def _cut(self, data):
        most = _CUTS.get(self.plan.cut)
        while most and self.cuts < _MOST_CUTS and data:
            size = self.rng.randint(1, most)
            yield data[:size]
            data = data[size:]
            self.cuts += 1
        if data:
            yield data

    async def _forward(self, part):
        trouble = self.trouble
        here = trouble and not self.damaged and trouble.place - self.place
        self.place += len(part)
        if here is None or here is False or here >= len(part):
            await self._send(part)
            return
        self.damaged = True
        await self._send(part[:here])
        await self._damage(part[here:])

    async def _damage(self, rest):
        match self.trouble.kind:
            case "corrupt":
                changed = bytes([rest[0] ^ self.trouble.change])
                await self._send(changed + rest[1:])
            case "inject":
                text = self.trouble.text.encode("latin-1")
                await self._send(text + rest)
            case "truncate":
                self._finish()
                while await self._receive():
                    pass
            case "reset":
                raise _Reset
            case "stall":
                await self.loop.create_future()

    async def _send(self, data):
        # What nobody takes any more is lost; the source is not told.
        if data:
            with contextlib.suppress(OSError):
                await self.loop.sock_sendall(self.target, data)

    def _finish(self):
        with contextlib.suppress(OSError):
            self.target.shutdown(socket.SHUT_WR)


class Mangler:
    """The network between the ends *a* and *b*."""

    def __init__(self, scenario, socks):
        self.socks = socks
        self.pumps = [_Pump(name, scenario, socks[name], socks[OTHER[name]])
                      for name in "ab"]

    @property
    def damaged(self):
        return any(pump.damaged for pump in self.pumps)

    async def run(self):
        try:
            async with asyncio.TaskGroup() as group:
                for pump in self.pumps:
                    group.create_task(pump.run())
        except* _Reset:
            for sock in self.socks.values():
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                    struct.pack("ii", 1, 0))
        finally:
            for sock in self.socks.values():
                sock.close()


def connected_pair(scenario, listener):
    """Two sockets: one for an end, one for the mangler."""
    if scenario.network == "unix":
        pair = socket.socketpair()
    else:
        client = socket.create_connection(listener.getsockname())
        pair = client, listener.accept()[0]
        for sock in pair:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for sock in pair:
        sock.setblocking(False)
        if scenario.send_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF,
                            scenario.send_buffer)
    return pair


# --- One run -----------------------------------------------------------------

# Everything of asyncio's that a connection is made of.
_living = weakref.WeakSet()


def _watch_births():
    for kind in (sslproto.SSLProtocol, sslproto._SSLProtocolTransport,
                 selector_events._SelectorSocketTransport):
        def __init__(self, *args, _original=kind.__init__, **kwargs):
            _living.add(self)
            _original(self, *args, **kwargs)
        kind.__init__ = __init__


class Log:
    """What was logged, warned of or could not be raised during a run."""

    def __init__(self):
        self.entries = []

    def handle_context(self, loop, context):
        error = context.get("exception")
        text = context.get("message", "")
        if error is not None:
            text += f": {tell(error)}"
        self.entries.append(f"logged: {text}")

    def emit(self, record):
        self.entries.append(f"logged: {record.getMessage()}")
        return False

    def warn(self, message, category, *rest):
        self.entries.append(f"warned: {category.__name__}: {message}")

    def unraisable(self, what):
        self.entries.append(f"unraisable: {what.exc_value!r}")

    @contextlib.contextmanager
    def listening(self):
        logger = logging.getLogger("asyncio")
        hook = sys.unraisablehook
        logger.addFilter(self.emit)
        sys.unraisablehook = self.unraisable
        with warnings.catch_warnings():
            warnings.simplefilter("always", ResourceWarning)
            warnings.showwarning = self.warn
            try:
                yield
            finally:
                logger.removeFilter(self.emit)
                sys.unraisablehook = hook


@dataclasses.dataclass
class Report:
    """What is left of a run."""

    scenario: Scenario
    problems: list
    # By end.
    outcomes: dict
    damaged: bool = False


def run_one(scenario, listener):
    log = Log()
    before = _open_descriptors()
    constants.SSL_SILENCE_TIMEOUT = scenario.silence()
    with log.listening():
        with asyncio.Runner(debug=scenario.debug,
                            loop_factory=asyncio.SelectorEventLoop) as runner:
            loop = runner.get_loop()
            loop.slow_callback_duration = float("inf")
            loop.set_exception_handler(log.handle_context)
            report = runner.run(_run(scenario, listener))
        left = _left_in_memory()
        if _open_descriptors() != before:
            left.append("left: a descriptor")
    # A run that hangs had no chance to clean up.
    if not any(problem.startswith("hang") for problem in report.problems):
        report.problems += left + log.entries
    return report


def _open_descriptors():
    return os.listdir("/proc/self/fd")


def _left_in_memory():
    if not _living:
        return []
    names = collections.Counter(type(one).__name__ for one in _living)
    gc.collect()
    problems = [f"left: {count} {name} as cyclic garbage"
                if name not in {type(one).__name__ for one in _living}
                else f"left: {count} {name}" for name, count in names.items()]
    _living.clear()
    return sorted(problems)


async def _run(scenario, listener):
    report = Report(scenario, [], {})
    try:
        async with asyncio.timeout(scenario.guard()):
            await _play(scenario, listener, report)
    except TimeoutError:
        return report
    await passes(LAST_PASSES)
    report.problems += _left_in_loop(asyncio.get_running_loop())
    return report


async def _play(scenario, listener, report):
    ends, socks, mangler = _set_up(scenario, listener)
    network = asyncio.create_task(mangler.run())
    plays = [asyncio.create_task(end.play(socks[name]), name=f"end {name}")
             for name, end in ends.items()]
    try:
        # Not awaited as they are: that passes the guard's cancellation on.
        await asyncio.wait(plays)
        if scenario.trouble.kind != "stall":
            await asyncio.wait([network])
    except asyncio.CancelledError:
        report.problems += _hanging([*plays, network])
        raise
    finally:
        for task in (*plays, network):
            task.cancel()
        await asyncio.wait([*plays, network], timeout=1)
        report.outcomes = {name: end.outcome for name, end in ends.items()}
        report.damaged = mangler.damaged
    for task in (*plays, network):
        if not task.cancelled():
            task.result()
    report.problems += judge(scenario, ends, mangler.damaged)


def _set_up(scenario, listener):
    socks, others = {}, {}
    for name in "ab":
        socks[name], others[name] = connected_pair(scenario, listener)
    streams = {name: random.Random(f"{scenario.seed} {name}").randbytes(
        end.sends) for name, end in scenario.ends.items()}
    ends = {name: ENDS[end.api](name, scenario, streams[name],
                                 streams[OTHER[name]])
            for name, end in scenario.ends.items()}
    return ends, socks, Mangler(scenario, others)


def _hanging(tasks):
    problems = []
    for task in tasks:
        if not task.done():
            stack = task.get_stack()
            coroutine, lines = task.get_coro(), []
            while coroutine is not None and hasattr(coroutine, "cr_frame"):
                frame = coroutine.cr_frame
                lines.append(f"{frame.f_code.co_name}:{frame.f_lineno}"
                             if frame else "?")
                coroutine = coroutine.cr_await
            problems.append(f"hang: {task.get_name()} in {' '.join(lines)}")
            del stack
    return problems


def _is_idle(timer):
    """Ask if it is what timeouts that are over leave behind, for nothing."""
    owner = getattr(timer._callback, "__self__", None)
    return type(owner).__name__ == "Deadlines" and not len(owner)


def _left_in_loop(loop):
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    left = [f"task {task.get_name()}" for task in tasks]
    left += [f"timer {timer!r}" for timer in loop._scheduled
             if not timer.cancelled() and not _is_idle(timer)]
    left += [f"handle {handle!r}" for handle in loop._ready
             if not handle.cancelled()]
    left += [f"descriptor {key.fd} in the selector"
             for key in loop._selector.get_map().values()
             if key.fd != loop._ssock.fileno()]
    return [f"left: {what}" for what in left]


# --- The rules ---------------------------------------------------------------

def judge(scenario, ends, damaged):
    """The rules that the *ends* have broken."""
    problems = []
    # Short timeouts can be over on a busy machine, too.
    troubled = (damaged or scenario.patience is not None
                or any(end.interrupted for end in ends.values()))
    for name, end in ends.items():
        broken = list(end.problems)
        if end.protocol is not None:
            broken += end.protocol.problems
        broken += _judge_data(end)
        judge_end = _judge_troubled if troubled else _judge_untroubled
        broken += judge_end(scenario, end, ends[OTHER[name]], damaged)
        problems += [f"{problem} [{name}, {end.plan.api}]"
                     for problem in broken]
    return problems


def _judge_data(end):
    if end.expected.startswith(end.got):
        return
    place = next((place for place, pair in enumerate(
        zip(end.got, end.expected)) if pair[0] != pair[1]), len(end.expected))
    yield (f"wrong bytes: at {place} of {len(end.got)}: "
           f"{bytes(end.got[place:place + 20])!r}")


def _judge_untroubled(scenario, end, peer, damaged):
    if end.errors:
        yield f"unexpected error: {end.errors} / {end.outcome}"
    elif end.outcome not in ("intact", "cut"):
        yield f"unexpected error: connection_lost({end.outcome})"
    owed = (scenario.closing != "abort" and
            (scenario.closing == "all" or scenario.closers == peer.name))
    if scenario.closing == "all" and scenario.closers == "ab":
        # The first one to have all closes, maybe before it has sent all.
        owed = True
    if owed and end.got != end.expected:
        yield f"missing data: {len(end.got)} of {len(end.expected)} came"


def _judge_troubled(scenario, end, peer, damaged):
    trouble = scenario.trouble
    if end.interrupted and trouble.kind == "cancel":
        if end.errors != ["Interrupted"]:
            yield f"cancelled: but start_tls() ended with {end.errors}"
        elif end.has_error and end.protocol.lost.done() \
                and end.protocol.lost.result():
            yield (f"cancelled: but connection_lost("
                   f"{end.protocol.lost.result()})")
    if (damaged and trouble.kind in ("corrupt", "inject")
            and trouble.end == peer.name):
        # A length that was changed makes a record that the end of the
        # connection cuts, and EOF is no error, as ever.
        excused = (end.closed_itself or peer.closed_itself
                   or end.got == end.expected or scenario.closing == "abort")
        if not excused and not end.has_error:
            yield (f"no error: {len(end.got)} of {len(end.expected)} came, "
                   "and connection_lost(None)")


# --- Command line ------------------------------------------------------------

class _Stuck(KeyboardInterrupt):
    """A run does not even let the loop look at its timers."""


def _stuck(number, frame):
    raise _Stuck


class Batch:
    """Runs in a row, and what came of them."""

    def __init__(self, seed):
        self.seed = self.next = seed
        self.counts = {what: collections.Counter() for what in (
            "depths", "versions", "apis", "closings", "outcomes", "problems")}
        self.failures = []

    def run(self, runs, verbose, most_failures):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            gc.disable()
            for seed in range(self.seed, self.seed + runs):
                self._run(scenario_of(seed), listener, verbose)
                if len(self.failures) == most_failures:
                    break
                if seed % 50 == 0:
                    gc.collect()

    def _run(self, scenario, listener, verbose):
        if verbose:
            print(scenario.describe(), flush=True)
        start = time.perf_counter()
        signal.setitimer(signal.ITIMER_REAL, scenario.guard() + 10)
        try:
            report = run_one(scenario, listener)
        except _Stuck as error:
            report = Report(scenario, [f"hang: {tell(error)}"], {})
            _living.clear()
        except Exception as error:
            report = Report(scenario, [f"exception: {tell(error)}"], {})
            _living.clear()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        self._count(report)
        if verbose:
            print(f"  ended: {report.outcomes}, damaged {report.damaged}, "
                  f"{time.perf_counter() - start:.3f} s")
        if report.problems:
            self._fail(report, verbose)

    def _count(self, report):
        scenario, count = report.scenario, self.counts
        self.next = scenario.seed + 1
        count["depths"][len(scenario.layers)] += 1
        count["closings"][scenario.closing] += 1
        count["versions"].update(layer.version for layer in scenario.layers)
        count["apis"].update(end.api for end in scenario.ends.values())
        count["outcomes"].update(f"{scenario.trouble.kind}: {outcome}"
                                 for outcome in report.outcomes.values())
        # One a run and kind, as a broken run breaks many rules at once.
        count["problems"].update({problem.partition(":")[0]
                                  for problem in report.problems})

    def _fail(self, report, verbose):
        seed = report.scenario.seed
        self.failures.append({"seed": seed, "problems": report.problems})
        if not verbose:
            print(report.scenario.describe())
            print(f"  ended: {report.outcomes}, damaged {report.damaged}")
        for problem in report.problems:
            print(f"  FAILED {problem}")
        print("  repeat it with: " + shlex.join(
            [sys.executable, os.path.relpath(__file__), "--seed", str(seed),
             "--runs", "1", "--verbose"]), flush=True)

    def summary(self):
        return {"seed": self.seed, "next": self.next,
                "runs": self.next - self.seed, "counts": self.counts,
                "failures": self.failures}


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description="Seeded chaos between two ends that talk TLS in TLS.")
    parser.add_argument("--seed", type=int, default=0,
                        help="of the first run (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=100,
                        help="with a seed each (default: %(default)s)")
    parser.add_argument("--failures", type=int, default=1, metavar="N",
                        help="stop after so many (default: %(default)s)")
    parser.add_argument("--verbose", action="store_true",
                        help="tell each scenario, and how it ended")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGALRM, _stuck)
    _watch_births()
    batch = Batch(options.seed)
    batch.run(options.runs, options.verbose, options.failures)
    print(json.dumps(batch.summary()))
    return 1 if batch.failures else 0


if __name__ == "__main__":
    sys.exit(main())
