"""Make calls of a supervisor on a loop in C, and print what they give.

Arguments: the loop and the names of the calls.  Each gives "works", or the
error that the loop itself raises.
"""

import asyncio
import importlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
from contextlib import ExitStack

LOOPBACK = "127.0.0.1"


class Call:
    """Calls by their names, with a supervisor and what they need."""

    def __init__(self, loop, sup, stack):
        self.loop = loop
        self.sup = sup
        self.stack = stack

    def sockets(self):
        pair = socket.socketpair()
        for sock in pair:
            sock.setblocking(False)
            self.stack.callback(sock.close)
        return pair

    def datagram_socket(self):
        sock = self.stack.enter_context(
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        sock.bind((LOOPBACK, 0))
        sock.setblocking(False)
        return sock

    async def connected(self):
        server = await self.sup.create_server(asyncio.Protocol, LOOPBACK, 0)
        transport, _ = await self.sup.create_connection(
            asyncio.Protocol, *server.sockets[0].getsockname())
        return transport

    def path(self):
        folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        return os.path.join(folder, "socket")

    async def create_connection(self):
        await self.connected()

    async def create_datagram_endpoint(self):
        await self.sup.create_datagram_endpoint(asyncio.DatagramProtocol,
                                                (LOOPBACK, 0))

    async def subprocess_exec(self):
        await self.sup.subprocess_exec(asyncio.SubprocessProtocol,
                                       sys.executable, "-c", "")

    async def run_in_executor(self):
        await self.sup.run_in_executor(None, int)

    async def connect_accepted_socket(self):
        ours, _ = self.sockets()
        await self.sup.connect_accepted_socket(asyncio.Protocol, ours)

    async def create_unix_server(self):
        await self.sup.create_unix_server(asyncio.Protocol, self.path())

    async def create_unix_connection(self):
        path = self.path()
        sock = self.stack.enter_context(socket.socket(socket.AF_UNIX))
        sock.bind(path)
        sock.listen()
        await self.sup.create_unix_connection(asyncio.Protocol, path)

    async def create_server_with_ssl(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        await self.sup.create_server(asyncio.Protocol, LOOPBACK, 0,
                                     ssl=context)

    async def start_tls(self):
        # It refuses the context, if it gets so far.
        try:
            await self.sup.start_tls(await self.connected(),
                                     asyncio.Protocol(), None)
        except TypeError as exc:
            assert "sslcontext" in str(exc), exc

    async def start_tls_of_the_loop(self):
        try:
            await self.loop.start_tls(await self.connected(),
                                      asyncio.Protocol(),
                                      ssl.create_default_context())
        except ssl.SSLError:
            pass

    async def sendfile(self):
        file = self.stack.enter_context(tempfile.TemporaryFile())
        await self.sup.sendfile(await self.connected(), file)

    async def sock_sendfile(self):
        file = self.stack.enter_context(tempfile.TemporaryFile())
        await self.sup.sock_sendfile(self.sockets()[0], file)

    async def sock_sendto(self):
        sock = self.datagram_socket()
        await self.sup.sock_sendto(sock, b"x", sock.getsockname())

    async def sock_recvfrom(self):
        sock = self.datagram_socket()
        sock.sendto(b"x", sock.getsockname())
        await self.sup.sock_recvfrom(sock, 1)

    async def add_reader_of_a_socket(self):
        self.sup.add_reader(self.sockets()[0], int)

    async def result_of_remove_reader(self):
        sock, _ = self.sockets()
        self.sup.add_reader(sock.fileno(), int)
        result = self.sup.remove_reader(sock.fileno())
        assert result is True, result

    async def remove_signal_handler(self):
        self.sup.add_signal_handler(signal.SIGUSR1, int)
        self.sup.remove_signal_handler(signal.SIGUSR1)

    async def abort_of_a_read_pipe(self):
        read, write = os.pipe()
        self.stack.callback(os.close, write)
        transport, _ = await self.sup.connect_read_pipe(
            asyncio.Protocol, open(read, "rb", buffering=0))
        transport.abort()

    async def close_clients_of_a_server(self):
        server = await self.sup.create_server(asyncio.Protocol, LOOPBACK, 0)
        server.close_clients()

    async def set_protocol_of_another_kind(self):
        transport = await self.connected()
        transport.set_protocol(asyncio.BufferedProtocol())

    async def eager_start(self):
        async def nothing():
            pass
        coro = nothing()
        try:
            self.sup.create_task(coro, eager_start=True)
        finally:
            coro.close()

    async def close_of_a_server_alone(self):
        class Protocol(asyncio.Protocol):
            def connection_made(self, transport):
                made.set_result(transport)
        made = self.loop.create_future()
        server = await self.sup.create_server(Protocol, LOOPBACK, 0)
        await self.sup.create_connection(asyncio.Protocol,
                                         *server.sockets[0].getsockname())
        transport = await made
        server.close()
        await asyncio.sleep(0.1)
        assert not transport.is_closing(), "it ends its connections"

    async def close_of_a_descriptor(self):
        server = await self.sup.create_server(asyncio.Protocol, LOOPBACK, 0)
        fd = server.sockets[0].fileno()
        server.close()
        await asyncio.sleep(0.1)
        try:
            os.fstat(fd)
        except OSError:
            return
        raise AssertionError("it is open")

    async def reset_of_a_peer(self):
        class Protocol(asyncio.Protocol):
            def connection_made(self, transport):
                sock.close()

            def connection_lost(self, exc):
                if not lost.done():
                    lost.set_result(exc)
        lost = self.loop.create_future()
        server = await self.sup.create_server(Protocol, LOOPBACK, 0)
        sock = socket.create_connection(server.sockets[0].getsockname())
        # Without what is still to be sent.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                        b"\1\0\0\0\0\0\0\0")
        async with asyncio.timeout(1):
            exc = await lost
        assert isinstance(exc, ConnectionResetError), exc

    async def exit_of_a_callback(self):
        # In a process of its own: the loop may be left by it.
        process = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", EXIT, loop_name],
            capture_output=True)
        assert process.returncode == 3, process.returncode


EXIT = """
import asyncio, importlib, sys

async def main():
    async with asyncio.get_running_loop().create_supervisor() as sup:
        sup.call_soon(sys.exit, 3)
        await asyncio.sleep(0.1)

loop = importlib.import_module(sys.argv[1]).new_event_loop()
loop.run_until_complete(main())
"""


async def outcome(loop, name):
    result = "works"
    with ExitStack() as stack:
        async with loop.create_supervisor() as sup:
            try:
                await getattr(Call(loop, sup, stack), name)()
            except Exception as exc:
                result = f"{type(exc).__name__}: {exc}"
            # What was begun does not matter.
            sup.cancel()
    assert sup.owned() == []
    return result


def main(loop_name, *names):
    loop = importlib.import_module(loop_name).new_event_loop()
    results = {name: loop.run_until_complete(outcome(loop, name))
               for name in names}
    loop.close()
    print(json.dumps(results))


loop_name = sys.argv[1]
main(*sys.argv[1:])
