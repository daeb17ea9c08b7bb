"""close() in a renegotiation of TLS 1.2 waits with what cannot be sent yet."""

import asyncio
import ssl
import unittest

from test.test_asyncio.tls_support import GUARD, VERSIONS, TLSTestCase, for_each


def tearDownModule():
    asyncio.set_event_loop_policy(None)


TLS12, _ = VERSIONS


class _Renegotiating:
    """What openssl's object does until it has read what ends it."""

    def __init__(self, tls):
        self._tls = tls
        self.over = False

    def read(self, *args):
        data = self._tls.read(*args)
        self.over = self.over or bool(data)
        return data

    def __getattr__(self, name):
        return getattr(self._tls, name)

    def write(self, data):
        if not self.over:
            raise ssl.SSLWantReadError
        return self._tls.write(data)

    def unwrap(self):
        if not self.over:
            exc = ssl.SSLError(1, "[SSL: SHUTDOWN_WHILE_IN_INIT]")
            exc.reason = "SHUTDOWN_WHILE_IN_INIT"
            raise exc
        return self._tls.unwrap()


class RenegotiationTests(TLSTestCase):

    async def begin(self, **options):
        self.transport, self.peer = await self.connect_tls(
            version=TLS12, **options)
        self.protocol = self.transport.get_protocol()
        layer = self.transport._ssl_protocol
        self.tls = layer._sslobj = _Renegotiating(layer._sslobj)

    async def check_lost(self, expected):
        async with asyncio.timeout(GUARD):
            self.assertIs(type(await self.protocol.lost), expected)

    async def end(self):
        """Have the peer send what stands for the end of the renegotiation."""
        await self.peer.write(b"its Finished")

    @for_each(written=(b"", b"held up"))
    async def test_close_waits_for_the_end_of_it(self, written):
        await self.begin()
        self.transport.write(written)
        self.transport.close()
        for _ in range(3):
            await asyncio.sleep(0)
        self.assertFalse(self.protocol.lost.done())
        await self.end()
        self.assertEqual(await self.peer.read_all(), written)
        await self.peer.send(self.peer.close_notify())
        await self.check_lost(type(None))

    @for_each(written=(b"", b"held up"))
    async def test_peer_that_never_ends_it_is_given_up(self, written):
        await self.begin(ssl_shutdown_timeout=0.01)
        self.transport.write(written)
        self.transport.close()
        await self.check_lost(TimeoutError)

    @for_each(written=(b"", b"held up"), notifies=(False, True),
              closes=(False, True))
    async def test_peer_may_close_in_the_middle(
            self, written, notifies, closes):
        await self.begin()
        if written:
            self.transport.write(written)
        if closes:
            self.transport.close()
        if notifies:
            await self.peer.send(self.peer.close_notify())
        self.peer.shutdown()
        await self.check_lost(
            ConnectionResetError if written else type(None))

    async def test_open_connection_sends_what_was_held_up(self):
        await self.begin()
        self.transport.write(b"held up")
        await self.end()
        self.assertEqual(await self.peer.read(), b"held up")
        self.assertEqual(self.protocol.data, b"its Finished")


if __name__ == "__main__":
    unittest.main()
