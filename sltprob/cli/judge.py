"""`sltprob diagnose` and `sltprob report`: what needs only stored runs, and no JAX."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sltprob.cli._app import JUDGE, app
from sltprob.cli._options import AsJson, OpenPage, Strict, exit_unless_trusted
from sltprob.cli._output import (
    open_in_browser,
    print_json,
    print_table,
    print_trace,
    print_verdict,
    say,
)
from sltprob.command import typed
from sltprob.files import new_file

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["diagnose_", "report"]

MinimumLoss = Annotated[
    float | None, typer.Option(help="L*, the mean loss at the optimum, where the file lacks it")
]


@app.command("diagnose", rich_help_panel=JUDGE)
def diagnose_(
    path: Annotated[
        Path, typer.Argument(metavar="RUN", help="RUN.nc, ours or of PyMC, NumPyro or CmdStan")
    ],
    minimum_loss: MinimumLoss = None,
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Judge a stored run; needs no JAX."""
    from sltprob.cell import summarise
    from sltprob.diagnostics import diagnose

    with _opened(path, minimum_loss) as stored:
        verdict = diagnose(stored)
        cell = summarise(stored, verdict)
    if as_json:
        checks = [asdict(check) for check in verdict.checks]
        print_json({**cell, "level": verdict.level, "checks": checks})
    else:
        print_table([cell], f"{cell['model']}, β = {cell['beta']:g}")
        print_trace(stored)
        print_verdict(verdict)
        if stored.attrs.get("origin") == "ArviZ":
            say("A run of another program: the checks that need gradients do not apply.")
        if cell["lambda_hat"] is None and math.isnan(stored.attrs["minimum_loss"]):
            say(
                "L* is not known, so there is no λ̂; write --minimum-loss with the mean loss at "
                "the optimum."
            )
    exit_unless_trusted([cell], strict)


@app.command(rich_help_panel=JUDGE)
def report(
    paths: Annotated[
        list[Path], typer.Argument(metavar="RUN_OR_FOLDER...", help="RUN.nc, or folders of them")
    ],
    out: Annotated[Path, typer.Option(help="page to write")] = Path("report.html"),
    figures: Annotated[
        Path | None, typer.Option(help="folder for figures (SVG, PDF) and tables of a paper")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace what exists")] = False,
    minimum_loss: MinimumLoss = None,
    strict: Strict = False,
    open_page: OpenPage = False,
    as_json: AsJson = False,
) -> None:
    """Write one page about stored runs; needs no JAX."""
    from sltprob.cell import summarise
    from sltprob.report import write_figures, write_report

    # Before the runs are read, which may take a while.
    if out.is_dir():
        raise ValueError(f"--out {out}: it is a folder; write --out {out / 'report.html'}")
    if out.exists() and not overwrite:
        raise ValueError(f"--out {out}: the file exists; choose another name, or --overwrite")
    new_file(out, overwrite=overwrite)
    runs = [_loaded(path, minimum_loss) for path in _files(paths)]
    models = sorted({str(run.attrs["model"]) for run in runs})
    title = models[0] if len(models) == 1 else f"{len(models)} models"
    written = [] if figures is None else write_figures(runs, figures, overwrite=overwrite)
    write_report(runs, out, title=title, command=typed(), overwrite=overwrite)
    cells = [summarise(run) for run in runs]
    if as_json:
        print_json({"report": str(out), "figures": [str(path) for path in written], "cells": cells})
    else:
        many = f"{len(runs)} run{'s' * (len(runs) > 1)}"
        beside = f"; {len(written)} files in {figures}" if figures is not None else ""
        say(f"written: {out} ({many}){beside}")
    if open_page:
        open_in_browser(out)
    exit_unless_trusted(cells, strict)


def _loaded(path: Path, minimum_loss: float | None) -> xr.DataTree:
    """Load a run of ours or of another program."""
    with _opened(path, minimum_loss, everything=True) as tree:
        return tree


@contextlib.contextmanager
def _opened(
    path: Path, minimum_loss: float | None, *, everything: bool = False
) -> Iterator[xr.DataTree]:
    """Open a run of ours or of another program, with L* from the command line if given."""
    from sltprob import draws as schema
    from sltprob.devinterp_runs import from_devinterp, is_devinterp
    from sltprob.foreign import from_arviz, is_foreign

    with contextlib.ExitStack() as stack:
        if is_devinterp(path):
            tree = from_devinterp(path)
        else:
            tree = stack.enter_context(schema.opened(path, everything=everything))
        if is_foreign(tree):
            try:
                tree = from_arviz(tree, name=path.name)
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from None
        schema.check(tree, str(path))
        if minimum_loss is not None:
            _set_minimum_loss(tree, minimum_loss)
        yield tree


def _set_minimum_loss(tree: xr.DataTree, minimum_loss: float) -> None:
    if not math.isfinite(minimum_loss):
        raise ValueError(f"--minimum-loss {minimum_loss}: it must be finite, such as 0.5")
    tree.attrs |= {"minimum_loss": minimum_loss, "minimum_loss_source": "given"}
    sampled = json.loads(tree.attrs.get("as_sampled", "{}"))
    tree.attrs["as_sampled"] = json.dumps({**sampled, "minimum_loss": minimum_loss})


def _files(paths: Sequence[Path]) -> list[Path]:
    """List files, and all runs below folders."""
    from sltprob.devinterp_runs import is_devinterp

    files: list[Path] = []
    for path in paths:
        below = path.is_dir() and not is_devinterp(path)
        found = sorted(path.rglob("*.nc")) if below else [path]
        if not found:
            raise ValueError(f"{path}: no file below it ends in .nc; give a run or their folder")
        files += found
    # A file that is named twice is one run.
    return list({file.resolve(): file for file in files}.values())
