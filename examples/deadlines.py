"""A deadline over the tunnel, for a client that swallows its cancellation."""

__all__ = ("LIMITS", "ROWS", "Outcome", "compare", "slow_origin")

import asyncio
import contextlib
import dataclasses
import time

from loopback import read_head, serving

LIMIT = 0.45            # seconds
ROWS, PACE = 12, 0.1    # of the report: its length, and the seconds that a row takes
PAUSES = 0, 0.05, 0.1   # before each try
# What ends the client: name, context manager.
LIMITS = {f"timeout({LIMIT})": lambda: asyncio.timeout(LIMIT),
          f"move_on_after({LIMIT})": lambda: asyncio.move_on_after(LIMIT)}


@dataclasses.dataclass
class Outcome:
    """What a client did under a limit."""
    rows: list          # received, of each try
    seconds: float
    left: int           # tasks


def slow_origin(context):
    """An HTTPS server whose report takes ROWS * PACE seconds."""
    async def handle(reader, writer):
        await read_head(reader)
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        for row in range(ROWS):
            await asyncio.sleep(PACE)
            writer.write(b"row %d\n" % row)
            await writer.drain()
    return serving(handle, ssl=context)


async def read_report(connect, rows):
    async with connect() as (reader, writer, _):
        try:
            writer.write(b"GET /report HTTP/1.0\r\n\r\n")
            await read_head(reader)
            while row := await reader.readline():
                rows.append(row)
        finally:
            # Both layers of TLS are told, but not for longer than a second.
            with asyncio.move_on_after(1, shield=True):
                writer.close()
                await writer.wait_closed()


async def stubborn_client(connect):
    """Try again, whatever happens: the mistake is to catch CancelledError."""
    tries = []
    for pause in PAUSES:
        tries.append([])
        with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
            await asyncio.sleep(pause)
            await read_report(connect, tries[-1])
            break
    return [len(rows) for rows in tries]


async def under(limit, connect):
    before, start = asyncio.all_tasks(), time.monotonic()
    if hasattr(limit, "__enter__"):
        with limit:
            rows = await stubborn_client(connect)
    else:
        async with limit:
            rows = await stubborn_client(connect)
    seconds = time.monotonic() - start
    # The servers notice the end of the connection.
    with asyncio.move_on_after(5):
        while left := asyncio.all_tasks() - before:
            await asyncio.wait(left)
    return Outcome(rows, seconds, len(left))


async def compare(connect):
    """Return {limit: Outcome}."""
    return {name: await under(make(), connect) for name, make in LIMITS.items()}
