"""Cancel scopes: blocks of code that can be cancelled, and protected."""

__all__ = (
    "CancelScope", "move_on_after", "move_on_at", "fail_after", "fail_at",
    "current_effective_deadline", "checkpoint", "checkpoint_if_cancelled",
    "cancel_and_wait",
)

import enum
import functools
import math
import threading

from . import cancellation
from . import events
from . import exceptions
from . import tasks


class _State(enum.Enum):
    NEW = "new"
    OPEN = "open"
    CLOSED = "closed"


class CancelScope:
    """A block of code in one task that can be cancelled as a whole.

    Once it is cancelled, by cancel() or because its deadline has passed,
    every wait in the block is cancelled, until the block is left; the
    CancelledError ends there.  *timeout* is in seconds from the entry,
    *deadline* on the clock of loop.time(); None is no deadline.  With
    *shield*, the block is protected from cancellation that comes from
    outside of it.

    ValueError is raised if both are given or one is NaN, TypeError if one is
    no number.  A scope serves one ``with`` or ``async with`` statement.
    """

    __slots__ = ("_node", "_canceller", "_state", "_timeout", "_thread",
                 "_by_deadline", "_caught", "_fails", "_armed", "_marked",
                 "_queued", "_baseline", "__weakref__")

    def __init__(self, *, timeout=None, deadline=None, shield=False):
        if getattr(self, "_state", _State.NEW) is not _State.NEW:
            raise RuntimeError("a scope that was entered cannot be made again")
        if timeout is not None and deadline is not None:
            raise ValueError("give timeout or deadline, not both")
        self._timeout = _number("timeout", timeout)
        self._node = cancellation.Node()
        self._node.deadline = _number("deadline", deadline)
        self._node.hides = self._node.holds = bool(shield)
        self._state = _State.NEW
        # The Canceller of the host task; None but while it is open.
        self._canceller = None
        self._thread = None
        # The cause of the cancellation is the deadline.
        self._by_deadline = False
        self._caught = False
        # The deadline ends in TimeoutError.
        self._fails = False
        # The task has suspended in the block: a deadline has its timer.
        self._armed = False
        # The task's context tells of the shield: until the end, as one that
        # is taken off can be put up again from outside.
        self._marked = False
        # For the deadlines of the loop.
        self._queued = None
        self._baseline = 0

    def __repr__(self):
        return _describe(self)

    def __reduce__(self):
        return _refuse_copy(self)

    @property
    def deadline(self):
        """The time on loop.time() at which it is cancelled, or None.

        It can be set at any time; of a timeout it is None before the entry.
        """
        return self._node.deadline

    @deadline.setter
    def deadline(self, when):
        when = _number("deadline", when)
        _check_thread(self, "set the deadline of")
        self._node.deadline = when
        self._timeout = None
        if self._state is _State.OPEN and self._armed:
            self._move_deadline()

    @property
    def shield(self):
        """The block is protected from what comes from outside; settable."""
        return self._node.holds

    @shield.setter
    def shield(self, value):
        _set_shield(self, bool(value))

    @property
    def cancel_called(self):
        """cancel() was called, or the deadline has passed."""
        if self._state is not _State.CLOSED:
            _look_at_clock(self)
        return self._node.cancelled

    @property
    def cancelled_caught(self):
        """A CancelledError has ended at this scope."""
        return self._caught

    @property
    def cancel_msg(self):
        """The text given to cancel(), or None."""
        return self._node.msg

    def cancel(self, msg=None):
        """Cancel the block, whose waits raise CancelledError from now on.

        *msg* is the text of the CancelledErrors.  A second call does nothing.
        RuntimeError is raised in another thread than the block's:
        loop.call_soon_threadsafe() is the way from there.
        """
        _check_thread(self, "cancel")
        self._node.cancel(msg)

    def _expire(self):
        """The deadline has passed; called by the loop's timer."""
        if not self._node.cancelled:
            self._by_deadline = True
            self._node.cancel()

    # The block.

    def __enter__(self):
        canceller = _canceller_for(self)
        if self._timeout is not None:
            self._node.deadline = canceller.loop.time() + self._timeout
            _check_new(self)
        self._state = _State.OPEN
        self._canceller = canceller
        self._thread = threading.get_ident()
        self._node.owner = self
        canceller.enter(self)
        canceller.push(self._node)
        if self._node.holds:
            _put_up_shield(self)
        return self

    def __exit__(self, exc_type, exc, tb):
        try:
            wrong = _find_misuse(self)
            if wrong is not None:
                return _exit_wrongly(self, exc_type, wrong)
            if exc is not None:
                return _exit_in(self, exc)
            self._close()
            return False
        finally:
            # Break the cycle of the frame and the exception.
            del exc, tb

    async def __aenter__(self):
        return self.__enter__()

    async def __aexit__(self, exc_type, exc, tb):
        canceller, shielded = self._canceller, self._node.holds
        absorbed = self.__exit__(exc_type, exc, tb)
        if shielded and (exc is None or absorbed):
            _raise_pending(canceller)
        return absorbed

    # Guards: the task's Canceller calls these.

    def _arm(self):
        self._armed = True
        if self._node.deadline is not None:
            self._move_deadline()

    def _abandon(self):
        """Close it without leaving its block."""
        if self._state is _State.OPEN:
            self._close()

    def _move_deadline(self):
        deadline = self._node.deadline
        if deadline is None or deadline == math.inf:
            cancellation.disarm(self)
            return
        loop = self._canceller.loop
        is_due = deadline <= loop.time()
        if self._state is not _State.OPEN:
            return  # The clock has run code that has closed it.
        if is_due:
            cancellation.disarm(self)
            self._expire()
        elif not self._node.cancelled:
            cancellation.arm(self, loop, deadline)

    def _look_at_clock(self, now):
        deadline = self._node.deadline
        if deadline is not None and deadline <= now:
            self._expire()

    def _close(self):
        canceller, self._canceller = self._canceller, None
        self._state = _State.CLOSED
        # Break the cycle.
        self._node.owner = None
        # An error of one thing leaves no other undone.
        try:
            cancellation.disarm(self)
        finally:
            canceller.leave(self)
            try:
                canceller.pop(self._node)
            finally:
                if self._node.holds or self._marked:
                    _take_off_shield(self, canceller)


