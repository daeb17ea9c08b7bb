"""Seeded random programs on supervisors, and what is promised of each.

    python supervisors_chaos.py --seed N --runs M [--verbose]

runs the programs of the seeds N, N + 1, … on the asyncio of the interpreter
that it is given to.  The last line is JSON: what was run, and how it ended.
The status is 1 if something was left over, lost or told twice; the program is
printed shrunk, with the command that repeats it.
"""

# How it works.  What a program is is in supervisors_programs.py; how one is
# played, and what is checked then, in supervisors_playing.py.

import collections
import sys

import seeded
import supervisors_playing
import supervisors_programs


def names_of(value):
    """Iterate over the names of all statements and actions."""
    if isinstance(value, dict):
        yield from value
        value = list(value.values())
    if isinstance(value, tuple) and value and isinstance(value[0], str):
        yield f"open {value[2]}" if value[0] == "open" else value[0]
    if isinstance(value, (list, tuple)):
        for part in value:
            yield from names_of(part)


def kind_of(problem):
    """What stays the same of a problem while its program is shrunk."""
    words = problem.split()
    return " ".join([words[0][:2], *words[-3:]])


def report(checker, program, problems):
    """Print the program, made smaller, and how to repeat it."""
    kinds = {kind_of(problem) for problem in problems}

    def fails(smaller):
        return not kinds.isdisjoint(
            map(kind_of, checker.problems(smaller)))
    small = supervisors_programs.shrink(program, fails)
    print(small)
    for problem in checker.problems(small) or problems:
        print("WRONG:", problem)
    print(seeded.how_to_repeat(__file__, program.seed), flush=True)


def main():
    options = seeded.parse(__doc__)
    checker = supervisors_playing.Checker()
    counts = {"statements": collections.Counter(),
              "programs": collections.Counter()}

    def problems_of(seed):
        program = supervisors_programs.generate(seed)
        counts["statements"].update(names_of([program.host, program.timers]))
        if options.verbose:
            print(program)
        problems = checker.problems(program)
        counts["programs"]["wrong" if problems else "ok"] += 1
        if problems:
            report(checker, program, problems)
        return problems
    try:
        return seeded.run(options, problems_of, counts)
    finally:
        checker.close()


if __name__ == "__main__":
    sys.exit(main())
