"""The least loss of a program, where no theory gives it, and whether it is one."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
import scipy.sparse.linalg
from jax.flatten_util import ravel_pytree

from sltprob.outside import outside_support
from sltprob.posterior import TemperedPosterior

__all__ = ["Optimum", "find_optimum", "hessian_eigenvalues", "near_zero"]

# Times that a search goes on from a point below which the loss still falls.
_ROUNDS = 5
# A gradient of this size, relative to the loss, is zero.
_STATIONARY = 1e-6
# Coordinates that are tried one by one, those with the largest gradient.
_COORDINATES = 16
# Up to this dimension all eigenvalues of the Hessian are computed.
_DENSE = 100

_SPREAD_DRAWS = 400
# A program that runs once is not worth optimising.
_ONCE: dict[str, Any] = {"xla_backend_optimization_level": 0}

type Objective = Callable[[np.ndarray], tuple[float, np.ndarray]]


@dataclass(frozen=True)
class Optimum:
    """The best point that was found.

    Parameters
    ----------
    loss : float, nats per datum
    values : dict of str to array
        Constrained values of the latent sites.
    error : float, nats per datum
        How far below `loss` a quadratic model of the loss puts its least value.
    gradient : float
        Largest component of the gradient there, in unconstrained coordinates.
    curvature : float
        Least eigenvalue of the Hessian there, likewise; negative for a saddle.
    losses : tuple of float
        Where each start ended, the least first. Starts that end far apart say that there are
        several basins, and perhaps one that none of them found.
    """

    loss: float
    values: dict[str, Any]
    error: float
    gradient: float
    curvature: float
    losses: tuple[float, ...]

    @property
    def is_minimum(self) -> bool:
        """Whether no direction leads down, to second order and within rounding."""
        return self.curvature > -1e-6 * max(1.0, abs(self.loss))


def find_optimum(
    posterior: TemperedPosterior, *, starts: int = 8, seed: int = 0, points: Any = None
) -> Optimum:
    """Minimise the mean loss from several prior draws, without the prior.

    The answer is the least of what was found: L* can be lower, and lambda-hat then larger.

    Parameters
    ----------
    posterior : TemperedPosterior
    starts : int
        Prior draws to start from; one with an infinite loss is replaced by a point near zero.
    seed : int
    points : sequence of mapping of str to array, optional
        Constrained values to start from as well, such as draws of a posterior.

    Returns
    -------
    Optimum

    Raises
    ------
    ValueError
        If no start leads to a finite loss, or the loss has no least value: it falls without end,
        as that of a normal distribution whose scale can go to zero on data that it fits.

    References
    ----------
    .. [1] R. H. Byrd, P. Lu, J. Nocedal, C. Zhu, "A limited memory algorithm for bound
       constrained optimization", SIAM J. Sci. Comput. 16 (1995).
    """
    keys = jax.random.split(jax.random.key(seed), starts)
    positions = [posterior.draw_prior(key) for key in keys]
    positions += [posterior.unconstrain(point) for point in points or ()]
    _, unravel = ravel_pytree(positions[0])
    like = positions[0]

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        loss, gradient = _loss_and_gradient(flat, posterior, like)
        return float(loss), np.asarray(gradient, dtype=float)

    found = []
    for position, key in zip(positions, itertools.cycle(keys), strict=False):
        start = np.asarray(ravel_pytree(position)[0], dtype=float)
        loss, gradient = objective(start)
        if not (np.isfinite(loss) and np.all(np.isfinite(gradient))):
            start = np.asarray(ravel_pytree(near_zero(position, key, 2.0))[0], dtype=float)
        found.append(_descend(objective, start))
    found = sorted((end for end in found if np.isfinite(end.fun)), key=lambda end: float(end.fun))
    if not found:
        if (reason := outside_support(posterior)) is not None:
            raise ValueError(f"no parameters have a finite loss: {reason}; correct the data")
        raise ValueError(
            "no start leads to a finite loss; give a point where it is finite, "
            "find_optimum(posterior, points=[{...}])"
        )
    best = found[0]
    for _ in range(_ROUNDS):
        lower = _lower_point(objective, best)
        if lower is None:
            break
        best = _descend(objective, lower)
    else:
        values = posterior.constrain(unravel(best.x))
        raise ValueError(
            f"the loss has no least value: it is {best.fun:.4g} and still falls, near "
            f"{_smallest(values)}; a scale that can go to zero fits the data without error, and "
            "then there is no lambda-hat: bound the scale from below, or give minimum_loss="
        )
    values = posterior.constrain(unravel(best.x))
    curvature, error = _curvature(posterior, like, best)
    return Optimum(
        float(best.fun),
        {name: np.asarray(value) for name, value in values.items()},
        error,
        float(np.max(np.abs(best.jac), initial=0.0)),
        curvature,
        tuple(float(end.fun) for end in found),
    )


def near_zero(like: Any, key: Any, radius: float) -> Any:
    """Draw a position uniformly on (-radius, radius), as NumPyro starts its chains."""
    flat, unravel = ravel_pytree(like)
    return unravel(jax.random.uniform(key, flat.shape, flat.dtype, -radius, radius))


def _descend(objective: Objective, start: np.ndarray) -> Any:
    return scipy.optimize.minimize(
        objective,
        start,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 5000, "maxfun": 20000, "ftol": 1e-15, "gtol": 1e-10},
    )


def _lower_point(objective: Objective, end: Any) -> np.ndarray | None:
    """Look down the gradient, and down single coordinates, for a lower loss.

    At a minimum, or at a kink, there is none. Where a scale goes to zero all other directions are
    too steep to move in, and only its own coordinate leads down.
    """
    size = float(np.max(np.abs(end.jac), initial=0.0))
    scale = max(1.0, abs(float(end.fun)))
    if size <= _STATIONARY * scale:
        return None
    steepest = np.argsort(-np.abs(end.jac))[:_COORDINATES]
    directions = [end.jac / size]
    directions += [np.where(np.arange(len(end.x)) == i, np.sign(end.jac), 0.0) for i in steepest]
    steps = np.geomspace(1e-3, 10, 9)
    points = [end.x - step * direction for direction in directions for step in steps]
    losses = [objective(point)[0] for point in points]
    losses = [loss if np.isfinite(loss) else np.inf for loss in losses]
    lowest = int(np.argmin(losses))
    return points[lowest] if losses[lowest] < end.fun - _STATIONARY * scale else None


def _curvature(posterior: TemperedPosterior, like: Any, end: Any) -> tuple[float, float]:
    """Give the least eigenvalue of the Hessian, and what a Newton step would still gain."""
    size = len(end.x)
    if size == 0:
        return 0.0, 0.0
    point = jnp.asarray(end.x)
    rounding = float(np.finfo(float).eps) * max(1.0, abs(float(end.fun)))
    if size > _DENSE:
        operator = scipy.sparse.linalg.LinearOperator(
            (size, size),
            matvec=lambda v: np.asarray(_hessian_product(point, v.ravel(), posterior, like)),
            dtype=float,
        )
        least = scipy.sparse.linalg.eigsh(
            operator, k=1, which="SA", tol=1e-2, return_eigenvectors=False, v0=np.ones(size)
        )
        return float(least[0]), rounding
    eigenvalues, vectors = np.linalg.eigh(np.asarray(_hessian(point, posterior, like), float))
    parts = vectors.T @ end.jac
    # Along directions that are flat within rounding nothing is to be gained.
    steep = np.abs(eigenvalues) > 1e-10 * np.max(np.abs(eigenvalues), initial=1e-300)
    gain = 0.5 * float(np.sum(parts[steep] ** 2 / np.abs(eigenvalues[steep])))
    return float(eigenvalues[0]), max(gain, rounding)


def hessian_eigenvalues(posterior: TemperedPosterior, values: Mapping[str, Any]) -> np.ndarray:
    """Give all eigenvalues of the Hessian of the mean loss, in units of the prior's spread."""
    like = posterior.unconstrain(values)
    keys = jax.random.split(jax.random.key(0), _SPREAD_DRAWS)
    draws = jax.vmap(lambda key: ravel_pytree(posterior.draw_prior(key))[0])(keys)
    # Of a heavy tail too, half of the draws lie within a finite distance.
    low, high = np.percentile(np.asarray(draws), [25, 75], axis=0)
    spread = (high - low) / 1.349  # that of a normal distribution
    hessian = np.asarray(_hessian(ravel_pytree(like)[0], posterior, like), float)
    return np.linalg.eigvalsh(spread[:, None] * hessian * spread)


