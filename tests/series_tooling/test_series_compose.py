"""The series read and composed, without git."""

import os

import pytest

import layout
import series
from series_checkout import (BASE, HEADER, PROJECT, TASKS, changed,
                             write_files)
from ui import OverlayError

TASKS_DIFF = """\
diff --git a/Lib/asyncio/tasks.py b/Lib/asyncio/tasks.py
--- a/Lib/asyncio/tasks.py
+++ b/Lib/asyncio/tasks.py
@@ -10,7 +10,7 @@
 line 10
 line 11
 line 12
-line 13
+line thirteen
 line 14
 line 15
 line 16
"""
PATCHED_TASKS = changed(TASKS, "line 13\n", "line thirteen\n")


def put(checkout, name, diff="", own=(), fields=""):
    """Write a topic by hand, and add it to the series."""
    header = HEADER.format(name=name, summary="Change it") + fields
    header += series.path_lists(own, "Own-files")
    order = checkout.root / "patches" / "series"
    write_files(checkout.root, {f"patches/{name}.patch":
                                f"{header}---\n{diff}",
                                "patches/series":
                                order.read_text() + f"{name}\n"})


def refused(checkout):
    with pytest.raises(OverlayError) as caught:
        series.load_series(checkout.root)
    return str(caught.value)


def test_compose_gives_exactly_what_differs_from_stock(checkout):
    write_files(checkout.root, {"Lib/asyncio/scopes.py": "scope\n"})
    put(checkout, "one", TASKS_DIFF, ["Lib/asyncio/scopes.py"])
    assert checkout.compose() == {
        "Lib/asyncio/tasks.py": PATCHED_TASKS.encode(),
        "Lib/asyncio/scopes.py": b"scope\n"}


def test_file_that_a_later_topic_restores_is_not_written(checkout):
    put(checkout, "one", TASKS_DIFF)
    put(checkout, "two", TASKS_DIFF.replace("\n-line 13\n+line thirteen",
                                            "\n-line thirteen\n+line 13"))
    assert checkout.compose() == {}
    assert list(checkout.compose(upto="one")) == ["Lib/asyncio/tasks.py"]


def test_file_with_crlf_comes_out_with_crlf_from_a_patch_with_lf(checkout):
    item = "<Item n='{}' />\n".format
    diff = ("diff --git a/PCbuild/_asyncio.vcxproj b/PCbuild/_asyncio.vcxproj\n"
            "--- a/PCbuild/_asyncio.vcxproj\n+++ b/PCbuild/_asyncio.vcxproj\n"
            f"@@ -1,4 +1,5 @@\n {item(1)}+<new />\n {item(2)} {item(3)}"
            f" {item(4)}")
    put(checkout, "one", diff)
    [text] = checkout.compose().values()
    assert text.decode() == changed(PROJECT, "<Item n='2' />\r\n",
                                    "<new />\r\n<Item n='2' />\r\n")


def test_test_data_with_crlf_is_patched_byte_for_byte(checkout):
    put(checkout, "one", "diff --git a/Lib/test/data.decTest "
        "b/Lib/test/data.decTest\n--- a/Lib/test/data.decTest\n"
        "+++ b/Lib/test/data.decTest\n@@ -1,3 +1,3 @@\n one\r\n-two\r\n"
        "+2\n three\r\n")
    assert checkout.compose() == {
        "Lib/test/data.decTest": b"one\r\n2\nthree\r\n"}


def test_upstream_files_can_be_created_deleted_and_made_executable(checkout):
    put(checkout, "one", """\
diff --git a/PCbuild/empty b/PCbuild/empty
new file mode 100644
diff --git a/PCbuild/run.sh b/PCbuild/run.sh
new file mode 100755
--- /dev/null
+++ b/PCbuild/run.sh
@@ -0,0 +1 @@
+run
diff --git a/configure b/configure
old mode 100755
new mode 100644
diff --git a/Tools/some/kept.log b/Tools/some/kept.log
deleted file mode 100644
--- a/Tools/some/kept.log
+++ /dev/null
@@ -1 +0,0 @@
-ignored by a rule, but in the tarball
""")
    assert checkout.compose() == {
        "PCbuild/empty": b"", "PCbuild/run.sh": b"run\n",
        "configure": BASE["configure"].encode(), "Tools/some/kept.log": None}
    out = checkout.folder / "out0"
    assert os.access(out / "PCbuild/run.sh", os.X_OK)
    assert not os.access(out / "configure", os.X_OK)


