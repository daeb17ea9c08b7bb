"""Timeouts that cancel the block of an ``async with`` statement once."""

__all__ = ("Timeout", "timeout", "timeout_at")

import enum
import math
import typing

from . import cancellation
from . import events
from . import exceptions
from . import tasks


# How it works
#
# A timeout is edge-triggered: when its time has come it asks its task, once,
# to stop.  On leaving the block it takes the request back.  If then nobody
# else asks the task to stop, the CancelledError becomes a TimeoutError.
#
# A deadline that is in the future is armed when the task first suspends in
# the block; most blocks end before.  It is then among the Deadlines of the
# loop.  A task that has no Canceller does not say when it suspends: there a
# timer is made on entry, and so is one for what is due then.


class _State(enum.Enum):
    CREATED = "created"
    ENTERED = "active"
    EXPIRING = "expiring"
    EXPIRED = "expired"
    EXITED = "finished"


@typing.final
class Timeout(cancellation.Guard):
    """An asynchronous context manager that limits the time of its block.

    It is made by timeout() and timeout_at().
    """

    # What will call _on_timeout(), if it is not among the loop's Deadlines.
    _timer = None
    # For the Deadlines.
    _queued = None
    # The task has suspended in the block, or has no Canceller.
    _armed = False

    # For what is made without __init__().
    _state = _State.CREATED

    def __init__(self, when):
        if self._state is not _State.CREATED:
            raise RuntimeError("Timeout has already been entered")
        self._when = when

    def __repr__(self):
        info = self._state.value
        if self._state is _State.ENTERED:
            when = None if self._when is None else round(self._when, 3)
            return f"<Timeout [{info}] when={when}>"
        return f"<Timeout [{info}]>"

    def when(self):
        """Return the deadline on loop.time(), or None."""
        return self._when

    def expired(self):
        """Return true if the deadline has passed during the block."""
        return self._state in (_State.EXPIRING, _State.EXPIRED)

    def reschedule(self, when):
        """Move the deadline to *when* on loop.time(); None takes it away.

        RuntimeError is raised before the block is entered and after the
        deadline or the end of the block.
        """
        if self._state is _State.CREATED:
            raise RuntimeError("Timeout has not been entered")
        if self._state is not _State.ENTERED:
            raise RuntimeError(
                f"Cannot change state of {self._state.value} Timeout")
        self._when = when
        self._disarm()
        if when is not None:
            self._set_timer()

    async def __aenter__(self):
        if self._state is not _State.CREATED:
            raise RuntimeError("Timeout has already been entered")
        task = tasks.current_task()
        if task is None:
            raise RuntimeError("Timeout should be used inside a task")
        self._state = _State.ENTERED
        cancellation.begin(self, task)
        self._armed = not self._is_known
        if self._when is not None:
            try:
                self._set_timer()
            except BaseException:
                self._state = _State.EXITED
                cancellation.leave(self)
                raise
        return self

    async def __aexit__(self, exc_type, exc, tb):
        if self._state not in (_State.ENTERED, _State.EXPIRING):
            raise RuntimeError(f"Cannot leave {self._state.value} Timeout: "
                               "use it in one async with statement")
        try:
            self._disarm()
        finally:
            try:
                self._end(exc)
            finally:
                del exc, tb

    def _end(self, exc):
        if self._state is _State.EXPIRING:
            self._state = _State.EXPIRED
            _end_expired(self, exc)
        else:
            self._state = _State.EXITED
            cancellation.leave(self)

    def _set_timer(self):
        loop = events.get_running_loop()
        if self._when <= loop.time():
            self._timer = loop.call_soon(self._on_timeout)
        elif self._armed:
            self._set_later(loop)

    def _set_later(self, loop):
        when = _as_deadline(self._when) if self._is_known else None
        if when is not None:
            cancellation.arm(self, loop, when)
        else:
            self._timer = loop.call_at(self._when, self._on_timeout)

    def _disarm(self):
        cancellation.disarm(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timeout(self):
        self._timer = None
        self._state = _State.EXPIRING
        cancellation.ask(self)

    def _expire(self):
        """The deadline has passed; called by the Deadlines."""
        self._state = _State.EXPIRING
        _ask_in_context(self)

    # The task's Canceller calls these.

    def _arm(self):
        self._armed = True
        if self._timer is None and self._when is not None:
            self._set_later(events.get_running_loop())

    def _abandon(self):
        self._disarm()


def _as_deadline(when):
    """Return the float of a time that Deadlines can have, or None."""
    try:
        when = float(when)
    except (TypeError, ValueError, OverflowError):
        return None
    return when if math.isfinite(when) else None


# The Timeout in C calls these five, too.

_ask = cancellation.ask
_begin_elsewhere = cancellation.begin


def _leave_elsewhere(timeout, task):
    timeout._task = task
    cancellation.leave(timeout)


def _ask_in_context(timeout):
    """Ask the task to stop, as a timer made by the task would."""
    # A copy, as for any timer: that of the task can be entered already.
    context = timeout._task.get_context().copy()
    context.run(cancellation.ask, timeout)


def _end_expired(timeout, exc):
    """The block ends in *exc*, or None, after its time."""
    cancellation.withdraw(timeout)
    ends_here = not cancellation.is_asked_by_others(timeout)
    cancellation.leave(timeout)
    if ends_here and exc is not None:
        _make_timeout_error(exc)


def _make_timeout_error(exc):
    """Raise TimeoutError for a CancelledError, or say in another exception
    that a timeout was on the way."""
    if isinstance(exc, exceptions.CancelledError):
        raise TimeoutError from exc
    _tell_of_timeout(exc)
    if isinstance(exc, ExceptionGroup):
        for part in exc.exceptions:
            _tell_of_timeout(part)


def _tell_of_timeout(exc):
    """Put a TimeoutError before the last CancelledError among the contexts."""
    while (context := exc.__context__) is not None:
        if isinstance(context, exceptions.CancelledError):
            error = TimeoutError()
            error.__context__ = error.__cause__ = context
            exc.__context__ = error
            return
        exc = context


def timeout(delay):
    """Return a context manager that limits its block to *delay* seconds.

    The seconds count from this call; None is no limit.  A block that takes
    longer is cancelled once, and leaving it raises TimeoutError:

        async with asyncio.timeout(10):
            await long_running()

    A cancellation that someone else asked for, with Task.cancel() or a cancel
    scope, stays a CancelledError.
    """
    loop = events.get_running_loop()
    return Timeout(loop.time() + delay if delay is not None else None)


def timeout_at(when):
    """Return a context manager whose block ends at *when* on loop.time().

    Like timeout(), but with an absolute time.
    """
    return Timeout(when)


_PyTimeout, _py_timeout, _py_timeout_at = Timeout, timeout, timeout_at

try:
    from _asyncio import Timeout, timeout, timeout_at
except ImportError:
    pass
else:
    _CTimeout, _c_timeout, _c_timeout_at = Timeout, timeout, timeout_at
