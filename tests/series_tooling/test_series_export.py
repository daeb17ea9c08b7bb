"""Import, edit with git, export: nothing is lost, nothing is overwritten."""

import os
import shutil
from pathlib import Path

import pytest

import importing
import patching
import series
from series_checkout import (BASE, HEADER, PROJECT, TASKS, changed,
                             write_files)
from ui import OverlayError

# A maintainer with every setting that could lead a tool astray.
HOSTILE = """\
[user]
    name = A Maintainer
    email = maintainer@localhost
[core]
    autocrlf = true
    abbrev = 5
    quotePath = true
    excludesFile = {folder}/ignored
    attributesFile = {folder}/attributes
[color]
    ui = always
[diff]
    noprefix = true
    mnemonicPrefix = true
    renames = copies
    context = 9
    interHunkContext = 9
    algorithm = patience
    external = false
    orderFile = {folder}/order
[format]
    attach = true
    subjectPrefix = WRONG
    coverLetter = true
[commit]
    cleanup = whitespace
"""

C_FILE = changed(BASE["Modules/_asynciomodule.c"], "/* 10 */\n",
                 '/* 10 */\n#include "_asyncio/core.h"\n')
PATCHED_PROJECT = changed(PROJECT, "<Item n='5' />\r\n",
                          "<Item n='5' />\r\n<Item n='core.h' />\r\n")
# One of each kind that a topic of C code has.
ALL_KINDS = {
    "Modules/_asynciomodule.c": C_FILE,
    "Modules/_asyncio/core.h": "#define CORE 1\n",
    "PCbuild/_asyncio.vcxproj": PATCHED_PROJECT,
    "Doc/library/asyncio-task.rst": BASE["Doc/library/asyncio-task.rst"]
    + "\nMore text.\n",
    "Doc/library/asyncio-core.rst": "Core\n====\n",
}


def tasks(old, new):
    return {"Lib/asyncio/tasks.py": changed(TASKS, old, new)}


def test_imported_base_is_the_tarball_byte_for_byte(checkout):
    checkout.import_series()
    files = checkout.git("ls-files", "-z").split("\0")[:-1]
    assert sorted(files) == sorted(BASE)
    for path, text in BASE.items():
        data = text if isinstance(text, bytes) else text.encode()
        assert (checkout.series / path).read_bytes() == data
        assert checkout.repository.read("base", path) == (
            patching.to_repository(path, data))
    assert checkout.repository.read(
        "base", "Lib/test/data.decTest") == b"one\r\ntwo\r\nthree\r\n"
    assert checkout.git("status", "--porcelain") == ""
    assert checkout.git("ls-files", "-s", "configure").startswith("100755")


def test_round_trip_gives_every_byte_back(checkout):
    checkout.make(("one", ALL_KINDS), ("two", tasks("line 7\n", "seven\n")))
    before = checkout.snapshot()
    checkout.import_series()
    assert checkout.export() == ([], [])
    shutil.rmtree(checkout.root / "Modules")
    for name in ("one", "two"):
        (checkout.root / "patches" / f"{name}.patch").unlink()
    checkout.export()
    assert checkout.snapshot() == before


def test_imports_have_the_same_hashes_everywhere(checkout, monkeypatch):
    checkout.make(("one", ALL_KINDS))
    first = checkout.import_series().head()
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Somebody")
    (checkout.folder / "gitconfig").write_text("[user]\nname = Other\n")
    assert checkout.import_series().head() == first


def test_settings_of_the_users_git_change_nothing(checkout):
    checkout.make(("one", ALL_KINDS), ("two", tasks("line 7\n", "seven\n")))
    before = checkout.snapshot()
    (checkout.folder / "gitconfig").write_text(
        HOSTILE.format(folder=checkout.folder))
    (checkout.folder / "ignored").write_text("*.h\n*.rst\n")
    (checkout.folder / "attributes").write_text("*.c diff=cpp\n*.h binary\n")
    (checkout.folder / "order").write_text("README\n*.rst\n")
    checkout.import_series()
    assert checkout.git("status", "--porcelain") == ""
    assert checkout.export() == ([], [])
    assert checkout.snapshot() == before


