"""The pieces of a run, as arrays that a file can hold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from sltprob.sampling.rows import is_key

__all__ = ["Checkpoint", "from_piece", "to_piece"]


class Checkpoint(Protocol):
    """Where `sample` keeps what it has done, so that it can go on after it was stopped.

    A piece is a list of arrays: first the warm-up, then one piece for each chunk of draws. Who
    implements this may write pieces late or together, but never a later one without the earlier.
    """

    def restore(self) -> Iterable[list[np.ndarray]]:
        """Give back the pieces saved so far, in order."""
        ...

    def save(self, piece: list[np.ndarray]) -> None:
        """Keep one more piece."""
        ...


def to_piece(seconds: float, tree: Any) -> list[np.ndarray]:
    """Flatten what a run has done to arrays that a file can hold."""
    leaves = [jax.random.key_data(leaf) if is_key(leaf) else leaf for leaf in jax.tree.leaves(tree)]
    return [np.asarray(seconds), *map(np.asarray, leaves)]


def from_piece(piece: list[np.ndarray], form: Any) -> tuple[float, Any]:
    """Undo `to_piece`."""
    forms, structure = jax.tree.flatten(form)
    leaves = [
        jax.random.wrap_key_data(jnp.asarray(array), impl=jax.random.key_impl(leaf))
        if is_key(leaf)
        else jnp.asarray(array)
        for array, leaf in zip(piece[1:], forms, strict=True)
    ]
    return float(piece[0]), jax.tree.unflatten(structure, leaves)
