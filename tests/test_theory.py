"""Learning coefficients: published values, identities between formulas, and refusals."""

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sltprob.theory import learning_coefficients as theory

REDUCED_RANK = [  # input, hidden, output, rank, λ, m
    (5, 3, 5, 3, "21/2", 1),
    (5, 4, 5, 2, "21/2", 1),
    (6, 4, 6, 3, "15", 2),
    (6, 6, 6, 3, "17", 2),
    (4, 3, 8, 1, "17/2", 1),
    (8, 3, 4, 1, "17/2", 1),
    (3, 8, 4, 1, "6", 1),
    (10, 5, 10, 2, "29", 2),
    (10, 10, 10, 3, "44", 2),
]
DEEP_LINEAR = [
    ([2, 2, 2, 2], 0, "3/2", 3),
    ([10, 10, 10, 10], 4, "44", 1),
    ([455, 395, 125, 350, 277, 261, 297], 28, "41093/2", 3),
    ([3, 5, 7, 2], 1, "3", 1),
    ([3, 2, 2, 3], 0, "2", 3),
    ([3, 3, 3], 1, "4", 1),
    ([2, 2, 2, 2], 1, "2", 3),
    ([2, 3, 2], 2, "2", 1),
    ([4, 2, 4], 1, "5", 2),
    ([3, 3, 3, 3], 0, "3", 1),
    ([1, 2, 2], 0, "1", 2),
    ([1, 2, 3, 2], 0, "1", 2),
    ([1, 2, 2, 2], 0, "1", 3),
    ([1, 1, 1, 1, 1], 0, "1/2", 4),
]
TANH_ZERO = [
    (1, "1/2", 2),
    (2, "2/3", 1),
    (3, "5/6", 1),
    (4, "1", 2),
    (5, "11/10", 1),
    (6, "6/5", 1),
    (8, "7/5", 1),
    (10, "11/7", 1),
    (15, "27/14", 1),
    (16, "2", 2),
    (17, "37/18", 1),
    (32, "31/11", 1),
    (100, "5", 2),
    (128, "130/23", 1),
    (256, "8", 2),
]
MONOMIAL = [
    ([1, 1], [0, 0], "1/2", 2),
    ([3, 1], [1, 1], "1/3", 1),
    ([4, 1], [6, 3], "7/8", 1),
    ([2, 2, 2], [1, 1, 0], "1/4", 1),
]

sizes = st.integers(1, 12)


@st.composite
def networks(draw):
    """Draw widths and a rank that fits."""
    depth = draw(st.integers(1, 6))
    widths = draw(st.lists(sizes, min_size=depth + 1, max_size=depth + 1))
    return widths, draw(st.integers(0, min(widths)))


def check(found, value, multiplicity):
    assert found.value == Fraction(value)
    assert isinstance(found.value, Fraction)
    assert found.multiplicity == multiplicity


@pytest.mark.parametrize(("m", "h", "n", "rank", "value", "multiplicity"), REDUCED_RANK)
def test_reduced_rank_table(m, h, n, rank, value, multiplicity):
    check(theory.reduced_rank(input=m, hidden=h, output=n, rank=rank), value, multiplicity)


@pytest.mark.parametrize(("widths", "rank", "value", "multiplicity"), DEEP_LINEAR)
def test_deep_linear_table(widths, rank, value, multiplicity):
    check(theory.deep_linear(widths=widths, rank=rank), value, multiplicity)


@pytest.mark.parametrize(("width", "value", "multiplicity"), TANH_ZERO)
def test_tanh_table(width, value, multiplicity):
    check(theory.vandermonde_tanh(width=width), value, multiplicity)


@pytest.mark.parametrize(("powers", "prior_powers", "value", "multiplicity"), MONOMIAL)
def test_monomial_table(powers, prior_powers, value, multiplicity):
    check(theory.monomial(powers=powers, prior_powers=prior_powers), value, multiplicity)


@pytest.mark.parametrize(
    ("width", "spacing", "value", "multiplicity"),
    [(1, 1, "1/2", 2), (6, 1, "3/2", 2), (4, 2, "1", 2)],
)
def test_vandermonde_table(width, spacing, value, multiplicity):
    check(theory.vandermonde(width=width, spacing=spacing), value, multiplicity)


@pytest.mark.parametrize(("k", "r", "value"), [(1, 1, "1/2"), (3, 1, "1"), (3, 2, "7/4")])
def test_gaussian_mixture_table(k, r, value):
    check(theory.gaussian_mixture(components=k, true_components=r), value, 1)


@pytest.mark.parametrize(
    ("width", "exponents", "dimension", "value"),
    [
        (5, [1, 3, 5, 7, 9], 1, "11/10"),
        (5, [1, 1, 3, 3, 5], 2, "11/5"),
        (4, [1, 1, 3, 3], 2, "2"),  # tanh on the circle
        (1, [1, 2, 4], 1, "1/2"),  # silu, h = 1 to 4
        (2, [1, 2, 4], 1, "3/4"),
        (3, [1, 2, 4, 6], 1, "1"),
        (4, [1, 2, 4, 6], 1, "9/8"),
    ],
)
def test_scaling_bound_table(width, exponents, dimension, value):
    found = theory.scaling_upper_bound(width=width, exponents=exponents, input_dimension=dimension)
    check(found, value, None)
    assert found.status == "upper bound"


