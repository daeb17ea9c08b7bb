"""From a series on another base to the patches/<base>/ that it needs."""

import os
import tempfile
from pathlib import Path

import patching
import series
from exporting import messages, parse_message
from ui import OverlayError


def exported_variants(repository, version, topics, root):
    """{relative path: bytes} of the patches that the base *version* needs:
    those of topics whose ordinary patch makes something else of it.

    Raises OverlayError if the commits are not the topics, or change what is
    the same on every base.
    """
    commits = messages(repository)
    names = [parse_message(repository, *entry)["name"] for entry in commits]
    if names != [topic.name for topic in topics]:
        raise OverlayError(f"{repository.path} has the topics "
                           f"{', '.join(names)}, and not those of "
                           f"patches/series; that is changed in build/series")
    files = {}
    previous = "base"
    for index, (commit, _) in enumerate(commits):
        step = _Step(repository, previous, commit, topics, index, version)
        if step.needs_variant():
            path = f"patches/{version}/{topics[index].name}.patch"
            files[path] = patching.encode(step.variant())
        previous = commit
    _check_own_files(repository, topics, root)
    return files


class _Step:
    """One topic's commit, seen as changes of the base's files."""

    def __init__(self, repository, previous, commit, topics, index, version):
        self.repository = repository
        self.previous = previous
        self.commit = commit
        self.topic = topics[index]
        self.version = version
        owned = series.owners_before(topics, index + 1)
        self.changed = [path for _, _, path in
                        repository.changes(previous, commit)
                        if path not in owned]
        self.sections = series.ordinary_sections(topics, index)

    def needs_variant(self):
        if series.skipped(self.topic, self.version):
            if self.changed:
                raise OverlayError(
                    f"topic {self.topic.name} changes {self.changed[0]}, but "
                    f"{self.version} has its fix (Fixed-in "
                    f"{self.topic.fixed_in})")
            return False
        with tempfile.TemporaryDirectory() as ours, \
                tempfile.TemporaryDirectory() as wanted:
            paths = {*self.changed,
                     *(section.path for section in self.sections)}
            self._lay(self.previous, paths, Path(ours))
            self._lay(self.commit, paths, Path(wanted))
            try:
                for section in self.sections:
                    patching.apply(ours, section)
            except patching.PatchFailed:
                return True
            return any(_content(Path(ours, path)) != _content(
                Path(wanted, path)) for path in paths)

    def _lay(self, revision, paths, folder):
        there = self.repository.git("ls-tree", "-r", "-z", revision)
        for entry in there.split("\0")[:-1]:
            info, _, path = entry.partition("\t")
            if path in paths:
                target = folder / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(self.repository.read(revision, path))
                target.chmod(int(info.split(" ")[0][-3:], 8))

    def variant(self):
        return self.topic.variant_text(self.version, self.repository.diff(
            self.previous, self.commit, self.changed))


def _content(path):
    if not path.exists():
        return None
    return path.read_bytes(), os.access(path, os.X_OK)


def _check_own_files(repository, topics, root):
    for path in sorted(series.owners_before(topics, len(topics))):
        ours = patching.to_repository(path, (root / path).read_bytes())
        if repository.read("HEAD", path) != ours:
            raise OverlayError(
                f"{repository.path} has another {path} than the checkout; own "
                f"files are the same on every base: change it in "
                f"build/series, and rebase again")


def variant_differences(files, version, root):
    """(paths to write, paths to delete) to make patches/<version>/ hold
    *files*."""
    write = [path for path, data in files.items()
             if not (root / path).is_file()
             or (root / path).read_bytes() != data]
    there = {path.relative_to(root).as_posix()
             for path in (root / "patches" / version).glob("*")}
    return sorted(write), sorted(there - files.keys())
