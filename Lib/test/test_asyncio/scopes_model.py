"""A model of cancel scopes: a slow simulator of their rules, without asyncio.

Names and arguments are asyncio's, so that a program runs on either.
"""

__all__ = ("Cancelled", "Loop", "Rules")

import collections
import dataclasses


# How it works
#
# The rules are written here as they are read, with no regard to speed: what
# is cancelled is found by walking up the places, what is to be told of it by
# walking down, and deadlines have a timer each.
#
# The loop runs what is ready in order, a pass at a time; timers come after
# what is ready, by their time and then in the order in which they were made.
#
# A *place* is a scope, a group, or the wait of a group's exit that hides
# level cancellation.  A task is in the innermost place that it has entered,
# else in its group.  The rules:
#
#   Level
#   L1  A place is cancelled in effect if it is cancelled itself, or hides
#       nothing and the place around it is.
#   L2  Whenever a parked task is in such a place, the future of its wait is
#       asked to cancel itself: once a wait, if no edge was delivered to it.
#       A plain future is asked at once, another in a callback of its own.
#   L3  A bare yield is tested on resuming.  Nothing else is ever thrown: a
#       result that has arrived is never lost, and a first step always runs.
#   L4  The text is that of the outermost cancelled place that can be seen.
#   L5  After STORM_LIMIT deliveries in a row they come by timer, with pauses
#       that double.
#
#   Edge
#   E1  cancel() counts.  It is held if a shield stands between where the task
#       is and where the request is from; else it is delivered to the future
#       that the task waits for, or pending until the next wait.  What is
#       pending is one delivery, with the last text.
#   E2  A foreign request is from outside of all, unless it is made in the
#       context of a block of the task that holds: then it is from there.  One
#       of a group is from where the group was entered.  Where a block has
#       ended, it is from around that.
#   E3  What is held is released when no shield is between any more.  It is
#       delivered once, with the last text, and does not cancel a task that
#       ends first.
#   E4  Outstanding is the count less what is held.  uncancel() lowers the
#       count, and forgets what is held or pending beyond that.  Then no
#       baseline of an open block is above that of one that is entered now.
#   E5  A timeout or a group takes its own request back when it is left.  It
#       tells by X1's test if others want the same.
#
#   Exit
#   X1  A scope absorbs CancelledErrors, also those in exception groups, if it
#       is cancelled itself, sees no cancellation around it, and outstanding
#       is not above its baseline: what was outstanding at its entry, less
#       one if a delivery was pending.
#   X2  On leaving an ``async with`` that shields, what is due is delivered,
#       edge before level, unless an exception passes.
#   X3  fail_after() raises TimeoutError if its deadline is the cause, it has
#       absorbed something, and nothing is left to raise.
#
#   Deadlines
#   D1  A timer cancels the scope at its deadline, and with it each scope
#       whose deadline has passed.  It is made when the task first suspends in
#       the scope; one that is due then is cancelled at once.
#   D2  cancel_called, current_effective_deadline() and the checkpoints look
#       at the clock; so does X2, and X1: where that cancels the scope, also
#       for those around it.
#
#   Groups
#   G1  A member is below the scope in which the group was entered.
#   G2  An aborting group waits for its members with level cancellation
#       hidden.
#   G3  A group without errors raises CancelledError if a member was
#       cancelled and level cancellation is seen around it.
#   G4  A group with errors makes the request of its host that it has cut
#       short due again, if more is outstanding than at its entry.
#   G5  An error that several have ended with is in the group once.
#   G6  The host is asked to stop if the group fails in its body; in its exit,
#       it only waits anew, so that G2 holds.


# asyncio's clock is not finer than this.
CLOCK_RESOLUTION = 1e-9
STORM_LIMIT = 100
STORM_PAUSES = [0.001 * 2 ** n for n in range(7)]
STORM_LAST_PAUSE = 0.1


