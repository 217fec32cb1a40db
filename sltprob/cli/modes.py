"""`sltprob modes`: mode coefficients of random networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from sltprob.cli._app import THEORY, app
from sltprob.cli._options import AsJson, OpenPage, Seed, configure
from sltprob.cli._output import open_in_browser, print_json, print_rows, say
from sltprob.cli._scale import Out
from sltprob.command import typed
from sltprob.files import new_folder, write_csv

__all__ = ["modes"]


@app.command(rich_help_panel=THEORY)
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
    from sltprob.finding.modes import random_modes

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
    print_rows(title, headings, table)
    if inputs_rows:
        print_rows(f"mode k = {found.probe}, random inputs", inputs_headings, inputs_rows)
    say(*found.sentences())
    if folder is not None:
        say(f"written: {folder / 'modes.html'}, modes.csv")
        if open_page:
            open_in_browser(folder / "modes.html")


type _TextTable = tuple[Sequence[str], Sequence[Sequence[str]]]


def _write_modes(
    folder: Path, title: str, found: Any, modes_table: _TextTable, inputs_table: _TextTable
) -> None:
    from sltprob.finding.figures import inputs_figure, modes_figure
    from sltprob.finding.sources import SOURCES
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
        sources=SOURCES[2:3],
        command=typed(),
    )
    rows = [
        {"k": k, "mean": found.squares[:, k].mean(), "prediction": found.prediction[k]}
        | {f"network{n}": value for n, value in enumerate(found.squares[:, k])}
        for k in range(found.squares.shape[1])
    ]
    write_csv(rows, folder / "modes.csv")
