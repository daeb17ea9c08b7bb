"""The series brought to another base: conflicts once, then unattended."""

import shutil

import pytest

import checking
import importing
import layout
import rebasing
import series
from series_checkout import (BASE, HEADER, NEWER, TASKS, changed, write_files)
from test_series_export import ALL_KINDS, tasks
from ui import OverlayError

# On this base the line that topic "one" changes reads otherwise.
OTHER_TASKS = changed(NEWER["Lib/asyncio/tasks.py"], "line 20\n",
                      "line twenty\n")
OTHER = NEWER | {"Lib/asyncio/tasks.py": OTHER_TASKS}
RESOLVED = changed(OTHER_TASKS, "line twenty\n", "ours twenty\n")
VARIANT = "patches/3.13.15/one.patch"


def bring(checkout):
    rebasing.bring(checkout.fetch("3.13.15"), checkout.root, offline=True)


def there(checkout):
    return importing.Repository(layout.build_root() / "series-3.13.15")


def composed(checkout, files):
    write_files(checkout.newer, files)
    return checkout.compose(stock=checkout.newer, version="3.13.15")


def stopped(checkout, match="topic one conflicts"):
    with pytest.raises(OverlayError, match=match) as caught:
        bring(checkout)
    return str(caught.value)


def make_conflict(checkout):
    """Topic "one" of three conflicts; the others have nothing to do with it."""
    checkout.add_base("3.13.15", OTHER)
    checkout.make(("zero", {"Lib/zero.py": "0\n"}),
                  ("one", tasks("line 20\n", "ours 20\n")
                   | {"Lib/own.py": "own\n"}),
                  ("two", ALL_KINDS))


def resolve(checkout, text=RESOLVED):
    folder = there(checkout).path
    write_files(folder, {"Lib/asyncio/tasks.py": text})
    checkout.git("add", "Lib/asyncio/tasks.py", folder=folder)


def edit_there(checkout, text):
    """Have topic "one" make *text* of line 20 on the other base alone."""
    folder = there(checkout).path
    write_files(folder, {"Lib/asyncio/tasks.py": changed(
        NEWER["Lib/asyncio/tasks.py"], "line 20\n", text)})
    checkout.git("commit", "--quiet", "--all", "--amend", "--no-edit",
                 folder=folder)


def finished(checkout):
    """True if the outcome is recorded, and what was resolved is composed."""
    assert composed(checkout, OTHER)["Lib/asyncio/tasks.py"] == (
        RESOLVED.encode())
    assert checkout.compose()["Lib/asyncio/tasks.py"] == changed(
        TASKS, "line 20\n", "ours 20\n").encode()
    assert [path.name for path in (checkout.root / "patches/3.13.15")
            .iterdir()] == ["one.patch"]
    return checking.check_series(checkout.root, offline=True) == [
        "topic two: No-docs, but there are docs"]


def test_patch_with_a_mere_offset_needs_nothing_of_its_own(checkout):
    checkout.make(("one", tasks("line 20\n", "ours 20\n")), ("two", ALL_KINDS))
    before = checkout.snapshot()
    bring(checkout)
    bring(checkout)
    assert checkout.snapshot() == before
    assert b"ours 20" in there(checkout).read("HEAD", "Lib/asyncio/tasks.py")


def test_conflict_stops_and_says_how_to_go_on(checkout):
    make_conflict(checkout)
    before = checkout.snapshot()
    said = stopped(checkout)
    for part in ("3.13.15", "Lib/asyncio/tasks.py", str(there(checkout).path),
                 "git add", "git cherry-pick --continue",
                 "make rebase BASE=3.13.15"):
        assert part in said
    assert "\n" not in said
    assert stopped(checkout) == said
    assert checkout.snapshot() == before
    marked = (there(checkout).path / "Lib/asyncio/tasks.py").read_text()
    assert "<<<<<<<" in marked and "ours 20" in marked


def test_resolved_conflict_is_recorded_and_then_runs_unattended(checkout):
    make_conflict(checkout)
    stopped(checkout)
    resolve(checkout)
    bring(checkout)
    assert finished(checkout)
    before = checkout.snapshot()
    bring(checkout)
    assert checkout.snapshot() == before


