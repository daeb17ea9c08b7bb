"""A connection that ends during start_tls() is lost, once, for its protocol."""

import asyncio
import contextlib
import ssl
import socket
import unittest
from unittest import mock

from test.test_asyncio.tls_support import (
    GUARD, Recorder, TLSTestCase, client_context, for_each, server_context)


def tearDownModule():
    asyncio.set_event_loop_policy(None)


class ProtocolTests(TLSTestCase):
    """loop.start_tls() on a socket, and inside of a layer of TLS."""

    async def begin(self, layers=0):
        connect = self.connect_tls if layers else self.connect
        self.transport, self.peer = await connect()
        self.protocol = self.transport.get_protocol()

    def start_tls(self, **options):
        return asyncio.get_running_loop().start_tls(
            self.transport, self.protocol, client_context(), **options)

    async def begun(self, **options):
        """Return the task of a start_tls() whose hello has arrived."""
        upgrade = asyncio.create_task(self.start_tls(**options))
        await self.peer.read()
        return upgrade

    async def result_of(self, upgrade):
        async with asyncio.timeout(GUARD):
            await asyncio.wait([upgrade])
        return upgrade

    async def check_lost(self, expected):
        async with asyncio.timeout(GUARD):
            exc = await self.protocol.lost
        self.assertIs(type(exc), expected)
        self.assertEqual(self.protocol.calls[-1], "lost")

    @for_each(layers=(0, 1))
    async def test_handshake_that_takes_too_long(self, layers):
        await self.begin(layers)
        with self.assertRaises(ConnectionAbortedError):
            await self.start_tls(ssl_handshake_timeout=0.01)
        await self.check_lost(ConnectionAbortedError)

    @for_each(layers=(0, 1))
    async def test_handshake_that_fails(self, layers):
        await self.begin(layers)
        upgrade = await self.begun()
        await self.peer.write(b"this is no TLS record")
        with self.assertRaises(ssl.SSLError):
            await upgrade
        await self.check_lost(ssl.SSLError)

    @for_each(layers=(0, 1))
    async def test_end_of_file(self, layers):
        await self.begin(layers)
        upgrade = await self.begun()
        self.peer.shutdown()
        with self.assertRaises(ConnectionResetError):
            await upgrade
        await self.check_lost(ConnectionResetError)

    @for_each(layers=(0, 1))
    async def test_reset(self, layers):
        await self.begin(layers)
        upgrade = asyncio.create_task(self.start_tls())
        while self.protocol is self.transport.get_protocol():
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        # With the hello unread, closing resets the connection.
        self.peer.sock.close()
        with self.assertRaises(ConnectionResetError):
            await upgrade
        await self.check_lost(ConnectionResetError)

    @for_each(layers=(0, 1), passes=range(6))
    async def test_cancelled_after_any_pass_of_the_loop(self, layers, passes):
        await self.begin(layers)
        upgrade = asyncio.create_task(self.start_tls())
        for _ in range(passes):
            await asyncio.sleep(0)
        upgrade.cancel()
        await self.result_of(upgrade)
        self.assertTrue(upgrade.cancelled())
        if passes:
            await self.check_lost(type(None))

    async def test_cancelled_on_a_transport_that_cannot_abort(self):
        await self.begin()
        upgrade = await self.begun()
        with mock.patch.object(self.transport, "abort",
                               side_effect=NotImplementedError):
            upgrade.cancel()
            await self.result_of(upgrade)
        self.assertTrue(upgrade.cancelled())
        await self.check_lost(type(None))

    @for_each(layers=(0, 1))
    async def test_cancelled_behind_clear_text_that_nobody_reads(self, layers):
        await self.begin(layers)
        while "pause" not in self.protocol.calls:
            self.transport.write(bytes(2 ** 20))
        upgrade = asyncio.create_task(self.start_tls())
        await asyncio.sleep(0)
        upgrade.cancel()
        await self.result_of(upgrade)
        await self.check_lost(type(None))

    @for_each(layers=(0, 1))
    async def test_aborted(self, layers):
        await self.begin(layers)
        upgrade = await self.begun()
        self.transport.abort()
        self.assertIsNone(await upgrade)
        await self.check_lost(type(None))

    async def test_closed(self):
        await self.begin()
        upgrade = await self.begun()
        self.transport.close()
        self.assertIsNone(await upgrade)
        await self.check_lost(type(None))

    @for_each(layers=(0, 1))
    async def test_closed_before(self, layers):
        await self.begin(layers)
        self.transport.close()
        self.assertIsNone(await self.start_tls())
        if layers:
            await self.peer.send(self.peer.close_notify())
        await self.check_lost(type(None))

    @for_each(layers=(0, 1))
    async def test_lost_before(self, layers):
        await self.begin(layers)
        self.transport.abort()
        await self.check_lost(type(None))
        self.assertIsNone(await self.start_tls())

    async def test_closed_and_sent_before_the_handshake_begins(self):
        await self.begin()
        while not self.transport.get_write_buffer_size():
            self.transport.write(bytes(1000))
        with contextlib.suppress(BlockingIOError):
            while self.peer.sock.recv(2 ** 20):
                pass
        # In one pass of the loop; then the last bytes of the clear text go.
        upgrade = asyncio.create_task(self.start_tls())
        asyncio.get_running_loop().call_soon(self.transport.close)
        self.assertIsNone(await upgrade)
        await self.check_lost(type(None))

    async def test_lost_twice_is_told_once(self):
        # As by a transport of another library.
        await self.begin()
        upgrade = await self.begun()
        layer = self.transport.get_protocol()
        self.transport.abort()
        await self.result_of(upgrade)
        layer.connection_lost(None)
        await self.check_lost(type(None))


