"""The end of what is sent, on a connection that the peer has reset."""

import asyncio
import contextlib
import errno
import os
import socket
import struct
import unittest

GUARD = 10      # seconds, against hanging


def tearDownModule():
    asyncio.set_event_loop_policy(None)


class Protocol(asyncio.Protocol):

    def __init__(self):
        self.lost = asyncio.get_running_loop().create_future()

    def connection_lost(self, exc):
        self.lost.set_result(exc)


class LostInShutdown:
    """A socket whose peer resets the connection after the last send()."""

    def __init__(self, sock):
        self._sock = sock

    def __getattr__(self, name):
        return getattr(self._sock, name)

    def shutdown(self, how):
        raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                    struct.pack("ii", 1, 0))
    sock.close()


def read_to_the_end(sock):
    with contextlib.suppress(ConnectionResetError):
        while sock.recv(2 ** 16):
            pass


class WriteEofLostTests(unittest.IsolatedAsyncioTestCase):

    async def asyncSetUp(self):
        self.loop = asyncio.get_running_loop()

    async def connect(self, loop):
        """Return a transport, its protocol, and the peer's socket."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            transport, protocol = await loop.create_connection(
                Protocol, *server.getsockname())
            peer, _ = server.accept()
        peer.settimeout(GUARD)
        self.addCleanup(peer.close)
        self.addCleanup(transport.abort)
        return transport, protocol, peer

    async def lost(self, protocol):
        async with asyncio.timeout(GUARD):
            return await protocol.lost

    async def test_protocol_is_told_that_its_connection_is_lost(self):
        transport, protocol, peer = await self.connect(self.loop)
        # Nobody else can tell it.
        transport.pause_reading()
        reset(peer)
        with self.assertNoLogs("asyncio"):
            transport.write_eof()
            self.assertTrue(transport.is_closing())
            self.assertIsInstance(await self.lost(protocol), OSError)

    async def flushed_and_lost(self, loop):
        """Send what is left; return the error that the protocol is told."""
        transport, protocol, peer = await self.connect(loop)
        while not transport.get_write_buffer_size():
            transport.write(bytes(2 ** 16))
        transport.write_eof()
        transport._sock = LostInShutdown(transport._sock)
        await asyncio.to_thread(read_to_the_end, peer)
        return await self.lost(protocol)

    async def test_it_is_told_when_what_was_written_before_is_sent(self):
        with self.assertNoLogs("asyncio"):
            self.assertIsInstance(await self.flushed_and_lost(self.loop),
                                  OSError)

    async def test_it_is_no_failure_of_a_supervisor(self):
        async with self.loop.create_supervisor() as sup:
            self.assertIsInstance(await self.flushed_and_lost(sup), OSError)


if __name__ == "__main__":
    unittest.main()
