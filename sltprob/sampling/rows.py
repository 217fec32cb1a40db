"""Rows of trees whose leaves have one for each chain, or each point: joined and chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["by_chain", "in_calls", "is_key", "joined", "length", "taken"]


def joined(trees: Sequence[Any]) -> Any:
    """Put the rows of trees behind one another, on the host: nothing is compiled for it."""
    return jax.tree.map(_concatenated, *trees)


def length(tree: Any) -> int:
    """Count the rows."""
    return int(jax.tree.leaves(tree)[0].shape[0])


def taken(tree: Any, rows: Any) -> Any:
    """Choose rows by number, or by a slice."""

    def chosen(leaf: Any) -> Any:
        if not is_key(leaf):
            return np.asarray(leaf)[rows]
        # NumPy chooses of keys too: JAX would compile a program for each shape.
        words = np.asarray(jax.random.key_data(leaf))
        return jax.random.wrap_key_data(words[rows], impl=jax.random.key_impl(leaf))

    return jax.tree.map(chosen, tree)


def in_calls(function: Callable[[Any], Any], tree: Any, size: int) -> Any:
    """Apply a function of so many rows to all rows, in as many calls as that takes."""
    count = length(tree)
    rows = [np.arange(first, first + size) % count for first in range(0, count, size)]
    return taken(joined([function(taken(tree, some)) for some in rows]), slice(count))


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
