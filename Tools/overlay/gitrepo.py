"""The git repositories that a series is edited and checked in.

Their first commit is the base as its tarball has it, tagged `base`; one
commit a topic follows.  CPython's line-ending rules are in .git/info, so that
the tree holds the base's files and nothing else.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import patching
from ui import OverlayError

# The same for all, so that the same content has the same hashes everywhere.
_IDENTITY = {"NAME": "asyncio overlay", "EMAIL": "overlay@localhost",
             "DATE": "2026-01-01T00:00:00+0000"}

_SETTINGS = {
    "core.autocrlf": "false",
    "core.eol": "lf",
    "core.safecrlf": "false",
    # What the base ignores (in Android/, say) is in its tarball all the same.
    "core.excludesFile": os.devnull,
    "core.quotePath": "false",
    "commit.gpgSign": "false",
    "merge.conflictStyle": "diff3",
}

# Whatever git is configured to elsewhere, a diff comes out the same.
DIFF_SETTINGS = {
    "core.attributesFile": os.devnull,
    "core.quotePath": "false",
    "diff.algorithm": "myers",
    "diff.interHunkContext": "0",
    "diff.suppressBlankEmpty": "false",
    "diff.indentHeuristic": "true",
    "diff.wsErrorHighlight": "none",
    "diff.orderFile": os.devnull,
}
DIFF_OPTIONS = ("--full-index", "--no-renames", "--no-color",
                 "--no-ext-diff", "--no-textconv", "--unified=3",
                 "--src-prefix=a/", "--dst-prefix=b/")


def _environment():
    env = {name: value for name, value in os.environ.items()
           if not name.startswith("GIT_")}
    for who in ("AUTHOR", "COMMITTER"):
        env |= {f"GIT_{who}_{what}": value
                for what, value in _IDENTITY.items()}
    return env | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1",
                  "GIT_TERMINAL_PROMPT": "0", "GIT_EDITOR": "true",
                  "LC_ALL": "C"}


class Repository:
    """A git repository in *path*, driven apart from the user's settings."""

    def __init__(self, path):
        self.path = Path(path)
        self._state_file = self.path / ".git" / "overlay.json"

    def exists(self):
        return (self.path / ".git").is_dir()

    def try_git(self, *arguments, data=None, settings=None):
        """Run git; return the CompletedProcess, with text output."""
        # It is ours to work in, whoever owns the folder; the user's settings,
        # which could say so, are not read.
        command = ["git", "-C", self.path, "-c", "safe.directory=*"]
        for name, value in (settings or {}).items():
            command += ["-c", f"{name}={value}"]
        try:
            done = subprocess.run(
                [*command, *arguments], env=_environment(),
                input=None if data is None else patching.encode(data),
                stdin=subprocess.DEVNULL if data is None else None,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        except FileNotFoundError:
            raise OverlayError("git is missing: install Debian's package "
                               "git") from None
        done.stdout = patching.decode(done.stdout)
        done.stderr = patching.decode(done.stderr)
        return done

    def git(self, *arguments, data=None, settings=None):
        """Run git and return its output; raise OverlayError if it fails."""
        done = self.try_git(*arguments, data=data, settings=settings)
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise OverlayError(f"git {arguments[0]} failed in {self.path}: "
                               f"{said[-1] if said else done.returncode}")
        return done.stdout

    def read(self, revision, path):
        """The bytes of a file in a commit."""
        return patching.encode(self.git("cat-file", "blob",
                                        f"{revision}:{path}"))

    def head(self):
        return self.git("rev-parse", "HEAD").strip()

    def paths(self, revision):
        """The set of paths in a commit."""
        listed = self.git("ls-tree", "-r", "-z", "--name-only", revision)
        return set(listed.split("\0")[:-1])

    def diff(self, old, new, paths):
        """The changes of *paths*, in the form that patches/ holds."""
        if not paths:
            return ""
        text = self.git("diff-tree", "-r", "-p", *DIFF_OPTIONS, old, new,
                        "--", *sorted(f":(literal){path}" for path in paths),
                        settings=DIFF_SETTINGS)
        return text

    def changes(self, old, new):
        """[(status letter, mode, path)] of the files that differ."""
        words = self.git("diff-tree", "-r", "-z", "--raw", "--no-renames",
                         old, new).split("\0")[:-1]
        return [(info.split(" ")[4], info.split(" ")[1], path)
                for info, path in zip(words[::2], words[1::2])]

    # --- Making commits ---

    def create(self):
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(parents=True)
        self.git("init", "--quiet", "--template=", "--initial-branch=series")
        for name, value in _SETTINGS.items():
            self.git("config", name, value)
        _lend_identity(self)
        info = self.path / ".git" / "info"
        info.mkdir(exist_ok=True)
        (info / "attributes").write_text("".join(
            f"{rule} text eol=crlf\n" for rule in patching.DOS_FILES))

    def commit(self, message):
        """Commit the index; the hash depends on nothing but content."""
        self.git("commit", "--quiet", "--allow-empty", "--no-verify",
                 "--cleanup=verbatim", "--file=-", data=message)
        return self.head()

    def add(self, paths):
        if not paths:
            # git would take that for everything.
            return
        listed = "".join(f"{path}\0" for path in sorted(paths))
        self.git("add", "--force", "--all", "--pathspec-from-file=-",
                 "--pathspec-file-nul", data=listed)

    # --- What the tools remember ---

    def state(self):
        try:
            return json.loads(self._state_file.read_text())
        except (OSError, ValueError):
            return {}

    def remember(self, **state):
        fresh = self._state_file.with_suffix(".new")
        fresh.write_text(json.dumps(self.state() | state, indent=1))
        fresh.replace(self._state_file)

    # --- Work that must not be lost ---

    def busy_with(self):
        """The git operation that waits to be finished, or None."""
        for file, what in (("rebase-merge", "git rebase"),
                           # git am has the same folder.
                           ("rebase-apply/applying", "git am"),
                           ("rebase-apply", "git rebase"),
                           ("CHERRY_PICK_HEAD", "git cherry-pick"),
                           ("MERGE_HEAD", "git merge")):
            if (self.path / ".git" / file).exists():
                return what
        return None

    def unmerged(self):
        """The paths that a merge left for someone to resolve."""
        listed = self.git("ls-files", "--unmerged", "-z").split("\0")[:-1]
        return sorted({line.partition("\t")[2] for line in listed})

    def refuse_uncommitted(self):
        busy = self.busy_with()
        if busy:
            raise OverlayError(f"{self.path}: a {busy} is under way; finish it "
                               f"with {busy} --continue (or --abort) first")
        changed = self.git("status", "--porcelain", "--untracked-files=all")
        if changed:
            first, *more = changed.splitlines()
            raise OverlayError(
                f"{self.path} has uncommitted changes in "
                f"{first[3:]} and {len(more)} others; commit, stash or remove "
                f"them first")

    def _refuse_files_of_others(self):
        path = self.path
        if path.is_dir() and not any(path.iterdir()):
            return
        if path.exists() or path.is_symlink():
            raise OverlayError(f"{path} is not a git repository, and has files "
                               f"that would be lost; move it away")

    def refuse_unexported(self, how):
        """Raise OverlayError if anything in here is not in patches/ yet."""
        if not self.exists():
            self._refuse_files_of_others()
            return
        self.refuse_uncommitted()
        known = self.state().get("head")
        if known is None:
            raise OverlayError(f"{self.path} was not made by these tools; "
                               f"move it away")
        if self.try_git("rev-parse", "--verify", "-q",
                        "refs/stash").returncode == 0:
            raise OverlayError(f"{self.path} has a stash; take it out with "
                               f"git stash pop, or git stash drop")
        if self.head() != known or self.git(
                "rev-list", "--max-count=1", "--all", f"^{known}"):
            raise OverlayError(f"{self.path} has commits that are not in "
                               f"patches/; {how}")


def _lend_identity(repository):
    """Make commits possible for users who have not told git their name."""
    told = subprocess.run(["git", "config", "--global", "user.email"],
                          stdout=subprocess.DEVNULL)
    if told.returncode:
        repository.git("config", "user.name", _IDENTITY["NAME"])
        repository.git("config", "user.email", _IDENTITY["EMAIL"])