class Cancelled(BaseException):
    """CancelledError; its argument, if any, is the text."""


def cancelled(text):
    return Cancelled() if text is None else Cancelled(text)


@dataclasses.dataclass
class Rules:
    """Readings of the rules that can be chosen."""

    # A deadline that has passed is no timer: it cancels at once.
    due_at_once: bool = True
    # A scope that is left looks at the clock.
    exit_looks: bool = True
    # Where the loop was blocked, deadlines that have passed come before other
    # timers.
    deadlines_first: bool = False


class Context:
    """What a callback or task carries: the shields that it was made in."""

    def __init__(self, inside=()):
        self.inside = tuple(inside)


class Handle:
    def __init__(self, callback, context, when=None):
        self.callback, self.context, self.when = callback, context, when
        self.cancelled = self.is_deadline = False

    def cancel(self):
        self.cancelled = True


class Loop:
    """Callbacks and timers on a virtual clock."""

    MOST_PASSES = 20_000

    def __init__(self, *, eager=False, rules=None):
        self.eager = eager
        self.rules = rules or Rules()
        self.now = 0.0
        self.ready = collections.deque()
        # Not yet due, in the order in which they were made.
        self.timers = []
        # Scopes whose deadlines have a timer.
        self.armed = []
        # The task whose step runs, or None.
        self.current = None
        self.context = Context()

    def call_soon(self, callback, context=None):
        handle = Handle(callback, context or Context(self.context.inside))
        self.ready.append(handle)
        return handle

    def call_at(self, when, callback, context=None):
        handle = Handle(callback, context or Context(self.context.inside),
                        when)
        self.timers.append(handle)
        return handle

    def call_later(self, delay, callback, context=None):
        return self.call_at(self.now + delay, callback, context)

    def run(self):
        """Run until nothing will happen any more."""
        for _ in range(self.MOST_PASSES):
            self.timers = [t for t in self.timers if not t.cancelled]
            if not self.ready and not self.timers:
                return
            self._run_pass()
        raise RuntimeError("the model does not end")

    def _run_pass(self):
        if not self.ready:
            self.now = max(self.now, min(t.when for t in self.timers))
        now = self.now + CLOCK_RESOLUTION
        due = sorted((t for t in self.timers if t.when <= now),
                     key=lambda timer: timer.when)
        if self.rules.deadlines_first:
            due.sort(key=lambda timer: not timer.is_deadline)
        self.timers = [t for t in self.timers if t not in due]
        self.ready += due
        for _ in range(len(self.ready)):
            handle = self.ready.popleft()
            if not handle.cancelled:
                self.context = handle.context
                handle.callback()
        self.context = Context()

    def expire_deadlines(self):
        """D1"""
        now = self.now + CLOCK_RESOLUTION
        due = [scope for scope in self.armed if scope.deadline <= now]
        for scope in sorted(due, key=lambda scope: scope.deadline):
            scope.expire()

    # What programs use, beside the methods above.

    def create_future(self):
        return Future(self)

    def create_task(self, coro, name, group=None):
        return Task(self, coro, name, group)

    async def sleep(self, delay):
        if delay <= 0:
            await Yield()
            return
        future = Future(self)
        timer = self.call_later(delay, lambda: future.set_result(None))
        try:
            await future
        finally:
            timer.cancel()

    async def checkpoint(self):
        self._look_at_clocks()
        await self.sleep(0)

    async def checkpoint_if_cancelled(self):
        self._look_at_clocks()
        if is_cancelled(self.current.place()) or self.current.pending:
            await self.sleep(0)

    def current_effective_deadline(self):
        self._look_at_clocks()
        place = self.current.place()
        if is_cancelled(place):
            return float("-inf")
        return min((p.deadline for p in seen_from(place)
                    if p.deadline is not None), default=float("inf"))

    def _look_at_clocks(self):
        look_at_clocks(self.current.place(), self.now)

    async def wait(self, futures):
        """Wait until all *futures*, of which none has ended, have."""
        waiter, left = Future(self), len(futures)

        def ended():
            nonlocal left
            left -= 1
            if not left:
                waiter.set_result(None)

        for future in futures:
            future.add_done_callback(ended)
        try:
            await waiter
        finally:
            for future in futures:
                future.remove_done_callback(ended)

    async def cancel_and_wait(self, futures, msg=None):
        for future in futures:
            future.cancel(msg)
        error = None
        with Hidden(self.current):
            while pending := [f for f in futures if not f.done()]:
                try:
                    await self.wait(pending)
                except Cancelled as exc:
                    error = exc
        if error is not None:
            raise error


