"""Hermite and Fourier modes, the kernel and the bounds, against independent computations."""

import math

import mpmath
import numpy as np
import pytest
from scipy import special

from sltprob.collapsed import importance_sampling
from sltprob.finding.modes import random_modes
from sltprob.models.tanh_zero import TanhZero
from sltprob.theory import bounds, hermite, kernel


def by_definition(k, w, phi, step="0.05", nodes=600):
    """Sum phi(w x) he_k(x) over equally spaced nodes in 60 digits."""
    with mpmath.workdps(60):
        step = mpmath.mpf(step)
        total = mpmath.mpf(0)
        for n in range(-nodes, nodes + 1):
            x = n * step
            polynomial = mpmath.hermite(k, x / mpmath.sqrt(2)) * mpmath.mpf(2) ** (
                -mpmath.mpf(k) / 2
            )
            total += phi(w * x) * polynomial * mpmath.exp(-x * x / 2)
        return total * step / mpmath.sqrt(2 * mpmath.pi * mpmath.factorial(k))


FUNCTIONS = {
    "tanh": mpmath.tanh,
    "erf": mpmath.erf,
    "sin": mpmath.sin,
    "softplus": lambda z: mpmath.log(1 + mpmath.exp(z)),
    "gelu": lambda z: z * mpmath.ncdf(z),
}


@pytest.mark.parametrize(
    ("k", "w"), [(1, 1.0), (21, 1.0), (151, 1.0), (249, 1.0), (51, 0.3), (5, 1e-3), (101, 1.7)]
)
def test_tanh_coefficients_have_all_their_digits(k, w):
    expected = by_definition(k, mpmath.mpf(w), mpmath.tanh)
    found = hermite.coefficients([w, -w], 250)[:, k]
    # Relative, so that the square is right to far below 1e-30 where it is small.
    np.testing.assert_allclose(found, [float(expected), -float(expected)], rtol=1e-13)
    error = abs(mpmath.mpf(float(found[0])) - expected)
    assert error**2 < 1e-30
    # What a double can hold of the square, and 1e-30 where that is less.
    squares = abs(mpmath.mpf(float(found[0])) ** 2 - expected**2)
    assert squares < 1e-30 + 1e-13 * expected**2


@pytest.mark.parametrize("activation", FUNCTIONS)
def test_other_activations(activation):
    orders = (0, 1, 2, 3, 10, 11)
    found = hermite.coefficients([0.8], 12, activation)[0]
    for k in orders:
        expected = float(by_definition(k, mpmath.mpf(0.8), FUNCTIONS[activation], "0.1", 120))
        assert found[k] == pytest.approx(expected, rel=1e-10, abs=1e-15)


def test_relu_has_the_mean_square_of_half_a_parabola():
    for w in (0.7, -1.3):
        found = hermite.coefficients([w], 2000, "relu")[0]
        assert found[1] == pytest.approx(0.5 * w)
        # The algebraic tail, of order K^(-3/2), is missing.
        assert np.sum(found**2) == pytest.approx(0.5 * w * w, abs=1e-5 * w * w)


def test_parseval():
    x = 0.01 * np.arange(-1200, 1201)
    weights = np.exp(-0.5 * x**2)
    weights /= weights.sum()
    w = np.array([0.05, 0.9, 2.0])
    expected = weights @ np.tanh(w[:, None] * x).T ** 2
    np.testing.assert_allclose(
        np.sum(hermite.coefficients(w, 900) ** 2, axis=1), expected, rtol=1e-12
    )


def test_circle_coefficients():
    with mpmath.workdps(60):
        for k in (1, 7, 41):
            points = [2 * mpmath.pi * n / 400 for n in range(400)]
            mean = sum(mpmath.tanh(mpmath.cos(t)) * mpmath.cos(k * t) for t in points) / 400
            found = hermite.fourier_coefficients([1.0], 50)[0]
            assert found[k] == pytest.approx(float(mpmath.sqrt(2) * mean), rel=1e-12)
        assert not found[::2].any()


