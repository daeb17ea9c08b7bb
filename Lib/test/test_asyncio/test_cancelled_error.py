"""What holds for CancelledError, everywhere in asyncio.

It is a BaseException, it reaches the task that is cancelled, and the
handlers of asyncio itself let it through: an audit reads the source and
compares the handlers that it finds with the two tables below.  An __aexit__
method can end a cancellation, too, by what it returns; the audit does not
look at those.
"""

import ast
import asyncio
import builtins
import concurrent.futures
import contextlib
import importlib
import io
import pathlib
import pickle
import socket
import threading
import unittest
from asyncio import base_subprocess, futures, staggered, tasks
from test import support
from test.test_asyncio.loop_support import LeakCheckMixin
from unittest import mock


def tearDownModule():
    asyncio.set_event_loop_policy(None)


# The handlers around an await that catch CancelledError and do not always
# re-raise it; why that is right; the test that shows it.
SWALLOWS = {
    'locks.Condition.wait: except exceptions.CancelledError': (
        'held until the lock is regained, and raised then',
        'test_condition_regains_its_lock_before_it_is_cancelled'),
    'scopes._wait_hidden: except exceptions.CancelledError': (
        'raised when all have ended',
        'test_cancelled_cancel_and_wait_waits_for_all'),
    'staggered.staggered_race: except exceptions_mod.CancelledError': (
        'passed on to the attempts, and raised when they have ended',
        'test_cancelled_race_waits_for_its_attempts'),
    'staggered.staggered_race.run_one_coro: except BaseException': (
        'the outcome of an attempt is for the race to report',
        'test_cancelled_attempt_is_an_outcome_of_the_race'),
    'supervisors.Supervisor._call: except exceptions.CancelledError': (
        'raises RuntimeError if the supervisor was the one who cancelled',
        'test_cancelled_call_of_a_supervisor_is_cancelled'),
    'supervisors.TaskOwner._until_changed: except exceptions.CancelledError': (
        'ends everything, waits for that, and raises it then',
        'test_cancelled_supervisor_waits_for_its_tasks'),
    'taskgroups.TaskGroup.start: except exceptions.CancelledError': (
        'raised when the task that was begun has ended, unless that failed',
        'test_cancelled_start_waits_for_its_task'),
}

# The handlers around an await that a cancellation skips, but for those that
# only raise; why nothing is left undone; the test.
SKIPPED = {
    'base_events.BaseEventLoop._connect_sock: except OSError': (
        'closes the socket, as the next handler does for a cancellation',
        'test_cancelled_connect_of_one_address_closes_its_socket'),
    'base_events.BaseEventLoop.create_connection: except OSError': (
        'only tries the next address; _connect_sock() closes its socket',
        'test_cancelled_connect_closes_its_socket_and_tries_no_other'),
    'base_events.BaseEventLoop.create_datagram_endpoint: except OSError': (
        'closes the socket, as the next handler does for a cancellation',
        'test_cancelled_datagram_endpoint_closes_its_socket'),
    'base_events.BaseEventLoop.sendfile: '
    'except exceptions.SendfileNotAvailableError': (
        'only chooses the fallback',
        'test_cancelled_sendfile_does_not_fall_back'),
    'base_events.BaseEventLoop.shutdown_default_executor: '
    'except TimeoutError': (
        'the thread that shuts the executor down goes on by itself',
        'test_cancelled_shutdown_of_the_executor_goes_on'),
    'base_events.BaseEventLoop.sock_sendfile: '
    'except exceptions.SendfileNotAvailableError': (
        'only chooses the fallback',
        'test_cancelled_sock_sendfile_does_not_fall_back'),
    'base_subprocess.BaseSubprocessTransport._connect_pipes: '
    'except (SystemExit, KeyboardInterrupt)': (
        'closes the pipes, as the done callback does for a cancellation',
        'test_cancelled_connecting_of_a_subprocess_closes_its_pipes'),
    'selector_events.BaseSelectorEventLoop._sendfile_native: '
    'except (OSError, exceptions.SendfileNotAvailableError)': (
        'says that the transport was closed, if it was',
        'test_cancelled_sendfile_does_not_fall_back'),
    'staggered.staggered_race.run_one_coro: '
    'suppress(exceptions_mod.TimeoutError)': (
        'the next attempt is not started',
        'test_cancelled_race_starts_no_further_attempt'),
    'streams.StreamReader.readline: except exceptions.IncompleteReadError': (
        'the data stays in the buffer until it is returned',
        'test_cancelled_readline_loses_nothing'),
    'streams.StreamReader.readline: except exceptions.LimitOverrunError': (
        'the data stays in the buffer until it is returned',
        'test_cancelled_readline_loses_nothing'),
    'streams.StreamWriter.start_tls: except TypeError': (
        'says what is wrong, and restores what a cancellation restores, too',
        'test_cancelled_upgrade_of_a_stream_leaves_it_as_it_was'),
    'subprocess.Process._feed_stdin: '
    'except (BrokenPipeError, ConnectionResetError)': (
        'the caller of communicate() still owns the process and its stdin',
        'test_cancelled_communicate_leaves_stdin_to_the_caller'),
}


# How the audit works: a handler is judged by the classes that its expression
# has in the namespace of its module, so that aliases don't matter, and only
# the first that matches CancelledError counts, as at run time.  What another
# handler or a finally around a skipped one does is for the reader to judge:
# it need not be the same.

