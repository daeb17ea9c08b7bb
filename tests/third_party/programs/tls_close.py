"""A client of TLS 1.2 that writes and closes when it is told to.

tls_close.py FOLDER PORT: connects; at a line of input writes it, closes, and
says how the connection was lost.
"""

import asyncio
import ssl
import sys
from pathlib import Path


class Client(asyncio.Protocol):

    def connection_made(self, transport):
        self.lost = asyncio.get_running_loop().create_future()

    def connection_lost(self, exc):
        self.lost.set_result(exc)


async def main(folder, port):
    context = ssl.create_default_context(cafile=Path(folder) / "authority.pem")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    transport, client = await asyncio.get_running_loop().create_connection(
        Client, "127.0.0.1", port, ssl=context, server_hostname="localhost")
    print("connected", flush=True)
    line = await asyncio.to_thread(sys.stdin.readline)
    transport.write(line.encode())
    transport.close()
    print("closing", flush=True)
    print("lost by", repr(await client.lost), flush=True)


asyncio.run(main(*sys.argv[1:]))
