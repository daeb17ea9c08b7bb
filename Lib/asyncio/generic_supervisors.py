"""Supervisors of event loops of which there can be no views."""

__all__ = ()

import contextlib
import contextvars
import functools
import signal
import weakref

from . import base_events
from . import events
from . import exceptions
from . import protocols
from . import supervisors
from . import tasks
from . import transports


# How it works
#
# A loop in C does not run its own code on a view, so whatever it is given is
# wrapped.  The supervisor is the same; instead of views it has two stand-ins.
# The *outer* one makes handles of asyncio's own for the user's callbacks, and
# the loop calls these handles.  The *inner* one gives the loop a factory of
# *wrappers*: protocols that call the user's one and report what it raises.
# The user gets a *proxy* of the transport, whose get_protocol() and
# set_protocol() are about his protocol; it is what the books have.
#
# A wrapper never raises, as loops do different things then: uvloop reports it
# or loses it, and rloop ends the process.  An exit is raised by a callback of
# the loop.
#
# A transport is gone when its wrapper was told so.  Loops forget that
# sometimes, after a connect that was cancelled for instance; so one that is
# aborted is watched, and its end is made up if the loop does not tell of it.


# Passes of the loop in which connection_lost() must come after an abort().  A
# layer of TLS takes one or two.
_PASSES_TO_END = 100


class Supervisor(supervisors.Supervisor):

    def _make_outer(self):
        return _Outer(self)

    def _make_inner(self):
        return _Inner(self)

    @property
    def _loop_class(self):
        return _Outer

    # How often the loop is in the middle of something, in which ending a
    # transport or a server would crash uvloop or rloop.
    _depth = 0

    @contextlib.contextmanager
    def _in_the_middle(self):
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1

    def _is_put_off(self, method):
        """Have *method* called later, if the loop cannot bear it now."""
        if self._depth:
            self._has_machinery_callbacks = True
            self._loop.call_soon(method)
        return self._depth > 0

    async def _end(self):
        if self._owner_of_tasks is not None:
            self._inner.abort_clients()
        await super()._end()

    def _alive_callbacks(self):
        outer = self._outer_view
        return [] if outer is None else list(outer.ready.values())

    def add_signal_handler(self, sig, callback, *args):
        if hasattr(self._loop, "_signal_handlers"):
            # It can be asked which callback it had.
            super().add_signal_handler(sig, callback, *args)
        else:
            self._check_open()
            self._outer.replace_signal_handler(sig, callback, args)

    def _key_of_server(self, server):
        return id(server)

    def _take_over(self, transport):
        return False  # The inner stand-in's start_tls() does.

    async def sendfile(self, transport, *args, **kwargs):
        return await self._loop.sendfile(_real(transport), *args, **kwargs)


class _StandIn:
    """What handles, futures and tasks of a supervisor have for their loop."""

    def __init__(self, supervisor):
        self._supervisor = supervisor
        self._loop = supervisor._loop

    def __repr__(self):
        return f"<{self._supervisor!r} on {self._loop!r}>"

    def get_debug(self):
        return self._loop.get_debug()

    def call_exception_handler(self, context):
        supervisors._report(self._supervisor, context)

    def _check_callback(self, callback, method):
        if self.get_debug():
            # It uses nothing of its loop.
            base_events.BaseEventLoop._check_callback(
                self._loop, callback, method)


# Callbacks.

class _Handle(supervisors._OwnedHandle):
    """A callback that the loop has through ``_run``."""

    __slots__ = ()

    def _run(self):
        self._loop.ready.pop(id(self), None)
        if not self._cancelled:
            super()._run()
        # An exception's traceback has this frame.
        self = None

    def cancel(self):
        self._loop.ready.pop(id(self), None)
        super().cancel()


