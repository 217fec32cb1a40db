"""Runs in a folder, found again by what they measured and not by their names."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

from sltprob import draws as schema
from sltprob.fingerprint import content_of
from sltprob.local_posterior import LocalPosterior
from sltprob.models._row_losses import site_name

__all__ = ["StoredRuns"]

_KEY, _LOSSES = "trajectory_key", "trajectory_losses"
# Sums with random signs, of which one sees a change of any row, and the rows of a stream to hash.
_SUMS, _FIRST = 8, 64
# How far losses of the same function may differ from one machine to another, beside their size.
# Another loss within this has the same lambda-hat, up to its error.
_TOLERANCE = 1e-3


class StoredRuns:
    """Runs in a folder.

    Parameters
    ----------
    folder : path
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._data: Any = None  # what the data are; hashed once, as they may be large

    def get_or_make(
        self,
        name: str,
        posterior: LocalPosterior,
        settings: Mapping[str, Any],
        make: Callable[[LocalPosterior], xr.DataTree],
    ) -> xr.DataTree:
        """Load the run that measured the same, or make one and put it beside those that are there.

        Parameters
        ----------
        name : str
        posterior : LocalPosterior
        settings : mapping of str to object
            What else decides the numbers of a run.
        make : callable

        Returns
        -------
        xarray.DataTree
        """
        key, losses = self._key(posterior, settings), _losses(posterior)
        for path in itertools.takewhile(Path.exists, self._paths(name)):
            try:
                run = schema.load(path)
            except ValueError:
                continue  # damaged, or another file of the user's
            if run.attrs.get(_KEY) == key and _agree(run.attrs.get(_LOSSES), losses):
                return run
        run = make(posterior)
        run.attrs[_KEY], run.attrs[_LOSSES] = key, json.dumps(losses)
        schema.save(run, next(path for path in self._paths(name) if not path.exists()))
        return run

    def _paths(self, name: str) -> Iterator[Path]:
        """Give the names that a run may have: that of its checkpoint, then numbered ones."""
        plain = re.sub(r"[^\w.-]+", "_", name)
        yield self.folder / f"{plain}.nc"
        for number in itertools.count(2):
            yield self.folder / f"{plain}-{number}.nc"

    def _key(self, posterior: LocalPosterior, settings: Mapping[str, Any]) -> str:
        """Hash what is measured, all but the loss, whose code has no content to hash."""
        if self._data is None:
            self._data = _rows(posterior)
        structure = posterior.structure
        measured = {
            "settings": dict(settings),
            "nbeta": float(posterior.nbeta),
            "gamma": float(posterior.gamma),
            "dtype": structure.dtype,
            "center": _contents(posterior.center),
            "names": structure.names,
            "constants": [*map(_content, posterior.constants), *map(_content, structure.kept)],
            "mask": _contents(posterior.mask),
            "weights": _content(posterior.weights),
            "data": self._data,
        }
        text = json.dumps(measured, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()


def _rows(posterior: LocalPosterior) -> Any:
    """Say what the data are; of a stream its first rows."""
    tree, stream = posterior.structure.batch_tree, posterior.stream
    places, _ = jax.tree.flatten_with_path(jax.tree.unflatten(tree, range(tree.num_leaves)))
    names = [site_name(place) for place, _ in places]
    leaves = posterior.data if stream is None else stream.example(_FIRST)
    return [posterior.num_rows, names, list(map(_content, leaves))]


def _contents(arrays: Mapping[str, Any]) -> dict[str, str]:
    return {name: _content(array) for name, array in arrays.items()}


def _content(value: Any) -> str:
    """Stand for a leaf: an array by its form and a hash, all else without its address."""
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    if not hasattr(value, "dtype"):
        return str(getattr(value, "__qualname__", type(value).__qualname__))
    return content_of(value)


def _losses(posterior: LocalPosterior) -> dict[str, list[float]]:
    """Tell one loss from another: by all rows at the center, and by some beside it."""
    center: list[float] = []
    if posterior.baseline is not None:
        baseline = np.asarray(posterior.baseline, dtype=float)
        generator, root = np.random.default_rng(0), np.sqrt(len(baseline))
        center = [float(np.linalg.norm(baseline) / root)]
        for _ in range(_SUMS):
            positive = generator.integers(0, 2, len(baseline), dtype=bool)
            center.append(float((2 * baseline[positive].sum() - baseline.sum()) / root))
    return {"center": center, "nearby": list(posterior.nearby)}


def _agree(stored: Any, losses: Mapping[str, list[float]]) -> bool:
    """Compare losses up to rounding: a machine adds them up in another order than the next."""
    try:
        other = json.loads(stored)
        pairs = [(np.asarray(other[part], dtype=float), np.asarray(losses[part], dtype=float))
                 for part in ("center", "nearby")]  # fmt: skip
    except (KeyError, TypeError, ValueError):
        return False
    # Where a network fits its data all losses at the center are rounding; those beside it are not.
    least = 1e-6 * max(_largest(own) for _, own in pairs)
    return all(
        first.shape == own.shape
        and np.allclose(
            first,
            own,
            rtol=0,
            atol=least + _TOLERANCE * _largest(own),
            equal_nan=True,
        )
        for first, own in pairs
    )


def _largest(values: np.ndarray) -> float:
    return float(np.max(np.abs(values[np.isfinite(values)]), initial=0))