_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_WAITS = (ast.Await, ast.AsyncFor, ast.AsyncWith, ast.YieldFrom)
_LOOPS = (ast.For, ast.AsyncFor, ast.While)


def walk_scope(nodes, stop=()):
    """Yield *nodes* and what is in them, but not in functions or classes.

    Nor in nodes of the kinds *stop*.
    """
    todo = list(nodes)
    while todo:
        node = todo.pop()
        if not isinstance(node, (*_SCOPES, ast.Lambda, *stop)):
            yield node
            todo.extend(ast.iter_child_nodes(node))


def contains(nodes, kinds):
    return any(isinstance(node, kinds) for node in walk_scope(nodes))


def waits(nodes):
    return contains(nodes, _WAITS) or any(
        isinstance(node, ast.comprehension) and node.is_async
        for node in walk_scope(nodes))


def jumps_out(nodes):
    """Return whether a return, or a break of an outer loop, is in *nodes*."""
    return contains(nodes, ast.Return) or any(
        isinstance(node, (ast.Break, ast.Continue))
        for node in walk_scope(nodes, stop=_LOOPS))


def reraises(body, name):
    """Return whether *body* ends by raising what was caught, and says
    nowhere that it raises something else."""
    if jumps_out(body):
        return False
    if _rebinds(body, name):
        name = None
    return (any(_raises(statement, name) for statement in body)
            and all(_raises(node, name) for node in walk_scope(body)
                    if isinstance(node, ast.Raise)))


def _rebinds(body, name):
    return any(
        isinstance(node, ast.Name) and node.id == name
        and not isinstance(node.ctx, ast.Load)
        or isinstance(node, ast.ExceptHandler) and node.name == name
        for node in walk_scope(body))


def _raises(statement, name):
    match statement:
        case ast.Raise(exc=None):
            return True
        case ast.Raise(exc=ast.Name(id=raised)):
            return raised == name
        case ast.If(body=body, orelse=orelse):
            return reraises(body, name) and reraises(orelse, name)
        case ast.Try(finalbody=finalbody):
            return reraises(finalbody, name)
    return False


def only_raises(body):
    return len(body) == 1 and isinstance(body[0], ast.Raise)


class Audit(ast.NodeVisitor):
    """Collects the handlers of one module, as keys of the two tables."""

    def __init__(self, module, namespace):
        self.swallows = []
        self.skipped = []
        self._names = [module]
        self._namespace = namespace
        # Whether the present function waits anywhere.
        self._waits = False
        # The expressions of with statements, which visit_With() judges.
        self._items = set()

    def visit_scope(self, node):
        waits_outside, self._waits = self._waits, waits(node.body)
        self._names.append(node.name)
        self.generic_visit(node)
        self._names.pop()
        self._waits = waits_outside

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = visit_scope

    def visit_Try(self, node):
        self.generic_visit(node)
        if waits(node.body):
            self._check_handlers(node)
        # The finally also ends a cancellation in a handler or the else.
        if jumps_out(node.finalbody) and waits(
                (*node.body, *node.handlers, *node.orelse)):
            self._add(self.swallows, 'finally')

    visit_TryStar = visit_Try

    def visit_With(self, node):
        self._items.update(item.context_expr for item in node.items)
        self.generic_visit(node)
        if waits(node.body):
            for item in node.items:
                self._check_suppress(item.context_expr)

    visit_AsyncWith = visit_With

    def visit_Call(self, node):
        # As for enter_context(); which waits it is around, nobody can tell.
        self.generic_visit(node)
        if self._waits and node not in self._items:
            self._check_suppress(node)

    def _check_handlers(self, node):
        for handler in node.handlers:
            if self._catches(handler.type):
                if not reraises(handler.body, handler.name):
                    self._add(self.swallows, 'except', handler.type)
                return
            if not only_raises(handler.body):
                self._add(self.skipped, 'except', handler.type)

    def _check_suppress(self, expression):
        match expression:
            case ast.Call(func=func, args=args) if self._is_suppress(func):
                caught = ast.Tuple(args, ast.Load())
                found = (self.swallows if self._catches(caught)
                         else self.skipped)
                text = ', '.join(map(ast.unparse, args))
                self._add(found, f'suppress({text})')

    def _is_suppress(self, func):
        if not contains([func], ast.Call):
            # A local variable is not known here.
            with contextlib.suppress(NameError, AttributeError, TypeError):
                return self._value(func) is contextlib.suppress
        return False

    def _catches(self, expression):
        # An unknown name is an error here: nobody could judge it.
        return expression is None or issubclass(
            asyncio.CancelledError, self._value(expression))

    def _value(self, expression):
        return eval(ast.unparse(expression), self._namespace)

    def _add(self, found, what, expression=None):
        text = f' {ast.unparse(expression)}' if expression else ''
        found.append(f'{".".join(self._names)}: {what}{text}')


def audit(module, source, namespace):
    result = Audit(module, namespace)
    result.visit(ast.parse(source))
    return result


def namespace_of(module):
    name = 'asyncio' if module == '__init__' else f'asyncio.{module}'
    try:
        return vars(importlib.import_module(name))
    except ImportError:
        # For another platform: these import the same names, by habit.
        from asyncio import base_events, events, exceptions
        return {**vars(builtins), **vars(base_events), **vars(asyncio),
                'events': events, 'exceptions': exceptions}