# What happens less often; the scope in C calls these, too.

def _describe(scope):
    node = scope._node
    info = [scope._state.value]
    if node.cancelled:
        info.append("cancelled")
    elif node.effective:
        info.append("cancelled from outside")
    if node.holds:
        info.append("shield")
    if node.deadline is not None:
        info.append(f"deadline={node.deadline:.3f}")
    return f"<{type(scope).__name__} {' '.join(info)} at {id(scope):#x}>"


def _refuse_copy(scope):
    raise TypeError(f"cannot pickle {type(scope).__name__!r} object")


def _canceller_for(scope):
    """Return the Canceller of the task in which *scope* can be entered."""
    _check_new(scope)
    task = _current_task()
    if task is None:
        raise RuntimeError(f"{scope!r} cannot be entered outside of a task: "
                           "use it in a coroutine of asyncio.run() or "
                           "create_task()")
    canceller = cancellation.canceller_of(task)
    if canceller is None:
        raise RuntimeError(
            f"{scope!r} cannot be entered in {task!r}: its class does not "
            "support cancel scopes; derive it from asyncio.Task")
    return canceller


def _check_new(scope):
    if scope._state is not _State.NEW:
        raise RuntimeError(f"{scope!r} was entered already: a scope serves "
                           "one with statement")


def _find_misuse(scope):
    """Return what is wrong with leaving the block here, or None."""
    # First, as a loop's methods can run any code.
    task = _current_task()
    if scope._state is _State.NEW:
        return (f"{scope!r} is left, but is not entered: use it in a with "
                "statement")
    if scope._state is _State.CLOSED:
        return (f"{scope!r} is left again, or after its task has ended: leave "
                "it once, in its task")
    if task is not scope._canceller.task:
        return (f"{scope!r} is left in {task!r}, but was entered in "
                f"{scope._canceller.task!r}: leave it there")
    if scope._canceller.node is not scope._node:
        return (f"{scope!r} is left before what was entered inside of it: "
                "leave scopes in the reverse order")
    return None


def _exit_wrongly(scope, exc_type, wrong=None):
    if wrong is None:
        wrong = _find_misuse(scope)
    if exc_type is not None and _is_only_passed(scope, exc_type):
        _close_from_anywhere(scope)
        return False
    _check_thread(scope, "leave")
    scope._abandon()
    raise RuntimeError(wrong)