class Yield:
    """A bare yield."""

    def __await__(self):
        yield


# Futures and tasks

class Future:
    # Level delivery asks it at once.
    plain = True

    def __init__(self, loop):
        self.loop = loop
        # "pending", "result", "error" or "cancelled"; and what goes with it.
        self.state, self.value = "pending", None
        self.callbacks = []

    def done(self):
        return self.state != "pending"

    def is_cancelled(self):
        return self.state == "cancelled"

    def set_result(self, value):
        self._end("result", value)

    def set_exception(self, error):
        self._end("error", error)

    def cancel(self, msg=None):
        return self._end("cancelled", msg)

    def _end(self, state, value):
        if self.done():
            return False
        self.state, self.value = state, value
        for callback, context in self.callbacks:
            self.loop.call_soon(callback, context)
        self.callbacks = []
        return True

    def result(self):
        if self.state == "cancelled":
            raise cancelled(self.value)
        if self.state == "error":
            raise self.value
        return self.value

    def add_done_callback(self, callback, context=None):
        context = context or Context(self.loop.context.inside)
        if self.done():
            self.loop.call_soon(callback, context)
        else:
            self.callbacks.append((callback, context))

    def remove_done_callback(self, callback):
        self.callbacks = [c for c in self.callbacks if c[0] is not callback]

    def __await__(self):
        if not self.done():
            yield self
        return self.result()


class Refusing(Future):
    """A future that cannot be cancelled."""

    plain = False
    asked = 0

    def cancel(self, msg=None):
        self.asked += 1
        return False


@dataclasses.dataclass(eq=False)
class Request:
    msg: str
    # The innermost shield of the task in whose block it was made, or None.
    origin: object = None
    was_held: bool = False


