"""Each fault of a series is one line of check-series; mails are complete."""

import sys
from pathlib import Path

import pytest

import checking
import layout
import rebasing
import reviewing
import series
import stepping
from base import fetch_base
from scratch import scratch_series
from settings import Settings
from series_checkout import BASE, NEWER, TASKS, changed, write_files
from test_series_export import ALL_KINDS, tasks
from ui import OverlayError


def check(checkout):
    return checking.check_series(checkout.root, offline=True)


def edit(checkout, name, old, new):
    path = checkout.root / "patches" / f"{name}.patch"
    path.write_text(changed(path.read_text(), old, new))


def test_series_in_order_has_no_faults(checkout):
    checkout.make(("one", ALL_KINDS), ("two", tasks("line 7\n", "seven\n")))
    edit(checkout, "one", "No-docs: only a test.\n", "")
    assert check(checkout) == []
    assert check(checkout) == []


@pytest.mark.parametrize("old, new, told", [
    ("Change it", "Change it" + 58 * "!", "has 72 characters, 71 at most"),
    ("Because it is so.\n\n", "", "no paragraph says why"),
    ("Rejected: all else.\n", "", "no Rejected"),
    ("Drop-when: never.\n", "", "no Drop-when"),
    ("Drop-when: never.\n", "Drop-when:\n", "no Drop-when|is empty"),
    ("No-docs: only a test.\n", "", "no docs, and no No-docs that says why"),
    ("No-tests: only a test.\n", "", "no tests, and no No-tests"),
    ("No-NEWS: only a test.\n", "", "no NEWS, and no No-NEWS"),
    ("No-NEWS: only a test.\n", "No-NEWS:\n", "No-NEWS is empty"),
])
def test_incomplete_header_is_a_fault(checkout, old, new, told):
    checkout.make(("one", tasks("line 7\n", "seven\n")))
    edit(checkout, "one", old, new)
    problems = check(checkout)
    assert problems
    for problem in problems:
        assert problem.startswith("topic one: ")
        assert any(part in problem for part in told.split("|"))


def test_subject_may_have_71_characters(checkout):
    checkout.make(("one", tasks("line 7\n", "seven\n")))
    edit(checkout, "one", "Change it", "Change it" + 57 * "!")
    assert check(checkout) == []


@pytest.mark.parametrize("path, field, part", [
    ("Lib/test/test_one.py", "No-tests", "tests"),
    ("InternalDocs/one.md", "No-docs", "docs")])
def test_excuse_for_what_is_there_is_a_fault(checkout, path, field, part):
    checkout.make(("one", {path: "text\n"}))
    assert check(checkout) == [f"topic one: {field}, but there are {part}"]


def test_all_faults_are_told_at_once(checkout):
    checkout.make(("one", ALL_KINDS), ("two", tasks("line 7\n", "seven\n")))
    edit(checkout, "two", "Rejected: all else.\n", "")
    edit(checkout, "one", "core.h' />", "core.h'  />")
    assert check(checkout) == [
        "topic one: No-docs, but there are docs",
        "topic two: no Rejected",
        "patches/one.patch is not as make export writes it: make import "
        "export"]


@pytest.mark.parametrize("old, new", [
    ("\nindex ", "\nindex f"),
    ("No-tests: only a test.\n", "No-tests: only a test.\n\n\n"),
    (" Lib/b.py\n Lib/c.py\n", " Lib/c.py\n Lib/b.py\n"),
])
def test_patch_that_an_export_would_write_otherwise_is_a_fault(
        checkout, old, new):
    checkout.make(("one", tasks("line 7\n", "seven\n")
                   | {"Lib/b.py": "", "Lib/c.py": ""}))
    edit(checkout, "one", old, new)
    assert check(checkout) == ["patches/one.patch is not as make export "
                               "writes it: make import export"]


