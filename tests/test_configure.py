"""configure-overlay.sh and make on a stand-in for CPython that builds at once.

The stand-in's "compiler" copies Modules/thing.c, a shell script, to python;
what is tested is everything around it: searching, verifying, patching,
building what changed, and keeping the last good build.
"""

import errno
import hashlib
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

import build
from base import Base
from settings import Settings
from ui import OverlayError

ROOT = Path(__file__).resolve().parents[1]
VERSION = "3.99.0"
# Far more than any of these runs needs, in seconds; a guard against hanging.
LIMIT = 120

CONFIGURE = """\
#!/bin/sh
echo "arguments: $*"
cat > Makefile <<'END'
all: python
python: src/Modules/thing.c
\techo cc -c $< && ! grep BROKEN $< && ! { grep -q SLOW $< && exec sleep 600; }
\tcp $< $@ && chmod +x $@ && echo made >> made.txt
END
"""
# The same by way of two objects, as CPython has them.
WITH_OBJECTS = CONFIGURE.replace("python: src/Modules/thing.c", """\
thing.o: src/Modules/thing.c
\techo told $$CC, $$CFLAGS; cp $< $@
Modules/getbuildinfo.o:
\tmkdir -p Modules; $(GITTAG) > $@
python: thing.o Modules/getbuildinfo.o""", 1)
# Silent when it is asked for its version or modules, which takes arguments.
THING = "#!/bin/sh\n# zero\n# one\n# two\n[ $# = 0 ] || exit 0\necho stand-in\n"
FILES = {
    "configure": CONFIGURE, "Makefile.pre.in": "", "pyconfig.h.in": "",
    "Modules/Setup": "", "Modules/Setup.stdlib.in": "",
    "Modules/Setup.bootstrap.in": "", "Modules/makesetup": "",
    "Modules/thing.c": THING, "Lib/thing.py": "x = 1\n",
}
PATCH = """\
a-topic: Say who is there

Because.

Rejected: silence.
Drop-when: never.
---
diff --git a/Modules/thing.c b/Modules/thing.c
--- a/Modules/thing.c
+++ b/Modules/thing.c
@@ -3,4 +3,4 @@
 # one
 # two
 [ $# = 0 ] || exit 0
-echo stand-in
+echo patched
"""