class Task(Future):
    plain = False

    def __init__(self, loop, coro, name, group=None):
        super().__init__(loop)
        self.coro, self.name, self.group = coro, name, group
        self.context = Context(loop.context.inside)
        # Open places, outermost first; timeouts and groups.
        self.places, self.guards = [], []
        # It has ended by a CancelledError.
        self.raised = False
        self.count = 0
        self.held, self.pending = [], []
        # The future of the present wait; it had its delivery, edge or level.
        self.waiting = None
        self.told = False
        # The callback that will ask the future, or None.
        self.asking = None
        # It waits in a bare yield.
        self.yielded = False
        # Level deliveries in a row; the last one ended its wait.
        self.streak = 0
        self.accepted = False
        self.next_time = 0.0
        if loop.eager:
            self._start_eagerly()
        else:
            loop.call_soon(self._step, self.context)

    def place(self):
        if self.places:
            return self.places[-1]
        return self.group

    # Its run.

    def _start_eagerly(self):
        loop = self.loop
        outer = loop.current, loop.context
        loop.context = self.context
        try:
            self._step()
        finally:
            loop.current, loop.context = outer

    def _step(self, error=None):
        if self.asking is not None:
            self.asking.cancel()
            self.asking = None
        error = self._error_to_throw(error)
        self.waiting, self.told, self.yielded = None, False, False
        self.accepted = False
        self.loop.current = self
        try:
            if error is None:
                wait = self.coro.send(None)
            else:
                wait = self.coro.throw(error)
        except StopIteration as exc:
            self._return(exc.value)
        except Cancelled as exc:
            self.raised = True
            super().cancel(*exc.args)
        except BaseException as exc:
            self.set_exception(exc)
        else:
            self._suspend(wait)
        finally:
            self.loop.current = None

    def _error_to_throw(self, error):
        if self.pending:
            # E1; the text of what comes anyway stays.
            if not isinstance(error, Cancelled):
                error = cancelled(self.pending[-1].msg)
            self.pending = []
        elif error is None and self.yielded and is_cancelled(self.place()):
            # L3
            if self._pause() > 0:
                return None
            self._count_delivery()
            return cancelled(text_at(self.place()))
        if not (self.accepted and isinstance(error, Cancelled)):
            self.streak = 0
        return error

    def _return(self, value):
        if any(not request.was_held for request in self.pending):
            # As ever: it is cancelled right before it ends.
            super().cancel(self.pending[-1].msg)
        else:
            self.set_result(value)

    def _suspend(self, wait):
        for place in self.places:
            place.arm()
        if wait is None:
            self.yielded = True
            self.loop.call_soon(self._step, self.context)
            return
        wait.add_done_callback(self._wake, self.context)
        self.waiting = wait
        if self.pending and wait.cancel(self.pending[-1].msg):
            self.pending = []
            self.told = True
        self.tell()

    def result(self):
        try:
            return super().result()
        finally:
            if self.state == "cancelled" and self.raised:
                # As ever: the text of what it raised is told once.
                self.value = None

    def _wake(self):
        try:
            self.waiting.result()
        except BaseException as exc:
            self._step(exc)
        else:
            self._step()

    # Level.

    def tell(self):
        """L2: ask the future of the present wait, if that is due."""
        if (self.waiting is None or self.told or self.asking is not None
                or not is_cancelled(self.place())):
            return
        pause = self._pause()
        if pause > 0:
            self.asking = self.loop.call_later(pause, self._ask, self.context)
        elif self.waiting.plain:
            self._ask()
        else:
            self.asking = self.loop.call_soon(self._ask, self.context)

    def _ask(self):
        self.asking = None
        if self.told or not is_cancelled(self.place()):
            return
        self.told = True
        self.accepted = self.waiting.cancel(text_at(self.place()))
        if self.accepted:
            self._count_delivery()

    def _count_delivery(self):
        # L5
        self.streak += 1
        if self.streak >= STORM_LIMIT:
            pauses = STORM_PAUSES[self.streak - STORM_LIMIT:]
            self.next_time = self.loop.now + (
                pauses[0] if pauses else STORM_LAST_PAUSE)

    def _pause(self):
        if self.streak < STORM_LIMIT:
            return 0
        return self.next_time - self.loop.now

    # Edge.

    def cancelling(self):
        return self.count

    def get_coro(self):
        return self.coro

    def outstanding(self):
        return self.count - len(self.held)

    def cancel(self, msg=None):
        if self.done():
            return False
        return self.request(Request(msg, self._foreign_origin()))

    def request(self, request):
        # E1
        self.count += 1
        if self._is_held(request):
            self.held.append(request)
            return True
        if self.waiting is not None and self.waiting.cancel(request.msg):
            self.told = True
        else:
            self.pending.append(request)
        return True

    def uncancel(self):
        # E4
        if self.count:
            self.count -= 1
            del self.held[self.count:]
            keep = max(self.outstanding(), 0)
            self.pending = self.pending[len(self.pending) - keep:] if (
                len(self.pending) > keep) else self.pending
            self.lower_baselines()
        return self.count

    def lower_baselines(self):
        for guard in self.places + self.guards:
            guard.baseline = min(guard.baseline,
                                 self.outstanding() - bool(self.pending))

    def withdraw(self, request):
        """E5"""
        for requests in self.held, self.pending:
            if request in requests:
                requests.remove(request)
        self.uncancel()

    def _foreign_origin(self):
        # E2
        inside = [p for p in self.places if p in self.loop.context.inside]
        return inside[-1] if inside else None

    def _is_held(self, request):
        inner = self.places
        if request.origin in inner:
            inner = inner[inner.index(request.origin) + 1:]
        return any(place.holds for place in inner)

    def hold_pending(self):
        for request in self.pending.copy():
            if self._is_held(request):
                self.pending.remove(request)
                self.held.append(request)
                request.was_held = True
        self.lower_baselines()

    def release(self):
        # E3
        freed = [r for r in self.held if not self._is_held(r)]
        if not freed:
            return
        self.held = [r for r in self.held if r not in freed]
        if self.waiting is not None and self.waiting.cancel(freed[-1].msg):
            self.told = True
            return
        for request in freed:
            request.was_held = True
        self.pending += freed

    def error_due(self):
        """X2"""
        if self.pending:
            error = cancelled(self.pending[-1].msg)
            self.pending = []
            return error
        if is_cancelled(self.place()):
            return cancelled(text_at(self.place()))
        return None


