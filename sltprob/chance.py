"""Numbers and keys that look like chance, where a call of JAX's generator would compile for long.

Threefry is a loop of kernels: every place of a program that splits a key, or folds a number in,
compiles as long as a small model does. What a trajectory draws comes from it all the same.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

__all__ = [
    "key_of",
    "keys_of",
    "random_signs",
    "scattered_number",
    "scattered_signs",
    "scattered_uniform",
    "scattered_vector",
]

# Sets the numbers of `scattered_uniform` apart from others that are made of the same key.
_UNIFORM = 0x51A7
# Sets the words of a key apart from those of its parent; the fraction of the golden ratio.
_CHILD = 0x9E3779B9


def key_of(rng_key: Any, number: Any) -> Any:
    """Make a key of a key and a number, as `jax.random.fold_in` does.

    Other numbers make other keys of a key, and other keys make other keys of a number: both are
    mixed by maps that can be inverted.

    Parameters
    ----------
    rng_key : PRNG key
    number : array of int, shape (...)

    Returns
    -------
    PRNG key, shape (...)
    """
    words = jax.random.key_data(rng_key)
    number = jnp.asarray(number).astype(jnp.uint32)
    first = _scattered(words[..., -2] ^ _scattered(number + jnp.uint32(_CHILD)))
    second = _scattered(words[..., -1] ^ first)
    return jax.random.wrap_key_data(jnp.stack([first, second], axis=-1))


def keys_of(rng_key: Any, count: int) -> Any:
    """Make so many keys of one, as `jax.random.split` does.

    Parameters
    ----------
    rng_key : PRNG key
    count : int

    Returns
    -------
    PRNG keys, shape (count,)
    """
    return key_of(rng_key, jnp.arange(count))


def scattered_number(rng_key: Any, purpose: int) -> Any:
    """Make a number (uint32) of a key that looks like chance, another one for every purpose.

    Each call of JAX's generator takes as long to compile as a small model does.
    """
    return _scattered(_mixed(rng_key) ^ jnp.uint32(purpose))


def scattered_uniform(rng_key: Any, low: float, high: float) -> Any:
    """Draw a number between two others; it has 32 random bits, and compiles to next to nothing."""
    return low + (high - low) * scattered_number(rng_key, _UNIFORM) / 2.0**32


def random_signs(rng_key: Any, tree: Any) -> Any:
    """Draw a sign for every entry: a direction whose mean square along every other is the same."""
    return scattered_signs(_mixed(rng_key), tree)


def scattered_signs(number: Any, tree: Any) -> Any:
    """Give every entry a sign that looks like chance, others for every number (uint32)."""
    leaves, structure = jax.tree.flatten(tree)
    signs, first = [], 0
    for leaf in leaves:
        entries = _scattered(first + jnp.arange(leaf.size, dtype=jnp.uint32))
        negative = _scattered(entries ^ number) >> 31
        signs.append(jnp.where(negative, -1.0, 1.0).astype(leaf.dtype).reshape(leaf.shape))
        first += leaf.size
    return jax.tree.unflatten(structure, signs)


def scattered_vector(rng_key: Any, vector: Any) -> Any:
    """Draw numbers between -1 and 1 in place of those of a vector; each has 32 random bits."""
    entries = _scattered(jnp.arange(vector.size, dtype=jnp.uint32)) ^ _mixed(rng_key)
    return (_scattered(entries) / 2.0**31 - 1).astype(vector.dtype)


def _mixed(rng_key: Any) -> Any:
    """Make one word of the words of a key."""
    words = jax.random.key_data(rng_key)
    return _scattered(words[..., -2]) ^ words[..., -1]


def _scattered(words: Any) -> Any:
    """Let every bit of a word of 32 bits depend on all its bits.

    References
    ----------
    .. [1] A. Appleby, MurmurHash3 (2011, public domain), its last steps.
    """
    for factor, shift in ((0x85EBCA6B, 13), (0xC2B2AE35, 16)):
        words = (words ^ (words >> 16)) * jnp.uint32(factor)
        words = words ^ (words >> shift)
    return words