def make_tarball(path, files=FILES):
    with tarfile.open(path, "w:xz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"Python-{VERSION}/{name}")
            member.size = len(text.encode())
            member.mode = 0o755 if name == "configure" else 0o644
            archive.addfile(member, io.BytesIO(text.encode()))
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Checkout:
    """A copy of the tools, in a path with a space, and a base for them."""

    def __init__(self, folder):
        self.root = folder / "check out"
        self.cache = folder / "cache"
        self.tarball = folder / "base.tar.xz"
        self.python = self.root / "build" / "release" / "python"
        (self.root / "Tools").mkdir(parents=True)
        for name in ("Makefile", "VERSION", "configure-overlay.sh"):
            shutil.copy(ROOT / name, self.root)
        shutil.copytree(ROOT / "Tools" / "overlay",
                        self.root / "Tools" / "overlay",
                        ignore=shutil.ignore_patterns("__pycache__"))
        self.patches = self.root / "patches"
        self.patches.mkdir()
        (self.patches / "series").write_text("a-topic\n")
        (self.patches / "a-topic.patch").write_text(PATCH)
        self.set_base(make_tarball(self.tarball))
        # Nothing here may reach out; the tests that search see it fail.
        self.env = {name: value for name, value in os.environ.items()
                    if not name.startswith(("OVERLAY_", "MAKE"))}
        self.env |= {"XDG_CACHE_HOME": str(self.cache), "LC_ALL": "C.UTF-8",
                     "https_proxy": "http://127.0.0.1:9"}

    def set_base(self, digest):
        self.digest = digest
        (self.patches / "bases").write_text(f"{VERSION} {digest}\n")

    def change_base(self, **files):
        """Another text for files of the base, by name without its folder."""
        changed = {name: files.get(Path(name).stem, text)
                   for name, text in FILES.items()}
        self.set_base(make_tarball(self.tarball, changed))

    def start(self, *arguments, **popen):
        return subprocess.Popen(
            ["./configure-overlay.sh", *arguments], cwd=self.root,
            env=self.env, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, **popen)

    def run(self, *arguments, status=0):
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=LIMIT)
        assert process.returncode == status or status is None, output
        return output

    def build(self, *arguments, status=0):
        return self.run("--base", str(self.tarball), *arguments, "all",
                        status=status)

    def make(self, *arguments):
        done = subprocess.run(
            ["make", *arguments], cwd=self.root, env=self.env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def fail(self, *arguments):
        """The one line of error of a run that fails."""
        output = self.run(*arguments, status=None)
        lines = [line for line in output.splitlines() if "error: " in line]
        assert len(lines) == 1, output
        assert "Traceback" not in output
        return lines[0]

    def ran(self):
        return subprocess.run([self.python], check=True, text=True,
                              capture_output=True).stdout


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


def compiled(checkout):
    made = checkout.root / "build" / "release.work" / "made.txt"
    return len(made.read_text().splitlines())


def test_build_in_a_path_with_a_space_runs_the_patched_program(checkout):
    checkout.build()
    assert checkout.ran() == "patched\n"


def test_build_folder_may_be_a_symbolic_link(checkout, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (checkout.root / "build").symlink_to(tmp_path / "elsewhere")
    checkout.build()
    assert checkout.ran() == "patched\n"
    assert (tmp_path / "elsewhere" / "release" / "python").exists()


def test_no_targets_configures_and_says_what_to_type(checkout):
    output = checkout.run("--base", str(checkout.tarball))
    assert "make all" in output
    assert (checkout.root / "build/release.work/Makefile").exists()
    assert not checkout.python.exists()


def test_make_builds_with_the_settings_of_the_last_configure(checkout):
    checkout.run("--base", str(checkout.tarball), "--variant", "debug")
    subprocess.run(["make"], cwd=checkout.root, env=checkout.env, check=True,
                   capture_output=True, timeout=LIMIT)
    assert (checkout.root / "build" / "debug" / "python").exists()


def logs(checkout, variant="release"):
    """What configure and make said last."""
    folder = checkout.root / "build" / variant
    return [(folder / f"{name}.log").read_text()
            for name in ("configure", "build")]


def test_compiler_and_flags_are_remembered_until_the_next_configure(checkout):
    checkout.change_base(configure=WITH_OBJECTS.replace(
        "cat >", "echo told $CC, $CFLAGS\ncat >"))
    plain = dict(checkout.env)
    checkout.env |= {"CC": "cc -pipe", "CFLAGS": "-O1"}
    checkout.run("--base", str(checkout.tarball))
    checkout.env = plain
    checkout.make()
    for log in logs(checkout):
        assert "told cc -pipe, -O1\n" in log
    checkout.make("CC=cc -g")
    for log in logs(checkout):
        assert "told cc -g, -O1\n" in log
    checkout.build()
    for log in logs(checkout):
        assert "told ,\n" in log
    assert compiled(checkout) == 3


@pytest.mark.parametrize("name", [
    "CC", "CFLAGS", "CPP", "CPPFLAGS", "CXX", "LDFLAGS", "LIBS", "PKG_CONFIG",
    "PKG_CONFIG_PATH"])
def test_each_variable_of_configure_asks_for_a_new_one(checkout, name):
    arguments = "--base", str(checkout.tarball)
    checkout.env.pop(name, None)
    checkout.run(*arguments)
    checkout.env[name] = "cc"
    if name == "CPPFLAGS":
        checkout.env[name] = "-DX"
    assert "==> configuring" in checkout.run(*arguments)
    assert "==> configuring" not in checkout.run(*arguments)


def test_all_variables_of_the_real_configure_are_remembered(
        stock, monkeypatch):
    script = (stock.resolve().parent / "src" / "configure").read_text()
    names = set(re.search(r"ac_precious_vars='([^']+)'", script)[1].split())
    # Options of configure set these.
    names -= {"build_alias", "host_alias", "target_alias"}
    for name in names:
        monkeypatch.setenv(name, "told")
    assert names <= build.told_environment().keys()


@pytest.mark.parametrize("name", sorted(FILES.keys() - {
    "Modules/thing.c", "Lib/thing.py"}))
def test_each_file_that_configure_reads_asks_for_a_new_one(checkout, name):
    checkout.build()
    checkout.set_base(make_tarball(checkout.tarball, FILES | {
        name: FILES[name] + "# new\n"}))
    assert "==> configuring" in checkout.build()


def test_other_files_ask_for_no_new_configure(checkout):
    checkout.build()
    checkout.change_base(thing=THING.replace("# zero", "# new"))
    assert "==> configuring" not in checkout.build()


def test_objects_are_made_again_for_other_flags_but_not_another_prefix(
        checkout):
    checkout.change_base(configure=WITH_OBJECTS)
    work = checkout.root / "build" / "release.work"
    checkout.build()
    (work / "thing.o").write_text((work / "thing.o").read_text() + "# kept\n")
    checkout.build("--prefix", "/tmp/b")
    assert "# kept" in (work / "thing.o").read_text()
    checkout.env["CFLAGS"] = "-O1"
    checkout.build("--prefix", "/tmp/b")
    assert "# kept" not in (work / "thing.o").read_text()


def test_profile_is_of_the_code_and_the_flags_that_are_built(checkout):
    """With --enable-optimizations, of which make knows no more than a stamp."""
    checkout.change_base(configure=WITH_OBJECTS.replace(
        "thing.o: src", "profile-run-stamp:\n\techo x >> profiled.txt; touch $@\n"
        "thing.o: src").replace("echo told", "$(MAKE) profile-run-stamp; echo"))
    profiled = checkout.root / "build" / "release.work" / "profiled.txt"

    def profiles(*arguments):
        checkout.build(*arguments)
        return len(profiled.read_text().splitlines())

    assert profiles() == 1
    own_file(checkout, "Lib/other.py")
    assert profiles() == 1
    assert profiles("--prefix", "/tmp/b") == 1
    patch = checkout.patches / "a-topic.patch"
    patch.write_text(patch.read_text().replace("+echo patched", "+echo other"))
    assert profiles("--prefix", "/tmp/b") == 2
    checkout.env["CFLAGS"] = "-O1"
    assert profiles("--prefix", "/tmp/b") == 3
    assert profiles("--prefix", "/tmp/b") == 3


def test_interpreter_says_what_it_is_now(checkout):
    checkout.change_base(configure=WITH_OBJECTS)

    def built(folder="", *arguments):
        checkout.build(*arguments)
        work = checkout.root / "build" / folder / "release.work"
        return (work / "Modules" / "getbuildinfo.o").read_text()

    version = (checkout.root / "VERSION").read_text().strip()
    assert built() == f"asyncio-overlay-{version}\n"
    assert built(f"trees/{VERSION}-upto-a-topic", "--upto", "a-topic") == (
        f"asyncio-overlay-{version}+upto.a-topic\n")
    (checkout.root / "VERSION").write_text("9.8.7\n")
    assert built() == "asyncio-overlay-9.8.7\n"
    work = checkout.root / "build" / "stock.work"
    checkout.build("--variant", "stock")
    assert (work / "Modules" / "getbuildinfo.o").read_text() == ""


IDENTITY = "VERSION = None\nTOPICS = ()\n"


def add_topics(checkout):
    """One that the base has, and another one, which says what it is."""
    text = "{}: Say more\n\nBecause.\n\nRejected: less.\nDrop-when: never.\n"
    own = "Own-files:\n Lib/asyncio/_overlay.py\n"
    (checkout.patches / "b-topic.patch").write_text(
        text.format("b-topic") + f"Fixed-in: {VERSION}\n---\n")
    (checkout.patches / "c-topic.patch").write_text(
        text.format("c-topic") + "---\n")
    patch = checkout.patches / "a-topic.patch"
    patch.write_text(PATCH.replace("---\ndiff", f"{own}---\ndiff"))
    (checkout.patches / "series").write_text("a-topic\nb-topic\nc-topic\n")
    path = checkout.root / "Lib" / "asyncio" / "_overlay.py"
    path.parent.mkdir(parents=True)
    path.write_text(f"# What it is.\n{IDENTITY}")
    return path


@pytest.mark.parametrize("upto, topics", [
    (None, ("a-topic", "c-topic")), ("a-topic", ("a-topic",)),
    ("b-topic", ("a-topic",))])
def test_sources_name_the_topics_that_are_in_them(checkout, upto, topics):
    add_topics(checkout)
    checkout.run("--base", str(checkout.tarball),
                 *(["--upto", upto] if upto else []))
    folder = f"trees/{VERSION}-upto-{upto}" if upto else ""
    path = checkout.root / "build" / folder / "src/Lib/asyncio/_overlay.py"
    version = (checkout.root / "VERSION").read_text().strip()
    assert path.read_text() == (f"# What it is.\nVERSION = {version!r}\n"
                                f"TOPICS = {topics!r}\n")


@pytest.mark.parametrize("line", IDENTITY.splitlines())
def test_sources_that_cannot_say_what_they_are_are_refused(checkout, line):
    path = add_topics(checkout)
    path.write_text(path.read_text().replace(line, "pass"))
    assert f"there is no line '{line}' to fill in" in checkout.fail(
        "--base", str(checkout.tarball))


def test_mode_that_a_patch_changes_is_changed_in_the_sources(checkout):
    checkout.build()
    patch = checkout.patches / "a-topic.patch"
    path = checkout.root / "build" / "src" / "Modules" / "thing.c"
    for mode in 0o755, 0o644:
        patch.write_text(PATCH if mode == 0o644 else PATCH.replace(
            "\n--- a", "\nold mode 100644\nnew mode 100755\n--- a"))
        checkout.build()
        assert path.stat().st_mode & 0o777 == mode


def test_make_before_configure_says_what_to_do(checkout):
    done = subprocess.run(["make", "all"], cwd=checkout.root, text=True,
                          env=checkout.env, capture_output=True, timeout=LIMIT)
    assert done.returncode
    assert "run ./configure-overlay.sh" in done.stderr


def test_options_after_two_dashes_go_to_configure_of_every_variant(checkout):
    base = ("--base", str(checkout.tarball))
    for variant in ("stock", "release"):
        checkout.run(*base, "--variant", variant, "--prefix", "/tmp/a/../b",
                     "--", "--with-x=1 2")
        log = (checkout.root / "build" / variant / "configure.log").read_text()
        assert "--with-x=1 2 --prefix=/tmp/b" in log


@pytest.mark.parametrize("option, path", [
    ("--enable-shared", "$ORIGIN:$ORIGIN/../lib"), ("--disable-shared", "")])
def test_interpreter_with_a_shared_library_looks_for_it_beside_itself(
        checkout, option, path):
    checkout.change_base(configure=CONFIGURE.replace(
        "\tcp ", '\techo "run path $$LD_RUN_PATH."; cp ', 1))
    checkout.run("--base", str(checkout.tarball), "all", "--", option)
    _, build_log = logs(checkout)
    assert f"\nrun path {path}.\n" in build_log


def test_second_run_compiles_nothing(checkout):
    checkout.build()
    output = checkout.build()
    assert compiled(checkout) == 1
    assert "==>" not in output


def test_changed_patch_compiles_again_and_only_once(checkout):
    checkout.build()
    patch = checkout.patches / "a-topic.patch"
    patch.write_text(PATCH.replace("+echo patched", "+echo other"))
    checkout.build()
    assert checkout.ran() == "other\n"
    patch.write_text(PATCH)
    checkout.build()
    assert checkout.ran() == "patched\n"
    assert compiled(checkout) == 3


def test_stock_has_no_patch_and_upto_has_a_folder_of_its_own(checkout):
    checkout.build()
    checkout.build("--variant", "stock")
    checkout.build("--upto", "a-topic")
    stock = checkout.root / "build" / "stock" / "python"
    assert "stand-in" in stock.read_text()
    upto = checkout.root / f"build/trees/{VERSION}-upto-a-topic/release/python"
    assert "patched" in upto.read_text()


def test_failed_compilation_keeps_the_last_good_build_and_its_sources(
        checkout):
    checkout.build()
    checkout.change_base(thing=THING.replace("stand-in", "BROKEN"))
    patch = checkout.patches / "a-topic.patch"
    patch.write_text(PATCH.replace("echo stand-in", "echo BROKEN")
                     .replace("echo patched", "echo BROKEN still"))
    output = checkout.build(status=2)
    assert "build.log" in output and "    | " in output
    assert checkout.ran() == "patched\n"
    kept = checkout.root / "build/release/src/Modules/thing.c"
    assert "patched" in kept.read_text()
    checkout.change_base()
    patch.write_text(PATCH)
    checkout.build()
    assert checkout.ran() == "patched\n"


def test_patch_that_does_not_apply_names_topic_file_and_hunk(checkout):
    checkout.build()
    checkout.change_base(thing=THING.replace("# two", "# 2"))
    line = checkout.fail("--base", str(checkout.tarball), "all")
    for word in ("a-topic", "Modules/thing.c", "hunk 1", VERSION):
        assert word.lower() in line.lower()
    assert checkout.ran() == "patched\n"


def test_unknown_text_under_a_replaced_file_stops_the_build(checkout):
    (checkout.root / "Lib").mkdir()
    (checkout.root / "Lib" / "thing.py").write_text("x = 2\n")
    (checkout.patches / "a-topic.patch").write_text(PATCH.replace(
        "---\ndiff", "Own-files:\n Lib/thing.py\n---\ndiff"))
    known = hashlib.sha256(b"x = 0\n").hexdigest()
    (checkout.patches / "replaced").write_text(
        f"Lib/thing.py a-topic {known}\n")
    line = checkout.fail("--base", str(checkout.tarball), "all")
    assert "Lib/thing.py" in line and "a-topic" in line
    assert hashlib.sha256(b"x = 1\n").hexdigest() in line


def wait_for(condition):
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_interrupted_build_keeps_the_last_good_one_and_goes_on(
        checkout, number):
    checkout.build()
    patch = checkout.patches / "a-topic.patch"
    patch.write_text(PATCH.replace("+echo patched", "+echo patched SLOW"))
    log = checkout.root / "build" / "release" / "build.log"
    log.unlink()
    # A session of its own, as a terminal's Ctrl-C reaches a whole group.
    process = checkout.start("--base", str(checkout.tarball), "all",
                             start_new_session=True)
    wait_for(lambda: log.exists() and "cc -c" in log.read_text())
    os.killpg(process.pid, number)
    output, _ = process.communicate(timeout=LIMIT)
    assert process.returncode and "Traceback" not in output
    assert checkout.ran() == "patched\n"
    patch.write_text(PATCH.replace("+echo patched", "+echo later"))
    checkout.build()
    assert checkout.ran() == "later\n"


def start_to_make(checkout):
    """Start a build that has its output half done until there is *go*.

    Return the process, and the paths of the output and of *go*.
    """
    checkout.build()
    go = checkout.root / "build" / "go"
    checkout.change_base(
        thing=THING.replace("# zero", "# new"), configure=CONFIGURE.replace(
            "\tcp ", "\t: > $@; while ! [ -e ../go ]; do sleep 0.1; done\n"
            "\tcp "))
    torn = checkout.root / "build" / "release.work" / "python"
    process = checkout.start("--base", str(checkout.tarball), "all",
                             start_new_session=True)
    wait_for(lambda: torn.exists() and torn.stat().st_size == 0)
    return process, torn, go


def test_what_a_killed_compiler_has_left_is_made_again(checkout):
    process, torn, go = start_to_make(checkout)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=LIMIT)
    assert torn.stat().st_size == 0
    assert checkout.ran() == "patched\n"
    go.touch()
    checkout.build()
    assert checkout.ran() == "patched\n"
    assert "# new" in checkout.python.read_text()
    assert compiled(checkout) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_an_interrupted_make_has_half_done_is_made_again(
        checkout, number):
    process, _, go = start_to_make(checkout)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # As a terminal does.
    else:
        process.send_signal(number)
    process.communicate(timeout=LIMIT)
    go.touch()
    checkout.build()
    assert checkout.ran() == "patched\n"
    assert "# new" in checkout.python.read_text()


def test_what_a_failed_recipe_has_half_done_is_made_again(checkout):
    go = checkout.root / "build" / "go"
    checkout.change_base(configure=CONFIGURE.replace(
        "\tcp ", "\techo torn > $@; [ -e ../go ]\n\tcp "))
    checkout.fail("--base", str(checkout.tarball), "all")
    go.touch()
    checkout.build()
    assert checkout.ran() == "patched\n"


def test_sources_come_from_the_tarball_that_was_configured(
        tmp_path, monkeypatch):
    monkeypatch.setenv("OVERLAY_BUILD", str(tmp_path / "build"))
    monkeypatch.setattr(build.layout, "default_base", lambda *root: VERSION)
    tarball = tmp_path / "base.tar.xz"
    digest = make_tarball(tarball)
    tree = build.Tree(Base(VERSION, "0" * 64, None))
    tree.root.mkdir(parents=True)
    with pytest.raises(OverlayError, match="0{64}, found .*configure again"):
        build._prepare_stock(tree, Settings(
            version=VERSION, base=str(tarball), base_sha256=digest))
    assert not tree.stock_src.exists()


def test_a_failed_compilation_costs_no_other_work(checkout):
    checkout.change_base(configure=CONFIGURE.replace(
        "all: python", "all: other python\nother:\n\techo x >> others.txt; "
        "touch $@"), thing=THING.replace("# zero", "# BROKEN"))
    checkout.fail("--base", str(checkout.tarball), "all")
    checkout.change_base(configure=CONFIGURE.replace(
        "all: python", "all: other python\nother:\n\techo x >> others.txt; "
        "touch $@"))
    checkout.build()
    others = checkout.root / "build" / "release.work" / "others.txt"
    assert others.read_text() == "x\n"


def test_interrupted_unpacking_is_begun_again(checkout):
    checkout.build("--variant", "stock")
    build = checkout.root / "build"
    (build / "stock-src.stamp").unlink()
    (build / "stock-src" / "Modules" / "thing.c").unlink()
    (build / "stock-src.new").mkdir()
    (build / "stock-src.new" / "left-over").touch()
    checkout.build()
    assert checkout.ran() == "patched\n"
    assert not (build / "src" / "left-over").exists()


def test_second_run_at_once_says_that_it_waits(checkout):
    checkout.change_base(thing=THING.replace("# zero", "# SLOW"))
    first = checkout.start("--base", str(checkout.tarball), "all",
                           start_new_session=True)
    log = checkout.root / "build" / "release" / "build.log"
    wait_for(lambda: log.exists() and "cc -c" in log.read_text())
    second = checkout.start("--base", str(checkout.tarball))
    assert "waiting" in second.stdout.readline()
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate(timeout=LIMIT)
    output, _ = second.communicate(timeout=LIMIT)
    assert second.returncode == 0, output


@pytest.mark.parametrize("arguments, words", [
    (["--nope"], "--nope"),
    (["--varian", "debug"], "--varian"),
    (["--variant", "fast"], "'fast'; there are: release, stock"),
    (["everything"], "'everything'; there are: all"),
    (["--upto", "b-topic"], "b-topic"),
    (["--jobs", "0"], "--jobs 0: from 1 to 10000"),
    (["--jobs", "-1"], "--jobs -1: from 1 to 10000"),
    (["--jobs", "1000000000"], "--jobs 1000000000: from 1 to 10000"),
    (["--jobs", "x"], "--jobs: invalid int value: 'x'"),
    (["--prefix", "/opt/a b"], "/opt/a b"),
    (["--prefix", "/opt/a$b"], "'$'"),
    (["--prefix", "", "install"], "--prefix is empty"),
    (["--base", ""], "--base is empty"),
    (["--base", "/nowhere/x.tar.xz"], "/nowhere/x.tar.xz"),
    (["--base", "3.99.9"], "--base-sha256"),
    (["--base", "3.98.0"], "the series is for 3.99.z"),
    (["--base-sha256", "12"], "'12'"),
])
def test_bad_argument_gets_one_clear_line(checkout, arguments, words):
    assert words in checkout.fail(*arguments)


@pytest.mark.parametrize("spoil", [
    lambda data: data[:-10], lambda data: data[:-1] + b"x", lambda data: b""],
    ids=["truncated", "altered", "empty"])
def test_spoilt_tarball_is_refused_with_both_hashes(checkout, spoil):
    spoilt = spoil(checkout.tarball.read_bytes())
    checkout.tarball.write_bytes(spoilt)
    line = checkout.fail("--base", str(checkout.tarball))
    assert checkout.digest in line
    assert hashlib.sha256(spoilt).hexdigest() in line


def test_unknown_tarball_is_taken_when_its_hash_is_vouched_for(checkout):
    digest = checkout.digest
    checkout.set_base("0" * 64)
    assert digest in checkout.fail("--base", str(checkout.tarball))
    checkout.build("--base-sha256", digest)
    assert checkout.ran() == "patched\n"


def put_in_cache(checkout):
    bases = checkout.cache / "asyncio-overlay" / "bases"
    bases.mkdir(parents=True)
    shutil.copy(checkout.tarball, bases / f"Python-{VERSION}.tar.xz")


def test_search_takes_the_cache_first(checkout):
    put_in_cache(checkout)
    checkout.run("--offline", "all")
    assert checkout.ran() == "patched\n"


def test_version_is_one_whatever_lies_in_the_folder(checkout):
    put_in_cache(checkout)
    (checkout.root / VERSION).mkdir()
    checkout.run("--offline", "--base", VERSION, "all")
    assert checkout.ran() == "patched\n"


def test_tarball_may_be_given_from_another_folder(checkout):
    done = subprocess.run(
        ["check out/configure-overlay.sh", "--base", checkout.tarball.name],
        cwd=checkout.root.parent, env=checkout.env, text=True,
        capture_output=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(checkout.root / "build" / "stock-src")
    shutil.rmtree(checkout.cache)
    checkout.make()
    assert checkout.ran() == "patched\n"


def test_tilde_is_the_home_folder_where_the_shell_leaves_it(checkout):
    home = checkout.tarball.parent
    checkout.env["HOME"] = str(home)
    checkout.run(f"--base=~/{checkout.tarball.name}", "--prefix=~/py")
    log = (checkout.root / "build/release/configure.log").read_text()
    assert f"--prefix={home}/py\n" in log


def test_failed_search_names_every_place_and_what_to_do(checkout, tmp_path):
    bases = checkout.cache / "asyncio-overlay" / "bases"
    bases.mkdir(parents=True)
    (bases / f"Python-{VERSION}.tar.xz").write_bytes(b"torn")
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "apt-get").write_text("#!/bin/sh\necho 'E: no route' >&2\nexit 1")
    (tools / "apt-get").chmod(0o755)
    checkout.env["PATH"] = f"{tools}:{checkout.env['PATH']}"
    line = checkout.fail()
    for words in ("the cache", "(4 bytes)", "python.org",
                  "Debian's source package", "--base PATH", checkout.digest):
        assert words in line
    assert [path.name for path in bases.iterdir()] == [
        f"Python-{VERSION}.tar.xz"]


def test_offline_asks_nobody(checkout):
    line = checkout.fail("--offline")
    assert "the cache" in line and "--offline" in line
    assert "python.org" not in line


def without(programs, checkout, tmp_path):
    """A PATH with all programs but some."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for folder in reversed(os.environ["PATH"].split(":")):
        for path in Path(folder).glob("*"):
            link = tools / path.name
            link.unlink(missing_ok=True)
            if path.name not in programs:
                link.symlink_to(path)
    checkout.env["PATH"] = str(tools)


def test_missing_compiler_names_the_package_and_the_command(
        checkout, tmp_path):
    without({"cc"}, checkout, tmp_path)
    line = checkout.fail("--base", str(checkout.tarball))
    assert "not found: cc" in line
    assert "apt-get install" in line and "gcc" in line.partition("with:")[2]


def test_missing_header_names_the_package(checkout):
    checkout.env["CC"] = "cc -nostdinc -I/"
    line = checkout.fail("--base", str(checkout.tarball))
    assert "openssl/ssl.h" in line
    assert "libssl-dev" in line.partition("with:")[2]


def test_install_deps_without_apt_says_what_to_install(checkout, tmp_path):
    without({"cc", "apt-get"}, checkout, tmp_path)
    line = checkout.fail("--base", str(checkout.tarball), "--install-deps")
    assert "by hand: " in line and "gcc" in line


def test_unwritable_build_folder_gets_one_line_with_its_path(checkout):
    (checkout.root / "build").symlink_to("/proc/overlay-build")
    assert "build" in checkout.fail("--base", str(checkout.tarball))


def test_full_disk_keeps_the_last_good_build(checkout):
    """A limit on the size of files stands in for a disk that is full."""
    checkout.build()
    checkout.change_base(thing=THING.replace("# zero", "#" * 100_000))
    done = subprocess.run(
        ["bash", "-c", 'ulimit -f 50; exec ./configure-overlay.sh "$@"', "-",
         "--base", str(checkout.tarball), "all"], cwd=checkout.root,
        env=checkout.env, text=True, capture_output=True, timeout=LIMIT)
    assert done.returncode
    assert "File too large" in done.stderr and "Traceback" not in done.stderr
    assert checkout.ran() == "patched\n"
    checkout.build()
    assert checkout.ran() == "patched\n"


def test_nothing_is_written_outside_build_and_cache(checkout, tmp_path):
    before = {path for path in checkout.root.rglob("*")}
    for name in ("HOME", "TMPDIR"):
        place = tmp_path / name
        place.mkdir()
        checkout.env[name] = str(place)
    checkout.build()
    for name in ("HOME", "TMPDIR"):
        place = tmp_path / name
        assert not list(place.iterdir())
        place.rmdir()
    after = {path for path in checkout.root.rglob("*")
             if "build" not in path.relative_to(checkout.root).parts[:1]}
    assert after == before
    assert {path.name for path in tmp_path.iterdir()} <= {
        "check out", "base.tar.xz", "cache"}


def test_clean_removes_what_was_built_but_no_commits(checkout):
    checkout.build()
    (checkout.root / "build" / "series").mkdir()
    checkout.run("clean")
    left = {path.name for path in (checkout.root / "build").iterdir()}
    assert left == {"series", ".lock", "settings.json", "config.mk"}


def test_clean_may_be_followed_by_a_build(checkout):
    checkout.build()
    checkout.run("--base", str(checkout.tarball), "clean", "all")
    assert checkout.ran() == "patched\n"
    for targets in ["clean"], ["all"], ["clean", "all"]:
        subprocess.run(["make", *targets], cwd=checkout.root, check=True,
                       env=checkout.env, capture_output=True, timeout=LIMIT)
        assert checkout.python.exists() == (targets != ["clean"])


@pytest.mark.parametrize("compiler", ["cc", "/nowhere/cc"])
def test_clean_needs_no_base_and_no_compiler(checkout, compiler):
    checkout.env["CC"] = compiler
    checkout.run("--offline", "clean")


def test_install_without_prefix_says_what_to_give(checkout):
    assert "--prefix DIR" in checkout.fail(
        "--base", str(checkout.tarball), "install")


def test_install_builds_what_was_removed_before_it_installs(checkout):
    checkout.change_base(configure=CONFIGURE.replace(
        "all: python\n", "all: python\ninstall: all\n\ttouch installed\n"))
    prefix = ("--prefix", str(checkout.cache / "prefix"))
    checkout.build(*prefix)
    shutil.rmtree(checkout.root / "build" / "release.work")
    output = checkout.make("install")
    assert "==> building release" in output
    assert (checkout.root / "build/release.work/installed").exists()
    log = checkout.root / "build" / "release" / "install.log"
    assert "cc -c" not in log.read_text()


def test_make_names_what_is_missing_for_its_target(checkout, tmp_path):
    checkout.build()
    without({"valgrind"}, checkout, tmp_path)
    done = subprocess.run(["make", "bench"], cwd=checkout.root, text=True,
                          env=checkout.env, capture_output=True, timeout=LIMIT)
    assert done.returncode
    assert "not found: valgrind; run ./configure-overlay.sh" in done.stderr


def own_file(checkout, *paths):
    """Give a-topic these own files, and no others."""
    shutil.rmtree(checkout.root / "Lib", ignore_errors=True)
    for path in paths:
        (checkout.root / path).parent.mkdir(parents=True, exist_ok=True)
        (checkout.root / path).write_text("own = True\n")
    listed = "".join(f" {path}\n" for path in paths)
    (checkout.patches / "a-topic.patch").write_text(PATCH.replace(
        "---\ndiff", f"Own-files:\n{listed}---\ndiff"))


@pytest.mark.parametrize("path", ["Lib/package/module.py",
                                  "Lib/package/below/module.py"])
def test_folder_of_a_removed_package_is_removed_too(checkout, path):
    """Empty, it could still be imported."""
    own_file(checkout, path, "Lib/other.py")
    checkout.build()
    source = checkout.root / "build" / "src" / path
    (source.parent / "__pycache__").mkdir()
    (source.parent / "__pycache__" / "module.pyc").touch()
    own_file(checkout, "Lib/other.py")
    checkout.build()
    for folder in "src", "release/src":
        assert {path.name for path in (checkout.root / "build" / folder /
                                       "Lib").iterdir()} == {
            "thing.py", "other.py"}


def test_file_and_folder_may_take_each_others_place(checkout):
    for path in "Lib/name", "Lib/name/module.py", "Lib/name":
        own_file(checkout, path)
        checkout.build()
        assert (checkout.root / "build" / "release" / "src" / path).is_file()


def test_build_that_lacks_a_promised_module_is_not_published(checkout):
    checkout.build()
    lacking = THING.replace("|| exit 0", "|| { echo _ssl; exit 0; }")
    checkout.change_base(thing=lacking)
    patch = PATCH.replace("|| exit 0", "|| { echo _ssl; exit 0; }")
    (checkout.patches / "a-topic.patch").write_text(patch)
    line = checkout.fail("--base", str(checkout.tarball), "all")
    assert "modules not built: _ssl" in line and "libssl-dev" in line
    assert "_ssl" not in checkout.python.read_text()


def test_help_names_every_option_and_target(checkout):
    text = checkout.run("--help")
    for word in ("--variant", "--base ", "--base-sha256", "--upto", "--offline",
                 "--jobs", "--prefix", "--install-deps", "check-each", "rebase"):
        assert word in text


def test_targets_take_turns_under_a_parallel_make(checkout):
    checkout.env["MAKEFLAGS"] = "-j4"
    # The demo builds, too.
    output = checkout.build("--prefix", "/tmp/x", "demo")
    assert output.count("==> building release") == 1
    assert checkout.ran() == "patched\n"


def test_failed_configure_keeps_the_settings_of_the_last_one(checkout):
    checkout.build()
    checkout.fail("--base", "/nowhere/x.tar.xz", "all")
    checkout.env["CC"] = "false"
    checkout.fail("--base", str(checkout.tarball), "--variant", "debug", "all")
    del checkout.env["CC"]
    done = subprocess.run(["make"], cwd=checkout.root, env=checkout.env,
                          text=True, capture_output=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    assert f"built: {checkout.python}" in done.stdout


def test_make_needs_no_tarball_once_it_is_unpacked(checkout):
    checkout.build()
    checkout.tarball.unlink()
    (checkout.patches / "a-topic.patch").write_text(
        PATCH.replace("+echo patched", "+echo other"))
    subprocess.run(["make"], cwd=checkout.root, env=checkout.env, check=True,
                   capture_output=True, timeout=LIMIT)
    assert checkout.ran() == "other\n"


@pytest.mark.parametrize("lost", ["release/python", "release.work", "src",
                                  "stock-src"])
def test_removed_parts_of_a_build_are_made_again(checkout, lost):
    checkout.build()
    path = checkout.root / "build" / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    checkout.build()
    assert checkout.ran() == "patched\n"
    assert path.exists()


@pytest.mark.parametrize("text", [
    "{", "[]", '{"base": 5}', '{"variant": "fast", "version": "3.99.0"}',
    '{"configure_args": [1], "version": "3.99.0"}',
    '{"configure_args": [], "version": "3.99.0", "environment": "CC"}',
    '{"configure_args": [], "version": "3.99.0", "environment": {"CC": 1}}',
    '{"configure_args": [], "version": "3.99.0", "jobs": 0}',
    '{"configure_args": [], "version": "3.99.0", "jobs": 1000000000}',
    '{"configure_args": [], "version": "3.99.0", "jobs": 2.5}'])
def test_damaged_settings_ask_for_another_configure(checkout, text):
    (checkout.root / "build").mkdir()
    (checkout.root / "build" / "settings.json").write_text(text)
    done = subprocess.run(["make"], cwd=checkout.root, env=checkout.env,
                          text=True, capture_output=True, timeout=LIMIT)
    assert done.returncode and "Traceback" not in done.stderr
    assert "run ./configure-overlay.sh again" in done.stderr


@pytest.mark.parametrize("name, value", [
    ("PYTHONHOME", "/nowhere"), ("PYTHONIOENCODING", "latin-1"),
    ("PYTHONPATH", "/nowhere"), ("CDPATH", "/"), ("GIT_DIR", "/nowhere"),
    ("LC_ALL", "C"), ("MAKEFLAGS", "-j3"), ("BASE", "/nowhere")])
def test_environment_for_other_programs_changes_nothing(
        checkout, name, value):
    checkout.env[name] = value
    checkout.build()
    assert checkout.ran() == "patched\n"
    assert "--variant" in checkout.run("--help")


def test_tools_run_nothing_of_site_packages(checkout, tmp_path):
    """It takes its time, in which Ctrl-C would show a traceback of it."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip",
                    tmp_path / "env"], check=True)
    [packages] = (tmp_path / "env").glob("lib/python3.*/site-packages")
    (packages / "hello.pth").write_text(
        "import pathlib; pathlib.Path(sys.prefix, 'ran').touch()\n")
    python = tmp_path / "env" / "bin" / "python3"
    checkout.env["PATH"] = f"{python.parent}:{checkout.env['PATH']}"
    checkout.run("--base", str(checkout.tarball))
    checkout.make()
    assert not (tmp_path / "env" / "ran").exists()
    subprocess.run([python, "-c", ""], check=True)
    assert (tmp_path / "env" / "ran").exists()


