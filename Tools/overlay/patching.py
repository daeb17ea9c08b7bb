"""Git-style diffs cut into one section a file, and applied by GNU patch."""

import dataclasses
import os
import re
import subprocess
from pathlib import Path, PurePosixPath

from ui import OverlayError

# Files with CRLF line ends in CPython's tarballs and LF in its repository:
# patches and own files hold LF text, the sources get CRLF.  Everything else
# is taken byte for byte; some test data has CRLF that must stay in a diff.
DOS_FILES = ("*.bat", "*.filters", "*.proj", "*.props", "*.ps1", "*.sln",
             "*.vcxproj", "PC/classicAppCompat.sccd", "PC/readme.txt",
             "PCbuild/readme.txt")


def is_dos(path):
    """True if the file has CRLF line ends in a source tree."""
    pure = PurePosixPath(path)
    return any(str(pure) == rule if "/" in rule else pure.match(rule)
               for rule in DOS_FILES)


def to_repository(path, data):
    """The bytes of a source tree's file as a repository holds them."""
    return data.replace(b"\r\n", b"\n") if is_dos(path) else data


def to_source(path, data):
    """The inverse of to_repository()."""
    if not is_dos(path):
        return data
    return to_repository(path, data).replace(b"\n", b"\r\n")


def decode(data):
    """Bytes as text that encode() gives back as they were."""
    return data.decode("utf-8", "surrogateescape")


def encode(text):
    return text.encode("utf-8", "surrogateescape")


@dataclasses.dataclass(frozen=True)
class Section:
    """What a diff does to one file."""

    path: str
    # "new", "deleted" or "changed".
    kind: str
    # Before and after: "100644", "100755", or None where the diff says none.
    old_mode: str | None
    mode: str | None
    # The section's lines, from "diff --git" on.
    text: str

    @property
    def has_hunks(self):
        return "\n@@ " in self.text


def _section(lines):
    first = lines[0].removeprefix("diff --git a/")
    # Both names are the same; they may hold spaces, so count.
    path = first[:(len(first) - len(" b/")) // 2]
    if first != f"{path} b/{path}" or ".." in PurePosixPath(path).parts:
        raise OverlayError(f"malformed line {lines[0]!r} (renames and quoted "
                           f"names are not taken)")
    kind, modes = "changed", {}
    for line in lines[1:]:
        if line.startswith(("--- ", "@@ ")):
            break
        if line.startswith(("rename ", "copy ", "Binary ", "GIT binary")):
            raise OverlayError(f"{path}: {line!r} cannot be in a patch")
        found = re.fullmatch(r"(new|deleted) file mode (\d+)", line)
        if found:
            kind = found[1]
        found = found or re.fullmatch(r"(new|old) mode (\d+)", line)
        if found:
            modes["new" if found[1] == "new" else "old"] = found[2]
        elif not line.startswith("index "):
            raise OverlayError(f"{path}: malformed line {line!r}")
    for mode in modes.values():
        if mode not in ("100644", "100755"):
            raise OverlayError(f"{path}: mode {mode} cannot be in a patch")
    return Section(path, kind, modes.get("old"), modes.get("new"),
                   "\n".join(lines) + "\n")


def parse_diff(text):
    """The sections of a unified git diff, in their order."""
    if not text:
        return []
    if not text.endswith("\n"):
        raise OverlayError("the last line is cut off")
    groups = []
    for line in text[:-1].split("\n"):
        if line.startswith("diff --git a/"):
            groups.append([line])
        elif not groups:
            raise OverlayError(f"malformed line {line!r} before the diff")
        else:
            groups[-1].append(line)
    sections = [_section(lines) for lines in groups]
    paths = [section.path for section in sections]
    for path in paths:
        if paths.count(path) > 1:
            raise OverlayError(f"{path} is patched twice")
    return sections


class PatchFailed(Exception):
    """A section does not fit; the text says which hunk, and where.

    {} stands in it for what was to be patched.
    """

    def told_of(self, what):
        return str(self).replace("{}", what)


def _run_patch(folder, section, reverse):
    command = ["patch", "--strip=1", "--fuzz=0", "--force", "--binary",
               "--verbose", "--no-backup-if-mismatch", "--reject-file=-",
               f"--directory={folder}"]
    if reverse:
        command.append("--reverse")
    # patch has a dozen variables of its own that change what it does.
    env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    try:
        return subprocess.run(command, input=encode(section.text), env=env,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
    except FileNotFoundError:
        raise OverlayError("GNU patch is missing: install Debian's package "
                           "patch") from None


def _judge(section, result):
    """Return whether a hunk was offset; raise PatchFailed."""
    output = decode(result.stdout)
    failed = re.search(r"^Hunk #(\d+) (?:FAILED|ignored) at (\d+)", output,
                       re.M)
    if failed:
        raise PatchFailed(f"hunk {failed[1]} (near line {failed[2]}) "
                          "does not apply to {}")
    if result.returncode:
        last = [line for line in output.splitlines()
                if line.startswith("patch: ") or "Not deleting" in line]
        raise PatchFailed("does not apply to {}"
                          + "".join(f": {line}" for line in last))
    moved = re.search(r"^Hunk #(\d+) succeeded at \d+ "
                      r"\(offset (-?\d+) lines?\)", output, re.M)
    return f"hunk {moved[1]} is {moved[2]} lines off" if moved else None


def _set_mode(path, mode):
    if mode is not None:
        path.chmod(0o755 if mode == "100755" else 0o644)


def apply(folder, section, *, reverse=False):
    """Apply *section* to the LF file in *folder*, without fuzz.

    Returns None, or a text that says which hunk is at another line than its
    header says.  Raises PatchFailed with the folder in an unknown state.
    """
    target = Path(folder, section.path)
    comes = section.kind == ("deleted" if reverse else "new")
    goes = section.kind == ("new" if reverse else "deleted")
    if comes == target.exists():
        raise PatchFailed("the patch adds it, but it is there already in {}"
                          if comes else
                          "the patch needs it, but it is not there in {}")
    target.parent.mkdir(parents=True, exist_ok=True)
    moved = None
    if section.has_hunks:
        moved = _judge(section, _run_patch(folder, section, reverse))
    elif comes:
        target.touch()
    elif goes:
        if target.stat().st_size:
            raise PatchFailed("the patch deletes it as an empty file, which "
                              "it is not in {}")
        target.unlink()
    if not goes:
        _set_mode(target, section.old_mode if reverse else section.mode)
    return moved