@pytest.mark.parametrize("name", ["GIT_DIR", "GIT_WORK_TREE",
                                  "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"])
def test_variables_of_another_repository_change_nothing(checkout, monkeypatch,
                                                        name):
    checkout.make(("one", ALL_KINDS))
    before = checkout.snapshot()
    monkeypatch.setenv(name, str(checkout.folder / "elsewhere"))
    checkout.import_series()
    assert checkout.export() == ([], [])
    assert checkout.snapshot() == before
    assert not (checkout.folder / "elsewhere").exists()


@pytest.mark.parametrize("setting", [
    "[commit]\ngpgSign = true\n[gpg]\nprogram = false\n",
    "[core]\nsafecrlf = true\n"], ids=["signing", "safecrlf"])
def test_settings_of_the_users_git_refuse_no_commit(checkout, setting):
    with open(checkout.folder / "gitconfig", "a") as config:
        config.write(setting)
    checkout.make(("one", {"PCbuild/new.vcxproj": "one\ntwo\n"}))
    assert checkout.compose() == {"PCbuild/new.vcxproj": b"one\r\ntwo\r\n"}


@pytest.mark.parametrize("config, author", [
    ("[user]\nname = Me\nemail = me@localhost\n", "Me <me@localhost>"),
    ("", "asyncio overlay <overlay@localhost>")])
def test_commits_have_the_name_of_a_user_who_told_git(checkout, config,
                                                      author):
    (checkout.folder / "gitconfig").write_text(config)
    checkout.make(("one", ALL_KINDS))
    assert checkout.git("log", "-1", "--format=%an <%ae>").strip() == author


@pytest.mark.parametrize("hook", ["pre-commit", "commit-msg"])
def test_hooks_do_not_judge_what_the_tools_commit(checkout, hook):
    repository = checkout.import_series()
    path = repository.path / ".git" / "hooks" / hook
    path.parent.mkdir()
    path.write_text("#!/bin/sh\nexit 1\n")
    path.chmod(0o755)
    before = repository.head()
    assert repository.commit("some: text\n") != before


def test_c_file_header_project_and_page_are_split_by_owner(checkout):
    checkout.make(("one", ALL_KINDS))
    [topic] = series.load_series(checkout.root)
    assert topic.own_files == ("Doc/library/asyncio-core.rst",
                               "Modules/_asyncio/core.h")
    assert [section.path for section in topic.sections] == [
        "Doc/library/asyncio-task.rst", "Modules/_asynciomodule.c",
        "PCbuild/_asyncio.vcxproj"]
    assert b"\r" not in (checkout.root / "patches/one.patch").read_bytes()
    composed = checkout.compose()
    assert composed == {path: text.encode()
                        for path, text in ALL_KINDS.items()}


def test_new_file_outside_the_own_folders_is_in_the_patch(checkout):
    checkout.make(("one", {"PCbuild/new.vcxproj": "new\r\n"}))
    assert "+new\n" in (checkout.root / "patches/one.patch").read_text()
    assert checkout.compose() == {"PCbuild/new.vcxproj": b"new\r\n"}
    checkout.import_series()
    assert checkout.export() == ([], [])


def test_mode_of_an_own_file_is_kept(checkout):
    checkout.import_series()
    write_files(checkout.series, {"Lib/run.py": "run\n"})
    (checkout.series / "Lib/run.py").chmod(0o755)
    checkout.topic("one", {})
    checkout.export()
    assert (checkout.root / "Lib/run.py").stat().st_mode & 0o111
    checkout.import_series()
    assert checkout.export() == ([], [])
    assert checkout.git("ls-files", "-s", "Lib/run.py").startswith("100755")


