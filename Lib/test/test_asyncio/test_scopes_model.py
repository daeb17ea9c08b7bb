"""Random programs of cancel scopes, on asyncio and on a model of the rules."""

import ast
import asyncio
import inspect
import unittest
from unittest import mock

from asyncio import cancellation
from test import support
from test.test_asyncio import scopes_model
from test.test_asyncio import scopes_playing
from test.test_asyncio import scopes_programs


def tearDownModule():
    asyncio.set_event_loop_policy(None)


# Programs of each kind, beside those of the resource 'cpu'.
FEW, MANY = 300, 10_000

# A few kinds of programs, by the elements that they have; the first are the
# simplest.
ELEMENTS = {
    "scopes": {"due"},
    "edges": {"due", "edges"},
    "shields": {"due", "edges", "shields"},
    "timeouts": {"due", "edges", "shields", "timeouts"},
    "all": scopes_programs.ELEMENTS - {"blocking"},
}


class ProgramTests(unittest.TestCase):

    def setUp(self):
        self.checker = scopes_playing.Checker(self.kinds())
        self.addCleanup(self.checker.close)

    def kinds(self):
        return [kind for kind, (name, _) in scopes_playing.KINDS.items()
                if hasattr(asyncio.tasks, f"_{name}Task")]

    def check(self, seeds, elements):
        for seed in seeds:
            program = scopes_programs.generate(seed, elements)
            if self.checker.differences(program):
                self.fail("asyncio is not like the model:\n"
                          + scopes_playing.report(self.checker, program))

    def test_some_programs_of_each_kind_do_what_the_rules_say(self):
        for name, elements in ELEMENTS.items():
            with self.subTest(elements=name):
                self.check(range(1, FEW + 1), elements)

    @support.requires_resource("cpu")
    def test_many_programs_do_what_the_rules_say(self):
        self.check(range(FEW + 1, MANY + 1), ELEMENTS["all"])


def find(seeds, elements):
    """Return the report of the first program that differs, or None."""
    checker = scopes_playing.Checker(["PyLazy"])
    try:
        for seed in seeds:
            program = scopes_programs.generate(seed, elements)
            if checker.differences(program):
                return scopes_playing.report(checker, program)
    finally:
        checker.close()
    return None


class FindingTests(unittest.TestCase):
    """What is wrong is found, and told in a small program."""

    def find_wrong(self, owner, name, wrong, elements):
        with mock.patch.object(owner, name, wrong):
            report = find(range(1, 500), ELEMENTS[elements])
        self.assertIsNotNone(report)
        self.assertIn("# seed", report)
        # Shrunk: a few lines of program, and three of what differs.
        self.assertLess(len(report.splitlines()), 25, report)

    def test_a_text_that_is_not_the_outermost(self):
        def text(node):
            return next(n.msg for n in node.visible() if n.cancelled)
        self.find_wrong(cancellation._PyNode, "text", text, "scopes")

    def test_a_swallowed_edge(self):
        self.find_wrong(cancellation._Rules, "outstanding",
                        lambda canceller: 0, "edges")

    def test_a_shield_that_does_not_hold(self):
        self.find_wrong(cancellation._Rules, "_is_held",
                        lambda canceller, origin: False, "shields")

    def test_a_timeout_that_takes_nothing_back(self):
        self.find_wrong(cancellation, "withdraw",
                        lambda guard: None, "timeouts")

    def test_a_scope_that_does_not_look_at_its_parent(self):
        self.find_wrong(cancellation._PyNode, "_is_effective",
                        lambda node: node.cancelled, "all")

    def test_a_hang(self):
        def hold(canceller, msg):
            while True:
                pass
        with mock.patch.object(cancellation._Rules, "hold", hold), \
                mock.patch.object(scopes_playing, "SECONDS", 0.05):
            report = find(range(1, 100), ELEMENTS["edges"])
        self.assertIn("Hang", report)

    def test_what_is_left_over(self):
        self.find_wrong(cancellation, "disarm", lambda owner: None, "scopes")

    def test_nothing_is_found_where_nothing_is_wrong(self):
        self.assertIsNone(find(range(1, 50), ELEMENTS["edges"]))


