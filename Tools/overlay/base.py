"""The base tarball: found in several places, taken only if its hash is right."""

import contextlib
import fcntl
import hashlib
import lzma
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import urllib.error
import urllib.request
import zlib
from collections import namedtuple
from pathlib import Path

import layout
from ui import Counter, OverlayError, say, step

# version: a release such as "3.13.5"; path: the verified tarball.
Base = namedtuple("Base", "version sha256 path")

_MIB = 1 << 20
_DAMAGE = (tarfile.TarError, EOFError, lzma.LZMAError, zlib.error)


class _NotHere(Exception):
    """One place does not have the tarball; says why."""


def fetch_base(spec=None, sha256=None, *, offline=False):
    """Return the Base for *spec*: a version, a tarball's path, or None.

    None is the default base.  *sha256* vouches for a base that patches/bases
    does not list.  Raises OverlayError naming every place that was tried.
    """
    if sha256 is not None and not re.fullmatch("[0-9a-f]{64}", sha256.lower()):
        raise OverlayError(f"--base-sha256: {sha256!r} is not a SHA-256 in hex")
    sha256 = sha256 and sha256.lower()
    if spec is not None and not layout.is_version(spec):
        return _from_path(Path(spec), sha256)
    version = spec or layout.default_base()
    _check_fits(version)
    known = layout.known_bases().get(version)
    if sha256 and known and sha256 != known:
        raise OverlayError(f"base {version}: patches/bases says SHA-256 {known}"
                           f", --base-sha256 says {sha256}")
    wanted = known or sha256
    if wanted is None:
        raise OverlayError(
            f"base {version} is not in patches/bases (known: "
            f"{', '.join(layout.known_bases())}); vouch for it with "
            "--base-sha256 HASH")
    return Base(version, wanted, _search(version, wanted, offline))


def _check_fits(version):
    feature = layout.default_base().rpartition(".")[0]
    if version.rpartition(".")[0] != feature:
        raise OverlayError(f"base {version}: the series is for {feature}.z")


def extract(base, folder):
    """Lay the base's files in *folder*, which must not exist or be empty."""
    folder = Path(folder)
    prefix = f"Python-{base.version}/"
    with step(f"unpacking {base.path.name}"):
        try:
            with tarfile.open(base.path) as archive:
                members = [_without_prefix(member, prefix)
                           for member in archive if member.name != prefix[:-1]]
                archive.extractall(folder, members, **_data_filter())
        except _DAMAGE as error:
            raise OverlayError(f"{base.path} cannot be unpacked: "
                               + _first_line(error))


def _without_prefix(member, prefix):
    if not member.name.startswith(prefix):
        raise OverlayError(f"unexpected {member.name!r} in the tarball; "
                           f"everything should be in {prefix}")
    member.name = member.name.removeprefix(prefix)
    if member.islnk():
        member.linkname = member.linkname.removeprefix(prefix)
    return member


def _data_filter():
    # Python 3.11 has the argument since 3.11.4 only.
    return {"filter": "data"} if hasattr(tarfile, "data_filter") else {}


def _from_path(path, sha256):
    if not path.is_file():
        raise OverlayError(f"--base {path}: no such tarball, and not a version"
                           f" like {layout.default_base()}")
    found = _sha256(path)
    known = {digest: version
             for version, digest in layout.known_bases().items()}
    if sha256 and found != sha256:
        raise OverlayError(f"--base {path}: expected SHA-256 {sha256}, "
                           f"found {found}")
    if not sha256 and found not in known:
        expected = ", ".join(f"{digest} ({version})"
                             for digest, version in known.items())
        raise OverlayError(
            f"--base {path}: truncated, altered or unknown: expected SHA-256 "
            f"{expected}, found {found}; vouch for another tarball with "
            "--base-sha256 HASH")
    version = known.get(found) or _version_inside(path)
    _check_fits(version)
    if found in known:
        # Without it, what asks for the version goes through all places again.
        with contextlib.suppress(OSError):
            _keep(path, version, found)
    return Base(version, found, path.resolve())


