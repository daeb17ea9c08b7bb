"""Tests for shield() as a block."""

import asyncio
import contextlib
import signal
import textwrap
import threading
import unittest
from asyncio import cancellation
from unittest import mock

from test.support import script_helper
from test.test_asyncio import scopes_support

try:
    import _interpreters
except ModuleNotFoundError:
    _interpreters = None


def tearDownModule():
    asyncio.set_event_loop_policy(None)


class BlockTests:

    async def start(self, coro):
        task = asyncio.create_task(coro)
        await asyncio.sleep(1)
        return task

    def test_it_is_a_scope_with_a_shield(self):
        async def main():
            async with asyncio.shield() as scope:
                self.assertIs(type(scope), asyncio.CancelScope)
                self.assertTrue(scope.shield)
            with asyncio.shield() as scope:
                self.assertTrue(scope.shield)
        self.run_in_loop(main())

    def test_the_old_form_is_as_ever(self):
        async def main():
            future = self.loop.create_future()
            outer = asyncio.shield(future)
            outer.cancel()
            await asyncio.sleep(0)
            self.assertTrue(outer.cancelled())
            self.assertFalse(future.done())
            with self.assertRaisesRegex(TypeError, "awaitable"):
                asyncio.shield(None)
        self.run_in_loop(main())

    def test_it_needs_a_task(self):
        with self.assertRaisesRegex(RuntimeError, "outside of a task"):
            with asyncio.shield():
                self.fail("was entered")

    def test_both_kinds_of_cancellation_wait_for_its_end(self):
        async def child(scope, seen):
            with scope:
                async with asyncio.shield():
                    await asyncio.sleep(5)
                    seen.append(self.loop.now)
                self.fail("nothing was delivered")

        async def main():
            scope, seen = asyncio.CancelScope(), []
            task = await self.start(child(scope, seen))
            scope.cancel("level")
            self.assertTrue(task.cancel("edge"))
            # Together they count as the edge.
            with self.assertRaisesRegex(asyncio.CancelledError, "edge"):
                await task
            self.assertEqual(seen, [5])
            self.assertFalse(scope.cancelled_caught)
        self.run_in_loop(main())

    def test_its_own_cancel_ends_it(self):
        async def child(scopes):
            with asyncio.shield() as scope:
                scopes.append(scope)
                await asyncio.sleep(60)
            return self.loop.now

        async def main():
            scopes = []
            task = await self.start(child(scopes))
            scopes[0].cancel()
            self.assertEqual(await task, 1)
        self.run_in_loop(main())

    def test_a_cancel_of_a_task_made_inside_passes(self):
        async def canceller(task):
            await asyncio.sleep(2)
            task.cancel("from within")

        async def child():
            with asyncio.shield():
                task = asyncio.create_task(canceller(asyncio.current_task()))
                try:
                    await asyncio.sleep(60)
                finally:
                    await task

        async def main():
            with self.assertRaisesRegex(asyncio.CancelledError,
                                        "from within"):
                await asyncio.create_task(child())
            self.assertEqual(self.loop.now, 2)
        self.run_in_loop(main())

    def test_a_cancel_from_the_outer_block_waits_for_the_inner(self):
        async def child(seen):
            with asyncio.shield():
                self.loop.call_later(1, asyncio.current_task().cancel, "outer")
                async with asyncio.shield():
                    await asyncio.sleep(5)
                    seen.append(self.loop.now)
                self.fail("nothing was delivered")

        async def main():
            seen = []
            with self.assertRaisesRegex(asyncio.CancelledError, "outer"):
                await asyncio.create_task(child(seen))
            self.assertEqual(seen, [5])
        self.run_in_loop(main())

    def test_several_held_requests_are_delivered_once(self):
        async def child(told):
            async with contextlib.AsyncExitStack() as stack:
                await stack.enter_async_context(asyncio.shield())
                await asyncio.sleep(5)
            self.fail("nothing was delivered")

        async def main():
            task = await self.start(child([]))
            task.cancel("first")
            task.cancel("last")
            with self.assertRaisesRegex(asyncio.CancelledError, "last"):
                await task
            self.assertEqual(task.cancelling(), 2)
        self.run_in_loop(main())


