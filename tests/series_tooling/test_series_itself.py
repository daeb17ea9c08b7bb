"""The series of this checkout, on the real base."""

import shutil

import pytest

import base
import checking
import exporting
import importing
import layout
import maintain
import reviewing
from gitrepo import Repository
from ui import OverlayError


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    try:
        default = base.fetch_base(offline=True)
    except OverlayError as error:
        pytest.fail(f"get the base first, by configuring: {error}")
    return importing.import_series(
        default, tmp_path_factory.mktemp("real") / "series", layout.ROOT)


def test_round_trip_of_the_series_changes_nothing(imported):
    new = exporting.exported(imported, layout.ROOT)
    assert exporting.differences(new, layout.ROOT) == ([], [])


def test_repository_has_what_the_tarball_has(imported):
    assert imported.git("status", "--porcelain") == ""
    project = (imported.path / "PCbuild/_asyncio.vcxproj").read_bytes()
    assert project.count(b"\r\n") == project.count(b"\n") > 0
    assert b"\r" not in imported.read("base", "PCbuild/_asyncio.vcxproj")
    crlf = imported.git("grep", "-Il", "\r$", "base").split()
    assert "base:Lib/test/tokenizedata/coding20731.py" in crlf
    assert not [path for path in crlf if path.endswith((".vcxproj", ".bat"))]


def test_c_header_project_and_page_survive_export_review_and_am(
        imported, tmp_path):
    edit_all_kinds(imported)
    new = exporting.exported(imported, layout.ROOT)
    assert new.files["Modules/_asyncio/probe.h"] == (b"#define PROBE 1\n",
                                                     False)
    patch = new.files["patches/probe.patch"][0]
    assert b"\r" not in patch
    for path in (b"Modules/_asynciomodule.c", b"PCbuild/_asyncio.vcxproj",
                 b"Doc/library/asyncio-task.rst"):
        assert b"+++ b/" + path in patch
    mails = reviewing.format_mails(imported, tmp_path / "mails")
    with reviewing.clean_base(imported) as clean:
        clean.git("am", *(tmp_path / "mails" / name for name in mails))
        assert clean.git("rev-parse", "HEAD^{tree}") == (
            imported.git("rev-parse", "HEAD^{tree}"))
        project = (clean.path / "PCbuild/_asyncio.vcxproj").read_bytes()
        assert b"probe.h\" />\r\n" in project


def test_clone_has_every_byte_where_git_changes_line_ends(tmp_path):
    texts = {"patches/unix.patch": b"one\ntwo\n", "Lib/dos.txt": b"one\r\n"}
    origin = Repository(tmp_path / "origin")
    for path, text in texts.items():
        (origin.path / path).parent.mkdir(parents=True)
        (origin.path / path).write_bytes(text)
    shutil.copy(layout.ROOT / ".gitattributes", origin.path)
    changing = {"core.autocrlf": "true"}
    origin.git("init", "--quiet")
    origin.git("add", "--all", settings=changing)
    origin.git("commit", "--quiet", "--message=all")
    origin.git("clone", "--quiet", ".", tmp_path / "clone", settings=changing)
    for path, text in texts.items():
        assert (tmp_path / "clone" / path).read_bytes() == text


def edit_all_kinds(repository):
    for path, old, new in (
            ("Modules/_asynciomodule.c", b'#include "Python.h"\n',
             b'#include "Python.h"\n#include "_asyncio/probe.h"\n'),
            ("PCbuild/_asyncio.vcxproj", b'_asynciomodule.c" />\r\n',
             b'_asynciomodule.c" />\r\n    <ClInclude Include="probe.h" />'
             b'\r\n'),
            ("Doc/library/asyncio-task.rst", b".. _coroutine:",
             b".. _probe:\n\n.. _coroutine:")):
        file = repository.path / path
        data = file.read_bytes()
        assert data.count(old) == 1
        file.write_bytes(data.replace(old, new))
    header = repository.path / "Modules/_asyncio/probe.h"
    header.parent.mkdir(exist_ok=True)
    header.write_text("#define PROBE 1\n")
    repository.add(["Modules", "PCbuild", "Doc"])
    repository.commit("probe: Change one of each kind\n\nTo see.\n\n"
                      "Rejected: nothing.\nDrop-when: at once.\n")


def test_series_is_in_order():
    """What make check-series says, but for bases that cannot be had here."""
    offline = maintain.settings_or_default().offline
    out_of_reach = {}
    for version in layout.known_bases():
        try:
            base.fetch_base(version, offline=offline)
        except OverlayError as error:
            out_of_reach[version] = str(error)
    problems = checking.check_series(layout.ROOT, offline=offline)
    assert [problem for problem in problems
            if not problem.startswith(tuple(
                f"on {version}: " for version in out_of_reach))] == []
    if out_of_reach:
        pytest.skip("all is in order, but this was not looked at: "
                    f"{out_of_reach}")
