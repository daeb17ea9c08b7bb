"""The command line of the overlay's tools: configure, and one make target a call."""

import signal

# Until run() can tell it in a line, an interruption just ends the process; one
# that the shell has us ignore stays ignored.
_ON_INTERRUPT = signal.getsignal(signal.SIGINT)
if _ON_INTERRUPT is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import argparse
import importlib
import os
import re
import subprocess
import sys

import layout
from lock import lock_descriptors, locked
from settings import MOST_JOBS, Settings, save_settings
from ui import ArgumentParser, OverlayError, say

# Target: the module whose main(arguments) does it, and what it does.
TARGETS = {
    "all": ("targets", "build the interpreter"),
    "demo": ("targets", "build it and run the main examples"),
    "test": ("suite", "everything that CI checks"),
    "test-asyncio": ("suite", "CPython's test_asyncio on the variant"),
    "bench": ("targets", "compare the speed with stock, uvloop, rloop, "
                         "aiofastnet, Trio, anyio (ROWS=… for a part)"),
    "chaos": ("chaos", "run the seeded fuzzers (MINUTES=… for how long)"),
    "docs": ("targets", "build CPython's documentation, patched"),
    "stubs": ("targets", "check the type stubs against the interpreter"),
    "install": ("targets", "install under --prefix"),
    "clean": ("targets", "remove what was built"),
    "import": ("maintain", "make build/series, a git repository of the series"),
    "export": ("maintain", "write patches and own files back from it"),
    "check-series": ("maintain", "check patches, headers, own files, NEWS"),
    "check-each": ("maintain", "build and test every step of the series"),
    "review": ("maintain", "write the series as mails in build/review"),
    "rebase": ("maintain", "bring the series to another base (BASE=VERSION)"),
}


def main(arguments):
    command, *rest = arguments or ["--help"]
    if command == "configure":
        return _configure(rest)
    if command == "run-tests":
        # Not a target, as make would take its options for its own.
        import launcher
        return launcher.main(arguments)
    if command not in TARGETS:
        raise OverlayError(f"unknown target {command!r}; there are: "
                           + ", ".join(TARGETS))
    # Here, too, as configure may not have been told of it.
    import deps
    deps.check(command)
    with locked():
        module = importlib.import_module(TARGETS[command][0])
        return module.main([command, *rest])


def _configure(arguments):
    options, configure_args = _parse(arguments)
    layout.build_root().mkdir(parents=True, exist_ok=True)
    with locked():
        _prepare(options, configure_args)
        if not options.targets:
            say("\nConfigured.  Now type: make all (or: "
                + ", ".join(sorted(set(TARGETS) - {"all"})) + ")")
            return 0
        return _make(options.targets)


def _make(targets):
    # make and its recipes keep the lock, even when this process is killed.
    with subprocess.Popen(
            ["make", "--no-print-directory", "-C", layout.ROOT, *targets],
            pass_fds=lock_descriptors()) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.terminate()
            raise


