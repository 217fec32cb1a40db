"""Stochastic gradient Langevin dynamics with RMSProp's preconditioner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import blackjax.mcmc.mala as mala
import blackjax.sgmcmc.sgld as sgld
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from sltprob.posterior import TemperedPosterior
from sltprob.samplers._stochastic import (
    StochasticGradientSampler,
    langevin_by_leaf,
    squared_norm,
    trace_of_hessian,
)
from sltprob.samplers._tuning import largest_curvature_of_chains
from sltprob.samplers.base import Evaluation

__all__ = ["PreconditionedSGLD"]

# A mode of curvature c, in the preconditioned coordinates, gets 1/(1 - εc/2) times its variance.
_STEP_TIMES_CURVATURE = 0.05


@dataclass(frozen=True, kw_only=True)
class PreconditionedSGLD(StochasticGradientSampler):
    """SGLD with RMSProp's preconditioner: θ' = θ + ε P ĝ + sqrt(2εP) N, P = 1/(δ + sqrt(V)).

    V is the running mean of ĝ², coordinate by coordinate. A P that follows the position adds a
    drift Γ_i = Σ_j ∂P_ij/∂θ_j, and leaving it out makes the answer wrong at any step size. Here
    P is learned in warm-up over all chains and then frozen, so Γ is zero exactly, and the kernel
    is plain SGLD in the coordinates θ/sqrt(P): BlackJAX's kernel runs there.

    There is no Metropolis step, so the answer is biased by O(ε): on a Gaussian mode of curvature
    c, in those coordinates, λ̂ comes out 1/(1 - εc/2) times too large, plus what the noise of the
    gradient adds. The rule: ε = 0.05/c, c the largest curvature over the chains in those
    coordinates, measured by power iteration at the start of each round of warm-up. P is scaled
    to mean 1, so that ε compares with that of `sgld`.

    Parameters
    ----------
    step_size : float or None
        ε of BlackJAX, half of the ε of Welling and Teh; None to set it by the rule.
    batch_size : int or None
        Data in a minibatch: fresh x for a population model, rows for data; None for all data.
    steps_per_draw : int
        Kernel steps between two draws that are kept.
    decay : float
        How much of V a step keeps.
    damping : float
        δ, in units of the root mean square of all sqrt(V).

    References
    ----------
    .. [1] C. Li, C. Chen, D. Carlson, L. Carin, "Preconditioned stochastic gradient Langevin
       dynamics for deep neural networks", AAAI 2016 (equations 6 to 8 have P and Γ).
    .. [2] S. J. Vollmer, K. C. Zygalakis, Y. W. Teh, "Exploration of the (non-)asymptotic bias and
       variance of stochastic gradient Langevin dynamics", JMLR 17 (2016) 159.
    """

    decay: float = 0.999
    damping: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.decay < 1:
            raise ValueError(f"decay={self.decay}: it must lie between 0 and 1, such as 0.999")
        if not 0 < self.damping < float("inf"):
            raise ValueError(f"damping={self.damping}: it must be positive, such as 1e-3")

    def _start(self, rng_key: Any, evaluation: Evaluation) -> Any:
        return jax.tree.map(jnp.square, evaluation.logdensity_grad)

    def _tune(self, rng_key: Any, posterior: TemperedPosterior, chains: Any) -> dict[str, Any]:
        moments = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), chains.memory)
        flat, unravel = ravel_pytree(moments)
        tiny = jnp.finfo(flat.dtype).tiny
        delta = self.damping * jnp.sqrt(jnp.mean(flat)) + tiny
        preconditioner = 1 / (delta + jnp.sqrt(flat))
        scale = jnp.sqrt(preconditioner / jnp.mean(preconditioner))
        if self.step_size is not None:
            return {"step_size": jnp.asarray(self.step_size), "scale": scale}
        scales = unravel(scale)
        curvature = largest_curvature_of_chains(
            rng_key,
            lambda position: posterior.logdensity(_multiply(scales, position)),
            jax.vmap(lambda position: _divide(position, scales))(chains.evaluation.position),
        )
        return {"step_size": _STEP_TIMES_CURVATURE / curvature, "scale": scale}

    def _advance(
        self, rng_key: Any, position: Any, memory: Any, gradient: Any, parameters: dict[str, Any]
    ) -> tuple[Any, Any]:
        memory = jax.tree.map(
            lambda moment, g: self.decay * moment + (1 - self.decay) * g**2, memory, gradient
        )
        scales = ravel_pytree(position)[1](parameters["scale"])
        whitened = sgld.build_kernel()(
            rng_key,
            _divide(position, scales),
            lambda *_: _multiply(scales, gradient),
            None,
            parameters["step_size"],
        )
        return _multiply(scales, whitened), memory

    def local_start(self, rng_key: Any, displacement: Any) -> Any:
        """Keep nothing: P is learned in warm-up, and frozen."""
        return ()

    def local_scale(self, moments: Any) -> Any:
        """Give sqrt(P), of mean square 1, from the mean squares of the gradient.

        Parameters
        ----------
        moments : pytree

        Returns
        -------
        pytree
        """
        sizes = [leaf.size for leaf in jax.tree.leaves(moments)]
        mean = sum(jnp.sum(leaf) for leaf in jax.tree.leaves(moments)) / sum(sizes)
        delta = self.damping * jnp.sqrt(mean) + jnp.finfo(mean.dtype).tiny
        preconditioner = jax.tree.map(lambda leaf: 1 / (delta + jnp.sqrt(leaf)), moments)
        total = sum(jnp.sum(leaf) for leaf in jax.tree.leaves(preconditioner))
        return jax.tree.map(lambda leaf: jnp.sqrt(leaf * (sum(sizes) / total)), preconditioner)

    def local_advance(
        self,
        rng_key: Any,
        displacement: Any,
        memory: Any,
        gradient: Any,
        parameters: dict[str, Any],
    ) -> tuple[Any, Any]:
        """Make one step, leaf by leaf."""
        return langevin_by_leaf(rng_key, displacement, gradient, parameters["step_size"]), memory

    def _judge(
        self,
        rng_key: Any,
        posterior: TemperedPosterior,
        evaluation: Evaluation,
        noise: Any,
        parameters: dict[str, Any],
    ) -> dict[str, Any]:
        key_trace, key_accept = jax.random.split(rng_key)
        step_size = parameters["step_size"]
        scales = ravel_pytree(evaluation.position)[1](parameters["scale"])

        def logdensity(whitened: Any) -> Any:
            return posterior.logdensity(_multiply(scales, whitened))

        whitened = _divide(evaluation.position, scales)
        gradient = _multiply(scales, evaluation.logdensity_grad)
        trace = trace_of_hessian(key_trace, logdensity, whitened)
        state = mala.MALAState(whitened, evaluation.logdensity, gradient)
        _, would_be = mala.build_kernel()(key_accept, state, logdensity, step_size)
        return {
            # What a Metropolis test would have accepted of a step of this size on all data.
            "acceptance_rate": would_be.acceptance_rate,
            "log_tilt": step_size * (squared_norm(gradient) / 4 - trace / 2),
            "noise_bias": step_size / 4 * squared_norm(_multiply(scales, noise)),
        }


def _multiply(scales: Any, tree: Any) -> Any:
    return jax.tree.map(jnp.multiply, scales, tree)


def _divide(tree: Any, scales: Any) -> Any:
    return jax.tree.map(jnp.divide, tree, scales)
