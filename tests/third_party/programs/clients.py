"""httpx and aiohttp against the ASGI application: clients.py LOOP URL [CA]."""

import asyncio
import json
import ssl
import sys

import aiohttp
import anyio
import httpx
import uvloop

BODY = bytes(range(256)) * 1024


async def main(url, context):
    async with httpx.AsyncClient(
            base_url=url, verify=context or True, trust_env=False) as client:
        await _httpx(client)
    connector = aiohttp.TCPConnector(ssl=context or True)
    async with aiohttp.ClientSession(url, connector=connector) as session:
        await _aiohttp(session)
    if context:
        await _unknown_authority(url)
    # Of the program's own; the clients close what they opened.
    assert len(asyncio.all_tasks()) == 1, asyncio.all_tasks()
    print(json.dumps({"loop": type(asyncio.get_running_loop()).__module__}))


async def _httpx(client):
    about = (await client.get("/")).raise_for_status().json()
    print(json.dumps(about))
    lengths = []

    async def post(number):
        response = await client.post("/echo", content=BODY[:number])
        assert response.content == BODY[:number]
        lengths.append(number)

    async with anyio.create_task_group() as group:
        for number in range(40):
            group.start_soon(post, number)
    assert sorted(lengths) == list(range(40))
    response = await client.post("/echo", content=_in_pieces())
    assert response.content == BODY
    with anyio.move_on_after(0.2) as scope:
        await client.get("/hang", timeout=None)
    assert scope.cancelled_caught
    try:
        await client.get("/hang", timeout=0.2)
    except httpx.ReadTimeout:
        pass
    else:
        raise AssertionError("httpx's timeout did not come")
    assert (await client.get("/")).json() == about


async def _in_pieces():
    for start in range(0, len(BODY), 1000):
        yield BODY[start:start + 1000]
        await asyncio.sleep(0)


async def _aiohttp(session):
    async with session.get("/") as response:
        assert response.status == 200 and "loop" in await response.json()
    async with session.post("/echo", data=_in_pieces()) as response:
        assert await response.read() == BODY
    async with session.ws_connect("/ws") as websocket:
        for word in ("one", "two"):
            await websocket.send_str(word)
            assert await websocket.receive_str(timeout=60) == word.upper()
    try:
        async with asyncio.timeout(0.2):
            await session.get("/hang")
    except TimeoutError:
        pass
    else:
        raise AssertionError("asyncio.timeout() did not come through aiohttp")
    async with asyncio.TaskGroup() as group:
        for number in range(40):
            group.create_task(_echoed(session, BODY[:number]))


async def _echoed(session, body):
    async with session.post("/echo", data=body) as response:
        assert await response.read() == body


async def _unknown_authority(url):
    """Without the certificate authority neither client talks to it."""
    strict = ssl.create_default_context()
    async with httpx.AsyncClient(verify=strict, trust_env=False) as client:
        try:
            await client.get(url)
        except httpx.ConnectError as error:
            assert "CERTIFICATE_VERIFY_FAILED" in str(error), error
        else:
            raise AssertionError("httpx took an unknown authority")
    async with aiohttp.ClientSession() as session:
        try:
            await session.get(url, ssl=strict)
        except aiohttp.ClientConnectorCertificateError:
            pass
        else:
            raise AssertionError("aiohttp took an unknown authority")


if __name__ == "__main__":
    loop, url, *authority = sys.argv[1:]
    context = None
    if authority:
        context = ssl.create_default_context(cafile=authority[0])
    factory = {"asyncio": None, "uvloop": uvloop.new_event_loop}[loop]
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main(url, context))