# Places

def seen_from(place):
    """The places whose cancellation is seen in *place*."""
    while place is not None:
        yield place
        if place.hides:
            return
        place = place.parent


def look_at_clocks(place, now):
    for seen in seen_from(place):
        seen.look_at_clock(now)


def is_cancelled(place):
    # L1
    return any(p.cancelled for p in seen_from(place))


def text_at(place):
    # L4
    return [p.msg for p in seen_from(place) if p.cancelled][-1]


class Place:
    deadline = None
    # Of a scope.
    baseline = 0

    def __init__(self):
        self.parent, self.children = None, []
        self.cancelled, self.msg = False, None
        # What is outside is not seen; its requests wait.
        self.hides = self.holds = False

    def attach(self, parent):
        self.parent = parent
        if parent is not None:
            parent.children.append(self)

    def detach(self):
        if self.parent is not None:
            self.parent.children.remove(self)
            self.parent = None

    def tasks(self):
        """The tasks that are right here."""
        return []

    def tell_all(self):
        """L2: something has changed."""
        for task in self.tasks():
            task.tell()
        for child in self.children:
            child.tell_all()

    def arm(self):
        pass

    def look_at_clock(self, now):
        pass


class TaskPlace(Place):
    """A place that a task has entered."""

    task = None

    def enter(self, task):
        self.task = task
        self.attach(task.place())
        task.places.append(self)

    def leave(self):
        places = self.task.places
        around = places[:places.index(self)]
        places.remove(self)
        for request in self.task.held + self.task.pending:
            # E2
            if request.origin is self:
                request.origin = around[-1] if around else None
        self.detach()

    def tasks(self):
        return [self.task] if self.task.place() is self else []


class Hidden(TaskPlace):
    """Hides level cancellation from a task."""

    def __init__(self, task):
        super().__init__()
        self.hides = True
        self.enter(task)

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.leave()


