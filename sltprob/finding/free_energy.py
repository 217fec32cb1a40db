"""The free energy by three routes: exactly, by integrating lambda-hat, and by tempering."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from sltprob.collapsed import Problem, tempered_sampling
from sltprob.exact import Exact
from sltprob.theory.free_energy import PolynomialFit, polynomial_fits, thermodynamic_integral

__all__ = ["FreeEnergies", "FreeEnergyRow", "free_energies"]

#: The descent gives log Z whatever its error of lambda-hat.
_LOOSE = 0.5
# Of another seed than the exact values, which may come from the same method.
_SEED = 1


@dataclass(frozen=True, kw_only=True)
class FreeEnergyRow:
    """F at one inverse temperature, in nats; None where a route does not serve."""

    beta: float
    exact: float
    exact_mcse: float
    # From lambda-hat by thermodynamic integration, starting at the exact value of the first beta;
    # the error is that of lambda-hat and that of the rule
    integrated: float
    # From lambda-hat by thermodynamic integration, starting at the exact value of the first beta;
    # the error is that of lambda-hat and that of the rule
    integrated_mcse: float
    tempered: float | None  # from the increments of sequential Monte Carlo
    tempered_mcse: float | None  # from the increments of sequential Monte Carlo

    @property
    def integrated_z(self) -> float:
        """Deviation of the integral from the exact value in standard errors."""
        return _z(self.integrated, self.exact, self.integrated_mcse, self.exact_mcse)

    @property
    def tempered_z(self) -> float | None:
        """Deviation of sequential Monte Carlo from the exact value in standard errors."""
        if self.tempered is None or self.tempered_mcse is None:
            return None
        return _z(self.tempered, self.exact, self.tempered_mcse, self.exact_mcse)


def _z(value: float, other: float, error: float, other_error: float) -> float:
    spread = math.hypot(error, other_error)
    return (value - other) / spread if spread > 0 else 0.0


@dataclass(frozen=True, kw_only=True)
class FreeEnergies:
    """F along a ladder, and its growth with log beta."""

    rows: tuple[FreeEnergyRow, ...]
    # Of the exact values, of degree 1, 2 and 3 in log beta; empty for fewer than five
    fits: tuple[PolynomialFit, ...]

    headings: ClassVar[tuple[str, ...]] = (
        "β",
        "F exact",
        "±",
        "∫ λ̂ dlogβ",
        "±",
        "z",
        "SMC −log Z",
        "±",
        "z",
    )

    def table(self) -> list[list[str]]:
        """Write one row for each beta."""
        return [
            [
                f"{row.beta:.3g}",
                f"{row.exact:.5g}",
                f"{row.exact_mcse:.1g}",
                f"{row.integrated:.5g}",
                f"{row.integrated_mcse:.1g}",
                f"{row.integrated_z:.1f}",
                "–" if row.tempered is None else f"{row.tempered:.5g}",
                "–" if row.tempered_mcse is None else f"{row.tempered_mcse:.1g}",
                "–" if row.tempered_z is None else f"{row.tempered_z:.1f}",
            ]
            for row in self.rows
        ]

    def sentences(self) -> list[str]:
        """Say how F grows, and whether the routes agree."""
        found = []
        for name, deviations in (
            ("Thermodynamic integration", [row.integrated_z for row in self.rows[1:]]),
            ("Sequential Monte Carlo", [row.tempered_z for row in self.rows]),
        ):
            known = [abs(value) for value in deviations if value is not None]
            if known:
                found.append(f"{name} is within {max(known):.1f} standard errors of the exact F.")
        for fit in self.fits:
            found.append(
                f"A polynomial of degree {fit.degree} in log β is off by up to "
                f"{100 * fit.largest:.2g} % of the largest F."
            )
        if len(self.fits) == 3:
            quadratic, cubic = self.fits[1:]
            span = math.log(self.rows[-1].beta / self.rows[0].beta)
            share = abs(cubic.coefficients[3]) * span**3 / max(abs(row.exact) for row in self.rows)
            found.append(
                f"The cubic term makes up {100 * share:.2g} % of the largest F, the rest is "
                f"quadratic and less; its coefficient is {cubic.coefficients[3]:.2g}, that of the "
                f"square {quadratic.coefficients[2]:.3g} without it."
            )
        return found


def free_energies(
    exacts: Sequence[Exact],
    problem: Problem | None = None,
    *,
    measured: Sequence[tuple[float, float, float]] | None = None,
) -> FreeEnergies:
    """Put thermodynamic integration and sequential Monte Carlo beside the exact free energy.

    References
    ----------
    Lartillot, N. and Philippe, H. (2006). Computing Bayes factors using thermodynamic integration.
    Systematic Biology 55, 195-207.
    Del Moral, P., Doucet, A. and Jasra, A. (2006). Sequential Monte Carlo samplers. JRSS B 68,
    411-436.
    """
    betas = [value.beta for value in exacts]
    points = measured or [(value.beta, value.lambda_hat, value.mcse) for value in exacts]
    integral = thermodynamic_integral(
        [point[0] for point in points],
        [point[1] for point in points],
        [point[2] for point in points],
        start=exacts[0].free_energy,
        start_mcse=exacts[0].free_energy_mcse,
    )
    tempered: list[Exact | None] = [None] * len(betas)
    if problem is not None:
        stages = tempered_sampling(betas, problem, tolerance=_LOOSE, seed=_SEED)
        tempered = [stage.answer for stage in stages]
    rows = tuple(
        FreeEnergyRow(
            beta=value.beta,
            exact=value.free_energy,
            exact_mcse=value.free_energy_mcse,
            integrated=float(integral.free_energies[place]),
            integrated_mcse=math.hypot(integral.mcse[place], integral.interpolation[place]),
            tempered=None if other is None else other.free_energy,
            tempered_mcse=None if other is None else other.free_energy_mcse,
        )
        for place, (value, other) in enumerate(zip(exacts, tempered, strict=True))
    )
    fits: tuple[PolynomialFit, ...] = ()
    if len(rows) >= 5:
        # All points alike: at errors this small no low polynomial fits, and how far off counts.
        fits = polynomial_fits(betas, [row.exact for row in rows], [0.0] * len(rows))
    return FreeEnergies(rows=rows, fits=fits)
