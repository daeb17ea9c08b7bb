"""The type stubs: merged into typeshed, and refused when they lie."""

import shutil
import subprocess

import pytest

import layout
import stubs
from ui import OverlayError


@pytest.fixture
def copied(tmp_path):
    """A copy of the stubs, to tell lies in."""
    return shutil.copytree(stubs.STUBS, tmp_path / "stubs")


def test_stubs_agree_with_the_interpreter(python, stock):
    stubs.check_stubs(python, stock)


LIES = {
    "__init__.pyi": "__overlay__: int\ndef never_written() -> None: ...\n",
    "runners.pyi": "def run(main, *, debug=None) -> None: ...\n",
    "events.pyi": "class AbstractEventLoop:\n    def fly(self): ...\n",
    "no_such_module.pyi": "x: int\n",
}


def test_each_lie_of_a_stub_is_named(python, stock, copied, capsys):
    for name, lie in LIES.items():
        (copied / "asyncio" / name).write_text(lie)
    with pytest.raises(OverlayError, match="type stubs and asyncio differ"):
        stubs.check_stubs(python, stock, copied)
    said = capsys.readouterr().err
    for complaint in ("asyncio.__overlay__ variable", "asyncio.never_written ",
                      "asyncio.runners.run ", "asyncio.no_such_module ",
                      "asyncio.events.AbstractEventLoop.fly "):
        assert f"    | {complaint}" in said


def test_stub_that_mypy_cannot_read_is_refused(python, stock, copied):
    (copied / "asyncio" / "runners.pyi").write_text("def run(a: Nowhere): ...")
    with pytest.raises(OverlayError, match="mypy refuses .*Nowhere"):
        stubs.check_stubs(python, stock, copied)


def test_stub_that_is_no_python_is_refused(python, stock, copied):
    (copied / "asyncio" / "events.pyi").write_text("def oops(:\n")
    with pytest.raises(OverlayError, match=r"events\.pyi:1"):
        stubs.check_stubs(python, stock, copied)


def test_program_is_checked_against_the_merged_typeshed(python, stock,
                                                        tmp_path):
    typeshed = stubs.check_stubs(python, stock)
    program = tmp_path / "program.py"
    program.write_text("import asyncio\n"
                       "names: tuple[str, ...] = asyncio.__overlay__.topics\n"
                       "asyncio.__overlay__.topix\n")
    mypy = layout.build_root().absolute() / "venvs" / "stubs" / "bin" / "python"
    done = subprocess.run(
        [mypy, "-m", "mypy", "--custom-typeshed-dir", typeshed, program],
        capture_output=True, text=True, cwd=tmp_path)
    assert 'program.py:3: error: "Overlay" has no attribute "topix"' in (
        done.stdout)
    assert "Found 1 error " in done.stdout


THEIRS = """\
import sys

def kept() -> int: ...

class Loop:
    x: int
    if sys.version_info >= (3, 14):
        def call(self) -> int: ...
    else:
        def call(self) -> str: ...

    def stop(self) -> None: ...

def last() -> int: ...
"""


def test_unknown_names_are_added_at_the_end():
    merged = stubs.merge(THEIRS, "import abc\n\nclass New(abc.ABC):\n"
                                 "    y: int\n")
    assert merged == THEIRS + "import abc\nclass New(abc.ABC):\n    y: int\n"


def test_known_function_is_replaced_with_its_overloads():
    merged = stubs.merge(
        THEIRS, "@overload\ndef kept(a: int) -> int: ...\n"
                "@overload\ndef kept(a: str) -> str: ...\n")
    assert "def kept() -> int" not in merged
    assert merged.count("@overload\ndef kept(a:") == 2


def test_member_of_a_known_class_is_added_inside_it():
    merged = stubs.merge(THEIRS, "class Loop:\n    def more(self) -> int: ...\n")
    assert ("    def stop(self) -> None: ...\n"
            "    def more(self) -> int: ...\n\ndef last()") in merged


def test_member_is_replaced_in_every_branch():
    merged = stubs.merge(THEIRS, "class Loop:\n    def call(self) -> None: ...")
    assert merged.count("def call(") == 1
    compile(merged, "merged", "exec")


def test_new_name_does_not_come_between_the_last_class_and_its_member():
    merged = stubs.merge("class C:\n    def a(self): ...\n",
                         "x: int\nclass C:\n    def b(self): ...\n")
    assert merged == ("class C:\n    def a(self): ...\n"
                      "    def b(self): ...\nx: int\n")


def test_names_are_put_behind_their_neighbour_in_each_tuple():
    merged = stubs.merge(
        "if x:\n    __all__ = (\n        'A',  # from a\n        'C',\n    )\n"
        "else:\n    __all__ = ('B', 'C')\n",
        '__all__ += ("A", "New", "Newer")\n')
    assert merged == (
        "if x:\n    __all__ = (\n        'A',  # from a\n"
        '        "New",\n        "Newer",\n'
        "        'C',\n    )\nelse:\n    __all__ = ('B', 'C')\n")


def test_names_without_a_neighbour_are_added_at_the_end():
    merged = stubs.merge("__all__ = ('B',)\n", "__all__ += ('New',)\n")
    assert merged == "__all__ = ('B',)\n__all__ += ('New',)\n"
