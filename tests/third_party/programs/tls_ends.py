"""One end of layers of TLS, which sends lines back in upper case.

tls_ends.py server API DEPTH FOLDER: prints its port, and serves until its input
    ends.
tls_ends.py client API DEPTH FOLDER PORT: connects, and answers until the peer
    ends.

API is streams, protocol or buffered; FOLDER has certificate.pem, key.pem and
authority.pem.
"""

import asyncio
import ssl
import sys
from pathlib import Path


class Lines(asyncio.Protocol):
    """Answers what is over all the layers."""

    def __init__(self):
        self.lines = 0
        # What came before the next layer, which is a part of its handshake;
        # then what is no whole line yet.
        self.early = bytearray()
        self.answers = False
        self.connected = asyncio.get_running_loop().create_future()
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        self.connected.set_result(None)

    def data_received(self, data):
        self.early += data
        if self.answers:
            end = self.early.rfind(b"\n") + 1
            self.transport.write(self.early[:end].upper())
            self.lines += self.early.count(b"\n")
            del self.early[:end]

    def connection_lost(self, exc):
        self.lost.set_result(exc)

    async def answer(self, depth, **options):
        """Put the other layers inside of the first; return the lines answered."""
        loop = asyncio.get_running_loop()
        await self.connected
        for _ in range(depth - 1):
            early, self.early = self.early, bytearray()
            self.transport = await loop.start_tls(
                self.transport, self, buffered_data=early, **options)
        self.answers = True
        self.data_received(b"")
        if exc := await self.lost:
            raise exc
        return self.lines


class BufferedLines(Lines, asyncio.BufferedProtocol):

    def get_buffer(self, sizehint):
        self.buffer = bytearray(3)
        return self.buffer

    def buffer_updated(self, nbytes):
        self.data_received(self.buffer[:nbytes])


PROTOCOLS = {"protocol": Lines, "buffered": BufferedLines}


async def answer(reader, writer, depth, **options):
    for _ in range(depth - 1):
        await writer.start_tls(**options)
    lines = 0
    while line := await reader.readline():
        writer.write(line.upper())
        await writer.drain()
        lines += 1
    writer.close()
    await writer.wait_closed()
    return lines


async def server(api, depth, folder):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    connections = []

    async def serve(reader, writer):
        connections.append(asyncio.current_task())
        return await answer(reader, writer, depth, sslcontext=context)

    def make():
        protocol = PROTOCOLS[api]()
        connections.append(asyncio.create_task(protocol.answer(
            depth, sslcontext=context, server_side=True)))
        return protocol

    if api == "streams":
        serving = asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    else:
        serving = asyncio.get_running_loop().create_server(
            make, "127.0.0.1", 0, ssl=context)
    async with await serving as listening:
        print(listening.sockets[0].getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)
    await listening.wait_closed()
    return sum(await asyncio.gather(*connections))


async def client(api, depth, folder, port):
    context = ssl.create_default_context(cafile=folder / "authority.pem")
    address = dict(host="127.0.0.1", port=port, ssl=context,
                   server_hostname="localhost")
    inside = dict(sslcontext=context, server_hostname="localhost")
    if api == "streams":
        return await answer(*await asyncio.open_connection(**address),
                            depth, **inside)
    _, protocol = await asyncio.get_running_loop().create_connection(
        PROTOCOLS[api], **address)
    return await protocol.answer(depth, **inside)


async def main(role, api, depth, folder, *port):
    lines = await role(api, int(depth), Path(folder), *port)
    assert len(asyncio.all_tasks()) == 1, asyncio.all_tasks()
    print(lines, "lines")


if __name__ == "__main__":
    asyncio.run(main({"server": server, "client": client}[sys.argv[1]],
                     *sys.argv[2:]))
