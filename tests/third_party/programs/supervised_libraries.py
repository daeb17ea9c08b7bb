"""Libraries that know of no supervisor, inside of one.

    supervised_libraries.py LIBRARY SIDE METHOD FOLDER

Has a library's own protocols talk to each other through a supervisor, and
then has METHOD of the one on that SIDE raise.  "nothing" for METHOD lets the
block end with all of it standing.  FOLDER is that of PostgreSQL's socket, or
that of the certificates.  Prints what the supervisor owned, kind by kind.
"""

import asyncio
import collections
import contextlib
import gc
import sys
from unittest import mock

from test.test_asyncio import loop_support

LIMIT = 60


class OnPurpose(Exception):
    pass


class Trap:
    """Makes classes of which one method raises as soon as it is set."""

    def __init__(self, side, method):
        self.error = OnPurpose(method)
        # Connections are not kept for the next time.
        self.once = method in ("connection_made", "connection_lost")
        self._is_set = False
        self._side = side
        self._method = method

    def set(self):
        """Return true if something is to raise from now on."""
        self._is_set = self._method != "nothing"
        return self._is_set

    def on(self, side, cls):
        if side != self._side or self._method == "nothing":
            return cls

        def method(protocol, *args):
            result = getattr(cls, self._method)(protocol, *args)
            if self._is_set:
                raise self.error
            return result

        return type(cls.__name__, (cls,), {self._method: method})


class Library:
    """One that is set up with *sup*; what its talk() opens stays open."""

    # It has the loop from get_running_loop() and can't be told another one.
    asks_for_the_loop = False

    def __init__(self, sup, trap, folder, afterwards):
        self.sup = sup
        self.trap = trap
        self.folder = folder
        # What is closed when the supervisor has ended.
        self.afterwards = afterwards
        self.kept = []

    async def set_up(self):
        pass

    async def end_work(self):
        """End tasks that would go on for ever, as a supervisor waits."""

    async def serve(self, factory):
        server = await self.sup.create_server(factory, "127.0.0.1", 0)
        return server.sockets[0].getsockname()[1]


class AioHTTP(Library):

    async def set_up(self):
        import aiohttp
        from aiohttp.client_proto import ResponseHandler

        self.port = await self.serve(self.server_factory())
        connector = aiohttp.TCPConnector(
            loop=self.sup, resolver=aiohttp.ThreadedResolver())
        protocol = self.trap.on("client", ResponseHandler)
        connector._factory = lambda: protocol(loop=self.sup)
        self.session = aiohttp.ClientSession(connector=connector)
        self.afterwards.push_async_callback(self.session.close)

    def server_factory(self):
        from aiohttp import web
        from aiohttp.web_protocol import RequestHandler

        async def handle(request):
            return web.Response(text="hello")

        manager = web.Server(handle, loop=self.sup)
        protocol = self.trap.on("server", RequestHandler)
        return lambda: protocol(manager, loop=self.sup)

    async def talk(self):
        headers = {"Connection": "close"} if self.trap.once else {}
        async with self.session.get(f"http://127.0.0.1:{self.port}/",
                                    headers=headers) as answer:
            assert await answer.text() == "hello"


class Uvicorn(AioHTTP):
    """Its server, asked by aiohttp."""

    http = "h11"

    def server_factory(self):
        from uvicorn.config import Config
        from uvicorn.server import ServerState

        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": 200,
                        "headers": []})
            await send({"type": "http.response.body", "body": b"hello"})

        config = Config(app, http=self.http, lifespan="off", log_config=None)
        config.load()
        protocol = self.trap.on("server", config.http_protocol_class)
        state = ServerState()
        return lambda: protocol(config, state, {}, _loop=self.sup)


class UvicornHTTPTools(Uvicorn):
    http = "httptools"


class WebSockets(Library):

    asks_for_the_loop = True

    async def set_up(self):
        from websockets.asyncio.server import ServerConnection, serve

        async def echo(connection):
            async for message in connection:
                await connection.send(message)

        self.server = await serve(
            echo, "127.0.0.1", 0,
            create_connection=self.trap.on("server", ServerConnection))
        self.port = self.server.sockets[0].getsockname()[1]

    async def end_work(self):
        self.server.close()

    async def talk(self):
        from websockets.asyncio.client import ClientConnection, connect

        connection = await connect(
            f"ws://127.0.0.1:{self.port}/", proxy=None,
            create_connection=self.trap.on("client", ClientConnection))
        await connection.send("hello")
        assert await connection.recv() == "hello"
        if self.trap.once:
            await connection.close()
        self.kept.append(connection)


