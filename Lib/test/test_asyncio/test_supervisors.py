"""Tests for supervisors: their block, tasks, callbacks, timers and futures.

Sockets, processes and threads are in test_supervisor_io.
"""

import asyncio
import concurrent.futures
import contextlib
import contextvars
import gc
import itertools
import signal
import threading
import unittest
import weakref
from asyncio import supervisors
from asyncio import tasks

from test import support
from test.test_asyncio import scopes_support


def tearDownModule():
    asyncio.set_event_loop_policy(None)


class Boom(Exception):
    pass


async def fail(exc=None, delay=None):
    if delay is not None:
        await asyncio.sleep(delay)
    raise exc or Boom


async def fail_when_cancelled():
    try:
        await forever()
    finally:
        raise Boom


async def forever():
    await asyncio.sleep(3600)


class SupervisorTests:

    def supervisor(self, **kwargs):
        return self.loop.create_supervisor(**kwargs)

    @contextlib.contextmanager
    def raises(self, *types):
        """The block raises a group of errors of these types, in this order.

        Gives a list, in which the errors are afterwards.
        """
        errors = []
        with self.assertRaises(BaseExceptionGroup) as caught:
            yield errors
        errors += caught.exception.exceptions
        self.assertEqual([type(exc) for exc in errors], list(types))
        self.assertEqual(asyncio.current_task().cancelling(), 0)

    # The block.

    def test_an_empty_block_does_nothing(self):
        async def main():
            passes = self.loop.passes
            async with self.supervisor() as sup:
                self.assertEqual(sup.owned(), [])
            self.assertEqual(self.loop.passes, passes)
            return sup
        sup = self.run_in_loop(main())
        self.assertEqual(repr(sup), "<Supervisor closed>")

    def test_repr_tells_the_name_the_state_and_what_is_owned(self):
        async def main():
            sup = self.supervisor(name="crawler")
            self.assertEqual(repr(sup), "<Supervisor 'crawler' not entered>")
            async with sup:
                sup.create_task(forever()).cancel()
                sup.call_later(1, print)
                sup.call_soon(int)
                future = sup.create_future()
                self.assertEqual(
                    repr(sup), "<Supervisor 'crawler' open tasks=1 timers=1 "
                               "callbacks=1 futures=1>")
                self.assertEqual(len(sup.owned()), 4)
            self.assertEqual(repr(sup), "<Supervisor 'crawler' closed>")
            self.assertTrue(future.cancelled())
        self.run_in_loop(main())

    def test_a_supervisor_is_entered_once(self):
        async def main():
            async with self.supervisor() as sup:
                with self.assertRaisesRegex(RuntimeError, "already"):
                    await sup.__aenter__()
                self.assertIs(await sup.create_task(asyncio.sleep(0, 1)), 1)
            with self.assertRaisesRegex(RuntimeError, "already"):
                await sup.__aenter__()
            with self.assertRaisesRegex(RuntimeError, "has ended"):
                await sup.__aexit__(None, None, None)
            with self.assertRaisesRegex(RuntimeError, "not entered"):
                await self.supervisor().__aexit__(None, None, None)
        self.run_in_loop(main())

    def test_it_is_entered_in_a_task_of_its_own_loop_only(self):
        other = asyncio.new_event_loop()
        self.addCleanup(other.close)
        sup = other.create_supervisor()

        async def main():
            with self.assertRaisesRegex(RuntimeError, "another event loop"):
                await sup.__aenter__()
        self.run_in_loop(main())

        errors = []

        def callback():
            try:
                self.supervisor().__aenter__().send(None)
            except RuntimeError as exc:
                errors.append(str(exc))
        self.loop.call_soon(callback)
        self.run_in_loop(asyncio.sleep(0))
        self.assertEqual(len(errors), 1)
        self.assertIn("in a task only", errors[0])

    def test_it_is_left_in_the_task_that_entered_it_only(self):
        async def main():
            async with self.supervisor() as sup:
                async def leave():
                    with self.assertRaisesRegex(RuntimeError, "another task"):
                        await sup.__aexit__(None, None, None)
                await asyncio.create_task(leave())
                self.assertEqual(await sup.create_task(asyncio.sleep(0, 5)), 5)
        self.run_in_loop(main())

    def test_errors_of_one_that_another_task_leaves_are_reported(self):
        async def iterate(sup):
            async with sup:
                sup.call_soon(int, "x")
                yield

        async def main():
            iterator = iterate(self.supervisor())
            with self.assertRaises(asyncio.CancelledError):
                await anext(iterator)
                await asyncio.sleep(1)

            async def go_on():
                with self.assertRaisesRegex(RuntimeError, "another task"):
                    await anext(iterator)
            await asyncio.create_task(go_on())
            self.assertEqual([type(context["exception"])
                              for context in self.unhandled], [ValueError])
            self.unhandled.clear()
        self.run_in_loop(main())

    async def leave_in_another_task(self, own):
        """Enter one in a task that ends; leave it, and return what it had."""
        sup = self.supervisor()

        async def enter():
            with asyncio.CancelScope():
                await sup.__aenter__()
                return sup.create_future(), *own(sup)
        owned = await asyncio.create_task(enter())
        await asyncio.sleep(1)
        async with asyncio.timeout(10):
            await sup.__aexit__(None, None, None)
        self.assertEqual(repr(sup), "<Supervisor closed>")
        self.assertTrue(owned[0].cancelled())
        return owned[1:]

    def test_another_task_leaves_it_when_its_host_has_ended(self):
        async def main():
            task, timer = await self.leave_in_another_task(lambda sup: (
                sup.create_task(asyncio.sleep(5, 7)),
                sup.call_later(9, print)))
            self.assertEqual(task.result(), 7)
            self.assertTrue(timer.cancelled())
        self.run_in_loop(main())

    def test_who_leaves_it_for_its_host_is_told_of_the_errors(self):
        async def main():
            with self.raises(Boom, Boom):
                await self.leave_in_another_task(lambda sup: (
                    sup.create_task(fail(delay=0.5)),
                    sup.create_task(fail_when_cancelled())))
            # It was not known that somebody would come.
            self.assertEqual(len(self.unhandled), 2)
            self.unhandled.clear()
        self.run_in_loop(main())

    def test_who_leaves_it_for_its_host_can_be_cancelled(self):
        async def main():
            with self.assertRaises(TimeoutError):
                await self.leave_in_another_task(lambda sup: (
                    sup.create_task(forever()),))
            self.assertEqual(asyncio.current_task().cancelling(), 0)
            self.assertEqual(asyncio.all_tasks(), {asyncio.current_task()})
        self.run_in_loop(main())

    def test_who_leaves_it_for_its_host_ends_what_was_cancelled(self):
        async def main():
            await self.leave_in_another_task(lambda sup: (
                sup.create_task(forever()), sup.call_later(0.5, sup.cancel)))
        self.run_in_loop(main())

    def test_the_cancel_of_who_leaves_it_for_its_host_is_not_lost(self):
        async def enter(sup):
            await sup.__aenter__()
            sup.create_task(clean_up())
            await asyncio.sleep(0)
            sup.cancel()

        async def clean_up():
            with asyncio.CancelScope(shield=True):
                await asyncio.sleep(5)

        async def main():
            sup = self.supervisor()
            await asyncio.wait([asyncio.create_task(enter(sup))])
            with self.assertRaises(TimeoutError):
                async with asyncio.timeout(1):
                    await sup.__aexit__(None, None, None)
            self.assertEqual(asyncio.current_task().cancelling(), 0)
            self.assertEqual(self.loop.time(), 5)
        self.run_in_loop(main())

    def test_a_cancel_before_who_leaves_it_for_its_host_is_not_repeated(self):
        async def main():
            asyncio.current_task().cancel()
            with self.assertRaises(asyncio.CancelledError):
                await asyncio.sleep(0)
            with self.assertRaises(BaseExceptionGroup):
                await self.leave_in_another_task(
                    lambda sup: (sup.create_task(fail()),))
            self.unhandled.clear()
            await asyncio.sleep(0)
            self.assertEqual(asyncio.current_task().cancelling(), 1)
        self.run_in_loop(main())

    def test_the_scopes_around_its_host_do_not_reach_who_leaves_it(self):
        async def main():
            sup = self.supervisor()
            with asyncio.CancelScope() as scope:
                async with asyncio.TaskGroup() as group:
                    await group.create_task(sup.__aenter__())
                    task = sup.create_task(asyncio.sleep(5, 7))
                    leaving = self.loop.create_task(
                        sup.__aexit__(None, None, None))
                    await asyncio.sleep(1)
                    scope.cancel()
                    await forever()
            self.assertTrue(scope.cancelled_caught)
            await leaving
            self.assertEqual(task.result(), 7)
        self.run_in_loop(main())

    def test_one_that_is_never_entered_is_collected(self):
        sup = self.supervisor()
        ref = weakref.ref(sup)
        del sup
        self.assertIsNone(ref())

    def test_a_failure_handler_is_called_and_not_awaited(self):
        for wrong in 1, fail:
            with self.assertRaisesRegex(TypeError, "failure_handler"):
                self.supervisor(failure_handler=wrong)

    # What is allowed when.

    def allocations(self, sup):
        """Return pairs: the name of a method, and a call of it."""
        made = []

        def coroutine():
            made.append(forever())
            return made[-1]
        yield "call_soon", lambda: sup.call_soon(print)
        yield "call_soon_threadsafe", lambda: sup.call_soon_threadsafe(print)
        yield "call_later", lambda: sup.call_later(5, print)
        yield "call_at", lambda: sup.call_at(5, print)
        yield "create_future", sup.create_future
        yield "create_task", lambda: sup.create_task(coroutine())
        yield "run_in_executor", lambda: sup.run_in_executor(None, print)
        yield "add_reader", lambda: sup.add_reader(0, print)
        yield "add_writer", lambda: sup.add_writer(0, print)
        yield "add_signal_handler", lambda: sup.add_signal_handler(2, print)
        for name in (*supervisors._ALLOCATING, *supervisors._SERVING,
                     "start_tls"):
            yield name, lambda name=name: getattr(sup, name)(None).send(None)
        for coro in made:
            self.assertIsNone(coro.cr_frame, "the coroutine is not closed")

    callbacks = {"call_soon", "call_soon_threadsafe", "call_later", "call_at",
                 "create_future"}

    def assert_refuses(self, sup, words, but=()):
        for name, allocate in self.allocations(sup):
            if name not in but:
                with (self.subTest(name=name, state=words),
                      self.assertRaisesRegex(RuntimeError, words)):
                    allocate()

    def test_nothing_is_allocated_before_the_entry_or_after_the_end(self):
        async def main():
            sup = self.supervisor()
            self.assert_refuses(sup, "is not entered: use 'async with'")
            async with sup:
                pass
            self.assert_refuses(sup, "has ended")
        self.run_in_loop(main())

    def test_while_it_aborts_callbacks_and_futures_are_made_cancelled(self):
        async def main():
            async with self.supervisor() as sup:
                sup.cancel()
                self.assert_refuses(sup, "is shutting down", self.callbacks)
                for name, allocate in self.allocations(sup):
                    if name in self.callbacks:
                        self.assertTrue(allocate().cancelled(), name)
                self.assertEqual(sup.owned(), [])
        self.run_in_loop(main())

    def test_a_coroutine_that_is_refused_is_closed(self):
        async def main():
            async with self.supervisor() as sup:
                pass
            coro = forever()
            with self.assertRaises(RuntimeError):
                sup.create_task(coro)
            self.assertIsNone(coro.cr_frame)
        self.run_in_loop(main())

    # A normal exit.

    def test_a_normal_exit_awaits_tasks_and_cancels_timers_and_futures(self):
        log = []

        async def work():
            await asyncio.sleep(5)
            log.append("worked")

        async def main():
            async with self.supervisor() as sup:
                task = sup.create_task(work())
                timer = sup.call_later(7, log.append, "timer")
                early = sup.call_later(3, log.append, "early timer")
                future = sup.create_future()
                future.add_done_callback(lambda f: log.append("future"))
                log.append("end of the body")
            self.assertTrue(task.done())
            self.assertTrue(timer.cancelled())
            self.assertFalse(early.cancelled())
            self.assertTrue(future.cancelled())
            self.assertEqual(self.loop.now, 5)
        self.run_in_loop(main())
        self.assertEqual(log, ["end of the body", "early timer", "worked",
                               "future"])

    def test_tasks_that_tasks_create_at_the_end_are_awaited_too(self):
        log = []

        async def work(sup, depth):
            await asyncio.sleep(1)
            log.append(depth)
            if depth:
                sup.create_task(work(sup, depth - 1))

        async def main():
            async with self.supervisor() as sup:
                sup.create_task(work(sup, 3))
        self.run_in_loop(main())
        self.assertEqual(log, [3, 2, 1, 0])

    def test_ready_callbacks_run_before_the_end(self):
        log = []

        async def work():
            log.append("task of a callback")

        async def main():
            async with self.supervisor() as sup:
                sup.call_soon(log.append, "soon")
                sup.call_soon_threadsafe(log.append, "threadsafe")
                sup.call_soon(lambda: sup.create_task(work()))
        self.run_in_loop(main())
        self.assertEqual(log, ["soon", "threadsafe", "task of a callback"])

    def test_a_callback_that_schedules_itself_for_ever_lets_it_end(self):
        async def main():
            count = 0

            def again():
                nonlocal count
                count += 1
                with contextlib.suppress(RuntimeError):
                    sup.call_soon(again)
            async with self.supervisor() as sup:
                again()
            self.assertGreater(count, 1)
            before = count
            await asyncio.sleep(1)
            self.assertEqual(count, before)
        self.run_in_loop(main())

    def test_done_callbacks_that_go_on_for_ever_let_it_end(self):
        def add_again(future):
            if goes_on:
                future.add_done_callback(add_again)

        def make_again(_):
            with contextlib.suppress(RuntimeError):
                future = sup.create_future()
                if not future.done():
                    future.set_result(None)
                future.add_done_callback(make_again)

        async def main(again, cancels):
            nonlocal sup
            async with self.supervisor() as sup:
                future = sup.create_future()
                future.set_result(None)
                future.add_done_callback(again)
                if cancels:
                    sup.cancel()
        sup, goes_on = None, True
        for again in add_again, make_again:
            for cancels in False, True:
                if again is add_again:
                    # It goes on for ever when the supervisor has ended.
                    before = self.loop.passes
                    self.loop.run_until_complete(main(again, cancels))
                    self.assertLess(self.loop.passes, before + 20)
                    goes_on = False
                    self.run_in_loop(asyncio.sleep(0))
                    goes_on = True
                else:
                    self.run_in_loop(main(again, cancels))

    def test_an_error_in_the_last_batch_of_callbacks_is_raised(self):
        async def main():
            future = self.loop.create_future()

            def closing(_):
                sup.call_soon(raising)

            def raising():
                raise Boom
            with self.raises(Boom):
                async with self.supervisor() as sup:
                    future = sup.create_future()
                    future.add_done_callback(closing)
        self.run_in_loop(main())

    # Failures.

    def test_an_unhandled_exception_cancels_the_body_and_all_tasks_once(self):
        told = []

        async def work(name):
            for _ in range(2):
                try:
                    await asyncio.sleep(100)
                except asyncio.CancelledError:
                    told.append(name)

        async def main():
            with self.raises(Boom):
                async with self.supervisor() as sup:
                    sup.create_task(work("a"))
                    sup.create_task(work("b"))
                    sup.create_task(fail(delay=1))
                    try:
                        await work("body")
                    finally:
                        self.assertEqual(asyncio.current_task().cancelling(),
                                         1)
            self.assertEqual(sorted(told), ["a", "b", "body"])
            # An edge: the second sleep was a whole one.
            self.assertEqual(self.loop.now, 101)
        self.run_in_loop(main())

    def test_each_kind_of_callback_fails_it(self):
        def raising(*args):
            raise Boom

        async def done():
            pass

        schedule = {
            "call_soon": lambda sup: sup.call_soon(raising),
            "threadsafe": lambda sup: sup.call_soon_threadsafe(raising),
            "call_later": lambda sup: sup.call_later(1, raising),
            "call_at": lambda sup: sup.call_at(1, raising),
            "future": lambda sup: sup.create_future(),
            "task": lambda sup: sup.create_task(done()),
        }

        async def main(name):
            with self.raises(Boom) as errors:
                async with self.supervisor() as sup:
                    made = schedule[name](sup)
                    if name in ("future", "task"):
                        made.add_done_callback(raising)
                    if name == "future":
                        made.set_result(1)
                    await forever()
            frames = []
            tb = errors[0].__traceback__
            while tb is not None:
                frames.append(tb.tb_frame.f_code.co_name)
                tb = tb.tb_next
            self.assertIn("raising", frames)
            self.assertEqual(sup.owned(), [])
        for name in schedule:
            with self.subTest(name=name):
                self.run_in_loop(main(name))

    def test_an_exception_that_cannot_be_shown_is_a_failure_too(self):
        class Hidden(Exception):
            def __repr__(self):
                raise ZeroDivisionError
            __str__ = __repr__

        async def main():
            with self.raises(Hidden):
                async with self.supervisor() as sup:
                    sup.create_task(fail(Hidden()))
                    await forever()
        self.run_in_loop(main())

    def test_the_same_exception_is_raised_once(self):
        async def main():
            with self.raises(Boom):
                async with self.supervisor() as sup:
                    await sup.create_task(fail())
        self.run_in_loop(main())

    def test_every_error_is_in_the_group(self):
        async def clean_up():
            try:
                await forever()
            finally:
                raise LookupError

        async def main():
            with self.raises(Boom, ValueError, LookupError):
                async with self.supervisor() as sup:
                    sup.create_task(clean_up())
                    sup.create_task(fail())
                    try:
                        await forever()
                    finally:
                        raise ValueError
        self.run_in_loop(main())

    def test_ready_callbacks_and_timers_are_dropped(self):
        log = []

        async def main():
            with self.raises(Boom):
                async with self.supervisor() as sup:
                    def failing():
                        sup.call_soon(log.append, "late")
                        raise Boom
                    sup.call_soon(failing)
                    ready = sup.call_soon(log.append, "ready")
                    timer = sup.call_later(0, log.append, "timer")
                    await forever()
            self.assertTrue(ready.cancelled())
            self.assertTrue(timer.cancelled())
            await asyncio.sleep(1)
        self.run_in_loop(main())
        self.assertEqual(log, [])

    def test_futures_are_cancelled_before_tasks_that_wait_for_them(self):
        async def stubborn(future):
            try:
                await forever()
            finally:
                with self.assertRaises(asyncio.CancelledError):
                    await future

        async def main():
            with self.raises(Boom):
                async with self.supervisor() as sup:
                    future = sup.create_future()
                    sup.create_task(stubborn(future))
                    sup.create_task(fail(delay=1))
                    await stubborn(sup.create_future())
        self.run_in_loop(main())

    def test_a_cancelled_error_from_a_callback_is_no_failure(self):
        def ask_result(future):
            future.result()

        async def main():
            async with self.supervisor() as sup:
                future = sup.create_future()
                future.add_done_callback(ask_result)
                future.cancel()
                await asyncio.sleep(1)
                task = sup.create_task(forever())
                await asyncio.sleep(1)
                task.cancel()
        self.loop.run_until_complete(main())
        self.assertEqual([type(context["exception"])
                          for context in self.unhandled],
                         [asyncio.CancelledError])

    def test_its_own_refusal_that_escapes_a_callback_is_no_failure(self):
        async def main():
            coros = []

            def create(task):
                coros.append(forever())
                sup.create_task(coros[-1])
            async with self.supervisor() as sup:
                task = sup.create_task(forever())
                await asyncio.sleep(0)
                task.add_done_callback(create)
                sup.cancel()
            self.assertIsNone(coros[0].cr_frame)
        self.run_in_loop(main())

    def test_another_supervisors_refusal_is_a_failure(self):
        async def main():
            async with self.supervisor() as ended:
                pass
            with self.raises(supervisors._Refusal):
                async with self.supervisor() as sup:
                    sup.call_soon(ended.call_soon, print)
                    await forever()
        self.run_in_loop(main())

    def test_keyboard_interrupt_of_a_task_is_raised_bare_after_the_rest(self):
        log = []

        async def clean_up():
            try:
                await forever()
            finally:
                await asyncio.sleep(3)
                log.append("cleaned up")

        async def main(cls):
            with self.assertRaises(cls):
                async with self.supervisor() as sup:
                    sup.create_task(clean_up())
                    sup.create_task(fail(cls(), delay=1))
                    await forever()
            self.assertEqual(asyncio.current_task().cancelling(), 0)
        for cls in KeyboardInterrupt, SystemExit:
            with self.subTest(cls=cls):
                log.clear()
                self.run_in_loop(main(cls))
                self.assertEqual(log, ["cleaned up"])

    def test_an_exit_is_no_failure_that_a_handler_may_handle(self):
        async def main(cls):
            asked = []
            with self.assertRaises(cls):
                async with self.supervisor(
                        failure_handler=lambda c: not asked.append(c)) as sup:
                    sup.create_task(fail(cls()))
                    await forever()
            self.assertEqual(asked, [])
        for cls in KeyboardInterrupt, SystemExit:
            with self.subTest(cls=cls):
                self.run_in_loop(main(cls))

    def test_an_exit_from_the_body_is_raised_bare_after_the_rest(self):
        log = []

        async def clean_up():
            try:
                await forever()
            finally:
                await asyncio.sleep(3)
                log.append("cleaned up")

        async def main(exc):
            try:
                async with self.supervisor() as sup:
                    sup.create_task(clean_up())
                    await asyncio.sleep(1)
                    raise exc
            except BaseException as caught:
                self.assertIs(caught, exc)
            else:
                self.fail("nothing was raised")
        for cls in KeyboardInterrupt, SystemExit, GeneratorExit:
            with self.subTest(cls=cls):
                log.clear()
                self.run_in_loop(main(cls()))
                self.assertEqual(log, ["cleaned up"])

    async def supervised_generator(self, made):
        async with self.supervisor() as sup:
            made.extend([sup, sup.create_task(fail_when_cancelled()),
                         sup.call_later(50, print)])
            yield 1
            yield 2

    def test_a_generator_that_is_closed_in_another_task_leaves_nothing(self):
        made = []

        async def leave_open():
            async for _ in self.supervised_generator(made):
                await asyncio.sleep(0)
                break

        async def main():
            await asyncio.create_task(leave_open())
            gc.collect()
            await asyncio.sleep(1)
            sup, task, timer = made
            self.assertTrue(task.done())
            self.assertTrue(timer.cancelled())
            self.assertEqual(sup.owned(), [])
        self.loop.run_until_complete(main())
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.assertEqual(self.timers(), [])
        # Nobody else can be told of what the task raised.
        self.assertEqual([type(context["exception"])
                          for context in self.unhandled], [Boom])

    def test_a_coroutine_that_is_closed_leaves_nothing(self):
        async def block(made, body):
            async with self.supervisor() as sup:
                made += sup, sup.create_task(forever()), sup.create_future()
                await body()

        async def main(body):
            made = []
            host = asyncio.create_task(block(made, body))
            await asyncio.sleep(1)
            host.get_coro().close()
            sup, task, future = made
            self.assertEqual(repr(sup), "<Supervisor closed>")
            await asyncio.sleep(1)
            self.assertTrue(task.cancelled())
            host.cancel()
            with self.assertRaisesRegex(RuntimeError, "already awaited"):
                await host
        for body in forever, asyncio.checkpoint:
            with self.subTest(body=body):
                self.run_in_loop(main(body))

    def test_a_runner_ends_the_tasks_of_one_that_is_never_left(self):
        async def main():
            sup = self.supervisor()
            await sup.__aenter__()
            return sup, sup.create_task(forever())
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            sup, task = runner.run(main())
        self.assertTrue(task.cancelled())

    def test_what_is_hidden_by_an_exit_is_reported_to_the_loop(self):
        def handler(context):
            raise SystemExit

        async def main(body, handler):
            async with self.supervisor(failure_handler=handler) as sup:
                task = sup.create_task(fail_when_cancelled())
                await asyncio.sleep(0)
                if handler is None:
                    raise body
                task.cancel()
                await forever()
        for body, its_handler in ((GeneratorExit(), None),
                                  (KeyboardInterrupt(), None),
                                  (SystemExit(), handler)):
            with self.subTest(body=body):
                self.unhandled.clear()
                with self.assertRaises(type(body)):
                    self.loop.run_until_complete(main(body, its_handler))
                self.assertEqual([type(context["exception"])
                                  for context in self.unhandled], [Boom])

    def test_an_error_after_the_end_of_the_host_is_reported(self):
        def callback():
            raise Boom

        async def host(own):
            sup = self.supervisor()
            await sup.__aenter__()
            own(sup)

        async def main(own):
            await self.loop.create_task(host(own))
            await asyncio.sleep(3)
        for own in (lambda sup: sup.create_task(fail(delay=1)),
                    lambda sup: sup.call_soon(callback)):
            self.loop.run_until_complete(main(own))
            self.assertEqual([type(context["exception"])
                              for context in self.unhandled], [Boom])
            self.unhandled.clear()

    def test_a_generator_exit_of_a_task_is_an_error_as_any_other(self):
        async def main():
            with self.raises(GeneratorExit, Boom):
                async with self.supervisor() as sup:
                    sup.create_task(fail(GeneratorExit(), delay=1))
                    sup.create_task(fail_when_cancelled())
                    await forever()
        self.run_in_loop(main())

    # The failure handler.

    def test_what_the_handler_handles_fails_nothing(self):
        contexts = []

        def handler(context):
            contexts.append(context)
            return True

        def raising():
            raise Boom

        async def main():
            async with self.supervisor(failure_handler=handler) as sup:
                sup.call_soon(raising)
                task = sup.create_task(fail(LookupError()))
                await asyncio.sleep(1)
                self.assertEqual(await sup.create_task(asyncio.sleep(0, 3)), 3)
            self.assertIsInstance(task.exception(), LookupError)
        self.run_in_loop(main())
        soon, of_task = contexts
        self.assertIsInstance(soon["exception"], Boom)
        self.assertIn("handle", soon)
        self.assertIn("raising", soon["message"])
        self.assertIsInstance(of_task["exception"], LookupError)
        self.assertIn("task", of_task)

    def test_what_the_handler_does_not_handle_fails(self):
        async def main():
            with self.raises(Boom):
                async with self.supervisor(
                        failure_handler=lambda context: None) as sup:
                    sup.create_task(fail())
                    await forever()
        self.run_in_loop(main())

    def test_an_error_of_the_handler_joins_the_first(self):
        def handler(context):
            raise ValueError

        async def main():
            with self.raises(Boom, ValueError):
                async with self.supervisor(failure_handler=handler) as sup:
                    sup.create_task(fail())
                    await forever()
        self.run_in_loop(main())

    # cancel(), and cancellation from outside.

    def test_cancel_ends_the_body_and_the_tasks_without_an_error(self):
        async def main():
            async with self.supervisor() as sup:
                task = sup.create_task(forever())
                await asyncio.sleep(1)
                sup.cancel("enough")
                sup.cancel("again")
                with self.assertRaisesRegex(asyncio.CancelledError, "enough"):
                    await asyncio.sleep(1)
                await asyncio.sleep(1)  # It was an edge.
            self.assertTrue(task.cancelled())
            self.assertEqual(asyncio.current_task().cancelling(), 0)
            sup.cancel()
            self.assertEqual(self.loop.now, 2)
        self.run_in_loop(main())

    def test_cancel_before_the_entry_ends_the_body_at_its_first_wait(self):
        async def main():
            sup = self.supervisor()
            sup.cancel("early")
            sup.cancel("late")
            async with sup:
                with self.assertRaisesRegex(asyncio.CancelledError, "early"):
                    await asyncio.sleep(1)
                raise asyncio.CancelledError
            self.assertEqual(asyncio.current_task().cancelling(), 0)
        self.run_in_loop(main())

    def test_a_cancelled_host_ends_everything_and_says_so(self):
        log = []

        async def work():
            try:
                await forever()
            finally:
                await asyncio.sleep(1)
                log.append("cleaned up")

        async def host(sup, body):
            async with sup:
                sup.create_task(work())
                await asyncio.sleep(body)

        async def main(body):
            task = asyncio.create_task(host(self.supervisor(), body))
            await asyncio.sleep(1)
            task.cancel("outside")
            with self.assertRaises(asyncio.CancelledError) as caught:
                await task
            self.assertEqual(caught.exception.args, ("outside",))
            self.assertEqual(task.cancelling(), 1)
        for body in 100, 0.5:  # It is in its body, or waits for the task.
            with self.subTest(body=body):
                log.clear()
                self.run_in_loop(main(body))
                self.assertEqual(log, ["cleaned up"])

    def test_errors_win_over_a_cancel_which_stays_counted(self):
        async def clean_up():
            try:
                await forever()
            finally:
                raise Boom

        async def host():
            with self.assertRaises(ExceptionGroup):
                async with self.supervisor() as sup:
                    sup.create_task(clean_up())
                    await forever()
            self.assertEqual(asyncio.current_task().cancelling(), 1)
            with self.assertRaises(asyncio.CancelledError):
                await asyncio.sleep(1)
            return "told again"

        async def main():
            task = asyncio.create_task(host())
            await asyncio.sleep(1)
            task.cancel()
            self.assertEqual(await task, "told again")
        self.run_in_loop(main())

    def test_a_cancel_while_it_aborts_is_not_lost(self):
        async def slow():
            try:
                await forever()
            finally:
                await asyncio.sleep(5)

        async def host():
            async with self.supervisor() as sup:
                sup.create_task(slow())
                await asyncio.sleep(1)
                sup.cancel()
                await forever()

        async def main():
            task = asyncio.create_task(host())
            await asyncio.sleep(3)
            task.cancel("outside")
            with self.assertRaisesRegex(asyncio.CancelledError, "outside"):
                await task
            self.assertEqual(self.loop.now, 6)
        self.run_in_loop(main())

    def test_a_cancelled_error_that_the_body_raises_by_hand_goes_on(self):
        async def main():
            with self.assertRaisesRegex(asyncio.CancelledError, "by hand"):
                async with self.supervisor() as sup:
                    task = sup.create_task(forever())
                    raise asyncio.CancelledError("by hand")
            self.assertTrue(task.cancelled())
        self.run_in_loop(main())

    def test_a_task_that_swallows_its_cancellation_twice_lets_it_end(self):
        async def swallow():
            for _ in range(3):
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(10)

        async def main():
            with self.raises(Boom):
                async with self.supervisor() as sup:
                    sup.create_task(swallow())
                    sup.create_task(fail(delay=1))
                    await forever()
            self.assertEqual(self.loop.now, 21)
        self.run_in_loop(main())

    # Scopes, timeouts and shields.

    def test_a_level_cancel_from_outside_reaches_tasks_and_body(self):
        told = []

        async def work(name):
            try:
                for _ in range(3):
                    with contextlib.suppress(asyncio.CancelledError):
                        await asyncio.sleep(100)
                        self.fail("it was not told")
                    told.append(name)
                await asyncio.sleep(100)
            finally:
                told.append(name)

        async def main():
            with asyncio.move_on_after(5) as scope:
                async with self.supervisor() as sup:
                    sup.create_task(work("task"))
                    await work("body")
            self.assertTrue(scope.cancelled_caught)
            self.assertEqual(self.loop.now, 5)
            self.assertEqual(sorted(told), ["body"] * 4 + ["task"] * 4)
        self.run_in_loop(main())

    def test_nothing_runs_on_as_if_a_cancelled_task_had_finished(self):
        async def main():
            with asyncio.CancelScope() as scope:
                async with self.supervisor() as sup:
                    task = sup.create_task(forever())
                    await asyncio.sleep(0)
                    scope.cancel()
                    with asyncio.shield():
                        await asyncio.sleep(1)
                    self.assertTrue(task.cancelled())
                    self.assertEqual(sup.owned(), [])
                ran_on.append(True)
            self.assertTrue(scope.cancelled_caught)
        ran_on = []
        self.run_in_loop(main())
        self.assertEqual(ran_on, [])

    def test_nothing_runs_on_when_it_is_cancelled_below_a_level_cancel(self):
        async def work(sup, scope):
            try:
                await asyncio.sleep(1)
                sup.cancel()
                await forever()
            finally:
                # The exit of the block does not see it while it waits.
                scope.cancel()

        async def main(body):
            with asyncio.CancelScope() as scope:
                async with self.supervisor() as sup:
                    sup.create_task(work(sup, scope))
                    await body()
                self.fail("the host runs on")
            self.assertTrue(scope.cancelled_caught)
        for body in forever, asyncio.checkpoint:
            with self.subTest(body=body):
                self.run_in_loop(main(body))

    def test_a_level_cancel_while_it_aborts_lets_it_wait(self):
        async def work():
            try:
                await forever()
            finally:
                with asyncio.shield():
                    await asyncio.sleep(60)

        async def main():
            with asyncio.move_on_after(1):
                async with self.supervisor() as sup:
                    sup.create_task(work())
            self.assertEqual(self.loop.now, 61)
        before = self.loop.passes
        self.run_in_loop(main())
        self.assertLess(self.loop.passes - before, 30)

    def test_a_task_that_ends_it_in_a_shield_finishes_that_first(self):
        async def work():
            with asyncio.shield():
                sup.cancel()
                await asyncio.sleep(1)
                log.append("shielded")
            await asyncio.sleep(1)
            log.append("went on")

        async def main():
            nonlocal sup
            async with self.supervisor() as sup:
                sup.create_task(work())
                await forever()
        log, sup = [], None
        self.run_in_loop(main())
        self.assertEqual(log, ["shielded"])

    def test_a_deadline_while_it_exits_aborts_it(self):
        async def main(block):
            start = self.loop.now
            async with block(5) as scope:
                async with self.supervisor() as sup:
                    task = sup.create_task(forever())
                    timer = sup.call_later(99, print)
                self.fail("the exit did not raise")
            self.assertTrue(task.cancelled())
            self.assertTrue(timer.cancelled())
            self.assertEqual(self.loop.now, start + 5)
            return scope

        @contextlib.asynccontextmanager
        async def timeout(delay):
            with self.assertRaises(TimeoutError):
                async with asyncio.timeout(delay):
                    yield
        for block in asyncio.move_on_after, timeout:
            with self.subTest(block=block):
                self.run_in_loop(main(block))

    def test_shielded_blocks_of_tasks_and_body_finish(self):
        log = []

        async def shielded(name):
            with asyncio.shield():
                await asyncio.sleep(5)
                log.append(name)
            await asyncio.sleep(5)
            log.append("went on")

        async def main():
            with self.raises(Boom):
                async with self.supervisor() as sup:
                    sup.create_task(shielded("task"))
                    sup.create_task(fail(delay=1))
                    await shielded("body")
            self.assertEqual(self.loop.now, 5)
        self.run_in_loop(main())
        self.assertEqual(sorted(log), ["body", "task"])

    def test_a_supervisor_in_a_supervisor_fails_as_a_task_of_it(self):
        async def inner(outer):
            async with self.loop.create_supervisor(name="inner") as sup:
                sup.create_task(fail(delay=1))
                await forever()

        async def main():
            with self.raises(ExceptionGroup) as errors:
                async with self.supervisor() as sup:
                    sup.create_task(inner(sup))
                    await forever()
            self.assertIsInstance(errors[0].exceptions[0], Boom)
            # Its own, too, makes one.
            with self.raises(Boom):
                async with self.supervisor() as outer:
                    async with outer.create_supervisor(name="x") as sup:
                        self.assertIn("'x'", repr(sup))
                        outer.create_task(fail())
                        await forever()
        self.run_in_loop(main())

    def test_a_thousand_nested_ones_end(self):
        async def nest(depth):
            async with self.supervisor() as sup:
                if depth:
                    task = sup.create_task(nest(depth - 1))
                    await asyncio.sleep(0)
                else:
                    raise Boom

        async def main():
            with self.assertRaises(ExceptionGroup) as caught:
                await nest(1000)
            depth, exc = 0, caught.exception
            while isinstance(exc, ExceptionGroup):
                exc, = exc.exceptions
                depth += 1
            self.assertEqual(depth, 1001)
        if self.eager:
            self.skipTest("eager tasks nest in the interpreter's stack")
        self.run_in_loop(main())

    # Tasks.

    def test_tasks_take_every_argument_of_the_loops(self):
        async def main():
            async with self.supervisor() as sup:
                context = contextvars.copy_context()
                task = sup.create_task(forever(), name="x", context=context)
                self.assertEqual(task.get_name(), "x")
                self.assertIs(task.get_context(), context)
                self.assertIs(type(task), self.Task)
                task.cancel()
                ensured = asyncio.ensure_future(forever(), loop=sup)
                self.assertIn(ensured, sup.owned())
                ensured.cancel()
        self.run_in_loop(main())

    def test_a_task_is_owned_before_its_first_step(self):
        owned = []

        async def look(sup):
            owned.append(asyncio.current_task() in sup.owned())

        async def main():
            async with self.supervisor() as sup:
                sup.create_task(look(sup))
        self.run_in_loop(main())
        self.assertEqual(owned, [True])

    def test_a_task_that_the_loop_itself_begins_at_once_is_owned_before(self):
        def create_task(coro, **kwargs):
            return self.Task(coro, loop=self.loop, eager_start=True, **kwargs)

        async def look(sup):
            owned.append(tasks.current_task() in sup.owned())
        owned = []

        async def main():
            async with self.supervisor() as sup:
                self.loop.set_task_factory(None)
                self.loop.create_task = create_task
                sup.create_task(look(sup))
                del self.loop.create_task
        self.run_in_loop(main())
        self.assertEqual(owned, [True])

    def test_an_eager_first_step_that_raises_fails_it(self):
        async def main():
            with self.raises(Boom):
                async with self.supervisor() as sup:
                    task = sup.create_task(fail())
                    await forever()
            self.assertIsInstance(task.exception(), Boom)
        self.run_in_loop(main())

    def test_a_task_that_aborts_it_while_a_factory_makes_it_is_cancelled(self):
        async def wrapped(coro):
            return await coro

        def factory(loop, coro, **kwargs):
            return self.Task(wrapped(coro), loop=loop, eager_start=True)

        async def work(sup):
            sup.cancel()
            await forever()

        async def main():
            async with self.supervisor() as sup:
                self.loop.set_task_factory(factory)
                task = sup.create_task(work(sup))
            self.assertTrue(task.cancelled())
        self.run_in_loop(main())

    def test_a_task_of_a_factory_of_its_own_is_taken_in(self):
        async def wrapped(coro):
            return await coro

        def factory(loop, coro, **kwargs):
            return self.Task(wrapped(coro), loop=loop, **kwargs)

        async def main():
            async with self.supervisor() as sup:
                task = sup.create_task(forever())
                self.assertIn(task, sup.owned())
                # The inner coroutine begins.
                await asyncio.sleep(0)
                sup.cancel()
            self.assertTrue(task.cancelled())
        coro = main()
        task = self.Task(coro, loop=self.loop)
        self.loop.set_task_factory(factory)
        self.loop.run_until_complete(task)
        self.assertEqual(asyncio.all_tasks(self.loop), set())

    # What it stands for.

    def test_futures_and_tasks_that_are_given_one_have_the_real_loop(self):
        async def nothing():
            pass

        async def main():
            async with self.supervisor() as sup:
                for future in (asyncio.Future(loop=sup), sup.create_future(),
                               asyncio.Task(nothing(), loop=sup),
                               sup.create_task(nothing())):
                    self.assertIs(future.get_loop(), self.loop)
                self.assertIs(asyncio.current_task(sup),
                              asyncio.current_task())
                self.assertEqual(asyncio.all_tasks(sup),
                                 asyncio.all_tasks(self.loop))
                future = asyncio.Future(loop=sup)
                sup.call_soon(future.set_result, 7)
                self.assertEqual(await future, 7)
        self.run_in_loop(main())

    def test_the_loops_own_methods_are_passed_on(self):
        async def main():
            async with self.supervisor() as sup:
                self.assertEqual(sup.time(), self.loop.time())
                self.assertTrue(sup.is_running())
                self.assertFalse(sup.is_closed())
                self.assertIs(sup.get_debug(), self.loop.get_debug())
                self.assertIs(sup.get_task_factory(),
                              self.loop.get_task_factory())
                self.assertIs(sup.get_exception_handler(),
                              self.loop.get_exception_handler())
                # A loop's own addition.
                self.assertEqual(sup.slow_callback_duration,
                                 self.loop.slow_callback_duration)
                sup.slow_callback_duration = 5
                self.assertEqual(self.loop.slow_callback_duration, 5)
                with self.assertRaisesRegex(AttributeError, "Supervisor"):
                    sup._selector
        self.run_in_loop(main())

    def test_what_is_the_loops_alone_is_refused(self):
        async def main():
            async with self.supervisor() as sup:
                for name in supervisors._REFUSED:
                    with (self.subTest(name=name),
                          self.assertRaisesRegex(RuntimeError, name)):
                        getattr(sup, name)()
        self.run_in_loop(main())

    # What is kept, and for how long.

    def test_what_is_finished_is_forgotten_at_once(self):
        async def nothing():
            pass

        async def main():
            async with self.supervisor() as sup:
                for make in (lambda: sup.call_soon(bool),
                             lambda: sup.call_later(0, bool),
                             lambda: sup.create_task(nothing()),
                             lambda: sup.call_later(50, bool).cancel(),
                             lambda: sup.create_future().cancel()):
                    make()
                    await asyncio.sleep(1)
                    self.assertEqual(sup.owned(), [])
                    self.assertFalse(any(sup._books.values()))
                    self.assertEqual(len(sup._futures or ()), 0)
        self.run_in_loop(main())

    def test_equal_timers_are_owned_one_by_one(self):
        async def main():
            async with self.supervisor() as sup:
                timers = [sup.call_at(50, bool) for _ in range(2)]
                self.assertEqual(timers[0], timers[1])
                timers[0].cancel()
            self.assertTrue(timers[1].cancelled())
        self.run_in_loop(main())

    def test_no_cyclic_garbage_is_left(self):
        async def work(how):
            with contextlib.suppress(ExceptionGroup):
                async with self.supervisor() as sup:
                    sup.create_task(asyncio.sleep(0))
                    sup.call_later(1, print)
                    sup.call_soon(bool)
                    future = sup.create_future()
                    if how == "fail":
                        sup.create_task(fail())
                        await forever()
                    elif how == "callback":
                        sup.call_soon(int, "x")
                        await forever()
                    elif how == "cancel":
                        sup.cancel()
                        await forever()

        async def main(how):
            await work(how)
            await asyncio.sleep(1)
            gc.collect()
            gc.set_debug(gc.DEBUG_SAVEALL)
            try:
                await work(how)
                await asyncio.sleep(1)
                gc.collect()
                found = [type(thing) for thing in gc.garbage
                         if isinstance(thing, (supervisors.Supervisor,
                                               asyncio.Task, asyncio.Handle,
                                               BaseException))]
            finally:
                gc.set_debug(0)
                gc.garbage.clear()
            self.assertEqual(found, [])
        hows = ["end", "fail", "callback", "cancel"]
        if self.eager and self.Task is tasks._PyTask:
            # The constructor of the task is in its exception's traceback.
            hows.remove("fail")
        for how in hows:
            with self.subTest(how=how):
                self.loop.run_until_complete(main(how))

    def test_handles_in_debug_mode_know_who_made_them(self):
        async def main():
            self.loop.set_debug(True)
            # The frame of a factory is one of those that made a task.
            self.loop.set_task_factory(None)
            async with self.supervisor() as sup:
                for make in (lambda: sup.call_soon(bool),
                             lambda: sup.call_soon_threadsafe(bool),
                             lambda: sup.call_later(1, bool),
                             lambda: sup.call_at(1, bool),
                             lambda: sup.create_task(asyncio.sleep(0))):
                    for _ in range(2):
                        made = make()
                        self.assertEqual(made._source_traceback[-1].filename,
                                         __file__)
            self.loop.set_debug(False)
        self.run_in_loop(main())

    def test_a_patched_method_of_the_loop_hides_no_rule(self):
        async def main(name, schedule):
            method = getattr(self.loop, name)

            def patched(*args, **kwargs):
                return method(*args, **kwargs)
            setattr(self.loop, name, patched)
            try:
                with self.raises(Boom):
                    async with self.supervisor() as sup:
                        timer = sup.call_later(0, bool)
                        await asyncio.sleep(1)
                        self.assertEqual(sup.owned(), [])
                        schedule(sup)
                        await forever()
            finally:
                delattr(self.loop, name)

        def fail_now():
            raise Boom
        for name in ("call_soon", "call_at", "call_later",
                     "call_soon_threadsafe", "call_exception_handler"):
            for schedule in (lambda sup: sup.call_soon(fail_now),
                             lambda sup: sup.call_soon_threadsafe(fail_now),
                             lambda sup: sup.call_later(0, fail_now)):
                self.run_in_loop(main(name, schedule))


