"""The words of scope_programs.py, on Trio and on asyncio."""

import asyncio
import math
from asyncio import tasks

import trio
import trio.testing
from test.test_asyncio.scopes_support import VirtualLoop

# How it works
#
# A kit is what a program is given.  Time is virtual, and starts at 0:
#
#   say(text), say_state(name, scope)        what the outcome is made of
#   scope(timeout=, deadline=, shield=), move_on_after/at, fail_after/at
#   move(scope, deadline), deadline_of(scope), effective_deadline()
#   sleep, checkpoint, checkpoint_if_cancelled, refuse_until(when)
#   later(delay, function, *args)            a callback that no scope reaches
#   block(seconds)                           time passes, and nothing runs
#   Event(), Lock(), Condition(), queue()    queue: put_nowait(), get()
#   group()                                  start_soon(function, *args)
#   child(function, *args)                   a task on its own: cancel()
#   Cancelled, TooSlow, shape(exception), text_of(cancelled)


class Kit:
    """What both kits have: the outcome."""

    def __init__(self):
        self.trace = []

    def say(self, text):
        self.trace.append(f"{self.now():g} {text}")

    def say_state(self, name, scope):
        words = [word for word, holds in (
            ("called", scope.cancel_called),
            ("caught", scope.cancelled_caught)) if holds]
        self.say(" ".join([name + ":", *words]))

    def shape(self, exc):
        """Return what is the same of *exc* on both."""
        if isinstance(exc, BaseExceptionGroup):
            inner = sorted(map(self.shape, exc.exceptions))
            return f"Group[{', '.join(inner)}]"
        for name in ("Cancelled", "TooSlow"):
            if isinstance(exc, getattr(self, name)):
                return name
        return type(exc).__name__

    async def outcome_of(self, program):
        """Run *program*; return what it said, and what it raised."""
        try:
            await program(self)
        except BaseException as exc:
            self.say(f"raises {self.shape(exc)}")
        return self.trace


class TrioKit(Kit):

    Cancelled, TooSlow = trio.Cancelled, trio.TooSlowError
    Event, Lock, Condition = trio.Event, trio.Lock, trio.Condition
    move_on_after = staticmethod(trio.move_on_after)
    move_on_at = staticmethod(trio.move_on_at)
    fail_after = staticmethod(trio.fail_after)
    fail_at = staticmethod(trio.fail_at)
    effective_deadline = staticmethod(trio.current_effective_deadline)
    sleep = staticmethod(trio.sleep)
    checkpoint = staticmethod(trio.lowlevel.checkpoint)
    checkpoint_if_cancelled = staticmethod(
        trio.lowlevel.checkpoint_if_cancelled)
    now = staticmethod(trio.current_time)
    group = staticmethod(trio.open_nursery)

    def __init__(self):
        super().__init__()
        self._clock = trio.testing.MockClock(autojump_threshold=0)

    def run(self, program):
        return trio.run(self.outcome_of, program, clock=self._clock)

    def scope(self, *, timeout=math.inf, deadline=math.inf, shield=False):
        return trio.CancelScope(relative_deadline=timeout, deadline=deadline,
                                shield=shield)

    def move(self, scope, deadline):
        scope.deadline = deadline

    def deadline_of(self, scope):
        return scope.deadline

    async def refuse_until(self, when):
        task = trio.lowlevel.current_task()
        self.later(when - self.now(), trio.lowlevel.reschedule, task)
        await trio.lowlevel.wait_task_rescheduled(
            lambda raise_cancel: trio.lowlevel.Abort.FAILED)

    def later(self, delay, function, *args):
        async def call():
            await trio.sleep(delay)
            function(*args)
        trio.lowlevel.spawn_system_task(call)

    def block(self, seconds):
        self._clock.jump(seconds)

    def queue(self):
        return _Channel()

    def child(self, function, *args):
        scope = trio.CancelScope()

        async def run():
            with scope:
                await function(*args)
        trio.lowlevel.spawn_system_task(run)
        return scope

    def text_of(self, cancelled):
        return cancelled.reason


class _Channel:
    """Both ends of a memory channel."""

    def __init__(self):
        self._send, self._receive = trio.open_memory_channel(math.inf)
        self.put_nowait = self._send.send_nowait
        self.get = self._receive.receive

    def qsize(self):
        return self._send.statistics().current_buffer_used


class AsyncioKit(Kit):

    Cancelled, TooSlow = asyncio.CancelledError, TimeoutError
    Event, Lock, Condition = asyncio.Event, asyncio.Lock, asyncio.Condition
    scope = asyncio.CancelScope
    move_on_after = staticmethod(asyncio.move_on_after)
    move_on_at = staticmethod(asyncio.move_on_at)
    fail_after = staticmethod(asyncio.fail_after)
    fail_at = staticmethod(asyncio.fail_at)
    effective_deadline = staticmethod(asyncio.current_effective_deadline)
    sleep = staticmethod(asyncio.sleep)
    checkpoint = staticmethod(asyncio.checkpoint)
    checkpoint_if_cancelled = staticmethod(asyncio.checkpoint_if_cancelled)
    queue = asyncio.Queue

    def __init__(self, task_class, eager):
        super().__init__()
        self._task_class, self._eager = task_class, eager

    def run(self, program):
        with asyncio.Runner(loop_factory=self._make_loop) as runner:
            self._loop = runner.get_loop()
            outcome = runner.run(self.outcome_of(program))
            assert not asyncio.all_tasks(self._loop)
        return outcome

    def _make_loop(self):
        loop = VirtualLoop()
        options = {"eager_start": True} if self._eager else {}
        loop.set_task_factory(
            lambda loop, coro, **kwargs: self._task_class(
                coro, loop=loop, **{**options, **kwargs}))
        return loop

    def now(self):
        return self._loop.now

    def move(self, scope, deadline):
        scope.deadline = deadline

    def deadline_of(self, scope):
        return math.inf if scope.deadline is None else scope.deadline

    async def refuse_until(self, when):
        future = _Refusing(loop=self._loop)
        self._loop.call_at(when, future.set_result, None)
        await future

    def later(self, delay, function, *args):
        self._loop.call_later(delay, function, *args)

    def block(self, seconds):
        self._loop.now += seconds

    def group(self):
        return _Group()

    def child(self, function, *args):
        return asyncio.create_task(function(*args))

    def text_of(self, cancelled):
        return cancelled.args[0] if cancelled.args else None


class _Refusing(asyncio.Future):
    """A future that cannot be cancelled."""

    def cancel(self, msg=None):
        return False


class _Group(asyncio.TaskGroup):

    def start_soon(self, function, *args):
        self.create_task(function(*args))


KITS = {
    "trio": TrioKit,
    "c-lazy": lambda: AsyncioKit(tasks._CTask, False),
    "c-eager": lambda: AsyncioKit(tasks._CTask, True),
    "python-lazy": lambda: AsyncioKit(tasks._PyTask, False),
    "python-eager": lambda: AsyncioKit(tasks._PyTask, True),
}
