"""Says which patch series this asyncio was built with, for bug reports."""

import collections

__all__ = ()

# The build puts the version and the names of the applied topics here.
VERSION = None
TOPICS = ()

Overlay = collections.namedtuple('Overlay', 'version topics')
Overlay.__doc__ = """The patch series that this asyncio was built with.

version is its version as a string, or None if the series was applied without
its build tools; topics holds the names of its applied patches, in order.
"""

overlay = Overlay(VERSION, TOPICS)