class _TimerHandle(supervisors._OwnedTimerHandle):
    """A timer that is one of the loop, too."""

    # The loop's own handle, until it runs or is cancelled.
    __slots__ = ("_real",)

    def _run(self):
        self._real = None
        if not self._cancelled:
            super()._run()
        # An exception's traceback has this frame.
        self = None

    def cancel(self):
        super().cancel()
        real, self._real = self._real, None
        if real is not None:
            real.cancel()


def _schedule(function, handle, *args):
    """Have the loop call a handle, which enters its context itself."""
    return function(*args, handle._run, context=contextvars.Context())


def _from_caller(handle):
    """In debug mode: the handle was made by the caller of our caller."""
    if handle._source_traceback:
        del handle._source_traceback[-1]
    return handle


class _Outer(_StandIn):
    """Schedules the callbacks that a supervisor owns."""

    def __init__(self, supervisor):
        super().__init__(supervisor)
        # Callbacks that have not run yet, by id().
        self.ready = {}

    def call_soon(self, callback, *args, context=None):
        return self._call_soon(self._loop.call_soon, callback, args, context)

    def call_soon_threadsafe(self, callback, *args, context=None):
        return self._call_soon(self._loop.call_soon_threadsafe, callback,
                               args, context)

    def _call_soon(self, function, callback, args, context):
        self._check_callback(callback, "call_soon")
        handle = _from_caller(
            _from_caller(_Handle(callback, args, self, context)))
        self.ready[id(handle)] = handle
        try:
            _schedule(function, handle)
        except BaseException:
            handle.cancel()
            raise
        return handle

    def call_at(self, when, callback, *args, context=None):
        self._check_callback(callback, "call_at")
        timer = _from_caller(
            _TimerHandle(when, callback, args, self, context))
        timer._real = None
        timer._real = _schedule(self._loop.call_at, timer, when)
        return timer

    def _timer_handle_cancelled(self, handle):
        self._supervisor._timers.pop(id(handle), None)

    # Readers, writers and signal handlers.

    def add_reader(self, fd, callback, *args):
        self._register("reader", fd, callback, args)

    def add_writer(self, fd, callback, *args):
        self._register("writer", fd, callback, args)

    def _register(self, kind, fd, callback, args):
        called = self._called(callback, args)
        getattr(self._loop, f"add_{kind}")(fd, called)
        remove = functools.partial(
            getattr(self._loop, f"remove_{kind}"), fd)
        self._supervisor._own(supervisors._Kind.REGISTRATION,
                              supervisors._key_of_file(kind, fd),
                              _Registration(called, remove))

    def add_signal_handler(self, sig, callback, *args):
        self._loop.add_signal_handler(sig, self._called(callback, args))

    def replace_signal_handler(self, sig, callback, args):
        supervisor, loop = self._supervisor, self._loop
        key = "signal", sig
        called = self._called(callback, args)
        before = _python_handler(sig)
        replaced = _registered(loop, sig)
        loop.add_signal_handler(sig, called)
        if before == signal.getsignal(sig):
            # It is the loop's; which callback it had, only the loop knows.
            before = None
        if (replaced is not None
                and replaced is supervisor._of(
                    supervisors._Kind.REGISTRATION).get(key)):
            before, replaced = replaced.before, replaced.replaced
        supervisor._own(
            supervisors._Kind.REGISTRATION, key,
            _SignalRegistration(loop, sig, called, replaced, before))

    def _called(self, callback, args):
        return _Called(_Handle(callback, args, self, None))


class _Called:
    """What the loop has for a callback that it calls again and again.

    A weak reference to it tells if the loop has it still.
    """

    __slots__ = ("handle", "__weakref__")

    def __init__(self, handle):
        self.handle = handle

    def __call__(self):
        self.handle._run()


class _Registration(supervisors._Registration):
    """A reader or a writer."""

    def __init__(self, called, remove):
        super().__init__(called.handle, remove)
        self._called = weakref.ref(called)

    def is_ours(self):
        # Loops do not tell what they have removed or replaced.
        return not self.handle._cancelled and self._called() is not None

    def remove(self):
        super().remove()
        # It may be ready to run.
        self.handle.cancel()