@pytest.mark.parametrize("text", ["run\n", "changed\n"])
@pytest.mark.parametrize("before", [0o644, 0o755])
def test_mode_that_a_later_topic_changes_is_its_change(checkout, before, text):
    after = before ^ 0o111
    checkout.import_series()
    for name, mode, content in (("one", before, "run\n"),
                                ("two", after, text)):
        write_files(checkout.series, {"Lib/run.py": content})
        (checkout.series / "Lib/run.py").chmod(mode)
        checkout.topic(name, {})
    checkout.export()
    assert (checkout.root / "Lib/run.py").stat().st_mode & 0o777 == after
    checkout.import_series()
    assert checkout.git("ls-tree", "HEAD~1", "Lib/run.py").startswith(
        f"100{before:o}")
    assert checkout.export() == ([], [])
    for number, (upto, mode) in enumerate({"one": before, "two": after}
                                          .items()):
        checkout.compose(upto=upto)
        out = checkout.folder / f"out{number}"
        assert (out / "Lib/run.py").stat().st_mode & 0o777 == mode


def test_fixup_and_autosquash_reach_the_right_topic(checkout):
    checkout.make(("one", ALL_KINDS), ("two", tasks("line 7\n", "seven\n")))
    checkout.import_series()
    write_files(checkout.series, {"Modules/_asyncio/core.h": "#define C 2\n"})
    checkout.git("commit", "--quiet", "--all", "--fixup", "HEAD~1")
    with pytest.raises(OverlayError, match="'fixup! one: .*autosquash"):
        checkout.export()
    checkout.git("rebase", "--quiet", "-i", "--autosquash", "base",
                 GIT_SEQUENCE_EDITOR="true")
    assert checkout.export() == (["Modules/_asyncio/core.h"], [])
    assert series.series_names(checkout.root) == ["one", "two"]


def test_own_file_changed_by_a_later_topic_has_both_texts(checkout):
    path = "Lib/asyncio/scopes.py"
    checkout.make(("one", {path: "a\nb\nearly\n"}),
                  ("two", {path: "a\nb\nfinal\n"}))
    assert (checkout.root / path).read_text() == "a\nb\nfinal\n"
    checkout.import_series()
    assert checkout.repository.read("HEAD~1", path) == b"a\nb\nearly\n"
    assert checkout.repository.read("HEAD", path) == b"a\nb\nfinal\n"
    assert checkout.export() == ([], [])
    assert checkout.compose() == {path: b"a\nb\nfinal\n"}
    assert checkout.compose(upto="one") == {path: b"a\nb\nearly\n"}


def test_own_file_edited_in_the_checkout_is_imported_as_its_owners(checkout):
    path = "Lib/asyncio/scopes.py"
    checkout.make(("one", {path: "a\nb\nc\nd\ne\nearly\n"}),
                  ("two", {path: "a\nb\nc\nd\ne\nfinal\n"}))
    write_files(checkout.root, {path: "0\na\nb\nc\nd\ne\nfinal\n"})
    checkout.import_series()
    assert checkout.repository.read("HEAD~1", path) == (
        b"0\na\nb\nc\nd\ne\nearly\n")
    assert checkout.export() == (["patches/two.patch"], [])


def test_dropped_topic_takes_its_patch_and_own_files_with_it(checkout):
    checkout.make(("one", ALL_KINDS), ("two", tasks("line 7\n", "seven\n")))
    write_files(checkout.root, {"patches/3.13.15/one.patch": series.load_series(
        checkout.root)[0].variant_text("3.13.15", "")})
    checkout.import_series()
    checkout.git("rebase", "--quiet", "--onto", "base", "HEAD~1")
    written, deleted = checkout.export()
    assert written == ["patches/series"]
    assert deleted == ["Doc/library/asyncio-core.rst",
                       "Modules/_asyncio/core.h", "patches/3.13.15/one.patch",
                       "patches/one.patch"]
    assert not (checkout.root / "Modules").exists() or not any(
        (checkout.root / "Modules").iterdir())
    assert (checkout.root / "patches/series").read_text() == (
        "# in this order\ntwo\n")


