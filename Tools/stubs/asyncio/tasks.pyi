from typing import overload

from .scopes import CancelScope

def create_task(
    coro: Coroutine[Any, Any, _T],
    *,
    name: str | None = None,
    context: Context | None = None,
    eager_start: bool | None = None,
    **kwargs: Any,
) -> Task[_T]: ...
def eager_task_factory(
    loop: AbstractEventLoop | None,
    coro: Coroutine[Any, Any, _T],
    *,
    name: str | None = None,
    context: Context | None = None,
    eager_start: bool | None = None,
    **kwargs: Any,
) -> Task[_T]: ...
@overload
def shield(arg: _FutureLike[_T]) -> Future[_T]: ...
@overload
def shield() -> CancelScope: ...
