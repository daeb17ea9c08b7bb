"""An HTTPS request through an HTTPS proxy: TLS inside TLS, and who sees what.

    client ==outer TLS== tap ==outer TLS== proxy --inner TLS-- origin
           ..........the inner TLS runs from the client to the origin..........

Everything runs in this process, on real sockets of the loopback interface.  The
tap forwards raw TCP bytes and keeps a copy, as a packet capture would.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import itertools
import json
import pathlib
import ssl
import subprocess
import sys
import tempfile
import textwrap

import deadlines
from loopback import ORIGIN, PROXY, Certificates, DemoError, closing, read_head, serving
from tls_faults import FAULTS, STALLED_AFTER, observe

# Both are registered protocol names.  They differ so that one layer's cannot be
# mistaken for the other's.
OUTER_ALPN, INNER_ALPN = "http/1.1", "http/1.0"
PATH = "/account/4711"
BODY = "Balance: 1234.56 EUR\n"
RECORD_TYPES = {20: "change cipher spec", 21: "alert", 22: "handshake", 23: "application data"}
# ------------------------------------------------------- origin, proxy and tap

@dataclasses.dataclass
class Capture:
    """The bytes that passed one point, by direction."""
    sent: bytearray = dataclasses.field(default_factory=bytearray)       # by the client
    received: bytearray = dataclasses.field(default_factory=bytearray)   # by the client

    def holds(self, text):
        return text.encode() in self.sent or text.encode() in self.received


async def copy(reader, writer, kept):
    """Pass bytes on until the end, then close, as one end of a tunnel takes the other along."""
    async with closing(writer):
        while data := await reader.read(65536):
            kept += data
            writer.write(data)
            await writer.drain()


async def tunnel(reader, writer, port, capture):
    to_reader, to_writer = await asyncio.open_connection("127.0.0.1", port)
    await asyncio.gather(copy(reader, to_writer, capture.sent),
                         copy(to_reader, writer, capture.received), return_exceptions=True)


def tap(port, capture):
    async def handle(reader, writer):
        await tunnel(reader, writer, port, capture)
    return serving(handle)


def proxy(context, hosts, plaintext, capture, refuse=False):
    """An HTTPS proxy with CONNECT; *hosts* is its DNS, *plaintext* gets what it can read."""
    async def handle(reader, writer):
        (method, target, _), _ = await read_head(reader)
        plaintext.append(f"{method} {target}")
        if refuse or method != "CONNECT" or target not in hosts:
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            return
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await tunnel(reader, writer, hosts[target], capture)
    return serving(handle, ssl=context)


def origin(context, plaintext):
    """An HTTPS server with one page; *plaintext* gets what it reads and writes in clear."""
    async def handle(reader, writer):
        (method, path, _), fields = await read_head(reader)
        plaintext.extend([f"{method} {path} (Host: {fields['host']})", BODY])
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n"
                     b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY.encode()))
    return serving(handle, ssl=context)


# ---------------------------------------------------------------------- client

def layer_facts(writer):
    tls = writer.get_extra_info("ssl_object")
    certificate = tls.getpeercert()
    subject, issuer = (dict(rdn[0] for rdn in certificate[who])["commonName"]
                       for who in ("subject", "issuer"))
    return {"version": tls.version(), "cipher": tls.cipher()[0],
            "ALPN": tls.selected_alpn_protocol(), "peer": f"CN={subject}, issuer CN={issuer}"}


@contextlib.contextmanager
def naming(layer):
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise DemoError(f"{layer}: SSLCertVerificationError: {error.verify_message}") from None


@contextlib.asynccontextmanager
async def tunnelled(port, outer, inner):
    """Connect to ORIGIN through the proxy; give a stream and both layers' facts."""
    with naming(f"outer TLS, to {PROXY}"):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=outer, server_hostname=PROXY)
    async with closing(writer):
        layers = [layer_facts(writer)]
        writer.write(f"CONNECT {ORIGIN}:443 HTTP/1.1\r\nHost: {ORIGIN}:443\r\n\r\n".encode())
        (_, status, reason), _ = await read_head(reader)
        if status != "200":
            raise DemoError(f"the proxy refuses CONNECT {ORIGIN}:443: {status} {reason}")
        with naming(f"inner TLS, to {ORIGIN}"):
            await writer.start_tls(inner, server_hostname=ORIGIN)
        layers.append(layer_facts(writer))
        yield reader, writer, layers


