"""CPython's own documentation, patched: built with its own Sphinx and theme.

How it works.  Sphinx reads a copy of Doc/ in build/docs/source, beside links
to the rest of the patched sources, since the pages of CPython include files of
its other folders, and since Misc/NEWS has to be put inside Doc/.

Every page is built nit-picky, as upstream's CI does.  A warning from a page
that the series touches is an error; the rest are upstream's, and counted.
Sphinx warns of a page only when it reads it, so the touched pages are read
anew in every run that follows a change or a failure.
"""

import difflib
import hashlib
import os
import re
import shutil
import sys
from collections import namedtuple
from pathlib import Path

import layout
from lock import lock_descriptors
from ui import OverlayError, run_logged, say, step
from venv import ensure_venv

REQUIREMENTS = layout.ROOT / "Tools" / "requirements-docs.txt"
JOBS = "2"
_WARNING = re.compile(
    r"(?P<file>.+?)(?::(?P<line>\d+))?: (?:WARNING|ERROR|SEVERE|CRITICAL): "
    r"(?P<text>.*)")

# page: relative to Doc/, or whatever else Sphinx said; line: None if unknown.
Warned = namedtuple("Warned", "page line text")


def main(arguments):
    """`make docs`."""
    import build
    python = build.build("release")
    tree = build.current_tree()
    build_docs(python, tree.src, tree.stock_src)
    return 0


def build_docs(python, src, stock_src):
    """Build build/docs/html from src/Doc; return the path of its index.

    *python* runs Sphinx, *stock_src* tells which pages the series touches.
    Raises OverlayError if Sphinx fails or warns of a touched page.
    """
    # Sphinx follows links; its warnings name the real paths.
    src, root = Path(src), layout.build_root().resolve() / "docs"
    index = root / "html" / "index.html"
    touched = touched_pages(src, stock_src)
    wanted = _digest(src / "Doc") + _setup_digest(python, src)
    stamp = root / "stamp"
    if _read(stamp) == wanted and index.exists():
        say(f"documentation is up to date: {index}")
        return index
    sphinx = ensure_venv("docs", python, _requirements(src, root))
    with step("building the documentation"):
        stamp.unlink(missing_ok=True)
        _forget_other_setup(root, _setup_digest(python, src))
        _stage(src, root / "source")
        _read_anew(root / "doctrees", touched)
        _run_sphinx(sphinx, root)
        warned = parse_warnings(_read(root / "warnings.txt"),
                                root / "source" / "Doc")
    check_warnings(warned, touched, nit_ignored(src))
    stamp.write_text(wanted)
    say(f"documentation: {index}")
    return index


def touched_pages(src, stock_src):
    """Page (relative to Doc/): the numbers of its lines that stock lacks."""
    doc, stock = Path(src, "Doc"), Path(stock_src, "Doc")
    touched = {}
    for page in sorted(doc.rglob("*.rst")):
        name = page.relative_to(doc).as_posix()
        old = _read(stock / name) if (stock / name).exists() else ""
        new = _read(page)
        if old != new:
            touched[name] = added_lines(old, new)
    return touched


def added_lines(old, new):
    """The numbers of the lines of *new* that were not in *old*."""
    matcher = difflib.SequenceMatcher(
        None, old.splitlines(), new.splitlines(), autojunk=False)
    return {number + 1
            for tag, _, _, start, end in matcher.get_opcodes()
            if tag in ("insert", "replace") for number in range(start, end)}


def nit_ignored(src):
    """The pages that upstream lets warn, in its list for that."""
    listed = _read(Path(src, "Doc", "tools", ".nitignore")).splitlines()
    return {line.removeprefix("Doc/") for line in listed
            if line.startswith("Doc/")}


def parse_warnings(text, doc):
    """The Warned in what Sphinx wrote to its warning file."""
    warned = []
    for line in text.splitlines():
        found = _WARNING.fullmatch(line)
        if found:
            page = os.path.relpath(found["file"], doc)
            warned.append(Warned(page, found["line"] and int(found["line"]),
                                 found["text"]))
        elif warned:
            last = warned[-1]
            warned[-1] = last._replace(text=f"{last.text}\n{line}")
    return warned