def test_new_file_in_a_patch_that_should_be_an_own_file_is_a_fault(checkout):
    checkout.make(("one", {"PCbuild/new.txt": "new\n"}))
    path = checkout.root / "patches" / "one.patch"
    path.write_text(path.read_text().replace("PCbuild/new", "Lib/new"))
    assert check(checkout) == [
        "Lib/new.txt is not as make export writes it: make import export",
        "patches/one.patch is not as make export writes it: make import "
        "export"]


def test_topic_that_changes_nothing_is_a_fault(checkout):
    checkout.make(("one", tasks("line 7\n", "seven\n")))
    path = checkout.root / "patches" / "one.patch"
    path.write_text(path.read_text().partition("diff --git")[0])
    assert check(checkout) == ["topic one changes nothing: drop its commit, "
                               "or give it a change"]


def test_patch_for_the_base_that_all_are_made_against_is_a_fault(checkout):
    checkout.make(("one", tasks("line 7\n", "seven\n")))
    [topic] = series.load_series(checkout.root)
    write_files(checkout.root, {"patches/3.13.5/one.patch":
                                topic.variant_text("3.13.5", topic.diff)})
    assert check(checkout) == ["patches/3.13.5/one.patch would not be written "
                               "by make export"]


def test_patch_that_does_not_apply_is_a_fault(checkout):
    checkout.make(("one", tasks("line 20\n", "twenty\n")))
    edit(checkout, "one", "@@ -17,7 +17,7 @@", "@@ -16,7 +16,7 @@")
    assert check(checkout) == [
        "topic one, file Lib/asyncio/tasks.py: hunk 1 is 1 lines off; import "
        "and export the series to write the patch anew"]


def test_file_of_cpythons_in_the_tree_is_a_fault(checkout):
    checkout.make(("one", {"Lib/own.py": "own\n"}))
    write_files(checkout.root, {"Lib/asyncio/tasks.py": TASKS})
    assert check(checkout) == [
        "Lib/asyncio/tasks.py has no owner: list it in the Own-files of a "
        "topic's patch, or remove it"]
    edit(checkout, "one", " Lib/own.py\n",
         " Lib/asyncio/tasks.py\n Lib/own.py\n")
    [problem] = check(checkout)
    assert "would replace a text of the base that it does not know" in problem


@pytest.mark.parametrize("path, text", [
    ("notes.txt", TASKS), ("Lib/asyncio/mytasks.py", TASKS),
    ("notes.txt", TASKS.replace("\n", "\r\n"))])
def test_text_of_cpythons_under_another_name_is_a_fault(checkout, path, text):
    checkout.make(("one", {"Lib/asyncio/mytasks.py": "own\n"}))
    write_files(checkout.root, {path: text})
    assert f"{path} has the text of a file of CPython's" in check(checkout)


def test_path_of_cpythons_outside_of_the_own_folders_is_a_fault(checkout):
    checkout.make(("one", {"Lib/own.py": "own\n"}))
    path = next(path for path in BASE if path.startswith("PCbuild/"))
    write_files(checkout.root, {path: "changed\n"})
    assert check(checkout) == [
        f"{path} is a file of CPython's: put the changes in a patch, or list "
        "it in patches/replaced"]


def test_link_that_leads_nowhere_is_no_copy(checkout):
    """An editor's lock is one."""
    checkout.make(("one", {"Lib/own.py": "own\n"}))
    (checkout.root / ".#notes").symlink_to("me@here")
    assert check(checkout) == []
    (checkout.root / "Lib/.#own.py").symlink_to("me@here")
    assert check(checkout) == [
        "Lib/.#own.py has no owner: list it in the Own-files of a topic's "
        "patch, or remove it"]


def test_empty_file_is_no_copy(checkout):
    checkout.make(("one", {"Lib/own.py": "own\n"}))
    write_files(checkout.root, {"tests/__init__.py": ""})
    assert check(checkout) == []


# --- Argument Clinic ---------------------------------------------------------------

