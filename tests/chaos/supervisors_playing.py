"""Plays programs of supervisors_programs.py, and checks what is promised."""

__all__ = ("Checker",)

import asyncio
import contextlib
import gc
import os
import signal
import socket
import subprocess
import threading
import warnings

from test import support

from supervisors_world import Loop, Peer, has_children, open_files


# How it works
#
# The Player does what the program says, and has a record of all that was
# allocated (_Allocated and its like), and of each exception that left a
# callback, a task or a body (_Supervised.escaped).  When a block has ended, in
# the same step, the records are looked through: by then all of it is released,
# and the errors tell how the block must have ended.  After the program nothing
# is left in the loop or the process, and what came to the loop's exception
# handler is what should have come there.
#
# From LATE on, whatever could hold a program up is given way: so a program that
# does not end is wrong.

LATE, LATER = 50, 60
# How often one name can be connected to, or a handler act, in a program.
OFTEN = 8
SIGNALS = (signal.SIGUSR1, signal.SIGUSR2)
# Seconds for a program; for what neither passes nor clock end.
SECONDS = 60


class Error(Exception):
    pass


class BaseError(BaseException):
    pass


class _Supervised:
    """A supervisor, what it owns, and what has happened to it."""

    def __init__(self, name, sup):
        self.name, self.sup = name, sup
        self.things = []
        # (exception, where from), in order; those the handler was asked of,
        # by identity, and whether it handled them.
        self.escaped, self.asked = [], []
        # What the handler itself raised.
        self.handler_errors = []
        self.is_over = False
        # cancel() was called.
        self.was_cancelled = False
        # The pass in which it aborted, and on what time; when the last work
        # of it, or its body, ended.
        self.aborted_in = self.aborted_at = None
        self.worked_until = 0.0

    @property
    def state(self):
        return self.sup._state.name

    def has_aborted(self):
        return self.sup._drops


class _Allocated:
    """A thing that a supervisor has allocated."""

    def __init__(self, what, name, s):
        self.what, self.name, self.s = what, name, s
        self.state = s.state
        self.thing = None
        self.runs = 0
        # Someone else cancelled or removed it.
        self.was_ended = False

    def __str__(self):
        return f"{self.what} {self.name or ''} of {self.s.name}"

    def problems(self):
        """What is wrong with it, after the end of its block."""
        return getattr(self, f"_check_{self.what.replace(' ', '_')}")()

    def _check_call_soon(self):
        cancelled = self.thing.cancelled()
        if self.state == "ABORTING" and (self.runs or not cancelled):
            yield "was not cancelled when it was made"
        elif self.runs > 1:
            yield f"was run {self.runs} times"
        elif self.runs and cancelled:
            yield "was run and cancelled"
        elif not self.runs and not cancelled:
            yield "was neither run nor dropped"
        elif not self.runs and not self.s.has_aborted():
            yield "was dropped at a normal exit"

    def _check_timer(self):
        if self.runs > 1:
            yield f"was run {self.runs} times"
        elif not self.runs and not self.thing.cancelled():
            yield "was neither run nor cancelled"
        if self.state == "ABORTING" and self.runs:
            yield "was made while its supervisor aborted, and has run"

    def _check_future(self):
        if not self.thing.done():
            yield "is not done"

    def _check_task(self):
        if not self.thing.done():
            yield "is not done"
        elif not self.runs:
            pass
        elif (self.thing.cancelled() and not self.s.has_aborted()
                and not self.was_ended):
            yield "was cancelled at a normal exit"

    def _check_job(self):
        if not self.thing.done():
            yield "is not done"
        if self.runs == 1:
            yield "is still in its thread"
        if (not self.runs and not self.s.has_aborted()
                and not self.was_ended):
            yield "was never run"

    def _check_server(self):
        if self.thing.is_serving() or self.thing.sockets:
            yield "still serves"

    def _check_reader(self):
        key = self.s.sup._loop._selector.get_map().get(self.thing)
        handles = key.data if key else (None, None)
        handle = handles[self.what == "writer"]
        if (handle is not None and not handle._cancelled
                and handle._callback is self.callback):
            yield "is still registered"

    _check_writer = _check_reader

    def _check_signal(self):
        handle = self.s.sup._loop._signal_handlers.get(self.thing)
        if handle is not None and handle._callback is self.callback:
            yield "is still registered"


