"""Plays programs of supervisors_programs.py, and checks what is promised."""

__all__ = ("Checker",)

import asyncio
import contextlib
import gc
import signal
import warnings

from test import support

from supervisors_actions import OFTEN, SIGNALS, Actions
from supervisors_checks import Checks
from supervisors_records import Error, Supervised
from supervisors_world import Loop, has_children, open_files


# How it works
#
# The Player does what the program says, and has a record of all that was
# allocated (Allocated and its like), and of each exception that left a
# callback, a task or a body (Supervised.escaped).  When a block has ended, in
# the same step, the records are looked through: by then all of it is released,
# and the errors tell how the block must have ended.  After the program nothing
# is left in the loop or the process, and what came to the loop's exception
# handler is what should have come there.
#
# From LATE on, whatever could hold a program up is given way: so a program
# that does not end is wrong.


LATE, LATER, LAST = 50, 60, 200
# Seconds for a program; for what neither passes nor clock end.
SECONDS = 60


class Player(Actions, Checks):
    """Plays one program in a loop."""

    def __init__(self, loop, program):
        self.loop, self.program = loop, program
        loop.after_pass = self.note_aborts
        self.problems = []
        # By name; the last of each.
        self.supervised, self.timers, self.futures = {}, {}, {}
        self.tasks, self.links, self.servers = {}, {}, {}
        self.all_links = []
        self.registered, self.peers, self.files = {}, [], []
        # All supervisors, and what is nobody's.
        self.every, self.foreign = [], []
        # Task: how often someone has cancelled it.
        self.cancels = {}
        # Task: the one that it awaits.
        self.joins = {}
        # Tasks that were ever awaited, and may be cancelled by that.
        self.joined = set()
        # Task: those of groups and supervisors that it is the host of.
        self.children = {}
        # Task: the supervisors that cancel it when they abort.
        self.owners = {}
        # Task: names of what is around where it is.
        self.around = {}
        # What came to the loop's exception handler; what must come.
        self.reported, self.expected = [], []
        self.same = Error("the same")
        self.connects = self.actings = self.kills = self.acts = 0
        # Of exceptions of protocols, by identity.
        self.links_of_errors = {}
        self.host = None
        # What ends the host may be lost, or be a CancelledError by hand.
        self.is_loose = self.ended = False

    # The host and the timers.

    async def play(self):
        self.host = asyncio.current_task()
        self.around[self.host] = []
        self.loop.set_exception_handler(self.report)
        for when, action in self.program.timers:
            self.later(when, self.act_freely, action)
        self.later(LATE, self.give_way)
        self.later(LATER, self.act_cancel_host)
        outcome = await self.outcome_of(self.block(self.program.host))
        late = await self.outcome_of(asyncio.sleep(0))
        self.ended = True
        self.check_host(outcome, late)
        await self.end_foreign()

    def later(self, delay, *call):
        self.foreign.append(self.loop.call_later(delay, *call))

    async def outcome_of(self, coro):
        try:
            await coro
        except BaseException as exc:
            return exc

    def give_way(self):
        """Nothing is to be waited for any more."""
        for s in self.every:
            for thing in s.things:
                if thing.what == "future" and not thing.name.endswith("end"):
                    thing.thing.cancel()
        for peer in self.peers:
            peer.read()
        self.open_gates()
        if self.loop.time() < LAST:
            # A pipe takes only so much at once.
            self.later(1, self.give_way)

    def open_gates(self):
        for s in self.every:
            for thing in s.things:
                if thing.what == "job":
                    self.loop.executor.open(thing)

    async def end_foreign(self):
        for thing in self.foreign:
            if isinstance(thing, asyncio.Task):
                self.cancels[thing] = self.cancels.get(thing, 0) + 1
            thing.cancel()
        # One that has swallowed that may begin something that lasts.
        self.give_way()
        tasks = {t for t in self.foreign if isinstance(t, asyncio.Task)}
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=100)
            for task in left:
                self.wrong(f"{task} goes on")
        self.foreign[-1].cancel()  # The last give_way().
        for _ in range(3):
            await asyncio.sleep(0)

    def report(self, loop, context):
        self.reported.append(context)

    # What leaves a callback, a task or a body.

    def escaped(self, s, exc, where):
        if s.is_over:
            if where not in ("task", "body"):
                self.expected.append(exc)
            return
        is_cancelled = isinstance(exc, asyncio.CancelledError)
        if not is_cancelled:
            s.escaped.append((exc, where))
        elif where not in ("task", "body"):
            self.expected.append(exc)

    def run(self, s, where, actions, link=None):
        """Do what a callback does."""
        try:
            for action in actions:
                self.act(action)
        except BaseException as exc:
            self.escaped(s, exc, where)
            raise

    def handle(self, s, handler, context):
        """A supervisor's failure handler."""
        mode, actions = handler
        exc = context["exception"]
        if s.is_over:
            self.wrong(f"the handler of {s.name} is asked after its end")
        try:
            if self.actings < OFTEN:
                self.actings += 1
                for action in actions:
                    self.act(action)
            if mode == "raises":
                raise Error("of the handler")
        except BaseException as error:
            s.asked.append((exc, False))
            s.handler_errors.append(error)
            raise
        handled = mode == "handles" or (mode == "some"
                                        and len(s.asked) % 2 == 0)
        s.asked.append((exc, handled))
        if handled:
            self.note_handled(s, context)
        return handled

    def note_handled(self, s, context):
        """What the failure came from is gone."""
        callback = getattr(context.get("handle"), "_callback", None)
        for thing in s.things:
            if (thing.what in ("reader", "writer")
                    and thing.callback is callback):
                thing.was_ended = True
        link = self.links_of_errors.get(id(context["exception"]))
        if link is not None and link.s is s and link.what != "datagram":
            link.was_handled = True
            self.loop.call_soon(self.check_is_gone, link)

    def check_is_gone(self, link):
        if ("connection_lost" not in link.calls and link.thing is not None
                and not link.thing.is_closing()):
            self.wrong(f"{link} lives on after a handled failure")

    # Statements.

    async def block(self, statements):
        for name, *arguments in statements:
            await getattr(self, f"do_{name}")(*arguments)

    @contextlib.contextmanager
    def within(self, name):
        around = self.around.setdefault(asyncio.current_task(), [])
        around.append(name)
        try:
            yield
        finally:
            around.pop()

    async def do_do(self, action):
        self.act(action)

    async def do_sleep(self, delay):
        task = asyncio.current_task()
        before = [s for s in self.owners.get(task, ())
                  if not s.has_aborted()]
        await asyncio.sleep(delay)
        if "shield" not in self.around.get(task, ()):
            for s in before:
                if s.aborted_in not in (None, self.loop.passes):
                    self.wrong(f"{task.get_name()} was not cancelled as "
                               f"{s.name} aborted")

    def note_aborts(self):
        for s in self.every:
            if s.aborted_in is None and s.has_aborted():
                s.aborted_in = self.loop.passes
                s.aborted_at = self.loop.time()

    async def do_checkpoint(self):
        await asyncio.checkpoint()

    async def do_wait(self, name):
        future = self.futures.get(name)
        if future is not None:
            self.note_wait(future)
            await future

    async def do_join(self, name):
        task = self.tasks.get(name)
        current = asyncio.current_task()
        if task is None or self.waits_for(task, current):
            return
        self.joins[current] = task
        self.joined.add(task)
        try:
            self.note_wait(task)
            await task
        finally:
            self.joins.pop(current, None)

    def waits_for(self, task, other):
        """Ask if *task* waits, or will wait, for the other one to end."""
        found, stack = set(), [task]
        while stack:
            task = stack.pop()
            if task is other:
                return True
            if task not in found:
                found.add(task)
                stack += self.children.get(task, ())
                if task in self.joins:
                    stack.append(self.joins[task])
        return False

    def note_wait(self, future):
        """What it raises may be CancelledError: of itself, or of us."""
        self.is_loose = True
        for waiting in asyncio.current_task(), future:
            if record := self.record_of(waiting):
                record.was_ended = True

    def record_of(self, task):
        for s in self.every:
            for thing in s.things:
                if thing.thing is task:
                    return thing
        return None

    async def do_raise(self, kind):
        if kind == "cancelled":
            self.is_loose = True
            if record := self.record_of(asyncio.current_task()):
                record.was_ended = True
        self.raise_one(kind)

    async def do_scope(self, timeout, shield, block):
        with self.within("shield" if shield else "scope"):
            with asyncio.CancelScope(timeout=timeout, shield=shield):
                await self.block(block)

    async def do_timeout(self, delay, block):
        with self.within("timeout"):
            async with asyncio.timeout(delay):
                await self.block(block)

    async def do_shield(self, block):
        with self.within("shield"):
            async with asyncio.shield():
                await self.block(block)

    async def do_group(self, block, child):
        with self.within("group"):
            try:
                async with asyncio.TaskGroup() as group:
                    task = group.create_task(self.inside(
                        "group", child, asyncio.current_task()))
                    await self.block(block)
            except (KeyboardInterrupt, SystemExit):
                # Then a TaskGroup tells the loop of other errors.
                if not task.cancelled() and task.exception() is not None:
                    self.expected.append(task.exception())
                raise

    def note_child(self, task, child):
        self.children.setdefault(task, []).append(child)

    async def inside(self, name, block, parent):
        self.note_child(parent, asyncio.current_task())
        self.around[asyncio.current_task()] = [name]
        try:
            await self.block(block)
        except (KeyboardInterrupt, SystemExit):
            # It would leave the loop.
            raise Error("instead of an exit") from None

    async def do_swallow(self, block):
        self.is_loose = True
        try:
            with self.within("swallow"):
                await self.block(block)
        except asyncio.CancelledError:
            pass

    async def do_catch(self, block):
        try:
            await self.block(block)
        except Exception:
            self.is_loose = True

    async def do_finally(self, block, cleanup):
        try:
            await self.block(block)
        finally:
            self.is_loose = True
            await self.block(cleanup)

    async def do_sup(self, name, handler, block):
        def handle(context):
            return self.handle(s, handler, context)
        s = Supervised(name, self.loop.create_supervisor(
            name=name, failure_handler=handler and handle))
        s.has_handler = handler is not None
        self.every.append(s)
        self.supervised[name] = s
        s.host = task = asyncio.current_task()
        # One may be pending.
        before = self.cancels.get(task, 0) - task._must_cancel
        outcome, body = None, _Body()
        try:
            async with s.sup:
                owners = self.owners.setdefault(task, [])
                owners.append(s)
                try:
                    with self.within("sup"):
                        await self.body(s, block, body)
                finally:
                    owners.remove(s)
                    self.worked(s)
        except BaseException as exc:
            outcome = exc
            raise
        finally:
            s.is_over = True
            if not isinstance(outcome, GeneratorExit):
                self.check_block(
                    s, outcome, body,
                    self.cancels.get(task, 0) - before)
            outcome = None

    async def body(self, s, block, body):
        try:
            await self.block(block)
        except BaseException as exc:
            body.exc = exc
            body.had_aborted = s.has_aborted()
            self.escaped(s, exc, "body")
            raise

    # The end.

    def close(self):
        for file in self.files:
            file.close()


