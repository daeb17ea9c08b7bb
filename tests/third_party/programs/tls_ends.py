"""One end of layers of TLS, which sends lines back in upper case.

tls_ends.py server DEPTH FOLDER: prints its port, and serves until its input ends.
tls_ends.py client DEPTH FOLDER PORT: connects, and answers until the peer ends.

FOLDER has certificate.pem, key.pem and authority.pem.
"""

import asyncio
import ssl
import sys
from pathlib import Path


async def answer(reader, writer):
    lines = 0
    while line := await reader.readline():
        writer.write(line.upper())
        await writer.drain()
        lines += 1
    writer.close()
    await writer.wait_closed()
    return lines


async def server(depth, folder):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    connections = []

    async def serve(reader, writer):
        connections.append(asyncio.current_task())
        for _ in range(depth - 1):
            await writer.start_tls(context)
        return await answer(reader, writer)

    async with await asyncio.start_server(
            serve, "127.0.0.1", 0, ssl=context) as listening:
        print(listening.sockets[0].getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)
    await listening.wait_closed()
    return sum(await asyncio.gather(*connections))


async def client(depth, folder, port):
    context = ssl.create_default_context(cafile=folder / "authority.pem")
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname="localhost")
    for _ in range(depth - 1):
        await writer.start_tls(context, server_hostname="localhost")
    return await answer(reader, writer)


async def main(role, depth, folder, *port):
    lines = await role(int(depth), Path(folder), *port)
    assert len(asyncio.all_tasks()) == 1, asyncio.all_tasks()
    print(lines, "lines")


if __name__ == "__main__":
    asyncio.run(main({"server": server, "client": client}[sys.argv[1]],
                     *sys.argv[2:]))
