"""Kernels applied leaf by leaf, and large leaves piece by piece, so that noise takes no memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from sltprob.chance import key_of, keys_of

__all__ = ["by_leaf", "normal_like"]

# Numbers of a piece: its random bits, of which JAX keeps several arrays, stay in the cache.
_PIECE = 2**16
# Smaller leaves are moved whole: the last piece, which has some numbers twice, would cost more.
_LARGE = 2**19


def by_leaf(
    kernel: Callable[..., tuple[Any, ...]],
    rng_key: Any,
    moving: tuple[Any, ...],
    fixed: tuple[Any, ...] = (),
) -> tuple[Any, ...]:
    """Apply an elementwise kernel to every leaf with a key of its own.

    The kernel takes a key and the leaves, and gives those that move. BlackJAX draws its noise as
    one vector and cuts it up: of large networks that is a fifth of a step. On a CPU, large
    leaves are moved piece by piece.
    """
    leaves, structure = jax.tree.flatten(moving[0])
    moved = [leaves, *(jax.tree.leaves(tree) for tree in moving[1:])]
    held = [jax.tree.leaves(tree) for tree in fixed]
    keys = keys_of(rng_key, len(leaves))
    found: list[tuple[Any, ...]] = []
    for index, key in enumerate(keys):
        own = tuple(part[index] for part in moved)
        rest = tuple(part[index] for part in held)
        if own[0].size > _LARGE and jax.default_backend() == "cpu":
            found.append(_by_piece(kernel, key, own, rest))
        else:
            found.append(_in_types_of(own, kernel(key, *own, *rest)))
    return tuple(jax.tree.unflatten(structure, list(part)) for part in zip(*found, strict=True))


def _by_piece(
    kernel: Callable[..., tuple[Any, ...]],
    rng_key: Any,
    own: tuple[Any, ...],
    rest: tuple[Any, ...],
) -> tuple[Any, ...]:
    """Apply a kernel to the pieces of one leaf, each with a key of its own."""
    shape, size = own[0].shape, own[0].size
    flat = tuple(leaf.ravel() for leaf in own)
    held = tuple(leaf.ravel() for leaf in rest)

    def piece(index: Any, moved: tuple[Any, ...]) -> tuple[Any, ...]:
        # The last piece begins early enough to be whole, and what it has twice is moved once more
        # from where it was: every number is that of one step.
        start = jnp.minimum(index * _PIECE, size - _PIECE)

        def cut(leaf: Any) -> Any:
            return lax.dynamic_slice_in_dim(leaf, start, _PIECE)

        before = tuple(map(cut, flat))
        new = kernel(key_of(rng_key, index), *before, *map(cut, held))
        return tuple(
            lax.dynamic_update_slice_in_dim(leaf, part, start, 0)
            for leaf, part in zip(moved, _in_types_of(before, new), strict=True)
        )

    # A constant would be made once, outside of the loop over steps, and kept beside its copy; what
    # hangs on the gradient is made when the memory that the gradient took is free.
    empty = tuple(jnp.full_like(leaf, (*flat, *held)[-1][0]) for leaf in flat)
    flat = lax.fori_loop(0, -(-size // _PIECE), piece, empty)
    return tuple(leaf.reshape(shape) for leaf in flat)


def _in_types_of(before: tuple[Any, ...], after: tuple[Any, ...]) -> tuple[Any, ...]:
    """Give values the types that they had: with x64 BlackJAX's noise makes float64 of float32."""
    return tuple(jnp.asarray(new, old.dtype) for old, new in zip(before, after, strict=True))


def normal_like(rng_key: Any, tree: Any) -> Any:
    """Draw standard normal numbers, shaped as a tree."""
    (drawn,) = by_leaf(
        lambda key, leaf: (jax.random.normal(key, leaf.shape, leaf.dtype),), rng_key, (tree,)
    )
    return drawn
