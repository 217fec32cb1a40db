"""Run a study: whatever is not stored yet, here or on a cluster; and say how far it is."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sltprob.sampling import Progress
from sltprob.study.batch import LARGEST_BATCH
from sltprob.study.events import Event, Watch
from sltprob.study.lock import FolderLock, owner_of
from sltprob.study.plan import Cell, Plan
from sltprob.study.store import Store
from sltprob.study.work import Outcome, coordinates, row_of, run_cells

__all__ = ["Status", "Workers", "run_study", "status_of"]


@dataclass(frozen=True)
class Status:
    """How far a study is.

    Parameters
    ----------
    cells, stored, failed : int
        Of the plan.
    partial : int
        Cells that are begun, and go on from their last piece.
    damaged : tuple of str
        Stored files that do not have the hash of their name.
    others : int
        Stored cells that are not of this plan.
    owner : dict or None
        Who works on it now: ``host`` and ``process``.
    errors : tuple of str
        One line for each cell that failed.
    """

    cells: int
    stored: int
    failed: int
    partial: int
    damaged: tuple[str, ...]
    others: int
    owner: dict[str, Any] | None
    errors: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether every cell is stored."""
        return self.stored == self.cells


class Workers(Protocol):
    """What runs groups of cells somewhere."""

    def run(self, store: Store, groups: Iterable[list[Cell]], watch: Watch) -> Iterator[Outcome]:
        """Run groups of cells, and give what became of each, in any order.

        Parameters
        ----------
        store : Store
        groups : iterable of list of Cell
        watch : callable

        Returns
        -------
        iterator of Outcome
        """
        ...


class InProcess:
    """Runs cells one after the other in this process."""

    def run(self, store: Store, groups: Iterable[list[Cell]], watch: Watch) -> Iterator[Outcome]:
        """Run groups of cells, and give what became of each.

        Parameters
        ----------
        store : Store
        groups : iterable of list of Cell
        watch : callable

        Yields
        ------
        Outcome
        """

        def tell(cell: Cell, progress: Progress) -> None:
            watch(running(cell, progress))

        for group in groups:
            yield from run_cells(store, group, tell)


def running(cell: Cell, progress: Progress) -> Event:
    """Make the event of a cell that runs.

    Parameters
    ----------
    cell : Cell
    progress : Progress

    Returns
    -------
    Event
    """
    detail = {
        "key": cell.key,
        **coordinates(cell),
        "stage": progress.stage,
        "draws": progress.draws,
        "total": progress.total,
        "lambda_hat": progress.lambda_hat,
        "mcse": progress.mcse,
    }
    return Event("running", detail)


def run_study(
    plan: Plan,
    folder: Path,
    *,
    workers: Workers | None = None,
    retry: bool = False,
    watch: Watch = lambda event: None,
) -> Status:
    """Run every cell of a plan that is not stored yet.

    Parameters
    ----------
    plan : Plan
    folder : pathlib.Path
        Of the store; made if it is not there.
    workers : Workers, optional
        By default this process.
    retry : bool
        Run the cells again that failed before.
    watch : callable
        Called with each `Event`.

    Returns
    -------
    Status

    Raises
    ------
    LockedError
        If another run works on the folder.
    StoreError
        If the folder cannot be written, as when the disk is full.
    """
    begin = time.perf_counter()
    store = Store(folder)
    store.prepare()
    finished = failed = 0
    with FolderLock(folder) as lock:
        if lock.taken_over:
            watch(Event("taken_over", {"owner": lock.taken_over}))
        store.clean()
        stored = _verified(store, plan, watch)
        failures = store.failures()
        skip = stored if retry else stored | failures.keys()
        known_failed = sum(cell.key in failures and cell.key not in stored for cell in plan.cells())
        to_run = sum(cell.key not in skip for cell in plan.cells())
        counts = {"cells": len(plan), "stored": len(stored), "to_run": to_run}
        watch(Event("begin", {**counts, "failed": known_failed}))
        outcomes = (workers or InProcess()).run(store, _groups(plan, skip), watch)
        for outcome in outcomes:
            detail = {"key": outcome.cell.key, **coordinates(outcome.cell)}
            if outcome.row is None:
                failed += 1
                watch(Event("failed", {**detail, "error": outcome.error}))
                continue
            finished += 1
            store.add_rows([outcome.row])
            if outcome.cell.key in failures:
                store.forget_failure(outcome.cell.key)
            kept = {key: outcome.row[key] for key in ("lambda_hat", "mcse", "verdict")}
            watch(Event("finished", {**detail, **kept}))
        seconds = time.perf_counter() - begin
        watch(Event("end", {"finished": finished, "failed": failed, "seconds": seconds}))
    return status_of(plan, folder, verify=False)


def _verified(store: Store, plan: Plan, watch: Watch) -> set[str]:
    """Give the keys of the stored cells, after moving aside what is damaged."""
    files, rows = store.files(), store.rows()
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
        store.add_rows(lacking)
    return stored


def _groups(plan: Plan, skip: Iterable[str]) -> Iterator[list[Cell]]:
    """Cut what is to be run into tasks: many small cells, or one long one."""
    skip = set(skip)
    for block in plan.blocks:
        size = LARGEST_BATCH if block.setting.is_small else 1
        left = (cell for cell in block.cells() if cell.key not in skip)
        while group := list(itertools.islice(left, size)):
            yield group


def status_of(plan: Plan, folder: Path, *, verify: bool = True) -> Status:
    """Say how far a study is, without changing anything.

    Parameters
    ----------
    plan : Plan
    folder : pathlib.Path
    verify : bool
        Check every stored file against its hash.

    Returns
    -------
    Status
    """
    store = Store(folder)
    files, failures = store.files(), store.failures()
    stored = failed = partial = 0
    damaged, errors = [], []
    for cell in plan.cells():
        key = cell.key
        if (name := files.pop(key, None)) is not None:
            if verify and not store.is_good(name):
                damaged.append(str(store.cells / name))
            else:
                stored += 1
        elif key in failures:
            failed += 1
            errors.append(f"{cell}: {failures[key]['error']}")
        elif store.partial_folder(key).is_dir():
            partial += 1
    return Status(
        cells=len(plan),
        stored=stored,
        failed=failed,
        partial=partial,
        damaged=tuple(damaged),
        others=len(files),
        owner=owner_of(folder),
        errors=tuple(errors),
    )