class NewProtocolTests(TLSTestCase):
    """A protocol that the transport has not had before."""

    async def begin(self, **options):
        self.transport, self.peer = await self.connect()
        self.protocol = Recorder()
        self.upgrade = asyncio.create_task(
            asyncio.get_running_loop().start_tls(
                self.transport, self.protocol, client_context(), **options))
        await self.peer.recv()

    async def check_told_nothing(self, expected):
        with self.assertRaises(expected):
            await self.upgrade
        for _ in range(5):
            await asyncio.sleep(0)
        self.assertEqual(self.protocol.calls, [])

    async def test_handshake_that_takes_too_long(self):
        await self.begin(ssl_handshake_timeout=0.01)
        await self.check_told_nothing(ConnectionAbortedError)

    async def test_handshake_that_fails(self):
        await self.begin()
        await self.peer.send(b"this is no TLS record")
        await self.check_told_nothing(ssl.SSLError)

    async def test_end_of_file(self):
        await self.begin()
        self.peer.shutdown()
        await self.check_told_nothing(ConnectionResetError)

    async def test_cancelled(self):
        await self.begin()
        self.upgrade.cancel()
        await self.check_told_nothing(asyncio.CancelledError)

    async def test_lost_after_the_handshake(self):
        transport, peer = await self.connect()
        protocol = Recorder()
        async with self.doing(asyncio.get_running_loop().start_tls(
                transport, protocol, client_context())) as upgrade:
            peer.add_layer(server_context(), server_side=True)
            await peer.handshake()
            await upgrade
        transport.abort()
        self.assertIsNone(await protocol.lost)
        self.assertEqual(protocol.calls, ["lost"])


class ConnectionTests(TLSTestCase):

    async def test_protocol_that_was_never_connected_is_told_nothing(self):
        ours, theirs = socket.socketpair()
        with theirs:
            protocols = []

            def factory():
                protocols.append(mock.Mock(asyncio.Protocol))
                return protocols[-1]

            with self.assertRaises(ConnectionAbortedError):
                await asyncio.get_running_loop().create_connection(
                    factory, sock=ours, ssl=client_context(),
                    server_hostname="localhost", ssl_handshake_timeout=0.01)
            await asyncio.sleep(0)
        self.assertEqual(protocols[0].mock_calls, [])


class StreamTests(TLSTestCase):

    async def check_closed(self, writer):
        writer.close()
        async with asyncio.timeout(GUARD):
            await writer.wait_closed()

    async def test_wait_closed_ends_after_a_timeout_of_the_handshake(self):
        _, writer, _ = await self.connect_streams()
        with self.assertRaises(ConnectionAbortedError):
            await writer.start_tls(client_context(),
                                   ssl_handshake_timeout=0.01)
        with self.assertRaises(ConnectionAbortedError):
            await self.check_closed(writer)

    async def test_wait_closed_ends_after_a_cancellation(self):
        _, writer, peer = await self.connect_streams()
        upgrade = asyncio.create_task(writer.start_tls(client_context()))
        await peer.recv()
        upgrade.cancel()
        await asyncio.wait([upgrade])
        await self.check_closed(writer)

    async def test_cancelled_before_it_begins_changes_nothing(self):
        reader, writer, peer = await self.connect_streams()
        writer.write(bytes(2 ** 22))
        upgrade = asyncio.create_task(writer.start_tls(client_context()))
        for _ in range(3):
            await asyncio.sleep(0)
        # It waits for the clear text to be sent.
        upgrade.cancel()
        await asyncio.wait([upgrade])
        self.assertFalse(writer.is_closing())
        await peer.send(b"in clear")
        self.assertEqual(await reader.read(100), b"in clear")

    async def test_closed_meanwhile_is_an_error(self):
        _, writer, peer = await self.connect_streams()
        upgrade = asyncio.create_task(writer.start_tls(client_context()))
        await peer.recv()
        await self.check_closed(writer)
        with self.assertRaises(ConnectionResetError):
            await upgrade


if __name__ == "__main__":
    unittest.main()
