"""Supervisors: whatever an event loop can allocate, owned by a block."""

__all__ = ("Supervisor",)

import enum
import functools
import heapq
import itertools
import signal
import threading
import types
import weakref
from _thread import RLock  # threading's is a function in Python.

from . import base_events
from . import cancellation
from . import coroutines
from . import events
from . import exceptions
from . import futures
from . import sslproto
from . import tasks
from . import transports
from . import trsock
from .log import logger


# How it works
#
# The *supervisor* is what the user holds.  Its methods ask if anything may be
# allocated now, have a *view* of the loop allocate it, and note it in books.
#
# A view is an object of a subclass of the loop's own class that shares the
# instance dictionary of the loop: the loop's own code runs on it, and what it
# allocates has the view for its loop.  So an exception that nobody handles
# comes to the view's call_exception_handler(), and from there to the
# supervisor.  There are two of them.  The *outer* view is the loop of the
# user's callbacks: they are dropped when the supervisor aborts.  The *inner*
# view is the loop of transports, servers and processes: what they schedule
# through it is never refused or dropped.  Futures and tasks are the real
# loop's; only their callbacks are scheduled through the inner view.
#
# A normal exit awaits the work (tasks, jobs, processes, ready callbacks), step
# by step, and then releases what merely stands.  A failure or a cancellation
# requests everything at once, and then waits.  Futures are last, as protocols
# resolve them in connection_lost().


class _State(enum.Enum):
    NEW = "not entered"
    # The body runs.
    OPEN = "open"
    # The body has ended; work is awaited.
    DRAINING = "draining"
    # Transports are flushed and closed.
    CLOSING = "closing"
    # It has failed or was cancelled.
    ABORTING = "aborting"
    CLOSED = "closed"

    # That of Enum is in Python.
    __hash__ = object.__hash__


# Found sooner than by the name of the class.
_NEW, _OPEN, _CLOSED = _State.NEW, _State.OPEN, _State.CLOSED

_NEXT = {
    "drain": {_State.OPEN: _State.DRAINING},
    "close": {_State.DRAINING: _State.CLOSING},
    "abort": {_State.OPEN: _State.ABORTING,
              _State.DRAINING: _State.ABORTING,
              _State.CLOSING: _State.ABORTING},
    "end": {_State.OPEN: _State.CLOSED,  # There is nothing to wait for.
            _State.CLOSING: _State.CLOSED,
            _State.ABORTING: _State.CLOSED},
}

# Where everything can be allocated, and where only callbacks, timers and
# futures can; in ABORTING these are made, but cancelled.
_FOR_WORK = frozenset({_State.OPEN, _State.DRAINING})
_FOR_CALLBACKS = _FOR_WORK | {_State.CLOSING}

_WHY_NOT = {
    _State.NEW: "is not entered: use 'async with'",
    _State.CLOSING: "is closing",
    _State.ABORTING: "is shutting down",
    _State.CLOSED: "has ended",
}


class _Kind(enum.Enum):
    """What can be owned, in the order in which it is released."""

    SERVER = "servers"
    TASK = "tasks"
    JOB = "jobs"
    CALL = "calls"
    PROCESS = "processes"
    TIMER = "timers"
    REGISTRATION = "registrations"
    TRANSPORT = "transports"
    # Tasks and timers of the loop's own code.
    MACHINERY = "machinery"
    DELAY = "delays"

    __hash__ = object.__hash__


_TASK, _TIMER = _Kind.TASK, _Kind.TIMER


# What the end of an aborted supervisor waits for: first that which runs by
# itself, and then, when owned futures are cancelled, that which may wait for
# them.
_RUN_BY_THEMSELVES = (_Kind.PROCESS, _Kind.TRANSPORT, _Kind.MACHINERY)
_MAY_WAIT = (_Kind.TASK, _Kind.JOB, _Kind.CALL)


class _Refusal(RuntimeError):
    """A supervisor that is no longer, or not yet, open was asked for more."""

    def __init__(self, supervisor):
        # Without the counts of repr(): each of many connections may be refused
        # something as it is lost.
        super().__init__(f"<{supervisor._title()}> "
                         f"{_WHY_NOT[supervisor._state]}")
        self.supervisor = supervisor


class _PyTaskOwnerBase:
    """What a task owner does for each of its tasks."""

    # What each block sets or looks at has no default in the class, which would
    # make both slower.
    def __init__(self, *, name=None):
        self._name = name if name is None else str(name)
        self._state = self._NEW
        self._loop = None
        # The task that has entered the block.
        self._host = None
        # What cancels the host, and knows of the scopes around the block; None
        # while it is not needed.
        self._guard = None
        # Where the tasks are in the tree of scopes, or None.
        self._node = None
        # Those that are not done.
        self._tasks = set()
        self._task_was_cancelled = False
        # Each error once, by its id(), in the order in which they were seen;
        # None but in the block.
        self._errors = None
        # The first KeyboardInterrupt, SystemExit or GeneratorExit.
        self._base_error = None
        # The CancelledError of the body, or else the first one that came while
        # the exit waited; the last one if we have asked for the body's.
        self._cancelled_error = None
        self._cancel_called = False
        self._is_exiting = False
        # What the exit waits for, or None.
        self._wake = None
        # What hears of the tasks as their loop would; its call_soon() and so
        # on.  None if it is still to be made, by _inner.
        self._owner_of_tasks = None
        # What is called for each task that is done: None, or it is made once,
        # so that the owner knows it.
        self._task_callback = None
        # Tasks of which the next one that is told of tells, or None.
        self._returned = None

    def create_task(self, coro, **kwargs):
        """Start a task that is owned; return it.

        The keyword arguments are those of asyncio.create_task().  A refusal
        raises RuntimeError, and closes *coro*.
        """
        # The one in C does that only if it is needed.
        return self._create_carefully(coro, **kwargs)

    def _take(self, task):
        """Note a new task, and hear of its end; return our state then."""
        owner = self._owner_of_tasks
        try:
            # Its exit is its result: what it belongs to is cleaned up first.
            task._asyncio_owner = self._inner if owner is None else owner
        except AttributeError:
            pass  # Of a foreign class with slots.
        # Nothing is called between these: who aborts later finds the task.
        state = self._state
        self._tasks.add(task)
        try:
            task.add_done_callback(self._task_callback or self._on_task_done)
        except BaseException:
            # A factory's None, for instance, would never be gone.
            self._tasks.discard(task)
            raise
        return state

    def _note_return(self, task):
        """A task has ended; return true if nothing is to be called for it.

        Of tasks that return in one pass, only the first has its callback
        scheduled.
        """
        if task.cancelled() or task.exception() is not None:
            return False
        if self._returned is None:
            self._returned = []
            return False
        self._returned.append(task)
        return True

    def _on_task_done(self, task):
        self._tasks.discard(task)
        if self._returned is not None:
            self._tasks.difference_update(self._returned)
            self._returned = None
        if not self._tasks and self._wake is not None:
            self._changed()
        self._task_ended(task)


try:
    from _asyncio import _TaskOwnerBase
except ImportError:
    _TaskOwnerBase = _PyTaskOwnerBase


