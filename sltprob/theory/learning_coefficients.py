"""Learning coefficients in closed form, as exact rationals with their multiplicities.

The learning coefficient λ (real log canonical threshold) and its multiplicity m say how the free
energy grows: F = β L* + λ log β - (m - 1) log log β + O(1). Every function here takes keywords that
are whole numbers, raises a ValueError for one that is out of range, and returns λ and m with the
theorem that they come from, as a `LearningCoefficient`. `FORMULAS` lists the functions by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from sltprob.spec import whole

__all__ = [
    "FORMULAS",
    "LearningCoefficient",
    "deep_linear",
    "even_powers",
    "gaussian_mixture",
    "monomial",
    "reduced_rank",
    "regular",
    "scaling_upper_bound",
    "vandermonde",
    "vandermonde_tanh",
]


@dataclass(frozen=True)
class LearningCoefficient:
    """A learning coefficient with its multiplicity and its source.

    Parameters
    ----------
    value : Fraction
        λ, dimensionless.
    multiplicity : int or None
        m, the order of the pole of the zeta function at -λ; None where it is not known.
    source : str
        The theorem or derivation, with its reference.
    status : str
        How certain it is: ``"proved"``, ``"upper bound"`` or ``"literature"`` (published, not
        derived again here).
    """

    value: Fraction
    multiplicity: int | None
    source: str
    status: str = "proved"

    def __str__(self) -> str:
        """Write λ and m, as in ``λ = 130/23, m = 1``."""
        relation = "<=" if self.status == "upper bound" else "="
        multiplicity = "unknown" if self.multiplicity is None else f"= {self.multiplicity}"
        return f"λ {relation} {self.value}, m {multiplicity}"


def _whole(name: str, value: int, least: int, example: int) -> int:
    """Refuse what is not a whole number >= least."""
    return int(whole(least, example=example).read(name, value))


def _least(values: Iterable[Fraction]) -> tuple[Fraction, int]:
    """Give the smallest value and how many share it."""
    found = list(values)
    smallest = min(found)
    return smallest, found.count(smallest)


def regular(*, dimension: int) -> LearningCoefficient:
    """Give λ = d/2 of a regular model: a quadratic minimum at one point.

    Parameters
    ----------
    dimension : int
        Number d of parameters.

    References
    ----------
    .. [1] G. Schwarz, "Estimating the dimension of a model", Annals of Statistics 6 (1978).
    """
    _whole("dimension", dimension, 1, 2)
    return LearningCoefficient(Fraction(dimension, 2), 1, "Laplace's method; Schwarz 1978")


def monomial(
    *, powers: Sequence[int], prior_powers: Sequence[int] | None = None
) -> LearningCoefficient:
    """Give λ of L = Π w_j^(2 k_j) under a prior that behaves as Π |w_j|^(h_j) at the origin.

    λ = min_j (h_j + 1) / (2 k_j), and m is the number of minimisers. A coordinate with k_j = 0
    does not take part.

    Parameters
    ----------
    powers : sequence of int
        k_j >= 0, not all zero: half the powers in the loss.
    prior_powers : sequence of int, optional
        h_j >= 0, all 0 by default: a prior that is positive at the origin.

    References
    ----------
    .. [1] S. Watanabe, Algebraic Geometry and Statistical Learning Theory (Cambridge, 2009),
       theorem 4.6 (normal crossings).
    """
    powers = list(powers)
    prior_powers = [0] * len(powers) if prior_powers is None else list(prior_powers)
    if len(prior_powers) != len(powers):
        raise ValueError(
            f"there are {len(powers)} powers and {len(prior_powers)} prior_powers; give one for "
            "each coordinate, such as powers=[1, 2], prior_powers=[0, 0]"
        )
    for name, values in (("powers", powers), ("prior_powers", prior_powers)):
        for power in values:
            _whole(name, power, 0, 1)
    if not any(powers):
        raise ValueError(f"powers={powers}: one of them must be > 0, such as [1, 2]")
    value, multiplicity = _least(
        Fraction(h + 1, 2 * k) for k, h in zip(powers, prior_powers, strict=True) if k > 0
    )
    return LearningCoefficient(
        value, multiplicity, "normal crossing, min (h_j + 1) / (2 k_j); Watanabe 2009"
    )


def even_powers(*, powers: Sequence[int]) -> LearningCoefficient:
    """Give λ = Σ 1/p_j of L = Σ |w_j|^(p_j).

    Parameters
    ----------
    powers : sequence of int
        p_j >= 1.

    References
    ----------
    .. [1] V. I. Arnold, S. M. Gusein-Zade, A. N. Varchenko, Singularities of Differentiable
       Maps II (Birkhäuser, 1988), chapter 7: w_j = β^(-1/p_j) v_j takes β out of the integral.
    """
    powers = [_whole("powers", power, 1, 4) for power in powers]
    if not powers:
        raise ValueError("powers=[]: give one for each coordinate, such as [2, 4]")
    value = sum((Fraction(1, power) for power in powers), Fraction(0))
    return LearningCoefficient(value, 1, "scaling of each coordinate; Arnold et al. 1988")


def _checked_rank(rank: int, widths: Sequence[int]) -> int:
    _whole("rank", rank, 0, 1)
    if rank > min(widths):
        raise ValueError(
            f"rank={rank}: a product through widths {', '.join(map(str, widths))} has rank <= "
            f"{min(widths)}"
        )
    return rank


def reduced_rank(*, input: int, hidden: int, output: int, rank: int) -> LearningCoefficient:
    """Give λ of reduced rank regression, L = ½ ‖B A - C‖² with C of the given rank.

    A is hidden × input and B is output × hidden. λ belongs to the deepest true point, not to a
    generic one.

    Parameters
    ----------
    input, hidden, output : int
        Sizes M, H and N, at least 1.
    rank : int
        Rank r of C, at most the least of the sizes.

    References
    ----------
    .. [1] M. Aoyagi, S. Watanabe, "Stochastic complexities of reduced rank regression in
       Bayesian estimation", Neural Networks 18 (2005) 924-933, main theorem.
    """
    m = _whole("input", input, 1, 10)
    h = _whole("hidden", hidden, 1, 5)
    n = _whole("output", output, 1, 10)
    r = _checked_rank(rank, (m, h, n))
    multiplicity = 1
    if n + r <= m + h and m + r <= n + h and h + r <= m + n:
        case = "case 1"
        eighths = -((h + r) ** 2) - m**2 - n**2 + 2 * (h + r) * (m + n) + 2 * m * n
        if (m + h + n + r) % 2:
            eighths += 1
            multiplicity = 2
        value = Fraction(eighths, 8)
    elif m + h < n + r:
        case, value = "case 2", Fraction(h * m - h * r + n * r, 2)
    elif n + h < m + r:
        case, value = "case 3", Fraction(h * n - h * r + m * r, 2)
    else:
        case, value = "case 4", Fraction(m * n, 2)
    return LearningCoefficient(value, multiplicity, f"Aoyagi & Watanabe 2005, {case}")


def deep_linear(*, widths: Sequence[int], rank: int) -> LearningCoefficient:
    """Give λ of a deep linear network, L = ½ ‖W_L … W_1 - C‖² with C of the given rank.

    Parameters
    ----------
    widths : sequence of int
        Widths H_1 (input) … H_(L+1) (output), at least two of them, each at least 1.
    rank : int
        Rank r of C, at most the least width.

    References
    ----------
    .. [1] M. Aoyagi, "Consideration on the learning efficiency of multiple-layered neural
       networks with linear units", Neural Networks 172 (2024) 106132, theorem 1.
    """
    widths = [_whole("widths", width, 1, 10) for width in widths]
    if len(widths) < 2:
        raise ValueError(
            f"widths={widths}: give the input, the hidden and the output width, such as [10, 5, 10]"
        )
    r = _checked_rank(rank, widths)
    chosen = _bottleneck([width - r for width in widths])
    total, depth = sum(chosen), len(chosen) - 1
    remainder = total - (-(-total // depth) - 1) * depth
    # ½ Σ_(i<j) M_i M_j, from the square of the sum.
    pairs = Fraction(total**2 - sum(excess**2 for excess in chosen), 4)
    value = (
        Fraction(r * (widths[0] + widths[-1]) - r * r, 2)
        + Fraction(remainder * (depth - remainder), 4 * depth)
        - Fraction((depth - 1) * total**2, 4 * depth)
        + pairs
    )
    return LearningCoefficient(value, remainder * (depth - remainder) + 1, "Aoyagi 2024, theorem 1")


def _bottleneck(excess: Sequence[int]) -> list[int]:
    """Find the smallest excess widths that decide λ: the set Σ of Aoyagi's theorem."""
    ordered = sorted(excess)
    for count in range(2, len(ordered) + 1):
        chosen, rest = ordered[:count], ordered[count:]
        depth, total = count - 1, sum(chosen)
        if total < depth * chosen[-1]:
            continue
        if not rest or (chosen[-1] < rest[0] and total < depth * rest[0]):
            return chosen
    raise AssertionError(f"no admissible set among {ordered}")