def test_mode_of_a_patched_file_is_kept(checkout):
    put(checkout, "one", "diff --git a/configure b/configure\n"
        "--- a/configure\n+++ b/configure\n@@ -1,4 +1,4 @@\n #!/bin/sh\n"
        "-echo 1\n+echo one\n echo 2\n echo 3\n")
    assert checkout.compose()["configure"].startswith(b"#!/bin/sh\necho one")
    assert os.access(checkout.folder / "out0" / "configure", os.X_OK)


@pytest.mark.parametrize("old, new, told", [
    ("line 10\n", "line ten\n", "hunk 1 (near line 10) does not apply to "
     "3.13.5"),
    ("@@ -10,7 +10,7 @@", "@@ -11,7 +11,7 @@", "hunk 1 is -1 lines off"),
    ("Lib/asyncio/tasks.py", "Lib/asyncio/gone.py",
     "file Lib/asyncio/gone.py: the patch needs it, but it is not there in "
     "3.13.5"),
    ("\n--- a", "\nnew file mode 100644\n--- a",
     "the patch adds it, but it is there already in 3.13.5"),
    ("\n line 16\n", "\n", "hunk 1"),
    ("\n line 16\n", "\nline 16\n", "malformed patch"),
    ("b/Lib/asyncio/tasks.py\n---", "b/Lib/asyncio/task.py\n---",
     "malformed line"),
    ("diff --git", "prose\ndiff --git", "malformed line 'prose'"),
    ("\n---", "\nBinary files a and b differ\n---", "Binary files"),
    ("Lib/asyncio/tasks.py", "../tasks.py", "malformed line"),
])
def test_patch_that_does_not_fit_exactly_is_refused(checkout, old, new, told):
    put(checkout, "one", TASKS_DIFF.replace(old, new))
    with pytest.raises(OverlayError) as caught:
        checkout.compose()
    assert told in str(caught.value)
    assert "one" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_failing_hunk_is_named_with_topic_and_file(checkout):
    put(checkout, "one", TASKS_DIFF + "@@ -30,3 +30,3 @@\n line 30\n"
        "-line x\n+line 31\n line 32\n")
    with pytest.raises(OverlayError, match="topic one, file "
                       "Lib/asyncio/tasks.py: hunk 2 .* to 3.13.5"):
        checkout.compose()


def test_last_line_of_a_patch_that_is_cut_off_is_refused(checkout):
    put(checkout, "one", TASKS_DIFF.removesuffix("6\n"))
    with pytest.raises(OverlayError, match="one.patch: the last line"):
        checkout.compose()


def test_file_that_is_patched_twice_is_refused(checkout):
    put(checkout, "one", TASKS_DIFF + TASKS_DIFF)
    with pytest.raises(OverlayError, match="tasks.py is patched twice"):
        checkout.compose()


def test_other_base_may_have_an_offset_but_no_fuzz(checkout):
    put(checkout, "one", TASKS_DIFF)
    moved = checkout.compose(stock=checkout.newer, version="3.13.15")
    assert moved["Lib/asyncio/tasks.py"] == (
        b"new 1\nnew 2\n" + PATCHED_TASKS.encode())
    write_files(checkout.newer, {"Lib/asyncio/tasks.py": changed(
        TASKS, "line 10\n", "line ten\n")})
    with pytest.raises(OverlayError, match="hunk 1"):
        checkout.compose(stock=checkout.newer, version="3.13.15")


def test_user_settings_of_patch_change_nothing(checkout, monkeypatch):
    monkeypatch.setenv("POSIXLY_CORRECT", "1")
    monkeypatch.setenv("QUOTING_STYLE", "c")
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    monkeypatch.setenv("PATCH_GET", "1")
    monkeypatch.setenv("VERSION_CONTROL", "numbered")
    put(checkout, "one", TASKS_DIFF)
    assert list(checkout.compose()) == ["Lib/asyncio/tasks.py"]


# --- Topics and their own files ----------------------------------------------

