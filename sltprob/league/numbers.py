"""How the numbers of a league table are written: short, since there are many."""

from __future__ import annotations

import math

from sltprob.report.numbers import number

__all__ = ["percent", "short", "signed_percent"]


def percent(value: float | None) -> str:
    """Write a share in percent."""
    if value is None or not math.isfinite(value):
        return "–"
    size = abs(100 * value)
    return f"{number(size, 2 if size < 100 else 3)} %"


def signed_percent(value: float | None) -> str:
    """Write a share in percent with its sign."""
    sign = "" if value is None or value == 0 else "−" if value < 0 else "+"
    return sign + percent(value)


def short(value: float | None) -> str:
    """Write a large number in four characters or little more: 1.2M."""
    if value is None or not math.isfinite(value):
        return "–"
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * size:
            return f"{number(value / size, 2 if value < 10 * size else 3)}{suffix}"
    return number(value, 2 if value < 10 else 3)
