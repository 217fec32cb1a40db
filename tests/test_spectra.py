"""Infinitely wide networks of other inputs, activations and depths; the turn and its fits."""

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import integrate, special
from scipy.integrate import simpson

from sltprob.exact import Exact
from sltprob.finding.bulk import differences, wide_difference
from sltprob.finding.germs import airy_limit, entering_unit, pearcey_limit, tied_unit
from sltprob.finding.spectra import laws, scaling_bound, wide_curve, wide_spectrum
from sltprob.finding.turn import draw_turns, find_turn, fit_line
from sltprob.models.network import Network
from sltprob.theory.kernel import nngp_kernel
from sltprob.theory.learning_coefficients import vandermonde_tanh
from sltprob.theory.wide import deep_spectrum, shallow_spectrum, wide_lambda_hat

SPREAD = 0.7


def arcsine(inner, first, second):
    """E erf(z) erf(z') of normals with these covariances (Williams 1998)."""
    return 2 / np.pi * np.arcsin(2 * inner / np.sqrt((1 + 2 * first) * (1 + 2 * second)))


def test_on_the_circle_eigenvalues_are_fourier_modes_of_the_kernel():
    """Normal weights make it a function of the angle: arcsine for erf, arc-cosine for relu."""
    count = 4096
    angles = 2 * np.pi * np.arange(count) / count
    variance = SPREAD**2
    closed = {
        "erf": arcsine(variance * np.cos(angles), variance, variance),
        "relu": variance
        / (2 * np.pi)
        * (
            np.abs(np.sin(angles))
            + (np.pi - np.minimum(angles, 2 * np.pi - angles)) * np.cos(angles)
        ),
    }
    for name, accuracy in (("erf", 1e-9), ("relu", 5e-3)):
        expected = np.sort(np.abs(np.fft.fft(closed[name]).real) / count)[::-1]
        function = special.erf if name == "erf" else lambda z: np.maximum(z, 0)
        found = shallow_spectrum(
            function,
            inputs="circle",
            dimension=2,
            family="normal",
            scale=SPREAD,
            fine=name == "relu",
        )
        np.testing.assert_allclose(found[:8], expected[:8], rtol=accuracy)
        for beta in (1e2, 1e6):
            assert wide_lambda_hat(found, beta) == pytest.approx(
                wide_lambda_hat(expected, beta), rel=max(accuracy, 1e-6)
            )


def test_two_hidden_layers_are_two_arcsines():
    x = np.linspace(-9.0, 9.0, 241)
    weights = np.exp(-0.5 * x**2)
    roots = np.sqrt(weights / weights.sum())
    variance = SPREAD**2
    kernel = arcsine(variance * np.outer(x, x), variance * x[:, None] ** 2, variance * x**2)
    covariance = variance * kernel
    diagonal = np.diagonal(covariance)
    kernel = arcsine(covariance, diagonal[:, None], diagonal)
    expected = np.linalg.eigvalsh(kernel * np.outer(roots, roots))[::-1]
    found = deep_spectrum("erf", depth=2, family="normal", scale=SPREAD)
    for beta in (1.0, 1e4, 1e7):
        assert wide_lambda_hat(found, beta) == pytest.approx(
            wide_lambda_hat(expected, beta), rel=1e-6
        )


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_traces_on_the_cube_are_mean_squares(dimension):
    generator = np.random.default_rng(0)
    squares = generator.uniform(-1, 1, (200_000, dimension)) ** 2
    norms = SPREAD**2 * squares.sum(axis=1)
    values = arcsine(norms, norms, norms)
    found = shallow_spectrum(
        special.erf, inputs="cube", dimension=dimension, family="normal", scale=SPREAD
    )
    error = values.std() / math.sqrt(len(values))
    assert abs(found.sum() - values.mean()) < 5 * error


def test_the_general_spectrum_is_that_of_the_flagship():
    for beta in (1e2, 1e8, 1e12):
        (found,) = wide_curve(Network(width=128), [beta])
        assert found == pytest.approx(nngp_kernel(128).lambda_hat(beta), rel=1e-9)
    with pytest.raises(ValueError, match=r"target=zero"):
        wide_spectrum(Network(width=4, target="unit"))
    with pytest.raises(ValueError, match=r"inputs=gaussian or depth=1"):
        wide_spectrum(Network(width=4, inputs="circle", depth=2))


def test_the_scaling_bound_is_the_theorem_for_odd_activations():
    for width in (1, 2, 5, 8, 16, 128):
        expected = vandermonde_tanh(width=width).value
        assert scaling_bound(Network(width=width)) == expected
        assert scaling_bound(Network(width=width, depth=3)) == expected
    # K = 3, exponents 1, 2, 4 and then 6: 3/2 + (8 - 7) / 12.
    assert scaling_bound(Network(width=8, activation="gelu")) == Fraction(19, 12)
    assert scaling_bound(Network(width=8, activation="gelu", depth=2)) is None
    assert scaling_bound(Network(width=8, inputs="circle")) is None
    assert scaling_bound(Network(width=8, activation="relu")) is None