class TaskOwner(_TaskOwnerBase):
    """A block that owns tasks, and ends with them.

    A task group is that, and a supervisor owns more.
    """

    # What the base in C looks up: states, and what makes a task that begins in
    # a later pass of the loop.
    _NEW = _NEW
    _OPEN = _OPEN
    _PLAIN_CREATE = base_events.BaseEventLoop.create_task

    # The message of the group of errors.
    _errors_message = None
    # The message of cancel().
    _cancel_msg = None
    # The host was asked to stop.
    _has_asked = False

    # The block.

    def _begin(self, host):
        """The block is entered in the task *host*."""
        self._host = host
        self._errors = {}
        self._state = _OPEN
        if (self._cancel_called or host.cancelling()
                or getattr(host, "_canceller", None) is not None):
            self._look_around()

    def _look_around(self):
        """There may be scopes around, or someone may have said cancel()."""
        self._guard = guard = cancellation.enter_group(self._host)
        if guard is not None:
            self._node = guard.node
        if self._cancel_called:
            self._abort()

    def _needed_guard(self):
        if self._guard is None:
            self._guard = cancellation.HostGuard(self._host)
        return self._guard

    def _take_in(self, exc):
        """Note the exception with which the body ended."""
        if isinstance(exc, exceptions.CancelledError):
            self._cancelled_error = exc
        elif isinstance(exc, GeneratorExit):
            if self._base_error is None:
                self._base_error = exc
        elif exc is not None:
            self._add_error(exc)

    async def _until_changed(self):
        """Wait until something is gone; abort if the host is cancelled."""
        self._wake = self._loop.create_future()
        try:
            if self._guard is None:
                await self._wake
            else:
                await self._guard.wait(self._wake,
                                       hide=self._state is _State.ABORTING)
        except exceptions.CancelledError as exc:
            if self._cancelled_error is None or self._has_asked:
                self._cancelled_error = exc
            self._abort()
        finally:
            self._wake = None

    def _changed(self):
        """Something is gone: go on with what waits for that."""
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _conclude(self, exc):
        """Raise what is to be raised; return true to swallow *exc*."""
        guard = self._needed_guard()
        others = (guard.take_back() if self._has_asked
                  else cancellation.is_asked_by_others(guard))
        cancelled = self._cancelled_error
        if self._has_asked and not others:
            cancelled = None
        elif cancelled is None and (self._task_was_cancelled
                                    or self._cancel_called):
            # Nothing runs on as if the tasks had finished.
            cancelled = cancellation.level_error(self._host)
        try:
            if self._base_error is not None:
                self._report_errors()
                if self._base_error is exc:
                    return False
                raise self._base_error
            if self._errors:
                guard.ask_again()
                # What the body was told does not explain the errors.
                raise BaseExceptionGroup(self._errors_message,
                                         [*self._errors.values()]) from None
            if cancelled is None or cancelled is exc:
                return cancelled is None
            raise cancelled
        finally:
            cancelled = exc = None

    def _report_errors(self):
        """Something else is raised: let the loop tell of the errors."""
        for error in self._errors.values():
            self._loop.call_exception_handler({
                "message": f"Unhandled exception in {self!r}",
                "exception": error})

    def _forget_block(self):
        if self._guard is not None:
            self._guard.leave()
            self._guard = self._node = None
        self._host = self._errors = None
        self._base_error = self._cancelled_error = None

    # The state.

    def _go(self, event):
        self._state = _NEXT[event][self._state]

    def cancel(self, msg=None):
        """End everything: what is owned, and the block.

        The block then exits without an error of its own.  *msg* is the text
        of the CancelledErrors.  Does nothing after the end; before the block
        is entered, it is cancelled when it is.
        """
        if not self._cancel_called:
            self._cancel_called = True
            self._cancel_msg = msg
        self._abort()

    def _abort(self):
        """Request the end of everything, at once."""
        if self._state not in _NEXT["abort"]:
            return
        self._go("abort")
        with cancellation.from_outside():
            self._release_all()
        if not self._is_exiting:
            self._has_asked = True
            self._needed_guard().ask(self._cancel_msg)
        self._changed()

    def _release_all(self):
        self._release_each(_release_task, self._tasks)

    def _release_each(self, release, things):
        """Call release(self, thing) for each, also after errors."""
        failed = False
        for thing in list(things):
            try:
                release(self, thing)
            except BaseException as exc:
                if self._loop.is_closed():
                    continue  # Nothing can be asked of it any more.
                self._add_error(exc)
                failed = True
        return failed

    def _add_error(self, exc):
        if isinstance(exc, (KeyboardInterrupt, SystemExit)):
            if self._base_error is None:
                self._base_error = exc
        else:
            self._errors[id(exc)] = exc

    # Tasks.

    def _create_carefully(self, coro, **kwargs):
        """Create a task that is known before its first step."""
        if self._state is not _OPEN or self._is_exiting:
            self._check_task(coro)
        if kwargs.get("context", self) is None:
            # Not every loop's method has that argument.
            del kwargs["context"]
        adopter = _Adopter(self)
        task = cancellation.create_below(adopter, self._loop.create_task,
                                         coro, **kwargs)
        if adopter.came_late:
            _release_task(self, task)
        _forget_our_frames(task)
        try:
            return task
        finally:
            # The traceback of an eager task's exception has this frame.
            del task

    def _release_late(self, task):
        """The block was aborted while the task was made in C."""
        _release_task(self, task)

    def _check_task(self, coro):
        """Refuse a task, unless there is still reason to wait for it."""
        raise NotImplementedError

    def _adopt(self, task):
        """Take a new task, before its first step; return our state then."""
        state = self._take(task)
        if self._node is not None:
            self._node.adopt(task)
        return state

    def _task_ended(self, task):
        if task.cancelled():
            self._task_was_cancelled = True
        elif (exc := task.exception()) is not None:
            # No repr(), which runs that of the exception.
            self._task_failed({"message": "Unhandled exception in task "
                                          f"{_name_of(task)!r}",
                               "exception": exc, "task": task})

    def _task_failed(self, context):
        if self._errors is None:
            # The block was left before.
            self._loop.call_exception_handler(context)
        else:
            self._fail_for(context)

    def _fail_for(self, context):
        self._add_error(context["exception"])
        if self._host.done():
            # It has not left the block, and perhaps nobody will.
            self._loop.call_exception_handler(context)
        self._abort()


def _forget_our_frames(task):
    """In debug mode: the task was made by who has called this module."""
    stack = getattr(task, "_source_traceback", None)
    while stack and stack[-1].filename == TaskOwner._abort.__code__.co_filename:
        del stack[-1]


def _close_coroutine(coro):
    # What is refused may be none.
    if coroutines.iscoroutine(coro):
        coro.close()


def _name_of(task):
    # What a factory or a loop makes may be a future.
    get_name = getattr(task, "get_name", None)
    return type(task).__name__ if get_name is None else get_name()


class _Adopter:
    """Tells who makes a task of it, before its first step."""

    def __init__(self, owner):
        self._owner = owner
        # The owner had aborted before, and has not asked the task to stop.
        self.came_late = False

    def adopt(self, task):
        self.came_late = self._owner._adopt(task) is _State.ABORTING


