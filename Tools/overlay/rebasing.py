"""The series on another base: conflicts resolved once, then recorded.

A topic whose ordinary patch applies to the other base needs nothing.  For the
others git merges, and stops where only a human can; what comes of it is
written to patches/<base>/<topic>.patch.
"""

import re

import build
import layout
import series
from base import fetch_base
from exporting import messages, refuse_overwriting, remove_file, write_file
from gitrepo import Repository
from importing import (Layer, base_commit, put_in_place, series_folder,
                       tree_hashes)
from scratch import scratch_series
from stepping import run_topics_tests
from ui import OverlayError, say
from variants import exported_variants, variant_differences

# As git diff --check says it.
_MARKED = re.compile(r"(?P<path>.+):(?P<number>\d+): leftover conflict marker")


def rebase_series(base, root, offline=False):
    """Bring the series to *base*, record the outcome, build and test it.

    Raises OverlayError at a conflict, saying how to go on; called again
    after that, it does.
    """
    bring(base, root, offline)
    topics = series.load_series(root)
    python = build.build(variant="release", base=base)
    run_topics_tests(python, topics, base=base,
                     what=f"the series on {base.version}",
                     log=layout.build_root().absolute() / "results"
                     / f"rebase-{base.version}.log")
    left_out = [topic.name for topic in topics
                if series.skipped(topic, base.version)]
    own = [topic.name for topic in topics if base.version in topic.variants]
    say(f"{len(topics)} topics on {base.version}; fixed there: "
        f"{_list(left_out)}; with a patch of its own: {_list(own)}")


def _list(names):
    return ", ".join(names) or "none"


def bring(base, root, offline=False):
    """The part of rebase_series() without the build."""
    if series.is_exact(root, base.version):
        raise OverlayError(f"{base.version} is the base that the patches are "
                           f"made against; name another one")
    rebase = _Rebase(base, root, offline)
    if rebase.is_under_way():
        rebase.refuse_other_series()
        rebase.take_resolution()
    elif rebase.was_edited():
        rebase.refuse_other_series()
    else:
        rebase.start()
    rebase.go_on()
    rebase.record()