class CancelScope(TaskPlace):
    """A scope; *fails*: it is one of fail_after()."""

    def __init__(self, loop, *, timeout=None, deadline=None, shield=False,
                 fails=False):
        super().__init__()
        self.loop, self.timeout, self.fails = loop, timeout, fails
        self.deadline = deadline
        self.hides = self.holds = shield
        self.state = "new"
        self.by_deadline = False
        self.cancelled_caught = False
        # It has its timer if it has a deadline.
        self.armed, self.timer = False, None

    # The block.

    def __enter__(self):
        task = self.loop.current
        self.state = "open"
        if self.timeout is not None:
            self.deadline = self.loop.now + self.timeout
        self.enter(task)
        if self.holds:
            self._mark_context()
            task.hold_pending()
        # X1
        self.baseline = task.outstanding() - bool(task.pending)
        return self

    def __exit__(self, kind, error, traceback):
        if self.loop.rules.exit_looks and error is not None:
            was_cancelled = self.cancelled
            self.look_at_clock(self.loop.now)
            if self.cancelled and not was_cancelled:
                look_at_clocks(self, self.loop.now)
        absorbs = (
            error is not None and self.cancelled
            and (self.hides or not is_cancelled(self.parent))
            and self.task.outstanding() <= self.baseline)
        rest = without_cancelled(error) if absorbs else error
        self.cancelled_caught = rest is not error
        if self.cancelled_caught:
            self.task.streak = 0
        self._close()
        if not self.cancelled_caught:
            return False
        if rest is not None:
            raise rest
        if self.fails and self.by_deadline:
            raise TimeoutError
        return True

    def _close(self):
        self.state = "closed"
        self._drop_timer()
        inside = self.loop.context.inside
        self.loop.context.inside = tuple(p for p in inside if p is not self)
        self.leave()
        if self.holds:
            self.task.release()

    async def __aenter__(self):
        return self.__enter__()

    async def __aexit__(self, kind, error, traceback):
        shields = self.holds
        absorbed = self.__exit__(kind, error, traceback)
        if shields and (error is None or absorbed):
            # X2
            look_at_clocks(self.task.place(), self.loop.now)
            due = self.task.error_due()
            if due is not None:
                raise due
        return absorbed

    # What is done to it.

    def cancel(self, msg=None):
        if not self.cancelled:
            self.cancelled, self.msg = True, msg
            if self.state == "open":
                self.tell_all()

    @property
    def cancel_called(self):
        if self.state == "open":
            self.look_at_clock(self.loop.now)
        return self.cancelled

    @property
    def shield(self):
        return self.holds

    @shield.setter
    def shield(self, value):
        if value is self.holds:
            return
        self.hides = self.holds = value
        if self.state != "open":
            return
        if value:
            if self.loop.current is self.task:
                self._mark_context()
            self.task.hold_pending()
        else:
            self.task.release()
            self.tell_all()

    def _mark_context(self):
        context = self.loop.context
        if self not in context.inside:
            context.inside += (self,)

    def set_deadline(self, when):
        self.deadline, self.timeout = when, None
        if self.state == "open" and self.armed:
            self._set_timer()

    # Its deadline.

    def arm(self):
        # D1
        if not self.armed:
            self.armed = True
            self._set_timer()

    def _set_timer(self):
        self._drop_timer()
        if self.deadline is None or self.cancelled:
            return
        if self.loop.rules.due_at_once and self.deadline <= self.loop.now:
            self.expire()
        else:
            self.timer = self.loop.call_at(self.deadline,
                                           self.loop.expire_deadlines)
            self.timer.is_deadline = True
            self.loop.armed.append(self)

    def _drop_timer(self):
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
            self.loop.armed.remove(self)

    def expire(self):
        self._drop_timer()
        if not self.cancelled:
            self.by_deadline = True
            self.cancel()

    def look_at_clock(self, now):
        # D2
        if (self.state == "open" and self.deadline is not None
                and self.deadline <= now):
            self.expire()


def without_cancelled(error):
    """What is left of *error* without what is cancelled, or None."""
    if isinstance(error, Cancelled):
        return None
    if not isinstance(error, BaseExceptionGroup):
        return error
    rest = [without_cancelled(e) for e in error.exceptions]
    if all(new is old for new, old in zip(rest, error.exceptions)):
        return error
    rest = [e for e in rest if e is not None]
    return error.derive(rest) if rest else None


