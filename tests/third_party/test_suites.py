"""The test suites of anyio and aiohttp, compared with stock test by test."""

import pytest
import suites
from settings import Settings, save_settings
from ui import OverlayError
from venv import ensure_venv

ANYIO = suites.Suite(
    project="anyio", package="src", tests=("tests",),
    options=("--hypothesis-seed=0",),
    # Trio is not installed: its parametrisations would only be skipped.
    keywords=("trio",),
    markers=("network",),
    # It looks at __main__.__file__, which a worker does not have.
    alone=("tests/test_to_process.py",),
    minimum=2500)
# Everything that does I/O or has tasks, timers or callbacks.  What is left out
# is two thirds of aiohttp's tests, of text alone (parsers, cookies, routes,
# multipart, messages), and takes twelve minutes of processor time.
_AIOHTTP_FILES = """
    base_protocol client_connection client_functional client_middleware
    client_proto client_session client_ws client_ws_functional connector
    flowcontrol_streams leaks loop proxy proxy_functional pytest_plugin
    resolver run_app streams tcp_helpers test_utils tracing web_app
    web_functional web_protocol web_request_handler web_runner web_sendfile
    web_sendfile_functional web_server web_websocket web_websocket_functional
    websocket_data_queue worker
    """.split()
AIOHTTP = suites.Suite(
    project="aiohttp", package="aiohttp",
    tests=tuple(f"tests/test_{name}.py" for name in _AIOHTTP_FILES),
    # Instead of its own: no coverage, no doctests.
    options=("-o", "addopts=", "--strict-markers"),
    markers=("dev_mode", "autobahn", "internal"),
    minimum=1500)


@pytest.mark.parametrize("suite", [ANYIO, AIOHTTP],
                         ids=lambda suite: suite.project)
def test_suite_has_the_same_outcomes_as_on_stock(
        suite, built_python, venv_python, stock):
    stock_venv = ensure_venv("third-party-stock", stock, suites.REQUIREMENTS)
    result = suites.compare_with_stock(
        suite, (built_python, venv_python), (stock, stock_venv))
    assert not result.broken
    assert list(result.stock.values()).count("passed") >= suite.minimum


def test_offline_no_source_distribution_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("OVERLAY_BUILD", str(tmp_path / "build"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    save_settings(Settings(version="3.99.0", offline=True))
    with pytest.raises(OverlayError, match="^anyio-.* from PyPI, and --offline"):
        suites.sdist("anyio", tmp_path / "no-python")


def test_tests_run_again_are_those_with_the_given_ids(venv_python, tmp_path):
    ids = ["tests/test_lowlevel.py::test_checkpoint[asyncio-True]",
           "tests/test_lowlevel.py::TestRunVar::test_get_set[asyncio+uvloop]",
           "tests/test_to_process.py::test_run_sync_in_process_pool[asyncio]"]
    run = suites.Run(ANYIO, venv_python, log=tmp_path / "log")
    assert run([*ids, "tests/test_lowlevel.py::test_that_is_not_there"]) == (
        dict.fromkeys(ids, "passed"))
