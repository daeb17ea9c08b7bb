"""The type stubs of what the series adds, merged into typeshed and checked.

How it works.  Tools/stubs holds additions to typeshed's files, as mypy takes
the standard library's stubs from one place only (its README has the rules).
Both are merged, definition by definition, into a typeshed of our own.

mypy's stubtest imports asyncio and compares it with these stubs.  typeshed is
not perfect, and not made for this release alone; so stubtest also compares the
stock interpreter with typeshed as it is, and what it says of both is not ours.
"""

import ast
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import layout
from ui import OverlayError, say, step
from venv import ensure_venv

STUBS = layout.ROOT / "Tools" / "stubs"
REQUIREMENTS = layout.ROOT / "Tools" / "requirements-stubs.txt"


def main(arguments):
    """`make stubs`."""
    import build
    check_stubs(build.build("release"), build.build("stock"))
    return 0


def check_stubs(python, stock, stubs=STUBS):
    """Check *stubs* against asyncio of *python*; return the typeshed made.

    Raises OverlayError if stubtest says anything of *python* that it does not
    say of the interpreter *stock*.
    """
    with step("checking the type stubs"):
        ours = ensure_venv("stubs", python, REQUIREMENTS)
        theirs = ensure_venv("stubs-stock", stock, REQUIREMENTS)
        typeshed = make_typeshed(ours, stubs)
        known = _stock_complaints(theirs)
        complaints = [line for line in stubtest(ours, typeshed)
                      if line not in known]
        complaints += _without_stub(ours, theirs, typeshed)
    for line in complaints:
        print(f"    | {line}", file=sys.stderr)
    if complaints:
        raise OverlayError(
            f"the type stubs and asyncio differ in {len(complaints)} places; "
            f"mend {stubs}, or what it describes")
    say(f"type stubs: {typeshed}")
    return typeshed


def make_typeshed(python, stubs=STUBS):
    """Merge *stubs* and the typeshed of *python*'s mypy; return the folder."""
    site = _ask(python, "import mypy; print(mypy.__path__[0])")
    target = layout.build_root().absolute() / "stubs" / "typeshed"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(Path(site, "typeshed"), target)
    for source in sorted(Path(stubs).rglob("*.pyi")):
        into = target / "stdlib" / source.relative_to(stubs)
        text = source.read_text(encoding="utf-8")
        if into.exists():
            text = merge(into.read_text(encoding="utf-8"), text, source)
        into.parent.mkdir(parents=True, exist_ok=True)
        into.write_text(text, encoding="utf-8")
    return target


# --- Merging -----------------------------------------------------------------

def merge(theirs, ours, where="the stub"):
    """The stub *theirs* with the definitions of *ours* added or replaced."""
    merged = _Merge(theirs, ours, where)
    merged.body(merged.theirs.body, merged.ours.body, len(merged.lines), "")
    return merged.text()


class _Merge:
    """Collects edits to the lines of one stub."""

    def __init__(self, theirs, ours, where):
        self.lines = theirs.splitlines()
        self.theirs = _parsed(theirs, "typeshed's text")
        self.ours = _parsed(ours, where)
        self._source = ours.splitlines()
        # Line numbers (from 1) to drop; after which line to put which lines.
        self._dropped = set()
        self._added = {}

    def body(self, theirs, ours, end, indent):
        """Merge the statements *ours* into *theirs*, which ends at *end*."""
        known = _definitions(theirs)
        # First: the last class of a file must not get its members behind what
        # is added at the file's end.
        rest = [node for node in ours
                if not self._merge_class(node, known.get(_name(node), ()))]
        dropped = set()
        for node in rest:
            if self._extend_all(node, known):
                continue
            name = _name(node)
            if name in known and name not in dropped:
                dropped.add(name)
                for old in known[name]:
                    self._drop(old)
            self._add(node, end, indent)

    def _merge_class(self, node, known):
        """Merge a class into its namesakes; return whether there are any."""
        classes = [old for old in known if isinstance(old, ast.ClassDef)]
        if not isinstance(node, ast.ClassDef) or not classes:
            return False
        for old in classes:
            self.body(old.body, node.body, old.end_lineno,
                      " " * (old.col_offset + 4))
        return True

    def _extend_all(self, node, known):
        """Put the names of `__all__ += (…)` where they belong.

        That is behind the first of them, in each of typeshed's tuples that
        has it; return whether there are any.
        """
        if (not isinstance(node, ast.AugAssign)
                or ast.unparse(node.target) != "__all__"):
            return False
        before, *names = ast.literal_eval(node.value)
        found = [element for old in known.get("__all__", ())
                 if isinstance(getattr(old, "value", None), ast.Tuple)
                 for element in old.value.elts
                 if ast.literal_eval(element) == before]
        for element in found:
            indent = " " * element.col_offset
            self._added.setdefault(element.end_lineno, []).extend(
                f'{indent}"{name}",' for name in names)
        return bool(found)

    def _drop(self, node):
        start, end = _first_line(node), node.end_lineno
        self._dropped.update(range(start, end + 1))
        # Whatever block it was in must not become empty.
        self._added.setdefault(end, []).append(" " * node.col_offset + "pass")

    def _add(self, node, end, indent):
        lines = self._source[_first_line(node) - 1:node.end_lineno]
        cut = node.col_offset
        self._added.setdefault(end, []).extend(
            indent + line[cut:] if line.strip() else line for line in lines)

    def text(self):
        out = list(self._added.get(0, ()))
        for number, line in enumerate(self.lines, 1):
            if number not in self._dropped:
                out.append(line)
            out += self._added.get(number, ())
        return "\n".join(out) + "\n"