def make_two_steps(checkout):
    """An own file whose final text is the second topic's."""
    write_files(checkout.root, {"Lib/asyncio/scopes.py": "a\nfinal\n",
                                "Lib/asyncio/late.py": "late\n"})
    put(checkout, "one", TASKS_DIFF, ["Lib/asyncio/scopes.py"])
    put(checkout, "two", """\
diff --git a/Lib/asyncio/scopes.py b/Lib/asyncio/scopes.py
--- a/Lib/asyncio/scopes.py
+++ b/Lib/asyncio/scopes.py
@@ -1,2 +1,2 @@
 a
-early
+final
diff --git a/README b/README
--- a/README
+++ b/README
@@ -1,2 +1,2 @@
-trailing blanks   
+trailing
 no newline at the end
\\ No newline at end of file
""", ["Lib/asyncio/late.py"])


def test_upto_gives_the_own_files_as_of_that_topic(checkout):
    make_two_steps(checkout)
    assert checkout.compose(upto="one") == {
        "Lib/asyncio/tasks.py": PATCHED_TASKS.encode(),
        "Lib/asyncio/scopes.py": b"a\nearly\n"}
    full = checkout.compose()
    assert full == checkout.compose(upto="two")
    assert full["Lib/asyncio/scopes.py"] == b"a\nfinal\n"
    assert full["README"] == b"trailing\nno newline at the end"


def test_hunks_of_several_later_topics_come_off_in_reverse(checkout):
    path = "Lib/asyncio/scopes.py"
    hunk = (f"diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n"
            "@@ -1 +1 @@\n-{}\n+{}\n").format
    write_files(checkout.root, {path: "3\n"})
    put(checkout, "one", own=[path])
    put(checkout, "two", hunk(1, 2))
    put(checkout, "three", hunk(2, 3))
    assert [checkout.compose(upto=name)[path]
            for name in ("one", "two", "three")] == [b"1\n", b"2\n", b"3\n"]


def test_unknown_upto_names_the_topics(checkout):
    make_two_steps(checkout)
    with pytest.raises(OverlayError, match="'three'.* one, two"):
        checkout.compose(upto="three")


def test_later_hunk_that_does_not_come_off_the_final_text_is_told(checkout):
    make_two_steps(checkout)
    write_files(checkout.root, {"Lib/asyncio/scopes.py": "a\nother\n"})
    assert checkout.compose()["Lib/asyncio/scopes.py"] == b"a\nother\n"
    with pytest.raises(OverlayError,
                       match="topic two, own file Lib/asyncio/scopes.py"):
        checkout.compose(upto="one")


def test_fixed_in_skips_the_patch_and_keeps_the_own_files(checkout):
    write_files(checkout.root, {"Lib/test/test_one.py": "test\n"})
    put(checkout, "one", TASKS_DIFF, ["Lib/test/test_one.py"],
        "Fixed-in: 3.13.13\n")
    [topic] = series.load_series(checkout.root)
    assert [series.skipped(topic, f"3.13.{patch}")
            for patch in (5, 12, 13, 15)] == [False, False, True, True]
    assert set(checkout.compose()) == {"Lib/asyncio/tasks.py",
                                       "Lib/test/test_one.py"}
    assert set(checkout.compose(stock=checkout.newer, version="3.13.15")) == {
        "Lib/test/test_one.py"}


def test_replaced_file_needs_to_know_the_text_of_the_base(checkout):
    path = "Lib/asyncio/taskgroups.py"
    write_files(checkout.root, {path: "ours\n"})
    put(checkout, "one", own=[path])
    found = series.sha256(BASE[path].encode())
    with pytest.raises(OverlayError, match=f"{path}.* one.*{found}"):
        checkout.compose()
    replaced = checkout.root / "patches" / "replaced"
    replaced.write_text(f"{path} one {'0' * 64}\n")
    with pytest.raises(OverlayError, match=found):
        checkout.compose()
    replaced.write_text(f"{path} one {'0' * 64} {found}\n")
    assert checkout.compose() == {path: b"ours\n"}


def test_replaced_file_may_be_patched_by_an_earlier_topic(checkout):
    path = "Lib/asyncio/tasks.py"
    write_files(checkout.root, {path: "ours\n"})
    put(checkout, "one", TASKS_DIFF)
    put(checkout, "two", own=[path])
    (checkout.root / "patches" / "replaced").write_text(
        f"{path} two {series.sha256(TASKS.encode())}\n")
    assert checkout.compose() == {path: b"ours\n"}
    assert checkout.compose(upto="one") == {path: PATCHED_TASKS.encode()}


