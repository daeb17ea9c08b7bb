"""What a task knows of its cancellation: where it is in the tree of scopes,
who asks it to stop, and what it was told of it."""

__all__ = ()

import contextlib
import contextvars
import heapq
import weakref

from . import exceptions
from . import futures
from .log import logger


# How it works
#
# *Edge* requests come by Task.cancel(), and are delivered once.  A *level*
# cancellation is a cancelled scope: it is delivered at every wait below it.
#
# A Task has a Canceller from the moment at which it first enters a scope or a
# timeout, is made in a group that has a guard, is cancelled twice before it was
# told, or is interrupted by Ctrl-C; the Task calls it where it suspends, parks,
# resumes, is cancelled and ends.  Without one it works as ever.
#
# Nodes make a tree.  A node is effectively cancelled if it is cancelled, or
# if its parent is and it does not hide that; every change is pushed down at
# once, so that asking is one look.  The host of a node is the Canceller of
# the task that entered it; the node of a group has members instead: those of
# the group's tasks.  A Canceller's node is the innermost one it is in.
#
# Level: a task that parks in an effectively cancelled node has its future
# cancelled, and so has a parked task whose node becomes so; once for each
# wait.  What is not a plain future is cancelled in a pass of its own, so that
# what was just made gets its first step.  A bare yield is told on resuming.
#
# Edge: a request is either *held* (a node that holds stands between where the
# task is and where the request comes from), *pending* (Task._must_cancel), or
# delivered.  All of them count in cancelling(); those not held are
# *outstanding*.


# Deliveries in a row that end no wait otherwise, after which they come by
# timer: code that swallows them would spin.
STORM_LIMIT = 100
# Seconds between deliveries then: the first, doubled up to the last.
STORM_FIRST_PAUSE = 0.001
STORM_LAST_PAUSE = 0.1

# The nodes that hold, in whose blocks this context was made.
_inside = contextvars.ContextVar("asyncio_shields", default=())

# Types whose cancel() runs no code but schedules callbacks.
_PLAIN = frozenset({futures.Future, futures._PyFuture})


class Node:
    """A place in the tree of scopes.

    Its fields are changed by the methods here only.
    """

    __slots__ = ("parent", "host", "members", "children", "owner", "deadline",
                 "cancelled", "effective", "noted", "hides", "holds", "msg",
                 "__weakref__")

    def __init__(self):
        # The node around this one; None outside of all, and once closed.
        self.parent = None
        # Canceller of the task that is in it; None for a group's.
        self.host = None
        # Cancellers of a group's tasks, in their order; None for a scope's.
        self.members = None
        # Open nodes whose parent this is, in their order.
        self.children = {}
        # What the user holds, while it is open: asked to look at the clock.
        self.owner = None
        # On loop.time(), or None.
        self.deadline = None
        self.cancelled = False
        # Cancelled, or below a cancelled node that is not hidden.
        self.effective = False
        # It has become so, and its tasks are still to be told.
        self.noted = False
        # Level cancellation from outside is not seen.
        self.hides = False
        # Edge requests from outside wait.
        self.holds = False
        # The text of the cancellation.
        self.msg = None

    def attach(self, parent):
        self.link(parent)
        self.effective = self._is_effective()

    def link(self, parent):
        """Hang it below *parent*; update() is to tell what that changes."""
        if parent is not None:
            if type(parent) is not type(self):
                raise TypeError("a tree has nodes of one class only")
            parent.children[self] = None
        self.parent = parent

    def detach(self):
        """Leave the tree; what is below gets to the parent."""
        parent, self.parent = self.parent, None
        self.host = None
        children, self.children = self.children, {}
        if parent is not None:
            parent.children.pop(self, None)
            parent.children.update(children)
        for child in children:
            child.parent = parent
        push_down(children)

    def cancel(self, msg=None):
        if not self.cancelled:
            self.cancelled = True
            self.msg = msg
            self.update()

    def update(self):
        """Tell what is below of a change in this node."""
        push_down((self,))

    def visible(self):
        """Iterate over the nodes whose cancellation is seen here."""
        node = self
        while node is not None:
            yield node
            if node.hides:
                return
            node = node.parent

    def text(self):
        """Return the message of the outermost visible cancelled node."""
        msg = None
        for node in self.visible():
            if not node.effective:
                break  # So is none around it.
            if node.cancelled:
                msg = node.msg
        return msg

    def create(self, make, coro, **kwargs):
        """Return make(coro, **kwargs): a task of this node's group."""
        return create_below(self, make, coro, **kwargs)

    def adopt(self, task):
        """Take a new task of this node's group, before its first step."""
        adopt_below(self, task)

    def _is_effective(self):
        return self.cancelled or (not self.hides and self.parent is not None
                                  and self.parent.effective)

    def _reached(self):
        """The cancellers of tasks that are right here, which are told now."""
        self.noted = False
        if self.members is not None:
            return [c for c in self.members if c.node is self]
        if self.host is not None and self.host.node is self:
            return [self.host]
        return []