def audit_asyncio():
    folder = pathlib.Path(asyncio.__file__).parent
    swallows, skipped = [], []
    for path in sorted(folder.glob('*.py')):
        if path.stem == '__main__':
            continue  # The REPL; importing it starts it.
        found = audit(path.stem, path.read_text(encoding='utf-8'),
                      namespace_of(path.stem))
        swallows += found.swallows
        skipped += found.skipped
    return sorted(swallows), sorted(skipped)


class AuditTests(unittest.TestCase):
    """The handlers of asyncio are those of the tables."""

    @classmethod
    def setUpClass(cls):
        cls.swallows, cls.skipped = audit_asyncio()

    def test_no_other_handler_swallows_a_cancellation(self):
        self.assertEqual(self.swallows, sorted(SWALLOWS))

    def test_no_other_handler_is_skipped_by_a_cancellation(self):
        self.assertEqual(self.skipped, sorted(SKIPPED))

    def test_every_entry_has_its_test(self):
        for reason, test in (*SWALLOWS.values(), *SKIPPED.values()):
            self.assertTrue(hasattr(HandlerTests, test), test)


class AuditSelfTests(unittest.TestCase):
    """The audit finds what it is there for."""

    def audit(self, body):
        lines = ['async def function():',
                 *(f'    {line}' for line in body.strip('\n').splitlines())]
        return audit('module', '\n'.join(lines),
                     {'asyncio': asyncio, 'contextlib': contextlib,
                      'suppress': contextlib.suppress,
                      'quiet': contextlib.suppress,
                      'Stop': asyncio.CancelledError,
                      'BOTH': (asyncio.CancelledError, OSError)})

    def check_swallows(self, body):
        with self.subTest(body=body):
            self.assertEqual(len(self.audit(body).swallows), 1)

    def check_passes(self, body):
        with self.subTest(body=body):
            self.assertEqual(self.audit(body).swallows, [])

    def check_handler(self, handler, check):
        check(f'try:\n    await x\n{handler}')

    def test_classes_that_catch_it(self):
        for caught in ('', 'BaseException', 'asyncio.CancelledError', 'Stop',
                       'asyncio.exceptions.CancelledError', 'BOTH',
                       '(OSError, asyncio.CancelledError)',
                       '(OSError, (ValueError, Stop))', '(OSError, *BOTH)'):
            self.check_handler(f'except {caught}:\n    pass',
                               self.check_swallows)

    def test_except_star_catches_it(self):
        self.check_handler('except* Stop:\n    pass', self.check_swallows)

    def test_classes_that_do_not_catch_it(self):
        for caught in 'Exception', 'OSError', '(KeyError, KeyboardInterrupt)':
            self.check_handler(f'except {caught}:\n    pass',
                               self.check_passes)

    def test_unknown_class_is_an_error(self):
        with self.assertRaises(NameError):
            self.audit('try:\n    await x\nexcept unknown:\n    pass')

    def test_ways_to_wait(self):
        for wait in ('await x', 'y = [await x]', 'async with x: pass',
                     'async for y in x: pass', '[y async for y in x]',
                     'if y:\n        await x'):
            self.check_swallows(f'try:\n    {wait}\nexcept Stop:\n    pass')

    def test_wait_of_another_function_is_not_meant(self):
        self.check_passes('try:\n    async def y(): await x\n'
                          'except Stop:\n    pass')

    def test_ways_to_reraise(self):
        for handler in ('except Stop:\n    raise',
                        'except Stop as exc:\n    raise exc',
                        'except Stop:\n    close()\n    raise',
                        'except Stop:\n    try:\n        close()\n'
                        '    finally:\n        raise',
                        'except Stop:\n    if x:\n        raise\n'
                        '    else:\n        raise'):
            self.check_handler(handler, self.check_passes)

    def test_ways_not_to_reraise(self):
        for handler in ('except Stop:\n    return',
                        'except Stop as exc:\n    raise OSError from exc',
                        'except Stop as exc:\n    raise other',
                        'except Stop as exc:\n    exc = OSError()\n'
                        '    raise exc',
                        'except Stop as exc:\n    try:\n        close()\n'
                        '    except OSError as exc:\n        pass\n'
                        '    raise exc',
                        'except Stop:\n    for y in z:\n        raise',
                        'except Stop:\n    if x:\n        raise',
                        'except Stop:\n    if x:\n        return\n    raise',
                        'except Stop:\n    try:\n        raise\n'
                        '    except Stop:\n        pass',
                        'except Stop:\n    if x:\n        raise OSError\n'
                        '    raise',
                        'except Stop as exc:\n    raise OSError from exc\n'
                        '    raise',
                        'except Stop:\n    try:\n        raise OSError\n'
                        '    finally:\n        pass\n    raise'):
            self.check_handler(handler, self.check_swallows)

    def test_first_matching_handler_counts(self):
        self.check_handler('except Stop:\n    raise\n'
                           'except BaseException:\n    pass',
                           self.check_passes)
        self.check_handler('except Stop:\n    pass\n'
                           'except BaseException:\n    raise',
                           self.check_swallows)

    def test_jump_out_of_finally(self):
        self.check_swallows('try:\n    await x\nfinally:\n    return')
        self.check_swallows('while y:\n    try:\n        await x\n'
                            '    finally:\n        break')
        self.check_swallows('try:\n    close()\nexcept KeyError:\n'
                            '    await x\nfinally:\n    return')
        self.check_swallows('try:\n    close()\nexcept KeyError:\n    pass\n'
                            'else:\n    await x\nfinally:\n    return')
        self.check_passes('try:\n    close()\nfinally:\n    return')
        self.check_passes('try:\n    await x\nfinally:\n    close()')
        self.check_passes('try:\n    await x\nfinally:\n'
                          '    while y:\n        break')

    def test_suppress(self):
        self.check_swallows('with suppress(Stop):\n    await x')
        self.check_swallows(
            'with y, contextlib.suppress(OSError, BaseException):\n'
            '    await x')
        for call in ('quiet(Stop)', 'suppress(*BOTH)', 'suppress(BOTH)',
                     'suppress(KeyError, *BOTH)'):
            self.check_swallows(f'with {call}:\n    await x')
            self.check_swallows(f'with contextlib.ExitStack() as stack:\n'
                                f'    stack.enter_context({call})\n'
                                '    await x')
            self.check_swallows(f'with stack:\n    await x\n'
                                f'    y = {call}')
        for function in 'stack.suppress', 'y().suppress':
            self.check_passes(f'with {function}(Stop):\n    await x')
        self.check_passes('stack.enter_context(suppress(Stop))')
        self.check_passes('with suppress(Exception):\n    await x')
        self.check_passes('with suppress(Stop):\n    close()')

    def test_skipped_handlers(self):
        skipped = self.audit('try:\n    await x\nexcept OSError:\n    pass'
                             '\nexcept (KeyError, ValueError):\n    pass')
        self.assertEqual(skipped.skipped, [
            'module.function: except OSError',
            'module.function: except (KeyError, ValueError)'])
        self.assertEqual(self.audit(
            'with suppress(OSError):\n    await x').skipped,
            ['module.function: suppress(OSError)'])

    def test_handler_beside_one_that_runs_is_skipped(self):
        # The other one need not do the same.
        for other in 'except:\n    raise', 'finally:\n    log()':
            self.assertEqual(self.audit(
                'try:\n    await x\n'
                f'except OSError:\n    close()\n    raise\n{other}'
            ).skipped, ['module.function: except OSError'])
            self.assertEqual(self.audit(
                'try:\n    try:\n        await x\n'
                f'    except Exception:\n        close()\n{other}'
            ).skipped, ['module.function: except Exception'])

    def test_handler_that_only_raises_may_be_skipped(self):
        for statement in 'raise', 'raise OSError from None':
            self.assertEqual(self.audit(
                f'try:\n    await x\nexcept KeyError:\n    {statement}'
            ).skipped, [])

    def test_handler_behind_one_that_catches_it_is_not_skipped(self):
        self.assertEqual(self.audit(
            'try:\n    await x\nexcept Stop:\n    raise\n'
            'except KeyError:\n    close()').skipped, [])

    def test_handler_in_another_handler_is_skipped(self):
        self.assertEqual(len(self.audit(
            'try:\n    close()\nexcept:\n    try:\n        await x\n'
            '    except OSError:\n        pass\n    raise').skipped), 1)


