"""Rows of trees whose leaves have one for each chain, or each point: joined and chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["by_chain", "is_key", "joined", "taken"]


def joined(trees: Sequence[Any]) -> Any:
    """Put the rows of trees behind one another, on the host: nothing is compiled for it."""
    return jax.tree.map(_concatenated, *trees)


def taken(tree: Any, rows: Any) -> Any:
    """Choose rows by number, or by a slice."""
    return jax.tree.map(lambda leaf: (leaf if is_key(leaf) else np.asarray(leaf))[rows], tree)


def by_chain(record: Any) -> Any:
    """Put the chain, the second axis of what a loop over draws records, first: on the host too.

    In memory as well, so that sums over a run and over its file round alike.
    """
    return jax.tree.map(lambda leaf: np.swapaxes(np.asarray(leaf), 0, 1).copy(order="C"), record)


def _concatenated(*parts: Any) -> Any:
    # The state of a kernel may hold keys, which NumPy does not know.
    if is_key(parts[0]):
        return jnp.concatenate(parts)
    return np.concatenate([np.asarray(part) for part in parts])


def is_key(leaf: Any) -> bool:
    """Say whether a leaf holds keys of random numbers."""
    return bool(jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key))
