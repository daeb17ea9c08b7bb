"""Task groups: tasks that end before the block does that has started them."""

__all__ = ("TaskGroup",)

from . import cancellation
from . import events
from . import exceptions
from . import scopes
from . import supervisors
from . import tasks
from .supervisors import (
    _CLOSED, _NEW, _OPEN, _State, _close_coroutine, _name_of)


class TaskGroup(supervisors.TaskOwner):
    """A block that waits for its tasks, entered with ``async with``, once.

    The first task that fails cancels the others and the body; the block then
    raises a BaseExceptionGroup of all errors but CancelledErrors.
    KeyboardInterrupt and SystemExit are raised bare, when all tasks have
    ended.  *name* is for repr().
    """

    _errors_message = "unhandled errors in a TaskGroup"

    # Those that start() waits for, if there was any.
    _starting = None

    def __repr__(self):
        info = [type(self).__name__]
        if self._name is not None:
            info.append(repr(self._name))
        if self._tasks:
            info.append(f"tasks={len(self._tasks)}")
        if self._errors:
            info.append(f"errors={len(self._errors)}")
        if (state := _STATES[self._state]) is not None:
            info.append(state)
        return f"<{' '.join(info)}>"

    async def __aenter__(self):
        if self._state is not _NEW:
            raise RuntimeError(f"{self!r} has already been entered: create "
                               "another one")
        self._loop = self._owner_of_tasks = events.get_running_loop()
        host = tasks.current_task(self._loop)
        if host is None:
            raise RuntimeError(f"{self!r} cannot determine the parent task: "
                               "enter it in a task")
        self._begin(host)
        return self

    async def __aexit__(self, exc_type, exc, traceback):
        if self._state is _NEW or self._state is _CLOSED:
            return False
        if self._is_exiting:
            raise RuntimeError(f"{self!r} is being left already: wait for "
                               "the task that does so")
        self._is_exiting = True
        if (exc is None and not self._tasks and self._guard is None
                and self._state is _OPEN):
            # There is nothing to wait for, or to say.
            self._state = _CLOSED
            self._host = self._errors = None
            return False
        try:
            if exc is not None:
                self._take_in(exc)
                self._abort()
            while self._tasks:
                await self._until_changed()
            if self._state is _OPEN and self._guard is None:
                return False  # There is nothing to say.
            return self._conclude(exc)
        finally:
            self._state = _CLOSED
            self._forget_block()
            exc = None

    def _check_task(self, coro):
        if self._state is _State.NEW:
            why = "has not been entered"
        elif self._is_exiting and not self._tasks:
            why = "is finished"
        elif self._state is _State.ABORTING:
            why = "is shutting down"
        else:
            return
        _close_coroutine(coro)
        raise RuntimeError(f"{self!r} {why}")

    async def start(self, async_fn, /, *args, name=None):
        """Start a task in the group, and wait until it says that it is ready.

        The task runs ``async_fn(*args, task_status=status)``; the call
        returns the value that the task gives to
        ``status.started(value=None)``.  If it fails before that, the call
        raises its exception, and the group goes on; if it ends without,
        RuntimeError.  If the call is cancelled before, so is the task, and
        the call ends after it.
        """
        status = _TaskStatus(events.get_running_loop())
        coro = async_fn(*args, task_status=status)
        task = self.create_task(coro, **({} if name is None
                                         else {"name": name}))
        if self._starting is None:
            self._starting = set()
        self._starting.add(task)
        task.add_done_callback(status._task_ended)
        try:
            return await status._report
        except exceptions.CancelledError:
            if not status._has_started:
                await self._end_task(task)
                if not task.cancelled() and task.exception() is not None:
                    raise task.exception()
            raise
        except RuntimeError:
            if task.cancelled() and self._is_ending(tasks.current_task()):
                # The caller is only shielded from what the task was told.
                raise cancellation.cancelled_error(self._cancel_msg) from None
            raise
        finally:
            self._starting.discard(task)
            status._forget_caller()
            # The traceback of the task's exception has this frame.
            del coro, status, task

    def _is_ending(self, caller):
        """The group ends, and *caller* with it."""
        return self._state is _State.ABORTING and (
            caller is self._host or caller in self._tasks)

    async def _end_task(self, task):
        """The call of start() that waits for *task* was cancelled."""
        if self._state is _State.ABORTING:
            # The task was asked to stop, and is cleaning up perhaps.
            await scopes._wait_hidden(tasks.current_task(), (task,))
        else:
            await scopes.cancel_and_wait(task)

    def _task_failed(self, context):
        # The call runs on before a task fails that has made its report.
        if self._starting is None or context["task"] not in self._starting:
            super()._task_failed(context)


class _TaskStatus:
    """What a task that was begun by start() tells of itself."""

    def __init__(self, loop):
        # What start() waits for, with which it is cancelled; None once the
        # task has ended, as an error's traceback has what knows us.
        self._report = loop.create_future()
        self._has_started = False

    def started(self, value=None):
        """The task is ready: start() returns *value*.

        Raises RuntimeError if it is called twice, or after the task's end.
        """
        if self._has_started:
            raise RuntimeError("started() was already called")
        if self._report is None:
            raise RuntimeError("started() was called after the task's end")
        if self._report.cancelled():
            return  # Nobody waits for it.
        self._has_started = True
        self._report.set_result(value)

    def _forget_caller(self):
        """start() has ended, perhaps as its coroutine was closed."""
        if self._report is not None:
            self._report.cancel()

    def _task_ended(self, task):
        report, self._report = self._report, None
        if report.done():
            return
        if task.cancelled():
            exc = RuntimeError(f"task {_name_of(task)!r} was cancelled "
                               "before it called task_status.started()")
        elif (exc := task.exception()) is None:
            exc = RuntimeError(f"task {_name_of(task)!r} returned and has "
                               "not called task_status.started()")
        try:
            report.set_exception(exc)
        finally:
            exc = None


# How repr() names the states.
_STATES = {
    _State.NEW: None,
    _State.OPEN: "entered",
    _State.ABORTING: "cancelling",
    _State.CLOSED: "finished",
}
