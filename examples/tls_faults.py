"""Known faults of TLS upgrades and closes, each tried on the running interpreter."""

__all__ = ("FAULTS", "observe")

import asyncio
import contextlib
import ssl

from loopback import ORIGIN, closing, serving

STALLED_AFTER = 3       # seconds; a handshake on loopback takes a few milliseconds
INJECTED = b"this was sent in clear\r\n"
ANSWER = b"no space left for this upload\r\n" * 200_000   # more than sockets buffer


async def hello_behind_proxy_line(certificates):
    """A PROXY protocol line and the ClientHello arrive in one segment (gh-142352)."""
    async def handle(reader, writer):
        await reader.readline()
        await writer.start_tls(certificates.server(ORIGIN))

    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = certificates.client(ORIGIN).wrap_bio(incoming, outgoing, server_hostname=ORIGIN)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    async with serving(handle) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        async with closing(writer):
            writer.write(b"PROXY TCP4 192.0.2.1 192.0.2.2 40000 443\r\n" + outgoing.read())
            try:
                async with asyncio.timeout(STALLED_AFTER):
                    return await finish_handshake(tls, incoming, reader)
            except TimeoutError:
                return "stalls"


async def finish_handshake(tls, incoming, reader):
    while data := await reader.read(65536):
        incoming.write(data)
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
            return "completes"
    return "closed"


async def injected_by_server(certificates):
    """Clear text behind the go-ahead for STARTTLS reaches the client (gh-118642)."""
    async def handle(reader, writer):
        await reader.readline()
        writer.write(b"220 ready\r\n" + INJECTED)
        await writer.start_tls(certificates.server(ORIGIN))
        writer.write(b"250-sent over TLS\r\n250 two lines\r\n")
        await reader.read()     # the client closes first, see below

    async with serving(handle) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        async with closing(writer):
            writer.write(b"STARTTLS\r\n")
            await reader.readline()
            seen = await first_line_over_tls(
                reader, writer, certificates.client(ORIGIN), server_hostname=ORIGIN)
            with contextlib.suppress(OSError):
                await reader.readline()     # the server has finished its start_tls(), too
            return seen


async def injected_by_client(certificates):
    """Clear text behind the STARTTLS command reaches the server (gh-118642)."""
    seen = []

    async def handle(reader, writer):
        await reader.readline()
        writer.write(b"220 ready\r\n")
        seen.append(await first_line_over_tls(reader, writer, certificates.server(ORIGIN)))
        writer.write(b"250 ok\r\n")
        await reader.read()     # the client closes first, see below

    async with serving(handle) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        async with closing(writer):
            writer.write(b"STARTTLS\r\n" + INJECTED)
            await reader.readline()
            with contextlib.suppress(OSError):
                await writer.start_tls(certificates.client(ORIGIN), server_hostname=ORIGIN)
                writer.write(b"NOOP\r\n")
                await reader.readline()
    return seen[0]


async def first_line_over_tls(reader, writer, context, **options):
    """Upgrade as SMTP, IMAP and PostgreSQL do, and say where the next line comes from."""
    try:
        async with asyncio.timeout(STALLED_AFTER):
            await writer.start_tls(context, **options)
            line = await reader.readline()
    except ssl.SSLError:
        return "refused"
    except TimeoutError:
        return "stalls"
    return "accepted" if line == INJECTED else "dropped"


async def answered_during_an_upload(certificates):
    """The server answers and closes while the client still sends (gh-125981)."""
    async def handle(reader, writer):
        await reader.readline()
        writer.write(ANSWER)

    async with serving(handle, ssl=certificates.server(ORIGIN)) as port:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=certificates.client(ORIGIN), server_hostname=ORIGIN)
        async with closing(writer):
            writer.write(b"PUT\r\n")
            answer = await reader.read(1)
            # The server has closed, and has most of its answer still to send.
            writer.write(b"the rest of the upload")
            with contextlib.suppress(OSError):
                answer += await reader.read()
            return "whole" if answer == ANSWER else "truncated"


# An end that closes right after its start_tls() can reach the peer before the peer's
# own start_tls() returns; stock warns about that, and it is not the fault meant here.

# What is tried, by name: how, and what should be seen.
FAULTS = {
    "ClientHello after PROXY": (hello_behind_proxy_line, "completes"),
    "clear text to the client": (injected_by_server, "refused"),
    "clear text to the server": (injected_by_client, "refused"),
    "answer during an upload": (answered_during_an_upload, "whole"),
}


async def observe(certificates):
    """Try every fault; return what was seen, by name."""
    return {name: await attempt(certificates) for name, (attempt, _) in FAULTS.items()}
