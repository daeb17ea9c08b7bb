"""The check of the series: each fault found is one line."""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import build
import layout
import series
from base import fetch_base
from exporting import differences, exported
from scratch import scratch_series
from stepping import topic_paths
from ui import OverlayError, say
from variants import exported_variants, variant_differences
from venv import ensure_venv

# What a topic carries: the field that excuses its absence, and where it is.
_PARTS = {"tests": ("No-tests", "Lib/test/"),
          "docs": ("No-docs", ("Doc/", "InternalDocs/")),
          "NEWS": ("No-NEWS", "Misc/NEWS.d/")}
_NEWS = re.compile(r"Misc/NEWS\.d/next/[^/]+/"
                   r"\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d\.gh-issue-(\d+)\.[\w-]+\.rst")


def check_series(root, *, offline=False):
    """Return what is wrong with the series, a line each."""
    try:
        topics = series.load_series(root)
    except OverlayError as error:
        # What cannot be read cannot be checked any further.
        return str(error).splitlines()
    problems = [*header_problems(topics), *_clinic_headers(topics)]
    try:
        repository = scratch_series(fetch_base(offline=offline), root)
    except OverlayError as error:
        return problems + str(error).splitlines()
    say(f"==> checking {len(topics)} topics")
    problems += export_problems(repository, root)
    problems += copy_problems(repository, topics, root)
    problems += clinic_problems(repository)
    problems += news_problems(repository, topics)
    for version in layout.known_bases():
        if version != layout.default_base():
            problems += variant_problems(version, topics, root, offline)
    return problems


# --- Headers ---------------------------------------------------------------

def header_problems(topics):
    """What is missing in the topics' headers, or says too much."""
    for topic in topics:
        for problem in _header_problems(topic):
            yield f"topic {topic.name}: {problem}"


def _header_problems(topic):
    if len(topic.subject) >= 72:
        yield f"the subject has {len(topic.subject)} characters, 71 at most"
    if not topic.why:
        yield "no paragraph says why"
    for field in ("Rejected", "Drop-when"):
        if not topic.fields.get(field):
            yield f"no {field}"
    for field, text in topic.fields.items():
        if not text:
            yield f"{field} is empty"
    yield from _parts_problems(topic)
    yield from _thread_problems(topic)


def _thread_problems(topic):
    threads = re.split(r", *", topic.fields.get("Thread", ""))
    for thread in filter(None, threads):
        if not re.fullmatch(r"gh-\d+", thread):
            yield f"Thread is {thread!r}, not a thread like gh-12345"
    for path in topic.own_files:
        news = _NEWS.fullmatch(path)
        if news and f"gh-{news[1]}" not in threads:
            yield f"{path} is about gh-{news[1]}, which is not its Thread"


def _parts_problems(topic):
    paths = topic_paths(topic)
    for part, (field, folder) in _PARTS.items():
        has = any(path.startswith(folder) for path in paths)
        if not has and field not in topic.fields:
            yield f"no {part}, and no {field} that says why"
        if has and field in topic.fields:
            yield f"{field}, but there are {part}"


# --- The export ------------------------------------------------------------

def export_problems(repository, root):
    """Where an export of *repository* would change the checkout."""
    try:
        write, delete = differences(exported(repository, root), root)
    except OverlayError as error:
        yield str(error)
        return
    for path in write:
        yield f"{path} is not as make export writes it: make import export"
    for path in delete:
        yield f"{path} would not be written by make export"


def variant_problems(version, topics, root, offline):
    """The same for patches/<version>/."""
    try:
        repository = scratch_series(fetch_base(version, offline=offline),
                                    root)
        files = exported_variants(repository, version, topics, root)
    except OverlayError as error:
        yield f"on {version}: {error}"
        return
    write, delete = variant_differences(files, version, root)
    for path in write:
        yield (f"{path} is not as make rebase BASE={version} writes it")
    for path in delete:
        yield f"{path} is not needed: make rebase BASE={version}"


# --- Copies of upstream's files ----------------------------------------------

