"""What the build needs of the machine, and Debian's packages for it."""

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from layout import build_root
from settings import needs_network
from ui import OverlayError, run_logged, say, step

# Debian package: the program or header that it is needed for.
BUILD_PACKAGES = {
    "gcc": "cc",
    "g++": "c++",
    "libc6-dev": "stdio.h",
    "make": "make",
    "patch": "patch",
    "pkg-config": "pkg-config",
    "openssl": "openssl",
    "libbz2-dev": "bzlib.h",
    "libffi-dev": "ffi.h",
    "liblzma-dev": "lzma.h",
    "libncurses-dev": "curses.h",
    "libreadline-dev": "readline/readline.h",
    "libsqlite3-dev": "sqlite3.h",
    "libssl-dev": "openssl/ssl.h",
    "uuid-dev": "uuid/uuid.h",
    "zlib1g-dev": "zlib.h",
}
# What the tests and the maintenance targets need beyond that.
TEST_PACKAGES = {
    "ca-certificates": "/etc/ssl/certs/ca-certificates.crt",
    "curl": "curl",
    "git": "git",
    "postgresql": "/usr/lib/postgresql",
    "stunnel4": "stunnel",
}
# What `make bench` needs beyond BUILD_PACKAGES.
BENCH_PACKAGES = {"valgrind": "valgrind"}
_MORE_FOR = {
    "test": TEST_PACKAGES,
    "bench": BENCH_PACKAGES,
    **dict.fromkeys(("import", "export", "check-series", "check-each",
                     "review", "rebase"), {"git": "git"}),
}

# Where dpkg keeps what it has not put in its list yet.
_DPKG_JOURNAL = Path("/var/lib/dpkg/updates")

# Extension modules that a whole interpreter has: the package of what each is
# made with.  CPython's makefile leaves out what it cannot build, and succeeds.
PROMISED_MODULES = {
    "_bz2": "libbz2-dev", "_ctypes": "libffi-dev", "_curses": "libncurses-dev",
    "_hashlib": "libssl-dev", "_lzma": "liblzma-dev", "_ssl": "libssl-dev",
    "_sqlite3": "libsqlite3-dev", "_uuid": "uuid-dev",
    "readline": "libreadline-dev", "zlib": "zlib1g-dev",
}


def provide(targets, *, install, offline=False):
    """See to it that what *targets* need is there.

    With *install*, missing packages are installed by apt-get; without, they
    are named in the OverlayError, with the command that installs them.
    """
    wanted = dict(BUILD_PACKAGES)
    for target in targets:
        wanted |= _MORE_FOR.get(target, {})
    missing = _missing(wanted)
    if not missing:
        return
    if not install:
        raise _not_found(wanted, missing, "give --install-deps")
    if offline:
        raise OverlayError(needs_network(f"--install-deps ({', '.join(missing)})",
                                         "Debian"))
    _install(missing)
    missing = _missing(wanted)
    if missing:
        raise OverlayError(
            f"still not found after installing {' '.join(missing)}: "
            f"{', '.join(wanted[name] for name in missing)}")


def check(target):
    """Raise OverlayError if *target* lacks what it needs beyond a build."""
    wanted = _MORE_FOR.get(target, {})
    missing = _missing(wanted)
    if missing:
        raise _not_found(wanted, missing, "run ./configure-overlay.sh "
                         f"--install-deps {target}")


def _not_found(wanted, missing, hint):
    command = [*_apt(), "install", "--no-install-recommends", "-y", *missing]
    # The command ends the line, so that it can be cut and pasted.
    return OverlayError(
        f"not found: {', '.join(wanted[name] for name in missing)}; {hint}, "
        f"or install with: {shlex.join(command)}")


def _apt():
    return ["apt-get"] if os.geteuid() == 0 else ["sudo", "apt-get"]