def test_published_numbers_of_random_networks():
    """Log of squared coefficients and slopes of SCIENCE.md, section 5, within the scatter of 40."""
    found = random_modes()
    mean = np.log(found.squares.mean(axis=0)[[1, 5, 11, 21, 51, 101, 151]])
    expected = [3.0, -2.2, -6.4, -11.0, -19.9, -29.8, -37.2]
    # The mean of 40 squared normals has a relative spread of sqrt(2/40) in each of two sets.
    np.testing.assert_allclose(mean, expected, atol=4.5 * math.sqrt(2 * 2 / 40))
    assert found.fit.slope == pytest.approx(-3.36, abs=5 * max(found.fit.error, 0.005))
    with np.errstate(divide="ignore"):
        single = hermite.fit_slope(np.log(hermite.coefficients([1.0], 200)[0] ** 2))
    assert single.slope == pytest.approx(-3.23, abs=0.01)
    assert not found.squares[:, ::2].any()


def test_slope_tends_to_the_predicted_one():
    with np.errstate(divide="ignore"):
        logs = np.log(hermite.coefficients([1.0], 1999)[0] ** 2)
    far = hermite.fit_slope(logs, 1501, 1999).slope
    near = hermite.fit_slope(logs, 21, 199).slope
    assert abs(far - hermite.predicted_slope()) < 0.3 * abs(near - hermite.predicted_slope())


def test_random_inputs_cost_one_over_epsilon():
    """|z| < 5: a false alarm in two million runs, were the mean of 100 squares normal."""
    found = random_modes(width=16, networks=4, order=30, last=29)
    for count, measured, predicted in found.random_inputs:
        # A squared normal has the relative spread sqrt(2).
        z = (measured / predicted - 1.0) / math.sqrt(2 / 100)
        assert abs(z) < 5 or (count < 1e4 and abs(z) < 8)


def test_kernel_reproduces_published_numbers():
    found = kernel.nngp_kernel(128)
    for beta, expected in zip(
        (1e2, 1e4, 1e6, 1e8, 1e12), (1.069, 1.615, 2.196, 2.803, 4.040), strict=True
    ):
        assert found.lambda_hat(beta) == pytest.approx(expected, abs=1.01e-3)


@pytest.mark.parametrize("beta", [1e2, 1e12, 1e18, 1e24])
def test_kernel_in_the_basis_of_modes_has_the_same_spectrum(beta):
    slopes, weights = kernel.slope_rule("uniform", 1.0, 300)
    positive = slopes > 0
    factor = (
        hermite.coefficients(slopes[positive], 700) * np.sqrt(2 * 128 * weights[positive])[:, None]
    )
    squares = kernel.spectrum_of_modes(factor)
    expected = 0.5 * np.sum(2 * beta * squares / (1 + 2 * beta * squares))
    assert kernel.nngp_kernel(128).lambda_hat(beta) == pytest.approx(expected, rel=2e-6)


def test_kernel_of_erf_is_the_arcsine():
    """The trace is h sigma^2 E_w E_x erf(w x)^2, with E_x in closed form (Williams 1998)."""
    slopes, weights = kernel.slope_rule("normal", 0.7, 400)
    inner = 2 * slopes**2
    expected = 10 * 0.25 * weights @ (2 / np.pi * np.arcsin(inner / (1 + inner)))
    found = kernel.nngp_kernel(10, "normal", 0.7, readout_scale=0.5, activation="erf")
    assert found.eigenvalues.sum() == pytest.approx(expected, rel=1e-10)


def test_the_first_term_in_one_over_width_closes_the_gap_to_the_exact_value():
    """Exact values with 40,000 draws have standard errors of 1e-4 and less.

    What is left is of the second order: at twice the width a quarter of it, give or take a third.
    """
    left = {}
    for width in (64, 128):
        model = TanhZero(width=width)
        betas = [1e2, 1e4, 1e6]
        found = importance_sampling(betas, model.problem(), num_draws=20_000)
        limit = kernel.nngp_kernel(width)
        for beta, value in zip(betas, found, strict=True):
            gap = limit.lambda_hat(beta) - value.lambda_hat
            left[width, beta] = gap + limit.width_correction(beta)
            assert abs(left[width, beta]) < 0.2 * gap
    assert 2.5 < left[64, 1e6] / left[128, 1e6] < 6.0