def test_replaced_file_that_the_base_lacks_is_told(checkout):
    write_files(checkout.root, {"Lib/asyncio/scopes.py": "ours\n"})
    put(checkout, "one", own=["Lib/asyncio/scopes.py"])
    (checkout.root / "patches" / "replaced").write_text(
        f"Lib/asyncio/scopes.py one {'0' * 64}\n")
    with pytest.raises(OverlayError, match="scopes.py.* not in the base"):
        checkout.compose()


def test_folder_that_is_not_empty_is_not_composed_into(checkout):
    (checkout.folder / "out0").mkdir()
    (checkout.folder / "out0" / "mine").touch()
    with pytest.raises(OverlayError, match="not empty"):
        series.compose(checkout.stock, checkout.folder / "out0",
                       base_version="3.13.5", root=checkout.root)


# --- Fingerprints --------------------------------------------------------------

def prints(checkout, version="3.13.5"):
    return {upto: series.fingerprint("hash", base_version=version, upto=upto,
                                     root=checkout.root)
            for upto in ("one", "two", None)}


def test_fingerprint_changes_with_what_is_composed_and_nothing_else(checkout):
    make_two_steps(checkout)
    before = prints(checkout)
    assert before["one"] != before["two"]
    patch = checkout.root / "patches" / "two.patch"
    patch.write_text(patch.read_text().replace("Because", "As"))
    assert prints(checkout) == before
    patch.write_text(patch.read_text().replace("+trailing", "+other"))
    after = prints(checkout)
    assert after["one"] == before["one"]
    assert after["two"] != before["two"] and after[None] != before[None]
    write_files(checkout.root, {"Lib/asyncio/late.py": "later\n"})
    assert prints(checkout)["two"] != after["two"]
    assert series.fingerprint("other hash", base_version="3.13.5",
                              upto="one", root=checkout.root) != after["one"]


def test_fingerprint_changes_with_the_mode_of_an_own_file(checkout):
    make_two_steps(checkout)
    before = prints(checkout)
    (checkout.root / "Lib/asyncio/late.py").chmod(0o755)
    after = prints(checkout)
    assert after["one"] == before["one"]
    assert after["two"] != before["two"] and after[None] != before[None]


def test_fingerprint_has_the_mode_as_of_its_topic(checkout):
    make_two_steps(checkout)
    before = prints(checkout)
    patch = checkout.root / "patches" / "two.patch"
    patch.write_text(changed(patch.read_text(), "a/Lib/asyncio/scopes.py b/Lib"
                             "/asyncio/scopes.py\n", "a/Lib/asyncio/scopes.py "
                             "b/Lib/asyncio/scopes.py\nold mode 100755\n"
                             "new mode 100644\n"))
    after = prints(checkout)
    assert after["one"] != before["one"] and after["two"] == before["two"]


# --- Bad input -------------------------------------------------------------------

def test_series_without_its_file_is_told(checkout):
    (checkout.root / "patches" / "series").unlink()
    assert "patches/series is missing" in refused(checkout)


@pytest.mark.parametrize("line, told", [
    ("one\none\n", "one stands there 2 times"),
    ("One\n", "'One' is not a topic name"),
    ("../one\n", "is not a topic name"),
    ("one\nghost\n", "ghost.patch is missing, but ghost is in"),
    ("# one\n", "one.patch is not in patches/series"),
])
def test_bad_series_file_is_told(checkout, line, told):
    put(checkout, "one", TASKS_DIFF)
    (checkout.root / "patches" / "series").write_text(line)
    assert told in refused(checkout)


@pytest.mark.parametrize("old, new, told", [
    ("one: Change it", "two: Change it", "starts with 'two', not with 'one'"),
    ("one: Change it", "Change it", "is not 'topic-name: summary'"),
    ("one: Change it\n\n", "one: Change it\n", "no empty line after"),
    ("\n---\n", "\n", "no line --- after the header"),
    ("Drop-when: never.", "Drop-when: never.\nand ever", "'and ever' is no"),
    ("Drop-when: never.", "Rejected: that.", "Rejected twice"),
    ("Drop-when: never.", "Fixed-in: soon", "'soon' is not a release"),
    ("Drop-when: never.", "Replaces: x", "patches/replaced says it"),
])
def test_bad_header_is_told_with_its_file(checkout, old, new, told):
    put(checkout, "one")
    path = checkout.root / "patches" / "one.patch"
    path.write_text(changed(path.read_text(), old, new))
    said = refused(checkout)
    assert told in said and "\n" not in said
    assert "one.patch" in said or "soon" in said


