"""The one compiled program of a local run: a chunk of draws of one group of chains.

Warm-up, draws and the run at half the step all call it; step size, center, nβ, γ and data are its
arguments. Coordinates are displacements u from the center in units of the preconditioner,
θ = θ* + s u, in which every sampler is a plain one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from sltprob.chance import key_of, keys_of
from sltprob.local_posterior import LocalPosterior, Observable
from sltprob.samplers._blocks import normal_like
from sltprob.samplers._stochastic import StochasticGradientSampler
from sltprob.sampling.local_feed import Fed, rows_of_batch

__all__ = ["LocalState", "Tuned", "run_local_chunk", "squares_of_gradient", "start_chains"]

# Rows whose losses are evaluated at once where all are.
_MICROBATCH = 1024


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LocalState:
    """What a chain carries from step to step."""

    displacement: Any
    memory: Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Tuned:
    """What warm-up tunes."""

    langevin_step: Any
    scale: Any  # s by site; None where it is 1


def run_local_chunk(
    posterior: LocalPosterior,
    tuned: Tuned,
    states: Any,
    keys: Any,
    first: Any,
    fed: Fed | None,
    *,
    sampler: StochasticGradientSampler,
    num_draws: int,
    steps_per_draw: int,
    batch_size: int,
    record: str,
    keep: str,
) -> tuple[Any, Any]:
    """Make draws of a group of chains and record them."""
    parameters = sampler.local_parameters(tuned.langevin_step)

    def scaled(tree: Any) -> Any:
        if tuned.scale is None:
            return tree
        return jax.tree.map(jnp.multiply, tuned.scale, tree)

    def seen_at(place: Any, slopes: Any, memory: Any) -> dict[str, Any]:
        motion = sampler.local_motion(memory, parameters)
        seen = _products(posterior, place, slopes, scaled(scaled(place)), motion)
        return seen | {"parameter_rounding": _rounding(posterior, tuned, slopes)}

    def step(state: LocalState, key: Any, given: Fed | None, recorded: Any) -> tuple[Any, Any]:
        key_rows, key_move = keys_of(key, 2)
        rows, weights, baseline = _rows(posterior, key_rows, batch_size) if given is None else given

        def mean_loss(displacement: Any) -> tuple[Any, Any]:
            losses = posterior.losses(scaled(displacement), rows, weights)
            return jnp.mean(losses), losses

        slopes, losses = jax.grad(mean_loss, has_aux=True)(state.displacement)
        slopes = _masked(posterior, slopes)
        place, memory = state.displacement, state.memory
        # One body for all steps: another one for those that are recorded compiles it all twice.
        nothing = jax.tree.map(
            lambda leaf: jnp.zeros(leaf.shape, leaf.dtype),
            jax.eval_shape(seen_at, place, slopes, memory),
        )
        seen = lax.cond(recorded, seen_at, lambda *_: nothing, place, slopes, memory)
        # All of it before the step, which then moves the chain in its own memory.
        seen, place, memory, slopes = lax.optimization_barrier((seen, place, memory, slopes))
        force = jax.tree.map(
            lambda slope, way: -(posterior.nbeta * slope + posterior.gamma * way),
            slopes,
            scaled(scaled(place)),
        )
        # What comes after may take the memory of parameters and gradient.
        force = lax.optimization_barrier(force)
        displacement, memory = sampler.local_advance(key_move, place, memory, force, parameters)
        displacement = _masked(posterior, displacement)
        differences = losses - baseline
        size = len(differences)
        # One row does not tell its variance; its square is no less.
        spread = (
            jnp.var(differences) * (size / (size - 1)) if size > 1 else jnp.mean(differences**2)
        )
        seen |= {"paired": jnp.mean(differences), "variance": spread / size}
        return LocalState(displacement, memory), seen

    def draw(state: LocalState, key: Any, index: Any, given: Fed | None) -> tuple[Any, Any]:
        keys = keys_of(key_of(key, first + index), steps_per_draw + 1)
        begin = index * steps_per_draw

        def batch(number: Any) -> Fed | None:
            # By its number, since a scan over the batches themselves would copy them twice.
            if given is None:
                return None
            return jax.tree.map(
                lambda leaf: lax.dynamic_index_in_dim(leaf, begin + number, keepdims=False), given
            )

        def body(state: LocalState, each: Any) -> tuple[Any, Any]:
            key, number = each
            return step(state, key, batch(number), number == steps_per_draw - 1)

        state, steps = lax.scan(body, state, (keys[:-1], jnp.arange(steps_per_draw)))
        seen = jax.tree.map(lambda leaf: leaf[-1], steps)
        seen["paired"] = jnp.mean(steps["paired"])
        seen["variance"] = jnp.sum(steps["variance"]) / steps_per_draw**2
        place = scaled(state.displacement)
        if record == "all":
            seen["paired"] = _all_rows(posterior, place)
            seen["variance"] = jnp.zeros_like(seen["variance"])
        for name, observable in posterior.observables.items():
            if observable.by_row:
                seen[f"row_loss_{name}"] = _every_row(posterior, observable, place)
                continue
            size = len(observable.baseline) if record == "all" else 4 * batch_size
            seen[f"observable_{name}"] = _observe(posterior, observable, place, keys[-1], size)
        values = (
            {site: posterior.center[site] + place[site] for site in place} if keep == "all" else {}
        )
        return state, {"stats": seen, "values": values}

    def chain(state: LocalState, key: Any, given: Fed | None) -> tuple[Any, Any]:
        return lax.scan(
            lambda state, index: draw(state, key, index, given), state, jnp.arange(num_draws)
        )

    if len(keys) == 1:  # a vectorised call has its price even for one chain
        one = jax.tree.map(lambda leaf: leaf[0], (states, keys, fed))
        return jax.tree.map(lambda leaf: leaf[None], chain(*one))
    return jax.vmap(chain)(states, keys, fed)


def _masked(posterior: LocalPosterior, tree: Any) -> Any:
    """Set to zero what the mask holds."""
    return {**tree, **{site: part * tree[site] for site, part in posterior.mask.items()}}


def _rows(posterior: LocalPosterior, key: Any, size: int) -> Fed:
    """Take rows of data that are in memory."""
    count = posterior.structure.num_rows
    if size >= count:
        return posterior.data, posterior.weights, posterior.baseline
    chosen = rows_of_batch(key, size, count)
    taken = [array[chosen] for array in posterior.data]
    weights = None if posterior.weights is None else posterior.weights[chosen]
    return tuple(taken), weights, posterior.baseline[chosen]


def _products(
    posterior: LocalPosterior, place: Any, slopes: Any, pull: Any, motion: Any
) -> dict[str, Any]:
    """Take the inner products from which judging makes bias, virial and drift.

    Written with those of the parts of ĝ = nβ ∇L + γ pull, so that ĝ itself takes no memory.
    """
    nbeta, gamma = posterior.nbeta, posterior.gamma

    def by_site(first: Any, second: Any) -> Any:
        return jnp.stack([jnp.vdot(first[site], second[site]) for site in place])

    along, across = nbeta * by_site(place, slopes), by_site(slopes, pull)
    own = nbeta**2 * by_site(slopes, slopes)
    seen = {
        "slope": along + gamma * by_site(place, pull),
        "square": own + 2 * nbeta * gamma * across + gamma**2 * by_site(pull, pull),
        "distance": by_site(place, place),
        "loss_slope": along,
        "loss_square": jnp.sum(own + nbeta * gamma * across),
    }
    if motion is not None:
        momentum, friction = motion
        pushed = nbeta * by_site(momentum, slopes)
        seen["momentum_slope"] = pushed + gamma * by_site(momentum, pull)
        seen["momentum_loss_slope"] = jnp.sum(pushed)
        seen["friction"] = friction
    return seen


def _rounding(posterior: LocalPosterior, tuned: Tuned, slopes: Any) -> Any:
    """Bound what rounding θ* + s u adds to λ̂: nβ/2 Σ h δ²/12, δ the spacing at θ*, h curvatures.

    A loss that computes in a coarser type than that of the parameters rounds them to it. Where the
    chain is stationary nβ h is at most E ĝ², coordinate by coordinate.
    """
    total = jnp.zeros((), posterior.nbeta.dtype)
    for site, center in posterior.center.items():
        # Nothing here may be an array of its own: large networks fit only so often.
        power = jnp.exp2(jnp.floor(jnp.log2(jnp.abs(center))))
        spacing = power * jnp.finfo(posterior.structure.loss_dtype).eps
        slope = slopes[site] if tuned.scale is None else slopes[site] / tuned.scale[site]
        total += jnp.sum((posterior.nbeta * slope * spacing) ** 2)
    return total / 24


def _all_rows(posterior: LocalPosterior, place: Any) -> Any:
    """Evaluate the mean loss less that at the center on all rows, some at a time."""
    count = posterior.structure.num_rows
    size = min(_MICROBATCH, count)
    pieces = -(-count // size)

    def piece(total: Any, index: Any) -> tuple[Any, None]:
        start = jnp.minimum(index * size, count - size)

        def cut(array: Any) -> Any:
            return lax.dynamic_slice_in_dim(array, start, size)

        weights = None if posterior.weights is None else cut(posterior.weights)
        losses = posterior.losses(place, tuple(map(cut, posterior.data)), weights)
        # Rows that the part before has had already do not count again.
        fresh = start + jnp.arange(size) >= index * size
        return total + jnp.sum(jnp.where(fresh, losses - cut(posterior.baseline), 0)), None

    zero = jnp.zeros((), posterior.nbeta.dtype)
    return lax.scan(piece, zero, jnp.arange(pieces))[0] / count


def _observe(
    posterior: LocalPosterior, observable: Observable, place: Any, key: Any, size: int
) -> Any:
    """Evaluate how far the mean loss of an observable is from its value at the center."""
    count = len(observable.baseline)
    chosen = rows_of_batch(key, min(size, count), count)
    rows = tuple(array[chosen] for array in observable.data)
    losses = posterior.observed_losses(observable, place, rows)
    return jnp.mean(losses - observable.baseline[chosen])


def _every_row(posterior: LocalPosterior, observable: Observable, place: Any) -> Any:
    """Evaluate how far the loss of every row is from its value at the center, shape (rows,)."""
    count = len(observable.baseline)
    size = min(_MICROBATCH, count)

    def piece(index: Any) -> Any:
        start = jnp.minimum(index * size, count - size)
        rows = tuple(lax.dynamic_slice_in_dim(array, start, size) for array in observable.data)
        return posterior.observed_losses(observable, place, rows)

    whole = lax.map(piece, jnp.arange(-(-count // size)))
    # The last piece begins where it ends with the last row.
    left = count - (len(whole) - 1) * size
    losses = jnp.concatenate([whole[:-1].ravel(), whole[-1, size - left :]])
    return losses - observable.baseline


def start_chains(
    posterior: LocalPosterior,
    tuned: Tuned,
    keys: Any,
    far: Any,
    *,
    sampler: StochasticGradientSampler,
    hot: bool,
) -> Any:
    """Put a group of chains at the center, or at draws of N(θ*, 1/γ) where `far` is 1."""

    def one(key: Any, far: Any) -> LocalState:
        key_place, key_memory = keys_of(key, 2)
        place = jax.tree.map(jnp.zeros_like, posterior.center)
        if hot:
            drawn = normal_like(key_place, posterior.center)
            wide = far / jnp.sqrt(posterior.gamma)
            place = _masked(posterior, jax.tree.map(lambda leaf: wide * leaf, drawn))
            if tuned.scale is not None:
                place = jax.tree.map(jnp.divide, place, tuned.scale)
        return LocalState(place, sampler.local_start(key_memory, place))

    return jax.vmap(one)(keys, far)


def squares_of_gradient(
    total: Any,
    posterior: LocalPosterior,
    tuned: Tuned,
    states: Any,
    key: Any,
    group: Any,
    fed: Fed | None,
    *,
    batch_size: int,
    count: int,
) -> Any:
    """Add the mean ĝ² of the loss over minibatches, in the user's coordinates, chain by chain."""
    keys = keys_of(key_of(key, group), len(jax.tree.leaves(states.displacement)[0]))

    def chain(total: Any, each: Any) -> tuple[Any, None]:
        place, key, given = each
        if tuned.scale is not None:
            place = jax.tree.map(jnp.multiply, tuned.scale, place)

        def body(total: Any, inner: Any) -> tuple[Any, None]:
            key, number = inner
            if given is None:
                rows, weights, _ = _rows(posterior, key, batch_size)
            else:
                rows, weights, _ = jax.tree.map(
                    lambda leaf: lax.dynamic_index_in_dim(leaf, number, keepdims=False), given
                )
            slopes = jax.grad(lambda way: jnp.mean(posterior.losses(way, rows, weights)))(place)
            return jax.tree.map(
                lambda old, slope: old + (posterior.nbeta * slope) ** 2 / count, total, slopes
            ), None

        numbers = (keys_of(key, count), jnp.arange(count))
        return lax.scan(body, total, numbers)[0], None

    return lax.scan(chain, total, (states.displacement, keys, fed))[0]