class Quic(Library):

    asks_for_the_loop = True

    async def set_up(self):
        from aioquic.asyncio import QuicConnectionProtocol
        from aioquic.asyncio.server import QuicServer
        from aioquic.quic.configuration import QuicConfiguration

        configuration = QuicConfiguration(is_client=False)
        configuration.load_cert_chain(self.folder / "certificate.pem",
                                      self.folder / "key.pem")
        server = self.trap.on("server", QuicServer)
        transport, _ = await self.sup.create_datagram_endpoint(
            lambda: server(configuration=configuration,
                           create_protocol=QuicConnectionProtocol,
                           stream_handler=self.echo),
            ("127.0.0.1", 0))
        self.address = transport.get_extra_info("sockname")

    def echo(self, reader, writer):
        async def answer():
            writer.write(await reader.read())
            writer.write_eof()
        self.sup.create_task(answer())

    async def talk(self):
        from aioquic.asyncio import QuicConnectionProtocol
        from aioquic.quic.configuration import QuicConfiguration
        from aioquic.quic.connection import QuicConnection

        configuration = QuicConfiguration(is_client=True,
                                          server_name="localhost")
        configuration.load_verify_locations(self.folder / "authority.pem")
        client = self.trap.on("client", QuicConnectionProtocol)
        transport, protocol = await self.sup.create_datagram_endpoint(
            lambda: client(QuicConnection(configuration=configuration)),
            ("127.0.0.1", 0))
        protocol.connect(self.address)
        await protocol.wait_connected()
        reader, writer = await protocol.create_stream()
        writer.write(b"hello")
        writer.write_eof()
        assert await reader.read() == b"hello"
        if self.trap.once:
            transport.close()
        self.kept.append(protocol)


class AsyncPG(Library):

    async def talk(self):
        import asyncpg
        from asyncpg import connect_utils

        protocol = self.trap.on("client", connect_utils.protocol.Protocol)
        with mock.patch.object(connect_utils.protocol, "Protocol", protocol):
            connection = await asyncpg.connect(
                host=str(self.folder), user="overlay", database="postgres",
                loop=self.sup)
        assert await connection.fetchval("SELECT 'hello'") == "hello"
        if self.trap.once:
            await connection.close()
        self.kept.append(connection)


LIBRARIES = {
    "aiohttp": AioHTTP,
    "uvicorn-h11": Uvicorn,
    "uvicorn-httptools": UvicornHTTPTools,
    "websockets": WebSockets,
    "aioquic": Quic,
    "asyncpg": AsyncPG,
}


@contextlib.contextmanager
def nothing_left(loop):
    """Look that the block leaves no socket, task, timer or error."""
    told = []
    loop.set_exception_handler(lambda loop, context: told.append(context))
    files = loop_support._open_files()
    yield
    gc.collect()
    left = loop_support.left_in(loop)
    left["tasks"].remove(asyncio.current_task())
    left["files"] = loop_support._open_files() - files
    left["errors"] = told
    assert not any(left.values()), left


async def use(library, trap, *args):
    """Have the library talk, and again when the trap is set."""
    loop = asyncio.get_running_loop()
    async with (contextlib.AsyncExitStack() as afterwards,
                loop.create_supervisor() as sup):
        used = library(sup, trap, *args, afterwards)
        if library.asks_for_the_loop:
            afterwards.enter_context(mock.patch.object(
                asyncio, "get_running_loop", lambda: sup))
        await used.set_up()
        await used.talk()
        print(*sorted(collections.Counter(
            type(thing).__name__ for thing in sup.owned()).items()))
        if trap.set():
            await used.talk()
            await asyncio.sleep(3600)
        await used.end_work()
    assert not sup.owned(), sup


async def main(library, side, method, folder):
    from pathlib import Path

    trap = Trap(side, method)
    with nothing_left(asyncio.get_running_loop()):
        try:
            async with asyncio.timeout(LIMIT):
                await use(LIBRARIES[library], trap, Path(folder))
        except BaseExceptionGroup as group:
            assert group.exceptions == (trap.error,), group.exceptions
            # It has the frames of what called the protocol, and they us.
            trap = group = None
        else:
            assert method == "nothing", "no error was raised"


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
