"""From patches and own files to a git repository with one commit a topic."""

import os
import shutil
import tempfile
from pathlib import Path

import build
import layout
import patching
import series
from base import extract
from gitrepo import Repository


def series_folder(version, root):
    """Where the series is edited on the base *version*."""
    name = "series" if series.is_exact(root, version) else f"series-{version}"
    return layout.build_root().absolute() / name


def base_commit(repository, base):
    """Make the empty *repository*'s first commit: the base's files."""
    # git's own folder keeps extract() from taking it for empty.  The name is
    # always the same, so that what a kill leaves is removed here.
    folder = repository.path.parent / "base.new"
    shutil.rmtree(folder, ignore_errors=True)
    try:
        extract(base, folder)
        for path in folder.iterdir():
            path.rename(repository.path / path.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    repository.add(["."])
    commit = repository.commit(f"CPython {base.version}\n\n"
                               f"SHA-256 of the tarball: {base.sha256}\n")
    repository.git("tag", "base")
    return commit


class Layer:
    """The series' files in a repository's work tree, topic after topic."""

    def __init__(self, repository, topics, version, root):
        self.repository = repository
        self.topics = topics
        self.version = version
        self.root = root
        self._replaced = series.load_replaced(root, topics)

    def message(self, index):
        topic = self.topics[index]
        paths = [path for path, (owner, _) in self._replaced.items()
                 if owner == topic.name]
        return topic.message + series.path_lists(sorted(paths), "Replaces")

    def commit(self, index, sections=None):
        """Put topic number *index* over the last commit.

        *sections* are the changes of the base's files, by default those that
        compose() would take.  Raises OverlayError if they do not apply.
        """
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            if sections is None:
                sections = series.base_sections(self.topics, index,
                                                self.version)
            paths = {section.path for section in sections}
            self._copy_from_tree(paths, folder)
            series.apply_sections(
                self.topics[index], sections, folder, version=self.version,
                exact=series.is_exact(self.root, self.version))
            self._copy_to_tree(paths, folder)
        self.repository.add(paths | self.write_own(index))
        return self.repository.commit(self.message(index))

    def write_own(self, index):
        """Write the own files as of topic number *index*; return their
        paths."""
        paths = series.owners_before(self.topics, index + 1)
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            series.write_own(self.topics, index + 1, folder, self.root)
            self._copy_to_tree(paths, folder)
        return paths

    def _copy_from_tree(self, paths, folder):
        series.copy_stock(self.repository.path, paths, folder)

    def _copy_to_tree(self, paths, folder):
        there = {path for path in paths if (folder / path).is_file()}
        # First, as a folder may take the place of a file.
        for path in paths - there:
            (self.repository.path / path).unlink(missing_ok=True)
        for path in there:
            source, target = folder / path, self.repository.path / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(patching.to_source(path, source.read_bytes()))
            target.chmod(source.stat().st_mode & 0o777)


def import_series(base, folder, root):
    """Make *folder* a repository of the series on *base*; return it.

    What was there is replaced when all went well, not before.
    """
    topics = series.load_series(root)
    fresh = Repository(folder.with_name(folder.name + ".new"))
    fresh.create()
    base_commit(fresh, base)
    series.check_replaced(fresh.path, topics, len(topics), root)
    layer = Layer(fresh, topics, base.version, root)
    for index in range(len(topics)):
        layer.commit(index)
    fresh.remember(head=fresh.head(), base=base.version, sha256=base.sha256,
                   files=tree_hashes(root))
    return put_in_place(fresh, folder)


def put_in_place(fresh, folder):
    """Let the finished repository take the place of what was in *folder*."""
    # In one step: of a repository that is half removed, all the rest would
    # pass for uncommitted work.
    folder.mkdir(exist_ok=True)
    build.exchange(fresh.path, folder)
    if any(fresh.path.iterdir()):
        # All that is left, perhaps, of what was exported and then dropped.
        last = folder.with_name(folder.name + ".old")
        shutil.rmtree(last, ignore_errors=True)
        fresh.path.rename(last)
    else:
        fresh.path.rmdir()
    return Repository(folder)


def tree_hashes(root):
    """{path: file_hash()} of what the checkout holds of the series."""
    paths = [path.relative_to(root).as_posix()
             for path in (root / "patches").rglob("*") if path.is_file()]
    return {path: file_hash(root / path)
            for path in paths + series.own_tree(root)}


def file_hash(path):
    """The SHA-256 of a file's text, marked if it is executable; "" for a
    folder, and for a link that leads nowhere."""
    if not path.is_file():
        return ""
    mark = "+x" if os.access(path, os.X_OK) else ""
    return series.sha256(path.read_bytes()) + mark
