"""Other networks: the spectrum of each that is infinitely wide, and the law it gives lambda-hat."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from sltprob.models._activations import ACTIVATIONS
from sltprob.models._embedding import EmbeddingPrior
from sltprob.models._inputs import Inputs
from sltprob.models.network import Network
from sltprob.theory.wide import deep_spectrum, shallow_spectrum, wide_lambda_hat

__all__ = ["laws", "scaling_bound", "wide_curve", "wide_spectrum"]

type Array = NDArray[np.float64]


def wide_spectrum(model: Network) -> Array:
    """Compute the spectrum of the kernel of a network with target zero, times h sigma^2.

    References
    ----------
    Neal, R. M. (1996). Bayesian Learning for Neural Networks, Springer, chapter 2.
    """
    if model.target != "zero":
        raise ValueError(f"target={model.target}: the infinitely wide network needs target=zero.")
    prior = EmbeddingPrior.parse(model.embedding_prior)
    inputs = Inputs.parse(model.inputs)
    if model.depth > 1:
        if inputs.family != "gaussian":
            raise ValueError(
                f"inputs={model.inputs}, depth={model.depth}: write inputs=gaussian or depth=1."
            )
        spectrum = deep_spectrum(
            model.activation, depth=model.depth, family=prior.family, scale=prior.scale
        )
    else:
        activation = ACTIVATIONS[model.activation]
        spectrum = shallow_spectrum(
            activation.in_numpy,
            inputs=inputs.family,
            dimension=max(inputs.dimension, 1),
            family=prior.family,
            scale=prior.scale,
            fine=not activation.smooth,
        )
    return model.width * model.readout_scale**2 * spectrum


def wide_curve(model: Network, betas: Sequence[float]) -> Array:
    """Predict lambda-hat of the infinitely wide network, shape (betas,).

    References
    ----------
    Neal, R. M. (1996). Bayesian Learning for Neural Networks, Springer, chapter 2.
    """
    spectrum = wide_spectrum(model)
    return np.array([wide_lambda_hat(spectrum, beta) for beta in betas])


def scaling_bound(model: Network) -> Fraction | None:
    """Bound the learning coefficient of a network of scalar inputs that learns zero.

    None where the activation has no series, or the inputs are not scalar.

    Notes
    -----
    Let all first weights be of size t and p_1 < p_2 < ... the exponents of the activation's series:
    f = sum_n b_n x^(p_n), b_n of size t^(p_n) times a sum of readouts. The loss is below epsilon if
    the first K sums are below epsilon^(1/2) / t^(p_n) and t^(2 p_(K + 1)) = epsilon, which has the
    prior volume epsilon^(K / 2 + (h - p_1 - ... - p_K) / (2 p_(K + 1))). With generic weights of
    later layers their outputs have the same exponents, if the activation is odd.

    References
    ----------
    Aoyagi, M. (2009). Log canonical threshold of Vandermonde matrix type singularities and
    generalization error of a three-layered neural network in Bayesian estimation. International
    Journal of Pure and Applied Mathematics 52, 177-204.
    """
    activation = ACTIVATIONS[model.activation]
    scalar = max(Inputs.parse(model.inputs).dimension, 1) == 1
    if not (activation.powers and scalar and (model.depth == 1 or activation.odd)):
        return None
    bounds, spent = [], 0
    for count, power in enumerate(activation.powers):
        if power > 0:
            bounds.append(Fraction(count, 2) + Fraction(model.width - spent, 2 * power))
        spent += power
        if spent > model.width:
            break
    return min(bounds)


def laws(betas: Sequence[float], values: Sequence[float] | Array) -> dict[str, float]:
    """Fit forms of growth to a curve; give the largest relative misfit of each, best first.

    The forms are ``(a + b log beta)^p`` with p = 1, 2 and 3, and ``a beta^b``, each by least
    squares of what makes it a straight line.

    References
    ----------
    Draper, N. R. and Smith, H. (1998). Applied Regression Analysis, 3rd ed., Wiley.
    """
    logs, heights = np.log(np.asarray(betas)), np.asarray(values, dtype=float)
    misfits = {}
    for name, power in (("linear", 1), ("quadratic", 2), ("cubic", 3), ("power", 0)):
        line = np.log(heights) if power == 0 else heights ** (1.0 / power)
        # So that relative errors of the values weigh the same.
        weights = np.ones_like(line) if power == 0 else 1.0 / line
        fitted = np.polynomial.Polynomial.fit(logs, line, 1, w=weights)(logs)
        curve = np.exp(fitted) if power == 0 else fitted**power
        misfits[name] = float(np.abs(curve / heights - 1.0).max())
    return dict(sorted(misfits.items(), key=lambda item: item[1]))
