"""Plays programs of scopes_programs.py on asyncio and on the model."""

__all__ = ("Checker", "ModelWorld", "KINDS", "play", "report")

import asyncio
import contextlib
import dataclasses
import gc
import logging
import signal
import threading
from asyncio import cancellation
from asyncio import futures
from asyncio import tasks

from test import support
from test.test_asyncio import scopes_model
from test.test_asyncio import scopes_programs
from test.test_asyncio import scopes_support


# How it works
#
# A *world* is asyncio or the model, with one loop for many programs.  The
# Player runs a program in a world, and writes down what happens: how each
# wait ends, what a scope says when it is left, how often a cancellation is
# asked for, and how the tasks end.  The same is to be written down in each
# world, line by line.


class Error(Exception):
    """What programs raise."""


# Passes of a loop, and seconds of a program's run, after which it is said not
# to end.
MOST_PASSES = 20_000
SECONDS = 5


class Player:
    def __init__(self, world, program):
        self.world, self.program = world, program
        # (task or None, time, what, …), in order.
        self.trace = []
        # Nothing counts any more.
        self.over = False
        self.tasks, self.groups = {}, {}
        # By coroutine.
        self.names = {}
        # By name: what is entered, or not entered yet.
        self.scopes, self.entered = {}, set()
        self.futures = {name: world.create_future(kind)
                        for name, (kind, _, _) in program.futures.items()}

    def start(self):
        """Schedule everything; the loop does the rest."""
        for name, (_, when, ending) in self.program.futures.items():
            self.world.call_later(when, self.end_future, name, ending)
        for when, action in self.program.timers:
            self.world.call_later(when, self.act, action)
        for name, block in self.program.tasks.items():
            self.world.call_soon(self.create_task, None, name, block)

    def finish(self):
        """Write down how it ended."""
        for name, task in sorted(self.tasks.items()):
            self.trace.append(("end", name, self.world.outcome(task),
                               task.cancelling()))
        for name, future in self.futures.items():
            # Nobody else may have asked for an error.
            self.world.outcome(future)
            self.trace.append(("asked", name, getattr(future, "asked", None)))
        return self.trace

    def record(self, what, *rest):
        if self.over:
            return
        task = self.world.current_task()
        name = None if task is None else self.names[task.get_coro()]
        self.trace.append((name, self.world.now(), what, *rest))

    def create_task(self, group, name, block):
        coro = self.block(block)
        # An eager task has its own name too late.
        self.names[coro] = name
        try:
            task = self.world.create_task(coro, name, self.groups.get(group))
        except RuntimeError:
            self.record("refused", name)
        else:
            self.tasks[name] = task

    def end_future(self, name, ending):
        future = self.futures[name]
        if not future.done():
            match ending:
                case "value":
                    future.set_result("value")
                case "error":
                    future.set_exception(Error(name))
                case "cancel":
                    future.cancel("by someone")

    # Actions.

    def act(self, action):
        name, *arguments = action
        getattr(self, f"act_{name}")(*arguments)

    def act_burst(self, *actions):
        for action in actions:
            self.act(action)

    def act_cancel(self, name, msg):
        if name in self.tasks:
            self.record("cancel", name, self.tasks[name].cancel(msg))

    def act_uncancel(self, name):
        if name in self.tasks:
            self.record("uncancel", name, self.tasks[name].uncancel())

    def act_cancel_scope(self, name, msg):
        self._scope(name).cancel(msg)

    def act_set_shield(self, name, value):
        self._scope(name).shield = value

    def act_set_deadline(self, name, when):
        self.world.set_deadline(self._scope(name), when)

    def act_resolve(self, name):
        self.end_future(name, "value")

    def _scope(self, name):
        if name not in self.scopes:
            arguments = self.program.scopes.get(name, {})
            self.scopes[name] = self.world.scope(**arguments)
        return self.scopes[name]

    # Statements.

    async def block(self, statements):
        for name, *arguments in statements:
            await getattr(self, f"do_{name}")(*arguments)

    async def _wait(self, what, awaitable):
        try:
            value = await awaitable
        except BaseException as exc:
            self._record_wait(what, self.world.tell(exc))
            raise
        self._record_wait(what, value)

    def _record_wait(self, what, ending):
        self.record(what, ending, self._count())

    def _count(self):
        task = self.world.current_task()
        # None in a coroutine that is thrown away.
        return None if task is None else task.cancelling()

    async def do_sleep(self, delay):
        await self._wait("slept", self.world.sleep(delay))

    async def do_yield(self):
        await self._wait("yielded", self.world.sleep(0))

    async def do_checkpoint(self):
        await self._wait("checkpoint", self.world.checkpoint())

    async def do_checkpoint_if(self):
        await self._wait("checkpoint_if", self.world.checkpoint_if_cancelled())

    async def do_future(self, name):
        await self._wait(name, self.futures[name])

    async def do_join(self, name):
        if name in self.tasks:
            await self._wait(name, self.tasks[name])

    async def do_cancel_and_wait(self, name, msg):
        if name in self.tasks:
            await self._wait(name, self.world.cancel_and_wait(
                self.tasks[name], msg=msg))

    async def do_raise(self, text):
        raise Error(text)

    async def do_raise_group(self, parts):
        raise self._group_of(parts)

    def _group_of(self, parts):
        errors = []
        for part in parts:
            if isinstance(part, tuple):
                errors.append(self._group_of(part))
            elif part == "C":
                errors.append(self.world.Cancelled())
            else:
                errors.append(Error(part))
        return BaseExceptionGroup("group", errors)

    async def do_look(self):
        deadline = self.world.current_effective_deadline()
        # What is entered elsewhere would be looked at in vain.
        self.record("look", deadline)

    async def do_block(self, delay):
        self.world.advance(delay)

    async def do_do(self, action):
        self.act(action)

    async def do_soon(self, action):
        self.world.call_soon(self.act, action)

    async def do_later(self, delay, action):
        self.world.call_later(delay, self.act, action)

    async def do_with(self, name, body):
        scope = self._fresh(name)
        with self._recorded(name, scope):
            with scope:
                await self.block(body)

    async def do_async_with(self, name, body):
        scope = self._fresh(name)
        with self._recorded(name, scope):
            async with scope:
                await self.block(body)

    def _fresh(self, name):
        """Return a scope that was not entered yet."""
        if name in self.entered:
            self.scopes.pop(name, None)
        self.entered.add(name)
        return self._scope(name)

    @contextlib.contextmanager
    def _recorded(self, name, scope):
        """Write down what a scope says after its end."""
        told = None
        try:
            yield
        except BaseException as exc:
            told = self.world.tell(exc)
            raise
        finally:
            self.record(name, told, scope.cancel_called,
                        scope.cancelled_caught, scope.shield,
                        self._count())

    async def do_timeout(self, delay, body):
        try:
            async with self.world.timeout(delay) as timeout:
                await self.block(body)
        except BaseException as exc:
            self._record_wait("timeout", (self.world.tell(exc),
                                          timeout.expired()))
            raise
        self._record_wait("timeout", (None, timeout.expired()))

    async def do_group(self, name, body):
        try:
            async with self.world.group() as self.groups[name]:
                await self.block(body)
        except BaseException as exc:
            self._record_wait(name, self.world.tell(exc))
            raise
        self._record_wait(name, None)

    async def do_spawn(self, group, name, body):
        if group is None or group in self.groups:
            self.create_task(group, name, body)

    async def do_swallow(self, body, handler):
        try:
            await self.block(body)
        except self.world.Cancelled as exc:
            self.record("swallowed", self.world.tell(exc))
            await self.block(handler)

    async def do_reraise(self, body, handler):
        try:
            await self.block(body)
        except self.world.Cancelled:
            await self.block(handler)
            raise

    async def do_finally(self, body, final):
        try:
            await self.block(body)
        finally:
            await self.block(final)

    async def do_catch(self, body):
        try:
            await self.block(body)
        except Exception as exc:
            self.record("caught", self.world.tell(exc))

    async def do_spin(self, until, body):
        told = 0
        while self.world.now() < until and told < 300:
            told += 1
            try:
                await self.block(body)
            except self.world.Cancelled:
                pass
            else:
                if body[0][0] != "yield":
                    break
        self.record("spun", told)