class Supervisor(TaskOwner, events._LoopProxy):
    """Offers every API of an event loop, and owns what is allocated.

    Made by :meth:`loop.create_supervisor`, and entered with ``async with``,
    once.  Any unhandled exception in what it owns makes it fail: all of it is
    cleaned up, the body is cancelled, and the block raises a
    BaseExceptionGroup of the errors.

    What it refuses to allocate raises RuntimeError: before it is entered and
    after it has ended, and while it closes down for all but callbacks, timers
    and futures.
    """

    # Found in less time than in a dictionary.
    __slots__ = ("_failure_handler", "_timers", "_books", "_futures",
                 "_outer_view", "_is_plain", "_lock", "_drops",
                 "_has_callbacks", "_has_machinery_callbacks",
                 "_has_layer_callbacks")

    _errors_message = "unhandled errors in a supervisor"
    # These are of what is not simply left.
    _futures_are_cancelled = False
    # It waits for what layers of TLS have scheduled for each other.
    _is_settling = False
    # Markers in the ready queue that have run.
    _passes = 0

    def __init__(self, loop, name=None, failure_handler=None):
        if failure_handler is not None and (
                not callable(failure_handler)
                # All that it returns is true.
                or coroutines.iscoroutinefunction(failure_handler)):
            raise TypeError("a plain callable was expected as "
                            f"failure_handler, got {failure_handler!r}")
        super().__init__(name=name)
        self._loop = loop
        self._failure_handler = failure_handler
        # What is owned and alive: of each kind a dict by id(), or by what is
        # registered.  Only _own() and _forget() change them.
        self._timers = {}
        self._books = {_TASK: self._tasks, _TIMER: self._timers}
        # Those that somebody has, if there was any.  Weak: whoever drops a
        # future has no use for it.
        self._futures = None
        self._outer_view = None
        # There is a view, and the loop schedules callbacks as asyncio's do.
        self._is_plain = False
        # Held by who changes the state, and by other threads that look at it.
        self._lock = RLock()
        # Callbacks that are ready are dropped from now on.
        self._drops = False
        # Something was scheduled through a view since this was last reset.
        self._has_callbacks = False
        self._has_machinery_callbacks = False
        # The same, but for callbacks of futures: these may go on for ever.
        self._has_layer_callbacks = False

    def _title(self):
        name = "" if self._name is None else f"{self._name!r} "
        return f"{type(self).__name__} {name}{self._state.value}"

    def __repr__(self):
        info = [self._title()]
        for kind in _Kind:
            if alive := list(self._alive(kind)):
                info.append(f"{kind.value}={len(alive)}")
        if alive := self._alive_callbacks():
            info.append(f"callbacks={len(alive)}")
        if alive := self._alive_futures():
            info.append(f"futures={len(alive)}")
        return f"<{' '.join(info)}>"

    @property
    def _real_loop(self):
        return self._loop

    @property
    def _outer(self):
        if self._outer_view is None:
            self._outer_view = self._make_outer()
        return self._outer_view

    @property
    def _inner(self):
        if self._owner_of_tasks is None:
            self._owner_of_tasks = self._make_inner()
            self._task_callback = self._on_task_done
        return self._owner_of_tasks

    def _make_outer(self):
        self._is_plain = _is_plain(type(self._loop))
        return _view(_OuterView, self)

    def _make_inner(self):
        self._is_plain = _is_plain(type(self._loop))
        return _view(_InnerView, self)

    @property
    def _loop_class(self):
        """Of which call_soon() and the like are called on the outer view."""
        return type(self._loop)

    # The block.

    async def __aenter__(self):
        if self._state is not _NEW:
            raise RuntimeError(f"{self!r} has already been entered: create "
                               "another one")
        self._begin(self._current_task())
        return self

    async def __aexit__(self, exc_type, exc, traceback):
        if self._is_exiting or self._state is _NEW:
            raise RuntimeError(f"{self!r} cannot be left: it "
                               f"{_WHY_NOT.get(self._state, 'is left already')}")
        is_here = (events._get_running_loop() is self._loop
                   and tasks.current_task() is self._host)
        if not is_here and not isinstance(exc, GeneratorExit):
            self._replace_host()
            is_here = True
        self._is_exiting = True
        if exc is None and self._ends_at_once():
            return False
        try:
            if exc is not None:
                self._take_in(exc)
                self._abort()
            elif self._state is not _OPEN:
                self._abort()
            else:
                await self._drain()
            if not is_here:
                return False  # The coroutine of the host is being closed.
            if self._state is _State.ABORTING:
                await self._until(self._is_over)
            await self._end()
            return self._conclude(exc)
        finally:
            self._forget_all()
            exc = None

    def _replace_host(self):
        """Let another task leave the block, if its host has ended in it."""
        if not self._host.done():
            # Perhaps nobody will leave it where they would be raised.
            self._report_errors()
            raise RuntimeError(f"{self!r} was entered in another task: leave "
                               "it there")
        host = self._current_task()
        if self._guard is not None:
            self._guard.leave()
        self._host = host
        self._has_asked = False
        self._look_around()

    def _ends_at_once(self):
        """End if there is nothing to wait for or to release."""
        # Another thread may schedule something meanwhile.
        with self._lock:
            if (self._state is not _OPEN or self._guard is not None
                    or self._futures is not None
                    or self._has_callbacks or self._has_machinery_callbacks
                    or any(self._books.values())):
                return False
            self._state = _CLOSED
        # What _forget_all() does.
        self._host = self._errors = None
        self._outer_view = self._owner_of_tasks = self._task_callback = None
        return True

    def _current_task(self):
        if events._get_running_loop() is not self._loop:
            raise RuntimeError(f"{self!r} belongs to another event loop: use "
                               "it in a task of that")
        task = tasks.current_task()
        if task is None:
            raise RuntimeError(f"{self!r} can be entered, and asked to "
                               "connect or serve, in a task only")
        return task

    async def _drain(self):
        """Await the work, and release the rest; return early if it fails."""
        self._go("drain")
        await self._await_work()
        if self._state is _State.DRAINING:
            self._release(_Kind.SERVER)
            self._release(_Kind.TIMER)
            self._release(_Kind.REGISTRATION)
            self._go("close")
            self._release(_Kind.CALL)
            self._release(_Kind.TRANSPORT)
            await self._until(self._has_none, _Kind.TRANSPORT,
                              _Kind.MACHINERY, _Kind.CALL)
        while (self._has_layer_callbacks
               and self._state is _State.CLOSING):
            self._has_layer_callbacks = False
            await self._one_pass()
        if self._state is _State.CLOSING:
            self._cancel_futures()
            await self._one_pass_for_callbacks()

    async def _await_work(self):
        self._release(_Kind.SERVER)
        work = (_Kind.TASK, _Kind.JOB, _Kind.PROCESS)
        first = True
        while self._state is _State.DRAINING:
            await self._until(self._has_none, _Kind.TASK, _Kind.JOB)
            if self._state is _State.DRAINING:
                self._release(_Kind.PROCESS)
                await self._until(self._has_no_process_or_an_open_stdin)
            if (first and self._has_callbacks
                    and self._state is _State.DRAINING):
                # One batch: a callback may schedule itself for ever.
                first = False
                self._has_callbacks = False
                await self._one_pass()
            if self._has_none(*work):
                break

    def _has_no_process_or_an_open_stdin(self):
        # A process that was made meanwhile may wait for its end.
        return self._has_none(_Kind.PROCESS) or (
            self._has_none(_Kind.TASK, _Kind.JOB)
            and any(map(_open_stdin, self._of(_Kind.PROCESS).values())))

    async def _end(self):
        """Refuse everything from now on, and run what was accepted."""
        self._release(_Kind.TIMER)
        self._release(_Kind.DELAY)
        self._cancel_futures()
        self._go("end")
        await self._one_pass_for_callbacks()

    def _forget_all(self):
        # What holds a view still comes to the loop.
        if self._state is not _CLOSED:
            self._go_on_from_crash()
            self._report_errors()
        self._forget_block()
        self._books.clear()
        self._outer_view = self._owner_of_tasks = self._futures = None
        self._task_callback = None

    def _go_on_from_crash(self):
        """The exit was cut short: its task was closed, or a bug raised."""
        if self._state is not _State.ABORTING:
            self._abort()
        self._drops = True
        self._go("end")

    # Waiting.

    async def _until(self, condition, *args):
        """Wait until condition(*args) is true, or the supervisor aborts."""
        before = self._state
        while not condition(*args) and self._state is before:
            await self._until_changed()

    async def _one_pass_for_callbacks(self):
        if self._has_callbacks or self._has_machinery_callbacks:
            self._has_callbacks = self._has_machinery_callbacks = False
            await self._one_pass()

    async def _one_pass(self):
        """Wait until all that is ready now has run."""
        marker = self._passes + 1
        self._loop.call_soon(self._passed)
        while self._passes < marker:
            await self._until(lambda: self._passes >= marker)

    def _passed(self):
        self._passes += 1
        self._changed()

    def _changed(self):
        if (self._state is _State.ABORTING and not self._futures_are_cancelled
                and self._has_none(*_RUN_BY_THEMSELVES)
                and not self._loop.is_closed()):
            if not self._is_settling:
                self._is_settling = True
                self._settle_in_a_pass()
        super()._changed()

    def _settle_in_a_pass(self):
        # Perhaps a connection_lost() runs before.
        self._has_layer_callbacks = False
        self._loop.call_soon(self._settle)

    def _settle(self):
        if not self._has_none(*_RUN_BY_THEMSELVES):
            self._is_settling = False
        elif self._has_layer_callbacks:
            self._settle_in_a_pass()
        else:
            self._cancel_futures()
            self._changed()

    def _is_over(self):
        return (self._futures_are_cancelled
                and self._has_none(*_RUN_BY_THEMSELVES, *_MAY_WAIT))

    def _has_none(self, *kinds):
        return not any(self._books.get(kind) for kind in kinds)

    # The state.

    def _go(self, event):
        with self._lock:
            super()._go(event)

    def _abort(self):
        if self._state in _NEXT["abort"]:
            self._drops = True
            super()._abort()

    def _release_all(self):
        for kind in _Kind:
            self._release(kind)

    def _release(self, kind):
        """Let go of everything of a kind: gently, unless it aborts."""
        books = self._of(kind)
        if not books:
            return
        failed = self._release_each(_RELEASE[kind], self._things(kind))
        if kind in _GONE_WHEN_RELEASED:
            books.clear()
        if failed:
            self._abort()

    def _cancel_futures(self):
        self._futures_are_cancelled = True
        futures, self._futures = self._futures, None
        for future in list(futures or ()):
            future.cancel()

    # Failures.

    def _fail(self, context):
        """Nobody has handled an exception; *context* is as the exception
        handler of a loop gets it."""
        exc = context["exception"]
        if self._errors is None:
            # The block was left before.
            self._loop.call_exception_handler(context)
            return
        if isinstance(exc, _Refusal) and exc.supervisor is self:
            logger.debug("%s", context["message"], exc_info=exc)
            return
        if context["message"].startswith("Fatal error: protocol."):
            # As it is going to be: its protocol is told of the error.
            context["transport"]._force_close(exc)
        if not self._is_handled(context):
            self._fail_for(context)

    def _is_handled(self, context):
        if self._failure_handler is None:
            return False
        try:
            if not self._failure_handler(context):
                return False
        except BaseException as exc:
            self._add_error(context["exception"])
            self._add_error(exc)
            return False
        self._drop_failed(context)
        return True

    def _drop_failed(self, context):
        """Let go of the one resource whose exception was handled."""
        handle = context.get("handle")
        for key, registration in list(self._of(_Kind.REGISTRATION).items()):
            if registration.handle is handle and key[0] != "signal":
                registration.remove()
                self._forget(_Kind.REGISTRATION, key)
                return
        transport = self._failed_transport(context, handle)
        if (transport is not None
                and not isinstance(transport, transports.DatagramTransport)):
            _abort_transport(transport)

    def _failed_transport(self, context, handle):
        """Return the owned transport that an exception is of, or None."""
        wanted = [context.get("transport"), context.get("protocol")]
        if handle is not None and handle._loop is self._inner:
            if handle._callback is not None:
                wanted.append(getattr(handle._callback, "__self__", None))
                wanted.extend(handle._args[:1])
            else:
                # What it called has cancelled it, as pause_reading() does.
                wanted.append(_self_of_callback(context["exception"]))
        wanted = [thing for thing in wanted if thing is not None]
        for thing in wanted:
            if (isinstance(thing, transports.BaseTransport)
                    and (owned := self._owned_transport(thing)) is not None):
                return owned
        return self._transport_of(wanted) if wanted else None

    def _owned_transport(self, transport):
        """Return what is owned of a transport and those below, or None."""
        key = id(_bottom(transport))
        return (self._of(_Kind.PROCESS).get(key)
                or self._of(_Kind.TRANSPORT).get(key))

    def _transport_of(self, wanted):
        """Return the owned transport with one of these in its layers."""
        for transport in itertools.chain(
                self._of(_Kind.PROCESS).values(),
                self._of(_Kind.TRANSPORT).values()):
            if any(thing is layer for layer in _layers(transport)
                   for thing in wanted):
                return transport
        return None

    # Books.

    def _of(self, kind):
        return self._books.get(kind, {})

    def _things(self, kind):
        books = self._of(kind)
        return list(books if books is self._tasks else books.values())

    def _own(self, kind, key, thing):
        try:
            self._books[kind][key] = thing
        except KeyError:
            self._books[kind] = {key: thing}

    def _forget(self, kind, key):
        if self._of(kind).pop(key, None) is not None:
            self._changed()

    def owned(self):
        """Return a list of what is owned and alive, in no special order:
        servers, tasks, futures of jobs, transports, handles and futures."""
        alive = [thing for kind in _Kind if kind is not _Kind.CALL
                 for thing in self._alive(kind)]
        return alive + self._alive_callbacks() + self._alive_futures()

    def _alive(self, kind):
        for thing in self._things(kind):
            if isinstance(thing, _Job):
                yield thing.future
            elif isinstance(thing, _Registration):
                if thing.is_ours():
                    yield thing.handle
            else:
                yield thing

    def _alive_callbacks(self):
        outer = self._outer_view
        return [handle for handle in list(self._loop._ready)
                if outer is not None and handle._loop is outer
                and not handle._cancelled]

    def _alive_futures(self):
        return [future for future in list(self._futures or ())
                if not future.done()]

    # Refusals.

    def _check_open(self):
        if self._state not in _FOR_WORK:
            raise _Refusal(self)

    def _check_callbacks(self):
        """Return true if callbacks are made, but cancelled."""
        if self._state in _FOR_CALLBACKS:
            return False
        if self._state is _State.ABORTING:
            return True
        raise _Refusal(self)

    # Callbacks.

    def call_soon(self, callback, *args, context=None):
        if self._state is not _OPEN and self._check_callbacks():
            return self._cancelled(events.Handle(callback, args, self._loop,
                                                 context))
        self._has_callbacks = True
        loop = self._loop
        if self._is_plain and not loop._debug and not loop._closed:
            handle = _OwnedHandle(callback, args,
                                  self._outer_view or self._outer, context)
            loop._ready.append(handle)
            return handle
        # Not a method that is patched in the loop's instance dictionary.
        handle = self._loop_class.call_soon(self._outer, callback, *args,
                                            context=context)
        if handle._source_traceback:
            del handle._source_traceback[-1]
        return handle

    def call_soon_threadsafe(self, callback, *args, context=None):
        with self._lock:
            if self._state not in _FOR_CALLBACKS:
                # Who waits for it is told of a refusal, too.
                handle = self._cancelled(events.Handle(
                    callback, args, self._loop, context))
                self._check_callbacks()
                return handle
            self._has_callbacks = True
            return _from_caller(self._loop_class.call_soon_threadsafe(
                self._outer, callback, *args, context=context))

    def call_later(self, delay, callback, *args, context=None):
        if delay is None:
            raise TypeError("delay must be a number of seconds, not None")
        when = self._loop.time() + delay
        timer = self.call_at(when, callback, *args, context=context)
        if timer._source_traceback:
            del timer._source_traceback[-1]
        return timer

    def call_at(self, when, callback, *args, context=None):
        if self._state is not _OPEN and self._check_callbacks():
            # Not every loop can be told that one was cancelled.
            return self._cancelled(events.TimerHandle(
                when, callback, args, self._outer, context))
        loop = self._loop
        if (self._is_plain and not loop._debug and not loop._closed
                and when is not None):
            timer = _OwnedTimerHandle(when, callback, args,
                                      self._outer_view or self._outer, context)
            heapq.heappush(loop._scheduled, timer)
            timer._scheduled = True
            self._timers[id(timer)] = timer
            return timer
        timer = self._loop_class.call_at(self._outer, when, callback, *args,
                                         context=context)
        self._timers[id(timer)] = timer
        if timer._source_traceback:
            del timer._source_traceback[-1]
        return timer

    @staticmethod
    def _cancelled(handle):
        _drop(handle)
        return handle

    # Futures, tasks and jobs.

    def create_future(self):
        is_cancelled = self._check_callbacks()
        future = self._loop.create_future()
        if is_cancelled:
            future.cancel()
        else:
            future._asyncio_owner = self._inner
            if self._futures is None:
                self._futures = weakref.WeakSet()
            self._futures.add(future)
        return future

    def _check_task(self, coro):
        if self._state not in _FOR_WORK:
            _close_coroutine(coro)
            raise _Refusal(self)

    def _task_failed(self, context):
        if (isinstance(context["exception"], (KeyboardInterrupt, SystemExit))
                and self._errors is not None):
            super()._task_failed(context)
        else:
            self._fail(context)

    def run_in_executor(self, executor, func, *args):
        self._check_open()
        if self._loop.get_debug():
            # Not every loop has it, and it uses nothing of one.
            base_events.BaseEventLoop._check_callback(self._loop, func,
                                                      "run_in_executor")
        job = _Job(self, func)
        if executor is None:
            # Its threads run whatever is callable.
            future = self._loop.run_in_executor(None, job, *args)
        else:
            future = self._loop.run_in_executor(_Recorder(executor, job),
                                                func, *args)
        job.begin(future)
        return future

    # Readers, writers and signal handlers.

    def add_reader(self, fd, callback, *args):
        self._check_open()
        self._outer.add_reader(fd, callback, *args)

    def add_writer(self, fd, callback, *args):
        self._check_open()
        self._outer.add_writer(fd, callback, *args)

    def remove_reader(self, fd):
        removed = self._loop.remove_reader(fd)
        self._of(_Kind.REGISTRATION).pop(_key_of_file("reader", fd), None)
        return removed

    def remove_writer(self, fd):
        removed = self._loop.remove_writer(fd)
        self._of(_Kind.REGISTRATION).pop(_key_of_file("writer", fd), None)
        return removed

    def add_signal_handler(self, sig, callback, *args):
        self._check_open()
        replaced = _replaced_handler(self._loop, sig)
        key = ("signal", sig)
        ours = self._of(_Kind.REGISTRATION).get(key)
        if ours is not None and not ours.is_ours():
            # Another supervisor's is above it, and will be below.
            ours.remove()
        self._outer.add_signal_handler(sig, callback, *args)
        if ours is not None and replaced[0] is ours.handle:
            replaced = ours.replaced
        self._own(_Kind.REGISTRATION, key, _SignalRegistration(
            self._loop, sig, self._loop._signal_handlers[sig], replaced))

    def remove_signal_handler(self, sig):
        ours = self._of(_Kind.REGISTRATION).pop(("signal", sig), None)
        return ((ours is not None and ours.remove())
                or self._loop.remove_signal_handler(sig))

    # Connections, servers and processes.

    async def _call(self, name, args, kwargs):
        """Await what the view's method of that name does."""
        self._check_open()
        # Not one that is patched in the instance dictionary of the loop.
        method = getattr(type(self._inner), name)
        task = self._current_task()
        if task is self._host or task in self._tasks:
            # It is cancelled itself.
            return await method(self._inner, *args, **kwargs)
        call = _Call(task)
        self._own(_Kind.CALL, id(call), call)
        try:
            return await method(self._inner, *args, **kwargs)
        except exceptions.CancelledError:
            if call.take_back():
                raise _Refusal(self) from None
            raise
        finally:
            call.leave()
            self._forget(_Kind.CALL, id(call))

    async def _create_server(self, name, args, kwargs):
        server = await self._call(name, args, kwargs)
        self._own(_Kind.SERVER, self._key_of_server(server), server)
        if self._state not in _FOR_WORK:
            server.close()
            raise _Refusal(self)
        return server

    def _key_of_server(self, server):
        # _stop_serving() tells of a socket.
        return id(server._sockets[0])

    async def start_tls(self, transport, *args, **kwargs):
        self._check_open()
        bottom = _bottom(transport)
        is_taken = self._take_over(bottom)
        try:
            return await self._call("start_tls", (transport, *args), kwargs)
        except BaseException:
            if is_taken and not bottom.is_closing():
                # It was refused.
                bottom._loop = self._loop
                self._forget(_Kind.TRANSPORT, id(bottom))
            raise

    def _take_over(self, transport):
        """Own a transport that is the loop's; return true if it was."""
        if getattr(transport, "_loop", None) is not self._loop:
            return False
        transport._loop = self._inner
        self._transport_made(transport)
        return True

    def _transport_made(self, transport):
        kind = (_Kind.PROCESS
                if isinstance(transport, transports.SubprocessTransport)
                else _Kind.TRANSPORT)
        self._own(kind, id(transport), transport)
        if self._state not in _FOR_WORK:
            # It is being made: its protocol is told of the connection first.
            self._loop.call_soon(_abort_transport, transport)

    def _transport_lost(self, transport):
        if id(transport) in self._of(_Kind.PROCESS):
            transport.close()  # Nobody else needs to say so.
        for kind in _Kind.PROCESS, _Kind.TRANSPORT:
            self._forget(kind, id(transport))

    def _add_machinery(self, task):
        self._own(_Kind.MACHINERY, id(task), task)
        task.add_done_callback(self._machinery_done)

    def _machinery_done(self, task):
        self._forget(_Kind.MACHINERY, id(task))

    def _forget_server(self, sock):
        server = self._of(_Kind.SERVER).get(id(sock))
        if server is not None:
            # Its connections are awaited by the supervisor.
            server._wakeup()
            self._forget(_Kind.SERVER, id(sock))

    # The rest.

    def call_exception_handler(self, context):
        # What it is told of by its tasks, it raises itself.
        if id(context.get("exception")) not in (self._errors or ()):
            self._loop.call_exception_handler(context)

    @property
    def slow_callback_duration(self):
        return self._loop.slow_callback_duration

    @slow_callback_duration.setter
    def slow_callback_duration(self, seconds):
        self._loop.slow_callback_duration = seconds

    def create_supervisor(self, *, name=None, failure_handler=None):
        return self._loop.create_supervisor(name=name,
                                            failure_handler=failure_handler)

    def __getattr__(self, name):
        # What a loop offers beyond the common API.
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no "
                                 f"attribute {name!r}")
        return getattr(self._loop, name)


