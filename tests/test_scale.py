"""Supervisors with a million of each thing, and with thousands at once.

With OVERLAY_FULL_SCALE in the environment; a tenth of them, and one way to end
the thousands, without.
"""

import os
import subprocess
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "scale"
FULL = bool(os.environ.get("OVERLAY_FULL_SCALE"))
COUNT = 1_000_000 if FULL else 100_000
# Below, it would not show what is to be shown.
FEWEST_CONNECTIONS = 5_000
MOST_CONNECTIONS = 10_000


def run(python, program, *arguments):
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith("PYTHON")}
    done = subprocess.run([python, "-B", PROGRAMS / program, *arguments],
                          text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("thing", [
    "callbacks", "callbacks_of_threads", "tasks", "eager_tasks", "timers",
    "cancelled_timers", "futures", "connections",
    "connections_of_foreign_tasks", "servers", "datagram_endpoints"])
def test_a_million_of_each_or_thousands_of_connections_leave_nothing(
        python, thing):
    output = run(python, "millions.py", str(COUNT), f"test_{thing}")
    assert output.splitlines()[-1] == "OK"


@pytest.mark.parametrize(
    "how", ["fails", "is cancelled", "ends"] if FULL else ["fails"])
def test_thousands_of_connections_end_in_linear_work(python, how):
    def end(count):
        ended, operations = map(int, run(
            python, "many_connections.py", str(count), how).split())
        print(f"{ended} connections: {operations} operations")
        return ended, operations

    most, many = end(MOST_CONNECTIONS)
    assert most >= FEWEST_CONNECTIONS, "raise RLIMIT_NOFILE"
    half, fewer = end(most // 2)
    assert half == most // 2
    assert many < 1.1 * most / half * fewer