def test_topic_split_in_two_keeps_the_own_files_apart(checkout):
    checkout.make(("one", {"Lib/a.py": "a\n", "Lib/b.py": "b\n"}))
    checkout.import_series()
    checkout.git("reset", "--quiet", "base")
    checkout.git("add", "Lib/a.py")
    checkout.git("commit", "--quiet", "-m",
                 HEADER.format(name="first", summary="A"))
    checkout.topic("second", {})
    checkout.export()
    assert {topic.name: topic.own_files
            for topic in series.load_series(checkout.root)} == {
        "first": ("Lib/a.py",), "second": ("Lib/b.py",)}


# --- Replaced files ------------------------------------------------------------

GROUPS = "Lib/asyncio/taskgroups.py"
REPLACES = f"Replaces: {GROUPS}\n"


def test_replaced_file_is_an_own_file_with_its_hash(checkout):
    checkout.make(("one", {GROUPS: "ours\n"}, REPLACES))
    assert (checkout.root / GROUPS).read_text() == "ours\n"
    [line] = (checkout.root / "patches/replaced").read_text().splitlines()
    assert line.split() == [GROUPS, "one",
                            series.sha256(BASE[GROUPS].encode())]
    assert "Replaces" not in (checkout.root / "patches/one.patch").read_text()
    before = checkout.snapshot()
    checkout.import_series()
    assert REPLACES.strip() in checkout.git("show", "-s").replace(
        "Replaces:\n     ", "Replaces: ")
    assert checkout.export() == ([], [])
    assert checkout.snapshot() == before


def test_other_known_hashes_and_comments_of_replaced_are_kept(checkout):
    checkout.make(("one", {GROUPS: "ours\n"}, REPLACES))
    replaced = checkout.root / "patches" / "replaced"
    replaced.write_text("# path topic hashes\n" + replaced.read_text().strip()
                        + f" {'0' * 64}\n")
    before = replaced.read_bytes()
    checkout.import_series()
    assert checkout.export() == ([], [])
    checkout.topic("two", {"Lib/asyncio/tasks.py": "ours\n"},
                   fields="Replaces: Lib/asyncio/tasks.py\n")
    checkout.export()
    assert replaced.read_bytes().startswith(b"# path topic hashes\n" + GROUPS
                                            .encode())
    assert f" {'0' * 64}\n".encode() in replaced.read_bytes()
    assert replaced.read_bytes() != before


def test_import_stops_at_a_text_that_a_replaced_file_does_not_know(checkout):
    checkout.make(("one", {GROUPS: "ours\n"}, REPLACES))
    head = checkout.repository.head()
    replaced = checkout.root / "patches" / "replaced"
    found = replaced.read_text().split()[2]
    replaced.write_text(f"{GROUPS} one {'0' * 64}\n")
    with pytest.raises(OverlayError, match=f"{GROUPS}.* one.*{found}"):
        checkout.import_series()
    assert checkout.repository.head() == head


def test_replaces_must_name_a_file_that_the_commit_replaces(checkout):
    checkout.import_series()
    checkout.topic("one", {"Lib/new.py": "new\n"}, fields=REPLACES)
    with pytest.raises(OverlayError, match=f"Replaces: {GROUPS}, but"):
        checkout.export()


def test_replaces_of_a_new_file_is_refused(checkout):
    checkout.import_series()
    checkout.topic("one", {"Lib/new.py": "new\n"},
                   fields="Replaces: Lib/new.py\n")
    with pytest.raises(OverlayError, match="Replaces: Lib/new.py, but"):
        checkout.export()


# --- Refusals: nothing is written ------------------------------------------------

