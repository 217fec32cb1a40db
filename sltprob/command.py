"""What was typed to make a page, so that the page can say how to make it again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["typed", "typing"]

_TYPED: ContextVar[str] = ContextVar("typed", default="")


def typed() -> str:
    """Give the command line that is running; empty in Python."""
    return _TYPED.get()


@contextmanager
def typing(arguments: Sequence[str]) -> Iterator[None]:
    """Remember a command line while it runs."""
    token = _TYPED.set(shlex.join(["sltprob", *arguments]))
    try:
        yield
    finally:
        _TYPED.reset(token)
