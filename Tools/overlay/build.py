"""From tarball to interpreter: sources, configure, make, and the last good build.

How it works.  Everything of one base and one reach of the series is a *tree*:

    stock-src/        the base as it came
    src/              the base with the series applied
    VARIANT.work/     objects; `src` in it is a link to the tree's sources
    VARIANT/          the last good build: what `make` produced when it last
                      succeeded, and in `src` the sources that it was made of

The work folder is what `make` changes, so that a second build compiles only
what changed.  It is copied over VARIANT/ when all of it succeeded, and not
before: a failed, interrupted or killed build leaves VARIANT/ as it was.
VARIANT/ has sources of its own because an interpreter in a build folder
reads its Lib/ from there.  They are hard links; src/ is only ever changed by
replacing files, which leaves the other name of an old file alone.
"""

import contextlib
import ctypes
import errno
import filecmp
import hashlib
import os
import shutil
from pathlib import Path

import layout
import series
from base import Base, extract, fetch_base
from deps import check_modules
from lock import lock_descriptors
from settings import load_settings
from ui import OverlayError, run_logged, say, step

# Libraries whose flags configure takes from the environment, if they are there,
# in place of asking pkg-config.
_LIBRARIES = ("BZIP2", "CURSES", "GDBM", "LIBB2", "LIBEDIT", "LIBFFI",
              "LIBLZMA", "LIBMPDEC", "LIBREADLINE", "LIBSQLITE3", "LIBUUID",
              "PANEL", "TCLTK", "X11", "ZLIB")
# What configure and make take from the environment, beside their arguments:
# the list in `configure --help`, and what it does not tell.
_BUILD_ENVIRONMENT = (
    "AR", "BOLT_APPLY_FLAGS", "BOLT_COMMON_FLAGS", "BOLT_INSTRUMENT_FLAGS",
    "CC", "CFLAGS", "CPP", "CPPFLAGS", "CXX", "HOSTRUNNER", "LDFLAGS", "LIBS",
    "LINKCC", "MACHDEP", "OPT", "PKG_CONFIG", "PKG_CONFIG_LIBDIR",
    "PKG_CONFIG_PATH", "PROFILE_TASK",
    *(f"{name}_{kind}" for name in _LIBRARIES for kind in ("CFLAGS", "LIBS")))
# From <fcntl.h> and <linux/fs.h>, for renameat2().
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
# What make keeps of how far it is with --enable-optimizations.
_PROFILED = "profile-*-stamp"
# A change to one of these asks for a new configure.
_CONFIGURED_FROM = ("configure", "Makefile.pre.in", "pyconfig.h.in",
                    "Modules/Setup", "Modules/Setup.stdlib.in",
                    "Modules/Setup.bootstrap.in", "Modules/makesetup")


class Tree:
    """The folders of one base, with the series up to one topic."""

    def __init__(self, base, upto=None):
        self.base = base
        self.upto = upto
        root = layout.build_root().absolute()
        if base.version != layout.default_base() or upto:
            name = base.version + (f"-upto-{upto}" if upto else "")
            root = root / "trees" / name
        self.root = root
        self.stock_src = root / "stock-src"
        self.src = root / "src"

    def source(self, variant):
        return self.stock_src if variant == "stock" else self.src

    def work(self, variant):
        return self.root / f"{variant}.work"

    def published(self, variant):
        return self.root / variant

    def python(self, variant):
        return self.published(variant) / "python"

    def log(self, variant, name):
        folder = self.published(variant)
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{name}.log"


def build(variant=None, base=None, upto=None, *, settings=None,
          configure_only=False):
    """Build what is not up to date; return the path of the python.

    The arguments default to the settings of the last configure.  Raises
    OverlayError, with the last good build left as it was.
    """
    settings = settings or load_settings()
    variant = variant or settings.variant
    if base is None:
        base, upto = _base_of(settings), upto or settings.upto
    tree = Tree(base, upto)
    prepare_sources(tree, settings, stock_only=variant == "stock")
    configure(tree, variant, settings)
    if not configure_only:
        make(tree, variant, settings)
    return tree.python(variant)


def current_tree():
    """The tree of the last configure's settings."""
    settings = load_settings()
    return Tree(_base_of(settings), settings.upto)


def _base_of(settings):
    # Without a tarball: what has been unpacked is used without one.
    return Base(settings.version, settings.found_sha256, None)