class _Link(_Allocated):
    """A protocol, which is asked for by a call or made by a server."""

    def __init__(self, what, name, s, does, player):
        super().__init__(what, name, s)
        self.does, self.player = does, player
        self.calls = []
        self.peer = self.file = None
        # What was written is to arrive.
        self.sent, self.is_whole = 0, True
        self.was_handled = False

    def problems(self):
        made = self.calls.count("connection_made")
        lost = self.calls.count("connection_lost")
        if made > 1 or lost != made:
            yield f"has seen {', '.join(self.calls)}"
        elif made and (self.calls[0] != "connection_made"
                       or self.calls[-1] != "connection_lost"):
            yield f"has seen {', '.join(self.calls)}"
        if made and self.file is not None and self._is_open():
            yield "has an open file"
        if made and self.what == "process":
            if self.thing.get_returncode() is None:
                yield "still runs"
        if (self.sent and self.is_whole and not self.s.has_aborted()
                and self.peer is not None):
            self.peer.read()
            if self.peer.received != self.sent:
                yield (f"has sent {self.peer.received} bytes of the "
                       f"{self.sent} that were written")

    def _is_open(self):
        if isinstance(self.file, socket.socket):
            return self.file.fileno() >= 0
        return not self.file.closed

    def called(self, name, *args):
        """A method of the protocol is called."""
        self.calls.append(name)
        if self.s.is_over:
            self.player.wrong(f"{self}: {name}() after the end")
        if self.was_handled and name in ("data_received", "buffer_updated",
                                         "eof_received"):
            self.player.wrong(f"{self}: {name}() after a handled failure")
        match name:
            case "connection_made":
                self.thing = args[0]
            case "connection_lost":
                self.is_whole = self.is_whole and args[0] is None
        try:
            self.player.run(self.s, name, self.does.get(name, ()), self)
        except BaseException as exc:
            self.is_whole = False
            self.player.links_of_errors[id(exc)] = self
            raise


class _Protocol(asyncio.Protocol, asyncio.DatagramProtocol,
                asyncio.SubprocessProtocol):
    def __init__(self, link):
        self.link = link


def _method(name):
    def method(self, *args):
        self.link.called(name, *args)
    return method


for _name in ("connection_made", "connection_lost", "data_received",
              "eof_received", "pause_writing", "resume_writing",
              "datagram_received", "error_received", "pipe_data_received",
              "pipe_connection_lost", "process_exited"):
    setattr(_Protocol, _name, _method(_name))


class _Buffered(asyncio.BufferedProtocol):
    def __init__(self, link):
        self.link = link

    def get_buffer(self, sizehint):
        return bytearray(16)

    def buffer_updated(self, count):
        self.link.called("data_received")


for _name in ("connection_made", "connection_lost", "eof_received",
              "pause_writing", "resume_writing"):
    setattr(_Buffered, _name, _method(_name))


