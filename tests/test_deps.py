"""Tests of the search for what a build needs, and of its installation."""

import os
import shlex
import sys
from pathlib import Path

import pytest

import deps
from ui import OverlayError

HEADERS = {need for need in deps.BUILD_PACKAGES.values()
           if need.endswith(".h")}
PROGRAMS = set(deps.BUILD_PACKAGES.values()) - HEADERS


class Machine:
    """A PATH of made-up programs; the compiler finds the headers in a folder."""

    def __init__(self, folder):
        self.tools = folder / "tools"
        self.headers = folder / "headers"
        self.calls = folder / "calls"
        for name in PROGRAMS:
            self.program(name, "")
        for name in HEADERS:
            self.header(name)
        # The real preprocessor, without the real machine's headers.
        self.program("cc", f'exec /usr/bin/cc -nostdinc -I "{self.headers}" "$@"')
        for name in ("chmod", "env", "touch"):
            (self.tools / name).symlink_to(f"/bin/{name}")

    def program(self, name, text):
        path = self.tools / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def header(self, name):
        path = self.headers / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    def without(self, need):
        (self.headers / need if need.endswith(".h")
         else self.tools / need).unlink()

    def installer(self, name, text=""):
        """A program that records its arguments, one call a line."""
        self.program(name, f'echo "{name} $*" >> "{self.calls}"\n{text}')

    def called(self):
        return self.calls.read_text().splitlines()


@pytest.fixture
def machine(tmp_path, monkeypatch):
    for name in ("CC", "CPPFLAGS"):
        monkeypatch.delenv(name, raising=False)
    made = Machine(tmp_path)
    monkeypatch.setenv("PATH", str(made.tools))
    monkeypatch.setattr(deps, "_DPKG_JOURNAL", tmp_path / "updates")
    monkeypatch.setenv("OVERLAY_BUILD", str(tmp_path / "build"))
    return made


def refusal(install=False, targets=("all",)):
    with pytest.raises(OverlayError) as caught:
        deps.provide(targets, install=install)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- Search ------------------------------------------------------------------

def test_a_whole_machine_is_enough(machine):
    deps.provide(["all"], install=False)


@pytest.mark.parametrize("package, need", deps.BUILD_PACKAGES.items())
def test_each_missing_need_is_named_with_its_package(machine, package, need):
    machine.without(need)
    if need == "cc":
        # Without a compiler, no header is found.
        line = refusal()
        assert line.startswith("not found: ") and "cc" in line
    else:
        assert refusal().startswith(f"not found: {need}; ")
    command = shlex.split(refusal().partition("install with: ")[2])
    assert package in command[command.index("-y"):]


@pytest.mark.parametrize("target, need, package", [
    ("bench", "valgrind", "valgrind"), ("import", "git", "git"),
    ("check-each", "git", "git")])
def test_a_target_may_need_more(machine, target, need, package):
    deps.provide(["all"], install=False)
    line = refusal(targets=["all", target])
    assert line.startswith(f"not found: {need}; ")
    assert line.endswith(f" {package}")


@pytest.mark.parametrize("target, need, package", [
    ("bench", "valgrind", "valgrind"), ("import", "git", "git"),
    ("test", "curl", "curl")])
def test_a_target_is_checked_for_what_it_needs_more(machine, target, need,
                                                    package):
    machine.without("make")
    deps.check("all")
    with pytest.raises(OverlayError) as caught:
        deps.check(target)
    assert str(caught.value).startswith("not found: ")
    assert need in str(caught.value)
    told = shlex.split(str(caught.value).partition("; run ")[2])
    assert told[:3] == ["./configure-overlay.sh", "--install-deps",
                        f"{target},"]
    assert package in told[told.index("-y"):]
    for more in deps._MORE_FOR[target].values():
        if "/" not in more:
            machine.program(more, "")
    if target != "test":
        deps.check(target)


def test_headers_are_searched_where_cppflags_says(machine, monkeypatch,
                                                  tmp_path):
    machine.without("zlib.h")
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "zlib.h").touch()
    monkeypatch.setenv("CPPFLAGS", f"-I{folder}")
    deps.provide(["all"], install=False)


def test_a_compiler_that_fails_is_named(machine, monkeypatch):
    machine.program("false", "exit 1")
    monkeypatch.setenv("CC", "false")
    assert refusal() == "the compiler false does not work: status 1"


def test_what_a_failing_compiler_says_is_told(machine):
    machine.program("cc", "echo 'cc: out of order' >&2; exit 4")
    assert refusal() == "the compiler cc does not work: cc: out of order"


def test_a_compiler_that_does_not_exist_is_named(machine, monkeypatch):
    monkeypatch.setenv("CC", "/nonexistent/cc -O2")
    assert "/nonexistent/cc" in refusal()


# --- Installation ------------------------------------------------------------

