"""Which parameters move around trained ones."""

from __future__ import annotations

import fnmatch
from typing import Any

import jax
import numpy as np

__all__ = ["read_mask"]


def read_mask(mask: Any, names: tuple[str, ...], tree: Any) -> dict[str, Any]:
    """Say by name which parameters move, wholly or coordinate by coordinate.

    Parameters
    ----------
    mask : None, str, sequence of str, callable or pytree
    names : tuple of str
        Of all leaves.
    tree : PyTreeDef
        Structure of the parameters.

    Returns
    -------
    dict of str to bool or array of bool

    Raises
    ------
    ValueError
        If a pattern names nothing, the structure is another one, or a value is neither 0 nor 1.
    """
    if mask is None:
        return {}
    if callable(mask):
        return {name: _moving(name, mask(name)) for name in names}
    if isinstance(mask, str):
        mask = [mask]
    if isinstance(mask, list | tuple) and mask and all(isinstance(item, str) for item in mask):
        for pattern in mask:
            if not fnmatch.filter(names, pattern):
                raise ValueError(
                    f"mask={pattern!r} names no site; the sites are {', '.join(names[:12])}"
                )
        return {name: any(fnmatch.fnmatchcase(name, p) for p in mask) for name in names}
    leaves, found = jax.tree.flatten(mask)
    if found != tree:
        raise ValueError(
            f"mask is a {type(mask).__name__} of another structure than params; give patterns of "
            f"names such as {names[0]!r}, a function of the name, or a pytree like params"
        )
    return {name: _moving(name, leaf) for name, leaf in zip(names, leaves, strict=True)}


def _moving(name: str, value: Any) -> np.ndarray:
    """Read a mask of one leaf; a part of a coordinate cannot move."""
    array = np.asarray(value)
    neither = array[(array != 0) & (array != 1)]
    if neither.size:
        raise ValueError(
            f"mask of {name!r} has the value {neither[0]!s}; it must be True, where a parameter "
            "moves, or False, where it stays, such as weights > 0.5"
        )
    return np.asarray(array, dtype=bool)