# Worlds

class World:
    """What both worlds have in common."""

    def playing(self):
        """Return a context manager in which its programs are played."""
        return contextlib.nullcontext()

    def tell(self, exc):
        if isinstance(exc, self.Cancelled):
            return ("cancelled", *exc.args)
        if isinstance(exc, BaseExceptionGroup):
            return ("group", *sorted(map(repr, map(self.tell,
                                                   exc.exceptions))))
        if isinstance(exc, Error):
            return ("error", *exc.args)
        if isinstance(exc, TimeoutError):
            return ("timeout",)
        return (type(exc).__name__, *exc.args)

    def outcome(self, task):
        if not task.done():
            return "never"
        try:
            return task.result()
        except BaseException as exc:
            return self.tell(exc)

    def call_soon(self, callback, *arguments):
        self.loop.call_soon(lambda: callback(*arguments))

    def call_later(self, delay, callback, *arguments):
        self.loop.call_later(delay, lambda: callback(*arguments))



class ModelWorld(World):
    Cancelled = scopes_model.Cancelled

    def __init__(self, *, eager, rules=None):
        self.loop = scopes_model.Loop(eager=eager, rules=rules)
        self.sleep = self.loop.sleep
        self.checkpoint = self.loop.checkpoint
        self.checkpoint_if_cancelled = self.loop.checkpoint_if_cancelled
        self.current_effective_deadline = (
            self.loop.current_effective_deadline)

    def reset(self):
        pass

    def run(self):
        self.loop.run()

    def replace_loop(self):
        pass

    def check_clean(self):
        return []

    def now(self):
        return self.loop.now

    def advance(self, delay):
        self.loop.now += delay

    def current_task(self):
        return self.loop.current

    def create_future(self, kind):
        if kind == "refusing":
            return scopes_model.Refusing(self.loop)
        return scopes_model.Future(self.loop)

    def create_task(self, coro, name, group):
        return (group or self.loop).create_task(coro, name)

    def scope(self, **arguments):
        return scopes_model.CancelScope(self.loop, **arguments)

    def set_deadline(self, scope, when):
        scope.set_deadline(when)

    def group(self):
        return scopes_model.TaskGroup(self.loop)

    def timeout(self, delay):
        return scopes_model.Timeout(self.loop, delay)

    def cancel_and_wait(self, task, msg):
        return self.loop.cancel_and_wait([task], msg)


