from ._overlay import Overlay as _Overlay
from .scopes import *
from .supervisors import *

__all__ += (
    "QueueShutDown",
    "CancelScope",
    "move_on_after",
    "move_on_at",
    "fail_after",
    "fail_at",
    "current_effective_deadline",
    "checkpoint",
    "checkpoint_if_cancelled",
    "cancel_and_wait",
    "Supervisor",
)

__overlay__: _Overlay
