"""What the seeded fuzzers of programs have in common: their arguments, how they
go from seed to seed, and what they print."""

import argparse
import json
import shlex
import sys


def parse(description):
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--failures", type=int, default=1,
                        help="end after so many")
    parser.add_argument("--verbose", action="store_true")
    return parser.parse_args()


def run(options, problems_of, counts):
    """Call problems_of(seed) for each seed; return true if there were any.

    *counts*, which the calls fill, are printed in the last line.
    """
    failures, seed = [], options.seed
    while (seed < options.seed + options.runs
           and len(failures) < options.failures):
        if problems := problems_of(seed):
            failures.append({"seed": seed, "problems": problems})
        seed += 1
    print(json.dumps({"next": seed, "runs": seed - options.seed,
                      "counts": counts, "failures": failures}))
    return bool(failures)


def how_to_repeat(script, seed):
    return "repeat it with: " + shlex.join([
        sys.executable, "-B", script, "--seed", str(seed), "--runs", "1",
        "--verbose"])
