"""The examples do and show what they say, and clean up, also when they are broken."""

import contextlib
import json
import os
import queue
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "examples"))

from http_response import BadResponse, ResponseParser

DEMO = ROOT / "examples" / "tls_in_tls.py"
BODY = b"Balance: 1234.56 EUR"

# Runs the demo's request, then lists the tasks that it left.
LEFT_TASKS = """
import asyncio, tempfile, tls_in_tls
async def main():
    with tempfile.TemporaryDirectory() as folder:
        await tls_in_tls.request(tls_in_tls.Certificates(folder), None)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    print("left:", sorted(map(repr, left)))
asyncio.run(main())
"""


def run(python, *arguments, **environment):
    return subprocess.run([python, *arguments], capture_output=True, text=True, timeout=120,
                          cwd=DEMO.parent, env=os.environ | environment)


def without_slow_steps(stderr):
    """Drop debug mode's remarks on slow callbacks, which a busy machine causes."""
    return [line for line in stderr.splitlines()
            if not re.fullmatch(r"Executing .* took \d+\.\d+ seconds", line)]


@pytest.fixture(scope="module")
def shown(python, stock, tmp_path_factory):
    """The demo's output, and the bytes it captured, by layer and direction."""
    folder = tmp_path_factory.mktemp("captured")
    done = run(python, "-X", "dev", "-W", "error", DEMO, "--compare", stock, "--save", folder)
    assert done.returncode == 0, done.stderr
    assert without_slow_steps(done.stderr) == []
    return done.stdout, {path.name: path.read_bytes() for path in folder.iterdir()}


def record_headers(data):
    """Walk TLS records by RFC 8446, 5.1; fail unless they fill *data* exactly."""
    headers = []
    while data:
        kind, version, length = data[0], data[1:3], data[3] << 8 | data[4]
        assert version in (b"\x03\x01", b"\x03\x03") and len(data) >= 5 + length
        headers.append((kind, 5 + length))
        data = data[5 + length:]
    return headers


def printed_records(output, section):
    """Return (bytes, record lengths) for each direction in a section of the output."""
    text = output.split(f"\n{section + 1}. ")[0].split(f"{section}. ", 1)[-1]
    blocks = re.findall(r"from the \w+: (\d+) bytes in (\d+) TLS records\n((?: {4}.*\n)+)", text)
    assert len(blocks) == 2
    return [(int(total), int(count), [int(n) for n in re.findall(r"\b\d+\b", lines)])
            for total, count, lines in blocks]


@pytest.mark.parametrize("section, layer", [(1, "outer"), (2, "inner")])
def test_printed_records_are_those_on_the_connection(shown, section, layer):
    output, captured = shown
    for direction, printed in zip(("sent", "received"), printed_records(output, section)):
        data = captured[f"{layer}.{direction}"]
        lengths = [length for _, length in record_headers(data)]
        assert printed == (len(data), len(lengths), lengths)


@pytest.mark.parametrize("layer, name", [("outer", b"proxy.example"), ("inner", b"origin.example")])
def test_each_layer_begins_with_a_client_hello_that_names_its_server(shown, layer, name):
    sent = shown[1][f"{layer}.sent"]
    kind, length = record_headers(sent)[0]
    assert (kind, sent[5]) == (22, 1)       # handshake, client_hello
    assert name in sent[:length]


@pytest.mark.parametrize("secret", [b"origin.example", b"/account/4711", BODY, b"http/1.0"])
def test_the_inner_layer_is_not_visible_on_the_wire(shown, secret):
    captured = shown[1]
    assert secret not in captured["outer.sent"] + captured["outer.received"]


@pytest.mark.parametrize("secret", [b"/account/4711", BODY, b"GET "])
def test_the_proxy_sees_no_plaintext_of_the_inner_layer(shown, secret):
    captured = shown[1]
    assert secret not in captured["inner.sent"] + captured["inner.received"]


def test_the_outer_layer_carries_the_inner_one_whole(shown):
    captured = shown[1]
    for direction in ("sent", "received"):
        assert len(captured[f"outer.{direction}"]) > len(captured[f"inner.{direction}"])


def test_both_layers_show_their_own_alpn_and_certificate(shown):
    facts = re.findall(r"ALPN +(\S+)\n +peer +CN=([\w.]+), issuer CN=Authority of ([\w.]+)",
                       shown[0])
    assert facts == [("http/1.1", "proxy.example", "proxy.example"),
                     ("http/1.0", "origin.example", "origin.example")]


def test_the_response_is_the_origins(shown):
    assert re.search(r"response 200 OK\n +body +" + BODY.decode(), shown[0])


