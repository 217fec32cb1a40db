"""`sltprob bench`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import rich.markup
import typer
from rich.console import Console

from sltprob.cli._app import MANY, app
from sltprob.cli._options import (
    AsJson,
    Chains,
    DataOption,
    Draws,
    Dtype,
    Quiet,
    WarmupOption,
    configure,
    names,
)
from sltprob.cli._output import narrow_table, print_json, say
from sltprob.cli._stop import goes_on

if TYPE_CHECKING:
    from sltprob.league.standing import Standing

__all__ = ["bench"]


@app.command(rich_help_panel=MANY)
def bench(
    models: Annotated[
        str, typer.Option(help="comma-separated, or programs of your own")
    ] = "regular,normal_crossing[prior=normal],tanh_zero[width=4]",
    samplers: Annotated[str, typer.Option(help="comma-separated, or all")] = "all",
    betas: Annotated[str, typer.Option(help="comma-separated; n, wbic")] = "10,1e3",
    data: DataOption = None,
    seeds: Annotated[int, typer.Option(help="runs of each, with seeds 0, 1, ...")] = 4,
    chains: Chains = 4,
    draws: Draws = 1000,
    warmup: WarmupOption = 500,
    out: Annotated[
        Path | None, typer.Option(help="new or empty folder for league.md, .csv and .html")
    ] = None,
    dtype: Dtype = "float64",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Score samplers against exact values: a league table."""
    configure(dtype)
    import jax

    from sltprob.league.bench import bench

    if seeds < 1:
        raise ValueError(f"--seeds {seeds}: there must be at least 1, such as --seeds 4")
    # What compilation costs is a column: code kept from an earlier command would hide it.
    jax.config.update("jax_enable_compilation_cache", False)
    if out is not None:
        goes_on(f"the models that are finished are in {out}; another --out starts anew")
    table = bench(
        names("--models", models, "regular,tanh_zero"),
        [] if samplers == "all" else names("--samplers", samplers, "hmc,sgld, or all"),
        names("--betas", betas, "10,1e3"),
        data=data,
        seeds=range(seeds),
        out=out,
        progress=not quiet,
        chains=chains,
        draws=draws,
        warmup=warmup,
    )
    if as_json:
        print_json({"rows": [asdict(row) for row in table.rows], "cells": list(table.cells)})
        return
    _print(table.rows)
    if out is not None:
        say(f"written: {out / 'league.html'}, league.md, league.csv")


def _print(rows: Sequence[Standing]) -> None:
    """Print one table for each model and beta, in 100 columns at least.

    A narrower terminal breaks the lines; Rich would leave out the last digits.
    """
    from sltprob.league.columns import LEAGUE_COLUMNS
    from sltprob.league.groups import grouped, league_sentences

    console = Console(width=max(Console().width, _FEWEST_COLUMNS))
    for group in grouped(rows):
        table = narrow_table(group.title)
        table.add_column("\nsampler", overflow="fold", min_width=9)
        columns = [column for column in LEAGUE_COLUMNS if column.heading not in _NOT_PRINTED]
        for column in columns:
            table.add_column(column.short, justify="right", no_wrap=True)
        for row in group.rows:
            texts = [column.text(row).partition(" (")[0].replace(" %", "%") for column in columns]
            style = "red" if row.false_trust else "dim" if row.reason is not None else None
            table.add_row(rich.markup.escape(row.sampler), *texts, style=style)
        console.print(table)
        for row in group.rows:
            if row.reason is not None:
                console.print(
                    f"{row.sampler} does not apply: {row.reason}", style="dim", markup=False
                )
        console.print()
    for sentence in league_sentences(rows):
        console.print(sentence, markup=False, highlight=False)


_FEWEST_COLUMNS = 100
#: Columns that are in the files only, since 100 characters hold no more.
_NOT_PRINTED = ("bias", "warm-up gradients")
