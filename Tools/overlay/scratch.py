"""Repositories of the series that nobody edits, for checks and reviews."""

import layout
from gitrepo import Repository
from importing import import_series, tree_hashes


def scratch_series(base, root):
    """An import of the checkout's series on *base*, made anew if it changed."""
    folder = layout.build_root().absolute() / "scratch" / base.version
    repository = Repository(folder)
    if repository.exists() and _is_current(repository, base, root):
        return repository
    folder.parent.mkdir(parents=True, exist_ok=True)
    return import_series(base, folder, root)


def _is_current(repository, base, root):
    state = repository.state()
    if (state.get("sha256") != base.sha256
            or state.get("files") != tree_hashes(root)
            or state.get("head") != repository.head()):
        return False
    repository.git("reset", "--quiet", "--hard")
    return not repository.git("status", "--porcelain")