class Timeout:
    """asyncio.timeout(): by edge."""

    def __init__(self, loop, delay):
        self.loop, self.when = loop, loop.now + delay
        self.request = None

    def expired(self):
        return self.request is not None

    async def __aenter__(self):
        host = self.host = self.loop.current
        self.origin = host.places[-1] if host.places else None
        self.baseline = host.outstanding() - bool(host.pending)
        host.guards.append(self)
        if self.when <= self.loop.now:
            self.timer = self.loop.call_soon(self._expire)
        else:
            self.timer = self.loop.call_at(self.when, self._expire)
        return self

    def _expire(self):
        self.request = Request(None, self.origin)
        self.host.request(self.request)

    async def __aexit__(self, kind, error, traceback):
        self.timer.cancel()
        host = self.host
        host.guards.remove(self)
        if self.request is not None:
            host.withdraw(self.request)
            if (isinstance(error, Cancelled)
                    and host.outstanding() <= self.baseline
                    and not is_cancelled(host.place())):
                raise TimeoutError


# Groups

class GroupPlace(Place):
    def __init__(self, group):
        super().__init__()
        self.group = group

    def tasks(self):
        return [t for t in self.group.members if t.place() is self]


class TaskGroup:
    def __init__(self, loop):
        self.loop = loop
        self.members, self.errors = [], []
        self.aborting = self.member_cancelled = self.exiting = False
        # What the host was asked for, or None.
        self.request = None
        # Resolved when the last member has ended; None but in the exit.
        self.all_ended = None

    async def __aenter__(self):
        host = self.host = self.loop.current
        self.origin = host.places[-1] if host.places else None
        self.baseline = host.outstanding() - bool(host.pending)
        host.guards.append(self)
        # G1
        self.place = GroupPlace(self)
        self.place.attach(host.place())
        return self

    def create_task(self, coro, name):
        if self.aborting:
            coro.close()
            raise RuntimeError("the group is shutting down")
        task = Member(self, coro, name)
        task.add_done_callback(lambda: self._ended(task))
        return task

    def _ended(self, task):
        self.members.remove(task)
        if not self.members and self.all_ended is not None:
            self.all_ended.set_result(None)
        if task.is_cancelled():
            self.member_cancelled = True
        elif task.state == "error":
            self._fail(task.value)

    def _fail(self, error):
        # G6
        self._note(error)
        if self.aborting:
            return
        self._abort()
        if not self.exiting:
            self.request = Request(None, self.origin)
            self.host.request(self.request)
        elif self.all_ended is not None and not self.all_ended.done():
            self.all_ended.set_result(None)

    def _note(self, error):
        # G5
        if not any(error is other for other in self.errors):
            self.errors.append(error)

    def _abort(self):
        self.aborting = True
        for member in self.members:
            member.cancel()

    async def __aexit__(self, kind, error, traceback):
        self.exiting = True
        ended_by = error if isinstance(error, Cancelled) else None
        if error is not None and not self.aborting:
            self._abort()
        while self.members:
            interrupted = await self._wait()
            if interrupted is not None and not self.aborting:
                ended_by = interrupted
                self._abort()
        self.place.detach()
        self.host.guards.remove(self)
        if self.request is not None:
            self.host.withdraw(self.request)
        if error is not None and ended_by is None:
            self._note(error)
        if self.errors:
            self._make_due_again()
            raise BaseExceptionGroup("errors", self.errors)
        if (error is None and ended_by is None and self.member_cancelled
                and is_cancelled(self.host.place())):
            # G3
            ended_by = cancelled(text_at(self.host.place()))
        if ended_by is not None:
            raise ended_by

    async def _wait(self):
        """Wait for the members; return a CancelledError that came."""
        self.all_ended = Future(self.loop)
        hidden = Hidden(self.host) if self.aborting else None
        try:
            # G2
            await self.all_ended
        except Cancelled as exc:
            return exc
        finally:
            self.all_ended = None
            if hidden is not None:
                hidden.leave()

    def _make_due_again(self):
        # G4
        if self.host.outstanding() > self.baseline:
            self.host.uncancel()
            self.host.request(Request(None, self.origin))


class Member(Task):
    def __init__(self, group, coro, name):
        group.members.append(self)
        super().__init__(group.loop, coro, name, group.place)
