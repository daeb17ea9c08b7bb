"""Test that the modules of scopes import each other downwards only."""

import ast
import asyncio
import os
import unittest

# From the bottom to the top; modules of one layer do not know each other.
LAYERS = (
    ("cancellation",),
    ("scopes", "supervisors"),
    ("timeouts", "taskgroups"),
)


def imported(module):
    """Return the names of the asyncio modules that *module* imports."""
    folder = os.path.dirname(asyncio.__file__)
    with open(os.path.join(folder, f"{module}.py"), encoding="utf-8") as file:
        tree = ast.parse(file.read())
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            if node.module is None:
                names.update(alias.name for alias in node.names)
            else:
                names.add(node.module)
        elif isinstance(node, ast.Import):
            names.update(alias.name.removeprefix("asyncio.")
                         for alias in node.names)
    return names


class LayerTests(unittest.TestCase):

    def test_imports_point_down(self):
        below = set()
        everything = {name for layer in LAYERS for name in layer}
        for layer in LAYERS:
            for module in layer:
                with self.subTest(module):
                    self.assertLessEqual(imported(module) & everything, below)
            below.update(layer)

    def test_imports_are_found(self):
        self.assertIn("cancellation", imported("scopes"))
        self.assertIn("exceptions", imported("scopes"))


if __name__ == "__main__":
    unittest.main()
