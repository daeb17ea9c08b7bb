"""Forward the connections of a local port to another address.

What a peer does ends its own connection; an error of this program ends all of them.
When one peer resets its connection, the other one sees an end.
"""

import argparse
import asyncio
import contextlib
import sys


class Leg(asyncio.Protocol):
    """One of two connections: what it reads, its peer writes."""

    def __init__(self, sup, target, peer=None):
        self.sup, self.target = sup, target
        self.peer = peer            # None until both are connected
        self.has_ended = False      # there is nothing more to read

    def connection_made(self, transport):
        self.transport = transport
        if self.peer is None:
            transport.pause_reading()
            self.sup.create_task(self.connect_peer())
        else:
            self.peer.peer = self
            self.peer.transport.resume_reading()

    async def connect_peer(self):
        try:
            async with asyncio.timeout(30):     # seconds
                await self.sup.create_connection(
                    lambda: Leg(self.sup, self.target, peer=self), *self.target)
        except OSError as error:
            print(f"cannot connect to {self.target}: {error!r}", file=sys.stderr)
            self.transport.abort()

    def data_received(self, data):
        self.peer.transport.write(data)

    def pause_writing(self):
        self.peer.transport.pause_reading()

    def resume_writing(self):
        self.peer.transport.resume_reading()

    def eof_received(self):
        self.has_ended = True
        self.peer.transport.write_eof()
        if self.peer.has_ended:
            self.transport.close()
        return True                 # the other direction goes on

    def connection_lost(self, exc):
        if self.peer is not None:
            # What it still has to send is of no use after a reset.
            (self.peer.transport.close if exc is None else self.peer.transport.abort)()


async def forward(port, target):
    async with asyncio.get_running_loop().create_supervisor() as sup:
        server = await sup.create_server(lambda: Leg(sup, target), "127.0.0.1", port)
        print("listening on port", server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("port", type=int, help="to listen on, of 127.0.0.1; 0 is any")
    parser.add_argument("to_host", help="where to connect")
    parser.add_argument("to_port", type=int)
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(forward(options.port, (options.to_host, options.to_port)))


if __name__ == "__main__":
    main()