async def fetch(port, outer, inner):
    """Get PATH from ORIGIN; return both layers' facts and the response."""
    async with tunnelled(port, outer, inner) as (reader, writer, layers):
        writer.write(f"GET {PATH} HTTP/1.0\r\nHost: {ORIGIN}\r\n\r\n".encode())
        (_, status, reason), fields = await read_head(reader)
        body = await reader.readexactly(int(fields["content-length"]))
        return layers, f"{status} {reason}", body.decode()


# ---------------------------------------------------------------------- report

def records(data):
    """Return (type, length of the whole record) of each TLS record in *data*."""
    found, at = [], 0
    while at < len(data):
        length = 5 + int.from_bytes(data[at + 3:at + 5])
        found.append((data[at], length))
        at += length
    return found


def say(text):
    print(textwrap.fill(" ".join(text.split()), 78), end="\n\n")


def heading(text):
    print(f"{text}\n{'-' * len(text)}")


def show_layer(facts):
    for name, value in facts.items():
        print(f"  {name:8} {value}")


def show_records(capture, server):
    for who, data in (("client", capture.sent), (server, capture.received)):
        found = records(data)
        print(f"  from the {who}: {len(data)} bytes in {len(found)} TLS records")
        for kind, lengths in grouped(found):
            print(textwrap.fill(f"{RECORD_TYPES.get(kind, kind):18} {lengths}", 78,
                                initial_indent="    ", subsequent_indent=" " * 23))
    print()


def grouped(found):
    """Yield (type, lengths) for each run of records of one type."""
    for kind, run in itertools.groupby(found, key=lambda record: record[0]):
        yield kind, " ".join(str(length) for _, length in run)


def show_visibility(outer, inner, at_proxy, at_origin):
    at_proxy, at_origin = " ".join(at_proxy), " ".join(at_origin)
    print(f"  {'':34} {'on the wire':13} {'at the proxy':14} at the origin")
    for what, text in ((f"the name {PROXY}", PROXY), (f"the name {ORIGIN}", ORIGIN),
                       (f"the path {PATH}", PATH), ("the response's body", BODY)):
        seen = (outer.holds(text), inner.holds(text) or text in at_proxy,
                text in at_origin)
        wire, middle, end = ("seen" if yes else "-" for yes in seen)
        print(f"  {what:34} {wire:13} {middle:14} {end}")
    print()


def show_faults(here, other, other_name):
    columns = "  {:26} {:12} {:12} {}"
    print(columns.format("", "should be", "this build", other_name).rstrip())
    for name, (_, right) in FAULTS.items():
        print(columns.format(name, right, here[name], other.get(name, "")).rstrip())
    print()
    wrong = sum(here[name] != right for name, (_, right) in FAULTS.items())
    verdict = f"{wrong} of {len(FAULTS)} go wrong on this build"
    if other:
        differ = sum(here[name] != other[name] for name in FAULTS)
        verdict += f"; {differ} differ from stock" if differ else ", the same as on stock"
    say(f"""{verdict}. Sections 1 to 4 need no patch: stock Python does TLS in TLS
        since 3.11.""")


def show_limits(outcomes):
    say(f"""The origin's report has {deadlines.ROWS} rows and takes
        {deadlines.ROWS * deadlines.PACE:.1f} s. The client has less, but it catches every
        CancelledError and tries again. A timeout tells it once. A cancel scope tells it at
        every wait, so that the next tries do not even connect; a shielded cleanup closes
        both layers of TLS nevertheless.""")
    columns = "  {:22} {:22} {:>9}  {}"
    print(columns.format("", "rows of each try", "ended at", "tasks left"))
    for name, outcome in outcomes.items():
        print(columns.format(name, ", ".join(map(str, outcome.rows)),
                             f"{outcome.seconds:.1f} s", outcome.left))
    print()


# ------------------------------------------------------------------------ main

async def request(certificates, broken):
    """Do the request; print what each party had of it; return the captures."""
    outer, inner, at_proxy, at_origin = Capture(), Capture(), [], []
    trust = {"outer": PROXY, "inner": ORIGIN}
    # Each layer's authority is a stranger to the other layer.
    trust |= {"outer-ca": {"outer": ORIGIN}, "inner-ca": {"inner": PROXY}}.get(broken, {})
    async with contextlib.AsyncExitStack() as stack:
        port = await stack.enter_async_context(
            origin(certificates.server(ORIGIN, INNER_ALPN), at_origin))
        port = await stack.enter_async_context(
            proxy(certificates.server(PROXY, OUTER_ALPN), {f"{ORIGIN}:443": port},
                  at_proxy, inner, refuse=broken == "proxy-refuses"))
        port = await stack.enter_async_context(tap(port, outer))
        layers, status, body = await fetch(
            port, certificates.client(trust["outer"], OUTER_ALPN),
            certificates.client(trust["inner"], INNER_ALPN))
    report(layers, outer, inner, at_proxy, at_origin, status, body)
    return {"outer": outer, "inner": inner}