def test_the_output_fits_a_terminal_of_80_columns(shown):
    paths = re.compile(r"  (this build|stock)  +Python 3\.\S+, \S*/")
    assert [line for line in shown[0].splitlines()
            if len(line) > 80 and not paths.match(line)] == []


def test_the_table_names_both_interpreters_and_their_versions(shown, python, stock):
    for name, interpreter in (("this build", python), ("stock     ", stock)):
        version = run(interpreter, "-V").stdout.strip()
        assert f"  {name}  {version}, {interpreter}\n" in shown[0]
    assert re.search(r"\n +should be +this build +stock\n", shown[0])


def test_the_table_shows_what_each_interpreter_does(shown, python, stock):
    for column, interpreter in (("here", python), ("other", stock)):
        for name, seen in json.loads(run(interpreter, DEMO, "--faults-json").stdout).items():
            row = re.search(rf"{name} +\w+ +(?P<here>\w+) +(?P<other>\w+)\n", shown[0])
            assert row[column] == seen


@pytest.mark.parametrize("example, said", [
    (DEMO, "This build has no cancel scopes"),
    (DEMO.with_name("get_url.py"), "this build has no supervisors")])
def test_what_stock_lacks_the_demo_says(stock, example, said):
    done = run(stock, example)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout


def test_stock_shows_every_fault(stock):
    assert json.loads(run(stock, DEMO, "--faults-json").stdout) == {
        "ClientHello after PROXY": "stalls",
        "clear text to the client": "accepted",
        "clear text to the server": "accepted",
        "answer during an upload": "truncated"}


def test_this_build_shows_no_fault(python):
    assert json.loads(run(python, DEMO, "--faults-json").stdout) == {
        "ClientHello after PROXY": "completes",
        "clear text to the client": "refused",
        "clear text to the server": "refused",
        "answer during an upload": "whole"}


def test_a_deadline_ends_a_client_that_swallows_its_cancellation(shown):
    table = shown[0].split("\n6. ")[1]
    limits = dict(re.findall(r"^  (\w+)\(0\.45\) +([\d, ]+?) {2,}[\d.]+ s  0$", table, re.M))
    told_once, told_always = (list(map(int, limits[name].split(", ")))
                              for name in ("timeout", "move_on_after"))
    # The first try is cut short, the second one is whole, or is not made.
    assert told_once[0] < 12 and told_once[-1] == 12
    assert 0 < told_always[0] < 12 and told_always[1:] == [0, 0]


def test_no_task_is_left(python):
    done = run(python, "-X", "dev", "-W", "error", "-c", LEFT_TASKS)
    assert done.stdout.endswith("left: []\n"), done.stderr


@pytest.mark.parametrize("what, line", [
    ("outer-ca", "outer TLS, to proxy.example: SSLCertVerificationError: "
                 "unable to get local issuer certificate"),
    ("inner-ca", "inner TLS, to origin.example: SSLCertVerificationError: "
                 "unable to get local issuer certificate"),
    ("proxy-refuses", "the proxy refuses CONNECT origin.example:443: 403 Forbidden"),
])
def test_what_breaks_the_demo_is_one_clear_line(python, what, line):
    done = run(python, "-W", "error", DEMO, "--break", what)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"tls_in_tls: {line}\n")


