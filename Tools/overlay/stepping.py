"""Every step of the series built and tested, each once for its content."""

import json

import build
import compare
import layout
import series
from base import fetch_base
from settings import load_settings
from ui import OverlayError, say, step

# What no build and no test of a step reads.
_NOT_TESTED = ("Doc/", "InternalDocs/", "Misc/NEWS.d/")
# What regrtest may use: nothing outside of the machine, nothing huge.
_RESOURCES = ("-u", "all,-gui,-network,-largefile,-urlfetch,-walltime")


def test_names(topics):
    """What `python -m test` is to run: the topics' own tests and asyncio's."""
    names = {"test_asyncio"}
    for topic in topics:
        for path in topic_paths(topic):
            parts = path.removesuffix(".py").split("/")
            if (parts[:2] == ["Lib", "test"] and len(parts) > 2
                    and parts[2].startswith("test_")):
                names.add(parts[2])
    return sorted(names)


def topic_paths(topic):
    """All files that a topic adds or changes."""
    return {*topic.own_files, *(section.path for section in topic.sections)}


def run_topics_tests(python, topics, *, base, log, what):
    """Run the tests of *topics*; raises OverlayError if one fails that does
    not on stock of the same *base*."""
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    with step(f"testing {what}"):
        judged = compare.run_judged(
            python, [*_RESOURCES, *test_names(topics)],
            lambda: build.build("stock", base=base), log=log,
            jobs=load_settings().jobs, what=f"the tests of {what}")
        say(f"    {judged.result.run} tests: {judged.result.passed} passed, "
            f"{judged.result.skipped} skipped")
    if judged.broken:
        raise OverlayError(f"the tests of {what} failed: {judged.broken[0]}, "
                           f"and {len(judged.broken) - 1} more; the whole "
                           f"output is in {log}")


class _Passed:
    """Which steps passed, by the hash of their content."""

    def __init__(self, path):
        self.path = path
        try:
            self._hashes = json.loads(path.read_text())
        except (OSError, ValueError):
            self._hashes = {}

    def has(self, name, digest):
        return self._hashes.get(name) == digest

    def add(self, name, digest):
        self._hashes[name] = digest
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps(self._hashes, indent=1))
        fresh.replace(self.path)


def _step_tree(base, name):
    """One build folder for all steps, where make compiles what changed."""
    tree = build.Tree(base, name)
    tree.root = layout.build_root().absolute() / "trees" / "each"
    tree.stock_src, tree.src = tree.root / "stock-src", tree.root / "src"
    return tree


def _build_step(base, name):
    tree = _step_tree(base, name)
    settings = load_settings()
    build.prepare_sources(tree, settings)
    build.configure(tree, "release", settings)
    build.make(tree, "release", settings)
    return tree.python("release")


def check_each(root):
    """Build and test every step; raises OverlayError at the first that fails.

    A later call goes on with what did not pass, or changed, since.
    """
    base = fetch_base(offline=load_settings().offline)
    topics = series.load_series(root)
    results = layout.build_root().absolute() / "results" / "check-each"
    passed = _Passed(results / "passed.json")
    for number, topic in enumerate(topics, 1):
        where = f"step {number}/{len(topics)}, {topic.name}"
        digest = series.fingerprint(base.sha256, base_version=base.version,
                                    upto=topic.name, root=root,
                                    without=_NOT_TESTED)
        if passed.has(topic.name, digest):
            say(f"==> {where}: passed before, unchanged")
            continue
        try:
            python = _build_step(base, topic.name)
            run_topics_tests(python, topics[:number], base=base, what=where,
                             log=results / f"{topic.name}.log")
        except OverlayError as error:
            raise OverlayError(f"{where}: {error}") from None
        passed.add(topic.name, digest)
    say(f"each of the {len(topics)} steps builds and passes")