class ProgramLoop(scopes_support.VirtualLoop):
    """A loop that stops when nothing will happen any more."""

    def _run_once(self):
        if not self._ready and all(h.cancelled() for h in self._scheduled):
            self._stopping = True
        elif self.passes > MOST_PASSES:
            raise RuntimeError("the program does not end")
        super()._run_once()


def refusing(base):
    class Refusing(base):
        asked = 0

        def cancel(self, msg=None):
            self.asked += 1
            return False
    return Refusing


class OrderedGroup(asyncio.TaskGroup):
    """A group that cancels its tasks in their order."""

    def __init__(self):
        super().__init__()
        self.numbers = {}

    def create_task(self, coro, **kwargs):
        task = super().create_task(coro, **kwargs)
        self.numbers.setdefault(task, len(self.numbers))
        return task

    def _adopt(self, task):
        # A task that begins at once may create others.
        self.numbers[task] = len(self.numbers)
        super()._adopt(task)

    def _release_each(self, release, things):
        return super()._release_each(
            release, sorted(things, key=self.numbers.get))


class AsyncioWorld(World):
    Cancelled = asyncio.CancelledError
    sleep = staticmethod(asyncio.sleep)
    checkpoint = staticmethod(asyncio.checkpoint)
    checkpoint_if_cancelled = staticmethod(asyncio.checkpoint_if_cancelled)
    cancel_and_wait = staticmethod(asyncio.cancel_and_wait)
    current_effective_deadline = staticmethod(
        asyncio.current_effective_deadline)
    group = OrderedGroup

    def __init__(self, implementation, *, eager):
        self.in_python = implementation == "Py"
        self.Task = getattr(tasks, f"_{implementation}Task")
        self.Future = getattr(futures, f"_{implementation}Future")
        self.Refusing = refusing(self.Future)
        self.eager = eager
        self.make_loop()

    def make_loop(self):
        unhandled = self.unhandled = []
        self.loop = ProgramLoop()
        self.loop.set_exception_handler(
            lambda loop, context: unhandled.append(context))
        self.loop.set_task_factory(self.task_factory())

    def task_factory(self):
        if self.eager:
            return asyncio.create_eager_task_factory(self.Task)
        if self.Task is asyncio.Task:
            return None  # The loop makes it, too.
        return lambda loop, coro, **kwargs: self.Task(coro, loop=loop,
                                                      **kwargs)

    def replace_loop(self):
        """Go on after a program that has broken it."""
        self.loop._ready.clear()
        self.loop._scheduled.clear()
        self.close()
        self.make_loop()
        # What its tasks say when they are thrown away is of no interest.
        with support.catch_unraisable_exception():
            gc.collect()

    def close(self):
        self.loop.close()

    def reset(self):
        self.loop.now, self.loop.passes = 0.0, 0

    def run(self):
        self.loop.run_forever()

    def check_clean(self):
        """Return what is left over when a program has ended."""
        loop = self.loop
        left = [f"timer {h}" for h in loop._scheduled if not h.cancelled()]
        loop._scheduled.clear()
        loop._timer_cancelled_count = 0
        deadlines = cancellation.deadlines_of(loop)
        if deadlines._timer is not None or len(deadlines):
            left.append("armed deadlines")
        if tasks._pending_owners:
            left.append("pending owners")
        left += [f"unhandled {context}" for context in self.unhandled]
        left += [f"task {task}" for task in asyncio.all_tasks(loop)]
        self.unhandled.clear()
        return left

    def now(self):
        return self.loop.now

    def advance(self, delay):
        self.loop.now += delay

    def current_task(self):
        return asyncio.current_task(self.loop)

    def create_future(self, kind):
        make = self.Refusing if kind == "refusing" else self.Future
        return make(loop=self.loop)

    def create_task(self, coro, name, group):
        return (group or self.loop).create_task(coro, name=name)

    def scope(self, *, fails=False, **arguments):
        if not fails and arguments == {"shield": True}:
            return asyncio.shield()
        if not fails:
            return asyncio.CancelScope(**arguments)
        shield = arguments.get("shield", False)
        if "timeout" in arguments:
            return asyncio.fail_after(arguments["timeout"], shield=shield)
        return asyncio.fail_at(arguments.get("deadline"), shield=shield)

    def set_deadline(self, scope, when):
        scope.deadline = when

    def timeout(self, delay):
        return asyncio.timeout(delay)

    @contextlib.contextmanager
    def playing(self):
        with contextlib.ExitStack() as stack:
            if self.in_python:
                stack.enter_context(scopes_support.scopes_in_python())
                stack.enter_context(scopes_support.nodes_in_python())
            yield