def test_a_target_on_top_of_the_bulk_by_quadrature():
    """One unit: lambda-hat over a grid of (a, w), for target zero and one unit."""
    beta = 1e2
    x = np.linspace(-9, 9, 181)
    masses = np.exp(-0.5 * x**2)
    masses /= masses.sum()
    nodes, weights = np.polynomial.legendre.leggauss(120)
    w = nodes  # The prior is U(-1, 1).
    a = np.linspace(-8, 8, 1601)
    units = np.tanh(np.outer(w, x))
    square, cross = units**2 @ masses, units * np.tanh(x) @ masses
    found = {}
    for name, own, mean in (("zero", 0.0, 0.0), ("unit", np.tanh(x) ** 2 @ masses, 1.0)):
        losses = square[:, None] * a**2 - 2 * mean * cross[:, None] * a + own
        density = np.exp(-beta * losses - 0.5 * a**2) * weights[:, None]
        found[name] = float(np.sum(beta * losses * density) / np.sum(density))
    (row,) = differences([beta], Network(width=1))
    assert abs(row.value - (found["unit"] - found["zero"])) < 5 * row.mcse
    assert row.value == row.whole.lambda_hat - row.bulk.lambda_hat
    # A wide network learns the unit by its readout alone.
    (row,) = differences([1e2], Network(width=64))
    assert row.wide == pytest.approx(row.value, abs=0.01)
    with pytest.raises(ValueError, match=r"gaussian and 1"):
        wide_difference(1.0, Network(width=4, depth=2))


def test_laws_find_the_form_that_made_the_curve():
    betas = 10.0 ** np.arange(2, 10)
    logs = np.log(betas)
    curves = {"linear": 0.3 + 0.2 * logs, "quadratic": (0.3 + 0.2 * logs) ** 2}
    curves |= {"cubic": (0.3 + 0.2 * logs) ** 3, "power": 2.0 * betas**0.25}
    for name, curve in curves.items():
        found = laws(betas, curve)
        assert next(iter(found)) == name
        assert found[name] < 1e-9


def test_a_turn_is_found_with_its_error(tmp_path):
    """Eighty curves with noise of known size: z of place and height is a standard normal."""
    exponents = np.arange(7.0, 12.1, 0.5)
    truth = 2.6 - 0.05 * (exponents - 9.8) ** 2 + 0.004 * (exponents - 9.8) ** 3
    generator = np.random.default_rng(1)
    scores = []
    for _ in range(80):
        heights = truth + 0.005 * generator.standard_normal(len(truth))
        turn = find_turn([value(10.0**e, h) for e, h in zip(exponents, heights, strict=True)])
        scores.append(
            (
                (turn.log10_beta - 9.8) / turn.log10_beta_mcse,
                (turn.lambda_hat - 2.6) / turn.lambda_hat_mcse,
            )
        )
    spreads = np.std(scores, axis=0)
    # The standard deviation of 80 has an error of 8 %.
    assert np.all((spreads > 0.6) & (spreads < 1.4))
    drawn = draw_turns(tmp_path / "turn.svg", {16: [value(1e9, 2.5), value(1e10, 2.6)]}, {16: 2.0})
    assert drawn is not None
    assert drawn.read_bytes().startswith(b"<?xml")
    with pytest.raises(ValueError, match=r"must be inside"):
        find_turn([value(10.0**e, e) for e in exponents])


def value(beta, height):
    return Exact(
        beta=beta, lambda_hat=height, mcse=0.005, free_energy=0.0, free_energy_mcse=0.0, method=""
    )


def test_a_line_is_that_of_least_squares():
    x, y = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.1, 1.9, 3.2, 3.9])
    errors = np.array([0.1, 0.2, 0.1, 0.2])
    found = fit_line(x, y, errors)
    coefficients, covariance = np.polyfit(x, y, 1, w=1 / errors, cov="unscaled")
    assert (found.slope, found.intercept) == pytest.approx(tuple(coefficients))
    assert found.slope_error == pytest.approx(math.sqrt(covariance[0, 0]))
    with pytest.raises(ValueError, match=r"three or more"):
        fit_line([1, 2], [1, 2], [1, 1])


def test_units_near_a_change_of_shape_by_adaptive_quadrature():
    """The losses by integrals over x, and lambda-hat by one over w; then what they tend to."""
    density = math.sqrt(2 / math.pi)

    def tied(w, target):
        return density * adaptive(
            lambda x: (w * math.tanh(w * x) - target * x) ** 2 * math.exp(-x * x / 2), 0, 12
        )

    def entering(w, penalty):
        inner = adaptive(lambda x: (w - x) ** 2 * math.exp(-x * x / 2), 0, w)
        return density * inner + penalty * w

    for function, found, limit, beta, control, end, lowest in (
        (tied, tied_unit, pearcey_limit, 1e2, 0.1, 1.5, None),
        (entering, entering_unit, airy_limit, 1e2, 0.3 * 1e2 ** (-2 / 3), 1.3, 0.0),
    ):
        w = np.linspace(0, end, 401)
        rises = np.array([function(one, control) for one in w])
        rises = beta * (rises - (rises.min() if lowest is None else lowest))
        masses = np.exp(-rises)
        expected = simpson(masses * rises, x=w) / simpson(masses, x=w)
        assert found(beta, control) == pytest.approx(expected, rel=1e-4)
        power = 0.5 if limit is pearcey_limit else 2 / 3
        gaps = [found(b, 1.0 * b**-power) - limit(1.0) for b in (1e3, 1e5)]
        # The next orders are beta^(-1/2) and beta^(-2/3) of the leading ones.
        assert 0 < abs(gaps[1]) < 1.5 * 1e2**-power * abs(gaps[0])


def adaptive(function, low, high):
    return integrate.quad(function, low, high, epsabs=0, epsrel=1e-9)[0]
