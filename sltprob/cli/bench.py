"""`sltprob bench`."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import rich.box
import rich.markup
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from sltprob.cli._app import app
from sltprob.cli._options import AsJson, Chains, Draws, Dtype, WarmupOption, configure, read_betas
from sltprob.cli._output import number, print_json
from sltprob.files import new_folder, write_text
from sltprob.league.standing import Standing
from sltprob.progress import COLOURS

if TYPE_CHECKING:
    from sltprob.league.league import LeagueProgress

__all__ = ["bench"]


@app.command()
def bench(
    models: Annotated[
        str, typer.Option(help="comma-separated, each with an exact answer")
    ] = "regular,normal_crossing[prior=normal],tanh_zero[width=4]",
    samplers: Annotated[str, typer.Option(help="comma-separated, or all")] = "all",
    betas: Annotated[str, typer.Option(help="comma-separated")] = "10,1e3",
    seeds: Annotated[int, typer.Option(help="runs of each, with seeds 0, 1, ...")] = 4,
    chains: Chains = 4,
    draws: Draws = 1000,
    warmup: WarmupOption = 500,
    out: Annotated[
        Path | None, typer.Option(help="new or empty folder for league.md, .csv and .html")
    ] = None,
    dtype: Dtype = "float64",
    as_json: AsJson = False,
) -> None:
    """Score samplers against exact values: a league table."""
    configure(dtype)
    import jax

    from sltprob.league.league import league
    from sltprob.spec import split_outside_brackets

    if seeds < 1:
        raise ValueError(f"--seeds {seeds}: there must be at least 1, such as --seeds 4")
    chosen = split_outside_brackets(models)
    kernels = [] if samplers == "all" else split_outside_brackets(samplers)
    if not chosen:
        raise ValueError(f"--models {models!r} names none; write --models regular,tanh_zero")
    if samplers != "all" and not kernels:
        raise ValueError(f"--samplers {samplers!r} names none; write --samplers hmc,sgld, or all")
    values = read_betas(betas)
    folder = None if out is None else new_folder(out)
    # What compilation costs is a column: code kept from an earlier command would hide it.
    jax.config.update("jax_enable_compilation_cache", False)
    with _progress(folder) as report:
        table = league(
            chosen,
            kernels,
            values,
            seeds=range(seeds),
            progress=report,
            chains=chains,
            draws=draws,
            warmup=warmup,
        )
    if folder is not None:
        _write(table.rows, folder)
    if as_json:
        print_json(
            {"rows": [dataclasses.asdict(row) for row in table.rows], "cells": list(table.cells)}
        )
        return
    _print(table.rows)
    if folder is not None:
        Console().print(f"written: {folder / 'league.html'}, league.md, league.csv", soft_wrap=True)


@contextmanager
def _progress(folder: Path | None) -> Iterator[Any]:
    """Show how many runs are done, and each of them as a line; keep what is known so far."""
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    task = bar.add_task("compiling")
    written = 0

    def report(progress: LeagueProgress) -> None:
        nonlocal written
        if folder is not None and len(progress.rows) > written:
            written = len(progress.rows)
            _write(progress.rows, folder)
        cell = progress.cell
        bar.update(
            task,
            description=f"{cell['model']} {cell['sampler']}",
            completed=progress.done,
            total=progress.total,
        )
        console.print(
            f"{progress.done}/{progress.total} {cell['model']} {cell['sampler']} "
            f"β={cell['beta']:g} seed {cell['seed']}: λ̂ = {number(cell['lambda_hat'])} ± "
            f"{number(cell['mcse'], 2)}, exact {number(cell['exact'])}, {cell['verdict']}",
            style=COLOURS[cell["verdict"]],
            highlight=False,
            markup=False,
            soft_wrap=True,
        )

    with bar:
        yield report


def _write(rows: Sequence[Standing], folder: Path) -> None:
    from sltprob.league.page import write_league
    from sltprob.league.text import league_csv, league_markdown

    write_text(league_markdown(rows), folder / "league.md")
    write_text(league_csv(rows), folder / "league.csv")
    write_league(rows, folder / "league.html", command=shlex.join(["sltprob", *sys.argv[1:]]))


def _print(rows: Sequence[Standing]) -> None:
    """Print one table for each model and beta, in 100 columns at least.

    A narrower terminal breaks the lines; Rich would leave out the last digits.
    """
    from sltprob.league.columns import LEAGUE_COLUMNS
    from sltprob.league.groups import grouped, league_sentences

    console = Console(width=max(Console().width, _FEWEST_COLUMNS))
    for group in grouped(rows):
        table = Table(
            title=rich.markup.escape(group.title),
            title_justify="left",
            box=rich.box.SIMPLE_HEAD,
            padding=0,
            pad_edge=False,
            show_edge=False,
        )
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
