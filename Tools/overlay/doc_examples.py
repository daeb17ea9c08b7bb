"""The examples of a documentation page: found, run, and compared.

How it works.  What counts as an example, and how it is run:

    code-block:: python, and `::`     a program of its own
    code-block:: pycon, `>>>`         a session; those of a page share names
    doctest::                         the same
    testsetup::, testcode::           code; shares its names with the sessions
    testoutput::                      what the testcode before it prints
    code-block:: shell-session        `$ python …` commands and their output

A program that only defines things proves nothing, and is an error.
A program's output is compared if the page shows it: in a block after a
sentence that ends in "output::" or "prints::", or in a comment at its end,
"# Expected output:".  `...` in an expected output stands for anything.
What a program writes to stderr is an error.

A block in another language is no example.  One that cannot run is preceded
by a comment, which Sphinx leaves out of the page:

    .. example-not-run: needs a mail server
"""

import ast
import dataclasses
import doctest
import json
import os
import re
import shlex
import subprocess
import tempfile
import textwrap
from pathlib import Path

from ui import OverlayError

# Seconds that one example, or all sessions of a page together, may take.
TIME_LIMIT = 60

_DIRECTIVE = re.compile(r"\.\. (?P<name>[\w:-]+)::(?: +(?P<argument>.*))?")
_NOT_RUN = re.compile(r"\.\. example-not-run:(?P<reason>.*)")
_SHOWS_OUTPUT = re.compile(r"(?i)\b(output|prints) *::$")
_CODE = ("code-block", "code", "sourcecode")
_KINDS = {"python": "program", "python3": "program", "py": "program",
          "default": "program", "pycon": "session", "pycon3": "session",
          "shell-session": "shell", "console": "shell"}
_TESTS = {"doctest": "session", "testsetup": "code", "testcode": "code",
          "testoutput": "output", "testcleanup": "code"}
_EXPECTED = re.compile(r"(?mi)^# *(expected )?output:\n(?P<text>(#.*\n?)+)\Z")


@dataclasses.dataclass
class Example:
    """One block of a page."""

    # program, session, code, output, shell; or other, which is not run.
    kind: str
    # Numbers of its first and last line on the page.
    first: int
    last: int
    text: str
    # What it is expected to print; None if the page does not say.
    output: str | None = None
    # Why it cannot run; None if it should.
    not_run: str | None = None


def doc_examples(page, lines=None):
    """Return the examples of the file *page*: those that have one of the
    numbered *lines*, or all of them.

    Raises OverlayError for a mark or an output that belongs to no example.
    """
    text = Path(page).read_text(encoding="utf-8")
    examples = _Scanner(page, text).scan()
    homeless = _attach_outputs(examples)
    for output in _among(homeless, lines):
        raise OverlayError(f"{page}:{output.first}: an output that belongs to "
                           "no program")
    return [example for example in _among(examples, lines)
            if example.kind not in ("other", "output")]


def run_examples(python, page, examples):
    """Run *examples* on *python*; return what is wrong, one text for each."""
    wrong = []
    shared = []
    with tempfile.TemporaryDirectory() as folder:
        for example in examples:
            if example.not_run:
                continue
            if example.kind in _RUNNERS:
                wrong += _RUNNERS[example.kind](python, page, example, folder)
            else:
                shared.append(example)
        if shared:
            wrong += _run_shared(python, page, shared, folder)
    return wrong


def _among(examples, lines):
    return [example for example in examples if lines is None
            or lines & set(range(example.first, example.last + 1))]


# --- Finding -----------------------------------------------------------------

