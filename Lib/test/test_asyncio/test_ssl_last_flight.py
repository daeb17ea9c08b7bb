"""The end of the handshake is sent whatever the protocol does."""

import asyncio
import socket
import unittest

from test.test_asyncio.tls_support import (
    GUARD, VERSIONS, BufferedRecorder, Recorder, TLSPeer, TLSTestCase,
    client_context, for_each, server_context)


def tearDownModule():
    asyncio.set_event_loop_policy(None)


class _PausesWhenMade:

    def connection_made(self, transport):
        super().connection_made(transport)
        transport.pause_reading()


class _Pausing(_PausesWhenMade, Recorder):
    pass


class _PausingBuffered(_PausesWhenMade, BufferedRecorder):
    pass


class LastFlightTests(TLSTestCase):

    def connecting(self, factory, sock, version, server_side):
        loop = asyncio.get_running_loop()
        if server_side:
            return loop.connect_accepted_socket(
                factory, sock, ssl=server_context(version))
        return loop.create_connection(
            factory, sock=sock, ssl=client_context(version),
            server_hostname="localhost")

    @for_each(factory=(_Pausing, _PausingBuffered), version=VERSIONS,
              server_side=(False, True))
    async def test_protocol_that_pauses_reading_when_it_is_made(
            self, factory, version, server_side):
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        peer = TLSPeer(theirs)
        async with self.doing(self.connecting(
                factory, ours, version, server_side)) as connecting:
            await peer.start_tls(
                (client_context if server_side else server_context)(version),
                server_side=not server_side)
            transport, protocol = await connecting
        await peer.write(b"for later")
        for _ in range(3):
            await asyncio.sleep(0)
        self.assertEqual(protocol.data, b"")
        transport.resume_reading()
        async with asyncio.timeout(GUARD):
            while protocol.data != b"for later":
                await asyncio.sleep(0)
        transport.abort()


if __name__ == "__main__":
    unittest.main()
