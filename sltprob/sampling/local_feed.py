"""Which rows a minibatch has: by a keyed permutation on the device, or read ahead from a stream."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from sltprob.local_posterior import LocalPosterior
from sltprob.sampling.compilation import Clock, compiled
from sltprob.streams import ArrayStream, BatchStream

__all__ = ["Fed", "feed", "rows_of_batch"]

_ROUNDS = 6

type Fed = tuple[tuple[Any, ...], Any, Any]  # rows, their weights or None, and l_i(θ*)


def rows_of_batch(rng_key: Any, size: int, num_rows: int) -> Any:
    """Draw row numbers without replacement, in time and memory that grow with `size` alone.

    A Feistel network permutes 2^(2k) >= n numbers; a place whose image is no row is followed
    along its cycle until it is one, which is a permutation of the rows again.

    References
    ----------
    .. [1] M. Luby, C. Rackoff, "How to construct pseudorandom permutations from pseudorandom
       functions", SIAM J. Comput. 17 (1988) 373-386.
    .. [2] J. Black, P. Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002 (the walk
       along the cycle).
    """
    if size >= num_rows:
        return jnp.arange(num_rows, dtype=jnp.int32)
    half = max(1, math.ceil(math.ceil(math.log2(num_rows)) / 2))
    low = jnp.uint32(2**half - 1)
    words = jax.random.bits(rng_key, (2,), jnp.uint32)

    def mix(value: Any, word: Any) -> Any:
        value = (value ^ word) * jnp.uint32(0x85EBCA6B)
        value = (value ^ (value >> 13)) * jnp.uint32(0xC2B2AE35)
        value = (value ^ (value >> 16)) * jnp.uint32(0x9E3779B1)
        return value ^ (value >> 15)

    def permute(value: Any) -> Any:
        left, right = value >> half, value & low
        for index in range(_ROUNDS):
            salt = jnp.uint32(index * 0x632BE5AB & 0xFFFFFFFF)
            left, right = right, left ^ (mix(right + salt, words[index % 2]) & low)
        return (left << half) | right

    count = jnp.uint32(num_rows)
    found = lax.while_loop(
        lambda value: jnp.any(value >= count),
        lambda value: jnp.where(value >= count, permute(value), value),
        permute(jnp.arange(size, dtype=jnp.uint32)),
    )
    return found.astype(jnp.int32)


def feed(
    posterior: LocalPosterior,
    generator: np.random.Generator,
    shape: tuple[int, int],
    batch_size: int,
    clock: Clock,
) -> Fed:
    """Read the batches of (chains, steps) from the stream of a posterior."""
    stream = posterior.stream
    dtype = np.dtype(posterior.structure.dtype)
    if isinstance(stream, ArrayStream):
        count = stream.num_rows
        size = min(batch_size, count)
        chosen = _distinct(generator, count, (math.prod(shape), size)).reshape(*shape, size)
        rows = tuple(_as_device_has(row, dtype) for row in stream.rows(chosen))
        weights = None if posterior.weights is None else np.asarray(posterior.weights)[chosen]
        return rows, weights, np.asarray(posterior.baseline)[chosen]
    assert isinstance(stream, BatchStream)
    # Chains take the same batches, each in an order of its own, so that the losses at the center
    # are evaluated once for all chains.
    chains, steps = shape
    read = [stream.next() for _ in range(steps)]
    stacked = [_as_device_has(np.stack(leaves), dtype) for leaves in zip(*read, strict=True)]
    arguments = (posterior.traced(), stacked)
    baseline = np.asarray(compiled(_center_losses_of_batches, *arguments, clock=clock)(*arguments))
    orders = np.stack([generator.permutation(steps) for _ in range(chains)])

    def spread(array: Any) -> Any:
        return np.asarray(array)[orders]

    return tuple(map(spread, stacked)), None, spread(baseline)


def _center_losses_of_batches(posterior: LocalPosterior, batches: Any) -> Any:
    """Evaluate the rows of some batches at the center, one batch after the other."""
    return lax.map(lambda batch: posterior.center_losses(tuple(batch), None), batches)


def _distinct(generator: np.random.Generator, count: int, shape: tuple[int, int]) -> np.ndarray:
    """Draw distinct row numbers for each of some batches."""
    batches, size = shape
    if size >= count:
        return np.tile(np.arange(count), (batches, 1))
    if size**2 > count:  # most draws would have a row twice
        return np.stack([generator.choice(count, size, replace=False) for _ in range(batches)])
    chosen = generator.integers(0, count, shape)
    again = np.arange(batches)
    while len(again):
        # A batch with a row twice is drawn anew as a whole, so that all are equally likely.
        twice = np.any(np.diff(np.sort(chosen[again], axis=1), axis=1) == 0, axis=1)
        again = again[twice]
        chosen[again] = generator.integers(0, count, (len(again), size))
    return chosen


def _as_device_has(array: np.ndarray, dtype: Any) -> np.ndarray:
    if np.issubdtype(array.dtype, np.floating):
        return array.astype(dtype, copy=False)
    return array