def refused(checkout, match):
    before = checkout.snapshot()
    with pytest.raises(OverlayError, match=match) as caught:
        checkout.export()
    assert "\n" not in str(caught.value)
    assert checkout.snapshot() == before


def test_export_without_an_import_says_what_to_do(checkout):
    refused(checkout, "make import first")


@pytest.mark.parametrize("path", ["Lib/mine.py", "patches/one.patch",
                                  "patches/series"])
def test_change_in_the_checkout_is_never_overwritten(checkout, path):
    checkout.make(("one", {"Lib/mine.py": "first\n"}))
    checkout.import_series()
    checkout.topic("two", {"Lib/mine.py": "second\n"})
    checkout.git("rebase", "--quiet", "-i", "base", GIT_SEQUENCE_EDITOR=(
        "sed -i -e '2s/pick/fixup/'"))
    checkout.git("commit", "--quiet", "--amend", "-m",
                 HEADER.format(name="one", summary="Reworded"))
    checkout.topic("two", {"Lib/two.py": ""})
    write_files(checkout.root, {
        path: (checkout.root / path).read_text() + "# work\n"})
    refused(checkout, f"{path}: changed in the checkout")


def test_deleted_topics_file_with_changes_is_not_removed(checkout):
    checkout.make(("one", {"Lib/mine.py": "first\n"}))
    checkout.import_series()
    checkout.git("reset", "--quiet", "--hard", "base")
    write_files(checkout.root, {"Lib/mine.py": "work\n"})
    refused(checkout, "Lib/mine.py: changed in the checkout")


def test_file_in_the_way_of_a_new_own_file_is_not_overwritten(checkout):
    checkout.import_series()
    checkout.topic("one", {"Lib/new.py": "series\n"})
    write_files(checkout.root, {"Lib/new.py": "checkout\n"})
    refused(checkout, "Lib/new.py: changed in the checkout")


def test_same_change_on_both_sides_is_no_conflict(checkout):
    checkout.make(("one", {"Lib/mine.py": "first\n"}))
    checkout.import_series()
    write_files(checkout.root, {"Lib/mine.py": "second\n"})
    write_files(checkout.series, {"Lib/mine.py": "second\n"})
    checkout.git("commit", "--quiet", "--all", "--amend", "--no-edit")
    assert checkout.export() == ([], [])


def test_exports_one_after_another_need_no_commit_between(checkout):
    checkout.make(("one", {"Lib/mine.py": "first\n"}))
    for text in ("second\n", "third\n"):
        write_files(checkout.series, {"Lib/mine.py": text})
        checkout.git("commit", "--quiet", "--all", "--amend", "--no-edit")
        assert checkout.export() == (["Lib/mine.py"], [])