_PyNode = Node

try:
    from _asyncio import Node
except ImportError:
    pass
else:
    _CNode = Node


# The Node in C calls these two, too.

def create_below(node, make, coro, /, **kwargs):
    owners = tasks._pending_owners
    owners[id(coro)] = node
    try:
        task = make(coro, **kwargs)
    finally:
        unclaimed = owners.pop(id(coro), None)
    if unclaimed is not None:
        # A factory wrapped the coroutine, or has tasks of its own.
        node.adopt(task)
    if getattr(task, "_source_traceback", None):
        del task._source_traceback[-1]
    try:
        return task
    finally:
        # The traceback of an eager task's exception has this frame.
        del task


def adopt_below(node, task):
    canceller = canceller_of(task)
    if canceller is not None and canceller.group is None:
        canceller.join(node)


def push_down(nodes):
    """Tell what is below of a change in *nodes*, and ask the parked tasks."""
    stack = list(nodes)
    stack.reverse()
    noted = []
    while stack:
        node = stack.pop()
        effective = node._is_effective()
        if effective is node.effective:
            continue
        node.effective = effective
        if effective and not node.noted:
            node.noted = True
            noted.append(node)
        stack += reversed(node.children)
    call_all(canceller.deliver
             for node in noted for canceller in node._reached())


def call_all(functions):
    """Call each of *functions*, also after an error.

    The last error is raised, with the one before as its context.
    """
    error = None
    for function in functions:
        try:
            function()
        except BaseException as exc:
            if error is not None and not _is_context_of(exc, error):
                exc.__context__ = error
            error = exc
    if error is not None:
        context = error.__context__
        try:
            raise error
        finally:
            # Raising it made what is handled here its context.
            error.__context__ = context
            del error, context


def _is_context_of(exc, other):
    """Ask if *exc* is *other*, or among its contexts."""
    while other is not None and other is not exc:
        other = other.__context__
    return other is not None


class Request:
    """Someone's request that a task stop."""

    __slots__ = ("origin", "msg", "released", "dropped")

    def __init__(self, origin, msg):
        # The node in whose block it was made; None: outside of all.
        self.origin = origin
        self.msg = msg
        # It was held, and is pending: a task that ends first ends normally.
        self.released = False
        # The task has ended without having been told.
        self.dropped = False


class _PyCancellerBase:
    """The part of a Canceller that each step of a task needs.

    Guards, the blocks that the task has entered, have ``_baseline``,
    ``_arm()`` and ``_abandon()``.
    """

    __slots__ = ("task", "loop", "node", "group", "guards", "armed", "held",
                 "pending", "asking", "told", "accepted",
                 "yielded", "streak", "handle", "next_time")

    def __init__(self, task):
        # None once the task has ended.
        self.task = task
        self.loop = futures._get_loop(task)
        # The innermost node that the task is in, or None.
        self.node = None
        # The node of the group that the task belongs to, or None.
        self.group = None
        # What is entered, outermost first; the first *armed* have their
        # timers.  Those of the rest are made when the task first suspends.
        self.guards = []
        self.armed = 0
        # Requests that a shield defers, and those of _must_cancel.
        self.held = []
        self.pending = []
        # The Request that cancel() is being called for by ask(), or None.
        self.asking = None
        # This wait has had its delivery; and the future took it.
        self.told = False
        self.accepted = False
        # The task has yielded and waits for no future.
        self.yielded = False
        # Deliveries in a row.
        self.streak = 0
        # What will deliver to this wait, or None.
        self.handle = None
        # In a storm: when the next delivery may be.
        self.next_time = 0.0

    def suspend(self):
        """The task suspends: nothing is scheduled yet."""
        guards = self.guards
        while self.armed < len(guards):
            self.armed += 1
            guards[self.armed - 1]._arm()

    def park(self, told):
        """The task is parked; *told*: an edge was delivered to this wait."""
        self.told = told
        self.accepted = False
        if told:
            self._delivered_edge()
        elif self.node is not None:
            self._park_below()

    def took(self):
        """What the task waits for was cancelled for a request."""
        self.told = True
        self._delivered_edge()

    def append_guard(self, guard):
        self.guards.append(guard)

    def leave(self, guard):
        guards = self.guards
        if guards and guards[-1] is guard:
            guards.pop()
            self.armed = min(self.armed, len(guards))
        else:
            self._leave_below(guard)