# By id() of the loop and number: what a supervisor has registered last.  Each
# is taken out when its supervisor ends.
_signal_handlers = {}


def _registered(loop, sig):
    """Return the registration whose handler the loop calls, or None."""
    registration = _signal_handlers.get((id(loop), sig))
    return (registration if registration is not None
            and registration._called() is not None else None)


class _SignalRegistration(_Registration):
    """A signal handler."""

    def __init__(self, loop, sig, called, replaced, before):
        super().__init__(called, self._remove_signal_handler)
        self.replaced = replaced
        # The handler in Python that the loop's one has replaced, or None.
        self.before = before
        self._loop = loop
        self._sig = sig
        self._key = id(loop), sig
        self._put()

    def _put(self):
        _signal_handlers[self._key] = self

    def is_ours(self):
        return (super().is_ours()
                and _registered(self._loop, self._sig) is self)

    def remove(self):
        """Put back what it has replaced; return false if it is gone."""
        other = _registered(self._loop, self._sig)
        while other is not None and other is not self:
            other = other.replaced
        super().remove()
        if _signal_handlers.get(self._key) is self:
            del _signal_handlers[self._key]  # The loop had dropped it.
        return other is not None

    def _remove_signal_handler(self):
        del _signal_handlers[self._key]
        try:
            self._loop.remove_signal_handler(self._sig)
        except AttributeError:
            pass  # That of rloop 0.5 has a bug; what is left does nothing.
        replaced, before = self.replaced, self.before
        while replaced is not None and replaced.handle._cancelled:
            replaced, before = replaced.replaced, replaced.before
        if replaced is not None:
            replaced._put_back()
        elif before is not None:
            signal.signal(self._sig, before)

    def _put_back(self):
        called = _Called(self.handle)
        self._called = weakref.ref(called)
        self._loop.add_signal_handler(self._sig, called)
        self._put()


def _python_handler(sig):
    try:
        return signal.getsignal(sig)
    except (TypeError, ValueError):
        return None  # The loop will say so.


# Transports.

class _Inner(_StandIn):
    """Does what the supervisor's methods of the same names ask for.

    It is what owned futures and tasks schedule their callbacks with, too.
    """

    def __init__(self, supervisor):
        super().__init__(supervisor)
        self._servers = weakref.WeakSet()

    def abort_clients(self):
        """End what is still in its handshake, if the loop can do that."""
        for server in self._servers:
            self._supervisor._has_machinery_callbacks = True
            with contextlib.suppress(AttributeError, NotImplementedError):
                server.abort_clients()

    def call_soon(self, callback, *args, context=None):
        self._supervisor._has_machinery_callbacks = True
        handle = events.Handle(callback, args, self, context)
        _schedule(self._loop.call_soon, handle)
        return handle

    def _is_ended_by(self, others):
        """Ask if it is its host that is cancelled, with *others*."""
        return self._supervisor._host in others

    async def _connect(self, name, make, protocol_factory, args, kwargs):
        factory = _Factory(self._supervisor, make, protocol_factory)
        making = getattr(self._loop, name)(factory, *args, **kwargs)
        if make in _PIPES:
            making = tasks.shield(factory.make_in_one_go(making))
        try:
            transport, wrapper = await making
        except BaseException as exc:
            factory.give_up()
            if not isinstance(exc, exceptions.CancelledError):
                factory.check()
            raise
        factory.check()
        return wrapper.attach(transport), factory.protocol

    async def _serve(self, name, protocol_factory, args, kwargs):
        factory = _ServerFactory(self._supervisor, _stream,
                                 protocol_factory)
        server = await getattr(self._loop, name)(factory, *args, **kwargs)
        server = _Server(self._supervisor, server)
        self._servers.add(server)
        return server

    async def start_tls(self, transport, protocol, *args, **kwargs):
        below = self._below(transport)
        before = below._wrapper
        wrapper = below._wrapper = _stream(below._supervisor, protocol)
        wrapper.proxy = below
        try:
            made = await self._loop.start_tls(below._transport, wrapper,
                                              *args, **kwargs)
        except BaseException:
            self._give_up_tls(below, before)
            raise
        return wrapper.replace(made)

    def _below(self, transport):
        """Return the owned proxy of a transport, which may be made elsewhere.
        """
        if isinstance(transport, _Proxy):
            return transport
        proxy = _StreamProxy(self._supervisor, transport)
        self._supervisor._transport_made(proxy)
        return proxy

    def _give_up_tls(self, below, before):
        if below.is_closing():
            # Not every loop tells the protocol.
            supervisors._abort_transport(below)
        elif before is not None:
            below._wrapper = before
        else:
            below._forget()


