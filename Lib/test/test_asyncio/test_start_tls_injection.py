"""Nothing that came in clear is taken for what comes over TLS."""

import asyncio
import ssl
import unittest
from unittest import mock

from test.support.warnings_helper import check_no_resource_warning
from test.test_asyncio.tls_support import (
    GUARD, Recorder, TLSTestCase, client_context, for_each, server_context)


def tearDownModule():
    asyncio.set_event_loop_policy(None)


GO_AHEAD = b"220 ready\r\n"
INJECTED = b"250 injected\r\n"


def every_second(data):
    """Return a view of *data* that is not contiguous."""
    spread = bytearray(2 * len(data))
    spread[::2] = data
    return memoryview(spread)[::2]


class _OtherLoop:
    """One whose start_tls() has the parameters that it has on stock."""

    async def start_tls(self, transport, protocol, sslcontext, *,
                        server_side=False, server_hostname=None,
                        ssl_handshake_timeout=None, ssl_shutdown_timeout=None):
        raise AssertionError("called")


class StreamTests(TLSTestCase):

    async def test_client_does_not_read_what_was_injected(self):
        reader, writer, peer = await self.connect_streams()
        await peer.send(GO_AHEAD + INJECTED)
        self.assertEqual(await reader.readline(), GO_AHEAD)
        with self.assertRaises(ssl.SSLError):
            await writer.start_tls(client_context())
        with self.assertRaises(ssl.SSLError):
            await reader.readline()

    async def test_client_of_two_layers_does_not_read_what_was_injected(self):
        reader, writer, peer = await self.connect_streams()
        async with self.doing(writer.start_tls(client_context())) as upgrade:
            peer.add_layer(server_context(), server_side=True)
            await peer.handshake()
            await upgrade
        await peer.write(GO_AHEAD + INJECTED)
        self.assertEqual(await reader.readline(), GO_AHEAD)
        with self.assertRaises(ssl.SSLError):
            await writer.start_tls(client_context())
        with self.assertRaises(ssl.SSLError):
            await reader.readline()

    async def test_other_loop_that_cannot_take_the_bytes_is_refused(self):
        reader, writer, peer = await self.connect_streams()
        await peer.send(GO_AHEAD + INJECTED)
        self.assertEqual(await reader.readline(), GO_AHEAD)
        with mock.patch.object(writer, "_loop", _OtherLoop()):
            with self.assertRaisesRegex(RuntimeError, "unread bytes"):
                await writer.start_tls(client_context())
        # Nothing has changed.
        self.assertEqual(await reader.readline(), INJECTED)
        peer.shutdown()
        self.assertEqual(await reader.read(), b"")
        writer.write(b"still open")
        self.assertEqual(await peer.recv(), b"still open")

    async def test_refused_upgrade_leaves_the_bytes_in_the_reader(self):
        reader, writer, peer = await self.connect_streams()
        await peer.send(GO_AHEAD + INJECTED)
        self.assertEqual(await reader.readline(), GO_AHEAD)
        with self.assertRaises(TypeError):
            await writer.start_tls(None)
        self.assertEqual(await reader.readline(), INJECTED)

    async def test_refused_upgrade_leaves_a_full_reader_reading(self):
        reader, writer, peer = await self.connect_streams(limit=100)
        sending = asyncio.create_task(peer.send(bytes(10 ** 6)))
        while writer.transport.is_reading():
            await asyncio.sleep(0)
        with self.assertRaises(TypeError):
            await writer.start_tls(None)
        async with asyncio.timeout(GUARD):
            self.assertEqual(await reader.readexactly(10 ** 6), bytes(10 ** 6))
            await sending

    async def test_other_loop_is_asked_if_nothing_is_unread(self):
        _, writer, _ = await self.connect_streams()
        with mock.patch.object(writer, "_loop", _OtherLoop()):
            with self.assertRaisesRegex(AssertionError, "called"):
                await writer.start_tls(client_context())

    async def test_transport_need_not_tell_its_protocol(self):
        reader, writer, peer = await self.connect_streams(server_side=True)
        await peer.send(GO_AHEAD + peer.add_layer(client_context()))
        self.assertEqual(await reader.readline(), GO_AHEAD)
        with mock.patch.object(writer.transport, "get_protocol",
                               side_effect=NotImplementedError):
            async with self.doing(
                    writer.start_tls(server_context())) as upgrade:
                await peer.handshake()
                await upgrade

    async def test_reader_of_the_protocol_that_is_replaced_is_emptied(self):
        reader, writer, peer = await self.connect_streams(server_side=True)
        hello = peer.add_layer(client_context())
        await peer.send(GO_AHEAD + hello)
        self.assertEqual(await reader.readline(), GO_AHEAD)
        async with self.doing(asyncio.get_running_loop().start_tls(
                writer.transport, Recorder(), server_context(),
                server_side=True)) as upgrade:
            await peer.handshake()
            transport = await upgrade
        transport.abort()

    @for_each(read=("read", "readline", "readuntil", "readexactly"))
    async def test_read_that_waits_gets_the_first_bytes_over_tls(self, read):
        reader, writer, peer = await self.connect_streams(server_side=True)
        reading = asyncio.create_task(getattr(reader, read)(
            *{"read": [100], "readexactly": [9]}.get(read, [])))
        await asyncio.sleep(0)
        async with self.doing(writer.start_tls(server_context())) as upgrade:
            # Wakes the reading task, which runs after that of the upgrade.
            reader.feed_data(peer.add_layer(client_context()))
            await peer.handshake()
            await upgrade
        await peer.write(b"over TLS\n")
        async with asyncio.timeout(GUARD):
            self.assertEqual(await reading, b"over TLS\n")


