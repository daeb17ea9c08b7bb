"""Libraries that know of no supervisor, inside of one, at work and failing."""

import pytest
from surroundings import PROGRAMS

pytestmark = pytest.mark.usefixtures("python")

CALLBACKS = ("connection_made", "data_received", "connection_lost")
DATAGRAMS = ("connection_made", "datagram_received", "connection_lost")
# Library, and the side whose protocol raises: in which of its callbacks.
RAISE = {
    ("aiohttp", "server"): CALLBACKS,
    ("aiohttp", "client"): CALLBACKS,
    ("uvicorn-h11", "server"): CALLBACKS,
    ("uvicorn-httptools", "server"): CALLBACKS,
    ("websockets", "server"): CALLBACKS,
    ("websockets", "client"): CALLBACKS,
    ("aioquic", "server"): ("datagram_received",),
    ("aioquic", "client"): DATAGRAMS,
    ("asyncpg", "client"): CALLBACKS,
}
# What the supervisor owns when they have talked once.
OWNS = {
    "aiohttp": ("Server", "_SelectorSocketTransport"),
    "uvicorn-h11": ("Server", "_SelectorSocketTransport"),
    "uvicorn-httptools": ("Server", "_SelectorSocketTransport"),
    "websockets": ("Server", "Task"),
    "aioquic": ("_OwnedTimerHandle", "_SelectorDatagramTransport"),
    "asyncpg": (),
}


@pytest.fixture
def folder(request):
    """What a library is given: PostgreSQL's folder, or the certificates'."""
    return lambda library: request.getfixturevalue(
        "postgresql" if library == "asyncpg" else "certificate")


@pytest.mark.parametrize(
    ("library", "side", "callback"),
    [(*which, callback) for which, callbacks in RAISE.items()
     for callback in callbacks])
def test_a_callback_that_raises_ends_all_of_a_library(
        run, folder, library, side, callback):
    check(run, folder, library, side, callback)


@pytest.mark.parametrize("library", OWNS)
def test_a_block_ends_with_all_of_a_library_standing(run, folder, library):
    check(run, folder, library, "client", "nothing")


def check(run, folder, library, side, callback):
    owned = run(PROGRAMS / "supervised_libraries.py", library, side, callback,
                folder(library))
    assert all(kind in owned for kind in OWNS[library]), owned


def test_every_callback_of_each_library_is_there():
    assert sum(map(len, RAISE.values())) == 25
    assert {library for library, _ in RAISE} == OWNS.keys()
