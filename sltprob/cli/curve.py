"""`sltprob curve`: lambda-hat across scales, beside theory and stored runs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sltprob.cli._app import THEORY, app
from sltprob.cli._options import AsJson, DataOption, ModelArgument, OpenPage, Tolerance, configure
from sltprob.cli._output import open_in_browser, print_json, print_rows, say
from sltprob.cli._scale import (
    BetaRange,
    Out,
    read_range,
    stored,
    tell,
)
from sltprob.files import new_folder

__all__ = ["curve"]

# Columns that a terminal has room for; the page and the CSV have all of them.
_PRINTED = (0, 1, 2, 3, 4, 5, 6, 7, 9)


@app.command(rich_help_panel=THEORY)
def curve(
    model: ModelArgument = "tanh_zero",
    betas: BetaRange = "1:1e12",
    data: DataOption = None,
    runs: Annotated[
        Path | None, typer.Option(help="stored runs, a file or a folder of them")
    ] = None,
    tolerance: Tolerance = 0.01,
    out: Out = None,
    open_page: OpenPage = False,
    as_json: AsJson = False,
) -> None:
    """Compute lambda-hat over many scales, beside what theory says."""
    values = read_range(betas)
    configure("float64")
    from sltprob.finding.curve import curve

    folder = None if out is None else new_folder(out)
    found = curve(model, values, data=data, tolerance=tolerance, progress=tell)
    if folder is not None:
        found.write(folder, () if runs is None else stored(runs, found.name))
    if as_json:
        print_json([asdict(row) for row in found.rows])
    else:
        headings = [found.headings[column] for column in _PRINTED]
        table = [[row[column] for column in _PRINTED] for row in found.table()]
        print_rows(found.name, headings, table)
        say(
            "+ 1/h: NNGP with its first correction; bound: rigorous mode bound; "
            "count: ¼(log β/π)², the crude one; F in nats"
        )
        say(*found.sentences())
        if folder is not None:
            say(f"written: {folder / 'curve.html'}, curve.svg, curve.csv")
    if open_page and folder is not None:
        open_in_browser(folder / "curve.html")
