"""The maintenance targets as make calls them."""

import pytest

import base
import layout
import maintain
from series_checkout import write_files
from settings import Settings, save_settings
from test_series_export import tasks
from test_series_rebase import OTHER
from ui import OverlayError


# --- Folders that are not ours -----------------------------------------------------

@pytest.mark.parametrize("files", [
    {"series/notes.txt": "mine\n"}, {"series/.hidden": "mine\n"},
    {"series/.git": "gitdir: elsewhere\n", "series/README": "mine\n"},
    {"series": "mine\n"}])
def test_import_leaves_files_alone_that_are_in_no_repository(checkout, files):
    write_files(layout.build_root(), files)
    with pytest.raises(OverlayError, match="series is not a git repository, "
                                           ".*move it away$"):
        maintain.main(["import"])
    for path, text in files.items():
        assert (layout.build_root() / path).read_text() == text


def test_rebase_leaves_files_alone_that_are_in_no_repository(checkout):
    notes = layout.build_root() / "series-3.13.15" / "notes.txt"
    write_files(notes.parent, {notes.name: "mine\n"})
    with pytest.raises(OverlayError, match="is not a git repository"):
        maintain.main(["rebase", "--base", "3.13.15"])
    assert notes.read_text() == "mine\n"


def test_import_takes_an_empty_folder(checkout):
    (layout.build_root() / "series").mkdir(parents=True)
    maintain.main(["import"])
    assert checkout.repository.exists()


def test_wrong_argument_of_a_target_is_told_in_a_line(checkout):
    with pytest.raises(OverlayError, match="--bse .*see make rebase --help.$"):
        maintain.main(["rebase", "--bse", "3.13.15"])


# --- The base ----------------------------------------------------------------------

def test_base_in_the_environment_is_for_rebase_alone(checkout, monkeypatch):
    checkout.make(("one", tasks("line 7\n", "seven\n")))
    monkeypatch.setenv("BASE", "/home/x")
    monkeypatch.setenv("BASE_SHA256", "no hash")
    before = checkout.snapshot()
    for command in ("import", "export", "check-series", "review"):
        assert maintain.main([command]) == 0
    assert checkout.snapshot() == before
    monkeypatch.delenv("BASE_SHA256")
    with pytest.raises(OverlayError, match="/home/x: no such tarball"):
        maintain.main(["rebase"])


@pytest.fixture
def rebased(monkeypatch):
    """The bases that the series was brought to."""
    bases = []
    monkeypatch.delenv("BASE", raising=False)
    monkeypatch.delenv("BASE_SHA256", raising=False)
    monkeypatch.setattr(maintain, "rebase_series",
                        lambda base, root, offline: bases.append(base.version))
    return bases


def configure(checkout, version, base=None, sha256=None):
    save_settings(Settings(base=base, base_sha256=sha256, version=version,
                           found_sha256=checkout.hashes[version],
                           offline=True))


def test_rebase_goes_to_the_configured_base(checkout, rebased):
    configure(checkout, "3.13.15", base="3.13.15")
    maintain.main(["rebase"])
    tarball = checkout.fetch("3.13.15").path
    bases = checkout.root / "patches" / "bases"
    bases.write_text(bases.read_text().partition("\n")[0])
    configure(checkout, "3.13.15", str(tarball), checkout.hashes["3.13.15"])
    maintain.main(["rebase"])
    assert rebased == ["3.13.15", "3.13.15"]


def test_base_that_is_given_outranks_the_configured_one(checkout, rebased,
                                                        monkeypatch):
    configure(checkout, "3.13.5", base="3.13.5")
    monkeypatch.setenv("BASE", "3.13.15")
    maintain.main(["rebase"])
    assert rebased == ["3.13.15"]


def test_rebase_at_a_conflict_asks_no_place_offline(checkout, monkeypatch):
    checkout.add_base("3.13.15", OTHER)
    checkout.make(("one", tasks("line 20\n", "ours 20\n")))
    configure(checkout, "3.13.15", base="3.13.15")
    checkout.fetch().path.unlink()
    monkeypatch.setattr(base, "_PLACES", [
        (name, pytest.fail if name != "the cache" else fetch)
        for name, fetch in base._PLACES])
    with pytest.raises(OverlayError, match="--offline was given"):
        maintain.main(["rebase"])


@pytest.mark.parametrize("base", [None, "3.13.5"])
def test_rebase_asks_for_a_base_if_the_default_one_is_configured(
        checkout, rebased, base):
    configure(checkout, "3.13.5", base=base)
    with pytest.raises(OverlayError, match="which base"):
        maintain.main(["rebase"])
    assert rebased == []
