"""The warm-up of HMC: the temperature falls to its target, then metric, step and loss settle."""

from __future__ import annotations

import abc
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from blackjax.diagnostics import potential_scale_reduction
from jax.flatten_util import ravel_pytree

from sltprob.chance import key_of, keys_of
from sltprob.posterior import TemperedPosterior
from sltprob.samplers._metric import (
    empty_moments,
    form_of,
    identity_metric,
    learn_metric,
    metric_change,
    metric_scales,
    update_moments,
)
from sltprob.samplers._options import WithMetric
from sltprob.samplers._tuning import adapt_step_size, largest_curvature_of_chains
from sltprob.samplers.base import Warmup, in_groups

__all__ = ["WindowedSampler", "warm_up_in_windows"]

_WINDOWS = 10
_SHORTEST_WINDOW = 25
# Share of the windows in which the temperature falls.
_COOLING = 0.3
# A warm-up has settled when R-hat of the loss, the last change of the step size and that of the
# metric (logarithms; the sampling error of a variance is about 0.1) are below these.
_LARGEST_RHAT = 1.05
_LARGEST_STEP_CHANGE = 0.2
_LARGEST_METRIC_CHANGE = 0.3


class WindowedSampler(WithMetric):
    """A sampler that learns its metric and its step size in windows of its warm-up."""

    @abc.abstractmethod
    def _init(self, posterior: TemperedPosterior, position: Any) -> Any:
        """Make the state of one chain."""

    @abc.abstractmethod
    def _parameters_at(
        self, step_size: Any, metric: dict[str, Any], stretch: Any
    ) -> dict[str, Any]:
        """Give the parameters of the run; `stretch` is how far chains are apart in the metric."""

    @abc.abstractmethod
    def _warming_parameters_at(
        self, step_size: Any, metric: dict[str, Any], window: Any
    ) -> dict[str, Any]:
        """Give the parameters of a window, counted from the first at the target temperature."""


class _Carry(NamedTuple):
    window: Any
    positions: Any
    states: Any
    step_size: Any
    metric: Any
    metric_change: Any
    moments: Any
    rhat: Any
    settled: Any
    trace: Any
    num_gradients: Any