def test_cdpath_leads_to_no_other_checkout(checkout, tmp_path):
    other = tmp_path / "other" / "check out"
    other.mkdir(parents=True)
    done = subprocess.run(
        ["bash", "check out/configure-overlay.sh", "--help"],
        cwd=checkout.root.parent, text=True, capture_output=True,
        env=checkout.env | {"CDPATH": str(other.parent)}, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    assert "--variant" in done.stdout


def test_relative_cache_folder_is_ignored_as_xdg_says(checkout, tmp_path):
    checkout.env |= {"XDG_CACHE_HOME": "here", "HOME": str(tmp_path)}
    line = checkout.fail("--offline")
    assert str(tmp_path / ".cache" / "asyncio-overlay") in line
    assert not (checkout.root / "here").exists()


def test_damage_under_a_hash_that_is_vouched_for_gets_one_line(checkout):
    data = bytearray(checkout.tarball.read_bytes())
    middle = len(data) // 2
    data[middle:middle + 20] = bytes(20)
    checkout.tarball.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    checkout.set_base("0" * 64)
    line = checkout.fail("--base", str(checkout.tarball),
                         "--base-sha256", digest)
    assert str(checkout.tarball) in line


def test_damaged_tarball_leaves_the_sources_that_are_in_use(checkout):
    checkout.build()
    old = (checkout.patches / "bases").read_text()
    damaged = checkout.tarball.with_name("damaged.tar.xz")
    damaged.write_bytes(b"no tarball")
    digest = hashlib.sha256(damaged.read_bytes()).hexdigest()
    (checkout.patches / "bases").write_text(f"{VERSION} {digest}\n")
    line = checkout.fail("--base", str(damaged), "all")
    assert "cannot be unpacked" in line
    (checkout.patches / "bases").write_text(old)
    assert "==> unpacking" not in checkout.build()


def test_vouched_for_file_that_is_no_tarball_gets_one_line(checkout):
    checkout.tarball.write_bytes(b"no tarball")
    digest = hashlib.sha256(b"no tarball").hexdigest()
    output = checkout.run("--base", str(checkout.tarball), "--base-sha256",
                          digest, status=1)
    assert len(output.splitlines()) == 1
    assert "not a tarball" in output


@pytest.mark.parametrize("text, words", [
    ("", "names no base"), ("# 3.13.5\n", "names no base"),
    ("3.13.5\n", "'3.13.5' is not a version and its SHA-256"),
    (f"{'0' * 64} 3.13.5\n", "is not a version and its SHA-256"),
    (f"3.13.5 {'0' * 64} more\n", "is not a version and its SHA-256")])
def test_empty_or_malformed_list_of_bases_is_told(checkout, text, words):
    (checkout.patches / "bases").write_text(text)
    line = checkout.fail("all")
    assert words in line and "patches/bases" in line


def test_base_of_another_feature_release_is_refused(checkout):
    bases = checkout.patches / "bases"
    bases.write_text(f"3.98.1 {'0' * 64}\n" + bases.read_text())
    assert "for 3.98.z" in checkout.fail("--base", str(checkout.tarball))


def test_terminated_run_ends_the_compilation_with_it(checkout):
    checkout.change_base(thing=THING.replace("# zero", "# SLOW"))
    process = checkout.start("--base", str(checkout.tarball), "all")
    log = checkout.root / "build" / "release" / "build.log"
    wait_for(lambda: log.exists() and "cc -c" in log.read_text())
    process.terminate()
    # The pipe ends with the last process that has it.
    process.communicate(timeout=20)
    # Would wait for the lock if the compilation still held it.
    checkout.change_base()
    assert "waiting" not in checkout.build()


def test_clean_does_not_build_first(checkout):
    output = checkout.run("clean")
    assert "==>" not in output
    assert not checkout.python.exists()


def test_failed_copy_leaves_the_published_build_and_nothing_else(checkout):
    """As on a full disk: one file of the work folder cannot be copied."""
    checkout.build()
    patch = checkout.patches / "a-topic.patch"
    patch.write_text(PATCH.replace("+echo patched", "+echo other"))
    (checkout.root / "build/release.work/fifo").mkdir(mode=0o755)
    os.mkfifo(checkout.root / "build/release.work/fifo/pipe")
    line = checkout.fail("--base", str(checkout.tarball), "all")
    assert "pipe" in line and len(line) < 300
    assert checkout.ran() == "patched\n"
    assert not (checkout.root / "build" / "release.new").exists()


def test_jobs_are_passed_to_make(checkout):
    checkout.build("--jobs", "3")
    log = (checkout.root / "build" / "release" / "build.log").read_text()
    assert log.startswith("$ make -j3 ")


def test_pythons_variables_reach_neither_configure_nor_make(checkout):
    """They would lead the interpreter astray that is being built."""
    told = "echo told; env | grep ^PYTHON"
    checkout.change_base(configure=CONFIGURE.replace(
        "\tcp ", f"\t{told} || :\n\tcp ").replace(
        "cat >", f"{told}\ncat >"))
    checkout.env |= {"PYTHONHASHSEED": "1", "PYTHONSTARTUP": "/nowhere"}
    checkout.build()
    for name in ("configure", "build"):
        log = checkout.root / "build" / "release" / f"{name}.log"
        assert "told\n" in log.read_text()
        assert "PYTHONHASHSEED=" not in log.read_text()
        assert "PYTHONSTARTUP=" not in log.read_text()


def tools_of_the_session(session):
    """The processes of Python, not of make and the compiler, in a session."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            fields = (place / "stat").read_text().rpartition(")")[2].split()
            command = (place / "cmdline").read_bytes()
        except OSError:
            continue
        if int(fields[3]) == session and b"Tools/overlay" in command:
            if b"make" not in command.split(b"\0")[0]:
                yield int(place.name)


# What make prints in vain once its reader is killed would end it: there is
# nothing more to print when the file says that it waits.
WAIT = "touch ../waits; while ! [ -e ../go ]; do sleep 0.1; done"


@pytest.mark.parametrize("target, made", [
    ("all", "made.txt"), ("install", "installed")])
def test_work_that_outlives_its_killed_run_keeps_the_lock(
        checkout, target, made):
    go = checkout.root / "build" / "go"
    checkout.change_base(configure=(
        CONFIGURE.replace("\tcp ", f"\t{WAIT}\n\tcp ") if target == "all"
        else CONFIGURE.replace("all: python\n", "all: python\ninstall:\n\techo"
                               f" cc -c; {WAIT}; touch installed\n")))
    first = checkout.start(
        "--base", str(checkout.tarball), "--prefix",
        str(checkout.cache / "prefix"), target, start_new_session=True)
    try:
        wait_for((checkout.root / "build" / "waits").exists)
        killed = list(tools_of_the_session(first.pid))
        assert killed
        for number in killed:
            os.kill(number, signal.SIGKILL)
        second = checkout.start("--base", str(checkout.tarball))
        first_line = next(filter(str.strip, second.stdout))
        assert "waiting" in first_line
        assert not (checkout.root / "build/release.work" / made).exists()
    finally:
        go.touch()
    output, _ = second.communicate(timeout=LIMIT)
    assert second.returncode == 0, output
    first.communicate(timeout=LIMIT)


@pytest.mark.parametrize("error", [None, errno.ENOSYS, errno.EINVAL])
def test_folders_change_names_whatever_the_file_system_can(
        tmp_path, monkeypatch, error):
    import build
    if error:
        class Without:
            renameat2 = staticmethod(lambda *arguments: -1)
        monkeypatch.setattr(build.ctypes, "CDLL", lambda *a, **k: Without)
        monkeypatch.setattr(build.ctypes, "get_errno", lambda: error)
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "was").write_text(name)
    build.exchange(tmp_path / "one", tmp_path / "other")
    assert (tmp_path / "one" / "was").read_text() == "other"
    assert (tmp_path / "other" / "was").read_text() == "one"
    assert len(list(tmp_path.iterdir())) == 2


def test_folders_change_names_in_one_step(tmp_path, monkeypatch):
    """Where the file system can, no name is free at any moment."""
    import build
    renamed = []
    monkeypatch.setattr(build.Path, "rename",
                        lambda *arguments: renamed.append(arguments))
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    build.exchange(tmp_path / "one", tmp_path / "other")
    assert not renamed


def test_folder_that_is_not_there_is_not_exchanged(tmp_path):
    import build
    (tmp_path / "one").mkdir()
    with pytest.raises(FileNotFoundError):
        build.exchange(tmp_path / "one", tmp_path / "other")
    assert (tmp_path / "one").exists()


def offer_by_apt(checkout, tmp_path, tarball):
    """An apt whose source package promises the base and has *tarball*."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, text in {
        "apt-get": f"""
            case "$*" in
            *indextargets*) echo "file:///mirror Debian";;
            *source*) cp '{tarball}' python_1.orig.tar.xz;;
            esac""",
        "apt-cache": f"""
            echo "Package: python3.99"
            echo "Version: 3.99.0-1"
            echo "Checksums-Sha256:"
            echo " {checkout.digest} 1000 python_1.orig.tar.xz" """}.items():
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)
    checkout.env["PATH"] = f"{tools}:{checkout.env['PATH']}"


