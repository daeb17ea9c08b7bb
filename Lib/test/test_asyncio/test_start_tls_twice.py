"""A transport is upgraded by one start_tls() at a time."""

import asyncio
import unittest
from unittest import mock

from test.test_asyncio.tls_support import (
    GUARD, TLSTestCase, client_context, for_each, server_context)


def tearDownModule():
    asyncio.set_event_loop_policy(None)


class StartTLSTwiceTests(TLSTestCase):

    async def begin(self, layers):
        connect = self.connect_tls if layers else self.connect
        self.transport, self.peer = await connect()
        self.protocol = self.transport.get_protocol()

    def start_tls(self):
        return asyncio.get_running_loop().start_tls(
            self.transport, self.protocol, client_context())

    async def answer(self):
        self.peer.add_layer(server_context(), server_side=True)
        await self.peer.handshake()

    async def check_second_is_refused(self):
        with self.assertRaisesRegex(RuntimeError, "upgraded to TLS already"):
            await self.start_tls()

    @for_each(layers=(0, 1))
    async def test_second_upgrade_leaves_the_first_alone(self, layers):
        await self.begin(layers)
        async with self.doing(self.start_tls()) as upgrade:
            await asyncio.sleep(0)
            await self.check_second_is_refused()
            await self.answer()
            upgraded = await upgrade
        upgraded.write(b"over TLS")
        self.assertEqual(await self.peer.read(), b"over TLS")

    @for_each(layers=(0, 1))
    async def test_transport_below_an_upgraded_one_is_not_upgraded(self, layers):
        await self.begin(layers)
        async with self.doing(self.start_tls()) as upgrade:
            await self.answer()
            await upgrade
        await self.check_second_is_refused()
        await self.peer.write(b"over TLS")
        while self.protocol.data != b"over TLS":
            await asyncio.sleep(0)

    @for_each(layers=(0, 1))
    async def test_second_upgrade_of_a_closing_transport_is_none(self, layers):
        await self.begin(layers)
        async with self.doing(self.start_tls()) as upgrade:
            await self.answer()
            await upgrade
        self.transport.abort()
        self.assertIsNone(await self.start_tls())

    @for_each(error=(AssertionError, NotImplementedError))
    async def test_transport_that_has_no_protocol_yet_is_upgraded(self, error):
        # As one of another library can be.
        await self.begin(0)
        with mock.patch.object(self.transport, "get_protocol",
                               side_effect=error):
            async with self.doing(self.start_tls()) as upgrade:
                await self.answer()
                upgraded = await upgrade
        upgraded.write(b"over TLS")
        self.assertEqual(await self.peer.read(), b"over TLS")

    async def test_second_upgrade_of_a_stream_leaves_the_first_alone(self):
        reader, writer, self.peer = await self.connect_streams()
        async with self.doing(writer.start_tls(client_context())) as upgrade:
            await asyncio.sleep(0)
            with self.assertRaisesRegex(RuntimeError, "already"):
                await writer.start_tls(client_context())
            await self.answer()
            await upgrade
        await self.peer.write(b"over TLS")
        async with asyncio.timeout(GUARD):
            self.assertEqual(await reader.readexactly(8), b"over TLS")


if __name__ == "__main__":
    unittest.main()
