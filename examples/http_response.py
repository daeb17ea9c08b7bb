"""An incremental parser of HTTP/1.1 responses to GET (RFC 9112); it does no I/O.

Bodies end by Content-Length, by chunks, or where the connection does.
"""

__all__ = ("BadResponse", "ResponseParser")

import itertools
import re

LONGEST_HEAD = 65536        # bytes, for status line and fields, and for trailers


class BadResponse(Exception):
    """The peer does not speak HTTP/1.1, or stopped in the midst of it."""


class ResponseParser:
    """Takes bytes as they come, and gives pieces of the body."""

    def __init__(self):
        # Set with the head.
        self.status = self.reason = self.fields = None
        # The whole message was there; what follows is ignored.
        self.is_whole = False
        self._buffer = bytearray()
        self._at_eof = False
        self._head_left = LONGEST_HEAD
        # Gives a piece of the body, or None if it needs more bytes.
        self._steps = self._message()

    def feed(self, data):
        """Return the pieces of the body in *data*, a list."""
        self._buffer += data
        return list(itertools.takewhile(lambda piece: piece is not None, self._steps))

    def feed_eof(self):
        """The connection has ended: this may end the body, or cut it short."""
        self._at_eof = True
        self.feed(b"")

    def _message(self):
        yield from self._head()
        while self.status in (100, 102, 103):   # interim
            yield from self._head()
        if self.status < 200:
            raise BadResponse(f"status {self.status}, but nothing like it was asked for")
        if self.status not in (204, 304):
            yield from self._body()
        self.is_whole = True

    def _head(self):
        self._head_left = LONGEST_HEAD
        line = yield from self._line()
        found = re.fullmatch(r"HTTP/1\.[01] ([1-9]\d\d)(?: (.*))?", line)
        if found is None:
            raise BadResponse(f"this is no status line: {line!r}")
        fields = yield from self._fields()
        self.status, self.reason = int(found[1]), found[2] or ""
        self.fields = fields

    def _fields(self):
        fields, name = {}, None
        while line := (yield from self._line()):
            if line[0] in " \t" and name:       # goes on from the line before
                fields[name] += " " + line.strip(" \t")
                continue
            name, colon, value = line.partition(":")
            if not colon or not re.fullmatch(r"[!#$%&'*+.^_`|~\w-]+", name, re.ASCII):
                raise BadResponse(f"this is no header field: {line!r}")
            name, value = name.lower(), value.strip(" \t")
            fields[name] = f"{fields[name]}, {value}" if name in fields else value
        return fields

    def _body(self):
        coding = self.fields.get("transfer-encoding")
        lengths = set(re.split(r"[ \t]*,[ \t]*", self.fields.get("content-length", "")))
        if coding is not None:
            # Wins over a Content-Length (RFC 9112, 6.3).
            if coding.lower() != "chunked":
                raise BadResponse(f"Transfer-Encoding: {coding} was not asked for")
            yield from self._chunks()
        elif lengths != {""}:
            if len(lengths) != 1 or not re.fullmatch(r"[0-9]{1,18}", *lengths):
                raise BadResponse(f"Content-Length: {self.fields['content-length']}")
            yield from self._exactly(int(*lengths))
        else:
            yield from self._until_eof()

    def _chunks(self):
        while size := (yield from self._chunk_size()):
            yield from self._exactly(size)
            if line := (yield from self._line()):
                raise BadResponse(f"after a chunk of {size} bytes comes {line!r}")
        self._head_left = LONGEST_HEAD
        yield from self._fields()               # trailers; nothing in them is used

    def _chunk_size(self):
        self._head_left = LONGEST_HEAD
        line = yield from self._line()
        size = line.partition(";")[0].rstrip(" \t")     # extensions are ignored
        if not re.fullmatch(r"[0-9A-Fa-f]{1,15}", size):
            raise BadResponse(f"this is no size of a chunk: {line!r}")
        return int(size, 16)

    def _exactly(self, length):
        while length:
            while not self._buffer:
                yield from self._more()
            piece = self._take(length)
            length -= len(piece)
            yield piece

    def _until_eof(self):
        while self._buffer or not self._at_eof:
            yield self._take(len(self._buffer)) if self._buffer else None

    def _line(self):
        while (end := self._buffer.find(b"\n") + 1) == 0:
            if len(self._buffer) > self._head_left:
                break
            yield from self._more()
        self._head_left -= end or len(self._buffer)
        if self._head_left < 0:
            raise BadResponse(f"a head of more than {LONGEST_HEAD} bytes")
        return self._take(end).decode("latin-1").removesuffix("\n").removesuffix("\r")

    def _more(self):
        if self._at_eof:
            raise BadResponse("the connection ended in the midst of the response")
        yield None

    def _take(self, length):
        data = bytes(self._buffer[:length])
        del self._buffer[:length]
        return data