def _keep(path, version, sha256):
    """Put a verified tarball in the cache."""
    target = _cached(version)
    if target.exists() and _sha256(target) == sha256:
        return
    with _arrival(target) as folder:
        shutil.copyfile(path, folder / target.name).replace(target)


def _cached(version):
    return layout.cache_root() / "bases" / f"Python-{version}.tar.xz"


def _version_inside(path):
    try:
        with tarfile.open(path) as archive:
            name = archive.next().name
    except (*_DAMAGE, AttributeError) as error:
        raise OverlayError(f"--base {path}: not a tarball: "
                           + _first_line(error))
    match = re.match(r"Python-(\d+\.\d+\.\d+)(/|$)", name)
    if not match:
        raise OverlayError(f"--base {path}: begins with {name!r}, not with "
                           "Python-X.Y.Z")
    return match[1]


def _first_line(error):
    """Without what tarfile lists of each compression that it tried."""
    return str(error).partition("\n")[0].rstrip(":")


def _sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _search(version, sha256, offline):
    """Return the cached tarball, fetching it if need be."""
    target = _cached(version)
    # No folder yet, or one that is only read: the search may do without.
    with contextlib.suppress(OSError):
        _discard_abandoned(target.parent)
    failures = []
    for place, fetch in _PLACES:
        if offline and place != "the cache":
            continue
        try:
            fetch(version, sha256, target)
            return target
        except (_NotHere, OSError) as failure:
            failures.append(f"{place}: {failure}")
    if offline:
        failures.append("other places: not asked, --offline was given")
    raise OverlayError(
        f"no good Python-{version}.tar.xz was found ({'; '.join(failures)}); "
        f"get that file by hand (SHA-256 {sha256}), then give --base PATH")


def _verified(path, sha256):
    found = _sha256(path)
    if found != sha256:
        size = path.stat().st_size
        raise _NotHere(f"{path.name} ({size} bytes) is truncated or altered: "
                       f"expected SHA-256 {sha256}, found {found}")


def _from_cache(version, sha256, target):
    if not target.exists():
        raise _NotHere(f"{target} does not exist")
    _verified(target, sha256)


# How the folders begin that are there while something arrives.
_ARRIVING = "arriving-"


