"""Where chains start."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from sltprob.posterior import TemperedPosterior

__all__ = ["initial_positions"]


def initial_positions(posterior: TemperedPosterior, init: Any, chains: int, key: Any) -> Any:
    """Place the chains."""
    keys = jax.random.split(key, chains)
    if not isinstance(init, str):
        return _given_positions(posterior, init, chains)
    if init == "prior":
        return _draw_positions(posterior, keys)
    if init not in ("optimum", "both"):
        raise ValueError(
            f"init={init!r}: it must be 'prior', 'optimum', 'both' or a mapping of site names to "
            "values with a leading chain axis"
        )
    model = posterior.structure.model
    if model is None:
        raise ValueError(
            f"init={init!r} needs a model that knows its optimum; pass the point, "
            "init={'site': values}"
        )
    cold = _spread(posterior.unconstrain(model.optimum()), keys)
    if init == "optimum":
        return cold
    if chains < 2:
        raise ValueError(
            f"init='both' starts every other chain at the optimum, and chains={chains} leaves "
            "none to compare with; take chains=4, or init='prior'"
        )
    hot = _draw_positions(posterior, keys)
    return jax.tree.map(lambda ours, theirs: ours.at[1::2].set(theirs[1::2]), hot, cold)


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


def _given_positions(posterior: TemperedPosterior, init: Any, chains: int) -> Any:
    values = {name: jnp.asarray(value, dtype=float) for name, value in init.items()}
    counts = {name: value.shape[0] if value.ndim else 0 for name, value in values.items()}
    if any(count != chains for count in counts.values()):
        raise ValueError(f"init has {counts} chains per site; it must have {chains}")
    return jax.vmap(posterior.unconstrain)(values)


@jax.jit
def _draw_positions(posterior: TemperedPosterior, keys: Any) -> Any:
    """Draw from the prior, leading axis chain; compiled once for all temperatures and seeds."""
    return jax.vmap(posterior.draw_prior)(keys)