try:
    from _asyncio import _CancellerBase
except ImportError:
    _CancellerBase = _PyCancellerBase


class _Rules:
    """The part of a Canceller that knows of requests and deliveries."""

    __slots__ = ()

    # The task calls these, and those of the base.

    def resume(self, exc):
        """The task runs on; return the exception that it is thrown."""
        try:
            return self._resume(exc)
        finally:
            self.told = self.accepted = self.yielded = False
            self._delivered_edge()

    def _resume(self, exc):
        handle, self.handle = self.handle, None
        if handle is not None:
            handle.cancel()
        if self.yielded and exc is None and self.is_cancelled():
            if self._wait_in_storm() <= 0:
                self._count_delivery()
                exc = cancelled_error(self.node.text())
        elif not (self.accepted
                  and isinstance(exc, exceptions.CancelledError)):
            self.streak = 0
        return exc

    def hold(self, msg):
        """Someone calls cancel(): return true if the request is held."""
        request, self.asking = self.asking, None
        if request is None:
            request = Request(self._foreign_origin(), msg)
        if self._is_held(request.origin):
            self.held.append(request)
            return True
        self.pending.append(request)
        return False

    def uncancelled(self):
        """The count of requests was lowered by uncancel()."""
        del self.held[self.task.cancelling():]
        outstanding = self.outstanding()
        if not outstanding:
            self.task._must_cancel = False
            self._delivered_edge()
        elif len(self.pending) > outstanding:
            del self.pending[:-outstanding]
        self._lower_baselines()

    def finish(self):
        """The task has ended: close what it left open, and leave."""
        try:
            call_all(self._abandon_guards())
        except StopIteration as exc:
            # A task would take it for the result of its coroutine.
            raise RuntimeError("closing a block raised StopIteration") from exc
        finally:
            self._forget_task()

    def _abandon_guards(self):
        while self.guards:
            guard = self.guards[-1]
            yield guard._abandon
            if self.guards and self.guards[-1] is guard:
                self.guards.pop()

    def _forget_task(self):
        # No shield is left: what was held is pending.
        if self.pending and all(r.released for r in self.pending):
            self.task._must_cancel = False
            for request in self.pending:
                request.dropped = True
        if self.group is not None:
            self.group.members.pop(self, None)
        self.task._canceller = None
        self.task = self.node = self.group = None
        self.pending.clear()

    # Level.

    def _park_below(self):
        if self.node.effective:
            self.deliver()

    def deliver(self):
        """Cancel what the task is parked on, unless this wait had that."""
        if self.task is None or self.told or self.handle is not None:
            return
        future = self.task._fut_waiter
        if future is None or not self.is_cancelled():
            return
        delay = self._wait_in_storm()
        if delay > 0:
            self.handle = self.loop.call_later(
                delay, self._ask, future, context=self.task.get_context())
        elif type(future) in _PLAIN:
            self._ask(future)
        else:
            self.handle = self.loop.call_soon(
                self._ask, future, context=self.task.get_context())

    def _ask(self, future):
        self.handle = None
        if self.told or not self.is_cancelled():
            return
        self.told = True
        self.accepted = bool(future.cancel(msg=self.node.text()))
        if self.accepted:
            self._count_delivery()

    def is_cancelled(self):
        return self.node is not None and self.node.effective

    def _count_delivery(self):
        self.streak += 1
        if self.streak == STORM_LIMIT:
            logger.warning("%r swallows its cancellation again and again "
                           "at %s: it is told of it less often now",
                           self.task, _place(self.task))
        if self.streak >= STORM_LIMIT:
            pause = STORM_FIRST_PAUSE * 2 ** min(self.streak - STORM_LIMIT, 10)
            self.next_time = self.loop.time() + min(pause, STORM_LAST_PAUSE)

    def _wait_in_storm(self):
        """Return the seconds until the next delivery may be."""
        if self.streak < STORM_LIMIT:
            return 0
        return self.next_time - self.loop.time()

    # Edge.

    def outstanding(self):
        return self.task.cancelling() - len(self.held)

    def _lower_baselines(self):
        baseline = self.new_baseline()
        for guard in reversed(self.guards):
            if guard._baseline <= baseline:
                break
            guard._baseline = baseline

    def new_baseline(self):
        return self.outstanding() - bool(self.task._must_cancel)

    def ask(self, origin, msg):
        """Make a request for someone who is in *origin*, and return it."""
        request = self.asking = Request(origin, msg)
        try:
            _cancel_by_base(self.task, msg)
        finally:
            self.asking = None
        return request

    def withdraw(self, request):
        """Take back what ask() returned, if it is not delivered yet."""
        task = self.task
        if request in self.held:
            self.held.remove(request)
        elif request in self.pending:
            self.pending.remove(request)
            if self.pending:
                task._cancel_message = self.pending[-1].msg
            else:
                task._must_cancel = False
        task.uncancel()

    def hold_pending(self):
        """A shield was put up: defer what is not delivered yet."""
        task = self.task
        if not task._must_cancel:
            return
        self.held.extend(self._take(self.pending, True))
        if self.pending:
            task._cancel_message = self.pending[-1].msg
        else:
            task._must_cancel = False
        self._lower_baselines()

    def release(self):
        """A shield is gone: what it held is delivered or pending now."""
        freed = self._take(self.held, False)
        if not freed:
            return
        msg = freed[-1].msg
        future = self.task._fut_waiter
        told = False
        try:
            told = future is not None and future.cancel(msg=msg)
        finally:
            # After an error it is not lost either.
            if told:
                self.told = True
            else:
                self._let_pend(freed, msg)

    def _let_pend(self, requests, msg):
        for request in requests:
            request.released = True
        self.pending.extend(requests)
        self.task._must_cancel = True
        self.task._cancel_message = msg

    def take_pending(self):
        """Return the CancelledError that is due where the task runs now."""
        if self.task._must_cancel:
            self.task._must_cancel = False
            msg = self.task._cancel_message
            self._delivered_edge()
            return cancelled_error(msg)
        if self.is_cancelled():
            return cancelled_error(self.node.text())
        return None

    def _delivered_edge(self):
        if self.pending:
            self.pending.clear()

    def _take(self, requests, is_held):
        """Take those out of *requests* that something holds, or the others."""
        taken = [request for request in requests
                 if self._is_held(request.origin) is is_held]
        # Not less what was taken: a signal handler may have added one.
        requests[:] = [request for request in requests
                       if self._is_held(request.origin) is not is_held]
        return taken

    def _is_held(self, origin):
        """Ask if something that holds stands between here and *origin*."""
        node = self.node
        while node is not None and node is not origin and node.host is self:
            if node.holds:
                return True
            node = node.parent
        return False

    def _foreign_origin(self):
        """Return the node in whose block a foreign cancel() was made."""
        inside = _inside.get()
        node = self.node if inside else None
        while node is not None and node.host is self:
            if node in inside:
                return node
            node = node.parent
        return None

    # Nodes.

    def push(self, node):
        """Enter *node*."""
        node.host = self
        node.attach(self.node)
        self.node = node

    def pop(self, node):
        """Leave *node*, which may be in the middle."""
        if self.node is node:
            self.node = node.parent
        for request in self.held + self.pending:
            if request.origin is node:
                # Its block has ended: it is from around that now.
                request.origin = node.parent
        node.detach()

    # Guards.

    def enter(self, guard):
        guard._baseline = self.new_baseline()
        self.append_guard(guard)

    def _leave_below(self, guard):
        """Remove a guard from below others, if it is there."""
        for index, other in enumerate(self.guards):
            if other is guard:
                del self.guards[index]
                if index < self.armed:
                    self.armed -= 1
                break
        node = getattr(guard, "_node", None)
        for inner in self.guards:
            if node is not None and getattr(inner, "_origin", None) is node:
                # Its block has ended: it is from around that now.
                inner._origin = node.parent

    def join(self, group):
        """Make the task one of those below a group's node."""
        self.group = group
        group.members[self] = None
        if self.node is not None:
            outermost = self.node
            while outermost.parent is not None:
                outermost = outermost.parent
            outermost.link(group)
            outermost.update()
        else:
            self.node = group
            self.deliver()


