"""The documentation's examples are run, and its warnings are sorted."""

import textwrap
from pathlib import Path

import pytest

import doc_examples
import docs
from ui import OverlayError


@pytest.fixture
def page(tmp_path):
    def write(text):
        path = tmp_path / "page.rst"
        path.write_text(textwrap.dedent(text))
        return path
    return write


@pytest.fixture
def faults(python):
    """What is wrong with a page's examples."""
    def run(path, lines=None):
        examples = doc_examples.doc_examples(path, lines)
        return doc_examples.run_examples(python, path, examples)
    return run


def test_page_with_right_examples_has_no_faults(page, faults):
    path = page("""\
        Title
        =====

        A program::

           print('one')
           print('two 2')

        Output::

           one
           two ...

        .. code-block:: python
           :caption: another

           import asyncio
           asyncio.run(asyncio.sleep(0))
           print(6 * 7)
           # Expected output:
           #
           #     42

        >>> number = 7

        .. doctest::

           >>> number
           7

        .. testcode::

           print(number)

        .. testoutput::

           7

        .. code-block:: shell-session

           $ python -c "print(5)"
           5

        .. code-block:: c

           this is no example
        """)
    kinds = [example.kind for example in doc_examples.doc_examples(path)]
    assert kinds == ["program", "program", "session", "session", "code",
                     "shell"]
    assert faults(path) == []


@pytest.mark.parametrize("text, line, said", [
    ("Code::\n\n    1 / 0\n", 3, "ZeroDivisionError"),
    ("Code::\n\n    print(1)\n\nIt prints::\n\n    2\n", 3, "the page shows"),
    ("Code::\n\n    print(1)\n    # Expected output:\n    # 2\n", 3,
     "the page shows"),
    ("Code::\n\n    no python\n", 3, "SyntaxError"),
    ("Code::\n\n    async def main():\n        pass\n", 3, "only defines"),
    ("Code::\n\n    import sys\n    print(1, file=sys.stderr)\n", 3,
     "status 0"),
    ("Code::\n\n    raise SystemExit(3)\n", 3, "status 3"),
    (">>> 1 + 1\n3\n", 1, "Expected"),
    (".. testcode::\n\n   print(1)\n\n.. testoutput::\n\n   2\n", 3,
     "the page shows"),
    (".. testcode::\n\n   1 / 0\n", 3, "ZeroDivisionError"),
    (".. code-block:: console\n\n   $ python -c 'print(1)'\n   2\n", 3,
     "the page shows"),
    (".. code-block:: console\n\n   $ make docs\n", 3, "not a python command"),
])
def test_wrong_example_is_a_fault_that_names_its_line(page, faults, text, line,
                                                      said):
    path = page(text)
    [fault] = faults(path)
    assert fault.startswith(f"{path}:{line}: ")
    assert said in fault


def test_session_that_writes_to_stderr_is_a_fault(page, faults):
    path = page(">>> import sys\n>>> print('lost', file=sys.stderr)\n")
    [fault] = faults(path)
    assert fault.startswith(f"{path}: the sessions: wrote to stderr")
    assert "lost" in fault


def test_traceback_of_an_example_has_the_page_s_line_numbers(page, faults):
    [fault] = faults(page("Code::\n\n    x = 1\n    raise ValueError(x)\n"))
    assert "line 4" in fault


def test_example_marked_as_not_run_is_not_run(page, faults):
    path = page("""\
        .. example-not-run: needs a mail server

        Code::

            1 / 0
        """)
    [example] = doc_examples.doc_examples(path)
    assert example.not_run == "needs a mail server"
    assert faults(path) == []


@pytest.mark.parametrize("text", [
    ".. example-not-run:\n\nCode::\n\n    1 / 0\n",
    ".. example-not-run: nothing follows\n",
    "Expected output::\n\n    1\n",
])
def test_mark_or_output_without_its_example_is_an_error(page, text):
    with pytest.raises(OverlayError, match=r"page\.rst:\d"):
        doc_examples.doc_examples(page(text))


