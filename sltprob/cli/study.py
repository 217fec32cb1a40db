"""`sltprob study`: plan, run, status, retry and table."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import rich.markup
import typer
from rich.console import Console

from sltprob.cli._app import MANY, app
from sltprob.cli._options import AsJson, configure
from sltprob.cli._output import narrow_table, number, print_json, say
from sltprob.cli._stop import goes_on
from sltprob.grids.definition import StudyError
from sltprob.grids.reading import read_definition
from sltprob.printable import printable

if TYPE_CHECKING:
    import pandas as pd

    from sltprob.grids.study import Study

__all__ = ["plan", "run_or_retry", "status", "table"]

group = typer.Typer(
    help="Run a grid of models, samplers, betas and seeds that survives being killed.",
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.add_typer(group, name="study", rich_help_panel=MANY)

StudyArgument = Annotated[
    Path, typer.Argument(metavar="STUDY", help="study.toml: grids, budget, stop rule")
]
Out = Annotated[
    Path | None, typer.Option(help="folder of the results; by default named as the study")
]
Cluster = Annotated[
    str | None, typer.Option(help="local, or a Dask scheduler such as tcp://10.0.0.1:8786")
]
WorkersOption = Annotated[
    int | None, typer.Option(help="processes of --cluster local; by default one for each core")
]
Patience = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS", help="with --cluster: a cell that is silent for so long is ended"
    ),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="say nothing; the exit code tells all"),
]
AsEvents = Annotated[bool, typer.Option("--json", help="one JSON object for each event")]


@group.command()
def plan(
    study: StudyArgument,
    pilot: Annotated[
        bool, typer.Option(help="run one short cell of each kind to estimate time and disk")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Check a study as a whole; print its cells, and the time and disk that they will take."""
    made = _read(study)
    cost = made.pilot() if pilot else None
    if as_json:
        print_json(
            {
                "cells": len(made),
                "seconds": None if cost is None else cost.seconds,
                "bytes": None if cost is None else cost.bytes,
            }
        )
        return
    say(f"{len(made)} cells")
    if cost is not None:
        say(f"about {_duration(cost.seconds)} in one process")
        say(f"about {_size(cost.bytes)} on disk")


@group.command(
    "run",
    help="Run every cell that is not stored yet; killed at any moment, it goes on next time.",
)
@group.command("retry", help="Run the cells again that failed, and those that are not stored yet.")
def run_or_retry(
    context: typer.Context,
    path: StudyArgument,
    out: Out = None,
    cluster: Cluster = None,
    workers: WorkersOption = None,
    patience: Patience = None,
    quiet: Quiet = False,
    as_json: AsEvents = False,
) -> None:
    """Run cells of a study, here or on a cluster."""
    if quiet and as_json:
        raise ValueError("--quiet and --json: one says nothing, the other all; leave one out")
    if workers is not None and cluster is None:
        raise ValueError(
            f"--workers {workers} goes with --cluster local; write that too, or leave it out"
        )
    if patience is not None and cluster is None:
        raise ValueError(
            f"--patience {patience:g} goes with --cluster, as a process cannot end itself; write "
            "--cluster local too, or leave it out"
        )
    folder = _folder(path, out)
    made = _read(path)
    chosen: Any = None
    if cluster is not None:
        try:
            from sltprob.grids.cluster import DaskWorkers
        except ModuleNotFoundError as error:
            raise ValueError(
                f"--cluster needs {error.name}; pip install 'sltprob[cluster]'"
            ) from None
        chosen = DaskWorkers(cluster, processes=workers, patience=patience)
    goes_on("what is stored stays, and the same command goes on")
    with _watch(quiet, as_json) as watch:
        state = made.run(folder, workers=chosen, retry=context.info_name == "retry", watch=watch)
    if state.stored:
        made.table(folder)
    if not quiet and not as_json:
        say(f"{state.stored} of {state.cells} cells stored in {folder}")
        if state.failed:
            say(f"{state.failed} failed: see sltprob study status {path}")
    if not state.complete:
        raise typer.Exit(1)