class GeneratorTests(unittest.TestCase):

    def test_a_seed_gives_the_same_program_again(self):
        for seed in range(50):
            program = scopes_programs.generate(seed)
            self.assertEqual(program, scopes_programs.generate(seed))
            self.assertEqual(str(program),
                             str(scopes_programs.generate(seed)))

    def test_every_statement_and_action_is_made(self):
        text = "".join(repr(scopes_programs.generate(seed))
                       for seed in range(200))
        for name in (*scopes_programs.TEXTS, *scopes_programs.ACTION_TEXTS):
            with self.subTest(name=name):
                self.assertIn(f"('{name}'", text)

    def test_an_element_that_is_left_out_is_not_made(self):
        for element, names in {
                "groups": ["group"], "timeouts": ["timeout"],
                "edges": ["cancel", "uncancel"], "storms": ["spin"],
                "tasks": ["join", "cancel_and_wait"],
                "shields": ["set_shield"], "blocking": ["block"]}.items():
            elements = scopes_programs.ELEMENTS - {element}
            text = "".join(repr(scopes_programs.generate(seed, elements))
                           for seed in range(100))
            for name in names:
                with self.subTest(name=name):
                    self.assertNotIn(f"('{name}'", text)

    def test_a_shrunk_program_has_what_is_wrong_and_little_else(self):
        program = scopes_programs.generate(12)
        self.assertIn("'sleep'", repr(program))
        self.assertGreater(program.size(), 10)
        small = scopes_programs.shrink(
            program, lambda smaller: "'sleep'" in repr(smaller))
        self.assertLessEqual(small.size(), 3)


class ModelTests(unittest.TestCase):
    """The model by itself, where a rule is easily read two ways."""

    def test_it_does_not_know_asyncio(self):
        tree = ast.parse(inspect.getsource(scopes_model))
        imported = {name.name for node in ast.walk(tree)
                    if isinstance(node, ast.Import) for name in node.names}
        self.assertEqual(imported, {"collections", "dataclasses"})
        self.assertFalse([node for node in ast.walk(tree)
                          if isinstance(node, ast.ImportFrom)])

    def run_model(self, main):
        """Return what *main(loop)* returns as a task, and its count."""
        loop = scopes_model.Loop()
        task = loop.create_task(main(loop), "main")
        loop.run()
        return task.result(), task.cancelling()

    def test_every_wait_of_a_cancelled_scope_is_told(self):
        async def main(loop):
            told = []
            with scopes_model.CancelScope(loop) as scope:
                scope.cancel("why")
                for _ in range(3):
                    try:
                        await loop.sleep(1)
                    except scopes_model.Cancelled as exc:
                        told.append(exc.args)
            return told, loop.now
        self.assertEqual(self.run_model(main), (([("why",)] * 3, 0), 0))

    def test_a_result_that_has_arrived_is_not_lost(self):
        async def main(loop):
            scope = scopes_model.CancelScope(loop)
            future = loop.create_future()

            def both():
                future.set_result("result")
                scope.cancel()

            loop.call_later(1, both)
            with scope:
                return await future
        self.assertEqual(self.run_model(main), ("result", 0))

    def test_an_edge_is_held_and_delivered_after_the_shield(self):
        async def main(loop):
            task, seen = loop.current, []
            loop.context = scopes_model.Context()
            loop.call_later(1, lambda: task.cancel("edge"))
            try:
                with scopes_model.CancelScope(loop, shield=True):
                    await loop.sleep(5)
                    seen.append(loop.now)
                await loop.sleep(5)
            except scopes_model.Cancelled as exc:
                seen.append(exc.args)
            return seen
        self.assertEqual(self.run_model(main), ([5, ("edge",)], 1))

    def test_an_edge_is_not_absorbed_with_a_level(self):
        async def main(loop):
            task = loop.current
            try:
                with scopes_model.CancelScope(loop) as scope:
                    scope.cancel("level")
                    task.cancel("edge")
                    await loop.sleep(1)
            except scopes_model.Cancelled as exc:
                return exc.args, scope.cancelled_caught
        self.assertEqual(self.run_model(main), ((("edge",), False), 1))

    def test_what_ends_differently_is_told(self):
        self.assertIsNone(scopes_playing.compare([(1,), (2,)], [(1,), (2,)]))
        self.assertEqual(scopes_playing.compare([(1,), (2,)], [(1,), (3,)]),
                         (1, (2,), (3,)))
        self.assertEqual(scopes_playing.compare([(1,), (2,)], [(1,)]),
                         (1, (2,), "nothing"))


if __name__ == "__main__":
    unittest.main()
