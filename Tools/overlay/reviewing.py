"""The series as mails, each a pull request that `git am` takes."""

import contextlib
import shutil

from base import fetch_base
from gitrepo import DIFF_OPTIONS, DIFF_SETTINGS
from scratch import scratch_series
from ui import OverlayError


def write_review(root, folder, *, offline=False):
    """Write the mails into *folder* anew; return their names.

    Raises OverlayError if git am does not make the same series of them.
    """
    repository = scratch_series(fetch_base(offline=offline), root)
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    names = format_mails(repository, fresh)
    _try_mails(repository, [fresh / name for name in names])
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)
    return names


def format_mails(repository, folder):
    """Write base..HEAD as mails; return their names in order."""
    folder.mkdir(parents=True)
    # Whoever sends them writes a cover letter; a signature would name the
    # version of git.
    listed = repository.git(
        "format-patch", *DIFF_OPTIONS, "--zero-commit", "--no-signature",
        "--no-cover-letter", "--no-thread", "--no-attach", "--numbered",
        f"--output-directory={folder}", "base..HEAD", settings=DIFF_SETTINGS)
    return [line.rpartition("/")[2] for line in listed.splitlines()]


@contextlib.contextmanager
def clean_base(repository):
    """A second work tree of *repository*, with the base checked out."""
    folder = repository.path.with_name(repository.path.name + ".am")
    shutil.rmtree(folder, ignore_errors=True)
    repository.git("worktree", "prune")
    repository.git("worktree", "add", "--quiet", "--detach", folder, "base")
    try:
        yield type(repository)(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        repository.git("worktree", "prune")


def _try_mails(repository, mails):
    if not mails:
        return
    with clean_base(repository) as other:
        done = other.try_git("am", "--keep-non-patch", *mails)
        if done.returncode:
            raise OverlayError(f"git am does not take the mails: "
                               f"{(done.stdout + done.stderr).strip()}")
        wrong = other.git("diff-tree", "-r", "--name-only", "HEAD",
                          repository.head())
        if wrong:
            raise OverlayError(f"git am makes another "
                               f"{', '.join(wrong.split())} of the mails")
        told = "--format=%B", "base..HEAD"
        if (other.git("log", *told).split()
                != repository.git("log", *told).split()):
            raise OverlayError("git am changes the messages of the mails")
