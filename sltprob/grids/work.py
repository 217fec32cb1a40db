"""Run cells in this process, and store them: the same code at home and on a worker."""

from __future__ import annotations

import dataclasses
import math
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

import xarray as xr

from sltprob import packed, samplers
from sltprob.cell import summarise
from sltprob.comparison import with_exact
from sltprob.exact import Exact
from sltprob.grids.batch import LARGEST_BATCH, sample_many
from sltprob.grids.checkpoint import CellCheckpoint
from sltprob.grids.plan import Cell, Setting
from sltprob.grids.store import Store
from sltprob.grids.writing import StoreError
from sltprob.problem import Problem, problem
from sltprob.reference import answers
from sltprob.samplers.base import Sampler
from sltprob.sampling import Progress, sample

__all__ = ["Outcome", "coordinates", "row_of", "run_cells"]

# A killed run loses at most about this much of its work.
_CHECKPOINT_SECONDS = 2.0
_BATCH_SECONDS = 2.0
_VERSION = version("sltprob")


@dataclass(frozen=True)
class Outcome:
    """What became of a cell."""

    cell: Cell
    row: dict[str, Any] | None  # its summary; None if it failed
    error: str | None = None  # Why it failed, in one line


def run_cells(
    store: Store,
    cells: Sequence[Cell],
    tell: Callable[[Cell, Progress], None],
) -> Iterator[Outcome]:
    """Run cells of one setting that are not stored yet."""
    waiting = list(cells)
    # The first call compiles, and tells how many cells fit into the next.
    count = 1
    while waiting:
        group = waiting[: count if waiting[0].setting.is_small else 1]
        begin = time.perf_counter()
        try:
            outcomes = _attempt(store, group, tell)
        except StoreError:
            raise
        except Exception as error:
            if len(group) > 1:
                count = 1  # one of them is bad: find out which
                continue
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            failure = {
                "cell": str(group[0]),
                "error": reason,
                "traceback": traceback.format_exc(),
                **coordinates(group[0]),
            }
            store.save_failure(group[0].key, failure)
            outcomes = [Outcome(group[0], None, reason)]
        each = (time.perf_counter() - begin) / len(group)
        waiting = waiting[len(group) :]
        count = min(max(1, int(_BATCH_SECONDS / each)), 2 * len(group), LARGEST_BATCH)
        yield from outcomes


def coordinates(cell: Cell) -> dict[str, Any]:
    """Say which cell it is, in the words of a table."""
    setting = cell.setting
    return {
        "model": setting.model,
        "sampler": setting.sampler,
        "beta": cell.beta,
        "seed": cell.seed,
    }


def row_of(cell: Cell, draws: xr.DataTree, file: str) -> dict[str, Any]:
    """Summarise a stored cell."""
    summary = {
        key: None if isinstance(value, float) and math.isnan(value) else value
        for key, value in summarise(draws).items()
    }
    return {
        **summary,
        "key": cell.key,
        "error": None,
        "content": packed.fingerprint(draws),
        "file": file,
    }


def _attempt(
    store: Store, cells: Sequence[Cell], tell: Callable[[Cell, Progress], None]
) -> list[Outcome]:
    setting = cells[0].setting
    chosen = _problem(setting.model, setting.dtype) if setting.own is None else setting.own.problem
    kernel = _sampler(setting.sampler)
    exacts = [_exact(store, cell, chosen) for cell in cells]
    if setting.is_small:
        points = [(cell.beta, cell.seed) for cell in cells]
        total = setting.budget.draws
        now = Progress("sample", 0, total, 0.0, math.nan, math.nan, cells[0].beta, setting.sampler)
        tell(cells[0], now)
        runs = sample_many(chosen.posterior, kernel, points, setting.budget)
    else:
        (cell,) = cells
        checkpoint = CellCheckpoint(store, cell.key, _CHECKPOINT_SECONDS)
        run = sample(
            # A program of the user's own has its L* searched for.
            chosen.posterior.at(cell.beta) if setting.own is None else chosen.at(cell.beta),
            kernel,
            seed=cell.seed,
            progress=lambda progress: tell(cell, progress),
            checkpoint=checkpoint,
            **dataclasses.asdict(setting.budget),
        )
        runs = [run]
    runs = [with_exact(run, exact) for run, exact in zip(runs, exacts, strict=True)]
    names = store.save([(cell.key, run) for cell, run in zip(cells, runs, strict=True)])
    for cell in cells:
        if not setting.is_small:
            store.drop_partial(cell.key)
    return [
        Outcome(cell, row_of(cell, run, name))
        for cell, run, name in zip(cells, runs, names, strict=True)
    ]


@cache
def _problem(model: str, dtype: str) -> Problem:
    """Temper each model once; `dtype` is that of JAX, which tempering looks at."""
    return problem(model)


@cache
def _sampler(text: str) -> Sampler:
    """Make each sampler once: looking for entry points takes longer than a small cell."""
    return samplers.get(text)


def _exact(store: Store, cell: Cell, chosen: Problem) -> Exact | None:
    setting = cell.setting
    if not setting.exact:
        return None
    source = "" if setting.own is None else f" program={setting.own.source}"
    data = f"{setting.model}{source} data={setting.data}"
    name = f"{data} beta={cell.beta!r} {setting.dtype} {_VERSION}"
    if setting.own is None:
        return store.exact_values.get(name, lambda: chosen.exact(cell.beta))
    return store.exact_values.get(name, lambda: _references(setting)[cell.beta])


@cache
def _references(setting: Setting) -> dict[float, Exact | None]:
    """Measure a program of the user's own at all betas of its cells, in one run of a ladder."""
    assert setting.own is not None
    betas = setting.own.betas
    return dict(zip(betas, answers(setting.own.problem, betas), strict=True))
