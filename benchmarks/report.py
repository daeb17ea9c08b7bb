"""What the benchmarks' numbers say: statistics, tables, pyperf JSON, plot.

As a program, on a Python that has pyperf and matplotlib:

    python report.py FOLDER     # reads FOLDER/raw.json, writes beside it
"""

import json
import sys
from collections import namedtuple
from math import comb
from pathlib import Path
from statistics import median

from rows import BOUNDS, BYTE, ROWS, serves, stands_in

__all__ = ("compare", "median_interval", "slower_rows", "markdown", "text")

# How it works.  A round runs every implementation once, one after the other;
# what the two did in the same round is a pair.  The ratio of a row is the
# median of the pairs' ratios, so a machine that is slow for a minute is slow
# for both sides of a pair.  The interval is that of the sign test: it takes
# order statistics, supposes nothing of the distribution and draws no random
# numbers.  With 15 pairs it goes from the 4th smallest to the 4th largest.

CONFIDENCE = 0.95
THRESHOLD = 1.02
LEAST_PAIRS = 15
PEERS = ("uvloop", "rloop", "aiofastnet", "trio", "anyio")

# low, high: the interval of the median, or None with fewer than 6 pairs.
Comparison = namedtuple("Comparison", "pairs ratio low high")


def median_interval(values):
    """Return the bounds of the median's 95 % interval, or None.

    There is none for fewer than 6 values: even the smallest and the largest
    then hold the median between them with less than that.
    """
    count = len(values)
    rank = _rank(count)
    if not rank:
        return None
    ordered = sorted(values)
    return ordered[rank - 1], ordered[count - rank]


