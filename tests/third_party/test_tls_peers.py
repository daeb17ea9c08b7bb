"""TLS over TLS with ends that are not asyncio's: openssl, stunnel, HTTP clients."""

import contextlib
import os
import re
import select
import shutil
import socket
import subprocess
import threading
import time

import pytest
from surroundings import OUTER_BOUND, PROGRAMS, environment

pytestmark = pytest.mark.usefixtures("python")

# How it works.  openssl's s_client and s_server have the innermost layer of
# TLS; each layer around it is put on, or taken off, by a stunnel of its own.
# The other end of all layers is tls_ends.py, which sends lines back in upper
# case.

DEPTHS = (1, 2, 3, 5)
APIS = ("streams", "protocol", "buffered")
VERSIONS = {"1.2": "-tls1_2", "1.3": "-tls1_3"}


def needed(program):
    path = shutil.which(program)
    assert path, f"{program} is missing: install it, see the README"
    return path


class Process:
    """A program that is talked to by its input and output."""

    def __init__(self, *command):
        self._process = subprocess.Popen(
            [str(word) for word in command], env=environment(),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        self.output = ""

    def say(self, text):
        self._process.stdin.write(text.encode())
        self._process.stdin.flush()

    def hear(self, text, times=1):
        """Wait until it prints *text*; return all it has printed."""
        deadline = time.monotonic() + OUTER_BOUND
        while self.output.count(text) < times:
            assert self._readable(deadline), f"no {text!r} in {self.output}"
            piece = os.read(self._process.stdout.fileno(), 2 ** 16)
            assert piece, f"no {text!r} in {self.output}{self.finish()}"
            self.output += piece.decode(errors="replace")
        return self.output

    def _readable(self, deadline):
        return select.select([self._process.stdout], [], [],
                             deadline - time.monotonic())[0]

    def finish(self):
        """End its input; return its status, the rest it printed, its errors."""
        output, errors = self._process.communicate(timeout=OUTER_BOUND)
        self.output += output.decode(errors="replace")
        return self._process.returncode, self.output, errors.decode()

    def kill(self):
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def start():
    """Start a program that is killed when the test is over."""
    with contextlib.ExitStack() as stack:
        def start(*command):
            process = Process(*command)
            stack.callback(process.kill)
            return process
        yield start


class Tunnel:
    """A listening socket, and a stunnel for each connection to it.

    As stunnel does not tell which port it got, it gets the connection.
    """

    def __init__(self, folder, settings):
        self._configuration = folder / f"stunnel-{id(self)}.conf"
        self._configuration.write_text(
            "".join(f"{name} = {value}\n" for name, value in settings.items()))
        self._processes = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self):
        # shutdown() wakes it.
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                with connection:
                    self._processes.append(subprocess.Popen(
                        [needed("stunnel"), self._configuration],
                        stdin=connection, stdout=connection,
                        stderr=subprocess.DEVNULL))

    def close(self):
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listening.close()
        for process in self._processes:
            process.kill()
            process.wait()


@pytest.fixture
def tunnel(certificate, tmp_path):
    """Put a layer of TLS around what goes to a port, or take one off."""
    with contextlib.ExitStack() as stack:
        def tunnel(port, *, wraps, version):
            settings = {"connect": f"127.0.0.1:{port}",
                        "sslVersion": f"TLSv{version}"}
            if wraps:
                settings |= {"client": "yes", "verifyChain": "yes",
                             "CAfile": certificate / "authority.pem"}
            else:
                settings |= {"cert": certificate / "certificate.pem",
                             "key": certificate / "key.pem"}
            made = Tunnel(tmp_path, settings)
            stack.callback(made.close)
            return made.port
        yield tunnel


