"""The end of the transport of a pipe that is written to."""

import asyncio
import os
import unittest
from test.test_asyncio.loop_support import LeakCheckMixin


def tearDownModule():
    asyncio.set_event_loop_policy(None)


# More than a pipe takes.
BLOCK = bytes(2 ** 20)


class _Protocol(asyncio.BaseProtocol):

    def __init__(self, made, resumed):
        self.made, self.resumed = made, resumed
        self.lost = []

    def connection_made(self, transport):
        self.transport = transport
        self.made(transport)

    def resume_writing(self):
        resumed, self.resumed = self.resumed, lambda transport: None
        resumed(self.transport)

    def connection_lost(self, exc):
        self.lost.append(exc)


def nothing(transport):
    pass


def abort_twice(transport):
    transport.abort()
    transport.abort()


def close_and_abort(transport):
    transport.close()
    transport.abort()


def eof_and_abort(transport):
    transport.write_eof()
    transport.abort()


def write_and_close(transport):
    transport.write(BLOCK)
    transport.close()


@unittest.skipIf(os.name == "nt", "the pipe transports of Unix")
class WritePipeEndTests(LeakCheckMixin, unittest.IsolatedAsyncioTestCase):

    async def asyncSetUp(self):
        self.loop = asyncio.get_running_loop()
        self.loop.set_debug(True)
        self.errors = []
        self.loop.set_exception_handler(
            lambda loop, context: self.errors.append(context))

    async def connect(self, made=nothing, resumed=nothing):
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        os.set_blocking(reading, False)
        self.reading, self.writing = reading, writing
        transport, self.protocol = await self.loop.connect_write_pipe(
            lambda: _Protocol(made, resumed), os.fdopen(writing, "wb", 0))
        return transport

    async def receive(self, size=None):
        """Return what comes, up to the end if *size* is None."""
        received = bytearray()
        while size is None or len(received) < size:
            try:
                data = os.read(self.reading, 2 ** 16)
            except BlockingIOError:
                await asyncio.sleep(0)
            else:
                if not data:
                    break
                received += data
        return received

    async def check_lost_once(self, exc=type(None)):
        for _ in range(5):
            await asyncio.sleep(0)
        self.assertEqual([*map(type, self.protocol.lost)], [exc])
        self.assertNotIn(self.writing, self.loop._selector.get_map())
        self.assertEqual(self.errors, [])

    def for_each_end(self):
        for name in ("close", "abort", "write_eof"):
            yield lambda transport, name=name: getattr(transport, name)()
        yield from (abort_twice, close_and_abort, eof_and_abort)

    async def test_idle(self):
        for end in self.for_each_end():
            transport = await self.connect()
            end(transport)
            await self.check_lost_once()

    async def test_in_connection_made(self):
        for end in self.for_each_end():
            await self.connect(made=end)
            await self.check_lost_once()

    async def test_when_the_pipe_is_full(self):
        for end in self.for_each_end():
            transport = await self.connect()
            transport.write(BLOCK)
            end(transport)
            await self.receive()
            await self.check_lost_once()

    async def test_in_resume_writing(self):
        for end in self.for_each_end():
            transport = await self.connect(resumed=end)
            transport.write(BLOCK)
            self.assertEqual(await self.receive(), BLOCK)
            await self.check_lost_once()

    async def test_what_resume_writing_writes_is_sent(self):
        transport = await self.connect(resumed=write_and_close)
        transport.write(BLOCK)
        self.assertEqual(await self.receive(), BLOCK + BLOCK)
        await self.check_lost_once()

    async def test_after_the_end(self):
        transport = await self.connect()
        transport.close()
        await self.check_lost_once()
        # The number belongs to someone else now.
        os.dup2(self.reading, self.writing)
        self.addCleanup(os.close, self.writing)
        self.loop.add_reader(self.writing, lambda: None)
        for end in self.for_each_end():
            end(transport)
        self.assertTrue(self.loop.remove_reader(self.writing))
        await self.check_lost_once()

    async def test_of_a_pipe_that_is_read_in_connection_made(self):
        reading, writing = os.pipe()
        self.addCleanup(os.close, writing)
        transport, self.protocol = await self.loop.connect_read_pipe(
            lambda: _Protocol(lambda transport: transport.close(), nothing),
            os.fdopen(reading, "rb", 0))
        self.writing = reading
        await self.check_lost_once()


if __name__ == "__main__":
    unittest.main()