class Player:
    """Plays one program in a loop."""

    def __init__(self, loop, program):
        self.loop, self.program = loop, program
        loop.after_pass = self.note_aborts
        self.problems = []
        # By name; the last of each.
        self.supervised, self.timers, self.futures = {}, {}, {}
        self.tasks, self.links, self.servers = {}, {}, {}
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
        self.connects = self.actings = self.kills = 0
        # Of exceptions of protocols, by identity.
        self.links_of_errors = {}
        self.host = None
        # What ends the host may be lost, or be a CancelledError by hand.
        self.is_loose = False
        self.is_count_known = True

    def wrong(self, what):
        self.problems.append(what)

    # The host and the timers.

    async def play(self):
        self.host = asyncio.current_task()
        self.around[self.host] = []
        self.loop.set_exception_handler(self.report)
        for when, action in self.program.timers:
            self.later(when, self.act_freely, action)
        for when in range(LATE, LATER):
            self.later(when, self.give_way)
        self.later(LATER, self.act_cancel_host)
        outcome = await self.outcome_of(self.block(self.program.host))
        late = await self.outcome_of(asyncio.sleep(0))
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
        self.open_gates()
        self.ended = True
        tasks = {t for t in self.foreign if isinstance(t, asyncio.Task)}
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=100)
            for task in left:
                self.wrong(f"{task} goes on")
        for _ in range(3):
            await asyncio.sleep(0)

    def check_host(self, outcome, late):
        cancels = self.cancels.get(self.host, 0)
        is_cancelled = isinstance(outcome, asyncio.CancelledError)
        if self.is_count_known and self.host.cancelling() != cancels:
            self.wrong(f"the host was cancelled {cancels} times, and "
                       f"cancelling() is {self.host.cancelling()}")
        if self.is_loose:
            return
        if not cancels and (is_cancelled or late is not None):
            self.wrong(f"the host ends with {outcome!r}, {late!r}, and was "
                       "not cancelled")
        is_group = type(outcome) in (BaseExceptionGroup, ExceptionGroup)
        if cancels and late is None and (outcome is None or is_group):
            self.wrong(f"the host was cancelled, and ends with {outcome!r}")

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

    def raise_one(self, kind):
        match kind:
            case "same":
                raise self.same
            case "cancelled":
                raise asyncio.CancelledError("by hand")
        raise {"error": Error, "oserror": ConnectionResetError,
               "base": BaseError, "interrupt": KeyboardInterrupt,
               "exit": SystemExit}[kind](kind)

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
                    self.note_child(asyncio.current_task(), group.create_task(
                        self.inside("group", child)))
                    await self.block(block)
            except (KeyboardInterrupt, SystemExit):
                # Then a TaskGroup does not take its own request back.
                self.is_count_known = False
                raise

    def note_child(self, task, child):
        self.children.setdefault(task, []).append(child)

    async def inside(self, name, block):
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
        handle = None
        if handler is not None:
            def handle(context):
                return self.handle(s, handler, context)
        s = _Supervised(name, self.loop.create_supervisor(
            name=name, failure_handler=handle))
        s.has_handler = handler is not None
        self.every.append(s)
        self.supervised[name] = s
        s.host = task = asyncio.current_task()
        before = self.cancels.get(task, 0)
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

    # After a block.

    def check_block(self, s, outcome, body, cancels):
        for thing in s.things:
            for problem in thing.problems():
                self.wrong(f"{thing} {problem}")
        if s.sup.owned() or "closed" not in repr(s.sup):
            self.wrong(f"{s.sup!r} is left")
        for call in (s.sup.create_future, lambda: s.sup.call_soon(print),
                     lambda: s.sup.call_soon_threadsafe(print),
                     lambda: s.sup.call_later(1, print),
                     lambda: s.sup.create_task(asyncio.sleep(0)),
                     lambda: s.sup.add_reader(0, print)):
            with contextlib.suppress(RuntimeError):
                call()
                self.wrong(f"{s.name} takes more after its end")
        if (s.aborted_at is not None and self.loop.time() > max(
                s.aborted_at, s.worked_until)):
            self.wrong(f"{s.name} has aborted at {s.aborted_at}, and ends "
                       f"late, at {self.loop.time()}")
        self.check_asked(s)
        self.check_outcome(s, outcome, body, cancels)

    def unhandled(self, s):
        """The errors that the block must tell of."""
        asked, errors = list(s.asked), []
        for exc, where in s.escaped:
            if where != "body" and self.is_own_refusal(s, exc):
                continue
            if isinstance(exc, (KeyboardInterrupt, SystemExit)):
                continue
            if isinstance(exc, GeneratorExit) and where == "body":
                continue
            handled = False
            if where != "body" and s.has_handler:
                for index, (other, answer) in enumerate(asked):
                    if other is exc:
                        del asked[index]
                        handled = answer
                        break
            if not handled:
                errors.append(exc)
        return errors + s.handler_errors

    def is_own_refusal(self, s, exc):
        return getattr(exc, "supervisor", None) is s.sup

    def check_asked(self, s):
        if not s.has_handler:
            return
        wanted = [exc for exc, where in s.escaped
                  if where != "body" and not self.is_own_refusal(s, exc)
                  and not isinstance(exc, (KeyboardInterrupt, SystemExit))]
        got = [exc for exc, _ in s.asked]
        if sorted(map(id, wanted)) != sorted(map(id, got)):
            self.wrong(f"the handler of {s.name} was asked of {got}, not of "
                       f"{wanted}")

    def check_outcome(self, s, outcome, body, cancels):
        errors = {id(exc): exc for exc in self.unhandled(s)}
        exits = [exc for exc, _ in s.escaped
                 if isinstance(exc, (KeyboardInterrupt, SystemExit))]
        if exits:
            self.expected += errors.values()
            if not any(outcome is exc for exc in exits):
                self.wrong(f"{s.name} ends with {outcome!r}, not {exits}")
        elif errors:
            found = getattr(outcome, "exceptions", ())
            if (not isinstance(outcome, BaseExceptionGroup)
                    or outcome is body.exc
                    or sorted(map(id, found)) != sorted(errors)):
                self.wrong(f"{s.name} ends with {outcome!r}, not with "
                           f"{list(errors.values())}")
        elif isinstance(outcome, asyncio.CancelledError):
            self.check_cancelled(s, outcome, body, cancels)
        elif outcome is not None:
            self.wrong(f"{s.name} ends with {outcome!r} without an error")
        elif body.exc is not None and not s.was_cancelled:
            self.wrong(f"{s.name} has swallowed {body.exc!r}")

    def check_cancelled(self, s, outcome, body, cancels):
        around = self.around.get(asyncio.current_task(), ["task"])
        is_of_body = body.exc is not None and not body.had_aborted
        if not cancels and not around and not is_of_body:
            self.wrong(f"{s.name} ends with {outcome!r}, and nobody has "
                       "cancelled its host")

    # Actions.

    def act(self, action):
        name, *arguments = action
        try:
            return getattr(self, f"act_{name}")(*arguments)
        except RuntimeError as exc:
            # A refusal; that it may be one is seen where it is made.
            if not hasattr(exc, "supervisor") or hasattr(exc, "is_bold"):
                raise

    def act_bold(self, action):
        """Do it, and let a refusal be an exception as any other."""
        name, *arguments = action
        try:
            getattr(self, f"act_{name}")(*arguments)
        except RuntimeError as exc:
            if hasattr(exc, "supervisor"):
                exc.is_bold = True
            raise

    def act_freely(self, action):
        """Do it as nobody: nothing may be raised."""
        try:
            self.act(action[1] if action[0] == "bold" else action)
        except BaseException as exc:
            self.wrong(f"{action} raises {exc!r}")

    def allocate(self, s, record, make, *, for_work=True):
        """Return what *make* returns, noted; check whether it is refused."""
        state = s.state
        may = {"OPEN", "DRAINING"}
        if not for_work:
            may |= {"CLOSING", "ABORTING"}
        # An eager task runs before it is returned.
        s.things.append(record)
        try:
            record.thing = make()
        except RuntimeError as exc:
            s.things.remove(record)
            if getattr(exc, "supervisor", None) is s.sup and state in may:
                self.wrong(f"{record} is refused while {state}")
            raise
        if state not in may:
            self.wrong(f"{record} is allowed while {state}")
        return record.thing

    def callback(self, record, actions):
        def callback(*_):
            self.ran(record)
            self.run(record.s, record.what, actions)
        record.callback = callback
        return callback

    def ran(self, record):
        record.runs += 1
        if record.s.is_over:
            self.wrong(f"{record} is run after the end")
        elif record.s.has_aborted() and record.what != "future":
            self.wrong(f"{record} is run though it was to be dropped")
        if record.was_ended and record.what in ("timer", "reader", "writer"):
            self.wrong(f"{record} is run after it was cancelled")

    def act_call_soon(self, name, actions):
        if s := self.supervised.get(name):
            record = _Allocated("call_soon", None, s)
            self.allocate(s, record, lambda: s.sup.call_soon(
                self.callback(record, actions)), for_work=False)

    def act_threadsafe(self, name, actions, in_thread):
        if not (s := self.supervised.get(name)):
            return
        record = _Allocated("call_soon", "threadsafe", s)

        def schedule():
            self.allocate(s, record, lambda: s.sup.call_soon_threadsafe(
                self.callback(record, actions)), for_work=False)
        if in_thread and threading.current_thread() is (
                threading.main_thread()):
            self.in_thread(schedule)
        else:
            schedule()

    def in_thread(self, function):
        def run():
            try:
                function()
            except BaseException as exc:
                raised.append(exc)
        raised = []
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        for exc in raised:
            raise exc

    def act_call_later(self, name, timer, delay, actions):
        if s := self.supervised.get(name):
            self.time(s, timer, lambda callback: s.sup.call_later(
                delay, callback), actions)

    def act_call_at(self, name, timer, delay, actions):
        if s := self.supervised.get(name):
            self.time(s, timer, lambda callback: s.sup.call_at(
                self.loop.time() + delay, callback), actions)

    def time(self, s, timer, make, actions):
        record = _Allocated("timer", timer, s)
        self.allocate(s, record, lambda: make(self.callback(record, actions)),
                      for_work=False)
        self.timers[timer] = record

    def act_cancel_timer(self, name):
        if name in self.timers:
            self.timers[name].thing.cancel()
            self.timers[name].was_ended = True

    def act_future(self, sup, name, actions):
        if s := self.supervised.get(sup):
            record = _Allocated("future", name, s)
            future = self.futures[name] = self.allocate(
                s, record, s.sup.create_future, for_work=False)
            if record.state == "ABORTING":
                if not future.cancelled():
                    self.wrong(f"{record} is made while its supervisor "
                               "aborts, and not cancelled")
            elif actions:
                future.add_done_callback(self.callback(record, actions))

    def act_resolve(self, name, how):
        future = self.futures.get(name)
        if future is None or future.done():
            return
        if how == "cancel" or isinstance(future, asyncio.Task):
            future.cancel()
        elif getattr(future, "is_job", None) is None:
            try:
                future.set_result(None)
            except asyncio.InvalidStateError:
                pass

    def act_task(self, sup, name, block, actions):
        if not (s := self.supervised.get(sup)):
            return
        record = _Allocated("task", name, s)
        task = self.allocate(s, record, lambda: s.sup.create_task(
            self.task(s, record, block), name=name))
        self.tasks[name] = task
        if actions:
            done = _Allocated("future", f"{name}'s end", s)
            done.thing = task
            task.add_done_callback(self.callback(done, actions))

    async def task(self, s, record, block):
        task = asyncio.current_task()
        record.thing = task
        record.runs = 1
        self.note_child(s.host, task)
        self.owners[task] = [s]
        self.around[task] = ["task"]
        try:
            await self.block(block)
        except BaseException as exc:
            if not isinstance(exc, GeneratorExit):
                self.escaped(s, exc, "task")
            raise
        finally:
            self.worked(s)

    def worked(self, s):
        s.worked_until = self.loop.time()

    def act_foreign(self, name, block):
        async def foreign():
            self.around[asyncio.current_task()] = ["foreign"]
            await self.outcome_of(self.block(block))
        if getattr(self, "ended", False):
            return
        self.tasks[name] = task = self.loop.create_task(foreign(), name=name)
        self.foreign.append(task)

    def act_cancel_task(self, name):
        task = self.tasks.get(name)
        if task is not None and not task.done():
            self.cancels[task] = self.cancels.get(task, 0) + 1
            if record := self.record_of(task):
                record.was_ended = True
            task.cancel()

    def act_cancel_host(self):
        if self.host is not None and not self.host.done():
            self.cancels[self.host] = self.cancels.get(self.host, 0) + 1
            self.host.cancel()

    def act_cancel_sup(self, name):
        if s := self.supervised.get(name):
            s.was_cancelled = True
            s.sup.cancel("of the program")

    def act_raise(self, kind):
        self.raise_one(kind)

    def act_look(self, name):
        if s := self.supervised.get(name):
            repr(s.sup)
            for thing in s.sup.owned():
                if (isinstance(thing, asyncio.Handle)
                        and thing.cancelled()):
                    self.wrong(f"{s.name} owns {thing}")

    def act_job(self, sup, name, actions, delay, own):
        if not (s := self.supervised.get(sup)):
            return
        record = _Allocated("job", name, s)

        def job():
            record.runs += 1
            if delay is not None:
                self.loop.executor.pass_gate(record)
            try:
                for action in actions:
                    self.act(action)
            finally:
                record.runs += 1
                self.worked(s)
        executor = self.loop.executor if own else None
        future = self.futures[name] = self.allocate(
            s, record, lambda: s.sup.run_in_executor(executor, job))
        future.is_job = True
        # A job that was cancelled before is none.
        future.add_done_callback(
            lambda future: setattr(record, "was_ended", record.was_ended
                                   or future.cancelled()))
        future.add_done_callback(
            lambda future: future.cancelled() or future.exception())
        if delay is not None:
            self.later(delay, self.loop.executor.open, record)

    # Connections.

    async def do_open(self, sup, kind, name, does):
        if not (s := self.supervised.get(sup)):
            return
        task = asyncio.current_task()
        is_foreign = self.around.get(task, ())[:1] == ["foreign"]
        try:
            await getattr(self, f"open_{kind.replace(' ', '_')}")(
                s, name, does)
        except RuntimeError as exc:
            if not hasattr(exc, "supervisor"):
                raise
        except OSError:
            pass  # The server is closed.
        except asyncio.CancelledError:
            if (is_foreign and self.around[task] == ["foreign"]
                    and not self.cancels.get(task)
                    and task not in self.joined):
                self.wrong(f"a foreign task that opens {kind} {name} was "
                           "cancelled by nobody")
            raise

    def link(self, what, name, s, does):
        link = _Link(what, name, s, does, self)
        s.things.append(link)
        self.links[name] = link
        return link

    def factory_of(self, link):
        def factory():
            if "factory" in link.does:
                self.raise_one(link.does["factory"][0][1])
            return (_Buffered if "buffered" in link.does else _Protocol)(link)
        return factory

    def ends(self, link, ours, theirs):
        """Note both ends; return ours."""
        self.files += [ours, theirs]
        link.file, link.peer = ours, Peer(theirs)
        self.peers.append(link.peer)
        return ours

    def sockets(self, link, kind=socket.SOCK_STREAM):
        ours, theirs = socket.socketpair(type=kind)
        if kind == socket.SOCK_DGRAM:
            # A transport sends to a peer with a name only.
            theirs.bind("")
        ours.setblocking(False)
        return self.ends(link, ours, theirs)

    async def open_accepted(self, s, name, does):
        link = self.link("stream", name, s, does)
        await s.sup.connect_accepted_socket(
            self.factory_of(link), self.sockets(link))

    async def open_connection(self, s, name, does):
        link = self.link("stream", name, s, does)
        await s.sup.create_connection(
            self.factory_of(link), sock=self.sockets(link))

    async def open_unix(self, s, name, does):
        link = self.link("stream", name, s, does)
        await s.sup.create_unix_connection(
            self.factory_of(link), sock=self.sockets(link))

    async def open_datagram(self, s, name, does):
        link = self.link("datagram", name, s, does)
        await s.sup.create_datagram_endpoint(
            self.factory_of(link),
            sock=self.sockets(link, socket.SOCK_DGRAM))

    def pipe(self, link, ours):
        ends = os.pipe()
        files = [open(fd, mode, 0) for fd, mode in zip(ends, ("rb", "wb"))]
        return self.ends(link, files[ours], files[1 - ours])

    async def open_read_pipe(self, s, name, does):
        link = self.link("read", name, s, does)
        await s.sup.connect_read_pipe(self.factory_of(link),
                                      self.pipe(link, 0))

    async def open_write_pipe(self, s, name, does):
        link = self.link("write", name, s, does)
        await s.sup.connect_write_pipe(self.factory_of(link),
                                       self.pipe(link, 1))

    async def open_process(self, s, name, does):
        link = self.link("process", name, s, does)
        await s.sup.subprocess_exec(self.factory_of(link), "cat",
                                    stdout=subprocess.PIPE, stderr=None)

    async def open_server(self, s, name, does):
        await self.serve(s, name, does, s.sup.create_server, "127.0.0.1", 0)

    async def open_unix_server(self, s, name, does):
        path = f"\0supervisors-chaos-{os.getpid()}-{len(s.things)}-{id(s)}"
        await self.serve(s, name, does, s.sup.create_unix_server, path)

    async def serve(self, s, name, does, create, *address):
        def factory():
            link = self.link("stream", name, s, does)
            try:
                return self.factory_of(link)()
            except BaseException as exc:
                self.escaped(s, exc, "factory")
                raise
        record = _Allocated("server", name, s)
        server = await create(factory, *address)
        record.thing = self.servers[name] = server
        s.things.append(record)

    async def open_dial(self, s, name, does):
        """Connect to a server by its address."""
        server = self.servers.get(name)
        if server is None or not server.sockets:
            return
        address = server.sockets[0].getsockname()
        link = self.link("stream", name, s, does)
        if isinstance(address, tuple):
            await s.sup.create_connection(self.factory_of(link), *address)
        else:
            await s.sup.create_unix_connection(
                self.factory_of(link), address.decode())

    def act_connect(self, name):
        server = self.servers.get(name)
        self.connects += 1
        if server is None or not server.sockets or self.connects > OFTEN:
            return
        listening = server.sockets[0]
        sock = socket.socket(listening.family)
        self.files.append(sock)
        sock.setblocking(False)
        with contextlib.suppress(OSError):
            sock.connect(listening.getsockname())
        self.peers.append(Peer(sock))

    def act_close_server(self, name):
        if name in self.servers:
            self.servers[name].close()

    def transport(self, name):
        """The link's transport, if it is one that does things."""
        link = self.links.get(name)
        if (link is None or link.thing is None or link.what == "process"
                or "connection_lost" in link.calls):
            return None, None
        return link, link.thing

    def act_write(self, name, size):
        link, transport = self.transport(name)
        if transport is None or link.what == "read" or (
                transport.is_closing()):
            return
        if link.what == "datagram":
            transport.sendto(bytes(min(size, 1000)))
        elif not getattr(link, "has_eof", False):
            link.sent += size
            transport.write(bytes(size))

    def act_close(self, name):
        link, transport = self.transport(name)
        if transport is not None:
            transport.close()

    def act_abort(self, name):
        link, transport = self.transport(name)
        if transport is not None:
            link.is_whole = False
            getattr(transport, "abort", transport.close)()

    def act_eof(self, name):
        link, transport = self.transport(name)
        if (transport is not None and link.what in ("stream", "write")
                and not transport.is_closing()):
            link.has_eof = True
            transport.write_eof()

    def act_pause(self, name):
        link, transport = self.transport(name)
        if transport is not None and link.what in ("stream", "read"):
            transport.pause_reading()

    def act_resume(self, name):
        link, transport = self.transport(name)
        if transport is not None and link.what in ("stream", "read"):
            transport.resume_reading()

    def peer_of(self, name):
        link = self.links.get(name)
        if link is not None and link.peer is not None:
            return link, link.peer
        # Of a server's connection: any.
        return None, self.peers[-1] if self.peers else None

    def act_peer_send(self, name):
        _, peer = self.peer_of(name)
        if peer is not None:
            peer.send()

    def act_peer_read(self, name):
        _, peer = self.peer_of(name)
        if peer is not None:
            peer.read()

    def act_peer_close(self, name):
        self.end_peer(name, "close")

    def act_peer_eof(self, name):
        self.end_peer(name, "send_eof")

    def end_peer(self, name, how):
        link, peer = self.peer_of(name)
        if peer is not None:
            getattr(peer, how)()
            for link in self.links.values():
                if link.peer is peer and peer.is_closed():
                    link.is_whole = False

    # Readers, writers and signal handlers.

    def act_reader(self, sup, name, actions):
        self.register("reader", sup, name, actions)

    def act_writer(self, sup, name, actions):
        self.register("writer", sup, name, actions)

    def register(self, what, sup, name, actions):
        if not (s := self.supervised.get(sup)):
            return
        ours, theirs = socket.socketpair()
        self.files += [ours, theirs]
        ours.setblocking(False)
        theirs.send(b"some")
        record = _Allocated(what, name, s)
        called = self.callback(record, actions)

        def callback():
            if what == "writer" or not ours.recv(1):
                remove()
            called()

        def remove():
            getattr(s.sup, f"remove_{what}")(ours)
        record.callback = callback
        self.allocate(s, record, lambda: getattr(s.sup, f"add_{what}")(
            ours, callback))
        record.thing = ours.fileno()
        self.registered[name] = record, remove

    def act_unregister(self, name):
        if name in self.registered:
            record, remove = self.registered.pop(name)
            if not record.s.is_over:
                remove()
            record.was_ended = True

    def act_signal(self, sup, index, actions):
        if not (s := self.supervised.get(sup)):
            return
        record = _Allocated("signal", index, s)
        number = SIGNALS[index]
        self.allocate(s, record, lambda: s.sup.add_signal_handler(
            number, self.callback(record, actions)))
        record.thing = number

    def act_kill(self, index):
        # A handler may do it again.
        self.kills += 1
        if (self.kills <= OFTEN and threading.current_thread() is
                threading.main_thread()):
            os.kill(os.getpid(), SIGNALS[index])

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
                self._replace_loop(player)
            else:
                self._check_left(player, before)
                self._check_reported(player)
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