def _parsed(text, where):
    try:
        return ast.parse(text)
    except SyntaxError as error:
        raise OverlayError(f"{where}:{error.lineno}: {error.msg}") from None


def _definitions(body):
    """Name: the nodes that define it, those under an `if` included."""
    found = {}
    for node in body:
        if isinstance(node, ast.If):
            for name, nodes in _definitions(node.body + node.orelse).items():
                found.setdefault(name, []).extend(nodes)
        elif name := _name(node):
            found.setdefault(name, []).append(node)
    return found


def _name(node):
    """The name that a statement defines, or None."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return node.name
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id
    if (isinstance(node, ast.Assign) and len(node.targets) == 1
            and isinstance(node.targets[0], ast.Name)):
        return node.targets[0].id
    return None


def _first_line(node):
    decorators = getattr(node, "decorator_list", ())
    return min([node.lineno, *(found.lineno for found in decorators)])


# --- stubtest ----------------------------------------------------------------

def stubtest(python, typeshed=None):
    """What stubtest says of *python*'s asyncio, one line a complaint."""
    command = [python, "-m", "mypy.stubtest", "--concise", "asyncio"]
    if typeshed:
        command += ["--custom-typeshed-dir", typeshed]
    folder = layout.build_root().absolute() / "stubs"
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(command, env=_environment(), cwd=folder, text=True,
                          capture_output=True, stdin=subprocess.DEVNULL)
    if done.returncode not in (0, 1) or done.stderr:
        raise OverlayError(f"stubtest ended with status {done.returncode}: "
                           f"{done.stderr.strip() or done.stdout.strip()}")
    if done.stdout.startswith("error: not checking stubs"):
        raise OverlayError("mypy refuses the stubs: "
                           + done.stdout.partition("\n")[2].strip())
    return [line for line in done.stdout.splitlines() if line.strip()]


def _stock_complaints(python):
    """The same of the stock interpreter; kept, as it hardly ever changes."""
    identity = _ask(python, "import sys; print(sys.version)")
    key = hashlib.sha256((identity + REQUIREMENTS.read_text()).encode())
    kept = layout.build_root() / "stubs" / f"stock-{key.hexdigest()[:16]}.txt"
    if not kept.exists():
        lines = stubtest(python)
        kept.parent.mkdir(parents=True, exist_ok=True)
        fresh = kept.with_suffix(".new")
        fresh.write_text("".join(line + "\n" for line in lines))
        fresh.replace(kept)
    return set(kept.read_text().splitlines())


def _without_stub(ours, theirs, typeshed):
    """A complaint for each new public module that has no stub, which
    stubtest passes over."""
    listing = ("import asyncio, pkgutil; print(*(m.name for m in "
               "pkgutil.iter_modules(asyncio.__path__)))")
    added = (set(_ask(ours, listing).split())
             - set(_ask(theirs, listing).split()))
    return [f"asyncio.{name} has no stub" for name in sorted(added)
            if not name.startswith("_")
            and not (typeshed / "stdlib" / "asyncio" / f"{name}.pyi").exists()]


def _ask(python, code):
    return subprocess.run([python, "-c", code], env=_environment(), text=True,
                          check=True, capture_output=True).stdout.strip()


def _environment():
    return {name: value for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "MYPY"))}
