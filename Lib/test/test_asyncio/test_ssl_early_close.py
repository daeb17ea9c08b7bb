"""A TLS connection that is given up before its handshake is closed."""

import asyncio
import socket
import unittest

from test.test_asyncio.tls_support import (
    GUARD, Recorder, TLSTestCase, client_context, for_each, server_context)


def tearDownModule():
    asyncio.set_event_loop_policy(None)


class EarlyCloseTests(TLSTestCase):

    @for_each(passes=range(8), accepted=(False, True))
    async def test_cancelled_after_any_pass_of_the_loop(self, passes, accepted):
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        protocols = []

        def factory():
            protocols.append(Recorder())
            return protocols[-1]

        with theirs:
            if accepted:
                connecting = loop.connect_accepted_socket(
                    factory, ours, ssl=server_context())
            else:
                connecting = loop.create_connection(
                    factory, sock=ours, ssl=client_context(),
                    server_hostname="localhost")
            task = asyncio.create_task(connecting)
            for _ in range(passes):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            self.assertTrue(task.cancelled())
            if not passes:
                ours.close()    # The task had not begun.
            async with asyncio.timeout(GUARD):
                while await loop.sock_recv(theirs, 65536):
                    pass
        self.assertEqual([protocol.calls for protocol in protocols],
                         [[]] * len(protocols))

    @for_each(how=("close", "abort"))
    async def test_transport_closed_before_it_is_made(self, how):
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        protocol = Recorder()
        transport = loop._make_ssl_transport(
            ours, protocol, client_context(), loop.create_future())
        getattr(transport, how)()
        with theirs:
            self.assertEqual(await loop.sock_recv(theirs, 65536), b"")
        self.assertEqual(protocol.calls, [])


if __name__ == "__main__":
    unittest.main()
