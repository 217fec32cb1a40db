"""Where in a posterior something happens that a check has counted."""

from __future__ import annotations

from collections.abc import Iterator

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
    for name, column in _columns(run):
        middle = np.median(column)
        for values, side in ((column, "low"), (-column, "high"), (-np.abs(column - middle), "far")):
            # Draws that are the same, as of a chain that stands still, share their rank.
            ranks = np.searchsorted(np.sort(values), values[chosen], side="right")
            score = (0.5 - ((ranks - 0.5) / values.size).mean()) * np.sqrt(12 * count)
            if score > best:
                best, found = score, _words(name, side, column[chosen], column, middle)
    return found


def scaled_site(run: Run) -> str:
    """Name the site of which another one is the scale, as in a hierarchy that is centred, or ''.

    The spread of a site about its own mean, over its coordinates, moves with its scale.
    """
    best, found = _SCALES, ""
    sites = [site for site in run.kept if site.is_finite]
    scales = [site for site in sites if site.coordinates == 1]
    spreads = {site.name: site.spread() for site in sites} if scales else {}
    for scale in scales:
        column = np.concatenate([piece[:, 0] for piece in scale.pieces()])
        # A scale, or the logarithm of one.
        level = np.log(column) if np.all(column > 0) else column
        for name, spread in spreads.items():
            if name == scale.name or np.any(spread <= 0):
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


def _columns(run: Run) -> Iterator[tuple[str, np.ndarray]]:
    """Give the length of every site and its first coordinates, in all not many."""
    left = _MOST
    for site in run.kept:
        for named in site.columns(left):
            left -= 1
            yield named