def copy_problems(repository, topics, root):
    """The files of the checkout that are CPython's, by path or by content."""
    upstream = {}
    for line in repository.git("ls-tree", "-r", "-z", "base").split("\0")[:-1]:
        kind, path = line.split("\t", 1)
        upstream[path] = kind.split()[2]
    replaced = series.load_replaced(root, topics)
    texts = set(upstream.values())
    for path in _checkout_files(root):
        if path in upstream and path not in replaced:
            yield (f"{path} is a file of CPython's: put the changes in a "
                   f"patch, or list it in patches/replaced")
        elif texts & _blobs(root / path):
            yield f"{path} has the text of a file of CPython's"


def _checkout_files(root):
    for place, folders, files in os.walk(root):
        if Path(place) == root:
            folders[:] = set(folders) - {".git", "build"}
        folders[:] = sorted(set(folders) - {"__pycache__"})
        for name in sorted(files):
            yield Path(place, name).relative_to(root).as_posix()


def _blobs(path):
    """Git's names for the text, as it is and with LF; none for an empty one,
    and for a link that leads nowhere, as an editor's lock does."""
    data = path.read_bytes() if path.is_file() else b""
    return {hashlib.sha1(b"blob %d\0" % len(text) + text).hexdigest()
            for text in (data, data.replace(b"\r\n", b"\n")) if text}


# --- Argument Clinic -------------------------------------------------------

def _clinic_headers(topics):
    """Upstream's generated files that a patch changes."""
    for index, topic in enumerate(topics):
        # A later change of a file of ours is no change of upstream's.
        for section in series.ordinary_sections(topics, index):
            if re.search(r"/clinic/[^/]+\.h$", section.path):
                yield (f"topic {topic.name}: {section.path} is generated by "
                       f"Argument Clinic from upstream's code; put new "
                       f"functions in a file of ours")


def clinic_problems(repository):
    """The C files whose generated parts are not what clinic.py makes."""
    changed = [path for status, _, path in repository.changes("base", "HEAD")
               if status != "D" and path.endswith((".c", ".h"))]
    inputs = [path for path in changed
              if b"[clinic input]" in repository.read("HEAD", path)]
    if not inputs:
        return
    done = subprocess.run(
        [sys.executable, "-E", "-B", "Tools/clinic/clinic.py", *inputs],
        cwd=repository.path, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().replace("\n", " ")
        yield f"Argument Clinic: {said}"
    stale = repository.git("status", "--porcelain", "--untracked-files=all")
    for line in stale.splitlines():
        yield (f"{line[3:]}: not what Argument Clinic makes; run "
               f"Tools/clinic/clinic.py on its source in build/series")
    repository.git("reset", "--quiet", "--hard")
    repository.git("clean", "--quiet", "-d", "--force", "-x")


# --- NEWS ------------------------------------------------------------------

_BLURB = """
import sys
from blurb._blurb_file import Blurbs
for path in sys.argv[1:]:
    try:
        Blurbs().load_next(path)
    except Exception as error:
        print(path + ": " + " ".join(str(error).split()))
"""


def _built_python():
    """An interpreter that can make environments, as Debian's cannot without
    its package python3-venv."""
    for variant in ("stock", "release"):
        python = layout.build_root().absolute() / variant / "python"
        if python.exists():
            return python
    return build.build("stock")


def news_problems(repository, topics):
    """NEWS entries that blurb does not take."""
    entries = [path for topic in topics for path in topic.own_files
               if path.startswith("Misc/NEWS.d/")]
    for path in entries:
        if not _NEWS.fullmatch(path):
            yield f"{path} is not named like a NEWS entry of blurb's"
    if not entries:
        return
    try:
        python = ensure_venv("tools", _built_python(),
                             layout.ROOT / "Tools" / "requirements.txt")
    except OverlayError as error:
        yield f"NEWS entries were not checked by blurb: {error}"
        return
    done = subprocess.run([python, "-E", "-c", _BLURB, *entries],
                          cwd=repository.path, capture_output=True, text=True)
    yield from done.stdout.splitlines()
    if done.returncode:
        yield f"blurb: {done.stderr.strip().splitlines()[-1]}"
