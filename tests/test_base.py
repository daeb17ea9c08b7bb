"""Tests of the search for the base tarball: what each place may give."""

import contextlib
import hashlib
import os
import subprocess

import pytest

import base
from ui import OverlayError

GOOD = b"the tarball"
DIGEST = hashlib.sha256(GOOD).hexdigest()


@pytest.fixture
def target(tmp_path, monkeypatch):
    """Where the cache has the tarball of 3.99.0; only python.org is reached."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    places = [place for place in base._PLACES if "Debian" not in place[0]]
    monkeypatch.setattr(base, "_PLACES", places)
    folder = tmp_path / "asyncio-overlay" / "bases"
    folder.mkdir(parents=True)
    return folder / "Python-3.99.0.tar.xz"


@pytest.fixture
def asked(monkeypatch):
    """The addresses that were asked; *gives* is what they have."""
    class Asked(list):
        gives = GOOD

    asked = Asked()

    def download(url, path):
        asked.append(url)
        path.write_bytes(asked.gives)

    monkeypatch.setattr(base, "_download", download)
    return asked


def test_a_good_download_gets_into_the_cache(target, asked):
    assert base._search("3.99.0", DIGEST, offline=False) == target
    assert target.read_bytes() == GOOD
    assert len(asked) == 1


def test_a_download_with_another_hash_is_refused(target, asked):
    asked.gives = b"something else"
    with pytest.raises(OverlayError) as caught:
        base._search("3.99.0", DIGEST, offline=False)
    assert "python.org: Python-3.99.0.tar.xz (14 bytes)" in str(caught.value)
    assert DIGEST in str(caught.value)
    assert not list(target.parent.iterdir())


def test_nobody_is_asked_for_what_is_in_the_cache(target, asked):
    target.write_bytes(GOOD)
    assert base._search("3.99.0", DIGEST, offline=False) == target
    assert not asked


def test_a_damaged_file_in_the_cache_is_replaced(target, asked):
    target.write_bytes(GOOD[:-1])
    base._search("3.99.0", DIGEST, offline=False)
    assert target.read_bytes() == GOOD


@pytest.fixture
def killed(target, asked, monkeypatch):
    """The folder that a run which is killed at the download has left."""
    def download(url, path):
        path.write_bytes(GOOD[:4])
        os._exit(9)

    with monkeypatch.context() as patch:
        patch.setattr(base, "_download", download)
        run = os.fork()
        if not run:
            try:
                base._search("3.99.0", DIGEST, offline=False)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(run, 0)[1]) == 9
    [left] = target.parent.iterdir()
    return left


@pytest.mark.parametrize("offline", [False, True])
def test_what_a_killed_download_has_left_is_removed_by_the_next_run(
        target, killed, offline):
    with contextlib.suppress(OverlayError):
        base._search("3.99.0", DIGEST, offline=offline)
    assert list(target.parent.iterdir()) == ([] if offline else [target])


def test_nothing_is_removed_while_another_run_downloads(target, killed):
    with base._arrival(target) as folder:
        base._search("3.99.0", DIGEST, offline=False)
        assert {killed, folder} <= set(target.parent.iterdir())
    base._search("3.99.0", DIGEST, offline=False)
    assert list(target.parent.iterdir()) == [target]


def test_other_folders_in_the_cache_are_nobodys_to_remove(target, asked):
    other = target.with_name("other")
    other.mkdir()
    base._search("3.99.0", DIGEST, offline=False)
    assert other.exists()


@pytest.fixture
def known(monkeypatch):
    monkeypatch.setattr(base.layout, "known_bases", lambda root=None: {"3.13.5": DIGEST})


@pytest.mark.parametrize("before", [None, GOOD, GOOD[:-1]])
def test_known_tarball_that_is_given_gets_into_the_cache(
        target, known, tmp_path, before):
    given = tmp_path / "given.tar.xz"
    given.write_bytes(GOOD)
    cached = target.with_name("Python-3.13.5.tar.xz")
    if before is not None:
        cached.write_bytes(before)
    assert base.fetch_base(str(given)).path == given
    assert cached.read_bytes() == GOOD
    assert list(target.parent.iterdir()) == [cached]
    assert base.fetch_base("3.13.5", offline=True).path == cached


def test_given_tarball_is_used_where_no_cache_can_be(
        known, tmp_path, monkeypatch):
    given = tmp_path / "given.tar.xz"
    given.write_bytes(GOOD)
    # A file where the folder would be.
    monkeypatch.setenv("XDG_CACHE_HOME", str(given))
    assert base.fetch_base(str(given)).path == given


@pytest.fixture
def apt(tmp_path, monkeypatch):
    """An apt that does not reach an address of several; *shows* is what the
    others have.  By default its update succeeds then."""
    def apt(shows):
        def run(command, *, env, **options):
            if command[0] == "apt-cache":
                return subprocess.CompletedProcess(
                    command, not shows, shows, "E: put some deb-src\n")
            with open(env["APT_CONFIG"]) as file:
                strict = 'APT::Update::Error-Mode "any";\n' in file.readlines()
            return subprocess.CompletedProcess(
                command, 100 if strict else 0, "", "E: Failed to fetch it\n")

        monkeypatch.setattr(base, "_debian_addresses",
                            lambda: ["file:///one", "file:///other"])
        monkeypatch.setattr(base.subprocess, "run", run)
        return base._Apt(tmp_path / "sid", "sid")
    return apt


def test_an_address_that_apt_cannot_reach_is_what_is_told(apt):
    with pytest.raises(base._NotHere, match="Failed to fetch it"):
        apt("").find("python3.99", DIGEST)


def test_another_address_may_have_the_source(apt):
    shown = f"Version: 3.99.0-1\n {DIGEST} 1 python_1.orig.tar.xz\n"
    assert apt(shown).find("python3.99", DIGEST) == "3.99.0-1"
