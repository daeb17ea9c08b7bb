"""Round trips through uvicorn, httpx, aiohttp, anyio and uvloop."""

import json
import signal
import subprocess

import pytest
from surroundings import OUTER_BOUND, PROGRAMS, environment

LOOPS = ("asyncio", "uvloop")
LOOP_MODULES = {"asyncio": "asyncio.unix_events", "uvloop": "uvloop"}


class Server:
    """uvicorn with the ASGI application, in a process of its own."""

    def __init__(self, python, *options):
        self._process = subprocess.Popen(
            [python, PROGRAMS / "asgi_app.py", *options], env=environment(),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)
        self.port = int(self._process.stdout.readline())

    def stop(self):
        """Ask it to end; return its status and what it wrote."""
        self._process.send_signal(signal.SIGTERM)
        output, errors = self._process.communicate(timeout=OUTER_BOUND)
        return self._process.returncode, output, errors

    def kill(self):
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def serve(venv_python):
    servers = []

    def serve(*options):
        servers.append(Server(venv_python, *options))
        return servers[-1]

    yield serve
    for server in servers:
        server.kill()


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("http", ["h11", "httptools"])
@pytest.mark.parametrize("server_loop", LOOPS)
@pytest.mark.parametrize("client_loop", LOOPS)
def test_clients_and_uvicorn_understand_each_other(
        run, serve, certificate, server_loop, client_loop, http, tls):
    options = ["--loop", server_loop, "--http", http]
    if tls:
        options += ["--certificate", certificate / "certificate.pem",
                    "--key", certificate / "key.pem"]
    server = serve(*options)
    scheme = "https" if tls else "http"
    output = run(PROGRAMS / "clients.py", client_loop,
                 f"{scheme}://127.0.0.1:{server.port}",
                 *([certificate / "authority.pem"] if tls else []))
    told_by_server, told_by_client = map(json.loads, output.splitlines())
    assert told_by_client == {"loop": LOOP_MODULES[client_loop]}
    assert told_by_server == {"loop": LOOP_MODULES[server_loop],
                              "scheme": scheme}
    status, output, errors = server.stop()
    # uvicorn ends in good order and then by the signal that it was sent.
    assert status == -signal.SIGTERM
    # Each client left requests without an answer, and the server saw it.
    assert output.split() == ["startup", *["disconnected"] * 3, "shutdown"]
    assert "Traceback" not in errors


@pytest.mark.parametrize("loop", LOOPS)
def test_anyio_groups_scopes_and_streams(run, certificate, loop):
    output = run(PROGRAMS / "anyio_streams.py", loop, certificate)
    assert output == "all done\n"
