"""Become another program that runs as a given user and dies with the process that started it.

Run by path with `python -I -S`, before anything is installed: standard library only.
Arguments: parent pid, signal at the parent's death, uid or -, gid or -, program, its arguments.
"""

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1
_EXIT_PARENT_GONE = 125


def main(arguments: list[str]) -> None:
    """Drop to the user, tie our life to the parent's, and become the program."""
    parent_pid, orphan_signal, uid, gid, *program = arguments
    if uid != "-":
        os.setgroups([])
        os.setgid(int(gid))
        os.setuid(int(uid))
    if sys.platform == "linux":
        # After setuid, which clears it.
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, int(orphan_signal), 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    # The parent may have died before the line above.
    if os.getppid() != int(parent_pid):
        sys.exit(_EXIT_PARENT_GONE)
    os.execv(program[0], program)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