# How each method of a loop that is not written out above is offered.

_ALLOCATING = (
    "create_connection", "create_unix_connection", "connect_accepted_socket",
    "create_datagram_endpoint", "connect_read_pipe", "connect_write_pipe",
    "subprocess_exec", "subprocess_shell",
)
_SERVING = ("create_server", "create_unix_server")
_PASSED_ON = (
    "time", "is_running", "is_closed", "get_debug", "set_debug",
    "get_task_factory", "set_task_factory",
    "get_exception_handler", "set_exception_handler",
    "default_exception_handler",
    "getaddrinfo", "getnameinfo", "sendfile",
    "sock_recv", "sock_recv_into", "sock_recvfrom", "sock_recvfrom_into",
    "sock_sendall", "sock_sendto", "sock_connect", "sock_accept",
    "sock_sendfile", "_timer_handle_cancelled", "_get_real_loop",
    "_is_protocol_error",
)
_REFUSED = (
    "run_forever", "run_until_complete", "stop", "close",
    "shutdown_asyncgens", "shutdown_default_executor", "set_default_executor",
)


def _offer(names, make):
    for name in names:
        method = make(name)
        method.__name__ = name
        method.__qualname__ = f"Supervisor.{name}"
        method.__doc__ = getattr(events.AbstractEventLoop, name).__doc__
        setattr(Supervisor, name, method)


