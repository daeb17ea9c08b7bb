from ._overlay import Overlay as _Overlay

__overlay__: _Overlay