def clinic_source(made):
    return f"/* [clinic input] name */\n/* made of {made} */\n"


def test_generated_code_that_is_up_to_date_is_no_fault(checkout, monkeypatch):
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    checkout.make(("one", {"Modules/_asyncio/x.c": clinic_source("name")}))
    assert check(checkout) == []


@pytest.mark.parametrize("path", ["Modules/_asyncio/x.c",
                                  "Modules/_asyncio/x.h",
                                  "Modules/_asynciomodule.c"])
def test_stale_generated_code_is_a_fault(checkout, path):
    checkout.make(("one", {path: clinic_source("old")}))
    [problem] = check(checkout)
    assert problem.startswith(f"{path}: not what Argument Clinic makes")
    assert check(checkout) == [problem]


def test_what_clinic_refuses_is_a_fault(checkout):
    checkout.make(("one", {"Modules/_asyncio/x.c":
                           "broken " + clinic_source("name")}))
    assert check(checkout) == [
        "Argument Clinic: Modules/_asyncio/x.c: no such thing"]


def test_patch_on_upstreams_generated_header_is_a_fault(checkout):
    checkout.make(("one", {"Modules/clinic/_asynciomodule.c.h": "x\n"}))
    assert check(checkout) == []
    path = "Modules/clinic/_asynciomodule.c.h"
    checkout.add_base("3.13.5", BASE | {path: "upstream's\n"})
    [problem] = check(checkout)
    assert path in problem
    write_files(checkout.root, {"patches/series": "one\n"})
    (checkout.root / path).unlink()
    (checkout.root / "patches/one.patch").unlink()
    write_files(checkout.root, {"patches/series": ""})
    checkout.make(("one", {path: "ours\n"}))
    problem, *_ = check(checkout)
    assert "is generated by Argument Clinic from upstream's code" in problem


def test_later_topic_may_change_our_own_generated_header(checkout):
    path = "Modules/_asyncio/clinic/x.c.h"
    checkout.make(("one", {path: "one\n"}), ("two", {path: "two\n"}))
    assert check(checkout) == []


# --- NEWS ------------------------------------------------------------------------------

@pytest.mark.parametrize("fields, told", [
    ("Thread: banana\n", "Thread is 'banana', not a thread like gh-12345"),
    ("", "is about gh-7, which is not its Thread"),
    ("Thread: gh-8\n", "is about gh-7, which is not its Thread"),
    ("Thread: gh-8, gh-7\n", None)])
def test_news_entry_is_about_the_topics_thread(checkout, fields, told):
    path = "Misc/NEWS.d/next/Library/2026-01-01-00-00-00.gh-issue-7.abcdef.rst"
    checkout.make(("one", {path: "It works.\n"}, fields))
    edit(checkout, "one", "No-NEWS: only a test.\n", "")
    problems = list(checking.header_problems(
        series.load_series(checkout.root)))
    assert told is None and not problems or told in problems[0]


def test_news_entries_are_judged_by_blurb(checkout, stock, monkeypatch):
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    folder = "Misc/NEWS.d/next/Library"
    entry = f"{folder}/2026-11-24-10-00-00.gh-issue-{{}}.AbC-_1.rst".format
    layout.build_root().mkdir(parents=True)
    (layout.build_root() / "stock").symlink_to(stock.parent)
    checkout.make(("one", {entry(123456): "Fix it.\n",
                           entry(5): "Too small a number.\n",
                           entry(123457): "- a list\n",
                           f"{folder}/other.rst": "Fix it.\n"},
                   "Thread: gh-123456, gh-5, gh-123457\n"))
    edit(checkout, "one", "No-NEWS: only a test.\n", "")
    pins = Path(checking.__file__).parents[1] / "requirements.txt"
    write_files(checkout.root, {"Tools/requirements.txt": pins.read_text()})
    problems = check(checkout)
    assert len(problems) == 4
    by_name = f"{folder}/other.rst is not named like a NEWS entry of blurb's"
    assert problems[0] == by_name
    told = "\n".join(problems[1:])
    assert "Invalid gh-issue number: '5'" in told
    assert "can't start with '- '" in told
    assert "other.rst" in told
    assert "123456" not in told


