"""Keys of a run, made of its seed on the host: a program for them compiles longer than it runs."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import numpy as np

__all__ = ["SCOUTS", "RunKeys", "made_keys"]

# Words of a key of threefry; `sltprob.temper` refuses other generators.
_WIDTH = 2
# What keys are for.
_STARTS, _WARMUP, _PREPARE, _DRAWS, SCOUTS = range(5)


class RunKeys(NamedTuple):
    """Keys of a run.

    Parameters
    ----------
    starts, draws : PRNG keys, shape (chain,)
        Those of a chain are the same, however many chains there are.
    warmup, prepare : PRNG key
    """

    starts: Any
    warmup: Any
    prepare: Any
    draws: Any

    @classmethod
    def of(cls, seed: int, chains: int) -> RunKeys:
        """Make the keys of a run.

        Parameters
        ----------
        seed : int, >= 0
        chains : int

        Returns
        -------
        RunKeys
        """
        return cls(
            made_keys(seed, _STARTS, shape=(chains,)),
            made_keys(seed, _WARMUP),
            made_keys(seed, _PREPARE),
            made_keys(seed, _DRAWS, shape=(chains,)),
        )


def made_keys(seed: int, *purpose: int, shape: tuple[int, ...] = ()) -> Any:
    """Make keys of a seed for a purpose; more keys for the same one begin with the same keys.

    Parameters
    ----------
    seed : int, >= 0
    *purpose : int, >= 0
    shape : tuple of int

    Returns
    -------
    PRNG keys
    """
    sequence = np.random.SeedSequence(seed, spawn_key=purpose)
    made = sequence.generate_state(math.prod(shape) * _WIDTH)
    return jax.random.wrap_key_data(jax.device_put(made.reshape(*shape, _WIDTH)))