def vandermonde(*, width: int, spacing: int) -> LearningCoefficient:
    """Give λ of Σ_i a_i w_i^(1 + Q n) = 0 for n = 0, 1, …: a Vandermonde matrix type singularity.

    λ = min over k >= 0 of (2 h + Q k (k + 1)) / (4 (1 + Q k)), and m counts the minimisers.
    Spacing Q = 2 is a network of odd units that learns zero.

    Parameters
    ----------
    width : int
        Number h of units, at least 1.
    spacing : int
        Q >= 1, the step between the exponents.

    References
    ----------
    .. [1] M. Aoyagi, "Log canonical threshold of Vandermonde matrix type singularities and
       generalization error of a three-layered neural network in Bayesian estimation",
       International Journal of Pure and Applied Mathematics 52 (2009) 177-204.
    """
    h = _whole("width", width, 1, 128)
    q = _whole("spacing", spacing, 1, 2)
    # The values fall up to the last k with k (1 + Q (k - 1) / 2) <= h, then rise.
    value, multiplicity = _least(
        Fraction(2 * h + q * k * (k + 1), 4 * (1 + q * k)) for k in range(math.isqrt(2 * h) + 2)
    )
    return LearningCoefficient(value, multiplicity, "Vandermonde matrix type; Aoyagi 2009")


