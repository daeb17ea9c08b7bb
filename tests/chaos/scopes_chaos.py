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

import collections
import sys

import seeded

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
    print(seeded.how_to_repeat(__file__, program.seed))
    return [f"{kind}: expected {expected}, found {found}"
            for kind, (_, expected, found) in differences.items()]


def main():
    options = seeded.parse(__doc__)
    checker = scopes_playing.Checker()
    counts = {"kinds": collections.Counter(),
              "statements": collections.Counter()}

    def problems_of(seed):
        program = scopes_programs.generate(seed, ELEMENTS)
        return run_one(checker, program, counts, options.verbose)
    try:
        return seeded.run(options, problems_of, counts)
    finally:
        checker.close()


if __name__ == "__main__":
    sys.exit(main())