def _allocating(name):
    async def method(self, *args, **kwargs):
        return await self._call(name, args, kwargs)
    return method


def _serving(name):
    async def method(self, *args, **kwargs):
        return await self._create_server(name, args, kwargs)
    return method


def _passed_on(name):
    def method(self, *args, **kwargs):
        return getattr(self._loop, name)(*args, **kwargs)
    return method


def _refused(name):
    def method(self, *args, **kwargs):
        raise RuntimeError(f"a supervisor has no {name}(): "
                           f"use that of the loop, {self._loop!r}")
    return method


_offer(_ALLOCATING, _allocating)
_offer(_SERVING, _serving)
_offer(_PASSED_ON, _passed_on)
_offer(_REFUSED, _refused)


# What is owned.

class _Job:
    """A call in an executor."""

    def __init__(self, supervisor, func):
        self.supervisor = supervisor
        self.future = None
        self._func = func
        # Under the lock: it has begun in its thread, and ended there; it is
        # not to begin any more.
        self._lock = threading.Lock()
        self._has_begun = self._has_ended = self._is_cancelled = False

    def begin(self, future):
        self.future = future
        # Who hears of what its callbacks raise.
        future._asyncio_owner = self.supervisor._inner
        self.supervisor._own(_Kind.JOB, id(self), self)
        future.add_done_callback(self._future_done)

    def __call__(self, *args):
        """Run in a thread of the default executor."""
        with self._lock:
            if self._is_cancelled:
                return None
            self._has_begun = True
        try:
            return self._func(*args)
        finally:
            self.ended()

    def submitted(self, future):
        """Another executor has taken it."""
        # It cannot tell when it begins.
        self._has_begun = True
        future.add_done_callback(lambda future: self.ended())

    def ended(self):
        self._has_ended = True
        try:
            self.supervisor._loop.call_soon_threadsafe(self._look)
        except RuntimeError:
            pass  # The loop is closed.

    def cancel(self):
        with self._lock:
            self._is_cancelled = not self._has_begun
        self.future.cancel()

    def _future_done(self, future):
        if future.cancelled():
            with self._lock:
                self._is_cancelled = not self._has_begun
        self._look()

    def _look(self):
        if self.future.done() and (self._has_ended or self._is_cancelled):
            self.supervisor._forget(_Kind.JOB, id(self))


