from typing import NamedTuple

__all__ = ()

VERSION: str | None
TOPICS: tuple[str, ...]

class Overlay(NamedTuple):
    version: str | None
    topics: tuple[str, ...]

overlay: Overlay
