"""The role that StreamWriter.start_tls() has is the caller's choice."""

import asyncio
import unittest

from test.test_asyncio.tls_support import (
    TLSTestCase, client_context, server_context)


def tearDownModule():
    asyncio.set_event_loop_policy(None)


class StartTLSServerSideTests(TLSTestCase):

    async def check(self, *, stream_of_server, server, **options):
        """Upgrade a stream, as the TLS server or as the client."""
        reader, writer, peer = await self.connect_streams(
            server_side=stream_of_server)
        ours, theirs = server_context(), client_context()
        if not server:
            ours, theirs = theirs, ours
        async with self.doing(writer.start_tls(ours, **options)) as upgrade:
            if server:
                await peer.start_tls(theirs)
            else:
                peer.add_layer(theirs, server_side=True)
                await peer.handshake()
            await upgrade
        tls = writer.get_extra_info("ssl_object")
        self.assertEqual(tls.server_side, server)
        await peer.write(b"to us\n")
        self.assertEqual(await reader.readline(), b"to us\n")

    async def test_default_is_the_streams_own_role(self):
        for server in False, True:
            for options in {}, {"server_side": None}:
                with self.subTest(server=server, options=options):
                    await self.check(stream_of_server=server, server=server,
                                     **options)

    async def test_either_stream_can_have_either_role(self):
        for stream_of_server in False, True:
            for server in False, True:
                with self.subTest(stream_of_server=stream_of_server,
                                  server=server):
                    await self.check(stream_of_server=stream_of_server,
                                     server=server, server_side=server)


if __name__ == "__main__":
    unittest.main()
