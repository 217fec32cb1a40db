"""`sltprob generalisation`: what n data teach the network, beside lambda-hat at the scale n."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from sltprob.cli._app import THEORY, app
from sltprob.cli._options import AsJson, OpenPage, Seed, configure
from sltprob.cli._output import open_in_browser, print_json, print_rows, say
from sltprob.cli._scale import EmbeddingPrior, Out, Width
from sltprob.files import new_folder

__all__ = ["generalisation"]


@app.command(rich_help_panel=THEORY)
def generalisation(
    width: Width = 128,
    embedding_prior: EmbeddingPrior = "uniform[1]",
    sizes: Annotated[str, typer.Option(help="numbers n of data, comma-separated")] = "1e2,1e3,1e4",
    datasets: Annotated[int, typer.Option(help="data sets of each size")] = 100,
    draws: Annotated[int, typer.Option(help="draws of w for each data set")] = 1000,
    seed: Seed = 0,
    out: Out = None,
    open_page: OpenPage = False,
    as_json: AsJson = False,
) -> None:
    """Compare how the tanh network generalises from n data with lambda-hat at the scale n."""
    configure("float64")
    from sltprob.finding.generalisation import generalisation as computed
    from sltprob.models.tanh_zero import TanhZero

    try:
        numbers = sorted({int(float(part)) for part in sizes.split(",")})
    except (ValueError, OverflowError):
        raise ValueError(f"--sizes {sizes}: whole numbers, such as 1e2,1e3,1e4") from None
    folder = None if out is None else new_folder(out)
    found = computed(
        TanhZero(width=width, embedding_prior=embedding_prior),
        numbers,
        num_datasets=datasets,
        num_draws=draws,
        seed=seed,
    )
    if folder is not None:
        found.write(folder)
    if as_json:
        print_json([asdict(row) for row in found.rows])
        return
    for table in found.tables():
        caption = f"{table.caption}; h={width}, w ~ {embedding_prior}, {datasets} data sets"
        print_rows(caption, table.headings, table.rows)
    say(*found.sentences())
    if folder is not None:
        say(f"written: {folder / 'generalisation.html'}, generalisation.svg, generalisation.csv")
        if open_page:
            open_in_browser(folder / "generalisation.html")
