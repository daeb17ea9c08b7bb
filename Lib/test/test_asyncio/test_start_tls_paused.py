"""start_tls() on a transport that has paused its protocol."""

import asyncio
import unittest

from test.test_asyncio.tls_support import (
    GUARD, Recorder, TLSTestCase, client_context, server_context)


def tearDownModule():
    asyncio.set_event_loop_policy(None)


# More than the buffers of a socket pair take.
CHUNK = bytes(range(256)) * 8 * 1024


class StartTLSPausedTests(TLSTestCase):

    async def start_tls(self):
        self.upgraded = await asyncio.get_running_loop().start_tls(
            self.transport, self.protocol, client_context())

    async def pause(self, transport, peer):
        self.transport, self.peer = transport, peer
        self.protocol = transport.get_protocol()
        self.clear = bytearray()
        while "pause" not in self.protocol.calls:
            transport.write(CHUNK)
            self.clear += CHUNK

    async def read_the_clear_text(self):
        """Return it, with what else came in the last read."""
        data = bytearray()
        while len(data) < len(self.clear):
            data += await self.peer.read()
        return bytes(data)

    async def finish(self, hello=b""):
        self.peer.add_layer(server_context(), server_side=True)
        self.peer.feed(hello)
        await self.peer.handshake()

    async def check_upgrade(self):
        async with self.doing(self.start_tls()) as upgrade:
            await asyncio.sleep(0)
            data = await self.read_the_clear_text()
            self.assertEqual(self.protocol.calls, ["made", "pause"])
            await self.finish(data[len(self.clear):])
            await upgrade
        self.assertEqual(data[:len(self.clear)], self.clear)
        self.assertEqual(self.protocol.calls, ["made", "pause", "resume"])
        self.upgraded.write(b"over TLS")
        self.assertEqual(await self.peer.read(), b"over TLS")

    async def test_clear_text_comes_first_and_the_protocol_is_resumed(self):
        await self.pause(*await self.connect())
        await self.check_upgrade()

    async def test_inner_layer_waits_for_the_outer_ones_text(self):
        await self.pause(*await self.connect_tls())
        await self.check_upgrade()

    async def test_transport_may_resume_before_the_handshake_begins(self):
        await self.pause(*await self.connect())
        async with self.doing(self.start_tls()) as upgrade:
            # Runs after start_tls() has begun, and before the callback that
            # begins the handshake.
            asyncio.get_running_loop().call_soon(self.raise_the_limits)
            data = await self.read_the_clear_text()
            # What it wrote now would be in clear.
            self.assertEqual(self.protocol.calls, ["made", "pause"])
            await self.finish(data[len(self.clear):])
            await upgrade
        self.assertEqual(self.protocol.calls, ["made", "pause", "resume"])

    def raise_the_limits(self):
        self.transport.set_write_buffer_limits(
            high=10 * len(self.clear), low=5 * len(self.clear))
        self.transport._maybe_resume_protocol()

    async def test_protocol_that_was_not_paused_is_not_resumed(self):
        await self.pause(*await self.connect())
        paused, self.protocol = self.protocol, Recorder()
        async with self.doing(self.start_tls()) as upgrade:
            data = await self.read_the_clear_text()
            await self.finish(data[len(self.clear):])
            await upgrade
        self.assertEqual(self.protocol.calls, [])
        self.assertEqual(paused.calls, ["made", "pause"])
        self.upgraded.abort()

    async def test_flow_control_goes_on_over_tls(self):
        await self.pause(*await self.connect())
        await self.check_upgrade()
        written = 0
        while len(self.protocol.calls) == 3:
            self.upgraded.write(CHUNK)
            written += len(CHUNK)
        self.assertEqual(self.protocol.calls[3:], ["pause"])
        while written:
            written -= len(await self.peer.read())
        async with asyncio.timeout(GUARD):
            while len(self.protocol.calls) < 5:
                await asyncio.sleep(0)
        self.assertEqual(self.protocol.calls[3:], ["pause", "resume"])

    async def test_lost_while_paused_is_lost_once(self):
        await self.pause(*await self.connect())
        async with self.doing(self.start_tls()) as upgrade:
            await asyncio.sleep(0)
            self.peer.sock.close()
            with self.assertRaises(OSError):
                await upgrade
        await asyncio.sleep(0)
        self.assertEqual(self.protocol.calls[:2], ["made", "pause"])
        self.assertNotIn("resume", self.protocol.calls)

    async def test_resume_that_comes_after_the_loss_is_not_passed_on(self):
        await self.pause(*await self.connect())
        async with self.doing(self.start_tls()) as upgrade:
            await asyncio.sleep(0)
            layer = self.transport.get_protocol()
            self.transport.abort()
            await upgrade
        layer.resume_writing()
        self.assertNotIn("resume", self.protocol.calls)

    async def test_lost_protocol_is_not_paused(self):
        transport, _ = await self.connect_tls()
        protocol = transport.get_protocol()
        transport._test__append_write_backlog(b"never sent")
        transport.abort()
        await protocol.lost
        transport.set_write_buffer_limits(0)
        self.assertEqual(protocol.calls, ["made", "lost"])


if __name__ == "__main__":
    unittest.main()