class Ends:
    """asyncio at one end and openssl at the other, either of them the server."""

    def __init__(self, start, tunnel, python, certificate):
        self._start, self._tunnel = start, tunnel
        self._python, self._certificate = python, certificate

    def serve(self, depth, version, api="streams"):
        """Start asyncio's server; return it and the innermost layer's port."""
        server = self._start(self._python, PROGRAMS / "tls_ends.py", "server",
                             api, depth, self._certificate)
        port = int(server.hear("\n"))
        for _ in range(depth - 1):
            port = self._tunnel(port, wraps=True, version=version)
        return server, port

    def connect(self, depth, port, api="streams"):
        """Start asyncio's client."""
        return self._start(self._python, PROGRAMS / "tls_ends.py", "client",
                           api, depth, self._certificate, port)

    def s_server(self, depth, version, *options):
        """Start openssl's server; return it and the outermost layer's port."""
        server = self._start(
            needed("openssl"), "s_server", "-accept", "127.0.0.1:0",
            "-cert", self._certificate / "certificate.pem",
            "-key", self._certificate / "key.pem", VERSIONS[version], *options)
        server.hear("ACCEPT 127.0.0.1:")
        address = re.search(r"ACCEPT 127.0.0.1:(\d+)\n", server.hear("\n"))
        port = int(address[1])
        for _ in range(depth - 1):
            port = self._tunnel(port, wraps=False, version=version)
        return server, port

    def s_client(self, port, version, *options):
        """Start openssl's client."""
        return self._start(
            needed("openssl"), "s_client", "-connect", f"127.0.0.1:{port}",
            "-servername", "localhost", "-verify_return_error",
            "-CAfile", self._certificate / "authority.pem",
            VERSIONS[version], *options)


@pytest.fixture
def ends(start, tunnel, venv_python, certificate):
    return Ends(start, tunnel, venv_python, certificate)


def check_end(process, lines):
    """Assert that tls_ends.py counted its lines, and had nothing to report."""
    status, output, errors = process.finish()
    assert (status, output.splitlines()[-1:], errors) == (
        0, [f"{lines} lines"], "")


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("depth", DEPTHS)
def test_lines_from_s_client_within_stunnels(ends, depth, version, api):
    server, port = ends.serve(depth, version, api)
    client = ends.s_client(port, version)
    for word in ("one", "two"):
        client.say(word + "\n")
        client.hear(word.upper() + "\n")
    client.say("Q\n")
    assert client.finish()[0] == 0
    check_end(server, 2)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("depth", DEPTHS)
def test_lines_from_s_server_within_stunnels(ends, depth, version, api):
    server, port = ends.s_server(depth, version)
    client = ends.connect(depth, port, api)
    server.hear("CIPHER is")
    for word in ("one", "two"):
        server.say(word + "\n")
        server.hear(word.upper() + "\n")
    server.say("Q\n")
    check_end(client, 2)


# s_client and s_server send a KeyUpdate at "k", and ask for one back at "K".

@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("depth", DEPTHS)
def test_key_updates_by_s_client_in_the_innermost_layer(ends, depth, api):
    server, port = ends.serve(depth, "1.3", api)
    client = ends.s_client(port, "1.3", "-msg")
    client.hear("New, TLSv1.3")
    for number, command in enumerate("KkKkK"):
        update_keys(client, command)
        client.say(f"word {number}\n")
        client.hear(f"WORD {number}\n")
    assert count_key_updates(client.output) == (5, 3)
    client.say("Q\n")
    assert client.finish()[0] == 0
    check_end(server, 5)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("depth", DEPTHS)
def test_key_updates_by_s_server_in_the_innermost_layer(ends, depth, api):
    server, port = ends.s_server(depth, "1.3", "-msg")
    client = ends.connect(depth, port, api)
    server.hear("CIPHER is")
    for number, command in enumerate("KkKkK"):
        update_keys(server, command)
        server.say(f"word {number}\n")
        server.hear(f"WORD {number}\n")
    assert count_key_updates(server.output) == (5, 3)
    server.say("Q\n")
    check_end(client, 5)


def update_keys(process, command):
    """Have a KeyUpdate sent; openssl drops what it reads behind a command."""
    before = process.output.count("KeyUpdate")
    process.say(command + "\n")
    process.hear("KeyUpdate", before + 1)


def count_key_updates(output):
    """How many were sent and received, as openssl's -msg has it."""
    lines = [line for line in output.splitlines() if "KeyUpdate" in line]
    return (sum(">>>" in line for line in lines),
            sum("<<<" in line for line in lines))


class Relay:
    """Passes one connection on to a port; hold() keeps what comes back."""

    def __init__(self, port):
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._target = port
        self._passes = threading.Event()
        self._passes.set()
        self.sent = b""
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self):
        with self._listening:
            self._client, _ = self._listening.accept()
        self._server = socket.create_connection(("127.0.0.1", self._target))
        self._threads.append(threading.Thread(target=self._come_back))
        self._threads[1].start()
        with contextlib.suppress(OSError):
            while data := self._client.recv(2 ** 16):
                self.sent += data
                self._server.sendall(data)
            self._server.shutdown(socket.SHUT_WR)

    def _come_back(self):
        with contextlib.suppress(OSError):
            while data := self._server.recv(2 ** 16):
                self._client.sendall(data)
                self._passes.wait(OUTER_BOUND)
            self._client.shutdown(socket.SHUT_WR)

    def hold(self):
        """Let one more piece come back, and then nothing until let_go()."""
        self._passes.clear()

    def let_go(self):
        self._passes.set()

    def close(self):
        self.let_go()
        for thread in self._threads:
            thread.join()
        self._client.close()
        self._server.close()