@pytest.mark.parametrize("there, taken", [
    (["release", "stock"], "stock"), (["release"], "release"), ([], "made")])
def test_blurb_gets_an_interpreter_that_was_built(checkout, monkeypatch,
                                                  there, taken):
    entry = "Misc/NEWS.d/next/Library/2026-11-24-10-00-00.gh-issue-123456.x.rst"
    checkout.make(("one", {entry: "Fix it.\n"}))
    for variant in there:
        write_files(layout.build_root(), {f"{variant}/python": ""})

    def ensure_venv(name, python, requirements):
        raise OverlayError(f"taken: {python.parent.name}")

    monkeypatch.setattr(checking, "ensure_venv", ensure_venv)
    monkeypatch.setattr(checking.build, "build", {
        "stock": Path("made", "python")}.get)
    assert ("NEWS entries were not checked by blurb: taken: "
            + taken) in check(checkout)


# --- Other bases -----------------------------------------------------------------------

def test_topic_that_does_not_apply_to_another_known_base_is_a_fault(checkout):
    checkout.make(("one", tasks("line 7\n", "seven\n")))
    path = "Lib/asyncio/tasks.py"
    checkout.add_base("3.13.15", BASE | {path: "another text\n"})
    [problem] = check(checkout)
    assert problem.startswith("on 3.13.15: topic one")


def test_patch_for_another_base_that_nothing_needs_is_a_fault(checkout):
    checkout.make(("one", tasks("line 20\n", "twenty\n")))
    [topic] = series.load_series(checkout.root)
    write_files(checkout.root, {"patches/3.13.15/one.patch":
                                topic.variant_text("3.13.15", topic.diff)})
    assert check(checkout) == ["patches/3.13.15/one.patch is not needed: "
                               "make rebase BASE=3.13.15"]


def test_patch_for_another_base_that_does_not_apply_is_a_fault(checkout):
    checkout.make(("one", tasks("line 20\n", "twenty\n")))
    [topic] = series.load_series(checkout.root)
    write_files(checkout.root, {"patches/3.13.15/one.patch": changed(
        topic.variant_text("3.13.15", topic.diff), "-line 20", "-line XX")})
    [problem] = check(checkout)
    assert problem.startswith("on 3.13.15: topic one, file Lib/asyncio/tasks"
                              ".py: hunk 1")


def test_patch_for_another_base_that_is_written_otherwise_is_a_fault(
        checkout):
    checkout.add_base("3.13.15", NEWER | {"Lib/asyncio/tasks.py": changed(
        NEWER["Lib/asyncio/tasks.py"], "line 18\n", "line eighteen\n")})
    checkout.make(("one", tasks("line 20\n", "twenty\n")))
    rebasing.bring(checkout.fetch("3.13.15"), checkout.root, offline=True)
    assert check(checkout) == []
    path = checkout.root / "patches/3.13.15/one.patch"
    path.write_text(changed(path.read_text(), "\nindex ", "\nindex f"))
    assert check(checkout) == ["patches/3.13.15/one.patch is not as make "
                               "rebase BASE=3.13.15 writes it"]


# --- Mails -----------------------------------------------------------------------------

def apply_mails(checkout, names):
    """git am on a base that has CPython's attributes in its tree."""
    upstream = checkout.folder / "upstream"
    write_files(upstream, BASE)
    write_files(upstream, {".gitattributes": "*.vcxproj text eol=crlf\n"
                           "*.txt text\n*.decTest -text\n"})
    checkout.git("init", "--quiet", folder=upstream)
    checkout.git("add", "--all", "--force", folder=upstream)
    checkout.git("commit", "--quiet", "-m", "base", folder=upstream)
    mails = [checkout.root / "build" / "review" / name for name in names]
    checkout.git("am", "--quiet", *mails, folder=upstream)
    return upstream


