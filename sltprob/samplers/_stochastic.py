"""What samplers share that follow a gradient, perhaps of a minibatch, and have no Metropolis test.

They record what the check ``step_bias`` needs to judge them by their own draws: ``log_tilt``, the
logarithm of the factor by which the step size tilts the invariant density, to first order in the
step; and ``noise_bias``, what the noise of the gradient adds to λ̂, to the same order.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import blackjax.sgmcmc.sgld as sgld
import jax
import jax.numpy as jnp

from sltprob.chance import keys_of, random_signs
from sltprob.posterior import TemperedPosterior
from sltprob.samplers._blocks import by_leaf
from sltprob.samplers._options import BatchSize, StepSize, StepsPerDraw
from sltprob.samplers.base import (
    Evaluation,
    Sampler,
    Warmup,
    evaluate_position,
)

__all__ = [
    "Judged",
    "StochasticChain",
    "StochasticGradientSampler",
    "langevin_by_leaf",
    "squared_norm",
    "trace_of_hessian",
]

# Warm-up tunes at the start of every round; the last round runs with what is then kept.
_ROUNDS = 4


class StochasticChain(NamedTuple):
    """State of a chain."""

    evaluation: Evaluation
    memory: Any


class Judged(NamedTuple):
    """A draw, with the error of one gradient there."""

    evaluation: Evaluation
    noise: Any


def squared_norm(tree: Any) -> Any:
    """Sum the squares of all leaves."""
    return jax.tree.reduce(jnp.add, jax.tree.map(lambda leaf: jnp.sum(leaf**2), tree))


def _in_types_of(before: Any, after: Any) -> Any:
    """Give values the types that they had: with x64 BlackJAX's noise makes float64 of float32."""
    return jax.tree.map(lambda old, new: jnp.asarray(new, old.dtype), before, after)


def langevin_by_leaf(rng_key: Any, position: Any, gradient: Any, step_size: Any) -> Any:
    """Make one step of BlackJAX's SGLD, leaf by leaf."""
    kernel = sgld.build_kernel()
    (moved,) = by_leaf(
        lambda key, leaf, slope: (kernel(key, leaf, lambda *_: slope, None, step_size),),
        rng_key,
        (position,),
        (gradient,),
    )
    return moved


def trace_of_hessian(rng_key: Any, logdensity_fn: Any, position: Any) -> Any:
    """Estimate the trace of the Hessian of -log p by one random probe, without bias.

    References
    ----------
    .. [1] M. F. Hutchinson, "A stochastic estimator of the trace of the influence matrix",
       Communications in Statistics 18 (1989) 1059-1076.
    """
    probe = random_signs(rng_key, position)
    # Reverse over reverse: losses with a gradient of their own have no forward mode.
    _, pullback = jax.vjp(jax.grad(logdensity_fn), position)
    (image,) = pullback(probe)
    products = jax.tree.map(lambda v, w: jnp.sum(v * w), probe, image)
    return -jax.tree.reduce(jnp.add, products)