class _PyCanceller(_Rules, _PyCancellerBase):
    """A Canceller for tasks in Python."""

    __slots__ = ()


class Canceller(_Rules, _CancellerBase):
    """A Canceller for tasks in C, if there are any."""

    __slots__ = ()


class Guard:
    """A block that cancels its task by edge: that of a timeout or a group."""

    # The task, during the block.
    _task = None
    # The task's Canceller has it among its guards.
    _is_known = False
    # The node in which the block was entered, or None.
    _origin = None
    # What was outstanding at the entry and is still, or less.
    _baseline = 0
    # What ask() asked for: a Request, or None if the task has no Canceller.
    _request = None

    def _arm(self):
        """The task suspends in the block for the first time."""

    def _abandon(self):
        """The task has ended in the block."""


def begin(guard, task):
    """The block of *guard* is entered in *task*."""
    guard._task = task
    canceller = canceller_of(task)
    if canceller is None:
        # Not of our class.
        guard._baseline = (task.cancelling()
                           - bool(getattr(task, "_must_cancel", False)))
    else:
        guard._is_known = True
        guard._origin = canceller.node
        canceller.enter(guard)


def leave(guard):
    """The block has ended; forget its task."""
    canceller = getattr(guard._task, "_canceller", None)
    if canceller is not None:
        canceller.leave(guard)
    guard._task = guard._origin = None


