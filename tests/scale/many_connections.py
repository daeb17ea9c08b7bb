"""As many connections as the limit of descriptors allows, owned at once.

    many_connections.py COUNT fails|ends|"is cancelled"

A second process connects to a server of a supervisor.  Prints how many there
were, and how many lines, calls and steps of generators ended them.
"""

import asyncio
import contextlib
import multiprocessing
import resource
import socket
import sys

from test.test_asyncio import loop_support
from test.test_asyncio.test_supervisor_counts import Boom, counting

LIMIT = 100
# For all else that is open.
SPARE = 100
# A connection that finds the queue full waits for a second.
BACKLOG = 4096


def possible(count):
    """Return *count*, or as many as there can be descriptors."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = count + SPARE
    wanted = min(count + SPARE, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted - SPARE


def connect(address, count, pipe):
    """In the second process: hold connections until they are all ended."""
    socks = [socket.create_connection(address) for _ in range(count)]
    for sock in socks:
        sock.settimeout(LIMIT)
    pipe.send("connected")
    for sock in socks:
        try:
            assert sock.recv(1) == b""
        except ConnectionResetError:
            pass
        sock.close()
    pipe.send("ended")


class Accepted(asyncio.Protocol):
    made = lost = 0

    def connection_made(self, transport):
        Accepted.made += 1

    def connection_lost(self, exc):
        Accepted.lost += 1


async def own(sup, count, stack):
    """Have a second process connect; return what counts from then on."""
    server = await sup.create_server(Accepted, "127.0.0.1", 0,
                                     backlog=BACKLOG)
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    peers = context.Process(
        target=connect, daemon=True,
        args=(server.sockets[0].getsockname(), count, theirs))
    peers.start()
    stack.callback(peers.join, LIMIT)
    stack.callback(expect, pipe, "ended")
    # And until the loop has done with what it accepts.
    while Accepted.made < count or len(sup.owned()) > count + 1:
        await asyncio.sleep(0.01)
    expect(pipe, "connected")
    assert len(sup.owned()) == count + 1, sup
    return stack.enter_context(counting())


def expect(pipe, text):
    assert pipe.poll(LIMIT), f"the peers are not {text}"
    assert pipe.recv() == text


async def main(count, how):
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:
        try:
            async with loop.create_supervisor() as sup:
                async with asyncio.timeout(LIMIT):
                    counted = await own(sup, count, stack)
                if how == "fails":
                    raise Boom
                if how == "is cancelled":
                    sup.cancel()
        except* Boom:
            pass
        operations = counted()
        assert not sup.owned(), sup
        assert Accepted.lost == Accepted.made == count
    left = loop_support.left_in(loop)
    left["tasks"].remove(asyncio.current_task())
    assert not any(left.values()), left
    print(count, operations)


if __name__ == "__main__":
    asyncio.run(main(possible(int(sys.argv[1])), sys.argv[2]))