def _install(packages):
    apt = _apt()
    if not shutil.which("apt-get"):
        raise OverlayError("--install-deps needs apt-get; install by hand: "
                           + " ".join(packages))
    if not shutil.which(apt[0]):
        raise OverlayError("--install-deps needs root or sudo; as root: "
                           f"apt-get install {' '.join(packages)}")
    log = build_root() / "packages.log"
    # env, as sudo does not pass variables on.
    quiet = [*apt[:-1], "env", "DEBIAN_FRONTEND=noninteractive"]
    with step(f"installing {' '.join(packages)}"):
        if any(_DPKG_JOURNAL.glob("[0-9]*")):
            # A dpkg that was killed, after which apt-get refuses to work.
            run_logged([*quiet, "dpkg", "--configure", "-a"], log,
                       what="dpkg --configure -a")
        try:
            run_logged([*quiet, "apt-get", "-q", "update"], log,
                       what="apt-get update")
        except OverlayError:
            # One dead address among several; the install will tell.
            say("    apt-get update failed; trying with the lists there are")
        run_logged([*quiet, "apt-get", "install", "--no-install-recommends",
                    "-y", *packages], log, what="apt-get install")


def _missing(wanted):
    headers = {name: need for name, need in wanted.items()
               if need.endswith(".h")}
    missing = {name for name, need in wanted.items()
               if name not in headers and not _present(need)}
    return sorted(missing | _missing_headers(headers))


def _present(need):
    return Path(need).exists() if need[0] == "/" else bool(shutil.which(need))


def _missing_headers(headers):
    """The packages of those headers that the compiler does not find."""
    if not headers:
        return set()
    compiler = shlex.split(os.environ.get("CC") or "cc")
    if not shutil.which(compiler[0]):
        if "CC" in os.environ:
            raise OverlayError(f"there is no compiler {compiler[0]!r}, which "
                               "the variable CC names")
        return set(headers)
    text = "".join(f"#if !__has_include(<{header}>)\n"
                   f"overlay_missing {package}\n#endif\n"
                   for package, header in headers.items())
    with tempfile.TemporaryDirectory() as folder:
        probe = Path(folder, "probe.c")
        probe.write_text(text)
        seen = subprocess.run(
            [*compiler, *shlex.split(os.environ.get("CPPFLAGS", "")), "-E", probe],
            capture_output=True, text=True)
    if seen.returncode:
        why = seen.stderr.strip() or f"status {seen.returncode}"
        raise OverlayError(f"the compiler {compiler[0]} does not work: "
                           + why.splitlines()[0])
    return set(re.findall(r"^overlay_missing (\S+)$", seen.stdout, re.M))


# Prints the modules that cannot be imported, of those that are given and of
# those that configure wanted.
_LACKING = """
import sys, sysconfig
wanted = [name.removeprefix("MODULE_").removesuffix("_STATE").lower()
          for name, state in sysconfig.get_config_vars().items()
          if name.startswith("MODULE_") and state == "yes"]
for name in dict.fromkeys(sys.argv[1:] + wanted):
    try:
        __import__(name)
    except ImportError:
        print(name)
"""


def check_modules(python, log):
    """Raise OverlayError if *python* lacks a module that was promised.

    That is one of PROMISED_MODULES, or one that configure wanted to be built.
    """
    seen = subprocess.run([python, "-E", "-c", _LACKING, *PROMISED_MODULES],
                          capture_output=True, text=True)
    lacking = seen.stdout.split()
    if seen.returncode:
        raise OverlayError(f"the new interpreter does not start: "
                           f"{seen.stderr.strip()[-300:]}")
    packages = sorted({PROMISED_MODULES[name] for name in lacking
                       if name in PROMISED_MODULES})
    if packages:
        raise OverlayError(
            f"modules not built: {', '.join(lacking)}; their headers (Debian: "
            f"{' '.join(packages)}) are missing or unusable, see {log}")
    if lacking:
        raise OverlayError(f"modules that cannot be imported: "
                           f"{', '.join(lacking)}; see {log}")