@pytest.mark.parametrize("make, told", [
    (lambda c: write_files(c.series, {"README": "x"}), "uncommitted changes"),
    (lambda c: write_files(c.series, {"Lib/x.py": "x"}), "uncommitted chang"),
    (lambda c: c.commit("no topic", {"README": "x"}), "'topic-name: summary'"),
    (lambda c: c.commit("squash! one: Change it"), "left over"),
    (lambda c: c.commit("amend! one: Change it"), "left over"),
    (lambda c: c.topic("two", {}), "topic two changes nothing"),
    (lambda c: c.topic("one", {"README": "x"}), "two commits are called one"),
    (lambda c: c.topic("two", {}, remove=["Lib/mine.py"]),
     "two deletes Lib/mine.py, an own file of one"),
    (lambda c: c.topic("two", {"README": b"\0binary"}), "Binary files"),
    (lambda c: c.topic("two", {}, fields="Evidence: a\n\n---\n"), "'---'"),
    (lambda c: c.commit("two: x\n\nAs:\n--- y\n"), "'--- y'"),
    (lambda c: c.commit("two: x\n\ndiff --git a b\n"), "'diff --git a b'"),
    (lambda c: c.commit("two: x\n\nAs:\nIndex: y\n"), "'Index: y'"),
    (lambda c: c.commit("two: x\n\nAs:\nFrom y to z\n"), "'From y to z'"),
    (lambda c: c.commit("two: x\n\nAs:\n#1 did\n"), "'#1 did'"),
    (lambda c: (c.git("checkout", "--quiet", "-b", "side", "base"),
                c.topic("two", {"README": "x"}),
                c.git("merge", "--quiet", "--no-edit", "series")),
     "merge commit"),
    (lambda c: (c.git("checkout", "--quiet", "--orphan", "other"),
                c.topic("two", {"README": "x"})),
     "HEAD does not stand on the tag base"),
    (lambda c: (c.git("checkout", "--quiet", "-b", "side", "base"),
                c.topic("two", {"README": "x"}),
                c.git("merge", "--quiet", "--no-commit", "series")),
     "a git merge is under way"),
    (lambda c: c.add_base("3.13.5", BASE | {"README": "x"}) or
     (c.root / "patches/bases").write_text(f"3.13.4 {'0' * 64}\n"),
     "stands on 3.13.5; the patches are made against 3.13.4"),
])
def test_series_that_is_not_one_commit_a_topic_is_refused(checkout, make,
                                                          told):
    checkout.make(("one", {"Lib/mine.py": "first\n"}))
    checkout.import_series()
    make(checkout)
    refused(checkout, told)


@pytest.mark.parametrize("options, file", [
    (("-i", "base"), "rebase-merge"),
    (("--apply", "--onto", "base", "HEAD~1"), "rebase-apply")])
def test_export_during_a_rebase_is_refused(checkout, options, file):
    checkout.make(("one", tasks("line 7\n", "seven\n")),
                  ("two", tasks("line 7\n", "7\n")))
    checkout.git("rebase", *options, check=False,
                 GIT_SEQUENCE_EDITOR="sed -i 1d")
    assert (checkout.series / ".git" / file).is_dir()
    # Nothing but git's own note tells of it then.
    checkout.git("reset", "--quiet", "--hard")
    refused(checkout, "a git rebase is under way")


def test_export_while_a_mail_is_applied_is_refused(checkout):
    checkout.make(("one", tasks("line 7\n", "seven\n")))
    mail = checkout.git("format-patch", "-1", "--stdout")
    checkout.git("reset", "--quiet", "--hard", "base")
    (checkout.series / "Lib/asyncio/tasks.py").write_text("other\n")
    checkout.git("commit", "--quiet", "-a", "-m", "other")
    (checkout.folder / "mail").write_text(mail)
    checkout.git("am", "--quiet", checkout.folder / "mail", check=False)
    refused(checkout, "a git am is under way; finish it with git am --continue")


def test_export_does_not_overwrite_a_mode_that_was_changed(checkout):
    checkout.make(("one", {"Lib/mine.py": "first\n"}))
    (checkout.root / "Lib/mine.py").chmod(0o755)
    (checkout.series / "Lib/mine.py").write_text("second\n")
    checkout.git("commit", "--quiet", "-a", "--amend", "--no-edit")
    refused(checkout, "Lib/mine.py: changed in the checkout")
    assert (checkout.root / "Lib/mine.py").stat().st_mode & 0o111


def test_file_and_folder_may_take_each_others_place(checkout):
    checkout.make(("one", {"Lib/x": "file\n", "Lib/y/z": "below\n"}))
    for remove, files in ((["Lib/x", "Lib/y/z"],
                           {"Lib/x/z": "below\n", "Lib/y": "file\n"}),
                          (["Lib/x/z", "Lib/y"],
                           {"Lib/x": "file\n", "Lib/y/z": "below\n"})):
        for path in remove:
            (checkout.series / path).unlink()
        for folder in checkout.series.glob("Lib/[xy]"):
            folder.rmdir()
        write_files(checkout.series, files)
        checkout.git("add", "--all")
        checkout.git("commit", "--quiet", "--amend", "--no-edit")
        assert checkout.export() == (
            sorted([*files, "patches/one.patch"]), sorted(remove))
        assert checkout.compose() == {path: text.encode()
                                      for path, text in files.items()}