def check_warnings(warned, touched, ignored):
    """Raise OverlayError if any of *warned* is for us to mend.

    Of a page that upstream lets warn, only those on our own lines are.
    """
    ours = [warning for warning in warned if warning.page in touched
            and (warning.page not in ignored
                 or warning.line in touched[warning.page])]
    others = len(warned) - len(ours)
    if others:
        say(f"    {others} warnings from upstream's pages, left to upstream")
    for page, line, text in ours:
        print(f"    | Doc/{page}:{line or '?'}: {text}", file=sys.stderr)
    if ours:
        pages = sorted({f"Doc/{warning.page}" for warning in ours})
        raise OverlayError(f"Sphinx warned {len(ours)} times of pages that the "
                           f"series touches: {', '.join(pages)}")


# --- Sphinx ------------------------------------------------------------------

def _requirements(src, root):
    """Write what CPython wants of packages, with our pins; return the file."""
    ours = _read(REQUIREMENTS)
    named = {_package(line) for line in ours.splitlines()}
    constraints = "".join(
        f"{line}\n"
        for line in _read(src / "Doc" / "constraints.txt").splitlines()
        if _package(line) not in named) + ours
    digest = hashlib.sha256(constraints.encode()).hexdigest()
    wanted = [line for line in
              _read(src / "Doc" / "requirements.txt").splitlines()
              if not line.startswith(("-c", "#"))]
    root.mkdir(parents=True, exist_ok=True)
    (root / "constraints.txt").write_text(constraints)
    # The digest makes a new environment when only the constraints change.
    (root / "requirements.txt").write_text(
        "\n".join([*wanted, "-c constraints.txt", f"# {digest}", ""]))
    return root / "requirements.txt"


def _package(line):
    """The name that a line of requirements is for, or None."""
    found = re.match(r"[A-Za-z0-9][\w.-]*", line)
    return found and re.sub(r"[-_.]+", "-", found[0]).lower()


def _run_sphinx(python, root):
    log = root.with_name("docs.log")
    log.unlink(missing_ok=True)
    env = {name: value for name, value in os.environ.items()
           if not name.startswith(("PYTHON", "READTHEDOCS", "SPHINX"))}
    env["LC_ALL"] = "C.UTF-8"
    run_logged([python, "-m", "sphinx", "--builder", "html", "--nitpicky",
                "--jobs", JOBS, "--doctree-dir", root / "doctrees",
                "--warning-file", root / "warnings.txt", "--no-color",
                root / "source" / "Doc", root / "html"],
               log, env=env, what="building the documentation",
               label="batches of pages", counts=lambda line: "%]" in line,
               pass_fds=lock_descriptors())


def _forget_other_setup(root, setup):
    """Start anew if Sphinx, its configuration or its extensions changed."""
    stamp = root / "setup"
    if _read(stamp) != setup:
        for name in ("doctrees", "html", "source"):
            shutil.rmtree(root / name, ignore_errors=True)
        root.mkdir(parents=True, exist_ok=True)
        stamp.write_text(setup)


def _read_anew(doctrees, pages):
    for page in pages:
        (doctrees / page).with_suffix(".doctree").unlink(missing_ok=True)


def _stage(src, stage):
    stage.mkdir(parents=True, exist_ok=True)
    for entry in src.iterdir():
        link = stage / entry.name
        if entry.name == "Doc":
            continue
        if not link.is_symlink() or os.readlink(link) != str(entry):
            link.unlink(missing_ok=True)
            link.symlink_to(entry)
    doc = stage / "Doc"
    wanted = {path: src / "Doc" / path for path in _files(src / "Doc")}
    # Where upstream's makefile puts it for a release.
    wanted["build/NEWS"] = src / "Misc" / "NEWS"
    for path in _files(doc) - wanted.keys():
        (doc / path).unlink()
    for path, source in wanted.items():
        _lay(source, doc / path)


def _lay(source, target):
    """Copy what differs, with a new time, by which Sphinx sees the change."""
    if not target.exists() or source.read_bytes() != target.read_bytes():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def _files(folder):
    return {path.relative_to(folder).as_posix()
            for path in folder.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts}


def _digest(folder):
    digest = hashlib.sha256()
    for name in sorted(_files(folder)):
        digest.update(f"{name}\0".encode())
        digest.update(hashlib.sha256((folder / name).read_bytes()).digest())
    return digest.hexdigest()


def _setup_digest(python, src):
    doc = src / "Doc"
    text = "".join(_read(doc / name) for name in
                   ("conf.py", "requirements.txt", "constraints.txt"))
    text += _read(REQUIREMENTS) + _digest(doc / "tools")
    text += f"{python}\0{src}"
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path):
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
