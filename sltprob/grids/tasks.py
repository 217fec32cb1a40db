"""The cells that are to be run, dealt out to workers so that each compiles as little as possible.

Cells of one setting share a compilation, which may take longer than drawing. So a worker stays
with a setting until nothing is left of it, and then helps with the one that has the fewest others.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Container, Iterator

from sltprob.grids.batch import LARGEST_BATCH
from sltprob.grids.plan import Block, Cell, Plan

__all__ = ["Tasks"]


class Tasks:
    """Cells of a plan, cut into tasks when they are asked for, so that none are kept in a list."""

    def __init__(self, plan: Plan, skip: Container[str]) -> None:
        self._left = {index: _cut(block, skip) for index, block in enumerate(plan.blocks)}
        self._at: dict[str, int] = {}

    def take(self, worker: str) -> list[Cell] | None:
        """Give a worker something to do."""
        while self._left:
            index = self._at.pop(worker, -1)
            if index not in self._left:
                crowd = Counter(self._at.values())
                index = min(self._left, key=lambda index: crowd[index])
            if (cells := next(self._left[index], None)) is not None:
                self._at[worker] = index
                return cells
            del self._left[index]
        return None

    def keep(self, workers: Container[str]) -> None:
        """Forget workers that are lost: somebody else has to finish what they were at."""
        self._at = {worker: index for worker, index in self._at.items() if worker in workers}


def _cut(block: Block, skip: Container[str]) -> Iterator[list[Cell]]:
    size = LARGEST_BATCH if block.setting.is_small else 1
    left = (cell for cell in block.cells() if cell.key not in skip)
    while group := list(itertools.islice(left, size)):
        yield group
