"""The league at a glance: what every sampler costs on every model, in one table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import mean

from sltprob.league.groups import Group, grouped
from sltprob.league.numbers import short
from sltprob.league.standing import Standing

__all__ = ["Overview", "OverviewCell", "overview"]

# Factors of ten above the cheapest at which the shade of a cell is gone.
_DECADES = 3.0


@dataclass(frozen=True)
class OverviewCell:
    """Gradients to 5 % error of a sampler in one group."""

    text: str
    kind: str  # ``best``, ``reached``, ``never`` or ``absent``
    shade: int  # 100 for the cheapest of the group, and less by the logarithm of the cost
    note: str  # Why there is no number, or what a run spent without getting there; may be empty


@dataclass(frozen=True)
class Overview:
    """One row for each sampler, one column for each group."""

    groups: tuple[Group, ...]
    # Sampler and cells; those that get to 5 % in most groups first, then by their mean cost
    rows: tuple[tuple[str, tuple[OverviewCell, ...]], ...]

    @property
    def models(self) -> list[tuple[str, int]]:
        """Models in the order of the groups, with how many groups of each follow."""
        runs = groupby(self.groups, key=lambda group: group.model)
        return [(model, len(list(own))) for model, own in runs]


def overview(rows: Sequence[Standing]) -> Overview:
    """Sum a league table up."""
    groups = grouped(rows)
    cells: dict[str, list[OverviewCell]] = {}
    distances: dict[str, list[float]] = {}
    for group in groups:
        found = {row.sampler: row for row in group.rows}
        costs = [row.gradients_to_accuracy for row in group.rows if row.gradients_to_accuracy]
        for name in dict.fromkeys(row.sampler for row in rows):
            cell, distance = _cell(found.get(name), min(costs, default=1.0))
            cells.setdefault(name, []).append(cell)
            distances.setdefault(name, []).append(distance)

    def rank(name: str) -> tuple[int, float]:
        reached = [value for value in distances[name] if math.isfinite(value)]
        return -len(reached), mean(reached) if reached else math.inf

    return Overview(
        tuple(groups), tuple((name, tuple(cells[name])) for name in sorted(cells, key=rank))
    )


def _cell(row: Standing | None, cheapest: float) -> tuple[OverviewCell, float]:
    """Make a cell, and say how many factors of ten it is above the cheapest."""
    if row is None or row.reason is not None:
        reason = "" if row is None else f"does not apply: {row.reason}"
        return OverviewCell("–", "absent", 0, reason), math.inf
    cost = row.gradients_to_accuracy
    if cost is None:
        spent = short(row.gradients)
        note = f"above 5 % after {spent} gradients"
        return OverviewCell(f">{spent}", "never", 0, note), math.inf
    distance = math.log10(cost / cheapest) if cost > 0 else 0.0
    shade = round(100 * max(0.0, 1 - distance / _DECADES))
    return OverviewCell(short(cost), "best" if distance <= 0 else "reached", shade, ""), distance
