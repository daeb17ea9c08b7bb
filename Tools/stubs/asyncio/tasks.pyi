from typing import overload

from .scopes import CancelScope

@overload
def shield(arg: _FutureLike[_T]) -> Future[_T]: ...
@overload
def shield() -> CancelScope: ...