# --- Sources -----------------------------------------------------------------

def prepare_sources(tree, settings, *, stock_only=False):
    tree.root.mkdir(parents=True, exist_ok=True)
    _prepare_stock(tree, settings)
    if not stock_only:
        _prepare_patched(tree)


def _prepare_stock(tree, settings):
    stamp = tree.root / "stock-src.stamp"
    if (_read(stamp) == tree.base.sha256
            and (tree.stock_src / "configure").exists()):
        return
    base = tree.base
    if base.path is None:
        base = fetch_base(settings.base or settings.version,
                          settings.base_sha256, offline=settings.offline)
    if base.sha256 != tree.base.sha256:
        raise OverlayError(
            f"{base.path} is another tarball than the one that was configured: "
            f"expected SHA-256 {tree.base.sha256}, found {base.sha256}; "
            f"configure again")
    fresh = _empty(tree.root / "stock-src.new")
    extract(base, fresh)
    # Only now: a tarball that is damaged leaves the last sources in use.
    stamp.unlink(missing_ok=True)
    shutil.rmtree(tree.stock_src, ignore_errors=True)
    fresh.rename(tree.stock_src)
    stamp.write_text(tree.base.sha256)


def _prepare_patched(tree):
    stamp = tree.root / "src.stamp"
    wanted = layout.overlay_version() + " " + series.fingerprint(
        tree.base.sha256, base_version=tree.base.version, upto=tree.upto)
    if _read(stamp) == wanted and (tree.src / "configure").exists():
        return
    with step(f"patching the sources of {tree.base.version}"):
        overlay = _empty(tree.root / "overlay.new")
        changed, deleted = series.compose(
            tree.stock_src, overlay, base_version=tree.base.version,
            upto=tree.upto)
        _say_what_it_is(overlay, tree)
        stamp.unlink(missing_ok=True)
        lay_sources(tree.stock_src, overlay, set(deleted), tree.src)
        shutil.rmtree(overlay)
    stamp.write_text(wanted)


def _say_what_it_is(overlay, tree):
    """Fill in the version and the topics that asyncio.__overlay__ gives."""
    path = overlay / "Lib" / "asyncio" / "_overlay.py"
    if not path.exists():
        return
    topics = []
    for topic in series.load_series():
        if not series.skipped(topic, tree.base.version):
            topics.append(topic.name)
        if topic.name == tree.upto:
            break
    text = path.read_text()
    for line, value in (("VERSION = None", layout.overlay_version()),
                        ("TOPICS = ()", tuple(topics))):
        if f"\n{line}\n" not in text:
            raise OverlayError(f"{path.name}: there is no line {line!r} to "
                               "fill in")
        name = line.partition(" ")[0]
        text = text.replace(f"\n{line}\n", f"\n{name} = {value!r}\n")
    path.write_text(text)


def lay_sources(stock, overlay, deleted, target):
    """Make *target* the stock sources with *overlay* over them.

    Files that are right already keep their time, so that make leaves alone
    what was made from them.
    """
    names = _files(stock) - deleted | _files(overlay)
    _remove_all_but(names, target)
    for name in sorted(names):
        over = overlay / name
        _lay(over if over.exists() else stock / name, target / name)


def _remove_all_but(names, target):
    paths = {target / name for name in names}
    places = {folder for path in paths for folder in path.parents}
    for place, folders, files in os.walk(target, topdown=False):
        for path in {Path(place, name) for name in files} - paths:
            path.unlink()
        # An empty package can still be imported.
        for path in {Path(place, name) for name in folders} - places:
            path.rmdir()


def _files(folder):
    return {os.path.relpath(os.path.join(place, file), folder)
            for place, folders, files in os.walk(folder)
            if os.path.basename(place) != "__pycache__"
            for file in files}


def _lay(source, target):
    exists = target.exists()
    if (exists and filecmp.cmp(source, target, shallow=False)
            and source.stat().st_mode == target.stat().st_mode):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(target.name + ".overlay-new")
    # A first copy keeps its time; a change must be newer than what was made.
    (shutil.copy if exists else shutil.copy2)(source, fresh)
    fresh.replace(target)


# --- configure ---------------------------------------------------------------

