"""Seeded random programs of cancel scopes, on asyncio and on a model.

    python scopes_chaos.py --seed N --runs M [--verbose]

runs the programs of the seeds N, N + 1, … on the asyncio of the interpreter
that it is given to, with all kinds of tasks, and on the model of the rules
that its test suite has.  The last line is JSON: what was run, and how it
ended.  The status is 1 if a program did something else than the rules say;
it is printed shrunk, with the command that repeats it.
"""

# How it works.  What a program is, how it is played and what is compared, is
# in scopes_programs.py and scopes_playing.py beside asyncio's tests.  What is
# not promised, the order of timers that are late, is left out.

import argparse
import collections
import json
import shlex
import sys

from test.test_asyncio import scopes_playing
from test.test_asyncio import scopes_programs

ELEMENTS = scopes_programs.ELEMENTS - {"blocking"}


def statements(blocks):
    """Iterate over the names of all statements."""
    for block in blocks:
        for name, *arguments in block:
            yield name
            yield from statements(a for a in arguments if isinstance(a, list))


def run_one(checker, program, counts, verbose):
    """Play the program; return its problems."""
    counts["statements"].update(statements(program.tasks.values()))
    differences = checker.differences(program)
    for kind in checker.worlds:
        counts["kinds"][f"{kind} {'differs' if kind in differences else 'ok'}"
                        ] += 1
    if verbose:
        print(program)
    if not differences:
        return []
    print(scopes_playing.report(checker, program))
    print("repeat it with:", shlex.join([
        sys.executable, "-B", __file__, "--seed", str(program.seed),
        "--runs", "1", "--verbose"]))
    return [f"{kind}: expected {expected}, found {found}"
            for kind, (_, expected, found) in differences.items()]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--failures", type=int, default=1,
                        help="end after so many")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    checker = scopes_playing.Checker()
    counts = {"kinds": collections.Counter(),
              "statements": collections.Counter()}
    failures, seed = [], options.seed
    while (seed < options.seed + options.runs
           and len(failures) < options.failures):
        program = scopes_programs.generate(seed, ELEMENTS)
        problems = run_one(checker, program, counts, options.verbose)
        if problems:
            failures.append({"seed": seed, "problems": problems})
        seed += 1
    checker.close()
    print(json.dumps({"next": seed, "runs": seed - options.seed,
                      "counts": counts, "failures": failures}))
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