async def cancel_when_it_waits(coroutine, msg=None):
    """Run *coroutine* as a task to its first wait and cancel it there."""
    task = asyncio.create_task(coroutine)
    await asyncio.sleep(0)
    task.cancel(msg)
    return task


class HandlerTests(LeakCheckMixin, unittest.IsolatedAsyncioTestCase):
    """What happens when the await of an entry of the tables is cancelled."""

    async def test_condition_regains_its_lock_before_it_is_cancelled(self):
        condition = asyncio.Condition()
        async def wait():
            async with condition:
                try:
                    await condition.wait()
                finally:
                    held.append(condition.locked())
        held = []
        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0)
        async with condition:
            for _ in range(3):
                waiting.cancel()
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            self.assertFalse(waiting.done())
        await asyncio.wait([waiting])
        self.assertTrue(waiting.cancelled())
        self.assertEqual(held, [True])
        self.assertFalse(condition.locked())

    async def test_condition_notified_and_cancelled_is_cancelled(self):
        condition = asyncio.Condition()
        async def wait():
            async with condition:
                await condition.wait()
        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0)
        async with condition:
            condition.notify()
            await asyncio.sleep(0)  # Now it waits for the lock.
            waiting.cancel('late')
            await asyncio.sleep(0)
        with self.assertRaisesRegex(asyncio.CancelledError, 'late'):
            await waiting

    async def end_slowly(self, ended):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as exc:
            for _ in range(5):
                await asyncio.sleep(0)
            ended.append(exc.args)
            raise

    async def assert_waits_when_cancelled_twice(self, working, ended):
        for _ in range(3):
            await asyncio.sleep(0)
        working.cancel('first')
        await asyncio.sleep(0)
        working.cancel('second')
        await asyncio.wait([working])
        self.assertTrue(working.cancelled())
        self.assertEqual(ended, [()])

    async def test_cancelled_group_waits_for_its_members(self):
        ended = []
        async def work():
            async with asyncio.TaskGroup() as group:
                group.create_task(self.end_slowly(ended))
                await asyncio.sleep(0)
        working = asyncio.create_task(work())
        await self.assert_waits_when_cancelled_twice(working, ended)

    async def test_cancelled_start_waits_for_its_task(self):
        ended = []
        async def begin(*, task_status):
            await self.end_slowly(ended)
        async def work(group):
            await group.start(begin)
        async with asyncio.TaskGroup() as group:
            working = asyncio.create_task(work(group))
            await self.assert_waits_when_cancelled_twice(working, ended)

    async def test_cancelled_supervisor_waits_for_its_tasks(self):
        ended = []
        async def work():
            loop = asyncio.get_running_loop()
            async with loop.create_supervisor() as supervisor:
                supervisor.create_task(self.end_slowly(ended))
                await asyncio.sleep(0)
        working = asyncio.create_task(work())
        await self.assert_waits_when_cancelled_twice(working, ended)

    async def test_cancelled_call_of_a_supervisor_is_cancelled(self):
        loop = asyncio.get_running_loop()
        never = loop.create_future()
        with mock.patch.object(loop, 'getaddrinfo',
                               lambda *args, **kwargs: never):
            async with loop.create_supervisor() as supervisor:
                connecting = asyncio.create_task(supervisor.create_connection(
                    asyncio.Protocol, 'example', 80))
                await asyncio.sleep(0)
                connecting.cancel()
                await asyncio.wait([connecting])
                self.assertTrue(connecting.cancelled())
                self.assertTrue(never.cancelled())

    async def test_cancelled_cancel_and_wait_waits_for_all(self):
        ended = []
        ending = asyncio.create_task(self.end_slowly(ended))
        await asyncio.sleep(0)
        waiting = asyncio.create_task(asyncio.cancel_and_wait(ending))
        await asyncio.sleep(0)
        waiting.cancel('enough')
        await asyncio.wait([waiting])
        self.assertTrue(waiting.cancelled())
        self.assertTrue(ending.done())
        self.assertEqual(len(ended), 1)

    async def test_cancelled_race_waits_for_its_attempts(self):
        ended = []
        racing = asyncio.create_task(staggered.staggered_race(
            [lambda: self.end_slowly(ended)], None))
        for _ in range(3):
            await asyncio.sleep(0)
        racing.cancel('enough')
        with self.assertRaisesRegex(asyncio.CancelledError, 'enough'):
            await racing
        self.assertEqual(ended, [('enough',)])

    async def test_cancelled_race_starts_no_further_attempt(self):
        ended = []
        second = mock.Mock()
        racing = asyncio.create_task(staggered.staggered_race(
            [lambda: self.end_slowly(ended), second], 3600))
        for _ in range(5):
            await asyncio.sleep(0)
        racing.cancel()
        await asyncio.wait([racing])
        self.assertTrue(racing.cancelled())
        self.assertEqual(ended, [()])
        second.assert_not_called()

    async def test_cancelled_attempt_is_an_outcome_of_the_race(self):
        async def waits():
            attempts.append(asyncio.current_task())
            await asyncio.Event().wait()
        async def wins():
            return 'won'
        attempts = []
        racing = asyncio.create_task(
            staggered.staggered_race([waits, wins], None))
        while not attempts:
            await asyncio.sleep(0)
        attempts[0].cancel('mine')
        result, index, errors = await racing
        self.assertEqual((result, index), ('won', 1))
        self.assertEqual(errors[0].args, ('mine',))

    async def test_cancelled_connect_closes_its_socket_and_tries_no_other(
            self):
        addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, '', (host, 1))
                     for host in ('127.0.0.1', '127.0.0.2')]
        self.assertEqual(await self.cancel_in_sock_connect(
            lambda: asyncio.get_running_loop().create_connection(
                asyncio.Protocol, 'localhost', 1), addresses), [-1])

    async def cancel_in_sock_connect(self, start, addresses):
        """Return the numbers of the sockets that it has tried to connect."""
        loop = asyncio.get_running_loop()
        socks = []
        async def connect(sock, address):
            socks.append(sock)
            await loop.create_future()
        with (mock.patch.object(loop, '_ensure_resolved',
                                return_value=addresses),
              mock.patch.object(loop, 'sock_connect', connect)):
            connecting = await cancel_when_it_waits(start())
            await asyncio.wait([connecting])
        self.assertTrue(connecting.cancelled())
        return [sock.fileno() for sock in socks]

    async def test_cancelled_connect_of_one_address_closes_its_socket(self):
        address = socket.AF_INET, socket.SOCK_STREAM, 6, '', ('127.0.0.1', 1)
        errors = []
        self.assertEqual(await self.cancel_in_sock_connect(
            lambda: asyncio.get_running_loop()._connect_sock(errors, address),
            [address]), [-1])
        self.assertEqual(errors, [[]])

    async def test_cancelled_datagram_endpoint_closes_its_socket(self):
        addresses = [(family, socket.SOCK_DGRAM, 17, '', ('127.0.0.1', 1))
                     for family in (socket.AF_INET, socket.AF_INET6)]
        self.assertEqual(await self.cancel_in_sock_connect(
            lambda: asyncio.get_running_loop().create_datagram_endpoint(
                asyncio.DatagramProtocol, remote_addr=('localhost', 1)),
            addresses), [-1])

    async def test_cancelled_connecting_of_a_subprocess_closes_its_pipes(self):
        class Transport(base_subprocess.BaseSubprocessTransport):
            def _start(self, **kwargs):
                self._proc = mock.Mock(stdout=None, stderr=None)
        loop = asyncio.get_running_loop()
        async def never(*args):
            await loop.create_future()
        waiter = loop.create_future()
        with mock.patch.object(loop, 'connect_write_pipe', never):
            transport = Transport(
                loop, mock.Mock(), ('program',), False,
                asyncio.subprocess.PIPE, None, None, 0, waiter)
            await asyncio.sleep(0)
            connecting, = asyncio.all_tasks() - {asyncio.current_task()}
            connecting.cancel()
            await asyncio.wait([connecting])
        await asyncio.sleep(0)
        self.assertTrue(connecting.cancelled())
        self.assertTrue(waiter.cancelled())
        transport._proc.stdin.close.assert_called_once_with()
        transport.close()

    async def test_cancelled_sendfile_does_not_fall_back(self):
        loop = asyncio.get_running_loop()
        transport = mock.Mock(
            _sendfile_compatible=asyncio.constants._SendfileMode.TRY_NATIVE)
        transport.is_closing.return_value = False
        async def never(*args):
            await loop.create_future()
        with (mock.patch.object(loop, '_sendfile_native', never),
              mock.patch.object(loop, '_sendfile_fallback') as fallback):
            sending = await cancel_when_it_waits(
                loop.sendfile(transport, io.BytesIO()))
            await asyncio.wait([sending])
        self.assertTrue(sending.cancelled())
        fallback.assert_not_called()

    async def test_cancelled_sock_sendfile_does_not_fall_back(self):
        loop = asyncio.get_running_loop()
        async def never(*args):
            await loop.create_future()
        with (mock.patch.object(loop, '_sock_sendfile_native', never),
              mock.patch.object(loop, '_sock_sendfile_fallback') as fallback,
              socket.socket() as sock):
            sock.setblocking(False)
            sending = await cancel_when_it_waits(
                loop.sock_sendfile(sock, io.BytesIO()))
            await asyncio.wait([sending])
        self.assertTrue(sending.cancelled())
        fallback.assert_not_called()

    async def test_cancelled_shutdown_of_the_executor_goes_on(self):
        loop = asyncio.get_running_loop()
        started, proceed = threading.Event(), threading.Event()
        def work():
            started.set()
            proceed.wait()
            return 'done'
        working = loop.run_in_executor(None, work)
        started.wait()
        executor = loop._default_executor
        before = set(threading.enumerate())
        closing = await cancel_when_it_waits(loop.shutdown_default_executor())
        closer, = set(threading.enumerate()) - before
        await asyncio.wait([closing])
        self.assertTrue(closing.cancelled())
        proceed.set()
        self.assertEqual(await working, 'done')
        closer.join(support.SHORT_TIMEOUT)
        self.assertFalse(closer.is_alive())
        with self.assertRaises(RuntimeError):
            executor.submit(print)

    async def test_cancelled_readline_loses_nothing(self):
        reader = asyncio.StreamReader()
        reader.feed_data(b'be')
        reading = await cancel_when_it_waits(reader.readline())
        await asyncio.wait([reading])
        self.assertTrue(reading.cancelled())
        reader.feed_data(b'gin\nend')
        self.assertEqual(await reader.readline(), b'begin\n')
        reader.feed_eof()
        self.assertEqual(await reader.readline(), b'end')

    async def test_cancelled_upgrade_of_a_stream_leaves_it_as_it_was(self):
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        reader.feed_data(b'unread')
        protocol = asyncio.StreamReaderProtocol(reader)
        other_loop = mock.Mock()
        other_loop.start_tls = lambda *args, **kwargs: loop.create_future()
        writer = asyncio.StreamWriter(
            mock.Mock(**{'is_closing.return_value': False}), protocol, reader,
            other_loop)
        upgrade = await cancel_when_it_waits(
            writer.start_tls(None), 'no buffered_data')
        await asyncio.wait([upgrade])
        self.assertTrue(upgrade.cancelled())
        self.assertFalse(protocol._over_ssl)
        self.assertEqual(await reader.read(6), b'unread')

    async def test_cancelled_communicate_leaves_stdin_to_the_caller(self):
        loop = asyncio.get_running_loop()
        stdin = mock.Mock()
        stdin.drain = lambda: loop.create_future()
        process = asyncio.subprocess.Process(
            mock.Mock(), mock.Mock(stdin=stdin, stdout=None, stderr=None),
            loop)
        communicating = asyncio.create_task(process.communicate(b'input'))
        for _ in range(3):
            await asyncio.sleep(0)
        stdin.write.assert_called_once_with(b'input')
        communicating.cancel()
        await asyncio.wait([communicating])
        self.assertTrue(communicating.cancelled())
        stdin.close.assert_not_called()