def test_resolution_may_be_committed_by_hand(checkout):
    make_conflict(checkout)
    stopped(checkout)
    resolve(checkout)
    checkout.git("cherry-pick", "--continue", folder=there(checkout).path,
                 GIT_EDITOR="true")
    bring(checkout)
    assert finished(checkout)


def test_aborted_resolution_meets_the_same_conflict_again(checkout):
    make_conflict(checkout)
    said = stopped(checkout)
    checkout.git("cherry-pick", "--abort", folder=there(checkout).path)
    assert stopped(checkout) == said
    resolve(checkout)
    bring(checkout)
    assert finished(checkout)


def test_conflict_markers_that_were_left_are_refused(checkout):
    make_conflict(checkout)
    stopped(checkout)
    folder = there(checkout).path
    checkout.git("add", "--all", folder=folder)
    stopped(checkout, "leftover conflict marker")
    checkout.git("cherry-pick", "--continue", folder=folder,
                 GIT_EDITOR="true")
    stopped(checkout, "leftover conflict marker")


def test_title_of_seven_letters_is_no_conflict_marker(checkout):
    checkout.add_base("3.13.15", OTHER)
    checkout.make(("one", tasks("line 20\n", "ours 20\n")
                   | {"Doc/library/own.rst": "Shields\n=======\n"}))
    stopped(checkout)
    resolve(checkout)
    bring(checkout)
    assert composed(checkout, OTHER)["Lib/asyncio/tasks.py"] == (
        RESOLVED.encode())


def test_two_commits_for_one_conflict_are_refused(checkout):
    make_conflict(checkout)
    stopped(checkout)
    resolve(checkout)
    folder = there(checkout).path
    checkout.git("cherry-pick", "--continue", folder=folder,
                 GIT_EDITOR="true")
    checkout.commit("more", {"README": "x"}, folder=folder)
    stopped(checkout, "one commit for topic one was to follow")


def test_series_that_changed_during_a_rebase_is_told(checkout):
    make_conflict(checkout)
    stopped(checkout)
    write_files(checkout.root, {"Lib/own.py": "other\n"})
    stopped(checkout, "the series changed since")


def test_series_that_changed_is_told_before_an_edit_is_recorded(checkout):
    checkout.make(("one", tasks("line 20\n", "ours 20\n")))
    bring(checkout)
    edit_there(checkout, "there 20\n")
    path = checkout.root / "patches" / "one.patch"
    path.write_text(changed(path.read_text(), "+ours 20", "+ours XX"))
    before = checkout.snapshot()
    stopped(checkout, "the series changed since")
    assert checkout.snapshot() == before


def test_patch_written_by_hand_during_a_rebase_is_not_overwritten(
        checkout, monkeypatch):
    checkout.make(("one", tasks("line 20\n", "ours 20\n")))
    bring(checkout)
    edit_there(checkout, "there 20\n")

    def exported_variants(*arguments):
        write_files(checkout.root, {VARIANT: "by hand\n"})
        return real(*arguments)

    real = rebasing.exported_variants
    monkeypatch.setattr(rebasing, "exported_variants", exported_variants)
    stopped(checkout, f"{VARIANT}: changed in the checkout")
    assert (checkout.root / VARIANT).read_text() == "by hand\n"


def test_context_that_differs_is_merged_by_git_alone(checkout):
    checkout.add_base("3.13.15", NEWER | {"Lib/asyncio/tasks.py": changed(
        NEWER["Lib/asyncio/tasks.py"], "line 18\n", "line eighteen\n")})
    checkout.make(("one", tasks("line 20\n", "ours 20\n")))
    bring(checkout)
    variant = (checkout.root / VARIANT).read_text()
    assert " line eighteen\n" in variant and "+ours 20\n" in variant
    assert "Because" not in variant
    assert checking.check_series(checkout.root, offline=True) == []


