from asyncio.supervisors import TaskOwner
from asyncio.tasks import Task
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any
from typing_extensions import Self

__all__ = ("TaskGroup",)

class TaskGroup(TaskOwner):
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool: ...
    async def start(
        self,
        async_fn: Callable[..., Awaitable[object]],
        /,
        *args: Any,
        name: str | None = None,
    ) -> Any: ...
    def _on_task_done(self, task: Task[object], /) -> object: ...
