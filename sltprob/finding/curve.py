"""Lambda-hat over many scales, beside theory and stored runs: the numbers and their page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from sltprob.command import typed
from sltprob.data import Data
from sltprob.exact import Exact
from sltprob.files import write_csv
from sltprob.finding.scale import exact_values, scale_rows
from sltprob.finding.sources import SOURCES
from sltprob.models import Model
from sltprob.posterior import TemperedPosterior
from sltprob.problem import problem
from sltprob.reference import answers
from sltprob.theory.ansatz import FORMS, AnsatzFit, fit_forms
from sltprob.theory.free_energy import PolynomialFit, polynomial_fits
from sltprob.theory.scale import ScaleRow

__all__ = ["ScaleCurve", "curve"]

# Points that a form with three parameters is fitted to at least.
_FEWEST = 5


@dataclass(frozen=True)
class ScaleCurve:
    """The curve of lambda-hat over scales.

    Parameters
    ----------
    name : str
        The model.
    exacts : tuple of Exact
        Of a program of one's own, references.
    rows : tuple of ScaleRow
        The same beside theory.
    fits : tuple of AnsatzFit
        Forms of λ̂ against log β, fitted as far as it rises.
    powers : tuple of PolynomialFit
        Of the free energy in log β.
    """

    name: str
    exacts: tuple[Exact, ...]
    rows: tuple[ScaleRow, ...]
    fits: tuple[AnsatzFit, ...]
    powers: tuple[PolynomialFit, ...]

    headings: ClassVar[tuple[str, ...]] = (
        "β",
        "λ̂",
        "±",
        "NNGP",
        "+ 1/h",
        "bound",
        "count",
        "F",
        "±",
        "∫ λ̂ dlogβ",
        "±",
    )

    def table(self) -> list[list[str]]:
        """Write one row for each beta."""
        from sltprob.report.numbers import number

        def text(value: float | None, digits: int = 4) -> str:
            return "–" if value is None else number(value, digits)

        return [
            [
                f"{row.beta:.3g}",
                f"{row.lambda_hat:.5g}",
                f"{row.mcse:.1g}",
                text(row.nngp),
                text(row.wide),
                text(row.mode_bound, 3),
                text(row.crude_count, 3),
                f"{row.free_energy:.5g}",
                f"{row.free_energy_mcse:.1g}",
                text(row.integrated, 5),
                text(row.integrated_mcse, 1),
            ]
            for row in self.rows
        ]

    def sentences(self) -> list[str]:
        """Say in words what the rows hold."""
        from sltprob.report.numbers import inverse_temperature

        last = self.rows[-1]
        found = [f"At β = {inverse_temperature(last.beta)}, λ̂ = {last.lambda_hat:.4g}."]
        highest = max(self.rows, key=lambda row: row.lambda_hat)
        if highest is not last:
            limit = highest.learning_coefficient
            times = (
                "" if limit is None else f", {highest.lambda_hat / limit:.3g} times the theorem's"
            )
            found.append(
                f"The highest λ̂ is {highest.lambda_hat:.4g}{times}, at β = "
                f"{inverse_temperature(highest.beta)}; forms are fitted up to there."
            )
        if last.claimed is not None and last.learning_coefficient is not None:
            found.append(
                f"Claimed plateau h/2 = {last.claimed:g}; learning coefficient of the theorem "
                f"{last.learning_coefficient:.5g}."
            )
        for fit in self.fits:
            found.append(
                f"λ̂ = {FORMS[fit.name].formula}, l = log β ({fit.name}): off by up to "
                f"{100 * fit.largest_residual:.2g} %; "
                + ", ".join(
                    f"{name} = {value:.4g}"
                    for name, value in zip(FORMS[fit.name].parameters, fit.parameters, strict=True)
                )
            )
        for power in self.powers:
            found.append(
                f"F as a polynomial of degree {power.degree} in log β: off by up to "
                f"{100 * power.largest:.2g} % of its largest value; coefficients "
                + ", ".join(f"{value:.4g}" for value in power.coefficients)
            )
        return found

    def write(self, folder: Path, runs: Sequence[xr.DataTree] = ()) -> None:
        """Write the page, the picture and the table, with stored runs beside the curve."""
        from sltprob.finding.figures import curve_page_figures
        from sltprob.finding.paper import write_curve_svg
        from sltprob.report.judged import judge
        from sltprob.report.sheet import SheetTable, write_sheet

        write_csv([asdict(row) for row in self.rows], folder / "curve.csv")
        judged = judge(list(runs), {self.name: self.exacts}) if runs else []
        write_curve_svg(self.rows, folder / "curve.svg", judged=judged)
        write_sheet(
            folder / "curve.html",
            title=f"{self.name}: λ̂ across scales",
            sentences=self.sentences(),
            figures=curve_page_figures(self.rows, self.exacts, judged, self.fits),
            tables=[SheetTable("All numbers", self.headings, self.table())],
            sources=SOURCES,
            command=typed(),
        )


def curve(
    model: Model | TemperedPosterior | Callable[..., Any] | str = "tanh_zero",
    betas: Sequence[float | str] = (1.0, 10.0, 1e2, 1e3, 1e4),
    *,
    data: Data | Mapping[str, Any] | str | Path | None = None,
    tolerance: float = 0.01,
    progress: Callable[[Exact], None] | None = None,
) -> ScaleCurve:
    """Compute lambda-hat over many scales, beside what theory says.

    Parameters
    ----------
    model : Model, TemperedPosterior, callable or str
        A model with exact values; or a program of your own, whose curve is read from a trusted run
        of a ladder of temperatures from the prior.
    betas : sequence of float, ``"n"`` or ``"wbic"``, dimensionless
    data : Data, mapping of str to array, data frame, or path, optional
        The arguments of a program of your own.
    tolerance : float
        Relative error that is wanted of an exact value, between 0 and 1.
    progress : callable, optional
        Called with each exact value.

    Returns
    -------
    ScaleCurve

    Raises
    ------
    ValueError
        If an argument is out of range, or nothing is known about the model at any beta.

    References
    ----------
    .. [1] S. Watanabe, "A widely applicable Bayesian information criterion", JMLR 14 (2013).
    """
    if not 0 < tolerance < 1:
        raise ValueError(f"tolerance={tolerance:g}: it must lie between 0 and 1, such as 0.01")
    chosen = problem(model, data)
    values = sorted({chosen.beta(beta) for beta in betas})
    if chosen.model is not None:
        exacts = exact_values(chosen.model, values, tolerance=tolerance, progress=progress)
    else:
        exacts = [answer for answer in answers(chosen, values) if answer is not None]
        if not exacts:
            raise ValueError(
                f"no run of a ladder from the prior is trusted for {chosen.name}; see what is "
                "wrong with sltprob ladder"
            )
    rising = exacts[: 1 + max(range(len(exacts)), key=lambda place: exacts[place].lambda_hat)]
    # The forms are those of a curve that rises: beyond its highest value there is nothing to fit.
    measured = [value for value in rising if value.mcse > 0]
    fits: tuple[AnsatzFit, ...] = ()
    powers: tuple[PolynomialFit, ...] = ()
    if len(measured) >= _FEWEST:
        fits = tuple(
            fit_forms(
                [value.beta for value in measured],
                [value.lambda_hat for value in measured],
                [value.mcse for value in measured],
            )
        )
        # All points alike: at errors this small no low polynomial fits, and how far off counts.
        energies = [value.free_energy for value in rising]
        powers = tuple(
            polynomial_fits([value.beta for value in rising], energies, np.zeros(len(energies)))
        )
    rows = tuple(scale_rows(chosen.model, exacts))
    return ScaleCurve(chosen.name, tuple(exacts), rows, fits, powers)