def test_example_that_never_ends_is_a_fault(page, faults, monkeypatch):
    monkeypatch.setattr(doc_examples, "TIME_LIMIT", 1)
    [fault] = faults(page("Code::\n\n    while True: pass\n"))
    assert "still running" in fault


def test_of_a_patched_page_only_the_added_examples_count(page):
    old = "Code::\n\n    one()\n\nCode::\n\n    two()\n"
    new = old.replace("two()", "two()\n    three()")
    added = docs.added_lines(old, new)
    assert added == {8}
    [example] = doc_examples.doc_examples(page(new), added)
    assert example.text == "two()\nthree()\n"


def test_every_example_of_the_series_pages_runs(python, stock):
    # Each has the sources that it was made of beside it.
    src = python.parent / "src"
    touched = docs.touched_pages(src, stock.parent / "src")
    assert "library/asyncio.rst" in touched
    faults, count = [], 0
    for name, lines in touched.items():
        page = src / "Doc" / name
        examples = doc_examples.doc_examples(page, lines)
        count += len(examples)
        faults += doc_examples.run_examples(python, page, examples)
    assert faults == []
    assert count > 0


def test_sphinx_is_to_tell_of_every_reference_that_leads_nowhere(
        tmp_path, monkeypatch):
    ran = []
    monkeypatch.setattr(docs, "run_logged",
                        lambda command, *args, **kwargs: ran.append(command))
    docs._run_sphinx("python", tmp_path)
    [command] = ran
    assert "--nitpicky" in command
    assert command[command.index("--warning-file") + 1] == (
        tmp_path / "warnings.txt")


# --- Warnings ----------------------------------------------------------------

@pytest.fixture
def trees(tmp_path):
    """Sources and stock sources that differ in two pages."""
    pages = {"stock": {"same": "1\n", "changed": "1\n2\n"},
             "src": {"same": "1\n", "changed": "1\nx\n2\n", "new": "1\n"}}
    for tree, texts in pages.items():
        for name, text in texts.items():
            path = tmp_path / tree / "Doc" / f"{name}.rst"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return tmp_path / "src", tmp_path / "stock"


def test_touched_pages_are_those_that_differ_from_stock(trees):
    assert docs.touched_pages(*trees) == {"changed.rst": {2}, "new.rst": {1}}


WARNED = """\
/s p/Doc/a.rst:3: WARNING: py:func reference target not found: f [ref.func]
/s p/Doc/b.rst: WARNING: document isn't included in any toctree
/s p/Doc/b.rst:9: ERROR: Unexpected indentation.
  and a second line
<unknown>:1: WARNING: who knows
"""


def test_warnings_are_parsed_with_page_and_line():
    found = docs.parse_warnings(WARNED, Path("/s p/Doc"))
    assert [(page, line) for page, line, _ in found[:3]] == [
        ("a.rst", 3), ("b.rst", None), ("b.rst", 9)]
    assert found[2].text == "Unexpected indentation.\n  and a second line"
    assert len(found) == 4


@pytest.mark.parametrize("touched, ignored, count", [
    ({"a.rst": {1}}, set(), 1),
    ({"b.rst": {1}}, set(), 2),
    ({"b.rst": {9}}, {"b.rst"}, 1),
])
def test_warning_of_a_touched_page_is_an_error(touched, ignored, count):
    found = docs.parse_warnings(WARNED, Path("/s p/Doc"))
    with pytest.raises(OverlayError, match=f"warned {count} times.*[ab].rst"):
        docs.check_warnings(found, touched, ignored)


@pytest.mark.parametrize("touched, ignored", [
    ({}, set()), ({"c.rst": {1}}, set()), ({"b.rst": {1}}, {"b.rst"})])
def test_warnings_of_upstreams_pages_are_counted(touched, ignored, capsys):
    found = docs.parse_warnings(WARNED, Path("/s p/Doc"))
    docs.check_warnings(found, touched, ignored)
    assert "4 warnings from upstream's pages" in capsys.readouterr().out
