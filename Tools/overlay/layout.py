"""Where things are in the checkout, in the build folder and in the cache."""

import os
import re
from pathlib import Path

from ui import OverlayError

ROOT = Path(__file__).resolve().parents[2]
PATCHES = ROOT / "patches"
# The folders that mirror CPython's: a file in them is an own file.
OWN_FOLDERS = ("Doc", "InternalDocs", "Lib", "Misc", "Modules")

# Variant: configure options beside the user's.
VARIANTS = {
    "release": (),
    "stock": (),
    "debug": ("--with-pydebug",),
    "asan": ("--with-pydebug", "--with-address-sanitizer",
             "--without-pymalloc"),
    "nogil": ("--disable-gil",),
    "tsan": ("--disable-gil", "--with-thread-sanitizer"),
}
# What a line of patches/bases says.
_BASE = re.compile(r"\d+\.\d+\.\d+ [0-9a-f]{64}")


def build_root():
    """The folder of everything that is built; may be a symbolic link."""
    return Path(os.environ.get("OVERLAY_BUILD") or ROOT / "build")


def cache_root():
    cache = os.environ.get("XDG_CACHE_HOME", "")
    # The specification of this variable says to ignore a relative path.
    if os.path.isabs(cache):
        return Path(cache) / "asyncio-overlay"
    try:
        return Path.home() / ".cache" / "asyncio-overlay"
    except RuntimeError:
        raise OverlayError("where to keep the base tarball? set HOME or "
                           "XDG_CACHE_HOME") from None


def overlay_version():
    return (ROOT / "VERSION").read_text().strip()


def known_bases(root=None):
    """The versions and hashes in patches/bases, the default base first."""
    bases = {}
    file = Path(root or ROOT) / "patches" / "bases"
    for line in file.read_text().splitlines():
        fields = line.partition("#")[0].split()
        if not fields:
            continue
        if not _BASE.fullmatch(" ".join(fields)):
            raise OverlayError(f"{file}: {line!r} is not a version and its "
                               "SHA-256")
        version, digest = fields
        bases[version] = digest
    if not bases:
        raise OverlayError(f"{file} names no base")
    return bases


def default_base(root=None):
    return next(iter(known_bases(root)))


def is_version(text):
    return bool(re.fullmatch(r"\d+\.\d+\.\d+", text))


def version_key(version):
    """Sort key of a release version such as 3.13.5."""
    if not is_version(version):
        raise OverlayError(f"{version!r} is not a release version like "
                           f"{default_base()}")
    return tuple(map(int, version.split(".")))