async def limit(certificates):
    """Let deadlines end a client of a slow origin; return {limit: Outcome}."""
    async with contextlib.AsyncExitStack() as stack:
        port = await stack.enter_async_context(
            deadlines.slow_origin(certificates.server(ORIGIN, INNER_ALPN)))
        port = await stack.enter_async_context(
            proxy(certificates.server(PROXY, OUTER_ALPN), {f"{ORIGIN}:443": port},
                  [], Capture()))
        return await deadlines.compare(lambda: tunnelled(
            port, certificates.client(PROXY, OUTER_ALPN),
            certificates.client(ORIGIN, INNER_ALPN)))


def report(layers, outer, inner, at_proxy, at_origin, status, body):
    print(__doc__)
    heading("1. Outer TLS: client to proxy, as the tap on the TCP connection sees it")
    show_layer(layers[0])
    show_records(outer, "proxy")
    say("""The first record is the ClientHello, in clear, with the proxy's name. After the
        ServerHello, TLS 1.3 shows 'application data' only: the proxy's certificate, the
        CONNECT and the whole inner handshake look alike from here.""")
    heading("2. Inner TLS: client to origin, as the proxy passes it on")
    print(f"  request  {at_proxy[0]}")
    show_layer(layers[1])
    show_records(inner, "origin")
    say("""These bytes travelled inside the records of section 1. The proxy sees their
        headers and a second ClientHello, and has no key for the rest. The certificate
        was checked against the origin's name and authority, not the proxy's.""")
    heading("3. HTTP: what the origin read, and what came back")
    print(f"  request  {at_origin[0]}\n  response {status}\n  body     {body}")
    heading("4. Who sees what (searched for in the bytes and requests above)")
    show_visibility(outer, inner, at_proxy, at_origin)


def save(captures, folder):
    """Write the captured bytes as FOLDER/LAYER.DIRECTION."""
    try:
        for layer, capture in captures.items():
            for direction, data in dataclasses.asdict(capture).items():
                (pathlib.Path(folder) / f"{layer}.{direction}").write_bytes(data)
    except OSError as error:
        raise DemoError(f"cannot save the captured bytes: {error}") from None


def observe_on(python):
    """Try the faults on another interpreter."""
    try:
        done = subprocess.run([python, __file__, "--faults-json"], capture_output=True,
                              text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DemoError(f"cannot compare with {python}: {error}") from None
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        raise DemoError(f"cannot compare with {python}: {last}")
    return json.loads(done.stdout)


def version(python):
    return subprocess.check_output([python, "-V"], text=True).strip()


async def demo(options, certificates):
    captures = await request(certificates, options.broken)
    if options.save:
        save(captures, options.save)
    heading("5. Known faults of TLS upgrades and closes, tried just now")
    say(f"""A PROXY protocol line and the ClientHello in one segment (gh-142352): the
        handshake should find the ClientHello; {STALLED_AFTER} s without an end count as
        stalled. Clear text behind STARTTLS or its go-ahead (gh-118642): it should go into
        the handshake and break it; read later as if it had come over TLS, it lets
        anyone on the path put words in the peer's mouth. A server that answers and
        closes while the client still uploads (gh-125981): the answer should arrive
        whole.""")
    other = await asyncio.to_thread(observe_on, options.compare) if options.compare else {}
    print(f"  this build  {version(sys.executable)}, {sys.executable}")
    if other:
        print(f"  stock       {version(options.compare)}, {options.compare}")
    print()
    show_faults(await observe(certificates), other, "stock" if other else "")
    heading("6. A deadline over the tunnel")
    if hasattr(asyncio, "CancelScope"):
        show_limits(await limit(certificates))
    else:
        say("This build has no cancel scopes, which are to be compared with timeouts here.")


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--compare", metavar="PYTHON", help="try section 5 on stock's interpreter, too")
    parser.add_argument("--save", metavar="FOLDER", help="keep the captured bytes there")
    parser.add_argument("--break", dest="broken", help="see the demo refuse to go on",
                        choices=("outer-ca", "inner-ca", "proxy-refuses"))
    parser.add_argument("--faults-json", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main(arguments=None):
    options = parse(arguments)
    try:
        with tempfile.TemporaryDirectory() as folder:
            certificates = Certificates(folder)
            if options.faults_json:
                print(json.dumps(asyncio.run(observe(certificates))))
            else:
                asyncio.run(demo(options, certificates))
    except DemoError as error:
        return f"tls_in_tls: {error}"


if __name__ == "__main__":
    sys.exit(main())