def configure(tree, variant, settings):
    """Run CPython's configure in the work folder if its input changed."""
    work = tree.work(variant)
    source = tree.source(variant)
    command = ["src/configure", "-q", *layout.VARIANTS[variant],
               *settings.configure_args]
    stamp = work / "overlay-configure.stamp"
    _discard_torn(work)
    env = _environment_of(settings)
    flags, prefix = _configure_key(source, command, env), settings.prefix or ""
    if _read(stamp) == f"{flags}\n{prefix}" and (work / "Makefile").exists():
        return
    if not _read(stamp).startswith(flags):
        # Objects of another configuration are not to be trusted.  Only the
        # prefix is different: makefile and objects see to that.
        for path in (*work.rglob("*.o"), *work.glob(_PROFILED)):
            path.unlink()
    work.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    link = work / "src"
    if not link.is_symlink():
        link.symlink_to(os.path.relpath(source, work))
    if prefix:
        command.append(f"--prefix={prefix}")
    log = tree.log(variant, "configure")
    log.unlink(missing_ok=True)
    with step(f"configuring {variant}"):
        run_logged(command, log, cwd=work, env=env,
                   counts=lambda line: False, pass_fds=lock_descriptors(),
                   what=f"configure of {variant}")
    stamp.write_text(f"{flags}\n{prefix}")


def _configure_key(source, command, env):
    digest = hashlib.sha256("\0".join(command).encode())
    for name in sorted(env.keys() & set(_BUILD_ENVIRONMENT)):
        digest.update(f"{name}={env[name]}\0".encode())
    for name in _CONFIGURED_FROM:
        digest.update((source / name).read_bytes())
    return digest.hexdigest()


def told_environment():
    """What configure is told by the environment, to be remembered."""
    return {name: os.environ[name] for name in _BUILD_ENVIRONMENT
            if name in os.environ}


def _environment_of(settings):
    """build_environment() with what was remembered; what make itself is told
    comes first (make CC=clang)."""
    env = settings.environment | build_environment()
    if "--enable-shared" in settings.configure_args:
        # Or the interpreter does not find its library: in the build folder, or
        # where it is installed, or moved to.  The linker takes it from here;
        # in LDFLAGS, shells and makefiles would have their part of the $.
        env.setdefault("LD_RUN_PATH", "$ORIGIN:$ORIGIN/../lib")
    return env


def build_environment():
    """The environment without what would lead a build or a test astray."""
    return {name: value for name, value in os.environ.items()
            if not name.startswith("PYTHON")
            and name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "GNUMAKEFLAGS",
                             "MAKEOVERRIDES", "BASE", "ROWS", "MINUTES",
                             "PREFIX", "CDPATH", "VIRTUAL_ENV")}


# --- make --------------------------------------------------------------------

def _making(work):
    """The file that is there while make runs, and after one that was killed."""
    return work / "overlay-making"


def _discard_torn(work):
    """Remove what a make that did not end has made.

    A compiler creates its output at once, but fills it later: killed between,
    it leaves a file that is newer than its source, which make trusts.
    """
    making = _making(work)
    if not making.exists():
        return
    since = making.stat().st_mtime_ns
    for place, _, files in os.walk(work):
        for path in (Path(place, name) for name in files):
            if (path.lstat().st_mtime_ns >= since
                    and not path.name.startswith("overlay-")):
                path.unlink()
    making.unlink()


def make(tree, variant, settings):
    """Compile in the work folder; publish if there is something new."""
    work = tree.work(variant)
    source_stamp = "stock-src.stamp" if variant == "stock" else "src.stamp"
    made_of = "\n".join((_read(tree.root / source_stamp),
                         _read(work / "overlay-configure.stamp")))
    published = tree.published(variant)
    if (_read(published / "overlay-made-of") == made_of
            and tree.python(variant).exists()
            # install takes it from there, and would make it one file a time.
            and (work / "python").exists()):
        # What a run has left that was killed when it had published.
        shutil.rmtree(_fresh(published), ignore_errors=True)
        return
    tag = _tag(tree, variant)
    if _read(work / "overlay-tag") != tag:
        (work / "Modules" / "getbuildinfo.o").unlink(missing_ok=True)
        (work / "overlay-tag").write_text(tag)
    _discard_old_profile(work, tree.source(variant))
    log = tree.log(variant, "build")
    log.unlink(missing_ok=True)
    with step(f"building {variant}"):
        _making(work).touch()
        try:
            run_logged(
                ["make", f"-j{settings.jobs}", "--eval=.DELETE_ON_ERROR:",
                 *_git_arguments(tag), "all"],
                log, cwd=work, env=_environment_of(settings),
                label="files compiled", what=f"make of {variant}",
                counts=lambda line: " -c " in line,
                pass_fds=lock_descriptors())
        finally:
            # Where make ends, it removes what it has half done.
            _making(work).unlink()
        check_modules(work / "python", log)
        _publish(work, tree.source(variant), published, made_of)