class _Rebase:
    """build/series-<version>, and how far it is.

    The repository remembers `next`, the number of the topic to be committed
    next, until all are recorded, and `head`, the last commit that the tools
    made, accepted or recorded.
    """

    def __init__(self, base, root, offline):
        self.base = base
        self.root = root
        self.offline = offline
        self.repository = Repository(series_folder(base.version, root))
        self.topics = series.load_series(root)

    def is_under_way(self):
        return self.repository.exists() and (
            self.repository.state().get("next") is not None)

    def was_edited(self):
        """True if there are commits that were not recorded yet."""
        if not self.repository.exists():
            return False
        self.repository.refuse_uncommitted()
        return self.repository.head() != self.repository.state().get("head")

    def refuse_other_series(self):
        if self.repository.state().get("files") != tree_hashes(self.root):
            raise OverlayError(
                f"the series changed since {self.repository.path} was made; "
                f"keep what you need of it (git format-patch), remove it, and "
                f"rebase again")

    def start(self):
        path = self.repository.path
        self.repository.refuse_unexported(
            "delete their branches if they are not wanted")
        fresh = Repository(path.with_name(path.name + ".new"))
        fresh.create()
        base_commit(fresh, self.base)
        series.check_replaced(fresh.path, self.topics, len(self.topics),
                              self.root)
        fresh.remember(base=self.base.version, sha256=self.base.sha256,
                       files=tree_hashes(self.root), next=0,
                       head=fresh.head())
        self.repository = put_in_place(fresh, path)

    def _layer(self):
        return Layer(self.repository, self.topics, self.base.version,
                     self.root)

    def go_on(self):
        start = self.repository.state()["next"]
        if start is None:
            return
        for index in range(start, len(self.topics)):
            if not self._commit_as_recorded(index):
                self._merge(index)
            self._done(index)

    def _done(self, index):
        self.repository.remember(next=index + 1, head=self.repository.head())

    def _commit_as_recorded(self, index):
        """Commit the topic by one of its patches; False if none applies."""
        topic, version = self.topics[index], self.base.version
        if series.skipped(topic, version):
            return self._try_sections(index, [])
        try:
            variant = topic.variant_sections(version)
        except OverlayError:
            # Made from another text of the topic.
            variant = None
        if variant is not None and self._try_sections(index, variant):
            return True
        return self._try_sections(
            index, series.ordinary_sections(self.topics, index))

    def _try_sections(self, index, sections):
        try:
            self._layer().commit(index, sections)
        except series.DoesNotApply:
            return False
        return True

    # --- Conflicts ---

    def _merge(self, index):
        """Let git carry the topic over; raises OverlayError at a conflict."""
        commit = self._ordinary_commit(index)
        done = self.repository.try_git("cherry-pick", "--allow-empty",
                                       "--keep-redundant-commits", commit)
        self._settle_own_files(index)
        if self.repository.unmerged():
            raise OverlayError(self._how_to_go_on(index))
        if done.returncode == 0:
            self.repository.git("commit", "--quiet", "--amend", "--no-edit",
                                "--no-verify", "--allow-empty")
        elif self.repository.busy_with():
            self._conclude(index)
        else:
            raise OverlayError(f"git cherry-pick of {self.topics[index].name} "
                               f"failed: {done.stderr.strip()}")

    def _ordinary_commit(self, index):
        """The topic's commit on the main base, fetched into our repository."""
        main = fetch_base(offline=self.offline)
        scratch = scratch_series(main, self.root)
        self.repository.git("fetch", "--quiet", "--no-tags", scratch.path,
                            "HEAD")
        return messages(scratch)[index][0]

    def _settle_own_files(self, index):
        """Own files are the same on every base: nothing to be merged."""
        self.repository.add(self._layer().write_own(index))

    def _conclude(self, index):
        self.repository.commit(self._layer().message(index))

    def _how_to_go_on(self, index):
        topic = self.topics[index]
        earlier = topic.variants.get(self.base.version)
        hint = (f" (an earlier version is in {earlier})" if earlier else "")
        return (f"topic {topic.name} conflicts with {self.base.version} in "
                f"{', '.join(self.repository.unmerged())}: in "
                f"{self.repository.path}, resolve that{hint}, git add it, git "
                f"cherry-pick --continue; then make rebase "
                f"BASE={self.base.version} again")

    def take_resolution(self):
        """Accept what was done about the conflict that we stopped at."""
        repository = self.repository
        index = repository.state()["next"]
        if index == len(self.topics):
            return
        if repository.unmerged():
            raise OverlayError(self._how_to_go_on(index))
        if repository.busy_with() == "git cherry-pick":
            self._refuse_markers("HEAD")
            self._conclude(index)
        repository.refuse_uncommitted()
        head = repository.state()["head"]
        made = repository.git("rev-list", f"{head}..HEAD").split()
        if len(made) > 1 or (not made and repository.head() != head):
            raise OverlayError(f"{repository.path}: one commit for topic "
                               f"{self.topics[index].name} was to follow "
                               f"{head[:12]}, but there are {len(made)}")
        if made:
            self._refuse_markers("HEAD~")
            self._done(index)

    def _refuse_markers(self, since):
        found = self.repository.try_git("diff", "--check", since).stdout
        for line in found.splitlines():
            marked = _MARKED.fullmatch(line)
            if marked and not self._is_title(**marked.groupdict()):
                raise OverlayError(f"{self.repository.path}: {line}")

    def _is_title(self, path, number):
        """True for a line that git takes for a marker, but that can be under
        a title of seven letters; a conflict has other lines, too."""
        lines = (self.repository.path / path).read_bytes().splitlines()
        return lines[int(number) - 1] == b"======="

    # --- Recording ---

    def record(self):
        repository, version = self.repository, self.base.version
        files = exported_variants(repository, version, self.topics, self.root)
        write, delete = variant_differences(files, version, self.root)
        refuse_overwriting(write + delete, repository.state()["files"],
                           self.root, repository)
        for path in write:
            write_file(self.root / path, files[path])
            say(f"    wrote {path}")
        for path in delete:
            remove_file(self.root, path)
            say(f"    deleted {path}, as patches/ has one that applies")
        repository.remember(head=repository.head(), next=None,
                            files=tree_hashes(self.root))
