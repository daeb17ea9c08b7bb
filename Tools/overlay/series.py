"""The patch series: read, checked, and composed into source files.

A topic is a patch on CPython's files plus own files, which the checkout holds
at their CPython path with their final text.  Where a later topic changes an
earlier one's own file, its patch holds that change, too; the text as of an
earlier topic is the final one with the later hunks taken off.
"""

import collections
import dataclasses
import functools
import hashlib
import os
import re
import tempfile
from pathlib import Path, PurePosixPath

import layout
import patching
from ui import OverlayError

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
FIELDS = ("Rejected", "Evidence", "Drop-when", "Fixed-in", "Thread",
          "No-NEWS", "No-docs", "No-tests", "Replaces", "Own-files")
_FIELD = re.compile(rf"({'|'.join(FIELDS)}):(?: (.*))?")


@dataclasses.dataclass(frozen=True)
class Topic:
    """One upstream pull request: a header, a patch, and own files."""

    name: str
    subject: str
    # The paragraphs between the subject and the first field.
    why: str
    # Field name: its text, with continuation lines unindented.
    fields: dict
    own_files: tuple
    # The commit message: the header without Own-files.
    message: str
    patch: Path
    # The part after the header, a git diff.
    diff: str
    # Base version: the file in patches/<base>/, where there is one.
    variants: dict

    @property
    def fixed_in(self):
        return self.fields.get("Fixed-in")

    @functools.cached_property
    def sections(self):
        """What the patch does, file by file, hunks on own files included."""
        return _parse(self.patch, self.diff)

    def variant_text(self, version, diff):
        """What patches/<version>/ holds for this topic, given its *diff*."""
        return (f"patches/{self.name}.patch for {version}; made from "
                f"{_content_hash(self.diff)}\n---\n{diff}")

    def variant_sections(self, version):
        """What the patch for the base *version* does, or None if there is
        none.  Raises OverlayError if the topic changed since."""
        path = self.variants.get(version)
        if path is None:
            return None
        text, head = read_text(path), self.variant_text(version, "")
        if not text.startswith(head):
            raise OverlayError(f"{path} was not made from the present "
                               f"{self.patch.name}: make rebase "
                               f"BASE={version}")
        return _parse(path, text.removeprefix(head))


def _parse(path, diff):
    try:
        return patching.parse_diff(diff)
    except OverlayError as error:
        raise OverlayError(f"{path}: {error}") from None


def read_text(path):
    return patching.decode(Path(path).read_bytes())


def _content_hash(diff):
    """A hash of what a diff does, wherever in which texts it does it."""
    lines = re.sub(r"(?m)^(index .*|@@ .*)$", "", diff)
    return sha256(patching.encode(lines))[:16]


# --- Headers ---------------------------------------------------------------

def parse_header(text, where):
    """The parts of a commit message or patch header, as a dict.

    Raises OverlayError, starting with *where*, if it has not the form of one.
    """
    subject, _, rest = text.partition("\n")
    name, colon, summary = subject.partition(": ")
    if not colon or not summary.strip() or not NAME.fullmatch(name):
        raise OverlayError(f"{where}: the subject {subject!r} is not "
                           f"'topic-name: summary'")
    if rest and not rest.startswith("\n"):
        raise OverlayError(f"{where}: no empty line after the subject")
    lines = rest.rstrip("\n").split("\n")
    start = next((index for index, line in enumerate(lines)
                  if _FIELD.fullmatch(line)), len(lines))
    return {"name": name, "subject": subject,
            "why": "\n".join(lines[:start]).strip("\n"),
            "fields": _parse_fields(lines[start:], where)}


def _parse_fields(lines, where):
    fields = {}
    current = None
    for line in lines:
        found = _FIELD.fullmatch(line)
        if found:
            current = found[1]
            if current in fields:
                raise OverlayError(f"{where}: {current} twice")
            fields[current] = [found[2] or ""]
        elif line.startswith(" "):
            fields[current].append(line.strip())
        elif line:
            raise OverlayError(
                f"{where}: {line!r} is no field and no continuation (those "
                f"are indented); the fields are {', '.join(FIELDS)}")
    return {name: "\n".join(text).strip() for name, text in fields.items()}