def ask(guard, msg=None):
    """Ask the task of *guard* to stop."""
    guard._request = cancel(guard._task, guard._origin, msg)


def withdraw(guard):
    """Take back what ask() did."""
    canceller = getattr(guard._task, "_canceller", None)
    if canceller is None or guard._request is None:
        guard._task.uncancel()
    else:
        baseline = guard._baseline
        canceller.withdraw(guard._request)
        # Only what someone else takes back lowers it.
        guard._baseline = baseline
    guard._request = None


def is_asked_by_others(guard):
    """Ask if a request or a scope from outside cancels the block."""
    canceller = getattr(guard._task, "_canceller", None)
    return (has_new_requests(guard)
            or (canceller is not None and canceller.is_cancelled()))


def has_new_requests(guard):
    canceller = getattr(guard._task, "_canceller", None)
    outstanding = (guard._task.cancelling() if canceller is None
                   else canceller.outstanding())
    return outstanding > guard._baseline


def cancel(task, origin, msg=None):
    """Ask *task* to stop, for someone who is in *origin*.

    Return the Request, or None if the task has no Canceller.  A cancel()
    that a subclass of Task has overridden is not called.
    """
    canceller = getattr(task, "_canceller", None)
    if canceller is not None:
        return canceller.ask(origin, msg)
    _cancel_by_base(task, msg)
    return None


def _cancel_by_base(task, msg):
    for base in tasks.Task, tasks._PyTask:
        if isinstance(task, base):
            base.cancel(task, msg)
            return
    if msg is None:
        # Not every class's cancel() has an argument.
        task.cancel()
    else:
        task.cancel(msg)


def mark_inside(node):
    """The context is one of the block of *node* now, which holds."""
    inside = _inside.get()
    if not len(inside) & len(inside) - 1:
        # Whenever it has doubled: forget blocks that have ended, in which the
        # tasks were made that have made this one.
        inside = tuple(n for n in inside if n.host is not None)
    _inside.set((*inside, node))