def reduced_rank_minimum(m, h, n, r):
    """Minimise over the number k of singular values of A that are left beside the truth's.

    Integrating B out gives Z = E det(I + β A Aᵀ)^(-N/2); k singular values of A are of order 1,
    the others of order 1/√β.
    """
    p = min(m, h) - r
    values = [Fraction(k * (k + abs(m - h)) + (n - r) * (p - k), 2) for k in range(p + 1)]
    value = min(values) + Fraction(r * (m + n - r), 2)
    return theory.LearningCoefficient(value, values.count(min(values)), "minimum over k")


@given(sizes, sizes, sizes, st.data())
def test_reduced_rank_identities(m, h, n, data):
    rank = data.draw(st.integers(0, min(m, h, n)))
    four_cases = theory.reduced_rank(input=m, hidden=h, output=n, rank=rank)
    for other in (
        reduced_rank_minimum(m, h, n, rank),
        theory.reduced_rank(input=n, hidden=h, output=m, rank=rank),
        theory.deep_linear(widths=[m, h, n], rank=rank),
    ):
        assert (other.value, other.multiplicity) == (four_cases.value, four_cases.multiplicity)
    assert four_cases.value <= Fraction(h * (m + n), 2)


@given(networks())
def test_deep_linear_identities(network):
    widths, rank = network
    found = theory.deep_linear(widths=widths, rank=rank)
    turned = theory.deep_linear(widths=widths[::-1], rank=rank)
    assert (turned.value, turned.multiplicity) == (found.value, found.multiplicity)
    parameters = sum(a * b for a, b in pairwise(widths))
    # No larger than the dimension, no larger than the regular value of the function space.
    assert 0 < found.value <= Fraction(min(parameters, widths[0] * widths[-1]), 2)
    assert 1 <= found.multiplicity <= len(widths)
    # A layer that is wider than the input and the output together changes nothing.
    wide = [widths[0], sum(widths), *widths[1:]]
    assert theory.deep_linear(widths=wide, rank=rank).value == found.value


@given(networks(), st.data())
def test_inner_widths_commute_at_rank_zero(network, data):
    # λ at rank 0 does not depend on the order of the widths at all.
    widths, _ = network
    shuffled = data.draw(st.permutations(widths))
    found = theory.deep_linear(widths=widths, rank=0)
    other = theory.deep_linear(widths=shuffled, rank=0)
    assert (found.value, found.multiplicity) == (other.value, other.multiplicity)


@given(st.integers(1, 400))
def test_tanh_is_vandermonde_and_the_scaling_bound(width):
    found = theory.vandermonde_tanh(width=width)
    other = theory.vandermonde(width=width, spacing=2)
    bound = theory.scaling_upper_bound(width=width, exponents=range(1, 2 * width, 2))
    assert (found.value, found.multiplicity) == (other.value, other.multiplicity)
    assert bound.value == found.value
    assert found.value <= width  # d = 2h


@given(st.lists(st.integers(0, 6), min_size=1, max_size=5).filter(any))
def test_monomial_bounds(powers):
    found = theory.monomial(powers=powers)
    assert found.value == Fraction(1, 2 * max(powers))
    assert found.multiplicity == powers.count(max(powers))
    assert found.value <= Fraction(len(powers), 2)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_even_powers_of_squares_are_regular(powers):
    found = theory.even_powers(powers=powers)
    assert found.value == sum(Fraction(1, p) for p in powers)
    squares = theory.even_powers(powers=[2] * len(powers))
    assert squares.value == theory.regular(dimension=len(powers)).value


def test_text():
    assert str(theory.vandermonde_tanh(width=128)) == "λ = 130/23, m = 1"
    bound = theory.scaling_upper_bound(width=1, exponents=[1])
    assert str(bound) == "λ <= 1/2, m unknown"


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("regular", {"dimension": 0}, "dimension=0: it must be a whole number >= 1"),
        ("regular", {"dimension": 2.5}, r"dimension=2\.5: it must be a whole number"),
        ("monomial", {"powers": [0, 0]}, "one of them must be > 0"),
        ("monomial", {"powers": []}, "one of them must be > 0"),
        ("monomial", {"powers": [1], "prior_powers": [0, 0]}, "1 powers and 2 prior_powers"),
        ("even_powers", {"powers": []}, "one for each coordinate"),
        ("even_powers", {"powers": [2, 0]}, "powers=0: it must be a whole number >= 1"),
        (
            "reduced_rank",
            {"input": 3, "hidden": 2, "output": 4, "rank": 3},
            "rank=3: a product through widths 3, 2, 4 has rank <= 2",
        ),
        ("deep_linear", {"widths": [4], "rank": 0}, "give the input, the hidden and the output"),
        ("deep_linear", {"widths": [4, 4], "rank": -1}, "rank=-1: it must be a whole number >= 0"),
        ("vandermonde_tanh", {"width": True}, "width=True: it must be a whole number"),
        (
            "gaussian_mixture",
            {"components": 2, "true_components": 3},
            "true_components=3: the model has only 2 components",
        ),
        ("scaling_upper_bound", {"width": 2, "exponents": []}, "give the degrees of the modes"),
    ],
)
def test_refusals(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        theory.FORMULAS[name](**arguments)