def without_field(text, field):
    """The header *text* without one field and its continuation lines."""
    return re.sub(rf"(?m)^{field}:.*\n(?: .*\n)*", "", text)


def path_lists(paths, field):
    """A header field that lists paths; nothing if there are none."""
    return "".join([f"{field}:\n", *(f" {path}\n" for path in paths)]
                   if paths else [])


# --- Reading ---------------------------------------------------------------

def series_names(root):
    """The topic names in patches/series, in order."""
    path = root / "patches" / "series"
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        raise OverlayError(f"{path} is missing") from None
    names = [name for line in lines
             if (name := line.partition("#")[0].strip())]
    for name, count in collections.Counter(names).items():
        if not NAME.fullmatch(name):
            raise OverlayError(f"{path}: {name!r} is not a topic name (lower "
                               f"case letters, digits and single hyphens)")
        if count > 1:
            raise OverlayError(f"{path}: {name} stands there {count} times")
    return names


def _read_topic(root, name, variants):
    path = root / "patches" / f"{name}.patch"
    try:
        text = read_text(path)
    except FileNotFoundError:
        raise OverlayError(f"{path} is missing, but {name} is in "
                           f"patches/series") from None
    header, dashes, diff = text.partition("\n---\n")
    if not dashes:
        raise OverlayError(f"{path}: no line --- after the header")
    header += "\n"
    parts = parse_header(header, path)
    if parts["name"] != name:
        raise OverlayError(f"{path}: the subject starts with "
                           f"{parts['name']!r}, not with {name!r}")
    if "Fixed-in" in parts["fields"]:
        layout.version_key(parts["fields"]["Fixed-in"])
    if parts["fields"].get("Replaces"):
        raise OverlayError(f"{path}: Replaces belongs in a commit message; "
                           f"here, patches/replaced says it")
    own = tuple(parts["fields"].pop("Own-files", "").split("\n"))
    return Topic(**parts, own_files=tuple(filter(None, own)),
                 message=without_field(header, "Own-files"), patch=path,
                 diff=diff, variants=variants)


def _find_variants(root, names):
    """Topic: {base version: path}, for all of patches/<base>/."""
    found = {name: {} for name in names}
    for path in sorted((root / "patches").glob("*/*")):
        layout.version_key(path.parent.name)
        if path.suffix != ".patch" or path.stem not in found:
            raise OverlayError(f"{path} belongs to no topic in "
                               f"patches/series")
        found[path.stem][path.parent.name] = path
    return found


def own_tree(root):
    """The paths of all files in the folders of own files, sorted."""
    return sorted(path.relative_to(root).as_posix()
                  for folder in layout.OWN_FOLDERS
                  for path in (root / folder).rglob("*")
                  if not path.is_dir() and "__pycache__" not in path.parts)


def _owner_problems(root, topics):
    owners = {}
    for topic in topics:
        for path in topic.own_files:
            if path in owners:
                yield f"{path} has two owners, {owners[path]} and {topic.name}"
            elif (path.partition("/")[0] not in layout.OWN_FOLDERS
                    or ".." in PurePosixPath(path).parts):
                yield (f"{path}, an own file of {topic.name}, is not in one "
                       f"of {', '.join(layout.OWN_FOLDERS)}")
            elif not (root / path).is_file():
                yield f"{path}, an own file of {topic.name}, is missing"
            owners[path] = topic.name
    for path in own_tree(root):
        if path not in owners:
            yield (f"{path} has no owner: list it in the Own-files of a "
                   f"topic's patch, or remove it")


def load_series(root=None):
    """The topics in order.

    Raises OverlayError for what is wrong: unknown, missing, malformed or
    doubled topics, own files without an owner or with two.
    """
    root = Path(root or layout.ROOT)
    names = series_names(root)
    variants = _find_variants(root, names)
    for path in sorted((root / "patches").glob("*.patch")):
        if path.stem not in names:
            raise OverlayError(f"{path} is not in patches/series")
    topics = [_read_topic(root, name, variants[name]) for name in names]
    problems = list(_owner_problems(root, topics))
    if problems:
        raise OverlayError("\n".join(problems))
    load_replaced(root, topics)
    return topics


