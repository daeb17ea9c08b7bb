"""A TLS transport is a transport until the end, however often it is closed."""

import asyncio
import unittest
import weakref

from test.test_asyncio.tls_support import (
    GUARD, Recorder, TLSTestCase, client_context)


def tearDownModule():
    asyncio.set_event_loop_policy(None)


class CloseTwiceTests(TLSTestCase):

    def use(self, transport):
        """Call what may be called of a closed transport."""
        transport.close()
        self.assertTrue(transport.is_closing())
        self.assertIsNotNone(transport.get_extra_info("cipher"))
        self.assertEqual(transport.get_extra_info("nothing", 7), 7)
        self.assertEqual(transport.get_write_buffer_size(), 0)
        self.assertIs(type(transport.get_write_buffer_limits()), tuple)
        self.assertIs(type(transport.get_read_buffer_limits()), tuple)
        transport.get_read_buffer_size()
        transport.get_protocol()
        transport.is_reading()
        transport.pause_reading()
        transport.resume_reading()
        transport.write(b"dropped")
        transport.writelines([b"dropped"])

    async def lost(self, protocol):
        async with asyncio.timeout(GUARD):
            return await protocol.lost

    async def test_while_it_closes(self):
        transport, peer = await self.connect_tls()
        protocol = transport.get_protocol()
        transport.close()
        self.use(transport)
        await peer.send(peer.close_notify())
        self.assertIsNone(await self.lost(protocol))

    async def test_when_it_is_closed(self):
        transport, peer = await self.connect_tls()
        protocol = transport.get_protocol()
        transport.close()
        await peer.send(peer.close_notify())
        await self.lost(protocol)
        self.use(transport)
        transport.abort()
        await asyncio.sleep(0)
        self.assertEqual(protocol.calls.count("lost"), 1)

    async def test_kept_transport_does_not_keep_the_context(self):
        context = client_context()
        transport, peer = await self.connect(
            Recorder, ssl=context, server_hostname="localhost")
        protocol = transport.get_protocol()
        context = weakref.ref(context)
        transport.close()
        await peer.send(peer.close_notify())
        await self.lost(protocol)
        self.assertIs(transport.get_extra_info("sslcontext"), context())
        transport.close()
        self.assertIsNone(transport.get_extra_info("sslcontext"))
        self.assertIsNone(context())

    async def test_abort_after_two_closes(self):
        transport, peer = await self.connect_tls()
        protocol = transport.get_protocol()
        transport.close()
        transport.close()
        transport.abort()
        self.assertIsNone(await self.lost(protocol))


if __name__ == "__main__":
    unittest.main()
