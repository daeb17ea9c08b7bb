"""What _asyncio has for us, without it: it is all in Python, too."""

import json
import os
from pathlib import Path

import launcher

ROOT = Path(__file__).resolve().parents[1]

PROGRAM = """
import json, sys, unittest
sys.modules["_asyncio"] = None
import asyncio.tasks
assert asyncio.Task is asyncio.tasks._PyTask
suite = unittest.defaultTestLoader.loadTestsFromNames(sys.argv[1:])
result = unittest.TextTestRunner(verbosity=0).run(suite)
wrong = [str(test) for test, _ in result.errors + result.failures]
print(json.dumps({"ran": result.testsRun, "skipped": len(result.skipped),
                  "wrong": wrong}))
"""
# Of the suites, those of what is in C.
OURS = ("create_task", "level", "scopes", "shield", "supervisor", "task",
        "timeout")
# They skip what wants C: the least that must be left to say something.
FEWEST = 1000


def test_our_suites_pass_without_it(python, tmp_path):
    folder = ROOT / "Lib" / "test" / "test_asyncio"
    modules = sorted(f"test.test_asyncio.{path.stem}" for begin in OURS
                     for path in folder.glob(f"test_{begin}*.py"))
    result = launcher.run_guarded(
        [python, "-B", "-c", PROGRAM, *modules], log=tmp_path / "log",
        cwd=tmp_path, time_limit=600, env=dict(os.environ),
        memory_limit=launcher.MEMORY_LIMITS["release"])
    assert result.status == 0, "".join(result.tail)
    summary = json.loads(result.tail[-1])
    assert summary["wrong"] == []
    assert summary["ran"] - summary["skipped"] > FEWEST
