from asyncio import supervisors
from typing import Any

__all__ = ()

class Supervisor(supervisors.Supervisor):
    async def sendfile(self, transport: Any, *args: Any, **kwargs: Any) -> Any: ...