class TimeoutTests:

    def test_an_outer_timeout_raises_when_the_block_has_ended(self):
        async def main():
            seen = []
            with self.assertRaises(TimeoutError):
                async with asyncio.timeout(1):
                    async with asyncio.shield():
                        await asyncio.sleep(5)
                        seen.append(asyncio.current_task().cancelling())
                    self.fail("nothing was delivered")
            self.assertEqual(seen, [1])
            self.assertEqual(asyncio.current_task().cancelling(), 0)
        self.run_in_loop(main())

    def test_after_a_with_the_next_wait_raises(self):
        async def main():
            with self.assertRaises(TimeoutError):
                async with asyncio.timeout(1):
                    with asyncio.shield():
                        await asyncio.sleep(5)
                    self.assertEqual(self.loop.now, 5)
                    await asyncio.sleep(60)
            self.assertEqual(self.loop.now, 5)
        self.run_in_loop(main())

    def test_a_timeout_between_two_blocks_waits_for_the_inner_only(self):
        async def child():
            async with asyncio.shield():
                with self.assertRaises(TimeoutError):
                    async with asyncio.timeout(1):
                        async with asyncio.shield():
                            await asyncio.sleep(5)
                        self.fail("nothing was delivered")
                await asyncio.sleep(5)
            self.fail("nothing was delivered")

        async def main():
            task = asyncio.create_task(child())
            await asyncio.sleep(2)
            task.cancel("foreign")
            with self.assertRaisesRegex(asyncio.CancelledError, "foreign"):
                await task
            self.assertEqual(self.loop.now, 10)
            self.assertEqual(task.cancelling(), 1)
        self.run_in_loop(main())

    def test_a_timeout_takes_back_its_own_request_only(self):
        async def child():
            async with asyncio.timeout(2):
                with asyncio.shield():
                    await asyncio.sleep(5)
            # The timeout's request is gone, the other one is not.
            self.assertEqual(asyncio.current_task().cancelling(), 1)
            await asyncio.sleep(60)

        for when in 1, 3:
            with self.subTest(when=when):
                async def main():
                    task = asyncio.create_task(child())
                    await asyncio.sleep(when)
                    task.cancel("foreign")
                    with self.assertRaisesRegex(asyncio.CancelledError,
                                                "foreign"):
                        await task
                self.loop.now = 0.0
                self.run_in_loop(main())
                self.assertEqual(self.loop.now, 5)

    def test_a_timeout_taken_back_before_it_is_delivered(self):
        async def main():
            async with asyncio.timeout(1) as timeout:
                with asyncio.shield():
                    await asyncio.sleep(5)
            self.assertTrue(timeout.expired())
            self.assertEqual(asyncio.current_task().cancelling(), 0)
            await asyncio.sleep(1)
        self.run_in_loop(main())

    def test_timeouts_that_call_cancel_fire_inside(self):
        # Of other libraries: they know of no scope.
        class Foreign:

            async def __aenter__(self):
                self.task = asyncio.current_task()
                loop = asyncio.get_running_loop()
                self.timer = loop.call_later(2, self.task.cancel)

            async def __aexit__(self, exc_type, exc, tb):
                self.timer.cancel()
                if exc_type is asyncio.CancelledError:
                    self.task.uncancel()
                    raise TimeoutError

        async def child():
            async with asyncio.shield():
                with self.assertRaises(TimeoutError):
                    async with Foreign():
                        await asyncio.sleep(60)
                self.assertEqual(self.loop.now, 2)
                await asyncio.sleep(5)
            return "result"

        async def main():
            passes = self.loop.passes
            task = asyncio.create_task(child())
            with asyncio.move_on_after(1) as scope:
                await asyncio.wait([task])
            self.assertTrue(scope.cancelled_caught)
            self.assertEqual(await task, "result")
            self.assertLess(self.loop.passes - passes, 20)
        self.run_in_loop(main())