def _parse(arguments):
    if "--" in arguments:
        split = arguments.index("--")
        arguments, configure_args = arguments[:split], arguments[split + 1:]
    else:
        configure_args = []
    parser = ArgumentParser(
        prog="./configure-overlay.sh", allow_abbrev=False, add_help=False,
        usage="%(prog)s [OPTION…] [TARGET…] [-- CPython configure options]",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Get CPython, verify it, lay the series over it, and "
                    "configure; then make the targets.\n"
                    "A later make TARGET has the same options, and the CC, "
                    "CFLAGS and the like\n"
                    "that are in the environment now.",
        epilog="targets (also: make TARGET):\n" + "\n".join(
            f"  {name:<14}{what}" for name, (_, what) in TARGETS.items()))
    parser.add_argument("-h", "--help", action="help", help="show this")
    parser.add_argument("--variant", metavar="NAME", default="release",
                        help=", ".join(layout.VARIANTS) + " (default: release)")
    parser.add_argument("--base", metavar="PATH|VERSION",
                        help=f"the CPython (default: {layout.default_base()})")
    parser.add_argument("--base-sha256", metavar="HASH",
                        help="vouches for a base that patches/bases lacks")
    parser.add_argument("--upto", metavar="TOPIC",
                        help="the series up to there, in a folder of its own")
    parser.add_argument("--offline", action="store_true",
                        help="use only what is on this machine")
    parser.add_argument("--jobs", metavar="N", type=int,
                        default=len(os.sched_getaffinity(0)),
                        help="compilations at a time (default: one a processor)")
    parser.add_argument("--prefix", metavar="DIR", help="where to install")
    parser.add_argument("--install-deps", action="store_true",
                        help="install missing Debian packages by apt-get")
    parser.add_argument("targets", nargs="*", metavar="TARGET",
                        help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    _check(options)
    return options, configure_args


def _check(options):
    for kind, given, known in (
            ("variant", [options.variant], layout.VARIANTS),
            ("target", options.targets, TARGETS)):
        for name in given:
            if name not in known:
                raise OverlayError(f"unknown {kind} {name!r}; there are: "
                                   + ", ".join(known))
    if not 1 <= options.jobs <= MOST_JOBS:
        raise OverlayError(f"--jobs {options.jobs}: from 1 to {MOST_JOBS}")
    for name in ("prefix", "base"):
        if getattr(options, name) == "":
            raise OverlayError(f"--{name} is empty: name one, or leave it out")
        elif getattr(options, name):
            # Bash leaves the tilde in --prefix=~/x as it is.
            setattr(options, name, os.path.expanduser(getattr(options, name)))
    if options.prefix is not None:
        options.prefix = os.path.abspath(options.prefix)
        unfit = re.search(r"[^\w./+:@%,=~-]", options.prefix)
        if unfit:
            raise OverlayError(
                f"--prefix {options.prefix!r}: CPython cannot be installed in "
                f"a path with {unfit[0]!r}, as its makefile does not quote it")


# Targets that need no configured CPython, or see to their own.
_WITHOUT_BUILD = {"clean", "import", "export", "check-series", "check-each",
                  "review", "rebase"}
# Of these, what needs nothing but the checkout.
_WITHOUT_BASE = {"clean", "export"}


def _prepare(options, configure_args):
    # Imported here, as a mere --help or a typo needs none of it.
    import build
    import deps
    import series
    from base import fetch_base
    _remember_python()
    if options.targets and set(options.targets) <= _WITHOUT_BASE:
        return
    series.index_of(series.load_series(), options.upto)
    deps.provide(options.targets, install=options.install_deps,
                 offline=options.offline)
    asked = options.base
    if asked and not layout.is_version(asked) and os.path.exists(asked):
        asked = os.path.abspath(asked)
    base = fetch_base(asked, options.base_sha256, offline=options.offline)
    settings = Settings(
        variant=options.variant, base=asked, base_sha256=options.base_sha256,
        version=base.version, found_sha256=base.sha256, upto=options.upto,
        jobs=options.jobs, prefix=options.prefix, offline=options.offline,
        configure_args=tuple(configure_args),
        environment=build.told_environment())
    if not options.targets or set(options.targets) - _WITHOUT_BUILD:
        build.build(settings=settings, configure_only=True)
    # Only now: a configure that fails leaves the settings of the last one.
    save_settings(settings)


def _remember_python():
    python = sys.executable.replace("$", "$$").replace("#", "\\#")
    (layout.build_root() / "config.mk").write_text(f"PYTHON = {python}\n")


def run(arguments):
    """main() with every expected failure told in one line."""
    signal.signal(signal.SIGINT, _ON_INTERRUPT)
    # As Ctrl-C: whatever was started is told to end, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return main(arguments)
    except OverlayError as error:
        text = str(error)
    except KeyboardInterrupt:
        text = "interrupted; run it again to go on from here"
    except subprocess.CalledProcessError as error:
        why = (error.stderr or "").strip().splitlines()[-1:]
        text = f"{error}{''.join(f' {line}' for line in why)}"
    except OSError as error:
        # A full or read-only disk, above all: the message names the path.
        where = (error.filename2 or error.filename
                 or f"while writing below {layout.build_root()}")
        text = f"{error.strerror or error}: {where}"
    print(f"overlay: error: {text}", file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