def _is_only_passed(scope, exc_type):
    """Ask if no one is doing it wrong: an exception goes through a block that
    has been closed before, or whose coroutine is destroyed."""
    if scope._canceller is None:
        return scope._state is _State.CLOSED
    task = _current_task()
    return task is None or (exc_type is GeneratorExit
                            and task is not scope._canceller.task)


def _close_from_anywhere(scope):
    canceller = scope._canceller
    if canceller is not None and canceller.loop.is_closed():
        # Nobody can be told any more of what is held, or cancelled.
        canceller.held.clear()
        canceller.told = True
    elif _is_elsewhere(scope):
        canceller.loop.call_soon_threadsafe(scope._abandon)
        return
    scope._abandon()


def _exit_in(scope, exc):
    """The block ends in *exc*: return true if that is absorbed."""
    canceller = scope._canceller
    rest = exc
    if _absorbs(scope):
        try:
            rest = _without_cancellation(exc)
        except BaseException:
            # Of a group: derive(), or one that is too deep to be split.
            scope._abandon()
            raise
        scope._caught = rest is not exc
    if scope._caught:
        # What was delivered has had its effect.
        canceller.streak = 0
    try:
        scope._close()
        if not scope._caught:
            return False
        if rest is not None:
            _raise_rest(rest)
        if scope._fails and scope._by_deadline:
            raise TimeoutError from exc
        return True
    finally:
        # Break the cycle of the frame and the exception.
        del exc, rest


def _absorbs(scope):
    """Ask if the block's CancelledErrors end here."""
    canceller, node = scope._canceller, scope._node
    try:
        if not node.cancelled:
            now = canceller.loop.time()
            scope._look_at_clock(now)
            if node.cancelled:
                # Of deadlines that are seen together, the outer one wins.
                _look_at_clocks(node, now)
        return (node.cancelled
                and (node.hides or node.parent is None
                     or not node.parent.effective)
                and canceller.outstanding() <= scope._baseline)
    except BaseException:
        scope._abandon()
        raise


def _raise_pending(canceller):
    """Raise the CancelledError that is due on leaving a shield, if any."""
    _look_at_clocks(canceller.node)
    pending = canceller.take_pending()
    if pending is not None:
        try:
            raise pending from None
        finally:
            del pending


def _look_at_clock(scope):
    if _is_elsewhere(scope):
        return  # What the loop has seen so far is all that can be told.
    loop = (events._get_running_loop() if scope._canceller is None
            else scope._canceller.loop)
    if loop is not None:
        scope._look_at_clock(loop.time())


def _set_shield(scope, value):
    _check_thread(scope, "set the shield of")
    node = scope._node
    if value is node.holds:
        return
    node.hides = node.holds = value
    if scope._state is not _State.OPEN:
        return
    # An error of one does not keep the other from being done.
    cancellation.call_all((
        functools.partial(_put_up_shield, scope) if value
        else scope._canceller.release, node.update))


def _put_up_shield(scope):
    # Set from outside of the task, the task's context cannot be marked.
    if not scope._marked and _current_task() is scope._canceller.task:
        cancellation.mark_inside(scope._node)
        scope._marked = True
    scope._canceller.hold_pending()


def _take_off_shield(scope, canceller):
    cancellation.unmark_inside(scope._node)
    if canceller.task is not None:
        # It is parked if others close the scope.
        cancellation.call_all((canceller.release, canceller.deliver))


def _is_elsewhere(scope):
    return (scope._state is _State.OPEN
            and scope._thread != threading.get_ident())


def _check_thread(scope, action):
    if _is_elsewhere(scope):
        raise RuntimeError(
            f"another thread than its own cannot {action} {scope!r}: use "
            "loop.call_soon_threadsafe()")


def _number(name, value):
    if value is None:
        return None
    if not isinstance(value, (int, float)):
        if not hasattr(type(value), "__float__"):
            raise TypeError(f"{name} must be a number or None, not "
                            f"{type(value).__name__}")
        value = float(value)
    if value != value:
        raise ValueError(f"{name} must not be NaN")
    try:
        float(value)
    except OverflowError:
        # An int that no clock will reach, or has reached ever.
        value = math.copysign(math.inf, -1 if value < 0 else 1)
    return value


def _without_cancellation(exc):
    """Return what is left of *exc* without its CancelledErrors, or None."""
    if isinstance(exc, exceptions.CancelledError):
        return None
    if isinstance(exc, BaseExceptionGroup):
        cancelled, rest = exc.split(exceptions.CancelledError)
        if cancelled is None:
            return exc
        if rest is not None:
            # split() copies the context, and hides it.
            rest.__suppress_context__ = exc.__suppress_context__
        return rest
    return exc


