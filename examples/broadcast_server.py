"""Send each message of a client to all clients, in frames like those of a WebSocket.

A frame is a length, in four bytes, and as many bytes; an empty one is a sign of life.
"""

import argparse
import asyncio
import contextlib

LONGEST, GRACE = 1 << 16, 10    # bytes of a message, seconds to be slow at reading


class BadFrame(Exception):
    """Ends the connection of who sent it; any other error ends the server."""


class Client(asyncio.Protocol):
    def __init__(self, sup, clients):
        self.sup, self.clients = sup, clients
        self.received = bytearray()
        self.cut_off = None     # the timer of a client that is slow, and misses messages

    def connection_made(self, transport):
        self.transport = transport
        self.clients.add(self)

    def data_received(self, data):
        self.received += data
        while len(self.received) >= 4:
            end = 4 + int.from_bytes(self.received[:4])
            if end > 4 + LONGEST:
                raise BadFrame(f"a message of {end - 4} bytes")
            if len(self.received) < end:
                break
            broadcast(self.clients, bytes(self.received[:end]))
            del self.received[:end]

    def pause_writing(self):
        self.cut_off = self.sup.call_later(GRACE, self.transport.abort)

    def resume_writing(self):
        self.cut_off.cancel()
        self.cut_off = None

    def connection_lost(self, exc):
        self.clients.discard(self)
        if self.cut_off is not None:
            self.cut_off.cancel()


def broadcast(clients, frame):
    for client in clients:
        if client.cut_off is None and not client.transport.is_closing():
            client.transport.write(frame)


async def send_signs_of_life(clients, interval):
    while True:
        await asyncio.sleep(interval)
        broadcast(clients, bytes(4))


async def serve(port, interval):
    clients = set()
    async with asyncio.get_running_loop().create_supervisor(
            failure_handler=lambda context: isinstance(context["exception"], BadFrame)) as sup:
        sup.create_task(send_signs_of_life(clients, interval))
        server = await sup.create_server(lambda: Client(sup, clients), "127.0.0.1", port)
        print("listening on port", server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("port", type=int, help="to listen on, of 127.0.0.1; 0 is any")
    parser.add_argument("--interval", type=float, default=30, help="of signs of life, in s")
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(options.port, options.interval))