class _Recorder:
    """An executor that a job is told of by another one."""

    def __init__(self, executor, job):
        self._executor = executor
        self._job = job

    def submit(self, func, /, *args):
        future = self._executor.submit(func, *args)
        self._job.submitted(future)
        return future


class _Call(cancellation.Guard):
    """A call in flight of a task that is not owned."""

    def __init__(self, task):
        self._is_asked = False
        cancellation.begin(self, task)

    def end(self):
        if not self._is_asked:
            self._is_asked = True
            cancellation.ask(self)

    def take_back(self):
        """Return true if it was ended, and nobody else cancels the task."""
        if not self._is_asked:
            return False
        self._is_asked = False
        cancellation.withdraw(self)
        return not cancellation.is_asked_by_others(self)

    def leave(self):
        self.take_back()
        cancellation.leave(self)


class _Registration:
    """A reader or a writer."""

    def __init__(self, handle, remove):
        self.handle = handle
        self._remove = remove

    def is_ours(self):
        # The loop cancels the handle of one that is removed or replaced.
        return not self.handle._cancelled

    def remove(self):
        if self.is_ours():
            self._remove()


def _key_of_file(kind, fd):
    """Return the key of a reader or a writer: loops take a file and its number
    for the same."""
    return kind, fd.fileno() if hasattr(fd, "fileno") else fd


