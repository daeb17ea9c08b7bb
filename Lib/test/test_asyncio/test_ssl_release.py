"""What a closed connection over TLS leaves in memory."""

import asyncio
import gc
import socket
import ssl
import unittest
import weakref

from test.test_asyncio.tls_support import (
    GUARD, BufferedRecorder, Recorder, TLSTestCase, client_context, for_each,
    server_context)


def tearDownModule():
    asyncio.set_event_loop_policy(None)


class _Plain(asyncio.Protocol):
    """Keeps neither its transport nor an exception."""


class ReleaseTests(TLSTestCase):

    def setUp(self):
        super().setUp()
        # What only the collector frees, is not freed.
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)

    async def lost_connection(self, factory, layers):
        """Return the innermost transport of a connection that was lost."""
        transport, peer = await self.connect_tls(factory)
        protocol = transport.get_protocol()
        for _ in range(layers - 1):
            async with self.doing(asyncio.get_running_loop().start_tls(
                    transport, protocol, client_context())) as upgrade:
                peer.add_layer(server_context(), server_side=True)
                await peer.handshake()
                transport = protocol.transport = await upgrade
        await peer.send(peer.close_notify())
        peer.shutdown()
        async with asyncio.timeout(GUARD):
            await protocol.lost
        await asyncio.sleep(0)
        return transport

    async def test_limits_of_a_lost_transport_can_be_set(self):
        transport, peer = await self.connect_tls()
        transport.set_read_buffer_limits(10)
        transport.pause_reading()
        await peer.send(peer.seal(bytes(1000)))
        async with asyncio.timeout(GUARD):
            while transport._ssl_protocol._transport.is_reading():
                await asyncio.sleep(0)
        transport.abort()
        async with asyncio.timeout(GUARD):
            await transport.get_protocol().lost
        transport.set_read_buffer_limits(5000)

    @for_each(factory=(Recorder, BufferedRecorder), layers=(1, 2))
    async def test_protocol_and_transport_are_no_cycle(self, factory, layers):
        transport = await self.lost_connection(factory, layers)
        layer = weakref.ref(transport._ssl_protocol)
        del transport
        self.assertIsNone(layer())

    @for_each(factory=(Recorder, BufferedRecorder))
    async def test_kept_transport_keeps_neither_protocol_nor_buffers(
            self, factory):
        protocols = weakref.WeakSet()

        def remembered():
            protocol = factory()
            protocols.add(protocol)
            return protocol

        transport = await self.lost_connection(remembered, layers=1)
        self.assertEqual(len(protocols), 0)
        layer = transport._ssl_protocol
        held = [layer._ssl_buffer, layer._ssl_buffer_view, layer._write_backlog]
        self.assertEqual([len(buffer) for buffer in held], [0, 0, 0])
        self.assertEqual(layer._incoming.pending + layer._outgoing.pending, 0)

    async def test_kept_transport_keeps_nothing_that_was_not_read(self):
        transport, peer = await self.connect_tls()
        layer = transport._ssl_protocol
        transport.pause_reading()
        await peer.write(bytes(1000))
        async with asyncio.timeout(GUARD):
            while not layer._incoming.pending:
                await asyncio.sleep(0)
            transport.abort()
            await transport.get_protocol().lost
        self.assertEqual(layer._incoming.pending, 0)

    async def test_failed_start_tls_leaves_nothing(self):
        transport, peer = await self.connect(_Plain)
        upgrade = asyncio.create_task(asyncio.get_running_loop().start_tls(
            transport, transport.get_protocol(), client_context()))
        await peer.recv()
        layer = weakref.ref(transport.get_protocol())
        await peer.send(b"this is no TLS record")
        await asyncio.wait([upgrade])
        # Not assertRaises(), which clears the frames of the traceback.
        self.assertIsInstance(upgrade.exception(), ssl.SSLError)
        del upgrade
        await asyncio.sleep(0)
        self.assertIsNone(layer())

    async def test_failed_create_connection_leaves_nothing(self):
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        made = []
        connecting = asyncio.create_task(
            asyncio.get_running_loop().create_connection(
                lambda: made.append(1) or _Plain(), sock=ours, ssl=client_context(),
                server_hostname="localhost"))
        theirs.send(b"this is no TLS record")
        await asyncio.wait([connecting])
        self.assertIsInstance(connecting.exception(), ssl.SSLError)
        del connecting
        for _ in range(3):
            await asyncio.sleep(0)
        self.assertEqual([found for found in gc.get_objects()
                          if type(found) is _Plain], [])
        self.assertEqual(made, [1])

    async def test_socket_error_in_the_handshake_keeps_nothing(self):
        ours, theirs = socket.socketpair()
        theirs.close()
        with self.assertRaises(OSError) as caught:
            await asyncio.get_running_loop().create_connection(
                _Plain, sock=ours, ssl=client_context(),
                server_hostname="localhost")
        self.assertIsNone(caught.exception.__context__)

    async def test_socket_error_in_the_shutdown_keeps_nothing(self):
        transport, peer = await self.connect_tls()
        peer.sock.close()
        transport.close()
        exc = await transport.get_protocol().lost
        self.assertIsInstance(exc, OSError)
        self.assertIsNone(exc.__context__)

    async def test_what_is_held_up_is_sent_by_a_close(self):
        transport, peer = await self.connect_tls()
        # As a renegotiation does.
        transport._test__append_write_backlog(b"held up")
        transport.close()
        self.assertEqual(await peer.read_all(), b"held up")
        transport.abort()

    async def test_failure_to_send_what_is_held_up_ends_the_connection(self):
        transport, peer = await self.connect_tls()
        transport._test__append_write_backlog("no bytes")
        transport.close()
        async with asyncio.timeout(GUARD):
            self.assertIsInstance(
                await transport.get_protocol().lost, TypeError)
        [report] = self.take_reports()
        self.assertIsInstance(report["exception"], TypeError)

    @for_each(tls=(False, True))
    async def test_aborted_transport_is_no_cycle(self, tls):
        connect = self.connect_tls if tls else self.connect
        transport, peer = await connect(_Plain)
        if tls:
            transport = transport._ssl_protocol._transport
        transport.abort()
        for _ in range(3):
            await asyncio.sleep(0)
        transport = weakref.ref(transport)
        self.assertIsNone(transport())


if __name__ == "__main__":
    unittest.main()
