"""What the examples share: certificates made on the spot, and servers on loopback."""

__all__ = ("Certificates", "DemoError", "ORIGIN", "PROXY", "closing", "read_head", "serving")

import asyncio
import contextlib
import pathlib
import ssl
import subprocess

PROXY, ORIGIN = "proxy.example", "origin.example"
OPENSSL_CONFIG = """\
[req]
distinguished_name = subject
[subject]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


class DemoError(Exception):
    """The demo cannot go on; the text is for the user."""


class Certificates:
    """Two authorities, one a layer, so that trust in one says nothing of the other."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        (self.folder / "openssl.cnf").write_text(OPENSSL_CONFIG)
        for host in (PROXY, ORIGIN):
            self._make(f"{host}-ca", f"/CN=Authority of {host}", "-extensions", "authority")
            self._make(host, f"/O=Demo/CN={host}", "-extensions", "server",
                       "-addext", f"subjectAltName=DNS:{host}",
                       "-CA", f"{host}-ca.pem", "-CAkey", f"{host}-ca.key")

    def _make(self, name, subject, *options):
        command = ["openssl", "req", "-x509", "-config", "openssl.cnf", "-days", "2",
                   "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                   "-subj", subject, "-keyout", f"{name}.key", "-out", f"{name}.pem", *options]
        try:
            done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True)
        except FileNotFoundError:
            raise DemoError("the program openssl is missing: apt-get install openssl") from None
        if done.returncode:
            raise DemoError(f"openssl cannot make {name}.pem: {done.stderr.strip()}")

    def server(self, host, alpn=None):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.folder / f"{host}.pem", self.folder / f"{host}.key")
        context.set_alpn_protocols([alpn] if alpn else [])
        return context

    def client(self, authority_of, alpn=None):
        context = ssl.create_default_context(cafile=self.folder / f"{authority_of}-ca.pem")
        context.minimum_version = ssl.TLSVersion.TLSv1_3    # the output explains 1.3's records
        context.set_alpn_protocols([alpn] if alpn else [])
        return context


async def read_head(reader):
    """Return the first line of an HTTP message, split, and its header fields."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("ascii").split("\r\n")[:-2]
    fields = (line.partition(":") for line in lines)
    return first.split(" ", 2), {name.lower(): value.strip() for name, _, value in fields}


@contextlib.asynccontextmanager
async def serving(handle, **options):
    """Run *handle* for each connection; give the port; leave no task behind."""
    handlers = set()

    async def connected(reader, writer):
        handlers.add(asyncio.current_task())
        # A peer that goes away ends its own connection only.
        with contextlib.suppress(OSError, EOFError):
            async with closing(writer):
                await handle(reader, writer)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, **options)
    try:
        yield server.sockets[0].getsockname()[1]
    except BaseException:
        server.abort_clients()
        raise
    finally:
        server.close()
        await server.wait_closed()
        await asyncio.gather(*handlers)


@contextlib.asynccontextmanager
async def closing(writer):
    try:
        yield
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
