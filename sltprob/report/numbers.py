"""How numbers are written: two significant digits of the error, and no more of the value."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Measured", "count", "duration", "inverse_temperature", "measured", "number", "signed"]

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_MISSING = "–"


@dataclass(frozen=True)
class Measured:
    """A value with its error, rounded, before it is written."""

    value: str  # Digits of the value, divided by 10**`exponent`
    error: str  # Digits of the error, likewise; empty if there is none
    exponent: int

    def text(self) -> str:
        """Write for people: ``1.603 ± 0.037``."""
        body = f"{_minus(self.value)} ± {self.error}" if self.error else _minus(self.value)
        if not self.exponent:
            return body
        power = f"10{str(self.exponent).translate(_SUPERSCRIPTS)}"
        return f"({body})×{power}" if self.error else f"{body}×{power}"

    def latex(self) -> str:
        r"""Write for a paper: ``$1.603 \pm 0.037$``."""
        if self.value == _MISSING:
            return "--"
        body = rf"{self.value} \pm {self.error}" if self.error else self.value
        if not self.exponent:
            return f"${body}$"
        body = f"({body})" if self.error else body
        return rf"${body} \times 10^{{{self.exponent}}}$"


def _minus(digits: str) -> str:
    return digits.replace("-", "−")


def _rounded(value: float, decimals: int) -> str:
    return f"{round(value, decimals):.{max(decimals, 0)}f}"


def _decimals(size: float, digits: int) -> int:
    """Count the decimals that leave `digits` significant digits of a number after rounding."""
    exponent = int(f"{size:.{digits - 1}e}".partition("e")[2])
    return digits - 1 - exponent


def measured(value: float | None, error: float | None = None) -> Measured:
    """Round a value to two significant digits of its error, or to four of its own."""
    if value is None or not math.isfinite(value):
        return Measured(_MISSING, "", 0)
    known = error is not None and math.isfinite(error) and error > 0
    size = max(abs(value), float(error) if known else 0.0)  # type: ignore[arg-type]
    exponent = 0
    if size and not 1e-3 <= size < 1e6:
        exponent = int(f"{size:.1e}".partition("e")[2])
    scaled = value / 10.0**exponent
    if not known:
        decimals = _decimals(scaled, 4) if scaled else 0
        digits = _rounded(scaled, decimals)
        return Measured(digits.rstrip("0").rstrip(".") if decimals > 0 else digits, "", exponent)
    scaled_error = float(error) / 10.0**exponent  # type: ignore[arg-type]
    decimals = _decimals(scaled_error, 2)
    return Measured(_rounded(scaled, decimals), _rounded(scaled_error, decimals), exponent)


def number(value: float | None, digits: int = 3) -> str:
    """Write a number with so many significant digits."""
    if value is None or math.isnan(value):
        return _MISSING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    decimals = _decimals(value, digits)
    if 1e-3 <= abs(value) < 1e5:
        text = _rounded(value, decimals)
        return _minus(text.rstrip("0").rstrip(".") if decimals > 0 else text)
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    mantissa = mantissa.rstrip("0").rstrip(".")
    power = f"10{str(int(exponent)).translate(_SUPERSCRIPTS)}"
    return power if mantissa == "1" else f"{_minus(mantissa)}×{power}"


def count(value: float | None) -> str:
    """Write a count with its thousands set apart."""
    if value is None or not math.isfinite(value):
        return _MISSING
    return f"{round(value):,}".replace(",", "\u202f") if abs(value) < 1e9 else number(value)


def duration(seconds: float | None) -> str:
    """Write a time."""
    if seconds is None or not math.isfinite(seconds):
        return _MISSING
    if seconds < 100:
        return f"{number(seconds, 2)} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def inverse_temperature(beta: float) -> str:
    """Write an inverse temperature: a power of ten as one, else up to six digits."""
    exponent = math.log10(beta) if beta > 0 and math.isfinite(beta) else math.nan
    if abs(exponent) >= 4 and exponent.is_integer():
        return f"10{str(int(exponent)).translate(_SUPERSCRIPTS)}"
    return number(beta, 6)


def signed(value: float | None) -> str:
    """Write a z-score, with its sign and one decimal."""
    if value is None or not math.isfinite(value):
        return _MISSING
    if abs(value) >= 1000:
        return ("+" if value > 0 else "") + number(value, 2)
    text = f"{value:+.1f}"
    return _minus(text if float(text) else text.lstrip("+-"))
