"""From the commits of a series to patches and own files."""

import dataclasses
import os
import re
import shutil

import layout
import patching
import series
from importing import file_hash, tree_hashes
from ui import OverlayError

# git am takes such a line for the begin of a patch or of another mail, and
# git commit may take the last for a comment.
_EATEN_BY_GIT = re.compile(r"(?m)^(---|diff -|Index: |From |#).*$")
_AUTOSQUASH = ("fixup! ", "squash! ", "amend! ")


@dataclasses.dataclass
class Exported:
    """What a repository says that the checkout should hold."""

    # Relative path: (bytes, whether it is executable).
    files: dict
    # Topic names in order.
    names: list


def messages(repository):
    """[(commit, message)] of the topics; raises OverlayError if the history
    is not one commit a topic on the base."""
    path = repository.path
    if repository.try_git("merge-base", "--is-ancestor", "base",
                          "HEAD").returncode:
        raise OverlayError(f"{path}: HEAD does not stand on the tag base")
    if repository.git("rev-list", "--min-parents=2", "base..HEAD"):
        raise OverlayError(f"{path}: there is a merge commit; a series is "
                           f"linear: git rebase base")
    commits = repository.git("rev-list", "--reverse", "base..HEAD").split()
    return [(commit, repository.git("show", "-s", "--format=%B", commit))
            for commit in commits]


def parse_message(repository, commit, message):
    """The parts of a topic's commit message; raises OverlayError."""
    subject = message.partition("\n")[0]
    where = f"{repository.path}, commit {commit[:12]}"
    if subject.startswith(_AUTOSQUASH):
        raise OverlayError(
            f"{where}: {subject!r} is left over; fold it in with git -c "
            f"sequence.editor=true rebase -i --autosquash base")
    eaten = _EATEN_BY_GIT.search(message)
    if eaten:
        raise OverlayError(f"{where}: the line {eaten[0]!r} of the message "
                           f"would not survive git; word it otherwise")
    return series.parse_header(message.rstrip("\n") + "\n", where)


class _Exporter:
    """Goes through the commits once, from the base on."""

    def __init__(self, repository, root):
        self.repository = repository
        self.root = root
        self.base_paths = repository.paths("base")
        self.files = {}
        self.names = []
        # Own file: its topic's name.
        self.owners = {}
        self.replaced = {}

    def take(self, previous, commit, message):
        parts = parse_message(self.repository, commit, message)
        name = parts["name"]
        if name in self.names:
            raise OverlayError(f"{self.repository.path}: two commits are "
                               f"called {name}; squash them or rename one")
        self.names.append(name)
        replaces = parts["fields"].get("Replaces", "").split()
        own, patched = self._sort_out(previous, commit, name, replaces)
        if not own and not patched:
            # A mail of it is none that git am takes.
            raise OverlayError(f"topic {name} changes nothing: drop its "
                               f"commit, or give it a change")
        self.owners |= dict.fromkeys(own, name)
        self.replaced |= {path: name for path in own
                          if path in self.base_paths}
        header = message.rstrip("\n") + "\n"
        for field in ("Own-files", "Replaces"):
            header = series.without_field(header, field)
        header += series.path_lists(sorted(own), "Own-files")
        diff = self.repository.diff(previous, commit, patched)
        self._check_diff(name, diff)
        self.files[f"patches/{name}.patch"] = (
            patching.encode(f"{header}---\n{diff}"), False)

    def _sort_out(self, previous, commit, name, replaces):
        """The commit's own files, and the files that its patch changes."""
        own, patched = [], []
        for status, mode, path in self.repository.changes(previous, commit):
            if mode not in ("100644", "100755", "000000"):
                raise OverlayError(f"topic {name}: {path} is not a plain file")
            if path in self.owners:
                if status == "D":
                    raise OverlayError(
                        f"topic {name} deletes {path}, an own file of "
                        f"{self.owners[path]}; take it out there")
                patched.append(path)
            elif path in replaces or self._is_new_own(status, path):
                own.append(path)
            else:
                patched.append(path)
        for path in replaces:
            if path not in own or path not in self.base_paths:
                raise OverlayError(f"topic {name}: it says Replaces: {path}, "
                                   f"but replaces no such file of the base")
        return own, patched

    def _is_new_own(self, status, path):
        return (status == "A" and path not in self.base_paths
                and path.partition("/")[0] in layout.OWN_FOLDERS)

    def _check_diff(self, name, diff):
        try:
            patching.parse_diff(diff)
        except OverlayError as error:
            raise OverlayError(f"topic {name}: {error}") from None

    def finish(self):
        head = self.repository.git("ls-tree", "-r", "-z", "HEAD")
        modes = {path: entry.split(" ")[0] for entry, _, path in
                 (line.partition("\t") for line in head.split("\0"))}
        for path in self.owners:
            self.files[path] = (self.repository.read("HEAD", path),
                                modes[path] == "100755")
        self.files["patches/series"] = _series_text(self.root, self.names)
        if self.replaced or (self.root / "patches" / "replaced").exists():
            self.files["patches/replaced"] = self._replaced_text()
        return Exported(self.files, self.names)

    def _replaced_text(self):
        file = self.root / "patches" / "replaced"
        old = file.read_bytes() if file.exists() else b""
        known = _known_hashes(patching.decode(old))
        new = {}
        for path, name in self.replaced.items():
            data = patching.to_source(path, self.repository.read("base", path))
            hashes = known.get(path, (None, ()))[1]
            found = series.sha256(data)
            new[path] = name, (hashes if found in hashes
                               else (found, *hashes))
        if new == known:
            return old, False
        lines = _comments(patching.decode(old)) + [
            "  ".join((path, name, *hashes))
            for path, (name, hashes) in new.items()]
        return patching.encode("".join(f"{line}\n" for line in lines)), False