globals().update(scopes_support.kinds("SupervisorTests", SupervisorTests))


class DirectSupervisorTests(SupervisorTests):
    """The same where handles are put into the loop's queues directly."""

    def setUp(self):
        # A VirtualLoop has a _run_once() of its own.
        self.enterContext(scopes_support.replaced(
            supervisors, _is_plain=lambda loop_class: True))
        super().setUp()


class DebugSupervisorTests(SupervisorTests):
    """The same in debug mode, in which the loop's own methods are called."""

    def setUp(self):
        super().setUp()
        self.loop.set_debug(True)
        self.loop.slow_callback_duration = float("inf")


globals().update(scopes_support.kinds("DirectSupervisorTests",
                                      DirectSupervisorTests))
globals().update(
    (name, support.requires_resource("cpu")(cls))
    for name, cls in scopes_support.kinds("DebugSupervisorTests",
                                          DebugSupervisorTests).items())


class DirectTests(unittest.TestCase):
    """What is scheduled directly is as the loop's own code schedules it."""

    def observe(self, is_plain, debug=False):
        loop = scopes_support.VirtualLoop()
        loop.set_debug(debug)
        try:
            with scopes_support.replaced(
                    supervisors, _is_plain=lambda loop_class: is_plain):
                return loop.run_until_complete(self.schedule(loop))
        finally:
            loop.close()

    async def schedule(self, loop):
        """Return all that can be told of callbacks and timers."""
        var = contextvars.ContextVar("var")
        log = []
        async with loop.create_supervisor() as sup:
            var.set("before")
            context = contextvars.copy_context()
            var.set("now")

            def note(name):
                log.append((name, var.get(), loop.time()))

            now = loop.time()
            handles = [
                sup.call_soon(note, 1), loop.call_soon(note, 2),
                sup.call_soon(note, 3, context=context),
                sup.call_at(now + 2, note, 4), loop.call_at(now + 2, note, 5),
                sup.call_later(1, note, 6, context=context),
                sup.call_at(now - 1, note, 7), sup.call_later(3600, note, 8),
                sup.call_soon(note, 9), sup.call_later(5, note, 10)]
            log.append(handles[3] == handles[4])
            # They stay in the loop's queue, and are counted.
            handles[7].cancel()
            handles[8].cancel()
            log.append((loop._timer_cancelled_count, len(loop._scheduled)))
            self.tell(log, sup, handles)
            with self.assertRaises(TypeError):
                sup.call_at(None, note, 11)
            await asyncio.sleep(3)
            self.tell(log, sup, handles)
        self.tell(log, sup, handles)
        return log

    def tell(self, log, sup, handles):
        owned = set(map(id, sup.owned()))
        for handle in handles:
            when = getattr(handle, "when", None)
            log.append((type(handle).__name__, when and when(),
                        handle.cancelled(), id(handle) in owned,
                        getattr(handle, "_scheduled", None)))

    def test_debug_mode_finds_what_is_wrong(self):
        async def main():
            loop = asyncio.get_running_loop()
            async with loop.create_supervisor() as sup:
                future = sup.create_future()
                future.set_result(None)
                for _ in range(2):
                    with self.assertRaisesRegex(TypeError, "call_soon"):
                        sup.call_soon(forever)
                    with self.assertRaisesRegex(TypeError, "call_at"):
                        sup.call_at(0, forever)
                    for schedule in (lambda: sup.call_soon(print),
                                     lambda: sup.call_at(0, print),
                                     lambda: future.add_done_callback(print)):
                        with self.assertRaisesRegex(RuntimeError, "thread"):
                            await asyncio.to_thread(schedule)
        asyncio.run(main(), debug=True)

    def test_callbacks_and_timers(self):
        expected = self.observe(False)
        self.assertIn((4, "now", 2), expected)
        self.assertEqual(self.observe(True), expected)
        self.assertEqual(self.observe(True, debug=True), expected)


