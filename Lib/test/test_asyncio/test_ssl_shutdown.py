"""How long a closing TLS transport waits, and for what."""

import asyncio
import contextlib
import functools
import os
import socket
import sys
import unittest
from unittest import mock

from test.support import socket_helper
from test.test_asyncio.tls_support import (
    GUARD, VERSIONS, TLSTestCase, client_context, for_each,
    server_context, slow_tcp_pair)


def tearDownModule():
    asyncio.set_event_loop_policy(None)


TLS12, TLS13 = VERSIONS
# More than the buffers of a socket pair and the layers take.
WRITTEN = bytes(range(256)) * 4 * 1024
HOSTS = ["127.0.0.1"] + socket_helper.IPV6_ENABLED * ["::1"]
# Seconds that no test waits for, and few enough to be waited for.
NEVER, SOON = 3600, 0.01


class ShutdownTests(TLSTestCase):

    async def begin(self, version, layers=1, *, timeout=NEVER, silence=NEVER,
                    outermost=None, **options):
        self.enterContext(mock.patch(
            "asyncio.constants.SSL_SILENCE_TIMEOUT", silence, create=True))
        loop = asyncio.get_running_loop()
        self.transport, self.peer = await self.connect_tls(
            version=outermost or version, ssl_shutdown_timeout=timeout,
            **options)
        self.protocol = self.transport.get_protocol()
        for _ in range(layers - 1):
            async with self.doing(loop.start_tls(
                    self.transport, self.protocol, client_context(version),
                    ssl_shutdown_timeout=timeout)) as upgrade:
                self.peer.add_layer(server_context(), server_side=True)
                await self.peer.handshake()
                self.transport = await upgrade

    async def check_lost(self, expected=type(None)):
        async with asyncio.timeout(GUARD):
            self.assertIs(type(await self.protocol.lost), expected)

    def answer(self):
        return b"".join(self.peer.close_notify(depth=depth)
                        for depth in range(len(self.peer.layers), 0, -1))

    @for_each(layers=(1, 2, 3))
    async def test_silent_peer_need_not_answer_in_tls_1_3(self, layers):
        await self.begin(TLS13, layers, silence=SOON)
        self.transport.write(b"last words")
        self.transport.close()
        await self.check_lost()
        self.assertEqual(await self.peer.read_all(), b"last words")

    async def test_transport_without_write_limits_is_closed(self):
        # A transport of someone's own need not have them.
        await self.begin(TLS13, silence=SOON)
        below = self.transport._ssl_protocol._transport
        with mock.patch.object(below, "set_write_buffer_limits",
                               side_effect=NotImplementedError):
            self.transport.write(b"last words")
            self.transport.close()
        await self.check_lost()
        self.assertEqual(await self.peer.read_all(), b"last words")

    @for_each(layers=(1, 2))
    async def test_silent_peer_has_its_time_to_answer(self, layers):
        await self.begin(TLS13, layers)
        self.transport.close()
        self.assertEqual(await self.peer.read(), b"")
        self.assertFalse(self.protocol.lost.done())
        await self.peer.send(self.answer())
        await self.check_lost()
        self.assertEqual(self.protocol.calls, ["made", "eof", "lost"])

    @for_each(timeout=(NEVER, 3 * SOON), silence=(NEVER, SOON),
              answers=(False, True))
    async def test_inner_layers_times_are_over_when_it_has_ended(
            self, timeout, silence, answers):
        if not answers and NEVER in (timeout, silence):
            return
        await self.begin(TLS13, 2, timeout=timeout, silence=silence,
                         outermost=TLS12)
        outer = self.transport._ssl_protocol._transport._ssl_protocol
        outer._ssl_shutdown_timeout = NEVER
        self.transport.close()
        if answers:
            await self.peer.send(self.peer.close_notify())
        while self.transport._ssl_protocol._state.name == "SHUTDOWN":
            await asyncio.sleep(0)
        await asyncio.sleep(6 * SOON)
        self.assertFalse(self.protocol.lost.done())
        await self.peer.send(self.peer.close_notify(depth=1))
        await self.check_lost()

    async def test_peer_that_sends_is_listened_to(self):
        await self.begin(TLS13)
        self.transport.close()
        layer = self.transport._ssl_protocol
        limit = layer._shutdown_timeout_handle
        for _ in range(3):
            timer = layer._silence_handle
            self.assertFalse(timer.cancelled())
            await self.peer.write(b"still sending")
            while layer._silence_handle is timer:
                await asyncio.sleep(0)
            self.assertTrue(timer.cancelled())
        # The limit is for all of it.
        self.assertIs(layer._shutdown_timeout_handle, limit)
        self.assertFalse(limit.cancelled())
        await self.peer.send(self.answer())
        await self.check_lost()
        self.assertEqual(self.protocol.data, b"")

    async def test_peer_that_sends_for_ever_is_left_in_time(self):
        await self.begin(TLS13, timeout=SOON)
        self.transport.close()
        while not self.protocol.lost.done():
            with contextlib.suppress(ConnectionError):
                await self.peer.write(b"still sending")
            await asyncio.sleep(0)
        await self.check_lost()

    @unittest.skipUnless(sys.platform == "linux",
                         "the kernel must tell what has arrived")
    @for_each(layers=(1, 2), host=HOSTS)
    async def test_silent_peer_may_take_its_time_to_read(self, layers, host):
        await self.begin(TLS13, layers, silence=SOON,
                         sockets=functools.partial(slow_tcp_pair, host))
        written = WRITTEN[:100_000]
        self.transport.write(written)
        self.transport.close()
        below = self.transport._ssl_protocol._transport
        self.assertEqual(below.get_write_buffer_size(), 0)
        layer = self.transport._ssl_protocol
        for _ in range(3):
            timer = layer._silence_handle
            while layer._silence_handle is timer:
                await asyncio.sleep(0)
        self.assertFalse(self.protocol.lost.done())
        # Would reset the connection, were it closed.
        await self.peer.write(b"still there?")
        self.assertEqual(await self.peer.read_all(), written)
        await self.check_lost()

    @unittest.skipUnless(sys.platform == "linux",
                         "the kernel must tell what has arrived")
    async def test_peer_that_does_not_take_everything_is_given_up(self):
        await self.begin(TLS13, timeout=5 * SOON, silence=SOON,
                         sockets=slow_tcp_pair)
        self.transport.write(WRITTEN[:100_000])
        self.transport.close()
        await self.check_lost(TimeoutError)

    async def test_pause_of_the_transport_is_no_silence(self):
        # A transport of another library can pause for reasons of its own.
        await self.begin(TLS13, silence=SOON)
        self.transport.close()
        layer = self.transport._ssl_protocol
        layer.pause_writing()
        await asyncio.sleep(3 * SOON)
        self.assertFalse(self.protocol.lost.done())
        layer.resume_writing()
        await self.check_lost()

    @for_each(kind=("no socket", "closed", "no connection"))
    async def test_transport_of_which_the_kernel_knows_nothing(self, kind):
        await self.begin(TLS13, silence=SOON)
        below = self.transport._ssl_protocol._transport
        with open(os.devnull) as file:
            sock = None if kind == "no socket" else mock.Mock(
                family=socket.AF_INET)
            if sock is not None:
                sock.fileno.return_value = (
                    -1 if kind == "closed" else file.fileno())
            with mock.patch.dict(below._extra, socket=sock):
                self.transport.close()
                await self.check_lost()

    async def test_silent_peer_must_answer_in_tls_1_2(self):
        await self.begin(TLS12, timeout=SOON, silence=0)
        self.transport.close()
        await self.check_lost(TimeoutError)

    @for_each(version=VERSIONS, layers=(1, 2))
    async def test_peer_that_reads_nothing_is_given_up(self, version, layers):
        await self.begin(version, layers, timeout=SOON, silence=SOON)
        self.transport.write(WRITTEN)
        self.transport.close()
        await self.check_lost(TimeoutError)

    @for_each(version=VERSIONS, layers=(1, 2))
    async def test_peer_that_answers_and_reads_nothing_is_given_up(
            self, version, layers):
        await self.begin(version, layers, timeout=SOON, silence=SOON)
        self.transport.write(WRITTEN)
        self.transport.close()
        await self.peer.send(self.answer())
        await self.check_lost(TimeoutError)

    @for_each(version=VERSIONS, layers=(1, 2, 3),
              answer=("first", "with EOF", "last"))
    async def test_all_is_sent_whenever_the_peer_answers(
            self, version, layers, answer):
        await self.begin(version, layers)
        while "pause" not in self.protocol.calls:
            self.transport.write(WRITTEN)
        self.transport.write(b"the end")
        self.transport.close()
        if answer != "last":
            await self.peer.send(self.answer())
        if answer == "with EOF":
            self.peer.shutdown()
        async with asyncio.timeout(GUARD):
            data = await self.peer.read_all()
        self.assertEqual(data[-len(WRITTEN):], (WRITTEN + b"the end")[7:])
        if answer == "last":
            await self.peer.send(self.answer())
        await self.check_lost()

    @for_each(layers=(1, 2))
    async def test_silence_ends_no_connection_that_is_open(self, layers):
        await self.begin(TLS13, layers, silence=SOON)
        written = 0
        while "pause" not in self.protocol.calls:
            self.transport.write(WRITTEN)
            written += len(WRITTEN)
        while written:
            written -= len(await self.peer.read())
        async with asyncio.timeout(GUARD):
            while "resume" not in self.protocol.calls:
                await asyncio.sleep(0)
        layer = self.transport._ssl_protocol
        for _ in range(layers):
            self.assertIsNone(layer._silence_handle)
            layer = getattr(layer._transport, "_ssl_protocol", None)
        await asyncio.sleep(3 * SOON)
        self.assertEqual(self.protocol.calls, ["made", "pause", "resume"])

    async def test_lost_connection_leaves_no_timer(self):
        await self.begin(TLS13)
        layer = self.transport._ssl_protocol
        self.transport.close()
        self.assertIsNotNone(layer._silence_handle)
        self.assertIsNotNone(layer._shutdown_timeout_handle)
        self.transport.abort()
        await self.check_lost()
        self.assertIsNone(layer._silence_handle)
        self.assertIsNone(layer._shutdown_timeout_handle)


if __name__ == "__main__":
    unittest.main()
