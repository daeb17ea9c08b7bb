"""Running programs as another user than root, where we are root."""

import os
import pwd
import subprocess

# The user with no rights that every Debian has.
USER = "nobody"
# What that user may be given to get at a checkout in a folder of root's: first
# nothing, then the right to read everything, then to write, too (the only one
# of the two that containers usually leave).
_CAPABILITIES = ((), ("dac_read_search",), ("dac_override",))


def prefix(*probe):
    """The command line's beginning that makes the rest run unprivileged.

    The command *probe*, of a program and arguments, is what the user must be
    able to do.  (Not `test -r`: access() knows nothing of capabilities.)  The
    program ends, by SIGINT, when the thread that started it does.
    """
    tie = ["setpriv", "--pdeathsig", "INT"]
    if os.geteuid() != 0:
        return tie
    for capabilities in _CAPABILITIES:
        command = tie + _become_user(capabilities)
        tried = subprocess.run([*command, *probe], capture_output=True,
                               text=True, cwd="/")
        if tried.returncode == 0:
            return command
    raise RuntimeError(f"{probe[0]} cannot be run as the user {USER}: "
                       f"{tried.stderr.strip()[-300:]}")


def _become_user(capabilities):
    granted = [f"+{name}" for name in capabilities]
    command = [f"--reuid={USER}", f"--regid={pwd.getpwnam(USER).pw_gid}",
               "--clear-groups", "--inh-caps=" + ",".join(["-all", *granted])]
    if granted:
        command.append("--ambient-caps=" + ",".join(granted))
    return [*command, "--"]


def give(folder):
    """Make *folder* and everything in it the unprivileged user's."""
    if os.geteuid() != 0:
        return
    user = pwd.getpwnam(USER)
    for place, _, files in os.walk(folder):
        for path in (place, *(os.path.join(place, name) for name in files)):
            os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)
