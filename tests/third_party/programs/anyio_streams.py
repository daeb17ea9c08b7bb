"""anyio's groups, scopes, streams, TLS, threads and processes."""

import ssl
import sys
from pathlib import Path

import anyio
import anyio.to_thread
import uvloop
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.tls import TLSListener, TLSStream


async def main(folder):
    await _tls(folder)
    await _channel()
    await _scopes()
    await _groups()
    assert await anyio.to_thread.run_sync(sum, [1, 2, 3]) == 6
    done = await anyio.run_process(
        [sys.executable, "-c", "print(input()[::-1])"], input=b"overlay\n")
    assert done.stdout == b"yalrevo\n"
    print("all done")


async def _tls(folder):
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    client = ssl.create_default_context(cafile=folder / "authority.pem")
    tcp = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = tcp.extra(anyio.abc.SocketAttribute.local_port)
    listener = TLSListener(tcp, server)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, _count_lines)
        plain = await anyio.connect_tcp("127.0.0.1", port)
        async with await TLSStream.wrap(
                plain, hostname="localhost", ssl_context=client) as stream:
            await stream.send(b"first\nsecond\n")
            reader = BufferedByteReceiveStream(stream)
            assert await reader.receive_until(b"\n", 100) == b"1 first"
            assert await reader.receive_until(b"\n", 100) == b"2 second"
        group.cancel_scope.cancel()


async def _count_lines(stream):
    async with stream:
        reader = BufferedByteReceiveStream(stream)
        for number in (1, 2):
            line = await reader.receive_until(b"\n", 100)
            await stream.send(b"%d %s\n" % (number, line))
        # Until the client has closed, which TLS tells it in both directions.
        try:
            await reader.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            pass


async def _channel():
    send, receive = anyio.create_memory_object_stream[int](3)
    seen = []

    async def consume(stream):
        async with stream:
            async for item in stream:
                seen.append(item)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(consume, receive.clone())
        receive.close()
        async with send:
            for item in range(100):
                await send.send(item)
    assert sorted(seen) == list(range(100))


async def _scopes():
    cleaned = []
    with anyio.move_on_after(0.05) as outer:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.01)
                cleaned.append("shielded")
    assert outer.cancelled_caught and cleaned == ["shielded"]
    try:
        with anyio.fail_after(0.05):
            await anyio.Event().wait()
    except TimeoutError:
        pass
    else:
        raise AssertionError("fail_after() did not fail")


async def _groups():
    ended = []

    async def wait(task_status):
        task_status.started("ready")
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("sibling")

    try:
        async with anyio.create_task_group() as group:
            assert await group.start(_named(wait)) == "ready"
            raise ValueError("body")
    except* ValueError as errors:
        assert [str(error) for error in errors.exceptions] == ["body"]
    assert ended == ["sibling"]


def _named(function):
    async def start(*, task_status=anyio.TASK_STATUS_IGNORED):
        await function(task_status)
    return start


if __name__ == "__main__":
    factory = {"asyncio": None, "uvloop": uvloop.new_event_loop}[sys.argv[1]]
    anyio.run(main, Path(sys.argv[2]),
              backend_options={"loop_factory": factory})