@contextlib.contextmanager
def _arrival(target):
    """A folder beside *target*, gone afterwards, for what may prove bad."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with _arrivals() as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        with tempfile.TemporaryDirectory(prefix=_ARRIVING,
                                         dir=target.parent) as folder:
            yield Path(folder)


def _arrivals():
    """The file that is locked while something arrives, by any checkout."""
    return open(layout.cache_root() / "bases.lock", "a")


def _discard_abandoned(folder):
    """Remove from *folder* what killed runs have left there."""
    with _arrivals() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Of these, one may be that of a run that is still at work.
            return
        for path in folder.glob(f"{_ARRIVING}*"):
            shutil.rmtree(path)


def _from_python_org(version, sha256, target):
    url = f"https://www.python.org/ftp/python/{version}/{target.name}"
    say(f"==> asking {url}")
    with _arrival(target) as folder:
        arrived = folder / target.name
        try:
            _download(url, arrived)
        except (OSError, urllib.error.URLError, ValueError) as error:
            raise _NotHere(getattr(error, "reason", error))
        _verified(arrived, sha256)
        arrived.replace(target)


def _download(url, path):
    with urllib.request.urlopen(url, timeout=20) as answer:
        size = int(answer.headers.get("Content-Length", 0))
        counter = Counter("MiB", size // _MIB or None)
        with open(path, "wb") as file:
            while block := answer.read(_MIB):
                file.write(block)
                counter.advance()
    counter.finish()


def _from_debian(version, sha256, target):
    """Take the .orig.tar.xz of Debian's source package.

    Uses an apt configuration of its own, made from the addresses and keys
    that the machine's apt has; nothing of the machine's is changed.
    """
    if not shutil.which("apt-get"):
        raise _NotHere("this machine has no apt-get")
    source = "python" + ".".join(version.split(".")[:2])
    problems = []
    with _arrival(target) as folder:
        for suite in ("trixie", "forky", "sid"):
            say(f"==> asking Debian's {suite} for the source of {source}")
            try:
                apt = _Apt(folder / suite, suite)
                found = apt.find(source, sha256)
                arrived = apt.download(source, found)
                _verified(arrived, sha256)
            except _NotHere as problem:
                problems.append(f"{suite}: {problem}")
                continue
            arrived.replace(target)
            return
    raise _NotHere(", ".join(problems))


class _Apt:
    """The machine's apt with lists, cache and sources in a private folder."""

    def __init__(self, folder, suite):
        self._folder = folder
        for name in ("lists/partial", "cache/archives/partial", "arrived"):
            (folder / name).mkdir(parents=True)
        sources = folder / "sources.list"
        sources.write_text("".join(
            f"deb-src {_signed_by()}{address} {suite} main\n"
            for address in _debian_addresses()))
        # In a file, as apt does not quote paths given by -o.
        config = folder / "apt.conf"
        config.write_text(
            f'Dir::State::lists "{folder}/lists";\n'
            f'Dir::Cache "{folder}/cache";\n'
            f'Dir::Etc::sourcelist "{sources}";\n'
            'Dir::Etc::sourceparts "/dev/null";\n'
            # Or an address that cannot be reached is no failure.
            'APT::Update::Error-Mode "any";\n'
            + ('APT::Sandbox::User "root";\n' if os.geteuid() == 0 else ""))
        self._env = dict(os.environ, APT_CONFIG=str(config), LC_ALL="C.UTF-8")
        # Why an address was not reached; another may have the source.
        self._unreached = None
        try:
            self._run("apt-get", "-q", "update")
        except _NotHere as problem:
            self._unreached = problem

    def find(self, source, sha256):
        """Return the version of the source package that has this hash."""
        try:
            return self._find(source, sha256)
        except _NotHere as problem:
            raise self._unreached or problem

    def _find(self, source, sha256):
        for package in self._run("apt-cache", "showsrc", source).split("\n\n"):
            if re.search(rf"^ {sha256} \d+ \S+\.orig\.tar\.xz$", package, re.M):
                return re.search(r"^Version: (\S+)$", package, re.M)[1]
        raise _NotHere("its source package has another tarball")

    def download(self, source, version):
        arrived = self._folder / "arrived"
        self._run("apt-get", "-q", "source", "--download-only", "--tar-only",
                  "--only-source", f"{source}={version}", cwd=arrived)
        return next(arrived.glob("*.orig.tar.xz"))

    def _run(self, *command, cwd=None):
        done = subprocess.run(command, env=self._env, cwd=cwd, text=True,
                              capture_output=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines()
                     if line.startswith("E:")]
            raise _NotHere(f"{command[0]} said "
                           f"{' '.join(lines[:1]) or done.returncode}")
        return done.stdout


def _debian_addresses():
    """Where this machine's apt gets Debian from, without the addresses of
    security updates, which hold no whole suite."""
    targets = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(ORIGIN)",
         "Created-By: Packages"], capture_output=True, text=True).stdout
    addresses = []
    for line in targets.splitlines():
        address, _, origin = line.partition(" ")
        # Without downloaded lists, the origin is not known.
        if origin not in ("Debian", "", "$(ORIGIN)") or "security" in address:
            continue
        if address not in addresses:
            addresses.append(address)
    if not addresses:
        raise _NotHere("this machine's apt names no Debian mirror")
    return addresses


def _signed_by():
    """The option that names Debian's keys where apt does not know them."""
    keys = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    sources = [Path("/etc/apt/sources.list"),
               *Path("/etc/apt/sources.list.d").glob("*")]
    for path in sources:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            named = re.search(r"signed-by[:=]\s*(\S*debian-archive[^\s\]]*)",
                              path.read_text(), re.I)
            if named:
                keys = Path(named[1])
    return f"[signed-by={keys}] " if keys.exists() else ""


_PLACES = (
    ("the cache", _from_cache),
    ("python.org", _from_python_org),
    ("Debian's source package", _from_debian),
)
