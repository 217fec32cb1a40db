"""What processes that share work must know of each other."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

__all__ = ["refuse_forked", "without_interrupts"]

# The process that was the first to compute here; a fork inherits the number.
_first: int | None = None


def refuse_forked() -> None:
    """Refuse to compute in a fork of a process that has computed.

    JAX has threads, which a fork leaves behind: the child would wait for them, perhaps forever.
    """
    global _first
    _first = os.getpid() if _first is None else _first
    if _first != os.getpid():
        raise ValueError(
            f"process {os.getpid()} is a fork of {_first}, which has used JAX, and would hang; "
            "start processes by multiprocessing.get_context('spawn'), or compute in them only"
        )


def _start_tracker() -> None:
    """Start the process of Python that removes what is left of locks of processes that were killed.

    Otherwise the first child starts it, and CPython then lets interrupts through again; and it
    warns of what it removes, which a user cannot help.
    """
    before = os.environ.get("PYTHONWARNINGS")
    quiet = "ignore:resource_tracker:UserWarning"
    os.environ["PYTHONWARNINGS"] = quiet if before is None else f"{before},{quiet}"
    try:
        resource_tracker.ensure_running()
    finally:
        if before is None:
            del os.environ["PYTHONWARNINGS"]
        else:
            os.environ["PYTHONWARNINGS"] = before


@contextmanager
def without_interrupts() -> Iterator[None]:
    """Start processes, and threads that start some, which never hear of Ctrl-C.

    It reaches every process of a terminal, and is for the one that was called to say so; one that
    comes meanwhile is heard afterwards.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    _start_tracker()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
