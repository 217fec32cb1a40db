"""Where chains start."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sltprob.optimum import find_optimum, near_zero
from sltprob.outside import outside_support
from sltprob.posterior import TemperedPosterior
from sltprob.samplers._point import Point
from sltprob.samplers.base import Evaluation, evaluate_position
from sltprob.sampling.compilation import once

__all__ = ["initial_positions"]

# Half-widths of the box around zero in which a start is looked for, and points tried in each.
_RADII = (2.0, 0.5, 0.1)
_TRIES = 32
# Rounding of the log density at a start, by the bits of its type. In single precision a few
# thousand data have more than double precision has anywhere; the verdict judges where chains go.
_LARGEST_ROUNDING = {64: 1e-4, 32: 0.1}


def initial_positions(
    posterior: TemperedPosterior, init: Any, keys: Any, draw: Callable[[Any], Point]
) -> tuple[Any, str]:
    """Place the chains, each with a key of its own, and say where.

    `draw` makes a draw from the prior for each key, leading axis key.
    """
    chains = len(keys)
    if not isinstance(init, str):
        return _given_positions(posterior, init, chains, keys), "given"
    if init == "prior":
        return _hot_positions(posterior, keys, draw)
    if init not in ("optimum", "both"):
        raise ValueError(
            f"init={init!r}: it must be 'prior', 'optimum', 'both' or a mapping of site names to "
            "values, with a leading chain axis or without"
        )
    model = posterior.structure.model
    point = find_optimum(posterior).values if model is None else model.optimum()
    cold = _spread(posterior.unconstrain(point), keys)
    if init == "optimum":
        return cold, init
    if chains < 2:
        raise ValueError(
            f"init='both' starts every other chain at the optimum, and chains={chains} leaves "
            "none to compare with; take chains=4, or init='prior'"
        )
    hot, _ = _hot_positions(posterior, keys, draw)
    other = np.arange(chains) % 2 == 1

    def every_other(hot: Any, cold: Any) -> Any:
        return jnp.where(other.reshape(-1, *[1] * (hot.ndim - 1)), cold, hot)

    both = jax.tree.map(every_other, hot, cold)
    return both, init


def _hot_positions(
    posterior: TemperedPosterior, keys: Any, draw: Callable[[Any], Point]
) -> tuple[Any, str]:
    """Draw from the prior; where a program's prior has draws of no density, start near zero.

    Registered models are known to be finite under their prior. For a program of the user's own
    this is what NumPyro does: a prior that is wide enough makes exp(x @ b) overflow, or nearly.
    """
    drawn = draw(keys)
    positions = drawn.position
    known = posterior.structure.model is not None and not posterior.structure.improper
    if known:
        return positions, "prior"
    with np.errstate(invalid="ignore", over="ignore"):  # of draws without a density
        evaluation = jax.tree.map(np.asarray, drawn).evaluation(np.asarray(posterior.beta))
    if _usable(evaluation).all():
        return positions, "prior"
    first = jax.tree.map(lambda leaf: leaf[0], positions)
    for radius in _RADII:
        tries = jax.vmap(
            lambda key, radius=radius: jax.vmap(lambda k: near_zero(first, k, radius))(
                jax.random.split(key, _TRIES)
            )
        )(keys)
        good = _usable(_evaluated(posterior, tries))
        if good.any(axis=1).all():
            index = good.argmax(axis=1)
            chosen = jax.tree.map(lambda leaf, i=index: leaf[np.arange(len(i)), i], tries)
            return chosen, "near zero"
    if (reason := outside_support(posterior)) is not None:
        raise ValueError(f"no start has a finite density: {reason}; correct the data")
    if posterior.beta.dtype != np.float64:
        raise ValueError(
            "no start has a log density that float32 resolves; write numpyro.enable_x64() before "
            "anything else"
        )
    sites = ", ".join(f"{name!r}: ..." for name in posterior.structure.sites)
    raise ValueError(
        "no start has a finite density: neither draws of the prior nor points near zero; give "
        f"one, init={{{sites}}}"
    )


@once
def _evaluated(posterior: TemperedPosterior, positions: Any) -> Evaluation:
    """Evaluate positions, leading axes chain and try."""
    return jax.vmap(jax.vmap(partial(evaluate_position, posterior)))(positions)


def _usable(evaluation: Evaluation) -> np.ndarray:
    """Say of every position whether a chain can leave it, over all leading axes.

    Density and gradient must be finite, and the density small enough for its digits to tell one
    position from the next.
    """
    value = np.asarray(evaluation.logdensity)
    finite = [
        np.isfinite(leaf).reshape(*value.shape, -1).all(axis=-1)
        for leaf in map(np.asarray, jax.tree.leaves(evaluation.logdensity_grad))
    ]
    with np.errstate(invalid="ignore"):
        precision = np.finfo(value.dtype)
        resolved = np.abs(value) * precision.eps < _LARGEST_ROUNDING[precision.bits]
    return np.all([resolved, *finite], axis=0)


def _spread(position: Any, keys: Any) -> Any:
    """Put every chain beside a position, leading axis chain."""

    def moved(key: Any) -> Any:
        leaves, tree = jax.tree.flatten(position)
        keys = jax.random.split(key, len(leaves))
        return jax.tree.unflatten(
            tree,
            [
                leaf + 1e-3 * jax.random.normal(k, leaf.shape)
                for leaf, k in zip(leaves, keys, strict=True)
            ],
        )

    return jax.vmap(moved)(keys)


def _given_positions(posterior: TemperedPosterior, init: Any, chains: int, keys: Any) -> Any:
    """Take one point for all chains, which are spread a little, or one for each."""
    values = {name: jnp.asarray(value, dtype=float) for name, value in init.items()}
    zero = {name: jnp.zeros(shape) for name, shape in posterior.structure.shapes}
    shapes = {name: form.shape for name, form in jax.eval_shape(posterior.constrain, zero).items()}
    unknown = sorted(set(values) ^ set(shapes))
    if unknown:
        raise ValueError(
            f"init is given for {sorted(values)}; the latent sites are {sorted(shapes)}"
        )
    if all(value.shape == shapes[name] for name, value in values.items()):
        return _spread(posterior.unconstrain(values), keys)
    for name, value in values.items():
        if value.shape != (chains, *shapes[name]):
            raise ValueError(
                f"init[{name!r}] has shape {value.shape}; it must be {shapes[name]} for one point, "
                f"or {(chains, *shapes[name])} for {chains} chains"
            )
    return jax.vmap(posterior.unconstrain)(values)