def test_close_while_s_server_renegotiates(
        ends, start, venv_python, certificate):
    server, port = ends.s_server(1, "1.2")
    with contextlib.closing(Relay(port)) as relay:
        client = start(venv_python, PROGRAMS / "tls_close.py", certificate,
                       relay.port)
        client.hear("connected\n")
        server.hear("CIPHER is")
        before = len(relay.sent)
        # s_server asks for a renegotiation at "r"; the client's hello is the
        # answer to it, and gets none.
        relay.hold()
        server.say("r\n")
        deadline = time.monotonic() + OUTER_BOUND
        while len(relay.sent) == before:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        client.say("held up\n")
        client.hear("closing\n")
        relay.let_go()
        server.hear("held up\n")
        client.hear("lost by None\n")
        assert client.finish()[0] == 0


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("depth", DEPTHS)
def test_tickets_let_s_client_resume_the_innermost_layer(
        ends, tmp_path, depth, version):
    server, port = ends.serve(depth, version)
    ticket = tmp_path / "session.pem"
    for option, told in ("-sess_out", "New, "), ("-sess_in", "Reused, "):
        client = ends.s_client(port, version, option, ticket)
        # The tickets have come when the answer has.
        client.say("word\n")
        client.hear("WORD\n")
        client.say("Q\n")
        status, output, _ = client.finish()
        assert status == 0
        assert told in output
        assert ticket.exists()
    check_end(server, 2)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("depth", DEPTHS)
def test_many_tickets_of_s_server_are_no_data(ends, depth, api):
    server, port = ends.s_server(depth, "1.3", "-num_tickets", "20")
    client = ends.connect(depth, port, api)
    server.hear("CIPHER is")
    server.say("word\n")
    server.hear("WORD\n")
    server.say("Q\n")
    check_end(client, 1)


def test_streams_on_uvloop_take_no_clear_text_for_tls(run, certificate):
    assert run(PROGRAMS / "uvloop_start_tls.py", certificate).splitlines() == [
        "250 over TLS",
        "refused: the reader has unread bytes", "250 injected"]


@pytest.fixture
def proxy(start, venv_python, certificate):
    """The HTTPS proxy and its origin; with `ports`."""
    process = start(venv_python, PROGRAMS / "https_proxy.py", certificate)
    process.ports = process.hear("\n").split()
    return process


def check_proxy(proxy, tunnels):
    status, output, errors = proxy.finish()
    assert (status, output.splitlines()[1:], errors) == (
        0, [f"{tunnels} tunnels"], "")


@pytest.mark.parametrize("client", ["httpx", "aiohttp"])
def test_http_clients_through_an_https_proxy(run, proxy, certificate, client):
    output = run(PROGRAMS / "proxy_clients.py", client, *proxy.ports,
                 certificate / "authority.pem")
    assert output == "all done\n"
    status, output, errors = proxy.finish()
    assert (status, errors) == (0, "")
    # How many depends on the client's pool: one for each at a time at most.
    assert 2 <= int(output.splitlines()[1].split()[0]) <= 22


@pytest.mark.parametrize("version", VERSIONS)
def test_curl_through_an_https_proxy(proxy, certificate, version):
    body = "x" * 100_000
    done = curl(proxy, certificate, "localhost", body, f"--tlsv{version}",
                "--tls-max", version)
    assert (done.returncode, done.stdout) == (0, body)
    check_proxy(proxy, 1)


def test_curl_refuses_an_origin_of_another_name(proxy, certificate):
    done = curl(proxy, certificate, "elsewhere.test", "")
    # "The remote server's SSL certificate was deemed not OK."
    assert done.returncode == 60
    check_proxy(proxy, 1)


def curl(proxy, certificate, name, body, *options):
    through, to = proxy.ports
    authority = certificate / "authority.pem"
    return subprocess.run(
        [needed("curl"), "--silent", "--proxy", f"https://localhost:{through}",
         "--proxy-cacert", authority, "--cacert", authority, *options,
         "--data-binary", "@-", f"https://{name}:{to}/"],
        env=environment(), input=body, capture_output=True, text=True,
        timeout=OUTER_BOUND)
