"""What kinds of buffers a BufferedProtocol over TLS may have."""

import array
import asyncio
import mmap
import unittest

from test.test_asyncio.tls_support import BufferedRecorder, GUARD, TLSTestCase


def tearDownModule():
    asyncio.set_event_loop_policy(None)


class _Items(BufferedRecorder):
    """Has a buffer whose items are not bytes."""

    def buffer_updated(self, nbytes):
        self.data += memoryview(self.buffer).cast("B")[:nbytes]


class _Resizing(BufferedRecorder):
    """Gives away the part of its buffer that was filled."""

    def buffer_updated(self, nbytes):
        super().buffer_updated(nbytes)
        del self.buffer[:nbytes]
        self.buffer += bytes(nbytes)


class BufferKindTests(TLSTestCase):

    async def check(self, factory):
        """Send two records at once, and see what the protocol makes of them."""
        transport, peer = await self.connect_tls(factory)
        protocol = transport.get_protocol()
        await peer.send(peer.seal(b"first ") + peer.seal(b"second"))
        async with asyncio.timeout(GUARD):
            while len(protocol.data) < 12:
                await asyncio.sleep(0)
        self.assertEqual(protocol.data, b"first second")

    async def test_bytearray(self):
        await self.check(lambda: BufferedRecorder(bytearray(100)))

    async def test_bytearray_that_is_resized_when_it_is_filled(self):
        await self.check(lambda: _Resizing(bytearray(100)))

    async def test_memoryview(self):
        await self.check(lambda: BufferedRecorder(memoryview(bytearray(100))))

    async def test_array_of_numbers(self):
        await self.check(lambda: _Items(array.array("Q", range(100))))

    async def test_mmap(self):
        with mmap.mmap(-1, 4096) as buffer:
            await self.check(lambda: BufferedRecorder(buffer))

    async def test_buffer_smaller_than_a_record(self):
        for kind in bytearray, lambda size: memoryview(bytearray(size)):
            with self.subTest(kind):
                await self.check(lambda: BufferedRecorder(kind(5)))

    async def test_empty_buffer_is_an_error_as_over_tcp(self):
        over = {}
        for connect in self.connect, self.connect_tls:
            transport, peer = await connect(
                lambda: BufferedRecorder(bytearray()))
            protocol = transport.get_protocol()
            await peer.write(b"data")
            async with asyncio.timeout(GUARD):
                over[connect.__name__] = repr(await protocol.lost)
            self.assertEqual(protocol.calls, ["made", "lost"])
        self.assertEqual([str(report["exception"])
                          for report in self.take_reports()],
                         ["get_buffer() returned an empty buffer"] * 2)
        self.assertEqual(over["connect_tls"], over["connect"])


if __name__ == "__main__":
    unittest.main()
