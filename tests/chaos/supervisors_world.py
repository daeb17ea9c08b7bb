"""What the programs of supervisors_programs.py run on: a loop, an executor."""

__all__ = ("Executor", "Loop", "Peer", "has_children", "open_files")

import asyncio
import collections
import concurrent.futures
import os
import selectors
import socket
import threading

# Passes of the loop after which a program is said not to end.
MOST_PASSES = 5_000
MOST_SENDS = 8
# Seconds: for what a process does next, and for a thread or process at most.
SHORT, LONG = 0.1, 10


def open_files():
    return set(os.listdir("/proc/self/fd"))


def has_children():
    """Ask if there is a child process, or what is left of one."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


class Loop(asyncio.SelectorEventLoop):
    """A loop whose time jumps to the next timer when nothing is ready.

    Threads of the Executor have done what they can before each pass, and the
    other ends of sockets and pipes are this process's: so a program runs in
    the same way each time.
    """

    def __init__(self):
        self.now, self.passes = 0.0, 0
        # Why it was stopped.
        self.gave_up = None
        # Called when the callbacks of a pass have run.
        self.after_pass = lambda: None
        super().__init__(_Selector(self))
        self.executor = self._default_executor = Executor()

    def time(self):
        return self.now

    def give_up(self, why):
        self.gave_up = self.gave_up or why
        self.stop()

    def _poll(self, select, timeout):
        self.after_pass()
        self.passes += 1
        if self.passes > MOST_PASSES:
            self.give_up("it goes on for ever")
        if not self.executor.wait_until_idle():
            self.give_up("a thread goes on for ever")
        events = select(0)
        if events or timeout == 0:
            return events
        if has_children():
            # Only for these it waits.
            events = select(LONG if timeout is None else SHORT)
        if not events and timeout is None:
            self.give_up("nothing will ever happen any more")
        elif not events:
            self.now += timeout
        return events


class _Selector(selectors.DefaultSelector):
    def __init__(self, loop):
        super().__init__()
        self._loop = loop

    def select(self, timeout=None):
        return self._loop._poll(super().select, timeout)


class Executor(concurrent.futures.Executor):
    """Has one thread, in which jobs can wait at gates."""

    def __init__(self):
        self._changed = threading.Condition()
        # Under the condition.
        self._jobs = collections.deque()
        self._is_running = False
        # The gate at which the job waits, or None; those that are open.
        self._gate, self._opened = None, set()
        self._thread = None

    def submit(self, function, /, *args):
        future = concurrent.futures.Future()
        with self._changed:
            self._jobs.append((future, function, args))
            self._changed.notify_all()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        # What is first in the queue begins at once.
        self.wait_until_idle()
        return future

    def shutdown(self, wait=True, *, cancel_futures=False):
        pass

    def pass_gate(self, gate):
        """In a job: wait until the gate is open."""
        with self._changed:
            self._gate = gate
            self._changed.notify_all()
            self._changed.wait_for(lambda: gate in self._opened)
            self._opened.discard(gate)
            self._gate = None

    def open(self, gate):
        with self._changed:
            self._opened.add(gate)
            self._changed.notify_all()

    def wait_until_idle(self):
        """Return true if all that can be done now was done in time."""
        with self._changed:
            return self._changed.wait_for(self._is_idle, LONG)

    def _is_idle(self):
        if self._gate is not None:
            return self._gate not in self._opened
        return not (self._jobs or self._is_running)

    def _run(self):
        while True:
            with self._changed:
                self._is_running = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._jobs)
                future, function, args = self._jobs.popleft()
                self._is_running = True
            if future.set_running_or_notify_cancel():
                self._do(future, function, args)

    @staticmethod
    def _do(future, function, args):
        try:
            future.set_result(function(*args))
        except BaseException as exc:
            future.set_exception(exc)


class Peer:
    """The other end of a socket or pipe, which nobody owns."""

    def __init__(self, file):
        self.file = file
        self.received = self.sends = 0
        os.set_blocking(file.fileno(), False)

    def send(self):
        # A protocol that has it sent more each time goes on for ever.
        self.sends += 1
        if self.sends <= MOST_SENDS:
            self._try(os.write, b"some data")

    def read(self):
        """Read all that is there."""
        while data := self._try(os.read, 1 << 20):
            self.received += len(data)

    def close(self):
        self.file.close()

    def send_eof(self):
        if self.is_closed():
            return
        if isinstance(self.file, socket.socket):
            try:
                self.file.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # It is not connected any more.
        else:
            self.file.close()

    def is_closed(self):
        if isinstance(self.file, socket.socket):
            return self.file.fileno() < 0
        return self.file.closed

    def _try(self, function, argument):
        if self.is_closed():
            return None
        try:
            return function(self.file.fileno(), argument)
        except OSError:
            return None  # It is full, empty, lost or of the other kind.