class GroupTests:

    async def fail(self, when):
        await asyncio.sleep(when)
        raise ZeroDivisionError

    def test_a_siblings_failure_waits(self):
        async def main():
            seen = []
            with self.assertRaises(ExceptionGroup) as caught:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self.fail(1))
                    async with asyncio.shield():
                        await asyncio.sleep(5)
                        seen.append(self.loop.now)
                    seen.append("ran on")
            self.assertEqual(seen, [5])
            self.assertEqual(len(caught.exception.exceptions), 1)
            self.assertEqual(asyncio.current_task().cancelling(), 0)
            await asyncio.sleep(1)
        self.run_in_loop(main())

    def test_a_failing_group_inside_ends_its_own_block(self):
        async def child():
            async with asyncio.shield():
                with self.assertRaises(ExceptionGroup):
                    async with asyncio.TaskGroup() as group:
                        group.create_task(self.fail(1))
                        await asyncio.sleep(60)
                self.assertEqual(self.loop.now, 1)
                await asyncio.sleep(5)
            return "result"

        async def main():
            self.assertEqual(await asyncio.create_task(child()), "result")
        self.run_in_loop(main())

    def test_a_failing_group_in_a_shielded_cleanup_after_an_edge(self):
        async def child(seen):
            try:
                await asyncio.sleep(60)
            finally:
                async with asyncio.shield():
                    try:
                        async with asyncio.TaskGroup() as group:
                            group.create_task(self.fail(1))
                    except* ZeroDivisionError:
                        seen.append(self.loop.now)
                    await asyncio.sleep(1)
                    seen.append(self.loop.now)

        async def main():
            seen = []
            task = asyncio.create_task(child(seen))
            await asyncio.sleep(1)
            task.cancel("edge")
            with self.assertRaisesRegex(asyncio.CancelledError, "edge"):
                await task
            self.assertEqual(seen, [2, 3])
            self.assertEqual(task.cancelling(), 1)
        self.run_in_loop(main())

    def test_an_edge_that_ends_in_a_failing_group_is_armed_again(self):
        async def cleanup():
            try:
                await asyncio.sleep(60)
            finally:
                1 / 0

        async def child():
            with asyncio.CancelScope():
                with self.assertRaises(ExceptionGroup):
                    async with asyncio.TaskGroup() as group:
                        group.create_task(cleanup())
                self.assertEqual(asyncio.current_task().cancelling(), 1)
                await asyncio.sleep(60)

        async def main():
            task = asyncio.create_task(child())
            await asyncio.sleep(1)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
            self.assertEqual(self.loop.now, 1)
        self.run_in_loop(main())

    def test_members_are_not_shielded_by_the_block_that_makes_them(self):
        async def member(seen):
            try:
                await asyncio.sleep(60)
            finally:
                seen.append(self.loop.now)

        async def main():
            seen = []
            with asyncio.move_on_after(1):
                async with asyncio.TaskGroup() as group:
                    async with asyncio.shield():
                        group.create_task(member(seen))
                        await asyncio.sleep(5)
            self.assertEqual(seen, [1])
            self.assertEqual(self.loop.now, 5)
        self.run_in_loop(main())

    def test_a_group_entered_inside_is_shielded(self):
        async def member(seen):
            await asyncio.sleep(5)
            seen.append(self.loop.now)

        async def main():
            seen = []
            with asyncio.move_on_after(1) as scope:
                async with asyncio.shield():
                    async with asyncio.TaskGroup() as group:
                        group.create_task(member(seen))
            self.assertEqual(seen, [5])
            self.assertTrue(scope.cancelled_caught)
        self.run_in_loop(main())


