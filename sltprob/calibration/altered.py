"""Samplers with one thing changed on purpose, for the study that counts the verdict's errors.

What is changed is traced, so that all settings of a sampler on a model share one compilation: the
factors are leaves of an `AlteredPosterior`, and `Altered` reads them. The run that comes out claims
the unchanged posterior, and its loss and gradients are recorded on that one; the kernel may sample
another.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import blackjax.mcmc.mala as mala
import blackjax.sgmcmc.sgld as sgld
import jax
import jax.numpy as jnp
from numpyro import handlers

from sltprob.posterior import TemperedPosterior
from sltprob.samplers._wrapped import Wrapped
from sltprob.samplers.base import Evaluation, Warmup, evaluate_position
from sltprob.samplers.mala import MALA
from sltprob.support import constrain, traced

__all__ = ["Altered", "AlteredPosterior", "NeverRejects"]

# Draws by which the base sampler finds its own step, before it is changed.
_TUNING_DRAWS = 200


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _Sampled(TemperedPosterior):
    """The density that the kernel really samples: its prior may count more or less than once."""

    prior_factor: Any
    jacobian_factor: Any

    def _evaluate(self, position: Any, arguments: Any) -> Any:
        log_prior, likelihoods, values = super()._evaluate(position, arguments)
        missing = (1 - self.jacobian_factor) * self._log_jacobian(position, values, arguments)
        return self.prior_factor * (log_prior - missing), likelihoods, values

    def _log_jacobian(self, position: Any, values: Any, arguments: Any) -> Any:
        """Evaluate the log Jacobian, which is a part of the log prior."""
        program = handlers.substitute(self.structure.run, data=values)
        sites = traced(program, dict(arguments))
        return sum(
            (
                jnp.sum(constrain(sites[name]["fn"].support, leaf)[1])
                for name, leaf in position.items()
            ),
            jnp.zeros(()),
        )


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class AlteredPosterior(TemperedPosterior):
    """A tempered posterior that says beside itself what is to go wrong.

    References
    ----------
    .. [1] S. R. Cook, A. Gelman, D. B. Rubin, "Validation of software for Bayesian models using
       posterior quantiles", JCGS 15 (2006) 675-692, for errors put in on purpose.
    """

    step_factor: Any  # shape (): Multiplies the step size that the sampler's own tuning finds
    warmup_draws: Any  # shape (), integer: Draws between the start and the first that is kept
    # Shape (), boolean: Whether chains go back to where they started once the step is known
    restart: Any
    start_factor: Any  # shape (): Multiplies the unconstrained coordinates of that start
    beta_factor: Any  # shape (): Multiplies beta in the density that the kernel samples
    prior_factor: Any  # shape (): Multiplies the log prior in the density that the kernel samples
    jacobian_factor: Any  # shape (): Multiplies the log Jacobian there

    @classmethod
    def of(cls, posterior: TemperedPosterior, **factors: float) -> AlteredPosterior:
        """Alter a posterior."""
        known: dict[str, Any] = {
            field.name: getattr(posterior, field.name) for field in fields(TemperedPosterior)
        }
        return cls(**known | {name: jnp.asarray(value) for name, value in factors.items()})

    @property
    def sampled(self) -> TemperedPosterior:
        """What the kernel samples."""
        same = {field.name: getattr(self, field.name) for field in fields(TemperedPosterior)}
        same["beta"] = self.beta * self.beta_factor
        same["structure"] = replace(self.structure, fingerprint="")  # it is not the program's
        return _Sampled(
            **same, prior_factor=self.prior_factor, jacobian_factor=self.jacobian_factor
        )


@dataclass(frozen=True, kw_only=True)
class Altered(Wrapped):
    """A sampler with its own tuning, then changed as an `AlteredPosterior` says.

    References
    ----------
    .. [1] S. R. Cook, A. Gelman, D. B. Rubin, "Validation of software for Bayesian models using
       posterior quantiles", JCGS 15 (2006) 675-692, for errors put in on purpose.
    """

    def warmup(
        self, rng_key: Any, posterior: TemperedPosterior, positions: Any, num_steps: int
    ) -> Warmup:
        """Tune the base, change its step, and go on or start again."""
        assert isinstance(posterior, AlteredPosterior)
        key_tune, key_run = jax.random.split(rng_key)
        sampled = posterior.sampled
        tuned = self.base.warmup(key_tune, sampled, positions, _TUNING_DRAWS)
        parameters = dict(tuned.parameters)
        if "step_size" in parameters:
            parameters["step_size"] = parameters["step_size"] * posterior.step_factor
        now = jax.vmap(lambda state: self.base.evaluate(sampled, state).position)(tuned.states)
        start = jax.tree.map(
            lambda first, last: jnp.where(posterior.restart, posterior.start_factor * first, last),
            positions,
            now,
        )
        states = jax.vmap(lambda state, position: self.base.placed(sampled, state, position))(
            tuned.states, start
        )
        chains = len(jax.tree.leaves(positions)[0])

        def body(index: Any, states: Any) -> Any:
            keys = jax.random.split(jax.random.fold_in(key_run, index), chains)
            step = self.base.step
            return self.over_chains(
                lambda key, state: step(key, sampled, state, parameters)[0], keys, states
            )

        states = jax.lax.fori_loop(0, posterior.warmup_draws, body, states)
        # The trace is that of the tuning: the draws after it are not counted in advance.
        return Warmup(states, parameters, {"loss": tuned.trace["loss"]}, tuned.num_gradients)

    def step(
        self, rng_key: Any, posterior: TemperedPosterior, state: Any, parameters: dict[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """Make one draw of the base, from the density that is really sampled."""
        assert isinstance(posterior, AlteredPosterior)
        return self.base.step(rng_key, posterior.sampled, state, parameters)

    def evaluate(self, posterior: TemperedPosterior, state: Any) -> Evaluation:
        """Evaluate the density that the run claims."""
        return evaluate_position(posterior, self.base.evaluate(posterior, state).position)


@dataclass(frozen=True, kw_only=True)
class NeverRejects(MALA):
    """A mutant of `mala` that takes every proposal, and reports the acceptance all the same.

    References
    ----------
    .. [1] G. O. Roberts, R. L. Tweedie, "Exponential convergence of Langevin distributions and
       their discrete approximations", Bernoulli 2 (1996) 341-363, for the law without the test.
    """

    def _kernel_step(
        self, rng_key: Any, posterior: TemperedPosterior, state: Any, step_size: Any
    ) -> tuple[Any, Any]:
        key_move, key_test = jax.random.split(rng_key)
        gradient = state.logdensity_grad
        moved = sgld.build_kernel()(key_move, state.position, lambda *_: gradient, None, step_size)
        _, info = mala.build_kernel()(key_test, state, posterior.logdensity, step_size)
        return mala.init(moved, posterior.logdensity), info.acceptance_rate