def _real(transport):
    """Return what the loop has for a transport."""
    return transport._transport if isinstance(transport, _Proxy) else transport


def _raise(exc):
    try:
        raise exc
    finally:
        del exc


class _Factory:
    """A protocol factory that makes the wrapper of one protocol."""

    def __init__(self, supervisor, make, factory):
        self._supervisor = supervisor
        self._make = make
        self._factory = factory
        self.protocol = None
        # What the loop has got.
        self._wrapper = None
        # What the user's factory has raised, which the loop does not get: it
        # would end the process, if it is rloop.
        self._error = None

    def __call__(self):
        try:
            self.protocol = self._factory()
        except BaseException as exc:
            if self._make in _MADE_IN_PYTHON:
                raise
            self._error = exc
        self._wrapper = self._make(self._supervisor, self.protocol)
        return self._wrapper

    def make_in_one_go(self, coro):
        """Return a task that makes a pipe, and is not to be cancelled.

        It takes no time.  If it is cancelled, or if the transport is ended
        before, uvloop closes the descriptor and leaves its file open, which
        then closes the descriptor of another one.
        """
        task = self._supervisor._loop.create_task(coro)
        task.add_done_callback(self._made)
        return task

    def _made(self, task):
        if self._wrapper is not None:
            self._wrapper.is_being_made = False

    def give_up(self):
        """The call has failed: end what was connected, or will be."""
        if self._wrapper is not None:
            self._wrapper.abandon()

    def check(self):
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error


class _ServerFactory(_Factory):
    """A protocol factory of a server; what it raises is a failure."""

    def __call__(self):
        with self._supervisor._in_the_middle():
            return self._call()

    def _call(self):
        try:
            protocol = self._factory()
        except (SystemExit, KeyboardInterrupt) as exc:
            self._supervisor._loop.call_soon(_raise, exc)
        except BaseException as exc:
            supervisors._report(self._supervisor, {
                "message": f"protocol factory {self._factory!r} failed",
                "exception": exc,
            })
        else:
            return self._make(self._supervisor, protocol)
        # Without a protocol: it is closed at once.
        return self._make(self._supervisor, None)


class _Server(events.AbstractServer):
    """A server whose end is told to those who wait for it."""

    def __init__(self, supervisor, server):
        self._supervisor = supervisor
        self._server = server
        self._is_closed = False
        # What serve_forever() waits for, or None.
        self._forever = None
        # What wait_closed() waits for.
        self._waiters = []

    def __getattr__(self, name):
        return getattr(self._server, name)

    def __repr__(self):
        return f"<supervised {self._server!r}>"

    def get_loop(self):
        return self._supervisor._loop

    def is_serving(self):
        return not self._is_closed and self._server.is_serving()

    def close(self):
        if self._is_closed:
            return
        self._is_closed = True
        if not self._supervisor._is_put_off(self._server.close):
            self._server.close()
        if self._forever is not None:
            self._forever.cancel()
        self._wakeup()
        self._supervisor._forget(supervisors._Kind.SERVER, id(self))

    def close_clients(self):
        self._server.close_clients()

    def abort_clients(self):
        self._server.abort_clients()

    def _wakeup(self):
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def start_serving(self):
        self._check_closed()
        if not self._server.is_serving():
            # rloop would stop to listen.
            await self._server.start_serving()

    async def serve_forever(self):
        if self._forever is not None:
            raise RuntimeError(f"{self!r} serves for ever already: cancel the "
                               "call that does, or close it")
        self._check_closed()
        self._forever = self._supervisor._loop.create_future()
        try:
            await self.start_serving()
            await self._forever
        except exceptions.CancelledError:
            self.close()
            raise
        finally:
            self._forever = None

    def _check_closed(self):
        if self._is_closed:
            raise RuntimeError(f"server {self!r} is closed")

    async def wait_closed(self):
        """Wait until it is closed; its connections are the supervisor's."""
        if not self._is_closed:
            waiter = self._supervisor._loop.create_future()
            self._waiters.append(waiter)
            await waiter


