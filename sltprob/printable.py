"""Text of others that is safe to print."""

from __future__ import annotations

import re
import reprlib
from typing import Any

__all__ = ["printable", "shortened"]

# What moves a terminal's cursor, colours it or turns the direction of writing; lines may break.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """Write control characters as they are written in Python: a terminal would obey them."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def shortened(value: Any) -> str:
    """Write a value that came in place of a number on one line, be it an array."""
    return " ".join(reprlib.repr(value).split())
