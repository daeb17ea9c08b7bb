"""The maintenance targets: import, export, checks, review, rebase."""

import os
import sys

import layout
import series
from base import fetch_base
from checking import check_series
from exporting import export_series
from gitrepo import Repository
from importing import import_series, series_folder
from rebasing import rebase_series
from reviewing import write_review
from settings import Settings, load_settings
from stepping import check_each
from ui import ArgumentParser, OverlayError, say


def main(arguments):
    """Do the target `arguments[0]`; return an exit status."""
    command, *rest = arguments
    function, _ = COMMANDS[command]
    return function(_parse(command, rest)) or 0


def _parse(command, arguments):
    parser = ArgumentParser(prog=f"make {command}",
                            description=COMMANDS[command][1])
    if command == "rebase":
        parser.add_argument("--base", metavar="VERSION|PATH",
                            default=os.environ.get("BASE") or None)
        parser.add_argument("--base-sha256", metavar="HASH",
                            default=os.environ.get("BASE_SHA256") or None)
    return parser.parse_args(arguments)


def settings_or_default():
    try:
        return load_settings()
    except OverlayError:
        # Only builds need a configured checkout.
        return Settings()


def _plural(count, what):
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _import(options):
    folder = series_folder(layout.default_base(), layout.ROOT)
    Repository(folder).refuse_unexported(
        f"make export, or remove {folder} if they are not wanted")
    base = fetch_base(offline=settings_or_default().offline)
    folder.parent.mkdir(parents=True, exist_ok=True)
    repository = import_series(base, folder, layout.ROOT)
    count = len(series.series_names(layout.ROOT))
    say(f"{repository.path}: {_plural(count, 'topic')} on {base.version}; "
        f"edit with git, then make export")


def _export(options):
    folder = series_folder(layout.default_base(), layout.ROOT)
    written, deleted = export_series(Repository(folder), layout.ROOT)
    for path in written:
        say(f"    wrote {path}")
    for path in deleted:
        say(f"    deleted {path}")
    say(f"{_plural(len(written), 'file')} written, {len(deleted)} deleted")


def _check_series(options):
    problems = check_series(layout.ROOT, offline=settings_or_default().offline)
    for problem in problems:
        print(f"check-series: {problem}", file=sys.stderr)
    if problems:
        raise OverlayError(f"the series has {_plural(len(problems), 'fault')}")
    say("the series is in order")


def _check_each(options):
    check_each(layout.ROOT)


def _review(options):
    folder = layout.build_root().absolute() / "review"
    mails = write_review(layout.ROOT, folder, offline=settings_or_default().offline)
    for mail in mails:
        say(f"    {mail}")
    say(f"{_plural(len(mails), 'mail')}; git am took them on a clean base")


def _rebase(options):
    settings = settings_or_default()
    spec, sha256 = options.base, options.base_sha256
    if not spec and settings.version != layout.default_base():
        spec, sha256 = settings.base, settings.base_sha256
    if not spec:
        raise OverlayError("which base? make rebase BASE=VERSION")
    rebase_series(fetch_base(spec, sha256, offline=settings.offline),
                  layout.ROOT, settings.offline)


# Target: the function that takes its options, and what it does.
COMMANDS = {
    "import": (_import, "Make build/series, a git repository of the series."),
    "export": (_export, "Write patches and own files back from build/series."),
    "check-series": (_check_series,
                     "Check patches, headers, own files and NEWS."),
    "check-each": (_check_each, "Build and test every step of the series."),
    "review": (_review, "Write the series as mails in build/review."),
    "rebase": (_rebase, "Bring the series to another base (BASE=VERSION)."),
}
