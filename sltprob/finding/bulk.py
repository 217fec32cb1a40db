"""A singularity on top of a bulk: lambda-hat with a target, less lambda-hat without one."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sltprob.collapsed import PrecisionError, exact_ladder
from sltprob.exact import Exact
from sltprob.finding.paper import write_svg
from sltprob.models._embedding import EmbeddingPrior
from sltprob.models._inputs import Inputs
from sltprob.models._modular import modular_target, residue_pairs
from sltprob.models.network import Network
from sltprob.theory.kernel import input_rule, slope_rule

__all__ = [
    "Difference",
    "differences",
    "draw_differences",
    "squared_bias",
    "wide_difference",
]

type Array = NDArray[np.float64]

_BATCH = 500
# Effective draws; beyond importance sampling misses what matters.
_FEWEST_DRAWS = 1000
_COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#0072B2", "#D55E00", "black")


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
    """Compute lambda-hat of a network for target zero and for its own, the unit tanh(x) if none.

    It ends early where one of the two is not known to the tolerance.

    References
    ----------
    .. [1] S. Watanabe, Algebraic Geometry and Statistical Learning Theory (Cambridge, 2009).
    """
    if model.target == "zero":
        model = replace(model, target="unit")
    both: list[list[Exact]] = []
    for target in ("zero", model.target):
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
    """Give what the target, the unit tanh(x) if it is zero, costs the infinitely wide network.

    With y_k its components in the eigenfunctions of the kernel this is the squared bias
    ``beta sum y_k^2 / (1 + 2 beta kappa_k)^2``.

    References
    ----------
    Rasmussen, C. E. and Williams, C. K. I. (2006). Gaussian Processes for Machine Learning, MIT
    Press, section 2.6.
    """
    if model.target == "modular":
        eigenvalues, components = _quadratic_kernel(model)
    elif (model.activation, model.inputs, model.depth) == ("tanh", "gaussian", 1):
        eigenvalues, components = _tanh_kernel(model)
    else:
        raise ValueError(
            f"activation={model.activation}, inputs={model.inputs}, depth={model.depth}: tanh, "
            "gaussian and 1, or target=modular."
        )
    kappas = model.width * model.readout_scale**2 * eigenvalues
    return float(beta * np.sum((components / (1.0 + 2.0 * beta * kappas)) ** 2))


def squared_bias(
    beta: float, model: Network, *, num_draws: int = 20_000, seed: int = 0
) -> tuple[float, float] | None:
    """Give the part of lambda-hat by which the mean output misses the target, with its error.

    With w given the posterior of the output is normal, and ``beta E[L | w]`` is half the number of
    resolved directions plus beta times the squared distance of its mean to the target. This is the
    average of the second over the posterior of w, by importance sampling from the prior; None where
    fewer than 1000 draws count.

    References
    ----------
    Rasmussen, C. E. and Williams, C. K. I. (2006). Gaussian Processes for Machine Learning, MIT
    Press, section 2.6.
    """
    problem = model.problem()
    if problem.target is None:
        raise ValueError("target=zero is never missed; write target=unit or target=modular.")
    w = problem.draw_prior(np.random.default_rng([seed, 6]), num_draws)
    energies, biases = [], []
    for part in np.split(w, range(_BATCH, num_draws, _BATCH)):
        features = problem.features(part)
        values, vectors = np.linalg.eigh(features.mT @ features)
        resolved = 1.0 + 2.0 * beta * model.readout_scale**2 * np.maximum(values, 0.0)
        squares = (problem.target @ vectors) ** 2
        energies.append((0.5 * np.log(resolved) + beta * squares / resolved).sum(axis=1))
        biases.append(beta * (squares / resolved**2).sum(axis=1))
    logs, bias = -np.concatenate(energies), np.concatenate(biases)
    shares = np.exp(logs - logs.max())
    shares /= shares.sum()
    if 1.0 / float(shares @ shares) < _FEWEST_DRAWS:
        return None
    value = float(shares @ bias)
    return value, float(np.sqrt(np.sum((shares * (bias - value)) ** 2)))


def _tanh_kernel(model: Network) -> tuple[Array, Array]:
    """Give the eigenvalues of one unit's kernel, and the components of tanh(x)."""
    prior = EmbeddingPrior.parse(model.embedding_prior)
    slopes, masses = slope_rule(prior.family, prior.scale)
    kept = slopes > 0
    x, weights = input_rule(float(slopes.max()))
    positive = x > 0
    roots = np.sqrt(2.0 * weights[positive])
    features = np.sqrt(2.0 * masses[kept])[:, None] * np.tanh(np.outer(slopes[kept], x[positive]))
    _, singular, functions = np.linalg.svd(features * roots, full_matrices=False)
    return singular**2, functions @ (roots * np.tanh(x[positive]))


def _quadratic_kernel(model: Network) -> tuple[Array, Array]:
    """Give the same for units (w.x)^2 and the target of modular addition."""
    prior = EmbeddingPrior.parse(model.embedding_prior)
    # Second and fourth moment of a weight.
    second, fourth = (1.0, 3.0) if prior.family == "normal" else (1.0 / 3.0, 1.0 / 5.0)
    x = residue_pairs(Inputs.parse(model.inputs).residues)
    products, squares = x @ x.T, x**2
    lengths = squares.sum(axis=1)
    kernel = second**2 * (np.outer(lengths, lengths) + 2.0 * products**2)
    kernel += (fourth - 3.0 * second**2) * squares @ squares.T
    eigenvalues, functions = np.linalg.eigh(prior.scale**4 * kernel / len(x))
    return np.maximum(eigenvalues, 0.0), functions.T @ modular_target(x) / math.sqrt(len(x))


def draw_differences(
    path: Path,
    rows: Mapping[int, Sequence[Difference]],
    limits: Mapping[int, Fraction],
) -> Path | None:
    """Write the differences for several widths, with the limit of each, as SVG.

    Nothing is written without Matplotlib.

    References
    ----------
    Watanabe, S. (2009). Algebraic Geometry and Statistical Learning Theory, Cambridge.
    """

    def draw(axes: Any) -> None:
        for number, (width, values) in enumerate(rows.items()):
            colour = _COLOURS[number % len(_COLOURS)]
            axes.errorbar(
                [row.beta for row in values],
                [row.value for row in values],
                yerr=[row.mcse for row in values],
                fmt="o-",
                ms=3.5,
                color=colour,
                label=f"h = {width}",
            )
            axes.axhline(float(limits[width]), color=colour, lw=0.8, ls="--")
        axes.set_xscale("log")
        axes.set_xlabel("inverse temperature β")
        axes.set_ylabel("λ̂ with the task less λ̂ without")
        axes.legend(frameon=False, ncols=7, loc="upper center", bbox_to_anchor=(0.5, 1.12))

    return write_svg(path, draw)
