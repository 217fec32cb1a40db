"""What a command does when it is told to stop: by Ctrl-C, or by SIGTERM as a scheduler sends it.

The first time, everything that is open is closed, what is half written is removed, and one line
says how to go on. The second time, the process ends at once; what it would have removed has names
that nothing reads.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Stopped", "goes_on", "stoppable"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_NOTHING = "nothing was written, and the same command starts anew"
_afterwards = _NOTHING


class Stopped(BaseException):
    """A command was told to stop; no KeyboardInterrupt, which Typer turns into an exit code."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        #: What a shell gives for a process that a signal has ended.
        self.code = 128 + number


def goes_on(how: str) -> None:
    """Say what stays if the running command is stopped, and how to go on."""
    global _afterwards
    _afterwards = how


@contextmanager
def stoppable() -> Iterator[None]:
    """Stop in order at the first signal, and at once at the second."""
    goes_on(_NOTHING)
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    own, stopped = os.getpid(), False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        if os.getpid() != own or stopped:
            # No Python is run after this: closing is what takes too long.
            os.write(2, b"sltprob: stopped at once\n" if os.getpid() == own else b"")
            os._exit(128 + number)
        stopped = True
        raise Stopped(number)

    def again(unraisable: sys.UnraisableHookArgs) -> None:
        """Stop a little later where Python can raise nothing, as in a finaliser."""
        nonlocal stopped
        error = unraisable.exc_value
        if not isinstance(error, Stopped):
            hook(unraisable)
            return
        stopped = False
        threading.Timer(0.05, os.kill, (own, error.code - 128)).start()

    # One that is ignored, as under nohup, stays so.
    found = {number: signal.getsignal(number) for number in _SIGNALS}
    ours = [number for number, handler in found.items() if handler is not signal.SIG_IGN]
    for number in ours:
        signal.signal(number, stop)
    hook, sys.unraisablehook = sys.unraisablehook, again
    try:
        yield
    except Stopped as error:
        sys.stderr.write(f"sltprob: stopped; {_afterwards}\n")
        sys.exit(error.code)
    finally:
        sys.unraisablehook = hook
        # A process that is stopped keeps them, as ending takes a while too.
        for number in ours if not stopped else ():
            signal.signal(number, found[number])