def review(checkout):
    return reviewing.write_review(checkout.root, checkout.root / "build" /
                                  "review", offline=True)


def test_git_am_takes_each_mail_as_a_complete_pull_request(checkout):
    checkout.make(("one", ALL_KINDS), ("two", tasks("line 7\n", "seven\n")))
    names = review(checkout)
    assert names == ["0001-one-Change-it.patch", "0002-two-Change-it.patch"]
    upstream = apply_mails(checkout, names)
    for path, text in (ALL_KINDS | tasks("line 7\n", "seven\n")).items():
        assert (upstream / path).read_bytes() == text.encode()
    assert checkout.git("status", "--porcelain", folder=upstream) == ""
    assert checkout.git("show", "--format=", "--name-only", "HEAD~1",
                        folder=upstream).split() == sorted(ALL_KINDS)
    assert "Because it is so." in checkout.git("log", folder=upstream)


def test_mails_have_the_text_of_their_step_and_come_anew(checkout):
    path = "Lib/asyncio/scopes.py"
    checkout.make(("one", {path: "early\n"}), ("two", {path: "final\n"}))
    names = review(checkout)
    folder = checkout.root / "build" / "review"
    assert "+early" in (folder / names[0]).read_text()
    assert "+final" in (folder / names[1]).read_text()
    (folder / "old.patch").touch()
    before = (folder / names[0]).read_bytes()
    assert review(checkout) == names
    assert sorted(path.name for path in folder.iterdir()) == names
    assert (folder / names[0]).read_bytes() == before


def test_message_that_a_mail_would_lose_is_told(checkout):
    checkout.make(("one", tasks("line 7\n", "seven\n")))
    edit(checkout, "one", "Because it is so.", "Because.\n--- so")
    with pytest.raises(OverlayError, match="git am changes the messages"):
        review(checkout)
    assert any("'--- so'" in problem for problem in check(checkout))


def test_text_that_a_mail_would_lose_is_told(checkout):
    checkout.make(("one", {"Lib/test/own.txt": "kept\n"}),
                  ("two", {"Lib/test/dos.txt": "one\r\ntwo\r\n"}))
    with pytest.raises(OverlayError,
                       match="git am makes another Lib/test/dos.txt of"):
        review(checkout)
    assert not (checkout.root / "build" / "review").exists()


def test_mail_that_git_am_does_not_take_is_told(checkout):
    checkout.make(("one", tasks("line 7\n", "seven\n")))
    path = checkout.root / "patches" / "one.patch"
    path.write_text(path.read_text().partition("diff --git")[0])
    with pytest.raises(OverlayError, match="git am does not take the mails"):
        review(checkout)
    assert not (checkout.root / "build" / "review").exists()


# --- Steps -----------------------------------------------------------------------------

def test_scratch_series_is_made_anew_only_when_the_series_changed(checkout):
    checkout.make(("one", tasks("line 7\n", "seven\n")))
    base = fetch_base(offline=True)
    repository = scratch_series(base, checkout.root)
    marker = repository.path / ".git" / "marker"
    marker.touch()
    write_files(repository.path, {"README": "damaged"})
    assert scratch_series(base, checkout.root).path == repository.path
    assert marker.exists()
    assert (repository.path / "README").read_text() == BASE["README"]
    edit(checkout, "one", "Because", "As")
    scratch_series(base, checkout.root)
    assert not marker.exists()


def test_scratch_series_is_made_anew_for_another_tarball(checkout):
    checkout.make(("one", tasks("line 7\n", "seven\n")))
    base = fetch_base(offline=True)
    marker = scratch_series(base, checkout.root).path / ".git" / "marker"
    marker.touch()
    scratch_series(base._replace(sha256="0" * 64), checkout.root)
    assert not marker.exists()