@dataclass(frozen=True, kw_only=True)
class StochasticGradientSampler(Sampler):
    """A sampler that follows a gradient without a Metropolis step."""

    unadjusted: ClassVar[bool] = True
    step_order: ClassVar[int | None] = 1

    step_size: StepSize = None
    batch_size: BatchSize = 32
    steps_per_draw: StepsPerDraw = 50

    @abc.abstractmethod
    def _start(self, rng_key: Any, evaluation: Evaluation) -> Any:
        """Make the memory of a chain that starts here."""

    @abc.abstractmethod
    def _tune(self, rng_key: Any, posterior: TemperedPosterior, chains: Any) -> dict[str, Any]:
        """Set the parameters by what all chains know."""

    @abc.abstractmethod
    def _advance(
        self, rng_key: Any, position: Any, memory: Any, gradient: Any, parameters: dict[str, Any]
    ) -> tuple[Any, Any]:
        """Make one kernel step with this estimate of the gradient."""

    @abc.abstractmethod
    def _judge(
        self, rng_key: Any, posterior: TemperedPosterior, point: Judged, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        """Give ``log_tilt`` and ``noise_bias``."""

    def local_start(self, rng_key: Any, displacement: Any) -> Any:
        """Make the memory of a chain around trained parameters."""
        zero = jax.tree.map(jnp.zeros_like, displacement)
        scalar = jnp.zeros((), jax.tree.leaves(displacement)[0].dtype)
        return self._start(rng_key, Evaluation(displacement, scalar, zero))

    def local_parameters(self, langevin_step: Any) -> dict[str, Any]:
        """Give the parameters with which slow directions move as by Langevin steps of this size."""
        return {"step_size": langevin_step}

    def local_langevin_step(self, step_size: float) -> float:
        """Undo `local_parameters`."""
        return step_size

    def local_advance(
        self,
        rng_key: Any,
        displacement: Any,
        memory: Any,
        gradient: Any,
        parameters: dict[str, Any],
    ) -> tuple[Any, Any]:
        """Make one kernel step around trained parameters, by an estimate of the gradient."""
        moved = self._advance(rng_key, displacement, memory, gradient, parameters)
        return _in_types_of((displacement, memory), moved)

    def local_motion(self, memory: Any, parameters: dict[str, Any]) -> tuple[Any, Any] | None:
        """Give momentum and friction of a chain; None of a sampler without momentum."""
        return None

    def _gradient(self, posterior: TemperedPosterior, position: Any, rng_key: Any) -> Any:
        if self.batch_size is None:
            return jax.grad(posterior.logdensity)(position)
        minibatch = posterior.draw_minibatch(rng_key, self.batch_size)
        return jax.grad(posterior.minibatch_logdensity)(position, minibatch)

    def _run(
        self, rng_key: Any, posterior: TemperedPosterior, chain: Any, parameters: dict[str, Any]
    ) -> StochasticChain:
        def body(carry: Any, key: Any) -> Any:
            position, memory = carry
            key_minibatch, key_noise = keys_of(key, 2)
            gradient = self._gradient(posterior, position, key_minibatch)
            return self._advance(key_noise, position, memory, gradient, parameters), None

        keys = keys_of(rng_key, self.steps_per_draw)
        start = (chain.evaluation.position, chain.memory)
        (position, memory), _ = jax.lax.scan(body, start, keys)
        return StochasticChain(evaluate_position(posterior, position), memory)

    def _cost(self, posterior: TemperedPosterior) -> Any:
        """Cost of one draw in gradients on all data; a minibatch counts by its size."""
        size = len(posterior.weights)
        return jnp.asarray(self.steps_per_draw * min((self.batch_size or size) / size, 1.0))

    def warmup(
        self, rng_key: Any, posterior: TemperedPosterior, positions: Any, num_steps: int
    ) -> Warmup:
        """Tune at the start of each of four rounds, and keep the last result."""
        num_chains = len(jax.tree.leaves(positions)[0])
        key_start, key_rounds = keys_of(rng_key, 2)

        def start(key: Any, position: Any) -> StochasticChain:
            evaluation = evaluate_position(posterior, position)
            return StochasticChain(evaluation, self._start(key, evaluation))

        def draw(carry: Any, key: Any) -> Any:
            chains, parameters = carry
            keys = keys_of(key, num_chains)
            chains = jax.vmap(self._run, in_axes=(0, None, 0, None))(
                keys, posterior, chains, parameters
            )
            loss = jax.vmap(posterior.loss_from_logdensity)(*chains.evaluation[:2])
            return (chains, parameters), loss

        def play_round(carry: Any, key: Any) -> Any:
            key_tune, key_draws = keys_of(key, 2)
            parameters = self._tune(key_tune, posterior, carry[0])
            keys = keys_of(key_draws, num_steps // _ROUNDS)
            return jax.lax.scan(draw, (carry[0], parameters), keys)

        chains = jax.vmap(start)(keys_of(key_start, num_chains), positions)
        # Every round sets them anew: the scan wants their shapes.
        forms = jax.eval_shape(self._tune, key_start, posterior, chains)
        parameters = jax.tree.map(lambda form: jnp.zeros(form.shape, form.dtype), forms)
        keys = keys_of(key_rounds, _ROUNDS)
        (chains, parameters), loss = jax.lax.scan(play_round, (chains, parameters), keys)
        loss = loss.reshape(-1, num_chains)
        return Warmup(chains, parameters, {"loss": loss}, self._cost(posterior) * len(loss))

    def step(
        self, rng_key: Any, posterior: TemperedPosterior, state: Any, parameters: dict[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """Make `steps_per_draw` kernel steps, and measure what the last point tells of the bias."""
        key_run, key_minibatch, key_judge = keys_of(rng_key, 3)
        state = self._run(key_run, posterior, state, parameters)
        evaluation = state.evaluation
        estimate = self._gradient(posterior, evaluation.position, key_minibatch)
        noise = jax.tree.map(jnp.subtract, estimate, evaluation.logdensity_grad)
        return state, {
            **self._judge(key_judge, posterior, Judged(evaluation, noise), parameters),
            "num_gradients": self._cost(posterior),
        }

    def evaluate(self, posterior: TemperedPosterior, state: Any) -> Evaluation:
        """Give the evaluation that the state carries."""
        return Evaluation(*state.evaluation)
