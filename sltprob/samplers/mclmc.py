"""Microcanonical Langevin Monte Carlo, without a Metropolis test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import blackjax.mcmc.mclmc as mclmc
import jax
import jax.numpy as jnp
from blackjax.adaptation.mclmc_adaptation import (
    MCLMCAdaptationState,
    make_L_step_size_adaptation,
)
from blackjax.mcmc.integrators import IntegratorState
from blackjax.util import generate_unit_vector

from sltprob.chance import key_of, keys_of
from sltprob.posterior import TemperedPosterior
from sltprob.samplers._microcanonical import GRADIENTS_PER_STEP, Microcanonical, speed
from sltprob.samplers._options import StepSize
from sltprob.samplers.base import Evaluation, Warmup, in_groups
from sltprob.spec import positive, whole

__all__ = ["MCLMC"]

# Kernel steps of tuning for each draw of warm-up that is left for it.
_STEPS_OF_TUNING = 10
# What a draw is of the length in which a velocity forgets itself, within bounds: of the loss, which
# forgets itself sooner, draws that are further apart tell little more.
_SHARE = 0.125
_LEAST_STEPS, _MOST_STEPS = 10, 128


@dataclass(frozen=True, kw_only=True)
class MCLMC(Microcanonical):
    """Microcanonical Langevin: a velocity of fixed length that the gradient and noise turn.

    There is no Metropolis step, so the answer is biased by O(ε²). The energy error of a step
    measures it without a truth: its variance per dimension V is O(ε⁶), so the relative bias of
    λ̂ grows like V^(1/3). On a Gaussian of 256 dimensions with condition number 10⁴ it is -2 % at
    BlackJAX's V = 5e-4 and -0.5 % at 1e-5. No comparison of chains sees it; the virial and the
    check ``energy_variance`` do.

    HMC learns a diagonal metric in the first three quarters of warm-up, or sooner, on chains that
    it cools from a high temperature. BlackJAX's tuner finds the step in the rest. The length in
    which a velocity forgets itself is one standard deviation in every coordinate, L = √d. A kernel
    step costs two gradients.

    A cold singular posterior is crossed only by many steps that small: of the tanh network with 128
    units the default is trusted at β = 1e2 and 1e4, and in doubt at 1e6, where `hmc` is not.

    Parameters
    ----------
    desired_energy_var : float
        Variance of the energy error per dimension that the tuner aims at.
    steps_per_draw : int or None
        Kernel steps between two draws that are kept; None for an eighth of L, from 10 to 128.

    References
    ----------
    .. [1] J. Robnik, G. B. De Luca, E. Silverstein, U. Seljak, "Microcanonical Hamiltonian Monte
       Carlo", JMLR 24 (2023) 311.
    .. [2] J. Robnik, U. Seljak, "Fluctuation without dissipation: microcanonical Langevin Monte
       Carlo", AABI 2024, PMLR 253.
    """

    unadjusted: ClassVar[bool] = True
    step_order: ClassVar[int | None] = 2

    desired_energy_var: Annotated[float, positive()] = 1e-5
    step_size: StepSize = None
    steps_per_draw: Annotated[int | None, whole(1, example=10, none="to follow from the step")] = (
        None
    )

    def _init(self, evaluation: Evaluation) -> Any:
        raise NotImplementedError("its velocity is drawn by a key")

    def _parameters(self, step_size: Any, metric: dict[str, Any]) -> dict[str, Any]:
        length = speed(metric)
        share = jnp.ceil(_SHARE * length / step_size)
        given = self.steps_per_draw
        steps = jnp.clip(share, _LEAST_STEPS, _MOST_STEPS) if given is None else given
        return {
            "step_size": step_size,
            "num_steps": jnp.asarray(steps, int),
            "decoherence_length": length,
            **metric,
        }

    def _tune(
        self,
        rng_key: Any,
        posterior: TemperedPosterior,
        evaluations: Evaluation,
        metric: dict[str, Any],
        step_size: Any,
        num_steps: int,
    ) -> Warmup:
        """Adapt the step on every chain by BlackJAX's rule; all take the geometric mean."""
        chains = len(evaluations.logdensity)
        count = num_steps * _STEPS_OF_TUNING
        adapt = make_L_step_size_adaptation(
            mclmc.build_kernel(),
            posterior.logdensity,
            posterior.dimension,
            frac_tune1=1.0,
            frac_tune2=0.0,
            diagonal_preconditioning=False,
            desired_energy_var=self.desired_energy_var,
        )
        begun = self._first_step(step_size, metric)
        guess = MCLMCAdaptationState(speed(metric), begun, metric["inverse_mass_matrix"])

        def one(key: Any, evaluation: Evaluation) -> Any:
            key_velocity, key = keys_of(key, 2)
            velocity = generate_unit_vector(key_velocity, evaluation.position)
            state = IntegratorState(evaluation.position, velocity, *evaluation[1:])
            if self.step_size is not None:
                return state, jnp.asarray(self.step_size)
            state, tuned = adapt(state, guess, count, key)
            return state, tuned.step_size

        keys = keys_of(rng_key, chains)
        states, steps = in_groups(one, keys, evaluations)
        parameters = self._parameters(jnp.exp(jnp.mean(jnp.log(steps))), metric)
        made = 0.0 if self.step_size is not None else 1.0 * GRADIENTS_PER_STEP * count
        return Warmup(states, parameters, {"loss": jnp.zeros((0, chains))}, jnp.asarray(made))

    def step(
        self, rng_key: Any, posterior: TemperedPosterior, state: Any, parameters: dict[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """Make so many kernel steps."""
        kernel = mclmc.build_kernel()

        def body(number: Any, carry: Any) -> Any:
            state, squares, finite = carry
            state, info = kernel(
                key_of(rng_key, number),
                state,
                posterior.logdensity,
                parameters["inverse_mass_matrix"],
                parameters["decoherence_length"],
                parameters["step_size"],
            )
            return state, squares + info.energy_change**2, finite & info.nonans

        count = parameters["num_steps"]
        start = (state, jnp.zeros_like(state.logdensity), jnp.asarray(True))
        state, squares, finite = jax.lax.fori_loop(0, count, body, start)
        return state, {
            "energy_variance": squares / (count * posterior.dimension),
            "diverging": ~finite,
            "num_gradients": GRADIENTS_PER_STEP * count,
        }
