"""How far a study is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sltprob.grids.lock import owner_of
from sltprob.grids.plan import Plan
from sltprob.grids.store import Store

__all__ = ["Status", "status_of"]


@dataclass(frozen=True)
class Status:
    """How far a study is."""

    cells: int  # of the plan
    stored: int  # of the plan
    failed: int  # of the plan
    partial: int  # Cells that are begun, and go on from their last piece
    damaged: tuple[str, ...]  # Stored files that do not have the hash of their name
    others: int  # Stored cells that are not of this plan
    owner: dict[str, Any] | None  # Who works on it now: ``host`` and ``process``
    errors: tuple[str, ...]  # one line for each cell that failed

    @property
    def complete(self) -> bool:
        """Whether every cell is stored."""
        return self.stored == self.cells


def status_of(plan: Plan, folder: Path, *, verify: bool = True) -> Status:
    """Say how far a study is, without changing anything."""
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
