"""A singularity on top of a bulk: lambda-hat with a target, less lambda-hat without one."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sltprob.collapsed import PrecisionError, exact_ladder
from sltprob.exact import Exact
from sltprob.models._embedding import EmbeddingPrior
from sltprob.models.network import Network
from sltprob.theory.kernel import input_rule, slope_rule

__all__ = ["Difference", "differences", "wide_difference"]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Both exact values at one inverse temperature, and what the infinitely wide network says."""

    beta: float
    bulk: Exact  # Target zero
    whole: Exact
    wide: float

    @property
    def value(self) -> float:
        """lambda-hat with the target less lambda-hat without."""
        return self.whole.lambda_hat - self.bulk.lambda_hat

    @property
    def mcse(self) -> float:
        """Its standard error."""
        return math.hypot(self.whole.mcse, self.bulk.mcse)


def differences(
    betas: Sequence[float], model: Network, *, progress: Callable[[Difference], None] | None = None
) -> tuple[Difference, ...]:
    """Compute lambda-hat of a tanh network for target zero and for one unit tanh(x).

    It ends early where one of the two is not known to the tolerance.

    References
    ----------
    .. [1] S. Watanabe, Algebraic Geometry and Statistical Learning Theory (Cambridge, 2009).
    """
    both: list[list[Exact]] = []
    for target in ("zero", "unit"):
        found: list[Exact] = []
        problem = replace(model, target=target).problem()
        # What was found before it ended stays.
        with contextlib.suppress(PrecisionError):
            exact_ladder(betas, problem, tolerance=0.01, progress=found.append)
        both.append(found)
    rows = tuple(
        Difference(beta=bulk.beta, bulk=bulk, whole=whole, wide=wide_difference(bulk.beta, model))
        for bulk, whole in zip(*both, strict=False)
    )
    for row in rows:
        if progress is not None:
            progress(row)
    return rows


def wide_difference(beta: float, model: Network) -> float:
    """Give what the target tanh(x) costs the infinitely wide network.

    With y_k its components in the eigenfunctions of the kernel this is the squared bias
    ``beta sum y_k^2 / (1 + 2 beta kappa_k)^2``.

    References
    ----------
    Rasmussen, C. E. and Williams, C. K. I. (2006). Gaussian Processes for Machine Learning, MIT
    Press, section 2.6.
    """
    if (model.activation, model.inputs, model.depth) != ("tanh", "gaussian", 1):
        raise ValueError(
            f"activation={model.activation}, inputs={model.inputs}, depth={model.depth}: tanh, "
            "gaussian and 1."
        )
    prior = EmbeddingPrior.parse(model.embedding_prior)
    slopes, masses = slope_rule(prior.family, prior.scale)
    kept = slopes > 0
    x, weights = input_rule(float(slopes.max()))
    positive = x > 0
    roots = np.sqrt(2.0 * weights[positive])
    features = np.sqrt(2.0 * masses[kept])[:, None] * np.tanh(np.outer(slopes[kept], x[positive]))
    _, singular, functions = np.linalg.svd(features * roots, full_matrices=False)
    kappas = model.width * model.readout_scale**2 * singular**2
    components = functions @ (roots * np.tanh(x[positive]))
    return float(beta * np.sum((components / (1.0 + 2.0 * beta * kappas)) ** 2))
