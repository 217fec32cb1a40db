"""Stochastic gradient Langevin dynamics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import blackjax.mcmc.mala as mala
import blackjax.sgmcmc.sgld as sgld
import jax
import jax.numpy as jnp

from sltprob.posterior import TemperedPosterior
from sltprob.samplers._tuning import largest_curvature
from sltprob.samplers.base import Evaluation, Sampler, Warmup, evaluate_position
from sltprob.samplers.mala import check_langevin_options

__all__ = ["SGLD"]

# A mode of curvature c gets 1/(1 - εc/2) times its variance: 2.5 % more on the stiffest mode,
# less on all others.
_STEP_TIMES_CURVATURE = 0.05


@dataclass(frozen=True, kw_only=True)
class SGLD(Sampler):
    """Stochastic gradient Langevin: θ' = θ + ε ĝ + sqrt(2ε) N, with ĝ from a minibatch.

    The step size is BlackJAX's ε: half of the ε of Welling and Teh, and half of the ``lr`` of
    devinterp. There is no Metropolis step, so the answer is biased: on a Gaussian mode of
    curvature c, λ̂ comes out 1/(1 - εc/2) times too large, plus what the noise of the gradient
    adds.

    The rule for the step: ε = 0.05/c, c the largest curvature of the potential over the chains,
    measured by power iteration at the start and again in the middle of warm-up. It keeps
    the bias of every mode below about 2.5 %. It is a rule for accuracy, not for speed: modes of
    curvature near 1 take c/0.05 steps, and at low temperature no run is that long. The verdict
    says so.

    Parameters
    ----------
    step_size : float or None
        ε; None to set it by the rule.
    batch_size : int or None
        Data in a minibatch: fresh x for a population model, rows for data; None for all data.
    steps_per_draw : int
        Kernel steps between two draws that are kept.

    References
    ----------
    .. [1] M. Welling, Y. W. Teh, "Bayesian learning via stochastic gradient Langevin
       dynamics", ICML 2011.
    .. [2] E. Lau et al., "The local learning coefficient", arXiv 2308.12108.
    """

    unadjusted: ClassVar[bool] = True

    step_size: float | None = None
    batch_size: int | None = 32
    steps_per_draw: int = 50

    def __post_init__(self) -> None:
        check_langevin_options(self.step_size, self.steps_per_draw)
        if self.batch_size is not None and self.batch_size < 1:
            raise ValueError(
                f"batch_size={self.batch_size}: it must be >= 1, such as 32, or none for all data"
            )

    def _minibatch_gradient(self, posterior: TemperedPosterior, position: Any, key: Any) -> Any:
        if self.batch_size is None:
            return jax.grad(posterior.logdensity)(position)
        minibatch = posterior.draw_minibatch(key, self.batch_size)
        return jax.grad(posterior.minibatch_logdensity)(position, minibatch)

    def warmup(
        self, rng_key: Any, posterior: TemperedPosterior, positions: Any, num_steps: int
    ) -> Warmup:
        """Set the step by the rule, run half, set it again, run the other half.

        Parameters
        ----------
        rng_key : PRNG key
        posterior : TemperedPosterior
        positions : pytree, leading axis chain
        num_steps : int

        Returns
        -------
        Warmup
        """
        num_chains = len(jax.tree.leaves(positions)[0])

        def step_size_at(key: Any, positions: Any) -> Any:
            if self.step_size is not None:
                return jnp.asarray(self.step_size)
            keys = jax.random.split(key, num_chains)
            curvatures = jax.vmap(largest_curvature, in_axes=(0, None, 0))(
                keys, posterior.logdensity, positions
            )
            return _STEP_TIMES_CURVATURE / jnp.max(curvatures)

        def run(key: Any, positions: Any, step_size: Any, count: int) -> Any:
            def body(positions: Any, key: Any) -> Any:
                keys = jax.random.split(key, num_chains)
                positions = jax.vmap(self._steps, in_axes=(0, None, 0, None))(
                    keys, posterior, positions, step_size
                )
                return positions, {"loss": jax.vmap(posterior.loss)(positions)}

            return jax.lax.scan(body, positions, jax.random.split(key, count))

        keys = jax.random.split(rng_key, 4)
        half = num_steps // 2
        positions, first = run(keys[1], positions, step_size_at(keys[0], positions), half)
        step_size = step_size_at(keys[2], positions)
        positions, second = run(keys[3], positions, step_size, num_steps - half)
        trace = jax.tree.map(lambda *parts: jnp.concatenate(parts), first, second)
        states = jax.vmap(lambda position: evaluate_position(posterior, position))(positions)
        return Warmup(
            states, {"step_size": step_size}, trace, self._gradients(posterior) * num_steps
        )

    def _steps(
        self, rng_key: Any, posterior: TemperedPosterior, position: Any, step_size: Any
    ) -> Any:
        kernel = sgld.build_kernel()

        def gradient(position: Any, key: Any) -> Any:
            return self._minibatch_gradient(posterior, position, key)

        def body(position: Any, key: Any) -> Any:
            key_noise, key_minibatch = jax.random.split(key)
            return kernel(key_noise, position, gradient, key_minibatch, step_size), None

        keys = jax.random.split(rng_key, self.steps_per_draw)
        return jax.lax.scan(body, position, keys)[0]

    def _gradients(self, posterior: TemperedPosterior) -> Any:
        """Cost of one draw in gradients on all data; a minibatch counts by its size."""
        size = len(posterior.weights)
        return jnp.asarray(self.steps_per_draw * min((self.batch_size or size) / size, 1.0))

    def step(
        self, rng_key: Any, posterior: TemperedPosterior, state: Any, parameters: dict[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """Make `steps_per_draw` kernel steps, and measure what the last point tells of the bias.

        Parameters
        ----------
        rng_key : PRNG key
        posterior : TemperedPosterior
        state : Evaluation
        parameters : dict of str to array

        Returns
        -------
        state : Evaluation
        info : dict of str to array
            ``acceptance_rate`` is what a Metropolis test would have accepted of a full-data
            step of this size; ``gradient_noise`` is |ĝ - g|² of one minibatch.
        """
        step_size = parameters["step_size"]
        key_steps, key_accept, key_minibatch = jax.random.split(rng_key, 3)
        position = self._steps(key_steps, posterior, state.position, step_size)
        state = evaluate_position(posterior, position)
        _, would_be = mala.build_kernel()(
            key_accept, mala.MALAState(*state), posterior.logdensity, step_size
        )
        estimate = self._minibatch_gradient(posterior, position, key_minibatch)
        noise = jax.tree.map(
            lambda g, full: jnp.sum((g - full) ** 2), estimate, state.logdensity_grad
        )
        return state, {
            "acceptance_rate": would_be.acceptance_rate,
            "gradient_noise": sum(jax.tree.leaves(noise)),
            "num_gradients": self._gradients(posterior),
        }

    def evaluate(self, posterior: TemperedPosterior, state: Any) -> Evaluation:
        """Give the state, which is an evaluation already.

        Parameters
        ----------
        posterior : TemperedPosterior
        state : Evaluation

        Returns
        -------
        Evaluation
        """
        return state