# What the user has for a transport.

def _forwarding(abstract):
    """Give a class the methods of a kind of transports that it lacks."""
    def decorate(cls):
        for name in dir(abstract):
            if (not name.startswith("_")
                    and getattr(cls, name) is getattr(abstract, name)):
                setattr(cls, name, _forward(name))
        return cls
    return decorate


def _forward(name):
    def method(self, *args, **kwargs):
        return getattr(self._transport, name)(*args, **kwargs)
    method.__name__ = name
    return method


class _Proxy:
    """A transport that knows the user's protocol."""

    # Why it was closed by us, until its protocol was told.
    _error = None
    _is_watched = False

    def __init__(self, supervisor, transport, wrapper=None):
        self._supervisor = supervisor
        self._transport = transport
        # None when connection_lost() was called.
        self._wrapper = wrapper

    def __getattr__(self, name):
        return getattr(self._transport, name)

    def __repr__(self):
        return f"<supervised {self._transport!r}>"

    def get_protocol(self):
        return None if self._wrapper is None else self._wrapper.protocol

    def set_protocol(self, protocol):
        wrapper = self._wrapper
        if wrapper is None:
            return
        make = wrapper.make_other
        if make is None or (new := make(self._supervisor,
                                        protocol)).kind is wrapper.kind:
            wrapper.protocol = protocol
            return
        self._transport.set_protocol(new)
        new.proxy = self
        self._wrapper = new

    def is_closing(self):
        return self._transport.is_closing()

    def close(self):
        if not self._is_put_off(self.close):
            self._transport.close()

    def _is_put_off(self, method):
        """Have *method* called later, if the loop cannot bear it now."""
        if self._wrapper is None or not self._wrapper.is_being_made:
            return self._supervisor._is_put_off(method)
        self._supervisor._loop.call_soon(method)
        return True

    def _force_close(self, exc):
        """Abort it, and tell its protocol why."""
        if self._error is None and self._wrapper is not None:
            self._error = exc
            supervisors._abort_transport(self)

    def _watch(self):
        """It was aborted: it is to end now."""
        if not self._is_watched:
            self._is_watched = True
            self._look(_PASSES_TO_END)

    def _look(self, passes):
        wrapper = self._wrapper
        if wrapper is None:
            return
        if passes:
            self._supervisor._loop.call_soon(self._look, passes - 1)
        else:
            wrapper.connection_lost(None)

    def _forget(self):
        self._wrapper = None
        self._supervisor._transport_lost(self)


class _Abortable(_Proxy):

    def abort(self):
        if self._wrapper is not None and not self._is_put_off(
                functools.partial(supervisors._abort_transport, self)):
            self._watch()
            self._transport.abort()


@_forwarding(transports.Transport)
class _StreamProxy(_Abortable, transports.Transport):
    pass


@_forwarding(transports.DatagramTransport)
class _DatagramProxy(_Abortable, transports.DatagramTransport):
    pass


@_forwarding(transports.WriteTransport)
class _WritePipeProxy(_Abortable, transports.WriteTransport):

    def abort(self):
        if _is_ending(self._transport):
            self._watch()
        else:
            super().abort()