def test_a_missing_openssl_program_names_its_package(python, tmp_path):
    done = run(python, DEMO, PATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == ("tls_in_tls: the program openssl is missing: "
                           "apt-get install openssl\n")


def test_a_folder_to_save_in_that_is_missing_is_named(python, tmp_path):
    done = run(python, DEMO, "--save", tmp_path / "none")
    assert done.returncode == 1
    assert re.fullmatch(rf"tls_in_tls: cannot save .*{tmp_path}/none/.*\n", done.stderr)


def test_an_interpreter_to_compare_with_that_fails_is_quoted(python, tmp_path):
    failing = tmp_path / "failing"
    failing.write_text("#!/bin/sh\necho no such module >&2\nexit 1\n")
    failing.chmod(0o755)
    done = run(python, DEMO, "--compare", failing)
    assert done.stderr == f"tls_in_tls: cannot compare with {failing}: no such module\n"


def test_an_interpreter_to_compare_with_that_is_missing_is_named(python, tmp_path):
    done = run(python, DEMO, "--compare", tmp_path / "none")
    assert done.returncode == 1
    assert re.fullmatch(rf"tls_in_tls: cannot compare with {tmp_path}/none: .*\n", done.stderr)


# --- A response of HTTP, parsed ------------------------------------------------

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def parsed(data, *, step, ends):
    """Return the parser and the body, if *data* comes in parts of *step* bytes."""
    parser, body = ResponseParser(), b""
    for at in range(0, len(data), step):
        body += b"".join(parser.feed(data[at:at + step]))
    if ends:
        parser.feed_eof()
    return parser, body


@pytest.mark.parametrize("step", [1, 3, 1 << 20])
@pytest.mark.parametrize("data, body", [
    (OK + b"Content-Length: 5\r\n\r\nhello", b"hello"),
    (OK + b"Content-Length: 5\r\n\r\nhello and more", b"hello"),
    (OK + b"Content-Length: 5, 5\r\n\r\nhello", b"hello"),
    (OK + b"Content-Length: 5\r\ncontent-length: 5\r\n\r\nhello", b"hello"),
    (OK + b"Content-Length: 0\r\n\r\n", b""),
    (CHUNKED + b"3\r\nhel\r\n2;a=b\r\nlo\r\n0\r\n\r\n", b"hello"),
    (CHUNKED + b"00a\r\n0123456789\r\n000\r\nTrailer: x\r\n\r\nmore", b"0123456789"),
    (OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"ok"),
    (b"HTTP/1.1 103 Early Hints\r\nContent-Length: 9\r\n\r\n"
     + OK + b"Content-Length: 5\r\n\r\nhello", b"hello"),
    (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b""),
    (b"HTTP/1.1 200\nContent-Length: 2\n\nok", b"ok"),
])
def test_a_body_is_the_same_however_its_bytes_come(data, body, step):
    parser, seen = parsed(data, step=step, ends=False)
    assert (parser.is_whole, seen) == (True, body)


@pytest.mark.parametrize("step", [1, 1 << 20])
def test_a_body_without_a_length_ends_with_its_connection(step):
    data = OK + b"X: 1\r\n\r\nhello"
    assert not parsed(data, step=step, ends=False)[0].is_whole
    parser, body = parsed(data, step=step, ends=True)
    assert (parser.is_whole, body) == (True, b"hello")


def test_fields_that_come_twice_or_go_on_are_joined():
    parser, _ = parsed(OK + b"A:1\r\na: 2\t\r\nB: x\r\n  y\r\nContent-Length: 0\r\n\r\n",
                       step=1, ends=False)
    assert parser.fields == {"a": "1, 2", "b": "x y", "content-length": "0"}
    assert (parser.status, parser.reason) == (200, "OK")


@pytest.mark.parametrize("step", [1, 1 << 20])
@pytest.mark.parametrize("data, said", [
    (b"SSH-2.0-OpenSSH_9.2\r\n", "no status line"),
    (b"HTTP/2 200 OK\r\n", "no status line"),
    (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "status 101"),
    (OK + b"Bad Name: 1\r\n\r\n", "no header field"),
    (OK + b"Name : 1\r\n\r\n", "no header field"),
    (OK + b"no colon\r\n\r\n", "no header field"),
    (OK + b"Content-Length: 5, 6\r\n\r\n", "Content-Length: 5, 6"),
    (OK + b"Content-Length: -5\r\n\r\n", "Content-Length: -5"),
    (OK + b"Content-Length: 5,\r\n\r\n", "Content-Length: 5,"),
    (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n", "gzip, chunked"),
    (CHUNKED + b"0x5\r\nhello\r\n", "no size of a chunk"),
    (CHUNKED + b"-5\r\nhello\r\n", "no size of a chunk"),
    (CHUNKED + b"\r\n", "no size of a chunk"),
    (CHUNKED + b"2\r\nhello\r\n", "after a chunk of 2 bytes comes 'llo'"),
    (OK + b"X: " + b"x" * 70_000, "a head of more than 65536 bytes"),
    (OK + b"X: x\r\n" * 20_000, "a head of more than 65536 bytes"),
    (CHUNKED + b"1" * 70_000, "a head of more than 65536 bytes"),
    (CHUNKED + b"0\r\n" + b"X: x\r\n" * 20_000, "a head of more than 65536 bytes"),
    (OK + b"Content-Length: 5\r\n\r\nhell", "in the midst of the response"),
    (CHUNKED + b"5\r\nhello\r\n", "in the midst of the response"),
    (CHUNKED + b"5\r\nhello\r\n0\r\n", "in the midst of the response"),
    (OK, "in the midst of the response"),
    (b"", "in the midst of the response"),
])
def test_what_is_no_response_is_refused(data, said, step):
    with pytest.raises(BadResponse, match=re.escape(said)):
        parsed(data, step=step, ends=True)


# --- Programs on supervisors ---------------------------------------------------

EXAMPLES = ROOT / "examples"
BREAKER = Path(__file__).with_name("broken_example.py")
ON_SUPERVISORS = ("broadcast_server", "port_forwarder", "worker_pool")
LIMIT = 60          # seconds, against hanging
NOTHING = dict.fromkeys(["descriptors", "sockets", "processes", "tasks", "timers"], 0)
TALKING = ["sh", "-c", "echo hello; exec sleep 1000"]


@contextlib.contextmanager
def running(python, *command):
    process = subprocess.Popen(
        [python, "-B", "-X", "dev", "-W", "error", *map(str, command)], text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        # Ctrl-C may be ignored where the tests run.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def port_of(process):
    words = process.stdout.readline().split()
    assert words[:3] == ["listening", "on", "port"]
    return int(words[3])


def connect(port):
    sock = socket.create_connection(("127.0.0.1", port), timeout=LIMIT)
    return contextlib.closing(sock)


def receive(sock, size):
    """Return as many bytes, or fewer if the connection ends before."""
    data = bytearray()
    while len(data) < size and (more := sock.recv(size - len(data))):
        data += more
    return bytes(data)


def read_to_the_end(sock):
    """Read until the end, or the reset."""
    data = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while more := sock.recv(65536):
            data += more
    return bytes(data)


def interrupted(process):
    """Send Ctrl-C; return the exit status and what was said."""
    process.send_signal(signal.SIGINT)
    return process.communicate(timeout=LIMIT)[1], process.returncode


def result_of(process):
    """Return what broken_example.py says, and check what it must be anyway."""
    output, errors = process.communicate(timeout=LIMIT)
    assert not re.search("Warning|Traceback", errors), errors
    result = json.loads(output.splitlines()[-1])
    assert result["left"] == NOTHING
    return result


@contextlib.contextmanager
def target(answer):
    """A server on loopback; answer(socket) runs in a thread for each connection."""
    threads = []

    def accept():
        with contextlib.suppress(OSError):
            while True:
                sock, _ = server.accept()
                sock.settimeout(LIMIT)
                threads.append(threading.Thread(target=serve, args=[sock]))
                threads[-1].start()

    def serve(sock):
        with contextlib.closing(sock), contextlib.suppress(ConnectionError):
            answer(sock)

    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            for thread in acceptor, *threads:
                thread.join()


def echo(sock):
    while data := sock.recv(65536):
        sock.sendall(data)


def read_while_it_comes(sock):
    """Read until nothing has come for a second; return how much that was."""
    count = 0
    sock.settimeout(1)
    with contextlib.suppress(TimeoutError):
        while data := sock.recv(65536):
            count += len(data)
    sock.settimeout(LIMIT)
    return count


def say_and_end(sock, data):
    """Send it, and no more, if the peer is still there."""
    with contextlib.suppress(OSError):
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)


def frame(message):
    return len(message).to_bytes(4, "big") + message


@pytest.mark.parametrize("example", ON_SUPERVISORS)
def test_an_example_is_short(example):
    assert len((EXAMPLES / f"{example}.py").read_text().splitlines()) < 80


@pytest.mark.parametrize("example", (*ON_SUPERVISORS, "get_url"))
def test_an_example_says_how_it_is_called(python, example):
    done = run(python, EXAMPLES / f"{example}.py", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: {example}.py")


@pytest.mark.parametrize("place, call", [
    ("Leg.__init__", 3), ("Leg.connection_made", 3), ("Leg.connect_peer", 2),
    ("Leg.data_received", 3), ("Leg.eof_received", 1)])
def test_a_broken_forwarder_leaves_nothing(python, place, call):
    with target(echo) as port, running(
            python, BREAKER, "port_forwarder", place, call, port) as process:
        own_port = port_of(process)
        with connect(own_port) as first:
            first.sendall(b"hello")
            assert receive(first, 5) == b"hello"
            with connect(own_port) as second:
                say_and_end(second, b"hello")
                process.stdin.write("now\n")
                result = result_of(process)
                read_to_the_end(second)
            assert result["errors"] == [f"Broken: {place}"]
            assert result["broke with"]["sockets"] >= 3
            assert read_to_the_end(first) == b""


@pytest.mark.parametrize("place, call", [
    ("Client.__init__", 2), ("Client.data_received", 2), ("broadcast", 2),
    ("send_signs_of_life", 1), ("Client.connection_lost", 1)])
def test_a_broken_broadcast_server_leaves_nothing(python, place, call):
    with running(python, BREAKER, "broadcast_server", place, call, 60) as process:
        own_port = port_of(process)
        with connect(own_port) as first:
            first.sendall(frame(b"hello"))
            assert receive(first, 9) == frame(b"hello")
            with connect(own_port) as second:
                say_and_end(second, frame(b"hello"))
                process.stdin.write("now\n")
                result = result_of(process)
                read_to_the_end(second)
            assert result["errors"] == [f"Broken: {place}"]
            assert result["broke with"]["sockets"] >= 2
            read_to_the_end(first)


@pytest.mark.parametrize("place, call, silence", [
    ("Worker.__init__", 2, 60), ("Worker.pipe_data_received", 2, 60),
    ("Worker.fall_silent", 2, 0.2), ("keep_running", 2, 60), ("run_once", 2, 60)])
def test_a_broken_pool_leaves_nothing(python, place, call, silence):
    with running(python, BREAKER, "worker_pool", place, call, silence,
                 *TALKING) as process:
        process.stdin.write("now\n")
        result = result_of(process)
        assert result["errors"] == [f"Broken: {place}"]
        assert result["broke with"]["tasks"] >= 2


@pytest.mark.parametrize("place, call", [
    ("Client.connection_made", 1), ("Client.data_received", 1), ("Client.unpack", 1),
    ("Client.nothing_came", 1)])
def test_a_broken_client_leaves_nothing(python, place, call):
    def stall(sock):
        sock.recv(65536)
        sock.sendall(CHUNKED + b"5\r\nhello\r\n")
        read_to_the_end(sock)

    with target(stall) as port, running(
            python, BREAKER, "get_url", place, call, f"http://127.0.0.1:{port}/",
            0.2 if place == "Client.nothing_came" else 60) as process:
        process.stdin.write("now\n")
        result = result_of(process)
        assert result["errors"] == [f"Broken: {place}"]
        assert result["broke with"]["sockets"] == 1


@pytest.fixture(params=ON_SUPERVISORS)
def busy(request, python):
    """An example that has something to do."""
    arguments = {"broadcast_server": [0], "port_forwarder": [0, "127.0.0.1"],
                 "worker_pool": ["--", *TALKING]}[request.param]
    with target(echo) as port:
        if request.param == "port_forwarder":
            arguments.append(port)
        with running(python, EXAMPLES / f"{request.param}.py", *arguments) as process:
            if request.param == "worker_pool":
                assert process.stdout.readline() == "hello\n"
                yield process
                return
            with connect(port_of(process)) as sock:
                sock.sendall(frame(b"hello"))
                assert receive(sock, 9) == frame(b"hello")
                yield process


def without_killed(stderr):
    """Drop debug mode's remarks on processes that are killed."""
    return [line for line in without_slow_steps(stderr)
            if not line.startswith("Close running child process: kill ")]


def test_ctrl_c_ends_an_example_cleanly(busy):
    errors, status = interrupted(busy)
    assert (without_killed(errors), status) == ([], 0)


@contextlib.contextmanager
def forwarder(python, answer):
    """A forwarder to a server; give its process."""
    with target(answer) as port, running(
            python, EXAMPLES / "port_forwarder.py", 0, "127.0.0.1", port) as process:
        yield process


@contextlib.contextmanager
def forwarded(python, answer):
    """The same; give the forwarder's port."""
    with forwarder(python, answer) as process:
        yield port_of(process)


def stop_when_idle(process):
    """Stop a process that waits for its sockets, so that what is next comes in order."""
    status = Path(f"/proc/{process.pid}/status")
    while "\nState:\tS" not in status.read_text():
        time.sleep(0.001)
    process.send_signal(signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)


def will_reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_a_direction_that_ends_leaves_the_other_one_open(python):
    def reverse(sock):
        data = read_to_the_end(sock)
        for byte in reversed(data):
            sock.sendall(bytes([byte]))

    with forwarded(python, reverse) as port, connect(port) as sock:
        sock.sendall(b"hello")
        sock.shutdown(socket.SHUT_WR)
        assert read_to_the_end(sock) == b"olleh"


def test_a_server_that_ends_first_still_reads(python):
    read = queue.SimpleQueue()

    def end_first(sock):
        sock.shutdown(socket.SHUT_WR)
        read.put(read_to_the_end(sock))

    with forwarded(python, end_first) as port, connect(port) as sock:
        assert read_to_the_end(sock) == b""
        sock.sendall(b"hello")
        sock.shutdown(socket.SHUT_WR)
        assert read.get(timeout=LIMIT) == b"hello"


def test_a_reset_ends_both_connections(python):
    def reset(sock):
        sock.recv(1)
        will_reset(sock)

    with forwarded(python, reset) as port, connect(port) as sock:
        sock.sendall(b"h")
        assert read_to_the_end(sock) == b""


def test_the_forwarder_outlives_an_end_and_a_reset_at_once(python):
    may_reset, is_reset = threading.Event(), threading.Event()

    def reset(sock):
        sock.sendall(sock.recv(1))
        may_reset.wait(LIMIT)
        will_reset(sock)
        sock.close()
        is_reset.set()

    with forwarder(python, reset) as process:
        port = port_of(process)
        with connect(port) as sock:
            sock.sendall(b"h")
            assert receive(sock, 1) == b"h"
            # It learns of the client's end first, and of the target's reset next.
            stop_when_idle(process)
            sock.shutdown(socket.SHUT_WR)
            may_reset.set()
            assert is_reset.wait(LIMIT)
            process.send_signal(signal.SIGCONT)
            assert read_to_the_end(sock) == b""
        assert interrupted(process) == ("", 0)


def test_the_forwarder_reads_no_more_than_its_peer_takes(python):
    size, read, may_read = 64 << 20, queue.SimpleQueue(), threading.Event()

    def read_late(sock):
        may_read.wait(LIMIT)
        read.put(len(read_to_the_end(sock)))

    with forwarded(python, read_late) as port, connect(port) as sock:
        sock.settimeout(1)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < size:
                sent += sock.send(bytes(65536))
        may_read.set()
        sock.settimeout(LIMIT)
        assert sent < size / 2      # most is in the buffers of four sockets
        sock.sendall(bytes(size - sent))
        sock.shutdown(socket.SHUT_WR)
        assert read.get(timeout=LIMIT) == size


def test_a_target_that_refuses_ends_one_connection_only(python):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with running(python, EXAMPLES / "port_forwarder.py", 0, "127.0.0.1", port) as process:
        own_port = port_of(process)
        for _ in range(2):
            with connect(own_port) as sock:
                assert read_to_the_end(sock) == b""
            assert process.stderr.readline().startswith(
                f"cannot connect to ('127.0.0.1', {port}): ConnectionRefusedError")


def test_a_message_goes_to_all_clients(python):
    with (running(python, EXAMPLES / "broadcast_server.py", 0) as process,
          connect(port := port_of(process)) as first):
        first.sendall(frame(b"alone"))
        assert receive(first, 9) == frame(b"alone")
        with connect(port) as second:
            second.sendall(frame(b""))
            # One message in two segments, and two messages in one.
            assert [receive(sock, 4) for sock in (first, second)] == [frame(b"")] * 2
            for part in frame(b"hello")[:2], frame(b"hello")[2:] + frame(b"world" * 100):
                first.sendall(part)
            for sock in first, second:
                assert receive(sock, 9) == frame(b"hello")
                assert receive(sock, 504) == frame(b"world" * 100)


def test_a_client_that_breaks_the_protocol_is_cut_off_alone(python):
    with running(python, EXAMPLES / "broadcast_server.py", 0) as process:
        port = port_of(process)
        with connect(port) as good, connect(port) as bad:
            bad.sendall((65537).to_bytes(4, "big"))
            assert read_to_the_end(bad) == b""
            good.sendall(frame(b"x" * 65536))
            assert receive(good, 4 + 65536) == frame(b"x" * 65536)
        assert interrupted(process) == ("", 0)


def test_clients_get_signs_of_life(python):
    with (running(python, EXAMPLES / "broadcast_server.py", 0,
                  "--interval", "0.01") as process,
          connect(port_of(process)) as sock):
        assert receive(sock, 8) == bytes(8)


@contextlib.contextmanager
def client_left_behind(python, grace):
    """A server with a client that has not read for long; give two clients, the slow one
    second, and how many bytes have been sent to each."""
    code = (f"import asyncio, sys; sys.path.insert(0, {str(EXAMPLES)!r}); "
            f"import broadcast_server as server; server.GRACE = {grace}; "
            "asyncio.run(server.serve(0, 60))")
    with (running(python, "-c", code) as process,
          connect(port := port_of(process)) as quick, connect_with_small_buffer(port) as slow):
        slow.sendall(frame(b"here"))
        assert receive(quick, 8) == frame(b"here")
        message, sent, until = frame(b"x" * 60_000), 8, time.monotonic() + 0.5
        while sent < 32 << 20 or time.monotonic() < until:
            quick.sendall(message)
            assert receive(quick, len(message)) == message
            sent += len(message)
        yield quick, slow, sent


@contextlib.contextmanager
def connect_with_small_buffer(port):
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(LIMIT)
        sock.connect(("127.0.0.1", port))
        yield sock


def test_a_slow_client_misses_messages_and_goes_on(python):
    with client_left_behind(python, grace=60) as (quick, slow, sent):
        assert read_while_it_comes(slow) < sent
        quick.sendall(frame(b"last"))
        assert receive(slow, 8) == frame(b"last")


def test_a_client_that_is_slow_for_too_long_is_cut_off(python):
    with client_left_behind(python, grace=0.1) as (quick, slow, sent):
        assert len(read_to_the_end(slow)) < sent


def test_a_worker_that_fails_starts_again_after_longer_and_longer_pauses(python):
    with running(python, EXAMPLES / "worker_pool.py", "--workers", 1, "--",
                 "sh", "-c", "echo hello; exit 3") as process:
        for pause in "0.1", "0.2", "0.4":
            assert process.stdout.readline() == "hello\n"
            assert process.stderr.readline() == (
                f"worker 0: exit status 3, starts again in {pause} s\n")


def test_a_worker_that_falls_silent_is_killed_and_starts_again(python):
    with running(python, EXAMPLES / "worker_pool.py", "--workers", 1, "--silence", "0.2",
                 "--", "sh", "-c", "echo $$; exec sleep 1000") as process:
        pids = [int(process.stdout.readline()) for _ in range(2)]
        assert not Path(f"/proc/{pids[0]}").exists()
        interrupted(process)
        assert not Path(f"/proc/{pids[1]}").exists()


def test_a_worker_that_goes_on_talking_is_left_alone(python):
    done = run(python, EXAMPLES / "worker_pool.py", "--workers", "1", "--silence", "1",
               "--", "sh", "-c", "for i in 1 2 3 4 5 6; do echo $i; sleep 0.25; done")
    assert (done.stdout, done.stderr, done.returncode) == ("1\n2\n3\n4\n5\n6\n", "", 0)


def test_a_pool_ends_when_its_workers_have_ended_well(python):
    done = run(python, EXAMPLES / "worker_pool.py", "--workers", "3", "--", "echo", "hello")
    assert (done.stdout, done.stderr, done.returncode) == ("hello\n" * 3, "", 0)


# --- The client that is shown ---------------------------------------------------

@pytest.fixture(scope="module")
def shown_get(python):
    done = run(python, "-X", "dev", "-W", "error", EXAMPLES / "get_url.py")
    assert done.returncode == 0, done.stderr
    assert without_slow_steps(done.stderr) == []
    return done.stdout


def section(output, number):
    return output.split(f"\n{number}. ")[1].split(f"\n{number + 1}. ")[0]


def test_the_client_gets_each_kind_of_body(shown_get):
    assert re.findall(r"(\w+)://origin.example/(\S+) +200 OK, 2640 bytes, as sent\n",
                      section(shown_get, 1)) == [
        ("http", "length"), ("http", "until-closed"), ("https", "chunks"), ("https", "gzip")]


@pytest.mark.parametrize("number", [1, 2])
def test_the_client_leaves_nothing(shown_get, number):
    assert ("  left over   0 file descriptors, 0 tasks, 0 timers\n"
            in section(shown_get, number))


def test_the_client_shows_what_it_owned_and_what_was_raised(shown_get):
    text = section(shown_get, 2)
    assert re.findall(r"^  owned       <(\w+)", text, re.M) == [
        "Task", "_OwnedTimerHandle", "_SelectorSocketTransport"]
    assert re.search(r"ExceptionGroup: .*\n +BadResponse: .* '0x40'\n +in data_received >",
                     text)
    assert text.endswith("  supervisor  <Supervisor closed>\n")


def test_the_bare_loop_is_shown_to_leave_something(shown_get):
    assert re.findall(r"^  (?:left over   )?(.*(?:waiting|tasks.*|cancelled))$",
                      section(shown_get, 3), re.M) == [
        "after 0.3 s still waiting", "0 file descriptors, 2 tasks, 1 timers",
        "cancelled", "0 file descriptors, 0 tasks, 1 timers"]


def test_what_the_client_shows_fits_a_terminal_of_80_columns(shown_get):
    assert [line for line in shown_get.splitlines() if len(line) > 80] == []


def test_the_client_without_openssl_names_its_package(python, tmp_path):
    done = run(python, EXAMPLES / "get_url.py", PATH=str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (
        1, "", "get_url: the program openssl is missing: apt-get install openssl\n")


def gotten(python, response, *, before="pass", path="/"):
    """Let get_url.py get a response; *before* runs first, in its module."""
    requests = []

    def answer(sock):
        requests.append(sock.recv(65536))
        sock.sendall(response)

    code = (f"import sys; sys.path.insert(0, {str(EXAMPLES)!r})\nimport get_url\n{before}\n"
            "get_url.main(sys.argv[1:])")
    with target(answer) as port:
        done = subprocess.run(
            [python, "-X", "dev", "-W", "error", "-c", code, f"http://127.0.0.1:{port}{path}"],
            capture_output=True, timeout=LIMIT)
        return done, requests[0].replace(b":%d" % port, b":PORT")


# Far more pieces than one read can bring must not be waiting.
SHORT_QUEUE = """
import asyncio
class ShortQueue(asyncio.Queue):
    def put_nowait(self, piece):
        assert self.qsize() < 600
        super().put_nowait(piece)
asyncio.Queue = ShortQueue
"""


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_a_body_that_comes_faster_than_it_is_unpacked_is_whole(python, packed):
    body = os.urandom(4 << 20)
    sent = zlib.compress(body, wbits=31) if packed else body
    coding = b"Content-Encoding: gzip\r\n" * packed
    chunks = [b"%x\r\n%s\r\n" % (len(part), part)
              for at in range(0, len(sent), 1024) for part in [sent[at:at + 1024]]]
    done, _ = gotten(python, OK + coding + b"Transfer-Encoding: chunked\r\n\r\n"
                     + b"".join(chunks) + b"0\r\n\r\n", before=SHORT_QUEUE)
    assert (done.returncode, done.stderr) == (0, b"200 OK\n")
    assert done.stdout == body


def test_the_request_says_what_is_wanted_and_no_more(python):
    _, request = gotten(python, OK + b"\r\n", path="/a%20b/ü c?q=ä&r=1/2#part")
    assert request == (b"GET /a%20b/%C3%BC%20c?q=%C3%A4&r=1/2 HTTP/1.1\r\n"
                       b"Host: 127.0.0.1:PORT\r\nAccept-Encoding: gzip\r\n"
                       b"Connection: close\r\n\r\n")


@pytest.mark.parametrize("response, said", [
    (b"220 smtp.example ESMTP\r\n", "this is no status line: '220 smtp.example ESMTP'"),
    (b"", "the connection ended in the midst of the response"),
    (OK + b"Content-Encoding: br\r\n\r\n", "Content-Encoding: br was not asked for"),
    (OK + b"Content-Encoding: gzip\r\n\r\n" + zlib.compress(b"hello", wbits=31)[:-9],
     "the gzip stream has no end"),
    (OK + b"Content-Encoding: gzip\r\n\r\nhello", "the gzip stream is broken: "
     "Error -3 while decompressing data: incorrect header check"),
    (OK + b"Content-Encoding: gzip\r\n\r\n", "the gzip stream has no end"),
    (OK + b"\r\n" + bytes(1001), "the body has more than 1000 bytes"),
    (OK + b"Content-Encoding: gzip\r\n\r\n" + zlib.compress(bytes(1 << 20), wbits=31),
     "the body has more than 1000 bytes"),
])
def test_what_the_client_cannot_use_is_one_clear_line(python, response, said):
    done, _ = gotten(python, response, before="get_url.LARGEST_BODY = 1000")
    assert (done.returncode, done.stdout, done.stderr.decode()) == (
        1, b"", f"get_url: {said}\n")


def test_a_reset_in_the_midst_of_a_response_is_one_clear_line(python):
    def reset(sock):
        sock.recv(65536)
        sock.sendall(CHUNKED + b"5\r\nhello\r\n")
        will_reset(sock)

    with target(reset) as port:
        done = run(python, EXAMPLES / "get_url.py", f"http://127.0.0.1:{port}/")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"get_url: .*Connection reset by peer\n", done.stderr)


def test_a_server_that_stops_in_the_midst_is_given_up(python):
    def stop(sock):
        sock.recv(65536)
        sock.sendall(CHUNKED + b"5\r\nhel")
        read_to_the_end(sock)

    code = (f"import asyncio, sys; sys.path.insert(0, {str(EXAMPLES)!r}); import get_url\n"
            "try: asyncio.run(get_url.get(sys.argv[1], idle=0.2))\n"
            "except* TimeoutError as group: print(*group.exceptions)")
    with target(stop) as port:
        done = run(python, "-c", code, f"http://127.0.0.1:{port}/")
    assert (done.stdout, done.stderr) == ("the server sent nothing for 0.2 s\n", "")


@pytest.mark.parametrize("url", ["ftp://x/", "http:///", "http://me@x/", "x"])
def test_what_is_no_url_of_http_is_refused(python, url):
    done = run(python, EXAMPLES / "get_url.py", url)
    assert (done.returncode, done.stderr) == (1, f"get_url: not an HTTP URL: {url!r}\n")
