"""Run a study: whatever is not stored yet, here or on a cluster."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from sltprob.grids.events import Event, Watch
from sltprob.grids.lock import FolderLock
from sltprob.grids.plan import Cell, Plan
from sltprob.grids.status import Status, status_of
from sltprob.grids.store import Store
from sltprob.grids.tasks import Tasks
from sltprob.grids.work import Outcome, coordinates, row_of, run_cells
from sltprob.sampling import Progress

__all__ = ["Workers", "run_study"]


class Workers(Protocol):
    """What runs cells somewhere."""

    def run(self, store: Store, tasks: Tasks, watch: Watch) -> Iterator[Outcome]:
        """Run cells, and give what became of each, in any order."""
        ...


class InProcess:
    """Runs cells one after the other in this process."""

    def run(self, store: Store, tasks: Tasks, watch: Watch) -> Iterator[Outcome]:
        """Run cells, and give what became of each."""

        def tell(cell: Cell, progress: Progress) -> None:
            watch(running(cell, progress))

        while (cells := tasks.take("here")) is not None:
            yield from run_cells(store, cells, tell)


def running(cell: Cell, progress: Progress) -> Event:
    """Make the event of a cell that runs."""
    detail = {
        "key": cell.key,
        **coordinates(cell),
        "work": _work(cell),
        "stage": progress.stage,
        "draws": progress.draws,
        "total": progress.total,
        "lambda_hat": progress.lambda_hat,
        "mcse": progress.mcse,
    }
    return Event("running", detail)


def _work(cell: Cell) -> int:
    """Count the steps of a cell: what cells of one model are long by."""
    budget = cell.setting.budget
    return budget.chains * (budget.warmup + budget.draws)


def run_study(
    plan: Plan,
    folder: Path,
    *,
    workers: Workers | None = None,
    retry: bool = False,
    watch: Watch = lambda event: None,
) -> Status:
    """Run every cell of a plan that is not stored yet."""
    begin = time.perf_counter()
    store = Store(folder)
    store.prepare()
    finished = failed = 0
    with FolderLock(folder) as lock:
        if lock.taken_over:
            watch(Event("taken_over", {"owner": lock.taken_over}))
        store.writer.clean()
        stored = _verified(store, plan, watch)
        failures = store.failures()
        skip = stored if retry else stored | failures.keys()
        begun = {"cells": len(plan), "stored": len(stored), "failed": 0, "to_run": 0, "work": 0}
        for cell in plan.cells():
            key = cell.key
            begun["failed"] += key in failures and key not in stored
            begun["to_run"] += key not in skip
            begun["work"] += _work(cell) if key not in skip else 0
        watch(Event("begin", begun))
        outcomes = (workers or InProcess()).run(store, Tasks(plan, skip), watch)
        for outcome in outcomes:
            cell = outcome.cell
            detail = {"key": cell.key, **coordinates(cell), "work": _work(cell)}
            if outcome.row is None:
                failed += 1
                watch(Event("failed", {**detail, "error": outcome.error}))
                continue
            finished += 1
            store.summaries.add([outcome.row])
            if cell.key in failures:
                store.forget_failure(cell.key)
            kept = {key: outcome.row[key] for key in ("lambda_hat", "mcse", "verdict")}
            watch(Event("finished", {**detail, **kept}))
        seconds = time.perf_counter() - begin
        watch(Event("end", {"finished": finished, "failed": failed, "seconds": seconds}))
    return status_of(plan, folder, verify=False)


def _verified(store: Store, plan: Plan, watch: Watch) -> set[str]:
    """Give the keys of the stored cells, after moving aside what is damaged."""
    files, rows = store.files(), store.summaries.read()
    stored, lacking = set(), []
    for cell in plan.cells():
        name = files.get(key := cell.key)
        if name is None:
            continue
        if not store.is_good(name):
            aside = store.set_aside(name)
            watch(Event("damaged", {"key": key, **coordinates(cell), "file": str(aside)}))
            continue
        stored.add(key)
        if name not in rows:
            # The run was killed between storing the cell and noting its summary.
            lacking.append(row_of(cell, store.load(name), name))
    if lacking:
        store.summaries.add(lacking)
    return stored