@_forwarding(transports.ReadTransport)
class _ReadPipeProxy(_Proxy, transports.ReadTransport):

    def close(self):
        # There is nothing to wait for.
        self._watch()
        super().close()


@_forwarding(transports.SubprocessTransport)
class _ProcessProxy(_Proxy, transports.SubprocessTransport):

    @property
    def _pipes(self):
        """As processes of asyncio's own have it."""
        pipes = map(self._transport.get_pipe_transport, range(3))
        return {fd: _Pipe(self, pipe) for fd, pipe in enumerate(pipes)
                if pipe is not None}


class _Pipe:
    """One of a process."""

    def __init__(self, process, transport):
        self._process = process
        self._transport = transport

    @property
    def pipe(self):
        return self

    def is_closing(self):
        return self._transport.is_closing()

    def close(self):
        self._transport.close()

    def abort(self):
        if (not _is_ending(self._transport)
                and not self._process._is_put_off(
                    functools.partial(supervisors._abort_transport, self))):
            # Not all have it.
            getattr(self._transport, "abort", self.close)()


def _is_ending(pipe):
    """Ask if a pipe waits for nothing any more; some would end twice."""
    size = getattr(pipe, "get_write_buffer_size", int)
    return pipe.is_closing() and not size()


# What the loop has for a protocol.

# Their exceptions end the transport.
_FATAL = frozenset({"data_received", "eof_received", "get_buffer",
                    "buffer_updated"})


class _Wrapper:
    """What all kinds of wrapped protocols do."""

    # What makes the user's transport.
    Proxy = None
    # What makes the wrapper of another protocol; None if any will do.
    make_other = None
    # The loop could not bear the end of the transport before its call returns.
    is_being_made = False

    def __init__(self, supervisor, protocol):
        self._supervisor = supervisor
        # The user's; None if nobody is to be told of anything.
        self.protocol = protocol
        # None before there is a transport.
        self.proxy = None

    @property
    def kind(self):
        return type(self)

    def attach(self, transport):
        """Return the user's transport."""
        if self.proxy is None:
            self.proxy = self.Proxy(self._supervisor, transport, self)
            self._supervisor._transport_made(self.proxy)
        return self.proxy

    def replace(self, transport):
        """It is over TLS now: return the new transport of the user's."""
        below, self.proxy = self.proxy, None
        is_lost = below._wrapper is None
        proxy = self.attach(transport)
        if is_lost:
            proxy._forget()
        else:
            below._forget()
        return proxy

    def abandon(self):
        """Nobody will get the transport."""
        if self.proxy is None:
            self.protocol = None
        else:
            supervisors._abort_transport(self.proxy)

    def connection_made(self, transport):
        if self._supervisor._state is supervisors._State.CLOSED:
            # It was in its handshake when all was over.
            self.protocol = None
        proxy = self.attach(transport)
        if self.protocol is None:
            supervisors._abort_transport(proxy)
        self._tell("connection_made", proxy)

    def connection_lost(self, exc):
        proxy = self.proxy
        if proxy is None or proxy._wrapper is None:
            return  # It was told before.
        proxy._wrapper = None
        error, proxy._error = proxy._error, None
        self._tell("connection_lost", exc if error is None else error)
        self.protocol = None
        # The loop closes its descriptor when we return, and what was scheduled
        # is to run before futures are cancelled: there is one more pass.
        self._supervisor._has_machinery_callbacks = True
        self._supervisor._has_layer_callbacks = True
        self._supervisor._transport_lost(proxy)

    def _tell(self, name, *args):
        """Call a method of the user's protocol."""
        if self.protocol is None or self._is_dead():
            return None
        try:
            return getattr(self.protocol, name)(*args)
        except BaseException as exc:
            self._raised(name, exc)
        finally:
            # An exception's traceback has this frame.
            self = args = None

    def _is_dead(self):
        """Ask if it is aborted for an error, and about to be told so."""
        return self.proxy is not None and self.proxy._error is not None

    def _raised(self, name, exc):
        if isinstance(exc, (SystemExit, KeyboardInterrupt)):
            self._supervisor._loop.call_soon(_raise, exc)
            return
        message = f"protocol.{name}() failed"
        if name in _FATAL:
            message = f"Fatal error: protocol.{name}() call failed."
            self.proxy._force_close(exc)
        supervisors._report(self._supervisor, {
            "message": message,
            "exception": exc,
            "transport": self.proxy,
            "protocol": self.protocol,
        })