def load_replaced(root, topics):
    """The lines of patches/replaced as {path: (topic name, hashes)}."""
    file = root / "patches" / "replaced"
    lines = file.read_text().splitlines() if file.exists() else []
    own = {topic.name: topic.own_files for topic in topics}
    replaced = {}
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        where = f"{file}:{number}"
        if len(words) < 3 or not all(re.fullmatch("[0-9a-f]{64}", word)
                                     for word in words[2:]):
            raise OverlayError(f"{where}: not 'path topic sha256 ...'")
        path, topic, *hashes = words
        if topic not in own:
            raise OverlayError(f"{where}: {topic} is not in patches/series")
        if path not in own[topic]:
            raise OverlayError(f"{where}: {path} is not in the Own-files of "
                               f"{topic}")
        if path in replaced:
            raise OverlayError(f"{where}: {path} is listed twice")
        replaced[path] = topic, tuple(hashes)
    return replaced


# --- Composing -------------------------------------------------------------

def skipped(topic, base_version):
    """True if the base has the topic's fix, so that its patch is left out."""
    return bool(topic.fixed_in) and (layout.version_key(topic.fixed_in)
                                     <= layout.version_key(base_version))


def index_of(topics, upto):
    """The number of topics up to and with *upto*; all of them for None."""
    names = [topic.name for topic in topics]
    if upto is None:
        return len(names)
    if upto not in names:
        raise OverlayError(f"no topic is called {upto!r}; the topics are "
                           f"{', '.join(names) or 'none yet'}")
    return names.index(upto) + 1


def owners_before(topics, count):
    """The paths of the first *count* topics' own files."""
    return {path for topic in topics[:count] for path in topic.own_files}


def own_sections(topics, index):
    """The hunks of topic number *index* on own files of earlier topics."""
    owned = owners_before(topics, index)
    return [section for section in topics[index].sections
            if section.path in owned]


def ordinary_sections(topics, index):
    """The hunks of topic number *index* on the base's files, as they are for
    the base that the patches are made against."""
    owned = owners_before(topics, index)
    return [section for section in topics[index].sections
            if section.path not in owned]


def base_sections(topics, index, base_version):
    """The hunks of topic number *index* on the files of that base."""
    topic = topics[index]
    if skipped(topic, base_version):
        return []
    variant = topic.variant_sections(base_version)
    return ordinary_sections(topics, index) if variant is None else variant


def write_own(topics, count, out, root):
    """Put the own files of the first *count* topics in *out*, with their LF
    text as of the last of these."""
    owned = owners_before(topics, count)
    for path in owned:
        target = out / path
        target.parent.mkdir(parents=True, exist_ok=True)
        source = root / path
        target.write_bytes(patching.to_repository(path, source.read_bytes()))
        target.chmod(0o755 if os.access(source, os.X_OK) else 0o644)
    for index in reversed(range(count, len(topics))):
        for section in own_sections(topics, index):
            if section.path in owned:
                _take_off(topics[index], section, out)


def _take_off(topic, section, out):
    try:
        patching.apply(out, section, reverse=True)
    except patching.PatchFailed as error:
        raise OverlayError(
            f"topic {topic.name}, own file {section.path}, taking the patch "
            f"off: {error.told_of('the text of the checkout')}; edit in "
            f"build/series, and export") from None


def apply_sections(topic, sections, out, *, version, exact):
    """Patch the LF files of the base *version* in *out*.

    With *exact*, a hunk at another line than it says is an error.
    """
    for section in sections:
        where = f"topic {topic.name}, file {section.path}"
        try:
            moved = patching.apply(out, section)
        except patching.PatchFailed as error:
            raise DoesNotApply(f"{where}: "
                               f"{error.told_of(version)}") from None
        if moved and exact:
            raise DoesNotApply(f"{where}: {moved}; import and export the "
                               f"series to write the patch anew")