def _rank(count):
    """How far from either end the bounds are: 1 is the end, 0 is nowhere."""
    tail = 0
    for rank in range(count // 2 + 1):
        tail += comb(count, rank)
        if 2 * tail / 2 ** count > 1 - CONFIDENCE:
            return rank
    return 0


def compare(values, base):
    """Compare two {round: value}, or return None if no round is in both."""
    ratios = [values[turn] / base[turn] for turn in values if turn in base]
    if not ratios:
        return None
    low, high = median_interval(ratios) or (None, None)
    return Comparison(len(ratios), median(ratios), low, high)


def is_slower(comparison, limit=THRESHOLD):
    return (comparison is not None and comparison.pairs >= LEAST_PAIRS
            and comparison.ratio > limit and comparison.low > limit)


def is_faster(comparison):
    return (comparison is not None and comparison.pairs >= LEAST_PAIRS
            and comparison.ratio < 1 / THRESHOLD
            and comparison.high < 1 / THRESHOLD)


# The results: {"rows": {key: {"loops": N, "results": {implementation:
# {"values": {round: [value, …]}, "errors": [text, …]}}}}}, as in raw.json.

def per_round(results, key, implementation):
    """Return {round: value} of the implementation in this row.

    A worker's value is the least of its repeats: what disturbs a run only
    ever adds to it.
    """
    result = results["rows"][key]["results"].get(implementation, {})
    return {turn: min(values)
            for turn, values in result.get("values", {}).items()}


def ratio_to_stock(results, key, implementation):
    return compare(per_round(results, key, implementation),
                   per_round(results, key, "stock"))


def slower_rows(results):
    """Return the keys of the rows in which ours is slower than stock."""
    return [key for key in results["rows"]
            if is_slower(ratio_to_stock(results, key, "ours"))]


def undecided_rows(results):
    """Return the keys of the rows with too few pairs for the rule."""
    return [key for key in results["rows"]
            if not _is_decided(ratio_to_stock(results, key, "ours"))]


def _is_decided(comparison):
    return comparison is not None and comparison.pairs >= LEAST_PAIRS


def bounds(results):
    """Return [(bound, Comparison or None)] for the bounds on these rows."""
    return [(bound, compare(per_round(results, bound.row, "ours"),
                            per_round(results, bound.other, bound.on)))
            for bound in BOUNDS
            if {bound.row, bound.other} <= results["rows"].keys()]


def passed_bounds(results):
    """Return what of ours is beyond its bound, as text."""
    return [f"{_title(bound)} is {comparison.ratio:.2f}, bound "
            f"{bound.limit:.2f}" for bound, comparison in bounds(results)
            if is_slower(comparison, bound.limit)]


def undecided_bounds(results):
    """Return the bounds with too few pairs for the rule, as text."""
    return [_title(bound) for bound, comparison in bounds(results)
            if not _is_decided(comparison)]


def _title(bound):
    return f"ours {bound.row} / {bound.on} {bound.other}"


def failures(results):
    """Return [(row, implementation, error)], one for each that has failed."""
    return [(key, implementation, result["errors"][-1])
            for key, row in results["rows"].items()
            for implementation, result in row["results"].items()
            if result["errors"]]


# Tables

_HEAD = ("row", "stock", "ours", "ours/stock", "", "aim",
         *(f"{peer}/stock" for peer in PEERS), "stock/stock")


def _cells(results, key):
    row = ROWS[key]
    ours = ratio_to_stock(results, key, "ours")
    return (key, _median(results, key, "stock"), _median(results, key, "ours"),
            _with_interval(ours), _verdict(ours),
            f"≤ {row.aim:.2f}" if row.aim else "",
            *(_peer(results, key, peer) for peer in PEERS),
            _with_interval(ratio_to_stock(results, key, "again")))


def _median(results, key, implementation):
    values = per_round(results, key, implementation)
    if not values:
        return _error_kind(results, key, implementation)
    return (quantity(median(values.values()), ROWS[key].unit)
            + _mark(key, implementation))


def _mark(key, implementation):
    return " *" if stands_in(implementation, key) else ""


def quantity(value, unit):
    if unit == BYTE:
        return f"{value:,.0f} B"
    nanoseconds = value * 1e9
    if nanoseconds < 10_000:
        return f"{nanoseconds:.0f} ns"
    return f"{nanoseconds / 1000:.1f} µs"


def _with_interval(comparison):
    if comparison is None:
        return "–"
    if comparison.low is None:
        return f"{comparison.ratio:.2f}"
    return (f"{comparison.ratio:.2f} "
            f"[{comparison.low:.2f}, {comparison.high:.2f}]")


def _verdict(comparison):
    if not _is_decided(comparison):
        return "?"
    if is_slower(comparison):
        return "slower"
    return "faster" if is_faster(comparison) else "same"


def _peer(results, key, peer):
    comparison = ratio_to_stock(results, key, peer)
    if comparison is not None:
        return f"{comparison.ratio:.2f}{_mark(key, peer)}"
    return _error_kind(results, key, peer)


def _error_kind(results, key, implementation):
    """What stands where a number would: why there is none."""
    if implementation not in results["implementations"]:
        return "not run"
    if not serves(implementation, key):
        return "not measured"
    result = results["rows"][key]["results"].get(implementation)
    if not result or not result["errors"]:
        return "not run"
    return result["errors"][-1].splitlines()[-1].partition(":")[0][:24]


_BOUNDS_HEAD = ("bound", "ratio", "limit", "")


def _bound_cells(bound, comparison):
    if not _is_decided(comparison):
        verdict = "?"
    else:
        verdict = "over" if is_slower(comparison, bound.limit) else "kept"
    return (_title(bound), _with_interval(comparison),
            f"≤ {bound.limit:.2f}", verdict)


def _tables(results):
    """Return the tables as lists of lines, and those as lists of cells."""
    tables = [[_HEAD, *(_cells(results, key) for key in results["rows"])]]
    if lines := [_bound_cells(*pair) for pair in bounds(results)]:
        tables.append([_BOUNDS_HEAD, *lines])
    return tables


def _notes(results):
    notes = [f"{results['rounds']} interleaved rounds at most; interval: 95 % "
             "of the median of paired ratios, by the sign test; stock/stock "
             "is the run's own noise.",
             f"slower: at least {LEAST_PAIRS} pairs, the median and its "
             f"interval above {THRESHOLD}; faster: below its inverse; ?: too "
             "few pairs; over: both above the bound's limit."]
    notes += [f"* without ours, {key} is {ROWS[key].instead}"
              for key in results["rows"] if ROWS[key].instead]
    notes += [f"{name}: {what}" for name, what in results["versions"].items()]
    notes += [f"{key} on {implementation}: {error.splitlines()[-1]}"
              for key, implementation, error in failures(results)]
    return notes


def markdown(results):
    """Return the tables with their notes in Markdown."""
    parts = []
    for head, *lines in _tables(results):
        parts += [f"| {' | '.join(line)} |"
                  for line in (head, ["---"] * len(head), *lines)] + [""]
    notes = [f"- {note}" for note in _notes(results)]
    return "\n".join([*parts, *notes, ""])


def text(results):
    """Return the tables with their notes for a terminal."""
    parts = []
    for lines in _tables(results):
        widths = [max(map(len, column)) for column in zip(*lines)]
        parts += ["  ".join(cell.ljust(width)
                            for cell, width in zip(line, widths)).rstrip()
                  for line in lines] + [""]
    return "\n".join([*parts, *_notes(results), ""])


# pyperf's JSON: a file for each implementation, with one run a worker, so
# that `pyperf compare_to stock.json ours.json` works.

def write_pyperf(results, folder):
    import pyperf
    for implementation in results["implementations"]:
        benchmarks = [
            pyperf.Benchmark(_runs(pyperf, results, key, implementation))
            for key in results["rows"]
            if per_round(results, key, implementation)]
        if benchmarks:
            pyperf.BenchmarkSuite(benchmarks).dump(
                str(folder / f"{implementation}.json"), replace=True)


def _runs(pyperf, results, key, implementation):
    row = results["rows"][key]
    metadata = {
        "name": key, "description": ROWS[key].title, "unit": ROWS[key].unit,
        "loops": row["loops"], "inner_loops": ROWS[key].inner,
        "implementation": results["versions"].get(implementation,
                                                  implementation),
        **results["machine"]}
    return [pyperf.Run(values, metadata=metadata, collect_metadata=False)
            for values in row["results"][implementation]["values"].values()]


# The plot: bars from 1 (stock) to ours, to the left where it is faster; the
# others are marks on the same line.

_MARKS = {"uvloop": ("o", "tab:green"), "rloop": ("D", "tab:purple"),
          "aiofastnet": ("^", "tab:orange"), "trio": ("s", "tab:brown"),
          "anyio": ("P", "tab:pink")}


def write_plot(results, folder):
    import matplotlib
    matplotlib.use("Agg")
    matplotlib.rcParams.update({"svg.fonttype": "none",
                                "svg.hashsalt": "bench", "font.size": 9})
    from matplotlib import pyplot
    keys = list(results["rows"])
    figure, axes = pyplot.subplots(
        figsize=(10, 1.9 + 0.3 * len(keys)), layout="constrained")
    for place, key in enumerate(keys):
        _draw_row(axes, results, key, place)
    _dress(axes, keys)
    for suffix in ("svg", "png"):
        figure.savefig(folder / f"ratios.{suffix}", dpi=130)
    pyplot.close(figure)


def _draw_row(axes, results, key, place):
    noise = ratio_to_stock(results, key, "again")
    if noise is not None and noise.low is not None:
        axes.barh(place, noise.high - noise.low, left=noise.low, height=0.9,
                  color="0.85", zorder=1, label="stock against stock, 95 %")
    ours = ratio_to_stock(results, key, "ours")
    if ours is not None:
        _draw_ours(axes, ours, place)
    for peer, (marker, color) in _MARKS.items():
        comparison = ratio_to_stock(results, key, peer)
        if comparison is not None:
            axes.plot(comparison.ratio, place, marker, color=color,
                      markersize=5, zorder=4, label=f"{peer} / stock")
    if ROWS[key].aim:
        axes.plot([ROWS[key].aim] * 2, [place - 0.42, place + 0.42],
                  color="black", linewidth=2, zorder=5, label="aim for ours")


def _draw_ours(axes, ours, place):
    color = "tab:red" if is_slower(ours) else "tab:blue"
    axes.barh(place, ours.ratio - 1, left=1, height=0.5, color=color,
              zorder=2, label="ours / stock" + (
                  ", slower" if is_slower(ours) else ""))
    if ours.low is not None:
        whiskers = [[ours.ratio - ours.low], [ours.high - ours.ratio]]
        axes.errorbar(ours.ratio, place, xerr=whiskers, color="black",
                      linewidth=1, capsize=2, zorder=3)


def _dress(axes, keys):
    from matplotlib.ticker import NullLocator
    axes.set_xscale("log")
    left, right = axes.get_xlim()
    axes.set_xlim(min(left, 0.45), max(right, 1.6))
    left, right = axes.get_xlim()
    ticks = [tick for tick in (0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1, 1.5, 2,
                               3, 4, 6, 8, 10, 15) if left <= tick <= right]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_yticks(range(len(keys)), keys)
    axes.set_ylim(len(keys) - 0.4, -0.6)
    axes.axvline(1, color="black", linewidth=0.8, zorder=3)
    axes.grid(axis="x", color="0.9", zorder=0)
    axes.set_axisbelow(True)
    axes.set_xlabel("ratio to stock (logarithmic): left of 1 is faster, or "
                    "takes less memory")
    # One entry for each kind of mark, not one for each row.
    handles, labels = axes.get_legend_handles_labels()
    entries = dict(zip(labels, handles))
    axes.legend(entries.values(), entries.keys(), ncols=4, fontsize=8,
                loc="lower center", bbox_to_anchor=(0.45, 1))


def main():
    folder = Path(sys.argv[1])
    results = json.loads((folder / "raw.json").read_text(encoding="utf-8"))
    write_pyperf(results, folder)
    write_plot(results, folder)


if __name__ == "__main__":
    main()