def warm_up_in_windows(
    sampler: WindowedSampler,
    rng_key: Any,
    posterior: TemperedPosterior,
    positions: Any,
    num_steps: int,
) -> Warmup:
    """Cool the chains, and learn a metric and a step size for all of them.

    The hottest temperature is that at which the starting points have an energy β(L - L*) of half
    the dimension, which no posterior exceeds; the temperature falls geometrically over the first
    windows. Chains that start deep start at the target, without these windows. Every window hands
    its metric and its step size on. At the target the metric is learned up to three times; the
    step size is adapted in every window. The warm-up ends with a window in which the loss has a
    split R-hat below 1.05 and the step size changed by less than 20 %, when the metric has changed
    by less than 30 % the last time that it was learned; and after `num_steps` draws in any case.

    References
    ----------
    .. [1] Stan Reference Manual, section "Automatic parameter tuning" (windows that double).
    .. [2] A. Gelman, D. B. Rubin, "Inference from iterative simulation using multiple sequences",
       Statistical Science 7 (1992) 457-472.
    """
    metric, step_size = form_of(sampler.metric, posterior), sampler.step_size
    chains = len(jax.tree.leaves(positions)[0])
    dimension = posterior.dimension
    sites = _site_of_coordinates(positions)
    length = min(max(_SHORTEST_WINDOW, num_steps // _WINDOWS), num_steps)
    windows = num_steps // length
    cooling = int(_COOLING * windows)
    last_learning = max(windows - 2, cooling)
    learning = jnp.isin(
        jnp.arange(windows),
        jnp.asarray([*range(cooling + 1), cooling + (windows - cooling) // 3, last_learning]),
    )
    key_curvature, key_windows = keys_of(rng_key, 2)
    heat = _starting_heat(posterior, positions)
    exponents = jnp.clip(1 - jnp.arange(windows) / max(cooling, 1), 0.0, 1.0)
    heats = heat**exponents if cooling else jnp.ones(windows)
    # What needs no cooling starts where the others arrive.
    first = jnp.where(heat < 1, 0, cooling)
    curvature = largest_curvature_of_chains(
        key_curvature, posterior.heated(heats[0]).logdensity, positions
    )

    def places(states: Any) -> tuple[Any, Any]:
        position, logdensity, _ = jax.vmap(lambda state: sampler.evaluate(posterior, state))(states)
        return position, logdensity

    def run_window(carry: _Carry) -> _Carry:
        window = carry.window
        now = posterior.heated(heats[window])
        cold = window >= cooling
        # Stiff directions shrink by the root of what beta grows.
        ratio = heats[jnp.maximum(window - 1, 0)] / heats[window]
        start = carry.step_size * jnp.sqrt(ratio)
        held = in_groups(lambda position: sampler._init(now, position), carry.positions)

        def all_chains(key: Any, states: Any, step_size: Any) -> Any:
            parameters = sampler._warming_parameters_at(step_size, carry.metric, window - cooling)
            states, moments = states
            states, info = in_groups(
                lambda key, state: sampler.step(key, now, state, parameters),
                keys_of(key, chains),
                states,
            )
            reached, logdensities = places(states)
            flat = jax.vmap(lambda position: ravel_pytree(position)[0])(reached)
            trace = {
                "loss": in_groups(now.loss_from_logdensity, reached, logdensities),
                "acceptance_rate": info["acceptance_rate"],
                "step_size": jnp.full(chains, step_size),
            }
            moments = update_moments(metric, moments, flat)
            rates = info["acceptance_rate"]
            return (states, moments), rates, (trace, jnp.mean(info["num_gradients"]))

        key = key_of(key_windows, window)
        (states, moments), adapted, (trace, counts) = adapt_step_size(
            key,
            all_chains,
            (held, carry.moments),
            start if step_size is None else jnp.asarray(step_size, float),
            length,
            sampler.target_acceptance_rate,
        )
        if step_size is not None:
            adapted = jnp.asarray(step_size, float)
        learned = learn_metric(metric, moments, carry.metric, sites)
        # A metric wants a step size of its own, so that the last window learns none.
        use = learning[window] & (window < windows - 1)
        changed = jnp.where(use, metric_change(carry.metric, learned), carry.metric_change)
        step_change = jnp.abs(jnp.log(adapted / carry.step_size))
        of_loss = _split_rhat(trace["loss"])
        settled = (
            cold
            & ~use
            & (of_loss < _LARGEST_RHAT)
            & (step_change < _LARGEST_STEP_CHANGE)
            & (changed < _LARGEST_METRIC_CHANGE)
        )
        return _Carry(
            window=window + 1,
            positions=places(states)[0],
            states=states,
            step_size=adapted,
            metric=_choose(use, learned, carry.metric),
            metric_change=changed,
            moments=_choose(use, empty_moments(metric, chains, dimension), moments),
            rhat=of_loss,
            settled=settled,
            trace=jax.tree.map(
                lambda whole, part: jax.lax.dynamic_update_slice_in_dim(
                    whole, part, (window - first) * length, axis=0
                ),
                carry.trace,
                trace,
            ),
            num_gradients=carry.num_gradients + jnp.sum(counts),
        )

    blank = jnp.full((num_steps, chains), jnp.nan)
    # Every window makes its states of the positions, so that the first ones can be any.
    forms = jax.eval_shape(jax.vmap(lambda position: sampler._init(posterior, position)), positions)
    carry = jax.lax.while_loop(
        lambda carry: (carry.window < windows) & ~carry.settled,
        run_window,
        _Carry(
            window=first,
            positions=positions,
            states=jax.tree.map(lambda form: jnp.zeros(form.shape, form.dtype), forms),
            step_size=1 / jnp.sqrt(curvature),
            metric=identity_metric(metric, dimension),
            metric_change=jnp.asarray(jnp.inf),
            moments=empty_moments(metric, chains, dimension),
            rhat=jnp.asarray(jnp.inf),
            settled=jnp.asarray(False),
            trace={"loss": blank, "acceptance_rate": blank, "step_size": blank},
            num_gradients=jnp.zeros(()),
        ),
    )
    stretch = _stretch(carry.positions, metric_scales(carry.metric))
    parameters = sampler._parameters_at(carry.step_size, carry.metric, stretch)
    parameters |= {"warmup_rhat": carry.rhat, "warmup_draws_used": (carry.window - first) * length}
    return Warmup(carry.states, parameters, carry.trace, carry.num_gradients)


def _site_of_coordinates(positions: Any) -> np.ndarray:
    """Give every coordinate of a flat position the number of its site."""
    sizes = [math.prod(leaf.shape[1:]) for leaf in jax.tree.leaves(positions)]
    return np.repeat(np.arange(len(sizes)), sizes)


def _starting_heat(posterior: TemperedPosterior, positions: Any) -> Any:
    """Give the factor of beta at which the chains start near equilibrium, at most 1."""
    least = jnp.nan_to_num(posterior.minimum_loss)
    energies = posterior.beta * (in_groups(posterior.loss, positions) - least)
    largest = jnp.max(jnp.nan_to_num(energies))
    return jnp.clip(0.5 * posterior.dimension / jnp.maximum(largest, 1e-300), 1e-30, 1.0)


def _split_rhat(draws: Any) -> Any:
    """Compare the halves of all chains; `draws` has the shape (draw, chain)."""
    half = len(draws) // 2
    halves = jnp.concatenate([draws[:half], draws[half : 2 * half]], axis=1)
    return potential_scale_reduction(halves, chain_axis=1, sample_axis=0)


def _choose(condition: Any, chosen: Any, other: Any) -> Any:
    return jax.tree.map(lambda one, two: jnp.where(condition, one, two), chosen, other)


def _stretch(positions: Any, variances: Any) -> Any:
    """Compare the spread between chains with the metric, as a ratio of lengths >= 1."""
    flat = jax.vmap(lambda position: ravel_pytree(position)[0])(positions)
    if flat.shape[0] == 1:
        return jnp.ones(())
    between = jnp.var(flat, axis=0, ddof=1)
    return jnp.sqrt(jnp.maximum(jnp.mean(between / variances), 1.0))
