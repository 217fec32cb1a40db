"""How far a league is: a bar, and a line for each run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from sltprob.cell import name_of_truth
from sltprob.progress import COLOURS

__all__ = ["LeagueProgress", "shown_league"]


@dataclass(frozen=True)
class LeagueProgress:
    """What is known while a league goes on."""

    done: int  # Runs
    total: int  # Runs
    # Of the run that has just ended, with the keys of `sltprob.cell.CELL_FIELDS`
    cell: dict[str, Any]


@contextmanager
def shown_league(
    progress: bool | Callable[[LeagueProgress], None],
) -> Iterator[Callable[[LeagueProgress], None]]:
    """Give what the league should call after a run."""
    if progress is not True:
        yield progress or (lambda progress: None)
        return
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

    def report(progress: LeagueProgress) -> None:
        cell = progress.cell
        bar.update(
            task,
            description=f"{cell['model']} {cell['sampler']}",
            completed=progress.done,
            total=progress.total,
        )
        console.print(
            f"{progress.done}/{progress.total} {cell['model']} {cell['sampler']} "
            f"β={cell['beta']:g} seed {cell['seed']}: λ̂ = {_text(cell['lambda_hat'])} ± "
            f"{_text(cell['mcse'], 2)}, {name_of_truth([cell])} {_text(cell['exact'])}, "
            f"{cell['verdict']}",
            style=COLOURS[cell["verdict"]],
            highlight=False,
            markup=False,
            soft_wrap=True,
        )

    with bar:
        yield report


def _text(value: float | None, digits: int = 4) -> str:
    return "–" if value is None else f"{value:.{digits}g}"