@pytest.mark.parametrize("make", [
    lambda path: write_files(path, {"mine": "work\n"}),
    lambda path: path.mkdir(parents=True),
    lambda path: (path.parent.mkdir(), path.symlink_to("nowhere"))],
    ids=["folder", "empty folder", "link"])
def test_what_is_in_the_way_of_an_own_file_is_not_removed(checkout, make):
    checkout.import_series()
    checkout.topic("one", {"Lib/new": "series\n"})
    path = checkout.root / "Lib/new"
    make(path)
    refused(checkout, "Lib/new.*: changed in the checkout")
    assert path.is_dir() or path.is_symlink()


def test_file_that_becomes_a_folder_in_a_later_topic_is_refused(checkout):
    checkout.make(("one", {"Lib/x": "file\n"}))
    (checkout.series / "Lib/x").unlink()
    checkout.topic("two", {"Lib/x/y": "below\n"})
    refused(checkout, "two deletes Lib/x, an own file of one")


def test_file_of_the_base_that_becomes_a_folder_is_composed(checkout):
    checkout.import_series()
    (checkout.series / "README").unlink()
    (checkout.series / "Doc/library/asyncio-task.rst").unlink()
    files = {"README/more": "more\n",
             "Doc/library/asyncio-task.rst/one.rst": "one\n"}
    checkout.topic("one", files)
    checkout.export()
    assert checkout.compose() == {
        "README": None, "Doc/library/asyncio-task.rst": None} | {
        path: text.encode() for path, text in files.items()}
    checkout.import_series()
    assert checkout.export() == ([], [])


def link_commit(checkout):
    (checkout.series / "Lib" / "link").symlink_to("other")
    checkout.topic("two", {})


def test_symbolic_link_is_refused(checkout):
    checkout.import_series()
    link_commit(checkout)
    refused(checkout, "Lib/link is not a plain file")


# --- An import does not throw work away ------------------------------------------

def unexported(checkout):
    checkout.repository.refuse_unexported("do something")


def test_series_with_nothing_new_may_be_imported_anew(checkout):
    unexported(checkout)
    checkout.make(("one", {"Lib/mine.py": "first\n"}))
    unexported(checkout)
    checkout.import_series()
    unexported(checkout)


@pytest.mark.parametrize("make, told", [
    (lambda c: write_files(c.series, {"Lib/x.py": "x"}), "uncommitted"),
    (lambda c: c.topic("two", {"README": "x"}), "commits .* do something"),
    (lambda c: (c.git("checkout", "--quiet", "-b", "side"),
                c.topic("two", {"README": "x"}),
                c.git("checkout", "--quiet", "series")), "commits"),
    (lambda c: (write_files(c.series, {"README": "x"}),
                c.git("stash", "--quiet")), "stash"),
    (lambda c: (shutil.rmtree(c.series),
                c.git("init", "--quiet", str(c.series), folder=c.folder)),
     "not made by these tools"),
])
def test_series_with_work_in_it_is_not_replaced(checkout, make, told):
    checkout.make(("one", {"Lib/mine.py": "first\n"}))
    make(checkout)
    with pytest.raises(OverlayError, match=told):
        unexported(checkout)


def killed(*arguments):
    raise KeyboardInterrupt


def test_killed_export_leaves_nothing_that_stops_the_next(checkout,
                                                          monkeypatch):
    checkout.make(("one", {"Lib/mine.py": "first\n"}))
    checkout.topic("two", ALL_KINDS)
    before = checkout.snapshot()
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "move", killed)
        patched.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            checkout.export()
    assert checkout.snapshot() == before
    checkout.export()
    assert [topic.name for topic in series.load_series(checkout.root)] == [
        "one", "two"]