def unmark_inside(node):
    inside = _inside.get()
    if node in inside:
        _inside.set(inside[:-1] if inside[-1] is node
                    else tuple(n for n in inside if n is not node))


@contextlib.contextmanager
def from_outside():
    """In the block, a cancel() is not made in any shield, wherever we are."""
    token = _inside.set(())
    try:
        yield
    finally:
        _inside.reset(token)


def cancel_from_outside(task):
    """Call task.cancel(); return the Request, or None if it is none that
    waits."""
    # A shield can be entered later that takes what is pending.
    canceller_of(task)
    before = _waiting_requests(task)
    with from_outside(), _asking_for_nobody(task):
        task.cancel()
    return next((request for request in reversed(_waiting_requests(task))
                 if request not in before), None)


@contextlib.contextmanager
def _asking_for_nobody(task):
    """In the block, a cancel() is not for the ask() that it interrupts."""
    canceller = getattr(task, "_canceller", None)
    asking = None
    if canceller is not None:
        asking, canceller.asking = canceller.asking, None
    try:
        yield
    finally:
        if canceller is not None:
            canceller.asking = asking


def _waiting_requests(task):
    canceller = getattr(task, "_canceller", None)
    return [] if canceller is None else [*canceller.held, *canceller.pending]


def level_error(task):
    """Return the CancelledError of the scopes around *task*, or None."""
    canceller = getattr(task, "_canceller", None)
    if canceller is None or not canceller.is_cancelled():
        return None
    return cancelled_error(canceller.node.text())


class HostGuard(Guard):
    """The part of a block that cancels its host."""

    def __init__(self, host):
        self._task = host

    def leave(self):
        self._task = None

    def ask(self, msg=None):
        """Ask the host to stop."""
        ask(self, msg)

    def ask_again(self):
        """Repeat the request of others that the group's errors replace."""
        if has_new_requests(self):
            self._task.uncancel()
            ask(self)

    def take_back(self):
        """Withdraw what ask() did; return true if others ask the same."""
        withdraw(self)
        return is_asked_by_others(self)

    async def wait(self, future, hide):
        """Wait for *future*; with *hide*, level cancellation is not seen."""
        with hidden(self._task if hide else None):
            await future


class GroupGuard(HostGuard):
    """The part of a group for which its host is cancelled, or can be so by
    a scope."""

    def __init__(self, host):
        begin(self, host)
        # What the tasks of the group are below of.
        self.node = Node()
        self.node.members = {}
        self.node.attach(self._origin)

    def leave(self):
        self.node.detach()
        leave(self)


def enter_group(host):
    """Return a GroupGuard, or None if *host* is in no scope or group, and
    nobody has asked it to stop."""
    canceller = getattr(host, "_canceller", None)
    if (canceller is None or canceller.node is None) and not host.cancelling():
        return None
    return GroupGuard(host)


class hidden:
    """Hide level cancellation from a task in a block, if it has any."""

    def __init__(self, task):
        self._canceller = getattr(task, "_canceller", None)
        self._node = None

    def __enter__(self):
        if self._canceller is not None and self._canceller.node is not None:
            self._node = Node()
            self._node.hides = True
            self._canceller.push(self._node)

    def __exit__(self, *exc_info):
        if self._node is not None:
            self._canceller.pop(self._node)
            self._canceller = self._node = None


def canceller_of(task):
    """Return the Canceller of *task*, or None if it cannot have one."""
    try:
        canceller = task._canceller
    except AttributeError:
        return None
    if canceller is None and not task.done():
        make = (_PyCanceller if isinstance(task, tasks._PyTask)
                else Canceller)
        canceller = task._canceller = make(task)
        if task._must_cancel:
            # It came before there was a Canceller.
            canceller.pending.append(Request(None, task._cancel_message))
    return canceller


def cancelled_error(msg):
    if msg is None:
        return exceptions.CancelledError()
    return exceptions.CancelledError(msg)


# A future in Python waits in a frame of its own.
_await_future = futures._PyFuture.__await__.__code__


