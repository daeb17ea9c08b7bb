"""sendfile() cancelled when the last of the buffer is sent does no harm."""

import asyncio
import os
import socket
import tempfile
import unittest
from asyncio import proactor_events
from test.test_asyncio.loop_support import LeakCheckMixin
from unittest import mock


def tearDownModule():
    asyncio.set_event_loop_policy(None)


@unittest.skipUnless(hasattr(os, 'sendfile'), 'needs os.sendfile()')
class SendfileWaiterTests(LeakCheckMixin, unittest.IsolatedAsyncioTestCase):

    async def asyncSetUp(self):
        self.loop = asyncio.get_running_loop()
        self.errors = []
        self.loop.set_exception_handler(
            lambda loop, context: self.errors.append(context))
        ours, self.peer = socket.socketpair()
        self.addCleanup(self.peer.close)
        self.peer.setblocking(False)
        self.protocol = mock.Mock()
        self.transport, _ = await self.loop.create_connection(
            lambda: self.protocol, sock=ours)
        self.file = self.enterContext(tempfile.TemporaryFile())
        self.file.write(b'file')

    async def asyncTearDown(self):
        await asyncio.sleep(0)

    def make_writable(self):
        try:
            while True:
                self.peer.recv(65536)
        except BlockingIOError:
            pass

    def start_behind_a_full_buffer(self):
        while not self.transport.get_write_buffer_size():
            self.transport.write(bytes(4096))
        return asyncio.create_task(
            self.loop.sendfile(self.transport, self.file))

    async def cancel_behind_a_full_buffer(self, meanwhile):
        sending = self.start_behind_a_full_buffer()
        await asyncio.sleep(0)
        meanwhile()
        sending.cancel()
        await asyncio.wait([sending])
        self.assertTrue(sending.cancelled())
        await asyncio.sleep(0)

    async def cancel_when_the_buffer_is_sent(self, meanwhile=lambda: None):
        sending = self.start_behind_a_full_buffer()
        await asyncio.sleep(0)
        self.make_writable()
        meanwhile()
        # Runs in the pass of the loop that sends the rest, just before.
        self.loop.call_soon(sending.cancel)
        await asyncio.wait([sending])
        self.assertTrue(sending.cancelled())
        self.assertEqual(self.transport.get_write_buffer_size(), 0)

    async def test_no_error_is_reported(self):
        await self.cancel_when_the_buffer_is_sent()
        self.assertEqual(self.errors, [])
        self.transport.write(b'more')
        self.transport.abort()

    async def test_transport_that_is_closing_ends(self):
        await self.cancel_when_the_buffer_is_sent(self.transport.close)
        self.protocol.connection_lost.assert_called_once_with(None)
        self.assertEqual(self.errors, [])

    async def test_transport_that_is_aborted_ends(self):
        await self.cancel_behind_a_full_buffer(self.transport.abort)
        self.protocol.connection_lost.assert_called_once_with(None)
        self.assertEqual(self.errors, [])

    async def test_transport_that_cannot_write_ends(self):
        sending = self.start_behind_a_full_buffer()
        await asyncio.sleep(0)
        self.peer.close()
        # Runs in the pass of the loop that fails to write, just before.
        self.loop.call_soon(sending.cancel)
        await asyncio.wait([sending])
        self.assertTrue(sending.cancelled())
        await asyncio.sleep(0)
        error, = self.protocol.connection_lost.call_args.args
        self.assertIsInstance(error, OSError)
        self.assertEqual(self.errors, [])

    async def start_fallback(self):
        """Start a transfer without the system call, up to its first wait."""
        self.file.truncate(4 * 1024 * 1024)
        sending = asyncio.create_task(self.loop._sendfile_fallback(
            self.transport, self.file, 0, None))
        while not self.transport._protocol_paused:
            await asyncio.sleep(0.001)
        fallback = self.transport.get_protocol()
        while not fallback._write_ready_fut._callbacks:
            await asyncio.sleep(0)
        return sending, fallback

    async def test_fallback_of_an_aborted_transport(self):
        sending, _ = await self.start_fallback()
        self.transport.abort()
        sending.cancel()
        await asyncio.wait([sending])
        self.assertTrue(sending.cancelled())
        await asyncio.sleep(0)
        self.protocol.connection_lost.assert_called_once_with(None)
        self.assertEqual(self.errors, [])

    async def test_fallback_cancelled_as_the_transport_resumes(self):
        sending, fallback = await self.start_fallback()
        while self.transport.get_write_buffer_size():
            self.make_writable()
            # What a task does in the pass of the loop that sends.
            sending.cancel()
            self.transport._write_ready()
        self.assertIsNone(fallback._write_ready_fut)
        await asyncio.wait([sending])
        self.assertTrue(sending.cancelled())
        self.assertEqual(self.errors, [])
        self.transport.abort()


class SendfileWaiterWithoutSendmsgTests(SendfileWaiterTests):
    """As on a platform that has only socket.send()."""

    async def asyncSetUp(self):
        await super().asyncSetUp()
        self.transport._write_ready = self.transport._write_send


class ProactorSendfileWaiterTests(LeakCheckMixin,
                                  unittest.IsolatedAsyncioTestCase):

    async def asyncSetUp(self):
        running = asyncio.get_running_loop()
        self.errors = []
        running.set_exception_handler(
            lambda loop, context: self.errors.append(context))
        self.written = running.create_future()
        loop = mock.Mock(create_future=running.create_future,
                         call_soon=running.call_soon)
        loop.get_debug.return_value = False
        loop._proactor.recv_into.return_value = running.create_future()
        loop._proactor.send.return_value = self.written
        self.protocol = mock.Mock(asyncio.Protocol)
        self.transport = proactor_events._ProactorSocketTransport(
            loop, mock.Mock(socket.socket), self.protocol)
        self.transport.write(b'data')
        self.waiter = self.transport._make_empty_waiter()

    async def send_all(self):
        self.written.set_result(4)
        for _ in range(3):
            await asyncio.sleep(0)
        self.assertIsNone(self.transport._write_fut)

    async def test_waiter_is_woken(self):
        self.assertFalse(self.waiter.done())
        await self.send_all()
        self.assertTrue(self.waiter.done())
        self.transport.abort()

    async def test_no_error_is_reported(self):
        # What cancelling sendfile() does, in the pass that ends the write.
        self.waiter.cancel()
        await self.send_all()
        self.assertEqual(self.errors, [])
        self.transport.abort()

    async def test_transport_that_is_closing_ends(self):
        self.transport.close()
        self.waiter.cancel()
        await self.send_all()
        self.assertEqual(self.errors, [])
        self.protocol.connection_lost.assert_called_once_with(None)


if __name__ == '__main__':
    unittest.main()
