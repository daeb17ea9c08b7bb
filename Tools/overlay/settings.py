"""What configure-overlay.sh was told, kept for the make targets."""

import dataclasses
import json
import os

from layout import build_root
from ui import OverlayError


@dataclasses.dataclass(frozen=True)
class Settings:
    variant: str = "release"
    # A version or a tarball's absolute path; None is the default base.
    base: str | None = None
    base_sha256: str | None = None
    upto: str | None = None
    jobs: int = len(os.sched_getaffinity(0))
    prefix: str | None = None
    offline: bool = False
    configure_args: tuple[str, ...] = ()


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
        return Settings(**values)
    except FileNotFoundError:
        raise OverlayError("not configured yet: run ./configure-overlay.sh")
    except (ValueError, TypeError, KeyError) as error:
        raise OverlayError(f"{_path()} is damaged ({error}): run "
                           "./configure-overlay.sh again")
