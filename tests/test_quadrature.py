"""Rules on the input space, against arbitrary precision and against an independent rule."""

import functools
import re

import mpmath
import numpy as np
import pytest

from sltprob.quadrature import Rule, gauss_hermite, gaussian_half_line, gaussian_midpoint

# Both rules in a comparison carry rounding errors of sums of some hundred terms.
ROUNDING = 4e-15


def product(rule: Rule, first: float, second: float) -> float:
    return float(np.sum(rule.weights * np.tanh(first * rule.nodes) * np.tanh(second * rule.nodes)))


@functools.cache
def exact_product(first: float, second: float) -> float:
    """E[tanh(first x) tanh(second x)] to more than double precision, in pieces."""
    with mpmath.workdps(20):

        def integrand(x: mpmath.mpf) -> mpmath.mpf:
            return mpmath.tanh(first * x) * mpmath.tanh(second * x) * mpmath.npdf(x)

        return float(2 * mpmath.quad(integrand, [0, 0.5, 1, 2, 4, 8, 16]))


def loss(rule: Rule, readout: np.ndarray, slopes: np.ndarray) -> float:
    return float(np.sum(rule.weights * (readout @ np.tanh(slopes[:, None] * rule.nodes)) ** 2))


def gram_matrix(rule: Rule, slopes: np.ndarray) -> np.ndarray:
    features = np.sqrt(rule.weights) * np.tanh(slopes[:, None] * rule.nodes)
    return features @ features.T


def fine_rule(max_slope: float) -> Rule:
    return gaussian_midpoint(0.1 / max(1.0, max_slope), int(100 * max(1.0, max_slope)))


@pytest.mark.parametrize("max_slope", [0.01, 1.0, 6.0])
def test_rule_agrees_with_arbitrary_precision(max_slope: float) -> None:
    rule = gaussian_half_line(max_slope)
    assert rule.error <= 1e-13
    for first, second in [(1.0, 1.0), (1.0, 0.7), (1e-3, 1e-3), (1e-6, 1.0)]:
        first, second = first * max_slope, second * max_slope
        size = np.sqrt(exact_product(first, first) * exact_product(second, second))
        error = abs(product(rule, first, second) - exact_product(first, second)) / size
        assert error <= rule.error + ROUNDING


@pytest.mark.parametrize("tolerance", [1e-5, 1e-9])
@pytest.mark.parametrize("max_slope", [0.3, 1.0, 4.0])
def test_error_holds_between_the_slopes_at_which_it_was_measured(
    max_slope: float, tolerance: float
) -> None:
    rule = gaussian_half_line(max_slope, tolerance)
    slopes = max_slope * np.concatenate([np.linspace(0.02, 1.0, 50), np.logspace(-9, -2, 15)])
    exact, gram = gram_matrix(fine_rule(max_slope), slopes), gram_matrix(rule, slopes)
    norms = np.sqrt(np.diagonal(exact))
    # An estimate, not a bound: the maximum may lie between two of the measured slopes.
    assert np.max(np.abs(gram - exact) / np.outer(norms, norms)) <= 1.2 * rule.error


@pytest.mark.parametrize("max_slope", [1.0, 2.0])
def test_loss_at_prior_draws_agrees_with_gauss_hermite(max_slope: float) -> None:
    midpoint, hermite = gaussian_half_line(max_slope), gauss_hermite(400)
    generator = np.random.default_rng(0)
    for _ in range(20):
        readout, slopes = generator.normal(size=128), generator.uniform(-1, 1, 128)
        expected = loss(hermite, readout, slopes)
        assert loss(midpoint, readout, slopes) == pytest.approx(expected, rel=1e-12)


def test_loss_relative_error_holds_for_tiny_slopes() -> None:
    midpoint, hermite = gaussian_half_line(1.0), gauss_hermite(200)
    generator = np.random.default_rng(0)
    for scale in (1e-3, 1e-8, 1e-100):
        readout, slopes = generator.normal(size=128), scale * generator.uniform(-1, 1, 128)
        expected = loss(hermite, readout, slopes)
        assert loss(midpoint, readout, slopes) == pytest.approx(expected, rel=1e-12)


