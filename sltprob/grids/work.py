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

from sltprob import models, packed, samplers
from sltprob.cell import summarise
from sltprob.comparison import with_exact
from sltprob.exact import Exact
from sltprob.grids.batch import LARGEST_BATCH, sample_many
from sltprob.grids.checkpoint import CellCheckpoint
from sltprob.grids.plan import Cell
from sltprob.grids.store import Store
from sltprob.grids.writing import StoreError
from sltprob.posterior import TemperedPosterior
from sltprob.samplers.base import Sampler
from sltprob.sampling import Progress, sample
from sltprob.tempering import temper

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
    posterior = _posterior(setting.model, setting.dtype)
    kernel = _sampler(setting.sampler)
    exacts = [_exact(store, cell, posterior) for cell in cells]
    if setting.is_small:
        points = [(cell.beta, cell.seed) for cell in cells]
        total = setting.budget.draws
        now = Progress("sample", 0, total, 0.0, math.nan, math.nan, cells[0].beta, setting.sampler)
        tell(cells[0], now)
        runs = sample_many(posterior, kernel, points, setting.budget)
    else:
        (cell,) = cells
        checkpoint = CellCheckpoint(store, cell.key, _CHECKPOINT_SECONDS)
        run = sample(
            posterior.at(cell.beta),
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
def _posterior(model: str, dtype: str) -> TemperedPosterior:
    """Temper each model once; `dtype` is that of JAX, which tempering looks at."""
    return temper(models.get(model), beta=1.0)


@cache
def _sampler(text: str) -> Sampler:
    """Make each sampler once: looking for entry points takes longer than a small cell."""
    return samplers.get(text)


def _exact(store: Store, cell: Cell, posterior: TemperedPosterior) -> Exact | None:
    setting = cell.setting
    if not setting.exact:
        return None
    model = posterior.structure.model
    assert model is not None
    name = f"{setting.model} data={setting.data} beta={cell.beta!r} {setting.dtype} {_VERSION}"
    return store.exact_values.get(name, lambda: model.exact(cell.beta))