@pytest.mark.parametrize("user, prefix", [(0, ""), (1000, "sudo")])
def test_install_deps_runs_apt_get_as_root(machine, monkeypatch, user, prefix):
    monkeypatch.setattr(os, "geteuid", lambda: user)
    machine.without("zlib.h")
    machine.without("make")
    machine.program("apt-get", f"""
        echo "$DEBIAN_FRONTEND: $USED_SUDO apt-get $*" >> "{machine.calls}"
        case "$*" in *install*)
            touch "{machine.headers}/zlib.h" "{machine.tools}/make"
            chmod +x "{machine.tools}/make"
        esac
    """)
    # As sudo does, it passes no variables on.
    machine.program("sudo", 'exec env -i PATH="$PATH" USED_SUDO=sudo "$@"')
    deps.provide(["all"], install=True)
    update, install = machine.called()
    assert update == f"noninteractive: {prefix} apt-get -q update"
    words = install.split()
    assert words[-2:] == ["make", "zlib1g-dev"]
    assert {"install", "-y", "--no-install-recommends"} < set(words)
    assert install.startswith(f"noninteractive: {prefix} apt-get ")


def test_a_failed_update_does_not_keep_from_installing(machine, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    machine.without("zlib.h")
    machine.installer("apt-get", f"""
        case "$*" in *update*) exit 100; esac
        touch "{machine.headers}/zlib.h"
    """)
    deps.provide(["all"], install=True)
    assert len(machine.called()) == 2


@pytest.mark.parametrize("journal, dpkg_runs", [
    (["0000", "tmp.i"], True), (["tmp.i"], False), ([], False)])
def test_an_installation_that_was_killed_is_brought_to_its_end(
        machine, monkeypatch, tmp_path, journal, dpkg_runs):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (tmp_path / "updates").mkdir()
    for name in journal:
        (tmp_path / "updates" / name).touch()
    machine.without("zlib.h")
    machine.installer("dpkg")
    machine.installer("apt-get", f'touch "{machine.headers}/zlib.h"')
    deps.provide(["all"], install=True)
    called = machine.called()
    assert called[:-2] == ["dpkg --configure -a"] * dpkg_runs
    assert called[-2:] == [call for call in called if "apt-get" in call]


def test_a_failed_installation_is_told_with_its_log(machine, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    machine.without("zlib.h")
    machine.installer("apt-get", "exit 100")
    line = refusal(install=True)
    assert "apt-get install failed with status 100" in line
    assert "packages.log" in line


def test_an_installation_that_brings_nothing_is_told(machine, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    machine.without("zlib.h")
    machine.installer("apt-get")
    assert "still not found" in refusal(install=True)


def test_nothing_is_installed_unasked_or_needlessly(machine):
    machine.installer("apt-get")
    machine.installer("sudo")
    deps.provide(["all"], install=True)
    machine.without("zlib.h")
    refusal()
    assert not machine.calls.exists()


def test_offline_nothing_is_installed(machine):
    machine.installer("apt-get")
    machine.installer("sudo")
    deps.provide(["all"], install=True, offline=True)
    machine.without("zlib.h")
    with pytest.raises(OverlayError) as caught:
        deps.provide(["all"], install=True, offline=True)
    assert str(caught.value) == ("--install-deps (zlib1g-dev) needs packages "
                                 "from Debian, and --offline was given")
    assert not machine.calls.exists()


def test_without_sudo_the_command_for_root_is_told(machine, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    machine.without("zlib.h")
    machine.installer("apt-get")
    line = refusal(install=True)
    assert "sudo" in line
    assert line.endswith(" zlib1g-dev")
    assert "as root: apt-get install " in line
    assert not machine.calls.exists()


# --- Modules -----------------------------------------------------------------

def interpreter(tmp_path, code):
    """A python that runs *code* before what it is asked for."""
    folder = tmp_path / "a python"
    folder.mkdir()
    (folder / "before.py").write_text(code)
    python = folder / "python"
    python.write_text(
        f"#!/bin/sh\nexport SCRIPT=\"$3\"\nshift 3\n"
        f"exec '{sys.executable}' -B '{folder}/before.py' \"$@\"\n")
    python.chmod(0o755)
    return python


LACKING = """
import os, sys, sysconfig
sysconfig.get_config_vars = lambda: {{
    "MODULE__ASYNCIO_STATE": "yes", "MODULE__TKINTER_STATE": "missing"}}
sys.modules["_tkinter"] = None
for name in {promised!r}:
    sys.modules[name] = sys
for name in {names!r}:
    sys.modules[name] = None
exec(os.environ["SCRIPT"])
"""


def lacking(tmp_path, *names):
    return interpreter(tmp_path, LACKING.format(
        promised=list(deps.PROMISED_MODULES), names=names))


def test_an_interpreter_with_all_modules_passes(tmp_path):
    deps.check_modules(lacking(tmp_path), "log")


@pytest.mark.parametrize("name, package", deps.PROMISED_MODULES.items())
def test_a_missing_module_is_named_with_its_package_and_the_log(
        tmp_path, name, package):
    with pytest.raises(OverlayError) as caught:
        deps.check_modules(lacking(tmp_path, name), Path("/some/build.log"))
    for part in (f"modules not built: {name};", f"(Debian: {package})",
                 "/some/build.log"):
        assert part in str(caught.value)


def test_a_module_that_was_built_but_does_not_work_is_named(tmp_path):
    with pytest.raises(OverlayError) as caught:
        deps.check_modules(lacking(tmp_path, "_asyncio"), Path("/a/build.log"))
    assert str(caught.value) == ("modules that cannot be imported: _asyncio; "
                                 "see /a/build.log")


def test_an_interpreter_that_does_not_start_is_told_with_its_words(tmp_path):
    python = interpreter(tmp_path, "import sys; sys.exit('no encodings')")
    with pytest.raises(OverlayError, match="does not start: no encodings"):
        deps.check_modules(python, "log")
