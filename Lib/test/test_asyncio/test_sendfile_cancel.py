"""sendfile() that is cancelled early leaves a usable transport (gh-157025)."""

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


class _Receiver(asyncio.Protocol):

    def __init__(self):
        self.received = asyncio.get_running_loop().create_future()

    def data_received(self, data):
        self.received.set_result(data)


@unittest.skipUnless(hasattr(os, 'sendfile'), 'needs os.sendfile()')
class SelectorSendfileCancelTests(LeakCheckMixin,
                                  unittest.IsolatedAsyncioTestCase):

    async def asyncSetUp(self):
        self.loop = asyncio.get_running_loop()
        self.errors = []
        self.loop.set_exception_handler(
            lambda loop, context: self.errors.append(context))
        ours, self.peer = socket.socketpair()
        self.addCleanup(self.peer.close)
        self.peer.setblocking(False)
        self.transport, self.protocol = await self.loop.create_connection(
            _Receiver, sock=ours)
        self.file = self.enterContext(tempfile.TemporaryFile())
        self.file.write(b'file')
        self.file.seek(0)

    async def asyncTearDown(self):
        self.transport.abort()
        await asyncio.sleep(0)
        self.assertEqual(self.errors, [])

    async def cancel_while_flushing(self):
        """Cancel sendfile() behind a full buffer; return its length."""
        length = 0
        while not self.transport.get_write_buffer_size():
            self.transport.write(bytes(65536))
            length += 65536
        sending = asyncio.create_task(
            self.loop.sendfile(self.transport, self.file))
        await asyncio.sleep(0)
        self.assertIsNotNone(self.transport._empty_waiter)
        sending.cancel()
        await asyncio.wait([sending])
        self.assertTrue(sending.cancelled())
        return length

    async def receive(self, length):
        chunks = []
        while length:
            chunks.append(await self.loop.sock_recv(self.peer, length))
            length -= len(chunks[-1])
        return b''.join(chunks)

    async def test_transport_can_write_again(self):
        length = await self.cancel_while_flushing()
        self.transport.write(b'more')
        data = await self.receive(length + 4)
        self.assertEqual(data[length:], b'more')

    async def test_transport_reads_again(self):
        await self.cancel_while_flushing()
        self.assertTrue(self.transport.is_reading())
        await self.loop.sock_sendall(self.peer, b'ping')
        self.assertEqual(await self.protocol.received, b'ping')

    async def test_paused_transport_stays_paused(self):
        self.transport.pause_reading()
        await self.cancel_while_flushing()
        self.assertFalse(self.transport.is_reading())

    async def test_loop_guards_the_socket_again(self):
        await self.cancel_while_flushing()
        fd = self.transport.get_extra_info('socket').fileno()
        with self.assertRaisesRegex(RuntimeError, 'is used by transport'):
            self.loop.add_reader(fd, print)

    async def test_file_can_be_sent_afterwards(self):
        length = await self.cancel_while_flushing()
        receiving = asyncio.create_task(self.receive(length + 4))
        self.assertEqual(
            await self.loop.sendfile(self.transport, self.file), 4)
        self.assertEqual((await receiving)[length:], b'file')


class ProactorSendfileCancelTests(LeakCheckMixin,
                                  unittest.IsolatedAsyncioTestCase):

    async def cancel_while_flushing(self, transport):
        transport._make_empty_waiter.return_value = (
            asyncio.get_running_loop().create_future())
        loop = mock.Mock(spec=proactor_events.BaseProactorEventLoop)
        sending = asyncio.create_task(
            proactor_events.BaseProactorEventLoop._sendfile_native(
                loop, transport, None, 0, None))
        await asyncio.sleep(0)
        sending.cancel()
        await asyncio.wait([sending])
        self.assertTrue(sending.cancelled())
        loop.sock_sendfile.assert_not_called()

    async def test_transport_is_restored(self):
        transport = mock.Mock()
        transport.is_reading.return_value = True
        await self.cancel_while_flushing(transport)
        transport._reset_empty_waiter.assert_called_once_with()
        transport.resume_reading.assert_called_once_with()

    async def test_paused_transport_stays_paused(self):
        transport = mock.Mock()
        transport.is_reading.return_value = False
        await self.cancel_while_flushing(transport)
        transport._reset_empty_waiter.assert_called_once_with()
        transport.resume_reading.assert_not_called()


if __name__ == '__main__':
    unittest.main()
