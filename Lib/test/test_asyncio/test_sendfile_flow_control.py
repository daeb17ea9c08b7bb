"""A protocol knows after sendfile() whether its transport is paused."""

import asyncio
import io
import socket
import unittest
from asyncio.constants import _SendfileMode
from test.test_asyncio.loop_support import LeakCheckMixin


def tearDownModule():
    asyncio.set_event_loop_policy(None)


# More than the buffers of a socket pair take.
LARGE = bytes(4 * 1024 * 1024)


class _Recorder(asyncio.Protocol):

    def __init__(self):
        self.calls = []

    def pause_writing(self):
        self.calls.append('pause')

    def resume_writing(self):
        self.calls.append('resume')

    def connection_lost(self, exc):
        self.calls.append('lost')


class SendfileFlowControlTests(LeakCheckMixin,
                               unittest.IsolatedAsyncioTestCase):

    async def connect(self, factory):
        loop = asyncio.get_running_loop()
        ours, self.peer = socket.socketpair()
        self.peer.setblocking(False)
        self.addCleanup(self.peer.close)
        self.transport, self.protocol = await loop.create_connection(
            factory, sock=ours)
        # As for TLS; otherwise the buffer is waited for before the fallback.
        self.transport._sendfile_compatible = _SendfileMode.FALLBACK
        self.addCleanup(self.transport.abort)

    async def cancel_sendfile(self, file):
        """Cancel the transfer of *file* when it waits for the peer."""
        loop = asyncio.get_running_loop()
        sending = asyncio.create_task(loop.sendfile(self.transport, file))
        while not self.waits_for_the_peer():
            await asyncio.sleep(0)
        sending.cancel()
        await asyncio.wait([sending])
        self.assertTrue(sending.cancelled())

    def waits_for_the_peer(self):
        fallback = self.transport.get_protocol()
        waiter = getattr(fallback, '_write_ready_fut', None)
        return waiter is not None and bool(waiter._callbacks)

    async def drain_the_transport(self):
        loop = asyncio.get_running_loop()
        while self.transport.get_write_buffer_size():
            await loop.sock_recv(self.peer, len(LARGE))
            await asyncio.sleep(0)

    async def test_transfer_cut_short_pauses_the_protocol(self):
        await self.connect(_Recorder)
        await self.cancel_sendfile(io.BytesIO(LARGE))
        self.assertEqual(self.protocol.calls, ['pause'])
        await self.drain_the_transport()
        self.assertEqual(self.protocol.calls, ['pause', 'resume'])

    async def test_protocol_that_was_paused_stays_paused(self):
        await self.connect(_Recorder)
        self.transport.write(LARGE)
        self.assertEqual(self.protocol.calls, ['pause'])
        await self.cancel_sendfile(io.BytesIO(b'file'))
        self.assertEqual(self.protocol.calls, ['pause'])
        await self.drain_the_transport()
        self.assertEqual(self.protocol.calls, ['pause', 'resume'])

    async def test_whole_transfer_resumes_the_protocol(self):
        await self.connect(_Recorder)
        self.transport.write(LARGE)
        sending = asyncio.create_task(asyncio.get_running_loop().sendfile(
            self.transport, io.BytesIO(b'file')))
        await asyncio.sleep(0)
        await self.drain_the_transport()
        self.assertEqual(await sending, 4)
        await self.drain_the_transport()
        self.assertEqual(self.protocol.calls, ['pause', 'resume'])

    async def check_nothing_follows_the_loss(self, calls):
        sending = asyncio.create_task(asyncio.get_running_loop().sendfile(
            self.transport, io.BytesIO(LARGE)))
        while not self.waits_for_the_peer():
            await asyncio.sleep(0)
        self.peer.close()
        with self.assertRaises(OSError):
            await sending
        self.assertEqual(self.protocol.calls, calls)

    async def test_lost_connection_is_not_paused(self):
        await self.connect(_Recorder)
        await self.check_nothing_follows_the_loss(['lost'])

    async def test_lost_connection_is_not_resumed(self):
        await self.connect(_Recorder)
        self.transport.write(LARGE)
        await self.check_nothing_follows_the_loss(['pause', 'lost'])

    async def test_drain_waits_after_a_transfer_cut_short(self):
        loop = asyncio.get_running_loop()
        errors = []
        loop.set_exception_handler(
            lambda loop, context: errors.append(context['message']))
        reader = asyncio.StreamReader()
        await self.connect(lambda: asyncio.StreamReaderProtocol(reader))
        writer = asyncio.StreamWriter(
            self.transport, self.protocol, reader, loop)
        await self.cancel_sendfile(io.BytesIO(LARGE))
        draining = asyncio.create_task(writer.drain())
        await asyncio.sleep(0)
        self.assertFalse(draining.done())
        await self.drain_the_transport()
        await draining
        writer.close()
        self.assertEqual(errors, [])


if __name__ == '__main__':
    unittest.main()
