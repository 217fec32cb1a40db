"""`sltprob modes`: mode coefficients of random networks."""

from __future__ import annotations

from typing import Annotated

import typer

from sltprob.cli._app import THEORY, app
from sltprob.cli._options import AsJson, OpenPage, Seed, configure
from sltprob.cli._output import open_in_browser, print_json, print_rows, say
from sltprob.cli._scale import EmbeddingPrior, Out
from sltprob.command import typed
from sltprob.files import new_folder

__all__ = ["modes"]


@app.command(rich_help_panel=THEORY)
def modes(
    width: Annotated[int, typer.Option(help="hidden units of each network")] = 128,
    embedding_prior: EmbeddingPrior = "uniform[1]",
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
    if out is not None:
        found.write(new_folder(out), command=typed())
    if as_json:
        print_json(found.as_json())
        return
    for table in found.tables():
        print_rows(table.caption, table.headings, table.rows)
    say(*found.sentences())
    if out is not None:
        say(f"written: {out / 'modes.html'}, modes.csv")
        if open_page:
            open_in_browser(out / "modes.html")
