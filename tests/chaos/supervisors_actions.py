"""What programs on supervisors do without waiting, and their connections."""

__all__ = ("Actions",)

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import threading

from test.test_asyncio import tls_support

from supervisors_records import (
    Allocated, BaseError, Buffered, Error, Link, Protocol)
from supervisors_world import Peer

# How often one thing can be done that could cause itself.
OFTEN = 8
# In a program: one that does more causes itself in some other way.
MOST_ACTIONS = 1000
SIGNALS = (signal.SIGUSR1, signal.SIGUSR2)


class Actions:
    """The part of a Player that allocates, and uses what is there."""

    def act(self, action):
        name, *arguments = action
        self.acts += 1
        if self.acts > MOST_ACTIONS:
            return None
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
            record = Allocated("call_soon", None, s)
            self.allocate(s, record, lambda: s.sup.call_soon(
                self.callback(record, actions)), for_work=False)

    def act_threadsafe(self, name, actions, in_thread):
        if not (s := self.supervised.get(name)):
            return
        record = Allocated("call_soon", "threadsafe", s)

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
        record = Allocated("timer", timer, s)
        self.allocate(s, record, lambda: make(self.callback(record, actions)),
                      for_work=False)
        self.timers[timer] = record

    def act_cancel_timer(self, name):
        if name in self.timers:
            self.timers[name].thing.cancel()
            self.timers[name].was_ended = True

    def act_future(self, sup, name, actions):
        if s := self.supervised.get(sup):
            record = Allocated("future", name, s)
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
        record = Allocated("task", name, s)
        task = self.allocate(s, record, lambda: s.sup.create_task(
            self.task(s, record, block), name=name))
        self.tasks[name] = task
        if actions:
            done = Allocated("future", f"{name}'s end", s)
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
        if self.ended:
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
        if not self.ended:
            self.cancels[self.host] = self.cancels.get(self.host, 0) + 1
            self.host.cancel()

    def act_cancel_sup(self, name):
        if s := self.supervised.get(name):
            s.was_cancelled = True
            s.sup.cancel("of the program")

    def raise_one(self, kind):
        match kind:
            case "same":
                raise self.same
            case "cancelled":
                raise asyncio.CancelledError("by hand")
        raise {"error": Error, "oserror": ConnectionResetError,
               "base": BaseError, "interrupt": KeyboardInterrupt,
               "exit": SystemExit}[kind](kind)

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
        record = Allocated("job", name, s)

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
        link = Link(what, name, s, does, self)
        s.things.append(link)
        self.links[name] = link
        self.all_links.append(link)
        return link

    def factory_of(self, link):
        def factory():
            if "factory" in link.does:
                self.raise_one(link.does["factory"][0][1])
            return (Buffered if "buffered" in link.does else Protocol)(link)
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

    async def open_tls(self, s, name, does):
        """Connect two of its protocols to each other."""
        # Over TLS, asyncio drops a CancelledError of a protocol.
        does = {method: [action for action in actions
                         if action != ("raise", "cancelled")]
                for method, actions in does.items()}
        ours, theirs = socket.socketpair()
        link = self.link("stream", f"{name}'s peer", s, {})
        self.files += [ours, theirs]
        link.file = theirs
        there = s.sup.connect_accepted_socket(
            self.factory_of(link), theirs, ssl=tls_support.server_context())
        link = self.link("stream", name, s, does)
        link.file = ours
        # These are calls of tasks that it does not own.
        await asyncio.gather(there, s.sup.create_connection(
            self.factory_of(link), sock=ours, server_hostname="localhost",
            ssl=tls_support.client_context()))

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
        record = Allocated("server", name, s)
        server = await create(factory, *address)
        record.thing = self.servers[name] = server
        s.things.append(record)

    async def open_dial(self, s, name, does):
        """Connect to a server by its address."""
        server = self.servers.get(name)
        if server is None or not server.sockets:
            return
        address = server.sockets[0].getsockname()
        # Then asyncio leaves the socket that it has made to the collector.
        does = {name: what for name, what in does.items()
                if name != "factory"}
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
            link.is_sending = True
            transport.sendto(bytes(min(size, 1000)))
            link.is_sending = False
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
                and transport.can_write_eof() and not transport.is_closing()):
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
            # Of several that were opened by a name, only the last has it.
            for link in self.all_links:
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
        record = Allocated(what, name, s)
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
        record = Allocated("signal", index, s)
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