def _raise_rest(rest):
    context = rest.__context__
    try:
        raise rest
    finally:
        # Raising it made what is handled here its context.
        rest.__context__ = context
        del rest, context


def move_on_after(delay, *, shield=False):
    """Return a CancelScope that ends *delay* seconds after its entry."""
    return CancelScope(timeout=delay, shield=shield)


def move_on_at(when, *, shield=False):
    """Return a CancelScope that ends at *when* on loop.time()."""
    return CancelScope(deadline=when, shield=shield)


def fail_after(delay, *, shield=False):
    """Return a CancelScope that raises TimeoutError after *delay* seconds.

    TimeoutError is raised on leaving the block, if the deadline has ended it
    and no other exception is left to raise.
    """
    scope = CancelScope(timeout=delay, shield=shield)
    scope._fails = True
    return scope


def fail_at(when, *, shield=False):
    """Return a CancelScope that raises TimeoutError at *when*.

    Like fail_after(), at an absolute time on loop.time().
    """
    scope = CancelScope(deadline=when, shield=shield)
    scope._fails = True
    return scope


_PyCancelScope = CancelScope
_py_move_on_after, _py_move_on_at = move_on_after, move_on_at
_py_fail_after, _py_fail_at = fail_after, fail_at

try:
    from _asyncio import (
        CancelScope, move_on_after, move_on_at, fail_after, fail_at,
    )
except ImportError:
    pass
else:
    _CCancelScope = CancelScope
    _c_move_on_after, _c_move_on_at = move_on_after, move_on_at
    _c_fail_after, _c_fail_at = fail_after, fail_at


def current_effective_deadline():
    """Return when the current task will be cancelled by its scopes.

    That is a time on loop.time(): -inf if it is cancelled already, inf if
    there is no deadline.
    """
    node = _current_node()
    if node is None:
        return math.inf
    _look_at_clocks(node)
    if node.effective:
        return -math.inf
    return min((n.deadline for n in node.visible() if n.deadline is not None),
               default=math.inf)


async def checkpoint():
    """Let the loop run other callbacks, and be cancelled if a scope is."""
    _look_at_clocks(_current_node())
    await tasks.sleep(0)


async def checkpoint_if_cancelled():
    """Be cancelled if a scope is, or if cancel() was called; else go on."""
    node = _current_node()
    _look_at_clocks(node)
    task = tasks.current_task()
    if (node is not None and node.effective) or (
            task is not None and getattr(task, "_must_cancel", False)):
        await tasks.sleep(0)


async def cancel_and_wait(*to_cancel, msg=None):
    """Cancel *to_cancel*, tasks or futures, and wait until they have ended.

    Their results and exceptions stay with them.  If the caller is cancelled
    meanwhile by Task.cancel(), CancelledError is raised after they have
    ended; a cancelled scope around it is not seen before that.
    """
    current = tasks.current_task()
    if current in to_cancel:
        raise RuntimeError("a task cannot cancel itself and wait for that: "
                           "await it in another task")
    try:
        cancellation.call_all(functools.partial(future.cancel, msg=msg)
                              for future in to_cancel)
    finally:
        await _wait_hidden(current, to_cancel)


async def _wait_hidden(current, to_cancel):
    cancelled = None
    with cancellation.hidden(current):
        while pending := [f for f in to_cancel if not f.done()]:
            try:
                await tasks.wait(pending)
            except exceptions.CancelledError as exc:
                cancelled = exc
    if cancelled is not None:
        try:
            raise cancelled
        finally:
            del cancelled


def _current_task():
    """Return the current task, or None, also where no loop runs."""
    loop = events._get_running_loop()
    return None if loop is None else tasks.current_task(loop)


def _current_node():
    task = tasks.current_task()
    canceller = getattr(task, "_canceller", None)
    return None if canceller is None else canceller.node


def _look_at_clocks(node, now=None):
    """Cancel *node* and the scopes around it whose deadlines have passed."""
    if node is None:
        return
    if now is None:
        now = events.get_running_loop().time()
    for outer in [n for n in node.visible() if n.deadline is not None]:
        if outer.owner is not None:
            outer.owner._look_at_clock(now)
