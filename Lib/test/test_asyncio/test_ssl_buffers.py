"""What kinds of buffers a BufferedProtocol over TLS may have."""

import array
import asyncio
import mmap
import socket
import ssl
import unittest

from test.test_asyncio.tls_support import (
    GUARD, BufferedRecorder, Recorder, TLSPeer, TLSTestCase, client_context,
    for_each, server_context)
from test.test_asyncio.utils import SIGNED_CERTFILE, SIGNING_CA


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


class _AsksAtOnce:
    """Asks for the certificate of the client, when it has connected."""

    def connection_made(self, transport):
        super().connection_made(transport)
        self.tls = transport.get_extra_info("ssl_object")
        self.tls.verify_client_post_handshake()


class _AsksInAPause:
    """Asks for it while reading is paused."""

    def connection_made(self, transport):
        super().connection_made(transport)
        self.tls = transport.get_extra_info("ssl_object")
        transport.pause_reading()
        asyncio.get_running_loop().call_soon(self.resume)

    def resume(self):
        self.tls.verify_client_post_handshake()
        self.transport.resume_reading()


class OwedTests(TLSTestCase):
    """What the layer owes its peer is sent though nothing has come."""

    async def connect_client(self, factory):
        context = server_context(ssl.TLSVersion.TLSv1_3)
        context.load_verify_locations(SIGNING_CA)
        context.verify_mode = ssl.CERT_OPTIONAL
        context.post_handshake_auth = True
        its_context = client_context(ssl.TLSVersion.TLSv1_3)
        its_context.load_cert_chain(SIGNED_CERTFILE)
        its_context.post_handshake_auth = True
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        peer = TLSPeer(theirs)
        async with self.doing(
                asyncio.get_running_loop().connect_accepted_socket(
                    factory, ours, ssl=context)) as connecting:
            await peer.start_tls(its_context)
        transport, protocol = await connecting
        self.addCleanup(transport.abort)
        return protocol, peer

    async def answer(self, peer):
        """Take what the server asks for, and answer."""
        reading = asyncio.create_task(peer.read())
        while not (answer := peer.seal()):
            await asyncio.sleep(0)
        await peer.send(answer)
        return reading

    @for_each(kind=(Recorder, BufferedRecorder),
              asks=(_AsksAtOnce, _AsksInAPause))
    async def test_request_for_a_certificate(self, kind, asks):
        protocol, peer = await self.connect_client(type("", (asks, kind), {}))
        reading = await self.answer(peer)
        await peer.write(b"data")
        while not protocol.data:
            await asyncio.sleep(0)
        self.assertTrue(protocol.tls.getpeercert())
        protocol.transport.abort()
        await protocol.lost
        self.assertEqual(await reading, b"")


if __name__ == "__main__":
    unittest.main()
