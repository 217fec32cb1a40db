"""Where in a posterior something happens that a check has counted."""

from __future__ import annotations

import numpy as np

from sltprob.diagnostics.base import Run

__all__ = ["scaled_site", "where"]

# Coordinates that are looked at: a person reads one, and of a network no single one says much.
_MOST = 200
# Events that say something of a place, and standard errors by which their ranks must differ.
_FEWEST_EVENTS, _CLEARLY = 5, 4.0
# Correlation between the logarithms of a scale and of what it scales: from pure chance, with a
# hundred independent draws, above this once in 1e7.
_SCALES = 0.5


def where(run: Run, happened: np.ndarray) -> str:
    """Say in words where the draws are at which something happened; nothing if anywhere.

    Ranks of a uniform variable have the mean 1/2 and the variance 1/12; `happened` has the shape
    (chain, draw). The coordinate whose ranks differ most is named, and at which end.
    """
    chosen = np.asarray(happened, dtype=bool).ravel()
    count = int(chosen.sum())
    if count < _FEWEST_EVENTS:
        return ""
    best, found = _CLEARLY, ""
    for name, column in _columns(run, chosen.size):
        middle = np.median(column)
        for values, side in ((column, "low"), (-column, "high"), (-np.abs(column - middle), "far")):
            # Draws that are the same, as of a chain that stands still, share their rank.
            shares = (np.searchsorted(np.sort(values), values, side="right") - 0.5) / values.size
            score = (0.5 - shares[chosen].mean()) * np.sqrt(12 * count)
            if score > best:
                best, found = score, _words(name, side, column[chosen], column, middle)
    return found


def scaled_site(run: Run) -> str:
    """Name the site of which another one is the scale, as in a hierarchy that is centred, or ''.

    The spread of a site about its own mean, over its coordinates, moves with its scale.
    """
    best, found = _SCALES, ""
    flat = {
        name: values.reshape(int(np.prod(values.shape[:2])), -1)
        for name, values in run.values.items()
        if values.size and np.all(np.isfinite(values))
    }
    for scale, column in flat.items():
        if column.shape[1] != 1:
            continue
        # A scale, or the logarithm of one.
        level = np.log(column[:, 0]) if np.all(column > 0) else column[:, 0]
        for name, values in flat.items():
            spread = values.std(axis=1) if values.shape[1] > 1 else np.abs(values[:, 0])
            if name == scale or np.any(spread <= 0):
                continue
            correlation = np.corrcoef(level, np.log(spread))[0, 1]
            if correlation > best:
                best, found = correlation, name
    return found


def _words(name: str, side: str, events: np.ndarray, column: np.ndarray, middle: float) -> str:
    if side == "far":
        distances = np.abs(column - middle)
        edge = np.median(np.abs(events - middle))
        part = np.mean(distances >= edge)
        return (
            f" Half of them lie where {name} is more than {edge:.3g} away from {middle:.3g}, "
            f"as {part:.0%} of all draws do."
        )
    edge = np.median(events)
    part = np.mean(column <= edge) if side == "low" else np.mean(column >= edge)
    word = "below" if side == "low" else "above"
    return f" Half of them lie where {name} is {word} {edge:.3g}, as {part:.0%} of all draws do."


def _columns(run: Run, size: int) -> list[tuple[str, np.ndarray]]:
    """Give the length of every site and its first coordinates, with names as ArviZ writes them."""
    columns: list[tuple[str, np.ndarray]] = []
    for name, values in run.values.items():
        flat = values.reshape(size, -1) if values.size else values.reshape(size, 0)
        if flat.shape[1] > 1 and np.all(np.isfinite(flat)):
            # A cross has arms along all axes, which no single coordinate tells from its middle.
            columns.append((f"the length of {name}", np.linalg.norm(flat, axis=1)))
        for number in range(min(flat.shape[1], _MOST - len(columns))):
            if not np.all(np.isfinite(flat[:, number])):
                continue
            index = np.unravel_index(number, values.shape[2:]) if values.ndim > 2 else ()
            label = f"{name}[{', '.join(map(str, index))}]" if index else name
            columns.append((label, flat[:, number]))
    return columns