def test_field_goes_on_in_indented_lines(checkout):
    put(checkout, "one", fields="Thread: gh-1,\n and gh-2\n")
    [topic] = series.load_series(checkout.root)
    assert topic.fields["Thread"] == "gh-1,\nand gh-2"
    assert topic.why == "Because it is so."
    assert topic.subject == "one: Change it"


def test_every_fault_of_the_own_files_is_told_at_once(checkout):
    write_files(checkout.root, {"Lib/both.py": "", "Lib/nobody.py": "",
                                "Tools/outside.py": "",
                                "Lib/__pycache__/nobody.pyc": ""})
    put(checkout, "one", own=["Lib/both.py", "Lib/gone.py"])
    put(checkout, "two", own=["Lib/both.py", "Tools/outside.py"])
    lines = refused(checkout).splitlines()
    assert [line.partition(" ")[0] for line in lines] == [
        "Lib/gone.py,", "Lib/both.py", "Tools/outside.py,", "Lib/nobody.py"]
    assert "two owners, one and two" in lines[1]


@pytest.mark.parametrize("line, told", [
    ("Lib/a.py one", "not 'path topic sha256 ...'"),
    (f"Lib/a.py one {'0' * 63}", "not 'path topic sha256 ...'"),
    (f"Lib/a.py two {'0' * 64}", "two is not in patches/series"),
    (f"Lib/b.py one {'0' * 64}", "Lib/b.py is not in the Own-files of one"),
    (f"Lib/a.py one {'0' * 64}\nLib/a.py one {'1' * 64}", "listed twice"),
])
def test_bad_line_of_replaced_is_told(checkout, line, told):
    write_files(checkout.root, {"Lib/a.py": "", "patches/replaced": line})
    put(checkout, "one", own=["Lib/a.py"])
    said = refused(checkout)
    assert told in said and "replaced:" in said


def test_patch_for_another_base_needs_a_topic_and_a_version(checkout):
    put(checkout, "one")
    write_files(checkout.root, {"patches/3.13.15/ghost.patch": ""})
    assert "ghost.patch belongs to no topic" in refused(checkout)
    (checkout.root / "patches/3.13.15").rename(
        checkout.root / "patches/other")
    assert "'other' is not a release version" in refused(checkout)


def test_patch_for_another_base_is_taken_there_and_only_there(checkout):
    put(checkout, "one", TASKS_DIFF)
    [topic] = series.load_series(checkout.root)
    diff = TASKS_DIFF.replace("thirteen", "XIII")
    write_files(checkout.root, {"patches/3.13.15/one.patch":
                                topic.variant_text("3.13.15", diff)})
    assert b"thirteen" in checkout.compose()["Lib/asyncio/tasks.py"]
    there = checkout.compose(stock=checkout.newer, version="3.13.15")
    assert b"XIII" in there["Lib/asyncio/tasks.py"]


def test_patch_for_another_base_is_refused_when_its_topic_changed(checkout):
    put(checkout, "one", TASKS_DIFF)
    [topic] = series.load_series(checkout.root)
    write_files(checkout.root, {"patches/3.13.15/one.patch":
                                topic.variant_text("3.13.15", TASKS_DIFF)})
    path = checkout.root / "patches" / "one.patch"
    path.write_text(changed(path.read_text(), "thirteen", "13th"))
    with pytest.raises(OverlayError, match="3.13.15/one.patch was not made "
                       "from the present one.patch"):
        checkout.compose(stock=checkout.newer, version="3.13.15")
    assert b"13th" in checkout.compose()["Lib/asyncio/tasks.py"]


def test_missing_patch_program_is_told_with_its_package(checkout, monkeypatch):
    put(checkout, "one", TASKS_DIFF)
    monkeypatch.setenv("PATH", str(checkout.folder))
    with pytest.raises(OverlayError, match="package patch"):
        checkout.compose()


def test_default_base_is_the_first_in_the_list(checkout):
    assert layout.default_base(checkout.root) == "3.13.5"