class ApiTests(unittest.TestCase):

    def test_every_method_of_a_loop_is_classified(self):
        written_out = {*vars(supervisors._TaskOwnerBase),
                       *vars(supervisors.TaskOwner),
                       *vars(supervisors.Supervisor)}
        for name in dir(asyncio.AbstractEventLoop):
            if not name.startswith("__"):
                with self.subTest(name=name):
                    self.assertIn(name, written_out)

    def test_each_is_classified_once(self):
        names = [*supervisors._ALLOCATING, *supervisors._SERVING,
                 *supervisors._PASSED_ON, *supervisors._REFUSED]
        self.assertEqual(len(names), len(set(names)))
        for name in names:
            self.assertEqual(getattr(supervisors.Supervisor, name).__name__,
                             name)


class NotingLoop(asyncio.SelectorEventLoop):
    """Of this module, as the views of some classes are kept."""

    calls = []

    def call_soon(self, callback, *args, context=None):
        self.calls.append("call_soon")
        return super().call_soon(callback, *args, context=context)

    def call_at(self, when, callback, *args, context=None):
        self.calls.append("call_at")
        return super().call_at(when, callback, *args, context=context)


class LoopTests(unittest.TestCase):

    def test_what_a_class_of_loops_overrides_is_called(self):
        async def main():
            calls = NotingLoop.calls
            async with asyncio.get_running_loop().create_supervisor() as sup:
                for _ in range(2):
                    calls.clear()
                    sup.call_soon(ran.append, 1)
                    self.assertEqual(calls, ["call_soon"])
                    sup.call_later(0, ran.append, 2)
                    self.assertEqual(calls, ["call_soon", "call_at"])
                while len(ran) < 4:
                    await asyncio.sleep(0)
        ran = []
        with asyncio.Runner(loop_factory=NotingLoop) as runner:
            runner.run(main())
        self.assertEqual(ran, [1, 1, 2, 2])

    def test_what_is_no_coroutine_is_refused_as_one(self):
        async def main():
            loop = asyncio.get_running_loop()
            async with loop.create_supervisor() as sup:
                pass
            for wrong in None, loop.create_future():
                with self.assertRaisesRegex(RuntimeError, "has ended"):
                    sup.create_task(wrong)
        asyncio.run(main())

    def test_a_body_that_is_closed_by_hand_beside_an_exit(self):
        async def leave():
            raise KeyboardInterrupt

        async def main():
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda loop, context:
                                       told.append(context))
            with self.assertRaises(KeyboardInterrupt):
                async with loop.create_supervisor() as sup:
                    sup.create_task(leave())
                    try:
                        await asyncio.sleep(60)
                    except asyncio.CancelledError:
                        raise GeneratorExit
        told = []
        asyncio.run(main())
        self.assertEqual(told, [])

    def test_a_closed_loop_schedules_nothing(self):
        loop = asyncio.SelectorEventLoop()
        sup = loop.create_supervisor()
        loop.run_until_complete(sup.__aenter__())
        for _ in range(2):
            sup.call_soon(print)
        future = sup.create_future()
        future.cancel()
        loop.close()
        for schedule in (sup.call_soon, sup.call_soon_threadsafe,
                         future.add_done_callback,
                         lambda callback: sup.call_at(1, callback),
                         lambda callback: sup.call_later(1, callback)):
            with self.assertRaisesRegex(RuntimeError, "is closed"):
                schedule(print)

    def test_a_call_in_another_loop_is_refused(self):
        async def call(sup):
            with self.assertRaisesRegex(RuntimeError, "another event loop"):
                await sup.create_connection(asyncio.Protocol, "localhost", 1)

        async def main():
            loop = asyncio.get_running_loop()
            async with loop.create_supervisor() as sup:
                await asyncio.to_thread(asyncio.run, call(sup))
        asyncio.run(main())

    def test_a_callback_that_cannot_be_shown_is_dropped_in_debug_mode(self):
        class Hidden:
            def __call__(self):
                raise AssertionError("it was not dropped")

            def __repr__(self):
                raise ZeroDivisionError

        async def main():
            loop = asyncio.get_running_loop()
            with self.assertRaises(ExceptionGroup) as caught:
                async with loop.create_supervisor() as sup:
                    handle = sup.call_soon(Hidden())
                    raise Boom
            self.assertEqual(len(caught.exception.exceptions), 1)
            self.assertTrue(handle.cancelled())
        asyncio.run(main(), debug=True)

    def test_a_coroutine_function_is_no_job_in_debug_mode(self):
        async def main():
            loop = asyncio.get_running_loop()
            async with loop.create_supervisor() as sup:
                with self.assertRaisesRegex(TypeError, "run_in_executor"):
                    sup.run_in_executor(None, forever)
                self.assertEqual(sup.owned(), [])
        asyncio.run(main(), debug=True)

    def test_what_cannot_be_closed_turns_the_exit_into_an_abort(self):
        class Transport(asyncio.Transport):
            aborted = False

            def get_protocol(self):
                return None

            def close(self):
                raise Boom

            def abort(self):
                self.aborted = True
                sup._transport_lost(self)

        async def main():
            nonlocal sup
            loop = asyncio.get_running_loop()
            transport = Transport()
            with self.assertRaises(ExceptionGroup) as caught:
                async with loop.create_supervisor() as sup:
                    sup._transport_made(transport)
            self.assertIsInstance(caught.exception.exceptions[0], Boom)
            self.assertTrue(transport.aborted)
        sup = None
        asyncio.run(main())