def test_the_width_correction_is_the_derivative_of_its_free_energy():
    """F_1 = (-3/8 t'M t + 1/4 t't + 1/8 (sum t)^2) / h, by central differences in log beta."""
    found = kernel.nngp_kernel(16)

    def free_energy(beta):
        resolved = 2 * beta * found.eigenvalues
        share = resolved / (1 + resolved)
        terms = -0.375 * share @ found.overlaps @ share + 0.25 * share @ share
        return (terms + 0.125 * share.sum() ** 2) / 16

    step = 1e-3
    difference = free_energy(1e4 * math.exp(step)) - free_energy(1e4 * math.exp(-step))
    assert found.width_correction(1e4) == pytest.approx(difference / (2 * step), rel=1e-5)


def test_free_energy_of_the_kernel_is_the_integral_of_lambda_hat():
    found = kernel.nngp_kernel(16, "normal", 1.0)
    nodes, weights = special.roots_legendre(40)
    logs = 0.5 * math.log(1e4) * (nodes + 1)
    integral = (
        0.5
        * math.log(1e4)
        * sum(
            weight * found.lambda_hat(math.exp(log))
            for log, weight in zip(logs, weights, strict=True)
        )
    )
    assert found.free_energy(1e4) - found.free_energy(1.0) == pytest.approx(integral, rel=1e-8)


def test_mode_bound_reproduces_published_numbers_and_is_a_bound():
    w = np.random.default_rng(1).uniform(-1, 1, (24, 128))
    found = bounds.mode_bound([1e2, 1e4, 1e6, 1e8, 1e12], w)
    for row, expected in zip(found, (2.34, 4.60, 7.88, 12.0, 23.3), strict=True):
        assert row.value == pytest.approx(expected, abs=0.006 * expected + 5 * row.mcse)
        assert row.lambda_hat < row.value
        assert row.effective_draws > 20
    counts = [bounds.crude_count(row.beta) for row in found]
    np.testing.assert_allclose(counts, [0.54, 2.15, 4.84, 8.6, 19.3], atol=0.05)


def test_mode_bound_holds_for_every_network():
    """Schur and Horn: for each w by itself, not only on average."""
    generator = np.random.default_rng(2)
    for _ in range(20):
        modes = hermite.coefficients(generator.normal(size=6), 201)
        squares, diagonal = kernel.spectrum_of_modes(modes), np.sum(modes**2, axis=0)
        for beta in (1.0, 1e4, 1e8):
            exact = np.sum(2 * beta * squares / (1 + 2 * beta * squares))
            assert exact <= np.sum(2 * beta * diagonal / (1 + 2 * beta * diagonal)) * (1 + 1e-12)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: hermite.coefficients([1.0], -1), "order"),
        (lambda: hermite.coefficients([math.nan], 3), "finite"),
        (lambda: hermite.coefficients([1.0], 3, "cos"), "activation"),
        (lambda: hermite.fourier_coefficients([-1.0], 3), "lengths"),
        (lambda: hermite.network_coefficients([[1.0]], [[1.0, 2.0]], 3), "shape"),
        (lambda: hermite.sampled_coefficients([1.0], [1.0, 2.0], 3), "shape"),
        (lambda: hermite.fit_slope(np.zeros(10), 21, 199), "at least 3"),
        (lambda: hermite.predicted_slope(0.0), "above 0"),
        (lambda: kernel.nngp_kernel(0), "width"),
        (lambda: kernel.nngp_kernel(4, activation="relu"), "activation"),
        (lambda: kernel.slope_rule("cauchy", 1.0), "family"),
        (lambda: kernel.input_rule(0.0), "largest_slope"),
        (lambda: kernel.nngp_kernel(4).lambda_hat(1e40), "double precision"),
        (lambda: bounds.crude_count(0.0), "beta"),
        (lambda: bounds.mode_bound([1.0], [[1.0]]), "two draws"),
        (lambda: bounds.mode_bound([1e300], [[1.0], [0.5]]), "order"),
        (lambda: random_modes(inputs="sphere"), "inputs"),
    ],
)
def test_refusals(call, word):
    with pytest.raises(ValueError, match=r".") as caught:
        call()
    assert word in str(caught.value)