def unpack_and_end(base, folder):
    write_files(folder, {"README": "first of many"})
    os._exit(0)


def remove_and_end(folder, **options):
    """As if killed in the middle of removing a folder, but for its git."""
    for path in Path(folder).iterdir():
        if path.name != ".git":
            (path.unlink if path.is_file() else shutil.rmtree)(path)
    os._exit(0)


def import_and_be_killed(checkout, **ends):
    """Import in a process that *ends*, without a word, in a function."""
    child = os.fork()
    if not child:
        for name, function in ends.items():
            setattr(importing, name, function)
        try:
            checkout.import_series()
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


def test_import_keeps_the_repository_that_it_replaces(checkout):
    checkout.import_series()
    head = checkout.git("rev-parse", "HEAD")
    checkout.import_series()
    old = checkout.series.with_name("series.old")
    assert checkout.git("rev-parse", "HEAD", folder=old) == head


def test_import_refuses_a_repository_with_a_tag_of_its_own(checkout):
    checkout.make(("one", {"Lib/one.py": "one = 1\n"}))
    checkout.commit("work", {"Lib/one.py": "one = 2\n"})
    checkout.git("tag", "wip")
    checkout.git("reset", "-q", "--hard", "HEAD~1")
    with pytest.raises(OverlayError, match="commits that are not in patches"):
        checkout.repository.refuse_unexported("do something")


def test_export_refuses_a_head_on_an_earlier_topic(checkout):
    checkout.make(("one", {"Lib/one.py": "one = 1\n"}))
    checkout.git("checkout", "-q", "HEAD~1")
    with pytest.raises(OverlayError, match="git switch series"):
        checkout.export()


def test_import_removes_what_a_killed_one_left(checkout):
    import_and_be_killed(checkout, extract=unpack_and_end)
    assert len(list(checkout.series.parent.iterdir())) == 2
    checkout.import_series()
    assert list(checkout.series.parent.iterdir()) == [checkout.series]


def test_import_killed_while_it_replaces_the_last_stops_nothing(checkout):
    checkout.make(("one", {"Lib/mine.py": "first\n"}))
    checkout.import_series()

    class EndsInRemoving:
        rmtree = staticmethod(
            lambda folder, **options: remove_and_end(folder)
            if (Path(folder) / ".git").exists() else None)

    import_and_be_killed(checkout, shutil=EndsInRemoving)
    unexported(checkout)
    checkout.import_series()
    assert checkout.export() == ([], [])


def test_import_that_fails_leaves_the_last_one(checkout):
    checkout.make(("one", tasks("line 7\n", "seven\n")))
    head = checkout.repository.head()
    patch = checkout.root / "patches" / "one.patch"
    patch.write_text(changed(patch.read_text(), " line 8\n", " line eight\n"))
    with pytest.raises(OverlayError, match="topic one"):
        checkout.import_series()
    assert checkout.repository.head() == head


def test_patch_with_an_offset_is_not_imported(checkout):
    checkout.make(("one", tasks("line 20\n", "twenty\n")))
    patch = checkout.root / "patches" / "one.patch"
    patch.write_text(changed(patch.read_text(), "@@ -17,7 +17,7 @@",
                             "@@ -18,7 +18,7 @@"))
    with pytest.raises(OverlayError, match="lines off"):
        checkout.import_series()


def test_missing_git_is_told_with_its_package(checkout, monkeypatch):
    monkeypatch.setenv("PATH", str(checkout.folder))
    with pytest.raises(OverlayError, match="package git"):
        checkout.import_series()


def test_series_on_another_base_has_a_folder_of_its_own(checkout):
    assert importing.series_folder("3.13.5", checkout.root).name == "series"
    assert importing.series_folder("3.13.15", checkout.root).name == (
        "series-3.13.15")
