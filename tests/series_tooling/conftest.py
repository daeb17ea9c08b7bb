"""A checkout of its own for each test of the series' tools."""

import os

import pytest

import layout
from series_checkout import Checkout


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(layout, "ROOT", tmp_path / "check out")
    monkeypatch.setenv("OVERLAY_BUILD", str(tmp_path / "check out" / "build"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    (tmp_path / "gitconfig").write_text(
        "[user]\nname = A Maintainer\nemail = maintainer@localhost\n")
    return Checkout(tmp_path)