def _comments(text):
    return [line for line in text.splitlines() if line.startswith("#")]


def _known_hashes(text):
    """patches/replaced as {path: (topic, hashes)}, without any check."""
    words = [line.partition("#")[0].split() for line in text.splitlines()]
    return {path: (name, tuple(hashes))
            for path, name, *hashes in (line for line in words
                                        if len(line) > 2)}


def _series_text(root, names):
    """patches/series: as it is, comments and all, if the names are right."""
    path = root / "patches" / "series"
    old = path.read_bytes() if path.exists() else b""
    if old and series.series_names(root) == names:
        return old, False
    lines = _comments(patching.decode(old)) + names
    return patching.encode("".join(f"{line}\n" for line in lines)), False


def exported(repository, root):
    """What *repository* would write into the checkout *root*."""
    exporter = _Exporter(repository, root)
    previous = "base"
    for commit, message in messages(repository):
        exporter.take(previous, commit, message)
        previous = commit
    return exporter.finish()


# --- Writing ---------------------------------------------------------------

def differences(new, root):
    """(paths to write, paths to delete) to make *root* hold *new*."""
    write = [path for path, (data, executable) in new.files.items()
             if not _same(root / path, data, executable)]
    old = [path.relative_to(root).as_posix()
           for path in (root / "patches").glob("*.patch")]
    old += [path.relative_to(root).as_posix()
            for path in (root / "patches").glob("*/*.patch")
            if path.stem not in new.names
            or path.parent.name == layout.default_base(root)]
    delete = [path for path in old + series.own_tree(root)
              if path not in new.files]
    return sorted(write), sorted(delete)


def _same(path, data, executable):
    return (path.is_file() and path.read_bytes() == data
            and os.access(path, os.X_OK) == executable)


def export_series(repository, root):
    """Write patches and own files; return differences() as it was before.

    Raises OverlayError, with nothing written, if that would overwrite what
    is not in *repository*.
    """
    if not repository.exists():
        raise OverlayError(f"{repository.path} is not there: make import "
                           f"first")
    repository.refuse_uncommitted()
    if repository.try_git("symbolic-ref", "-q", "HEAD").returncode:
        raise OverlayError(f"{repository.path} is on no branch, where the "
                           f"later topics can be missing: git switch series")
    state = repository.state()
    if state.get("base") != layout.default_base(root):
        raise OverlayError(f"{repository.path} stands on {state.get('base')}; "
                           f"the patches are made against "
                           f"{layout.default_base(root)}")
    new = exported(repository, root)
    write, delete = differences(new, root)
    refuse_overwriting(write + delete, state["files"], root, repository)
    # In this order, as a folder may take the place of a file.
    for path in delete:
        remove_file(root, path)
    for path in write:
        write_file(root / path, *new.files[path])
    repository.remember(head=repository.head(), files=tree_hashes(root))
    return write, delete


def refuse_overwriting(paths, imported, root, repository):
    """Refuse if one of *paths* is not as the repository once took it in.

    That also spares what was committed here since, which a mere look at
    uncommitted changes would not.
    """
    foreign = [path for path in paths if os.path.lexists(root / path)
               and not _made_of(root, root / path, paths)
               and file_hash(root / path) != imported.get(path)]
    if foreign:
        raise OverlayError(
            f"{', '.join(foreign)}: changed in the checkout since "
            f"{repository.path} was imported; nothing was written.  Make the "
            f"same change there, or take it back or stash it here; then "
            f"export again")


def _made_of(root, folder, paths):
    """True for a folder that has files of *paths* and nothing else."""
    ends = [path for path in folder.rglob("*")
            if not path.is_dir() or not any(path.iterdir())]
    return bool(ends) and all(path.relative_to(root).as_posix() in paths
                              for path in ends)


def write_file(path, data, executable=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not in the checkout, where a kill would leave a file without an owner.
    fresh = layout.build_root() / "exported.new"
    fresh.write_bytes(data)
    fresh.chmod(0o755 if executable else 0o644)
    # build/ may be on another file system.
    shutil.move(fresh, path)


def remove_file(root, path):
    """Remove a file, and the folders that it leaves empty."""
    target = root / path
    target.unlink()
    for folder in target.relative_to(root).parents:
        if len(folder.parts) < 2 or any((root / folder).iterdir()):
            break
        (root / folder).rmdir()