def test_scratch_series_is_made_anew_when_a_file_became_executable(checkout):
    checkout.make(("one", {"Lib/mine.py": "first\n"}))
    base = fetch_base(offline=True)
    repository = scratch_series(base, checkout.root)
    (checkout.root / "Lib/mine.py").chmod(0o755)
    repository = scratch_series(base, checkout.root)
    assert (repository.path / "Lib/mine.py").stat().st_mode & 0o111


@pytest.mark.parametrize("command", [
    ("commit", "--quiet", "--allow-empty", "-m", "more"),
    ("checkout", "--quiet", "--detach", "base")])
def test_scratch_series_is_made_anew_when_its_commits_are_others(checkout,
                                                                 command):
    checkout.make(("one", tasks("line 7\n", "seven\n")))
    base = fetch_base(offline=True)
    repository = scratch_series(base, checkout.root)
    head = repository.head()
    checkout.git(*command, folder=repository.path)
    assert scratch_series(base, checkout.root).head() == head


def test_tests_of_a_topic_are_found_by_their_path(checkout):
    checkout.make(("one", {"Lib/test/test_one.py": "", "Lib/test/help.py": "",
                           "Lib/test/test_two/test_x.py": "",
                           "Lib/test/test_asyncio/test_y.py": ""}))
    topics = series.load_series(checkout.root)
    assert stepping.test_names(topics) == ["test_asyncio", "test_one",
                                           "test_two"]


def built_steps(checkout, monkeypatch, fail=None, tested=None):
    """Which steps check_each() builds; the one called *fail* fails."""
    built = []
    tested = [] if tested is None else tested

    def build_step(base, name):
        built.append(name)
        if name == fail:
            raise OverlayError("make failed")
        return sys.executable

    monkeypatch.setattr(stepping, "_build_step", build_step)
    monkeypatch.setattr(
        stepping, "run_topics_tests",
        lambda python, topics, **options: tested.append(
            [topic.name for topic in topics]))
    monkeypatch.setattr(stepping, "load_settings", lambda: Settings(
        offline=True))
    try:
        stepping.check_each(checkout.root)
    except OverlayError as error:
        assert "make failed" in str(error)
        built.append(str(error).partition(":")[0])
    return built


def test_check_each_runs_again_only_what_changed(checkout, monkeypatch):
    checkout.make(("one", tasks("line 7\n", "seven\n")),
                  ("two", {"Lib/two.py": "two\n"}),
                  ("three", {"Lib/three.py": "three\n"}))
    tested = []
    assert built_steps(checkout, monkeypatch, "two", tested) == [
        "one", "two", "step 2/3, two"]
    assert tested == [["one"]]
    assert built_steps(checkout, monkeypatch) == ["two", "three"]
    assert built_steps(checkout, monkeypatch) == []
    write_files(checkout.root, {"Lib/two.py": "2\n"})
    assert built_steps(checkout, monkeypatch) == ["two", "three"]
    edit(checkout, "one", "+seven", "+7")
    tested = []
    assert built_steps(checkout, monkeypatch, None, tested) == [
        "one", "two", "three"]
    assert tested == [["one"], ["one", "two"], ["one", "two", "three"]]


@pytest.mark.parametrize("path, again", [
    ("Doc/library/own.rst", []), ("InternalDocs/own.md", []),
    ("Misc/NEWS.d/next/Library/own.rst", []), ("Misc/own.txt", ["one"])])
def test_check_each_runs_again_for_all_but_pages_and_news(
        checkout, monkeypatch, path, again):
    checkout.make(("one", {path: "one\n"}))
    assert built_steps(checkout, monkeypatch) == ["one"]
    write_files(checkout.root, {path: "two\n"})
    assert built_steps(checkout, monkeypatch) == again