class _Scanner:
    """Reads a page once, from top to bottom."""

    def __init__(self, page, text):
        self._page = page
        self._lines = text.expandtabs(8).splitlines()
        self._examples = []
        self._language = "python3"
        # The reason and line of an example-not-run still to be used.
        self._mark = None

    def scan(self):
        number = 0
        while number < len(self._lines):
            number = self._scan_line(number)
        self._mark_used()
        return self._examples

    def _scan_line(self, number):
        """Deal with what begins at a line (from 0); return where to go on."""
        line = self._lines[number].strip()
        if mark := _NOT_RUN.fullmatch(line):
            self._mark_used()
            self._mark = mark["reason"].strip() or None, number + 1
            if self._mark[0] is None:
                raise OverlayError(f"{self._page}:{number + 1}: "
                                   "example-not-run without a reason")
            return number + 1
        if directive := _DIRECTIVE.fullmatch(line):
            return self._directive(number, directive)
        if line.startswith(".. ") and not line.startswith(".. _"):
            return self._body(number)[1]
        if line.startswith(">>> "):
            end = number
            while end < len(self._lines) and self._lines[end].strip():
                end += 1
            self._add("session", number, end)
            return end
        if line.endswith("::"):
            return self._block(number, self._kind(self._language, number + 1),
                               shows=bool(_SHOWS_OUTPUT.search(line)))
        return number + 1

    def _directive(self, number, directive):
        name, argument = directive["name"], (directive["argument"] or "").strip()
        if name == "highlight":
            self._language = argument
        elif name in _CODE:
            kind = self._kind(argument or self._language, number + 1)
            return self._block(number, kind,
                               shows=self._shown_output(number))
        elif name in _TESTS:
            return self._block(number, _TESTS[name])
        elif name in ("productionlist", "parsed-literal", "math", "raw"):
            return self._body(number)[1]
        return number + 1

    def _shown_output(self, number):
        """True if the sentence before line *number* announces an output."""
        before = number - 1
        while before >= 0 and not self._lines[before].strip():
            before -= 1
        return before >= 0 and bool(
            _SHOWS_OUTPUT.search(self._lines[before].strip() + ":"))

    def _kind(self, language, after):
        kind = _KINDS.get(language, "other")
        start = next((line.strip() for line in self._lines[after:]
                      if line.strip() and not line.strip().startswith(":")),
                     "")
        return "session" if (kind == "program" and start.startswith(">>>")
                             ) else kind

    def _body(self, number):
        """The lines that are indented deeper than line *number*."""
        indent = _indent(self._lines[number])
        start = end = number + 1
        for index in range(start, len(self._lines)):
            if self._lines[index].strip():
                if _indent(self._lines[index]) <= indent:
                    break
                end = index + 1
        return start, end

    def _block(self, number, kind, *, shows=False):
        start, end = self._body(number)
        while start < end and re.match(r" *(:[\w-]+:.*)?$", self._lines[start]):
            start += 1
        if start < end:
            if shows:
                kind = "output"
            self._add(kind, start, end)
        return max(end, number + 1)

    def _add(self, kind, start, end):
        text = textwrap.dedent("\n".join(self._lines[start:end])) + "\n"
        example = Example(kind, start + 1, end, text)
        if self._mark and kind != "output":
            example.not_run = self._mark[0]
            self._mark = None
        self._examples.append(example)

    def _mark_used(self):
        if self._mark:
            raise OverlayError(f"{self._page}:{self._mark[1]}: example-not-run "
                               "with no example after it")


def _indent(line):
    return len(line) - len(line.lstrip())


def _attach_outputs(examples):
    """Give programs their outputs; return the outputs that have no program."""
    homeless = []
    previous = None
    for example in examples:
        if example.kind == "output":
            if not previous or previous.kind not in ("program", "code"):
                homeless.append(example)
                continue
            previous.output = example.text
            previous.last = max(previous.last, example.last)
        elif example.kind == "program":
            found = _EXPECTED.search(example.text)
            if found:
                lines = re.sub(r"(?m)^#", "", found["text"])
                example.output = textwrap.dedent(lines).strip("\n") + "\n"
        previous = example
    return homeless


# --- Running -----------------------------------------------------------------

def _environment():
    return {name: value for name, value in os.environ.items()
            if not name.startswith("PYTHON")}


def _run(command, folder, **options):
    return subprocess.run(
        command, cwd=folder, env=_environment(), stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=TIME_LIMIT, **options)


def _only_defines(text):
    """True if running the program *text* would prove nothing."""
    try:
        body = ast.parse(text).body
    except SyntaxError:
        return False
    return all(isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef,
                                 ast.ClassDef, ast.Import, ast.ImportFrom))
               for node in body)