class InterruptTests(unittest.TestCase):
    """Real signals on a real loop."""

    def setUp(self):
        if threading.current_thread() is not threading.main_thread():
            self.skipTest("signals come to the main thread")
        if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
            self.skipTest("SIGINT has another handler")

    def interrupt(self, block, after):
        """Interrupt main() in a shielded block; return what it did."""
        seen = []

        async def main():
            async with block():
                # The handler runs in our context, but asks from outside.
                signal.raise_signal(signal.SIGINT)
                await asyncio.sleep(0)
                seen.append("block")
            await after(seen)

        with self.assertRaises(KeyboardInterrupt):
            asyncio.run(main())
        return seen

    def test_an_interrupt_waits_for_the_block(self):
        async def wait(seen):
            await asyncio.sleep(60)

        self.assertEqual(self.interrupt(asyncio.shield, wait), ["block"])

    def test_an_interrupt_is_told_though_the_main_task_ends(self):
        async def main():
            with asyncio.shield():
                signal.raise_signal(signal.SIGINT)
                await asyncio.sleep(0)
                seen.append("block")
            return "result"

        seen = []
        with self.assertRaises(KeyboardInterrupt):
            asyncio.run(main())
        self.assertEqual(seen, ["block"])

    def test_an_interrupt_before_the_block_is_told_though_the_task_ends(self):
        async def main():
            signal.raise_signal(signal.SIGINT)
            with asyncio.shield():
                await asyncio.sleep(0)
                seen.append("block")

        seen = []
        with self.assertRaises(KeyboardInterrupt):
            asyncio.run(main())
        self.assertEqual(seen, ["block"])

    def test_a_main_task_that_swallows_it_has_its_result(self):
        async def main():
            signal.raise_signal(signal.SIGINT)
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                pass
            return "result"

        self.assertEqual(asyncio.run(main()), "result")

    def test_an_interrupt_calls_the_cancel_of_a_subclass(self):
        class Task(asyncio.Task):
            def cancel(self, msg=None):
                calls.append(msg)
                return super().cancel(msg)

        async def main():
            async with asyncio.shield():
                signal.raise_signal(signal.SIGINT)
                await asyncio.sleep(0)
            await asyncio.sleep(60)

        def make_loop():
            loop = asyncio.new_event_loop()
            loop.set_task_factory(
                lambda loop, coro, **kwargs: Task(coro, loop=loop, **kwargs))
            return loop

        calls = []
        with (self.assertRaises(KeyboardInterrupt),
              asyncio.Runner(loop_factory=make_loop) as runner):
            runner.run(main())
        self.assertEqual(calls, [None])

    def test_a_second_interrupt_waits_for_the_block_too(self):
        async def main():
            async with asyncio.shield():
                signal.raise_signal(signal.SIGINT)
                await asyncio.sleep(0)
                asyncio.get_running_loop().call_soon(
                    signal.raise_signal, signal.SIGINT)
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                seen.append("block")

        seen = []
        with self.assertRaises(KeyboardInterrupt):
            asyncio.run(main())
        self.assertEqual(seen, ["block"])

    def test_a_released_interrupt_that_is_swallowed_is_told(self):
        async def main():
            with self.assertRaises(asyncio.CancelledError):
                async with asyncio.shield():
                    signal.raise_signal(signal.SIGINT)
                    await asyncio.sleep(0)
            return "result"

        self.assertEqual(asyncio.run(main()), "result")

    def test_an_interrupt_while_a_timeout_asks_is_not_the_timeouts(self):
        cancel_by_base = cancellation._cancel_by_base

        def interrupted(task, msg):
            cancellation._cancel_by_base = cancel_by_base
            signal.raise_signal(signal.SIGINT)
            cancel_by_base(task, msg)

        async def main():
            async with asyncio.shield():
                with self.assertRaises(TimeoutError):
                    async with asyncio.timeout(0.01):
                        cancellation._cancel_by_base = interrupted
                        await asyncio.sleep(60)
                seen.append("block")
            await asyncio.sleep(60)
        seen = []
        self.addCleanup(setattr, cancellation, "_cancel_by_base",
                        cancel_by_base)
        with self.assertRaises(KeyboardInterrupt):
            asyncio.run(main())
        self.assertEqual(seen, ["block"])

    def test_a_timeout_that_an_interrupt_interrupts_waits_for_a_shield(self):
        cancel_by_base = cancellation._cancel_by_base

        def interrupted(task, msg):
            cancellation._cancel_by_base = cancel_by_base
            signal.raise_signal(signal.SIGINT)
            cancel_by_base(task, msg)
            asked.set()

        async def main():
            nonlocal asked
            asked = asyncio.Event()
            async with asyncio.shield():
                with self.assertRaises(TimeoutError):
                    async with asyncio.timeout(0.01), asyncio.shield():
                        cancellation._cancel_by_base = interrupted
                        await asked.wait()
                        seen.append("inner block")
                seen.append("block")
            await asyncio.sleep(60)
        seen, asked = [], None
        self.addCleanup(setattr, cancellation, "_cancel_by_base",
                        cancel_by_base)
        with self.assertRaises(KeyboardInterrupt):
            asyncio.run(main())
        self.assertEqual(seen, ["inner block", "block"])

    def test_an_interrupt_while_requests_are_sorted_is_told(self):
        is_held = cancellation._Rules._is_held
        calls = 0

        def interrupted(canceller, origin):
            nonlocal calls
            calls -= 1
            if calls == 0:
                signal.raise_signal(signal.SIGINT)
            return is_held(canceller, origin)

        async def main(way, interrupted_call):
            nonlocal calls
            task = asyncio.current_task()
            async with asyncio.shield():
                # From inside it is pending, and held by the next shield.
                with (cancellation.from_outside() if way == "release"
                      else contextlib.nullcontext()):
                    task.cancel()
                inner = asyncio.shield()
                calls = interrupted_call
                with inner:
                    held = len(task._canceller.held)
                if way == "release":
                    held = len(task._canceller.held)
                self.assertLessEqual(calls, 0)
                self.assertEqual(held, 2)
                task.uncancel()
            await asyncio.sleep(60)
        self.enterContext(mock.patch.object(
            cancellation._Rules, "_is_held", interrupted))
        for way in "release", "hold":
            for call in 1, 2:
                with (self.subTest(way=way, call=call),
                      self.assertRaises(KeyboardInterrupt)):
                    asyncio.run(main(way, call))


