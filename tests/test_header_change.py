"""A topic of C code on the real CPython: what a changed own header rebuilds."""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

import build
from same_build import configure_command, environment, seed_build_folder

ROOT = Path(__file__).resolve().parents[1]
MESSAGE = """\
header-probe: Add a C file and a header

To see what is compiled when the header changes.

Rejected: nothing.
Drop-when: at once.
"""
OWN_FILES = {
    "Modules/_asyncio/probe.h":
        "#define PROBE 1\nint _asyncio_probe(void);\n",
    "Modules/_asyncio/probe.c":
        '#include "probe.h"\n\nint\n_asyncio_probe(void)\n{\n'
        "    return PROBE;\n}\n",
}
OBJECTS = sorted([
    "Modules/_asynciomodule.o", "Modules/_asyncio/probe.o",
    *(f"Modules/_asyncio/{path.stem}.o"
      for path in (ROOT / "Modules" / "_asyncio").glob("*.c"))])
# What a topic that adds a C file changes in CPython's: (path, a text that is
# there once, and what it becomes).
SEAMS = (
    ("Modules/_asynciomodule.c", '#include "Python.h"\n',
     '#include "Python.h"\n#include "_asyncio/probe.h"\n'),
    ("Modules/_asynciomodule.c",
     '    if (PyModule_AddObjectRef(mod, "_scheduled_tasks",',
     '    if (PyModule_AddIntConstant(mod, "_probe",\n'
     "                                10 * PROBE + _asyncio_probe()) < 0) {\n"
     "        return -1;\n    }\n\n"
     '    if (PyModule_AddObjectRef(mod, "_scheduled_tasks",'),
    ("Modules/Setup.stdlib.in", " _asyncio/timeouts.c\n",
     " _asyncio/timeouts.c _asyncio/probe.c\n"),
    ("Makefile.pre.in", "MODULE__ASYNCIO_DEPS=",
     "MODULE__ASYNCIO_DEPS=$(srcdir)/Modules/_asyncio/probe.h "),
    ("PCbuild/_asyncio.vcxproj", '_asynciomodule.c" />\r\n',
     '_asynciomodule.c" />\r\n'
     '    <ClCompile Include="..\\Modules\\_asyncio\\probe.c" />\r\n'),
)


class Maintainer:
    """Works in a copy of the checkout, which has a build folder to start
    from."""

    def __init__(self, root):
        self.root = root
        self.series = root / "build" / "series"
        shutil.copytree(ROOT, root, ignore=self._left_out)
        self.tree = seed_build_folder(root / "build")

    @staticmethod
    def _left_out(folder, names):
        return {".git", "build"} if Path(folder) == ROOT else {"__pycache__"}

    def run(self, *command, folder=None):
        done = subprocess.run(
            command, cwd=folder or self.root, env=environment(), text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def git(self, *arguments):
        return self.run("git", *arguments, folder=self.series)

    def configure(self):
        """As asked of a user; without compiling everything again after it."""
        self.run(*configure_command(self.root))
        # configure changed by a line, and its options by none: the objects
        # that it threw away are as good as before, and newer than config.c.
        old = build.current_tree().work("release")
        new = self.tree / "release.work"
        for path in old.rglob("*.o"):
            if path.relative_to(old).as_posix() not in OBJECTS:
                shutil.copy2(path, new / path.relative_to(old))
        now = time.time()
        for path in new.rglob("*"):
            if path.is_file() and not path.is_symlink():
                os.utime(path, (now, now))

    def build(self):
        """make all; return the modules' objects that were compiled."""
        self.run("make", "all")
        log = (self.tree / "release" / "build.log").read_text()
        return sorted(re.findall(r" -c .*-o (\S+\.o)$", log, re.M))

    def probe(self):
        python = self.tree / "release" / "python"
        return self.run(python, "-c", "import _asyncio; print(_asyncio._probe)")


@pytest.fixture(scope="module")
def maintainer(tmp_path_factory, python):
    folder = tmp_path_factory.mktemp("header") / "checkout"
    yield Maintainer(folder)
    shutil.rmtree(folder)


def replace_once(path, old, new):
    data = path.read_bytes()
    assert data.count(old.encode()) == 1, path
    path.write_bytes(data.replace(old.encode(), new.encode()))


def add_topic(maintainer):
    maintainer.run("make", "import")
    for path, text in OWN_FILES.items():
        target = maintainer.series / path
        target.parent.mkdir(exist_ok=True)
        target.write_text(text)
    for path, old, new in SEAMS:
        replace_once(maintainer.series / path, old, new)
    maintainer.git("add", "--all")
    maintainer.git("commit", "--quiet", "-m", MESSAGE)
    maintainer.run("make", "export")


def change_header(maintainer):
    replace_once(maintainer.series / "Modules/_asyncio/probe.h",
                 "PROBE 1", "PROBE 2")
    maintainer.git("commit", "--quiet", "-a", "--fixup=:/^header-probe:")
    maintainer.git("-c", "sequence.editor=true", "rebase", "--quiet", "-i",
                   "--autosquash", "base")
    maintainer.run("make", "export")


def test_changed_own_header_rebuilds_what_includes_it_and_nothing_else(
        maintainer):
    add_topic(maintainer)
    maintainer.configure()
    assert maintainer.build() == OBJECTS
    assert maintainer.probe() == "11\n"
    change_header(maintainer)
    assert maintainer.build() == OBJECTS
    assert maintainer.probe() == "22\n"
