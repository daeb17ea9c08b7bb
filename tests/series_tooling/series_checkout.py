"""A tiny base, and a checkout with a series on it, for tests of the tools."""

import hashlib
import io
import os
import subprocess
import tarfile
from pathlib import Path

import base
import exporting
import importing
import layout
import series

TASKS = "".join(f"line {number}\n" for number in range(1, 41))
PROJECT = "".join(f"<Item n='{number}' />\r\n" for number in range(1, 21))

# Makes one line of each input, as the real one makes a block.
CLINIC = """\
import re, sys
for path in sys.argv[1:]:
    text = open(path).read()
    made = re.sub(r"(clinic input. (\\w+) \\*/\\n).*\\n",
                  r"\\1/* made of \\2 */\\n", text)
    if "broken" in text:
        sys.exit(path + ": no such thing")
    if made != text:
        open(path, "w").write(made)
"""

BASE = {
    "Lib/asyncio/tasks.py": TASKS,
    "Lib/asyncio/taskgroups.py": "class TaskGroup:\n    pass\n",
    "Lib/test/data.decTest": "one\r\ntwo\r\nthree\r\n",
    "Lib/test/latin.txt": b"caf\xe9\nsecond\nthird",
    "Modules/_asynciomodule.c": "".join(
        f"/* {number} */\n" for number in range(1, 31)),
    "PCbuild/_asyncio.vcxproj": PROJECT,
    "PCbuild/readme.txt": "read\r\nme\r\n",
    "Doc/library/asyncio-task.rst": "Tasks\n=====\n\nText.\n",
    "Tools/some/.gitignore": "*.log\n",
    "Tools/some/kept.log": "ignored by a rule, but in the tarball\n",
    "Tools/clinic/clinic.py": CLINIC,
    "configure": "#!/bin/sh\necho 1\necho 2\necho 3\n",
    "README": "trailing blanks   \nno newline at the end",
}
EXECUTABLE = {"configure"}
# The other base: what stands above in tasks.py moved everything down.
NEWER = BASE | {"Lib/asyncio/tasks.py": "new 1\nnew 2\n" + TASKS}

HEADER = """\
{name}: {summary}

Because it is so.

Rejected: all else.
Drop-when: never.
No-NEWS: only a test.
No-docs: only a test.
No-tests: only a test.
"""


def write_files(folder, files):
    for path, text in files.items():
        target = Path(folder, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text if isinstance(text, bytes) else text.encode())
        if path in EXECUTABLE:
            target.chmod(0o755)


def _tarball(path, version, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:xz") as archive:
        for name, text in files.items():
            data = text if isinstance(text, bytes) else text.encode()
            member = tarfile.TarInfo(f"Python-{version}/{name}")
            member.size = len(data)
            member.mode = 0o755 if name in EXECUTABLE else 0o644
            archive.addfile(member, io.BytesIO(data))
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Checkout:
    """The folders of the test, and the steps of a maintainer in them."""

    def __init__(self, folder):
        self.root = folder / "check out"
        self.stock = folder / "stock"
        self.newer = folder / "newer"
        self.folder = folder
        self.hashes = {}
        write_files(self.stock, BASE)
        write_files(self.newer, NEWER)
        self.add_base("3.13.5", BASE)
        self.add_base("3.13.15", NEWER)
        write_files(self.root, {"patches/series": "# in this order\n"})

    def add_base(self, version, files):
        cache = self.folder / "cache" / "asyncio-overlay" / "bases"
        self.hashes[version] = _tarball(
            cache / f"Python-{version}.tar.xz", version, files)
        write_files(self.root, {"patches/bases": "".join(
            f"{version}  {digest}\n"
            for version, digest in self.hashes.items())})

    @property
    def repository(self):
        return importing.Repository(self.series)

    @property
    def series(self):
        return layout.build_root() / "series"

    def fetch(self, version="3.13.5"):
        return base.fetch_base(version, offline=True)

    def import_series(self):
        self.series.parent.mkdir(exist_ok=True)
        return importing.import_series(self.fetch(), self.series, self.root)

    def export(self):
        return exporting.export_series(self.repository, self.root)

    def git(self, *arguments, folder=None, check=True, **env):
        """Git as its user has it, in build/series."""
        done = subprocess.run(["git", *arguments], cwd=folder or self.series,
                              env=os.environ | env, text=True,
                              stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        assert not check or done.returncode == 0, done.stdout
        return done.stdout

    def commit(self, message, files=(), remove=(), folder=None):
        """Change *files* (a mapping) in build/series, and commit."""
        write_files(folder or self.series, dict(files))
        for path in remove:
            (self.series / path).unlink()
        self.git("add", "--all", "--force", ".", folder=folder)
        self.git("commit", "--quiet", "--allow-empty", "-m", message,
                 folder=folder)

    def topic(self, name, files, *, fields="", remove=()):
        self.commit(HEADER.format(name=name, summary="Change it") + fields,
                    files, remove)

    def make(self, *topics):
        """Import, commit *topics* as (name, files[, fields]), export."""
        self.import_series()
        for name, files, *fields in topics:
            self.topic(name, files, fields="".join(fields))
        self.export()

    def compose(self, *, stock=None, version="3.13.5", upto=None):
        """compose(); return {path: bytes, or None for a deleted one}."""
        out = self.folder / f"out{len(list(self.folder.glob('out*')))}"
        written, deleted = series.compose(
            stock or self.stock, out, base_version=version, upto=upto,
            root=self.root)
        found = {path.relative_to(out).as_posix(): path.read_bytes()
                 for path in out.rglob("*") if path.is_file()}
        assert sorted(found) == written
        return found | dict.fromkeys(deleted)

    def snapshot(self):
        """{path: bytes} of everything in the checkout but build/."""
        return {path.relative_to(self.root).as_posix(): path.read_bytes()
                for path in self.root.rglob("*") if path.is_file()
                and "build" not in path.relative_to(self.root).parts}


def changed(text, old, new):
    """*text* with *old*, which must be in it once, made *new*."""
    assert text.count(old) == 1
    return text.replace(old, new)