def test_absolute_error_in_cancelling_directions_is_as_documented() -> None:
    rule, fine = gaussian_half_line(1.0, 1e-10), gaussian_midpoint(0.05, 200)
    slopes = np.random.default_rng(0).uniform(-1, 1, 64)
    features = np.sqrt(fine.weights) * np.tanh(slopes[:, None] * fine.nodes)
    directions = np.linalg.svd(features)[0].T
    norms = np.linalg.norm(features, axis=1)
    for readout in directions:
        error = abs(loss(rule, readout, slopes) - loss(fine, readout, slopes))
        assert error <= rule.error * np.sum(np.abs(readout) * norms) ** 2 + 1e-16


@pytest.mark.parametrize("rule", [gaussian_half_line(1.0), gauss_hermite(50)])
def test_rule_is_a_rule(rule: Rule) -> None:
    assert rule.nodes.shape == rule.weights.shape
    assert (np.diff(rule.nodes) > 0).all()
    assert rule.nodes[0] > 0
    assert rule.weights.sum() == pytest.approx(1.0, abs=1e-15)
    for power, moment in [(2, 1.0), (4, 3.0), (6, 15.0)]:
        assert np.sum(rule.weights * rule.nodes**power) == pytest.approx(moment, rel=1e-9)


def test_no_rule_with_fewer_nodes_would_do() -> None:
    rule = gaussian_half_line(1.0, 1e-10)
    num_nodes = len(rule.nodes) - 1
    errors = [gaussian_midpoint(spacing, num_nodes).error for spacing in np.arange(0.2, 0.5, 0.001)]
    assert min(errors) > 1e-10


def test_node_counts() -> None:
    # What the cost of everything built on these rules depends on.
    assert len(gaussian_half_line(1.0).nodes) <= 30
    assert len(gaussian_half_line(6.0).nodes) <= 160


def test_name_says_how_to_build_the_rule() -> None:
    rule = gaussian_half_line(2.0)
    match = re.fullmatch(r"midpoint\[spacing=([\d.]+),nodes=(\d+)\]", rule.name)
    assert match is not None
    again = gaussian_midpoint(float(match[1]), int(match[2]), max_slope=2.0)
    np.testing.assert_array_equal(again.nodes, rule.nodes)
    np.testing.assert_array_equal(again.weights, rule.weights)
    assert (again.name, again.error) == (rule.name, rule.error)


def test_gauss_hermite_does_not_overflow() -> None:
    rule = gauss_hermite(400)
    assert rule.name == "gauss_hermite[nodes=400]"
    assert np.isfinite(rule.weights).all()
    assert rule.error < 1e-13
    assert gauss_hermite(50).error > rule.error


@pytest.mark.parametrize("max_slope", [0.0, -1.0, float("nan"), float("inf"), 900.0, 1e6], ids=repr)
def test_impossible_slopes_are_refused(max_slope: float) -> None:
    with pytest.raises(ValueError, match=r"max_slope=.*write"):
        gaussian_half_line(max_slope)


@pytest.mark.parametrize("tolerance", [0.0, 1e-15, 0.5, float("nan")], ids=repr)
def test_impossible_tolerances_are_refused(tolerance: float) -> None:
    with pytest.raises(ValueError, match=r"tolerance=.*write tolerance=1e-13"):
        gaussian_half_line(1.0, tolerance)


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"num_nodes=0.*write num_nodes=40"):
        gauss_hermite(0)
    with pytest.raises(ValueError, match=r"num_nodes=30000"):
        gaussian_midpoint(0.1, 30_000)
    with pytest.raises(ValueError, match=r"spacing=-1.*write spacing=0.2"):
        gaussian_midpoint(-1.0, 40)