@group.command()
def status(study: StudyArgument, out: Out = None, as_json: AsJson = False) -> None:
    """Say how far a study is; every stored file is checked against its hash."""
    folder = _folder(study, out)
    made = _read(study)
    now = made.status(folder)
    if as_json:
        print_json({**vars(now), "complete": now.complete})
        return
    say(f"{now.stored} of {now.cells} cells stored in {folder}")
    for count, what in (
        (now.failed, "failed; 'sltprob study retry' runs them again"),
        (now.partial, "begun; they go on where they stopped"),
        (now.others, "of another study or another version"),
    ):
        if count:
            say(f"{count} {what}")
    for error in now.errors:
        say(f"  {error}")
    for file in now.damaged:
        say(f"damaged: {file}; the next run moves it aside and runs the cell again")
    if now.owner is not None:
        say(f"process {now.owner['process']} on {now.owner['host']} works on it now")


@group.command()
def table(study: StudyArgument, out: Out = None, as_json: AsJson = False) -> None:
    """Write one row for each cell to table.parquet, and print them grouped over seeds."""
    folder = _folder(study, out)
    made = _read(study)
    frame = made.table(folder)
    groups = _grouped(frame)
    if as_json:
        print_json(groups)
        return
    shown = narrow_table()
    for heading in ("model", "sampler"):
        shown.add_column(heading, overflow="fold", min_width=7)
    for heading in ("β", "cells", "λ̂", "exact", "rms z", "trusted"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for row in groups:
        shown.add_row(
            rich.markup.escape(row["model"]),
            rich.markup.escape(row["sampler"]),
            f"{row['beta']:g}",
            str(row["cells"]),
            number(row["lambda_hat"]),
            number(row["exact"]),
            number(row["rms_z"], 2),
            f"{row['trusted']}/{row['cells']}",
        )
    Console().print(shown)
    say(f"written: {folder / 'table.parquet'}, {len(frame)} rows")


def _watch(quiet: bool, as_json: bool) -> Any:
    # Here, as it brings what runs cells along.
    from sltprob.cli._study_progress import JsonWatch, LineWatch, QuietWatch, StudyBars

    if as_json:
        return JsonWatch()
    if quiet:
        return QuietWatch()
    console = Console(stderr=True)
    return StudyBars(console) if console.is_terminal else LineWatch()


def _read(path: Path) -> Study:
    """Read a study; every problem is a line of its own on standard error."""
    try:
        definition = read_definition(path)
        configure(definition.dtype)
        from sltprob.grids.study import Study

        return Study(definition)
    except StudyError as error:
        for problem in error.problems:
            sys.stderr.write(f"sltprob: {printable(' '.join(problem.split()))}\n")
        raise typer.Exit(2) from None


def _folder(path: Path, out: Path | None) -> Path:
    folder = path.with_suffix("") if out is None else out
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: a file of that name exists; write --out with another folder")
    return folder


def _grouped(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Put the seeds of a cell together."""
    rows = []
    for (model, sampler, beta), part in frame.groupby(
        ["model", "sampler", "beta"], sort=False, dropna=False
    ):
        z = part["z"].dropna()
        values = {
            "lambda_hat": part["lambda_hat"].mean(),
            "exact": part["exact"].mean(),
            "rms_z": (z**2).mean() ** 0.5,
        }
        rows.append(
            {
                "model": model,
                "sampler": sampler,
                "beta": beta,
                "cells": len(part),
                **{key: None if value != value else float(value) for key, value in values.items()},
                "trusted": int((part["verdict"] == "trusted").sum()),
                "failed": int(part["error"].notna().sum()),
            }
        )
    return rows


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"


def _size(count: float) -> str:
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:.0f} bytes"