class _SignalRegistration(_Registration):
    """A signal handler."""

    def __init__(self, loop, sig, handle, replaced):
        self.handle = handle
        self.replaced = replaced
        self._loop = loop
        self._sig = sig

    def is_ours(self):
        return self._loop._signal_handlers.get(self._sig) is self.handle

    def remove(self):
        """Put back what it has replaced; return false if it is gone."""
        # It may be ready to run.
        self.handle.cancel()
        if self.is_ours():
            self._remove()
            return True
        return self._leave_to_others()

    def _leave_to_others(self):
        """Who has replaced it is to put back what it has replaced itself.

        Return true if that is another supervisor.
        """
        above = self._registration_of(
            self._loop._signal_handlers.get(self._sig))
        while above is not None:
            handle, _ = above.replaced
            if handle is self.handle:
                above.replaced = self.replaced
                return True
            above = self._registration_of(handle)
        return False

    def _registration_of(self, handle):
        """Return that of a handle which another supervisor owns, or None."""
        # A generic supervisor's handle is in what the loop calls.
        owned = getattr(getattr(handle, "_callback", None), "handle", handle)
        owner = getattr(getattr(owned, "_loop", None), "_supervisor", None)
        if owner is None:
            return None
        registration = owner._of(_Kind.REGISTRATION).get(("signal", self._sig))
        return (registration if registration is not None
                and registration.handle is handle else None)

    def _remove(self):
        handle, handler = self.replaced
        if handle is not None and not handle._cancelled:
            self._loop._signal_handlers[self._sig] = handle
            return
        self._loop.remove_signal_handler(self._sig)
        if handle is None and handler is not None:
            signal.signal(self._sig, handler)


def _replaced_handler(loop, sig):
    """Return the loop's handle for a signal and its handler in Python."""
    loop._check_signal(sig)
    return loop._signal_handlers.get(sig), signal.getsignal(sig)


# How each kind is released.

def _release_task(supervisor, task):
    if not task.done():
        task.cancel(supervisor._cancel_msg)


def _release_machinery(supervisor, task):
    # What connects the pipes of a process goes on: without all of them the
    # process's transport would never be lost.
    if getattr(task.get_coro(), "__name__", None) != "_connect_pipes":
        _release_task(supervisor, task)


def _release_process(supervisor, process):
    if supervisor._state is _State.ABORTING:
        _abort_transport(process)
    elif (stdin := _open_stdin(process)) is not None:
        stdin.close()


def _open_stdin(process):
    """Return the pipe to a process's stdin, or None."""
    stdin = process._pipes.get(0)
    if stdin is None or stdin.pipe is None or stdin.pipe.is_closing():
        return None
    return stdin.pipe


def _release_transport(supervisor, transport):
    if supervisor._state is _State.ABORTING:
        _abort_transport(transport)
    else:
        *_, top = _layers(transport, of_protocols=False)
        top.close()


def _abort_transport(transport):
    # Processes and read pipes have none; closing them does not wait.
    abort = getattr(transport, "abort", transport.close)
    try:
        abort()
    except NotImplementedError:
        transport.close()
    # What a process has not read yet: its children may hold the pipe.
    for pipe in getattr(transport, "_pipes", {}).values():
        if pipe is not None and pipe.pipe is not None:
            _abort_transport(pipe.pipe)


_RELEASE = {
    _Kind.SERVER: lambda supervisor, server: server.close(),
    _Kind.TASK: _release_task,
    _Kind.JOB: lambda supervisor, job: job.cancel(),
    _Kind.CALL: lambda supervisor, call: call.end(),
    _Kind.PROCESS: _release_process,
    _Kind.TIMER: lambda supervisor, timer: timer.cancel(),
    _Kind.REGISTRATION: lambda supervisor, registration: registration.remove(),
    _Kind.TRANSPORT: _release_transport,
    _Kind.MACHINERY: _release_machinery,
    _Kind.DELAY: lambda supervisor, timer: timer.cancel(),
}
_GONE_WHEN_RELEASED = {_Kind.TIMER, _Kind.REGISTRATION, _Kind.DELAY}


def _layers(transport, of_protocols=True):
    """Iterate over a transport, its protocol, and those of TLS over it."""
    while True:
        yield transport
        protocol = transport.get_protocol()
        if of_protocols:
            yield protocol
        transport = getattr(protocol, "_app_transport", None)
        if (not isinstance(protocol, sslproto.SSLProtocol)
                or transport is None):
            return


def _bottom(transport):
    """Return the transport below all layers of TLS."""
    while (protocol := getattr(transport, "_ssl_protocol", None)) is not None:
        transport = protocol._transport
    return transport


def _from_caller(made):
    """In debug mode: the handle or task was made by our caller."""
    if getattr(made, "_source_traceback", None):
        del made._source_traceback[-1]
    return made


def _is_of_future(args):
    """Ask if a callback without a context is that of a future.

    The one in Python schedules it so if it is done already.
    """
    return len(args) == 1 and futures.isfuture(args[0])


def _self_of_callback(exc):
    """Return whose method a handle has called that raised *exc*, or None."""
    # The first frame is the handle's.
    called = exc.__traceback__ and exc.__traceback__.tb_next
    return called and called.tb_frame.f_locals.get("self")


# Views.

def _override(function):
    """Make a method of a view.

    A data descriptor, as the instance dictionary is the loop's: a method that
    someone has patched there would hide others.
    """
    return property(functools.partial(types.MethodType, function))


def _drop(handle):
    """Cancel a callback that will not be called, and tell who waits for it."""
    dropped = getattr(handle._callback, "_dropped", None)
    # In debug mode, cancel() would call the repr() of what is dropped.
    handle._repr = f"<{type(handle).__name__} dropped>"
    handle.cancel()
    if dropped is not None:
        dropped()


class _OwnedHandle(events.Handle):
    """A callback that is dropped if its supervisor aborts first."""

    __slots__ = ()

    def _run(self):
        if self._loop._supervisor._drops:
            _drop(self)
        else:
            super()._run()
        # An exception's traceback has this frame.
        self = None


class _OwnedTimerHandle(events.TimerHandle):
    """A timer that its supervisor forgets when it runs."""

    __slots__ = ()

    def _run(self):
        supervisor = self._loop._supervisor
        supervisor._timers.pop(id(self), None)
        if supervisor._drops:
            _drop(self)
        else:
            super()._run()
        # An exception's traceback has this frame.
        self = None


class _Delay(events.TimerHandle):
    """A timer of a transport or a server; it is never dropped."""

    __slots__ = ()

    def _run(self):
        self._loop._supervisor._of(_Kind.DELAY).pop(id(self), None)
        super()._run()
        # An exception's traceback has this frame.
        self = None


class _View:
    """What both views of a loop do otherwise."""

    __slots__ = ()

    def __repr__(self):
        return f"<view of {self._supervisor._loop!r}>"

    def __del__(self):
        pass  # The loop goes on.

    @_override
    def call_exception_handler(self, context):
        _report(self._supervisor, context)