def _place(task):
    """Return where the innermost coroutine of a parked task stands."""
    awaitable, place = task.get_coro(), "an unknown place"
    while awaitable is not None:
        frame = (getattr(awaitable, "cr_frame", None)
                 or getattr(awaitable, "gi_frame", None)
                 or getattr(awaitable, "ag_frame", None))
        if frame is not None and frame.f_code is not _await_future:
            place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        awaitable = (getattr(awaitable, "cr_await", None)
                     or getattr(awaitable, "gi_yieldfrom", None)
                     or getattr(awaitable, "ag_await", None))
    return place


# Deadlines that are armed.
#
# All of a loop's are in one queue with one timer, which is for the earliest
# of them or for an earlier time: it is not taken away when a block ends, but
# fires for nothing then, once.  The timer owns the queue, and the loop's
# attribute is a weak reference: a loop that is closed lets its timers go, and
# with them all that was armed.  So the context of the timer is an empty one.
#
# Who is queued has ``_queued``, which is for this alone, and ``_expire()``.


class Deadlines:
    """The armed deadlines of a loop, on one timer."""

    def __init__(self, loop):
        self._loop = loop
        # [deadline, order, owner, self if it is not shared]; the owner is
        # None in a dead one.
        self._heap = []
        self._order = 0
        # The length of the heap at which dead ones are swept.
        self._limit = 32
        # The timer, and its time, which not every loop's handles can tell.
        self._timer = None
        self._due = None
        # The loop has it.  Else it is for one owner, and nobody else can use
        # what is left of its timer.
        self._is_shared = True

    def __len__(self):
        return sum(entry[2] is not None for entry in self._heap)

    def arm(self, owner, when):
        """Queue *owner*, which is in no queue, until *when*."""
        self._order += 1
        owner._queued = [when, self._order, owner,
                         None if self._is_shared else self]
        heapq.heappush(self._heap, owner._queued)
        if len(self._heap) >= self._limit:
            self._sweep()
        self._set_timer()

    def _stop(self):
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self):
        self._heap = [entry for entry in self._heap if entry[2] is not None]
        heapq.heapify(self._heap)
        self._limit = max(32, 2 * len(self._heap))

    def _first(self):
        """Return the earliest deadline, or None."""
        while self._heap and self._heap[0][2] is None:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _set_timer(self):
        when = self._first()
        if when is None:
            return
        before = self._timer
        if before is not None and self._due <= when:
            return
        # First, as the others still need the timer there is if this fails.
        self._timer = contextvars.Context().run(
            self._loop.call_at, when, self._expire, when)
        self._due = when
        if before is not None:
            before.cancel()

    def _expire(self, due):
        # Its own time: by now another timer can be the queue's.
        self._timer = None
        try:
            due = max(due, self._loop.time())
            while (when := self._first()) is not None and when <= due:
                owner = heapq.heappop(self._heap)[2]
                owner._queued = None
                owner._expire()
        finally:
            # If one has raised, the others are for another pass.
            self._set_timer()


def deadlines_of(loop):
    """Return the Deadlines of *loop*, which may be new ones."""
    ref = getattr(loop, "_py_deadlines", None)
    deadlines = ref() if isinstance(ref, weakref.ref) else None
    if deadlines is None:
        deadlines = _PyDeadlines(loop)
        try:
            loop._py_deadlines = weakref.ref(deadlines)
        except (AttributeError, TypeError):
            deadlines._is_shared = False
    return deadlines


def arm(owner, loop, when):
    """Queue *owner* until *when*, or move it in its queue."""
    # The loop's attributes may run code that arms it.
    deadlines = _py_deadlines_of(loop)
    disarm(owner)
    deadlines.arm(owner, when)


def disarm(owner):
    """Take *owner* out of its queue, if it is in one."""
    entry, owner._queued = owner._queued, None
    if entry is not None:
        deadlines = entry[3]
        entry[2] = entry[3] = None
        if deadlines is not None:
            deadlines._stop()


_PyDeadlines, _py_deadlines_of = Deadlines, deadlines_of

try:
    from _asyncio import Deadlines, deadlines_of
except ImportError:
    pass
else:
    _CDeadlines, _c_deadlines_of = Deadlines, deadlines_of


# Last, as tasks needs timeouts, which need Guard.
from . import tasks
