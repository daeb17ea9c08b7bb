"""What programs on supervisors allocate: records, which tell what is wrong."""

__all__ = ("Allocated", "BaseError", "Buffered", "Error", "Link", "Protocol",
           "Supervised")

import asyncio
import socket


class Error(Exception):
    pass


class BaseError(BaseException):
    pass


class Supervised:
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


class Allocated:
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


class Link(Allocated):
    """A protocol, which is asked for by a call or made by a server."""

    def __init__(self, what, name, s, does, player):
        super().__init__(what, name, s)
        self.does, self.player = does, player
        self.calls = []
        self.peer = self.file = None
        # What was written is to arrive.
        self.sent, self.is_whole = 0, True
        self.was_handled = self.is_sending = False

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
        if name == "error_received" and self.is_sending:
            return  # What it raised would be sendto()'s, and its caller's.
        try:
            self.player.run(self.s, name, self.does.get(name, ()), self)
        except BaseException as exc:
            self.is_whole = False
            self.player.links_of_errors[id(exc)] = self
            raise


class Protocol(asyncio.Protocol, asyncio.DatagramProtocol,
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
    setattr(Protocol, _name, _method(_name))


class Buffered(asyncio.BufferedProtocol):
    def __init__(self, link):
        self.link = link

    def get_buffer(self, sizehint):
        return bytearray(1 << 16)

    def buffer_updated(self, count):
        self.link.called("data_received")


for _name in ("connection_made", "connection_lost", "eof_received",
              "pause_writing", "resume_writing"):
    setattr(Buffered, _name, _method(_name))