def test_tarball_of_debians_source_package_is_taken(checkout, tmp_path):
    offer_by_apt(checkout, tmp_path, checkout.tarball)
    checkout.run("all")
    assert checkout.ran() == "patched\n"
    [path] = (checkout.cache / "asyncio-overlay" / "bases").iterdir()
    assert path.name == f"Python-{VERSION}.tar.xz"
    assert path.read_bytes() == checkout.tarball.read_bytes()


def test_wrong_tarball_of_debians_source_package_is_refused(
        checkout, tmp_path):
    wrong = tmp_path / "wrong.tar.xz"
    wrong.write_bytes(checkout.tarball.read_bytes()[:-1])
    offer_by_apt(checkout, tmp_path, wrong)
    line = checkout.fail().partition("Debian's source package")[2]
    assert checkout.digest in line
    assert hashlib.sha256(wrong.read_bytes()).hexdigest() in line
    assert not list((checkout.cache / "asyncio-overlay" / "bases").iterdir())


def test_what_was_published_before_is_gone_even_if_the_run_was_killed(checkout):
    checkout.build()
    left = checkout.root / "build" / "release.new"
    left.mkdir()
    checkout.build()
    assert not left.exists()
    assert compiled(checkout) == 1


def test_command_that_fails_is_told_in_a_line(checkout):
    """Here: the new interpreter, asked what it is."""
    checkout.build()
    checkout.python.write_text("#!/bin/sh\necho no libpython >&2; exit 3\n")
    line = checkout.fail("--base", str(checkout.tarball), "all")
    assert str(checkout.python) in line and "exit status 3" in line