# Functions of this module, and the posterior an argument, so that equal programs compile once.


def _loss(flat: Any, posterior: TemperedPosterior, like: Any) -> Any:
    return posterior.loss(ravel_pytree(like)[1](flat))


@jax.jit
def _loss_and_gradient(flat: Any, posterior: TemperedPosterior, like: Any) -> Any:
    return jax.value_and_grad(_loss)(flat, posterior, like)


@functools.partial(jax.jit, compiler_options=_ONCE)
def _hessian_product(flat: Any, vector: Any, posterior: TemperedPosterior, like: Any) -> Any:
    return jax.jvp(lambda at: jax.grad(_loss)(at, posterior, like), (flat,), (vector,))[1]


@functools.partial(jax.jit, compiler_options=_ONCE)
def _hessian(flat: Any, posterior: TemperedPosterior, like: Any) -> Any:
    slope = jax.grad(_loss)
    return jax.vmap(lambda v: jax.jvp(lambda at: slope(at, posterior, like), (flat,), (v,))[1])(
        jnp.eye(flat.size)
    )


def _smallest(values: dict[str, Any]) -> str:
    """Name the site and value that is nearest to zero."""
    least = {name: float(np.min(np.abs(value))) for name, value in values.items() if np.size(value)}
    name = min(least, key=lambda key: least[key])
    return f"{name} = {least[name]:.2g}"
