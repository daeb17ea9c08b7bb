"""What configure-overlay.sh was told, kept for the make targets."""

import dataclasses
import json
import os

from layout import VARIANTS, build_root
from ui import OverlayError

# More than a machine has processors; make would start as many compilers.
MOST_JOBS = 10_000


@dataclasses.dataclass(frozen=True)
class Settings:
    variant: str = "release"
    # The base as it was asked for: a version, a tarball's absolute path, or
    # None for the default; and what it was found to be.
    base: str | None = None
    base_sha256: str | None = None
    version: str = ""
    found_sha256: str = ""
    upto: str | None = None
    jobs: int = len(os.sched_getaffinity(0))
    prefix: str | None = None
    offline: bool = False
    configure_args: tuple[str, ...] = ()
    # CC and the like, as they were in the environment.
    environment: dict[str, str] = dataclasses.field(default_factory=dict)


def _path():
    return build_root() / "settings.json"


def save_settings(settings):
    path = _path()
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(dataclasses.asdict(settings), indent=2) + "\n")
    fresh.replace(path)


def load_settings():
    """The last configure's settings; raises OverlayError if there was none."""
    try:
        values = json.loads(_path().read_text())
        values["configure_args"] = tuple(values["configure_args"])
        settings = Settings(**values)
        _check(settings)
        return settings
    except FileNotFoundError:
        raise OverlayError("not configured yet: run ./configure-overlay.sh")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise OverlayError(f"{_path()} is damaged ({error}): run "
                           "./configure-overlay.sh again")


def refuse_network(what, where):
    """Raise OverlayError if the last configure was told to be --offline."""
    if _path().exists() and load_settings().offline:
        raise OverlayError(needs_network(what, where))


def needs_network(what, where):
    return f"{what} needs packages from {where}, and --offline was given"


def _check(settings):
    """Raise ValueError for what a hand or a torn file may have put there."""
    texts = (settings.variant, settings.version, settings.found_sha256,
             *settings.configure_args, *settings.environment.values(),
             *filter(None, (settings.base, settings.base_sha256, settings.upto,
                            settings.prefix)))
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a text is expected where there is none")
    if settings.variant not in VARIANTS or not settings.version:
        raise ValueError("no such variant, or no base")
    if type(settings.jobs) is not int or not 1 <= settings.jobs <= MOST_JOBS:
        raise ValueError("jobs is no such number")
