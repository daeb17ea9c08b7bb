"""One run at a time in a checkout, however many processes it has."""

import contextlib
import fcntl
import os

from layout import build_root
from ui import say

# The lock file's path, in the environment of all that belongs to a run, and
# the descriptor that holds the lock, where it has been inherited.
_PATH = "OVERLAY_LOCK"
_DESCRIPTOR = "OVERLAY_LOCK_FD"


@contextlib.contextmanager
def locked():
    """Hold the checkout's lock, or share that of the run we belong to."""
    path = build_root().absolute() / ".lock"
    if os.environ.get(_PATH) == str(path):
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another run is at work in this checkout; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        os.environ[_PATH] = str(path)
        os.environ[_DESCRIPTOR] = str(file.fileno())
        yield


def lock_descriptors():
    """What a child needs as pass_fds in order to hold the lock for as long
    as it runs, even if this process is killed."""
    try:
        number = int(os.environ[_DESCRIPTOR])
        if os.path.samestat(os.fstat(number), os.stat(os.environ[_PATH])):
            return (number,)
    except (KeyError, OSError, ValueError):
        pass
    return ()
