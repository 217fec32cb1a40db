"""The least loss of a program, where no theory gives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import scipy.optimize
from jax.flatten_util import ravel_pytree

from sltprob.posterior import TemperedPosterior

__all__ = ["Optimum", "find_optimum"]


@dataclass(frozen=True)
class Optimum:
    """The best point that was found.

    Parameters
    ----------
    loss : float
    values : dict of str to array
        Constrained values of the latent sites.
    """

    loss: float
    values: dict[str, Any]


def find_optimum(
    posterior: TemperedPosterior, *, starts: int = 8, seed: int = 0, points: Any = None
) -> Optimum:
    """Minimise the mean loss from several prior draws, without the prior.

    The answer is the least of what was found: L* can be lower, and lambda-hat then larger.

    Parameters
    ----------
    posterior : TemperedPosterior
    starts : int
        Prior draws to start from.
    seed : int
    points : sequence of mapping of str to array, optional
        Constrained values to start from as well, such as draws of a posterior.

    Returns
    -------
    Optimum

    Raises
    ------
    ValueError
        If no start leads to a finite loss.

    References
    ----------
    .. [1] R. H. Byrd, P. Lu, J. Nocedal, C. Zhu, "A limited memory algorithm for bound
       constrained optimization", SIAM J. Sci. Comput. 16 (1995).
    """
    keys = jax.random.split(jax.random.key(seed), starts)
    positions = [posterior.draw_prior(key) for key in keys]
    positions += [posterior.unconstrain(point) for point in points or ()]
    _, unravel = ravel_pytree(positions[0])
    value_and_gradient = jax.jit(
        jax.value_and_grad(lambda flat, posterior: posterior.loss(unravel(flat)))
    )

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        loss, gradient = value_and_gradient(flat, posterior)
        return float(loss), np.asarray(gradient, dtype=float)

    best, best_loss = None, np.inf
    for position in positions:
        start = np.asarray(ravel_pytree(position)[0], dtype=float)
        found = scipy.optimize.minimize(
            objective,
            start,
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 5000, "maxfun": 20000, "ftol": 1e-15, "gtol": 1e-10},
        )
        if np.isfinite(found.fun) and found.fun < best_loss:
            best, best_loss = found.x, float(found.fun)
    if best is None:
        raise ValueError(
            "no start leads to a finite loss; give a point where it is finite, "
            "find_optimum(posterior, points=[{...}])"
        )
    values = posterior.constrain(unravel(best))
    return Optimum(best_loss, {name: np.asarray(value) for name, value in values.items()})
