"""What a server's stream has buffered at start_tls() goes into the handshake."""

import asyncio
import ssl
import unittest

from test.test_asyncio.tls_support import (
    TLSTestCase, client_context, server_context)


def tearDownModule():
    asyncio.set_event_loop_policy(None)


LINE = b"PROXY TCP4 192.0.2.1 192.0.2.2 40000 443\r\n"


class StartTLSBufferedTests(TLSTestCase):

    async def check_upgrade(self, reader, writer, peer):
        async with self.doing(writer.start_tls(server_context())) as upgrade:
            await peer.handshake()
            await upgrade
        await peer.write(b"over TLS\n")
        self.assertEqual(await reader.readline(), b"over TLS\n")
        writer.write(b"answer\n")
        self.assertEqual(await peer.read(), b"answer\n")

    async def test_hello_may_come_with_the_line_before_it(self):
        reader, writer, peer = await self.connect_streams(server_side=True)
        await peer.send(LINE + peer.add_layer(client_context()))
        self.assertEqual(await reader.readline(), LINE)
        await self.check_upgrade(reader, writer, peer)

    async def test_half_a_hello_is_completed_by_what_follows(self):
        reader, writer, peer = await self.connect_streams(server_side=True)
        hello = peer.add_layer(client_context())
        await peer.send(LINE + hello[:100])
        self.assertEqual(await reader.readline(), LINE)
        async with self.doing(writer.start_tls(server_context())) as upgrade:
            await asyncio.sleep(0)
            await peer.send(hello[100:])
            await peer.handshake()
            await upgrade

    async def test_reader_over_its_limit_goes_on(self):
        reader, writer, peer = await self.connect_streams(
            server_side=True, limit=len(LINE))
        await peer.send(LINE + peer.add_layer(client_context()))
        self.assertEqual(await reader.readline(), LINE)
        self.assertGreater(len(reader._buffer), 2 * len(LINE))
        self.assertFalse(writer.transport.is_reading())
        await self.check_upgrade(reader, writer, peer)

    async def test_hello_may_come_in_a_record_of_the_outer_layer(self):
        reader, writer, peer = await self.connect_streams(server_side=True)
        async with self.doing(writer.start_tls(server_context())) as upgrade:
            await peer.start_tls(client_context())
            await upgrade
        await peer.send(peer.seal(LINE) + peer.add_layer(client_context()))
        self.assertEqual(await reader.readline(), LINE)
        await self.check_upgrade(reader, writer, peer)

    async def test_what_is_no_tls_fails_the_handshake(self):
        reader, writer, peer = await self.connect_streams(server_side=True)
        await peer.send(LINE + b"in clear\r\n")
        self.assertEqual(await reader.readline(), LINE)
        with self.assertRaises(ssl.SSLError):
            await writer.start_tls(server_context())
        self.assertNotIn(b"in clear", await peer.recv())
        with self.assertRaises(ssl.SSLError):
            await reader.read()


if __name__ == "__main__":
    unittest.main()
