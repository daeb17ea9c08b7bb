"""A pytest plugin: only the tests that the file $SELECTED_TESTS names, by id.

Ids on the command line will not do: one that is not there ends the whole run,
and JUnit's XML, where they come from, cannot hold every character of an id.
"""

import os
from pathlib import Path

from _pytest.junitxml import bin_xml_escape


def pytest_collection_modifyitems(config, items):
    path = os.environ.get("SELECTED_TESTS")
    if not path:
        return
    selected = set(Path(path).read_text().split("\n"))
    kept, dropped = [], []
    for item in items:
        chosen = bin_xml_escape(item.nodeid) in selected
        (kept if chosen else dropped).append(item)
    items[:] = kept
    config.hook.pytest_deselected(items=dropped)
