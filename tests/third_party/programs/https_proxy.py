"""An HTTPS origin, and an HTTPS proxy that leads to it: https_proxy.py FOLDER.

Prints the ports of both, and serves until its input ends.  FOLDER has
certificate.pem and key.pem.
"""

import asyncio
import contextlib
import ssl
import sys
from pathlib import Path

tunnels = []
handlers = []


async def read_head(reader):
    """Return the words of the first line of a message, and its fields."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
    first, *lines = head.split("\r\n")[:-2]
    fields = (line.partition(":") for line in lines)
    return first.split(), {name.lower(): value.strip()
                           for name, _, value in fields}


async def origin(reader, writer):
    """Answer each request with its body."""
    handlers.append(asyncio.current_task())
    with contextlib.suppress(asyncio.IncompleteReadError):
        while True:
            _, fields = await read_head(reader)
            size = int(fields.get("content-length", 0))
            body = await reader.readexactly(size)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            writer.write(body)
            await writer.drain()
    writer.close()
    # A client that refuses the certificate does not wait for an answer.
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def proxy(reader, writer):
    handlers.append(asyncio.current_task())
    (method, target, _), _ = await read_head(reader)
    assert method == "CONNECT", method
    # Whatever its name, it is here.
    port = target.rpartition(":")[2]
    streams = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    async with asyncio.TaskGroup() as group:
        group.create_task(copy(reader, streams[1]))
        group.create_task(copy(streams[0], writer))
    tunnels.append(target)


async def copy(reader, writer):
    """Pass on what comes until the end, which takes the other way along."""
    # The other way may have closed it.
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(2 ** 16):
            writer.write(data)
            await writer.drain()
        writer.close()
        await writer.wait_closed()


async def main(folder):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    servers = [await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
               for serve in (proxy, origin)]
    print(*(server.sockets[0].getsockname()[1] for server in servers),
          flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for server in servers:
        server.close()
        await server.wait_closed()
    await asyncio.gather(*handlers)
    assert len(asyncio.all_tasks()) == 1, asyncio.all_tasks()
    print(len(tunnels), "tunnels")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
