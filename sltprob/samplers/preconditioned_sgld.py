"""Stochastic gradient Langevin dynamics with RMSProp's preconditioner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import blackjax.sgmcmc.sgld as sgld
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from sltprob.chance import keys_of
from sltprob.posterior import TemperedPosterior
from sltprob.samplers._stochastic import Judged, StochasticGradientSampler, langevin_by_leaf
from sltprob.samplers._tuning import largest_curvature_of_chains
from sltprob.samplers.base import Evaluation
from sltprob.samplers.sgld import STEP_TIMES_CURVATURE, langevin_bias
from sltprob.spec import between, positive

__all__ = ["PreconditionedSGLD"]


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

    decay: Annotated[float, between(0, 1)] = 0.999
    damping: Annotated[float, positive()] = 1e-3

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
        return {"step_size": STEP_TIMES_CURVATURE / curvature, "scale": scale}

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
        """Give sqrt(P), of mean square 1, from the mean squares of the gradient."""
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
        self, rng_key: Any, posterior: TemperedPosterior, point: Judged, parameters: dict[str, Any]
    ) -> dict[str, Any]:
        scales = ravel_pytree(point.evaluation.position)[1](parameters["scale"])
        position, logdensity, gradient = point.evaluation
        whitened = Evaluation(_divide(position, scales), logdensity, _multiply(scales, gradient))
        return langevin_bias(
            keys_of(rng_key, 2),
            lambda position: posterior.logdensity(_multiply(scales, position)),
            Judged(whitened, _multiply(scales, point.noise)),
            parameters["step_size"],
        )


def _multiply(scales: Any, tree: Any) -> Any:
    return jax.tree.map(jnp.multiply, scales, tree)


def _divide(tree: Any, scales: Any) -> Any:
    return jax.tree.map(jnp.divide, tree, scales)
