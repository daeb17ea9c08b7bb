"""A small ASGI application, and uvicorn serving it on a free loopback port."""

import argparse
import asyncio
import json
import socket

import uvicorn


async def app(scope, receive, send):
    await _HANDLERS[scope["type"]](scope, receive, send)


async def _lifespan(scope, receive, send):
    for phase in ("startup", "shutdown"):
        assert (await receive())["type"] == f"lifespan.{phase}"
        print(phase, flush=True)
        await send({"type": f"lifespan.{phase}.complete"})


async def _http(scope, receive, send):
    if scope["path"] == "/hang":
        await _hang(receive)
    elif scope["path"] == "/echo":
        await _echo(receive, send)
    else:
        loop = type(asyncio.get_running_loop())
        await _reply(send, json.dumps({
            "loop": loop.__module__, "scheme": scope["scheme"]}).encode())


async def _hang(receive):
    """Never answer, and say so when the client has gone away."""
    while (await receive())["type"] != "http.disconnect":
        pass
    print("disconnected", flush=True)


async def _echo(receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    more = True
    while more:
        message = await receive()
        more = message["more_body"]
        await send({"type": "http.response.body", "body": message["body"],
                    "more_body": more})


async def _reply(send, body):
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})


async def _websocket(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"].upper()})


_HANDLERS = {"lifespan": _lifespan, "http": _http, "websocket": _websocket}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--loop", choices=["asyncio", "uvloop"])
    parser.add_argument("--http", choices=["h11", "httptools"])
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    options = parser.parse_args()
    config = uvicorn.Config(
        app, loop=options.loop, http=options.http, ws="websockets",
        access_log=False, ssl_certfile=options.certificate,
        ssl_keyfile=options.key)
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
