"""Lambda-hat over many scales: the exact curve beside everything that theory says about it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sltprob.collapsed import exact_ladder
from sltprob.models.tanh_zero import TanhZero
from sltprob.theory.bounds import crude_count, highest_mode, mode_bound
from sltprob.theory.free_energy import thermodynamic_integral
from sltprob.theory.hermite import ACTIVATIONS
from sltprob.theory.kernel import Kernel, nngp_kernel
from sltprob.theory.scale import ScaleRow

if TYPE_CHECKING:
    from sltprob.exact import Exact
    from sltprob.models import Model

__all__ = ["exact_values", "geometric", "scale_rows"]

_BOUND_DRAWS = 48
# That is beta of about 1e26 for weights up to one.
_MOST_MODES = 600


def geometric(low: float, high: float, per_decade: float = 2.0) -> list[float]:
    """Space inverse temperatures evenly in log beta, both ends included.

    References
    ----------
    Calderhead, B. and Girolami, M. (2009). Estimating Bayes factors via thermodynamic integration
    and population MCMC. Computational Statistics & Data Analysis 53, 4028-4045.
    """
    if not (0 < low < high < math.inf and 0 < per_decade <= 100):
        raise ValueError(
            f"range {low:g}:{high:g} with {per_decade:g} a decade: the ends must increase from "
            "above 0, with up to 100 a decade; write 1:1e12 or 1:1e12:2"
        )
    start, stop = math.log10(low), math.log10(high)
    count = max(2, math.ceil(per_decade * (stop - start) - 1e-9) + 1)
    # Fifteen digits, so that 1e4 is 1e4.
    return [float(f"{10 ** (start + (stop - start) * n / (count - 1)):.15g}") for n in range(count)]


def exact_values(
    model: Model,
    betas: Sequence[float],
    *,
    tolerance: float = 0.01,
    progress: Callable[[Exact], None] | None = None,
) -> list[Exact]:
    """Compute the exact values of a model.

    References
    ----------
    Watanabe, S. (2013). A widely applicable Bayesian information criterion. JMLR 14, 867-897.
    """
    if isinstance(model, TanhZero) and model.n is None and list(betas) == sorted(set(betas)):
        ladder = exact_ladder(betas, model.problem(), tolerance=tolerance, progress=progress)
        return list(ladder)
    found = []
    for beta in betas:
        value = model.exact(beta, tolerance=tolerance)
        if value is None:
            raise ValueError("no exact answer is known for this model; see sltprob list models")
        found.append(value)
        if progress is not None:
            progress(value)
    return found


def scale_rows(model: Model | None, exacts: Sequence[Exact]) -> list[ScaleRow]:
    """Put theory beside exact values.

    References
    ----------
    Aoyagi, M. (2009). Log canonical threshold of Vandermonde matrix type singularities and
    generalization error of a three-layered neural network in Bayesian estimation. International
    Journal of Pure and Applied Mathematics 52, 177-204.
    """
    betas = [value.beta for value in exacts]
    truth = None if model is None else model.truth().learning_coefficient
    width = getattr(model, "width", None)
    options = _scalar_network(model)
    kernel = _kernel(options)
    bounds = _mode_bounds(options, betas)
    integral = None
    if len(exacts) >= 4:
        integral = thermodynamic_integral(
            betas,
            [value.lambda_hat for value in exacts],
            [value.mcse for value in exacts],
            start=exacts[0].free_energy,
            start_mcse=exacts[0].free_energy_mcse,
        )
    return [
        ScaleRow(
            beta=value.beta,
            lambda_hat=value.lambda_hat,
            mcse=value.mcse,
            free_energy=value.free_energy,
            free_energy_mcse=value.free_energy_mcse,
            integrated=None if integral is None else float(integral.free_energies[place]),
            integrated_mcse=(
                None
                if integral is None
                else math.hypot(integral.mcse[place], integral.interpolation[place])
            ),
            **_infinite_width(kernel, value.beta),
            mode_bound=bounds.get(value.beta),
            crude_count=None if model is None else crude_count(value.beta),
            claimed=None if width is None else width / 2,
            learning_coefficient=None if truth is None else float(truth),
            method=value.method,
        )
        for place, value in enumerate(exacts)
    ]


def _scalar_network(model: Model | None) -> dict[str, Any] | None:
    """Give the options of a network on x ~ N(0, 1) that learns zero; None for another model."""
    from sltprob.models._embedding import EmbeddingPrior

    if model is None or not (hasattr(model, "embedding_prior") and hasattr(model, "width")):
        return None
    plain = {"modes": None, "inputs": "gaussian", "target": "zero", "depth": 1, "n": None}
    if any(getattr(model, name, value) != value for name, value in plain.items()):
        return None
    return {
        "width": model.width,
        "prior": EmbeddingPrior.parse(model.embedding_prior),
        "readout_scale": getattr(model, "readout_scale", 1.0),
        "activation": getattr(model, "activation", "tanh"),
    }


def _kernel(options: dict[str, Any] | None) -> Kernel | None:
    if options is None or options["activation"] not in ("tanh", "erf", "sin"):
        return None
    return nngp_kernel(
        options["width"],
        options["prior"].family,
        options["prior"].scale,
        readout_scale=options["readout_scale"],
        activation=options["activation"],
    )


def _infinite_width(kernel: Kernel | None, beta: float) -> dict[str, float | None]:
    if kernel is None or beta > kernel.largest_beta:
        return {"nngp": None, "wide": None}
    limit = kernel.lambda_hat(beta)
    return {"nngp": limit, "wide": limit + kernel.width_correction(beta)}


def _mode_bounds(options: dict[str, Any] | None, betas: Sequence[float]) -> dict[float, float]:
    """Compute the bound at the betas whose modes can be counted."""
    if options is None or options["activation"] not in ACTIVATIONS:
        return {}
    # An algebraic decay, as of relu, has no last mode.
    if options["activation"] == "relu":
        return {}
    w = options["prior"].draw(np.random.default_rng(0), (_BOUND_DRAWS, options["width"]))
    size, largest = options["width"] * options["readout_scale"] ** 2, float(np.abs(w).max())
    feasible = [beta for beta in betas if highest_mode(beta * size, largest) <= _MOST_MODES]
    if not feasible:
        return {}
    found = mode_bound(
        feasible, w, readout_scale=options["readout_scale"], activation=options["activation"]
    )
    # Where w has left its prior the average over prior draws is not the one that is meant.
    return {row.beta: row.value for row in found if row.effective_draws >= 0.2 * _BOUND_DRAWS}