def is_exact(root, version):
    """True for the base that the patches are made against."""
    return version == layout.default_base(root)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def check_replaced(stock_src, topics, count, root):
    """Raise OverlayError if an own file meets a text that it was not written
    to replace."""
    replaced = load_replaced(root, topics)
    for topic in topics[:count]:
        for path in topic.own_files:
            stock = Path(stock_src, path)
            known = replaced.get(path, (None, ()))[1]
            found = sha256(stock.read_bytes()) if stock.is_file() else None
            if found is None and path in replaced:
                raise OverlayError(f"{path}, which {topic.name} replaces, is "
                                   f"not in the base")
            if found is not None and found not in known:
                raise OverlayError(
                    f"{path}, an own file of {topic.name}, would replace a "
                    f"text of the base that it does not know (SHA-256 "
                    f"{found}): carry over what is new in it, and add the "
                    f"hash to patches/replaced")


class DoesNotApply(OverlayError):
    """A patch does not fit the base."""


Composed = collections.namedtuple("Composed", "written deleted")


def _touched(topics, count, base_version):
    return {section.path for index in range(count)
            for section in base_sections(topics, index, base_version)}


def copy_stock(stock_src, paths, out):
    """Copy those *paths* that are there to *out*, with LF line ends."""
    for path in paths:
        source = Path(stock_src, path)
        if source.is_file():
            target = out / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(patching.to_repository(path,
                                                      source.read_bytes()))
            target.chmod(source.stat().st_mode & 0o777)


def _finish(stock_src, paths, out):
    """Give the files in *out* the tarball's line ends; drop what is as in
    stock."""
    written, deleted = [], []
    for path in sorted(paths):
        target, source = out / path, Path(stock_src, path)
        if not target.is_file():
            # Or a folder has taken its place.
            if source.is_file():
                deleted.append(path)
            continue
        data = patching.to_source(path, target.read_bytes())
        if (source.is_file() and source.read_bytes() == data
                and os.access(source, os.X_OK) == os.access(target, os.X_OK)):
            target.unlink()
            continue
        target.write_bytes(data)
        written.append(path)
    return Composed(written, deleted)


def compose(stock_src, out, *, base_version, upto=None, root=None):
    """Write into the empty folder *out* the files that differ from those of
    the base in *stock_src*, as of topic *upto* or the whole series.

    Returns Composed(written, deleted), two sorted lists of relative paths.
    Raises OverlayError if something does not apply or fit.
    """
    root, out = Path(root or layout.ROOT), Path(out)
    topics = load_series(root)
    count = index_of(topics, upto)
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        raise OverlayError(f"{out} is not empty")
    check_replaced(stock_src, topics, count, root)
    touched = _touched(topics, count, base_version)
    copy_stock(stock_src, touched, out)
    for index in range(count):
        apply_sections(topics[index],
                       base_sections(topics, index, base_version), out,
                       version=base_version,
                       exact=is_exact(root, base_version))
    write_own(topics, count, out, root)
    return _finish(stock_src, touched | owners_before(topics, count), out)


def fingerprint(base_sha256, *, base_version, upto=None, root=None,
                without=()):
    """A hash of all that compose() makes its files from.

    What lies in the folders *without* does not count.
    """
    root = Path(root or layout.ROOT)
    topics = load_series(root)
    count = index_of(topics, upto)
    digest = hashlib.sha256(f"{base_version} {base_sha256}\n".encode())
    for index in range(count):
        digest.update(f"topic {topics[index].name}\n".encode())
        for section in base_sections(topics, index, base_version):
            if not section.path.startswith(without):
                digest.update(patching.encode(section.text))
    replaced = load_replaced(root, topics)
    with tempfile.TemporaryDirectory() as folder:
        write_own(topics, count, Path(folder), root)
        for path in sorted(owners_before(topics, count)):
            if path.startswith(without):
                continue
            own = Path(folder, path)
            mode = os.access(own, os.X_OK)
            digest.update(f"own {path} {mode} {sha256(own.read_bytes())} "
                          f"{replaced.get(path)}\n".encode())
    return digest.hexdigest()
