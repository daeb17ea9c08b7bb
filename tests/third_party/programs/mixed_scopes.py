"""Scopes together with the scopes and the timeouts of other libraries."""

import asyncio
import json

import aiohttp
import anyio


class CountingLoop(asyncio.SelectorEventLoop):
    passes = 0

    def _run_once(self):
        self.passes += 1
        super()._run_once()


async def in_a_cancelled_scope(wait):
    """Cut *wait* off; return whether the scope ended it, and the passes."""
    loop = asyncio.get_running_loop()
    before = loop.passes
    with asyncio.move_on_after(0.1) as scope:
        await wait
    return scope.cancelled_caught, loop.passes - before


async def for_half_a_second():
    await anyio.sleep(0.5)


async def for_a_thousand_passes():
    for _ in range(1000):
        await asyncio.sleep(0)


async def anyio_group_that_cleans_up(clean_up, cleaned):
    async def child():
        try:
            await anyio.sleep(60)
        finally:
            with anyio.CancelScope(shield=True):
                await clean_up()
                cleaned.append(clean_up.__name__)

    async with anyio.create_task_group() as group:
        group.start_soon(child)
        await anyio.sleep(60)


async def anyio_timeout(delay):
    with anyio.fail_after(delay):
        await anyio.sleep(60)


async def silent(reader, writer):
    await reader.read()
    writer.close()


async def aiohttp_timeout(session, url, delay):
    timeout = aiohttp.ClientTimeout(total=delay)
    async with session.get(url, timeout=timeout):
        pass


async def fires_in_a_shield(wait):
    """Return whether the timeout of *wait* fires, and the passes."""
    loop = asyncio.get_running_loop()
    before = loop.passes
    async with asyncio.shield():
        try:
            await wait
        except TimeoutError:
            return True, loop.passes - before
    return False, loop.passes - before


async def anyio_around_a_shield():
    """anyio asks again in each pass of the loop until the shield has ended."""
    finished = False
    with anyio.move_on_after(0.05) as outer:
        async with asyncio.shield():
            await asyncio.sleep(0.3)
            finished = True
        await asyncio.sleep(60)
    return outer.cancelled_caught, finished


async def edge_and_level(block, order):
    """Ask the task of *block* twice in one pass; return what has come of it.

    That is whether the task is cancelled, how many requests it has, and
    whether the scope has swallowed anything.
    """
    async def work():
        with scope:
            await block

    scope = asyncio.CancelScope()
    task = asyncio.create_task(work())
    await asyncio.sleep(0.01)
    asked = {"edge": task, "level": scope}
    for text in order:
        asked[text].cancel(text)
    await asyncio.wait([task])
    return task.cancelled(), task.cancelling(), scope.cancelled_caught


async def anyio_group():
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep, 60)
        await anyio.sleep(60)


async def main():
    said, cleaned = {}, []
    for clean_up in for_half_a_second, for_a_thousand_passes:
        said[clean_up.__name__] = await in_a_cancelled_scope(
            anyio_group_that_cleans_up(clean_up, cleaned))
    said["cleaned up"] = cleaned
    said["anyio timeout"] = await in_a_cancelled_scope(anyio_timeout(60))
    said["anyio timeout in a shield"] = await fires_in_a_shield(
        anyio_timeout(0.1))
    with anyio.move_on_after(0.1) as outer:
        with asyncio.CancelScope() as inner:
            await asyncio.sleep(60)
    said["inside of anyio's scope"] = (outer.cancelled_caught,
                                       inner.cancelled_caught)
    said["anyio around a shield"] = await anyio_around_a_shield()
    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    url = "http://127.0.0.1:%d/" % server.sockets[0].getsockname()[1]
    async with server, aiohttp.ClientSession() as session:
        said["aiohttp"] = await in_a_cancelled_scope(
            aiohttp_timeout(session, url, 60))
        blocks = {"anyio timeout": lambda: anyio_timeout(60),
                  "anyio group": anyio_group,
                  "aiohttp": lambda: aiohttp_timeout(session, url, 60)}
        said["edge and level"] = {
            f"{order} through {name}": await edge_and_level(
                block(), order.split(" before "))
            for name, block in blocks.items()
            for order in ("edge before level", "level before edge")}
        said["aiohttp timeout in a shield"] = await fires_in_a_shield(
            aiohttp_timeout(session, url, 0.1))
    said["requests left"] = asyncio.current_task().cancelling()
    return said


with asyncio.Runner(loop_factory=CountingLoop) as runner:
    print(json.dumps(runner.run(main())))
