"""`sltprob curve`, `modes`, `ansatz`, `effective`: lambda-hat at realistic scale."""

from __future__ import annotations

import csv
import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from sltprob.cli._app import app
from sltprob.cli._files import new_folder, open_in_browser
from sltprob.cli._options import (
    AsJson,
    ModelArgument,
    OpenPage,
    Seed,
    Tolerance,
    configure,
    read_betas,
)
from sltprob.cli._output import number, print_json

if TYPE_CHECKING:
    from sltprob.exact import Exact
    from sltprob.models import Model
    from sltprob.theory.ansatz import AnsatzFit
    from sltprob.theory.free_energy import PolynomialFit
    from sltprob.theory.scale import ScaleRow

__all__ = ["ansatz", "curve", "effective", "modes"]

BetaRange = Annotated[
    str, typer.Option(help="range from:to[:per decade], such as 1:1e12, or comma-separated")
]
Runs = Annotated[Path | None, typer.Option(help="stored runs, a file or a folder of them")]
Out = Annotated[Path | None, typer.Option(help="new or empty folder for the page and the CSV")]

_SOURCES = (
    "Watanabe, S. (2009). Algebraic Geometry and Statistical Learning Theory. Cambridge.",
    "Aoyagi, M. (2009). Log canonical threshold of Vandermonde matrix type singularities and "
    "generalization error of a three-layered neural network in Bayesian estimation. International "
    "Journal of Pure and Applied Mathematics 52, 177-204.",
    "Hille, E. (1940). Contributions to the theory of Hermitian series II. Transactions of the "
    "AMS 47, 80-94.",
    "Neal, R. M. (1996). Bayesian Learning for Neural Networks. Springer.",
    "Lartillot, N. and Philippe, H. (2006). Computing Bayes factors using thermodynamic "
    "integration. Systematic Biology 55, 195-207.",
)


def _read_range(text: str) -> list[float]:
    """Read ``1:1e12``, ``1:1e12:4`` or a list of inverse temperatures; by increasing value."""
    from sltprob.study.scale import geometric

    if ":" not in text:
        return sorted(read_betas(text))
    parts = text.split(":")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if len(numbers) not in (2, 3):
        raise ValueError(f"--betas {text}: write from:to or from:to:per-decade, such as 1:1e12:2")
    return geometric(*numbers)


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
    values = _read_range(betas)
    if not 0 < tolerance < 1:
        raise ValueError(f"--tolerance {tolerance:g}: it must lie between 0 and 1, such as 0.01")
    configure("float64")
    from sltprob import models
    from sltprob.study.scale import scale_rows
    from sltprob.theory.ansatz import fit_forms
    from sltprob.theory.free_energy import polynomial_fits

    chosen = models.get(model)
    folder = None if out is None else new_folder(out)
    exacts = _exact_values(chosen, values, tolerance)
    rows = scale_rows(chosen, exacts)
    measured = [value for value in exacts if value.mcse > 0]
    fits: Sequence[AnsatzFit] = ()
    powers: Sequence[PolynomialFit] = ()
    if len(measured) >= 5:
        fits = fit_forms(*_columns(measured))
        # All points alike: at errors this small no low polynomial fits, and how far off counts.
        energies = [value.free_energy for value in exacts]
        powers = polynomial_fits(values, energies, np.zeros(len(energies)))
    if folder is not None:
        _write_rows([asdict(row) for row in rows], folder / "curve.csv")
        _write_curve_page(folder / "curve.html", chosen, rows, exacts, runs, fits, powers)
    if as_json:
        print_json([asdict(row) for row in rows])
    else:
        _print_curve(rows, models.specification(chosen))
        for sentence in _findings(rows, fits, powers):
            Console().print(sentence, soft_wrap=True, highlight=False, markup=False)
        if folder is not None:
            Console().print(
                f"written: {folder / 'curve.html'}, curve.svg, curve.csv", soft_wrap=True
            )
    if open_page and folder is not None:
        open_in_browser(folder / "curve.html")


def _columns(values: Sequence[Exact]) -> tuple[list[float], list[float], list[float]]:
    return (
        [value.beta for value in values],
        [value.lambda_hat for value in values],
        [value.mcse for value in values],
    )


def _exact_values(model: Model, betas: Sequence[float], tolerance: float) -> list[Exact]:
    from sltprob.study.scale import exact_values

    console = Console(stderr=True)

    def tell(value: Exact) -> None:
        text = f"β = {value.beta:.3g}: λ̂ = {value.lambda_hat:.5g} ({value.method})"
        console.print(text, style="dim", highlight=False, markup=False, soft_wrap=True)

    return exact_values(model, betas, tolerance=tolerance, progress=tell)


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
    _print_rows(title, headings, [[row[column] for column in _PRINTED] for row in cells])
    Console().print(
        "bound: rigorous mode bound; count: ¼(log β/π)², the crude one; F in nats",
        style="dim",
        soft_wrap=True,
    )