class ProtocolTests(TLSTestCase):

    async def start_tls(self, transport, context, **options):
        self.upgraded = await asyncio.get_running_loop().start_tls(
            transport, transport.get_protocol(), context, **options)

    async def check_upgrade(self, transport, peer, buffered_data):
        async with self.doing(self.start_tls(
                transport, server_context(), server_side=True,
                buffered_data=buffered_data)) as upgrade:
            await peer.handshake()
            await upgrade

    async def test_buffered_data_goes_into_the_handshake(self):
        for kind in bytes, bytearray, memoryview, every_second:
            with self.subTest(kind.__name__):
                transport, peer = await self.connect()
                hello = peer.add_layer(client_context())
                await self.check_upgrade(transport, peer, kind(hello))

    async def test_buffered_data_comes_before_what_is_received(self):
        transport, peer = await self.connect()
        hello = peer.add_layer(client_context())
        await peer.send(hello[100:])
        await self.check_upgrade(transport, peer, hello[:100])

    async def test_buffered_data_comes_before_what_a_reader_has(self):
        _, writer, peer = await self.connect_streams(server_side=True)
        hello = peer.add_layer(client_context())
        writer.transport.get_protocol().data_received(hello[100:])
        await self.check_upgrade(writer.transport, peer, hello[:100])

    async def test_buffered_data_that_is_no_tls_fails_the_handshake(self):
        for side, context in ("client", client_context()), (
                "server", server_context()):
            with self.subTest(side):
                transport, peer = await self.connect()
                protocol = transport.get_protocol()
                with self.assertRaises(ssl.SSLError) as caught:
                    await self.start_tls(
                        transport, context, server_side=side == "server",
                        buffered_data=INJECTED)
                self.assertIs(await protocol.lost, caught.exception)
                self.assertEqual(protocol.data, b"")

    async def test_buffered_data_of_a_wrong_type_changes_nothing(self):
        transport, peer = await self.connect()
        # No layer has been made, either.
        for wrong in "220 ready", 5:
            with check_no_resource_warning(self), self.assertRaises(TypeError):
                await self.start_tls(transport, client_context(),
                                     buffered_data=wrong)
        await peer.send(b"in clear")
        while not transport.get_protocol().data:
            await asyncio.sleep(0)
        self.assertEqual(transport.get_protocol().data, b"in clear")


if __name__ == "__main__":
    unittest.main()