# Kind: implementation and whether tasks are eager.
KINDS = {"CLazy": ("C", False), "CEager": ("C", True),
         "PyLazy": ("Py", False), "PyEager": ("Py", True)}


def play(world, program):
    """Return the trace of the program in the world."""
    with world.playing():
        return _play(world, program)


def _play(world, program):
    world.reset()
    player = Player(world, program)
    player.start()
    try:
        with time_limit():
            world.run()
    except (Exception, Hang) as exc:
        player.trace.append(("broken", f"{type(exc).__name__}: {exc}"))
        player.over = True
        world.replace_loop()
        return player.trace
    trace = player.finish()
    trace += [("left", what) for what in world.check_clean()]
    return trace


class Hang(KeyboardInterrupt):
    """A step of a program does not end.

    No other exception would come through a loop's callbacks.
    """


@contextlib.contextmanager
def time_limit():
    """Raise Hang when the time is over, where that is possible."""
    if (not hasattr(signal, "setitimer")
            or threading.current_thread() is not threading.main_thread()):
        yield
        return

    def ring(*_):
        raise Hang("it does not end")

    handler = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)


class Checker:
    """Plays programs in all worlds, and tells the differences."""

    def __init__(self, kinds=KINDS, rules=None):
        self.rules = rules or scopes_model.Rules()
        self.worlds = {kind: AsyncioWorld(KINDS[kind][0], eager=KINDS[kind][1])
                       for kind in kinds}
        # Storms are logged.
        self.logger = logging.getLogger("asyncio")
        self.level = self.logger.level
        self.logger.setLevel(logging.CRITICAL)

    def close(self):
        self.logger.setLevel(self.level)
        for world in self.worlds.values():
            world.close()

    def differences(self, program, kinds=None):
        """Return {kind: (place, line expected, line found)}, {} if alike."""
        expected = {eager: self._expected(program, eager)
                    for eager in (False, True)}
        found = {}
        for kind in kinds or self.worlds:
            trace = play(self.worlds[kind], program)
            differences = [self._compare(program, one, trace)
                           for one in expected[KINDS[kind][1]]]
            if None not in differences:
                found[kind] = differences[0]
        return found

    def _expected(self, program, eager):
        """Return the traces that are right."""
        rules = [self.rules]
        if "block" in str(program.tasks):
            # The order of timers that are late is nobody's promise.
            rules.append(dataclasses.replace(self.rules,
                                             deadlines_first=True))
        return [play(ModelWorld(eager=eager, rules=r), program)
                for r in rules]

    def _compare(self, program, expected, trace):
        if "spin" in str(program.tasks):
            # Timers of a storm are due at the same instant.
            expected, trace = by_task(expected), by_task(trace)
        return compare(expected, trace)


