"""The demo shows what is true, says so when it cannot go on, and cleans up."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
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
