"""What relatives of Hamiltonian Monte Carlo (HMC) share: random lengths, and HMC's metric."""

from __future__ import annotations

import abc
from typing import Any

import jax
import jax.numpy as jnp
from blackjax.mcmc.dynamic_hmc import halton_trajectory_length

from sltprob.chance import keys_of
from sltprob.posterior import TemperedPosterior
from sltprob.samplers._metric import metric_parameters
from sltprob.samplers._options import WithMetric
from sltprob.samplers._tuning import tune_step_size
from sltprob.samplers.base import Evaluation, Warmup, same_in_all_chains
from sltprob.samplers.hmc import HMC

__all__ = ["TaughtByHMC", "jittered_num_steps"]


def jittered_num_steps(count: Any, mean: Any) -> Any:
    """Give the number of steps of a draw from a Halton sequence, by a fixed mean."""
    # BlackJAX's sequence has no step at all once in 1024 draws.
    return jnp.maximum(halton_trajectory_length(same_in_all_chains(count), mean), 1)


class TaughtByHMC(WithMetric):
    """A sampler that takes its metric from HMC, and adapts its own step."""

    @abc.abstractmethod
    def _init(self, evaluation: Evaluation) -> Any:
        """Make the state of one chain."""

    def _parameters(self, step_size: Any, metric: dict[str, Any]) -> dict[str, Any]:
        """Give the parameters that go with a step size and a metric."""
        return {"step_size": step_size, **metric}

    def _first_step(self, step_size: Any, metric: dict[str, Any]) -> Any:
        """Give a step as long as one of HMC, to begin with."""
        return step_size

    def _tune(
        self,
        rng_key: Any,
        posterior: TemperedPosterior,
        evaluations: Evaluation,
        metric: dict[str, Any],
        step_size: Any,
        num_steps: int,
    ) -> Warmup:
        """Adapt the own step size from that of HMC, on all chains, in so many draws."""
        free = self.step_size is None
        return tune_step_size(
            self,
            rng_key,
            posterior,
            jax.vmap(self._init)(evaluations),
            lambda step_size: self._parameters(step_size, metric),
            self._first_step(step_size, metric) if free else self.step_size,
            num_steps,
            self.target_acceptance_rate if free else None,
        )

    def warmup(
        self, rng_key: Any, posterior: TemperedPosterior, positions: Any, num_steps: int
    ) -> Warmup:
        """Let HMC learn the metric in three quarters of the steps, then adapt the own step."""
        key_hmc, key_tune = keys_of(rng_key, 2)
        teacher = HMC(metric=self.metric)
        steps = 3 * num_steps // 4
        learned = teacher.warmup(key_hmc, posterior, positions, steps)
        tuned = self._tune(
            key_tune,
            posterior,
            jax.vmap(lambda state: teacher.evaluate(posterior, state))(learned.states),
            metric_parameters(learned.parameters),
            learned.parameters["step_size"],
            num_steps - steps,
        )
        used = learned.parameters["warmup_draws_used"]
        loss = jnp.full((num_steps, *tuned.trace["loss"].shape[1:]), jnp.nan)
        loss = loss.at[:steps].set(learned.trace["loss"])
        loss = jax.lax.dynamic_update_slice_in_dim(loss, tuned.trace["loss"], used, axis=0)
        measured = {
            "warmup_rhat": learned.parameters["warmup_rhat"],
            "warmup_draws_used": used + len(tuned.trace["loss"]),
        }
        return tuned._replace(
            parameters=tuned.parameters | measured,
            trace={"loss": loss},
            num_gradients=learned.num_gradients + tuned.num_gradients,
        )