def vandermonde_tanh(*, width: int) -> LearningCoefficient:
    """Give λ of a two-layer tanh network on scalar input that learns zero.

    λ = (h + k² + k) / (4 k + 2) with k = floor(√h), and m = 2 if h is a square, else 1.

    Parameters
    ----------
    width : int
        Number h of hidden units, at least 1.

    References
    ----------
    .. [1] M. Aoyagi, International Journal of Pure and Applied Mathematics 52 (2009) 177-204.
    """
    h = _whole("width", width, 1, 128)
    k = math.isqrt(h)
    return LearningCoefficient(
        Fraction(h + k * k + k, 4 * k + 2),
        2 if k * k == h else 1,
        "Vandermonde matrix type with zero truth; Aoyagi 2009",
    )


def gaussian_mixture(*, components: int, true_components: int) -> LearningCoefficient:
    """Give λ = (K + 3 r - 2)/4 of a one-dimensional Gaussian mixture with unit variances.

    Parameters
    ----------
    components : int
        Number K of components of the model.
    true_components : int
        Number r of components of the truth, 1 <= r <= K.

    References
    ----------
    .. [1] M. Aoyagi, "A Bayesian learning coefficient of generalization error and Vandermonde
       matrix-type singularities", Communications in Statistics 39 (2010) 2667-2687.
    """
    k = _whole("components", components, 1, 3)
    r = _whole("true_components", true_components, 1, 1)
    if r > k:
        raise ValueError(
            f"true_components={r}: the model has only {k} components; it must be <= {k}"
        )
    return LearningCoefficient(
        Fraction(k + 3 * r - 2, 4), 1, "(K + 3r - 2)/4; Aoyagi 2010", "literature"
    )


def scaling_upper_bound(
    *, width: int, exponents: Sequence[int], input_dimension: int = 1
) -> LearningCoefficient:
    """Bound λ of a two-layer network that learns zero from above, by shrinking all units together.

    Let all h embedding vectors be of size t. The function is then Σ_n b_n t^(e_n), with one
    independent combination b_n of the readout for each of the first h exponents e_n. Where
    L < t^(2E), each term with e_n < E has to be small, at the price of a factor t^(E - e_n), so
    λ <= min over E of (h D + Σ_n max(E - e_n, 0)) / (2 E), E = ∞ included, D the dimension of an
    embedding. The multiplicity stays unknown.

    Parameters
    ----------
    width : int
        Number h of hidden units.
    exponents : sequence of int
        e_n >= 1, increasing, with repeats where a degree has several independent modes; those
        beyond the first h do not matter.
    input_dimension : int
        D >= 1.

    References
    ----------
    .. [1] S. Watanabe, Algebraic Geometry and Statistical Learning Theory (Cambridge, 2009),
       section 7.1: λ from the volume of {L < ε}; the family of sets is the one above.
    """
    h = _whole("width", width, 1, 5)
    d = _whole("input_dimension", input_dimension, 1, 1)
    # One readout weight for each unit: it can cancel no more than h modes.
    exponents = sorted(_whole("exponents", exponent, 1, 1) for exponent in exponents)[:h]
    if not exponents:
        raise ValueError("exponents=[]: give the degrees of the modes, such as [1, 3, 5]")
    # Between two exponents the bound is monotone in E, so its minimum is at one of them, or at
    # infinity, where all modes are cancelled by the readout alone.
    candidates = [
        Fraction(h * d + sum(max(e - other, 0) for other in exponents), 2 * e)
        for e in sorted(set(exponents))
    ]
    candidates.append(Fraction(len(exponents), 2))
    return LearningCoefficient(
        min(candidates), None, "volume of a scaled neighbourhood", "upper bound"
    )


FORMULAS: dict[str, Callable[..., LearningCoefficient]] = {
    "deep_linear": deep_linear,
    "even_powers": even_powers,
    "gaussian_mixture": gaussian_mixture,
    "monomial": monomial,
    "reduced_rank": reduced_rank,
    "regular": regular,
    "scaling_upper_bound": scaling_upper_bound,
    "vandermonde": vandermonde,
    "vandermonde_tanh": vandermonde_tanh,
}
"""The formulas by name; their parameters are keywords of type int or sequence of int."""