def _run_program(python, page, example, folder):
    where = f"{page}:{example.first}"
    if _only_defines(example.text):
        return [f"{where}: the example only defines things; let it run "
                "something, or mark it as example-not-run"]
    # With empty lines, so that a traceback's numbers are those of the page.
    script = Path(folder, Path(page).stem + ".py")
    script.write_text("\n" * (example.first - 1) + example.text,
                      encoding="utf-8")
    try:
        done = _run([os.path.abspath(python), script], folder)
    except subprocess.TimeoutExpired:
        return [f"{where}: still running after {TIME_LIMIT} s"]
    if done.returncode or done.stderr:
        return [f"{where}: ended with status {done.returncode}\n"
                + textwrap.indent(done.stderr.strip(), "    ")]
    if example.output is not None and not _agrees(example.output, done.stdout):
        return [_difference(where, example.output, done.stdout)]
    return []


def _run_shell(python, page, example, folder):
    wrong = []
    for number, command, output in _commands(example):
        words = shlex.split(command)
        where = f"{page}:{number}"
        if not words or words[0] not in ("python", "python3"):
            wrong.append(f"{where}: {command!r} is not a python command; mark "
                         "it as example-not-run")
            continue
        try:
            done = _run([os.path.abspath(python), *words[1:]], folder)
        except subprocess.TimeoutExpired:
            wrong.append(f"{where}: still running after {TIME_LIMIT} s")
            continue
        shown = done.stdout + done.stderr
        if not _agrees(output, shown):
            wrong.append(_difference(where, output, shown))
    return wrong


def _commands(example):
    """(line number, command, expected output) for each `$ ` line."""
    found = []
    for number, line in enumerate(example.text.splitlines(), example.first):
        if line.startswith("$ "):
            found.append([number, line[2:], ""])
        elif found:
            found[-1][2] += line + "\n"
    return found


_RUNNERS = {"program": _run_program, "shell": _run_shell}


def _agrees(expected, got):
    return doctest.OutputChecker().check_output(
        expected.rstrip() + "\n", _stripped(got), doctest.ELLIPSIS)


def _stripped(text):
    return "\n".join(map(str.rstrip, text.rstrip().split("\n"))) + "\n"


def _difference(where, expected, got):
    return (f"{where}: the page shows\n{textwrap.indent(expected, '    ')}"
            f"but it printed\n{textwrap.indent(got, '    ')}").rstrip()


# Runs the sessions and code of a page in one namespace.  Reads a list of
# [kind, line, text, output] from the file that it is given, and prints what
# is wrong as JSON in the last line.
_DRIVER = """
import contextlib, doctest, io, json, sys, traceback
page, blocks = json.load(open(sys.argv[1]))
names = {'__name__': '__main__'}
wrong = []
runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS, verbose=False)
for kind, line, text, output in blocks:
    where = f'{page}:{line}'
    said = io.StringIO()
    if kind == 'session':
        test = doctest.DocTestParser().get_doctest(
            text, names, where, page, line - 1)
        runner.run(test, out=said.write, clear_globs=False)
        names.update(test.globs)
        if said.getvalue():
            wrong.append(f'{where}: ' + said.getvalue().strip())
        continue
    try:
        with contextlib.redirect_stdout(said):
            exec(compile('\\n' * (line - 1) + text, page, 'exec'), names)
    except BaseException:
        wrong.append(f'{where}: ' + traceback.format_exc())
        continue
    checker = doctest.OutputChecker()
    if output is not None and not checker.check_output(
            output, said.getvalue(), doctest.ELLIPSIS):
        wrong.append(f'{where}: the page shows\\n{output}'
                     f'but it printed\\n{said.getvalue()}')
print()
print(json.dumps(wrong))
"""


def _run_shared(python, page, examples, folder):
    blocks = Path(folder, "blocks.json")
    blocks.write_text(json.dumps(
        [str(page), [[example.kind, example.first, example.text,
                      example.output] for example in examples]]))
    where = f"{page}: the sessions"
    try:
        done = _run([os.path.abspath(python), "-c", _DRIVER, str(blocks)],
                    folder)
    except subprocess.TimeoutExpired:
        return [f"{where}: still running after {TIME_LIMIT} s"]
    try:
        wrong = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        wrong = [f"{where}: ended with status {done.returncode}"]
    if done.stderr:
        wrong.append(f"{where}: wrote to stderr\n"
                     + textwrap.indent(done.stderr.strip(), "    "))
    return wrong
