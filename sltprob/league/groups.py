"""The order of a league table, and what it found in sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sltprob.cell import name_of_truth
from sltprob.league.numbers import short
from sltprob.league.standing import Standing
from sltprob.report.numbers import inverse_temperature, measured

__all__ = ["Group", "grouped", "league_sentences"]


@dataclass(frozen=True)
class Group:
    """The rows of one model at one beta, best first."""

    model: str
    beta: float
    # By gradients to 5 % error; then those that never get there, by their error; then those that do
    # not apply
    rows: tuple[Standing, ...]

    @property
    def title(self) -> str:
        """Model, beta and the exact value."""
        row = self.rows[0]
        # A closed form has no error but rounding.
        error = row.exact_mcse or 0.0
        exact = measured(row.exact, error if error > 1e-6 * (row.exact or 0.0) else None).text()
        truth = name_of_truth([{"exact_method": row.exact_method}])
        return f"{self.model}, β = {inverse_temperature(self.beta)}, {truth} λ̂ = {exact}"


def grouped(rows: Sequence[Standing]) -> list[Group]:
    """Sort rows into one group for each model and beta, best first."""
    if not rows:
        raise ValueError("rows is empty: a table needs at least one row, such as [score(runs)]")
    found: dict[tuple[str, float], list[Standing]] = {}
    for row in rows:
        found.setdefault((row.model, row.beta), []).append(row)
    return [Group(*key, tuple(sorted(own, key=_rank))) for key, own in found.items()]


def _rank(row: Standing) -> tuple[bool, bool, float]:
    never = row.gradients_to_accuracy is None
    size = row.relative_error if never else row.gradients_to_accuracy
    return row.reason is not None, never, math.inf if size is None else size


def league_sentences(rows: Sequence[Standing]) -> list[str]:
    """Say what a league table found: the verdicts first, then the first of every group."""
    runs = sum(row.seeds for row in rows)
    trust, alarm = sum(row.false_trust for row in rows), sum(row.false_alarm for row in rows)
    trusted = sum(row.trusted for row in rows)
    sentences = [
        f"{runs} runs against exact values: {trusted} trusted, {trust} of them falsely; "
        f"{runs - trusted} not trusted, {alarm} of them by false alarm."
    ]
    for group in grouped(rows):
        ran = [row for row in group.rows if row.reason is None]
        there = [row for row in ran if row.gradients_to_accuracy is not None]
        where = f"{group.model}, β = {inverse_temperature(group.beta)}"
        if there:
            sentences.append(
                f"{where}: {there[0].sampler} needs the fewest gradients to 5 % error, "
                f"{short(there[0].gradients_to_accuracy)}; {len(there)} of {len(ran)} samplers "
                "get there."
            )
        else:
            sentences.append(f"{where}: none of {len(ran)} samplers gets to 5 % error.")
    return sentences