class _OuterView(_View):
    """The loop of the callbacks that a supervisor owns."""

    __slots__ = ()

    _TimerHandle = _OwnedTimerHandle

    @_override
    def _timer_handle_cancelled(self, handle):
        supervisor = self._supervisor
        supervisor._timers.pop(id(handle), None)
        supervisor._loop._timer_handle_cancelled(handle)

    @_override
    def _call_soon(self, callback, args, context):
        handle = _from_caller(_OwnedHandle(callback, args, self, context))
        self._ready.append(handle)
        return handle

    @_override
    def _add_reader(self, fd, callback, *args):
        handle = super()._add_reader(fd, callback, *args)
        remove = functools.partial(self._supervisor._loop._remove_reader, fd)
        self._supervisor._own(_Kind.REGISTRATION, _key_of_file("reader", fd),
                              _Registration(handle, remove))
        return handle

    @_override
    def _add_writer(self, fd, callback, *args):
        handle = super()._add_writer(fd, callback, *args)
        remove = functools.partial(self._supervisor._loop._remove_writer, fd)
        self._supervisor._own(_Kind.REGISTRATION, _key_of_file("writer", fd),
                              _Registration(handle, remove))
        return handle


class _InnerView(_View):
    """The loop of transports, servers and processes."""

    __slots__ = ()

    # A normal exit leaves them alone, as transports need them to close.
    _TimerHandle = _Delay

    @_override
    def _timer_handle_cancelled(self, handle):
        self._supervisor._of(_Kind.DELAY).pop(id(handle), None)
        super()._timer_handle_cancelled(handle)

    @_override
    def call_soon(self, callback, *args, context=None):
        supervisor = self._supervisor
        loop = supervisor._loop
        if supervisor._is_plain and not loop._debug and not loop._closed:
            if (callback is supervisor._task_callback
                    and supervisor._note_return(*args)):
                return None
            supervisor._has_machinery_callbacks = True
            if context is None and not _is_of_future(args):
                supervisor._has_layer_callbacks = True
            handle = events.Handle(callback, args, self, context)
            loop._ready.append(handle)
            return handle
        return _from_caller(
            super().call_soon(callback, *args, context=context))

    @_override
    def call_soon_threadsafe(self, callback, *args, context=None):
        return _from_caller(super().call_soon_threadsafe(
            callback, *args, context=context))

    @_override
    def call_at(self, when, callback, *args, context=None):
        timer = super().call_at(when, callback, *args, context=context)
        self._supervisor._own(_Kind.DELAY, id(timer), timer)
        return _from_caller(timer)

    @_override
    def create_future(self):
        return self._supervisor._loop.create_future()

    @_override
    def create_task(self, coro, **kwargs):
        task = self._supervisor._loop.create_task(coro, **kwargs)
        self._supervisor._add_machinery(task)
        return task

    @_override
    def run_in_executor(self, executor, func, *args):
        return self._supervisor._loop.run_in_executor(executor, func, *args)

    @_override
    def _call_soon(self, callback, args, context):
        self._supervisor._has_machinery_callbacks = True
        if context is None and not _is_of_future(args):
            self._supervisor._has_layer_callbacks = True
        return _from_caller(super()._call_soon(callback, args, context))

    @_override
    def _start_serving(self, protocol_factory, *args, **kwargs):
        if not isinstance(protocol_factory, _Factory):
            protocol_factory = _Factory(self, protocol_factory)
        super()._start_serving(protocol_factory, *args, **kwargs)

    @_override
    def _accept_connection(self, protocol_factory, sock, *args, **kwargs):
        try:
            super()._accept_connection(protocol_factory, sock, *args, **kwargs)
        except OSError as exc:
            if sock.fileno() < 0:
                return  # The server was closed meanwhile.
            # The next one may be accepted.
            self._supervisor._loop.call_exception_handler({
                "message": "socket.accept() failed",
                "exception": exc,
                "socket": trsock.TransportSocket(sock),
            })

    @_override
    def _stop_serving(self, sock):
        super()._stop_serving(sock)
        self._supervisor._forget_server(sock)

    @_override
    def _transport_made(self, transport):
        self._supervisor._transport_made(transport)

    @_override
    def _transport_lost(self, transport):
        self._supervisor._transport_lost(transport)

    @_override
    def _is_protocol_error(self, message):
        return message.startswith(_MESSAGES_OF_PROTOCOLS)

    @_override
    def _get_real_loop(self):
        return self._supervisor._loop

    @_override
    def _is_ended_by(self, tasks):
        """Ask if it is its host that is cancelled, with *tasks*."""
        return self._supervisor._host in tasks


class _Factory:
    """A protocol factory of a server; what it raises is a failure."""

    def __init__(self, view, factory):
        self._view = view
        self._factory = factory

    def __call__(self):
        try:
            return self._factory()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._view.call_exception_handler({
                "message": f"protocol factory {self._factory!r} failed",
                "exception": exc,
            })
            raise


def _report(supervisor, context):
    """Tell of an exception, as handlers of loops are told of it."""
    if _is_failure(context):
        supervisor._fail(context)
    elif not _is_reported(context):
        supervisor._loop.call_exception_handler(context)


def _is_failure(context):
    """Ask if someone's code raised, and not the operating system."""
    exc = context.get("exception")
    if exc is None or isinstance(exc, exceptions.CancelledError):
        return False
    if "handle" in context or "task" in context:
        return True
    message = context["message"]
    if message == _ACCEPT_FAILED:
        return False
    return (not isinstance(exc, OSError)
            or message.startswith(_MESSAGES_OF_PROTOCOLS))


def _is_reported(context):
    """Ask if it is of a protocol factory, which has reported it itself."""
    return context["message"] == _ACCEPT_FAILED and "protocol" not in context


# Of errors that are no OSErrors of the operating system.
_MESSAGES_OF_PROTOCOLS = (
    "Fatal error: protocol.", "protocol",
    # These two are reported for OSErrors of protocols only.
    "Fatal error on SSL protocol", "Error calling eof_received()",
)
_ACCEPT_FAILED = "Error on transport creation for incoming connection"


@functools.lru_cache(maxsize=16)
def _view_class(kind, loop_class):
    return type(kind.__name__, (kind, loop_class),
                {"__slots__": ("_supervisor",), "__module__": __name__})


@functools.lru_cache(maxsize=16)
def _has_views(loop_class):
    """Ask if there can be views of loops of a class: a view cannot share what
    is in slots."""
    return not any(cls.__dict__.get("__slots__") for cls in loop_class.__mro__)


@functools.lru_cache(maxsize=16)
def _is_plain(loop_class):
    """Ask if loops of a class schedule callbacks as asyncio's do."""
    return all(getattr(loop_class, name, None)
               is getattr(base_events.BaseEventLoop, name)
               for name in ("call_soon", "_call_soon", "call_at",
                            "_check_closed", "_run_once"))


def _view(kind, supervisor):
    loop = supervisor._loop
    view = object.__new__(_view_class(kind, type(loop)))
    view.__dict__ = loop.__dict__
    view._supervisor = supervisor
    return view
