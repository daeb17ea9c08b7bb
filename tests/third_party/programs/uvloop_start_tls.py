"""Streams that are upgraded to TLS on uvloop: uvloop_start_tls.py FOLDER.

The server answers a request for the upgrade; the second time it adds text
that would be read as if it had come over TLS.
"""

import asyncio
import ssl
import sys
from pathlib import Path

import uvloop


async def upgrade(folder, answer):
    """Return what a client reads behind the server's *answer*."""
    contexts = [ssl.create_default_context(purpose) for purpose in (
        ssl.Purpose.CLIENT_AUTH, ssl.Purpose.SERVER_AUTH)]
    contexts[0].load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    contexts[1].load_verify_locations(folder / "authority.pem")

    async def serve(reader, writer):
        await reader.readline()
        writer.write(answer)
        if answer.count(b"\n") == 1:
            await writer.start_tls(contexts[0])
            writer.write(b"250 over TLS\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname())
        writer.write(b"STARTTLS\n")
        await reader.readline()
        try:
            await writer.start_tls(contexts[1], server_hostname="localhost")
        except RuntimeError as exc:
            print("refused:", str(exc).partition(",")[0])
        print((await reader.read()).decode(), end="")
        writer.close()
        await writer.wait_closed()


async def main(folder):
    await upgrade(folder, b"220 ready\n")
    await upgrade(folder, b"220 ready\n250 injected\n")


uvloop.run(main(Path(sys.argv[1])))
