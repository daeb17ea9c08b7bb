"""httpx or aiohttp through an HTTPS proxy, which is TLS in TLS.

proxy_clients.py CLIENT PORT-OF-PROXY PORT-OF-ORIGIN AUTHORITY
"""

import asyncio
import contextlib
import ssl
import sys

import aiohttp
import httpx

BODY = bytes(range(256)) * 4096


@contextlib.asynccontextmanager
async def using_httpx(proxy, context):
    through = httpx.Proxy(proxy, ssl_context=context)
    async with httpx.AsyncClient(
            proxy=through, verify=context, trust_env=False) as client:
        async def post(url, body):
            return (await client.post(url, content=body)).content
        yield post


@contextlib.asynccontextmanager
async def using_aiohttp(proxy, context):
    async with aiohttp.ClientSession() as session:
        async def post(url, body):
            async with session.post(
                    url, data=body, proxy=proxy, ssl=context) as response:
                return await response.read()
        yield post


CLIENTS = {"httpx": (using_httpx, httpx.ConnectError),
           "aiohttp": (using_aiohttp, aiohttp.ClientConnectorCertificateError)}


async def use(post, port, refused):
    url = f"https://localhost:{port}/"
    assert await post(url, BODY) == BODY
    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(echoed(post, url, BODY[:number * 1000]))
    try:
        await post(f"https://elsewhere.test:{port}/", b"")
    except refused as error:
        assert "CERTIFICATE_VERIFY_FAILED" in str(error), error
    else:
        raise AssertionError("it took a certificate of another name")


async def echoed(post, url, body):
    assert await post(url, body) == body


async def main(client, proxy, port, authority):
    context = ssl.create_default_context(cafile=authority)
    using, refused = CLIENTS[client]
    async with using(f"https://localhost:{proxy}", context) as post:
        await use(post, port, refused)
    assert len(asyncio.all_tasks()) == 1, asyncio.all_tasks()
    print("all done")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