def _discard_old_profile(work, source):
    """Let make profile again if code has changed since it did.

    It would not by itself, and gcc takes no profile of other code.
    """
    stamps = list(work.glob(_PROFILED))
    if not stamps:
        return
    since = min(path.stat().st_mtime_ns for path in stamps)
    if any(path.stat().st_mtime_ns > since for path in source.rglob("*.[ch]")):
        for path in stamps:
            path.unlink()


def _tag(tree, variant):
    if variant == "stock":
        return ""
    reach = f"+upto.{tree.upto}" if tree.upto else ""
    return f"asyncio-overlay-{layout.overlay_version()}{reach}"


def _git_arguments(tag):
    # CPython's makefile runs these to learn what it is building; the answer
    # goes into sys.version.  In a checkout of ours they would name *our*
    # commit, or, with stock, one that is none of CPython's.
    return [f"GITTAG=echo {tag}" if tag else "GITTAG=:",
            "GITVERSION=:", "GITBRANCH=:"]


def _fresh(published):
    return published.with_name(published.name + ".new")


def _publish(work, source, published, made_of):
    """Put a copy of the work folder in the last good build's place."""
    fresh = _empty(_fresh(published))
    try:
        shutil.copytree(work, fresh, symlinks=True, dirs_exist_ok=True,
                        ignore=_not_published)
        shutil.copytree(source, fresh / "src", copy_function=link_or_copy)
        for log in published.glob("*.log"):
            shutil.copy2(log, fresh)
        (fresh / "overlay-made-of").write_text(made_of)
        published.mkdir(exist_ok=True)
        exchange(fresh, published)
    except shutil.Error as error:
        # One triple for each file that could not be copied.
        [_, target, why], *_ = error.args[0]
        raise OverlayError(f"{why}: {target}") from None
    finally:
        # What is left of a copy that failed, or what was published before.
        shutil.rmtree(fresh, ignore_errors=True)


def exchange(one, other):
    """Let two folders change names, in one step that cannot be interrupted."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD,
                      os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return
    error = ctypes.get_errno()
    if error not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        raise OSError(error, os.strerror(error), str(other))
    # A file system that cannot; a kill here costs a second run of make.
    aside = one.with_name(one.name + ".aside")
    shutil.rmtree(aside, ignore_errors=True)
    other.rename(aside)
    one.rename(other)
    aside.rename(one)


def _not_published(folder, names):
    return [name for name in names
            if name.endswith((".o", ".a")) or name == "src"]


def link_or_copy(source, target):
    """Another name for the file, where it can have one: not on another file
    system, and perhaps not if it is someone else's."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def install(settings):
    """Install the built variant under --prefix."""
    if not settings.prefix:
        raise OverlayError("install needs a place: run ./configure-overlay.sh "
                           "--prefix DIR install")
    build()
    tree = current_tree()
    log = tree.log(settings.variant, "install")
    log.unlink(missing_ok=True)
    with step(f"installing {settings.variant} in {settings.prefix}"):
        run_logged(["make", *_git_arguments(_tag(tree, settings.variant)),
                    "install"], log, cwd=tree.work(settings.variant),
                   env=_environment_of(settings), what="make install",
                   pass_fds=lock_descriptors())
    say(f"installed: {settings.prefix}/bin/python3.13")


# What clean() leaves: what was configured, which the targets after it need,
# and commits that may never have been exported.
_NOT_BUILT = ("series", ".lock", "settings.json", "config.mk")


def clean():
    """Remove everything that was built; the cache stays."""
    root = layout.build_root()
    if not root.exists():
        return
    for path in root.iterdir():
        if path.name in _NOT_BUILT or path.name.startswith("series-"):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _read(path):
    with contextlib.suppress(OSError):
        return path.read_text()
    return ""


def _empty(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