class _Body:
    exc = None
    had_aborted = False


class Checker:
    """Plays programs, each as if it were the first."""

    def __init__(self):
        self.make_loop()
        signal.signal(signal.SIGALRM, self._take_too_long)
        # Not before: a thread may be started at the first job.
        self.loop.executor.submit(int)

    def make_loop(self):
        self.loop = Loop()
        self.loop.slow_callback_duration = float("inf")
        signal.signal(SIGNALS[1], _ignore)
        self.loop.add_signal_handler(SIGNALS[0], _ignore)

    def close(self):
        self.loop.close()

    @staticmethod
    def _take_too_long(signum, frame):
        raise TimeoutError("the program takes too long")

    def problems(self, program):
        """Return what is wrong when the program is played, as texts."""
        # The timer of deadlines, which may be left, is for none of these.
        self.loop.run_until_complete(asyncio.sleep(2 * LATER))
        self.loop.now, self.loop.passes = 0.0, 0
        self.loop.set_debug("debug" in program.options)
        self.loop.set_exception_handler(None)
        self.loop.set_task_factory(
            asyncio.eager_task_factory if "eager" in program.options
            else None)
        player = Player(self.loop, program)
        before = self._what_is_there()
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = (
                lambda message, *_: player.wrong(f"warning: {message}"))
            try:
                self.loop.run_until_complete(player.play())
            except BaseException as exc:
                player.wrong(self.loop.gave_up or f"{exc!r} leaves the loop")
                is_broken = True
            else:
                self._check_left(player, before)
                self._check_reported(player)
                is_broken = False
            if is_broken:
                self._replace_loop(player)
        signal.setitimer(signal.ITIMER_REAL, 0)
        return player.problems

    def _what_is_there(self):
        return {
            "files": open_files(),
            "registered": set(self.loop._selector.get_map()),
            "signal handlers": {(number, id(handle)) for number, handle
                                in self.loop._signal_handlers.items()},
            "handlers": {(number, signal.getsignal(number))
                         for number in SIGNALS},
            "tasks": asyncio.all_tasks(self.loop),
            "ready": list(self.loop._ready),
            "timers": [timer for timer in self.loop._scheduled
                       if not timer.cancelled()
                       and "Deadlines" not in repr(timer._callback)],
        }

    def _check_left(self, player, before):
        player.close()
        for what, after in self._what_is_there().items():
            if after != before[what]:
                player.wrong(f"{what} are {after}, not {before[what]}")
        if has_children():
            player.wrong("a child process is left")

    def _check_reported(self, player):
        expected = list(player.expected)
        for context in player.reported:
            exc = context.get("exception")
            for index, other in enumerate(expected):
                if other is exc:
                    del expected[index]
                    break
            else:
                player.wrong(f"the loop's handler was told of {context}")
        for exc in expected:
            player.wrong(f"the loop's handler was not told of {exc!r}")

    def _replace_loop(self, player):
        """Go on after a program that has not ended."""
        loop = self.loop
        player.open_gates()
        player.close()
        loop._ready.clear()
        loop._scheduled.clear()
        for number in list(loop._signal_handlers):
            loop.remove_signal_handler(number)
        loop.set_exception_handler(lambda *_: None)
        loop.close()
        self.make_loop()
        player.__dict__ = {"problems": player.problems}
        # What is thrown away has something to say, but nothing new.
        with warnings.catch_warnings(), support.catch_unraisable_exception():
            warnings.simplefilter("ignore")
            gc.collect()


def _ignore(*_):
    pass