class ClassTests(unittest.TestCase):

    def test_it_is_no_exception(self):
        self.assertIs(asyncio.CancelledError.__base__, BaseException)

    def test_it_has_one_identity(self):
        for module in asyncio.exceptions, asyncio.futures, asyncio.tasks:
            exceptions = getattr(module, 'exceptions', module)
            self.assertIs(exceptions.CancelledError, asyncio.CancelledError)

    def test_the_one_of_concurrent_futures_is_another(self):
        other = concurrent.futures.CancelledError
        self.assertTrue(issubclass(other, Exception))
        self.assertFalse(issubclass(other, asyncio.CancelledError))
        self.assertFalse(issubclass(asyncio.CancelledError, other))

    def test_other_errors_of_asyncio_are_exceptions(self):
        for name in asyncio.exceptions.__all__:
            if name != 'CancelledError':
                with self.subTest(name=name):
                    self.assertTrue(issubclass(
                        getattr(asyncio, name), Exception))

    def test_pickling_keeps_class_and_arguments(self):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            for args in (), ('message',), ('message', 2):
                error = pickle.loads(pickle.dumps(
                    asyncio.CancelledError(*args), protocol))
                self.assertIs(type(error), asyncio.CancelledError)
                self.assertEqual(error.args, args)

    def test_run_raises_it_when_the_main_task_is_cancelled(self):
        async def main():
            asyncio.current_task().cancel('why')
            await asyncio.sleep(0)
        with self.assertRaisesRegex(asyncio.CancelledError, 'why'):
            asyncio.run(main())

    def test_repr_and_str(self):
        self.assertEqual(repr(asyncio.CancelledError()), 'CancelledError()')
        self.assertEqual(repr(asyncio.CancelledError('message')),
                         "CancelledError('message')")
        self.assertEqual(str(asyncio.CancelledError()), '')
        self.assertEqual(str(asyncio.CancelledError('message')), 'message')


