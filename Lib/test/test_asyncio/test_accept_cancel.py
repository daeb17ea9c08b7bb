"""A task that sets up an accepted connection ends cancelled if cancelled."""

import asyncio
import os
import socket
import unittest
from test import support
from test.support import socket_helper, warnings_helper
from test.test_asyncio.loop_support import LeakCheckMixin
from test.test_asyncio import utils as test_utils

try:
    import ssl
except ImportError:
    ssl = None


def tearDownModule():
    asyncio.set_event_loop_policy(None)


# More than the buffers of a connection take.
GREETING = bytes(8 * 1024 * 1024)


class _Protocol(asyncio.Protocol):

    def __init__(self):
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        transport.write(GREETING)

    def connection_lost(self, exc):
        self.lost.set_result(exc)


@unittest.skipIf(os.name == 'nt', 'the proactor accepts without a task')
class AcceptCancelTests(LeakCheckMixin, unittest.IsolatedAsyncioTestCase):

    def make_protocol(self):
        # Called in the task, just before it waits for the transport.
        self.accepting = asyncio.current_task()
        self.accepting.cancel()
        self.protocol = _Protocol()
        return self.protocol

    async def asyncSetUp(self):
        loop = asyncio.get_running_loop()
        loop.set_debug(True)
        self.errors = []
        loop.set_exception_handler(
            lambda loop, context: self.errors.append(context))
        self.accepting = None
        server = await loop.create_server(
            self.make_protocol, socket_helper.HOST, 0)
        self.addCleanup(server.close)
        self.client = socket.create_connection(
            server.sockets[0].getsockname())
        self.addCleanup(self.client.close)
        while self.accepting is None:
            await asyncio.sleep(0)
        await asyncio.wait([self.accepting])

    async def test_task_ends_cancelled(self):
        self.assertTrue(self.accepting.cancelled())

    async def test_cancellation_is_not_reported_as_an_error(self):
        self.assertEqual(self.errors, [])

    async def test_connection_is_closed_when_all_is_sent(self):
        loop = asyncio.get_running_loop()
        self.client.setblocking(False)
        received = 0
        while data := await loop.sock_recv(self.client, len(GREETING)):
            received += len(data)
        self.assertEqual(received, len(GREETING))
        await self.protocol.lost


@unittest.skipIf(os.name == 'nt', 'the proactor accepts without a task')
class AcceptCancelUnstartedTests(LeakCheckMixin, unittest.TestCase):
    """The task is cancelled before its first step."""

    def check_connection_is_closed(self, sslcontext=None,
                                   factory=asyncio.Protocol, end=None):
        async def main():
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda loop, context: None)
            server = await loop.create_server(
                factory, socket_helper.HOST, 0, ssl=sslcontext)
            self.addCleanup(server.close)
            client = socket.create_connection(
                server.sockets[0].getsockname())
            self.addCleanup(client.close)
            client.settimeout(support.LOOPBACK_TIMEOUT)
            if end is not None:
                await end.wait()
                await asyncio.sleep(0)
            # asyncio.run() cancels what is left.
            return client

        with warnings_helper.check_no_resource_warning(self):
            client = asyncio.run(main())
            support.gc_collect()
        try:
            self.assertEqual(client.recv(1), b'')
        except ConnectionResetError:
            pass  # Never accepted.

    def test_connection_is_closed(self):
        self.check_connection_is_closed()

    def test_connection_without_a_protocol_is_closed(self):
        def fail():
            end.set()
            raise OSError('no')
        end = asyncio.Event()
        self.check_connection_is_closed(factory=fail, end=end)

    @unittest.skipIf(ssl is None, 'no ssl module')
    def test_connection_for_tls_is_closed(self):
        self.check_connection_is_closed(
            test_utils.simple_server_sslcontext())

    @unittest.skipIf(ssl is None, 'no ssl module')
    def test_handshake_is_aborted(self):
        async def main():
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(
                lambda loop, context: errors.append(context))
            server = await loop.create_server(
                asyncio.Protocol, socket_helper.HOST, 0,
                ssl=test_utils.simple_server_sslcontext())
            self.addCleanup(server.close)
            client = socket.create_connection(
                server.sockets[0].getsockname())
            self.addCleanup(client.close)
            while not (accepting := asyncio.all_tasks()
                       - {asyncio.current_task()}):
                await asyncio.sleep(0)
            for _ in range(3):
                await asyncio.sleep(0)
            for task in accepting:
                task.cancel()
            await asyncio.wait(accepting)
            for _ in range(3):
                await asyncio.sleep(0)
            client.settimeout(support.LOOPBACK_TIMEOUT)
            self.assertEqual(client.recv(1), b'')

        errors = []
        with warnings_helper.check_no_resource_warning(self):
            asyncio.run(main(), debug=True)
            support.gc_collect()
        self.assertEqual(errors, [])


@unittest.skipIf(os.name == 'nt', 'the proactor accepts without a task')
class AcceptedTransportTests(LeakCheckMixin, unittest.TestCase):

    def test_transport_of_another_class_keeps_its_socket(self):
        class OwnExtra(asyncio.SelectorEventLoop):
            def _make_socket_transport(self, *args, extra=None, **kwargs):
                return super()._make_socket_transport(
                    *args, extra=dict(extra), **kwargs)

        class Echo(asyncio.Protocol):
            def connection_made(self, transport):
                self.transport = transport

            def data_received(self, data):
                self.transport.write(data)

        async def main():
            loop = asyncio.get_running_loop()
            server = await loop.create_server(Echo, socket_helper.HOST, 0)
            with socket.socket() as client:
                client.setblocking(False)
                await loop.sock_connect(
                    client, server.sockets[0].getsockname())
                for _ in range(3):
                    await loop.sock_sendall(client, b'ping')
                    self.assertEqual(await loop.sock_recv(client, 4), b'ping')
            server.close()
            await server.wait_closed()

        with asyncio.Runner(loop_factory=OwnExtra) as runner:
            self.watch_loop(runner.get_loop())
            runner.run(asyncio.wait_for(main(), support.SHORT_TIMEOUT))


@unittest.skipIf(os.name == 'nt', 'the proactor accepts without a task')
class ExitTests(LeakCheckMixin, unittest.TestCase):

    def test_a_factory_that_exits_leaves_no_socket(self):
        def factory():
            raise error

        async def main():
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(
                lambda loop, context: told.append(context))
            server = await loop.create_server(factory, socket_helper.HOST, 0)
            with socket.create_connection(server.sockets[0].getsockname()):
                try:
                    await asyncio.sleep(support.SHORT_TIMEOUT)
                finally:
                    server.close()

        for error in KeyboardInterrupt(), SystemExit():
            with self.subTest(error=error):
                told = []
                with (warnings_helper.check_no_resource_warning(self),
                      self.assertRaises(type(error)) as caught):
                    asyncio.run(main())
                self.assertIs(caught.exception, error)
                # It has come out of the loop, and is not told again.
                error = caught = None
                support.gc_collect()
                self.assertEqual(told, [])


if __name__ == '__main__':
    unittest.main()
