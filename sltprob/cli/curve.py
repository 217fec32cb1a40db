"""`sltprob curve`: exact lambda-hat across scales, beside theory and stored runs."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.console import Console

from sltprob.cli._app import app
from sltprob.cli._options import AsJson, ModelArgument, OpenPage, Tolerance, configure
from sltprob.cli._output import number, open_in_browser, print_json
from sltprob.cli._scale import (
    SOURCES,
    BetaRange,
    Out,
    columns,
    exact_values,
    print_rows,
    print_sentences,
    read_range,
    stored,
    write_rows,
)
from sltprob.files import new_folder

if TYPE_CHECKING:
    from sltprob.exact import Exact
    from sltprob.models import Model
    from sltprob.theory.ansatz import AnsatzFit
    from sltprob.theory.free_energy import PolynomialFit
    from sltprob.theory.scale import ScaleRow

__all__ = ["curve"]

Runs = Annotated[Path | None, typer.Option(help="stored runs, a file or a folder of them")]


@app.command()
def curve(
    model: ModelArgument = "tanh_zero",
    betas: BetaRange = "1:1e12",
    runs: Runs = None,
    tolerance: Tolerance = 0.01,
    out: Out = None,
    open_page: OpenPage = False,
    as_json: AsJson = False,
) -> None:
    """Compute lambda-hat over many scales, beside what theory says."""
    values = read_range(betas)
    if not 0 < tolerance < 1:
        raise ValueError(f"--tolerance {tolerance:g}: it must lie between 0 and 1, such as 0.01")
    configure("float64")
    from sltprob import models
    from sltprob.finding.scale import scale_rows
    from sltprob.theory.ansatz import fit_forms
    from sltprob.theory.free_energy import polynomial_fits

    chosen = models.get(model)
    folder = None if out is None else new_folder(out)
    exacts = exact_values(chosen, values, tolerance)
    rows = scale_rows(chosen, exacts)
    # The forms are those of a curve that rises: beyond its highest value there is nothing to fit.
    highest = max(range(len(exacts)), key=lambda place: exacts[place].lambda_hat)
    rising = exacts[: highest + 1]
    measured = [value for value in rising if value.mcse > 0]
    fits: Sequence[AnsatzFit] = ()
    powers: Sequence[PolynomialFit] = ()
    if len(measured) >= 5:
        fits = fit_forms(*columns(measured))
        # All points alike: at errors this small no low polynomial fits, and how far off counts.
        energies = [value.free_energy for value in rising]
        powers = polynomial_fits(
            [value.beta for value in rising], energies, np.zeros(len(energies))
        )
    if folder is not None:
        write_rows([asdict(row) for row in rows], folder / "curve.csv")
        _write_curve_page(folder / "curve.html", chosen, rows, exacts, runs, fits, powers)
    if as_json:
        print_json([asdict(row) for row in rows])
    else:
        _print_curve(rows, models.specification(chosen))
        print_sentences(_findings(rows, fits, powers))
        if folder is not None:
            Console().print(
                f"written: {folder / 'curve.html'}, curve.svg, curve.csv", soft_wrap=True
            )
    if open_page and folder is not None:
        open_in_browser(folder / "curve.html")


_CURVE_HEADINGS = ("β", "λ̂", "±", "NNGP", "bound", "count", "F", "±", "∫ λ̂ dlogβ", "±")
# Narrow enough for a terminal; the page and the CSV have all of them.
_PRINTED = (0, 1, 2, 3, 4, 5, 6, 8)


def _curve_cells(row: ScaleRow) -> list[str]:
    return [
        f"{row.beta:.3g}",
        f"{row.lambda_hat:.5g}",
        f"{row.mcse:.1g}",
        number(row.nngp),
        number(row.mode_bound, 3),
        number(row.crude_count, 3),
        f"{row.free_energy:.5g}",
        f"{row.free_energy_mcse:.1g}",
        number(row.integrated, 5),
        number(row.integrated_mcse, 1),
    ]


def _print_curve(rows: Sequence[ScaleRow], title: str) -> None:
    cells = [_curve_cells(row) for row in rows]
    headings = [_CURVE_HEADINGS[column] for column in _PRINTED]
    print_rows(title, headings, [[row[column] for column in _PRINTED] for row in cells])
    Console().print(
        "bound: rigorous mode bound; count: ¼(log β/π)², the crude one; F in nats",
        style="dim",
        soft_wrap=True,
    )


def _findings(
    rows: Sequence[ScaleRow], fits: Sequence[AnsatzFit], powers: Sequence[PolynomialFit]
) -> list[str]:
    """Say in words what the rows hold."""
    from sltprob.report.numbers import inverse_temperature
    from sltprob.theory.ansatz import FORMS

    last = rows[-1]
    found = [f"At β = {inverse_temperature(last.beta)}, λ̂ = {last.lambda_hat:.4g}."]
    highest = max(rows, key=lambda row: row.lambda_hat)
    if highest is not last:
        times = (
            ""
            if highest.learning_coefficient is None
            else f", {highest.lambda_hat / highest.learning_coefficient:.3g} times the theorem's"
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
    for fit in fits:
        found.append(
            f"λ̂ = {FORMS[fit.name].formula}, l = log β ({fit.name}): off by up to "
            f"{100 * fit.largest_residual:.2g} %; "
            + ", ".join(
                f"{name} = {value:.4g}"
                for name, value in zip(FORMS[fit.name].parameters, fit.parameters, strict=True)
            )
        )
    for power in powers:
        found.append(
            f"F as a polynomial of degree {power.degree} in log β: off by up to "
            f"{100 * power.largest:.2g} % of its largest value; coefficients "
            + ", ".join(f"{value:.4g}" for value in power.coefficients)
        )
    return found


def _write_curve_page(
    path: Path,
    model: Model,
    rows: Sequence[ScaleRow],
    exacts: Sequence[Exact],
    runs: Path | None,
    fits: Sequence[AnsatzFit],
    powers: Sequence[PolynomialFit],
) -> None:
    from sltprob import models
    from sltprob.finding.figures import curve_page_figures
    from sltprob.finding.paper import write_curve_svg
    from sltprob.report.judged import judge
    from sltprob.report.sheet import SheetTable, write_sheet

    name = models.specification(model)
    judged = [] if runs is None else judge(stored(runs, name), {name: exacts})
    write_curve_svg(rows, path.with_suffix(".svg"), judged=judged)
    write_sheet(
        path,
        title=f"{name}: λ̂ across scales",
        sentences=_findings(rows, fits, powers),
        figures=curve_page_figures(rows, exacts, judged, fits),
        tables=[SheetTable("All numbers", _CURVE_HEADINGS, [_curve_cells(row) for row in rows])],
        sources=SOURCES,
        command=shlex.join(["sltprob", *sys.argv[1:]]),
    )