def test_recorded_patch_goes_when_the_ordinary_one_applies(checkout):
    make_conflict(checkout)
    stopped(checkout)
    resolve(checkout)
    bring(checkout)
    checkout.add_base("3.13.15", NEWER)
    bring(checkout)
    assert not (checkout.root / "patches/3.13.15").exists()


def test_topic_that_changed_meets_its_conflict_again(checkout):
    make_conflict(checkout)
    stopped(checkout)
    resolve(checkout)
    bring(checkout)
    path = checkout.root / "patches" / "one.patch"
    path.write_text(changed(path.read_text(), "+ours 20", "+ours XX"))
    assert f"an earlier version is in {checkout.root / VARIANT}" in (
        stopped(checkout))
    resolve(checkout, changed(OTHER_TASKS, "line twenty\n", "ours XX\n"))
    bring(checkout)
    assert "+ours XX" in (checkout.root / VARIANT).read_text()


def test_topic_that_is_fixed_there_has_its_own_files_and_no_patch(checkout):
    checkout.add_base("3.13.15", OTHER)
    checkout.import_series()
    checkout.topic("one", tasks("line 20\n", "ours 20\n")
                   | {"Lib/own.py": "own\n"}, fields="Fixed-in: 3.13.13\n")
    checkout.export()
    bring(checkout)
    assert not (checkout.root / "patches/3.13.15").exists()
    repository = there(checkout)
    assert repository.read("HEAD", "Lib/asyncio/tasks.py") == (
        OTHER_TASKS.encode())
    assert repository.read("HEAD", "Lib/own.py") == b"own\n"
    assert set(composed(checkout, OTHER)) == {"Lib/own.py"}


def test_edit_after_the_rebase_is_recorded_by_the_next(checkout):
    checkout.make(("one", tasks("line 20\n", "ours 20\n")))
    bring(checkout)
    write_files(there(checkout).path, {"Lib/asyncio/tasks.py": changed(
        NEWER["Lib/asyncio/tasks.py"], "line 20\n", "there 20\n")})
    stopped(checkout, "uncommitted changes")
    checkout.git("commit", "--quiet", "--all", "--amend", "--no-edit",
                 folder=there(checkout).path)
    bring(checkout)
    assert "+there 20" in (checkout.root / VARIANT).read_text()
    bring(checkout)
    assert "+there 20" in (checkout.root / VARIANT).read_text()


@pytest.mark.parametrize("change, told", [
    ({"Lib/own.py": "other\n"}, "own files are the same on every base"),
    (None, "not those of patches/series"),
])
def test_edit_that_belongs_in_the_series_is_not_recorded(checkout, change,
                                                         told):
    checkout.make(("one", {"Lib/own.py": "own\n"}))
    bring(checkout)
    checkout.commit(HEADER.format(name="one", summary="Change it")
                    if change else HEADER.format(name="new", summary="New"),
                    change or {}, folder=there(checkout).path)
    if change:
        checkout.git("rebase", "--quiet", "-i", "base",
                     folder=there(checkout).path,
                     GIT_SEQUENCE_EDITOR="sed -i -e 2s/pick/fixup/")
    before = checkout.snapshot()
    stopped(checkout, told)
    assert checkout.snapshot() == before


def test_replaced_file_is_no_conflict_once_its_text_is_known(checkout):
    path = "Lib/asyncio/taskgroups.py"
    text = "class TaskGroup:\n    newer = 1\n"
    checkout.add_base("3.13.15", NEWER | {path: text})
    checkout.make(("one", {path: "ours\n"}
                   | tasks("line 20\n", "ours 20\n"), f"Replaces: {path}\n"))
    found = series.sha256(text.encode())
    stopped(checkout, f"{path}.*does not know .SHA-256 {found}")
    assert not there(checkout).exists()
    replaced = checkout.root / "patches" / "replaced"
    replaced.write_text(replaced.read_text().strip() + f" {found}\n")
    bring(checkout)
    assert there(checkout).read("HEAD", path) == b"ours\n"
    assert checking.check_series(checkout.root, offline=True) == []