class ProcessTests(unittest.TestCase):
    """The ends of interpreters."""

    def check(self, script):
        result = script_helper.assert_python_ok("-X", "dev", "-c", script)
        self.assertEqual(result.err, b"")
        self.assertEqual(result.out.split(), [b"done"])

    def test_the_interpreter_ends_with_scopes_open(self):
        self.check(textwrap.dedent("""
            import asyncio

            async def child():
                with asyncio.move_on_after(60), asyncio.shield():
                    async with asyncio.timeout(60):
                        await asyncio.sleep(60)

            async def main():
                kept.append(asyncio.create_task(child()))
                await asyncio.sleep(0)
                # What is left is not reported: this is about crashes.
                kept[0]._log_destroy_pending = False
                print("done")

            kept = []
            loop = asyncio.new_event_loop()
            loop.run_until_complete(main())
            loop.close()
            kept.append(loop)
        """))

    def test_an_exit_passes_through_scopes(self):
        script = textwrap.dedent("""
            import asyncio, sys

            async def main():
                with asyncio.CancelScope() as scope:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(asyncio.sleep(60))
                        await asyncio.sleep(0)
                        scope.cancel()
                        sys.exit(7)

            asyncio.run(main())
        """)
        result = script_helper.assert_python_failure("-X", "dev", "-c", script)
        self.assertEqual((result.rc, result.err), (7, b""))

    @unittest.skipIf(_interpreters is None, "needs _interpreters")
    def test_scopes_in_another_interpreter(self):
        self.check(textwrap.dedent("""
            import _interpreters

            interpreter = _interpreters.create()
            error = _interpreters.exec(interpreter, '''if True:
                import asyncio

                async def main():
                    with asyncio.move_on_after(0.01) as scope:
                        async with asyncio.TaskGroup() as group:
                            group.create_task(asyncio.sleep(60))
                    async with asyncio.shield():
                        await asyncio.sleep(0)
                    assert scope.cancelled_caught
                    print("done")

                asyncio.run(main())
            ''')
            assert error is None, error
            _interpreters.destroy(interpreter)
        """))


for behaviour in BlockTests, TimeoutTests, GroupTests:
    globals().update(scopes_support.kinds(behaviour.__name__, behaviour))
del behaviour, BlockTests, TimeoutTests, GroupTests


if __name__ == "__main__":
    unittest.main()
