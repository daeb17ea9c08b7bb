"""Builds of the last configure's settings in other folders, without compiling.

The tested interpreter may stand on another base, or end at a topic: what is
built from its objects has to be configured as it was.
"""

import os
import shutil

import build
import layout
from settings import load_settings


def tree_in(folder):
    """Where the last configure's tree would be in the build folder *folder*."""
    root = build.current_tree().root
    return folder / root.relative_to(layout.build_root().absolute())


def seed_build_folder(folder):
    """Make a build folder with the sources and objects of the last configure;
    return its tree's folder."""
    tree, target = build.current_tree(), tree_in(folder)
    target.mkdir(parents=True)
    for name in ("stock-src", "src"):
        shutil.copytree(tree.root / name, target / name,
                        copy_function=build.link_or_copy)
    shutil.copytree(tree.work("release"), target / "release.work",
                    symlinks=True)
    for stamp in tree.root.glob("*.stamp"):
        shutil.copy2(stamp, target)
    return target


def configure_command(root, *arguments):
    """The command that configures the checkout *root* as the last configure
    did this one."""
    settings = load_settings()
    options = [f"--{name.replace('_', '-')}={value}"
               for name in ("base", "base_sha256", "upto")
               if (value := getattr(settings, name))]
    if settings.offline:
        options.append("--offline")
    return [root / "configure-overlay.sh", *options, *arguments, "--",
            *settings.configure_args]


def environment():
    """The environment for it, in which nothing leads back to this checkout."""
    return load_settings().environment | {
        name: value for name, value in os.environ.items()
        if not name.startswith(("OVERLAY_", "GIT_"))}