class EmptyBook(dict):
    """Calls something when it is looked at."""

    def __init__(self, look):
        self.look = look

    def __bool__(self):
        self.look()
        return False


class ThreadTests(unittest.TestCase):

    def test_a_signal_handler_may_schedule_while_a_thread_does(self):
        if threading.current_thread() is not threading.main_thread():
            self.skipTest("signals come to the main thread")

        async def main():
            async with asyncio.get_running_loop().create_supervisor() as sup:
                def handler(*args):
                    sup.call_soon_threadsafe(ran.append, True)
                self.addCleanup(signal.signal, signal.SIGUSR1,
                                signal.signal(signal.SIGUSR1, handler))
                with sup._lock:  # It comes in call_soon_threadsafe().
                    signal.raise_signal(signal.SIGUSR1)
        ran = []
        asyncio.run(main())
        self.assertEqual(ran, [True])

    def test_a_callback_that_comes_as_an_idle_one_ends_is_refused_or_run(self):
        async def main():
            sup = asyncio.get_running_loop().create_supervisor()

            def look():
                # The lock is held.
                thread.start()
                thread.join(0.05)

            def schedule():
                try:
                    sup.call_soon_threadsafe(late.append, True)
                except RuntimeError as exc:
                    refused.append(exc)
            thread = threading.Thread(target=schedule)
            async with sup:
                sup._books["slow"] = EmptyBook(look)
            thread.join(60)
            await asyncio.sleep(0)
        late, refused = [], []
        asyncio.run(main())
        self.assertEqual((late, len(refused)), ([], 1))

    def test_threads_that_schedule_callbacks_while_it_ends(self):
        counts = itertools.count()

        def run(room):
            next(counts)
            room.release()

        def hammer(sup, refused, stop, room):
            while not stop.is_set():
                # Else each pass of the loop can be longer than the one before.
                room.acquire(timeout=0.01)
                try:
                    sup.call_soon_threadsafe(run, room)
                except RuntimeError as exc:
                    if "has ended" in str(exc):
                        refused.append(exc)
                        return

        async def main(fails):
            refused, stop = [], threading.Event()
            room = threading.Semaphore(1000)
            try:
                async with asyncio.get_running_loop().create_supervisor() as s:
                    threads = [threading.Thread(target=hammer,
                                                args=(s, refused, stop, room))
                               for _ in range(8)]
                    for thread in threads:
                        thread.start()
                    for _ in range(50):
                        await asyncio.sleep(0)
                    if fails:
                        raise Boom
            except* Boom:
                pass
            try:
                for thread in threads:
                    thread.join(60)
            finally:
                stop.set()
            self.assertEqual(len(refused), 8)
            ran = next(counts)
            for _ in range(3):
                await asyncio.sleep(0)
            self.assertEqual(next(counts), ran + 1)
        for fails in False, True:
            with self.subTest(fails=fails):
                asyncio.run(main(fails))

    def test_a_thread_may_end_when_the_loop_is_closed(self):
        async def main():
            sup = await asyncio.get_running_loop(
                ).create_supervisor().__aenter__()
            sup.run_in_executor(executor, release.wait, 60)
        loop, release = asyncio.new_event_loop(), threading.Event()
        with concurrent.futures.ThreadPoolExecutor(1) as executor:
            loop.run_until_complete(main())
            loop.close()
            with self.assertNoLogs("concurrent.futures"):
                release.set()
                executor.shutdown()

    def test_run_coroutine_threadsafe_makes_an_owned_task(self):
        async def work(sup):
            return asyncio.current_task() in sup.owned()

        async def main():
            loop = asyncio.get_running_loop()
            async with loop.create_supervisor() as sup:
                future = await loop.run_in_executor(
                    None, asyncio.run_coroutine_threadsafe, work(sup), sup)
                self.assertTrue(await asyncio.wrap_future(future))
        asyncio.run(main())

    def test_a_thread_that_waits_for_a_dropped_coroutine_is_told(self):
        async def main(is_late):
            loop = asyncio.get_running_loop()
            coro = forever()
            async with loop.create_supervisor() as sup:
                if is_late:
                    sup.cancel()
                future = asyncio.run_coroutine_threadsafe(coro, sup)
                sup.cancel()
            self.assertTrue(future.cancelled())
            self.assertIsNone(coro.cr_frame)
        for is_late in False, True:
            with self.subTest(is_late=is_late):
                asyncio.run(main(is_late))

    def test_a_coroutine_that_a_thread_has_is_closed_if_it_is_refused(self):
        def refuse(sup, why):
            coro = forever()
            with self.assertRaisesRegex(RuntimeError, why):
                asyncio.run_coroutine_threadsafe(coro, sup)
            self.assertIsNone(coro.cr_frame)

        async def main():
            sup = asyncio.get_running_loop().create_supervisor()
            refuse(sup, "not entered")
            async with sup:
                pass
            refuse(sup, "has ended")
        asyncio.run(main())


if __name__ == "__main__":
    unittest.main()