class _CancellationTests:
    """Delivery and messages; run with each Task and Future class."""

    async def asyncSetUp(self):
        loop = asyncio.get_running_loop()
        loop.set_task_factory(
            lambda loop, coro, **kwargs: self.Task(coro, loop=loop, **kwargs))
        self.enterContext(mock.patch.object(
            loop, 'create_future', lambda: self.Future(loop=loop)))

    async def cancelled(self, coroutine, *args):
        """Cancel *coroutine* where it waits; return the error's arguments."""
        task = asyncio.create_task(coroutine)
        self.assertIs(type(task), self.Task)
        for _ in range(3):
            await asyncio.sleep(0)
        self.assertTrue(task.cancel(*args))
        with self.assertRaises(asyncio.CancelledError) as caught:
            await task
        self.assertTrue(task.cancelled())
        return caught.exception.args

    async def never(self):
        await asyncio.get_running_loop().create_future()

    async def test_except_exception_does_not_see_it(self):
        async def work():
            try:
                await self.never()
            except Exception:
                self.fail('caught')
        await self.cancelled(work())

    async def test_except_of_the_other_class_does_not_see_it(self):
        async def work():
            try:
                await self.never()
            except concurrent.futures.CancelledError:
                self.fail('caught')
        await self.cancelled(work())

    async def test_exception_of_a_swallowing_task_is_none(self):
        async def work():
            try:
                await self.never()
            except BaseException:
                return 'swallowed'
        task = await cancel_when_it_waits(work())
        self.assertEqual(await task, 'swallowed')
        self.assertFalse(task.cancelled())
        self.assertEqual(task.cancelling(), 1)

    async def test_raising_it_cancels_the_task(self):
        async def work():
            raise asyncio.CancelledError('mine')
        task = asyncio.create_task(work())
        with self.assertRaisesRegex(asyncio.CancelledError, 'mine'):
            await task
        self.assertTrue(task.cancelled())

    async def test_raising_the_other_class_fails_the_task(self):
        async def work():
            raise concurrent.futures.CancelledError('other')
        task = asyncio.create_task(work())
        with self.assertRaises(concurrent.futures.CancelledError):
            await task
        self.assertFalse(task.cancelled())

    async def test_no_message_is_no_argument(self):
        self.assertEqual(await self.cancelled(self.never()), ())

    async def test_message_of_a_task(self):
        self.assertEqual(await self.cancelled(self.never(), 'why'), ('why',))

    async def test_message_of_a_future(self):
        future = asyncio.get_running_loop().create_future()
        future.cancel('why')
        for get in future.result, future.exception:
            with self.assertRaises(asyncio.CancelledError) as caught:
                get()
            self.assertEqual(caught.exception.args, ('why',))

    async def test_message_of_an_awaited_task(self):
        async def work():
            await asyncio.create_task(self.never())
        self.assertEqual(await self.cancelled(work(), 'why'), ('why',))

    async def test_message_through_gather(self):
        async def work():
            await asyncio.gather(self.never(), self.never())
        self.assertEqual(await self.cancelled(work(), 'why'), ('why',))

    async def test_message_through_wait_for(self):
        for timeout in None, 3600:
            self.assertEqual(await self.cancelled(
                asyncio.wait_for(self.never(), timeout), 'why'), ('why',))

    async def test_message_through_wait(self):
        future = asyncio.get_running_loop().create_future()
        self.assertEqual(
            await self.cancelled(asyncio.wait([future]), 'why'), ('why',))
        self.assertFalse(future.done())

    async def test_message_through_timeout(self):
        async def work():
            async with asyncio.timeout(3600):
                await self.never()
        self.assertEqual(await self.cancelled(work(), 'why'), ('why',))

    async def test_timeout_does_not_claim_the_cancellation_of_another(self):
        async def work():
            async with asyncio.timeout(0) as timeout:
                expired.append(timeout)
                await self.never()
        expired = []
        task = await cancel_when_it_waits(work())
        await asyncio.wait([task])
        self.assertTrue(expired[0].expired())
        self.assertTrue(task.cancelled())

    async def test_message_through_a_task_group(self):
        async def work():
            async with asyncio.TaskGroup() as group:
                group.create_task(self.never())
        self.assertEqual(await self.cancelled(work(), 'why'), ('why',))

    async def test_message_through_shield_of_the_caller(self):
        future = asyncio.get_running_loop().create_future()
        async def work():
            await asyncio.shield(future)
        self.assertEqual(await self.cancelled(work(), 'why'), ('why',))
        self.assertFalse(future.done())

    async def test_cancelled_future_cancels_its_shield(self):
        future = asyncio.get_running_loop().create_future()
        outer = asyncio.shield(future)
        future.cancel()
        await asyncio.sleep(0)
        self.assertTrue(outer.cancelled())

    async def test_gather_returns_it_with_its_message(self):
        future = asyncio.get_running_loop().create_future()
        future.cancel('why')
        error, = await asyncio.gather(future, return_exceptions=True)
        self.assertIs(type(error), asyncio.CancelledError)
        self.assertEqual(error.args, ('why',))

    # To the event loop from a thread and back.

    async def test_cancelled_concurrent_future_cancels_its_wrapper(self):
        future = concurrent.futures.Future()
        wrapper = asyncio.wrap_future(future)
        future.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await wrapper
        self.assertTrue(wrapper.cancelled())

    async def test_cancelled_wrapper_cancels_the_concurrent_future(self):
        future = concurrent.futures.Future()
        wrapper = asyncio.wrap_future(future)
        wrapper.cancel('why')
        await asyncio.sleep(0)
        with self.assertRaises(concurrent.futures.CancelledError):
            future.result()

    async def test_the_other_class_is_converted_on_the_way_in(self):
        for future in concurrent.futures.Future(), None:
            def fail():
                raise concurrent.futures.CancelledError('why')
            if future is None:
                waiting = asyncio.get_running_loop().run_in_executor(
                    None, fail)
            else:
                waiting = asyncio.wrap_future(future)
                future.set_exception(concurrent.futures.CancelledError('why'))
            with self.assertRaises(asyncio.CancelledError) as caught:
                await waiting
            self.assertEqual(caught.exception.args, ('why',))

    async def test_job_that_raises_the_other_class_cancels_its_task(self):
        # Documented; upstream's tests of wrap_future() demand it.
        def fail():
            raise concurrent.futures.CancelledError('why')
        async def work():
            await asyncio.get_running_loop().run_in_executor(None, fail)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(work())
        self.assertIs(type(task), self.Task)
        self.assertTrue(task.cancelled())
        self.assertEqual(task.cancelling(), 0)

    async def test_coroutine_that_raises_the_other_class_in_a_thread(self):
        # The thread gets asyncio.CancelledError, although nothing was
        # cancelled.  Documented; programs rely on it.
        async def fail():
            raise concurrent.futures.CancelledError('why')
        loop = asyncio.get_running_loop()
        future = asyncio.run_coroutine_threadsafe(fail(), loop)
        def in_a_thread():
            try:
                future.result()
            except BaseException as exc:
                return type(exc), exc.args
        self.assertEqual(await asyncio.to_thread(in_a_thread),
                         (asyncio.CancelledError, ('why',)))
        self.assertFalse(future.cancelled())

    async def test_own_class_from_a_thread_stays_itself(self):
        def fail():
            raise asyncio.CancelledError('why')
        with self.assertRaises(asyncio.CancelledError) as caught:
            await asyncio.to_thread(fail)
        self.assertEqual(caught.exception.args, ('why',))

    async def test_cancelled_coroutine_cancels_the_future_of_a_thread(self):
        loop = asyncio.get_running_loop()
        future = asyncio.run_coroutine_threadsafe(self.never(), loop)
        await asyncio.sleep(0)
        task, = asyncio.all_tasks() - {asyncio.current_task()}
        task.cancel('why')
        await asyncio.wait([task])
        await asyncio.sleep(0)
        with self.assertRaises(concurrent.futures.CancelledError):
            future.result(0)

    async def test_cancelled_future_of_a_thread_cancels_the_coroutine(self):
        loop = asyncio.get_running_loop()
        future = asyncio.run_coroutine_threadsafe(self.never(), loop)
        await asyncio.sleep(0)
        task, = asyncio.all_tasks() - {asyncio.current_task()}
        future.cancel()
        await asyncio.wait([task])
        self.assertTrue(task.cancelled())


class PyCancellationTests(LeakCheckMixin, _CancellationTests,
                          unittest.IsolatedAsyncioTestCase):
    Task, Future = tasks._PyTask, futures._PyFuture


@unittest.skipUnless(hasattr(tasks, '_CTask'), 'requires the C _asyncio')
class CCancellationTests(LeakCheckMixin, _CancellationTests,
                         unittest.IsolatedAsyncioTestCase):
    Task = getattr(tasks, '_CTask', None)
    Future = getattr(futures, '_CFuture', None)


if __name__ == '__main__':
    unittest.main()