def test_replaced_file_in_a_conflicting_topic_keeps_our_text(checkout):
    path = "Lib/asyncio/taskgroups.py"
    text = "class TaskGroup:\n    newer = 1\n"
    checkout.add_base("3.13.15", OTHER | {path: text})
    checkout.make(("one", {path: "ours\n"}
                   | tasks("line 20\n", "ours 20\n"), f"Replaces: {path}\n"))
    replaced = checkout.root / "patches" / "replaced"
    replaced.write_text(replaced.read_text().strip()
                        + f" {series.sha256(text.encode())}\n")
    said = stopped(checkout)
    assert path not in said
    resolve(checkout)
    bring(checkout)
    assert composed(checkout, OTHER | {path: text})[path] == b"ours\n"


def test_project_file_with_crlf_is_resolved_and_recorded_with_lf(checkout):
    path = "PCbuild/_asyncio.vcxproj"
    checkout.add_base("3.13.15", NEWER | {path: changed(
        BASE[path], "<Item n='5' />\r\n", "<Item n='five' />\r\n")})
    checkout.make(("one", {path: changed(
        BASE[path], "<Item n='5' />\r\n", "<Item n='V' />\r\n")}))
    stopped(checkout)
    folder = there(checkout).path
    write_files(folder, {path: changed(BASE[path], "<Item n='5' />\r\n",
                                       "<Item n='V5' />\r\n")})
    checkout.git("add", path, folder=folder)
    bring(checkout)
    assert b"\r" not in (checkout.root / VARIANT).read_bytes()
    text = composed(checkout, {path: changed(
        BASE[path], "<Item n='5' />\r\n", "<Item n='five' />\r\n")})[path]
    assert text.decode() == changed(BASE[path], "<Item n='5' />\r\n",
                                    "<Item n='V5' />\r\n")


def test_series_is_built_and_tested_whole_on_the_other_base(
        checkout, monkeypatch, capsys):
    checkout.add_base("3.13.15", NEWER | {"Lib/asyncio/tasks.py": changed(
        NEWER["Lib/asyncio/tasks.py"], "line 18\n", "line eighteen\n")})
    checkout.import_series()
    checkout.topic("zero", {"Lib/asyncio/taskgroups.py": "0\n"},
                   fields="Fixed-in: 3.13.13\n")
    checkout.topic("one", tasks("line 20\n", "ours 20\n"))
    checkout.topic("two", {"Lib/test/test_two.py": ""})
    checkout.export()
    tested = []

    def run_topics_tests(python, topics, *, base, what, log):
        tested.append((python, [topic.name for topic in topics],
                       base.version, what, log.name))

    monkeypatch.setattr(rebasing.build, "build", lambda *, variant, base:
                        f"{variant} on {base.version}")
    monkeypatch.setattr(rebasing, "run_topics_tests", run_topics_tests)
    rebasing.rebase_series(checkout.fetch("3.13.15"), checkout.root)
    assert tested == [("release on 3.13.15", ["zero", "one", "two"],
                       "3.13.15", "the series on 3.13.15",
                       "rebase-3.13.15.log")]
    assert capsys.readouterr().out.splitlines()[-1] == (
        "3 topics on 3.13.15; fixed there: zero; with a patch of its own: one")


def test_base_of_the_patches_is_no_base_to_rebase_to(checkout):
    with pytest.raises(OverlayError, match="name another one"):
        rebasing.bring(checkout.fetch("3.13.5"), checkout.root)


def test_newer_base_can_become_the_one_that_patches_are_made_against(checkout):
    make_conflict(checkout)
    stopped(checkout)
    resolve(checkout)
    bring(checkout)
    bases = checkout.root / "patches" / "bases"
    # The older one would need patches of its own now.
    bases.write_text(bases.read_text().splitlines(True)[-1])
    shutil.rmtree(checkout.series)
    there(checkout).path.rename(checkout.series)
    checkout.export()
    assert not (checkout.root / "patches/3.13.15").exists()
    assert composed(checkout, OTHER)["Lib/asyncio/tasks.py"] == (
        RESOLVED.encode())
    assert checking.check_series(checkout.root, offline=True) == [
        "topic two: No-docs, but there are docs"]
