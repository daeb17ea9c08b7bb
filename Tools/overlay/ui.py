"""What the tools say: errors, steps, progress, and logs of what they run."""

import argparse
import collections
import contextlib
import os
import subprocess
import sys
import time


class OverlayError(Exception):
    """A failure that is told in one line: what failed, and what to do."""


class ArgumentParser(argparse.ArgumentParser):
    """One that tells of wrong arguments in a line, without the usage."""

    def error(self, message):
        raise OverlayError(f"{message} (see {self.prog} --help)")


def say(text):
    print(text, flush=True)


@contextlib.contextmanager
def step(what):
    """Say what begins, and how long it took when it ended well."""
    say(f"==> {what}")
    start = time.monotonic()
    yield
    elapsed = time.monotonic() - start
    if elapsed >= 1:
        say(f"    done in {elapsed:.0f} s")


class Counter:
    """How far a step is: a line redrawn on a terminal, few lines in a pipe."""

    def __init__(self, label, total=None):
        self.label = label
        self.total = total
        self.count = 0
        self._tty = sys.stdout.isatty()
        # When the next line may be printed, on time.monotonic().
        self._due = 0.0 if self._tty else time.monotonic() + 30

    def advance(self, count=1):
        self.count += count
        now = time.monotonic()
        if now >= self._due:
            self._due = now + (0.1 if self._tty else 30)
            self._draw("\r" if self._tty else "")

    def finish(self):
        if self._tty:
            self._draw("\r")
            print(flush=True)

    def _draw(self, start):
        if self.total:
            done = min(self.count, self.total)
            bar = "#" * (20 * done // self.total)
            text = f"    [{bar:<20}] {done}/{self.total} {self.label}"
        else:
            text = f"    {self.count} {self.label}"
        print(start + text, end="" if self._tty else "\n", flush=True)


def run_logged(command, log, *, what, label="lines", total=None, counts=None,
               tail=15, **popen):
    """Run *command* with its output appended to the file *log*.

    Shows a counter of output lines for which *counts* is true (all of them
    by default).  Raises OverlayError with the log's tail and its path if the
    command fails.
    """
    os.makedirs(os.path.dirname(log), exist_ok=True)
    last = collections.deque(maxlen=tail)
    counter = Counter(label, total)
    with open(log, "a", encoding="utf-8", errors="replace") as out:
        out.write(f"$ {' '.join(map(str, command))}\n")
        out.flush()
        with subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL, text=True, errors="replace",
                **popen) as process:
            try:
                for line in process.stdout:
                    out.write(line)
                    out.flush()
                    last.append(line)
                    if counts is None or counts(line):
                        counter.advance()
            except BaseException:
                process.terminate()
                # make would die of a pipe that is closed, and leave what it
                # has half done.  Nothing is written, as the disk can be full.
                process.stdout.read()
                raise
    if counter.count:
        counter.finish()
    if process.returncode:
        for line in last:
            print("    | " + line.rstrip(), file=sys.stderr)
        raise OverlayError(
            f"{what} failed with status {process.returncode}; "
            f"the whole output is in {log}")