class _Writing(_Wrapper):
    """That of a transport which can be full."""

    def pause_writing(self):
        with self._supervisor._in_the_middle():
            self._tell("pause_writing")

    def resume_writing(self):
        with self._supervisor._in_the_middle():
            self._tell("resume_writing")


def _telling(*names):
    """Give a class these methods, each of which tells the user's protocol."""
    def decorate(cls):
        for name in names:
            setattr(cls, name, _tell_of(name))
        return cls
    return decorate


def _tell_of(name):
    def method(self, *args):
        return self._tell(name, *args)
    method.__name__ = name
    return method


@_telling("data_received", "eof_received")
class _Stream(_Writing, protocols.Protocol):
    Proxy = _StreamProxy


@_telling("buffer_updated", "eof_received")
class _Buffered(_Writing, protocols.BufferedProtocol):
    Proxy = _StreamProxy

    def get_buffer(self, sizehint):
        with self._supervisor._in_the_middle():
            buffer = self._tell("get_buffer", sizehint)
            try:
                if memoryview(buffer).nbytes:
                    return buffer
                raise RuntimeError("get_buffer() returned an empty buffer")
            except BaseException as exc:
                if self.protocol is not None and not self._is_dead():
                    self._raised("get_buffer", exc)
        # What is read into it, nobody gets.
        return bytearray(max(sizehint, 1))


@_telling("datagram_received", "error_received")
class _Datagram(_Writing, protocols.DatagramProtocol):
    Proxy = _DatagramProxy


@_telling("data_received", "eof_received")
class _ReadPipe(_Wrapper, protocols.Protocol):
    is_being_made = True
    Proxy = _ReadPipeProxy


@_telling("data_received", "eof_received")
class _WritePipe(_Writing, protocols.Protocol):
    is_being_made = True
    Proxy = _WritePipeProxy


@_telling("pipe_data_received", "pipe_connection_lost", "process_exited")
class _Process(_Writing, protocols.SubprocessProtocol):
    Proxy = _ProcessProxy


# What every loop makes in coroutines, which bear a factory that raises; so no
# process is started then.
_PIPES = frozenset({_ReadPipe, _WritePipe})
_MADE_IN_PYTHON = _PIPES | {_Process}


def _stream(supervisor, protocol):
    is_buffered = (isinstance(protocol, protocols.BufferedProtocol)
                   or hasattr(protocol, "get_buffer")
                   and not isinstance(protocol, protocols.Protocol))
    return (_Buffered if is_buffered else _Stream)(supervisor, protocol)


_Stream.make_other = _Buffered.make_other = staticmethod(_stream)


# How each method of a supervisor that makes something is done.

_CONNECTING = {
    "create_connection": _stream,
    "create_unix_connection": _stream,
    "connect_accepted_socket": _stream,
    "create_datagram_endpoint": _Datagram,
    "connect_read_pipe": _ReadPipe,
    "connect_write_pipe": _WritePipe,
    "subprocess_exec": _Process,
    "subprocess_shell": _Process,
}


def _connecting(name, make):
    async def method(self, protocol_factory, *args, **kwargs):
        return await self._connect(name, make, protocol_factory, args, kwargs)
    return method


def _serving(name):
    async def method(self, protocol_factory, *args, **kwargs):
        return await self._serve(name, protocol_factory, args, kwargs)
    return method


for _name, _make in _CONNECTING.items():
    setattr(_Inner, _name, _connecting(_name, _make))
for _name in supervisors._SERVING:
    setattr(_Inner, _name, _serving(_name))