def sort_of(difference):
    """Return what shrinking keeps of a difference."""
    _, _, found = difference
    return found[0] if found[0] in ("broken", "left") else "other"


def shrunk(checker, program):
    """Return a small program that differs in the same way, and how."""
    kind, difference = next(iter(checker.differences(program).items()))
    sort = sort_of(difference)

    def fails(smaller):
        found = checker.differences(smaller, [kind])
        return any(sort_of(d) == sort for d in found.values())

    return scopes_programs.shrink(program, fails)


def report(checker, program):
    """Return a text with a small program that differs, and how."""
    small = shrunk(checker, program)
    lines = [str(small)]
    for kind, (place, expected, found) in checker.differences(small).items():
        lines += [f"{kind}, line {place} of the trace:",
                  f"    expected {expected}", f"    found    {found}"]
    return "\n".join(lines)


def by_task(trace):
    """Return the trace with the lines of each task together."""
    return sorted(trace, key=lambda line: str(line[0]))


def compare(expected, trace):
    """Return None, or (place, line of expected, line of trace)."""
    for place, pair in enumerate(zip(expected, trace)):
        if pair[0] != pair[1]:
            return (place, *pair)
    if len(expected) != len(trace):
        place = min(len(expected), len(trace))
        return (place, *(t[place] if place < len(t) else "nothing"
                         for t in (expected, trace)))
    return None
