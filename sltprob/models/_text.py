"""Options that are lists of numbers, written as text: ``2:4:6``."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = [
    "check_choice",
    "check_positive",
    "check_whole",
    "read_numbers",
    "read_whole_numbers",
    "write_numbers",
]


def read_numbers(name: str, text: str | Sequence[float], example: str) -> tuple[float, ...]:
    """Read a list of numbers: ``2:4:6``, ``[2,4,6]``, or a sequence."""
    try:
        if isinstance(text, str):
            parts = text.strip().removeprefix("[").removesuffix("]").replace(",", ":").split(":")
            numbers = tuple(float(part) for part in parts)
        else:
            numbers = tuple(float(number) for number in text)
    except (TypeError, ValueError):
        numbers = ()
    if not numbers or not all(math.isfinite(number) for number in numbers):
        raise ValueError(f"{name}={text}: it must be numbers with : between them, as in {example}")
    return numbers


def write_numbers(numbers: Sequence[float]) -> str:
    """Write a list of numbers so that it reads back equal, whole numbers without a point."""
    return ":".join(
        str(int(number)) if float(number).is_integer() and abs(number) < 1e15 else repr(number)
        for number in numbers
    )


def read_whole_numbers(
    name: str, text: str | Sequence[float], least: int, example: str
) -> tuple[int, ...]:
    """Read a list of whole numbers that are not below a least one."""
    numbers = read_numbers(name, text, example)
    if not all(number.is_integer() and number >= least for number in numbers):
        raise ValueError(
            f"{name}={text}: it must be whole numbers >= {least} with : between them, as in "
            f"{example}"
        )
    return tuple(int(number) for number in numbers)


def check_whole(name: str, value: int, least: int, example: int) -> None:
    """Refuse what is not a whole number >= least."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name}={value}: it must be a whole number >= {least}, such as {example}")


def check_positive(name: str, value: float, example: float) -> None:
    """Refuse what is not positive and finite."""
    if not 0 < value < math.inf:
        raise ValueError(f"{name}={value}: it must be positive and finite, such as {example}")


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Refuse what is not one of the choices."""
    if value not in choices:
        raise ValueError(f"{name}={value}: it must be {' or '.join(choices)}")
