"""Activations of networks, in JAX for the program and in NumPy for the exact answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

__all__ = ["ACTIVATIONS", "Activation"]


@dataclass(frozen=True)
class Activation:
    """One activation function."""

    in_jax: Callable[[Any], Any]
    in_numpy: Callable[[Any], Any]  # the same function
    odd: bool
    smooth: bool  # whether it is analytic; if not it has its one kink at 0
    # Exponents of its Taylor series at 0, the first ones; empty where it has none, or an end
    powers: tuple[int, ...]


_ODD = tuple(range(1, 64, 2))
# x Φ(x) = x/2 plus even powers.
_LINEAR_AND_EVEN = (1, *range(2, 64, 2))

ACTIVATIONS = {
    "erf": Activation(jax.scipy.special.erf, special.erf, True, True, _ODD),
    "gelu": Activation(
        lambda z: jax.nn.gelu(z, approximate=False),
        lambda z: z * special.ndtr(z),
        False,
        True,
        _LINEAR_AND_EVEN,
    ),
    "relu": Activation(jax.nn.relu, lambda z: np.maximum(z, 0.0), False, False, ()),
    "sin": Activation(jnp.sin, np.sin, True, True, _ODD),
    "softplus": Activation(
        jax.nn.softplus, lambda z: np.logaddexp(z, 0.0), False, True, (0, *_LINEAR_AND_EVEN)
    ),
    "square": Activation(jnp.square, np.square, False, True, ()),
    "tanh": Activation(jnp.tanh, np.tanh, True, True, _ODD),
}