def _print_rows(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    import rich.box

    table = Table(title=title, title_justify="left", box=rich.box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _findings(
    rows: Sequence[ScaleRow], fits: Sequence[AnsatzFit], powers: Sequence[PolynomialFit]
) -> list[str]:
    """Say in words what the rows hold."""
    from sltprob.report.numbers import inverse_temperature
    from sltprob.theory.ansatz import FORMS

    last = rows[-1]
    found = [f"At β = {inverse_temperature(last.beta)}, λ̂ = {last.lambda_hat:.4g}."]
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


def _write_rows(rows: Sequence[dict[str, Any]], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


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
    from sltprob.report.judged import judge
    from sltprob.report.question import curve_page_figures
    from sltprob.report.question_paper import write_curve_svg
    from sltprob.report.sheet import SheetTable, write_sheet

    name = models.specification(model)
    stored = [] if runs is None else _stored(runs, name)
    judged = judge(stored, {name: exacts}) if stored else []
    write_curve_svg(rows, path.with_suffix(".svg"), judged=judged)
    write_sheet(
        path,
        title=f"{name}: λ̂ across scales",
        sentences=_findings(rows, fits, powers),
        figures=curve_page_figures(rows, exacts, judged, fits),
        tables=[SheetTable("All numbers", _CURVE_HEADINGS, [_curve_cells(row) for row in rows])],
        sources=_SOURCES,
        command=shlex.join(["sltprob", *sys.argv[1:]]),
    )


def _stored(path: Path, model: str | None) -> list[Any]:
    """Load stored runs, those of one model only if it is given."""
    from sltprob import draws as schema

    files = sorted(path.rglob("*.nc")) if path.is_dir() else [path]
    found = [schema.load(file) for file in files]
    kept = [run for run in found if model is None or str(run.attrs["model"]) == model]
    if not kept:
        seen = ", ".join(sorted({str(run.attrs["model"]) for run in found})) or "no run"
        raise ValueError(f"--runs {path}: it holds {seen}, nothing of {model}")
    return kept


@app.command()
def modes(
    width: Annotated[int, typer.Option(help="hidden units of each network")] = 128,
    embedding_prior: Annotated[str, typer.Option(help="uniform[bound] or normal[sd]")] = (
        "uniform[1]"
    ),
    activation: Annotated[str, typer.Option(help="tanh, erf, sin, relu, softplus or gelu")] = (
        "tanh"
    ),
    inputs: Annotated[str, typer.Option(help="gaussian (Hermite) or circle (Fourier)")] = (
        "gaussian"
    ),
    networks: Annotated[int, typer.Option(help="number of random networks")] = 40,
    order: Annotated[int, typer.Option(help="largest mode k")] = 250,
    first: Annotated[int, typer.Option(help="first mode of the fitted range")] = 21,
    last: Annotated[int, typer.Option(help="last mode of the fitted range")] = 199,
    seed: Seed = 0,
    out: Out = None,
    open_page: OpenPage = False,
    as_json: AsJson = False,
) -> None:
    """Show the mode coefficients of random networks against the predicted decay."""
    configure("float64")
    from sltprob.study.modes import random_modes

    found = random_modes(
        width=width,
        embedding_prior=embedding_prior,
        activation=activation,
        inputs=inputs,
        networks=networks,
        order=order,
        first=first,
        last=last,
        seed=seed,
    )
    folder = None if out is None else new_folder(out)
    headings = ("k", "mean c²", "log mean c²", "random inputs for this, predicted")
    mean = found.squares.mean(axis=0)
    chosen = [k for k in (0, 1, 2, 3, 4, 5, 11, 21, 51, 101, 151, 201, 249) if k <= order]
    table = [
        [
            str(k),
            f"{mean[k]:.4g}",
            f"{math.log(mean[k]):.2f}" if mean[k] > 0 else "vanishes",
            f"{found.mean_square / mean[k]:.2g}" if mean[k] > 0 else "–",
        ]
        for k in chosen
    ]
    inputs_headings = ("N random inputs", "squared error, measured", "predicted Var/N")
    inputs_rows = [[f"{n}", f"{m:.3g}", f"{p:.3g}"] for n, m, p in found.random_inputs]
    title = f"{found.name}: {networks} networks"
    if folder is not None:
        _write_modes(folder, title, found, (headings, table), (inputs_headings, inputs_rows))
    if as_json:
        print_json(found.as_json())
        return
    _print_rows(title, headings, table)
    if inputs_rows:
        _print_rows(f"mode k = {found.probe}, random inputs", inputs_headings, inputs_rows)
    for sentence in found.sentences():
        Console().print(sentence, soft_wrap=True, highlight=False, markup=False)
    if folder is not None:
        Console().print(f"written: {folder / 'modes.html'}, modes.csv", soft_wrap=True)
        if open_page:
            open_in_browser(folder / "modes.html")


type _TextTable = tuple[Sequence[str], Sequence[Sequence[str]]]


def _write_modes(
    folder: Path, title: str, found: Any, modes_table: _TextTable, inputs_table: _TextTable
) -> None:
    from sltprob.report.question import inputs_figure, modes_figure
    from sltprob.report.sheet import SheetTable, write_sheet

    figures = [
        modes_figure(
            found.squares,
            found.prediction,
            prediction_name=found.prediction_name,
            root=found.root,
        )
    ]
    tables = [SheetTable("Modes", *modes_table)]
    if found.random_inputs:
        figures.append(inputs_figure(*map(list, zip(*found.random_inputs, strict=True))))
        tables.append(SheetTable(f"Random inputs, mode k = {found.probe}", *inputs_table))
    write_sheet(
        folder / "modes.html",
        title=title,
        sentences=found.sentences(),
        figures=figures,
        tables=tables,
        sources=_SOURCES[2:3],
        command=shlex.join(["sltprob", *sys.argv[1:]]),
    )
    rows = [
        {"k": k, "mean": found.squares[:, k].mean(), "prediction": found.prediction[k]}
        | {f"network{n}": value for n, value in enumerate(found.squares[:, k])}
        for k in range(found.squares.shape[1])
    ]
    _write_rows(rows, folder / "modes.csv")


@app.command()
def ansatz(
    model: ModelArgument = "tanh_zero",
    betas: BetaRange = "1e2:1e12",
    runs: Annotated[
        Path | None, typer.Option(help="stored runs instead of exact values, file or folder")
    ] = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Compare forms of lambda-hat against log beta by PSIS-LOO, and extrapolate them."""
    configure("float64")
    from sltprob import models
    from sltprob.study.ansatz import compare_forms

    chosen = models.get(model)
    if runs is not None:
        columns = _trusted_columns(runs, models.specification(chosen))
    else:
        columns = _columns(_exact_values(chosen, _read_range(betas), 0.01))
    width = getattr(chosen, "width", None)
    found = compare_forms(*columns, level=None if width is None else width / 2, seed=seed)
    if as_json:
        print_json(found.as_json())
        return
    _print_rows(f"{len(columns[0])} values of λ̂", found.headings, found.table())
    for sentence in found.sentences():
        Console().print(sentence, soft_wrap=True, highlight=False, markup=False)


def _trusted_columns(path: Path, model: str) -> tuple[list[float], list[float], list[float]]:
    """Give the measurements of stored runs whose verdict trusts them."""
    from sltprob.study.cell import summarise

    cells = [summarise(run) for run in _stored(path, model)]
    kept = [
        cell
        for cell in cells
        if cell["verdict"] == "trusted" and cell["lambda_hat"] is not None and cell["mcse"]
    ]
    if len(kept) < 5:
        raise ValueError(
            f"--runs {path}: {len(kept)} of {len(cells)} runs of {model} are trusted, and telling "
            "forms apart takes 5 or more at different betas"
        )
    kept.sort(key=lambda cell: cell["beta"])
    return tuple([cell[key] for cell in kept] for key in ("beta", "lambda_hat", "mcse"))  # type: ignore[return-value]


@app.command()
def effective(
    betas: Annotated[str, typer.Option(help="comma-separated")] = "1e2,1e4,1e8",
    modes: Annotated[
        str, typer.Option(help="largest modes that the loss sees, comma-separated")
    ] = ("1,3,5,7,9,11,15"),
    width: Annotated[int, typer.Option(help="hidden units")] = 128,
    embedding_prior: Annotated[str, typer.Option(help="uniform[bound] or normal[sd]")] = (
        "uniform[1]"
    ),
    as_json: AsJson = False,
) -> None:
    """Truncate the loss of the tanh network to its first Hermite modes."""
    configure("float64")
    from sltprob.models import get
    from sltprob.study.effective import truncation_table

    try:
        cuts = [int(part) for part in modes.split(",")]
    except ValueError:
        raise ValueError(f"--modes {modes}: whole numbers, such as 1,3,5,7") from None
    whole = get(f"tanh_zero[width={width},embedding_prior={embedding_prior}]")
    rows, document = [], []
    for beta in read_betas(betas):
        values = truncation_table(beta, cuts, width=width, embedding_prior=embedding_prior)
        full = _exact_values(whole, [beta], 0.02)[0]
        rows.append([f"{beta:g}", *(f"{value.lambda_hat:.4g}" for value in [*values, full])])
        for cut, value in [*zip(cuts, values, strict=True), (None, full)]:
            document.append({"modes": cut, **asdict(value)})
    if as_json:
        print_json(document)
        return
    _print_rows(
        f"λ̂ of the loss that sees the modes up to K; h={width}, w ~ {embedding_prior}",
        ["β", *(f"K={cut}" for cut in cuts), "all"],
        rows,
    )
