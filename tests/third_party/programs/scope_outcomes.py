"""Run the programs of scope_programs.py on a kit, and print the outcomes."""

import contextlib
import json
import logging
import sys

from scope_kits import KITS
from scope_programs import DIFFERENT, SAME

# Trio runs what is ready in random order: a program must not depend on it.
TIMES = 10


def main(kit):
    outcomes = {program.__name__: _outcome(KITS[kit], program)
                for program in (*SAME, *DIFFERENT)}
    print(json.dumps(outcomes))


def _outcome(make_kit, program):
    outcomes = [_run(make_kit(), program) for _ in range(TIMES)]
    for outcome in outcomes:
        if outcome != outcomes[0]:
            return ["depends on the order", *outcomes[0], "or", *outcome]
    return outcomes[0]


def _run(kit, program):
    with _logs_in(kit.trace):
        try:
            return kit.run(program)
        except Exception as exc:
            return [*kit.trace, f"the run ends with {type(exc).__name__}"]


@contextlib.contextmanager
def _logs_in(trace):
    """What is logged is part of the outcome: a lost task, a warning."""
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: trace.append(f"logs {record.levelname}")
    logger = logging.getLogger("asyncio")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


main(*sys.argv[1:])
