"""A TLS layer asks OpenSSL for data only while there is something to decrypt."""

import asyncio
import ssl
import unittest

from test.test_asyncio.tls_support import (
    GUARD, VERSIONS, BufferedRecorder, Recorder, TLSTestCase, for_each)


def tearDownModule():
    asyncio.set_event_loop_policy(None)


PROTOCOLS = Recorder, BufferedRecorder


class _Counted:
    """An SSLObject that keeps what each read() was asked for and gave.

    An outcome is a size, or the class of an error.
    """

    def __init__(self, sslobj):
        self._sslobj = sslobj
        self.asked = []
        self.outcomes = []

    def __getattr__(self, name):
        return getattr(self._sslobj, name)

    def read(self, size, buffer=None):
        self.asked.append(size)
        try:
            result = self._sslobj.read(size, buffer)
        except ssl.SSLError as exc:
            self.outcomes.append(type(exc))
            raise
        self.outcomes.append(len(result) if buffer is None else result)
        return result


class ReadPendingTests(TLSTestCase):

    async def begin(self, factory, version=None):
        self.transport, self.peer = await self.connect_tls(
            factory, version=version)
        self.protocol = self.transport.get_protocol()
        # TLS 1.3's session tickets come with it.
        await self.receive(b"first")
        layer = self.transport._ssl_protocol
        layer._sslobj = self.counted = _Counted(layer._sslobj)

    async def receive(self, *pieces):
        """Send a record of each at once, and wait for them."""
        expected = len(self.protocol.data) + sum(map(len, pieces))
        await self.peer.send(b"".join(map(self.peer.seal, pieces)))
        async with asyncio.timeout(GUARD):
            while len(self.protocol.data) < expected:
                await asyncio.sleep(0)

    @for_each(factory=PROTOCOLS, version=VERSIONS)
    async def test_one_read_for_a_record(self, factory, version):
        await self.begin(factory, version)
        for size in 1, 99, 10:
            await self.receive(bytes(size))
        self.assertEqual(self.counted.outcomes, [1, 99, 10])

    @for_each(factory=PROTOCOLS)
    async def test_one_read_for_each_of_several(self, factory):
        await self.begin(factory)
        await self.receive(bytes(20), bytes(30), bytes(40))
        self.assertEqual(self.counted.outcomes, [20, 30, 40])

    async def test_memory_for_one_record(self):
        await self.begin(Recorder)
        await self.receive(b"short", *[bytes(2 ** 14)] * 3)
        self.assertEqual(set(self.counted.asked), {2 ** 14})
        self.assertEqual(set(self.counted.outcomes) - {ssl.SSLWantReadError},
                         {5, 2 ** 14})

    async def test_rest_of_a_record_that_the_buffer_had_no_room_for(self):
        await self.begin(BufferedRecorder)
        data = bytes(range(250))
        await self.receive(data)
        self.assertEqual(self.counted.outcomes, [100, 100, 50])
        self.assertEqual(self.protocol.data, b"first" + data)

    async def test_rest_of_a_record_that_nothing_can_take(self):
        class Once(BufferedRecorder):
            next_buffer = bytearray(5)

            def buffer_updated(self, nbytes):
                super().buffer_updated(nbytes)
                self.buffer = self.next_buffer

        await self.begin(Once)
        self.protocol.next_buffer = b""
        await self.peer.write(b"ten bytes.")
        async with asyncio.timeout(GUARD):
            error = await self.protocol.lost
        self.assertRegex(str(error), "empty buffer")
        self.assertEqual(self.protocol.data, b"firstten b")
        self.assertEqual([report["exception"] for report in
                          self.take_reports()], [error])

    @for_each(factory=PROTOCOLS)
    async def test_record_that_comes_in_two_pieces(self, factory):
        await self.begin(factory)
        sealed = self.peer.seal(b"two pieces")
        for piece in sealed[:9], sealed[9:]:
            await self.peer.send(piece)
            for _ in range(5):
                await asyncio.sleep(0)
        self.assertEqual(self.counted.outcomes, [ssl.SSLWantReadError, 10])
        self.assertEqual(self.protocol.data, b"firsttwo pieces")

    @for_each(factory=PROTOCOLS)
    async def test_end_that_comes_with_the_data(self, factory):
        await self.begin(factory)
        await self.peer.send(self.peer.seal(b"last") + self.peer.close_notify())
        await self.protocol.lost
        self.assertEqual(self.counted.outcomes[:2], [4, 0])
        self.assertEqual(self.protocol.data, b"firstlast")
        self.assertEqual(self.protocol.calls, ["made", "eof", "lost"])


if __name__ == "__main__":
    unittest.main()
