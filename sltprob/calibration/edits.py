"""What people do to the file of a run: each edit leaves a file that can be read."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr

__all__ = ["EDITS", "edited"]


def _losses_of(draws: xr.DataTree) -> np.ndarray:
    """Give the losses, shape (chain, draw), such that they can be changed."""
    values: np.ndarray = draws["sample_stats"].variables["loss"].values
    return values


def _minimum(steps: float) -> Callable[[xr.DataTree], xr.DataTree]:
    """Move L*, by so many 1/β."""

    def edit(draws: xr.DataTree) -> xr.DataTree:
        draws.attrs["minimum_loss"] += steps / draws.attrs["beta"]
        return draws

    return edit


def _losses(factor: float) -> Callable[[xr.DataTree], xr.DataTree]:
    """Scale the losses, as by another unit."""

    def edit(draws: xr.DataTree) -> xr.DataTree:
        draws["sample_stats"]["loss"] *= factor
        return draws

    return edit


def _beta(draws: xr.DataTree) -> xr.DataTree:
    draws.attrs["beta"] *= 1.1
    return draws


def _without_outliers(draws: xr.DataTree) -> xr.DataTree:
    """Leave out the draws at which a chain had one of the largest losses."""
    loss = _losses_of(draws)
    kept = np.flatnonzero((loss <= np.quantile(loss, 0.97)).all(axis=0))
    draws["sample_stats"] = xr.DataTree(draws["sample_stats"].to_dataset().isel(draw=kept))
    return draws


def _frozen(draws: xr.DataTree) -> xr.DataTree:
    """Repeat a draw of one chain for the last 40 %."""
    loss = _losses_of(draws)
    first = int(0.6 * loss.shape[1])
    loss[1, first:] = loss[1, first]
    return draws


def _single(value: float) -> Callable[[xr.DataTree], xr.DataTree]:
    def edit(draws: xr.DataTree) -> xr.DataTree:
        loss = _losses_of(draws)
        loss[1, loss.shape[1] // 2] = value
        return draws

    return edit


EDITS: dict[str, Callable[[xr.DataTree], xr.DataTree]] = {
    "L* - 1/β": _minimum(-1.0),
    "L* - 0.3/β": _minimum(-0.3),
    "L* + 0.3/β": _minimum(0.3),
    "L* + 1/β": _minimum(1.0),
    "losses × 0.9": _losses(0.9),
    "losses × 1.1": _losses(1.1),
    "β × 1.1": _beta,
    "outliers dropped": _without_outliers,
    "40 % of a chain frozen": _frozen,
    "a NaN": _single(np.nan),
    "an infinite loss": _single(np.inf),
}


def edited(draws: xr.DataTree, name: str) -> xr.DataTree:
    """Edit a copy of a run."""
    return EDITS[name](draws.copy(deep=True))
